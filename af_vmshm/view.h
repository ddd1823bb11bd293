/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What may be seen of a socket from outside, between view.c, which looks, and
 * proc.c and diag.c, which show it.
 */
#ifndef _AF_VMSHM_VIEW_H
#define _AF_VMSHM_VIEW_H

#include <linux/uidgid.h>
#include <linux/vmshm_diag.h>

/**
 * struct vmshm_view - a socket at one moment
 * @state: VMSHM_STATE_...
 * @local: its name
 * @remote: its peer's
 * @uid: whose it is
 * @ino: inode number, 0 while it has no descriptor
 * @rx_queue: as in struct vmshm_diag_queues
 * @tx_queue: likewise
 * @info: the counters
 */
struct vmshm_view {
	u8 state;
	struct sockaddr_vmshm local, remote;
	kuid_t uid;
	unsigned long ino;
	u64 rx_queue, tx_queue;
	struct vmshm_info info;
};

struct vmshm_sock *vmshm_view_from(unsigned long serial);
struct vmshm_sock *vmshm_view_next(struct vmshm_sock *vs);
void vmshm_view_get(struct vmshm_sock *vs, struct vmshm_view *view);

#endif /* _AF_VMSHM_VIEW_H */
