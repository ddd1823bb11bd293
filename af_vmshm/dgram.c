// SPDX-License-Identifier: GPL-2.0-only
/*
 * SOCK_DGRAM: the calls.  A datagram goes through the lane of this VM to its
 * destination (lane.c) and waits there, in a ring in the receiver's half, until
 * somebody takes it.  A socket that is bound has one such ring for each VM that
 * has sent to it, in its accept_queue, and takes from them in turn.
 *
 * A datagram is never lost between sockets that live, but for one: a connected
 * socket takes those of its peer alone.
 */
#include <linux/poll.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include "busy_poll.h"
#include "trace.h"
#include "transfer.h"

#define LOOKS_MOST	16	/* of a call that may not wait */
#define SENDERS_OF_SOCK	512	/* rings of one socket, those that are over and unread too */

/* ---- the peer that connect() fixed ---- */

static bool fixed_peer(struct vmshm_sock *vs, u32 *cid, u32 *port)
{
	bool fixed;

	if (!READ_ONCE(vs->fixed))
		return false;
	spin_lock(&vs->aq_lock);
	fixed = vs->fixed;
	*cid = vs->remote.svm_cid;
	*port = vs->remote.svm_port;
	spin_unlock(&vs->aq_lock);
	return fixed;
}

static void fix_peer(struct vmshm_sock *vs, bool fixed, u32 cid, u32 port)
{
	spin_lock(&vs->aq_lock);
	WRITE_ONCE(vs->fixed, fixed);
	vmshm_addr_set(&vs->remote, cid, port);
	spin_unlock(&vs->aq_lock);
}

/* Is what comes from @cid from the peer's VM? */
static bool same_vm(u32 cid, u32 peer)
{
	return cid == peer || (cid == VMSHM_CID_LOCAL && peer == vmshm_local_cid());
}

int vmshm_dgram_connect(struct socket *sock, struct vmshm_sockaddr *addr, int len, int flags)
{
	const struct sockaddr_vmshm *to = (struct sockaddr_vmshm *)addr;
	struct vmshm_sock *vs = vmshm_sk(sock->sk);
	u32 cid = to->svm_cid;
	struct vmshm_chan *ch;
	int err;

	if (len >= (int)sizeof(to->svm_family) && to->svm_family == AF_UNSPEC) {
		lock_sock(sock->sk);
		fix_peer(vs, false, VMSHM_CID_ANY, VMSHM_PORT_ANY);
		sock->state = SS_UNCONNECTED;
		release_sock(sock->sk);
		return 0;
	}
	if (vmshm_addr_check(addr, len) || to->svm_port == VMSHM_PORT_ANY)
		return -EINVAL;
	if (cid == VMSHM_CID_ANY)
		cid = VMSHM_CID_LOCAL;	/* as AF_VSOCK: this VM */
	ch = vmshm_chan_to(cid);
	if (IS_ERR(ch))
		return PTR_ERR(ch);
	vmshm_chan_put(ch);
	lock_sock(sock->sk);
	err = vmshm_autobind(vs);
	if (!err) {
		fix_peer(vs, true, cid, to->svm_port);
		sock->state = SS_CONNECTED;
	}
	release_sock(sock->sk);
	return err;
}

/* As AF_VSOCK: without a peer it is done, and says ENOTCONN. */
int vmshm_dgram_shutdown(struct socket *sock, int how)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	struct vmshm_end *end;
	int err = 0;

	/* SHUT_RD, SHUT_WR, SHUT_RDWR to RCV_SHUTDOWN, SEND_SHUTDOWN, both. */
	how++;
	if (how & ~SHUTDOWN_MASK || !how)
		return -EINVAL;
	lock_sock(sk);
	if (sock->state == SS_UNCONNECTED)
		err = -ENOTCONN;
	WRITE_ONCE(sk->sk_shutdown, sk->sk_shutdown | how);
	if (how & RCV_SHUTDOWN) {
		spin_lock(&vs->aq_lock);
		WRITE_ONCE(vs->rd_shut, true);
		list_for_each_entry(end, &vs->accept_queue, node)
			vmshm_end_shutdown(end, RCV_SHUTDOWN);
		spin_unlock(&vs->aq_lock);
	}
	/* Threads that receive, and those that wait in lane.c to send. */
	sk->sk_state_change(sk);
	release_sock(sk);
	return err;
}

/* ---- sending ---- */

static bool tx_shut(struct sock *sk)
{
	return READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN;
}

/* Where to?  0 or a negative errno. */
static int destination(struct socket *sock, struct msghdr *msg, u32 *cid, u32 *port)
{
	struct vmshm_sock *vs = vmshm_sk(sock->sk);
	const struct sockaddr_vmshm *to = msg->msg_name;

	if (msg->msg_flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (tx_shut(sock->sk))
		return -EPIPE;
	if (msg->msg_namelen) {
		if (vmshm_addr_check(to, msg->msg_namelen) || to->svm_port == VMSHM_PORT_ANY)
			return -EINVAL;
		*cid = to->svm_cid;
		*port = to->svm_port;
	} else if (!fixed_peer(vs, cid, port)) {
		return -EINVAL;
	}
	if (*cid == VMSHM_CID_ANY)
		*cid = VMSHM_CID_LOCAL;
	if (READ_ONCE(vs->local.svm_port) == VMSHM_PORT_ANY) {
		int err;

		lock_sock(sock->sk);
		err = vmshm_autobind(vs);
		release_sock(sock->sk);
		return err;
	}
	return 0;
}

/*
 * The lane to a destination, open, with a reference.  @open: jiffies that it
 * may take to open at the most.
 */
static struct vmshm_end *open_lane(struct vmshm_sock *vs, u32 cid, u32 port, long *open,
				   long *timeo)
{
	struct vmshm_chan *ch = vmshm_chan_to(cid);
	bool own_cid = cid != VMSHM_CID_LOCAL;
	struct vmshm_end *end;
	long err;

	if (IS_ERR(ch))
		return ERR_CAST(ch);
	/* What a call was told to wait for, and came to nothing. */
	end = vmshm_lane_failed(vs, ch, port, own_cid);
	if (!end)
		end = vmshm_lane_get(ch, port, own_cid);
	vmshm_chan_put(ch);
	if (IS_ERR(end))
		return end;
	vmshm_lane_unwatch_stale(vs, end);
	while ((err = vmshm_lane_state(end)) == -EAGAIN) {
		long left = min(*timeo, *open), before = left;
		int spin = READ_ONCE(vs->busy_poll);

		if (spin < 0)
			spin = READ_ONCE(vmshm_busy_poll_max_us);
		/* Without waiting, a look at the peer's answer is all there is. */
		err = vmshm_lane_wait(&vs->sk, end, 0, spin * NSEC_PER_USEC, &left);
		if (*timeo != MAX_SCHEDULE_TIMEOUT)
			*timeo -= before - left;
		*open -= before - left;
		if (!err)
			continue;
		if (err == -EAGAIN && *timeo)
			err = -ETIMEDOUT;
		if (err == -EAGAIN)
			err = vmshm_lane_watch(vs, end) ?: -EAGAIN;
		/* It may have opened before that. */
		if (err != -EAGAIN || vmshm_lane_state(end) == -EAGAIN || signal_pending(current))
			break;
	}
	if (err && err != -EPIPE) {
		if (err != -EAGAIN)
			vmshm_lane_unwatch(vs, end);
		vmshm_end_put(end);
		return ERR_PTR(err);
	}
	return end;
}

/* As vmshm_record_write(), without COPY_LIE. */
static int write_dgram(struct vmshm_sock *vs, struct vmshm_end *end, struct msghdr *msg,
		       size_t len, long timeo)
{
	struct vmshm_stats *own = &vs->dgrams;
	int err = vmshm_record_write(end, &msg->msg_iter, len, vs->local.svm_port, timeo, own);

	if (err == COPY_LIE) {
		vmshm_end_reset(end, "more was read than written");
		err = -EPIPE;
	}
	return err;
}

/* One attempt.  -EAGAIN: look again, unless *@timeo is 0; -EPIPE: it is over, or shut. */
static long send_through(struct sock *sk, struct vmshm_end *end, struct msghdr *msg, size_t len,
			 long *timeo)
{
	struct vmshm_sock *vs = vmshm_sk(sk);
	long err = tx_shut(sk) ? -EPIPE : vmshm_lane_state(end);

	if (err)
		return err;
	if (len > end->tx_record_max)
		return -EMSGSIZE;
	err = write_dgram(vs, end, msg, len, *timeo);
	if (err != -EAGAIN)
		return err;
	WRITE_ONCE(vs->dgrams.ring_full, vs->dgrams.ring_full + 1);
	/* A peer that has us look again and again holds up nobody but us. */
	if (*timeo && signal_pending(current))
		return sock_intr_errno(*timeo);
	if (*timeo)
		return vmshm_lane_wait(sk, end, vmshm_record_bytes(len), 0, timeo) ?: -EAGAIN;
	/* Full.  As in seqpacket.c: a watcher that asks only once. */
	err = vmshm_lane_watch(vs, end);
	if (err)
		return err;
	while (is_watched(sk) && vmshm_end_arm_tx(end, end->tx_mark) && !signal_pending(current)) {
		err = vmshm_lane_state(end) ?: write_dgram(vs, end, msg, len, 0);
		if (err != -EAGAIN)
			return err;
		/* Another socket took the room: the lane is everybody's. */
		cond_resched();
	}
	return -EAGAIN;
}

/*
 * A call was not to wait, also one that failed: what was to be waited for is over.
 * Somebody else who asks only once may wait for what this call had no need to.
 */
static void need_not_wait(struct sock *sk)
{
	struct vmshm_sock *vs = vmshm_sk(sk);

	if (READ_ONCE(vs->told_again)) {
		WRITE_ONCE(vs->told_again, false);
		sk->sk_write_space(sk);
	}
}

int vmshm_dgram_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	long open = READ_ONCE(vs->connect_timeout);
	struct vmshm_end *end;
	long timeo, err;
	u32 cid, port;
	bool over;

	err = destination(sock, msg, &cid, &port);
	if (err)
		return err;
	timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	for (;;) {
		end = open_lane(vs, cid, port, &open, &timeo);
		if (IS_ERR(end)) {
			err = PTR_ERR(end);
			if (err != -EAGAIN)
				need_not_wait(sk);
			break;
		}
		do {
			err = send_through(sk, end, msg, len, &timeo);
		} while (err == -EAGAIN && timeo);
		if (err != -EAGAIN) {
			vmshm_lane_unwatch(vs, end);
			need_not_wait(sk);
		}
		over = false;
		if (unlikely(err == -EPIPE)) {
			/* Another thread may just be closing it, and not have said so. */
			if (READ_ONCE(end->reset) || !READ_ONCE(end->tx_open))
				vmshm_lane_over(end);
			/* Another socket may have taken the place of the one that closed. */
			over = !tx_shut(sk) && vmshm_lane_is_over(end);
		}
		trace_vmshm_send(end->chan->peer_cid, end->id, len, err ?: (long)len);
		vmshm_end_put(end);
		if (!over)
			break;
		if (signal_pending(current)) {
			err = sock_intr_errno(timeo);
			break;
		}
		/* A peer that opens and closes without end keeps nobody for ever. */
		if (--open <= 0) {
			err = -ETIMEDOUT;
			break;
		}
		cond_resched();
	}
	if (err)
		return err;
	WRITE_ONCE(vs->dgrams.tx_bytes, vs->dgrams.tx_bytes + len);
	WRITE_ONCE(vs->dgrams.tx_msgs, vs->dgrams.tx_msgs + 1);
	return len;
}

/* ---- receiving ---- */

/**
 * vmshm_dgram_offered - another VM wants to send to a socket of this one
 * @ch: its channel, or the loopback bus; under chan->mutex
 * @cid: the CID that it sends to
 * @msg: its CONNECT
 *
 * Returns 0, or a positive errno to refuse with.  May sleep.
 */
int vmshm_dgram_offered(struct vmshm_chan *ch, u32 cid, const struct vmshm_ctl *msg)
{
	struct vmshm_sock *vs = vmshm_find_dgram(cid, msg->dst_port);
	struct vmshm_end *end, *other;
	int err = ECONNRESET;
	bool queued;

	if (!vs)
		return err;
	end = vmshm_end_alloc(ch, GFP_KERNEL);
	if (!end) {
		err = ENOBUFS;
		goto put_sock;
	}
	end->sock_type = SOCK_DGRAM;
	end->local_cid = cid;
	end->local_port = msg->dst_port;
	end->peer_id = msg->src_id;
	end->peer_gen = msg->src_gen;
	end->state = VMSHM_END_OPEN;
	vmshm_end_size(end, vs);
	if (vmshm_end_number(end)) {
		err = ENOBUFS;
		goto put_end;
	}
	spin_lock(&vs->aq_lock);
	err = vs->listening ? 0 : ECONNRESET;
	/* One at a time: the other one is over before the peer asks again. */
	list_for_each_entry(other, &vs->accept_queue, node)
		if (other->chan == ch && other->local_cid == cid &&
		    !READ_ONCE(other->done_received))
			err = ECONNRESET;
	/* Rings that are over and not read yet: their memory is the socket's owner's to free. */
	if (!err && READ_ONCE(vs->sk.sk_ack_backlog) >= SENDERS_OF_SOCK)
		err = ENOBUFS;
	spin_unlock(&vs->aq_lock);
	if (err) {
		vmshm_end_fail(end, ECONNRESET);	/* the peer never heard of it */
		goto put_end;
	}

	/*
	 * ACCEPT comes before anything that a close of the socket has to say.  No other
	 * one of this channel can come meanwhile, with chan->mutex held.
	 */
	rcu_assign_pointer(end->sk, &vs->sk);
	vmshm_ctl_say(end, VMSHM_SAY_ACCEPT);
	spin_lock(&vs->aq_lock);
	queued = vs->listening;
	if (queued) {
		sk_acceptq_added(&vs->sk);
		refcount_inc(&end->ref);
		list_add_tail(&end->node, &vs->accept_queue);
		if (READ_ONCE(vs->rd_shut))
			vmshm_end_shutdown(end, RCV_SHUTDOWN);
	}
	spin_unlock(&vs->aq_lock);
	if (queued)
		vs->sk.sk_data_ready(&vs->sk);	/* what came before it was in the queue */
	else
		vmshm_end_release(end, true);
put_end:
	vmshm_end_put(end);
put_sock:
	sock_put(&vs->sk);
	return err;
}

/*
 * What the end of one who sends has counted for the socket; the calls count the rest in
 * the socket.
 */
static void count_of_end(struct vmshm_stats *sum, const struct vmshm_stats *rx)
{
	WRITE_ONCE(sum->wakeups, sum->wakeups + READ_ONCE(rx->wakeups));
	WRITE_ONCE(sum->doorbells_sent, sum->doorbells_sent + READ_ONCE(rx->doorbells_sent));
}

/* Nothing comes from there any more, and all was taken. */
static void leave(struct vmshm_sock *vs, struct vmshm_end *end)
{
	bool was;

	spin_lock(&vs->aq_lock);
	was = !list_empty(&end->node);
	if (was) {
		list_del_init(&end->node);
		sk_acceptq_removed(&vs->sk);
		count_of_end(&vs->dgrams, &end->rx_stats);
	}
	spin_unlock(&vs->aq_lock);
	if (was) {
		vmshm_end_release(end, false);
		vmshm_end_put(end);
	}
}

/* Is there a datagram that the socket takes? */
static bool has_datagram(struct vmshm_sock *vs, struct vmshm_end *end)
{
	bool last = READ_ONCE(end->done_received);
	u32 cid, port;
	int ready;

	smp_rmb();		/* what came before DONE is seen */
	if (fixed_peer(vs, &cid, &port))
		ready = vmshm_record_drop_others(end, same_vm(vmshm_peer_cid(end), cid) ?
						 port : -1LL);
	else
		ready = vmshm_end_readable(end) > 0;
	if (ready > 0)
		return true;
	if (ready < 0) {
		/* The other ends first; who sleeps looks again. */
		vs->sk.sk_data_ready(&vs->sk);
		return false;
	}
	if (last || !READ_ONCE(end->rx_open))
		leave(vs, end);
	return false;
}

/* It had its turn: the others come first. */
static void to_the_tail(struct vmshm_sock *vs, struct vmshm_end *end)
{
	if (READ_ONCE(vs->sk.sk_ack_backlog) < 2)
		return;
	spin_lock(&vs->aq_lock);
	if (!list_empty(&end->node))
		list_move_tail(&end->node, &vs->accept_queue);
	spin_unlock(&vs->aq_lock);
}

/*
 * The next end that has a datagram, with a reference.  It stays the next one until
 * one was taken from it: a look (poll(), MSG_PEEK, SIOCINQ) is not its turn.
 */
static struct vmshm_end *next_ready(struct vmshm_sock *vs)
{
	unsigned int n = READ_ONCE(vs->sk.sk_ack_backlog);
	struct vmshm_end *end;

	while (n--) {
		spin_lock(&vs->aq_lock);
		end = list_first_entry_or_null(&vs->accept_queue, struct vmshm_end, node);
		if (end)
			refcount_inc(&end->ref);
		spin_unlock(&vs->aq_lock);
		if (!end)
			break;
		if (has_datagram(vs, end))
			return end;
		to_the_tail(vs, end);
		vmshm_end_put(end);
	}
	return NULL;
}

static bool any_ready(struct vmshm_sock *vs)
{
	struct vmshm_end *end = next_ready(vs);

	if (end)
		vmshm_end_put(end);
	return end;
}

/*
 * Ask for a doorbell from everybody, at the next datagram or (@beyond) at the
 * next one that comes after those that are there.  True: one is there already.
 */
static bool arm_all(struct vmshm_sock *vs, bool beyond)
{
	struct vmshm_end *end;
	bool look = false;

	spin_lock(&vs->aq_lock);
	list_for_each_entry(end, &vs->accept_queue, node) {
		u64 lowat = beyond ? vmshm_end_readable(end) + 1 : 1;

		look |= vmshm_end_arm_rx(end, lowat) && vmshm_end_readable(end);
		/* One that is over is left, or its ring stays while nobody sends. */
		look |= READ_ONCE(end->done_received) || !READ_ONCE(end->rx_open);
	}
	spin_unlock(&vs->aq_lock);
	return look;
}

/* Is there anything to look at?  A hint, for who looks again and again. */
static __always_inline bool may_be_ready(void *arg)
{
	struct vmshm_sock *vs = arg;
	struct vmshm_end *end;
	bool ready = READ_ONCE(vs->rd_shut);

	spin_lock(&vs->aq_lock);
	list_for_each_entry(end, &vs->accept_queue, node)
		ready |= vmshm_end_readable(end) > 0;
	spin_unlock(&vs->aq_lock);
	return ready;
}

/* Returns 0 when it is worth looking again, or a negative errno. */
static long wait_datagram(struct sock *sk, long *timeo)
{
	struct vmshm_sock *vs = vmshm_sk(sk);
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	unsigned long start = jiffies;
	long err = 0;
	u64 slept;

	if (!*timeo && !(is_watched(sk) && arm_all(vs, false)))
		return -EAGAIN;
	if (*timeo && signal_pending(current))
		return sock_intr_errno(*timeo);
	cond_resched();
	if (*timeo && vmshm_busy_poll(vs, &vs->spin, may_be_ready, vs, &vs->dgrams)) {
		if (*timeo != MAX_SCHEDULE_TIMEOUT)
			*timeo -= min_t(unsigned long, *timeo, jiffies - start);
		return 0;
	}
	slept = local_clock();
	add_wait_queue(sk_sleep(sk), &wait);
	while (!arm_all(vs, false) && !READ_ONCE(vs->rd_shut)) {
		if (!*timeo)
			err = -EAGAIN;
		else if (signal_pending(current))
			err = sock_intr_errno(*timeo);
		if (err)
			break;
		WRITE_ONCE(vs->dgrams.sleeps, vs->dgrams.sleeps + 1);
		*timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	vmshm_sleep_learn(&vs->spin, local_clock() - slept);
	return err;
}

/* Another thread took what has_datagram() saw, and this is not the peer's. */
static bool is_others(struct vmshm_sock *vs, struct vmshm_end *end, struct vmshm_record *rec)
{
	u32 cid, port;

	return fixed_peer(vs, &cid, &port) &&
	       (port != rec->info || !same_vm(vmshm_peer_cid(end), cid));
}

static int receive(struct vmshm_sock *vs, struct vmshm_end *end, struct msghdr *msg, size_t len,
		   int flags, long timeo)
{
	struct vmshm_record rec;
	int err = vmshm_record_read(end, &msg->msg_iter, len, flags & MSG_PEEK, timeo, &rec);

	if (err == COPY_LIE) {
		vmshm_end_reset(end, "what came is no datagram");
		return -EAGAIN;
	}
	if (err)
		return err;
	if (is_others(vs, end, &rec)) {
		iov_iter_revert(&msg->msg_iter, min_t(size_t, rec.len, len));
		return -EAGAIN;
	}
	if (msg->msg_name) {
		vmshm_addr_set(msg->msg_name, vmshm_peer_cid(end), rec.info);
		msg->msg_namelen = sizeof(struct sockaddr_vmshm);
	}
	if (rec.len > len)
		msg->msg_flags |= MSG_TRUNC;
	if (!(flags & MSG_PEEK)) {
		WRITE_ONCE(vs->dgrams.rx_bytes, vs->dgrams.rx_bytes + rec.len);
		WRITE_ONCE(vs->dgrams.rx_msgs, vs->dgrams.rx_msgs + 1);
	}
	return flags & MSG_TRUNC ? rec.len : min_t(size_t, rec.len, len);
}

int vmshm_dgram_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	struct vmshm_end *end;
	unsigned long deadline;
	long timeo, err;
	bool timed;
	int looks;

	if (unlikely(flags & MSG_OOB))
		return -EOPNOTSUPP;
	if (unlikely(flags & MSG_ERRQUEUE))
		return sock_recv_errqueue(sk, msg, len, SOL_VMSHM, VMSHM_RECVERR);
	timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	timed = timeo && timeo != MAX_SCHEDULE_TIMEOUT;
	deadline = jiffies + timeo;
	for (looks = 0;; looks++) {
		if (unlikely(READ_ONCE(vs->rd_shut)))
			return 0;
		end = next_ready(vs);
		if (end) {
			err = receive(vs, end, msg, len, flags, timeo);
			trace_vmshm_recv(end->chan->peer_cid, end->id, len, err);
			if (err >= 0 && !(flags & MSG_PEEK)) {
				to_the_tail(vs, end);
				/* As rx_signal(). */
				if (unlikely(sock_flag(sk, SOCK_FASYNC)) && arm_all(vs, true))
					sk->sk_data_ready(sk);
			}
			vmshm_end_put(end);
			if (err != -EAGAIN)
				return err;
			/* A peer that has us look again and again holds up nobody but us. */
			if (timeo && signal_pending(current))
				return sock_intr_errno(timeo);
			cond_resched();
		}
		/* What is not for us, or is no datagram, may come without end. */
		if (timed ? time_after(jiffies, deadline) : !timeo && looks >= LOOKS_MOST)
			return -EAGAIN;
		if (end)
			continue;
		err = wait_datagram(sk, &timeo);
		if (err)
			return err;
	}
}

/* Bytes of the next datagram: SIOCINQ. */
u32 vmshm_dgram_next(struct vmshm_sock *vs)
{
	struct vmshm_end *end = next_ready(vs);
	u32 len = 0;

	if (end) {
		len = vmshm_record_next(end);
		vmshm_end_put(end);
	}
	return len;
}

/**
 * vmshm_dgram_info - what a socket has counted, and how large its rings are together
 * @vs: the socket
 * @info: all of it is set
 *
 * Returns the bytes that wait in all rings.  A lane is no socket's alone: there is
 * no ring to send through, nor what waits there.
 */
u64 vmshm_dgram_info(struct vmshm_sock *vs, struct vmshm_info *info)
{
	struct vmshm_stats ends = {};
	struct vmshm_end *end;
	u64 bytes = 0;

	*info = (struct vmshm_info) {};
	spin_lock(&vs->aq_lock);
	list_for_each_entry(end, &vs->accept_queue, node) {
		bytes += vmshm_end_readable(end);
		info->rx_ring += end->cons.size;
		count_of_end(&ends, &end->rx_stats);
	}
	vmshm_info_add(info, &vs->dgrams);
	spin_unlock(&vs->aq_lock);
	vmshm_info_add(info, &ends);
	return bytes;
}

/* ---- poll ---- */

#define IN	(EPOLLIN | EPOLLRDNORM)
#define OUT	(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)

static bool can_read(struct vmshm_sock *vs, __poll_t asked)
{
	if (any_ready(vs)) {
		if (asked & EPOLLET && asked & IN)
			arm_all(vs, true);
		return true;
	}
	return asked & IN && arm_all(vs, false) && any_ready(vs);
}

/* Unless the last call was told to wait: then, whether one may try again. */
static bool can_write(struct vmshm_sock *vs, bool arm)
{
	return !READ_ONCE(vs->told_again) || vmshm_lane_any_ready(vs, arm);
}

__poll_t vmshm_dgram_poll(struct file *file, struct socket *sock, poll_table *wait)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	__poll_t asked = poll_requested_events(wait);
	__poll_t mask = 0;
	u32 shut;

	sock_poll_wait(file, sock, wait);
	shut = READ_ONCE(sk->sk_shutdown);
	if (shut & RCV_SHUTDOWN)
		mask |= IN | EPOLLRDHUP;
	else if (can_read(vs, asked))
		mask |= IN;
	if (shut & SEND_SHUTDOWN || can_write(vs, asked & OUT))
		mask |= OUT;
	if (shut == SHUTDOWN_MASK)
		mask |= EPOLLHUP;
	if (READ_ONCE(sk->sk_err))
		mask |= EPOLLERR;
	return mask;
}
