// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that are killed by SIGKILL at a random moment of connect, accept,
 * send, receive and close, many times. Each has to be gone at once: a process
 * that a SIGKILL does not end within two seconds has hung in the kernel.
 *
 * shake CID PORT ROUNDS: CID is that of a VM that runs "traffic serve PORT";
 * the processes also listen in this VM and connect to that (CID 1).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"

#define BEFORE_KILL_US	20000	/* at most */
#define GONE_S		2.0
#define LOCAL_PORT	7400
#define KINDS		5

static unsigned int below(unsigned int n)
{
	unsigned int r;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return 0;
	return r % n;
}

/* ---- what is killed ---- */

static void connects(unsigned int cid, unsigned int port)
{
	for (;;) {
		int fd = connect_to(cid, port);

		if (fd >= 0)
			close(fd);
	}
}

static void sends(unsigned int cid, unsigned int port)
{
	static char buf[1 << 20];
	int fd = connect_to(cid, port);

	/* Nobody reads the echo: soon it stops in a full ring. */
	while (send(fd, buf, 1 + below(sizeof(buf)), MSG_NOSIGNAL) > 0)
		;
	pause();
}

static void receives(unsigned int cid, unsigned int port)
{
	char buf[65536];
	int fd = connect_to(cid, port);

	for (;;) {
		if (send(fd, buf, 1 + below(20000), MSG_NOSIGNAL) < 0)
			break;
		/* More than will come, now and then. */
		recv(fd, buf, sizeof(buf), below(8) ? 0 : MSG_WAITALL);
	}
	pause();
}

static void closes(unsigned int cid, unsigned int port)
{
	char buf[20000];

	for (;;) {
		int fd = connect_to(cid, port);

		if (fd < 0)
			continue;
		if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) > 0 && below(2))
			recv(fd, buf, 100, 0);
		close(fd);		/* with unread data */
	}
}

/* A listener and a child that connects to it. */
static void accepts(unsigned int port)
{
	int fd = listen_on(port, 4);
	char byte;

	if (!fork()) {
		for (;;) {
			int conn = connect_to(1, port);

			if (getppid() == 1)
				_exit(0);
			if (conn >= 0)
				close(conn);
		}
	}
	for (;;) {
		int conn = accept(fd, NULL, NULL);

		if (conn >= 0 && below(2))
			recv(conn, &byte, 1, MSG_DONTWAIT);
		if (conn >= 0)
			close(conn);
	}
}

static void live(unsigned int kind, unsigned int cid, unsigned int port, unsigned int round)
{
	/* A session of its own, so that its children can be killed with it. */
	setsid();
	switch (kind) {
	case 0:
		connects(cid, port);
		break;
	case 1:
		sends(cid, port);
		break;
	case 2:
		receives(cid, port);
		break;
	case 3:
		closes(cid, port);
		break;
	default:
		accepts(LOCAL_PORT + round % 16);
	}
}

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

int main(int argc, char **argv)
{
	static const char * const names[KINDS] = {
		"connect", "send", "receive", "close", "accept"
	};
	unsigned int cid, port, rounds, bad = 0;

	if (argc != 4) {
		fputs("usage: shake CID PORT ROUNDS\n", stderr);
		return 2;
	}
	cid = strtoul(argv[1], NULL, 10);
	port = strtoul(argv[2], NULL, 10);
	rounds = strtoul(argv[3], NULL, 10);
	setvbuf(stdout, NULL, _IOLBF, 0);

	for (unsigned int i = 0; i < rounds; i++) {
		unsigned int kind = i % KINDS;
		pid_t pid = fork();

		if (!pid)
			live(kind, cid, port, i);
		usleep(below(BEFORE_KILL_US));
		kill(pid, SIGKILL);
		if (!gone_in_time(pid)) {
			printf("round %u: killed in %s, still there after %.0f s\n", i, names[kind],
			       GONE_S);
			show_stack(pid);
			bad++;
		}
		kill(-pid, SIGKILL);
	}
	printf("%u of %u hung\n", bad, rounds);
	return bad != 0;
}
