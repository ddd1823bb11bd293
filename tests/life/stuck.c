// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls that find, in the middle of their copy, a page that a userfaultfd has
 * to deliver and that nobody resolves: see stuck.h.
 */
#include "stuck.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"

#define PAGE	4096

static const struct call {
	const char *name;
	int type;
	bool receive;
} calls[] = {
	{ "send", SOCK_STREAM, false },
	{ "receive", SOCK_STREAM, true },
	{ "send of a record", SOCK_SEQPACKET, false },
	{ "send of a datagram", SOCK_DGRAM, false },
};

#define CALLS	(sizeof(calls) / sizeof(calls[0]))

static void __attribute__((noreturn)) fail(const struct call *c, const char *what)
{
	printf("%s: %s: %s\n", c->name, what, errno_name(errno));
	exit(1);
}

/* Two pages: the first one is there. */
static char *half_there(const struct call *c, int *uffd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);

	*uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (page == MAP_FAILED || *uffd < 0 || ioctl(*uffd, UFFDIO_API, &api))
		fail(c, "userfaultfd");
	memset(page, 1, PAGE);
	reg.range.start = (uintptr_t)page + PAGE;
	reg.range.len = PAGE;
	if (ioctl(*uffd, UFFDIO_REGISTER, &reg))
		fail(c, "UFFDIO_REGISTER");
	return page;
}

struct attempt {
	const struct call *call;
	int fd;
	char *page;
};

static void *attempt(void *arg)
{
	struct attempt *a = arg;
	ssize_t n;

	n = a->call->receive ? recv(a->fd, a->page, 2 * PAGE, MSG_WAITALL) :
			       send(a->fd, a->page, 2 * PAGE, MSG_NOSIGNAL);
	printf("%s came back with %zd %s\n", a->call->name, n, errno_name(n < 0 ? errno : 0));
	return NULL;
}

/* A thread makes the call; the userfaultfd says that it has come to the page. */
static void make(const struct call *c, unsigned int cid, unsigned int port, int ready)
{
	static char there[2 * PAGE];
	struct attempt a = { .call = c, .fd = connect_of(c->type, cid, port) };
	struct pollfd missed = { .events = POLLIN };
	pthread_t thread;

	if (a.fd < 0)
		fail(c, "connect");
	/* What is to be received; and a datagram's way to the other VM is open. */
	if ((c->receive || c->type == SOCK_DGRAM) &&
	    send(a.fd, there, sizeof(there), MSG_NOSIGNAL) < 0)
		fail(c, "set-up");
	a.page = half_there(c, &missed.fd);
	if (pthread_create(&thread, NULL, attempt, &a))
		fail(c, "thread");
	if (poll(&missed, 1, 10000) != 1)
		fail(c, "it waits for no page");
	if (write(ready, "", 1) != 1)
		fail(c, "pipe");
	pthread_join(thread, NULL);
	exit(1);
}

int stuck(unsigned int cid, unsigned int port, unsigned int hold)
{
	int ready[2];
	char byte;

	if (pipe(ready))
		return 1;
	for (size_t i = 0; i < CALLS; i++) {
		const struct call *c = &calls[i];

		if (fork())
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		make(c, cid, c->type == SOCK_STREAM ? port : hold, ready[1]);
	}
	close(ready[1]);
	for (size_t i = 0; i < CALLS; i++)
		if (read(ready[0], &byte, 1) != 1)
			return 1;
	puts("stuck");
	wait(NULL);	/* for ever: who comes back has said so */
	return 1;
}
