// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control messages: what the two kernels of a channel say to each other about
 * connections (CONNECT, ACCEPT, REFUSE, DONE).  docs/ABI.md has the protocol.
 * What a message does to an end is in end.c.
 *
 * No message is lost for want of room: an end has a bit for each thing that it
 * still has to say and a place in the backlog, and refusals have slots for as
 * many CONNECTs as the peer may have outstanding.
 */
#include "vmshm.h"
#include "trace.h"

static struct vmshm_ctl *tx_slot(struct vmshm_chan *ch)
{
	struct vmshm_ctl *queue = (void *)((u8 *)ch->mine + VMSHM_SIDE_CTL);

	return &queue[vmshm_queue_slot(&ch->ctl_tx)];
}

/* True when there is more to say of this kind. */
static bool compose(struct vmshm_chan *ch, struct vmshm_end *end, u8 bit, struct vmshm_ctl *msg)
{
	msg->src_id = end->id;
	msg->src_gen = end->gen;
	switch (bit) {
	case VMSHM_SAY_CONNECT:
		msg->type = VMSHM_CTL_CONNECT;
		msg->src_port = end->local_port;
		msg->dst_port = end->peer_port;
		msg->sock_type = end->sock_type;
		msg->flags = end->to_own_cid && !end->chan->presence ? VMSHM_CTL_F_OWN_CID : 0;
		break;
	case VMSHM_SAY_ACCEPT:
		msg->type = VMSHM_CTL_ACCEPT;
		msg->dst_id = end->peer_id;
		msg->dst_gen = end->peer_gen;
		break;
	case VMSHM_SAY_RING:
		msg->type = VMSHM_CTL_RING;
		msg->dst_id = end->peer_id;
		msg->dst_gen = end->peer_gen;
		return vmshm_grow_compose(end, msg);
	default:
		msg->type = VMSHM_CTL_DONE;
		msg->flags = end->ctl_flags;
		msg->dst_id = end->peer_id;
		msg->dst_gen = end->peer_gen;
		return false;
	}
	msg->ring_off = end->rx_off;
	msg->ring_order = end->rx_order;
	return false;
}

/* Room for one message?  If not, ask to be rung.  Under ctl_lock. */
static bool have_room(struct vmshm_chan *ch)
{
	if (vmshm_queue_room(&ch->ctl_tx) > 0)
		return true;
	WRITE_ONCE(ch->ctl_stuck, true);
	vmshm_want_room(&ch->mine->ctl_wanted, 1);
	if (vmshm_queue_room(&ch->ctl_tx) <= 0)
		return false;
	WRITE_ONCE(ch->ctl_stuck, false);
	vmshm_want_room(&ch->mine->ctl_wanted, 0);
	return true;
}

/*
 * Put the next message into the queue.  Under ctl_lock.  Returns false when
 * there is none or no room.  *@end: an end that has said all that it had to
 * (the backlog's reference goes to the caller), *@done: its DONE went out.
 */
static bool send_one(struct vmshm_chan *ch, struct vmshm_end **end, bool *done)
{
	struct vmshm_ctl msg = {};
	struct vmshm_end *first;

	*end = NULL;
	*done = false;
	first = list_first_entry_or_null(&ch->ctl_backlog, struct vmshm_end, ctl_node);
	if (!first && ch->refusal_head == ch->refusal_tail)
		return false;
	if (!have_room(ch))
		return false;

	if (ch->refusal_head != ch->refusal_tail) {
		struct vmshm_refusal *r = &ch->refusals[ch->refusal_tail++ % VMSHM_CTL_CREDITS];

		msg.type = VMSHM_CTL_REFUSE;
		msg.dst_id = r->id;
		msg.dst_gen = r->gen;
		msg.error = r->error;
	} else {
		u8 bit = first->ctl_bits & -first->ctl_bits;

		if (!compose(ch, first, bit, &msg))
			first->ctl_bits &= ~bit;
		*done = bit == VMSHM_SAY_DONE;
		if (!first->ctl_bits) {
			list_del_init(&first->ctl_node);
			*end = first;
		}
	}
	msg.epoch = ch->epoch;
	msg.epoch_echo = ch->peer_epoch;
	memcpy(tx_slot(ch), &msg, sizeof(msg));
	vmshm_queue_advance(&ch->ctl_tx);
	return true;
}

/**
 * vmshm_ctl_flush - say what is to be said, as far as there is room
 * @ch: the channel
 *
 * Process context, no spinlock of an end or channel is held.
 */
void vmshm_ctl_flush(struct vmshm_chan *ch)
{
	bool sent = false;

	for (;;) {
		struct vmshm_end *end;
		bool more, done = false;

		spin_lock(&ch->ctl_lock);
		more = ch->state == VMSHM_CHAN_UP && send_one(ch, &end, &done);
		spin_unlock(&ch->ctl_lock);
		if (!more)
			break;
		sent = true;
		if (done)
			vmshm_end_done_sent(end);
		if (end)
			vmshm_end_put(end);
	}
	if (sent)
		vmshm_chan_ring(ch);
}

/* The peer took messages and rang: it need not ring for room any more. */
void vmshm_ctl_unstick(struct vmshm_chan *ch)
{
	if (!READ_ONCE(ch->ctl_stuck))
		return;
	spin_lock(&ch->ctl_lock);
	WRITE_ONCE(ch->ctl_stuck, false);
	vmshm_want_room(&ch->mine->ctl_wanted, 0);
	spin_unlock(&ch->ctl_lock);
}

/* An end has something to say: VMSHM_SAY_*. */
void vmshm_ctl_say(struct vmshm_end *end, u8 bit)
{
	struct vmshm_chan *ch = end->chan;

	spin_lock(&ch->ctl_lock);
	/* What breaks a channel says for its ends that they are done. */
	if (ch->state != VMSHM_CHAN_UP) {
		spin_unlock(&ch->ctl_lock);
		return;
	}
	end->ctl_bits |= bit;
	if (list_empty(&end->ctl_node)) {
		refcount_inc(&end->ref);
		list_add_tail(&end->ctl_node, &ch->ctl_backlog);
	}
	spin_unlock(&ch->ctl_lock);
	vmshm_ctl_flush(ch);
}

/* Take a CONNECT back that was not sent yet; false when it was. */
bool vmshm_ctl_unsay_connect(struct vmshm_end *end)
{
	struct vmshm_chan *ch = end->chan;
	bool unsaid;

	spin_lock(&ch->ctl_lock);
	unsaid = end->ctl_bits & VMSHM_SAY_CONNECT;
	if (unsaid) {
		end->ctl_bits = 0;
		list_del_init(&end->ctl_node);
		if (ch->credits < VMSHM_CTL_CREDITS)
			ch->credits++;
		if (ch->state == VMSHM_CHAN_UP)
			queue_work(vmshm_wq, &ch->work);	/* another may start */
	}
	spin_unlock(&ch->ctl_lock);
	if (unsaid)
		vmshm_end_put(end);
	return unsaid;
}

/* Refuse a CONNECT; @error is a positive errno. */
void vmshm_ctl_refuse(struct vmshm_chan *ch, u32 id, u32 gen, int error)
{
	bool room;

	spin_lock(&ch->ctl_lock);
	room = ch->refusal_head - ch->refusal_tail < VMSHM_CTL_CREDITS;
	if (room)
		ch->refusals[ch->refusal_head++ % VMSHM_CTL_CREDITS] =
			(struct vmshm_refusal){ .id = id, .gen = gen, .error = error };
	spin_unlock(&ch->ctl_lock);
	/* More CONNECTs than it has credits: its own fault. */
	if (!room)
		atomic64_inc(&ch->protocol_errors);
}

/* The control queues begin anew.  Under chan->mutex, the channel is not up. */
void vmshm_ctl_reset(struct vmshm_chan *ch)
{
	struct vmshm_end *end;

	for (;;) {
		spin_lock(&ch->ctl_lock);
		end = list_first_entry_or_null(&ch->ctl_backlog, struct vmshm_end, ctl_node);
		if (end) {
			end->ctl_bits = 0;
			list_del_init(&end->ctl_node);
		}
		spin_unlock(&ch->ctl_lock);
		if (!end)
			break;
		vmshm_end_put(end);
	}

	spin_lock(&ch->ctl_lock);
	ch->refusal_head = 0;
	ch->refusal_tail = 0;
	ch->credits = VMSHM_CTL_CREDITS;
	WRITE_ONCE(ch->ctl_stuck, false);
	vmshm_store(&ch->mine->ctl_wanted, 0);
	vmshm_queue_init(&ch->ctl_tx, &ch->mine->ctl_prod, &ch->theirs->ctl_cons,
			 VMSHM_CTL_ENTRIES);
	vmshm_store(&ch->mine->ctl_prod, 0);
	spin_unlock(&ch->ctl_lock);
	vmshm_queue_init(&ch->ctl_rx, &ch->mine->ctl_cons, &ch->theirs->ctl_prod,
			 VMSHM_CTL_ENTRIES);
	vmshm_store(&ch->mine->ctl_cons, 0);
}

/* ---- connects that wait for the channel to come up, or for a credit ---- */

/**
 * vmshm_connect_start - begin to connect
 * @end: a new end with ports and ring size set
 *
 * The outcome comes through vmshm_end_open() or vmshm_end_fail().  May sleep.
 */
void vmshm_connect_start(struct vmshm_end *end)
{
	struct vmshm_chan *ch = end->chan;

	refcount_inc(&end->ref);
	spin_lock(&ch->ctl_lock);
	list_add_tail(&end->node, &ch->connects);
	spin_unlock(&ch->ctl_lock);

	mutex_lock(&ch->mutex);
	if (READ_ONCE(ch->gone) || ch->state == VMSHM_CHAN_ABSENT)
		vmshm_connect_drop(ch, ENODEV);
	else
		vmshm_connect_pump(ch);
	mutex_unlock(&ch->mutex);
}

static struct vmshm_end *next_connect(struct vmshm_chan *ch, bool credit)
{
	struct vmshm_end *end = NULL;

	spin_lock(&ch->ctl_lock);
	if (!credit || ch->credits > 0)
		end = list_first_entry_or_null(&ch->connects, struct vmshm_end, node);
	if (end) {
		list_del_init(&end->node);
		if (credit)
			ch->credits--;
	}
	spin_unlock(&ch->ctl_lock);
	return end;
}

static void give_credit(struct vmshm_chan *ch)
{
	spin_lock(&ch->ctl_lock);
	if (ch->credits < VMSHM_CTL_CREDITS)
		ch->credits++;
	spin_unlock(&ch->ctl_lock);
}

/* Start what waits, as far as credits go.  Under chan->mutex. */
void vmshm_connect_pump(struct vmshm_chan *ch)
{
	struct vmshm_end *end;

	while (ch->state == VMSHM_CHAN_UP && (end = next_connect(ch, true))) {
		bool able = ch->features & vmshm_type_feature(end->sock_type);
		int err = able ? vmshm_end_number(end) : -ESOCKTNOSUPPORT;
		bool wanted;

		spin_lock(&end->lock);
		wanted = end->state == VMSHM_END_WAITING;
		if (!err && wanted)
			end->state = VMSHM_END_CONNECTING;
		spin_unlock(&end->lock);
		if (err || !wanted) {
			give_credit(ch);
			vmshm_end_fail(end, err ? -err : ECONNRESET);
		} else {
			vmshm_ctl_say(end, VMSHM_SAY_CONNECT);
		}
		vmshm_end_put(end);
	}
}

/* Nothing will come of those that wait.  @err: positive.  Under chan->mutex. */
void vmshm_connect_drop(struct vmshm_chan *ch, int err)
{
	struct vmshm_end *end;

	while ((end = next_connect(ch, false))) {
		vmshm_end_fail(end, err);
		vmshm_end_put(end);
	}
}

/* ---- what the peer says ---- */

/* An end that a message is for, with a reference. */
static struct vmshm_end *find_end(struct vmshm_chan *ch, u32 id, u32 gen)
{
	struct vmshm_end *end;

	rcu_read_lock();
	end = xa_load(&ch->ends, id);
	if (end && (end->gen != gen || !refcount_inc_not_zero(&end->ref)))
		end = NULL;
	rcu_read_unlock();
	return end;
}

static void got_connect(struct vmshm_chan *ch, const struct vmshm_ctl *msg)
{
	struct vmshm_ring_hdr *hdr = NULL;
	struct vmshm_sock *listener;
	struct vmshm_end *end;
	u32 cid = ch->local_cid;
	int err;

	if (msg->flags & VMSHM_CTL_F_OWN_CID)
		cid = vmshm_local_cid();
	err = ESHUTDOWN;
	if (ch->draining)
		goto refuse;
	err = ECONNRESET;
	if (!msg->src_id || msg->src_id > VMSHM_PEND_ID_MASK) {
		atomic64_inc(&ch->protocol_errors);
		goto refuse;
	}
	if (msg->sock_type == SOCK_DGRAM && ch->features & VMSHM_F_DGRAM) {
		err = vmshm_dgram_offered(ch, cid, msg);
		if (err)
			goto refuse;
		return;
	}
	if (vmshm_ring_fits(msg->ring_off, msg->ring_order, ch->half_size))
		hdr = ch->bus->ring_peer(ch, msg->ring_off, msg->ring_order);
	if (!hdr) {
		atomic64_inc(&ch->protocol_errors);
		goto refuse;
	}
	listener = vmshm_find_listener(cid, msg->dst_port);
	if (!listener)
		goto refuse;
	if (listener->sk.sk_type != msg->sock_type || sk_acceptq_is_full(&listener->sk) ||
	    !(ch->features & vmshm_type_feature(msg->sock_type)))
		goto put_listener;

	err = ENOBUFS;
	end = vmshm_end_alloc(ch, GFP_KERNEL);
	if (!end)
		goto put_listener;
	end->local_cid = cid;
	end->local_port = msg->dst_port;
	end->peer_port = msg->src_port;
	end->peer_id = msg->src_id;
	end->peer_gen = msg->src_gen;
	end->sock_type = msg->sock_type;
	vmshm_end_size(end, listener);
	if (vmshm_end_number(end)) {
		vmshm_end_put(end);
		goto put_listener;
	}
	vmshm_end_open(end, hdr, msg->ring_order);
	vmshm_ctl_say(end, VMSHM_SAY_ACCEPT);
	/* The listener closed, or another channel took the last place. */
	if (vmshm_accept_queue(listener, end))
		vmshm_end_release(end, true);
	vmshm_end_put(end);
	sock_put(&listener->sk);
	return;

put_listener:
	sock_put(&listener->sk);
refuse:
	vmshm_ctl_refuse(ch, msg->src_id, msg->src_gen, err);
}

static void got_accept(struct vmshm_chan *ch, struct vmshm_end *end, const struct vmshm_ctl *msg)
{
	struct vmshm_ring_hdr *hdr = NULL;

	give_credit(ch);
	end->peer_id = msg->src_id & VMSHM_PEND_ID_MASK;
	end->peer_gen = msg->src_gen;
	if (vmshm_ring_fits(msg->ring_off, msg->ring_order, ch->half_size))
		hdr = ch->bus->ring_peer(ch, msg->ring_off, msg->ring_order);
	if (!hdr) {
		/* It may write into our ring all the same, until its DONE. */
		vmshm_end_disown(end, VMSHM_END_OPEN, ECONNRESET);
		vmshm_end_reset(end, "the peer accepted with a ring that is not there");
		return;
	}
	if (!vmshm_end_open(end, hdr, msg->ring_order))
		vmshm_end_release(end, true);
}

static void got_refuse(struct vmshm_chan *ch, struct vmshm_end *end, const struct vmshm_ctl *msg)
{
	give_credit(ch);
	/* Only what a refusal can mean: no errno of the peer's choice. */
	if (msg->error == ENOBUFS || msg->error == ESHUTDOWN)
		vmshm_end_fail(end, msg->error);
	else
		vmshm_end_fail(end, end->lane ? ECONNREFUSED : ECONNRESET);
}

/* A larger ring to go on in; false when it can't be true. */
static bool got_ring(struct vmshm_chan *ch, struct vmshm_end *end, const struct vmshm_ctl *msg)
{
	struct vmshm_ring_hdr *hdr = NULL;

	if (vmshm_ring_fits(msg->ring_off, msg->ring_order, ch->half_size))
		hdr = ch->bus->ring_peer(ch, msg->ring_off, msg->ring_order);
	return hdr && ch->features & VMSHM_F_GROW &&
	       vmshm_end_move(end, hdr, msg->ring_order);
}

static bool answer_due(struct vmshm_end *end)
{
	enum vmshm_end_state state = READ_ONCE(end->state);
	bool asked;

	spin_lock(&end->chan->ctl_lock);
	asked = !(end->ctl_bits & VMSHM_SAY_CONNECT);
	spin_unlock(&end->chan->ctl_lock);
	return asked && (state == VMSHM_END_CONNECTING || state == VMSHM_END_CANCELLED);
}

static void got_message(struct vmshm_chan *ch, const struct vmshm_ctl *msg)
{
	struct vmshm_end *end;
	bool lie = false;

	/* From before a restart of either side. */
	if (msg->epoch != ch->peer_epoch || msg->epoch_echo != ch->epoch)
		return;
	if (msg->type == VMSHM_CTL_CONNECT) {
		got_connect(ch, msg);
		return;
	}
	end = find_end(ch, msg->dst_id, msg->dst_gen);
	if (!end) {
		atomic64_inc(&ch->protocol_errors);
		return;
	}
	if (msg->type == VMSHM_CTL_ACCEPT && answer_due(end))
		got_accept(ch, end, msg);
	else if (msg->type == VMSHM_CTL_REFUSE && answer_due(end))
		got_refuse(ch, end, msg);
	else if (msg->type == VMSHM_CTL_RING && end->state == VMSHM_END_OPEN &&
		 msg->src_id == end->peer_id && msg->src_gen == end->peer_gen)
		lie = !got_ring(ch, end, msg);
	else if (msg->type == VMSHM_CTL_DONE && end->state == VMSHM_END_OPEN &&
		 msg->src_id == end->peer_id && msg->src_gen == end->peer_gen)
		vmshm_end_peer_done(end, msg->flags & VMSHM_CTL_F_RESET);
	else
		lie = true;
	if (lie)
		atomic64_inc(&ch->protocol_errors);
	vmshm_end_put(end);
}

/**
 * vmshm_ctl_receive - take the peer's messages
 * @ch: a channel that is up
 *
 * Under chan->mutex.  One queue's length at the most.  Returns how many it
 * took, or -EPROTO when the peer's index can't be true.
 */
int vmshm_ctl_receive(struct vmshm_chan *ch)
{
	const struct vmshm_ctl *queue = (void *)((u8 *)ch->theirs + VMSHM_SIDE_CTL);
	int filled = vmshm_queue_filled(&ch->ctl_rx);
	int i;

	for (i = 0; i < filled; i++) {
		struct vmshm_ctl msg;

		vmshm_copy_once(&msg, &queue[vmshm_queue_slot(&ch->ctl_rx)], sizeof(msg));
		vmshm_queue_advance(&ch->ctl_rx);
		got_message(ch, &msg);
		cond_resched();
	}
	if (filled > 0 && vmshm_room_wanted(&ch->theirs->ctl_wanted))
		vmshm_chan_ring(ch);
	return filled;
}
