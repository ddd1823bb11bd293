// SPDX-License-Identifier: GPL-2.0-only
/*
 * poll(), select(), epoll: what a socket is ready for.  Asking arms the
 * doorbell for what it is not ready for.
 */
#include <linux/poll.h>
#include "vmshm.h"

#define IN	(EPOLLIN | EPOLLRDNORM)
#define OUT	(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)

static bool can_read(struct sock *sk, struct vmshm_end *end, __poll_t asked)
{
	u64 lowat = clamp_t(u64, READ_ONCE(sk->sk_rcvlowat), 1, vmshm_rx_wait_max(end));
	u64 there = vmshm_end_readable(end);

	/* A record, whatever its length; or all that will come in this ring. */
	if (sk->sk_type != SOCK_STREAM || vmshm_end_has_moved(end))
		lowat = 1;
	if (there >= lowat) {
		/* Edge-triggered: whatever comes next is news, see epoll(7). */
		if (asked & EPOLLET && asked & IN)
			vmshm_end_arm_rx(end, there + 1);
		return true;
	}
	return asked & IN && vmshm_end_arm_rx(end, lowat) && vmshm_end_readable(end) >= lowat;
}

static bool can_write(struct vmshm_end *end, bool arm)
{
	if (vmshm_end_writable(end) >= end->tx_mark)
		return true;
	return arm && vmshm_end_arm_tx(end, end->tx_mark) &&
	       vmshm_end_writable(end) >= end->tx_mark;
}

static __poll_t connected(struct sock *sk, poll_table *wait)
{
	struct vmshm_end *end = vmshm_sk(sk)->end;
	__poll_t asked = poll_requested_events(wait);
	u32 shut = READ_ONCE(sk->sk_shutdown);
	bool readable, writable;
	__poll_t mask = 0;
	u32 peer;

	readable = can_read(sk, end, asked);
	writable = !(shut & SEND_SHUTDOWN) && can_write(end, asked & OUT);
	/* After arming: who set a flag before that did not find us waiting. */
	WRITE_ONCE(end->attention, 1);
	vmshm_end_attend(end);
	peer = READ_ONCE(end->peer_shutdown);

	if (readable || shut & RCV_SHUTDOWN || peer & SEND_SHUTDOWN)
		mask |= IN;
	/* A send that would fail at once does not block. */
	if (writable || (!(shut & SEND_SHUTDOWN) && peer & RCV_SHUTDOWN))
		mask |= OUT;
	if (shut & RCV_SHUTDOWN || peer & SEND_SHUTDOWN)
		mask |= EPOLLRDHUP;
	if (shut == SHUTDOWN_MASK || READ_ONCE(end->reset) ||
	    (shut & SEND_SHUTDOWN && peer & SEND_SHUTDOWN))
		mask |= EPOLLHUP;
	return mask;
}

__poll_t vmshm_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	__poll_t mask = 0;

	sock_poll_wait(file, sock, wait);
	/* Pairs with vmshm_end_open(). */
	switch (smp_load_acquire(&sk->sk_state)) {
	case TCP_LISTEN:
		if (!list_empty_careful(&vs->accept_queue))
			mask |= IN;
		break;
	case TCP_ESTABLISHED:
		mask |= connected(sk, wait);
		break;
	case TCP_CLOSE:
		/* As AF_VSOCK: a send would fail at once. */
		if (!(sk->sk_shutdown & SEND_SHUTDOWN))
			mask |= EPOLLOUT | EPOLLWRNORM;
		break;
	}
	if (READ_ONCE(sk->sk_err) || !skb_queue_empty_lockless(&sk->sk_error_queue))
		mask |= EPOLLERR;
	return mask;
}
