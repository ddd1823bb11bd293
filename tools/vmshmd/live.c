// SPDX-License-Identifier: GPL-2.0-only
/*
 * UNIX sockets at a path: see live.h.
 */
#include "live.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return address;
}

/* EAGAIN means that the backlog is full. */
bool is_live(const char *path)
{
	struct sockaddr_un address = unix_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool live;

	if (fd < 0)
		return true;
	live = !connect(fd, (struct sockaddr *)&address, sizeof(address)) || errno != ECONNREFUSED;
	close(fd);
	return live;
}
