// SPDX-License-Identifier: GPL-2.0-only
/* Cases: a socket that several processes share: fork, dup, SCM_RIGHTS, exec. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "vmshm_test.h"

/* Echoes what comes until the end of file. */
static void echo(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = OK(recv(fd, buf, sizeof(buf), 0))))
		send_all(fd, buf, n);
}

static void echo_server(void)
{
	int fd = pair();

	echo(fd);
	close(fd);
	barrier("echo ended");
}

static void ping(int fd, const char *text)
{
	char buf[64];
	size_t len = strlen(text);

	send_all(fd, text, len);
	recv_all(fd, buf, len);
	EQUAL(memcmp(buf, text, len), 0);
}

/* The echo ends only when the last descriptor is closed. */
static void expect_end(int fd)
{
	OK(close(fd));
	barrier("echo ended");
}

static void fork_client(void)
{
	int fd = pair();
	pid_t pid = OK(fork());

	if (!pid) {
		ping(fd, "from the child");
		_exit(0);
	}
	wait_ok(pid);
	/* The child's end of the socket is closed, ours is not. */
	ping(fd, "from the parent");
	pid = OK(fork());
	if (!pid) {
		sleep_ms(100);
		ping(fd, "the parent has closed");
		_exit(0);
	}
	expect_end(fd);
	wait_ok(pid);
}

static void dup_client(void)
{
	int fd = pair(), other = OK(dup(fd)), third = OK(fcntl(fd, F_DUPFD_CLOEXEC, 100));

	ping(other, "by the copy");
	OK(close(fd));
	ping(third, "the first is closed");
	OK(close(other));
	/* Flags belong to what is shared. */
	other = OK(dup(third));
	set_blocking(other, false);
	expect_nothing(third);
	CHECK(OK(fcntl(third, F_GETFL)) & O_NONBLOCK);
	OK(close(other));
	expect_end(third);
}

static void pass_fd(int over, int fd)
{
	char byte = 'f', control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec v = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &v, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	EQUAL(sendmsg(over, &m, 0), 1);
}

static int take_fd(int over)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec v = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &v, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd;

	EQUAL(recvmsg(over, &m, 0), 1);
	CHECK(CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return fd;
}

static void rights_client(void)
{
	int fd, over[2];
	pid_t pid;

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, over));
	pid = OK(fork());
	if (!pid) {
		fd = take_fd(over[1]);
		ping(fd, "by the receiver");
		_exit(0);
	}
	fd = pair();
	pass_fd(over[0], fd);
	/* The connection lives while it is under way. */
	close(fd);
	barrier("echo ended");
	wait_ok(pid);
}

/* A descriptor that nobody takes out goes with the socket that it is in. */
static void rights_lost_client(void)
{
	int fd = pair(), over[2];

	OK(socketpair(AF_UNIX, SOCK_STREAM, 0, over));
	pass_fd(over[0], fd);
	close(fd);
	sleep_ms(50);
	close(over[0]);
	close(over[1]);
	barrier("echo ended");
}

static void exec_client(void)
{
	int fd = pair();

	ping(fd, "through another program");
	OK(shutdown(fd, SHUT_WR));
	expect_eof(fd);
	barrier("echo ended");
}

static void exec_server(void)
{
	int fd = pair();
	pid_t pid = OK(fork());

	if (!pid) {
		OK(dup2(fd, 0));
		OK(dup2(fd, 1));
		execlp("cat", "cat", NULL);
		_exit(127);
	}
	close(fd);
	wait_ok(pid);
	barrier("echo ended");
}

static void cloexec_client(void)
{
	int fd = pair(), status;
	char command[64];
	pid_t pid = OK(fork());

	if (!pid) {
		snprintf(command, sizeof(command), "test ! -e /proc/self/fd/%d", fd);
		execlp("sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	EQUAL(waitpid(pid, &status, 0), pid);
	EQUAL(status, 0);
	expect_end(fd);
}

static void unprivileged_client(void)
{
	drop_privileges();
	expect_end(pair());
}

static void unprivileged_server(void)
{
	drop_privileges();
	echo_server();
}

static void prefork_client(void)
{
	barrier("listening");
	for (int i = 0; i < 8; i++) {
		int fd = connected(0);

		ping(fd, "some worker");
		close(fd);
	}
	barrier("done");
}

static void prefork_server(void)
{
	int listen_fd = listener(0, 8), status;
	pid_t pids[3];

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		pids[i] = OK(fork());
		if (!pids[i])
			for (;;) {
				int fd = accept_one(listen_fd);

				echo(fd);
				close(fd);
			}
	}
	barrier("listening");
	barrier("done");
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		OK(kill(pids[i], SIGKILL));
		EQUAL(waitpid(pids[i], &status, 0), pids[i]);
	}
}

/* Processes on both sides share one connection, each with a direction. */
static void split_client(void)
{
	int fd = pair();
	pid_t pid = OK(fork());

	if (!pid) {
		static char buf[65536];

		for (int at = 0; at < 4 << 20; at += sizeof(buf)) {
			pattern_fill(buf, at, sizeof(buf), 1);
			send_all(fd, buf, sizeof(buf));
		}
		OK(shutdown(fd, SHUT_WR));
		_exit(0);
	}
	drain_pattern(fd, 1, 0, 4 << 20);
	expect_eof(fd);
	wait_ok(pid);
	close(fd);
	barrier("echo ended");
}

static void fstat_client(void)
{
	struct stat st;
	int fd = pair();

	OK(fstat(fd, &st));
	CHECK(S_ISSOCK(st.st_mode));
	FAILS(lseek(fd, 0, SEEK_CUR), ESPIPE);
	FAILS(fsync(fd), EINVAL);
	expect_end(fd);
}

static const struct test_case cases[] = {
	{ "fork", "parent and child use one connection; the last close ends it",
	  fork_client, echo_server },
	{ "dup", "copies of a descriptor are the same socket", dup_client, echo_server },
	{ "rights", "a socket sent to another process", rights_client, echo_server },
	{ "rights_lost", "a socket sent and never received is closed",
	  rights_lost_client, echo_server },
	{ "exec", "another program has the socket as standard input and output",
	  exec_client, exec_server },
	{ "cloexec", "SOCK_CLOEXEC keeps it from other programs", cloexec_client, echo_server },
	{ "unprivileged", "users without privileges connect and accept",
	  unprivileged_client, unprivileged_server, .flags = ROOT_ONLY },
	{ "prefork", "three processes accept from one listener", prefork_client, prefork_server },
	{ "split", "one process sends, another receives", split_client, echo_server },
	{ "fstat", "it is a socket: fstat, no lseek, no fsync", fstat_client, echo_server },
};

SUBJECT(process);
