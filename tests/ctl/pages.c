// SPDX-License-Identifier: GPL-2.0-only
/*
 * What kinds of pages cost and give: a member's half in small, transparent huge
 * and pool pages, and bound to a NUMA node. Prints a table for bench/pages:
 * the first touch of it, copies through it, loads at random in it. Lends itself
 * settings of the host while it runs.
 */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define THP_SHARED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define SEGMENT		"512M"
#define BYTES		(192UL << 20)	/* of a half that are used */
#define COPY		(64UL << 10)
#define LOADS		4000000

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool set(const char *path, const char *value)
{
	FILE *file = fopen(path, "we");
	bool fine = file && fputs(value, file) >= 0;

	return file && !fclose(file) && fine;
}

static void get(const char *path, char value[64])
{
	FILE *file = fopen(path, "re");
	char line[128] = "", *start, *end;

	need(file && fgets(line, sizeof(line), file), "%s cannot be read", path);
	fclose(file);
	start = strchr(line, '[');
	start = start ? start + 1 : line;
	end = strpbrk(start, "]\n");
	snprintf(value, 64, "%.*s", (int)(end ? end - start : 0), start);
}

static void touch(u8 *half)
{
	for (u64 at = 0; at < BYTES; at += 4096)
		*(volatile u8 *)(half + at) = 1;
}

/* GB/s through private memory, as a ring's writer copies. */
static double copy(u8 *half)
{
	static u8 from[COPY];
	double began = now();

	for (unsigned int round = 0; round < 4; round++)
		for (u64 at = 0; at < BYTES; at += COPY)
			memcpy(half + at, from, COPY);
	return 4 * (double)BYTES / (now() - began) / 1e9;
}

/* Nanoseconds a load, each from another page than the last, none foreseeable. */
static double loads(u8 *half)
{
	u64 at = 1, sum = 0;
	double began = now();

	for (unsigned int i = 0; i < LOADS; i++) {
		at = at * 6364136223846793005ULL + 1442695040888963407ULL + sum;
		sum += *(volatile u8 *)(half + (at >> 20) % BYTES) & 2;
	}
	return (now() - began) / LOADS * 1e9;
}

static int in_order(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;

	return (a > b) - (a < b);
}

static void measure(const char *what, const char *settings)
{
	double touches[5], copies[5], random[5];
	struct vmshmd d;
	char body[512];
	struct fake f;

	snprintf(body, sizeof(body), MEMBERS_AB
		 "segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ]; size = \"" SEGMENT
		 "\"; %s } );\n", settings);
	for (unsigned int i = 0; i < NR(touches); i++) {
		u8 *half;
		double began;

		daemon_start(&d, body);
		need(fake_join(&f, &d, "a-b", "a", 2, 2), "not served");
		half = f.map + fake_channel(&f, 0)->half_off[0];
		madvise(f.map, f.size, MADV_HUGEPAGE);	/* as QEMU does */
		began = now();
		touch(half);
		touches[i] = (now() - began) * 1e3;
		copies[i] = copy(half);
		random[i] = loads(half);
		fake_leave(&f);
		need(daemon_stop(&d, SIGTERM) == 0, "the daemon does not end with 0");
		daemon_end(&d);
	}
	qsort(touches, NR(touches), sizeof(double), in_order);
	qsort(copies, NR(copies), sizeof(double), in_order);
	qsort(random, NR(random), sizeof(double), in_order);
	printf("%-36s %10.1f %10.2f %10.1f\n", what, touches[2], copies[2], random[2]);
	fflush(stdout);
}

int main(void)
{
	char thp[64], pool[64];

	get(THP_SHARED, thp);
	get(POOL, pool);
	printf("%-36s %10s %10s %10s\n", "192 MiB of a half, medians of 5", "touch ms",
	       "copy GB/s", "load ns");
	set(THP_SHARED, "never");
	measure("small pages", "");
	measure("small pages, numa_node = 0", "numa_node = 0;");
	if (set(THP_SHARED, "advise"))
		measure("transparent_huge_pages", "transparent_huge_pages = true;");
	set(THP_SHARED, thp);
	if (set(POOL, "256"))
		measure("huge_pages", "huge_pages = true;");
	set(POOL, pool);
	return 0;
}
