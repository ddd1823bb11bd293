// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: connect while the peer's VM is paused, so that no answer comes. The
 * client runs alone (--paused); who runs it pauses the VM and lets it go on.
 */
#include <poll.h>
#include <signal.h>
#include <sys/time.h>

#include <linux/time_types.h>

#include "vmshm_test.h"

static void default_timeout(void)
{
	double start = now();

	FAILS(connect_to(stream_socket(), ctx.peer, port_nr(0)), ETIMEDOUT);
	check_elapsed(start, 2000);
}

static void timeout_old(void)
{
	struct timeval t = { 0, 300000 };
	int fd = stream_socket();
	double start = now();

	OK(setsockopt(fd, ctx.family, SO_VMSHM_CONNECT_TIMEOUT_OLD, &t, sizeof(t)));
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), ETIMEDOUT);
	check_elapsed(start, 300);
}

static void timeout_new(void)
{
	struct __kernel_sock_timeval t = { 0, 300000 };
	int fd = stream_socket();
	double start = now();

	OK(setsockopt(fd, ctx.family, SO_VMSHM_CONNECT_TIMEOUT_NEW, &t, sizeof(t)));
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), ETIMEDOUT);
	check_elapsed(start, 300);
	/* The socket can try again. */
	start = now();
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), ETIMEDOUT);
	check_elapsed(start, 300);
}

static int connecting(int ms)
{
	struct timeval t = { ms / 1000, ms % 1000 * 1000 };
	int fd = stream_socket();

	OK(setsockopt(fd, ctx.family, SO_VMSHM_CONNECT_TIMEOUT_OLD, &t, sizeof(t)));
	set_blocking(fd, false);
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), EINPROGRESS);
	return fd;
}

static void nonblocking(void)
{
	int fd = connecting(500), events;
	struct sockaddr_vmshm a;
	socklen_t len = sizeof(a);
	char c = 0;

	EQUAL(poll_one(fd, POLLOUT, 100), 0);
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), EALREADY);
	FAILS(send(fd, &c, 1, MSG_NOSIGNAL), ENOTCONN);
	FAILS(recv(fd, &c, 1, 0), ENOTCONN);
	FAILS(getpeername(fd, (struct sockaddr *)&a, &len), ENOTCONN);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
	events = poll_one(fd, POLLOUT, 3000);
	CHECK(events & POLLERR);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), ETIMEDOUT);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
}

static void closed_meanwhile(void)
{
	double start = now();

	close(connecting(5000));
	/* close() waits for nobody. */
	CHECK(now() - start < 1);
}

static void handler(int sig)
{
	(void)sig;
}

static void interrupted(void)
{
	int fd = stream_socket();
	double start = now();

	on_signal(SIGUSR1, handler, SA_RESTART);
	signal_me_in(SIGUSR1, 200);
	/* A limited wait is not restarted, whatever sigaction() says. */
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), EINTR);
	check_elapsed(start, 200);
}

static void many(void)
{
	int fds[50];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = connecting(400);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		CHECK(poll_one(fds[i], POLLOUT, 3000) & POLLERR);
		EQUAL(get_int(fds[i], SOL_SOCKET, SO_ERROR), ETIMEDOUT);
	}
}

static void others_go_on(void)
{
	int fd = connecting(3000), listen_fd = listener(0, 1), here_fd = stream_socket();

	/* A peer that does not answer holds up nothing in this VM. */
	OK(connect_to(here_fd, VMSHM_CID_LOCAL, port_nr(0)));
	close(accept_one(listen_fd));
	close(fd);
}

static const struct test_case cases[] = {
	{ "timeout_default", "no answer: ETIMEDOUT after 2 s", default_timeout,
	  .flags = PAUSED_PEER },
	{ "timeout_old", "after what SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD says", timeout_old,
	  .flags = PAUSED_PEER },
	{ "timeout_new", "after what SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW says, twice", timeout_new,
	  .flags = PAUSED_PEER },
	{ "nonblocking", "EINPROGRESS, EALREADY, then POLLERR and ETIMEDOUT", nonblocking,
	  .flags = PAUSED_PEER },
	{ "closed", "close while connecting returns at once", closed_meanwhile,
	  .flags = PAUSED_PEER },
	{ "interrupted", "a signal ends connect: EINTR", interrupted, .flags = PAUSED_PEER },
	{ "many", "fifty that wait end in time", many, .flags = PAUSED_PEER },
	{ "others_go_on", "connections inside this VM are not held up", others_go_on,
	  .flags = PAUSED_PEER },
};

SUBJECT(peer);
