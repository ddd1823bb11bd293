/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmshmss: a socket as the kernel tells it, and what each file offers: asking
 * the kernel (diag.c), finding processes (process.c), showing (print.c).
 * Options are main.c's.
 */
#ifndef VMSHMSS_H
#define VMSHMSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/vmshm.h>
#include <linux/vmshm_diag.h>

struct entry {
	struct vmshm_diag_msg msg;
	unsigned int state;		/* VMSHM_STATE_... */
	uint32_t uid;
	struct vmshm_diag_queues queues;
	struct vmshm_info info;
	struct vmshm_diag_buffer buffer;
};

struct entries {
	struct entry *entry;
	size_t count;
};

struct options {
	bool all, listening;
	bool numeric;
	bool processes;
	bool extended;
	bool info;
	bool no_header;
	bool json;
};

/* Say what was wrong and end the program with status 1. */
void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...);

/* The family's number here: the module's parameter, or AF_VMSHM. */
int family(void);

/* All sockets in those states (bits of VMSHM_STATE_...); ends the program on failure. */
struct entries ask_kernel(unsigned int states);

/*
 * Who holds which socket open, as far as the caller may know it.  find_users()
 * comes once before users_of(), which gives the next user of a socket after
 * @last (NULL: the first), or NULL.
 */
struct user {
	uint32_t ino;
	int pid, fd;
	char name[32];
};

void find_users(void);
const struct user *users_of(uint32_t ino, const struct user *last);

void print_text(const struct entries *entries, const struct options *o);
void print_json(const struct entries *entries, const struct options *o);

#endif /* VMSHMSS_H */
