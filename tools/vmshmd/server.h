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
 * Go on with what the process before has left to be kept; then lock the runtime
 * directory of @config, make its segments and listen. NULL when that can't be,
 * said in the log, and then nothing is left behind. Where something was kept,
 * it is served as before if @config is wrong (NULL) or can't be taken over.
 */
struct server *server_start(struct sd_event *event, const struct config *config);

/*
 * Take over another configuration: segments that are new are made, others
 * removed, what did not change is not touched. 0, or -1, said in the log, and
 * then nothing has changed. 1: a segment that was to change could not be made
 * anew and is not served any more, said in the log; the rest was taken over.
 */
int server_reload(struct server *server, const struct config *config);

/* Was any configuration taken over yet? */
bool server_is_configured(const struct server *server);

/* Did it begin with what the process before has left? Then VMs wait for it. */
bool server_goes_on(const struct server *server);

/* All of them, the first of a list. */
struct segment *server_segments(const struct server *server);

/* Is no VM connected, and nothing being given back? */
bool server_idle(const struct server *server);

/* End without a trace, so that a successor finds all as it is now. */
void server_leave(struct server *server);

/* Remove the sockets and let go of everything; VMs go on among themselves. */
void server_stop(struct server *server);

#endif
