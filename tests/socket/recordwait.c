// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: SOCK_SEQPACKET, waiting for records and for room, poll and epoll, ends
 * of connections, several threads. What a record is: seqpacket.c.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "vmshm_test.h"

#define SIZE	65536

static void wait_client(void)
{
	int fd = pair_of_records(0, 0);
	double start = now();
	char buf[10];

	expect_nothing(fd);
	EQUAL(poll_one(fd, POLLIN | POLLOUT, 0), POLLOUT);
	set_timeout(fd, SO_RCVTIMEO, 200);
	start = now();
	FAILS(recv(fd, buf, 10, 0), EAGAIN);
	check_elapsed(start, 200);
	barrier("waiting");
	set_timeout(fd, SO_RCVTIMEO, 5000);
	/* A threshold is for streams: a record ends the wait whatever its size. */
	EQUAL(recv(fd, buf, 10, 0), 3);
	EQUAL(poll_one(fd, POLLIN, 5000), POLLIN);
	EQUAL(recv(fd, buf, 10, MSG_DONTWAIT), 1);
	barrier("done");
}

static void wait_server(void)
{
	int fd = pair_of_records(0, 0);

	barrier("waiting");
	sleep_ms(100);
	EQUAL(send(fd, "abc", 3, 0), 3);
	sleep_ms(100);
	EQUAL(send(fd, "d", 1, 0), 1);
	barrier("done");
}

/* Records of @len bytes until EAGAIN; how many. */
static unsigned int fill_records(int fd, size_t len)
{
	char *buf = malloc(len);
	unsigned int n = 0;

	for (;; n++) {
		pattern_fill(buf, 0, len, n);
		here(__FILE__, __LINE__, "send until full");
		if (send(fd, buf, len, MSG_DONTWAIT) != (ssize_t)len)
			break;
		CHECK(n < 100000);
	}
	EQUAL(errno, EAGAIN);
	free(buf);
	return n;
}

static void full_client(void)
{
	int fd = pair_of_records(0, SIZE);
	unsigned int n = fill_records(fd, 5000);
	static char buf[SIZE];
	double start;

	CHECK(n >= SIZE / 5000);
	/* Room for some record, but not for any: not ready. */
	EQUAL(poll_one(fd, POLLOUT, 0), 0);
	set_timeout(fd, SO_SNDTIMEO, 200);
	start = now();
	FAILS(send(fd, buf, SIZE, 0), EAGAIN);
	check_elapsed(start, 200);
	set_timeout(fd, SO_SNDTIMEO, 0);
	tell("sent", n);
	/* Waits until the reader has made room for all of it. */
	pattern_fill(buf, 0, SIZE, 77);
	EQUAL(send(fd, buf, SIZE, 0), SIZE);
	barrier("read");
	EQUAL(poll_one(fd, POLLOUT, 5000), POLLOUT);
	EQUAL(send(fd, buf, SIZE, MSG_DONTWAIT), SIZE);
	barrier("done");
}

static void full_server(void)
{
	int fd = pair_of_records(0, SIZE);
	unsigned int n = ask("sent");
	static char buf[SIZE];

	for (unsigned int i = 0; i < n; i++) {
		if (i < 3)
			sleep_ms(20);
		EQUAL(recv(fd, buf, SIZE, 0), 5000);
		pattern_check(buf, 0, 5000, i);
	}
	EQUAL(recv(fd, buf, SIZE, 0), SIZE);
	pattern_check(buf, 0, SIZE, 77);
	barrier("read");
	EQUAL(recv(fd, buf, SIZE, 0), SIZE);
	barrier("done");
}

/* ---- edge-triggered on both sides: nobody calls poll() between the calls ---- */

#define EDGE_RECORDS	8000

static size_t edge_len(uint64_t *state, unsigned int i)
{
	return i % 500 ? random_below(state, 3000) + 1 : SIZE - random_below(state, 100);
}

static void wait_edge(int ep)
{
	struct epoll_event e;

	here(__FILE__, __LINE__, "wait for an edge");
	if (epoll_wait(ep, &e, 1, ctx.patience * 5000) != 1)
		FAIL("no edge came");
}

static int edge_of(int fd, unsigned int events)
{
	struct epoll_event e = { .events = events | EPOLLET };
	int ep = OK(epoll_create1(EPOLL_CLOEXEC));

	set_blocking(fd, false);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	return ep;
}

static void edge_client(void)
{
	int fd = pair_of_records(0, SIZE), ep = edge_of(fd, EPOLLOUT);
	static char buf[SIZE];
	uint64_t state = 4711;
	unsigned int i;

	for (i = 0; i < EDGE_RECORDS; i++) {
		size_t len = edge_len(&state, i);

		pattern_fill(buf, 0, len, i);
		while (send(fd, buf, len, 0) != (ssize_t)len) {
			EQUAL(errno, EAGAIN);
			wait_edge(ep);
		}
	}
	barrier("done");
}

static void edge_server(void)
{
	int fd = pair_of_records(0, SIZE), ep = edge_of(fd, EPOLLIN);
	static char buf[SIZE];
	uint64_t state = 4711;
	unsigned int i;
	ssize_t n;

	for (i = 0; i < EDGE_RECORDS; i++) {
		size_t len = edge_len(&state, i);

		while ((n = recv(fd, buf, SIZE, 0)) < 0) {
			EQUAL(errno, EAGAIN);
			wait_edge(ep);
		}
		EQUAL(n, len);
		pattern_check(buf, 0, len, i);
	}
	barrier("done");
}

/* ---- blocking, both directions at once ---- */

#define BOTH_RECORDS	8000

static void *both_sender(void *arg)
{
	int fd = *(int *)arg;
	static char buf[SIZE];
	uint64_t state = 99;

	for (unsigned int i = 0; i < BOTH_RECORDS; i++) {
		size_t len = i % 1000 ? random_below(&state, 2000) : SIZE;

		pattern_fill(buf, 0, len, i);
		EQUAL(send(fd, buf, len, 0), len);
	}
	return NULL;
}

static void both(void)
{
	int fd = pair_of_records(0, SIZE);
	static char buf[SIZE];
	uint64_t state = 99;
	pthread_t thread;

	EQUAL(pthread_create(&thread, NULL, both_sender, &fd), 0);
	for (unsigned int i = 0; i < BOTH_RECORDS; i++) {
		size_t len = i % 1000 ? random_below(&state, 2000) : SIZE;

		EQUAL(recv(fd, buf, SIZE, 0), len);
		pattern_check(buf, 0, len, i);
	}
	EQUAL(pthread_join(thread, NULL), 0);
	barrier("done");
}

/* ---- threads that share a socket: records come apart nowhere ---- */

#define THREADS		4
#define PER_THREAD	500

static int shared_fd;

/* Byte 0 to 3: thread, 4 to 7: number; the rest is a pattern of both. */
static size_t shared_len(unsigned int thread, unsigned int i)
{
	return thread ? 8 + (i * 37 + thread) % 4000 : 70000 + i % 1000;
}

static void *shared_sender(void *arg)
{
	unsigned int thread = (uintptr_t)arg;
	char *buf = malloc(80000);

	for (unsigned int i = 0; i < PER_THREAD; i++) {
		size_t len = shared_len(thread, i);
		unsigned int head[2] = { thread, i };

		memcpy(buf, head, 8);
		pattern_fill(buf + 8, 0, len - 8, thread << 20 | i);
		EQUAL(send(shared_fd, buf, len, 0), len);
	}
	free(buf);
	return NULL;
}

static unsigned int shared_got[THREADS];

static void *shared_receiver(void *arg)
{
	char *buf = malloc(80000);
	unsigned int head[2];
	ssize_t n;

	(void)arg;
	while ((n = OK(recv(shared_fd, buf, 80000, 0))) > 0) {
		CHECK(n >= 8);
		memcpy(head, buf, 8);
		CHECK(head[0] < THREADS && head[1] < PER_THREAD);
		EQUAL(n, shared_len(head[0], head[1]));
		pattern_check(buf + 8, 0, n - 8, head[0] << 20 | head[1]);
		__atomic_fetch_add(&shared_got[head[0]], 1, __ATOMIC_RELAXED);
	}
	free(buf);
	return NULL;
}

static void run_shared(void *(*work)(void *), unsigned int threads)
{
	pthread_t thread[THREADS];

	for (uintptr_t i = 0; i < threads; i++)
		EQUAL(pthread_create(&thread[i], NULL, work, (void *)i), 0);
	for (unsigned int i = 0; i < threads; i++)
		EQUAL(pthread_join(thread[i], NULL), 0);
}

static void shared_client(void)
{
	shared_fd = pair_of_records(0, 128 * 1024);
	run_shared(shared_sender, THREADS);
	OK(shutdown(shared_fd, SHUT_WR));
	barrier("done");
}

static void shared_server(void)
{
	shared_fd = pair_of_records(0, 128 * 1024);
	run_shared(shared_receiver, 3);
	for (int i = 0; i < THREADS; i++)
		EQUAL(shared_got[i], PER_THREAD);
	barrier("done");
}

/* ---- ends ---- */

static void shutdown_client(void)
{
	int fd = pair_of_records(0, 0);

	/* No signal comes: the default would end this process. */
	signal(SIGPIPE, SIG_DFL);
	EQUAL(send(fd, "last", 4, 0), 4);
	OK(shutdown(fd, SHUT_WR));
	FAILS(send(fd, "x", 1, 0), EPIPE);
	barrier("shut");
	barrier("peer shut");
	barrier("done");
}

static void shutdown_server(void)
{
	int fd = pair_of_records(0, 0);
	char buf[10];

	signal(SIGPIPE, SIG_DFL);
	barrier("shut");
	EQUAL(recv(fd, buf, 10, 0), 4);
	EQUAL(recv(fd, buf, 10, 0), 0);
	EQUAL(recv(fd, buf, 10, 0), 0);
	CHECK(poll_one(fd, POLLIN | POLLRDHUP, 1000) & POLLRDHUP);
	EQUAL(send(fd, "still", 5, 0), 5);
	OK(shutdown(fd, SHUT_RD));
	EQUAL(recv(fd, buf, 10, 0), 0);
	barrier("peer shut");
	barrier("done");
}

static void rdshut_client(void)
{
	int fd = pair_of_records(0, 0);

	signal(SIGPIPE, SIG_DFL);
	barrier("shut");
	FAILS(send(fd, "x", 1, 0), EPIPE);
	barrier("done");
}

static void rdshut_server(void)
{
	int fd = pair_of_records(0, 0);

	OK(shutdown(fd, SHUT_RD));
	barrier("shut");
	barrier("done");
}

static void close_client(void)
{
	int fd = pair_of_records(0, SIZE), full = pair_of_records(1, SIZE);
	int last = pair_of_records(2, SIZE);
	static char buf[SIZE];

	EQUAL(send(last, "last", 4, 0), 4);
	close(last);
	EQUAL(send(fd, "unread", 6, 0), 6);
	fill_records(full, 1000);
	barrier("sent");
	/* What it never read makes its close a reset, and ends a send that waits. */
	FAILS(send(full, buf, SIZE, 0), ECONNRESET);
	FAILS(recv(fd, buf, 1, 0), ECONNRESET);
	FAILS(send(fd, buf, 1, 0), EPIPE);
	EQUAL(recv(fd, buf, 1, 0), 0);
	barrier("done");
}

static void close_server(void)
{
	int fd = pair_of_records(0, SIZE), full = pair_of_records(1, SIZE);
	int last = pair_of_records(2, SIZE);
	char buf[10];

	barrier("sent");
	EQUAL(recv(last, buf, 10, 0), 4);
	EQUAL(recv(last, buf, 10, 0), 0);
	sleep_ms(100);
	close(full);
	close(fd);
	barrier("done");
}

static void on_usr1(int sig)
{
	(void)sig;
}

static void signal_client(void)
{
	pid_t child, me = getpid();
	int fd = pair_of_records(0, SIZE);
	static char buf[SIZE];

	fill_records(fd, 1000);
	on_signal(SIGUSR1, on_usr1, 0);
	child = OK(fork());
	/* Again and again: one may come before the call waits. */
	while (!child) {
		sleep_ms(100);
		if (kill(me, SIGUSR1))
			_exit(0);
	}
	FAILS(recv(fd, buf, 1, 0), EINTR);
	FAILS(send(fd, buf, SIZE, 0), EINTR);
	OK(kill(child, SIGKILL));
	barrier("done");
}

static void idle_server(void)
{
	pair_of_records(0, SIZE);
	barrier("done");
}

static const struct test_case cases[] = {
	{ "wait", "blocking, SO_RCVTIMEO, MSG_DONTWAIT, poll", wait_client, wait_server },
	{ "full", "no room: EAGAIN, SO_SNDTIMEO, poll; a sender that waits goes on",
	  full_client, full_server, .vsock_differs = "a record may be sent in part" },
	{ "edge", "edge-triggered on both sides, no record is lost", edge_client, edge_server,
	  .limit = 30, .vsock_differs = "a record may be sent in part" },
	{ "both", "records in both directions at once", both, both, .limit = 30,
	  .vsock_differs = "it sends no record of no bytes" },
	{ "shared", "threads that share a socket get whole records",
	  shared_client, shared_server, .limit = 30,
	  .vsock_differs = "it tears long records of threads that send at the same time" },
	{ "shutdown", "shutdown: the last record, end of file, EPIPE without a signal",
	  shutdown_client, shutdown_server },
	{ "rdshut", "nobody reads any more: EPIPE without a signal", rdshut_client, rdshut_server },
	{ "close", "unread records reset the connection; else what was sent arrives",
	  close_client, close_server, .vsock_differs = "it loses what was sent before a close" },
	{ "signal", "a signal ends a wait", signal_client, idle_server,
	  .vsock_differs = "a record may be sent in part" },
};

SUBJECT(recordwait);
