// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells, outgoing and incoming: the pending queues that say which ends a
 * doorbell is for, and what the interrupt does.  When a doorbell is needed is
 * decided where bytes move (stream.c, end.c); control messages are in ctl.c.
 */
#include "vmshm.h"
#include "trace.h"

/* Entries, and sockets that watch, in one interrupt; the worker takes what is left. */
#define IRQ_BUDGET	256

/*
 * The vector to ring: the one that who waits there asks for, else one by the end's
 * number.  Whatever the peer says, it is one of its own vectors.  Under RCU, with the
 * memory there: see peek_flags().
 */
static u32 vector_for(const struct vmshm_end *end, u32 why)
{
	u32 wish = 0;

	/* Pairs with vmshm_end_open(): the view is whole. */
	if (why & VMSHM_PEND_DATA && smp_load_acquire(&end->tx_open))
		wish = vmshm_prod_peer_vector(&end->prod);
	/* Pairs with vmshm_end_number(). */
	if (!wish && why & VMSHM_PEND_SPACE && smp_load_acquire(&end->rx_open))
		wish = vmshm_cons_peer_vector(&end->cons);
	return (wish ? wish - 1 : end->peer_id) % end->chan->peer_vectors;
}

/**
 * vmshm_notify - tell the peer that something happened to an end
 * @end: an end that the peer knows
 * @why: VMSHM_PEND_DATA, VMSHM_PEND_SPACE or both
 *
 * Any process context, spinlocks may be held but for pend_tx_lock.
 */
void vmshm_notify(struct vmshm_end *end, u32 why)
{
	struct vmshm_chan *ch = end->chan;
	u32 peer_id = end->peer_id;
	u32 *queue;

	rcu_read_lock();
	if (READ_ONCE(ch->gone) || READ_ONCE(ch->state) != VMSHM_CHAN_UP)
		goto out;
	spin_lock(&ch->pend_tx_lock);
	/* A lie about the index costs the liar: its own wake-ups get vague. */
	if (vmshm_queue_room(&ch->pend_tx) > 0) {
		queue = (u32 *)((u8 *)ch->mine + VMSHM_SIDE_PEND);
		vmshm_store(&queue[vmshm_queue_slot(&ch->pend_tx)], peer_id | why);
		vmshm_queue_advance(&ch->pend_tx);
	} else {
		vmshm_overflow_bump(&ch->mine->pend_overflow, &ch->pend_overflow);
	}
	spin_unlock(&ch->pend_tx_lock);
	trace_vmshm_doorbell(ch->peer_cid, peer_id, why);
	ch->bus->doorbell(ch, vector_for(end, why));
out:
	rcu_read_unlock();
}

/* Both queues begin anew, with a new pair of epochs.  Under chan->mutex. */
void vmshm_notify_reset(struct vmshm_chan *ch)
{
	unsigned long flags;

	spin_lock(&ch->pend_tx_lock);
	vmshm_queue_init(&ch->pend_tx, &ch->mine->pend_prod, &ch->theirs->pend_cons,
			 VMSHM_PEND_ENTRIES);
	vmshm_store(&ch->mine->pend_prod, 0);
	spin_unlock(&ch->pend_tx_lock);

	spin_lock_irqsave(&ch->pend_rx_lock, flags);
	vmshm_queue_init(&ch->pend_rx, &ch->mine->pend_cons, &ch->theirs->pend_prod,
			 VMSHM_PEND_ENTRIES);
	vmshm_store(&ch->mine->pend_cons, 0);
	spin_unlock_irqrestore(&ch->pend_rx_lock, flags);
}

/* Ring for the control queue, an epoch, or whatever the worker looks at. */
void vmshm_chan_ring(struct vmshm_chan *ch)
{
	rcu_read_lock();
	if (!READ_ONCE(ch->gone)) {
		atomic64_inc(&ch->ctl_doorbells);
		trace_vmshm_doorbell(ch->peer_cid, 0, 0);
		ch->bus->doorbell(ch, 0);
	}
	rcu_read_unlock();
}

/*
 * What the peer's flags say, from beside the end's locks.  The pages can't go
 * under RCU (see vmshm_chan_remove() and the loopback bus); should they serve
 * another connection already, the worst is a wake-up too many.
 */
static u32 peek_flags(struct vmshm_end *end)
{
	u32 flags = 0;

	/* Pairs with vmshm_end_number() and vmshm_end_open(): the views are whole. */
	if (smp_load_acquire(&end->rx_open))
		flags |= vmshm_cons_peer_flags(&end->cons);
	/* Likewise. */
	if (smp_load_acquire(&end->tx_open))
		flags |= vmshm_prod_peer_flags(&end->prod);
	return flags;
}

/* Returns how many others were woken besides the end's own socket. */
static unsigned int wake_end(struct vmshm_end *end, u32 why)
{
	struct sock *sk = rcu_dereference(end->sk);
	u32 flags = peek_flags(end);
	unsigned int others = 0;

	if (flags)
		smp_store_release(&end->attention, 1);	/* pairs with vmshm_end_attend() */
	if (end->lane)
		others = vmshm_lane_wake(end);
	if (!sk)
		return others;
	/* A statistic: a count that is lost to a second CPU does no harm. */
	WRITE_ONCE(end->rx_stats.wakeups, end->rx_stats.wakeups + 1);
	trace_vmshm_wakeup(end->chan->peer_cid, end->id);
	if (flags)
		sk->sk_state_change(sk);	/* all who wait, whatever for */
	if (why & VMSHM_PEND_DATA)
		sk->sk_data_ready(sk);
	if (why & VMSHM_PEND_SPACE)
		sk->sk_write_space(sk);
	return others;
}

/* Returns false when entries are left over. */
static bool drain(struct vmshm_chan *ch)
{
	const u32 *queue = (const u32 *)((u8 *)ch->theirs + VMSHM_SIDE_PEND);
	int filled = vmshm_queue_filled(&ch->pend_rx);
	int budget = IRQ_BUDGET;

	/* A lie, or a restart that the worker will see: its entries are lost to it. */
	if (filled < 0)
		return true;
	while (filled > 0 && budget-- > 0) {
		u32 entry = vmshm_load(&queue[vmshm_queue_slot(&ch->pend_rx)]);
		struct vmshm_end *end;

		vmshm_queue_advance(&ch->pend_rx);
		end = xa_load(&ch->ends, entry & VMSHM_PEND_ID_MASK);
		if (end)
			budget -= wake_end(end, entry);
		filled--;
	}
	return filled == 0;
}

/**
 * vmshm_chan_irq - the peer, or the daemon, rang
 * @ch: which channel
 *
 * Hard interrupt, or process context on the loopback bus.  Wakes who waits,
 * takes no socket lock, drops no reference; everything else is the worker's.
 * Returns whether there was anything to ring for.
 */
bool vmshm_chan_irq(struct vmshm_chan *ch)
{
	unsigned long flags;
	bool work, pending, up;

	rcu_read_lock();
	if (READ_ONCE(ch->gone)) {
		rcu_read_unlock();
		return false;
	}
	spin_lock_irqsave(&ch->pend_rx_lock, flags);
	ch->doorbells_received++;
	/* Before it was up once, there is no queue. */
	up = READ_ONCE(ch->state) == VMSHM_CHAN_UP;
	pending = up && vmshm_queue_filled(&ch->pend_rx) > 0;
	work = !up || !drain(ch);
	spin_unlock_irqrestore(&ch->pend_rx_lock, flags);

	/* Anything that the worker looks at?  It checks again, properly. */
	if (!work)
		work = vmshm_load(ch->ctl_rx.theirs) != READ_ONCE(ch->ctl_rx.here) ||
		       vmshm_load(&ch->theirs->epoch) != READ_ONCE(ch->peer_epoch) ||
		       vmshm_load(&ch->theirs->state) != VMSHM_SIDE_UP ||
		       vmshm_load(&ch->theirs->epoch_echo) != READ_ONCE(ch->epoch) ||
		       vmshm_load(&ch->theirs->pend_overflow) != READ_ONCE(ch->seen_overflow) ||
		       READ_ONCE(ch->ctl_stuck) ||
		       (ch->presence && vmshm_load(ch->presence) != ch->seen_presence) ||
		       vmshm_drain_wished(ch) != READ_ONCE(ch->draining);
	/* A worker that pauses comes back by itself. */
	if (work && !READ_ONCE(ch->pausing))
		queue_work(vmshm_wq, &ch->work);
	rcu_read_unlock();
	/* Who is not even up rings for itself: handshakes are few. */
	return pending || (up && work);
}

/* Go on where an interrupt's budget ended.  From the worker.  True: there is more. */
bool vmshm_chan_drain(struct vmshm_chan *ch)
{
	unsigned long flags;
	bool more;

	rcu_read_lock();
	spin_lock_irqsave(&ch->pend_rx_lock, flags);
	more = !READ_ONCE(ch->gone) && !drain(ch);
	spin_unlock_irqrestore(&ch->pend_rx_lock, flags);
	rcu_read_unlock();
	return more;
}

/* Look at every ring once: the pending queue ran over, or lied. */
void vmshm_chan_wake_all(struct vmshm_chan *ch)
{
	struct vmshm_end *end;
	unsigned long id;

	rcu_read_lock();
	xa_for_each(&ch->ends, id, end)
		wake_end(end, VMSHM_PEND_DATA | VMSHM_PEND_SPACE);
	rcu_read_unlock();
}
