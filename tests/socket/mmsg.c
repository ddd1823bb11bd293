// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: sendmmsg(2) and recvmmsg(2) of records and of datagrams that come to an
 * end half-way: at a receiver that is full, where no more is there, in time.
 */
#include <poll.h>

#include "dgram.h"

#define MANY	64
#define LEN	20000

/* The client's end sends to the server's; the first message has been taken. */
static int begin(void)
{
	struct sockaddr_vmshm to = address(ctx.peer, port_nr(0));
	char c;
	int fd;

	if (ctx.type == SOCK_SEQPACKET) {
		fd = pair();
	} else if (!ctx.is_client) {
		fd = dgram_on(0);
		barrier("bound");
	} else {
		fd = socket_of(SOCK_DGRAM);
		barrier("bound");
		OK(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	}
	if (ctx.is_client)
		EQUAL(send(fd, "0", 1, 0), 1);
	else
		EQUAL(recv(fd, &c, 1, 0), 1);
	barrier("begun");
	return fd;
}

static struct mmsghdr *messages(size_t len)
{
	static struct mmsghdr m[MANY];
	static struct iovec v[MANY];
	static char buf[MANY][LEN];

	for (int i = 0; i < MANY; i++) {
		v[i] = (struct iovec) { buf[i], len };
		m[i] = (struct mmsghdr) { .msg_hdr = { .msg_iov = &v[i], .msg_iovlen = 1 } };
		pattern_fill(buf[i], 0, len, i);
	}
	return m;
}

static void check(const struct mmsghdr *m, int n, size_t len, int first)
{
	for (int i = 0; i < n; i++) {
		EQUAL(m[i].msg_len, len);
		pattern_check(m[i].msg_hdr.msg_iov->iov_base, 0, len, first + i);
	}
}

static void full_client(void)
{
	struct mmsghdr *m = messages(LEN);
	int fd = begin(), n, more;

	n = OK(sendmmsg(fd, m, MANY, MSG_DONTWAIT));
	CHECK(n > 1 && n < MANY);
	for (int i = 0; i < MANY; i++)
		EQUAL(m[i].msg_len, i < n ? LEN : 0);
	/* What stopped it is no error that waits. */
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
	FAILS(sendmmsg(fd, m + n, MANY - n, MSG_DONTWAIT), EAGAIN);
	/* The same where it may wait for a while. */
	set_timeout(fd, SO_SNDTIMEO, 100);
	FAILS(sendmmsg(fd, m + n, MANY - n, 0), EAGAIN);
	tell("sent", n);
	barrier("taken");
	EQUAL(poll_one(fd, POLLOUT, 5000), POLLOUT);
	more = OK(sendmmsg(fd, m + n, MANY - n, MSG_DONTWAIT));
	CHECK(more > 1);
	tell("sent", more);
	barrier("done");
}

static void full_server(void)
{
	struct mmsghdr *m = messages(LEN);
	int fd = begin(), n = ask("sent"), more;

	EQUAL(recvmmsg(fd, m, MANY, MSG_DONTWAIT, NULL), n);
	check(m, n, LEN, 0);
	barrier("taken");
	more = ask("sent");
	EQUAL(recvmmsg(fd, m, more, 0, NULL), more);
	check(m, more, LEN, n);
	expect_nothing(fd);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
	barrier("done");
}

/* Three at once, then one that is waited for; then one and one, 100 ms apart. */
static void sender(void)
{
	struct mmsghdr *m = messages(100);
	int fd = begin();

	EQUAL(sendmmsg(fd, m, 3, 0), 3);
	barrier("three");
	barrier("waits");
	sleep_ms(100);
	EQUAL(sendmmsg(fd, m + 3, 1, 0), 1);
	barrier("one by one");
	for (int i = 0; i < 20; i++) {
		EQUAL(send(fd, m[i].msg_hdr.msg_iov->iov_base, 100, 0), 100);
		sleep_ms(100);
	}
	barrier("done");
}

static void for_one_server(void)
{
	struct timespec limit = { .tv_nsec = 350000000 };
	struct mmsghdr *m = messages(100);
	int fd = begin(), n;
	double start;

	barrier("three");
	EQUAL(recvmmsg(fd, m, MANY, MSG_WAITFORONE, NULL), 3);
	check(m, 3, 100, 0);
	/* From before the barrier: who passes it first may be the other side. */
	start = now();
	barrier("waits");
	EQUAL(recvmmsg(fd, m, MANY, MSG_WAITFORONE, NULL), 1);
	CHECK(now() - start > 0.05);
	check(m, 1, 100, 3);
	/* The time counts when one has come: no more are waited for. */
	start = now();
	barrier("one by one");
	n = OK(recvmmsg(fd, m, 20, 0, &limit));
	CHECK(now() - start > 0.3);
	CHECK(n > 1 && n < 20);
	check(m, n, 100, 0);
	/* SO_RCVTIMEO ends it with what there is. */
	set_timeout(fd, SO_RCVTIMEO, 1500);
	EQUAL(recvmmsg(fd, m, MANY, 0, NULL), 20 - n);
	check(m, 20 - n, 100, n);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
	FAILS(recvmmsg(fd, m, MANY, MSG_DONTWAIT, NULL), EAGAIN);
	barrier("done");
}

static const struct test_case cases[] = {
	{ "full", "sendmmsg stops at a full receiver: what went in counts, nothing is sent twice",
	  full_client, full_server, .flags = VMSHM_ONLY },
	{ "receive", "recvmmsg with MSG_WAITFORONE, a time limit, SO_RCVTIMEO",
	  sender, for_one_server, .flags = VMSHM_ONLY },
};

const struct subject mmsg_records_subject = {
	.name = "mmsg_records",
	.cases = cases,
	.count = ARRAY_SIZE(cases),
	.type = SOCK_SEQPACKET,
};

const struct subject mmsg_dgram_subject = {
	.name = "mmsg_dgram",
	.cases = cases,
	.count = ARRAY_SIZE(cases),
	.type = SOCK_DGRAM,
};
