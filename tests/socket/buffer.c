// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: SO_VM_SOCKETS_BUFFER_SIZE with its minimum and maximum, and rings:
 * their size, and what happens when memory for them runs out.
 */
#include <poll.h>
#include <stdlib.h>

#include "vmshm_test.h"

static uint64_t get(int fd, int option)
{
	uint64_t v = 0;
	socklen_t len = sizeof(v);

	OK(getsockopt(fd, ctx.family, option, &v, &len));
	EQUAL(len, sizeof(v));
	return v;
}

static void set(int fd, int option, uint64_t v)
{
	OK(setsockopt(fd, ctx.family, option, &v, sizeof(v)));
}

static void clamps(void)
{
	int fd = stream_socket();

	set(fd, SO_VMSHM_BUFFER_MAX_SIZE, 1 << 20);
	set(fd, SO_VMSHM_BUFFER_MIN_SIZE, 16384);
	set(fd, SO_VMSHM_BUFFER_SIZE, 65536);
	EQUAL(get(fd, SO_VMSHM_BUFFER_SIZE), 65536);
	set(fd, SO_VMSHM_BUFFER_SIZE, 2 << 20);
	EQUAL(get(fd, SO_VMSHM_BUFFER_SIZE), 1 << 20);
	set(fd, SO_VMSHM_BUFFER_SIZE, 4096);
	EQUAL(get(fd, SO_VMSHM_BUFFER_SIZE), 16384);
	EQUAL(get(fd, SO_VMSHM_BUFFER_MIN_SIZE), 16384);
	EQUAL(get(fd, SO_VMSHM_BUFFER_MAX_SIZE), 1 << 20);
	/* A new limit moves the size. */
	set(fd, SO_VMSHM_BUFFER_MIN_SIZE, 32768);
	EQUAL(get(fd, SO_VMSHM_BUFFER_SIZE), 32768);
	set(fd, SO_VMSHM_BUFFER_SIZE, 1 << 20);
	set(fd, SO_VMSHM_BUFFER_MAX_SIZE, 65536);
	EQUAL(get(fd, SO_VMSHM_BUFFER_SIZE), 65536);
}

/* There is no larger ring, nor a longer record in it. */
static void most(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		int fd = socket_of(types[i]), header = types[i] == SOCK_STREAM ? 0 : 8;

		set(fd, SO_VMSHM_BUFFER_MAX_SIZE, UINT64_MAX);
		set(fd, SO_VMSHM_BUFFER_SIZE, 1ULL << 40);
		EQUAL(get(fd, SO_VMSHM_BUFFER_SIZE), (16 << 20) - header);
		EQUAL(get(fd, SO_VMSHM_BUFFER_MAX_SIZE), UINT64_MAX);
		set(fd, SO_VMSHM_BUFFER_SIZE, 65536);
		set(fd, SO_VMSHM_BUFFER_MIN_SIZE, 1ULL << 40);
		EQUAL(get(fd, SO_VMSHM_BUFFER_SIZE), (16 << 20) - header);
	}
}

static void vsock_level(void)
{
	uint64_t v = 32768;
	socklen_t len = sizeof(v);
	int fd = stream_socket();

	OK(setsockopt(fd, AF_VSOCK, SO_VMSHM_BUFFER_SIZE, &v, sizeof(v)));
	EQUAL(get(fd, SO_VMSHM_BUFFER_SIZE), 32768);
	set(fd, SO_VMSHM_BUFFER_SIZE, 65536);
	OK(getsockopt(fd, AF_VSOCK, SO_VMSHM_BUFFER_SIZE, &v, &len));
	EQUAL(v, 65536);
}

static void lengths(void)
{
	uint32_t v = 65536;
	uint64_t long_v[2] = { 65536, 0 };
	socklen_t len = sizeof(v);
	int fd = stream_socket();

	FAILS(setsockopt(fd, ctx.family, SO_VMSHM_BUFFER_SIZE, &v, sizeof(v)), EINVAL);
	FAILS(getsockopt(fd, ctx.family, SO_VMSHM_BUFFER_SIZE, &v, &len), EINVAL);
	/* A longer value: its first eight bytes. */
	OK(setsockopt(fd, ctx.family, SO_VMSHM_BUFFER_SIZE, long_v, sizeof(long_v)));
	len = sizeof(long_v);
	OK(getsockopt(fd, ctx.family, SO_VMSHM_BUFFER_SIZE, long_v, &len));
	EQUAL(len, 8);
}

static void inherited_server(void)
{
	int listen_fd = stream_socket(), fd;

	set(listen_fd, SO_VMSHM_BUFFER_SIZE, 32768);
	OK(bind_to(listen_fd, VMSHM_CID_ANY, port_nr(0)));
	OK(listen(listen_fd, 1));
	barrier("listening");
	fd = accept_one(listen_fd);
	EQUAL(get(fd, SO_VMSHM_BUFFER_SIZE), 32768);
	barrier("done");
}

static void inherited_client(void)
{
	barrier("listening");
	connected(0);
	barrier("done");
}

/* The receiver's size limits what the sender can have under way. */
static const int sizes[] = { 8192, 65536, 1 << 20 };

static void limits_client(void)
{
	size_t total;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		barrier("listening");
		fd = connected(i);
		total = fill(fd, i);
		/* No less than asked for; not much more. */
		if (total < (size_t)sizes[i] || total > 4 * (size_t)sizes[i])
			FAIL("%zu bytes go into a buffer of %d", total, sizes[i]);
		tell("filled", total);
		barrier("drained");
	}
}

static void limits_server(void)
{
	size_t total;
	int listen_fd, fd;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		listen_fd = stream_socket();
		set_buffer(listen_fd, sizes[i]);
		OK(bind_to(listen_fd, VMSHM_CID_ANY, port_nr(i)));
		OK(listen(listen_fd, 1));
		barrier("listening");
		fd = accept_one(listen_fd);
		total = ask("filled");
		drain_pattern(fd, i, 0, total);
		expect_nothing(fd);
		barrier("drained");
	}
}

static struct vmshm_info info_of(int fd)
{
	struct vmshm_info info;
	socklen_t len = sizeof(info);

	OK(getsockopt(fd, AF_VMSHM, SO_VMSHM_INFO, &info, &len));
	return info;
}

/* Rings of that many bytes in each direction, data through all of them. */
static const int rings[] = { 4096, 16384, 262144, 4 << 20, 16 << 20 };

static void ring_sizes(void)
{
	static char buf[100000];
	uint64_t size, at;

	for (size_t i = 0; i < ARRAY_SIZE(rings); i++) {
		int fd = stream_socket(), listen_fd;

		set_buffer(fd, rings[i]);
		if (ctx.is_client) {
			barrier("listening");
			OK(connect_to(fd, ctx.peer, port_nr(i)));
		} else {
			listen_fd = fd;
			OK(bind_to(listen_fd, VMSHM_CID_ANY, port_nr(i)));
			OK(listen(listen_fd, 1));
			barrier("listening");
			fd = accept_one(listen_fd);
			close(listen_fd);
		}
		EQUAL(info_of(fd).rx_ring, rings[i]);
		EQUAL(info_of(fd).tx_ring, rings[i]);
		/* Round the ring and over its end. */
		size = rings[i] + rings[i] / 2;
		for (at = 0; at < size; at += sizeof(buf)) {
			size_t len = size - at < sizeof(buf) ? size - at : sizeof(buf);

			if (ctx.is_client) {
				pattern_fill(buf, at, len, i);
				send_all(fd, buf, len);
			} else {
				drain_pattern(fd, i, at, len);
			}
		}
		barrier("done");
		close(fd);
	}
}

/*
 * Connections with the largest rings until there are no more: each gets such a
 * ring, a smaller one, or ENOBUFS. Nothing else may come, nothing may break,
 * and closing them makes room.
 */
#define MOST	400

static int largest_socket(void)
{
	int fd = stream_socket();

	set_buffer(fd, 16 << 20);
	return fd;
}

static int open_largest(int fds[], bool *short_of_memory)
{
	int n;

	*short_of_memory = false;
	for (n = 0; n < MOST; n++) {
		fds[n] = largest_socket();
		here(__FILE__, __LINE__, "connect until memory is short");
		if (connect_to(fds[n], ctx.peer, port_nr(0))) {
			if (errno != ENOBUFS)
				FAIL("connection %d: %s, expected ENOBUFS", n, error_name(errno));
			close(fds[n]);
			*short_of_memory = true;
			break;
		}
		if (info_of(fds[n]).rx_ring < 16 << 20 || info_of(fds[n]).tx_ring < 16 << 20)
			*short_of_memory = true;
		/* It carries data, however small its rings. */
		send_all(fds[n], &n, sizeof(n));
		recv_all(fds[n], &n, sizeof(n));
	}
	return n;
}

static void exhaust_client(void)
{
	int fds[MOST], n, got;
	struct vmshm_info info = { 0 };
	bool is_short;
	double end;

	barrier("listening");
	n = open_largest(fds, &is_short);
	if (!is_short)
		FAIL("%d connections with rings of 16 MiB and still no shortage", n);
	CHECK(n >= 1);
	for (int i = 0; i < n; i++)
		close(fds[i]);
	/* The memory comes back when the peer has acknowledged. */
	end = now() + 5;
	for (;;) {
		fds[0] = largest_socket();
		if (!connect_to(fds[0], ctx.peer, port_nr(0))) {
			send_all(fds[0], &n, sizeof(n));
			recv_all(fds[0], &got, sizeof(got));
			info = info_of(fds[0]);
			if (info.rx_ring == 16 << 20 && info.tx_ring == 16 << 20)
				break;
		} else {
			EQUAL(errno, ENOBUFS);
			memset(&info, 0, sizeof(info));
		}
		close(fds[0]);
		if (now() > end)
			FAIL("5 s after %d connections were closed: rings of %llu and %llu bytes",
			     n, info.rx_ring, info.tx_ring);
		sleep_ms(20);
	}
	close(fds[0]);
	n = -1;
	fds[0] = connected(0);
	send_all(fds[0], &n, sizeof(n));
	recv_all(fds[0], &n, sizeof(n));
}

/*
 * Keeps each connection until its client closes, and answers one number on it.
 * An end that is open keeps its ring, so it is closed as soon as that is seen.
 */
static void exhaust_server(void)
{
	struct pollfd p[MOST + 1];
	int n = 1, nr = 0, fd;

	p[0] = (struct pollfd) { .fd = largest_socket(), .events = POLLIN };
	OK(bind_to(p[0].fd, VMSHM_CID_ANY, port_nr(0)));
	OK(listen(p[0].fd, 10));
	barrier("listening");
	while (nr != -1) {
		OK(poll(p, n, -1));
		for (int i = n - 1; i; i--) {
			if (!p[i].revents)
				continue;
			close(p[i].fd);
			p[i] = p[--n];
		}
		if (!(p[0].revents & POLLIN))
			continue;
		CHECK(n <= MOST);
		fd = accept_one(p[0].fd);
		here(__FILE__, __LINE__, "recv of a number");
		if (recv(fd, &nr, sizeof(nr), MSG_WAITALL) != sizeof(nr)) {
			close(fd);
			continue;
		}
		send_all(fd, &nr, sizeof(nr));
		p[n++] = (struct pollfd) { .fd = fd, .events = POLLIN };
	}
}

static const struct test_case cases[] = {
	{ "clamps", "the size stays between its minimum and its maximum", clamps },
	{ "most", "no more than 16 MiB, which is what reads back", most, .flags = VMSHM_ONLY },
	{ "vsock_level", "the same option at level AF_VSOCK", vsock_level },
	{ "lengths", "too short a value: EINVAL", lengths },
	{ "inherited", "an accepted socket has its listener's size",
	  inherited_client, inherited_server },
	{ "limits", "the receiver's size is about what can be under way",
	  limits_client, limits_server,
	  .vsock_differs = "its loopback takes 256 KiB, whatever larger size is set" },
	{ "ring_sizes", "rings from 4 KiB to 16 MiB, each as asked for and filled over its end",
	  ring_sizes, ring_sizes, .flags = VMSHM_ONLY },
	{ "exhausted", "no memory for rings: smaller ones, then ENOBUFS; it heals",
	  exhaust_client, exhaust_server, .limit = 20, .flags = VMSHM_ONLY },
};

SUBJECT(buffer);
