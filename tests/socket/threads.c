// SPDX-License-Identifier: GPL-2.0-only
/* Cases: several threads on one socket at the same time. */
#include <pthread.h>
#include <stdlib.h>

#include "vmshm_test.h"

#define THREADS	4
#define RECORDS	2000

/* Small records that fit in one call: none may be torn or lost. */
struct record {
	uint32_t thread;
	uint32_t nr;
	uint64_t check;
};

static uint64_t check_of(uint32_t thread, uint32_t nr)
{
	return (thread * 2654435761ull) ^ (nr * 0x9e3779b97f4a7c15ull);
}

static int shared_fd;

static void *send_records(void *arg)
{
	uint32_t thread = (long)arg;

	for (uint32_t i = 0; i < RECORDS; i++) {
		struct record r = { thread, i, check_of(thread, i) };

		EQUAL(send(shared_fd, &r, sizeof(r), 0), sizeof(r));
	}
	return NULL;
}

static void start(pthread_t t[], int n, void *(*run)(void *))
{
	for (long i = 0; i < n; i++)
		EQUAL(pthread_create(&t[i], NULL, run, (void *)i), 0);
}

static void join(pthread_t t[], int n)
{
	for (int i = 0; i < n; i++)
		EQUAL(pthread_join(t[i], NULL), 0);
}

static void send_send_client(void)
{
	pthread_t t[THREADS];

	shared_fd = pair();
	start(t, THREADS, send_records);
	join(t, THREADS);
	close(shared_fd);
}

static void send_send_server(void)
{
	uint32_t next[THREADS] = { 0 };
	int fd = pair();
	struct record r;

	for (int i = 0; i < THREADS * RECORDS; i++) {
		recv_all(fd, &r, sizeof(r));
		CHECK(r.thread < THREADS);
		EQUAL(r.nr, next[r.thread]);
		EQUAL(r.check, check_of(r.thread, r.nr));
		next[r.thread]++;
	}
	expect_eof(fd);
}

static uint32_t counts[THREADS];

static void *count_bytes(void *arg)
{
	unsigned char buf[1000];
	long thread = (long)arg;
	ssize_t n;

	while ((n = OK(recv(shared_fd, buf, sizeof(buf), 0))) > 0)
		for (ssize_t i = 0; i < n; i++)
			counts[thread] += buf[i];
	return NULL;
}

#define BYTES	(1 << 20)

static unsigned char byte_at(int i)
{
	return i * 31 + i / 251;
}

/* Every byte goes to one receiver: their sums add up. */
static void recv_recv_client(void)
{
	unsigned char buf[4096];
	int fd = pair();

	for (int at = 0; at < BYTES; at += sizeof(buf)) {
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = byte_at(at + i);
		send_all(fd, buf, sizeof(buf));
	}
	close(fd);
	barrier("done");
}

static void recv_recv_server(void)
{
	uint32_t sum = 0, expected = 0;
	pthread_t t[THREADS];

	shared_fd = pair();
	start(t, THREADS, count_bytes);
	join(t, THREADS);
	for (int i = 0; i < THREADS; i++)
		sum += counts[i];
	for (int i = 0; i < BYTES; i++)
		expected += byte_at(i);
	EQUAL(sum, expected);
	barrier("done");
}

static void *send_pattern(void *arg)
{
	static char buf[50000];
	uint64_t seed = (long)arg, total = 8 << 20;

	for (uint64_t at = 0; at < total; at += sizeof(buf)) {
		size_t len = total - at < sizeof(buf) ? total - at : sizeof(buf);

		pattern_fill(buf, at, len, seed);
		send_all(shared_fd, buf, len);
	}
	return NULL;
}

/* A thread sends while another receives, on both sides. */
static void duplex(uint64_t out, uint64_t in)
{
	pthread_t t;

	shared_fd = pair();
	EQUAL(pthread_create(&t, NULL, send_pattern, (void *)out), 0);
	drain_pattern(shared_fd, in, 0, 8 << 20);
	EQUAL(pthread_join(t, NULL), 0);
	barrier("done");
}

static void duplex_client(void)
{
	duplex(1, 2);
}

static void duplex_server(void)
{
	duplex(2, 1);
}

static void *wait_for_byte(void *arg)
{
	char c;

	(void)arg;
	EQUAL(recv(shared_fd, &c, 1, 0), 1);
	return NULL;
}

/* Several wait at once; each byte wakes one that takes it. */
static void waiters_client(void)
{
	pthread_t t[THREADS];

	shared_fd = pair();
	start(t, THREADS, wait_for_byte);
	barrier("waiting");
	join(t, THREADS);
	expect_nothing(shared_fd);
	barrier("done");
}

static void waiters_server(void)
{
	int fd = pair();

	barrier("waiting");
	for (int i = 0; i < THREADS; i++) {
		sleep_ms(30);
		send_all(fd, "w", 1);
	}
	barrier("done");
}

static void *wait_for_end(void *arg)
{
	char c;

	(void)arg;
	EQUAL(recv(shared_fd, &c, 1, 0), 0);
	return NULL;
}

static void all_wake_client(void)
{
	pthread_t t[THREADS];

	shared_fd = pair();
	start(t, THREADS, wait_for_end);
	barrier("waiting");
	join(t, THREADS);
}

static void all_wake_server(void)
{
	int fd = pair();

	barrier("waiting");
	sleep_ms(50);
	close(fd);
}

/* Descriptors are opened, used and closed by all threads without end. */
static void *churn(void *arg)
{
	char c;

	(void)arg;
	for (int i = 0; i < 50; i++) {
		int fd = connected(0);

		recv_all(fd, &c, 1);
		close(fd);
	}
	return NULL;
}

static void churn_client(void)
{
	pthread_t t[THREADS];

	barrier("listening");
	start(t, THREADS, churn);
	join(t, THREADS);
	barrier("done");
}

static void *serve_churn(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++) {
		int fd = accept_one(shared_fd);

		send_all(fd, "c", 1);
		close(fd);
	}
	return NULL;
}

static void churn_server(void)
{
	pthread_t t[THREADS];

	shared_fd = listener(0, 16);
	barrier("listening");
	start(t, THREADS, serve_churn);
	join(t, THREADS);
	barrier("done");
}

static const struct test_case cases[] = {
	{ "send_send", "four threads send: no record torn, each thread's in order",
	  send_send_client, send_send_server },
	{ "recv_recv", "four threads receive: every byte goes to one of them",
	  recv_recv_client, recv_recv_server },
	{ "duplex", "one thread sends and one receives, 8 MiB each way",
	  duplex_client, duplex_server },
	{ "waiters", "four threads wait, each gets its byte", waiters_client, waiters_server },
	{ "all_wake", "the end wakes all that wait", all_wake_client, all_wake_server },
	{ "churn", "four threads connect and close, four accept", churn_client, churn_server },
};

SUBJECT(threads);
