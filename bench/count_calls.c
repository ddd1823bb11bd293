// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts what send() and recv() cost, in steps of the time stamp counter. In a
 * VM under QEMU's -icount shift=0 these are guest instructions, exact and the
 * same from run to run; elsewhere they are cycles, and noise.
 *
 * Both ends of the connection are here (loopback), so nothing waits, nothing
 * wakes and no other program runs in between: what is counted is the system
 * call and the copy. Two families do more than that: TCP's send() on loopback
 * runs the receiver's stack, its recv() that of the ACK, and AF_VSOCK's recv()
 * waits for a kernel thread that carries the message over.
 *
 * wake_64 is the other case, of a receiver that sleeps: from before send() until
 * recv() has returned in another thread, which is woken and switched to.
 *
 * Prints one line for each: "NAME COUNT", where COUNT is the most frequent of
 * all repetitions.
 */
#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
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

static socklen_t address(struct sockaddr_storage *a, bool to)
{
	struct sockaddr_vmshm vm = { .svm_family = family, .svm_port = PORT,
				     .svm_cid = to ? cid : VMSHM_CID_ANY };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(PORT),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	if (family == AF_INET) {
		memcpy(a, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(a, &vm, sizeof(vm));
	return sizeof(vm);
}

/* TCP gets what it needs to take 64 KiB at once, as the others do. */
static int new_socket(int type)
{
	int fd = socket(family, type, 0), one = 1, room = 4 << 20;

	if (fd < 0)
		die("socket (is the module loaded?)");
	if (family == AF_INET &&
	    (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	     setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	     setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) ||
	     setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room))))
		die("setsockopt");
	return fd;
}

static void connect_ends(int ends[2], int type)
{
	struct sockaddr_storage a;
	socklen_t n;
	int fd;

	if (family == AF_UNIX) {
		if (socketpair(AF_UNIX, type, 0, ends))
			die("socketpair");
		return;
	}
	n = address(&a, false);
	fd = new_socket(type);
	if (bind(fd, (struct sockaddr *)&a, n))
		die("bind");
	n = address(&a, true);
	ends[0] = new_socket(type);
	if (type == SOCK_DGRAM) {
		ends[1] = fd;
		if (connect(ends[0], (struct sockaddr *)&a, n))
			die("connect");
		return;
	}
	if (listen(fd, 1))
		die("listen");
	if (connect(ends[0], (struct sockaddr *)&a, n))
		die("connect");
	ends[1] = accept(fd, NULL, NULL);
	if (ends[1] < 0)
		die("accept");
	close(fd);
}

static void disconnect_ends(int ends[2])
{
	close(ends[0]);
	close(ends[1]);
}

static void count(const char *name, int ends[2], char *buf, size_t len)
{
	static uint64_t sends[ROUNDS], recvs[ROUNDS];
	/* TCP may hand over a part; with the others the flag would say nothing. */
	int flags = family == AF_INET ? MSG_WAITALL : 0;
	uint64_t start;

	for (int i = 0; i < ROUNDS; i++) {
		start = ticks();
		if (send(ends[0], buf, len, 0) != (ssize_t)len)
			die("send");
		sends[i] = ticks() - start;
		start = ticks();
		if (recv(ends[1], buf, len, flags) != (ssize_t)len)
			die("recv");
		recvs[i] = ticks() - start;
	}
	printf("send_%s %llu\nrecv_%s %llu\n", name, (unsigned long long)mode_of(sends),
	       name, (unsigned long long)mode_of(recvs));
}

static void count_type(const char *name, int type, char *buf, size_t len)
{
	int ends[2];

	connect_ends(ends, type);
	count(name, ends, buf, len);
	disconnect_ends(ends);
}

/* A receiver that sleeps: it notes when it had the message, then asks for the next. */
static struct {
	int fd, asks;
	uint64_t got;
} sleeper;

static void *sleep_for_messages(void *arg)
{
	uint64_t one = 1;
	char buf[64];

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		if (recv(sleeper.fd, buf, sizeof(buf), 0) != sizeof(buf))
			die("recv");
		sleeper.got = ticks();
		if (write(sleeper.asks, &one, sizeof(one)) != sizeof(one))
			die("eventfd");
	}
	return NULL;
}

static void make_urgent(int priority)
{
	struct sched_param p = { .sched_priority = priority };

	if (sched_setscheduler(0, SCHED_FIFO, &p))
		die("sched_setscheduler");
}

/*
 * The receiver is the more urgent one, so it runs as soon as it is woken and is
 * asleep again before the sender goes on. No looking at the ring beforehand.
 */
static void count_wake(void)
{
	static uint64_t values[ROUNDS];
	char buf[64] = "";
	uint64_t start, asked;
	pthread_t thread;
	int ends[2], never = 0;

	connect_ends(ends, SOCK_STREAM);
	if (family == AF_VMSHM &&
	    setsockopt(ends[1], AF_VMSHM, SO_VMSHM_BUSY_POLL, &never, sizeof(never)))
		die("SO_VMSHM_BUSY_POLL");
	sleeper.fd = ends[1];
	sleeper.asks = eventfd(0, 0);
	make_urgent(2);
	if (sleeper.asks < 0 || pthread_create(&thread, NULL, sleep_for_messages, NULL))
		die("thread");
	make_urgent(1);
	for (int i = 0; i < ROUNDS; i++) {
		start = ticks();
		if (send(ends[0], buf, sizeof(buf), 0) != sizeof(buf))
			die("send");
		if (read(sleeper.asks, &asked, sizeof(asked)) != sizeof(asked))
			die("eventfd");
		values[i] = sleeper.got - start;
	}
	pthread_join(thread, NULL);
	disconnect_ends(ends);
	printf("wake_64 %llu\n", (unsigned long long)mode_of(values));
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
	{ "family", 'f', "FAMILY", 0, "vmshm (default), vsock, unix or tcp", 0 },
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
		else if (!strcmp(arg, "tcp"))
			family = AF_INET;
		else
			argp_error(state, "--family %s: expected vmshm, vsock, unix or tcp", arg);
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
	connect_ends(ends, SOCK_STREAM);
	count_getppid();
	count("64", ends, buf, 64);
	count("64k", ends, buf, 65536);
	disconnect_ends(ends);
	if (family == AF_VMSHM || family == AF_UNIX) {
		count_type("seqpacket_64", SOCK_SEQPACKET, buf, 64);
		count_type("dgram_64", SOCK_DGRAM, buf, 64);
	}
	count_wake();
	return 0;
}
