/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Metrics for Prometheus over HTTP, on a UNIX socket or a loopback address,
 * from a thread of libmicrohttpd's.
 */
#ifndef VMSHMD_CONTROL_METRICS_H
#define VMSHMD_CONTROL_METRICS_H

#include "config.h"

/* 0, or -1, said in the log. @access holds for a path. */
void metrics_start(const char *address, const struct access *access);
void metrics_stop(void);

/* The text, to be freed; NULL when there is no memory. */
char *metrics_text(size_t *len);

#endif
