// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a segment's pages come from: a NUMA node, transparent huge pages, and
 * both refused where the host can't. Lends itself a setting and some huge pages
 * of the host while it runs.
 */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE		(2UL << 20)
#define THP_SHARED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define LENT		"16"

static struct vmshmd d;
static struct fake f;

static void segment(char *body, size_t size, const char *settings)
{
	snprintf(body, size, MEMBERS_AB
		 "segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ]; size = \"16M\"; %s } );\n",
		 settings);
}

static bool starts(const char *settings)
{
	char body[512];

	segment(body, sizeof(body), settings);
	daemon_prepare(&d);
	daemon_config(&d, body);
	daemon_run(&d, NULL);
	return soon(daemon_said(&d, "vmshmd: ready")) && fake_join(&f, &d, "a-b", "a", 2, 2);
}

/* Whether the start is refused with this status and exactly one line, with @text. */
static bool refused(const char *settings, int status, const char *text)
{
	char body[512];
	bool as_expected;

	segment(body, sizeof(body), settings);
	daemon_prepare(&d);
	daemon_config(&d, body);
	daemon_run(&d, NULL);
	as_expected = daemon_stop(&d, 0) == status && daemon_said(&d, text) == 1;
	if (!as_expected)
		diag("see %s", d.log);
	else
		daemon_end(&d);
	return as_expected;
}

static bool set(const char *path, const char *value)
{
	FILE *file = fopen(path, "we");
	bool fine = file && fputs(value, file) >= 0;

	return file && !fclose(file) && fine;
}

/* What is between brackets in a setting that is a choice, or all of it. */
static bool get(const char *path, char value[64])
{
	FILE *file = fopen(path, "re");
	char line[128] = "", *start, *end;

	if (!file)
		return false;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	start = strchr(line, '[');
	start = start ? start + 1 : line;
	end = strpbrk(start, "]\n");
	snprintf(value, 64, "%.*s", (int)(end ? end - start : 0), start);
	return *value;
}

/* The policy of the memory's mapping in this process, as the kernel shows it. */
static bool policy_is(const char *policy)
{
	FILE *maps = fopen("/proc/self/numa_maps", "re");
	char line[1024];
	bool found = false;

	while (maps && fgets(line, sizeof(line), maps)) {
		char *name = strchr(line, ' ');

		if (strtoull(line, NULL, 16) == (uintptr_t)f.map && name)
			found = !strncmp(name + 1, policy, strlen(policy));
	}
	if (maps)
		fclose(maps);
	return found;
}

static void nodes(void)
{
	if (access("/proc/self/numa_maps", R_OK)) {
		skip("this kernel has no NUMA", "a node");
		return;
	}
	ok(starts("numa_node = 0;") && daemon_said(&d, "segment a-b: on NUMA node 0") == 1,
	   "a segment on node 0");
	memset(f.map + fake_channel(&f, 0)->half_off[0], 1, 4096);
	ok(policy_is("bind:0"), "whoever touches it gets pages of that node");
	fake_leave(&f);
	daemon_end(&d);
	ok(refused("numa_node = 1000;", 1, "segment a-b: there is no NUMA node 1000"),
	   "a node that is not there is refused");
	ok(refused("numa_node = -1;", 3, "'numa_node' is -1, expected 0 to 1023"),
	   "one that can't be is a mistake");
}

static void transparent(void)
{
	char was[64];
	u64 before, half;

	ok(refused("huge_pages = true; transparent_huge_pages = true;", 3,
		   "huge pages are either from the pool or transparent"),
	   "two kinds of huge pages are a mistake");
	if (!get(THP_SHARED, was) || !set(THP_SHARED, "never")) {
		skip("this host's setting cannot be changed", "transparent huge pages");
		return;
	}
	ok(refused("transparent_huge_pages = true;", 1, "gives no transparent huge pages"),
	   "a host that gives none is told how it would");
	set(THP_SHARED, "advise");
	ok(starts("transparent_huge_pages = true;"), "a segment of transparent huge pages");
	half = fake_channel(&f, 0)->half_off[0];
	ok(half % HUGE == 0 && fake_channel(&f, 0)->half_off[1] % HUGE == 0 &&
	   fake_channel(&f, 0)->half_size % HUGE == 0, "its halves begin and end on one");
	before = fake_blocks(&f);
	/* As QEMU does with all memory of a VM. */
	madvise(f.map, f.size, MADV_HUGEPAGE);
	if (((uintptr_t)f.map + half) % HUGE)
		skip("the mapping is not aligned", "what is touched takes 2 MiB");
	else
		ok((f.map[half] = 1) && fake_blocks(&f) - before >= HUGE,
		   "what is touched takes 2 MiB");
	fake_leave(&f);
	ok(soon(daemon_said(&d, "member a: its memory is given back")), "and goes back");
	ok(fake_join(&f, &d, "a-b", "a", 2, 2) && fake_blocks(&f) <= before + 8192,
	   "all of it");
	fake_leave(&f);
	daemon_end(&d);
	set(THP_SHARED, was);
}

static void pool_on_a_node(void)
{
	char was[64], now[64];

	if (access("/proc/self/numa_maps", R_OK) || !get(POOL, was) || !set(POOL, LENT) ||
	    !get(POOL, now) || strcmp(now, LENT)) {
		skip("no huge pages can be had", "huge pages of a node");
		return;
	}
	ok(starts("huge_pages = true; numa_node = 0;") && fake_blocks(&f) == f.size,
	   "huge pages of a node are taken at the start");
	fake_leave(&f);
	daemon_end(&d);
	set(POOL, "4");
	ok(refused("huge_pages = true; numa_node = 0;", 1, "segment a-b: needs 8 huge pages"),
	   "too few of them are refused");
	set(POOL, was);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	nodes();
	transparent();
	pool_on_a_node();
	return done();
}
