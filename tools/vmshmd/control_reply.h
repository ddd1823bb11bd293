/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Answers of the control socket, as JSON. In any thread. See control.h.
 */
#ifndef VMSHMD_CONTROL_REPLY_H
#define VMSHMD_CONTROL_REPLY_H

#include <jansson.h>

/* What does not change while the daemon runs, and what the main thread counts. */
struct reply_facts {
	const char *version;
	const char *config_path;
	long long started;		/* seconds since the epoch */
	unsigned long long reloads;	/* this one and the next change: atomic */
	unsigned long long refusals;	/* reloads that were refused */
};

extern struct reply_facts reply_facts;

/* Rings that one answer lists at most. */
#define REPLY_RINGS_MAX	4096

/* A question's answer; NULL when there is no memory. */
json_t *reply_to(const json_t *request);
json_t *reply_error(const char *why);

/* An order's: to how many seats it applied, or -1, and what was said meanwhile. */
json_t *reply_order(int done, const char *said);

#endif
