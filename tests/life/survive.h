/* SPDX-License-Identifier: GPL-2.0-only */
/* The other side of processes that are killed. */
#ifndef LIFE_SURVIVE_H
#define LIFE_SURVIVE_H

#define SURVIVE_RECORD		32768	/* the longest record that comes back whole */
#define SURVIVE_ACCEPT(port)	((port) + 1)	/* where the VM that kills listens */

/*
 * Echoes on @port whatever type comes, and connects to @cid again and again,
 * until SIGUSR1. Then says how many connections it saw end, and how many of them
 * otherwise than the death of the other side explains; returns whether any.
 */
int survive(unsigned int cid, unsigned int port);

#endif /* LIFE_SURVIVE_H */
