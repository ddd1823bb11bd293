/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bells: the eventfds by which one member of a segment is interrupted, and the
 * thread that the daemon rings them from.
 */
#ifndef VMSHMD_DOORBELL_H
#define VMSHMD_DOORBELL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * @fds live as long as the bell; a bell as long as somebody holds a reference.
 * @pending and @next belong to doorbell.c.
 */
struct bell {
	uint32_t refs;
	bool pending;
	struct bell *next;
	uint32_t vectors;
	char label[80];		/* whose it is, for the log */
	int fds[];		/* eventfds, one a vector */
};

/*
 * Make a bell with one reference; NULL with errno. It takes @fds over, or
 * makes eventfds when that is NULL.
 */
struct bell *bell_new(uint32_t vectors, const char *label, const int *fds);
void bell_put(struct bell *bell);

/*
 * Ring vector 0, soon, from the doorbell thread. Never blocks; a bell that
 * waits to be rung is rung once.
 */
void bell_ring(struct bell *bell);

/* Start the thread: 0, or -1 with errno. */
int doorbell_start(void);

/* Ring what waits, end the thread. */
void doorbell_stop(void);

#endif
