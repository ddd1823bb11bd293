/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs that use sockets share: addresses, connections, errno
 * names, time, and a pattern in which every lost, doubled or moved byte shows.
 */
#ifndef LIFE_NET_H
#define LIFE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each returns a descriptor, or -1 with errno. */
int connect_of(int type, unsigned int cid, unsigned int port);
int connect_to(unsigned int cid, unsigned int port);	/* a stream */
int listen_of(int type, unsigned int port, int backlog);
int listen_on(unsigned int port, int backlog);		/* for streams */
void set_limits(int fd, int ms);	/* SO_RCVTIMEO and SO_SNDTIMEO */

const char *errno_name(int err);	/* "0" for 0 */
double seconds_now(void);

void pattern_fill(void *buf, uint64_t at, size_t len);
/* True when these are the bytes from place @at on. */
bool pattern_is(const void *buf, uint64_t at, size_t len);

/*
 * Echoes until the end of the peer's stream; 0 or the errno that ended it.
 * Leaves the descriptor open.
 */
int echo_all(int fd);
/* Sends @bytes, reads them back; 0, an errno, or EBADMSG for wrong bytes. */
int echo_check(int fd, uint64_t bytes);

#endif /* LIFE_NET_H */
