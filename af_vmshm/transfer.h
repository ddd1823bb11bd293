/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What streams (stream.c) and records (record.c) have in common around their
 * copies: why a socket can't send or has nothing to read, and who has to be
 * told though he does not ask.
 */
#ifndef _AF_VMSHM_TRANSFER_H
#define _AF_VMSHM_TRANSFER_H

#include <linux/uio.h>
#include <net/tcp_states.h>
#include "vmshm.h"

/* What a copy came to, when it moved no byte. */
#define COPY_FAULT	(-EFAULT)
#define COPY_LIE	(-EPROTO)

/* Fill the pieces of a ring; bytes done, up to the first page that is not there. */
static inline size_t copy_from_caller(const struct vmshm_span *span, int n, struct iov_iter *from)
{
	size_t done = 0;
	int i;

	pagefault_disable();
	for (i = 0; i < n; i++) {
		size_t got = _copy_from_iter(span[i].base, span[i].len, from);

		done += got;
		if (got < span[i].len)
			break;
	}
	pagefault_enable();
	return done;
}

/* Empty the pieces of a ring, likewise. */
static inline size_t copy_to_caller(const struct vmshm_span *span, int n, struct iov_iter *to)
{
	size_t done = 0;
	int i;

	pagefault_disable();
	for (i = 0; i < n; i++) {
		size_t put = _copy_to_iter(span[i].base, span[i].len, to);

		done += put;
		if (put < span[i].len)
			break;
	}
	pagefault_enable();
	return done;
}

/*
 * Connected; pairs with vmshm_end_open(): the end and its ring are seen whole.  Not
 * smp_load_acquire(), whose copy of a volatile word goes through the stack.
 */
static inline bool is_connected(const struct sock *sk)
{
	if (READ_ONCE(sk->sk_state) != TCP_ESTABLISHED)
		return false;
	smp_acquire__after_ctrl_dep();
	return true;
}

int vmshm_fault_in(struct iov_iter *iter, size_t len, bool writeable, long timeo);

/* Why can't this socket send?  0 when it can. */
static inline int tx_error(struct sock *sk, struct vmshm_end *end)
{
	if (READ_ONCE(end->attention))
		vmshm_end_attend(end);
	if (READ_ONCE(sk->sk_err))
		return -EPIPE;		/* sk_stream_error() says which */
	if (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN ||
	    READ_ONCE(end->peer_shutdown) & RCV_SHUTDOWN) {
		smp_rmb();		/* the error of a reset, too: sk_stream_error() */
		return -EPIPE;
	}
	return 0;
}

/*
 * Does somebody wait on this socket in a way that asks only once: epoll on
 * edges, or SIGIO?
 */
static inline bool is_watched(struct sock *sk)
{
	struct socket_wq *wq;
	bool watched;

	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	/* Who comes later looks for itself: poll() arms, and looks after that. */
	watched = wq && (waitqueue_active(&wq->wait) || wq->fasync_list);
	if (wq && wq->fasync_list)
		set_bit(SOCKWQ_ASYNC_NOSPACE, &wq->flags);	/* SIGIO for space, too */
	rcu_read_unlock();
	return watched;
}

/*
 * A call took all that it asked for, and so nothing has been armed.  Who waits for
 * SIGIO and reads one message for each signal is told of the next one.
 */
static inline void rx_signal(struct sock *sk, struct vmshm_end *end)
{
	if (unlikely(sock_flag(sk, SOCK_FASYNC)) &&
	    vmshm_end_arm_rx(end, min(vmshm_end_readable(end) + 1, vmshm_rx_wait_max(end))))
		sk->sk_data_ready(sk);
}

/* A send that is not an ordinary one on a connected socket: its errno, or 0. */
static inline int tx_unusual(struct socket *sock, struct msghdr *msg)
{
	struct sock *sk = sock->sk;

	if (msg->msg_flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (msg->msg_namelen)
		return sk->sk_state == TCP_ESTABLISHED ? -EISCONN : -EOPNOTSUPP;
	if (sk->sk_state != TCP_ESTABLISHED) {
		if (sk->sk_shutdown & SEND_SHUTDOWN)
			return -EPIPE;
		return -ENOTCONN;
	}
	return 0;
}

/*
 * Nothing to read.  Returns 0: wait; 1: end of file; or a negative errno.
 * *@again: bytes came in after the look that found none; they were taken over
 * under the lock, so a peer whose index flickers can't keep us looking.
 * @some: the call has bytes to return, so that an error is the next call's.
 */
static inline long rx_end(struct sock *sk, struct vmshm_end *end, size_t skip, bool some,
			  bool *again)
{
	bool open;
	u32 shut;
	int err;

	/* Flags before the index: after FIN, the index that is read is the last. */
	if (READ_ONCE(end->attention))
		vmshm_end_attend(end);
	shut = READ_ONCE(end->peer_shutdown);
	open = READ_ONCE(end->rx_open);
	smp_rmb();		/* another thread may have seen the flags for us; show_error() */
	*again = vmshm_end_take_rx(end) > skip;
	if (*again)
		return 0;
	/* A peek can't look beyond the end of a ring. */
	if (skip && vmshm_end_has_moved(end))
		return 1;
	if (READ_ONCE(sk->sk_err)) {
		if (some)
			return 1;
		err = sock_error(sk);
		if (err)
			return err;
	}
	if (shut & SEND_SHUTDOWN || !open)
		return 1;
	return 0;
}

#endif /* _AF_VMSHM_TRANSFER_H */
