// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: epoll, level- and edge-triggered. The edge-triggered user calls
 * nothing between EAGAIN and epoll_wait(), so an edge that is not reported is
 * lost for good and the case hangs.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "vmshm_test.h"

#define WAIT_MS	((int)ctx.patience * 5000)

static int epoll_of(int fd, unsigned int events)
{
	struct epoll_event e = { .events = events, .data.fd = fd };
	int ep = OK(epoll_create1(EPOLL_CLOEXEC));

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	return ep;
}

static unsigned int wait_one(int ep, int ms)
{
	struct epoll_event e;

	return OK(epoll_wait(ep, &e, 1, ms)) ? e.events : 0;
}

static void sender_server(void)
{
	int fd = pair();

	barrier("send");
	send_all(fd, "0123456789", 10);
	barrier("again");
	send_all(fd, "0123456789", 10);
	barrier("done");
}

static void level_client(void)
{
	int fd = pair(), ep = epoll_of(fd, EPOLLIN);
	char buf[10];

	EQUAL(wait_one(ep, 0), 0);
	barrier("send");
	EQUAL(wait_one(ep, WAIT_MS), EPOLLIN);
	wait_readable(fd, 10);
	recv_all(fd, buf, 5);
	EQUAL(wait_one(ep, 0), EPOLLIN);
	recv_all(fd, buf, 5);
	EQUAL(wait_one(ep, 0), 0);
	barrier("again");
	EQUAL(wait_one(ep, WAIT_MS), EPOLLIN);
	barrier("done");
}

static void edge_client(void)
{
	int fd = pair(), ep = epoll_of(fd, EPOLLIN | EPOLLET);
	char buf[10];

	barrier("send");
	EQUAL(wait_one(ep, WAIT_MS), EPOLLIN);
	wait_readable(fd, 10);
	while (wait_one(ep, 20))
		;
	/* Once told, it is not told again while nothing changes. */
	recv_all(fd, buf, 5);
	EQUAL(wait_one(ep, 50), 0);
	barrier("again");
	EQUAL(wait_one(ep, WAIT_MS), EPOLLIN);
	barrier("done");
}

static void oneshot_client(void)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLONESHOT };
	int fd = pair(), ep = epoll_of(fd, EPOLLIN | EPOLLONESHOT);

	barrier("send");
	EQUAL(wait_one(ep, WAIT_MS), EPOLLIN);
	EQUAL(wait_one(ep, 50), 0);
	OK(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e));
	EQUAL(wait_one(ep, 1000), EPOLLIN);
	barrier("again");
	barrier("done");
}

static void rdhup_client(void)
{
	int fd = pair(), ep = epoll_of(fd, EPOLLIN | EPOLLRDHUP | EPOLLET);
	char buf[4];

	barrier("shut");
	/* Data and end can come as one edge or two. */
	here(__FILE__, __LINE__, "wait for EPOLLRDHUP");
	while (!(wait_one(ep, WAIT_MS) & EPOLLRDHUP))
		;
	recv_all(fd, buf, 4);
	expect_eof(fd);
	OK(shutdown(fd, SHUT_WR));
	CHECK(wait_one(ep, WAIT_MS) & EPOLLHUP);
	barrier("done");
}

static void rdhup_server(void)
{
	int fd = pair();

	barrier("shut");
	send_all(fd, "last", 4);
	OK(shutdown(fd, SHUT_WR));
	barrier("done");
}

static void accept_edge_client(void)
{
	for (int i = 0; i < 5; i++) {
		barrier("connect");
		connected(0);
		connected(0);
	}
	barrier("done");
}

static void accept_edge_server(void)
{
	int fd = listener(0, 10), ep, got;

	set_blocking(fd, false);
	ep = epoll_of(fd, EPOLLIN | EPOLLET);
	for (int i = 0; i < 5; i++) {
		barrier("connect");
		for (got = 0; got < 2;) {
			EQUAL(wait_one(ep, WAIT_MS), EPOLLIN);
			while (accept(fd, NULL, NULL) >= 0)
				got++;
			EQUAL(errno, EAGAIN);
		}
	}
	barrier("done");
}

/* Both directions at once by one edge-triggered loop, nothing in between. */
#define TOTAL	(24ull << 20)

static void edge_loop(int fd, uint64_t seed_out, uint64_t seed_in)
{
	static char out[100000], in[100000];
	int ep = epoll_of(fd, EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP);
	uint64_t sent = 0, received = 0, random = seed_out + 1;
	size_t want;
	ssize_t n;

	set_blocking(fd, false);
	while (sent < TOTAL || received < TOTAL) {
		here(__FILE__, __LINE__, "epoll_wait for an edge");
		if (!wait_one(ep, WAIT_MS))
			FAIL("no edge in 5 s, %llu bytes sent, %llu received",
			     (unsigned long long)sent, (unsigned long long)received);
		while (sent < TOTAL) {
			want = 1 + random_below(&random, sizeof(out));
			if (want > TOTAL - sent)
				want = TOTAL - sent;
			pattern_fill(out, sent, want, seed_out);
			n = send(fd, out, want, MSG_NOSIGNAL);
			if (n == -1 && errno == EAGAIN)
				break;
			CHECK(OK(n) > 0);
			sent += n;
		}
		while (received < TOTAL) {
			want = 1 + random_below(&random, sizeof(in));
			n = recv(fd, in, want, 0);
			if (n == -1 && errno == EAGAIN)
				break;
			CHECK(OK(n) > 0);
			pattern_check(in, received, n, seed_in);
			received += n;
		}
	}
}

static void bulk_client(void)
{
	edge_loop(pair(), 1, 2);
	barrier("done");
}

static void bulk_server(void)
{
	edge_loop(pair(), 2, 1);
	barrier("done");
}

/* Small messages with a reader that always drains: an edge for nearly each. */
#define ROUNDS	1000

static void small_edges_client(void)
{
	int fd = pair(), ep = epoll_of(fd, EPOLLIN | EPOLLET), value, n;

	set_blocking(fd, false);
	for (int i = 0; i < ROUNDS; i++) {
		send_all(fd, &i, sizeof(i));
		while ((n = recv(fd, &value, sizeof(value), 0)) == -1) {
			EQUAL(errno, EAGAIN);
			if (!wait_one(ep, WAIT_MS))
				FAIL("no edge for answer %d", i);
		}
		EQUAL(n, sizeof(value));
		EQUAL(value, ~i);
	}
	barrier("done");
}

static void small_edges_server(void)
{
	int fd = pair(), ep = epoll_of(fd, EPOLLIN | EPOLLET), value, n;

	set_blocking(fd, false);
	for (int i = 0; i < ROUNDS; i++) {
		while ((n = recv(fd, &value, sizeof(value), 0)) == -1) {
			EQUAL(errno, EAGAIN);
			if (!wait_one(ep, WAIT_MS))
				FAIL("no edge for message %d", i);
		}
		EQUAL(n, sizeof(value));
		EQUAL(value, i);
		value = ~i;
		send_all(fd, &value, sizeof(value));
	}
	barrier("done");
}

/* Edges that come for room: a slow reader, a writer that stops at EAGAIN. */
static void writer_client(void)
{
	static char buf[65536];
	int fd = pair(), ep = epoll_of(fd, EPOLLOUT | EPOLLET);
	uint64_t sent = 0;
	size_t want;
	ssize_t n;

	set_blocking(fd, false);
	while (sent < 4 << 20) {
		want = (4 << 20) - sent < sizeof(buf) ? (4 << 20) - sent : sizeof(buf);
		pattern_fill(buf, sent, want, 7);
		n = send(fd, buf, want, MSG_NOSIGNAL);
		if (n == -1) {
			EQUAL(errno, EAGAIN);
			if (!wait_one(ep, WAIT_MS))
				FAIL("no edge for room after %llu bytes",
				     (unsigned long long)sent);
			continue;
		}
		sent += n;
	}
	barrier("done");
}

static void writer_server(void)
{
	int fd = pair();

	/* In pieces of which each leaves most of the ring full. */
	for (int at = 0; at < 4 << 20; at += 32768) {
		drain_pattern(fd, 7, at, 32768);
		if (at % (1 << 20) == 0)
			sleep_ms(20);
	}
	barrier("done");
}

static void nested_client(void)
{
	int fd = pair(), inner = epoll_of(fd, EPOLLIN), outer = epoll_of(inner, EPOLLIN);

	EQUAL(wait_one(outer, 0), 0);
	barrier("send");
	EQUAL(wait_one(outer, WAIT_MS), EPOLLIN);
	barrier("again");
	barrier("done");
}

static void removed_client(void)
{
	int fd = pair(), ep = epoll_of(fd, EPOLLIN);

	OK(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
	barrier("send");
	EQUAL(wait_one(ep, 100), 0);
	barrier("again");
	barrier("done");
	/* A descriptor that is closed leaves the set by itself. */
	ep = epoll_of(fd, EPOLLIN);
	close(fd);
	EQUAL(wait_one(ep, 50), 0);
}

static void *wait_thread(void *arg)
{
	return (void *)(long)wait_one(*(int *)arg, WAIT_MS);
}

static void added_later_client(void)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	int fd = pair(), ep = OK(epoll_create1(0));
	pthread_t t;
	void *got;

	barrier("send");
	wait_readable(fd, 10);
	EQUAL(pthread_create(&t, NULL, wait_thread, &ep), 0);
	sleep_ms(50);
	/* What is there when the descriptor is added counts as an edge. */
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	EQUAL(pthread_join(t, &got), 0);
	EQUAL((long)got, EPOLLIN);
	barrier("again");
	barrier("done");
}

static const struct test_case cases[] = {
	{ "level", "EPOLLIN as long as there is data", level_client, sender_server,
	  .flags = STREAM_ONLY },
	{ "edge", "EPOLLET tells of new data once", edge_client, sender_server },
	{ "oneshot", "EPOLLONESHOT tells once, again after EPOLL_CTL_MOD",
	  oneshot_client, sender_server },
	{ "rdhup", "EPOLLRDHUP at the peer's SHUT_WR, EPOLLHUP when both are shut down",
	  rdhup_client, rdhup_server },
	{ "accept_edge", "EPOLLET on a listener tells of each arrival",
	  accept_edge_client, accept_edge_server },
	{ "edge_small", "1,000 small round trips by edges alone",
	  small_edges_client, small_edges_server },
	{ "edge_room", "edges for room with a slow reader", writer_client, writer_server,
	  .flags = STREAM_ONLY },
	{ "edge_bulk", "24 MiB in both directions by edges alone, none lost",
	  bulk_client, bulk_server, .limit = 20, .flags = STREAM_ONLY },
	{ "nested", "an epoll descriptor in another", nested_client, sender_server },
	{ "removed", "a removed or closed descriptor is silent", removed_client, sender_server },
	{ "added_later", "data that is there when the descriptor is added counts",
	  added_later_client, sender_server },
};

SUBJECT_TWICE(epoll);
