/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asking sock_diag(7), for the cases in diag.c: requests as they are given,
 * answers taken apart and checked for what is true of each.
 */
#ifndef VMSHM_TEST_SOCKDIAG_H
#define VMSHM_TEST_SOCKDIAG_H

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/vmshm_diag.h>

#include "vmshm_test.h"

struct seen {
	struct vmshm_diag_msg msg;
	unsigned int state;
	uint32_t uid;
	struct vmshm_diag_queues queues;
	struct vmshm_info info;
	struct vmshm_diag_buffer buffer;
	unsigned int attrs;		/* bits: which attributes came, each whole */
	unsigned int times;
};

/* What a dump gave. */
struct list {
	struct seen *seen;
	size_t count, room;
};

int diag_socket(void);
/* For all sockets and all that can be told. */
struct vmshm_diag_req any_request(void);
void ask_diag(int nl, const void *req, size_t len, int type, int flags);
/* One more part of a dump, of at most that many bytes; false when it was the last. */
bool dump_part(int nl, struct list *list, size_t room);
/* All sockets, in parts of at most that many bytes. */
struct list dump_by(const struct vmshm_diag_req *req, size_t room);
struct list dump(void);
/* The one with that inode number, or NULL; it must not be there twice. */
const struct seen *find(const struct list *list, ino_t ino);
/* The errno with which the kernel answers, 0 for a socket (in *seen). */
int answer(const void *req, size_t len, int type, int flags, struct seen *seen);

#endif /* VMSHM_TEST_SOCKDIAG_H */
