// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VM does while its peer misbehaves: processes that connect to the peer
 * and send, receive and wait there, a listener that echoes what the peer sends,
 * and connections inside this VM whose content must stay right meanwhile.
 *
 * Towards the peer any outcome is allowed that a socket may have, but no call
 * may outlast its limit and no process may be left that a signal does not end.
 */
#include "victim.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"

#define LIMIT_MS	1000	/* SO_RCVTIMEO, SO_SNDTIMEO; a connect has 2000 */
#define CALL_MOST	8	/* s: a call has hung; VMs may have a fraction of a core */
#define CLIENTS		5	/* the last two send records and datagrams */
#define OTHERS		4	/* a listener, the two sides inside this VM, one that sprays */
#define INSIDE_PORT	7	/* above the victim's own port */
#define SPRAYED_PORT	50	/* likewise, of the peer */

struct outcomes {
	unsigned long connects, refused, rounds, intact, failed;
	double longest;			/* seconds in one call */
	char longest_call[16];
	int strange;			/* an errno that no call may give */
	char strange_call[16];
	unsigned long inside;		/* bytes echoed inside this VM */
	int inside_err;
	unsigned long accepted;
};

/* One a process, in shared memory. */
static struct outcomes *all;

static bool is_allowed(int err)
{
	static const int allowed[] = { 0, ECONNRESET, EPIPE, ETIMEDOUT, ENODEV, EAGAIN, ENOBUFS,
				       EHOSTUNREACH, ENOTCONN, EMSGSIZE, ECONNREFUSED,
				       ESHUTDOWN, ESOCKTNOSUPPORT };

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (err == allowed[i])
			return true;
	return false;
}

static double started;

#define TIMED(o, name, call) ({ \
	started = seconds_now(); \
	errno = 0; \
	long _ret = (call); \
	int _err = _ret < 0 ? errno : 0; \
	account(o, name, _err); \
	errno = _err; \
	_ret; })

static void account(struct outcomes *o, const char *name, int err)
{
	double took = seconds_now() - started;

	if (took > o->longest) {
		o->longest = took;
		snprintf(o->longest_call, sizeof(o->longest_call), "%s", name);
	}
	if (!is_allowed(err) && !o->strange) {
		o->strange = err;
		snprintf(o->strange_call, sizeof(o->strange_call), "%s", name);
	}
}

static void one_round(struct outcomes *o, int fd, unsigned int kind)
{
	char out[4096], in[4096];
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };

	pattern_fill(out, 0, sizeof(out));
	for (int turn = 0; turn < 20; turn++) {
		ssize_t n = TIMED(o, "send", send(fd, out, sizeof(out), MSG_NOSIGNAL));

		if (n < 0) {
			o->failed++;
			return;
		}
		if (kind == 1)
			TIMED(o, "poll", poll(&p, 1, LIMIT_MS));
		n = TIMED(o, "recv", recv(fd, in, n, kind == 2 ? 0 : MSG_WAITALL));
		if (n <= 0) {
			o->failed++;
			return;
		}
		o->rounds++;
		if (n == sizeof(in) && pattern_is(in, 0, n))
			o->intact++;
	}
}

static void client(struct outcomes *o, unsigned int cid, unsigned int port, double end,
		   unsigned int kind)
{
	while (seconds_now() < end) {
		int type = kind == CLIENTS - 2 ? SOCK_SEQPACKET :
			   kind == CLIENTS - 1 ? SOCK_DGRAM : SOCK_STREAM;
		int fd = TIMED(o, "connect", connect_of(type, cid, port));

		o->connects++;
		if (fd < 0) {
			o->refused++;
			usleep(2000);
			continue;
		}
		set_limits(fd, LIMIT_MS);
		one_round(o, fd, kind);
		TIMED(o, "close", close(fd));
	}
}

/* Echoes for the peer; the connections' processes go when they are idle. */
static void listener(struct outcomes *o, unsigned int port, double end)
{
	int fd = listen_on(port, 64);

	if (fd < 0) {
		o->strange = errno;
		return;
	}
	set_limits(fd, LIMIT_MS);
	signal(SIGCHLD, SIG_IGN);
	while (seconds_now() < end) {
		int conn = TIMED(o, "accept", accept(fd, NULL, NULL));
		char buf[4096];

		if (conn < 0)
			continue;
		o->accepted++;
		set_limits(conn, 50);
		for (int turn = 0; turn < 20 && seconds_now() < end; turn++) {
			ssize_t n = TIMED(o, "recv", recv(conn, buf, sizeof(buf), 0));

			if (n <= 0 || TIMED(o, "send", send(conn, buf, n, MSG_NOSIGNAL)) < 0)
				break;
		}
		TIMED(o, "close", close(conn));
	}
}

/* The server's side of the connection inside this VM. */
static void inside_server(struct outcomes *o, unsigned int port)
{
	int fd = listen_on(port, 4), conn;

	if (fd < 0) {
		o->inside_err = errno;
		return;
	}
	conn = accept(fd, NULL, NULL);
	if (conn >= 0)
		echo_all(conn);
}

static void inside_client(struct outcomes *o, unsigned int port, double end)
{
	int fd;

	usleep(200000);
	fd = connect_to(1, port);
	if (fd < 0) {
		o->inside_err = errno;
		return;
	}
	set_limits(fd, 20000);
	while (seconds_now() < end && !o->inside_err) {
		o->inside_err = echo_check(fd, 65536);
		o->inside += 65536;
	}
}

/* Sends datagrams that need no answer, as fast as the peer takes them. */
static void sprayer(struct outcomes *o, unsigned int cid, unsigned int port, double end)
{
	int fd = TIMED(o, "connect", connect_of(SOCK_DGRAM, cid, port));

	if (fd < 0)
		return;
	set_limits(fd, LIMIT_MS);
	while (seconds_now() < end)
		TIMED(o, "send", send(fd, "x", 1, MSG_NOSIGNAL));
}

static pid_t start(void (*run)(struct outcomes *o, unsigned int cid, unsigned int port, double end,
			       unsigned int kind),
		   struct outcomes *o, unsigned int cid, unsigned int port, double end,
		   unsigned int kind)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	run(o, cid, port, end, kind);
	_exit(0);
}

static void run_other(struct outcomes *o, unsigned int cid, unsigned int port, double end,
		      unsigned int kind)
{
	if (kind == 3)
		sprayer(o, cid, port + SPRAYED_PORT, end);
	else if (kind == 0)
		listener(o, port, end);
	else if (kind == 1)
		inside_server(o, port + INSIDE_PORT);
	else
		inside_client(o, port + INSIDE_PORT, end);
}

/* What a process that does not end is doing. */
static void show_stack(pid_t pid)
{
	char command[80];

	snprintf(command, sizeof(command), "cat /proc/%d/stack /proc/%d/wchan >&2", pid, pid);
	if (system(command))
		fputs("no stack\n", stderr);
}

/* Waits for all; true when all ended by themselves, or at least by a signal. */
static bool reap(pid_t *pids, int n, double limit)
{
	bool good = true;
	int left = n;

	while (left && seconds_now() < limit) {
		for (int i = 0; i < n; i++)
			if (pids[i] && waitpid(pids[i], NULL, WNOHANG) == pids[i]) {
				pids[i] = 0;
				left--;
			}
		usleep(10000);
	}
	for (int i = 0; i < n; i++) {
		if (!pids[i])
			continue;
		printf("process %d did not end in time\n", i);
		show_stack(pids[i]);
		good = false;
		kill(pids[i], SIGKILL);
		usleep(500000);
		if (waitpid(pids[i], NULL, WNOHANG) != pids[i])
			printf("not even by SIGKILL\n");
	}
	return good;
}

int victim(unsigned int cid, unsigned int port, unsigned int seconds)
{
	const int n = CLIENTS + OTHERS;
	double end = seconds_now() + seconds;
	struct outcomes sum = { 0 };
	pid_t pids[CLIENTS + OTHERS];
	bool good;

	all = mmap(NULL, n * sizeof(*all), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return 1;
	for (int i = 0; i < CLIENTS; i++)
		pids[i] = start(client, &all[i], cid, port, end, i);
	for (int i = 0; i < OTHERS; i++)
		pids[CLIENTS + i] = start(run_other, &all[CLIENTS + i], cid, port, end, i);
	/* The server inside ends with its client; each call may take its limit. */
	good = reap(pids, n, end + CALL_MOST);

	for (int i = 0; i < n; i++) {
		const struct outcomes *o = &all[i];

		sum.connects += o->connects;
		sum.refused += o->refused;
		sum.rounds += o->rounds;
		sum.intact += o->intact;
		sum.failed += o->failed;
		sum.accepted += o->accepted;
		sum.inside += o->inside;
		if (o->longest > CALL_MOST) {
			printf("a %s took %.1f s\n", o->longest_call, o->longest);
			good = false;
		}
		if (o->longest > sum.longest)
			sum.longest = o->longest;
		if (o->strange) {
			printf("%s gave %s\n", o->strange_call, errno_name(o->strange));
			good = false;
		}
		if (o->inside_err) {
			printf("inside this VM: %s\n", errno_name(o->inside_err));
			good = false;
		}
	}
	if (!sum.inside) {
		puts("nothing moved inside this VM");
		good = false;
	}
	printf("connects %lu refused %lu rounds %lu intact %lu failed %lu accepted %lu "
	       "longest %.1f inside %lu records %lu datagrams %lu\n",
	       sum.connects, sum.refused, sum.rounds, sum.intact, sum.failed, sum.accepted,
	       sum.longest, sum.inside, all[CLIENTS - 2].intact, all[CLIENTS - 1].intact);
	return !good;
}
