// SPDX-License-Identifier: GPL-2.0-only
/*
 * What nobody gets below, on the machine that this runs on:
 *
 *	copy		a message copied twice, through a buffer as large as a ring: what
 *			is left of throughput when nothing but the copies is done
 *	copy-one	one of the two alone: the limit where two processors copy side
 *			by side, each its own
 *	syscall		an empty system call
 *	exit		a write to the ivshmem doorbell that rings nobody
 *	doorbell	one that rings the VM named by --peer
 *	interrupt	what a doorbell's interrupt takes from a VM that computes: the VM
 *			named by --cid, where "bounds ringer" runs, rings this one
 *
 * The last three run in a VM as root and write the device's register through sysfs
 * (the kernel's command line needs iomem=relaxed); the peer gets interrupts that
 * mean nothing. Prints one JSON object, with the median of many batches.
 *
 * An interrupt's time is what a piece of fixed work takes longer with one in it, by
 * as many of the longest pieces as /proc/interrupts counted interrupts. The module's
 * look at its channels, which finds nothing, is part of it, and so is what the host
 * does on this processor to deliver it. The ringer leaves
 * RING_US between two, or the module would take them for a storm and mask the
 * vector (32 in a jiffy that were for nothing).
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
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/vmshm.h>

#define BATCHES		200
#define RING		(1024 << 10)	/* of a new connection, unless memory is short */
#define REGISTER	12	/* bytes from the start of BAR0: peer << 16 | vector */
#define NOBODY		0xfff0
#define PORT		20493
#define RING_US		400	/* between two rings for nothing */
#define STRETCH		0.05	/* seconds of work, while the ringer rings */
#define MAX_PIECES	100000
#define MAX_STRETCHES	1000
#define FEW		16	/* interrupts: with fewer the stretch says nothing */
#define WORK		2000	/* steps of a piece of fixed work */

static const char *what = "copy";
static size_t len = 65536;
static unsigned int peer = NOBODY, cid;
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

static void copy_one_once(void)
{
	size_t n;

	for (size_t off = 0; off < len; off += n) {
		n = len - off < RING - at ? len - off : RING - at;
		memcpy(ring + at, from + off, n);
		__asm__ __volatile__("" : : : "memory");
		at = (at + n) % RING;
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

/* How many interrupts of af_vmshm's devices this VM has taken. */
static uint64_t count_interrupts(void)
{
	char *line = NULL;
	size_t size = 0;
	uint64_t sum = 0;
	FILE *f = fopen("/proc/interrupts", "r");

	if (!f)
		die("/proc/interrupts");
	while (getline(&line, &size, f) > 0) {
		char *next = strchr(line, ':');

		if (!next || !strstr(line, " vmshm-"))
			continue;
		/* A number for each processor; what follows begins with a letter. */
		for (char *p = next + 1;; p = next) {
			uint64_t n = strtoull(p, &next, 10);

			if (next == p)
				break;
			sum += n;
		}
	}
	free(line);
	fclose(f);
	return sum;
}

static void tell(int fd, char word)
{
	if (send(fd, &word, 1, MSG_NOSIGNAL) != 1)
		die("send");
}

/* The peer of "interrupt": rings from an 'r' to an 's', and says when it has ended. */
static void ring_on_demand(void)
{
	struct sockaddr_vmshm a = { .svm_family = AF_VMSHM, .svm_port = PORT,
				    .svm_cid = VMSHM_CID_ANY };
	int listening = socket(AF_VMSHM, SOCK_STREAM, 0), fd;
	char word;

	if (listening < 0 || bind(listening, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(listening, 1))
		die("listen");
	for (;;) {
		fd = accept(listening, NULL, NULL);
		if (fd < 0)
			die("accept");
		while (recv(fd, &word, 1, 0) == 1) {
			/* Never sooner to make up for a delay: that would be a storm. */
			while (recv(fd, &word, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN) {
				double next = now() + RING_US / 1e6;

				ring_once();
				while (now() < next)
					;
			}
			if (send(fd, &word, 1, MSG_NOSIGNAL) != 1)
				break;
		}
		close(fd);
	}
}

/*
 * One stretch of pieces of fixed work, while the ringer rings: seconds that an
 * interrupt made a piece longer, or -1 where too few came. As many pieces as there
 * were interrupts are the longest ones; their median leaves out those that became
 * long because the host had other things to do.
 */
static double stretch(int fd, uint64_t *count)
{
	static double pieces[MAX_PIECES];
	double start, last, end;
	uint64_t x = 1, rang;
	char word;
	int n = 0;

	tell(fd, 'r');
	rang = count_interrupts();
	start = now();
	last = start;
	do {
		for (int i = 0; i < WORK; i++)
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		__asm__ __volatile__("" : "+r" (x));
		end = now();
		pieces[n++] = end - last;
		last = end;
	} while (end - start < STRETCH && n < MAX_PIECES);
	rang = count_interrupts() - rang;
	tell(fd, 's');
	if (recv(fd, &word, 1, 0) != 1)
		die("recv");
	*count += rang;
	if (rang < FEW || rang > (uint64_t)n / 4)
		return -1;
	qsort(pieces, n, sizeof(pieces[0]), compare);
	return pieces[n - 1 - rang / 2] - pieces[(n - rang) / 2];
}

/* Seconds that an interrupt takes: the median of many stretches. */
static double measure_interrupts(uint64_t *count)
{
	static double lost[MAX_STRETCHES];
	struct sockaddr_vmshm a = { .svm_family = AF_VMSHM, .svm_port = PORT, .svm_cid = cid };
	int fd = socket(AF_VMSHM, SOCK_STREAM, 0), n = 0;
	double end = now() + seconds;

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect (does 'bounds ringer' run there?)");
	*count = 0;
	while (now() < end && n < MAX_STRETCHES) {
		lost[n] = stretch(fd, count);
		n += lost[n] >= 0;
	}
	close(fd);
	if (!n) {
		fprintf(stderr, "bounds: only %llu interrupts came: a masked vector?\n",
			(unsigned long long)*count);
		exit(1);
	}
	qsort(lost, n, sizeof(lost[0]), compare);
	return lost[n / 2];
}

static const struct argp_option argp_options[] = {
	{ "cid", 'c', "CID", 0, "for interrupt: where 'bounds ringer' runs", 0 },
	{ "len", 'l', "BYTES", 0, "of a message, for the copies (65536)", 0 },
	{ "peer", 'p', "ID", 0, "whom doorbell and ringer ring: in a couple, one's own CID", 0 },
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
	case 'c':
		cid = strtoul(arg, &end, 10);
		if (*end || end == arg || !cid)
			argp_error(state, "--cid %s: expected a CID", arg);
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

static int usage(const char *why)
{
	fprintf(stderr, "bounds: %s\n", why);
	return 1;
}

int main(int argc, char **argv)
{
	struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.args_doc = "[copy|copy-one|syscall|exit|doorbell|interrupt|ringer]",
		.doc = "What no path between two VMs gets below.",
	};
	char more[64] = "";
	uint64_t count;
	double took;

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (!strcmp(what, "copy") || !strcmp(what, "copy-one")) {
		buffers();
		took = measure(what[4] ? copy_one_once : copy_once);
		printf("{\"what\": \"%s\", \"bytes\": %zu, \"bits_per_second\": %.0f}\n", what,
		       len, len * 8 / took);
		return 0;
	}
	if (!strcmp(what, "syscall")) {
		took = measure(call_once);
	} else if (!strcmp(what, "exit") || !strcmp(what, "doorbell")) {
		if (*what == 'd' ? peer == NOBODY : peer != NOBODY)
			return usage("doorbell wants --peer, exit wants none");
		find_bell();
		took = measure(ring_once);
	} else if (!strcmp(what, "ringer")) {
		if (peer == NOBODY)
			return usage("ringer wants --peer");
		find_bell();
		ring_on_demand();
		return 0;
	} else if (!strcmp(what, "interrupt")) {
		if (!cid)
			return usage("interrupt wants --cid");
		took = measure_interrupts(&count);
		snprintf(more, sizeof(more), ", \"interrupts\": %llu", (unsigned long long)count);
	} else {
		fprintf(stderr, "bounds: '%s' is unknown: see --help\n", what);
		exit(1);
	}
	printf("{\"what\": \"%s\", \"ns\": %.1f%s}\n", what, took * 1e9, more);
	return 0;
}
