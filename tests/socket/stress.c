// SPDX-License-Identifier: GPL-2.0-only
/* Cases: much data, many connections, much coming and going. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "vmshm_test.h"

struct flow {
	int fd;
	uint64_t seed;
	uint64_t total;
	size_t max;
};

static void *send_flow(void *arg)
{
	struct flow *f = arg;
	char *buf = malloc(f->max);
	uint64_t at, random = f->seed * 77 + 1;
	size_t len;

	for (at = 0; at < f->total; at += len) {
		len = 1 + random_below(&random, f->max);
		if (len > f->total - at)
			len = f->total - at;
		pattern_fill(buf, at, len, f->seed);
		send_all(f->fd, buf, len);
	}
	OK(shutdown(f->fd, SHUT_WR));
	free(buf);
	return NULL;
}

static void receive_flow(struct flow *f)
{
	char *buf = malloc(f->max);
	uint64_t at = 0, random = f->seed * 99 + 1;
	ssize_t n;

	while ((n = OK(recv(f->fd, buf, 1 + random_below(&random, f->max), 0)))) {
		pattern_check(buf, at, n, f->seed);
		at += n;
	}
	EQUAL(at, f->total);
	free(buf);
}

static void both_ways(uint64_t total, size_t max)
{
	struct flow out = { .seed = 1 + !ctx.is_client, .total = total, .max = max };
	struct flow in = { .seed = 1 + ctx.is_client, .total = total, .max = max };
	pthread_t t;

	out.fd = pair();
	in.fd = out.fd;
	EQUAL(pthread_create(&t, NULL, send_flow, &out), 0);
	receive_flow(&in);
	EQUAL(pthread_join(t, NULL), 0);
	barrier("done");
}

static void small_flow(void)
{
	both_ways(1 << 20, 700);
}

static void large_flow(void)
{
	both_ways(64 << 20, 300000);
}

#define MANY	300

/* Each connection has its own data; all are open at the same time. */
static void many_client(void)
{
	static int fds[MANY];
	int value;

	barrier("listening");
	for (int i = 0; i < MANY; i++) {
		fds[i] = connected(0);
		value = i * 7;
		send_all(fds[i], &value, sizeof(value));
	}
	for (int i = MANY - 1; i >= 0; i--) {
		recv_all(fds[i], &value, sizeof(value));
		EQUAL(value, i * 7 + 1);
		close(fds[i]);
	}
	barrier("done");
}

static void many_server(void)
{
	static int fds[MANY];
	int listen_fd = listener(0, MANY), value;

	barrier("listening");
	for (int i = 0; i < MANY; i++)
		fds[i] = accept_one(listen_fd);
	for (int i = 0; i < MANY; i++) {
		recv_all(fds[i], &value, sizeof(value));
		EQUAL(value, i * 7);
		value++;
		send_all(fds[i], &value, sizeof(value));
	}
	for (int i = 0; i < MANY; i++) {
		expect_eof(fds[i]);
		close(fds[i]);
	}
	barrier("done");
}

#define ROUNDS	400

/* Connections come and go, closed by either side, with and without data left. */
static void churn_client(void)
{
	static char buf[5000];
	int fd;

	barrier("listening");
	for (int i = 0; i < ROUNDS; i++) {
		fd = connected(0);
		/* It may be closed already. */
		if (i % 2)
			send(fd, buf, 1 + i * 12, MSG_NOSIGNAL);
		if (i % 4 < 2) {
			char c;

			here(__FILE__, __LINE__, "wait for the other side's close");
			while (recv(fd, &c, 1, 0) > 0)
				;
		}
		close(fd);
	}
	barrier("done");
}

static void churn_server(void)
{
	static char buf[5000];
	int listen_fd = listener(0, 8), fd;

	barrier("listening");
	for (int i = 0; i < ROUNDS; i++) {
		fd = accept_one(listen_fd);
		if (i % 8 < 4) {
			here(__FILE__, __LINE__, "read something");
			if (i % 2)
				recv(fd, buf, 100, 0);
		}
		if (i % 3 == 0)
			send(fd, buf, 50, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
	}
	barrier("done");
}

/* Processes that die in the middle of a transfer, again and again. */
static void killed_client(void)
{
	for (int i = 0; i < 15; i++) {
		pid_t pid;
		int status;

		barrier("listening");
		pid = OK(fork());
		if (!pid) {
			struct flow f = { .fd = connected(0), .seed = 1,
					  .total = 1ull << 40, .max = 100000 };

			send_flow(&f);
			_exit(0);
		}
		barrier("connected");
		sleep_ms(5 + 3 * i);
		kill(pid, SIGKILL);
		EQUAL(waitpid(pid, &status, 0), pid);
	}
	barrier("done");
}

static void killed_server(void)
{
	static char buf[65536];
	uint64_t at;
	ssize_t n;

	for (int i = 0; i < 15; i++) {
		int listen_fd = listener(0, 1), fd;

		barrier("listening");
		fd = accept_one(listen_fd);
		barrier("connected");
		here(__FILE__, __LINE__, "recv from a process that is killed");
		for (at = 0; (n = recv(fd, buf, sizeof(buf), 0)) > 0; at += n)
			pattern_check(buf, at, n, 1);
		CHECK(n == 0 || errno == ECONNRESET);
		close(fd);
		close(listen_fd);
	}
	barrier("done");
}

/* Blocked, woken, blocked: a byte at a time, without a lost wake-up. */
#define PINGS	2000

static void ping_over(int fd)
{
	int value;

	for (int i = 0; i < PINGS; i++) {
		send_all(fd, &i, sizeof(i));
		recv_all(fd, &value, sizeof(value));
		EQUAL(value, i);
	}
	barrier("done");
}

static void answer_over(int fd)
{
	int value;

	for (int i = 0; i < PINGS; i++) {
		recv_all(fd, &value, sizeof(value));
		send_all(fd, &value, sizeof(value));
	}
	barrier("done");
}

static void ping_client(void)
{
	ping_over(pair());
}

static void ping_server(void)
{
	answer_over(pair());
}

static int sleeping_pair(void)
{
	int fd = pair(), never = 0;

	OK(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &never, sizeof(never)));
	return fd;
}

static void sleeping_client(void)
{
	ping_over(sleeping_pair());
}

static void sleeping_server(void)
{
	answer_over(sleeping_pair());
}

/* Connections in both directions at the same time, from both sides. */
#define CROSS	60

static void *accept_all(void *arg)
{
	int fd = *(int *)arg, conn;
	char c;

	for (int i = 0; i < CROSS; i++) {
		conn = accept_one(fd);
		recv_all(conn, &c, 1);
		send_all(conn, &c, 1);
		close(conn);
	}
	return NULL;
}

static void cross(void)
{
	int listen_fd = listener(ctx.is_client, CROSS);
	pthread_t t;
	char c;

	tell("cid", local_cid());
	unsigned int cid = ask("cid");

	if (ctx.one_vm || cid == VMSHM_CID_ANY)
		cid = ctx.peer;
	EQUAL(pthread_create(&t, NULL, accept_all, &listen_fd), 0);
	barrier("listening");
	for (int i = 0; i < CROSS; i++) {
		int fd = stream_socket();

		OK(connect_to(fd, cid, port_nr(!ctx.is_client)));
		send_all(fd, "x", 1);
		recv_all(fd, &c, 1);
		close(fd);
	}
	EQUAL(pthread_join(t, NULL), 0);
	barrier("done");
}

static const struct test_case cases[] = {
	{ "1m", "1 MiB in both directions, random small sizes, every byte checked",
	  small_flow, small_flow },
	{ "64m", "64 MiB in both directions, random sizes, every byte checked",
	  large_flow, large_flow, .limit = 40 },
	{ "many", "300 connections at the same time", many_client, many_server, .limit = 20 },
	{ "churn", "400 connections one after the other, closed in all ways",
	  churn_client, churn_server, .limit = 20 },
	{ "killed", "senders killed in the middle of a transfer", killed_client, killed_server },
	{ "ping", "2,000 round trips", ping_client, ping_server, .limit = 20 },
	{ "ping_sleeping", "2,000 round trips of which every wait sleeps",
	  sleeping_client, sleeping_server, .limit = 20, .flags = VMSHM_ONLY },
	{ "cross", "both sides connect to each other at the same time", cross, cross },
};

SUBJECT(stress);
