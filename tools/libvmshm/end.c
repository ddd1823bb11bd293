// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of an end of a connection: numbered, opened when the peer's ring is
 * known, over by DONE from both sides, by a refusal or by the death of its
 * channel. af_vmshm/end.c is the same in a guest, and says why memory goes back
 * only then.
 *
 * An end is freed when no program uses it, no table or list has it any more;
 * whoever takes it out of the last one calls end_settle(), which puts it on
 * host->dead. Freeing waits until nobody up the stack can be using it (reap()).
 */
#include "lib.h"

#include <errno.h>
#include <stdlib.h>

struct vmshm_sock *end_new(struct chan *ch)
{
	struct vmshm_sock *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->host = ch->host;
	s->chan = ch;
	s->state = END_WAITING;
	s->order_wanted = ch->host->buffer_order;
	TAILQ_INSERT_TAIL(&s->host->all, s, all_node);
	return s;
}

/* Its number is free. */
static void untable(struct vmshm_sock *s)
{
	if (!s->tabled)
		return;
	s->tabled = false;
	TAILQ_REMOVE(&s->chan->ends, s, chan_node);
	s->chan->table[s->id] = NULL;
	s->chan->nr_ends--;
	counters_touch(s->host);
	/* Somebody waits for the last one. */
	if (s->chan->draining)
		counters_publish(s->host);
}

/* Is this the end of it? */
void end_settle(struct vmshm_sock *s)
{
	if (s->released && s->done_sent && s->done_received)
		untable(s);
	if (s->dead || s->tabled || !s->released || s->ctl_bits || s->waiting || s->queued_on)
		return;
	s->dead = true;
	unwake(s);
	TAILQ_INSERT_TAIL(&s->host->dead, s, woken_node);
}

void end_free(struct vmshm_sock *s)
{
	if (s->has_ring)
		half_free(&s->chan->half, s->rx_order, s->rx_off);
	TAILQ_REMOVE(&s->host->all, s, all_node);
	free(s);
}

/* ---- numbers and memory ---- */

static int make_room(struct chan *ch)
{
	u32 size = ch->table_size ? 2 * ch->table_size : 64;
	struct vmshm_sock **table;

	if (ch->nr_ends + 1 < ch->table_size)
		return 0;
	if (size > VMSHM_PEND_ID_MASK + 1)
		return -1;
	table = realloc(ch->table, size * sizeof(struct vmshm_sock *));
	if (!table)
		return -1;
	memset(table + ch->table_size, 0, (size - ch->table_size) * sizeof(struct vmshm_sock *));
	ch->table = table;
	ch->table_size = size;
	return 0;
}

static bool ring_alloc(struct vmshm_sock *s)
{
	for (s->rx_order = s->order_wanted; s->rx_order >= VMSHM_RING_ORDER_MIN; s->rx_order--)
		if (half_alloc(&s->chan->half, s->rx_order, &s->rx_off))
			return true;
	return false;
}

/* Give an end a receive ring and a number. 0 or ENOBUFS. */
int end_number(struct vmshm_sock *s)
{
	struct vmshm_ring_hdr *hdr;
	struct chan *ch = s->chan;

	if (make_room(ch) || !ring_alloc(s))
		return ENOBUFS;
	s->has_ring = true;
	do {
		if (++ch->next_id >= ch->table_size)
			ch->next_id = 1;
	} while (ch->table[ch->next_id]);
	s->id = ch->next_id;
	s->gen = ++ch->next_gen;
	ch->table[s->id] = s;
	TAILQ_INSERT_TAIL(&ch->ends, s, chan_node);
	ch->nr_ends++;
	s->tabled = true;
	counters_touch(s->host);

	hdr = (struct vmshm_ring_hdr *)(ch->my_half + s->rx_off);
	vmshm_ring_init(hdr, s->rx_order, s->id, s->gen);
	vmshm_cons_init(&s->cons, hdr, s->rx_order);
	vmshm_cons_arm(&s->cons, 1);
	s->rx_open = true;
	return 0;
}

/* ---- what happens to it ---- */

static void close_tx(struct vmshm_sock *s, u32 flags)
{
	if (s->tx_open && flags)
		vmshm_prod_set_flags(&s->prod, flags);
	s->tx_open = false;
}

static void close_rx(struct vmshm_sock *s, u32 flags)
{
	if (s->rx_open && flags)
		vmshm_cons_set_flags(&s->cons, flags);
	s->rx_open = false;
}

/*
 * The peer's ring is known: bytes may flow. False when nobody wants the
 * connection any more; the caller then says DONE.
 */
bool end_open(struct vmshm_sock *s, u64 off, u32 order)
{
	bool wanted = s->state != END_CANCELLED;

	vmshm_prod_init(&s->prod, (struct vmshm_ring_hdr *)(s->chan->peer_half + off), order);
	s->tx_open = true;
	s->state = END_OPEN;
	wake(s);
	return wanted;
}

/* A connect comes to nothing; the peer does not know its ring. */
void end_fail(struct vmshm_sock *s, int err)
{
	close_rx(s, 0);
	s->state = END_DEAD;
	s->err = err;
	untable(s);
	wake(s);
	end_settle(s);
}

/* Over, and not in order. What had arrived can still be read unless the peer lied. */
static void mark_reset(struct vmshm_sock *s)
{
	if (s->reset)
		return;
	/* If the peer had ended its stream before, the reader gets its end of file. */
	if (!(s->peer_shut & NO_WRITE))
		s->err = ECONNRESET;
	s->reset = true;
	s->peer_shut |= NO_READ | NO_WRITE;
	wake(s);
}

/* Say DONE, once. Nothing of ours is written into the peer's ring any more. */
static void say_done(struct vmshm_sock *s, bool reset)
{
	if (s->done_said)
		return;
	s->done_said = true;
	if (reset)
		s->ctl_flags = VMSHM_CTL_F_RESET;
	ctl_say(s, SAY_DONE);
}

/* The control queue took our DONE. */
void end_done_sent(struct vmshm_sock *s)
{
	s->done_sent = true;
	end_settle(s);
}

/* The channel broke: peer gone, new epoch. Nothing more is said to the peer. */
void end_kill(struct vmshm_sock *s)
{
	if (s->state != END_OPEN) {
		ctl_unlist(s);
		end_fail(s, ECONNRESET);
		return;
	}
	/* An end of file that had arrived counts. */
	end_attend(s);
	close_tx(s, 0);
	s->done_said = true;
	s->done_sent = true;
	s->done_received = true;
	mark_reset(s);
	untable(s);
	ctl_unlist(s);
	end_settle(s);
}

/* The peer broke the rules: this connection is over. */
void end_reset(struct vmshm_sock *s, const char *reason)
{
	s->chan->protocol_errors++;
	say(s->host, "cid %u: connection %u reset: %s", s->chan->peer_cid, s->id, reason);
	close_tx(s, VMSHM_RING_RESET);
	close_rx(s, VMSHM_RING_RESET);
	notify(s, VMSHM_PEND_DATA | VMSHM_PEND_SPACE);
	mark_reset(s);
	say_done(s, true);
}

/* The peer said DONE: it writes into our ring no more. */
void end_peer_done(struct vmshm_sock *s, bool reset)
{
	/* Its flags were set before. */
	end_attend(s);
	close_tx(s, 0);
	s->done_received = true;
	if (reset)
		mark_reset(s);
	else
		s->peer_shut |= NO_READ | NO_WRITE;
	wake(s);
	say_done(s, false);
	end_settle(s);
}

/* Accepted with a ring that is not there; it may write into ours until its DONE. */
void end_refuse_ring(struct vmshm_sock *s)
{
	s->state = END_OPEN;
	s->refused = true;
	end_reset(s, "the peer accepted with a ring that is not there");
}

/* ---- what the program wants ---- */

/* Nobody waits for this connect any more. */
void end_cancel(struct vmshm_sock *s)
{
	s->released = true;
	if (s->waiting) {
		TAILQ_REMOVE(&s->chan->connects, s, wait_node);
		s->waiting = false;
	} else if (s->state == END_CONNECTING) {
		s->state = END_CANCELLED;
		if (ctl_unsay_connect(s))
			end_fail(s, ECONNRESET);	/* the peer never heard of it */
	}
	end_settle(s);
}

/* No program uses this end any more. Unread data makes it a reset, too. */
void end_release(struct vmshm_sock *s, bool abort)
{
	bool reset = abort || (s->rx_open && vmshm_cons_peek(&s->cons));

	close_tx(s, reset ? VMSHM_RING_FIN | VMSHM_RING_RESET : VMSHM_RING_FIN);
	close_rx(s, reset ? VMSHM_RING_RDSHUT | VMSHM_RING_RESET : VMSHM_RING_RDSHUT);
	s->released = true;
	notify(s, VMSHM_PEND_DATA | VMSHM_PEND_SPACE);
	say_done(s, reset);
	end_settle(s);
}

/* Look at the peer's flags; true when they say something new. */
bool end_attend(struct vmshm_sock *s)
{
	u32 flags = 0, before = s->peer_shut, shut = before;

	if (s->reset)
		return false;
	if (s->rx_open)
		flags |= vmshm_cons_peer_flags(&s->cons);
	if (s->tx_open)
		flags |= vmshm_prod_peer_flags(&s->prod);
	/* With RESET, FIN and RDSHUT say that nobody is there, not "in order". */
	if (flags & VMSHM_RING_RESET) {
		mark_reset(s);
		return true;
	}
	if (flags & VMSHM_RING_FIN)
		shut |= NO_WRITE;
	if (flags & VMSHM_RING_RDSHUT)
		shut |= NO_READ;
	s->peer_shut = shut;
	return shut != before;
}
