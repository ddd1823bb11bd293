// SPDX-License-Identifier: GPL-2.0-only
/*
 * Addresses: tcp:HOST:PORT, unix:/PATH, vmshm:PORT to listen at, vmshm:CID:PORT
 * to connect to.
 */
#include "proxy.h"

#include <errno.h>
#include <linux/vmshm.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG	128

/* A number up to @max; false when @text is none. */
static bool number(const char *text, unsigned long max, unsigned int *value)
{
	unsigned long n;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (*end || errno || n > max)
		return false;
	*value = (unsigned int)n;
	return true;
}

static const char *parse_tcp(const char *rest, bool listen, struct address *a)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *found;
	static char wrong[256];
	const char *colon = strrchr(rest, ':');
	char host[256];
	unsigned int port;
	size_t len;
	int err;

	if (!colon || colon == rest || !number(colon + 1, 65535, &port) || (!port && !listen))
		return "expected tcp:HOST:PORT, such as tcp:127.0.0.1:8080 or tcp:[::1]:8080";
	len = (size_t)(colon - rest);
	if (rest[0] == '[' && colon[-1] == ']') {
		rest++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return "the host's name is too long";
	memcpy(host, rest, len);
	host[len] = '\0';
	if (listen)
		hints.ai_flags |= AI_PASSIVE;
	err = getaddrinfo(listen && !strcmp(host, "*") ? NULL : host, colon + 1, &hints, &found);
	if (err) {
		snprintf(wrong, sizeof(wrong), "'%.200s': %s", host, gai_strerror(err));
		return wrong;
	}
	memcpy(&a->sa, found->ai_addr, found->ai_addrlen);
	a->len = found->ai_addrlen;
	freeaddrinfo(found);
	a->kind = KIND_TCP;
	return NULL;
}

static const char *parse_unix(const char *path, struct address *a)
{
	struct sockaddr_un *sun = (struct sockaddr_un *)&a->sa;

	if (*path != '/')
		return "expected unix: and an absolute path";
	if (strlen(path) >= sizeof(sun->sun_path))
		return "the path is too long, expected at most 107 characters";
	sun->sun_family = AF_UNIX;
	strcpy(sun->sun_path, path);
	a->len = sizeof(*sun);
	a->kind = KIND_UNIX;
	return NULL;
}

static const char *parse_vmshm(const char *rest, bool listen, struct address *a)
{
	const char *colon = strchr(rest, ':');
	char cid[16] = "";

	a->kind = KIND_VMSHM;
	if (listen)
		return number(rest, VMSHM_PORT_ANY - 1, &a->port) ? NULL :
		       "expected vmshm:PORT, a port of this host's to listen at";
	if (colon && (size_t)(colon - rest) < sizeof(cid))
		memcpy(cid, rest, (size_t)(colon - rest));
	if (!colon || !number(cid, VMSHM_CID_MAX, &a->cid) ||
	    !number(colon + 1, VMSHM_PORT_ANY - 1, &a->port))
		return "expected vmshm:CID:PORT, such as vmshm:3:80";
	return NULL;
}

const char *address_parse(const char *text, bool listen, struct address *a)
{
	a->text = text;
	if (!strncmp(text, "tcp:", 4))
		return parse_tcp(text + 4, listen, a);
	if (!strncmp(text, "unix:", 5))
		return parse_unix(text + 5, a);
	if (!strncmp(text, "vmshm:", 6))
		return parse_vmshm(text + 6, listen, a);
	return listen ? "expected tcp:HOST:PORT, unix:/PATH or vmshm:PORT" :
			"expected tcp:HOST:PORT, unix:/PATH or vmshm:CID:PORT";
}

static int keep_errno_close(int fd)
{
	int err = errno;

	close(fd);
	errno = err;
	return -1;
}

/* What a process left that is gone; what somebody listens at stays. */
static void clear_path(const struct address *a)
{
	const struct sockaddr_un *sun = (const struct sockaddr_un *)&a->sa;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stat st;

	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)sun, a->len) && errno == ECONNREFUSED &&
	    !lstat(sun->sun_path, &st) && S_ISSOCK(st.st_mode))
		unlink(sun->sun_path);
	close(fd);
}

int address_listen(const struct address *a)
{
	int fd, on = 1;

	if (a->kind == KIND_UNIX)
		clear_path(a);
	fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (a->kind == KIND_TCP)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&a->sa, a->len) || listen(fd, BACKLOG))
		return keep_errno_close(fd);
	return fd;
}

int address_connect(const struct address *a)
{
	int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&a->sa, a->len) && errno != EINPROGRESS)
		return keep_errno_close(fd);
	return fd;
}
