// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connections that outlive the process that made them: see heirs.h. Who makes
 * one is gone, in order or killed, before its heir uses it.
 */
#include "heirs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"

static bool pass(int to, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(fd))] = "";
	struct iovec iov = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(to, &m, 0) == 1;
}

static int passed(int from)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c;
	int fd;

	if (recvmsg(from, &m, 0) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int heir(int fd)
{
	int err;

	usleep(2000);	/* the parent is gone by now */
	set_limits(fd, 10000);
	err = echo_check(fd, 20000);
	if (err)
		printf("heir: %s\n", errno_name(err));
	return err != 0;
}

/* Odd ones are killed, even ones close in order. */
static void __attribute__((noreturn)) leave(unsigned int i)
{
	if (i & 1)
		kill(getpid(), SIGKILL);
	_exit(0);
}

static int connected(unsigned int cid, unsigned int port)
{
	int fd = connect_to(cid, port);

	if (fd < 0) {
		printf("connect: %s\n", errno_name(errno));
		_exit(1);
	}
	return fd;
}

static bool exec_heir(int fd)
{
	char number[12];

	/* By number, which it finds open. */
	snprintf(number, sizeof(number), "%d", fd);
	fcntl(fd, F_SETFD, 0);
	execl("/proc/self/exe", "traffic", "heir", number, NULL);
	printf("exec: %s\n", errno_name(errno));
	return false;
}

/*
 * A process that connects and leaves; what its child returns, which has the
 * connection by fork(), or by exec() of this program.
 */
static bool inherited(unsigned int cid, unsigned int port, unsigned int i, bool exec)
{
	int sync[2], status = 1;
	pid_t parent;
	char byte = 1;

	if (pipe(sync))
		return false;
	parent = fork();
	if (!parent) {
		int fd = connected(cid, port);
		pid_t child = fork();

		if (child)
			leave(i);
		close(sync[0]);
		/* Its parent is gone, so one more between it and whom it tells. */
		child = fork();
		if (!child)
			_exit(exec ? !exec_heir(fd) : heir(fd));
		close(fd);
		waitpid(child, &status, 0);
		byte = status != 0;
		_exit(write(sync[1], &byte, 1) != 1);
	}
	close(sync[1]);
	waitpid(parent, NULL, 0);
	if (read(sync[0], &byte, 1) != 1)
		byte = 1;
	close(sync[0]);
	return !byte;
}

static bool by_fork(unsigned int cid, unsigned int port, unsigned int i)
{
	return inherited(cid, port, i, false);
}

static bool by_exec(unsigned int cid, unsigned int port, unsigned int i)
{
	return inherited(cid, port, i, true);
}

static bool received(unsigned int cid, unsigned int port, unsigned int i)
{
	int pair[2], fd, bad;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return false;
	pid = fork();
	if (!pid) {
		if (!pass(pair[1], connected(cid, port)))
			_exit(1);
		leave(i);
	}
	close(pair[1]);
	waitpid(pid, NULL, 0);
	fd = passed(pair[0]);
	bad = fd < 0 || heir(fd);
	close(fd);
	close(pair[0]);
	return !bad;
}

/* It lies in a socket's queue when that goes. */
static bool never_received(unsigned int cid, unsigned int port, unsigned int i)
{
	int pair[2], status;
	pid_t pid = fork();

	if (!pid) {
		int fd = connected(cid, port);

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || !pass(pair[1], fd))
			_exit(1);
		/* Every other pair of them has itself, too: that is collected some time. */
		if (i & 2 && !pass(pair[1], pair[0]))
			_exit(1);
		close(fd);
		leave(i);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) || !WEXITSTATUS(status);
}

int heirs(unsigned int cid, unsigned int port, unsigned int count)
{
	static const struct {
		const char *name;
		bool (*inherit)(unsigned int cid, unsigned int port, unsigned int i);
	} ways[] = {
		{ "fork", by_fork },
		{ "exec", by_exec },
		{ "SCM_RIGHTS received", received },
		{ "SCM_RIGHTS never received", never_received },
	};
	unsigned int all = 0;
	int pair[2];

	for (unsigned int w = 0; w < 4; w++) {
		unsigned int bad = 0;

		for (unsigned int i = 0; i < count; i++)
			bad += !ways[w].inherit(cid, port, i);
		printf("%s: %u of %u failed\n", ways[w].name, bad, count);
		all += bad;
	}
	/* The kernel collects what lies about when such a socket is closed. */
	if (!socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) {
		close(pair[0]);
		close(pair[1]);
	}
	return all != 0;
}
