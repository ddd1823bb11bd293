// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sockets: made, named, shut down, closed, and the table of calls that the
 * kernel makes.  Each call with a story of its own is in a file of its name.
 */
#include <linux/sched/signal.h>
#include "vmshm.h"

#define CONNECT_TIMEOUT		(2 * HZ)	/* AF_VSOCK's */
/*
 * Larger than AF_VSOCK's 256 KiB: with that, sender and reader of a bulk stream
 * stop for each other so often that much of the throughput is lost
 * (bench/ring-sizes shows it).
 */
#define BUFFER_SIZE		(1024 * 1024)
#define BUFFER_MIN		128		/* AF_VSOCK's */
/* By default the same, as in AF_VSOCK. */
#define BUFFER_MAX		BUFFER_SIZE
/* Of records: AF_VSOCK's.  A ring that can hold the longest one is twice as large. */
#define RECORD_BUFFER_SIZE	(256 * 1024)

struct proto vmshm_proto = {
	.name = "VMSHM",
	.owner = THIS_MODULE,
	.obj_size = sizeof(struct vmshm_sock),
};

/* The peer read: somebody who waits for space may go on.  Hard interrupt. */
static void write_space(struct sock *sk)
{
	struct socket_wq *wq;

	rcu_read_lock();
	wq = rcu_dereference(sk->sk_wq);
	if (skwq_has_sleeper(wq))
		wake_up_interruptible_poll(&wq->wait, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	sk_wake_async(sk, SOCK_WAKE_SPACE, POLL_OUT);
	rcu_read_unlock();
}

/* What was left when the last reference goes; nobody can call any more. */
static void destruct(struct sock *sk)
{
	struct vmshm_sock *vs = vmshm_sk(sk);

	if (vs->end)
		vmshm_end_put(vs->end);
	skb_queue_purge(&sk->sk_error_queue);
}

/**
 * vmshm_sock_alloc - a new socket
 * @net: namespace it belongs to
 * @sock: what it is for, or NULL
 * @parent: the listener whose settings it inherits, or NULL
 * @type: SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM
 * @kern: made by the kernel for itself
 *
 * May sleep.  Returns NULL when there is no memory.
 */
struct sock *vmshm_sock_alloc(struct net *net, struct socket *sock, struct sock *parent,
			      int type, int kern)
{
	struct vmshm_sock *vs;
	struct sock *sk = sk_alloc(net, vmshm_family, GFP_KERNEL, &vmshm_proto, kern);

	if (!sk)
		return NULL;
	sock_init_data(sock, sk);
	sk->sk_type = type;
	sk->sk_destruct = destruct;
	sk->sk_write_space = write_space;
	/* The interrupt finds sockets under RCU. */
	sock_set_flag(sk, SOCK_RCU_FREE);

	vs = vmshm_sk(sk);
	vmshm_addr_set(&vs->local, VMSHM_CID_ANY, VMSHM_PORT_ANY);
	vmshm_addr_set(&vs->remote, VMSHM_CID_ANY, VMSHM_PORT_ANY);
	vs->end = NULL;
	vs->timed_end = NULL;
	vs->rd_shut = false;
	vs->listening = type == SOCK_DGRAM;
	vs->fixed = false;
	vs->told_again = false;
	INIT_LIST_HEAD(&vs->watches);
	vs->nr_watches = 0;
	memset(&vs->dgrams, 0, sizeof(vs->dgrams));
	INIT_HLIST_NODE(&vs->bound_node);
	INIT_LIST_HEAD(&vs->accept_queue);
	INIT_DELAYED_WORK(&vs->connect_work, vmshm_connect_timeout);
	spin_lock_init(&vs->aq_lock);
	if (parent) {
		struct vmshm_sock *p = vmshm_sk(parent);

		vs->buffer_size = p->buffer_size;
		vs->buffer_chosen = p->buffer_chosen;
		vs->buffer_min = p->buffer_min;
		vs->buffer_max = p->buffer_max;
		vs->connect_timeout = p->connect_timeout;
		vs->busy_poll = p->busy_poll;
		security_sk_clone(parent, sk);
	} else {
		vs->buffer_size = type == SOCK_STREAM ? BUFFER_SIZE : RECORD_BUFFER_SIZE;
		vs->buffer_chosen = false;
		vs->buffer_min = BUFFER_MIN;
		vs->buffer_max = type == SOCK_STREAM ? BUFFER_MAX : RECORD_BUFFER_SIZE;
		vs->connect_timeout = CONNECT_TIMEOUT;
		vs->busy_poll = READ_ONCE(vmshm_busy_poll_default);
	}
	vmshm_view_add(vs);
	return sk;
}

static int create(struct net *net, struct socket *sock, int protocol, int kern)
{
	/* AF_VSOCK accepts its own family's number as a protocol. */
	if (protocol && protocol != vmshm_family)
		return -EPROTONOSUPPORT;
	switch (sock->type) {
	case SOCK_STREAM:
		sock->ops = &vmshm_stream_ops;
		break;
	case SOCK_SEQPACKET:
		sock->ops = &vmshm_seqpacket_ops;
		break;
	case SOCK_DGRAM:
		sock->ops = &vmshm_dgram_ops;
		break;
	default:
		return -ESOCKTNOSUPPORT;
	}
	if (sock->type != SOCK_DGRAM)
		vmshm_offer_zerocopy(sock);
	sock->state = SS_UNCONNECTED;
	if (!vmshm_sock_alloc(net, sock, NULL, sock->type, kern))
		return -ENOMEM;
	return 0;
}

/* SO_LINGER: until the peer has read all, or is done, or the time is up. */
static void linger(struct sock *sk, struct vmshm_end *end)
{
	long timeo = sk->sk_lingertime;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);

	vmshm_end_shutdown(end, SEND_SHUTDOWN);
	add_wait_queue(sk_sleep(sk), &wait);
	while (timeo && !signal_pending(current)) {
		u64 unread = vmshm_end_unread(end);

		if (!unread || READ_ONCE(end->reset) ||
		    (vmshm_end_arm_tx(end, end->prod.size) && !vmshm_end_unread(end)))
			break;
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
}

static int release(struct socket *sock)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs;
	struct vmshm_end *end;

	if (!sk)
		return 0;
	vs = vmshm_sk(sk);

	if (cancel_delayed_work_sync(&vs->connect_work))
		sock_put(sk);
	lock_sock(sk);
	vmshm_unbind(vs);
	if (vs->listening)
		vmshm_accept_flush(vs);
	vmshm_lane_unwatch_all(vs);
	end = vs->end;
	if (end && !vmshm_end_cancel(end)) {
		if (sock_flag(sk, SOCK_LINGER) && sk->sk_lingertime &&
		    !(current->flags & PF_EXITING))
			linger(sk, end);
		vmshm_end_release(end, false);
	}
	spin_lock(&vmshm_table_lock);
	vmshm_view_del(vs);
	vs->end = NULL;			/* view.c looks under this lock */
	spin_unlock(&vmshm_table_lock);
	sk->sk_state = TCP_CLOSE;
	sk->sk_shutdown = SHUTDOWN_MASK;
	sock_orphan(sk);
	sock->sk = NULL;
	release_sock(sk);
	if (end)
		vmshm_end_put(end);
	sock_put(sk);
	return 0;
}

static int sock_getname(struct socket *sock, struct sockaddr *addr, int peer)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	int err = sizeof(struct sockaddr_vmshm);

	lock_sock(sk);
	if (!peer)
		memcpy(addr, &vs->local, sizeof(vs->local));
	else if (vs->fixed ||
		 (sk->sk_state == TCP_ESTABLISHED && sock->state != SS_DISCONNECTING))
		memcpy(addr, &vs->remote, sizeof(vs->remote));
	else
		err = -ENOTCONN;
	release_sock(sk);
	return err;
}

static int do_shutdown(struct socket *sock, int how)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	int err = 0;

	/* SHUT_RD, SHUT_WR, SHUT_RDWR to RCV_SHUTDOWN, SEND_SHUTDOWN, both. */
	how++;
	if (how & ~SHUTDOWN_MASK || !how)
		return -EINVAL;
	lock_sock(sk);
	if (sk->sk_state != TCP_ESTABLISHED) {
		err = -ENOTCONN;
		goto out;
	}
	sock->state = SS_DISCONNECTING;
	WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | how);
	if (how & RCV_SHUTDOWN)
		WRITE_ONCE(vs->rd_shut, true);
	vmshm_end_shutdown(vs->end, how);
	sk->sk_state_change(sk);
out:
	release_sock(sk);
	return err;
}

const struct proto_ops vmshm_stream_ops = {
	.family = AF_VMSHM,
	.owner = THIS_MODULE,
	.release = release,
	.bind = vmshm_bind,
	.connect = vmshm_connect,
	.socketpair = sock_no_socketpair,
	.accept = vmshm_accept,
	.getname = sock_getname,
	.poll = vmshm_poll,
	.ioctl = vmshm_ioctl,
	.listen = vmshm_listen,
	.shutdown = do_shutdown,
	.setsockopt = vmshm_setsockopt,
	.getsockopt = vmshm_getsockopt,
	.sendmsg = vmshm_stream_sendmsg,
	.recvmsg = vmshm_stream_recvmsg,
	.mmap = sock_no_mmap,
	.set_rcvlowat = vmshm_set_rcvlowat,
};

const struct proto_ops vmshm_seqpacket_ops = {
	.family = AF_VMSHM,
	.owner = THIS_MODULE,
	.release = release,
	.bind = vmshm_bind,
	.connect = vmshm_connect,
	.socketpair = sock_no_socketpair,
	.accept = vmshm_accept,
	.getname = sock_getname,
	.poll = vmshm_poll,
	.ioctl = vmshm_ioctl,
	.listen = vmshm_listen,
	.shutdown = do_shutdown,
	.setsockopt = vmshm_setsockopt,
	.getsockopt = vmshm_getsockopt,
	.sendmsg = vmshm_seqpacket_sendmsg,
	.recvmsg = vmshm_seqpacket_recvmsg,
	.mmap = sock_no_mmap,
	.set_rcvlowat = vmshm_set_rcvlowat,
};

const struct proto_ops vmshm_dgram_ops = {
	.family = AF_VMSHM,
	.owner = THIS_MODULE,
	.release = release,
	.bind = vmshm_bind,
	.connect = vmshm_dgram_connect,
	.socketpair = sock_no_socketpair,
	.accept = sock_no_accept,
	.getname = sock_getname,
	.poll = vmshm_dgram_poll,
	.ioctl = vmshm_ioctl,
	.listen = sock_no_listen,
	.shutdown = vmshm_dgram_shutdown,
	.setsockopt = vmshm_setsockopt,
	.getsockopt = vmshm_getsockopt,
	.sendmsg = vmshm_dgram_sendmsg,
	.recvmsg = vmshm_dgram_recvmsg,
	.mmap = sock_no_mmap,
	.set_rcvlowat = vmshm_set_rcvlowat,
};

static struct net_proto_family vmshm_family_ops = {
	.create = create,
	.owner = THIS_MODULE,
};

int vmshm_sock_register(void)
{
	int err = proto_register(&vmshm_proto, 1);

	if (err)
		return err;
	vmshm_family_ops.family = vmshm_family;
	err = sock_register(&vmshm_family_ops);
	if (err) {
		pr_err("address family %d is taken; choose another one: modprobe af_vmshm family=N\n",
		       vmshm_family);
		proto_unregister(&vmshm_proto);
	}
	return err;
}

void vmshm_sock_unregister(void)
{
	sock_unregister(vmshm_family);
	proto_unregister(&vmshm_proto);
}
