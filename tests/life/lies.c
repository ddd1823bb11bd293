// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ways to break the protocol, each told again and again while the rest of the
 * peer goes on as if nothing had happened, so that a lie meets connections that
 * are opening, moving bytes and closing.
 */
#include "lies.h"

#include <sys/socket.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* ---- garbage ---- */

static void scribble(struct peer *p, u8 *start, u64 bytes, int words)
{
	while (words--) {
		u64 *word = (u64 *)(start + peer_random(p) % (bytes / 8) * 8);

		/* Small numbers get further into a check than random ones do. */
		vmshm_store(word, peer_random(p) >> (peer_random(p) & 63));
	}
}

static void garbage_side(struct peer *p)
{
	scribble(p, (u8 *)p->mine, VMSHM_SIDE_SIZE, 64);
	scribble(p, (u8 *)p->theirs, VMSHM_SIDE_SIZE, 64);
	scribble(p, (u8 *)p->mine, 3 * VMSHM_LINE, 8);
	scribble(p, (u8 *)p->theirs, 3 * VMSHM_LINE, 8);
	peer_doorbell(p, peer_random(p) & 1);
}

static void garbage_control(struct peer *p)
{
	scribble(p, (u8 *)peer_ctl(p->mine), VMSHM_CTL_ENTRIES * sizeof(struct vmshm_ctl), 64);
	scribble(p, (u8 *)peer_pending(p->mine), VMSHM_PEND_ENTRIES * sizeof(u32), 64);
	scribble(p, (u8 *)peer_ctl(p->theirs), VMSHM_CTL_ENTRIES * sizeof(struct vmshm_ctl), 64);
	scribble(p, (u8 *)peer_pending(p->theirs), VMSHM_PEND_ENTRIES * sizeof(u32), 64);
}

static void garbage_halves(struct peer *p)
{
	/* Rings are taken from the start. */
	scribble(p, p->my_half, 8 << 20, 128);
	scribble(p, p->their_half, 8 << 20, 128);
	scribble(p, p->my_half, p->half_size, 16);
	scribble(p, p->their_half, p->half_size, 16);
}

static void garbage_ring_headers(struct peer *p)
{
	struct conn *c = peer_any(p);

	if (!c)
		return;
	scribble(p, (u8 *)c->prod.hdr, 4 * VMSHM_LINE, 16);
	scribble(p, (u8 *)c->cons.hdr, 4 * VMSHM_LINE, 16);
	peer_pend(p, c->peer_id | VMSHM_PEND_DATA | VMSHM_PEND_SPACE);
}

static void garbage_header(struct peer *p)
{
	scribble(p, p->seg.mem, p->tables_size, 64);
	peer_doorbell(p, 0);
}

static void garbage_everywhere(struct peer *p)
{
	garbage_side(p);
	garbage_control(p);
	garbage_halves(p);
	garbage_ring_headers(p);
	garbage_header(p);
	scribble(p, p->seg.mem, p->seg.size, 64);
}

/* ---- rings ---- */

static const u64 wrong_by[] = {
	-1ULL, -4096ULL, -(1ULL << 32), 1ULL << 63, 1ULL << 62, 1ULL << 32, 1ULL << 24, 1 << 20,
	65537, 4097,
};

static u64 wrong_index(struct peer *p, u64 right)
{
	return right + wrong_by[peer_random(p) % ARRAY_SIZE(wrong_by)];
}

static void prod_lies(struct peer *p)
{
	struct conn *c = peer_any(p);

	if (!c)
		return;
	vmshm_store_release(&c->prod.hdr->prod, wrong_index(p, c->prod.prod));
	peer_pend(p, c->peer_id | VMSHM_PEND_DATA);
}

static void cons_lies(struct peer *p)
{
	struct conn *c = peer_any(p);

	if (!c)
		return;
	vmshm_store_release(&c->cons.hdr->cons, wrong_index(p, c->cons.cons));
	peer_pend(p, c->peer_id | VMSHM_PEND_SPACE);
}

static void flags_flip(struct peer *p)
{
	struct conn *c = peer_any(p);

	if (!c)
		return;
	vmshm_store_release(&c->prod.hdr->prod_flags, (u32)peer_random(p) & 31);
	vmshm_store_release(&c->cons.hdr->cons_flags, (u32)peer_random(p) & 31);
	peer_pend(p, c->peer_id | VMSHM_PEND_DATA | VMSHM_PEND_SPACE);
}

static void events_lie(struct peer *p)
{
	struct conn *c = peer_any(p);

	if (!c)
		return;
	vmshm_store(&c->cons.hdr->data_event, peer_random(p));
	vmshm_store(&c->cons.hdr->data_vector, peer_random(p));
	vmshm_store(&c->prod.hdr->space_event, peer_random(p));
	vmshm_store(&c->prod.hdr->space_vector, peer_random(p));
	vmshm_store(&c->prod.hdr->data_size, peer_random(p));
	vmshm_store(&c->prod.hdr->data_event, peer_random(p));
	vmshm_store(&c->cons.hdr->space_event, peer_random(p));
}

/* ---- records ---- */

static const u32 wrong_lengths[] = {
	UINT32_MAX, 1U << 31, 1 << 24, (1 << 24) - 8, 1 << 18, CONN_RECORD + 1, 57, 49, 1, 0,
};

/* A header says more than there is, or more than the receiver takes. */
static void record_lies(struct peer *p)
{
	struct conn *c = peer_any_records(p);

	if (!c || vmshm_prod_space(&c->prod, 64) < 64)
		return;
	vmshm_record_put(&c->prod, 0, wrong_lengths[peer_random(p) % ARRAY_SIZE(wrong_lengths)],
			 (u32)peer_random(p));
	if (vmshm_prod_publish(&c->prod, peer_random(p) & 1 ? 56 : peer_random(p) % 64))
		peer_pend(p, c->peer_id | VMSHM_PEND_DATA);
}

/* What was published is changed while it is read. */
static void records_change(struct peer *p)
{
	struct conn *c = peer_any_records(p);

	if (!c)
		return;
	for (int i = 0; i < 200; i++) {
		u64 at = (c->prod.cons + peer_random(p) % 8192) & (c->prod.size - 1) & ~7ULL;

		vmshm_store((u64 *)(c->prod.data + at), peer_random(p) >> (peer_random(p) & 63));
	}
}

static void record_max_lies(struct peer *p)
{
	/* The next connection's, before it is accepted: rings are used again. */
	for (u32 i = 0; i < CONNS; i++) {
		struct vmshm_ring_hdr *hdr =
			(void *)(p->my_half + i * vmshm_ring_bytes(CONN_ORDER));

		vmshm_store(&hdr->record_max, peer_random(p) & 1 ? (u32)peer_random(p) :
			    (u32)(peer_random(p) % 8192));
	}
}

/* ---- control messages ---- */

static const u32 ports[] = { 7300, 7301, 1, 0, 7300, UINT32_MAX };

/* A message as it should be, for a connection or for none. */
static struct vmshm_ctl plausible(struct peer *p)
{
	static const u32 types[] = { VMSHM_CTL_CONNECT, VMSHM_CTL_ACCEPT, VMSHM_CTL_REFUSE,
				     VMSHM_CTL_DONE, VMSHM_CTL_RING };
	struct conn *c = peer_any(p);
	struct conn none = { .id = CONNS + 1 + peer_random(p) % 1000, .gen = peer_random(p) };
	struct vmshm_ctl msg = peer_message(p, c ? c : &none,
					    types[peer_random(p) % ARRAY_SIZE(types)]);

	msg.dst_port = 7300;
	msg.ring_off = (u64)(CONNS + 1) * vmshm_ring_bytes(CONN_ORDER);
	return msg;
}

static void random_message(struct peer *p)
{
	struct vmshm_ctl msg;

	for (size_t i = 0; i < sizeof(msg) / 8; i++)
		((u64 *)&msg)[i] = peer_random(p) >> (peer_random(p) & 63);
	if (peer_random(p) & 1) {
		msg.epoch = p->epoch;
		msg.epoch_echo = p->peer_epoch;
		msg.type &= 7;
	}
	peer_say(p, &msg);
}

/* One field at a time is wrong. */
static void field_lies(struct peer *p)
{
	struct vmshm_ctl msg = plausible(p);
	u64 r = peer_random(p);

	switch (peer_random(p) % 12) {
	case 0:
		msg.type = r;
		break;
	case 1:
		msg.flags = r;
		break;
	case 2:
		msg.epoch ^= 1ULL << (r & 63);
		break;
	case 3:
		msg.epoch_echo ^= 1ULL << (r & 63);
		break;
	case 4:
		msg.src_id = r;
		break;
	case 5:
		msg.src_gen = r;
		break;
	case 6:
		msg.dst_id = r & 1 ? r >> 32 : (r >> 32) % 64;
		break;
	case 7:
		msg.dst_gen += (r & 7) - 3;
		break;
	case 8:
		msg.src_port = r;
		msg.dst_port = ports[r % ARRAY_SIZE(ports)];
		break;
	case 9:
		msg.ring_off = r & 1 ? r : p->half_size - (r % 8) * VMSHM_PAGE;
		break;
	case 10:
		msg.ring_order = r & 1 ? r >> 32 : (r >> 32) % 80;
		break;
	default:
		msg.sock_type = r;
		msg.error = r >> 16;
		break;
	}
	peer_say(p, &msg);
}

/* Ids that the other side may have given out, whatever they stand for. */
static void message_for_others(struct peer *p)
{
	struct vmshm_ctl msg = plausible(p);

	msg.dst_id = 1 + peer_random(p) % 64;
	msg.dst_gen = 1 + peer_random(p) % 256;
	if (peer_random(p) & 1)
		msg.src_id = 1 + peer_random(p) % CONNS;
	peer_say(p, &msg);
}

static void accept_twice(struct peer *p)
{
	struct conn *c = peer_any(p);
	struct vmshm_ctl msg;

	if (!c)
		return;
	msg = peer_message(p, c, VMSHM_CTL_ACCEPT);
	peer_say(p, &msg);
	msg.ring_off += VMSHM_PAGE;
	peer_say(p, &msg);
	msg.type = VMSHM_CTL_REFUSE;
	peer_say(p, &msg);
}

/* Rings to go on in: others' rings, the same one, larger, smaller, nowhere. */
static void rings_lie(struct peer *p)
{
	struct conn *c = peer_any(p);
	struct vmshm_ctl msg;

	if (!c)
		return;
	msg = peer_message(p, c, VMSHM_CTL_RING);
	msg.ring_order = CONN_ORDER - 1 + peer_random(p) % 8;
	switch (peer_random(p) % 4) {
	case 0:
		msg.ring_off = peer_random(p) % CONNS * vmshm_ring_bytes(CONN_ORDER);
		break;
	case 1:
		msg.ring_off = p->half_size - peer_random(p) % 64 * VMSHM_PAGE;
		break;
	case 2:
		msg.ring_off = (CONNS + 1) * vmshm_ring_bytes(CONN_ORDER);
		break;
	}
	peer_say(p, &msg);
	/* And it has gone on itself, to where nobody told it to. */
	vmshm_store_release(&c->prod.hdr->prod_flags, VMSHM_RING_MOVED);
	vmshm_store_release(&c->cons.hdr->cons_flags, VMSHM_RING_TAKEN);
	peer_pend(p, c->peer_id | VMSHM_PEND_DATA | VMSHM_PEND_SPACE);
}

static void done_early(struct peer *p)
{
	struct conn *c = peer_any(p);
	struct vmshm_ctl msg;

	if (!c)
		return;
	msg = peer_message(p, c, VMSHM_CTL_DONE);
	msg.flags = peer_random(p) & 1;
	for (int i = 0; i < 3; i++)
		peer_say(p, &msg);
	/* And goes on writing. */
	prod_lies(p);
}

/* What was said before is said again. */
static void replay(struct peer *p)
{
	struct vmshm_ctl msg;

	memcpy(&msg, &peer_ctl(p->mine)[peer_random(p) % VMSHM_CTL_ENTRIES], sizeof(msg));
	if (peer_random(p) & 1) {
		msg.epoch = p->epoch;
		msg.epoch_echo = p->peer_epoch;
	}
	peer_say(p, &msg);
}

/* More CONNECTs than there are credits, and no answer is ever taken. */
static void connect_flood(struct peer *p)
{
	for (u32 i = 0; i < 300; i++) {
		struct conn none = { .id = CONNS + 1 + i, .gen = 1,
				     .ring_off = (CONNS + 1) * vmshm_ring_bytes(CONN_ORDER) };
		struct vmshm_ctl msg = peer_message(p, &none, VMSHM_CTL_CONNECT);

		msg.dst_port = ports[peer_random(p) % ARRAY_SIZE(ports)];
		if (!peer_say(p, &msg))
			break;
	}
}

/* Connections are taken and never ended: their memory is never given back. */
static void never_done(struct peer *p)
{
	for (u32 i = 0; i < CONNS; i++)
		if (p->conns[i].state == CONN_OPEN)
			p->conns[i].state = CONN_FREE;
}

/* Who sends datagrams opens one lane after the other, and is rid of none. */
static void lanes_never_done(struct peer *p)
{
	for (u32 i = 0; i < CONNS; i++) {
		struct conn *c = &p->conns[i];

		if (c->state != CONN_OPEN || c->type != SOCK_DGRAM || c->lane)
			continue;
		/* Open there, then reset there, and only then another one's. */
		c->sent++;
		if (c->sent == 3) {
			vmshm_store_release(&c->cons.hdr->cons_flags, VMSHM_RING_RESET);
			peer_pend(p, c->peer_id | VMSHM_PEND_SPACE);
		} else if (c->sent == 20) {
			c->state = CONN_FREE;
		}
	}
}

/* ---- queues ---- */

static void ctl_prod_jumps(struct peer *p)
{
	static const u32 by[] = { 1, 511, 512, 513, 0x80000000U, UINT32_MAX, 100000 };

	vmshm_store_release(&p->mine->ctl_prod,
			    p->ctl_tx.here + by[peer_random(p) % ARRAY_SIZE(by)]);
	peer_doorbell(p, 0);
}

static void ctl_cons_lies(struct peer *p)
{
	vmshm_store_release(&p->mine->ctl_cons, (u32)peer_random(p));
	vmshm_store(&p->mine->ctl_wanted, (u32)peer_random(p) & 1);
	peer_doorbell(p, 0);
}

static void ctl_never_read(struct peer *p)
{
	p->ctl_rx.there = p->ctl_rx.here;
	vmshm_store_release(&p->mine->ctl_cons, 0);
}

static void pend_random(struct peer *p)
{
	for (int i = 0; i < 64; i++)
		peer_pend(p, (u32)(peer_random(p) >> (peer_random(p) & 31)));
}

static void pend_prod_jumps(struct peer *p)
{
	vmshm_store_release(&p->mine->pend_prod, (u32)(peer_random(p) >> (peer_random(p) & 63)));
	peer_doorbell(p, 1);
}

/* However many are taken, as many are there again; who takes needs no doorbell. */
static void pend_never_empty(struct peer *p)
{
	vmshm_store_release(&p->mine->pend_prod,
			    vmshm_load(&p->theirs->pend_cons) + VMSHM_PEND_ENTRIES);
	if (!(peer_random(p) & 1023))
		peer_doorbell(p, 1);
}

static void pend_cons_lies(struct peer *p)
{
	vmshm_store_release(&p->mine->pend_cons, (u32)peer_random(p));
	peer_doorbell(p, 1);
}

static void overflow_flips(struct peer *p)
{
	vmshm_store_release(&p->mine->pend_overflow, (u32)peer_random(p));
	peer_doorbell(p, 0);
}

/* ---- life ---- */

static void epoch_changes(struct peer *p)
{
	peer_new_epoch(p);
}

static void epoch_and_echo_random(struct peer *p)
{
	vmshm_word_publish(&p->mine->epoch, peer_random(p) & 1 ? p->epoch : peer_random(p) & 3);
	vmshm_word_publish(&p->mine->epoch_echo, peer_random(p) & 1 ? p->peer_epoch :
			   peer_random(p) & 3);
	peer_doorbell(p, 0);
}

static void presence_flips(struct peer *p)
{
	struct vmshm_member *m = &p->members[p->me];

	vmshm_word_publish(&m->presence, m->presence + 1 + (peer_random(p) & 1));
	peer_doorbell(p, 0);
}

static void state_flips(struct peer *p)
{
	vmshm_store_release(&p->mine->state, (u32)peer_random(p) & 3);
	peer_doorbell(p, 0);
}

static void abi_flips(struct peer *p)
{
	vmshm_store(&p->mine->abi_version, (u32)peer_random(p) & 0x3ffff);
	vmshm_store(&p->mine->features, peer_random(p));
	peer_new_epoch(p);
	vmshm_store(&p->mine->abi_version, (u32)peer_random(p) & 0x3ffff);
	peer_doorbell(p, 0);
}

/* Every vector of every ID; the device drops what is nobody's. */
static void doorbell_flood(struct peer *p)
{
	for (int i = 0; i < 50; i++)
		p->seg.regs[3] = p->my_cid << 16 | (peer_random(p) & 3);
	p->seg.regs[3] = (u32)peer_random(p);
	p->seg.regs[peer_random(p) & 3] = (u32)peer_random(p);
}

/* All of the above, one after the other. */
static void everything(struct peer *p)
{
	static size_t next;
	const struct lie *lie = &lies[next++ % nr_lies];

	if (lie->tell && lie->tell != everything)
		lie->tell(p);
}

const struct lie lies[] = {
	{ "the truth", NULL, 0, false },
	{ "garbage in the sides' areas", garbage_side, 0, false },
	{ "garbage in the queues", garbage_control, 0, false },
	{ "garbage in the halves", garbage_halves, 0, false },
	{ "garbage in ring headers", garbage_ring_headers, 500, false },
	{ "garbage in header and tables", garbage_header, 0, false },
	{ "garbage everywhere", garbage_everywhere, 0, false },
	{ "garbage everywhere from a peer that does nothing else", garbage_everywhere, 0, true },
	{ "a producer's index lies", prod_lies, 2000, false },
	{ "a consumer's index lies", cons_lies, 2000, false },
	{ "flags flip", flags_flip, 500, false },
	{ "events lie", events_lie, 0, false },
	{ "a record's header lies", record_lies, 500, false },
	{ "records change while they are read", records_change, 0, false },
	{ "the longest record lies", record_max_lies, 0, false },
	{ "random control messages", random_message, 0, false },
	{ "control messages with one wrong field", field_lies, 0, false },
	{ "control messages for other connections", message_for_others, 0, false },
	{ "ACCEPT twice, and REFUSE", accept_twice, 500, false },
	{ "rings to go on in that are none", rings_lie, 500, false },
	{ "DONE too early and too often", done_early, 1000, false },
	{ "control messages replayed", replay, 0, false },
	{ "more CONNECTs than credits", connect_flood, 1000, false },
	{ "connections that are never DONE", never_done, 20000, false },
	{ "lanes that are over at once and never DONE", lanes_never_done, 1000, false },
	{ "the control queue's producer jumps", ctl_prod_jumps, 20000, false },
	{ "the control queue's consumer lies", ctl_cons_lies, 1000, false },
	{ "the control queue is never read", ctl_never_read, 0, false },
	{ "pending entries of anybody", pend_random, 0, false },
	{ "the pending queue's producer jumps", pend_prod_jumps, 500, false },
	{ "the pending queue's consumer lies", pend_cons_lies, 500, false },
	{ "a pending queue that is never empty", pend_never_empty, 0, false },
	{ "the overflow word flips", overflow_flips, 0, false },
	{ "a new epoch every millisecond", epoch_changes, 1000, false },
	{ "epoch and echo flip", epoch_and_echo_random, 200, false },
	{ "presence flips", presence_flips, 1000, false },
	{ "the state flips", state_flips, 1000, false },
	{ "the ABI version flips", abi_flips, 5000, false },
	{ "a flood of doorbells", doorbell_flood, 0, false },
	{ "all lies in turn", everything, 300, false },
};

const size_t nr_lies = ARRAY_SIZE(lies);
