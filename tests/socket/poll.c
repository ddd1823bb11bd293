// SPDX-License-Identifier: GPL-2.0-only
/* Cases: poll and select: which events when, and that they wake. */
#include <poll.h>
#include <sys/select.h>

#include "vmshm_test.h"

#define ALL	(POLLIN | POLLOUT | POLLRDHUP | POLLPRI)

static void unconnected(void)
{
	int fd = case_socket();

	EQUAL(poll_one(fd, POLLIN, 0) & POLLIN, 0);
	fd = listener(0, 1);
	EQUAL(poll_one(fd, ALL, 0) & POLLIN, 0);
}

static void connected_client(void)
{
	int fd = pair();

	EQUAL(poll_one(fd, ALL, 0), POLLOUT);
	barrier("send");
	EQUAL(poll_one(fd, POLLIN, 5000), POLLIN);
	EQUAL(poll_one(fd, ALL, 0), POLLIN | POLLOUT);
	EQUAL(poll_one(fd, POLLRDNORM | POLLWRNORM, 0), POLLRDNORM | POLLWRNORM);
	drain_pattern(fd, 1, 0, 100);
	EQUAL(poll_one(fd, ALL, 0), POLLOUT);
	barrier("done");
}

static void connected_server(void)
{
	char buf[100];
	int fd = pair();

	pattern_fill(buf, 0, 100, 1);
	barrier("send");
	send_all(fd, buf, 100);
	barrier("done");
}

static void wakes_in_client(void)
{
	int fd = pair();
	double start;
	char c;

	for (int i = 0; i < 3; i++) {
		start = now();
		barrier("poll");
		EQUAL(poll_one(fd, POLLIN, 5000), POLLIN);
		CHECK(now() - start > 0.02);
		recv_all(fd, &c, 1);
	}
}

static void wakes_in_server(void)
{
	int fd = pair();

	for (int i = 0; i < 3; i++) {
		barrier("poll");
		sleep_ms(60);
		send_all(fd, "x", 1);
	}
	expect_eof(fd);
}

static void timeout_client(void)
{
	int fd = pair();
	double start = now();

	EQUAL(poll_one(fd, POLLIN, 150), 0);
	check_elapsed(start, 150);
	barrier("done");
}

static void idle_server(void)
{
	pair();
	barrier("done");
}

static void out_full_client(void)
{
	int fd = pair(), events;
	size_t total = fill(fd, 2);

	EQUAL(poll_one(fd, POLLOUT, 0), 0);
	tell("filled", total);
	barrier("drain");
	events = poll_one(fd, POLLOUT, 5000);
	EQUAL(events, POLLOUT);
	/* Ready means that something goes in. */
	CHECK(OK(send(fd, "y", 1, MSG_DONTWAIT)) == 1);
	barrier("done");
}

static void out_full_server(void)
{
	int fd = pair();
	size_t total = ask("filled");

	barrier("drain");
	sleep_ms(50);
	drain_pattern(fd, 2, 0, total);
	barrier("done");
}

static void close_server(void)
{
	int fd = pair();

	barrier("poll");
	sleep_ms(50);
	close(fd);
	barrier("done");
}

static void peer_closed_client(void)
{
	int fd = pair(), events;

	barrier("poll");
	events = poll_one(fd, POLLRDHUP, 5000);
	CHECK(events & POLLRDHUP);
	events = poll_one(fd, ALL, 0);
	CHECK((events & POLLIN) && (events & POLLRDHUP));
	expect_eof(fd);
	CHECK(!(poll_one(fd, 0, 0) & POLLERR));
	barrier("done");
}

/* A peer's shutdown of its sending is an end of file and no hang-up. */
static void peer_shut_wr_client(void)
{
	int fd = pair(), events;

	barrier("poll");
	events = poll_one(fd, POLLRDHUP, 5000);
	EQUAL(events, POLLRDHUP);
	EQUAL(poll_one(fd, ALL, 0), POLLIN | POLLOUT | POLLRDHUP);
	expect_eof(fd);
	send_all(fd, "still", 5);
	barrier("done");
}

static void peer_shut_wr_server(void)
{
	int fd = pair();
	char buf[5];

	barrier("poll");
	sleep_ms(50);
	OK(shutdown(fd, SHUT_WR));
	recv_all(fd, buf, 5);
	barrier("done");
}

static void hup_client(void)
{
	int fd = pair();

	OK(shutdown(fd, SHUT_WR));
	CHECK(!(poll_one(fd, ALL, 0) & POLLHUP));
	barrier("half");
	/* Both directions are over: POLLHUP, whatever is asked for. */
	here(__FILE__, __LINE__, "wait for POLLHUP");
	CHECK(poll_one(fd, 0, 5000) & POLLHUP);
	barrier("done");
}

static void hup_server(void)
{
	int fd = pair();

	expect_eof(fd);
	barrier("half");
	OK(shutdown(fd, SHUT_WR));
	CHECK(poll_one(fd, 0, 1000) & POLLHUP);
	barrier("done");
}

static void own_shutdown_client(void)
{
	int fd = pair(), events;

	OK(shutdown(fd, SHUT_RD));
	events = poll_one(fd, ALL, 0);
	CHECK((events & POLLIN) && (events & POLLRDHUP));
	OK(shutdown(fd, SHUT_RDWR));
	CHECK(poll_one(fd, ALL, 0) & POLLHUP);
	barrier("done");
}

static void select_client(void)
{
	int fd = pair();
	struct timeval t = { 0, 0 };
	fd_set in, out;
	char c;

	FD_ZERO(&in);
	FD_SET(fd, &in);
	out = in;
	EQUAL(select(fd + 1, &in, &out, NULL, &t), 1);
	CHECK(!FD_ISSET(fd, &in) && FD_ISSET(fd, &out));
	FD_SET(fd, &in);
	t.tv_sec = 5;
	barrier("waiting");
	EQUAL(select(fd + 1, &in, NULL, NULL, &t), 1);
	recv_all(fd, &c, 1);
	barrier("done");
}

static void select_server(void)
{
	int fd = pair();

	barrier("waiting");
	sleep_ms(50);
	send_all(fd, "s", 1);
	barrier("done");
}

#define MANY	60

static void many_client(void)
{
	int nr;

	barrier("listening");
	int fds[MANY];

	for (int i = 0; i < MANY; i++)
		fds[i] = connected(0);
	barrier("connected");
	for (int i = 0; i < 20; i++) {
		nr = ask("which");
		send_all(fds[nr], &nr, sizeof(nr));
	}
	barrier("done");
}

static void many_server(void)
{
	struct pollfd p[MANY];
	uint64_t random = 4711;
	int fd = listener(0, MANY), nr, got;

	barrier("listening");
	for (int i = 0; i < MANY; i++) {
		p[i].fd = accept_one(fd);
		p[i].events = POLLIN;
	}
	barrier("connected");
	for (int i = 0; i < 20; i++) {
		nr = random_below(&random, MANY);
		tell("which", nr);
		EQUAL(poll(p, MANY, 5000), 1);
		EQUAL(p[nr].revents, POLLIN);
		recv_all(p[nr].fd, &got, sizeof(got));
		EQUAL(got, nr);
	}
	barrier("done");
}

static const struct test_case cases[] = {
	{ "unconnected", "a socket without a connection has nothing to read", unconnected },
	{ "connected", "POLLOUT at first, POLLIN with data, until it is read",
	  connected_client, connected_server },
	{ "wakes", "data wakes poll", wakes_in_client, wakes_in_server },
	{ "timeout", "poll ends in time", timeout_client, idle_server },
	{ "full", "no POLLOUT when full, again when the peer has read",
	  out_full_client, out_full_server },
	{ "peer_closed", "the peer's close: POLLIN and POLLRDHUP",
	  peer_closed_client, close_server },
	{ "peer_shut_wr", "the peer's SHUT_WR: POLLIN and POLLRDHUP, still POLLOUT, no POLLHUP",
	  peer_shut_wr_client, peer_shut_wr_server },
	{ "hup", "both directions shut down: POLLHUP", hup_client, hup_server },
	{ "own_shutdown", "one's own shutdown: POLLIN and POLLRDHUP, then POLLHUP",
	  own_shutdown_client, idle_server },
	{ "select", "select sees data and room", select_client, select_server },
	{ "many", "sixty connections in one poll, one ready at a time",
	  many_client, many_server },
};

SUBJECT_TWICE(poll);
