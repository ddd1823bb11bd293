/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What applications see of AF_VMSHM: the family number, the address, the
 * socket options, the ioctl and the device node's name.
 *
 * Everything that AF_VSOCK has too carries AF_VSOCK's number, layout and
 * meaning (see vsock(7) and <linux/vm_sockets.h>), so that a program written
 * for AF_VSOCK becomes one for AF_VMSHM by changing the family.  Nothing of
 * the shared memory's inside is here: that is <vmshm/layout.h>.
 */
#ifndef _UAPI_LINUX_VMSHM_H
#define _UAPI_LINUX_VMSHM_H

#ifndef __KERNEL__
#include <sys/socket.h>		/* struct sockaddr, sa_family_t */
#endif
#include <linux/socket.h>
#include <linux/types.h>
#include <linux/ioctl.h>

/*
 * sock_register() takes no number above AF_MAX, so a family from outside the
 * kernel has to live in one that the kernel reserves and nobody registers any
 * more.  22 was AF_SNA.  The module parameter "family" changes it; programs
 * that must follow read /sys/module/af_vmshm/parameters/family.
 */
#ifndef AF_VMSHM
#define AF_VMSHM 22
#endif
#define PF_VMSHM AF_VMSHM

/* Context identifiers (CIDs): a VM's address. */
#define VMSHM_CID_ANY		0xffffffffU	/* bind: any; a datagram: this VM */
#define VMSHM_CID_HYPERVISOR	0U		/* reserved, ENODEV */
#define VMSHM_CID_LOCAL		1U		/* this VM itself */
#define VMSHM_CID_HOST		2U		/* a host process */
/* The largest CID of a VM: an ivshmem ID, which names it, has 16 bits. */
#define VMSHM_CID_MAX		65534U

#define VMSHM_PORT_ANY		0xffffffffU	/* bind: choose one */
/* Ports up to this one want CAP_NET_BIND_SERVICE. */
#define VMSHM_LAST_RESERVED_PORT 1023U

/**
 * struct sockaddr_vmshm - address of an AF_VMSHM socket
 * @svm_family:    AF_VMSHM
 * @svm_reserved1: ignored
 * @svm_port:      port, host byte order
 * @svm_cid:       context identifier, host byte order
 * @svm_flags:     must be 0 (AF_VSOCK's VMADDR_FLAG_TO_HOST means nothing here)
 * @svm_zero:      ignored
 *
 * Byte for byte a struct sockaddr_vm.
 */
struct sockaddr_vmshm {
	__kernel_sa_family_t svm_family;
	unsigned short svm_reserved1;
	unsigned int svm_port;
	unsigned int svm_cid;
	__u8 svm_flags;
	unsigned char svm_zero[sizeof(struct sockaddr) -
			       sizeof(sa_family_t) -
			       sizeof(unsigned short) -
			       sizeof(unsigned int) -
			       sizeof(unsigned int) -
			       sizeof(__u8)];
};

/*
 * Socket options at level AF_VMSHM, and at level AF_VSOCK (40) for the sake of
 * programs that name it.
 */
#define SO_VMSHM_BUFFER_SIZE		0	/* u64, bytes of the receive ring */
#define SO_VMSHM_BUFFER_MIN_SIZE	1	/* u64 */
#define SO_VMSHM_BUFFER_MAX_SIZE	2	/* u64 */
#define SO_VMSHM_PEER_HOST_VM_ID	3	/* ENOPROTOOPT: VMCI's alone */
#define SO_VMSHM_TRUSTED		5	/* ENOPROTOOPT: VMCI's alone */
#define SO_VMSHM_CONNECT_TIMEOUT_OLD	6	/* struct timeval */
#define SO_VMSHM_NONBLOCK_TXRX		7	/* ENOPROTOOPT: VMCI's alone */
#define SO_VMSHM_CONNECT_TIMEOUT_NEW	8	/* struct __kernel_sock_timeval */

/* The one of the two that takes this program's struct timeval. */
#ifndef __KERNEL__
#if __BITS_PER_LONG == 64 || (defined(__x86_64__) && defined(__ILP32__))
#define SO_VMSHM_CONNECT_TIMEOUT	SO_VMSHM_CONNECT_TIMEOUT_OLD
#else
#define SO_VMSHM_CONNECT_TIMEOUT \
	(sizeof(time_t) == sizeof(__kernel_long_t) ? \
	 SO_VMSHM_CONNECT_TIMEOUT_OLD : SO_VMSHM_CONNECT_TIMEOUT_NEW)
#endif
#endif

/*
 * Options that AF_VSOCK does not have.
 *
 * SO_VMSHM_BUSY_POLL: int.  How long a call that would sleep looks at the ring
 * first: VMSHM_BUSY_POLL_ADAPTIVE (the module's default), 0 for never, or a
 * fixed number of microseconds up to VMSHM_BUSY_POLL_MAX_US.  EINVAL outside.
 */
#define SO_VMSHM_BUSY_POLL		0x5601
#define VMSHM_BUSY_POLL_ADAPTIVE	(-1)
#define VMSHM_BUSY_POLL_MAX_US		1000

/* SO_VMSHM_INFO: struct vmshm_info, read only. */
#define SO_VMSHM_INFO			0x5602

/**
 * struct vmshm_info - what a socket has done (SO_VMSHM_INFO, /proc/net/vmshm)
 * @tx_bytes: bytes that send calls took
 * @rx_bytes: bytes that receive calls gave
 * @tx_msgs: send calls that took anything
 * @rx_msgs: receive calls that gave anything
 * @doorbells_sent: doorbells that this socket's calls rang
 * @doorbells_suppressed: publications that needed no doorbell
 * @wakeups: doorbells that woke this socket
 * @poll_hits: waits that busy-poll ended
 * @poll_misses: waits that went to sleep after busy-poll
 * @sleeps: waits that slept
 * @ring_full: waits for space in the peer's ring
 * @rx_ring: bytes of the receive ring's data area
 * @tx_ring: bytes of the peer's receive ring's data area
 */
struct vmshm_info {
	__u64 tx_bytes;
	__u64 rx_bytes;
	__u64 tx_msgs;
	__u64 rx_msgs;
	__u64 doorbells_sent;
	__u64 doorbells_suppressed;
	__u64 wakeups;
	__u64 poll_hits;
	__u64 poll_misses;
	__u64 sleeps;
	__u64 ring_full;
	__u64 rx_ring;
	__u64 tx_ring;
};

/*
 * MSG_ZEROCOPY's notifications (the kernel's msg_zerocopy document), as a
 * struct sock_extended_err in a control message of this level and type.
 */
#define SOL_VMSHM			287	/* AF_VSOCK's */
#define VMSHM_RECVERR			1

/* On /dev/vmshm and on a socket: unsigned int *, the CID of this VM. */
#define IOCTL_VMSHM_GET_LOCAL_CID	_IO(7, 0xb9)

#endif /* _UAPI_LINUX_VMSHM_H */
