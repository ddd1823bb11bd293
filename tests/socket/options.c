// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: socket options but the buffer sizes (buffer.c), and what socket()
 * takes. Family options are tried at both levels, AF_VMSHM's own and AF_VSOCK's.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <linux/time_types.h>

#include "vmshm_test.h"

/* The levels at which the family's options can be given. */
static int levels(int level[2])
{
	level[0] = ctx.family;
	level[1] = AF_VSOCK;
	return ctx.family == AF_VSOCK ? 1 : 2;
}

static void generic(void)
{
	int fd = stream_socket();

	EQUAL(get_int(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	EQUAL(get_int(fd, SOL_SOCKET, SO_DOMAIN), ctx.family);
	EQUAL(get_int(fd, SOL_SOCKET, SO_PROTOCOL), 0);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
	EQUAL(get_int(fd, SOL_SOCKET, SO_RCVLOWAT), 1);
	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(0)));
	OK(listen(fd, 1));
	EQUAL(get_int(fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
}

static void generic_connected_client(void)
{
	int fd = pair();

	EQUAL(get_int(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	EQUAL(get_int(fd, SOL_SOCKET, SO_DOMAIN), ctx.family);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
	barrier("done");
}

static void creation(void)
{
	OK(socket(ctx.family, SOCK_STREAM, 0));
	OK(socket(ctx.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	OK(socket(ctx.family, SOCK_STREAM, ctx.family));
	FAILS(socket(ctx.family, SOCK_STREAM, 1), EPROTONOSUPPORT);
	FAILS(socket(ctx.family, SOCK_STREAM, IPPROTO_TCP), EPROTONOSUPPORT);
	FAILS(socket(ctx.family, SOCK_RAW, 0), ESOCKTNOSUPPORT);
	FAILS(socket(ctx.family, SOCK_RDM, 0), ESOCKTNOSUPPORT);
	FAILS(socket(ctx.family, SOCK_DCCP, 0), ESOCKTNOSUPPORT);
	FAILS(socket(ctx.family, 0, 0), ESOCKTNOSUPPORT);
	FAILS(socket(ctx.family, 15, 0), EINVAL);
}

static void no_socketpair(void)
{
	int fds[2];

	FAILS(socketpair(ctx.family, SOCK_STREAM, 0, fds), EOPNOTSUPP);
}

static void connect_timeout_old(void)
{
	struct timeval t, got;
	int level[2], n = levels(level);
	socklen_t len;

	for (int i = 0; i < n; i++) {
		int fd = stream_socket();

		len = sizeof(got);
		OK(getsockopt(fd, level[i], SO_VMSHM_CONNECT_TIMEOUT_OLD, &got, &len));
		EQUAL(len, sizeof(got));
		EQUAL(got.tv_sec, 2);
		EQUAL(got.tv_usec, 0);
		t = (struct timeval) { 7, 500000 };
		OK(setsockopt(fd, level[i], SO_VMSHM_CONNECT_TIMEOUT_OLD, &t, sizeof(t)));
		OK(getsockopt(fd, level[i], SO_VMSHM_CONNECT_TIMEOUT_OLD, &got, &len));
		EQUAL(got.tv_sec, 7);
		EQUAL(got.tv_usec, 500000);
		/* None means the default. */
		t = (struct timeval) { 0, 0 };
		OK(setsockopt(fd, level[i], SO_VMSHM_CONNECT_TIMEOUT_OLD, &t, sizeof(t)));
		OK(getsockopt(fd, level[i], SO_VMSHM_CONNECT_TIMEOUT_OLD, &got, &len));
		EQUAL(got.tv_sec, 2);
	}
}

static void connect_timeout_new(void)
{
	struct __kernel_sock_timeval t, got;
	struct timeval old;
	int level[2], n = levels(level);
	socklen_t len;

	for (int i = 0; i < n; i++) {
		int fd = stream_socket();

		t = (struct __kernel_sock_timeval) { 3, 500000 };
		OK(setsockopt(fd, level[i], SO_VMSHM_CONNECT_TIMEOUT_NEW, &t, sizeof(t)));
		len = sizeof(got);
		OK(getsockopt(fd, level[i], SO_VMSHM_CONNECT_TIMEOUT_NEW, &got, &len));
		EQUAL(len, sizeof(got));
		EQUAL(got.tv_sec, 3);
		EQUAL(got.tv_usec, 500000);
		/* One value behind both numbers. */
		len = sizeof(old);
		OK(getsockopt(fd, level[i], SO_VMSHM_CONNECT_TIMEOUT_OLD, &old, &len));
		EQUAL(old.tv_sec, 3);
		EQUAL(old.tv_usec, 500000);
	}
}

static void connect_timeout_bad(void)
{
	static const struct timeval bad[] = { { -1, 0 }, { 1, 1000000 }, { 1L << 62, 0 } };
	int fd = stream_socket();
	struct timeval t;
	socklen_t len = 4;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		FAILS(setsockopt(fd, ctx.family, SO_VMSHM_CONNECT_TIMEOUT_OLD, &bad[i],
				 sizeof(bad[i])), ERANGE);
	FAILS(setsockopt(fd, ctx.family, SO_VMSHM_CONNECT_TIMEOUT_OLD, &t, 4), EINVAL);
	FAILS(getsockopt(fd, ctx.family, SO_VMSHM_CONNECT_TIMEOUT_OLD, &t, &len), EINVAL);
	FAILS(setsockopt(fd, ctx.family, SO_VMSHM_CONNECT_TIMEOUT_OLD, (void *)8, sizeof(t)),
	      EFAULT);
}

static void unknown(void)
{
	static const int names[] = {
		SO_VMSHM_PEER_HOST_VM_ID, SO_VMSHM_TRUSTED, SO_VMSHM_NONBLOCK_TXRX, 4, 77, -1,
	};
	int level[2], n = levels(level), fd = stream_socket();
	uint64_t v = 1;
	socklen_t len;

	for (int i = 0; i < n; i++) {
		for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
			len = sizeof(v);
			FAILS(getsockopt(fd, level[i], names[j], &v, &len), ENOPROTOOPT);
			FAILS(setsockopt(fd, level[i], names[j], &v, sizeof(v)), ENOPROTOOPT);
		}
	}
	len = sizeof(v);
	FAILS(getsockopt(fd, IPPROTO_TCP, 1, &v, &len), ENOPROTOOPT);
	FAILS(setsockopt(fd, IPPROTO_TCP, 1, &v, sizeof(v)), ENOPROTOOPT);
}

static void busy_poll(void)
{
	static const int good[] = { 0, 1, 50, VMSHM_BUSY_POLL_MAX_US, VMSHM_BUSY_POLL_ADAPTIVE };
	static const int bad[] = { -2, VMSHM_BUSY_POLL_MAX_US + 1, 1 << 30 };
	int fd = stream_socket(), v = 0;

	EQUAL(get_int(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL), VMSHM_BUSY_POLL_ADAPTIVE);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		OK(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &good[i], sizeof(int)));
		EQUAL(get_int(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL), good[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		FAILS(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &bad[i], sizeof(int)),
		      EINVAL);
	EQUAL(get_int(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL), VMSHM_BUSY_POLL_ADAPTIVE);
	FAILS(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &v, 2), EINVAL);
}

/* Round trips work with every way of waiting. */
static const int ways[] = { 0, 1, 200, VMSHM_BUSY_POLL_MAX_US, VMSHM_BUSY_POLL_ADAPTIVE };

static void busy_poll_works_client(void)
{
	int fd = pair(), v;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		OK(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &ways[i], sizeof(int)));
		for (int j = 0; j < 200; j++) {
			send_all(fd, &j, sizeof(j));
			recv_all(fd, &v, sizeof(v));
			EQUAL(v, j + 1);
		}
	}
	barrier("done");
}

static void busy_poll_works_server(void)
{
	int fd = pair(), v;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		OK(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &ways[i], sizeof(int)));
		for (int j = 0; j < 200; j++) {
			recv_all(fd, &v, sizeof(v));
			v++;
			send_all(fd, &v, sizeof(v));
		}
	}
	barrier("done");
}

static struct vmshm_info info_of(int fd)
{
	struct vmshm_info info;
	socklen_t len = sizeof(info);

	memset(&info, 0xff, sizeof(info));
	OK(getsockopt(fd, AF_VMSHM, SO_VMSHM_INFO, &info, &len));
	EQUAL(len, sizeof(info));
	return info;
}

static void info_client(void)
{
	struct vmshm_info info;
	char buf[100] = "";
	int fd = pair();

	info = info_of(fd);
	EQUAL(info.tx_bytes, 0);
	EQUAL(info.rx_bytes, 0);
	CHECK(info.rx_ring >= 4096 && !(info.rx_ring & (info.rx_ring - 1)));
	CHECK(info.tx_ring >= 4096 && !(info.tx_ring & (info.tx_ring - 1)));
	for (int i = 0; i < 10; i++)
		send_all(fd, buf, 100);
	recv_all(fd, buf, 50);
	info = info_of(fd);
	EQUAL(info.tx_bytes, 1000);
	EQUAL(info.tx_msgs, 10);
	EQUAL(info.rx_bytes, 50);
	EQUAL(info.rx_msgs, 1);
	/* Every publication rang or had no need to. */
	CHECK(info.doorbells_sent + info.doorbells_suppressed >= 10);
	tell("tx_ring", info.tx_ring);
	tell("rx_ring", info.rx_ring);
	barrier("done");
}

static void info_server(void)
{
	struct vmshm_info info;
	char buf[1000] = "";
	int fd = pair();

	recv_all(fd, buf, 1000);
	EQUAL(send(fd, buf, 50, 0), 50);
	info = info_of(fd);
	EQUAL(info.rx_bytes, 1000);
	EQUAL(info.tx_bytes, 50);
	/* What one sends into is what the other receives from. */
	EQUAL(info.rx_ring, ask("tx_ring"));
	EQUAL(info.tx_ring, ask("rx_ring"));
	barrier("done");
}

static void info_read_only(void)
{
	struct vmshm_info info = { 0 };
	socklen_t len = 8;
	int fd = stream_socket();

	FAILS(setsockopt(fd, AF_VMSHM, SO_VMSHM_INFO, &info, sizeof(info)), ENOPROTOOPT);
	/* A shorter buffer gets the members that fit: room for more of them later. */
	OK(getsockopt(fd, AF_VMSHM, SO_VMSHM_INFO, &info, &len));
	EQUAL(len, 8);
}

static void idle_server(void)
{
	pair();
	barrier("done");
}

/* A line that has the socket's inode number as a field of its own. */
static bool in_proc(ino_t inode)
{
	char line[512], *field, *rest;
	FILE *f = fopen("/proc/net/vmshm", "r");
	bool found = false;

	if (!f)
		FAIL("/proc/net/vmshm: %s", error_name(errno));
	while (!found && fgets(line, sizeof(line), f))
		for (rest = line; !found && (field = strtok_r(rest, " \t\n", &rest));)
			found = strtoull(field, NULL, 10) == inode &&
				strspn(field, "0123456789") == strlen(field);
	fclose(f);
	return found;
}

static void proc_client(void)
{
	struct stat st;
	int fd;

	fd = stream_socket();
	OK(fstat(fd, &st));
	CHECK(in_proc(st.st_ino));
	close(fd);
	CHECK(!in_proc(st.st_ino));
	fd = listener(5, 1);
	OK(fstat(fd, &st));
	CHECK(in_proc(st.st_ino));
	close(fd);
	fd = pair();
	OK(fstat(fd, &st));
	CHECK(in_proc(st.st_ino));
	close(fd);
	CHECK(!in_proc(st.st_ino));
	barrier("done");
}

static const struct test_case cases[] = {
	{ "generic", "SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ERROR, SO_ACCEPTCONN, SO_RCVLOWAT",
	  generic },
	{ "generic_connected", "the same on a connection", generic_connected_client, idle_server },
	{ "creation", "socket() takes what exists and refuses the rest by name", creation },
	{ "no_socketpair", "socketpair: EOPNOTSUPP", no_socketpair },
	{ "connect_timeout_old", "SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD: 2 s, set, read, reset",
	  connect_timeout_old },
	{ "connect_timeout_new", "SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW is the same value",
	  connect_timeout_new },
	{ "connect_timeout_bad", "wrong limits: ERANGE, EINVAL, EFAULT", connect_timeout_bad },
	{ "unknown", "options that don't exist: ENOPROTOOPT", unknown },
	{ "busy_poll", "SO_VMSHM_BUSY_POLL takes what it should", busy_poll, .flags = VMSHM_ONLY },
	{ "busy_poll_works", "round trips work with every way of waiting",
	  busy_poll_works_client, busy_poll_works_server, .flags = VMSHM_ONLY },
	{ "info", "SO_VMSHM_INFO counts bytes and calls, and knows both rings",
	  info_client, info_server, .flags = VMSHM_ONLY },
	{ "info_read_only", "SO_VMSHM_INFO can't be set, and takes a short buffer",
	  info_read_only, .flags = VMSHM_ONLY },
	{ "proc", "/proc/net/vmshm has a line for each socket, as long as it lives",
	  proc_client, idle_server, .flags = VMSHM_ONLY },
};

SUBJECT(options);
