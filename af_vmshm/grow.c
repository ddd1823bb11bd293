// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffers that grow while a connection is open.  A direction is a chain of
 * rings: the receiver offers a larger one (RING), the sender goes on there and
 * marks the ring that it leaves (MOVED), the receiver reads that one to its end
 * and follows (TAKEN).  Counts begin anew in each ring, so who copies knows
 * nothing of all this: the views, end->prod and end->cons, are exchanged.
 *
 * Views are exchanged under tx_lock or rx_lock.  Who looks from beside the lock
 * finds out by a sequence count (ring_wait.c).
 */
#include "vmshm.h"

/* Rings of an end that it has not followed to: a stream's can double so often. */
#define RINGS_WAITING	(VMSHM_RING_ORDER_MAX - VMSHM_RING_ORDER_MIN)

/**
 * struct vmshm_grown - a ring that was made for a receiver to follow to
 * @node: end->rx_next, oldest first; under rx_lock and chan->ctl_lock both
 * @hdr: as rx_hdr of struct vmshm_end
 * @off: as rx_off
 * @order: as rx_order
 * @record_max: as rx_record_max
 * @said: RING is in the control queue
 */
struct vmshm_grown {
	struct list_head node;
	struct vmshm_ring_hdr *hdr;
	u64 off;
	u32 order;
	u32 record_max;
	bool said;
};

/* ---- the receiver ---- */

static struct vmshm_grown *newest(struct vmshm_end *end)
{
	return list_empty(&end->rx_next) ? NULL :
	       list_last_entry(&end->rx_next, struct vmshm_grown, node);
}

/* Enough of them: a longest record that grows by a byte would take all memory. */
static bool too_many(struct vmshm_end *end)
{
	struct vmshm_grown *g;
	int n = 0;

	list_for_each_entry(g, &end->rx_next, node)
		n++;
	return n >= RINGS_WAITING;
}

/* A larger ring, and no smaller one, for what the socket asks for. */
static struct vmshm_grown *grown_alloc(struct vmshm_end *end, u32 order, u32 record_max)
{
	struct vmshm_grown *g = kzalloc(sizeof(*g), GFP_KERNEL_ACCOUNT);

	if (!g)
		return NULL;
	g->hdr = vmshm_ring_get(end->chan, order, &g->off);
	if (!g->hdr) {
		kfree(g);
		return NULL;
	}
	g->order = order;
	g->record_max = record_max;
	vmshm_ring_init(g->hdr, order, end->id, end->gen);
	vmshm_store(&g->hdr->record_max, record_max);
	/* The first byte in it rings: nobody asks before that. */
	vmshm_store(&g->hdr->data_event, 1);
	return g;
}

/* What a ring says that was not followed to: TAKEN is of the one that is read. */
static u32 flags_ahead(const struct vmshm_end *end)
{
	return end->cons.flags & ~VMSHM_RING_TAKEN;
}

/**
 * vmshm_end_grow - let the peer send more before the socket reads
 * @end: of a connected socket
 * @vs: the socket, whose buffer size was set
 *
 * Does nothing when the ring is large enough already, when the connection is
 * over, or when the peer can't follow.  Returns 0, or -ENOBUFS when there is no
 * memory, or too much of it waits to be read.  May sleep; takes chan->mutex.
 */
int vmshm_end_grow(struct vmshm_end *end, const struct vmshm_sock *vs)
{
	struct vmshm_chan *ch = end->chan;
	struct vmshm_grown *last, *g;
	u32 order, record_max;
	bool over, many;
	int err = 0;

	mutex_lock(&ch->mutex);
	spin_lock(&end->lock);
	over = end->reset || end->done_said || end->done_received;
	spin_unlock(&end->lock);
	if (over || READ_ONCE(ch->gone) || ch->state != VMSHM_CHAN_UP ||
	    !(ch->features & VMSHM_F_GROW) || !READ_ONCE(end->rx_open))
		goto out;
	vmshm_ring_for(end->sock_type, vs, &order, &record_max);
	/* Only this function adds, under the mutex. */
	spin_lock(&end->rx_lock);
	last = newest(end);
	if (order <= (last ? last->order : end->rx_order) &&
	    record_max <= (last ? last->record_max : end->rx_record_max))
		order = 0;
	many = too_many(end);
	spin_unlock(&end->rx_lock);
	if (!order)
		goto out;
	g = many ? NULL : grown_alloc(end, order, record_max);
	if (!g) {
		err = -ENOBUFS;
		goto out;
	}
	spin_lock(&end->rx_lock);
	spin_lock(&ch->ctl_lock);
	vmshm_store(&g->hdr->cons_flags, flags_ahead(end));
	list_add_tail(&g->node, &end->rx_next);
	spin_unlock(&ch->ctl_lock);
	spin_unlock(&end->rx_lock);
	vmshm_ctl_say(end, VMSHM_SAY_RING);
out:
	mutex_unlock(&ch->mutex);
	return err;
}

/* Fill in the next RING; true when there are more to say.  Under ctl_lock. */
bool vmshm_grow_compose(struct vmshm_end *end, struct vmshm_ctl *msg)
{
	struct vmshm_grown *g;
	bool found = false;

	list_for_each_entry(g, &end->rx_next, node) {
		if (g->said)
			continue;
		if (found)
			return true;
		found = true;
		g->said = true;
		msg->ring_off = g->off;
		msg->ring_order = g->order;
	}
	return false;
}

/* Has the peer left the ring that is being read, for one that it was told of? */
bool vmshm_rx_has_moved(struct vmshm_end *end)
{
	return !list_empty(&end->rx_next) &&
	       list_first_entry(&end->rx_next, struct vmshm_grown, node)->said &&
	       vmshm_cons_peer_flags(&end->cons) & VMSHM_RING_MOVED;
}

/*
 * Follow the peer, if it has moved and all was read.  Under rx_lock.  True: the
 * view is another one; look again, and ring.
 */
bool vmshm_rx_follow(struct vmshm_end *end)
{
	struct vmshm_chan *ch = end->chan;
	struct vmshm_ring_hdr *hdr = end->rx_hdr;
	u32 flags = end->cons.flags;
	u32 order = end->rx_order;
	u64 off = end->rx_off;
	struct vmshm_grown *g;

	/* The flag before the index: after MOVED, the index that is read is the last. */
	if (!vmshm_rx_has_moved(end) || vmshm_cons_avail(&end->cons, 1))
		return false;
	g = list_first_entry(&end->rx_next, struct vmshm_grown, node);
	spin_lock(&ch->ctl_lock);
	list_del(&g->node);
	spin_unlock(&ch->ctl_lock);

	end->rx_hdr = g->hdr;
	end->rx_off = g->off;
	end->rx_order = g->order;
	end->rx_record_max = g->record_max;
	write_seqcount_begin(&end->rx_seq);
	vmshm_cons_init(&end->cons, g->hdr, g->order);
	vmshm_cons_set_flags(&end->cons, flags | VMSHM_RING_TAKEN);
	vmshm_cons_arm(&end->cons, 1);
	write_seqcount_end(&end->rx_seq);
	/* Nobody writes into it any more; who looks from beside does so under RCU. */
	vmshm_ring_put(ch, hdr, off, order);
	/* What the peer said meanwhile it said in the new ring. */
	WRITE_ONCE(end->attention, 1);
	kfree(g);
	return true;
}

/* Flags for the peer, in whatever ring it is.  Under rx_lock. */
void vmshm_rx_set_flags(struct vmshm_end *end, u32 flags)
{
	struct vmshm_grown *g;

	vmshm_cons_set_flags(&end->cons, flags);
	list_for_each_entry(g, &end->rx_next, node)
		vmshm_store_release(&g->hdr->cons_flags, flags_ahead(end));
	vmshm_mb();	/* the doorbell that follows finds the flag set */
}

/* What the peer says, in whatever ring it is.  Under rx_lock. */
u32 vmshm_rx_peer_flags(struct vmshm_end *end)
{
	u32 flags = vmshm_cons_peer_flags(&end->cons);
	struct vmshm_grown *g;

	list_for_each_entry(g, &end->rx_next, node)
		flags |= vmshm_load_acquire(&g->hdr->prod_flags);
	return flags;
}

/* Bytes that wait, in all rings.  A hint.  Under rx_lock. */
u64 vmshm_rx_unread(struct vmshm_end *end)
{
	u64 bytes = vmshm_cons_peek(&end->cons);
	struct vmshm_grown *g;

	list_for_each_entry(g, &end->rx_next, node)
		bytes += min(vmshm_load(&g->hdr->prod), 1ULL << g->order);
	return bytes;
}

/* With the ring itself: see vmshm_rxring_free(). */
void vmshm_grow_free(struct vmshm_end *end)
{
	struct vmshm_chan *ch = end->chan;
	struct vmshm_grown *g;

	for (;;) {
		spin_lock(&ch->ctl_lock);
		g = list_first_entry_or_null(&end->rx_next, struct vmshm_grown, node);
		if (g)
			list_del(&g->node);
		spin_unlock(&ch->ctl_lock);
		if (!g)
			break;
		vmshm_ring_put(ch, g->hdr, g->off, g->order);
		kfree(g);
	}
}

/* ---- the sender ---- */

/* Bytes that the peer has not read, in all rings, as far as it says.  A hint. */
u64 vmshm_tx_unread(const struct vmshm_end *end)
{
	u64 bytes = vmshm_prod_unread(&end->prod);

	if (end->tx_behind && !(vmshm_prod_peer_flags(&end->prod) & VMSHM_RING_TAKEN))
		bytes += end->tx_behind;
	return bytes;
}

/**
 * vmshm_end_move - the peer offers a ring to go on in
 * @end: open
 * @hdr: the ring, checked to be in the peer's half
 * @order: of its data area
 *
 * Returns false when it is no ring to go on in.  May sleep.
 */
bool vmshm_end_move(struct vmshm_end *end, struct vmshm_ring_hdr *hdr, u32 order)
{
	bool moved = false, lie = false;
	struct vmshm_prod behind;
	struct sock *sk;

	/* Not in the middle of a record. */
	mutex_lock(&end->tx_mutex);
	spin_lock(&end->tx_lock);
	if (end->tx_open && !(end->prod.flags & VMSHM_RING_FIN)) {
		lie = 1ULL << order < end->prod.size || hdr == end->prod.hdr;
		moved = !lie;
	}
	if (moved) {
		/* All that is written is published; it goes on behind that. */
		end->tx_behind = vmshm_tx_unread(end);
		behind = end->prod;
		write_seqcount_begin(&end->tx_seq);
		vmshm_prod_init(&end->prod, hdr, order);
		end->tx_mark = end->prod.size / 4;
		if (end->sock_type != SOCK_STREAM)
			vmshm_record_tx_init(end);
		write_seqcount_end(&end->tx_seq);
		/* The peer may free it now: nobody here looks at it any more. */
		vmshm_prod_set_flags(&behind, VMSHM_RING_MOVED);
	}
	spin_unlock(&end->tx_lock);
	mutex_unlock(&end->tx_mutex);
	if (!moved)
		return !lie;

	vmshm_notify(end, VMSHM_PEND_DATA);
	/* There is room. */
	rcu_read_lock();
	sk = rcu_dereference(end->sk);
	if (sk) {
		sk->sk_state_change(sk);
		sk->sk_write_space(sk);
	}
	rcu_read_unlock();
	if (end->lane)
		vmshm_lane_wake(end);
	return true;
}
