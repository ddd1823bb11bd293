// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control messages: what the two sides of a channel say to each other about
 * connections. Section 8 of docs/ABI.md; af_vmshm/ctl.c is the same in a guest.
 * What a message does to an end is in end.c.
 *
 * No message is lost for want of room: an end has a bit for each thing that it
 * still has to say, and refusals have slots for as many CONNECTs as the peer may
 * have outstanding.
 */
#include "lib.h"

#include <errno.h>

static void compose(const struct vmshm_sock *s, u8 bit, struct vmshm_ctl *msg)
{
	msg->src_id = s->id;
	msg->src_gen = s->gen;
	if (bit == SAY_CONNECT) {
		msg->type = VMSHM_CTL_CONNECT;
		msg->src_port = s->port;
		msg->dst_port = s->peer_port;
		msg->sock_type = SOCK_STREAM;
	} else {
		msg->type = bit == SAY_ACCEPT ? VMSHM_CTL_ACCEPT : VMSHM_CTL_DONE;
		msg->dst_id = s->peer_id;
		msg->dst_gen = s->peer_gen;
	}
	if (bit == SAY_DONE) {
		msg->flags = s->ctl_flags;
	} else {
		msg->ring_off = s->rx_off;
		msg->ring_order = s->rx_order;
	}
}

/* Room for one message? If not, ask to be rung. */
static bool have_room(struct chan *ch)
{
	if (vmshm_queue_room(&ch->ctl_tx) > 0)
		return true;
	ch->ctl_stuck = true;
	vmshm_want_room(&ch->mine->ctl_wanted, 1);
	if (vmshm_queue_room(&ch->ctl_tx) <= 0)
		return false;
	ch->ctl_stuck = false;
	vmshm_want_room(&ch->mine->ctl_wanted, 0);
	return true;
}

/* Takes an end off the backlog: it has nothing to say. */
void ctl_unlist(struct vmshm_sock *s)
{
	if (s->ctl_bits)
		TAILQ_REMOVE(&s->chan->backlog, s, ctl_node);
	s->ctl_bits = 0;
}

/* Put the next message into the queue; false when there is none, or no room. */
static bool send_one(struct chan *ch)
{
	struct vmshm_sock *first = TAILQ_FIRST(&ch->backlog);
	struct vmshm_ctl msg = { .epoch = ch->epoch, .epoch_echo = ch->peer_epoch };
	u8 bit = 0;

	if ((!first && ch->refusal_head == ch->refusal_tail) || !have_room(ch))
		return false;
	if (ch->refusal_head != ch->refusal_tail) {
		struct refusal *r = &ch->refusals[ch->refusal_tail++ % VMSHM_CTL_CREDITS];

		msg.type = VMSHM_CTL_REFUSE;
		msg.dst_id = r->id;
		msg.dst_gen = r->gen;
		msg.error = r->error;
	} else {
		bit = first->ctl_bits & -first->ctl_bits;
		compose(first, bit, &msg);
		if (first->ctl_bits == bit)
			ctl_unlist(first);
		else
			first->ctl_bits &= ~bit;
	}
	memcpy(&ctl_queue(ch->mine)[vmshm_queue_slot(&ch->ctl_tx)], &msg, sizeof(msg));
	vmshm_queue_advance(&ch->ctl_tx);
	if (bit == SAY_DONE)
		end_done_sent(first);
	return true;
}

/* Say what is to be said, as far as there is room. */
void ctl_flush(struct chan *ch)
{
	bool sent = false;

	while (ch->state == CHAN_UP && send_one(ch))
		sent = true;
	if (sent)
		bell_ring(ch, 0);
}

/* The peer took messages and rang: it need not ring for room any more. */
void ctl_unstick(struct chan *ch)
{
	if (!ch->ctl_stuck)
		return;
	ch->ctl_stuck = false;
	vmshm_want_room(&ch->mine->ctl_wanted, 0);
}

/* An end has something to say: SAY_*. */
void ctl_say(struct vmshm_sock *s, u8 bit)
{
	struct chan *ch = s->chan;

	/* What breaks a channel says for its ends that they are done. */
	if (ch->state != CHAN_UP)
		return;
	if (!s->ctl_bits)
		TAILQ_INSERT_TAIL(&ch->backlog, s, ctl_node);
	s->ctl_bits |= bit;
	ctl_flush(ch);
}

static void give_credit(struct chan *ch)
{
	if (ch->credits < VMSHM_CTL_CREDITS)
		ch->credits++;
}

/* Take a CONNECT back that was not sent yet; false when it was. */
bool ctl_unsay_connect(struct vmshm_sock *s)
{
	if (!(s->ctl_bits & SAY_CONNECT))
		return false;
	ctl_unlist(s);
	give_credit(s->chan);
	kick(s->host);		/* another one may start */
	return true;
}

static void refuse(struct chan *ch, const struct vmshm_ctl *msg, int error)
{
	/* More CONNECTs than it has credits: its own fault. */
	if (ch->refusal_head - ch->refusal_tail >= VMSHM_CTL_CREDITS) {
		ch->protocol_errors++;
		return;
	}
	ch->refusals[ch->refusal_head++ % VMSHM_CTL_CREDITS] = (struct refusal){
		.id = msg->src_id, .gen = msg->src_gen, .error = (u16)error,
	};
}

/* The control queues begin anew. */
void ctl_reset(struct chan *ch)
{
	struct vmshm_sock *s;

	while ((s = TAILQ_FIRST(&ch->backlog))) {
		ctl_unlist(s);
		end_settle(s);
	}
	ch->refusal_head = 0;
	ch->refusal_tail = 0;
	ch->credits = VMSHM_CTL_CREDITS;
	ch->ctl_stuck = false;
	vmshm_store(&ch->mine->ctl_wanted, 0);
	vmshm_queue_init(&ch->ctl_tx, &ch->mine->ctl_prod, &ch->theirs->ctl_cons,
			 VMSHM_CTL_ENTRIES);
	vmshm_store(&ch->mine->ctl_prod, 0);
	vmshm_queue_init(&ch->ctl_rx, &ch->mine->ctl_cons, &ch->theirs->ctl_prod,
			 VMSHM_CTL_ENTRIES);
	vmshm_store(&ch->mine->ctl_cons, 0);
}

/* ---- connects that wait for the channel to come up, or for a credit ---- */

static struct vmshm_sock *next_connect(struct chan *ch)
{
	struct vmshm_sock *s = TAILQ_FIRST(&ch->connects);

	if (s)
		TAILQ_REMOVE(&ch->connects, s, wait_node);
	if (s)
		s->waiting = false;
	return s;
}

/* Start what waits, as far as credits go. */
void connect_pump(struct chan *ch)
{
	struct vmshm_sock *s;

	while (ch->state == CHAN_UP && ch->credits > 0 && (s = next_connect(ch))) {
		int err = ch->features & VMSHM_F_STREAM ? end_number(s) : ESOCKTNOSUPPORT;

		if (err) {
			end_fail(s, err);
			continue;
		}
		ch->credits--;
		s->state = END_CONNECTING;
		ctl_say(s, SAY_CONNECT);
	}
}

/* Nothing will come of those that wait. */
void connect_drop(struct chan *ch, int err)
{
	struct vmshm_sock *s;

	while ((s = next_connect(ch)))
		end_fail(s, err);
}

/* ---- what the peer says ---- */

static void got_connect(struct chan *ch, const struct vmshm_ctl *msg)
{
	struct vmshm_sock *listener, *s;

	if (ch->draining) {
		refuse(ch, msg, ESHUTDOWN);
		return;
	}
	if (!vmshm_ring_fits(msg->ring_off, msg->ring_order, ch->half_size) || !msg->src_id ||
	    msg->src_id > VMSHM_PEND_ID_MASK) {
		ch->protocol_errors++;
		refuse(ch, msg, ECONNRESET);
		return;
	}
	listener = find_listener(ch->host, msg->dst_port);
	if (!listener || msg->sock_type != SOCK_STREAM || listener->queued >= listener->backlog) {
		refuse(ch, msg, ECONNRESET);
		return;
	}
	s = end_new(ch);
	if (!s) {
		refuse(ch, msg, ENOBUFS);
		return;
	}
	s->port = msg->dst_port;
	s->peer_port = msg->src_port;
	s->peer_id = msg->src_id;
	s->peer_gen = msg->src_gen;
	if (end_number(s)) {
		refuse(ch, msg, ENOBUFS);
		s->released = true;
		end_settle(s);
		return;
	}
	s->queued_on = true;
	TAILQ_INSERT_TAIL(&listener->queue, s, wait_node);
	listener->queued++;
	end_open(s, msg->ring_off, msg->ring_order);
	ctl_say(s, SAY_ACCEPT);
	wake(listener);
}

static void got_accept(struct chan *ch, struct vmshm_sock *s, const struct vmshm_ctl *msg)
{
	give_credit(ch);
	s->peer_id = msg->src_id & VMSHM_PEND_ID_MASK;
	s->peer_gen = msg->src_gen;
	if (!vmshm_ring_fits(msg->ring_off, msg->ring_order, ch->half_size)) {
		end_refuse_ring(s);
		return;
	}
	if (!end_open(s, msg->ring_off, msg->ring_order))
		end_release(s, true);
}

static void got_refuse(struct chan *ch, struct vmshm_sock *s, const struct vmshm_ctl *msg)
{
	give_credit(ch);
	/* Only what a refusal can mean: no errno of the peer's choice. */
	end_fail(s, msg->error == ENOBUFS || msg->error == ESHUTDOWN ? msg->error : ECONNRESET);
}

static bool answer_due(const struct vmshm_sock *s)
{
	return !(s->ctl_bits & SAY_CONNECT) &&
	       (s->state == END_CONNECTING || s->state == END_CANCELLED);
}

static void got_message(struct chan *ch, const struct vmshm_ctl *msg)
{
	struct vmshm_sock *s = NULL;

	/* From before a restart of either side. */
	if (msg->epoch != ch->peer_epoch || msg->epoch_echo != ch->epoch)
		return;
	if (msg->type == VMSHM_CTL_CONNECT) {
		got_connect(ch, msg);
		return;
	}
	if (msg->dst_id < ch->table_size)
		s = ch->table[msg->dst_id];
	if (s && s->gen != msg->dst_gen)
		s = NULL;
	if (s && msg->type == VMSHM_CTL_ACCEPT && answer_due(s))
		got_accept(ch, s, msg);
	else if (s && msg->type == VMSHM_CTL_REFUSE && answer_due(s))
		got_refuse(ch, s, msg);
	else if (s && msg->type == VMSHM_CTL_DONE && s->state == END_OPEN &&
		 msg->src_id == s->peer_id && msg->src_gen == s->peer_gen)
		end_peer_done(s, msg->flags & VMSHM_CTL_F_RESET);
	else
		ch->protocol_errors++;
}

/*
 * Take the peer's messages, one queue's length at the most. How many, or -1 when
 * the peer's index can't be true.
 */
int ctl_receive(struct chan *ch)
{
	int filled = vmshm_queue_filled(&ch->ctl_rx), taken = 0;

	for (; taken < filled; taken++) {
		struct vmshm_ctl msg;

		vmshm_copy_once(&msg, &ctl_queue(ch->theirs)[vmshm_queue_slot(&ch->ctl_rx)],
				sizeof(msg));
		vmshm_queue_advance(&ch->ctl_rx);
		got_message(ch, &msg);
	}
	ch->ctl_taken += (u64)taken;
	if (taken && vmshm_room_wanted(&ch->theirs->ctl_wanted))
		bell_ring(ch, 0);
	return filled < 0 ? -1 : taken;
}
