/* SPDX-License-Identifier: GPL-2.0-only */
/* The other side of processes that are killed. */
#ifndef LIFE_SURVIVE_H
#define LIFE_SURVIVE_H

#define SURVIVE_RECORD		32768	/* the longest record that comes back whole */
/* Streams and records share the numbers of ports: where each is echoed, and accepted. */
#define SURVIVE_ECHO(port, type)	((port) + ((type) == SOCK_SEQPACKET))
#define SURVIVE_ACCEPT(port, type)	(SURVIVE_ECHO(port, type) + 2)	/* in the VM that kills */

/*
 * Echoes from @port on whatever type comes, and connects to @cid again and again,
 * until SIGUSR1. Then says how many connections it saw end, and how many of them
 * otherwise than the death of the other side explains; returns whether any.
 */
int survive(unsigned int cid, unsigned int port);

#endif /* LIFE_SURVIVE_H */
