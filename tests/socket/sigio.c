// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: O_ASYNC. Who takes one message for each SIGIO, and asks for no more than
 * it, gets one for the next message too.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "dgram.h"

#define MESSAGE		64
#define MESSAGES	20

static void sigio_to_me(int fd)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	OK(sigprocmask(SIG_BLOCK, &set, NULL));
	OK(fcntl(fd, F_SETOWN, getpid()));
	OK(fcntl(fd, F_SETFL, OK(fcntl(fd, F_GETFL)) | O_ASYNC | O_NONBLOCK));
}

static void wait_sigio(void)
{
	struct timespec limit = { .tv_sec = 5 * ctx.patience };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	EQUAL(sigtimedwait(&set, NULL, &limit), SIGIO);
}

/* Several may come for one message: only what can be read counts. */
static void take_messages(int fd)
{
	char buf[MESSAGE];

	sigio_to_me(fd);
	for (int i = 0; i < MESSAGES; i++) {
		ssize_t n;

		barrier("send");
		do {
			wait_sigio();
			n = recv(fd, buf, sizeof(buf), 0);
		} while (n < 0 && errno == EAGAIN);
		EQUAL(n, MESSAGE);
		pattern_check(buf, i * MESSAGE, MESSAGE, 1);
	}
}

static void give_messages(int fd)
{
	char buf[MESSAGE];

	for (int i = 0; i < MESSAGES; i++) {
		pattern_fill(buf, i * MESSAGE, MESSAGE, 1);
		barrier("send");
		send_all(fd, buf, MESSAGE);
	}
}

static void stream_client(void)
{
	take_messages(pair());
}

static void stream_server(void)
{
	give_messages(pair());
}

static void records_client(void)
{
	take_messages(pair_of_records(0, 0));
}

static void records_server(void)
{
	give_messages(pair_of_records(0, 0));
}

static void datagrams_client(void)
{
	int fd = dgram_on(0);

	tell("cid", ctx.one_vm ? VMSHM_CID_LOCAL : local_cid());
	take_messages(fd);
}

static void datagrams_server(void)
{
	struct sockaddr_vmshm to = address(ask("cid"), port_nr(0));
	int fd = socket_of(SOCK_DGRAM);

	OK(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	give_messages(fd);
}

/* What is left unread is no news; what comes after it is. */
static void left_client(void)
{
	char buf[MESSAGE];
	int fd = pair();

	sigio_to_me(fd);
	barrier("two");
	wait_readable(fd, 2 * MESSAGE);
	wait_sigio();
	recv_all(fd, buf, MESSAGE);
	/* Those for the first two may still be on their way. */
	for (struct timespec limit = { .tv_nsec = 100000000 };;) {
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGIO);
		if (sigtimedwait(&set, NULL, &limit) < 0)
			break;
	}
	barrier("third");
	wait_sigio();
	wait_readable(fd, 2 * MESSAGE);
}

static void left_server(void)
{
	char buf[MESSAGE] = { 0 };
	int fd = pair();

	barrier("two");
	send_all(fd, buf, MESSAGE);
	send_all(fd, buf, MESSAGE);
	barrier("third");
	send_all(fd, buf, MESSAGE);
}

static void space_client(void)
{
	int fd = pair();
	size_t sent;

	sigio_to_me(fd);
	sent = fill(fd, 1);
	tell("sent", sent);
	do
		wait_sigio();
	while (!(poll_one(fd, POLLOUT, 0) & POLLOUT));
	barrier("done");
}

static void space_server(void)
{
	int fd = pair();

	drain_pattern(fd, 1, 0, ask("sent"));
	barrier("done");
}

static const struct test_case cases[] = {
	{ "message", "a SIGIO for each message that is read to its last byte",
	  stream_client, stream_server },
	{ "record", "a SIGIO for each record", records_client, records_server },
	{ "datagram", "a SIGIO for each datagram", datagrams_client, datagrams_server,
	  .flags = VMSHM_ONLY },
	{ "left", "a SIGIO for what comes behind what was left", left_client, left_server },
	{ "space", "a SIGIO for space", space_client, space_server,
	  .vsock_differs = "it wakes those who poll, and signals nobody" },
};

SUBJECT(sigio);
