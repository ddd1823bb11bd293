// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: connect, from the caller's side. What a paused or dying peer does to
 * it is in peer.c, what a wrong address does in badinput.c.
 */
#include <poll.h>

#include "vmshm_test.h"

static void wait_done(void)
{
	barrier("done");
}

static void refused(void)
{
	int fd = stream_socket();

	FAILS(connect_to(fd, ctx.peer, port_nr(0)), ECONNRESET);
	/* connect() gave the error, so it is not there any more. */
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
}

static void refused_then_works_client(void)
{
	int fd = stream_socket();

	FAILS(connect_to(fd, ctx.peer, port_nr(0)), ECONNRESET);
	barrier("refused");
	barrier("listening");
	OK(connect_to(fd, ctx.peer, port_nr(0)));
	send_all(fd, "x", 1);
	barrier("done");
}

static void refused_then_works_server(void)
{
	int listen_fd, fd;
	char c;

	barrier("refused");
	listen_fd = listener(0, 1);
	barrier("listening");
	fd = accept_one(listen_fd);
	recv_all(fd, &c, 1);
	EQUAL(c, 'x');
	barrier("done");
}

static void refused_nonblocking(void)
{
	int fd = stream_socket(), events;

	set_blocking(fd, false);
	if (connect_to(fd, ctx.peer, port_nr(0)) == -1 && errno == ECONNRESET)
		return;		/* the answer came before connect() looked */
	EQUAL(errno, EINPROGRESS);
	events = poll_one(fd, POLLIN | POLLOUT, 5000);
	CHECK(events & POLLERR);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), ECONNRESET);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
}

static void bound_not_listening_client(void)
{
	barrier("bound");
	FAILS(connect_to(stream_socket(), ctx.peer, port_nr(0)), ECONNRESET);
	barrier("done");
}

static void bound_not_listening_server(void)
{
	OK(bind_to(stream_socket(), VMSHM_CID_ANY, port_nr(0)));
	barrier("bound");
	barrier("done");
}

static void closed_listener_client(void)
{
	barrier("closed");
	FAILS(connect_to(stream_socket(), ctx.peer, port_nr(0)), ECONNRESET);
}

static void closed_listener_server(void)
{
	close(listener(0, 5));
	barrier("closed");
}

static void unknown_cid(void)
{
	static const unsigned int cids[] = {
		VMSHM_CID_HYPERVISOR, 999, VMSHM_CID_MAX, 0x7fffffff, 0xfffffffe,
	};

	for (size_t i = 0; i < ARRAY_SIZE(cids); i++) {
		double start = now();

		FAILS(connect_to(stream_socket(), cids[i], port_nr(0)), ENODEV);
		CHECK(now() - start < 1);
	}
}

static void unknown_cid_nonblocking(void)
{
	int fd = stream_socket();

	set_blocking(fd, false);
	FAILS(connect_to(fd, 999, port_nr(0)), ENODEV);
}

static void any_cid(void)
{
	int fd = stream_socket();

	FAILS(connect_to(fd, VMSHM_CID_ANY, port_nr(0)), ENODEV);
}

static void twice_client(void)
{
	int fd = pair();

	FAILS(connect_to(fd, ctx.peer, port_nr(0)), EISCONN);
	FAILS(connect_to(fd, ctx.peer, port_nr(1)), EISCONN);
	send_all(fd, "y", 1);
	barrier("done");
}

static void twice_server(void)
{
	int fd = pair();
	char c;

	/* The accepted end is connected, too. */
	FAILS(connect_to(fd, VMSHM_CID_LOCAL, port_nr(1)), EISCONN);
	recv_all(fd, &c, 1);
	barrier("done");
}

static void listening_socket(void)
{
	FAILS(connect_to(listener(0, 1), ctx.peer, port_nr(0)), EINVAL);
}

static void connected_listen_client(void)
{
	int fd = pair();

	FAILS(listen(fd, 1), EINVAL);
	FAILS(bind_to(fd, VMSHM_CID_ANY, port_nr(5)), EINVAL);
	barrier("done");
}

static void pair_server(void)
{
	pair();
	barrier("done");
}

static void nonblocking_client(void)
{
	int fd = stream_socket(), events, ret;
	char c;

	set_blocking(fd, false);
	barrier("listening");
	ret = connect_to(fd, ctx.peer, port_nr(0));
	if (ret) {
		EQUAL(errno, EINPROGRESS);
		events = poll_one(fd, POLLOUT, 5000);
		CHECK(events & POLLOUT);
		CHECK(!(events & (POLLERR | POLLHUP)));
	}
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), EISCONN);
	FAILS(recv(fd, &c, 1, 0), EAGAIN);
	send_all(fd, "z", 1);
	barrier("done");
}

static void accept_byte_server(void)
{
	int listen_fd = listener(0, 1), fd;
	char c;

	barrier("listening");
	fd = accept_one(listen_fd);
	recv_all(fd, &c, 1);
	barrier("done");
}

/* connect() completes when the peer's kernel has queued the connection. */
static void before_accept_client(void)
{
	char buf[5];
	int fd;

	barrier("listening");
	fd = connected(0);
	send_all(fd, "early", 5);
	barrier("sent");
	recv_all(fd, buf, 5);
	EQUAL(memcmp(buf, "reply", 5), 0);
}

static void before_accept_server(void)
{
	int listen_fd = listener(0, 1), fd;
	char buf[5];

	barrier("listening");
	barrier("sent");
	fd = accept_one(listen_fd);
	recv_all(fd, buf, 5);
	EQUAL(memcmp(buf, "early", 5), 0);
	send_all(fd, "reply", 5);
	expect_eof(fd);
}

/* The listener goes while a connection waits in its queue. */
static void unaccepted_client(void)
{
	int fd, ret;
	char c;

	barrier("listening");
	fd = connected(0);
	barrier("connected");
	barrier("closed");
	here(__FILE__, __LINE__, "recv on a connection that was never accepted");
	set_timeout(fd, SO_RCVTIMEO, 3000);
	ret = recv(fd, &c, 1, 0);
	CHECK(ret == 0 || (ret == -1 && errno == ECONNRESET));
	FAILS(send(fd, &c, 1, MSG_NOSIGNAL), EPIPE);
}

static void unaccepted_server(void)
{
	int listen_fd = listener(0, 1);

	barrier("listening");
	barrier("connected");
	close(listen_fd);
	barrier("closed");
}

static void many_to_one_client(void)
{
	int fds[40];

	barrier("listening");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = connected(0);
		send_all(fds[i], &i, sizeof(i));
	}
	wait_done();
}

static void many_to_one_server(void)
{
	int listen_fd = listener(0, 40);
	size_t nr;

	barrier("listening");
	for (size_t i = 0; i < 40; i++) {
		recv_all(accept_one(listen_fd), &nr, sizeof(nr));
		EQUAL(nr, i);
	}
	wait_done();
}

static void after_close_client(void)
{
	int fd;

	for (int i = 0; i < 20; i++) {
		barrier("listening");
		fd = connected(0);
		expect_eof(fd);
		close(fd);
	}
}

static void after_close_server(void)
{
	for (int i = 0; i < 20; i++) {
		int listen_fd = listener(0, 1);

		barrier("listening");
		close(accept_one(listen_fd));
		close(listen_fd);
	}
}

static const struct test_case cases[] = {
	{ "refused", "nobody listens: ECONNRESET", refused },
	{ "refused_then_works", "a refused socket can connect later",
	  refused_then_works_client, refused_then_works_server },
	{ "refused_nonblocking", "non-blocking and nobody listens: SO_ERROR says ECONNRESET, once",
	  refused_nonblocking },
	{ "bound_not_listening", "a bound socket that does not listen refuses",
	  bound_not_listening_client, bound_not_listening_server },
	{ "closed_listener", "a closed listener refuses",
	  closed_listener_client, closed_listener_server },
	{ "unknown_cid", "a CID that is no member: ENODEV at once", unknown_cid },
	{ "unknown_cid_nonblocking", "the same at once for a non-blocking socket",
	  unknown_cid_nonblocking },
	{ "any_cid", "CID ANY is nobody's address", any_cid },
	{ "twice", "a connected socket: EISCONN, and it goes on working",
	  twice_client, twice_server },
	{ "listening_socket", "a listening socket can't connect: EINVAL", listening_socket },
	{ "listen_connected", "a connected socket can't listen or be bound again: EINVAL",
	  connected_listen_client, pair_server },
	{ "nonblocking", "EINPROGRESS, then POLLOUT, then SO_ERROR 0",
	  nonblocking_client, accept_byte_server },
	{ "before_accept", "connect and send succeed before the peer accepts",
	  before_accept_client, before_accept_server },
	{ "unaccepted", "the listener is closed with the connection in its queue: it ends",
	  unaccepted_client, unaccepted_server },
	{ "many_to_one", "forty connections to one port are accepted in order",
	  many_to_one_client, many_to_one_server },
	{ "after_close", "connect, close and listen again, twenty times on one port",
	  after_close_client, after_close_server },
};

SUBJECT(connect);
