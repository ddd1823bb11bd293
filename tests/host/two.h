/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vmshmd with one couple, a VM "a" (CID 3) and the host, and both members of it
 * through libvmshm, in one thread: what one waits for the other does in pump().
 *
 * The environment variable VMSHMD names the daemon.
 */
#ifndef HOST_TWO_H
#define HOST_TWO_H

#include "../daemon/harness.h"

#include <poll.h>
#include <vmshm_host.h>

#define VM	3
#define HOST	2

struct two {
	struct vmshmd d;
	struct vmshm_host *host, *vm;
};

/* What vmshmd is told; @size of the segment. */
void two_daemon(struct two *t, const char *size);
/* The same with a keeper in front. */
void two_daemon_kept(struct two *t, const char *size);
/* The daemon and both members, who know each other. */
void two_start(struct two *t, const char *size);
/* The members alone. */
void two_join(struct two *t);
/* Members that are open are closed; the daemon ends. */
void two_end(struct two *t);

/* A member: "host", or one that is a VM. NULL with errno. */
struct vmshm_host *two_open(const struct two *t, const char *member);

/* Both do what there is to do. */
void pump(struct two *t);

/* Whether @condition comes true while both are pumped. */
#define pumped(t, condition) ({ \
	u64 pumped_until_ = now_ms() + PATIENCE; \
	bool pumped_; \
	while (!(pumped_ = (condition)) && now_ms() < pumped_until_) \
		pump(t); \
	pumped_; \
})

/* What a call gave: its errno, or 0 if it did not fail. */
#define errno_of(call) ({ errno = 0; (call) < 0 ? errno : 0; })
#define errno_of_sock(call) ({ errno = 0; (call) ? 0 : errno; })

/* A connection from the host to port @port of the VM, which listens; both ends. */
struct ends {
	struct vmshm_sock *host, *vm;
};

bool two_connect(struct two *t, unsigned int port, struct ends *e);

/* A byte of a pattern in which all that is lost, doubled or moved shows. */
static inline u8 byte_at(u64 at)
{
	return (u8)(at * 31 + (at >> 8) * 17 + (at >> 16) * 7 + (at >> 24));
}

#endif /* HOST_TWO_H */
