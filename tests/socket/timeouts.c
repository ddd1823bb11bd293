// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: waiting with a limit: SO_RCVTIMEO and SO_SNDTIMEO; and waiting for an
 * amount: SO_RCVLOWAT.
 */
#include <poll.h>

#include "vmshm_test.h"

static void idle_server(void)
{
	pair();
	barrier("done");
}

static void recv_timeout_client(void)
{
	int fd = pair();
	double start;
	char c;

	set_timeout(fd, SO_RCVTIMEO, 200);
	start = now();
	FAILS(recv(fd, &c, 1, 0), EAGAIN);
	check_elapsed(start, 200);
	start = now();
	FAILS(read(fd, &c, 1), EAGAIN);
	check_elapsed(start, 200);
	/* MSG_DONTWAIT waits for nothing. */
	start = now();
	FAILS(recv(fd, &c, 1, MSG_DONTWAIT), EAGAIN);
	CHECK(now() - start < 0.15);
	barrier("done");
}

static void recv_timeout_data_client(void)
{
	int fd = pair();
	char c;

	set_timeout(fd, SO_RCVTIMEO, 5000);
	barrier("waiting");
	EQUAL(recv(fd, &c, 1, 0), 1);
	barrier("done");
}

static void late_byte_server(void)
{
	int fd = pair();

	barrier("waiting");
	sleep_ms(100);
	send_all(fd, "x", 1);
	barrier("done");
}

static void waitall_timeout_client(void)
{
	int fd = pair();
	char buf[100];
	double start;

	barrier("waiting");
	set_timeout(fd, SO_RCVTIMEO, 400);
	start = now();
	/* What has come until then counts. */
	EQUAL(recv(fd, buf, sizeof(buf), MSG_WAITALL), 1);
	CHECK(now() - start > 0.3);
	barrier("done");
}

static void send_timeout_client(void)
{
	static char buf[8 << 20];
	int fd = pair();
	double start;
	ssize_t n;

	set_timeout(fd, SO_SNDTIMEO, 300);
	pattern_fill(buf, 0, sizeof(buf), 1);
	start = now();
	n = OK(send(fd, buf, sizeof(buf), 0));
	check_elapsed(start, 300);
	CHECK(n > 0 && n < (ssize_t)sizeof(buf));
	start = now();
	FAILS(send(fd, buf + n, 1, 0), EAGAIN);
	check_elapsed(start, 300);
	tell("sent", n);
	barrier("done");
}

static void send_timeout_server(void)
{
	int fd = pair();
	size_t n = ask("sent");

	drain_pattern(fd, 1, 0, n);
	expect_nothing(fd);
	barrier("done");
}

static void forever(void)
{
	struct timeval t = { 1, 0 };
	socklen_t len = sizeof(t);
	int fd = case_socket();

	OK(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, &len));
	EQUAL(t.tv_sec, 0);
	EQUAL(t.tv_usec, 0);
	t = (struct timeval) { 2, 500000 };
	OK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)));
	memset(&t, 0, sizeof(t));
	OK(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, &len));
	EQUAL(t.tv_sec, 2);
	EQUAL(t.tv_usec, 500000);
	t = (struct timeval) { 0, 1000000 };
	FAILS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), EDOM);
}

static void set_lowat(int fd, int bytes)
{
	OK(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)));
	EQUAL(get_int(fd, SOL_SOCKET, SO_RCVLOWAT), bytes);
}

/* The server sends 50 bytes, then 50, then 10 more, when told to. */
static void lowat_sender(void)
{
	static char buf[110];
	int fd = pair();

	pattern_fill(buf, 0, sizeof(buf), 2);
	send_all(fd, buf, 50);
	barrier("50");
	barrier("looked");
	sleep_ms(150);
	send_all(fd, buf + 50, 50);
	barrier("100");
	send_all(fd, buf + 100, 10);
	barrier("done");
}

static void lowat_recv_client(void)
{
	char buf[200];
	int fd = pair();
	double start;

	set_lowat(fd, 100);
	barrier("50");
	start = now();
	barrier("looked");
	/* 50 are there and not enough. */
	EQUAL(recv(fd, buf, sizeof(buf), 0), 100);
	CHECK(now() - start > 0.1);
	pattern_check(buf, 0, 100, 2);
	barrier("100");
	/* A shorter wish is all that recv waits for. */
	EQUAL(recv(fd, buf, 10, 0), 10);
	barrier("done");
}

static void lowat_poll_client(void)
{
	char buf[200];
	int fd = pair();

	set_lowat(fd, 100);
	barrier("50");
	wait_readable(fd, 50);
	EQUAL(poll_one(fd, POLLIN, 0), 0);
	barrier("looked");
	EQUAL(poll_one(fd, POLLIN, 3000), POLLIN);
	EQUAL(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 100);
	barrier("100");
	wait_readable(fd, 10);
	EQUAL(poll_one(fd, POLLIN, 50), 0);
	/* Ready again when the mark goes down. */
	set_lowat(fd, 10);
	EQUAL(poll_one(fd, POLLIN, 1000), POLLIN);
	barrier("done");
}

static void lowat_nonblocking_client(void)
{
	char buf[200];
	int fd = pair();

	set_lowat(fd, 100);
	barrier("50");
	barrier("looked");
	barrier("100");
	wait_readable(fd, 110);
	/* Where it may not wait, recv gives what there is. */
	EQUAL(recv(fd, buf, 105, MSG_DONTWAIT), 105);
	EQUAL(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 5);
	barrier("done");
}

static void lowat_eof_client(void)
{
	char buf[200];
	int fd = pair();

	set_lowat(fd, 100);
	EQUAL(poll_one(fd, POLLIN, 5000) & POLLIN, POLLIN);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 10);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 0);
}

static void lowat_eof_server(void)
{
	int fd = pair();

	send_all(fd, "0123456789", 10);
	sleep_ms(50);
	close(fd);
}

/* The mark lowered in the middle of a wait of another thread's poll. */
static void lowat_lowered_client(void)
{
	int fd = pair();
	char buf[50];

	set_lowat(fd, 1000);
	barrier("50");
	wait_readable(fd, 50);
	EQUAL(poll_one(fd, POLLIN, 0), 0);
	set_lowat(fd, 1);
	EQUAL(poll_one(fd, POLLIN, 0), POLLIN);
	EQUAL(recv(fd, buf, 50, 0), 50);
	barrier("looked");
	barrier("100");
	barrier("done");
}

static const struct test_case cases[] = {
	{ "recv", "SO_RCVTIMEO ends a wait for data: EAGAIN", recv_timeout_client, idle_server },
	{ "recv_data", "data that comes in time is received",
	  recv_timeout_data_client, late_byte_server },
	{ "waitall", "SO_RCVTIMEO with MSG_WAITALL gives what has come",
	  waitall_timeout_client, late_byte_server, .flags = STREAM_ONLY },
	{ "send", "SO_SNDTIMEO ends a wait for room: what went in, then EAGAIN",
	  send_timeout_client, send_timeout_server, .flags = STREAM_ONLY },
	{ "values", "no limit by default, limits read back, wrong ones EDOM", forever },
	{ "lowat_recv", "recv waits for SO_RCVLOWAT bytes", lowat_recv_client, lowat_sender,
	  .flags = STREAM_ONLY },
	{ "lowat_poll", "poll reports SO_RCVLOWAT bytes and not fewer",
	  lowat_poll_client, lowat_sender, .flags = STREAM_ONLY },
	{ "lowat_nonblocking", "a non-blocking recv takes no notice of SO_RCVLOWAT",
	  lowat_nonblocking_client, lowat_sender, .flags = STREAM_ONLY },
	{ "lowat_eof", "the end of file counts whatever SO_RCVLOWAT is",
	  lowat_eof_client, lowat_eof_server, .flags = STREAM_ONLY },
	{ "lowat_lowered", "a lower mark makes the socket ready at once",
	  lowat_lowered_client, lowat_sender, .flags = STREAM_ONLY },
};

SUBJECT_TWICE(timeouts);
