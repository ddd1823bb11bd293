// SPDX-License-Identifier: GPL-2.0-only
/*
 * Very many connections at the same time, and as many as there is memory for.
 */
#include "many.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#define PIECE		1000	/* bytes that a connection moves in a round */
#define WITHOUT_ECHO	128	/* connections that were sent to and not read from */
#define BATCH		64	/* connects on their way at a time */
#define MOST		100000	/* connections that fill() tries at the most */
#define CLOSED		300	/* of those that fill() closes before it tries again */

/* A connect that is on its way, or -errno. */
static int begin(unsigned int cid, unsigned int port, uint64_t buffer)
{
	struct sockaddr_vmshm to = { .svm_family = AF_VMSHM, .svm_cid = cid, .svm_port = port };
	int fd = socket(AF_VMSHM, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		die("socket: %s", errno_name(errno));
	if (buffer)
		set_buffer(fd, buffer);
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)) || errno == EINPROGRESS)
		return fd;
	err = errno;
	close(fd);
	return -err;
}

/* How it ended: 0 or an errno. A descriptor that is connected blocks from now on. */
static int finish(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = ETIMEDOUT;

	if (fd < 0)
		return -fd;
	if (poll(&p, 1, 30000) == 1)
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err) {
		close(fd);
		return err;
	}
	fcntl(fd, F_SETFL, 0);
	set_limits(fd, 30000);
	return 0;
}

/*
 * Connections fds[from] to fds[to - 1], a batch at a time. How many there are
 * then; *@err: why no more, or 0. A backlog that is full is tried again.
 */
static unsigned int open_many(unsigned int cid, unsigned int port, uint64_t buffer, int *fds,
			      unsigned int from, unsigned int to, int *err)
{
	unsigned int n = from, refused = 0;

	*err = 0;
	while (n < to && !*err) {
		unsigned int batch = to - n < BATCH ? to - n : BATCH, kept = n;

		for (unsigned int i = 0; i < batch; i++)
			fds[n + i] = begin(cid, port, buffer);
		for (unsigned int i = 0; i < batch; i++) {
			int fd = fds[n + i], how = finish(fd);

			if (!how)
				fds[kept++] = fd;
			else if (how != ECONNRESET || ++refused > 10000)
				*err = how;
		}
		if (kept < n + batch && !*err)
			usleep(10000);
		n = kept;
	}
	return n;
}

/* Each place of each connection's stream, in each round, has its own pattern. */
static uint64_t place(unsigned int i, unsigned int round)
{
	return i * 65537ull + round * 4099ull;
}

static void say(int fd, unsigned int i, unsigned int round)
{
	char buf[PIECE];

	pattern_fill(buf, place(i, round), sizeof(buf));
	if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) != sizeof(buf))
		die("connection %u, round %u: send: %s", i, round, errno_name(errno));
}

static void hear(int fd, unsigned int i, unsigned int round)
{
	char buf[PIECE];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_WAITALL);

	if (n != sizeof(buf))
		die("connection %u, round %u: recv gave %zd: %s", i, round, n,
		    errno_name(n < 0 ? errno : 0));
	if (!pattern_is(buf, place(i, round), sizeof(buf)))
		die("connection %u, round %u: not what was sent", i, round);
}

/* All move data, many at the same time. */
static void one_round(const int *fds, unsigned int count, unsigned int round)
{
	for (unsigned int i = 0; i < count + WITHOUT_ECHO; i++) {
		if (i < count)
			say(fds[i], i, round);
		if (i >= WITHOUT_ECHO)
			hear(fds[i - WITHOUT_ECHO], i - WITHOUT_ECHO, round);
	}
}

static uint64_t their_slab(unsigned int cid, unsigned int port)
{
	int fd = connected(cid, port + PORT_SLAB);
	uint64_t bytes = 0;

	if (recv(fd, &bytes, sizeof(bytes), MSG_WAITALL) != sizeof(bytes))
		die("the server's memory: %s", errno_name(errno));
	close(fd);
	return bytes;
}

int crowd(unsigned int cid, unsigned int port, unsigned int count, unsigned int rounds,
	  uint64_t buffer)
{
	int *fds = calloc(count, sizeof(*fds));
	uint64_t mine, theirs;
	double start;
	int err;

	if (!fds || count <= WITHOUT_ECHO)
		die("%u connections: expected more than %d", count, WITHOUT_ECHO);
	raise_descriptors();
	mine = slab_bytes();
	theirs = their_slab(cid, port);
	start = seconds_now();
	if (open_many(cid, port + PORT_CROWD, buffer, fds, 0, count, &err) != count)
		die("no more connections: %s", errno_name(err));
	printf("open %u\nper_second %.0f\n", count, count / (seconds_now() - start));
	/* The server has accepted all of them once they have all moved data. */
	one_round(fds, count, 0);
	printf("kernel_bytes_here %.0f\nkernel_bytes_there %.0f\n",
	       ((double)slab_bytes() - mine) / count,
	       ((double)their_slab(cid, port) - theirs) / count);
	start = seconds_now();
	for (unsigned int round = 1; round <= rounds; round++)
		one_round(fds, count, round);
	printf("moved_mib %.1f\nround_seconds %.2f\n",
	       2.0 * PIECE * count * rounds / (1 << 20), (seconds_now() - start) / rounds);
	/* Who looks at the counts has to see them before they are gone. */
	puts("hold");
	sleep(2);
	start = seconds_now();
	for (unsigned int i = 0; i < count; i++)
		close(fds[i]);
	printf("closed %u\nclose_seconds %.2f\n", count, seconds_now() - start);
	free(fds);
	return 0;
}

int fill(unsigned int cid, unsigned int port, uint64_t buffer)
{
	int *fds = calloc(MOST, sizeof(*fds));
	unsigned int n, again;
	int err;

	if (!fds)
		die("no memory");
	raise_descriptors();
	n = open_many(cid, port + PORT_CROWD, buffer, fds, 0, MOST, &err);
	printf("filled %u\nerror %s\n", n, errno_name(err));
	if (n <= CLOSED)
		return 1;
	/* What there is goes on to work. */
	one_round(fds, n, 0);
	for (unsigned int i = n - CLOSED; i < n; i++)
		close(fds[i]);
	/* Memory is free when the peer has said that it writes there no more. */
	for (int tries = 0; tries < 100; tries++) {
		again = open_many(cid, port + PORT_CROWD, buffer, fds, n - CLOSED, MOST, &err);
		if (again >= n - BATCH)
			break;
		for (unsigned int i = n - CLOSED; i < again; i++)
			close(fds[i]);
		usleep(100000);
	}
	printf("filled_again %u\nerror_again %s\n", again, errno_name(err));
	one_round(fds, again, 1);
	for (unsigned int i = 0; i < again; i++)
		close(fds[i]);
	free(fds);
	return err == 0 || again < n - BATCH;
}
