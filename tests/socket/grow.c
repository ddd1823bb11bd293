// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: SO_VM_SOCKETS_BUFFER_SIZE on a socket that is connected: what it
 * promises can then be sent before the peer reads, and nothing is lost, doubled
 * or moved on the way from one ring to the next.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "sockdiag.h"

#define SMALL	16384

static unsigned long long rx_ring(int fd)
{
	struct vmshm_info info;
	socklen_t len = sizeof(info);

	OK(getsockopt(fd, AF_VMSHM, SO_VMSHM_INFO, &info, &len));
	return info.rx_ring;
}

/* What vmshmss(8) shows of it. */
static struct vmshm_diag_queues queues(int fd)
{
	struct vmshm_diag_req req = any_request();
	struct seen s = { .times = 0 };
	struct stat st;

	OK(fstat(fd, &st));
	req.vdiag_ino = st.st_ino;
	EQUAL(answer(&req, sizeof(req), SOCK_DIAG_BY_FAMILY, 0, &s), 0);
	return s.queues;
}

static unsigned long long size_of(int fd, int option)
{
	unsigned long long bytes = 0;
	socklen_t len = sizeof(bytes);

	OK(getsockopt(fd, ctx.family, option, &bytes, &len));
	return bytes;
}

/*
 * Bytes of the pattern until no more go in for a while; the peer's kernel takes
 * the news of a larger ring when it gets to it.
 */
static size_t fill_to(int fd, uint64_t seed, size_t least)
{
	static char buf[65536];
	size_t total = 0, want;
	ssize_t n;

	while (total < least) {
		want = least - total < sizeof(buf) ? least - total : sizeof(buf);
		pattern_fill(buf, total, want, seed);
		n = send(fd, buf, want, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == -1 && errno == EAGAIN) {
			if (!poll_one(fd, POLLOUT, 2000 * ctx.patience))
				FAIL("%zu of %zu bytes go in", total, least);
			continue;
		}
		total += OK(n);
	}
	return total;
}

/* Three times larger, and nothing is read meanwhile. */
static const size_t steps[] = { 65536, 262144, 1 << 20 };

static void chain_client(void)
{
	int fd = pair_with_buffer(SMALL), unread = 0;
	size_t total = fill(fd, 0), all = total;

	tell("filled", total);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		barrier("larger");
		all += fill_to(fd, i + 1, steps[i]);
		tell("filled", steps[i]);
	}
	OK(ioctl(fd, TIOCOUTQ, &unread));
	EQUAL(unread, all);
	EQUAL(queues(fd).tx_queue, all);
	barrier("filled");
	barrier("drained");
	OK(ioctl(fd, TIOCOUTQ, &unread));
	EQUAL(unread, 0);
	/* And in the other direction, and again. */
	drain_pattern(fd, 9, 0, 500000);
	fill_to(fd, 10, 1 << 20);
	barrier("done");
}

static void chain_server(void)
{
	int fd = pair_with_buffer(SMALL), there = 0;
	size_t first = ask("filled"), all = first;
	char *buf = malloc(500000);

	EQUAL(rx_ring(fd), SMALL);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		set_buffer(fd, steps[i]);
		barrier("larger");
		all += ask("filled");
	}
	/* A smaller one changes nothing. */
	set_buffer(fd, SMALL);
	barrier("filled");
	OK(ioctl(fd, FIONREAD, &there));
	EQUAL(there, all);
	EQUAL(queues(fd).rx_queue, all);
	drain_pattern(fd, 0, 0, first);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		drain_pattern(fd, i + 1, 0, steps[i]);
	expect_nothing(fd);
	EQUAL(rx_ring(fd), 1 << 20);
	OK(ioctl(fd, FIONREAD, &there));
	EQUAL(there, 0);
	barrier("drained");
	pattern_fill(buf, 0, 500000, 9);
	send_all(fd, buf, 500000);
	drain_pattern(fd, 10, 0, 1 << 20);
	barrier("done");
}

/* ---- while bytes move: blocking, and edge-triggered ---- */

#define TRAFFIC	(24 << 20)

static void traffic_client(void)
{
	static char buf[50000];
	int fd = pair_with_buffer(4096);
	uint64_t state = 3;
	size_t len;

	for (size_t at = 0; at < TRAFFIC; at += len) {
		len = random_below(&state, sizeof(buf)) + 1;
		if (len > TRAFFIC - at)
			len = TRAFFIC - at;
		pattern_fill(buf, at, len, 1);
		send_all(fd, buf, len);
	}
	barrier("done");
}

static void grow_at(int fd, size_t at, unsigned int *order)
{
	if (*order < 24 && at > (size_t)(*order - 11) * (TRAFFIC / 20))
		set_buffer(fd, 1ULL << ++*order);
}

static void traffic_server(void)
{
	static char buf[50000];
	int fd = pair_with_buffer(4096);
	unsigned int order = 12;
	uint64_t state = 4;
	ssize_t n;

	for (size_t at = 0; at < TRAFFIC; at += n) {
		grow_at(fd, at, &order);
		n = OK(recv(fd, buf, random_below(&state, sizeof(buf)) + 1, 0));
		CHECK(n > 0);
		pattern_check(buf, at, n, 1);
	}
	EQUAL(order, 24);
	barrier("done");
}

/* Reads less than it asked for, and waits: nobody looks in between. */
static void edge_server(void)
{
	static char buf[50000];
	int fd = pair_with_buffer(4096), ep = OK(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	unsigned int order = 12;
	ssize_t n = 0;

	set_blocking(fd, false);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	for (size_t at = 0; at < TRAFFIC;) {
		grow_at(fd, at, &order);
		if (n < (ssize_t)sizeof(buf)) {
			here(__FILE__, __LINE__, "wait for an edge");
			if (epoll_wait(ep, &e, 1, ctx.patience * 5000) != 1)
				FAIL("no edge came after %zu bytes", at);
		}
		n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0) {
			EQUAL(errno, EAGAIN);
			continue;
		}
		CHECK(n > 0);
		pattern_check(buf, at, n, 1);
		at += n;
	}
	barrier("done");
}

/*
 * Two rings are left before anybody reads: the news of both are old when the
 * reader looks for the first time, and what came lies in the third.
 */
static void left_client(void)
{
	int fd = pair_with_buffer(SMALL);

	barrier("larger");
	send_all(fd, "news", 4);
	barrier("sent");
	barrier("done");
}

static void left_server(void)
{
	int fd = pair_with_buffer(SMALL), ep = OK(epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	char buf[5];

	set_blocking(fd, false);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	set_buffer(fd, 65536);
	set_buffer(fd, 1 << 20);
	sleep_ms(200);
	barrier("larger");
	barrier("sent");
	EQUAL(epoll_wait(ep, &e, 1, ctx.patience * 2000), 1);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 4);
	barrier("done");
}

/* ---- thresholds and peeks that end where a ring does ---- */

static void border_client(void)
{
	int fd = pair_with_buffer(SMALL);

	send_all(fd, "01234", 5);
	barrier("larger");
	/* Waits for the new ring, which is where it goes. */
	fill_to(fd, 1, 100000);
	barrier("filled");
	barrier("done");
}

static void border_server(void)
{
	int fd = pair_with_buffer(SMALL), lowat = 3000;
	static char buf[100005];

	set_buffer(fd, 1 << 20);
	barrier("larger");
	OK(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, sizeof(lowat)));
	barrier("filled");
	EQUAL(poll_one(fd, POLLIN, 2000), POLLIN);
	CHECK(recv(fd, buf, sizeof(buf), MSG_PEEK) >= 5);
	EQUAL(memcmp(buf, "01234", 5), 0);
	EQUAL(recv(fd, buf, 100005, MSG_WAITALL), 100005);
	EQUAL(memcmp(buf, "01234", 5), 0);
	pattern_check(buf + 5, 0, 100000, 1);
	barrier("done");
}

/* ---- ends, with unread bytes in two rings ---- */

static void fin_client(void)
{
	int fd = pair_with_buffer(SMALL);
	size_t total = fill(fd, 0);

	tell("filled", total);
	barrier("larger");
	fill_to(fd, 1, 200000);
	OK(shutdown(fd, SHUT_WR));
	barrier("shut");
	barrier("done");
}

static void fin_server(void)
{
	int fd = pair_with_buffer(SMALL);
	size_t first = ask("filled");

	set_buffer(fd, 1 << 20);
	barrier("larger");
	barrier("shut");
	CHECK(poll_one(fd, POLLIN | POLLRDHUP, 5000) & POLLIN);
	drain_pattern(fd, 0, 0, first);
	drain_pattern(fd, 1, 0, 200000);
	expect_eof(fd);
	barrier("done");
}

static void close_client(void)
{
	int fd = pair_with_buffer(SMALL);
	char c;

	tell("filled", fill(fd, 0));
	barrier("larger");
	fill_to(fd, 1, 200000);
	barrier("filled");
	/* The receiver reads the first ring alone, then closes. */
	FAILS(recv(fd, &c, 1, 0), ECONNRESET);
	FAILS(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
	fd = pair_on(1);
	barrier("shut");
	here(__FILE__, __LINE__, "send until EPIPE");
	while (send(fd, &c, 1, MSG_NOSIGNAL) == 1)
		;
	EQUAL(errno, EPIPE);
	barrier("done");
}

static void close_server(void)
{
	int fd = pair_with_buffer(SMALL);
	size_t first = ask("filled");

	set_buffer(fd, 1 << 20);
	barrier("larger");
	barrier("filled");
	drain_pattern(fd, 0, 0, first);
	close(fd);
	/* Nobody reads any more: said in a ring that the peer may not be in yet. */
	fd = pair_on(1);
	set_buffer(fd, 4 << 20);
	OK(shutdown(fd, SHUT_RD));
	barrier("shut");
	barrier("done");
}

/* ---- records ---- */

static void records_client(void)
{
	static char buf[1 << 20];
	int fd = pair_of_records(0, 4096);
	double end = now() + 5 * ctx.patience;

	pattern_fill(buf, 0, sizeof(buf), 1);
	EQUAL(send(fd, buf, 3000, 0), 3000);
	FAILS(send(fd, buf, 4097, 0), EMSGSIZE);
	barrier("small");
	barrier("larger");
	here(__FILE__, __LINE__, "send of a longer record");
	while (send(fd, buf, 100000, MSG_DONTWAIT) != 100000) {
		CHECK(errno == EMSGSIZE && now() < end);
		sleep_ms(1);
	}
	FAILS(send(fd, buf, 100001, 0), EMSGSIZE);
	EQUAL(send(fd, buf, 4, 0), 4);
	barrier("sent");
	barrier("done");
}

static void records_server(void)
{
	static char buf[1 << 20];
	int fd = pair_of_records(0, 4096);

	barrier("small");
	set_buffer(fd, 100000);
	barrier("larger");
	barrier("sent");
	EQUAL(recv(fd, buf, sizeof(buf), 0), 3000);
	pattern_check(buf, 0, 3000, 1);
	EQUAL(poll_one(fd, POLLIN, 5000), POLLIN);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 100000);
	pattern_check(buf, 0, 100000, 1);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 4);
	expect_nothing(fd);
	barrier("done");
}

/* The sender waits in send() for the first ring; a larger one ends the wait. */
static void waiting_client(void)
{
	static char buf[500000];
	int fd = pair_with_buffer(SMALL);

	pattern_fill(buf, 0, sizeof(buf), 1);
	barrier("sending");
	send_all(fd, buf, sizeof(buf));
	barrier("sent");
	barrier("done");
}

static void waiting_server(void)
{
	int fd = pair_with_buffer(SMALL);

	barrier("sending");
	sleep_ms(100);
	set_buffer(fd, 1 << 20);
	barrier("sent");
	drain_pattern(fd, 1, 0, 500000);
	barrier("done");
}

/* ---- sizes that come late, and those that there is no memory for ---- */

#define LATE	(1 << 20)

/* What the peer says can be sent before this side reads. */
static void takes_late(int fd)
{
	EQUAL(size_of(fd, SO_VMSHM_BUFFER_SIZE), LATE);
	barrier("larger");
	barrier("filled");
	drain_pattern(fd, 1, 0, LATE);
	EQUAL(rx_ring(fd), LATE);
	barrier("done");
}

static void sends_late(int fd)
{
	barrier("larger");
	fill_to(fd, 1, LATE);
	barrier("filled");
	barrier("done");
}

/* On the listener, while the connection waits in its queue. */
static void queued_server(void)
{
	int listening = socket_of(SOCK_STREAM);

	set_buffer(listening, SMALL);
	OK(bind_to(listening, VMSHM_CID_ANY, port_nr(0)));
	OK(listen(listening, 1));
	barrier("listening");
	barrier("connected");
	set_buffer(listening, LATE);
	takes_late(accept_one(listening));
}

static void queued_client(void)
{
	int fd;

	barrier("listening");
	fd = connected(0);
	barrier("connected");
	sends_late(fd);
}

/* Between EINPROGRESS and the answer: of a program that calls again, and of one that doesn't. */
static void connecting_client(void)
{
	for (int again = 0; again < 2; again++) {
		int fd = socket_of(SOCK_STREAM);
		struct timeval limit = { 0, 300000 };

		set_buffer(fd, SMALL);
		OK(setsockopt(fd, AF_VMSHM, SO_VMSHM_CONNECT_TIMEOUT, &limit, sizeof(limit)));
		set_blocking(fd, false);
		barrier("listening");
		FAILS(connect_to(fd, ctx.peer, port_nr(again)), EINPROGRESS);
		set_buffer(fd, LATE);
		EQUAL(poll_one(fd, POLLOUT, 5000), POLLOUT);
		set_blocking(fd, true);
		if (again)
			FAILS(connect_to(fd, ctx.peer, port_nr(again)), EISCONN);
		takes_late(fd);
	}
}

static void connecting_server(void)
{
	for (int again = 0; again < 2; again++) {
		int listening = listener(again, 1);

		barrier("listening");
		sends_late(accept_one(listening));
	}
}

/* Of large rings a quarter of the memory is left to others. */
#define LARGE	(16ULL << 20)
#define RINGS	64

static void no_room_client(void)
{
	unsigned long long bytes = LARGE;
	int fd, other, n;

	barrier("listening");
	fd = socket_of(SOCK_STREAM);
	set_buffer(fd, SMALL);
	OK(connect_to(fd, ctx.peer, port_nr(0)));
	for (n = 0; n < RINGS; n++) {
		other = socket_of(SOCK_STREAM);
		set_buffer(other, LARGE);
		OK(connect_to(other, ctx.peer, port_nr(0)));
		if (rx_ring(other) < LARGE)
			break;
	}
	CHECK(n > 1 && n < RINGS);
	OK(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUFFER_MAX_SIZE, &bytes, sizeof(bytes)));
	FAILS(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUFFER_SIZE, &bytes, sizeof(bytes)), ENOBUFS);
	FAILS(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUFFER_MIN_SIZE, &bytes, sizeof(bytes)), ENOBUFS);
	EQUAL(size_of(fd, SO_VMSHM_BUFFER_SIZE), SMALL);
	EQUAL(size_of(fd, SO_VMSHM_BUFFER_MIN_SIZE), 128);
	EQUAL(size_of(fd, SO_VMSHM_BUFFER_MAX_SIZE), LARGE);
	EQUAL(rx_ring(fd), SMALL);
	bytes = 65536;
	OK(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUFFER_SIZE, &bytes, sizeof(bytes)));
	barrier("done");
}

static void no_room_server(void)
{
	int listening = socket_of(SOCK_STREAM);

	set_buffer(listening, 4096);
	OK(bind_to(listening, VMSHM_CID_ANY, port_nr(0)));
	OK(listen(listening, RINGS + 1));
	barrier("listening");
	barrier("done");
}

/* What is unread in a ring that was left counts, also in one that was followed to. */
static void unread_client(void)
{
	int fd = pair_with_buffer(SMALL), unread = 0;

	tell("filled", fill(fd, 0));
	barrier("larger");
	tell("filled", fill_to(fd, 1, 65536));
	barrier("followed");
	barrier("larger again");
	fill_to(fd, 2, 262144);
	OK(ioctl(fd, TIOCOUTQ, &unread));
	EQUAL(unread, 65535 + 262144);
	EQUAL(queues(fd).tx_queue, 65535 + 262144);
	barrier("seen");
}

static void unread_server(void)
{
	int fd = pair_with_buffer(SMALL);
	size_t first = ask("filled");

	set_buffer(fd, 65536);
	barrier("larger");
	ask("filled");
	drain_pattern(fd, 0, 0, first);
	drain_pattern(fd, 1, 0, 1);
	barrier("followed");
	set_buffer(fd, 262144);
	barrier("larger again");
	barrier("seen");
	drain_pattern(fd, 1, 1, 65535);
	drain_pattern(fd, 2, 0, 262144);
}

static const struct test_case cases[] = {
	{ "chain", "larger and larger without a byte read: each size can be sent, all arrives",
	  chain_client, chain_server, .limit = 20, .flags = VMSHM_ONLY },
	{ "waiting", "a sender that waits goes on", waiting_client, waiting_server,
	  .flags = VMSHM_ONLY },
	{ "traffic", "from 4 KiB to 16 MiB while bytes move", traffic_client, traffic_server,
	  .limit = 30, .flags = VMSHM_ONLY },
	{ "edge", "the same with an edge-triggered reader", traffic_client, edge_server,
	  .limit = 30, .flags = VMSHM_ONLY },
	{ "left", "two rings are left before the reader looks", left_client, left_server,
	  .flags = VMSHM_ONLY },
	{ "unread", "SIOCOUTQ counts a ring that was left and not read, after a second growth too",
	  unread_client, unread_server, .flags = VMSHM_ONLY },
	{ "border", "SO_RCVLOWAT, MSG_PEEK and MSG_WAITALL across two rings",
	  border_client, border_server, .flags = VMSHM_ONLY },
	{ "fin", "end of file after what is in both rings", fin_client, fin_server,
	  .flags = VMSHM_ONLY },
	{ "close", "a close with unread bytes in the second ring resets; SHUT_RD is seen",
	  close_client, close_server, .flags = VMSHM_ONLY },
	{ "records", "a longer record can be sent, in its place", records_client, records_server,
	  .flags = VMSHM_ONLY },
	{ "queued", "the listener's size is set anew before accept()", queued_client,
	  queued_server, .flags = VMSHM_ONLY },
	{ "connecting", "the size is set while a connect is under way", connecting_client,
	  connecting_server, .flags = VMSHM_ONLY },
	{ "no_room", "no memory to grow: ENOBUFS, and all sizes stay as they were", no_room_client,
	  no_room_server, .limit = 20, .flags = VMSHM_ONLY },
};

SUBJECT(grow);
