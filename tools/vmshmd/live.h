/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * UNIX sockets at a path: whose is it, a daemon's that is gone?
 */
#ifndef VMSHMD_LIVE_H
#define VMSHMD_LIVE_H

#include <stdbool.h>
#include <sys/un.h>

/* As much of @path as there is room for. */
struct sockaddr_un unix_address(const char *path);

/* Whether somebody listens at @path, or nobody can say. */
bool is_live(const char *path);

#endif
