// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: SO_ZEROCOPY, MSG_ZEROCOPY and its notifications, where the kernel lets
 * a family offer them (6.7 and later); elsewhere the errno that AF_VSOCK gives.
 */
#include <liburing.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "vmshm_test.h"

#define THREADS		4
#define SENDS		500

#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE	(1U << 3)
#endif
#ifndef IORING_NOTIF_USAGE_ZC_COPIED
#define IORING_NOTIF_USAGE_ZC_COPIED	(1U << 31)
#endif

/* Which calls a notification is about; count is 0 when there is none. */
struct range {
	uint32_t low, high;
	uint64_t count;
	unsigned int code;
};

static bool kernel_offers_it(void)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	OK(uname(&u));
	if (sscanf(u.release, "%u.%u", &major, &minor) != 2)
		FAIL("what kernel is %s?", u.release);
	return major > 6 || (major == 6 && minor >= 7);
}

static void want_it(void)
{
	if (!kernel_offers_it())
		skip("this kernel gives SO_ZEROCOPY to families that it knows");
}

static void turn_on(int fd)
{
	int on = 1;

	OK(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)));
}

static struct range notification(int fd)
{
	char control[CMSG_SPACE(sizeof(struct sock_extended_err)) + 64];
	struct msghdr m = { .msg_control = control, .msg_controllen = sizeof(control) };
	const struct sock_extended_err *e;
	struct cmsghdr *c;
	int n;

	here(__FILE__, __LINE__, "recvmsg MSG_ERRQUEUE");
	n = recvmsg(fd, &m, MSG_ERRQUEUE);
	if (n == -1 && errno == EAGAIN)
		return (struct range) { .count = 0 };
	OK(n);
	EQUAL(n, 0);
	CHECK(m.msg_flags & MSG_ERRQUEUE);
	CHECK(!(m.msg_flags & MSG_CTRUNC));
	c = CMSG_FIRSTHDR(&m);
	CHECK(c);
	EQUAL(c->cmsg_level, SOL_VMSHM);
	EQUAL(c->cmsg_type, VMSHM_RECVERR);
	e = (const struct sock_extended_err *)CMSG_DATA(c);
	EQUAL(e->ee_errno, 0);
	EQUAL(e->ee_origin, SO_EE_ORIGIN_ZEROCOPY);
	return (struct range) {
		.low = e->ee_info,
		.high = e->ee_data,
		.count = e->ee_data - e->ee_info + 1ull,
		.code = e->ee_code,
	};
}

/* Notifications for exactly the calls from the first to the last, in order. */
static void notified(int fd, uint32_t first, uint32_t last)
{
	struct range r;
	double end = now() + 5;

	while (first != last + 1) {
		CHECK(poll_one(fd, 0, 5000) & POLLERR);
		r = notification(fd);
		CHECK(now() < end);
		if (!r.count)
			continue;
		EQUAL(r.low, first);
		CHECK(r.high - first <= last - first);
		if (ctx.family == AF_VMSHM)
			EQUAL(r.code, SO_EE_CODE_ZEROCOPY_COPIED);
		first = r.high + 1;
	}
}

static void option(void)
{
	int fd = stream_socket(), value, vsock;

	value = 1;
	if (kernel_offers_it()) {
		EQUAL(get_int(fd, SOL_SOCKET, SO_ZEROCOPY), 0);
		OK(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof(value)));
		EQUAL(get_int(fd, SOL_SOCKET, SO_ZEROCOPY), 1);
		value = 0;
		OK(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof(value)));
		EQUAL(get_int(fd, SOL_SOCKET, SO_ZEROCOPY), 0);
		value = 2;
		FAILS(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof(value)), EINVAL);
		value = -1;
		FAILS(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof(value)), EINVAL);
		FAILS(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, 2), EINVAL);
		FAILS(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, (void *)8, sizeof(value)), EFAULT);
		return;
	}
	FAILS(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof(value)), EOPNOTSUPP);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ZEROCOPY), 0);
	vsock = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (vsock >= 0)
		FAILS(setsockopt(vsock, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof(value)),
		      EOPNOTSUPP);
}

/* The options of SOL_SOCKET still work, each with its own errors. */
static void others(void)
{
	int fd = stream_socket(), value = 1;

	OK(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value)));
	EQUAL(get_int(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	OK(setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &value, sizeof(value)));
	EQUAL(get_int(fd, SOL_SOCKET, SO_PRIORITY), 1);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &value, 1), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_PRIORITY, (void *)8, sizeof(value)), EFAULT);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_TYPE, &value, sizeof(value)), ENOPROTOOPT);
	FAILS(setsockopt(fd, SOL_SOCKET, 9999, &value, sizeof(value)), ENOPROTOOPT);
}

static void queue_is_empty(void)
{
	int fd = stream_socket();

	EQUAL(notification(fd).count, 0);
	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(0)));
	OK(listen(fd, 1));
	EQUAL(notification(fd).count, 0);
}

static void completions_client(void)
{
	const size_t len = 100000;
	unsigned char *buf = malloc(len);
	struct range r;
	int fd;

	want_it();
	fd = pair();
	turn_on(fd);
	EQUAL(notification(fd).count, 0);
	for (int i = 0; i < 3; i++) {
		pattern_fill(buf, i * len, len, 3);
		EQUAL(send(fd, buf, len, MSG_ZEROCOPY), len);
	}
	notified(fd, 0, 2);
	/* Calls without the flag, without bytes, or that fail have no number. */
	pattern_fill(buf, 3 * len, len, 3);
	EQUAL(send(fd, buf, 10, 0), 10);
	EQUAL(send(fd, buf, 0, MSG_ZEROCOPY), 0);
	FAILS(send(fd, (void *)8, 100, MSG_ZEROCOPY), EFAULT);
	EQUAL(notification(fd).count, 0);
	EQUAL(poll_one(fd, 0, 0) & POLLERR, 0);
	EQUAL(send(fd, buf + 10, len - 10, MSG_ZEROCOPY), len - 10);
	r = notification(fd);
	EQUAL(r.low, 3);
	EQUAL(r.high, 3);
	barrier("sent");
	barrier("closed");
	CHECK(send(fd, buf, len, MSG_ZEROCOPY | MSG_NOSIGNAL) == -1);
	EQUAL(notification(fd).count, 0);
	free(buf);
}

static void completions_server(void)
{
	int fd;

	want_it();
	fd = pair();
	drain_pattern(fd, 3, 0, 400000);
	barrier("sent");
	close(fd);
	barrier("closed");
}

/* The buffer is the caller's again when the call returns. */
static void overwritten_client(void)
{
	unsigned char buf[10000];
	int fd;

	want_it();
	fd = pair();
	turn_on(fd);
	for (int i = 0; i < 20; i++) {
		pattern_fill(buf, i * sizeof(buf), sizeof(buf), 4);
		EQUAL(send(fd, buf, sizeof(buf), MSG_ZEROCOPY), sizeof(buf));
		memset(buf, 0xee, sizeof(buf));
	}
	notified(fd, 0, 19);
	barrier("done");
}

static void overwritten_server(void)
{
	int fd;

	want_it();
	fd = pair();
	drain_pattern(fd, 4, 0, 200000);
	barrier("done");
}

static void ignored_client(void)
{
	int fd = pair();

	EQUAL(send(fd, "0123456789", 10, MSG_ZEROCOPY), 10);
	EQUAL(poll_one(fd, 0, 0) & POLLERR, 0);
	barrier("done");
}

static void ignored_server(void)
{
	char buf[10];
	int fd = pair();

	recv_all(fd, buf, 10);
	EQUAL(memcmp(buf, "0123456789", 10), 0);
	barrier("done");
}

static void inherited_client(void)
{
	want_it();
	barrier("listening");
	connected(0);
	barrier("done");
}

static void inherited_server(void)
{
	int fd, listen_fd;

	want_it();
	listen_fd = listener(0, 1);
	turn_on(listen_fd);
	barrier("listening");
	fd = accept_one(listen_fd);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ZEROCOPY), 0);
	turn_on(fd);
	EQUAL(send(fd, "x", 1, MSG_ZEROCOPY), 1);
	notified(fd, 0, 0);
	barrier("done");
}

static void *send_many(void *arg)
{
	int fd = *(int *)arg;
	char buf[100] = "";

	for (int i = 0; i < SENDS; i++)
		EQUAL(send(fd, buf, sizeof(buf), MSG_ZEROCOPY), sizeof(buf));
	return NULL;
}

/* Threads that send while another one reads notifications: each number once. */
static void threads_client(void)
{
	pthread_t thread[THREADS];
	uint64_t expected = 0;
	struct range r;
	int fd;

	want_it();
	fd = pair();
	turn_on(fd);
	for (int i = 0; i < THREADS; i++)
		EQUAL(pthread_create(&thread[i], NULL, send_many, &fd), 0);
	for (double end = now() + 8; expected < THREADS * SENDS;) {
		CHECK(now() < end);
		if (!(poll_one(fd, 0, 1000) & POLLERR))
			continue;
		r = notification(fd);
		if (!r.count)
			continue;
		EQUAL(r.low, expected);
		expected += r.count;
	}
	EQUAL(expected, THREADS * SENDS);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	EQUAL(notification(fd).count, 0);
	/* What nobody reads goes with the socket. */
	send_many(&fd);
	barrier("done");
}

static void threads_server(void)
{
	char buf[4096];
	size_t left = (THREADS + 1) * SENDS * 100;
	int fd;

	want_it();
	fd = pair();
	while (left) {
		ssize_t n = OK(recv(fd, buf, sizeof(buf), 0));

		CHECK(n > 0);
		left -= n;
	}
	barrier("done");
}

/* Records have notifications as streams have, datagrams none. */
static void records_client(void)
{
	int fd = OK(socket(ctx.family, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)), on = 1, dgram;

	want_it();
	barrier("listening");
	turn_on(fd);
	OK(connect_to(fd, ctx.peer, port_nr(0)));
	for (int i = 0; i < 3; i++)
		EQUAL(send(fd, "record", 6, MSG_ZEROCOPY), 6);
	notified(fd, 0, 2);
	barrier("done");
	if (ctx.family == AF_VMSHM) {
		dgram = OK(socket(ctx.family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
		FAILS(setsockopt(dgram, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)), EOPNOTSUPP);
	}
}

static void records_server(void)
{
	int listen_fd = OK(socket(ctx.family, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)), fd;
	char buf[20];

	want_it();
	OK(bind_to(listen_fd, VMSHM_CID_ANY, port_nr(0)));
	OK(listen(listen_fd, 1));
	barrier("listening");
	fd = accept_one(listen_fd);
	for (int i = 0; i < 3; i++)
		EQUAL(recv(fd, buf, sizeof(buf), 0), 6);
	barrier("done");
}

/* io_uring has notifications of its own. */
static void uring_client(void)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int fd = pair(), err;

	err = io_uring_queue_init(8, &ring, 0);
	if (err == -ENOSYS || err == -EPERM)
		skip("this kernel has no io_uring (%s)", error_name(-err));
	EQUAL(err, 0);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_send_zc(sqe, fd, "0123456789", 10, 0,
			      kernel_offers_it() ? IORING_SEND_ZC_REPORT_USAGE : 0);
	EQUAL(io_uring_submit(&ring), 1);
	EQUAL(io_uring_wait_cqe(&ring, &cqe), 0);
	if (!kernel_offers_it()) {
		EQUAL(cqe->res, -EOPNOTSUPP);
		EQUAL(send(fd, "0123456789", 10, 0), 10);
		barrier("done");
		return;
	}
	EQUAL(cqe->res, 10);
	CHECK(cqe->flags & IORING_CQE_F_MORE);
	io_uring_cqe_seen(&ring, cqe);
	EQUAL(io_uring_wait_cqe(&ring, &cqe), 0);
	CHECK(cqe->flags & IORING_CQE_F_NOTIF);
	if (ctx.family == AF_VMSHM)
		EQUAL((unsigned int)cqe->res, IORING_NOTIF_USAGE_ZC_COPIED);
	io_uring_cqe_seen(&ring, cqe);
	EQUAL(poll_one(fd, 0, 0) & POLLERR, 0);
	barrier("done");
}

static const struct test_case cases[] = {
	{ "option", "SO_ZEROCOPY: set and read, or EOPNOTSUPP as AF_VSOCK", option },
	{ "others", "other options of SOL_SOCKET are the kernel's", others },
	{ "empty", "MSG_ERRQUEUE with nothing there: EAGAIN in each state", queue_is_empty,
	  .vsock_differs = "before 6.7 it does not know MSG_ERRQUEUE" },
	{ "completions", "each call that sent has a number and is announced, as copied",
	  completions_client, completions_server,
	  .vsock_differs = "it sends the caller's pages, with what is in them later" },
	{ "overwritten", "the buffer is free when the call returns",
	  overwritten_client, overwritten_server, .flags = VMSHM_ONLY },
	{ "ignored", "without SO_ZEROCOPY the flag means nothing", ignored_client, ignored_server },
	{ "inherited", "an accepted socket begins without it", inherited_client, inherited_server,
	  .vsock_differs = "it notifies late" },
	{ "threads", "numbers are announced once, whoever sends", threads_client, threads_server,
	  .vsock_differs = "it notifies out of order" },
	{ "records", "SOCK_SEQPACKET has it, SOCK_DGRAM: EOPNOTSUPP",
	  records_client, records_server },
	{ "uring", "io_uring's SEND_ZC: its own notification, or EOPNOTSUPP",
	  uring_client, ignored_server },
};

SUBJECT(zerocopy);
