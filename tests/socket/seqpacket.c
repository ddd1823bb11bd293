// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: SOCK_SEQPACKET, what a record is: its borders, flags, limits, and what
 * a fault in its middle does. Waiting for records is in recordwait.c.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <fcntl.h>

#include "vmshm_test.h"

#define DEFAULT_SIZE	(256 * 1024)

/* Sends record number @nr: a pattern of its own. */
static void put(int fd, size_t len, uint64_t nr)
{
	char *buf = malloc(len + 1);

	pattern_fill(buf, 0, len, nr);
	EQUAL(send(fd, buf, len, 0), len);
	free(buf);
}

/* The next record is that one, whole. */
static void get(int fd, size_t len, uint64_t nr)
{
	char *buf = malloc(len + 100);

	EQUAL(recv(fd, buf, len + 100, 0), len);
	pattern_check(buf, 0, len, nr);
	free(buf);
}

static const size_t sizes[] = { 1, 7, 8, 9, 2, 4096, 64, 70000, 1, 131072, 3, 4088, 200001, 5 };

static void borders_client(void)
{
	int fd = pair_of_records(0, 0);

	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			put(fd, sizes[i], i);
	barrier("done");
}

static void borders_server(void)
{
	int fd = pair_of_records(0, 0);

	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			get(fd, sizes[i], i);
	expect_nothing(fd);
	barrier("done");
}

static void pieces_client(void)
{
	struct iovec v[] = { { "he", 2 }, { NULL, 0 }, { "llo", 3 } };
	struct iovec w[] = { { "eins", 4 }, { "zwei!", 5 } };
	struct mmsghdr m[] = {
		{ .msg_hdr = { .msg_iov = &w[0], .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = &w[1], .msg_iovlen = 1 } },
	};
	int fd = pair_of_records(0, 0);

	EQUAL(writev(fd, v, ARRAY_SIZE(v)), 5);
	EQUAL(write(fd, "world", 5), 5);
	EQUAL(sendmmsg(fd, m, 2, 0), 2);
	EQUAL(m[1].msg_len, 5);
	barrier("done");
}

static void pieces_server(void)
{
	char a[3], b[100], c[100];
	struct iovec v[] = { { a, 3 }, { NULL, 0 }, { b, 100 } };
	struct iovec w[] = { { b, 100 }, { c, 100 } };
	struct mmsghdr m[] = {
		{ .msg_hdr = { .msg_iov = &w[0], .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = &w[1], .msg_iovlen = 1 } },
	};
	int fd = pair_of_records(0, 0);

	EQUAL(readv(fd, v, ARRAY_SIZE(v)), 5);
	EQUAL(memcmp(a, "hel", 3) || memcmp(b, "lo", 2), 0);
	/* A record ends a call, whatever it waits for. */
	EQUAL(recv(fd, b, sizeof(b), MSG_WAITALL), 5);
	EQUAL(recvmmsg(fd, m, 2, 0, NULL), 2);
	EQUAL(m[0].msg_len, 4);
	EQUAL(m[1].msg_len, 5);
	EQUAL(memcmp(b, "eins", 4) || memcmp(c, "zwei!", 5), 0);
	barrier("done");
}

static void eor_client(void)
{
	int fd = pair_of_records(0, 0);

	EQUAL(send(fd, "with", 4, MSG_EOR), 4);
	EQUAL(send(fd, "without", 7, 0), 7);
	EQUAL(send(fd, "with", 4, MSG_EOR), 4);
	barrier("done");
}

static void eor_server(void)
{
	char buf[100];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	int fd = pair_of_records(0, 0);

	EQUAL(recvmsg(fd, &m, 0), 4);
	EQUAL(m.msg_flags, MSG_EOR);
	EQUAL(recvmsg(fd, &m, 0), 7);
	EQUAL(m.msg_flags, 0);
	/* Of a record that is cut off, too. */
	v.iov_len = 2;
	EQUAL(recvmsg(fd, &m, 0), 2);
	EQUAL(m.msg_flags, MSG_EOR | MSG_TRUNC);
	EQUAL(m.msg_namelen, 0);
	barrier("done");
}

static void trunc_client(void)
{
	int fd = pair_of_records(0, 0);

	for (int i = 0; i < 6; i++)
		put(fd, 1000 + i, i);
	put(fd, 200000, 6);
	put(fd, 10, 7);
	barrier("done");
}

static void trunc_server(void)
{
	static char buf[300000];
	struct iovec v = { buf, 400 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	int fd = pair_of_records(0, 0);

	EQUAL(recvmsg(fd, &m, 0), 400);
	EQUAL(m.msg_flags, MSG_TRUNC);
	pattern_check(buf, 0, 400, 0);
	buf[400] = 77;
	EQUAL(recvmsg(fd, &m, MSG_TRUNC), 1001);
	EQUAL(m.msg_flags & MSG_TRUNC, MSG_TRUNC);
	pattern_check(buf, 0, 400, 1);
	EQUAL(buf[400], 77);
	/* Looking only: the same, twice, then all of it. */
	EQUAL(recv(fd, buf, 1, MSG_PEEK | MSG_TRUNC), 1002);
	EQUAL(recv(fd, buf, 500, MSG_PEEK), 500);
	pattern_check(buf, 0, 500, 2);
	EQUAL(recv(fd, buf, sizeof(buf), MSG_PEEK), 1002);
	pattern_check(buf, 0, 1002, 2);
	/* No buffer takes nothing. */
	EQUAL(recv(fd, NULL, 0, 0), 0);
	get(fd, 1002, 2);
	EQUAL(recv(fd, buf, sizeof(buf), MSG_TRUNC), 1003);
	get(fd, 1004, 4);
	get(fd, 1005, 5);
	EQUAL(recv(fd, buf, 100001, 0), 100001);
	pattern_check(buf, 0, 100001, 6);
	get(fd, 10, 7);
	barrier("done");
}

/* The receiver's buffer is the longest record, to the byte. */
static const unsigned int limits[] = { 128, 4000, 4096, 100000, DEFAULT_SIZE, 1 << 20, 8 << 20 };

static void limit_client(void)
{
	static char buf[(8 << 20) + 1];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		unsigned int limit = limits[i];

		barrier("listening");
		fd = socket_of(SOCK_SEQPACKET);
		OK(connect_to(fd, ctx.peer, port_nr(i)));
		pattern_fill(buf, 0, sizeof(buf), i);
		FAILS(send(fd, buf, limit + 1, 0), EMSGSIZE);
		EQUAL(send(fd, buf, limit, 0), limit);
		FAILS(send(fd, buf, sizeof(buf), MSG_DONTWAIT), EMSGSIZE);
		EQUAL(send(fd, buf, limit, 0), limit);
		EQUAL(send(fd, buf, 1, 0), 1);
		barrier("done");
		close(fd);
	}
}

static void limit_server(void)
{
	int listen_fd, fd;

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		listen_fd = socket_of(SOCK_SEQPACKET);
		set_buffer(listen_fd, limits[i]);
		OK(bind_to(listen_fd, VMSHM_CID_ANY, port_nr(i)));
		OK(listen(listen_fd, 1));
		barrier("listening");
		fd = accept_one(listen_fd);
		get(fd, limits[i], i);
		get(fd, limits[i], i);
		get(fd, 1, i);
		barrier("done");
		close(fd);
		close(listen_fd);
	}
}

/*
 * Connections of which nobody chose a size, until rings get smaller: the limit is
 * 64 KiB then, though the size reads as ever. Who chooses is not cheated.
 */
#define MANY	500

static struct vmshm_info info_of(int fd)
{
	struct vmshm_info info;
	socklen_t len = sizeof(info);

	OK(getsockopt(fd, AF_VMSHM, SO_VMSHM_INFO, &info, &len));
	return info;
}

static void short_of_memory_client(void)
{
	static char buf[DEFAULT_SIZE + 1];
	unsigned long long size = DEFAULT_SIZE;
	int fd = -1, n;

	barrier("listening");
	for (n = 0; n < MANY; n++) {
		fd = socket_of(SOCK_SEQPACKET);
		OK(connect_to(fd, ctx.peer, port_nr(0)));
		if (info_of(fd).tx_ring < 2 * DEFAULT_SIZE)
			break;
		FAILS(send(fd, buf, DEFAULT_SIZE + 1, MSG_DONTWAIT), EMSGSIZE);
	}
	CHECK(n > 10 && n < MANY);
	CHECK(info_of(fd).tx_ring >= 2 * 65536);
	EQUAL(send(fd, buf, 65536, 0), 65536);
	FAILS(send(fd, buf, DEFAULT_SIZE, 0), EMSGSIZE);
	tell("number", n);
	barrier("looked");
	/* To somebody who chose, and as somebody who chooses. */
	fd = socket_of(SOCK_SEQPACKET);
	FAILS(connect_to(fd, ctx.peer, port_nr(1)), ENOBUFS);
	fd = socket_of(SOCK_SEQPACKET);
	OK(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUFFER_SIZE, &size, sizeof(size)));
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), ENOBUFS);
	barrier("done");
}

static void short_of_memory_server(void)
{
	unsigned long long size = DEFAULT_SIZE;
	int listening[2], fd = -1;
	socklen_t len = sizeof(size);

	for (int i = 0; i < 2; i++) {
		listening[i] = socket_of(SOCK_SEQPACKET);
		OK(bind_to(listening[i], VMSHM_CID_ANY, port_nr(i)));
		OK(listen(listening[i], MANY));
	}
	OK(setsockopt(listening[1], AF_VMSHM, SO_VMSHM_BUFFER_SIZE, &size, sizeof(size)));
	barrier("listening");
	for (int n = ask("number"); n >= 0; n--)
		fd = accept_one(listening[0]);
	OK(getsockopt(fd, AF_VMSHM, SO_VMSHM_BUFFER_SIZE, &size, &len));
	EQUAL(size, DEFAULT_SIZE);
	CHECK(info_of(fd).rx_ring < 2 * DEFAULT_SIZE);
	barrier("looked");
	barrier("done");
}

static void zero_client(void)
{
	int fd = pair_of_records(0, 0);

	EQUAL(send(fd, "", 0, 0), 0);
	EQUAL(send(fd, "a", 1, 0), 1);
	EQUAL(send(fd, NULL, 0, MSG_EOR), 0);
	EQUAL(send(fd, "", 0, 0), 0);
	EQUAL(send(fd, "b", 1, 0), 1);
	barrier("sent");
	barrier("done");
}

static void zero_server(void)
{
	char buf[10];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	int fd = pair_of_records(0, 0);

	barrier("sent");
	/* A record of no bytes is there to be read. */
	CHECK(poll_one(fd, POLLIN, 1000) == POLLIN);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 0);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 1);
	EQUAL(buf[0], 'a');
	EQUAL(recvmsg(fd, &m, 0), 0);
	EQUAL(m.msg_flags, MSG_EOR);
	EQUAL(recvmsg(fd, &m, 0), 0);
	EQUAL(m.msg_flags, 0);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 1);
	EQUAL(buf[0], 'b');
	expect_nothing(fd);
	barrier("done");
}

/* ---- faults ---- */

#define BAD_PAGES	40

/* So many pages, of which nobody may touch number @bad. */
static char *broken_pages(size_t bad)
{
	char *mem = pages(BAD_PAGES);

	OK(mprotect(mem + bad * page_size(), page_size(), PROT_NONE));
	return mem;
}

static void fault_read_client(void)
{
	int fd = pair_of_records(0, 0);
	size_t len = BAD_PAGES * page_size();

	for (int i = 0; i < 4; i++)
		put(fd, len, i);
	put(fd, 100, 5);
	put(fd, 300, 6);
	barrier("done");
}

static void fault_read_server(void)
{
	size_t page = page_size(), len = BAD_PAGES * page;
	char *first = broken_pages(0), *middle = broken_pages(30);
	int fd = pair_of_records(0, 0);

	/* Looking at it takes nothing. */
	FAILS(recv(fd, middle, len, MSG_PEEK), EFAULT);
	FAILS(recv(fd, middle, len, 0), EFAULT);
	get(fd, len, 1);
	FAILS(recv(fd, first, len, 0), EFAULT);
	/* A record that does not get as far as the hole. */
	EQUAL(recv(fd, middle, 30 * page, 0), 30 * page);
	pattern_check(middle, 0, 30 * page, 3);
	FAILS(recv(fd, first, page, 0), EFAULT);
	get(fd, 300, 6);
	expect_nothing(fd);
	barrier("done");
}

static void fault_write_client(void)
{
	size_t page = page_size(), len = BAD_PAGES * page;
	char *first = broken_pages(0), *middle = broken_pages(30);
	int fd = pair_of_records(0, 0);

	pattern_fill(middle, 0, 30 * page, 1);
	FAILS(send(fd, middle, len, 0), EFAULT);
	FAILS(send(fd, first, 1, 0), EFAULT);
	FAILS(send(fd, middle + 30 * page - 1, 2, 0), EFAULT);
	EQUAL(send(fd, middle, 30 * page, 0), 30 * page);
	barrier("sent");
	barrier("done");
}

static void fault_write_server(void)
{
	int fd = pair_of_records(0, 0);

	barrier("sent");
	get(fd, 30 * page_size(), 1);
	expect_nothing(fd);
	barrier("done");
}

/* Pages that are not there yet, on both sides. */
#define COLD	(256 * 1024)

static void cold_client(void)
{
	char *mem = pages(COLD / page_size());
	int fd = pair_of_records(0, 0);

	/* Never written, so each page is faulted in by the copy. */
	for (int i = 0; i < 4; i++) {
		EQUAL(send(fd, mem, COLD - i, 0), COLD - i);
		OK(madvise(mem, COLD, MADV_DONTNEED));
	}
	put(fd, COLD, 9);
	barrier("done");
}

static void cold_server(void)
{
	char *mem = pages(COLD / page_size());
	int fd = pair_of_records(0, 0);

	for (int i = 0; i < 4; i++) {
		EQUAL(recv(fd, mem, COLD, 0), COLD - i);
		for (int k = 0; k < COLD; k++)
			CHECK(!mem[k]);
		OK(madvise(mem, COLD, MADV_DONTNEED));
	}
	EQUAL(recv(fd, mem, COLD, 0), COLD);
	pattern_check(mem, 0, COLD, 9);
	barrier("done");
}

/* ---- other calls ---- */

static void splice_client(void)
{
	int fd = pair_of_records(0, 0), pipe_fd[2];
	char buf[100];

	put(fd, 100, 0);
	put(fd, 5000, 1);
	put(fd, 20000, 2);
	/* Out of a pipe: a call is a record. */
	OK(pipe(pipe_fd));
	pattern_fill(buf, 0, sizeof(buf), 3);
	EQUAL(write(pipe_fd[1], buf, sizeof(buf)), sizeof(buf));
	EQUAL(splice(pipe_fd[0], NULL, fd, NULL, sizeof(buf), 0), sizeof(buf));
	barrier("done");
}

static void splice_server(void)
{
	static const size_t len[] = { 100, 5000, 20000 };
	int fd = pair_of_records(0, 0), pipe_fd[2];
	static char buf[20000];

	OK(pipe(pipe_fd));
	for (int i = 0; i < 3; i++) {
		EQUAL(splice(fd, NULL, pipe_fd[1], NULL, 60000, 0), len[i]);
		for (size_t at = 0; at < len[i];)
			at += OK(read(pipe_fd[0], buf + at, len[i] - at));
		pattern_check(buf, 0, len[i], i);
	}
	get(fd, 100, 3);
	barrier("done");
}

static void fionread_server(void)
{
	int fd = pair_of_records(0, 0), n = -1;
	char buf[100];

	OK(ioctl(fd, FIONREAD, &n));
	EQUAL(n, 0);
	barrier("send");
	barrier("sent");
	OK(ioctl(fd, FIONREAD, &n));
	EQUAL(n, 10);
	EQUAL(recv(fd, buf, 3, 0), 3);
	OK(ioctl(fd, FIONREAD, &n));
	EQUAL(n, 20);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 20);
	OK(ioctl(fd, FIONREAD, &n));
	EQUAL(n, 0);
	barrier("read");
}

static void fionread_client(void)
{
	int fd = pair_of_records(0, 0), n = -1;

	barrier("send");
	put(fd, 10, 0);
	put(fd, 20, 1);
	OK(ioctl(fd, TIOCOUTQ, &n));
	CHECK(n >= 30);
	barrier("sent");
	barrier("read");
	OK(ioctl(fd, TIOCOUTQ, &n));
	EQUAL(n, 0);
}

/* ---- what is no connection of records ---- */

static void types(void)
{
	int fd = socket_of(SOCK_SEQPACKET);
	struct sockaddr_vmshm to = address(ctx.peer, 1);
	char c;

	EQUAL(get_int(fd, SOL_SOCKET, SO_TYPE), SOCK_SEQPACKET);
	EQUAL(get_int(fd, SOL_SOCKET, SO_DOMAIN), ctx.family);
	FAILS(send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
	FAILS(recv(fd, &c, 1, 0), ENOTCONN);
	FAILS(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), EOPNOTSUPP);
	FAILS(socket(ctx.family, SOCK_RAW, 0), ESOCKTNOSUPPORT);
	FAILS(socket(ctx.family, SOCK_RDM, 0), ESOCKTNOSUPPORT);
}

static void mismatch_client(void)
{
	int fd = socket_of(SOCK_SEQPACKET);
	struct sockaddr_vmshm to = address(ctx.peer, 1);

	barrier("listening");
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), ECONNRESET);
	OK(connect_to(fd, ctx.peer, port_nr(1)));
	FAILS(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), EISCONN);
	FAILS(send(fd, "x", 1, MSG_OOB), EOPNOTSUPP);
	FAILS(recv(fd, &to, 1, MSG_OOB), EOPNOTSUPP);
	fd = stream_socket();
	FAILS(connect_to(fd, ctx.peer, port_nr(1)), ECONNRESET);
	OK(connect_to(fd, ctx.peer, port_nr(0)));
	barrier("done");
}

static void mismatch_server(void)
{
	int fd = socket_of(SOCK_SEQPACKET);

	listener(0, 5);
	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(1)));
	OK(listen(fd, 5));
	barrier("listening");
	barrier("done");
}

static const struct test_case cases[] = {
	{ "borders", "each receive gives one record, as it was sent",
	  borders_client, borders_server },
	{ "pieces", "writev, readv, sendmmsg, recvmmsg, MSG_WAITALL", pieces_client,
	  pieces_server },
	{ "eor", "MSG_EOR arrives with its record and with no other", eor_client, eor_server },
	{ "trunc", "a short buffer: MSG_TRUNC, the real length, the rest is lost; MSG_PEEK",
	  trunc_client, trunc_server,
	  .vsock_differs = "older kernels take no MSG_PEEK of a record" },
	{ "limit", "the receiver's buffer size is the longest record; EMSGSIZE above",
	  limit_client, limit_server, .limit = 20,
	  .vsock_differs = "it takes no more than the sender's buffer size either" },
	{ "short_of_memory", "64 KiB for who chose no size where memory is short, else ENOBUFS",
	  short_of_memory_client, short_of_memory_server, .limit = 20, .flags = VMSHM_ONLY },
	{ "zero", "records of no bytes", zero_client, zero_server,
	  .vsock_differs = "it sends no record of no bytes" },
	{ "fault_read", "a fault in its middle drops that record and no more",
	  fault_read_client, fault_read_server,
	  .vsock_differs = "it says ENOMEM for a buffer that it can't write" },
	{ "fault_write", "a fault in its middle sends nothing",
	  fault_write_client, fault_write_server,
	  .vsock_differs = "what it had sent by then begins the next record" },
	{ "cold", "pages that are not there yet are fetched", cold_client, cold_server },
	{ "splice", "one splice, one record", splice_client, splice_server },
	{ "fionread", "SIOCINQ: the next record's bytes; SIOCOUTQ: what was not read yet",
	  fionread_client, fionread_server, .flags = VMSHM_ONLY },
	{ "types", "SO_TYPE; no connection: the errors of a stream", types },
	{ "mismatch", "stream and records do not connect: ECONNRESET",
	  mismatch_client, mismatch_server },
};

SUBJECT(seqpacket);
