// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of an end of a connection: born numbered, opened when the peer's
 * ring is known, over by DONE from both sides, by a refusal or by the death of
 * its channel.  What an end says to the peer's kernel goes out in ctl.c; bytes
 * move in stream.c; waiting is in ring_wait.c.
 *
 * When memory goes back: the pages of a receive ring live as long as the end.
 * The channel's table holds the end until this kernel said DONE, the peer's
 * said DONE (no copy of its is in flight) and no socket reads any more, or
 * until the channel broke (nothing is allocated again before the peer has
 * agreed to a new pair of epochs).  Never by a timer: a VM that was paused for
 * ten seconds goes on writing where it stopped.
 */
#include "vmshm.h"
#include "trace.h"

/**
 * vmshm_end_alloc - a new end, not yet known to the peer
 * @ch: its channel
 * @gfp: GFP_KERNEL or the like
 *
 * Returns an end with one reference, or NULL.
 */
struct vmshm_end *vmshm_end_alloc(struct vmshm_chan *ch, gfp_t gfp)
{
	struct vmshm_end *end = kzalloc(sizeof(*end), gfp | __GFP_ACCOUNT);

	if (!end)
		return NULL;
	refcount_set(&end->ref, 1);
	spin_lock_init(&end->lock);
	spin_lock_init(&end->tx_lock);
	spin_lock_init(&end->rx_lock);
	mutex_init(&end->tx_mutex);
	mutex_init(&end->rx_mutex);
	INIT_LIST_HEAD(&end->node);
	INIT_LIST_HEAD(&end->ctl_node);
	INIT_LIST_HEAD(&end->ring_node);
	INIT_LIST_HEAD(&end->rx_next);
	seqcount_init(&end->tx_seq);
	seqcount_init(&end->rx_seq);
	end->state = VMSHM_END_WAITING;
	end->sock_type = SOCK_STREAM;
	end->local_cid = ch->local_cid;
	kref_get(&ch->ref);
	end->chan = ch;
	return end;
}

static void stats_add(struct vmshm_stats *sum, const struct vmshm_stats *s)
{
	const u64 *from = (const u64 *)s;
	u64 *to = (u64 *)sum;
	size_t i;

	for (i = 0; i < sizeof(*s) / sizeof(u64); i++)
		to[i] += READ_ONCE(from[i]);
}

/* Drop a reference; the last one gives the ring's memory back.  May sleep. */
void vmshm_end_put(struct vmshm_end *end)
{
	struct vmshm_chan *ch = end->chan;

	if (!refcount_dec_and_test(&end->ref))
		return;
	vmshm_turn_leave(&end->tx_in_turn);
	vmshm_turn_leave(&end->rx_in_turn);
	vmshm_rxring_free(end);
	if (end->lane)
		vmshm_lane_free(end);
	spin_lock(&ch->stats_lock);
	stats_add(&ch->closed, &end->tx_stats);
	stats_add(&ch->closed, &end->rx_stats);
	spin_unlock(&ch->stats_lock);
	kfree_rcu(end, rcu);
	vmshm_chan_put(ch);
}

/* Sum of what a channel's ends counted, the ended ones included. */
void vmshm_chan_stats(struct vmshm_chan *ch, struct vmshm_stats *sum)
{
	struct vmshm_end *end;
	unsigned long id;

	spin_lock(&ch->stats_lock);
	*sum = ch->closed;
	spin_unlock(&ch->stats_lock);
	rcu_read_lock();
	xa_for_each(&ch->ends, id, end) {
		stats_add(sum, &end->tx_stats);
		stats_add(sum, &end->rx_stats);
	}
	rcu_read_unlock();
}

/**
 * vmshm_end_number - give an end a receive ring and a number
 * @end: in state WAITING
 *
 * Under chan->mutex, with the channel up.  A lane receives nothing.  Returns 0
 * or -ENOBUFS.
 */
int vmshm_end_number(struct vmshm_end *end)
{
	struct vmshm_chan *ch = end->chan;

	if (!end->lane && vmshm_rxring_alloc(end))
		return -ENOBUFS;
	end->gen = ++ch->next_gen;

	if (xa_alloc_cyclic(&ch->ends, &end->id, end, XA_LIMIT(1, VMSHM_PEND_ID_MASK),
			    &ch->next_id, GFP_KERNEL) < 0) {
		vmshm_rxring_free(end);
		return -ENOBUFS;
	}
	refcount_inc(&end->ref);
	atomic_inc(&ch->nr_ends);
	if (!ch->far_side)
		atomic_inc(&vmshm_connections);
	if (!end->lane)
		vmshm_rxring_open(end);
	spin_lock(&end->lock);
	end->tabled = true;
	spin_unlock(&end->lock);
	return 0;
}

/* Out of the table, once: its reference goes.  May sleep. */
static void untable(struct vmshm_end *end)
{
	bool was;

	spin_lock(&end->lock);
	was = end->tabled;
	end->tabled = false;
	spin_unlock(&end->lock);
	if (!was)
		return;
	xa_erase(&end->chan->ends, end->id);
	atomic_dec(&end->chan->nr_ends);
	if (!end->chan->far_side)
		atomic_dec(&vmshm_connections);
	vmshm_counters_ended(end->chan);
	vmshm_end_put(end);
}

/* Both sides are done and nobody reads: the end is over. */
static void settle(struct vmshm_end *end)
{
	bool over;

	spin_lock(&end->lock);
	over = end->released && end->done_sent && end->done_received;
	spin_unlock(&end->lock);
	if (over)
		untable(end);
}

/*
 * Write into the peer's ring no more.  When this returns no copy is in flight:
 * a copy holds tx_lock, and page faults are disabled in it.
 */
static void close_tx(struct vmshm_end *end, u32 flags)
{
	spin_lock(&end->tx_lock);
	if (end->tx_open) {
		if (flags)
			vmshm_prod_set_flags(&end->prod, flags);
		WRITE_ONCE(end->tx_open, false);
	}
	spin_unlock(&end->tx_lock);
}

static void close_rx(struct vmshm_end *end, u32 flags)
{
	spin_lock(&end->rx_lock);
	if (end->rx_open) {
		if (flags)
			vmshm_rx_set_flags(end, flags);
		WRITE_ONCE(end->rx_open, false);
	}
	spin_unlock(&end->rx_lock);
}

/*
 * The connection broke.  The socket has the error before it can see that anything
 * is over, or it would take it for an end of file.  Under end->lock.
 */
static void show_error(struct vmshm_end *end)
{
	struct sock *sk;

	end->err = ECONNRESET;
	rcu_read_lock();
	sk = rcu_dereference(end->sk);
	/* One of those who send datagrams to a socket is no error of its own. */
	if (sk && end->sock_type != SOCK_DGRAM)
		WRITE_ONCE(sk->sk_err, ECONNRESET);
	rcu_read_unlock();
	smp_wmb();	/* pairs with the one in tx_error() and in rx_end() */
}

/* Wake all who wait on a socket that has an error. */
static void tell_error(struct vmshm_end *end)
{
	struct sock *sk;

	rcu_read_lock();
	sk = rcu_dereference(end->sk);
	if (sk && end->sock_type != SOCK_DGRAM)
		sk_error_report(sk);
	if (sk)
		sk->sk_state_change(sk);
	rcu_read_unlock();
}

static void tell_change(struct vmshm_end *end)
{
	struct sock *sk;

	rcu_read_lock();
	sk = rcu_dereference(end->sk);
	if (sk)
		sk->sk_state_change(sk);
	rcu_read_unlock();
}

/**
 * vmshm_end_open - the peer's ring is known: bytes may flow
 * @end: CONNECTING, CANCELLED, or WAITING on the accepting side
 * @hdr: the peer's ring
 * @order: of its data area
 *
 * Returns false when nobody wants the connection any more; the caller then
 * says DONE.
 */
bool vmshm_end_open(struct vmshm_end *end, struct vmshm_ring_hdr *hdr, u32 order)
{
	struct sock *sk;
	bool wanted;

	spin_lock(&end->tx_lock);
	vmshm_prod_init(&end->prod, hdr, order);
	end->tx_mark = end->prod.size / 4;
	if (end->sock_type != SOCK_STREAM)
		vmshm_record_tx_init(end);
	/* Who looks from beside the lock sees prod whole. */
	smp_store_release(&end->tx_open, true);
	spin_unlock(&end->tx_lock);
	/* The peer may have rung for its flags before anybody here could see them. */
	WRITE_ONCE(end->attention, 1);

	spin_lock(&end->lock);
	wanted = end->state != VMSHM_END_CANCELLED;
	end->state = VMSHM_END_OPEN;
	rcu_read_lock();
	sk = rcu_dereference(end->sk);
	if (sk) {
		/* Pairs with the load in send and receive: all above is seen. */
		smp_store_release(&sk->sk_state, TCP_ESTABLISHED);
	}
	rcu_read_unlock();
	spin_unlock(&end->lock);
	if (sk)
		tell_change(end);
	if (end->lane)
		vmshm_lane_opened(end);
	return wanted;
}

/**
 * vmshm_end_disown - the socket learns of a failure and is forgotten
 * @end: not open for the socket; from here on it is the kernel's alone
 * @state: what it is now
 * @err: positive errno for the socket
 */
void vmshm_end_disown(struct vmshm_end *end, enum vmshm_end_state state, int err)
{
	struct sock *sk;

	rcu_read_lock();
	spin_lock(&end->lock);
	end->state = state;
	end->err = err;
	end->released = true;
	sk = rcu_dereference(end->sk);
	RCU_INIT_POINTER(end->sk, NULL);
	if (sk) {
		WRITE_ONCE(sk->sk_err, err);
		/* Who sees the state sees the error. */
		smp_store_release(&sk->sk_state, TCP_CLOSE);
	}
	spin_unlock(&end->lock);
	if (sk) {
		sk_error_report(sk);
		sk->sk_state_change(sk);
	}
	rcu_read_unlock();
	if (end->lane)
		vmshm_lane_over(end);
}

/**
 * vmshm_end_fail - a connect comes to nothing
 * @end: WAITING, CONNECTING or CANCELLED; the peer does not know its ring
 * @err: positive errno for the socket
 */
void vmshm_end_fail(struct vmshm_end *end, int err)
{
	close_rx(end, 0);
	vmshm_end_disown(end, VMSHM_END_DEAD, err);
	untable(end);
}

/*
 * The connection is over, and not in order.  What had arrived can still be
 * read unless the peer lied.
 */
static void mark_reset(struct vmshm_end *end)
{
	bool first, orderly;

	spin_lock(&end->lock);
	first = !end->reset;
	/* The peer had ended its stream before: the reader gets its end of file. */
	orderly = end->peer_shutdown & SEND_SHUTDOWN;
	if (first && !orderly)
		show_error(end);
	end->reset = true;
	WRITE_ONCE(end->peer_shutdown, end->peer_shutdown | SHUTDOWN_MASK);
	spin_unlock(&end->lock);
	if (!first)
		return;
	trace_vmshm_reset(end->chan->peer_cid, end->local_port, end->peer_port, -ECONNRESET);
	if (orderly)
		tell_change(end);
	else
		tell_error(end);
	if (end->lane)
		vmshm_lane_over(end);
}

/**
 * vmshm_end_kill - the channel broke: peer gone, new epoch, device removed
 * @end: in the table; the caller holds a reference
 *
 * Nothing more is said to the peer.  Under chan->mutex.
 */
void vmshm_end_kill(struct vmshm_end *end)
{
	bool open;

	/* An end of file that had arrived counts. */
	WRITE_ONCE(end->attention, 1);
	vmshm_end_attend(end);
	spin_lock(&end->lock);
	open = end->state == VMSHM_END_OPEN;
	spin_unlock(&end->lock);
	/* Who finds a ring closed finds out why. */
	if (open)
		mark_reset(end);
	close_tx(end, 0);
	spin_lock(&end->lock);
	end->done_said = true;
	end->done_sent = true;
	end->done_received = true;
	spin_unlock(&end->lock);
	tell_change(end);	/* who was told of the reset and saw no end yet */
	if (open)
		untable(end);
	else
		vmshm_end_fail(end, ECONNRESET);
}

/* Say DONE, once.  No copy into the peer's ring is in flight any more. */
static void say_done(struct vmshm_end *end, bool reset)
{
	bool first;

	spin_lock(&end->lock);
	first = !end->done_said;
	end->done_said = true;
	if (first && reset)
		end->ctl_flags = VMSHM_CTL_F_RESET;
	spin_unlock(&end->lock);
	if (first)
		vmshm_ctl_say(end, VMSHM_SAY_DONE);
}

/* The control queue took our DONE.  No spinlock is held. */
void vmshm_end_done_sent(struct vmshm_end *end)
{
	spin_lock(&end->lock);
	end->done_sent = true;
	spin_unlock(&end->lock);
	settle(end);
}

/**
 * vmshm_end_reset - the peer broke the rules: this connection is over
 * @end: an open end; neither tx_lock nor rx_lock is held
 * @why: what was wrong, for the log
 */
void vmshm_end_reset(struct vmshm_end *end, const char *why)
{
	atomic64_inc(&end->chan->protocol_errors);
	pr_info_ratelimited("cid %u: connection %u reset: %s\n",
			    end->chan->peer_cid, end->id, why);
	mark_reset(end);
	close_tx(end, VMSHM_RING_RESET);
	close_rx(end, VMSHM_RING_RESET);
	vmshm_notify(end, VMSHM_PEND_DATA | VMSHM_PEND_SPACE);
	say_done(end, true);
}

/* The peer said DONE: it writes into our ring no more. */
void vmshm_end_peer_done(struct vmshm_end *end, bool reset)
{
	/* Its flags were set before. */
	WRITE_ONCE(end->attention, 1);
	vmshm_end_attend(end);
	if (reset)
		mark_reset(end);
	close_tx(end, 0);
	spin_lock(&end->lock);
	end->done_received = true;
	end->peer_shutdown |= SHUTDOWN_MASK;
	spin_unlock(&end->lock);
	tell_change(end);
	if (end->lane)
		vmshm_lane_over(end);
	say_done(end, false);
	settle(end);
}

/**
 * vmshm_end_cancel - the socket does not wait for this connect any more
 * @end: the socket's end; the socket's reference stays
 *
 * Returns false when it is too late: the connection is open.
 */
bool vmshm_end_cancel(struct vmshm_end *end)
{
	struct vmshm_chan *ch = end->chan;
	bool waiting;

	spin_lock(&end->lock);
	if (end->state == VMSHM_END_OPEN) {
		spin_unlock(&end->lock);
		return false;
	}
	if (end->state != VMSHM_END_DEAD)
		end->state = VMSHM_END_CANCELLED;
	end->released = true;
	rcu_assign_pointer(end->sk, NULL);
	spin_unlock(&end->lock);

	spin_lock(&ch->ctl_lock);
	waiting = !list_empty(&end->node);
	list_del_init(&end->node);
	spin_unlock(&ch->ctl_lock);
	if (waiting)
		vmshm_end_put(end);
	else if (vmshm_ctl_unsay_connect(end))
		vmshm_end_fail(end, ECONNRESET);	/* the peer never heard of it */
	return true;
}

/**
 * vmshm_end_release - no socket uses this end any more
 * @end: an open end
 * @abort: end it as a reset whatever was read
 *
 * Unread data makes it a reset too.  The caller's reference stays.
 */
void vmshm_end_release(struct vmshm_end *end, bool abort)
{
	bool reset = abort;

	spin_lock(&end->rx_lock);
	if (end->rx_open && vmshm_rx_unread(end))
		reset = true;
	spin_unlock(&end->rx_lock);

	close_tx(end, reset ? VMSHM_RING_FIN | VMSHM_RING_RESET : VMSHM_RING_FIN);
	close_rx(end, reset ? VMSHM_RING_RDSHUT | VMSHM_RING_RESET : VMSHM_RING_RDSHUT);
	spin_lock(&end->lock);
	end->released = true;
	rcu_assign_pointer(end->sk, NULL);
	spin_unlock(&end->lock);
	vmshm_notify(end, VMSHM_PEND_DATA | VMSHM_PEND_SPACE);
	say_done(end, reset);
	settle(end);
}

/**
 * vmshm_end_attend - look at the peer's flags if it rang since the last time
 * @end: any end
 *
 * Afterwards peer_shutdown is true to what the flags said.  None of the end's
 * locks is held.
 */
void vmshm_end_attend(struct vmshm_end *end)
{
	u32 flags = 0, shut = 0;

	if (!READ_ONCE(end->attention))
		return;
	WRITE_ONCE(end->attention, 0);
	smp_mb();	/* pairs with wake_end(): what rings after this is seen later */

	spin_lock(&end->rx_lock);
	if (end->rx_open)
		flags |= vmshm_rx_peer_flags(end);
	spin_unlock(&end->rx_lock);
	spin_lock(&end->tx_lock);
	if (end->tx_open)
		flags |= vmshm_prod_peer_flags(&end->prod);
	spin_unlock(&end->tx_lock);

	if (flags & VMSHM_RING_FIN)
		shut |= SEND_SHUTDOWN;
	if (flags & VMSHM_RING_RDSHUT)
		shut |= RCV_SHUTDOWN;
	/* With RESET, FIN and RDSHUT say that nobody is there, not "in order". */
	if (flags & VMSHM_RING_RESET) {
		mark_reset(end);
	} else if (shut & ~READ_ONCE(end->peer_shutdown)) {
		spin_lock(&end->lock);
		end->peer_shutdown |= shut;
		spin_unlock(&end->lock);
		/* A thread that found attention taken, and this not yet said, sleeps again. */
		tell_change(end);
		if (end->lane)
			vmshm_lane_wake(end);
	}
}

/* shutdown(2): RCV_SHUTDOWN, SEND_SHUTDOWN or both. */
void vmshm_end_shutdown(struct vmshm_end *end, int mode)
{
	u32 why = 0;

	if (mode & SEND_SHUTDOWN) {
		spin_lock(&end->tx_lock);
		if (end->tx_open) {
			vmshm_prod_set_flags(&end->prod, VMSHM_RING_FIN);
			why |= VMSHM_PEND_DATA;
		}
		spin_unlock(&end->tx_lock);
	}
	if (mode & RCV_SHUTDOWN) {
		spin_lock(&end->rx_lock);
		if (end->rx_open) {
			vmshm_rx_set_flags(end, VMSHM_RING_RDSHUT);
			why |= VMSHM_PEND_SPACE;
		}
		spin_unlock(&end->rx_lock);
	}
	if (why)
		vmshm_notify(end, why);
}

/*
 * The device goes: nothing may touch its memory any more.  Ends that a socket
 * still reads from lose what was in them.  No new end can appear (gone is set).
 */
void vmshm_ends_unmap(struct vmshm_chan *ch)
{
	struct vmshm_end *end;

	for (;;) {
		bool lost;

		spin_lock(&ch->stats_lock);
		end = list_first_entry_or_null(&ch->rings, struct vmshm_end, ring_node);
		/* At its last reference: it takes itself off the list. */
		if (end && !refcount_inc_not_zero(&end->ref))
			end = NULL;
		else if (end)
			list_move_tail(&end->ring_node, &ch->rings);
		spin_unlock(&ch->stats_lock);
		if (!end) {
			if (list_empty_careful(&ch->rings))
				break;
			cond_resched();
			continue;
		}
		mark_reset(end);
		close_tx(end, 0);
		/* Half a file is not the file, whatever the peer's end of stream says. */
		spin_lock(&end->lock);
		spin_lock(&end->rx_lock);
		lost = end->rx_open && vmshm_rx_unread(end) && end->err != ECONNRESET;
		if (lost)
			show_error(end);
		WRITE_ONCE(end->rx_open, false);
		spin_unlock(&end->rx_lock);
		spin_unlock(&end->lock);
		if (lost)
			tell_error(end);
		vmshm_rxring_free(end);
		vmshm_end_put(end);
	}
}
