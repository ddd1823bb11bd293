// SPDX-License-Identifier: GPL-2.0-only
/*
 * A channel's side in user space: see peer.h.
 */
#include "peer.h"

#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>

u64 peer_random(struct peer *p)
{
	/* splitmix64 */
	u64 z = p->seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* ---- the device ---- */

void peer_open(struct peer *p, u32 cid)
{
	struct vmshm_channel *c;
	u32 side;

	segment_find(&p->seg, cid);
	segment_unbind(&p->seg);
	segment_map(&p->seg);
	p->h = (void *)p->seg.mem;
	if (p->h->magic != VMSHM_MAGIC || p->h->nr_members != 2 || p->h->nr_channels != 1)
		die("%s: this is no couple's segment", p->seg.bdf);
	p->members = (void *)(p->seg.mem + p->h->member_off);
	p->me = p->members[0].cid == cid;
	p->cid = cid;
	p->my_cid = p->members[p->me].cid;
	c = (void *)(p->seg.mem + p->h->channel_off);
	side = c->member[1] == p->me;
	p->mine = (void *)(p->seg.mem + c->side_off[side]);
	p->theirs = (void *)(p->seg.mem + c->side_off[!side]);
	p->my_half = p->seg.mem + c->half_off[side];
	p->their_half = p->seg.mem + c->half_off[!side];
	p->half_size = c->half_size;
	/* The tables lie before all that members write. */
	p->tables_size = c->side_off[0] < c->side_off[1] ? c->side_off[0] : c->side_off[1];
	p->tables = malloc(p->tables_size);
	if (!p->tables)
		die("no memory");
	memcpy(p->tables, p->seg.mem, p->tables_size);
	if (getrandom(&p->seed, sizeof(p->seed), 0) != sizeof(p->seed))
		die("no random numbers");
}

void peer_close(struct peer *p)
{
	memcpy(p->seg.mem, p->tables, p->tables_size);
	vmshm_store(&p->mine->state, VMSHM_SIDE_LEFT);
	vmshm_word_publish(&p->mine->epoch, 0);
	peer_doorbell(p, 0);
	segment_unmap(&p->seg);
	if (segment_bind(&p->seg))
		die("the driver does not take %s back", p->seg.bdf);
}

/* In a couple a member's ID is the CID of the other one. */
void peer_doorbell(struct peer *p, u32 vector)
{
	vmshm_mb();
	p->seg.regs[3] = p->my_cid << 16 | vector;
}

/* ---- epochs ---- */

static void forget_conns(struct peer *p)
{
	for (u32 i = 0; i < CONNS; i++)
		p->conns[i].state = CONN_FREE;
	p->up = false;
}

static void queues_anew(struct peer *p)
{
	vmshm_queue_init(&p->ctl_tx, &p->mine->ctl_prod, &p->theirs->ctl_cons, VMSHM_CTL_ENTRIES);
	vmshm_queue_init(&p->ctl_rx, &p->mine->ctl_cons, &p->theirs->ctl_prod, VMSHM_CTL_ENTRIES);
	vmshm_queue_init(&p->pend_tx, &p->mine->pend_prod, &p->theirs->pend_cons,
			 VMSHM_PEND_ENTRIES);
	vmshm_queue_init(&p->pend_rx, &p->mine->pend_cons, &p->theirs->pend_prod,
			 VMSHM_PEND_ENTRIES);
	vmshm_store(&p->mine->ctl_prod, 0);
	vmshm_store(&p->mine->ctl_cons, 0);
	vmshm_store(&p->mine->pend_prod, 0);
	vmshm_store(&p->mine->pend_cons, 0);
	vmshm_store(&p->mine->ctl_wanted, 0);
}

void peer_new_epoch(struct peer *p)
{
	forget_conns(p);
	vmshm_word_publish(&p->mine->epoch, 0);
	vmshm_mb();
	vmshm_store(&p->mine->epoch_echo, 0);
	queues_anew(p);
	vmshm_store(&p->mine->features, VMSHM_F_STREAM | VMSHM_F_SEQPACKET |
		    VMSHM_F_DGRAM | VMSHM_F_GROW);
	vmshm_store(&p->mine->abi_version, VMSHM_ABI_VERSION);
	vmshm_store(&p->mine->state, VMSHM_SIDE_UP);
	p->epoch = peer_random(p) | 1;
	p->peer_epoch = 0;
	vmshm_word_publish(&p->mine->epoch, p->epoch);
	peer_doorbell(p, 0);
}

static void look_at_epochs(struct peer *p)
{
	u64 epoch = vmshm_word_read(&p->theirs->epoch);

	if (vmshm_load(&p->theirs->state) != VMSHM_SIDE_UP || !epoch) {
		p->up = false;
		return;
	}
	if (epoch != p->peer_epoch) {
		forget_conns(p);
		queues_anew(p);
		p->peer_epoch = epoch;
		vmshm_word_publish(&p->mine->epoch_echo, epoch);
		peer_doorbell(p, 0);
	}
	if (!p->up && vmshm_word_read(&p->theirs->epoch_echo) == p->epoch) {
		p->up = true;
		p->ups++;
		peer_doorbell(p, 0);
	}
}

/* ---- control messages ---- */

bool peer_say(struct peer *p, const struct vmshm_ctl *msg)
{
	if (vmshm_queue_room(&p->ctl_tx) <= 0)
		return false;
	memcpy(&peer_ctl(p->mine)[vmshm_queue_slot(&p->ctl_tx)], msg, sizeof(*msg));
	vmshm_queue_advance(&p->ctl_tx);
	peer_doorbell(p, 0);
	return true;
}

void peer_pend(struct peer *p, u32 entry)
{
	if (vmshm_queue_room(&p->pend_tx) > 0) {
		vmshm_store(&peer_pending(p->mine)[vmshm_queue_slot(&p->pend_tx)], entry);
		vmshm_queue_advance(&p->pend_tx);
	} else {
		vmshm_overflow_bump(&p->mine->pend_overflow, &p->overflow);
	}
	peer_doorbell(p, 1);
}

struct vmshm_ctl peer_message(const struct peer *p, const struct conn *c, u32 type)
{
	return (struct vmshm_ctl){
		.type = type,
		.epoch = p->epoch,
		.epoch_echo = p->peer_epoch,
		.src_id = c->id,
		.src_gen = c->gen,
		.dst_id = c->peer_id,
		.dst_gen = c->peer_gen,
		.src_port = 5000 + c->id,
		.ring_off = c->ring_off,
		.ring_order = CONN_ORDER,
		.sock_type = c->type ? c->type : SOCK_STREAM,
	};
}

static struct conn *new_conn(struct peer *p)
{
	for (u32 i = 0; i < CONNS; i++) {
		struct conn *c = &p->conns[i];
		struct vmshm_ring_hdr *hdr;

		if (c->state != CONN_FREE)
			continue;
		*c = (struct conn){ .id = i + 1, .gen = ++p->gen,
				    .ring_off = i * vmshm_ring_bytes(CONN_ORDER) };
		hdr = (void *)(p->my_half + c->ring_off);
		vmshm_ring_init(hdr, CONN_ORDER, c->id, c->gen);
		vmshm_cons_init(&c->cons, hdr, CONN_ORDER);
		return c;
	}
	return NULL;
}

static void open_conn(struct peer *p, struct conn *c, const struct vmshm_ctl *msg)
{
	/* Who sends datagrams receives nothing: the ring is not to be used. */
	if (msg->type == VMSHM_CTL_CONNECT && msg->sock_type == SOCK_DGRAM) {
		c->peer_id = msg->src_id;
		c->peer_gen = msg->src_gen;
		vmshm_prod_init(&c->prod, c->cons.hdr, CONN_ORDER);
		c->state = CONN_OPEN;
		return;
	}
	/* With garbage in the queues it may be our own. */
	if (!vmshm_ring_fits(msg->ring_off, msg->ring_order, p->half_size)) {
		p->wrong++;
		return;
	}
	c->peer_id = msg->src_id;
	c->peer_gen = msg->src_gen;
	vmshm_prod_init(&c->prod, (void *)(p->their_half + msg->ring_off), msg->ring_order);
	c->state = CONN_OPEN;
}

struct conn *peer_connect(struct peer *p, u32 port)
{
	struct vmshm_ctl msg;
	struct conn *c;

	if (!p->up)
		return NULL;
	c = new_conn(p);
	if (!c)
		return NULL;
	c->active = true;
	msg = peer_message(p, c, VMSHM_CTL_CONNECT);
	msg.dst_port = port;
	if (!peer_say(p, &msg))
		return NULL;
	c->state = CONN_CONNECTING;
	return c;
}

void peer_done(struct peer *p, struct conn *c, bool reset)
{
	struct vmshm_ctl msg = peer_message(p, c, VMSHM_CTL_DONE);

	if (reset)
		msg.flags = VMSHM_CTL_F_RESET;
	vmshm_prod_set_flags(&c->prod, reset ? VMSHM_RING_FIN | VMSHM_RING_RESET : VMSHM_RING_FIN);
	vmshm_cons_set_flags(&c->cons, reset ? VMSHM_RING_RDSHUT | VMSHM_RING_RESET :
				       VMSHM_RING_RDSHUT);
	peer_pend(p, c->peer_id | VMSHM_PEND_DATA | VMSHM_PEND_SPACE);
	peer_say(p, &msg);
}

static void answer(struct peer *p, const struct vmshm_ctl *msg)
{
	struct vmshm_ctl out;
	struct conn *c;

	p->messages++;
	if (msg->epoch != p->peer_epoch || msg->epoch_echo != p->epoch)
		return;
	if (msg->type == VMSHM_CTL_CONNECT) {
		c = new_conn(p);
		if (!c) {
			out = (struct vmshm_ctl){ .type = VMSHM_CTL_REFUSE, .epoch = p->epoch,
						  .epoch_echo = p->peer_epoch, .error = ENOBUFS,
						  .dst_id = msg->src_id, .dst_gen = msg->src_gen };
			peer_say(p, &out);
			return;
		}
		open_conn(p, c, msg);
		if (c->state != CONN_OPEN)
			return;
		c->type = msg->sock_type;
		c->port = msg->dst_port;
		if (c->type != SOCK_STREAM)
			vmshm_store(&c->cons.hdr->record_max, CONN_RECORD);
		out = peer_message(p, c, VMSHM_CTL_ACCEPT);
		peer_say(p, &out);
		return;
	}
	if (!msg->dst_id || msg->dst_id > CONNS)
		return;
	c = &p->conns[msg->dst_id - 1];
	if (c->state == CONN_FREE || c->gen != msg->dst_gen)
		return;
	if (msg->type == VMSHM_CTL_ACCEPT && c->state == CONN_CONNECTING) {
		open_conn(p, c, msg);
		p->accepts++;
	} else if (msg->type == VMSHM_CTL_REFUSE) {
		c->state = CONN_FREE;
		p->refusals++;
	} else if (msg->type == VMSHM_CTL_DONE && c->state == CONN_OPEN) {
		if (!c->fin)
			peer_done(p, c, false);
		c->state = CONN_FREE;
		p->ended++;
	}
}

/* ---- bytes ---- */

static void echo_conn(struct peer *p, struct conn *c)
{
	struct vmshm_span in[2] = { 0 }, out[2] = { 0 };
	long there = vmshm_cons_avail(&c->cons, 1);
	long room = vmshm_prod_space(&c->prod, there > 0 ? there : 1);
	char buf[1 << CONN_ORDER];
	long n = there < room ? there : room;
	struct vmshm_record rec;

	if (n <= 0)
		return;
	/* Header and all; what is published has to be whole. */
	if (c->type == SOCK_SEQPACKET) {
		if (vmshm_record_get(&c->cons, CONN_RECORD, &rec)) {
			p->wrong++;
			c->state = CONN_FREE;
			return;
		}
		n = vmshm_record_bytes(rec.len);
		if (n > room)
			return;
	}
	vmshm_cons_spans(&c->cons, 0, n, in);
	memcpy(buf, in[0].base, in[0].len);
	if (in[0].len < n)
		memcpy(buf + in[0].len, in[1].base, n - in[0].len);
	if (vmshm_cons_consume(&c->cons, n))
		peer_pend(p, c->peer_id | VMSHM_PEND_SPACE);
	vmshm_prod_spans(&c->prod, n, out);
	memcpy(out[0].base, buf, out[0].len);
	if (out[0].len < n)
		memcpy(out[1].base, buf + out[0].len, n - out[0].len);
	if (vmshm_prod_publish(&c->prod, n))
		peer_pend(p, c->peer_id | VMSHM_PEND_DATA);
	c->echoed += n;
	p->echoed += n;
}

/* The lane to a port of the other side, open or not yet. */
static struct conn *lane_to(struct peer *p, u32 port)
{
	for (u32 i = 0; i < CONNS; i++) {
		struct conn *c = &p->conns[i];

		if (c->state != CONN_FREE && c->lane && c->port == port)
			return c;
	}
	return NULL;
}

static struct conn *new_lane(struct peer *p, u32 port)
{
	struct conn *c = new_conn(p);
	struct vmshm_ctl msg;

	if (!c)
		return NULL;
	c->type = SOCK_DGRAM;
	c->lane = true;
	c->port = port;
	msg = peer_message(p, c, VMSHM_CTL_CONNECT);
	msg.dst_port = port;
	msg.ring_off = 0;
	msg.ring_order = 0;
	if (peer_say(p, &msg))
		c->state = CONN_CONNECTING;
	return c;
}

/* A datagram goes back to where it came from. */
static void echo_datagram(struct peer *p, struct conn *c)
{
	struct vmshm_span in[2] = { 0 }, out[2] = { 0 };
	struct vmshm_record rec;
	char buf[CONN_RECORD];
	struct conn *lane;
	u64 bytes;

	if (vmshm_cons_avail(&c->cons, 1) <= 0)
		return;
	if (vmshm_record_get(&c->cons, CONN_RECORD, &rec)) {
		p->wrong++;
		c->state = CONN_FREE;
		return;
	}
	bytes = vmshm_record_bytes(rec.len);
	lane = lane_to(p, rec.info);
	if (!lane && c->tried != rec.info) {
		c->tried = rec.info;
		new_lane(p, rec.info);
		return;
	}
	if (lane && lane->state != CONN_OPEN)
		return;
	if (lane && vmshm_prod_space(&lane->prod, bytes) < (long)bytes)
		return;
	if (lane) {
		vmshm_record_get_spans(&c->cons, 0, rec.len, in);
		memcpy(buf, in[0].base, in[0].len);
		if (in[0].len < rec.len)
			memcpy(buf + in[0].len, in[1].base, rec.len - in[0].len);
		vmshm_record_put(&lane->prod, 0, rec.len, c->port);
		vmshm_record_put_spans(&lane->prod, 0, rec.len, out);
		memcpy(out[0].base, buf, out[0].len);
		if (out[0].len < rec.len)
			memcpy(out[1].base, buf + out[0].len, rec.len - out[0].len);
		if (vmshm_prod_publish(&lane->prod, bytes))
			peer_pend(p, lane->peer_id | VMSHM_PEND_DATA);
		p->datagrams++;
	}
	c->tried = 0;
	if (vmshm_cons_consume(&c->cons, bytes))
		peer_pend(p, c->peer_id | VMSHM_PEND_SPACE);
}

/* The byte at a place of an active connection's stream. */
static u8 byte_at(const struct conn *c, u64 at)
{
	return (u8)(c->gen + at % 251);
}

static void check_conn(struct peer *p, struct conn *c)
{
	struct vmshm_span span[2];
	long n = vmshm_cons_avail(&c->cons, 1);
	int pieces;

	if (n > 0) {
		pieces = vmshm_cons_spans(&c->cons, 0, n, span);
		for (int i = 0; i < pieces; i++)
			for (u32 k = 0; k < span[i].len; k++)
				p->wrong += span[i].base[k] != byte_at(c, c->back++);
		p->checked += n;
		if (vmshm_cons_consume(&c->cons, n))
			peer_pend(p, c->peer_id | VMSHM_PEND_SPACE);
	}
	n = vmshm_prod_space(&c->prod, 1);
	if (n > 2048)
		n = 2048;
	if (n > 0 && c->sent < 16384) {
		pieces = vmshm_prod_spans(&c->prod, n, span);
		for (int i = 0; i < pieces; i++)
			for (u32 k = 0; k < span[i].len; k++)
				span[i].base[k] = byte_at(c, c->sent++);
		if (vmshm_prod_publish(&c->prod, n))
			peer_pend(p, c->peer_id | VMSHM_PEND_DATA);
	}
	if (!c->fin && c->sent >= 16384 && c->back >= c->sent) {
		c->fin = true;
		peer_done(p, c, false);
	}
}

void peer_step(struct peer *p)
{
	struct vmshm_ctl msg;
	int filled;

	look_at_epochs(p);
	if (!p->up)
		return;
	filled = vmshm_queue_filled(&p->ctl_rx);
	while (filled-- > 0) {
		vmshm_copy_once(&msg, &peer_ctl(p->theirs)[vmshm_queue_slot(&p->ctl_rx)],
				sizeof(msg));
		vmshm_queue_advance(&p->ctl_rx);
		answer(p, &msg);
	}
	if (vmshm_room_wanted(&p->theirs->ctl_wanted))
		peer_doorbell(p, 0);
	/* All rings are looked at in every turn, so the entries say nothing new. */
	filled = vmshm_queue_filled(&p->pend_rx);
	while (filled-- > 0)
		vmshm_queue_advance(&p->pend_rx);
	for (u32 i = 0; i < CONNS; i++) {
		struct conn *c = &p->conns[i];

		if (c->state == CONN_OPEN && c->active)
			check_conn(p, c);
		else if (c->state == CONN_OPEN && c->type == SOCK_DGRAM && !c->lane)
			echo_datagram(p, c);
		else if (c->state == CONN_OPEN && !c->lane)
			echo_conn(p, c);
	}
}

static struct conn *any(struct peer *p, bool records)
{
	u32 first = peer_random(p) % CONNS;

	for (u32 i = 0; i < CONNS; i++) {
		struct conn *c = &p->conns[(first + i) % CONNS];

		if (c->state == CONN_OPEN &&
		    (!records || c->type == SOCK_SEQPACKET || c->lane))
			return c;
	}
	return NULL;
}

struct conn *peer_any(struct peer *p)
{
	return any(p, false);
}

struct conn *peer_any_records(struct peer *p)
{
	return any(p, true);
}
