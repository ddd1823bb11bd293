// SPDX-License-Identifier: GPL-2.0-only
/*
 * Addresses, connections and transfers for the test cases. Whatever goes wrong
 * here fails the case.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include "vmshm_test.h"

struct sockaddr_vmshm address(unsigned int cid, unsigned int port)
{
	return (struct sockaddr_vmshm) {
		.svm_family = ctx.family,
		.svm_cid = cid,
		.svm_port = port,
	};
}

unsigned int port_nr(unsigned int n)
{
	return ctx.port + n;
}

unsigned int local_cid(void)
{
	const char *device = ctx.family == AF_VSOCK ? "/dev/vsock" : "/dev/vmshm";
	unsigned int cid;
	int fd = OK(open(device, O_RDONLY | O_CLOEXEC));

	OK(ioctl(fd, IOCTL_VMSHM_GET_LOCAL_CID, &cid));
	close(fd);
	return cid;
}

int socket_of(int type)
{
	return OK(socket(ctx.family, type | SOCK_CLOEXEC, 0));
}

int stream_socket(void)
{
	return socket_of(SOCK_STREAM);
}

int case_socket(void)
{
	return socket_of(ctx.type);
}

int bind_to(int fd, unsigned int cid, unsigned int port)
{
	struct sockaddr_vmshm addr = address(cid, port);

	return bind(fd, (struct sockaddr *)&addr, sizeof(addr));
}

int connect_to(int fd, unsigned int cid, unsigned int port)
{
	struct sockaddr_vmshm addr = address(cid, port);

	return connect(fd, (struct sockaddr *)&addr, sizeof(addr));
}

int listener(unsigned int n, int backlog)
{
	int fd = case_socket();

	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(n)));
	OK(listen(fd, backlog));
	return fd;
}

int accept_one(int fd)
{
	return OK(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
}

int connected(unsigned int n)
{
	int fd = case_socket();

	OK(connect_to(fd, ctx.peer, port_nr(n)));
	return fd;
}

static int pair_buffer(unsigned int n, unsigned long long bytes, int type)
{
	int fd = socket_of(type), listen_fd;

	if (bytes)
		set_buffer(fd, bytes);
	if (ctx.is_client) {
		barrier("pair: listening");
		OK(connect_to(fd, ctx.peer, port_nr(n)));
		barrier("pair: connected");
		return fd;
	}
	listen_fd = fd;
	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(n)));
	OK(listen(fd, 1));
	barrier("pair: listening");
	fd = accept_one(listen_fd);
	close(listen_fd);
	barrier("pair: connected");
	return fd;
}

int pair(void)
{
	return pair_buffer(0, 0, ctx.type);
}

int pair_on(unsigned int n)
{
	return pair_buffer(n, 0, ctx.type);
}

int pair_with_buffer(unsigned long long bytes)
{
	return pair_buffer(0, bytes, SOCK_STREAM);
}

int pair_of_records(unsigned int n, unsigned long long bytes)
{
	return pair_buffer(n, bytes, SOCK_SEQPACKET);
}

void set_buffer(int fd, unsigned long long bytes)
{
	OK(setsockopt(fd, ctx.family, SO_VMSHM_BUFFER_MAX_SIZE, &bytes, sizeof(bytes)));
	OK(setsockopt(fd, ctx.family, SO_VMSHM_BUFFER_SIZE, &bytes, sizeof(bytes)));
}

void set_blocking(int fd, bool blocking)
{
	int flags = OK(fcntl(fd, F_GETFL));

	OK(fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK));
}

void set_timeout(int fd, int option, int ms)
{
	struct timeval t = { ms / 1000, ms % 1000 * 1000 };

	OK(setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t)));
}

int get_int(int fd, int level, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	OK(getsockopt(fd, level, option, &value, &len));
	EQUAL(len, sizeof(value));
	return value;
}

void send_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;
	ssize_t n;

	while (len) {
		n = OK(send(fd, p, len, MSG_NOSIGNAL));
		CHECK(n > 0 && (size_t)n <= len);
		p += n;
		len -= n;
	}
}

void recv_all(int fd, void *buf, size_t len)
{
	char *p = buf;
	ssize_t n;

	while (len) {
		n = OK(recv(fd, p, len, 0));
		if (!n)
			FAIL("end of file, %zu bytes are missing", len);
		CHECK((size_t)n <= len);
		p += n;
		len -= n;
	}
}

void expect_eof(int fd)
{
	char byte;

	EQUAL(recv(fd, &byte, 1, 0), 0);
}

void expect_nothing(int fd)
{
	char byte;

	FAILS(recv(fd, &byte, 1, MSG_DONTWAIT), EAGAIN);
}

size_t fill(int fd, uint64_t seed)
{
	static char buf[65536];
	size_t total = 0;
	ssize_t n;

	for (;;) {
		pattern_fill(buf, total, sizeof(buf), seed);
		here(__FILE__, __LINE__, "send until full");
		n = send(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n == -1 && errno == EAGAIN)
			return total;
		OK(n);
		CHECK(n > 0);
		total += n;
		if (total > 1UL << 30)
			FAIL("a gigabyte and still not full");
	}
}

void drain_pattern(int fd, uint64_t seed, uint64_t from, size_t len)
{
	static char buf[65536];
	size_t want;

	while (len) {
		want = len < sizeof(buf) ? len : sizeof(buf);
		recv_all(fd, buf, want);
		pattern_check(buf, from, want, seed);
		from += want;
		len -= want;
	}
}

void wait_readable(int fd, size_t len)
{
	char *buf = malloc(len);
	double end = now() + 5;

	here(__FILE__, __LINE__, "wait for data");
	while (recv(fd, buf, len, MSG_PEEK | MSG_DONTWAIT) < (ssize_t)len) {
		if (now() > end)
			FAIL("%zu bytes have not arrived in 5 s", len);
		sleep_ms(1);
	}
	free(buf);
}

int poll_one(int fd, int events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	OK(poll(&p, 1, ms));
	return p.revents;
}
