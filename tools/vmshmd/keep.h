/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors that outlive this process: whoever started it (systemd's
 * descriptor store, or keeper.c) keeps a copy of each, and gives all of them
 * to its successor. This is the worker's side, the same for both.
 *
 * A name is a letter, the number of a segment, and for some an index:
 *
 *	r3		the record of segment 3 (record.h); the last one stored:
 *			without it the others mean nothing
 *	m3		its memory
 *	e3.5		eventfd 5: of member 5 / vectors, vector 5 % vectors
 *	l3.0		member 0's listening socket
 *	c3.0		member 0's connected socket
 *
 * All names together have to fit one string of the environment, so they are
 * short and say nothing else.
 */
#ifndef VMSHMD_KEEP_H
#define VMSHMD_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#define KEEP_NAME_LEN	24

struct keep_name {
	char text[KEEP_NAME_LEN];
};

/* @index is left out when negative. */
struct keep_name keep_name(char kind, uint32_t id, int64_t index);

/*
 * Take what was kept; @alone: nobody keeps anything, whatever the environment
 * says. 0, or -1, said in the log.
 */
int keep_start(bool alone);

/* Does somebody keep descriptors? */
bool keep_on(void);

/* What was kept under @name, which belongs to the caller from now on; -1: nothing. */
int keep_take(struct keep_name name);

/* The next segment, from *@id on, that has a record; false: no more. */
bool keep_next_segment(uint32_t *id);

/* The smallest number that no segment has. */
uint32_t keep_new_segment(void);
void keep_end_segment(uint32_t id);

/* Have @fd kept: 0, or -1 with errno (E2BIG: more than can be handed on). */
int keep_add(int fd, struct keep_name name);
void keep_drop(struct keep_name name);

/* What nobody took is of no use to anybody: close and drop it. */
void keep_drop_rest(void);

/* Tell the one who keeps: a state as in sd_notify(3). */
void keep_tell(const char *state);

void keep_end(void);

#endif
