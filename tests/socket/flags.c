// SPDX-License-Identifier: GPL-2.0-only
/* Cases: what the flags of send and recv do, and EPIPE with SIGPIPE. */
#include <signal.h>

#include "vmshm_test.h"

static void put_client(void)
{
	int fd = pair();

	send_all(fd, "0123456789", 10);
	barrier("sent");
	barrier("done");
}

static void idle_server(void)
{
	pair();
	barrier("done");
}

static void dontwait_recv_client(void)
{
	int fd = pair();
	char c;

	FAILS(recv(fd, &c, 1, MSG_DONTWAIT), EAGAIN);
	set_blocking(fd, false);
	FAILS(recv(fd, &c, 1, 0), EAGAIN);
	FAILS(read(fd, &c, 1), EAGAIN);
	barrier("done");
}

static void dontwait_send_client(void)
{
	int fd = pair();
	size_t total = fill(fd, 1);
	char c = 0;

	CHECK(total > 0);
	FAILS(send(fd, &c, 1, MSG_DONTWAIT), EAGAIN);
	set_blocking(fd, false);
	FAILS(write(fd, &c, 1), EAGAIN);
	tell("filled", total);
	barrier("drained");
	/* There is room again. */
	EQUAL(send(fd, &c, 1, MSG_DONTWAIT), 1);
	barrier("done");
}

static void dontwait_send_server(void)
{
	int fd = pair();
	size_t total = ask("filled");

	drain_pattern(fd, 1, 0, total);
	expect_nothing(fd);
	barrier("drained");
	barrier("done");
}

/* A full connection takes what fits and says how much that was. */
static void partial_client(void)
{
	static char buf[8 << 20];
	int fd = pair();
	ssize_t n;

	pattern_fill(buf, 0, sizeof(buf), 2);
	n = OK(send(fd, buf, sizeof(buf), MSG_DONTWAIT));
	CHECK(n > 0 && n < (ssize_t)sizeof(buf));
	tell("taken", n);
	barrier("done");
}

static void partial_server(void)
{
	int fd = pair();
	size_t n = ask("taken");

	drain_pattern(fd, 2, 0, n);
	expect_nothing(fd);
	barrier("done");
}

static void peek_server(void)
{
	int fd = pair();
	char buf[16];

	barrier("sent");
	wait_readable(fd, 10);
	EQUAL(recv(fd, buf, 4, MSG_PEEK), 4);
	EQUAL(memcmp(buf, "0123", 4), 0);
	EQUAL(recv(fd, buf, sizeof(buf), MSG_PEEK), 10);
	EQUAL(memcmp(buf, "0123456789", 10), 0);
	EQUAL(recv(fd, buf, 4, 0), 4);
	EQUAL(recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT), 6);
	EQUAL(memcmp(buf, "456789", 6), 0);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 6);
	FAILS(recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT), EAGAIN);
	barrier("done");
}

static void peek_waits_client(void)
{
	int fd = pair();

	sleep_ms(100);
	send_all(fd, "q", 1);
	barrier("done");
}

static void peek_waits_server(void)
{
	int fd = pair();
	char c;

	EQUAL(recv(fd, &c, 1, MSG_PEEK), 1);
	EQUAL(c, 'q');
	EQUAL(recv(fd, &c, 1, MSG_DONTWAIT), 1);
	barrier("done");
}

static void peek_eof_server(void)
{
	int fd = pair();
	char c;

	EQUAL(recv(fd, &c, 1, MSG_PEEK), 0);
	EQUAL(recv(fd, &c, 1, MSG_PEEK), 0);
	EQUAL(recv(fd, &c, 1, 0), 0);
}

static void close_client(void)
{
	close(pair());
}

#define WAITALL	200000

static void waitall_client(void)
{
	static char buf[WAITALL];
	int fd = pair();

	pattern_fill(buf, 0, WAITALL, 3);
	for (size_t at = 0; at < WAITALL; at += WAITALL / 5) {
		sleep_ms(20);
		send_all(fd, buf + at, WAITALL / 5);
	}
	send_all(fd, "short", 5);
	barrier("read");
}

static void waitall_server(void)
{
	static char buf[WAITALL];
	int fd = pair();

	EQUAL(recv(fd, buf, WAITALL, MSG_WAITALL), WAITALL);
	pattern_check(buf, 0, WAITALL, 3);
	barrier("read");
	/* The end of the stream ends it, with what there was. */
	EQUAL(recv(fd, buf, 100, MSG_WAITALL), 5);
	EQUAL(recv(fd, buf, 100, MSG_WAITALL), 0);
}

/* A reset is no end of the stream: it is told, if by the next call. */
static void waitall_reset_client(void)
{
	int fd = pair();

	send_all(fd, "0123456789", 10);
	barrier("waiting");
	sleep_ms(50);
	close(fd);		/* with data that nobody has read */
	barrier("done");
}

static void waitall_reset_server(void)
{
	int fd = pair();
	char buf[100];

	send_all(fd, "unread", 6);
	barrier("waiting");
	EQUAL(recv(fd, buf, 100, MSG_WAITALL), 10);
	FAILS(recv(fd, buf, 100, MSG_WAITALL), ECONNRESET);
	EQUAL(recv(fd, buf, 100, MSG_WAITALL), 0);
	barrier("done");
}

static void waitall_dontwait_server(void)
{
	int fd = pair();
	char buf[16];

	barrier("sent");
	wait_readable(fd, 10);
	EQUAL(recv(fd, buf, 16, MSG_WAITALL | MSG_DONTWAIT), 10);
	FAILS(recv(fd, buf, 16, MSG_WAITALL | MSG_DONTWAIT), EAGAIN);
	barrier("done");
}

/* A stream has no message to cut: MSG_TRUNC neither comes nor changes counts. */
static void trunc_server(void)
{
	struct iovec v;
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	int fd = pair();
	char buf[16] = "";

	barrier("sent");
	wait_readable(fd, 10);
	EQUAL(recv(fd, buf, 4, MSG_TRUNC), 4);
	EQUAL(memcmp(buf, "0123", 4), 0);
	v = (struct iovec) { buf, 3 };
	EQUAL(recvmsg(fd, &m, 0), 3);
	EQUAL(m.msg_flags & MSG_TRUNC, 0);
	EQUAL(memcmp(buf, "456", 3), 0);
	EQUAL(recv(fd, buf, 16, MSG_TRUNC), 3);
	EQUAL(memcmp(buf, "789", 3), 0);
	barrier("done");
}

static void oob_client(void)
{
	int fd = pair();
	char c = 0;

	FAILS(send(fd, &c, 1, MSG_OOB | MSG_NOSIGNAL), EOPNOTSUPP);
	FAILS(recv(fd, &c, 1, MSG_OOB | MSG_DONTWAIT), EOPNOTSUPP);
	barrier("done");
}

static volatile sig_atomic_t signals;

static void count_signal(int sig)
{
	(void)sig;
	signals++;
}

static void sigpipe_client(void)
{
	int fd = pair();

	on_signal(SIGPIPE, count_signal, 0);
	OK(shutdown(fd, SHUT_WR));
	FAILS(send(fd, "x", 1, 0), EPIPE);
	EQUAL(signals, 1);
	FAILS(write(fd, "x", 1), EPIPE);
	EQUAL(signals, 2);
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	EQUAL(signals, 2);
	barrier("done");
}

static void sigpipe_gone_client(void)
{
	int fd = pair();

	on_signal(SIGPIPE, count_signal, 0);
	expect_eof(fd);
	FAILS(send(fd, "x", 1, 0), EPIPE);
	EQUAL(signals, 1);
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
	EQUAL(signals, 1);
}

/* One send that is cut by the peer's close counts what went in before. */
static void cut_client(void)
{
	static char buf[8 << 20];
	int fd = pair();
	ssize_t n;

	n = send(fd, buf, sizeof(buf), MSG_NOSIGNAL);
	CHECK((n > 0 && n < (ssize_t)sizeof(buf)) ||
	      (n == -1 && (errno == EPIPE || errno == ECONNRESET)));
	/* What was left unread there is a reset, which is told once. */
	here(__FILE__, __LINE__, "send after the close");
	CHECK(send(fd, buf, 1, MSG_NOSIGNAL) == -1 && (errno == EPIPE || errno == ECONNRESET));
	FAILS(send(fd, buf, 1, MSG_NOSIGNAL), EPIPE);
}

static void cut_server(void)
{
	char buf[100];
	int fd = pair();

	recv_all(fd, buf, sizeof(buf));
	sleep_ms(100);
	close(fd);
}

static void more_client(void)
{
	int fd = pair();

	/* A hint and no more: the data is not held back. */
	EQUAL(send(fd, "01234", 5, MSG_MORE), 5);
	barrier("read");
	EQUAL(send(fd, "56789", 5, MSG_EOR), 5);
	barrier("done");
}

static void more_server(void)
{
	int fd = pair();
	char buf[5];

	recv_all(fd, buf, 5);
	EQUAL(memcmp(buf, "01234", 5), 0);
	barrier("read");
	recv_all(fd, buf, 5);
	barrier("done");
}

static const struct test_case cases[] = {
	{ "dontwait_recv", "nothing there: EAGAIN, by flag and by O_NONBLOCK",
	  dontwait_recv_client, idle_server },
	{ "dontwait_send", "full: EAGAIN, and room again when the peer has read",
	  dontwait_send_client, dontwait_send_server },
	{ "partial", "a large non-blocking send takes what fits",
	  partial_client, partial_server },
	{ "peek", "MSG_PEEK leaves the data where it is", put_client, peek_server },
	{ "peek_waits", "MSG_PEEK waits for data", peek_waits_client, peek_waits_server },
	{ "peek_eof", "MSG_PEEK sees the end of file, again and again",
	  close_client, peek_eof_server },
	{ "waitall", "MSG_WAITALL waits for all, or the end", waitall_client, waitall_server },
	{ "waitall_reset", "a reset in the middle of MSG_WAITALL is told by the next call",
	  waitall_reset_client, waitall_reset_server,
	  .vsock_differs = "it ends the connection without a reset" },
	{ "waitall_dontwait", "MSG_WAITALL with MSG_DONTWAIT gives what there is",
	  put_client, waitall_dontwait_server },
	{ "trunc", "MSG_TRUNC changes nothing on a stream", put_client, trunc_server },
	{ "oob", "no out-of-band data: EOPNOTSUPP", oob_client, idle_server },
	{ "sigpipe", "sending after shutdown: EPIPE and SIGPIPE, not with MSG_NOSIGNAL",
	  sigpipe_client, idle_server,
	  .vsock_differs = "older kernels send no SIGPIPE" },
	{ "sigpipe_gone", "sending to a peer that closed: EPIPE and SIGPIPE",
	  sigpipe_gone_client, close_client,
	  .vsock_differs = "older kernels send no SIGPIPE" },
	{ "cut", "a send that the peer's close cuts returns what went in, then EPIPE",
	  cut_client, cut_server },
	{ "more", "MSG_MORE and MSG_EOR don't hold data back", more_client, more_server },
};

SUBJECT(flags);
