/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The control socket: vmshmctl(8) and others ask here what is served, and give
 * orders. Questions are answered by threads of their own from the tables of
 * control_roster.h; orders go to the main thread, which carries them out
 * between two events and never waits for who gave them.
 *
 *   control.c		sockets, the way of an order to the main thread and back
 *   control_worker.c	the threads: connections, lines in and out
 *   control_reply.c	what a question is answered
 *   control_sample.c	what guests say of themselves in the segments
 *   control_metrics.c	the same for Prometheus
 *   control_roster.c	the tables that all of these read
 *
 * A line is a JSON object, at most CONTROL_LINE bytes: {"command": "status"};
 * so is an answer: {"ok": true, "result": ...} or {"ok": false, "error": "..."}.
 */
#ifndef VMSHMD_CONTROL_H
#define VMSHMD_CONTROL_H

#include "config.h"

#define CONTROL_SOCKET	"control.sock"	/* in the runtime directory */
#define CONTROL_SOCKET_UNIT "/run/vmshm-control.sock"	/* that of vmshmd-control.socket */
#define METRICS_SOCKET	"metrics.sock"	/* the name that such a file should have */
#define CONTROL_LINE	4096

struct sd_event;

enum control_order {
	CONTROL_RELOAD,
	CONTROL_KICK,		/* a member, in one segment or all */
	CONTROL_DRAIN,
	CONTROL_UNDRAIN,
};

/*
 * Carries out an order, in the main thread. Returns to how many seats it
 * applied, or -1; what is said in the log meanwhile is the answer's text.
 */
typedef int (*control_carry_out)(void *arg, enum control_order order, const char *member,
				 const char *segment);

struct control_info {
	const char *config_path;
	control_carry_out carry_out;
	void *arg;
};

/* Begin: 0, or -1, said in the log. */
int control_start(struct sd_event *event, const struct config *config,
		  const struct control_info *info);

/* Is there a control socket? Not where no configuration could be taken over at the start. */
bool control_serves(void);

/* Another configuration was taken over, as a @whole or in part, or (NULL) was not. */
void control_reloaded(const struct config *config, bool whole);

/* End the threads and remove the socket. */
void control_stop(void);

#endif
