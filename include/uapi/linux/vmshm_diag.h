/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What sock_diag(7) says of AF_VMSHM's sockets: SOCK_DIAG_BY_FAMILY on a
 * NETLINK_SOCK_DIAG socket, with the family's number.  The fixed parts of
 * request and answer have the layout of AF_VSOCK's (<linux/vm_sockets_diag.h>);
 * what only AF_VMSHM has follows in attributes.
 */
#ifndef _UAPI_LINUX_VMSHM_DIAG_H
#define _UAPI_LINUX_VMSHM_DIAG_H

#include <linux/types.h>

/**
 * struct vmshm_diag_req - which sockets, and what of them
 * @sdiag_family: AF_VMSHM
 * @sdiag_protocol: 0
 * @pad: 0
 * @vdiag_states: of a dump: the states that are wanted, as 1 << TCP_LISTEN, say
 * @vdiag_ino: not of a dump: the socket with this inode number
 * @vdiag_show: VMSHM_DIAG_SHOW_...; what the kernel does not know is not shown
 * @vdiag_cookie: not of a dump: the socket's cookie, or twice ~0
 *
 * With NLM_F_DUMP all sockets of the caller's network namespace are told; a
 * socket that lives while the dump runs is in it once.  Without, the one with
 * that inode number.  Errors: EINVAL (too short, protocol or pad not 0, no
 * inode number), ENOENT (no such socket), ESTALE (another cookie).
 */
struct vmshm_diag_req {
	__u8	sdiag_family;
	__u8	sdiag_protocol;
	__u16	pad;
	__u32	vdiag_states;
	__u32	vdiag_ino;
	__u32	vdiag_show;
	__u32	vdiag_cookie[2];
};

#define VMSHM_DIAG_SHOW_QUEUES	0x1
#define VMSHM_DIAG_SHOW_UID	0x2
#define VMSHM_DIAG_SHOW_INFO	0x4
#define VMSHM_DIAG_SHOW_BUFFER	0x8

/**
 * struct vmshm_diag_msg - one socket
 * @vdiag_family: AF_VMSHM
 * @vdiag_type: SOCK_STREAM, ...
 * @vdiag_state: TCP_CLOSE, TCP_SYN_SENT, TCP_LISTEN or TCP_ESTABLISHED
 * @vdiag_shutdown: what this side has shut down: 1 receiving, 2 sending
 * @vdiag_src_cid: local address, as getsockname(2) says it
 * @vdiag_src_port: likewise
 * @vdiag_dst_cid: the peer's; VMSHM_CID_ANY when there was none
 * @vdiag_dst_port: likewise
 * @vdiag_ino: inode number, as fstat(2) says it; 0: no descriptor yet
 * @vdiag_cookie: as SO_COOKIE says it, low half first
 */
struct vmshm_diag_msg {
	__u8	vdiag_family;
	__u8	vdiag_type;
	__u8	vdiag_state;
	__u8	vdiag_shutdown;
	__u32	vdiag_src_cid;
	__u32	vdiag_src_port;
	__u32	vdiag_dst_cid;
	__u32	vdiag_dst_port;
	__u32	vdiag_ino;
	__u32	vdiag_cookie[2];
};

/* Attributes. */
enum {
	VMSHM_DIAG_NONE,
	VMSHM_DIAG_STATE,	/* u8, VMSHM_STATE_...; always there */
	VMSHM_DIAG_QUEUES,	/* struct vmshm_diag_queues */
	VMSHM_DIAG_UID,		/* u32, whose socket, in the reader's user namespace */
	VMSHM_DIAG_INFO,	/* struct vmshm_info (<linux/vmshm.h>); it may grow */
	VMSHM_DIAG_BUFFER,	/* struct vmshm_diag_buffer */
	__VMSHM_DIAG_MAX
};

#define VMSHM_DIAG_MAX (__VMSHM_DIAG_MAX - 1)

/* A socket's state; the name without its prefix stands in /proc/net/vmshm. */
enum {
	VMSHM_STATE_UNCONNECTED,
	VMSHM_STATE_CONNECTING,
	VMSHM_STATE_LISTEN,
	VMSHM_STATE_CONNECTED,
	VMSHM_STATE_CLOSING,	/* one side has shut something down */
	VMSHM_STATE_RESET,	/* the connection broke */
	__VMSHM_STATE_MAX
};

/**
 * struct vmshm_diag_queues - what waits
 * @rx_queue: bytes that can be read; of a listener: connections to accept
 * @tx_queue: bytes that the peer has not read; of a listener: the backlog
 */
struct vmshm_diag_queues {
	__u64	rx_queue;
	__u64	tx_queue;
};

/**
 * struct vmshm_diag_buffer - the socket's options
 * @size: SO_VMSHM_BUFFER_SIZE, bytes
 * @min: SO_VMSHM_BUFFER_MIN_SIZE
 * @max: SO_VMSHM_BUFFER_MAX_SIZE
 * @connect_timeout_ms: SO_VMSHM_CONNECT_TIMEOUT, milliseconds
 * @busy_poll: SO_VMSHM_BUSY_POLL
 */
struct vmshm_diag_buffer {
	__u64	size;
	__u64	min;
	__u64	max;
	__u64	connect_timeout_ms;
	__s64	busy_poll;
};

#endif /* _UAPI_LINUX_VMSHM_DIAG_H */
