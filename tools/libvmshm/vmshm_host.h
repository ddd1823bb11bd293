/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * libvmshm: a process on the host as a peer of VMs, under CID 2. It is a member
 * of a segment as a VM is, and speaks from user space what the module af_vmshm
 * speaks in a guest. vmshm_host(3) is the manual.
 *
 * Rules
 *
 * - A host and all its sockets belong to one thread at a time.
 * - Nothing blocks but what has a timeout: milliseconds, 0 for not at all, -1
 *   for as long as it takes.
 * - What fails returns -1 or NULL and says why in errno, with the values of
 *   vmshm(7). EAGAIN: not now; from then on the socket comes out of
 *   vmshm_host_next() as soon as it is worth trying again.
 * - Streams only (SOCK_STREAM).
 */
#ifndef VMSHM_HOST_H
#define VMSHM_HOST_H

#include <linux/vmshm.h>	/* VMSHM_CID_HOST, VMSHM_PORT_ANY */
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

struct vmshm_host;
struct vmshm_sock;

/* ---- a segment ---- */

/* Be whichever member the socket is for, also a VM: for tests. */
#define VMSHM_HOST_ANY_CID	1

/**
 * vmshm_host_open - become a member of a segment
 * @path: the member's socket, as vmshmd makes it: /run/vmshm/SEGMENT/NAME.sock
 * @flags: 0 or VMSHM_HOST_ANY_CID
 * @timeout_ms: for the daemon's answer
 *
 * Returns NULL with errno; vmshm_host_why() says more. EBUSY: another process is
 * this member. EPERM: the socket is a VM's. EPROTO: what answers is no vmshmd, or
 * the segment was damaged. EPROTONOSUPPORT: another major version.
 */
struct vmshm_host *vmshm_host_open(const char *path, int flags, int timeout_ms);

/* One line on why the last vmshm_host_open() of this thread failed. */
const char *vmshm_host_why(void);

/* Leaves the segment. All sockets, listeners too, are gone with it. */
void vmshm_host_close(struct vmshm_host *host);

/* Its own CID: 2. */
unsigned int vmshm_host_cid(const struct vmshm_host *host);

/* Is there a peer @cid, and is its kernel ready to talk? */
int vmshm_host_peer_up(const struct vmshm_host *host, unsigned int cid);

/*
 * Does the daemon still have this member? When it has let go (it ended, or the
 * member was kicked), connections may go on for a while, and nobody says any
 * more when a peer dies: end them, close, and open anew.
 */
int vmshm_host_attached(const struct vmshm_host *host);

/* A descriptor for poll(2) and its like: readable when there is something to do. */
int vmshm_host_fd(const struct vmshm_host *host);

/* Does what there is to do. Never blocks. */
void vmshm_host_dispatch(struct vmshm_host *host);

/*
 * The next socket that may be ready for something it was not ready for, NULL
 * when there is none. After each vmshm_host_dispatch(), until it returns NULL. A
 * new connection comes out once, too.
 */
struct vmshm_sock *vmshm_host_next(struct vmshm_host *host);

/* Bytes of the receive ring of sockets made from now on: 4 KiB to 16 MiB, 1 MiB. */
int vmshm_host_set_buffer(struct vmshm_host *host, size_t bytes);

/* Lines for a log: peers that come and go, peers that break the rules. */
void vmshm_host_set_log(struct vmshm_host *host, void (*say)(void *arg, const char *line),
			void *arg);

/* ---- sockets ---- */

/* VMSHM_PORT_ANY: one that is free is chosen. EADDRINUSE, EINVAL (backlog below 1), ENOMEM. */
struct vmshm_sock *vmshm_listen(struct vmshm_host *host, unsigned int port, int backlog);

struct vmshm_sock *vmshm_accept(struct vmshm_sock *listener, int timeout_ms);

/*
 * ENODEV: no such peer, or it is not there. ECONNRESET: nobody listens. ETIMEDOUT,
 * ESHUTDOWN (the host's operator drains it), ENOBUFS. With @timeout_ms 0 the
 * socket is returned at once; vmshm_connected() says what became of it.
 */
struct vmshm_sock *vmshm_connect(struct vmshm_host *host, unsigned int cid, unsigned int port,
				 int timeout_ms);

/* 1: it is connected; 0: not yet; -1: it will not be, errno says why. */
int vmshm_connected(struct vmshm_sock *s);

/* Ends it: in order, or by a reset if something was not read. @s is gone. */
void vmshm_close(struct vmshm_sock *s);

/* Ends it by a reset, whatever was read. @s is gone. */
void vmshm_abort(struct vmshm_sock *s);

/* SHUT_RD, SHUT_WR or SHUT_RDWR. ENOTCONN. */
int vmshm_shutdown(struct vmshm_sock *s, int how);

/*
 * How many bytes: with @timeout_ms 0 what fits now, else all of @len unless the
 * time is up or the connection ends. EPIPE, ECONNRESET, EAGAIN, EINTR, ENOTCONN.
 */
ssize_t vmshm_send(struct vmshm_sock *s, const void *buf, size_t len, int timeout_ms);

/* At least one byte if @len is not 0; 0 at the end of the peer's stream. */
ssize_t vmshm_recv(struct vmshm_sock *s, void *buf, size_t len, int timeout_ms);

/*
 * The same without a copy: up to two pieces of the ring itself. The peer can
 * write into what is read here, at any time: copy before believing. Done with
 * some bytes of them, say so. Both return how many pieces there are; recv: 0 at
 * the end of the peer's stream.
 */
int vmshm_send_pieces(struct vmshm_sock *s, struct iovec piece[2]);
int vmshm_send_done(struct vmshm_sock *s, size_t bytes);
int vmshm_recv_pieces(struct vmshm_sock *s, struct iovec piece[2]);
int vmshm_recv_done(struct vmshm_sock *s, size_t bytes);

/*
 * What it is ready for: POLLIN, POLLOUT, POLLRDHUP, POLLHUP, POLLERR. What of
 * @want it is not ready for brings it out of vmshm_host_next() later.
 */
int vmshm_events(struct vmshm_sock *s, int want);

unsigned int vmshm_local_port(const struct vmshm_sock *s);
unsigned int vmshm_peer_port(const struct vmshm_sock *s);
unsigned int vmshm_peer_cid(const struct vmshm_sock *s);

/* Whatever the program wants to find with it; NULL at first. */
void vmshm_set_data(struct vmshm_sock *s, void *data);
void *vmshm_data(const struct vmshm_sock *s);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* VMSHM_HOST_H */
