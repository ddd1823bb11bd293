// SPDX-License-Identifier: GPL-2.0-only
/*
 * What those see whose peers are killed at any point: see survive.h. The end of
 * a connection is an end of file, ECONNRESET or EPIPE; nobody listens any more is
 * ECONNRESET; nobody is bound any more is ECONNREFUSED, or ECONNRESET for who waits.
 */
#include "survive.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vmshm.h>

#include "net.h"

static struct tally {
	atomic_ulong ends;
	atomic_ulong connects;
	atomic_ulong wrong;
} *tally;

static void wrong(const char *what, int err)
{
	atomic_fetch_add(&tally->wrong, 1);
	printf("%s: %s\n", what, errno_name(err));
}

static void judge(const char *what, int err)
{
	atomic_fetch_add(&tally->ends, 1);
	if (err && err != ECONNRESET && err != EPIPE)
		wrong(what, err);
}

static void echo_connections(int type, unsigned int port)
{
	int fd = listen_of(type, SURVIVE_ECHO(port, type), 128);

	for (;;) {
		int conn = accept(fd, NULL, NULL);

		if (conn < 0) {
			wrong("accept", errno);
			return;
		}
		if (!fork()) {
			close(fd);
			judge("echo", echo_all(conn));
			_exit(0);
		}
		close(conn);
	}
}

static void echo_datagrams(unsigned int port)
{
	struct sockaddr_vmshm at = {
		.svm_family = AF_VMSHM, .svm_cid = VMSHM_CID_ANY, .svm_port = port
	}, from;
	int fd = socket(AF_VMSHM, SOCK_DGRAM, 0);
	char buf[65536];

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at))) {
		wrong("bind", errno);
		return;
	}
	/* Who does not read its echoes is not to delay those of others for long. */
	set_limits(fd, 20);
	for (;;) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n < 0 && errno != EAGAIN)
			wrong("receive", errno);
		if (n <= 0 || sendto(fd, buf, n, 0, (struct sockaddr *)&from, len) == n)
			continue;
		if (errno != EAGAIN && errno != ECONNREFUSED && errno != ECONNRESET)
			wrong("send of a datagram", errno);
	}
}

static void connect_again_and_again(int type, unsigned int cid, unsigned int port)
{
	for (;;) {
		int fd = connect_of(type, cid, port);
		char buf[100] = "";

		if (fd < 0) {
			if (errno != ECONNRESET)
				wrong("connect", errno);
			usleep(500);
			continue;
		}
		atomic_fetch_add(&tally->connects, 1);
		if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) < 0)
			judge("send", errno);
		else
			judge("receive", recv(fd, buf, sizeof(buf), 0) < 0 ? errno : 0);
		close(fd);
	}
}

/* Goes with its parent. */
static bool child(void)
{
	if (fork())
		return false;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return true;
}

int survive(unsigned int cid, unsigned int port)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	sigset_t over;
	int sig;

	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (tally == MAP_FAILED)
		return 1;
	signal(SIGCHLD, SIG_IGN);
	sigemptyset(&over);
	sigaddset(&over, SIGUSR1);
	sigprocmask(SIG_BLOCK, &over, NULL);
	for (int i = 0; i < 2; i++) {
		if (child()) {
			echo_connections(types[i], port);
			_exit(1);
		}
		if (child()) {
			connect_again_and_again(types[i], cid, SURVIVE_ACCEPT(port, types[i]));
			_exit(1);
		}
	}
	if (child()) {
		echo_datagrams(port);
		_exit(1);
	}
	puts("ready");
	sigwait(&over, &sig);
	printf("%lu connects, %lu ends, %lu wrong\n", tally->connects, tally->ends, tally->wrong);
	return tally->wrong || !tally->connects || !tally->ends;
}
