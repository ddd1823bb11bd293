// SPDX-License-Identifier: GPL-2.0-only
/*
 * What nobody gets below, on the machine that this runs on:
 *
 *	copy		a message copied twice, through a buffer as large as a ring: what
 *			is left of throughput when nothing but the copies is done
 *	syscall		an empty system call
 *	exit		a write to the ivshmem doorbell that rings nobody
 *	doorbell	one that rings the VM named by --peer
 *
 * The last two run in a VM as root and write the device's register through sysfs
 * (the kernel's command line needs iomem=relaxed); the peer gets interrupts that
 * mean nothing. Prints one JSON object, with the median of many batches.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCHES		200
#define RING		(64 << 10)
#define REGISTER	12	/* bytes from the start of BAR0: peer << 16 | vector */
#define NOBODY		0xfff0

static const char *what = "copy";
static size_t len = 65536;
static unsigned int peer = NOBODY;
static double seconds = 1;

static void __attribute__((noreturn)) die(const char *name)
{
	fprintf(stderr, "bounds: %s: %s\n", name, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static char *from, *ring, *to;
static size_t at;
static volatile uint32_t *bell;

static void copy_once(void)
{
	size_t left = len, off = 0;

	while (left) {
		size_t n = left < RING - at ? left : RING - at;

		memcpy(ring + at, from + off, n);
		__asm__ __volatile__("" : : : "memory");
		memcpy(to + off, ring + at, n);
		at = (at + n) % RING;
		off += n;
		left -= n;
	}
}

static void call_once(void)
{
	syscall(SYS_getppid);
}

static void ring_once(void)
{
	*bell = peer << 16;
}

static void find_bell(void)
{
	glob_t found;

	errno = ENODEV;
	if (glob("/sys/bus/pci/drivers/*vmshm*/0000:*/resource0", 0, NULL, &found))
		die("no ivshmem device that af_vmshm uses");
	for (size_t i = 0; i < found.gl_pathc && !bell; i++) {
		int fd = open(found.gl_pathv[i], O_RDWR);
		void *map = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE,
						       MAP_SHARED, fd, 0);

		if (map == MAP_FAILED)
			die("cannot map the device (boot with iomem=relaxed)");
		bell = (uint32_t *)((char *)map + REGISTER);
	}
	globfree(&found);
}

static void buffers(void)
{
	from = aligned_alloc(4096, (len + 4095) & ~4095UL);
	to = aligned_alloc(4096, (len + 4095) & ~4095UL);
	ring = aligned_alloc(4096, RING);
	if (!from || !to || !ring)
		die("memory");
	memset(from, 1, len);
	memset(to, 2, len);
	memset(ring, 3, RING);
}

/* Seconds that one takes: the median of batches. */
static double measure(void (*once)(void))
{
	static double batch[BATCHES];
	uint64_t count = 1;
	double took;

	/* As many in a batch as fill its share of the time. */
	for (;; count *= 2) {
		double start = now();

		for (uint64_t i = 0; i < count; i++)
			once();
		took = now() - start;
		if (took > seconds / BATCHES / 2)
			break;
	}
	for (int i = 0; i < BATCHES; i++) {
		double start = now();

		for (uint64_t j = 0; j < count; j++)
			once();
		batch[i] = (now() - start) / count;
	}
	qsort(batch, BATCHES, sizeof(batch[0]), compare);
	return batch[BATCHES / 2];
}

static const struct argp_option argp_options[] = {
	{ "len", 'l', "BYTES", 0, "of a message, for copy (65536)", 0 },
	{ "peer", 'p', "ID", 0, "whom doorbell rings: in a couple, one's own CID", 0 },
	{ "seconds", 't', "SECS", 0, "about how long (1)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	char *end = NULL;

	switch (key) {
	case 'l':
		len = strtoul(arg, &end, 10);
		if (*end == 'K')
			len <<= 10, end++;
		else if (*end == 'M')
			len <<= 20, end++;
		if (*end || !len || len > 64 << 20)
			argp_error(state, "--len %s: expected bytes up to 64M", arg);
		break;
	case 'p':
		peer = strtoul(arg, &end, 10);
		if (*end || end == arg || peer >= 65536)
			argp_error(state, "--peer %s: expected a number below 65536", arg);
		break;
	case 't':
		seconds = strtod(arg, &end);
		if (*end || !(seconds > 0 && seconds < 3600))
			argp_error(state, "--seconds %s: expected seconds", arg);
		break;
	case ARGP_KEY_ARG:
		what = arg;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.args_doc = "[copy|syscall|exit|doorbell]",
		.doc = "What no path between two VMs gets below.",
	};
	double took;

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (!strcmp(what, "copy")) {
		buffers();
		took = measure(copy_once);
		printf("{\"what\": \"copy\", \"bytes\": %zu, \"bits_per_second\": %.0f}\n", len,
		       len * 8 / took);
		return 0;
	}
	if (!strcmp(what, "syscall")) {
		took = measure(call_once);
	} else if (!strcmp(what, "exit") || !strcmp(what, "doorbell")) {
		if (*what == 'd' ? peer == NOBODY : peer != NOBODY) {
			fprintf(stderr, "bounds: doorbell wants --peer, exit wants none\n");
			return 1;
		}
		find_bell();
		took = measure(ring_once);
	} else {
		fprintf(stderr, "bounds: '%s' is unknown: copy, syscall, exit or doorbell\n", what);
		return 1;
	}
	printf("{\"what\": \"%s\", \"ns\": %.1f}\n", what, took * 1e9);
	return 0;
}
