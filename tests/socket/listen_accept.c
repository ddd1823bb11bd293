// SPDX-License-Identifier: GPL-2.0-only
/* Cases: listen, its backlog, and accept in all forms. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "vmshm_test.h"

static void client_stays(void)
{
	int fd;

	barrier("listening");
	fd = connected(0);
	barrier("done");
	close(fd);
}

static void unbound(void)
{
	FAILS(listen(stream_socket(), 1), EINVAL);
}

static void not_listening(void)
{
	int fd = stream_socket();

	FAILS(accept(fd, NULL, NULL), EINVAL);
	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(0)));
	FAILS(accept(fd, NULL, NULL), EINVAL);
}

static void accept_connected_client(void)
{
	FAILS(accept(pair(), NULL, NULL), EINVAL);
	barrier("done");
}

static void pair_server(void)
{
	pair();
	barrier("done");
}

static void listening_transfers(void)
{
	int fd = listener(0, 1);
	char c = 0;

	FAILS(recv(fd, &c, 1, 0), ENOTCONN);
	FAILS(send(fd, &c, 1, MSG_NOSIGNAL), ENOTCONN);
}

static void nonblocking_empty(void)
{
	int fd = listener(0, 1);

	set_blocking(fd, false);
	FAILS(accept(fd, NULL, NULL), EAGAIN);
	EQUAL(poll_one(fd, POLLIN, 0), 0);
}

static void nonblocking_server(void)
{
	int listen_fd = listener(0, 1), fd;

	set_blocking(listen_fd, false);
	barrier("listening");
	EQUAL(poll_one(listen_fd, POLLIN, 5000), POLLIN);
	fd = accept_one(listen_fd);
	/* O_NONBLOCK is not inherited, as everywhere on Linux. */
	CHECK(!(OK(fcntl(fd, F_GETFL)) & O_NONBLOCK));
	FAILS(accept(listen_fd, NULL, NULL), EAGAIN);
	barrier("done");
}

static void blocking_client(void)
{
	barrier("listening");
	sleep_ms(150);
	connected(0);
	barrier("done");
}

static void blocking_server(void)
{
	int fd = listener(0, 1);
	double start;

	start = now();
	barrier("listening");
	accept_one(fd);
	CHECK(now() - start > 0.05);
	barrier("done");
}

static void flags_client(void)
{
	barrier("listening");
	for (int i = 0; i < 3; i++)
		connected(0);
	barrier("done");
}

static void flags_server(void)
{
	int listen_fd = listener(0, 3), fd;

	barrier("listening");
	fd = OK(accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK));
	CHECK(OK(fcntl(fd, F_GETFL)) & O_NONBLOCK);
	CHECK(!(OK(fcntl(fd, F_GETFD)) & FD_CLOEXEC));
	expect_nothing(fd);
	fd = OK(accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC));
	CHECK(!(OK(fcntl(fd, F_GETFL)) & O_NONBLOCK));
	CHECK(OK(fcntl(fd, F_GETFD)) & FD_CLOEXEC);
	FAILS(accept4(listen_fd, NULL, NULL, 1), EINVAL);
	OK(accept4(listen_fd, NULL, NULL, 0));
	barrier("done");
}

static void handler(int sig)
{
	(void)sig;
}

static void interrupted(void)
{
	int fd = listener(0, 1);

	on_signal(SIGUSR1, handler, 0);
	signal_me_in(SIGUSR1, 100);
	FAILS(accept(fd, NULL, NULL), EINTR);
}

static void restarted_client(void)
{
	barrier("listening");
	sleep_ms(300);
	connected(0);
	barrier("done");
}

static void restarted_server(void)
{
	int fd = listener(0, 1);

	on_signal(SIGUSR1, handler, SA_RESTART);
	barrier("listening");
	signal_me_in(SIGUSR1, 100);
	accept_one(fd);
	barrier("done");
}

static void timeout(void)
{
	int fd = listener(0, 1);
	double start = now();

	set_timeout(fd, SO_RCVTIMEO, 200);
	FAILS(accept(fd, NULL, NULL), EAGAIN);
	check_elapsed(start, 200);
}

/* How many connections a listener with that backlog takes. */
static int count_admitted(int fds[], int max)
{
	int n;

	for (n = 0; n < max; n++) {
		fds[n] = stream_socket();
		here(__FILE__, __LINE__, "connect until the backlog is full");
		if (connect_to(fds[n], ctx.peer, port_nr(0))) {
			EQUAL(errno, ECONNRESET);
			break;
		}
	}
	return n;
}

static void backlog_client(void)
{
	int fds[20], n;

	barrier("listening");
	n = count_admitted(fds, 20);
	CHECK(n >= 4 && n <= 6);
	tell("admitted", n);
	barrier("full");
	/* There is room again after an accept. */
	barrier("accepted one");
	connected(0);
	FAILS(connect_to(stream_socket(), ctx.peer, port_nr(0)), ECONNRESET);
	barrier("done");
}

static void backlog_server(void)
{
	int fd = listener(0, 4), n;

	barrier("listening");
	n = ask("admitted");
	barrier("full");
	accept_one(fd);
	barrier("accepted one");
	barrier("done");
	set_blocking(fd, false);
	for (int i = 0; i < n; i++)
		accept_one(fd);
	FAILS(accept(fd, NULL, NULL), EAGAIN);
}

static void backlog_change_client(void)
{
	int fds[20], n;

	barrier("listening");
	n = count_admitted(fds, 20);
	CHECK(n <= 2);
	barrier("full");
	barrier("larger");
	n += count_admitted(fds, 20);
	CHECK(n >= 8 && n <= 9);
	barrier("done");
}

static void backlog_change_server(void)
{
	int fd = listener(0, 1);

	barrier("listening");
	barrier("full");
	OK(listen(fd, 8));
	barrier("larger");
	barrier("done");
}

static void negative_backlog(void)
{
	int fd = stream_socket();

	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(0)));
	OK(listen(fd, -1));
}

/* A connection whose client has gone is still given out, with its data. */
static void gone_before_accept_client(void)
{
	int fd;

	barrier("listening");
	fd = connected(0);
	send_all(fd, "left", 4);
	close(fd);
	barrier("closed");
}

static void gone_before_accept_server(void)
{
	int listen_fd = listener(0, 1), fd;
	char buf[4];

	barrier("listening");
	barrier("closed");
	sleep_ms(50);
	fd = accept_one(listen_fd);
	recv_all(fd, buf, 4);
	EQUAL(memcmp(buf, "left", 4), 0);
	expect_eof(fd);
}

static void *accept_thread(void *arg)
{
	close(accept_one(*(int *)arg));
	return NULL;
}

static void threads_client(void)
{
	barrier("listening");
	sleep_ms(50);
	for (int i = 0; i < 4; i++)
		connected(0);
	barrier("done");
}

static void threads_server(void)
{
	int fd = listener(0, 4);
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		EQUAL(pthread_create(&t[i], NULL, accept_thread, &fd), 0);
	barrier("listening");
	for (int i = 0; i < 4; i++)
		EQUAL(pthread_join(t[i], NULL), 0);
	barrier("done");
}

static void shutdown_wakes(void)
{
	int fd = listener(0, 1);

	/* A listener has no connection to shut down. */
	FAILS(shutdown(fd, SHUT_RDWR), ENOTCONN);
}

static const struct test_case cases[] = {
	{ "unbound", "listen wants a bound socket: EINVAL", unbound },
	{ "not_listening", "accept wants a listening socket: EINVAL", not_listening },
	{ "accept_connected", "accept on a connection: EINVAL", accept_connected_client,
	  pair_server },
	{ "no_transfer", "a listening socket carries no data: ENOTCONN", listening_transfers },
	{ "nonblocking_empty", "a non-blocking accept with nobody there: EAGAIN",
	  nonblocking_empty },
	{ "nonblocking", "poll says when accept will succeed", client_stays, nonblocking_server },
	{ "blocking", "accept waits for a connection", blocking_client, blocking_server },
	{ "accept4_flags", "SOCK_NONBLOCK and SOCK_CLOEXEC of accept4, others EINVAL",
	  flags_client, flags_server },
	{ "interrupted", "a signal ends accept: EINTR", interrupted },
	{ "restarted", "with SA_RESTART accept goes on", restarted_client, restarted_server },
	{ "timeout", "SO_RCVTIMEO ends accept: EAGAIN", timeout },
	{ "backlog", "a full backlog refuses with ECONNRESET, and takes more after accept",
	  backlog_client, backlog_server },
	{ "backlog_change", "a second listen changes the backlog",
	  backlog_change_client, backlog_change_server },
	{ "negative_backlog", "a negative backlog is accepted", negative_backlog },
	{ "gone_before_accept", "data of a client that closed before accept is read, then EOF",
	  gone_before_accept_client, gone_before_accept_server },
	{ "threads", "four threads in accept get a connection each",
	  threads_client, threads_server },
	{ "shutdown", "shutdown of a listening socket: ENOTCONN", shutdown_wakes },
};

SUBJECT(listen);
