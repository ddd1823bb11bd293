/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections that outlive the process that made them. */
#ifndef LIFE_HEIRS_H
#define LIFE_HEIRS_H

/*
 * Each way of inheriting a connection to an echo server @count times: fork, exec,
 * a descriptor that was passed, one that was passed and never taken.
 */
int heirs(unsigned int cid, unsigned int port, unsigned int count);
int heir(int fd);	/* what an heir does with it; 0 when the echo is whole */

#endif /* LIFE_HEIRS_H */
