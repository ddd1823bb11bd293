// SPDX-License-Identifier: GPL-2.0-only
/* Cases: the socket through io_uring. */
#include <liburing.h>
#include <poll.h>

#include "vmshm_test.h"

static struct io_uring ring;

static void open_ring(void)
{
	int err = io_uring_queue_init(32, &ring, 0);

	if (err == -ENOSYS || err == -EPERM)
		skip("this kernel has no io_uring (%s)", error_name(-err));
	if (err)
		FAIL("io_uring_queue_init: %s", error_name(-err));
}

static struct io_uring_sqe *next(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	CHECK(sqe);
	return sqe;
}

static void submit(void)
{
	int n = io_uring_submit(&ring);

	if (n < 0)
		FAIL("io_uring_submit: %s", error_name(-n));
}

/* The result of the next completion, and whose it is. */
static int completed(uint64_t *whose)
{
	struct __kernel_timespec limit = { .tv_sec = 5 };
	struct io_uring_cqe *cqe;
	int result;

	here(__FILE__, __LINE__, "wait for a completion");
	result = io_uring_wait_cqe_timeout(&ring, &cqe, &limit);
	if (result)
		FAIL("no completion: %s", error_name(-result));
	result = cqe->res;
	if (whose)
		*whose = cqe->user_data;
	io_uring_cqe_seen(&ring, cqe);
	return result;
}

static int result_of(void)
{
	submit();
	return completed(NULL);
}

static int uring_connect(unsigned int port)
{
	struct sockaddr_vmshm a = address(ctx.peer, port);
	int fd = case_socket();

	io_uring_prep_connect(next(), fd, (struct sockaddr *)&a, sizeof(a));
	EQUAL(result_of(), 0);
	return fd;
}

static void basic_client(void)
{
	char buf[100];
	int fd;

	open_ring();
	barrier("listening");
	fd = uring_connect(port_nr(0));
	pattern_fill(buf, 0, 100, 1);
	io_uring_prep_send(next(), fd, buf, 100, 0);
	EQUAL(result_of(), 100);
	io_uring_prep_recv(next(), fd, buf, 50, MSG_WAITALL);
	EQUAL(result_of(), 50);
	pattern_check(buf, 0, 50, 2);
	io_uring_prep_shutdown(next(), fd, SHUT_WR);
	EQUAL(result_of(), 0);
	io_uring_prep_recv(next(), fd, buf, 50, 0);
	EQUAL(result_of(), 0);
	io_uring_prep_close(next(), fd);
	EQUAL(result_of(), 0);
}

static void basic_server(void)
{
	struct sockaddr_vmshm a;
	socklen_t len = sizeof(a);
	int listen_fd = listener(0, 1), fd;
	char buf[100];

	open_ring();
	barrier("listening");
	io_uring_prep_accept(next(), listen_fd, (struct sockaddr *)&a, &len, SOCK_CLOEXEC);
	fd = result_of();
	CHECK(fd >= 0);
	EQUAL(a.svm_family, ctx.family);
	io_uring_prep_recv(next(), fd, buf, 100, MSG_WAITALL);
	EQUAL(result_of(), 100);
	pattern_check(buf, 0, 100, 1);
	pattern_fill(buf, 0, 50, 2);
	io_uring_prep_send(next(), fd, buf, 50, 0);
	EQUAL(result_of(), 50);
	io_uring_prep_recv(next(), fd, buf, 1, 0);
	EQUAL(result_of(), 0);
}

static void refused(void)
{
	struct sockaddr_vmshm a = address(ctx.peer, port_nr(0));
	int fd = case_socket();

	open_ring();
	io_uring_prep_connect(next(), fd, (struct sockaddr *)&a, sizeof(a));
	EQUAL(result_of(), -ECONNRESET);
}

static void pending_client(void)
{
	char byte;
	uint64_t whose;
	int fd;

	open_ring();
	fd = pair();
	/* A receive that waits in the ring while this thread does other things. */
	io_uring_prep_recv(next(), fd, &byte, 1, 0);
	submit();
	send_all(fd, "go", 2);
	EQUAL(completed(&whose), 1);
	EQUAL(byte, 'R');
	barrier("done");
}

static void pending_server(void)
{
	char buf[2];
	int fd = pair();

	recv_all(fd, buf, 2);
	sleep_ms(100);
	send_all(fd, "R", 1);
	barrier("done");
}

static void poll_client(void)
{
	int fd, events;

	open_ring();
	fd = pair();
	io_uring_prep_poll_add(next(), fd, POLLIN);
	submit();
	barrier("send");
	events = completed(NULL);
	CHECK(events > 0 && (events & POLLIN));
	barrier("close");
	io_uring_prep_poll_add(next(), fd, POLLRDHUP);
	submit();
	events = completed(NULL);
	CHECK(events > 0 && (events & POLLRDHUP));
	barrier("done");
}

static void poll_server(void)
{
	int fd = pair();

	barrier("send");
	sleep_ms(50);
	send_all(fd, "x", 1);
	barrier("close");
	sleep_ms(50);
	close(fd);
	barrier("done");
}

static void cancel_client(void)
{
	char byte;
	uint64_t whose[2];
	int result[2], fd;

	open_ring();
	fd = pair();
	io_uring_prep_recv(next(), fd, &byte, 1, 0);
	submit();
	sleep_ms(50);
	struct io_uring_sqe *sqe = next();

	io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY);
	io_uring_sqe_set_data64(sqe, 7);
	submit();
	for (int i = 0; i < 2; i++)
		result[i] = completed(&whose[i]);
	EQUAL(result[whose[0] == 7 ? 1 : 0], -ECANCELED);
	/* Nothing was taken away by what was cancelled. */
	barrier("send");
	recv_all(fd, &byte, 1);
	barrier("done");
}

static void cancel_server(void)
{
	int fd = pair();

	barrier("send");
	send_all(fd, "x", 1);
	barrier("done");
}

static void timeout_client(void)
{
	struct __kernel_timespec limit = { .tv_nsec = 100000000 };
	struct io_uring_sqe *sqe;
	uint64_t whose;
	int fd, result;
	char byte;

	open_ring();
	fd = pair();
	sqe = next();
	io_uring_prep_recv(sqe, fd, &byte, 1, 0);
	io_uring_sqe_set_data64(sqe, 1);
	sqe->flags |= IOSQE_IO_LINK;
	sqe = next();
	io_uring_prep_link_timeout(sqe, &limit, 0);
	io_uring_sqe_set_data64(sqe, 2);
	submit();
	for (int i = 0; i < 2; i++) {
		result = completed(&whose);
		if (whose == 1)
			EQUAL(result, -ECANCELED);
	}
	barrier("done");
}

static void idle_server(void)
{
	pair();
	barrier("done");
}

/* Sends and receives of both directions in flight at the same time. */
#define TOTAL	(4 << 20)
#define PIECE	30000

static void duplex(int fd, uint64_t seed_out, uint64_t seed_in)
{
	static char out[PIECE], in[PIECE];
	uint64_t sent = 0, received = 0, whose;
	bool sending = false, receiving = false;
	struct io_uring_sqe *sqe;
	int n;

	while (sent < TOTAL || received < TOTAL) {
		if (!sending && sent < TOTAL) {
			size_t len = TOTAL - sent < PIECE ? TOTAL - sent : PIECE;

			pattern_fill(out, sent, len, seed_out);
			sqe = next();
			io_uring_prep_send(sqe, fd, out, len, MSG_NOSIGNAL);
			io_uring_sqe_set_data64(sqe, 1);
			sending = true;
		}
		if (!receiving && received < TOTAL) {
			sqe = next();
			io_uring_prep_recv(sqe, fd, in, PIECE, 0);
			io_uring_sqe_set_data64(sqe, 2);
			receiving = true;
		}
		submit();
		n = completed(&whose);
		CHECK(n > 0);
		if (whose == 1) {
			sent += n;
			sending = false;
		} else {
			pattern_check(in, received, n, seed_in);
			received += n;
			receiving = false;
		}
	}
}

static void duplex_client(void)
{
	open_ring();
	duplex(pair(), 1, 2);
	barrier("done");
}

static void duplex_server(void)
{
	open_ring();
	duplex(pair(), 2, 1);
	barrier("done");
}

static const struct test_case cases[] = {
	{ "basic", "connect, accept, send, recv, shutdown, close", basic_client, basic_server },
	{ "refused", "a refused connect: ECONNRESET", refused },
	{ "pending", "a receive that waits", pending_client, pending_server },
	{ "poll", "poll_add for data and for the peer's close", poll_client, poll_server },
	{ "cancel", "a cancelled receive takes nothing", cancel_client, cancel_server },
	{ "timeout", "a receive with a linked time limit", timeout_client, idle_server },
	{ "duplex", "4 MiB in both directions, both in flight", duplex_client, duplex_server },
};

SUBJECT_TWICE(uring);
