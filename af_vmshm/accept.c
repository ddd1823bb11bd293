// SPDX-License-Identifier: GPL-2.0-only
/*
 * listen() and accept().  What waits in a listener's queue is an end, already
 * connected and receiving; the socket around it is made when somebody accepts.
 */
#include <linux/sched/signal.h>
#include "vmshm.h"
#include "trace.h"

int vmshm_listen(struct socket *sock, int backlog)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	int err = -EINVAL;

	lock_sock(sk);
	if (sock->state == SS_UNCONNECTED && vs->local.svm_port != VMSHM_PORT_ANY) {
		WRITE_ONCE(sk->sk_max_ack_backlog, backlog);
		spin_lock(&vs->aq_lock);
		vs->listening = true;
		spin_unlock(&vs->aq_lock);
		WRITE_ONCE(sk->sk_state, TCP_LISTEN);
		err = 0;
	}
	release_sock(sk);
	return err;
}

/**
 * vmshm_accept_queue - an end for a listener; it takes a reference
 * @listener: the socket
 * @end: open
 *
 * Returns 0, or -ECONNREFUSED when the listener is full or closed.
 */
int vmshm_accept_queue(struct vmshm_sock *listener, struct vmshm_end *end)
{
	struct sock *sk = &listener->sk;
	int err = -ECONNREFUSED;

	spin_lock(&listener->aq_lock);
	if (listener->listening && !sk_acceptq_is_full(sk)) {
		sk_acceptq_added(sk);
		refcount_inc(&end->ref);
		list_add_tail(&end->node, &listener->accept_queue);
		err = 0;
	}
	spin_unlock(&listener->aq_lock);
	if (!err)
		sk->sk_data_ready(sk);
	return err;
}

static struct vmshm_end *dequeue(struct vmshm_sock *vs)
{
	struct vmshm_end *end;

	spin_lock(&vs->aq_lock);
	end = list_first_entry_or_null(&vs->accept_queue, struct vmshm_end, node);
	if (end) {
		list_del_init(&end->node);
		sk_acceptq_removed(&vs->sk);
	}
	spin_unlock(&vs->aq_lock);
	return end;
}

/* The listener closes: nobody will accept these. */
void vmshm_accept_flush(struct vmshm_sock *listener)
{
	struct vmshm_end *end;

	spin_lock(&listener->aq_lock);
	listener->listening = false;
	spin_unlock(&listener->aq_lock);
	while ((end = dequeue(listener))) {
		vmshm_end_release(end, true);
		vmshm_end_put(end);
	}
}

/* A socket around an end, which it takes over. */
static int adopt(struct sock *listener, struct socket *newsock, struct vmshm_end *end, int kern)
{
	struct sock *sk = vmshm_sock_alloc(sock_net(listener), NULL, listener,
					   listener->sk_type, kern);
	struct vmshm_sock *vs;

	if (!sk)
		return -ENOMEM;
	vs = vmshm_sk(sk);
	vmshm_addr_set(&vs->local, end->local_cid, end->local_port);
	vmshm_addr_set(&vs->remote, vmshm_peer_cid(end), end->peer_port);
	spin_lock(&vmshm_table_lock);
	vs->end = end;
	spin_unlock(&vmshm_table_lock);
	sock_graft(sk, newsock);
	vmshm_offer_zerocopy(newsock);
	newsock->state = SS_CONNECTED;
	sk->sk_state = TCP_ESTABLISHED;

	/* From here on the interrupt finds the socket; what rang before counts. */
	spin_lock(&end->lock);
	rcu_assign_pointer(end->sk, sk);
	if (end->err)
		sk->sk_err = end->err;
	spin_unlock(&end->lock);
	WRITE_ONCE(end->attention, 1);
	/* The listener's size is that of now, the ring that of when the peer came. */
	vmshm_end_resize(end, vs);
	return 0;
}

VMSHM_ACCEPT_PROTO(vmshm_accept)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	struct vmshm_end *end;
	long timeo;
	int err = -EINVAL;

	lock_sock(sk);
	if (sk->sk_state != TCP_LISTEN)
		goto out;
	timeo = sock_rcvtimeo(sk, VMSHM_ACCEPT_FLAGS & O_NONBLOCK);
	err = 0;
	add_wait_queue(sk_sleep(sk), &wait);
	while (!(end = dequeue(vs))) {
		if (!timeo)
			err = -EAGAIN;
		else if (signal_pending(current))
			err = sock_intr_errno(timeo);
		if (err)
			break;
		release_sock(sk);
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
		lock_sock(sk);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	if (err)
		goto out;
	err = adopt(sk, newsock, end, VMSHM_ACCEPT_KERN);
	if (err) {
		vmshm_end_release(end, true);
		vmshm_end_put(end);
		goto out;
	}
	trace_vmshm_accept(vmshm_peer_cid(end), end->local_port, end->peer_port, 0);
out:
	release_sock(sk);
	return err;
}
