/* SPDX-License-Identifier: GPL-2.0-only */
/* Calls whose buffer is a page that nobody delivers. */
#ifndef LIFE_STUCK_H
#define LIFE_STUCK_H

/*
 * A send of a stream, of a record and of a datagram and a receive of a stream
 * begin and don't come back. Echoes of streams are at @port, records and datagrams
 * are taken at @hold. Says "stuck" when all are; and which call came back, if any.
 */
int stuck(unsigned int cid, unsigned int port, unsigned int hold);

#endif /* LIFE_STUCK_H */
