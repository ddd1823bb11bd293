// SPDX-License-Identifier: GPL-2.0-only
/* Cases: shutdown in its three forms, close, and what the peer sees of them. */
#include <signal.h>
#include <sys/wait.h>

#include "vmshm_test.h"

static void idle_server(void)
{
	pair();
	barrier("done");
}

static void bad(void)
{
	int fd = case_socket();

	FAILS(shutdown(fd, SHUT_WR), ENOTCONN);
	FAILS(shutdown(fd, SHUT_RDWR), ENOTCONN);
	FAILS(shutdown(fd, 3), EINVAL);
	FAILS(shutdown(fd, -1), EINVAL);
}

static void wr_client(void)
{
	int fd = pair();
	char buf[3];

	send_all(fd, "first", 5);
	OK(shutdown(fd, SHUT_WR));
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	/* The other direction is open. */
	recv_all(fd, buf, 3);
	EQUAL(memcmp(buf, "yes", 3), 0);
	expect_eof(fd);
}

static void wr_server(void)
{
	int fd = pair();
	char buf[5];

	/* Data comes before the end. */
	recv_all(fd, buf, 5);
	EQUAL(memcmp(buf, "first", 5), 0);
	expect_eof(fd);
	expect_eof(fd);
	send_all(fd, "yes", 3);
}

static void rd_client(void)
{
	int fd = pair();

	OK(shutdown(fd, SHUT_RD));
	expect_eof(fd);
	/* Sending goes on. */
	send_all(fd, "sent", 4);
	barrier("done");
}

static void rd_server(void)
{
	int fd = pair();
	char buf[4];

	recv_all(fd, buf, 4);
	EQUAL(memcmp(buf, "sent", 4), 0);
	barrier("done");
}

/* The peer of a SHUT_RD is told: what it sends would never be read. */
static void rd_peer_client(void)
{
	int fd = pair();

	OK(shutdown(fd, SHUT_RD));
	barrier("shut");
	barrier("done");
}

static void rd_peer_server(void)
{
	int fd = pair();

	barrier("shut");
	sleep_ms(50);
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	/* The other direction knows nothing of it. */
	expect_nothing(fd);
	barrier("done");
}

static void rdwr_client(void)
{
	int fd = pair();

	send_all(fd, "bye", 3);
	OK(shutdown(fd, SHUT_RDWR));
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	expect_eof(fd);
	barrier("done");
}

static void rdwr_server(void)
{
	int fd = pair();
	char buf[3];

	recv_all(fd, buf, 3);
	expect_eof(fd);
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	barrier("done");
}

static void server_first_client(void)
{
	int fd = pair();
	char buf[3];

	recv_all(fd, buf, 3);
	expect_eof(fd);
	barrier("done");
}

static void server_first_server(void)
{
	int fd = pair();

	send_all(fd, "bye", 3);
	OK(shutdown(fd, SHUT_RDWR));
	expect_eof(fd);
	barrier("done");
}

static void both_ends_wr(void)
{
	int fd = pair();
	char c;

	send_all(fd, "m", 1);
	OK(shutdown(fd, SHUT_WR));
	recv_all(fd, &c, 1);
	expect_eof(fd);
	barrier("done");
}

static void again_client(void)
{
	int fd = pair();

	for (int i = 0; i < 3; i++)
		OK(shutdown(fd, SHUT_WR));
	OK(shutdown(fd, SHUT_RD));
	OK(shutdown(fd, SHUT_RDWR));
	barrier("done");
}

static void wakes_reader_client(void)
{
	int fd = pair();
	pid_t pid = OK(fork());

	if (!pid) {
		sleep_ms(100);
		_exit(shutdown(fd, SHUT_RD) ? 1 : 0);
	}
	expect_eof(fd);
	wait_ok(pid);
	barrier("done");
}

static void wakes_writer_client(void)
{
	static char buf[65536];
	int fd = pair();
	pid_t pid;

	fill(fd, 1);
	pid = OK(fork());
	if (!pid) {
		sleep_ms(100);
		_exit(shutdown(fd, SHUT_WR) ? 1 : 0);
	}
	/* As much as before: beside what was too long for the rest, a byte has room. */
	FAILS(send(fd, buf, sizeof(buf), MSG_NOSIGNAL), EPIPE);
	wait_ok(pid);
	barrier("done");
}

/* Much data, then close at once: all of it arrives, then the end. */
#define MUCH	(150 * 1024)

static void close_after_data_client(void)
{
	static char buf[MUCH];
	int fd = pair();

	pattern_fill(buf, 0, MUCH, 2);
	send_all(fd, buf, MUCH);
	close(fd);
	barrier("closed");
}

static void close_after_data_server(void)
{
	int fd = pair();

	barrier("closed");
	sleep_ms(50);
	drain_pattern(fd, 2, 0, MUCH);
	expect_eof(fd);
	expect_eof(fd);
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
}

static void close_unread_client(void)
{
	int fd = pair();
	char c;

	send_all(fd, "never read", 10);
	barrier("sent");
	barrier("closed");
	set_timeout(fd, SO_RCVTIMEO, 3000);
	FAILS(recv(fd, &c, 1, 0), ECONNRESET);
	/* Said once; then it is the end. */
	EQUAL(recv(fd, &c, 1, 0), 0);
	FAILS(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
}

static void close_unread_server(void)
{
	int fd = pair();

	barrier("sent");
	wait_readable(fd, 10);
	close(fd);
	barrier("closed");
}

/* Data that had arrived before the reset can still be read. */
static void reset_keeps_data_client(void)
{
	int fd = pair();
	char buf[4];

	send_all(fd, "never read", 10);
	barrier("sent");
	barrier("closed");
	sleep_ms(50);
	recv_all(fd, buf, 4);
	EQUAL(memcmp(buf, "kept", 4), 0);
	FAILS(recv(fd, buf, 1, 0), ECONNRESET);
}

static void reset_keeps_data_server(void)
{
	int fd = pair();

	send_all(fd, "kept", 4);
	barrier("sent");
	wait_readable(fd, 10);
	close(fd);
	barrier("closed");
}

static void wakes_peer_client(void)
{
	int fd = pair();

	barrier("waiting");
	expect_eof(fd);
}

static void late_close_server(void)
{
	int fd = pair();

	barrier("waiting");
	sleep_ms(100);
	close(fd);
}

static void wakes_peer_writer_client(void)
{
	static char buf[65536];
	int fd = pair();

	fill(fd, 3);
	barrier("waiting");
	here(__FILE__, __LINE__, "a send that the peer's close ends");
	CHECK(send(fd, buf, sizeof(buf), MSG_NOSIGNAL) == -1);
	CHECK(errno == EPIPE || errno == ECONNRESET);
}

static void killed_client(void)
{
	int fd = pair();
	char buf[3];

	recv_all(fd, buf, 3);
	barrier("kill");
	expect_eof(fd);
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	barrier("done");
}

static void killed_server(void)
{
	int listen_fd = listener(0, 1), status;
	pid_t pid;

	pid = OK(fork());
	if (!pid) {
		int fd = accept_one(listen_fd);

		close(listen_fd);
		send_all(fd, "abc", 3);
		recv(fd, &fd, 1, 0);
		_exit(1);
	}
	close(listen_fd);
	barrier("pair: listening");
	barrier("pair: connected");
	barrier("kill");
	OK(kill(pid, SIGKILL));
	EQUAL(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	barrier("done");
}

static void linger_client(void)
{
	struct linger l = { 1, 2 };
	static char buf[MUCH];
	int fd = pair();

	OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	pattern_fill(buf, 0, MUCH, 4);
	send_all(fd, buf, MUCH);
	OK(close(fd));
	barrier("done");
}

static void linger_server(void)
{
	int fd = pair();

	sleep_ms(100);
	drain_pattern(fd, 4, 0, MUCH);
	expect_eof(fd);
	close(fd);
	barrier("done");
}

static void linger_values(void)
{
	struct linger l = { 7, 7 };
	socklen_t len = sizeof(l);
	int fd = case_socket();

	OK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
	EQUAL(l.l_onoff, 0);
	l = (struct linger) { 1, 30 };
	OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	l.l_linger = 0;
	OK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
	EQUAL(l.l_onoff, 1);
	EQUAL(l.l_linger, 30);
}

static void cross_close(void)
{
	/* Both ends at the same moment, again and again. */
	for (int i = 0; i < 30; i++) {
		int fd = pair();

		barrier("now");
		close(fd);
	}
}

static const struct test_case cases[] = {
	{ "bad", "not connected: ENOTCONN, no such way: EINVAL", bad },
	{ "wr", "SHUT_WR: data, then end of file there; EPIPE here; the rest goes on",
	  wr_client, wr_server },
	{ "rd", "SHUT_RD: end of file here, sending goes on", rd_client, rd_server },
	{ "rd_peer", "SHUT_RD there: EPIPE here, and no end of file",
	  rd_peer_client, rd_peer_server },
	{ "rdwr", "SHUT_RDWR by the connecting side", rdwr_client, rdwr_server },
	{ "rdwr_server", "SHUT_RDWR by the accepting side",
	  server_first_client, server_first_server },
	{ "both", "SHUT_WR at both ends at the same time", both_ends_wr, both_ends_wr },
	{ "again", "more shutdowns of what is shut down succeed", again_client, idle_server },
	{ "wakes_reader", "one's own SHUT_RD ends a waiting recv",
	  wakes_reader_client, idle_server },
	{ "wakes_writer", "one's own SHUT_WR ends a waiting send with EPIPE",
	  wakes_writer_client, idle_server },
	{ "close_after_data", "all data sent before close arrives, then the end",
	  close_after_data_client, close_after_data_server, .flags = STREAM_ONLY },
	{ "close_unread", "close with unread data: ECONNRESET, once",
	  close_unread_client, close_unread_server,
	  .vsock_differs = "it ends the connection without a reset" },
	{ "reset_keeps_data", "data that came before the reset is read, then ECONNRESET",
	  reset_keeps_data_client, reset_keeps_data_server,
	  .vsock_differs = "it ends the connection without a reset" },
	{ "wakes_peer", "close ends the peer's waiting recv", wakes_peer_client,
	  late_close_server },
	{ "wakes_peer_writer", "close ends the peer's waiting send",
	  wakes_peer_writer_client, late_close_server },
	{ "killed", "a killed process leaves an end of file", killed_client, killed_server },
	{ "linger", "SO_LINGER: close waits, nothing is lost", linger_client, linger_server,
	  .flags = STREAM_ONLY },
	{ "linger_values", "SO_LINGER reads back", linger_values },
	{ "cross", "both ends close at once, thirty times", cross_close, cross_close },
};

SUBJECT_TWICE(shutdown);
