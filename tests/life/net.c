// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sockets and the pattern: see net.h.
 */
#include "net.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <linux/vmshm.h>

int connect_of(int type, unsigned int cid, unsigned int port)
{
	struct sockaddr_vmshm to = { .svm_family = AF_VMSHM, .svm_cid = cid, .svm_port = port };
	int fd = socket(AF_VMSHM, type | SOCK_CLOEXEC, 0);
	int err;

	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		err = errno;
		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

int connect_to(unsigned int cid, unsigned int port)
{
	return connect_of(SOCK_STREAM, cid, port);
}

int listen_of(int type, unsigned int port, int backlog)
{
	struct sockaddr_vmshm at = {
		.svm_family = AF_VMSHM, .svm_cid = VMSHM_CID_ANY, .svm_port = port
	};
	int fd = socket(AF_VMSHM, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, backlog))
		return -1;
	return fd;
}

int listen_on(unsigned int port, int backlog)
{
	return listen_of(SOCK_STREAM, port, backlog);
}

void set_limits(int fd, int ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

const char *errno_name(int err)
{
	return err ? strerrorname_np(err) : "0";
}

double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* 251 is prime: no power of two is a period of the pattern. */
static uint8_t pattern_byte(uint64_t at)
{
	return (uint8_t)(at % 251 ^ at >> 16);
}

void pattern_fill(void *buf, uint64_t at, size_t len)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = pattern_byte(at + i);
}

bool pattern_is(const void *buf, uint64_t at, size_t len)
{
	const uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		if (p[i] != pattern_byte(at + i))
			return false;
	return true;
}

int echo_all(int fd)
{
	char buf[32768];

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		ssize_t sent = 0;

		if (n <= 0)
			return n ? errno : 0;
		while (sent < n) {
			ssize_t some = send(fd, buf + sent, n - sent, MSG_NOSIGNAL);

			if (some < 0)
				return errno;
			sent += some;
		}
	}
}

int echo_check(int fd, uint64_t bytes)
{
	char out[8192], in[8192];
	uint64_t at = 0;

	while (at < bytes) {
		size_t len = bytes - at < sizeof(out) ? bytes - at : sizeof(out);
		ssize_t n;

		pattern_fill(out, at, len);
		if (send(fd, out, len, MSG_NOSIGNAL) != (ssize_t)len)
			return errno ? errno : EIO;
		n = recv(fd, in, len, MSG_WAITALL);
		if (n < 0)
			return errno;
		if (n != (ssize_t)len)
			return ENODATA;
		if (!pattern_is(in, at, len))
			return EBADMSG;
		at += len;
	}
	return 0;
}
