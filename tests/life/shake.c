// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that are killed by SIGKILL at a random moment of connect, accept,
 * send, receive and close, many times, of all types. Each has to be gone at once:
 * a process that a SIGKILL does not end within two seconds has hung in the kernel.
 * What each kind of them achieved is counted: one that achieved nothing shows nothing.
 *
 * shake CID PORT ROUNDS: CID is that of a VM that runs "shake survive" with this
 * VM's CID and the same PORT; ROUNDS of each kind.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"
#include "survive.h"

#define BEFORE_KILL_US	40000	/* at most */
#define GONE_S		2.0
#define LOCAL_PORT	7400
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

struct task {
	int type;
	unsigned int cid, port, round;
	atomic_ulong *done;	/* what it is for has worked so often */
};

static unsigned int below(unsigned int n)
{
	unsigned int r;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return 0;
	return r % n;
}

/* ---- what is killed ---- */

static void connects(const struct task *t)
{
	for (;;) {
		int fd = connect_of(t->type, t->cid, SURVIVE_ECHO(t->port, t->type));

		if (fd < 0)
			continue;
		atomic_fetch_add(t->done, 1);
		close(fd);
	}
}

/* The longest that is sent at once: a stream in many pieces, the others as a record. */
static size_t most(const struct task *t)
{
	return t->type == SOCK_STREAM ? 1 << 20 : SURVIVE_RECORD;
}

static void sends(const struct task *t)
{
	static char buf[1 << 20];
	int fd = connect_of(t->type, t->cid, SURVIVE_ECHO(t->port, t->type));

	/* Nobody reads the echo: soon a connection stops in a full ring. */
	while (send(fd, buf, 1 + below(most(t)), MSG_NOSIGNAL) > 0)
		atomic_fetch_add(t->done, 1);
	pause();
}

static void receives(const struct task *t)
{
	char buf[65536];
	int fd = connect_of(t->type, t->cid, SURVIVE_ECHO(t->port, t->type));

	/* The other side does not wait for ever to echo a datagram. */
	if (t->type == SOCK_DGRAM)
		set_limits(fd, 10);
	for (;;) {
		int flags = 0;

		if (send(fd, buf, 1 + below(20000), MSG_NOSIGNAL) < 0 && t->type != SOCK_DGRAM)
			break;
		/* More than will come, now and then. */
		if (t->type == SOCK_STREAM && !below(8))
			flags = MSG_WAITALL;
		if (recv(fd, buf, sizeof(buf), flags) > 0)
			atomic_fetch_add(t->done, 1);
	}
	pause();
}

static void closes(const struct task *t)
{
	char buf[20000];

	for (;;) {
		int fd = connect_of(t->type, t->cid, SURVIVE_ECHO(t->port, t->type));

		if (fd < 0)
			continue;
		if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) > 0) {
			atomic_fetch_add(t->done, 1);
			if (t->type != SOCK_DGRAM && below(2))
				recv(fd, buf, 100, 0);
		}
		close(fd);		/* with unread data */
	}
}

static void accept_all(const struct task *t, int fd)
{
	char byte;

	for (;;) {
		int conn = accept(fd, NULL, NULL);

		if (conn < 0)
			continue;
		atomic_fetch_add(t->done, 1);
		if (below(2))
			recv(conn, &byte, 1, MSG_DONTWAIT);
		close(conn);
	}
}

/* The other VM connects to it. */
static void accepts(const struct task *t)
{
	accept_all(t, listen_of(t->type, SURVIVE_ACCEPT(t->port, t->type), 4));
}

/* A child connects to it. */
static void accepts_inside(const struct task *t)
{
	unsigned int port = LOCAL_PORT + t->round % 16;
	int fd = listen_of(t->type, port, 4);

	if (!fork()) {
		close(fd);
		for (;;) {
			int conn = connect_of(t->type, 1, port);

			if (getppid() == 1)
				_exit(0);
			if (conn >= 0)
				close(conn);
		}
	}
	accept_all(t, fd);
}

static const struct kind {
	const char *name;
	int type;
	void (*live)(const struct task *t);
} kinds[] = {
	{ "connect of a stream", SOCK_STREAM, connects },
	{ "send of a stream", SOCK_STREAM, sends },
	{ "receive of a stream", SOCK_STREAM, receives },
	{ "close of a stream", SOCK_STREAM, closes },
	{ "accept of a stream", SOCK_STREAM, accepts },
	{ "accept of a stream inside the VM", SOCK_STREAM, accepts_inside },
	{ "connect for records", SOCK_SEQPACKET, connects },
	{ "send of records", SOCK_SEQPACKET, sends },
	{ "receive of records", SOCK_SEQPACKET, receives },
	{ "close for records", SOCK_SEQPACKET, closes },
	{ "accept for records", SOCK_SEQPACKET, accepts },
	{ "accept for records inside the VM", SOCK_SEQPACKET, accepts_inside },
	{ "send of datagrams", SOCK_DGRAM, sends },
	{ "receive of datagrams", SOCK_DGRAM, receives },
	{ "close for datagrams", SOCK_DGRAM, closes },
};

/* ---- the killer ---- */

static bool gone_in_time(pid_t pid)
{
	double limit = seconds_now() + GONE_S;

	while (seconds_now() < limit) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		usleep(500);
	}
	return false;
}

static void show_stack(pid_t pid)
{
	char path[40], text[4096];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	f = fopen(path, "r");
	if (!f)
		return;
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	fputs(text, stdout);
	fclose(f);
}

/* Returns whether it hung. */
static bool killed_at_any_point(const struct kind *k, const struct task *t)
{
	pid_t pid = fork();
	bool hung;

	if (!pid) {
		/* A session of its own, so that its children can be killed with it. */
		setsid();
		k->live(t);
		_exit(1);
	}
	usleep(below(BEFORE_KILL_US));
	kill(pid, SIGKILL);
	hung = !gone_in_time(pid);
	if (hung) {
		printf("round %u: killed in %s, still there after %.0f s\n", t->round, k->name,
		       GONE_S);
		show_stack(pid);
	}
	kill(-pid, SIGKILL);
	return hung;
}

static int shake(unsigned int cid, unsigned int port, unsigned int rounds)
{
	atomic_ulong *done = mmap(NULL, sizeof(*done) * ARRAY_SIZE(kinds), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int hung = 0, idle = 0;

	if (done == MAP_FAILED)
		return 1;
	for (unsigned int round = 0; round < rounds; round++)
		for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
			struct task t = { kinds[i].type, cid, port, round, &done[i] };

			hung += killed_at_any_point(&kinds[i], &t);
		}
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		printf("%s: %lu in %u lives\n", kinds[i].name, done[i], rounds);
		idle += !done[i];
	}
	printf("%u hung, %u kinds achieved nothing\n", hung, idle);
	return hung || idle;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && !strcmp(argv[1], "survive"))
		return survive(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
	if (argc == 4)
		return shake(strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10),
			     strtoul(argv[3], NULL, 10));
	fputs("usage: shake CID PORT ROUNDS | shake survive CID PORT\n", stderr);
	return 2;
}
