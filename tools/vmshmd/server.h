/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All segments that are served, the runtime directory, and how a changed
 * configuration is taken over.
 */
#ifndef VMSHMD_SERVER_H
#define VMSHMD_SERVER_H

#include "config.h"

struct sd_event;
struct segment;
struct server;

/*
 * Lock the runtime directory of @config, make its segments and listen. NULL
 * when that can't be, said in the log, and then nothing is left behind.
 */
struct server *server_start(struct sd_event *event, const struct config *config);

/*
 * Take over another configuration: segments that are new are made, others
 * removed, what did not change is not touched. 0, or -1, said in the log, and
 * then nothing has changed.
 */
int server_reload(struct server *server, const struct config *config);

/* All of them, the first of a list. */
struct segment *server_segments(const struct server *server);

/* Remove the sockets and let go of everything; VMs go on among themselves. */
void server_stop(struct server *server);

#endif
