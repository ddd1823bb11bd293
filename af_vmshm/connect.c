// SPDX-License-Identifier: GPL-2.0-only
/*
 * connect(): choosing the channel, waiting for the peer's kernel, giving up.
 * The messages are ctl.c's, the end's states end.c's.
 *
 * The worker that takes the peer's answer holds no socket lock: it moves
 * sk_state from TCP_SYN_SENT to TCP_ESTABLISHED or TCP_CLOSE, and this file
 * brings socket->state up to date when a call comes by.
 */
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include "vmshm.h"
#include "trace.h"

/* The channel to a CID, with a reference; ERR_PTR(-ENODEV) at once if none. */
struct vmshm_chan *vmshm_chan_to(u32 cid)
{
	struct vmshm_chan *ch;

	if (cid == VMSHM_CID_LOCAL || (cid == vmshm_local_cid() && cid != VMSHM_CID_ANY))
		return vmshm_loopback_chan();
	if (cid < VMSHM_CID_HOST || cid > VMSHM_CID_MAX)
		return ERR_PTR(-ENODEV);
	ch = vmshm_chan_find(cid);
	if (!ch)
		return ERR_PTR(-ENODEV);
	if (READ_ONCE(ch->state) == VMSHM_CHAN_ABSENT) {
		vmshm_chan_put(ch);
		return ERR_PTR(-ENODEV);
	}
	/* The wish may have ended without a doorbell that was heard. */
	if (READ_ONCE(ch->draining))
		vmshm_chan_try_run(ch);
	if (READ_ONCE(ch->draining)) {
		vmshm_chan_put(ch);
		return ERR_PTR(-ESHUTDOWN);
	}
	return ch;
}

/* Begin.  0 or a negative errno; under lock_sock(). */
static int start(struct socket *sock, const struct sockaddr_vmshm *to)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	struct vmshm_end *end, *old;
	struct vmshm_chan *ch;
	int err;

	vs->remote = *to;
	ch = vmshm_chan_to(to->svm_cid);
	if (IS_ERR(ch))
		return PTR_ERR(ch);
	err = vmshm_autobind(vs);
	if (err)
		goto put_chan;
	end = vmshm_end_alloc(ch, GFP_KERNEL);
	if (!end) {
		err = -ENOMEM;
		goto put_chan;
	}
	end->local_port = vs->local.svm_port;
	end->peer_port = to->svm_port;
	end->sock_type = sk->sk_type;
	end->to_own_cid = to->svm_cid != VMSHM_CID_LOCAL;
	vmshm_end_size(end, vs);
	rcu_assign_pointer(end->sk, sk);

	spin_lock(&vmshm_table_lock);
	old = vs->end;
	vs->end = end;
	spin_unlock(&vmshm_table_lock);
	if (old)
		vmshm_end_put(old);
	/* The timer of an earlier attempt is not for this one. */
	if (cancel_delayed_work(&vs->connect_work))
		sock_put(sk);
	sk->sk_err = 0;
	sock->state = SS_CONNECTING;
	/* The end is whole before anybody sees the state. */
	smp_store_release(&sk->sk_state, TCP_SYN_SENT);
	vmshm_connect_start(end);
put_chan:
	vmshm_chan_put(ch);
	return err;
}

/*
 * Nobody waits any more.  @err: what SO_ERROR is to say, or 0.  True when the
 * connection was open by then.
 */
static bool give_up(struct sock *sk, int err)
{
	if (!vmshm_end_cancel(vmshm_sk(sk)->end))
		return true;
	if (err)
		WRITE_ONCE(sk->sk_err, err);
	/* Who sees the state sees the error. */
	smp_store_release(&sk->sk_state, TCP_CLOSE);
	if (err)
		sk_error_report(sk);
	sk->sk_state_change(sk);	/* other threads in connect() */
	return false;
}

/* It is connected, and this call is the first one to notice.  Under lock_sock(). */
static void established(struct socket *sock)
{
	struct vmshm_sock *vs = vmshm_sk(sock->sk);

	sock->state = SS_CONNECTED;
	vmshm_end_resize(vs->end, vs);
}

/* The time of a non-blocking connect is up. */
void vmshm_connect_timeout(struct work_struct *work)
{
	struct vmshm_sock *vs = container_of(work, struct vmshm_sock, connect_work.work);
	struct sock *sk = &vs->sk;

	lock_sock(sk);
	if (sk->sk_state == TCP_SYN_SENT && vs->end == vs->timed_end)
		give_up(sk, ETIMEDOUT);
	/* What was set meanwhile, if no call has come by. */
	if (sk->sk_state == TCP_ESTABLISHED && vs->end == vs->timed_end)
		vmshm_end_resize(vs->end, vs);
	release_sock(sk);
	sock_put(sk);
}

/*
 * The peer's kernel answers within microseconds if it is awake: take the
 * answer ourselves rather than wait for an interrupt and two wake-ups.
 */
static void look_for_answer(struct sock *sk, struct vmshm_chan *ch)
{
	u64 until = local_clock() + READ_ONCE(vmshm_busy_poll_max_us) * NSEC_PER_USEC;
	int mode = READ_ONCE(vmshm_sk(sk)->busy_poll);

	if (!mode)
		return;
	if (mode > 0)
		until = local_clock() + mode * NSEC_PER_USEC;
	do {
		if (vmshm_chan_has_ctl(ch))
			vmshm_chan_try_run(ch);
		if (READ_ONCE(sk->sk_state) != TCP_SYN_SENT)
			return;
		cpu_relax();
	} while (!need_resched() && !signal_pending(current) && local_clock() < until);
}

/* Wait for the outcome.  Under lock_sock(), which is dropped meanwhile. */
static int await(struct socket *sock, long timeo)
{
	struct sock *sk = sock->sk;
	struct vmshm_chan *ch = vmshm_sk(sk)->end->chan;
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	int err = 0;

	/* Another thread may put a new end in this one's place. */
	kref_get(&ch->ref);
	release_sock(sk);
	look_for_answer(sk, ch);
	vmshm_chan_put(ch);
	add_wait_queue(sk_sleep(sk), &wait);
	while (READ_ONCE(sk->sk_state) == TCP_SYN_SENT && timeo && !signal_pending(current))
		timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, timeo);
	remove_wait_queue(sk_sleep(sk), &wait);
	lock_sock(sk);

	if (sk->sk_state == TCP_SYN_SENT) {
		err = timeo ? sock_intr_errno(timeo) : -ETIMEDOUT;
		if (give_up(sk, 0))
			err = 0;
		else
			sock->state = SS_UNCONNECTED;
	}
	return err;
}

int vmshm_connect(struct socket *sock, struct vmshm_sockaddr *addr, int len, int flags)
{
	struct sockaddr_vmshm *to = (struct sockaddr_vmshm *)addr;
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	int err;

	lock_sock(sk);
	if (sock->state == SS_CONNECTING && sk->sk_state == TCP_ESTABLISHED)
		established(sock);
	if (sock->state == SS_CONNECTING && sk->sk_state == TCP_CLOSE) {
		/* An attempt that failed meanwhile: its error, if nobody took it. */
		sock->state = SS_UNCONNECTED;
		err = sock_error(sk);
		if (err)
			goto out;
	}
	switch (sock->state) {
	case SS_CONNECTED:
		err = -EISCONN;
		goto out;
	case SS_DISCONNECTING:
		err = -EINVAL;
		goto out;
	case SS_CONNECTING:
		err = -EALREADY;
		if (flags & O_NONBLOCK)
			goto out;
		break;
	default:
		err = -EINVAL;
		if (sk->sk_state == TCP_LISTEN || vmshm_addr_check(addr, len))
			goto out;
		err = start(sock, to);
		if (err)
			goto out;
	}

	if (sk->sk_state == TCP_SYN_SENT && flags & O_NONBLOCK) {
		sock_hold(sk);
		vs->timed_end = vs->end;
		if (mod_delayed_work(system_wq, &vs->connect_work, vs->connect_timeout))
			sock_put(sk);
		err = -EINPROGRESS;
		goto out;
	}
	err = await(sock, vs->connect_timeout);
	if (err)
		goto out;
	if (sk->sk_state == TCP_ESTABLISHED) {
		established(sock);
	} else {
		sock->state = SS_UNCONNECTED;
		err = sock_error(sk) ?: -ECONNRESET;
	}
out:
	trace_vmshm_connect(vs->remote.svm_cid, vs->local.svm_port, vs->remote.svm_port, err);
	release_sock(sk);
	return err;
}
