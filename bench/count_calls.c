// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts what send() and recv() cost, in steps of the time stamp counter. In a
 * VM under QEMU's -icount shift=0 these are guest instructions, exact and the
 * same from run to run; elsewhere they are cycles, and noise.
 *
 * Both ends of the connection are here (loopback), so nothing waits, nothing
 * wakes and no other program runs in between: what is counted is the system
 * call and the copy. Prints one line for each: "NAME COUNT", where COUNT is the
 * most frequent of all repetitions.
 */
#include <argp.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/vmshm.h>

#define ROUNDS	300
#define PORT	20490

#ifndef __x86_64__
#error "the time stamp counter of x86-64 is what counts here"
#endif

static int family = AF_VMSHM;
static unsigned int cid = VMSHM_CID_LOCAL;

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "count_calls: %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline uint64_t ticks(void)
{
	return __builtin_ia32_rdtsc();
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t mode_of(uint64_t values[ROUNDS])
{
	uint64_t best = 0;
	int best_count = 0, count = 0;

	qsort(values, ROUNDS, sizeof(values[0]), compare);
	for (int i = 0; i < ROUNDS; i++) {
		count = i && values[i] == values[i - 1] ? count + 1 : 1;
		if (count > best_count) {
			best_count = count;
			best = values[i];
		}
	}
	return best;
}

static void connect_ends(int ends[2])
{
	struct sockaddr_vmshm a = { .svm_family = family, .svm_port = PORT,
				    .svm_cid = VMSHM_CID_ANY };
	int fd;

	if (family == AF_UNIX) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
			die("socketpair");
		return;
	}
	fd = socket(family, SOCK_STREAM, 0);
	if (fd < 0)
		die("socket (is the module loaded?)");
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1))
		die("listen");
	ends[0] = socket(family, SOCK_STREAM, 0);
	a.svm_cid = cid;
	if (ends[0] < 0 || connect(ends[0], (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	ends[1] = accept(fd, NULL, NULL);
	if (ends[1] < 0)
		die("accept");
	close(fd);
}

static void count(const char *name, int ends[2], char *buf, size_t len)
{
	static uint64_t sends[ROUNDS], recvs[ROUNDS];
	uint64_t start;

	for (int i = 0; i < ROUNDS; i++) {
		start = ticks();
		if (send(ends[0], buf, len, 0) != (ssize_t)len)
			die("send");
		sends[i] = ticks() - start;
		start = ticks();
		if (recv(ends[1], buf, len, 0) != (ssize_t)len)
			die("recv");
		recvs[i] = ticks() - start;
	}
	printf("send_%s %llu\nrecv_%s %llu\n", name, (unsigned long long)mode_of(sends),
	       name, (unsigned long long)mode_of(recvs));
}

static void count_getppid(void)
{
	static uint64_t values[ROUNDS];
	uint64_t start;

	for (int i = 0; i < ROUNDS; i++) {
		start = ticks();
		syscall(SYS_getppid);
		values[i] = ticks() - start;
	}
	printf("getppid %llu\n", (unsigned long long)mode_of(values));
}

static const struct argp_option argp_options[] = {
	{ "family", 'f', "FAMILY", 0, "vmshm (default), vsock or unix", 0 },
	{ "cid", 'c', "CID", 0, "this VM's CID, or 1 (default)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	char *end;

	switch (key) {
	case 'f':
		if (!strcmp(arg, "vmshm"))
			family = AF_VMSHM;
		else if (!strcmp(arg, "vsock"))
			family = AF_VSOCK;
		else if (!strcmp(arg, "unix"))
			family = AF_UNIX;
		else
			argp_error(state, "--family %s: expected vmshm, vsock or unix", arg);
		break;
	case 'c':
		cid = strtoul(arg, &end, 10);
		if (end == arg || *end)
			argp_error(state, "--cid %s: expected a number", arg);
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'? there are options only", arg);
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
		.doc = "Counts the instructions of send and recv, under -icount.",
	};
	char *buf;
	int ends[2];

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	buf = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (buf == MAP_FAILED)
		die("mmap");
	memset(buf, 1, 65536);
	connect_ends(ends);
	count_getppid();
	count("64", ends, buf, 64);
	count("64k", ends, buf, 65536);
	return 0;
}
