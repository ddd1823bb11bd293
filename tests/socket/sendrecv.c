// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: data through each system call that sends or receives. What the flags
 * do is in flags.c, waiting with a limit in timeouts.c.
 */
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <signal.h>

#include "vmshm_test.h"

static void get_hello_server(void)
{
	int fd = pair();
	char buf[16];

	recv_all(fd, buf, 10);
	EQUAL(memcmp(buf, "helloworld", 10), 0);
	expect_eof(fd);
}

static void send_client(void)
{
	int fd = pair();

	EQUAL(send(fd, "hello", 5, 0), 5);
	EQUAL(sendto(fd, "world", 5, 0, NULL, 0), 5);
}

static void write_client(void)
{
	int fd = pair();

	EQUAL(write(fd, "hello", 5), 5);
	EQUAL(write(fd, "world", 5), 5);
}

static void writev_client(void)
{
	struct iovec v[] = { { "he", 2 }, { NULL, 0 }, { "llo", 3 }, { "world", 5 } };

	EQUAL(writev(pair(), v, ARRAY_SIZE(v)), 10);
}

static void sendmsg_client(void)
{
	struct iovec v[] = { { "hell", 4 }, { "o", 1 }, { "world", 5 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = ARRAY_SIZE(v) };

	EQUAL(sendmsg(pair(), &m, 0), 10);
}

static void sendmmsg_client(void)
{
	struct iovec v[] = { { "hello", 5 }, { "world", 5 } };
	struct mmsghdr m[] = {
		{ .msg_hdr = { .msg_iov = &v[0], .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = &v[1], .msg_iovlen = 1 } },
	};

	EQUAL(sendmmsg(pair(), m, 2, 0), 2);
	EQUAL(m[0].msg_len, 5);
	EQUAL(m[1].msg_len, 5);
}

static void put_hello_client(void)
{
	int fd = pair();

	send_all(fd, "helloworld", 10);
	barrier("sent");
	barrier("done");
}

static void read_server(void)
{
	int fd = pair();
	char buf[16];

	barrier("sent");
	wait_readable(fd, 10);
	EQUAL(read(fd, buf, 4), 4);
	EQUAL(read(fd, buf + 4, 12), 6);
	EQUAL(memcmp(buf, "helloworld", 10), 0);
	barrier("done");
}

static void readv_server(void)
{
	char a[3], b[20];
	struct iovec v[] = { { a, 3 }, { NULL, 0 }, { b, 20 } };
	int fd = pair();

	barrier("sent");
	wait_readable(fd, 10);
	EQUAL(readv(fd, v, ARRAY_SIZE(v)), 10);
	EQUAL(memcmp(a, "hel", 3), 0);
	EQUAL(memcmp(b, "loworld", 7), 0);
	barrier("done");
}

static void recvmsg_server(void)
{
	char a[3], b[20], control[64];
	struct iovec v[] = { { a, 3 }, { b, 20 } };
	struct sockaddr_vmshm name;
	struct msghdr m = {
		.msg_name = &name, .msg_namelen = sizeof(name),
		.msg_iov = v, .msg_iovlen = ARRAY_SIZE(v),
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd = pair();

	barrier("sent");
	wait_readable(fd, 10);
	EQUAL(recvmsg(fd, &m, 0), 10);
	EQUAL(m.msg_flags, 0);
	EQUAL(m.msg_controllen, 0);
	/* A stream's data has no sender's name. */
	EQUAL(m.msg_namelen, 0);
	EQUAL(memcmp(b, "loworld", 7), 0);
	barrier("done");
}

static void recvfrom_server(void)
{
	struct sockaddr_vmshm name;
	socklen_t len = sizeof(name);
	int fd = pair();
	char buf[16];

	barrier("sent");
	wait_readable(fd, 10);
	EQUAL(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&name, &len), 10);
	EQUAL(len, 0);
	barrier("done");
}

static void recvmmsg_server(void)
{
	char a[5], b[20];
	struct iovec v[] = { { a, 5 }, { b, 20 } };
	struct mmsghdr m[] = {
		{ .msg_hdr = { .msg_iov = &v[0], .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = &v[1], .msg_iovlen = 1 } },
	};
	int fd = pair();

	barrier("sent");
	wait_readable(fd, 10);
	EQUAL(recvmmsg(fd, m, 2, 0, NULL), 2);
	EQUAL(m[0].msg_len, 5);
	EQUAL(m[1].msg_len, 5);
	EQUAL(memcmp(b, "world", 5), 0);
	barrier("done");
}

/* Messages have no borders in a stream. */
static void borders_client(void)
{
	int fd = pair();

	for (int i = 0; i < 10; i++)
		send_all(fd, "ab", 2);
	barrier("sent");
	barrier("done");
}

static void borders_server(void)
{
	int fd = pair();
	char buf[64];

	barrier("sent");
	wait_readable(fd, 20);
	EQUAL(recv(fd, buf, 7, 0), 7);
	EQUAL(recv(fd, buf + 7, sizeof(buf) - 7, 0), 13);
	for (int i = 0; i < 20; i++)
		EQUAL(buf[i], i % 2 ? 'b' : 'a');
	barrier("done");
}

static void zero_client(void)
{
	int fd = pair();

	EQUAL(send(fd, "x", 0, 0), 0);
	EQUAL(write(fd, "x", 0), 0);
	EQUAL(writev(fd, NULL, 0), 0);
	/* Receiving nothing does not wait. */
	EQUAL(recv(fd, NULL, 0, 0), 0);
	barrier("sent nothing");
	send_all(fd, "1", 1);
	barrier("done");
}

static void zero_server(void)
{
	int fd = pair();
	char c;

	barrier("sent nothing");
	recv_all(fd, &c, 1);
	EQUAL(c, '1');
	barrier("done");
}

static void blocks_until_data_client(void)
{
	int fd = pair();

	sleep_ms(100);
	send_all(fd, "x", 1);
	barrier("done");
}

static void blocks_until_data_server(void)
{
	double start = now();
	int fd = pair();
	char buf[10];

	EQUAL(recv(fd, buf, sizeof(buf), 0), 1);
	CHECK(now() - start > 0.03);
	barrier("done");
}

/* One send of much more than any buffer takes all, when it may block. */
#define LARGE	(3 << 20)

static void large_client(void)
{
	char *buf = malloc(LARGE);
	int fd = pair();

	pattern_fill(buf, 0, LARGE, 1);
	EQUAL(send(fd, buf, LARGE, 0), LARGE);
	drain_pattern(fd, 2, 0, LARGE);
	barrier("done");
}

static void large_server(void)
{
	char *buf = malloc(LARGE);
	int fd = pair();

	drain_pattern(fd, 1, 0, LARGE);
	pattern_fill(buf, 0, LARGE, 2);
	EQUAL(send(fd, buf, LARGE, 0), LARGE);
	barrier("done");
}

/* Every length around the sizes where something changes inside. */
static const int edges[] = { 1, 7, 8, 63, 64, 65, 127, 128, 129, 4095, 4096, 4097, 65535, 65536,
	65537, 131072, 262143, 262144, 262145 };

static void edges_client(void)
{
	uint64_t at = 0;
	char *buf = malloc(262145);
	int fd = pair();

	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		pattern_fill(buf, at, edges[i], 3);
		send_all(fd, buf, edges[i]);
		at += edges[i];
	}
	expect_eof(fd);
}

static void edges_server(void)
{
	uint64_t at = 0;
	int fd = pair();

	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		drain_pattern(fd, 3, at, edges[i]);
		at += edges[i];
	}
	expect_nothing(fd);
}

/* A buffer at each offset in its page, a stream at each offset in its ring. */
static void offsets_client(void)
{
	char *buf = pages(3);
	uint64_t at = 0;
	int fd = pair();

	for (size_t i = 0; i < 512; i++) {
		size_t len = 1 + i % 97;
		char *p = buf + page_size() - 256 + i;

		pattern_fill(p, at, len, 4);
		send_all(fd, p, len);
		at += len;
	}
	barrier("done");
}

static void offsets_server(void)
{
	char *buf = pages(3);
	uint64_t at = 0;
	int fd = pair();

	for (size_t i = 0; i < 512; i++) {
		size_t len = 1 + i % 97;
		char *p = buf + page_size() + 256 - i;

		recv_all(fd, p, len);
		pattern_check(p, at, len, 4);
		at += len;
	}
	barrier("done");
}

static void iov_limit_client(void)
{
	static char bytes[IOV_MAX + 1];
	static struct iovec v[IOV_MAX + 1];
	struct msghdr m = { .msg_iov = v, .msg_iovlen = IOV_MAX };
	int fd = pair();

	pattern_fill(bytes, 0, sizeof(bytes), 5);
	for (int i = 0; i <= IOV_MAX; i++)
		v[i] = (struct iovec) { bytes + i, 1 };
	EQUAL(sendmsg(fd, &m, 0), IOV_MAX);
	m.msg_iovlen++;
	FAILS(sendmsg(fd, &m, 0), EMSGSIZE);
	FAILS(writev(fd, v, IOV_MAX + 1), EINVAL);
	barrier("done");
}

static void iov_limit_server(void)
{
	static char bytes[IOV_MAX + 1];
	static struct iovec v[IOV_MAX];
	int fd = pair();

	for (int i = 0; i < IOV_MAX; i++)
		v[i] = (struct iovec) { bytes + i, 1 };
	wait_readable(fd, IOV_MAX);
	EQUAL(readv(fd, v, IOV_MAX), IOV_MAX);
	pattern_check(bytes, 0, IOV_MAX, 5);
	expect_nothing(fd);
	barrier("done");
}

static void name_on_connected_client(void)
{
	struct sockaddr_vmshm a = address(ctx.peer, port_nr(0));
	int fd = pair();

	FAILS(sendto(fd, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof(a)), EISCONN);
	FAILS(sendto(stream_socket(), "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof(a)),
	      EOPNOTSUPP);
	barrier("done");
}

static void idle_server(void)
{
	pair();
	barrier("done");
}

static void unconnected(void)
{
	int fd = stream_socket();
	char c = 0;

	FAILS(recv(fd, &c, 1, 0), ENOTCONN);
	FAILS(send(fd, &c, 1, MSG_NOSIGNAL), ENOTCONN);
	/* No connection that broke, hence no signal: the default would kill us. */
	FAILS(write(fd, &c, 1), ENOTCONN);
}

static void handler(int sig)
{
	(void)sig;
}

static void recv_interrupted_client(void)
{
	int fd = pair();
	char c;

	on_signal(SIGUSR1, handler, 0);
	signal_me_in(SIGUSR1, 100);
	FAILS(recv(fd, &c, 1, 0), EINTR);
	/* With SA_RESTART it goes on until the data is there. */
	on_signal(SIGUSR1, handler, SA_RESTART);
	signal_me_in(SIGUSR1, 100);
	barrier("send later");
	EQUAL(recv(fd, &c, 1, 0), 1);
	barrier("done");
}

static void recv_interrupted_server(void)
{
	int fd = pair();

	barrier("send later");
	sleep_ms(300);
	send_all(fd, "x", 1);
	barrier("done");
}

static void send_interrupted_client(void)
{
	char *buf = malloc(LARGE);
	ssize_t n;
	int fd = pair();

	pattern_fill(buf, 0, LARGE, 6);
	on_signal(SIGUSR1, handler, 0);
	signal_me_in(SIGUSR1, 200);
	/* What went in before the signal counts. */
	n = OK(send(fd, buf, LARGE, 0));
	CHECK(n > 0 && n < LARGE);
	signal_me_in(SIGUSR1, 100);
	FAILS(send(fd, buf, LARGE, 0), EINTR);
	tell("sent", n);
	barrier("done");
}

static void send_interrupted_server(void)
{
	int fd = pair();
	size_t sent = ask("sent");

	drain_pattern(fd, 6, 0, sent);
	expect_nothing(fd);
	barrier("done");
}

static const struct test_case cases[] = {
	{ "send", "send and sendto", send_client, get_hello_server },
	{ "write", "write", write_client, get_hello_server },
	{ "writev", "writev, with an empty piece", writev_client, get_hello_server },
	{ "sendmsg", "sendmsg of several pieces", sendmsg_client, get_hello_server },
	{ "sendmmsg", "sendmmsg", sendmmsg_client, get_hello_server },
	{ "read", "read gives what is there", put_hello_client, read_server },
	{ "readv", "readv, with an empty piece", put_hello_client, readv_server },
	{ "recvmsg", "recvmsg, without flags, control data or name", put_hello_client,
	  recvmsg_server },
	{ "recvfrom", "recvfrom gives no name on a stream", put_hello_client, recvfrom_server },
	{ "recvmmsg", "recvmmsg", put_hello_client, recvmmsg_server },
	{ "no_borders", "a stream keeps no message borders", borders_client, borders_server },
	{ "zero_length", "sending or receiving zero bytes does nothing and returns 0",
	  zero_client, zero_server },
	{ "blocks", "recv waits for data and gives what there is",
	  blocks_until_data_client, blocks_until_data_server },
	{ "large", "one send of 3 MiB takes all", large_client, large_server },
	{ "edges", "lengths around powers of two", edges_client, edges_server },
	{ "offsets", "buffers at every offset, over page borders",
	  offsets_client, offsets_server },
	{ "iov_limit", "1024 pieces work, more are refused", iov_limit_client, iov_limit_server },
	{ "address_given", "sendto with an address: EISCONN, or EOPNOTSUPP when not connected",
	  name_on_connected_client, idle_server },
	{ "unconnected", "no connection: ENOTCONN and no SIGPIPE", unconnected },
	{ "recv_interrupted", "a signal ends recv with EINTR, or not with SA_RESTART",
	  recv_interrupted_client, recv_interrupted_server },
	{ "send_interrupted", "a signal ends send with what went in, or EINTR",
	  send_interrupted_client, send_interrupted_server },
};

SUBJECT(sendrecv);
