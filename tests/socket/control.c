// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control channel: lines over TCP or a UNIX socket. Only the runners read
 * and write it; the cases' barriers go through them.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/un.h>

#include "control.h"

#define CONNECT_SECONDS	15

static struct addrinfo *resolve(const char *where, int flags)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };
	struct addrinfo *result;
	char host[256];
	const char *colon = strrchr(where, ':');
	int err;

	if (!colon || colon == where || (size_t)(colon - where) >= sizeof(host))
		die("--control %s: expected HOST:PORT or unix:PATH", where);
	memcpy(host, where, colon - where);
	host[colon - where] = '\0';
	err = getaddrinfo(host, colon + 1, &hints, &result);
	if (err)
		die("--control %s: %s", where, gai_strerror(err));
	return result;
}

static bool is_unix(const char *where, struct sockaddr_un *addr)
{
	if (strncmp(where, "unix:", 5))
		return false;
	*addr = (struct sockaddr_un) { .sun_family = AF_UNIX };
	if (strlen(where + 5) >= sizeof(addr->sun_path))
		die("--control %s: a path has at most %zu bytes", where,
		    sizeof(addr->sun_path) - 1);
	strcpy(addr->sun_path, where + 5);
	return true;
}

static void no_delay(int fd)
{
	int on = 1;

	/* Fails on a UNIX socket, which never delays. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int try_listen(const struct sockaddr *addr, socklen_t len)
{
	int on = 1, fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!bind(fd, addr, len) && !listen(fd, 1))
		return fd;
	close(fd);
	return -1;
}

int control_listen(const char *where)
{
	struct sockaddr_un un;
	struct addrinfo *list;
	int fd;

	if (is_unix(where, &un)) {
		unlink(un.sun_path);
		fd = try_listen((struct sockaddr *)&un, sizeof(un));
	} else {
		list = resolve(where, AI_PASSIVE);
		fd = try_listen(list->ai_addr, list->ai_addrlen);
		freeaddrinfo(list);
	}
	if (fd < 0)
		die("--control %s: cannot listen: %s", where, strerror(errno));
	return fd;
}

int control_accept(int listen_fd)
{
	struct pollfd p = { .fd = listen_fd, .events = POLLIN };
	int fd;

	if (poll(&p, 1, 60000) <= 0)
		die("no client has come in 60 s");
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		die("control channel: accept: %s", strerror(errno));
	no_delay(fd);
	return fd;
}

static int try_connect(const struct sockaddr *addr, socklen_t len)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -1;
	if (!connect(fd, addr, len)) {
		no_delay(fd);
		return fd;
	}
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

/* The server may still be starting. */
int control_connect(const char *where)
{
	double end = now() + CONNECT_SECONDS;
	struct addrinfo *list = NULL;
	struct sockaddr_un un;
	int fd;

	if (!is_unix(where, &un))
		list = resolve(where, 0);
	do {
		if (list)
			fd = try_connect(list->ai_addr, list->ai_addrlen);
		else
			fd = try_connect((struct sockaddr *)&un, sizeof(un));
		if (fd >= 0)
			break;
		usleep(50000);
	} while (now() < end);
	if (fd < 0)
		die("--control %s: no server in %d s: %s", where, CONNECT_SECONDS,
		    strerror(errno));
	if (list)
		freeaddrinfo(list);
	return fd;
}

void control_send(int fd, const char *line)
{
	char buf[LINE_LEN + 1];
	size_t len = snprintf(buf, sizeof(buf), "%.*s\n", LINE_LEN - 1, line);
	ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

	if (n != (ssize_t)len)
		die("control channel: %s", n < 0 ? strerror(errno) : "short write");
}

bool control_receive(int fd, char line[LINE_LEN], int ms)
{
	/* One channel a process: what came after a line stays here. */
	static char buf[2 * LINE_LEN];
	static size_t len;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	double end = now() + ms / 1000.0;
	char *newline;
	ssize_t n;
	int left;

	while (!(newline = memchr(buf, '\n', len))) {
		if (len == sizeof(buf))
			die("control channel: an endless line");
		left = (end - now()) * 1000;
		if (poll(&p, 1, left > 0 ? left : 0) <= 0)
			return false;
		n = recv(fd, buf + len, sizeof(buf) - len, 0);
		if (n <= 0)
			die("control channel: the other side is gone");
		len += n;
	}
	n = newline - buf;
	memcpy(line, buf, n < LINE_LEN ? n : LINE_LEN - 1);
	line[n < LINE_LEN ? n : LINE_LEN - 1] = '\0';
	len -= n + 1;
	memmove(buf, newline + 1, len);
	return true;
}
