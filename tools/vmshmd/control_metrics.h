/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Metrics for Prometheus over HTTP, on a UNIX socket or a loopback address,
 * from a thread of libmicrohttpd's.
 */
#ifndef VMSHMD_CONTROL_METRICS_H
#define VMSHMD_CONTROL_METRICS_H

#include "config.h"

/* What goes wrong is said in the log. @access holds for a path. */
void metrics_start(const char *address, const struct access *access);
void metrics_stop(void);

/* Who may connect to it from now on, where it is a path. */
void metrics_set_access(const struct access *access);

/* The text, to be freed; NULL when there is no memory. */
char *metrics_text(size_t *len);

#endif
