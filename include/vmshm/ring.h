/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The ring: a single-producer single-consumer byte stream between two
 * machines, and the queues of fixed entries beside it.  All access to shared
 * words, and every memory barrier of AF_VMSHM, is in this file.  It compiles
 * in the kernel and in user space (port.h).
 *
 * Not here: who allocates the memory, who is woken, how bytes are copied (the
 * caller copies to or from the spans that it is given).
 *
 * Rules
 *
 * - Each side keeps its own index privately and never reads it back.
 * - A peer's word is read once, checked against what is possible, and only
 *   then used.  -EPROTO means that the peer lied; the caller ends that
 *   connection.
 * - One struct vmshm_prod or vmshm_cons is used by one thread at a time; the
 *   functions whose name ends in _peek() may run beside it and only hint.
 *
 * Barriers of the byte stream
 *
 *   producer                              consumer
 *   --------                              --------
 *   load_acquire(cons)       (D)          load_acquire(prod)        (B)
 *   write data                            read data
 *   store_release(prod)      (A)          store_release(cons)       (C)
 *   mb                       (E)          mb                        (F)
 *   load data_event                       load space_event
 *
 *   about to sleep:                       about to sleep:
 *   store space_event                     store data_event
 *   mb                       (H)          mb                        (G)
 *   load cons                             load prod
 *
 * A pairs with B: who sees the index sees the bytes before it.
 * C pairs with D: who sees the index may overwrite what was read before it.
 * E pairs with G, and F with H, as store buffering (Dekker): each side stores
 * one word and loads the other's.  With a full barrier on both sides at least
 * one of the two loads sees the other side's store, so either the producer
 * sees the event and rings, or the consumer sees the index and does not sleep.
 * Release and acquire alone order no store before a later load; that is why E
 * to H are full barriers, on x86 too.
 *
 * Why an event that was seen is seen in time: the producer compares the event
 * with the step [old, new) of this publication.  If an earlier publication p
 * had crossed the event without seeing it, the consumer's load after G saw p
 * or a later index, and it did not sleep.  If the event lies beyond new, a
 * later publication crosses it.  So each arming gets one doorbell at the most,
 * and none is lost.  An event behind the index is disarmed by itself.
 *
 * The flags: a producer stores FIN by release after its last index; a consumer
 * loads the flags by acquire before the index.  If it saw FIN, the index that
 * it then loads is the last one.
 */
#ifndef _VMSHM_RING_H
#define _VMSHM_RING_H

#include "layout.h"

/* One contiguous piece of a ring's data area. */
struct vmshm_span {
	u8 *base;
	u32 len;
};

/**
 * struct vmshm_prod - the sender's private view of a ring
 * @hdr: the shared words, in the receiver's half
 * @data: the data area, @size bytes
 * @size: bytes, a power of two
 * @prod: bytes written so far
 * @cons: the last checked value of the peer's index
 * @event: what space_event was last set to
 * @vector: what space_vector was last set to
 * @flags: what prod_flags was last set to
 */
struct vmshm_prod {
	struct vmshm_ring_hdr *hdr;
	u8 *data;
	u64 size;
	u64 prod;
	u64 cons;
	u64 event;
	u32 vector;
	u32 flags;
};

/**
 * struct vmshm_cons - the receiver's private view of a ring
 * @hdr: the shared words, in one's own half
 * @data: the data area, @size bytes
 * @size: bytes, a power of two
 * @cons: bytes read so far
 * @prod: the last checked value of the peer's index
 * @event: what data_event was last set to
 * @vector: what data_vector was last set to
 * @flags: what cons_flags was last set to
 */
struct vmshm_cons {
	struct vmshm_ring_hdr *hdr;
	u8 *data;
	u64 size;
	u64 cons;
	u64 prod;
	u64 event;
	u32 vector;
	u32 flags;
};

/* Keep the compiler from going back to shared memory for what was copied. */
static inline void vmshm_compiler_barrier(void)
{
	__asm__ __volatile__("" : : : "memory");
}

/* Copy an entry out of shared memory once; what is checked is what is used. */
static inline void vmshm_copy_once(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	vmshm_compiler_barrier();
}

/* Bytes that a ring of this order takes in a half, header page included. */
static inline u64 vmshm_ring_bytes(u32 order)
{
	return sizeof(struct vmshm_ring_hdr) + (1ULL << order);
}

/*
 * Whether a ring that the peer names lies inside the peer's half.  @off and
 * @order are the peer's words, already read into private variables.
 */
static inline bool vmshm_ring_fits(u64 off, u32 order, u64 half_size)
{
	if (order < VMSHM_RING_ORDER_MIN || order > VMSHM_RING_ORDER_MAX)
		return false;
	if (off % VMSHM_PAGE || off > half_size)
		return false;
	return vmshm_ring_bytes(order) <= half_size - off;
}

/*
 * Make a ring anew.  By its owner, before anybody was told of it, so that
 * plain stores serve: the message that tells the peer is a release.
 */
static inline void vmshm_ring_init(struct vmshm_ring_hdr *hdr, u32 order, u32 id, u32 gen)
{
	memset(hdr, 0, sizeof(*hdr));
	hdr->data_size = 1ULL << order;
	hdr->owner_id = id;
	hdr->owner_gen = gen;
}

static inline void vmshm_prod_init(struct vmshm_prod *p, struct vmshm_ring_hdr *hdr, u32 order)
{
	p->hdr = hdr;
	p->data = (u8 *)(hdr + 1);
	p->size = 1ULL << order;
	p->prod = 0;
	p->cons = 0;
	p->event = 0;
	p->vector = 0;
	p->flags = 0;
}

static inline void vmshm_cons_init(struct vmshm_cons *c, struct vmshm_ring_hdr *hdr, u32 order)
{
	c->hdr = hdr;
	c->data = (u8 *)(hdr + 1);
	c->size = 1ULL << order;
	c->cons = 0;
	c->prod = 0;
	c->event = 0;
	c->vector = 0;
	c->flags = 0;
}

/* Did the step from @old to @new reach @event?  All are counts of bytes. */
static inline bool vmshm_crossed(u64 event, u64 old, u64 new)
{
	return event - old - 1 < new - old;
}

/* Up to two pieces of @len bytes that begin at count @at; returns how many. */
static inline int vmshm_spans(u8 *data, u64 size, u64 at, u64 len, struct vmshm_span span[2])
{
	u64 start = at & (size - 1);
	u64 first = size - start;

	span[0].base = data + start;
	if (len <= first) {
		span[0].len = (u32)len;
		return 1;
	}
	span[0].len = (u32)first;
	span[1].base = data;
	span[1].len = (u32)(len - first);
	return 2;
}

/* ---- producer ---- */

/* Take over the consumer's index; 0, or -EPROTO when it can't be true. */
static inline int vmshm_prod_refresh(struct vmshm_prod *p)
{
	u64 cons = vmshm_load_acquire(&p->hdr->cons);	/* (D), pairs with C */

	/* It may only go forward, and not beyond what was written. */
	if (cons - p->cons > p->prod - p->cons)
		return -EPROTO;
	p->cons = cons;
	return 0;
}

/*
 * Bytes that can be written now.  The peer's index is read again only when the
 * cached one leaves less than @want.  Returns -EPROTO as vmshm_prod_refresh().
 */
static inline long vmshm_prod_space(struct vmshm_prod *p, u64 want)
{
	u64 space = p->size - (p->prod - p->cons);

	if (space < want) {
		int err = vmshm_prod_refresh(p);

		if (err)
			return err;
		space = p->size - (p->prod - p->cons);
	}
	return (long)space;
}

/*
 * The pieces to write @len bytes into; @len is at most vmshm_prod_space().
 * With ordinary stores: the release of (A) does not order non-temporal ones.
 */
static inline int vmshm_prod_spans(struct vmshm_prod *p, u64 len, struct vmshm_span span[2])
{
	return vmshm_spans(p->data, p->size, p->prod, len, span);
}

/* Publish @len bytes; true when the consumer waits for them: ring. */
static inline bool vmshm_prod_publish(struct vmshm_prod *p, u64 len)
{
	u64 old = p->prod, new = old + len;

	vmshm_store(&p->prod, new);
	vmshm_store_release(&p->hdr->prod, new);	/* (A), pairs with B */
	vmshm_mb();					/* (E), pairs with G */
	return vmshm_crossed(vmshm_load(&p->hdr->data_event), old, new);
}

/*
 * About to sleep until @free bytes (1 to size) can be written: arm, and look
 * once more.  Returns 0: sleep, a doorbell will come; 1: there is room already;
 * 2: likewise, and wake all others who wait; -EPROTO as vmshm_prod_refresh().
 * The flags are to be looked at afterwards.
 *
 * By the producer alone: where several threads send or wait, under the lock
 * that publication is made under (an event computed from an index that has
 * moved meanwhile is an event that was passed already, and nobody would ring).
 * An event of another waiter's that comes earlier stays, unless it was reached.
 * One that comes later gives way: the doorbell for this one has its waiter arm
 * anew.  Where this one turns out to be reached no doorbell comes, and nobody
 * knows of the other one any more: that is the 2.
 * At most two turns: an event that is armed here and reached is room enough.
 */
static inline int vmshm_prod_arm(struct vmshm_prod *p, u64 free)
{
	u64 event = p->prod - p->size + free;
	bool gave_way = false;

	for (;;) {
		u64 other = p->event - p->cons - 1, own = event - p->cons - 1;
		int err;

		if (other >= own) {
			gave_way = other != own && other < 1ULL << 63;
			p->event = event;
			vmshm_store(&p->hdr->space_event, event);
		}
		vmshm_mb();				/* (H), pairs with F */
		err = vmshm_prod_refresh(p);
		if (err)
			return err;
		if (p->size - (p->prod - p->cons) >= free)
			return 1 + gave_way;
		if (p->event - p->cons - 1 < 1ULL << 63)
			return 0;
	}
}

/*
 * Which vector the consumer is to ring for the event: 1 + its number, or 0: any.
 * Before arming, and under the same lock.  A hint, so it needs no barrier: whoever
 * sees the event and an older vector rings that one.
 */
static inline void vmshm_prod_set_vector(struct vmshm_prod *p, u32 vector)
{
	if (p->vector == vector)
		return;
	p->vector = vector;
	vmshm_store(&p->hdr->space_vector, vector);
}

/* Which one the consumer would like to be rung; any value, also of an honest one. */
static inline u32 vmshm_prod_peer_vector(const struct vmshm_prod *p)
{
	return vmshm_load(&p->hdr->data_vector);
}

/*
 * A hint of the free bytes, from beside the producer; never above size.  While
 * the producer moves, or when the peer lies, it may say too much: look again
 * under the lock before anything depends on it.
 */
static inline u64 vmshm_prod_peek(const struct vmshm_prod *p)
{
	u64 used = vmshm_load(&p->prod) - vmshm_load_acquire(&p->hdr->cons);	/* (D) */

	return used > p->size ? p->size : p->size - used;
}

/* Bytes that were written and not yet read, as far as the consumer says. */
static inline u64 vmshm_prod_unread(const struct vmshm_prod *p)
{
	return p->size - vmshm_prod_peek(p);
}

/* Set flags for the consumer; the caller rings afterwards, always. */
static inline void vmshm_prod_set_flags(struct vmshm_prod *p, u32 flags)
{
	p->flags |= flags;
	vmshm_store_release(&p->hdr->prod_flags, p->flags);	/* after the last (A) */
	vmshm_mb();	/* the doorbell that follows finds the flag set */
}

/* What the consumer says: VMSHM_RING_RDSHUT, VMSHM_RING_RESET. */
static inline u32 vmshm_prod_peer_flags(const struct vmshm_prod *p)
{
	return vmshm_load_acquire(&p->hdr->cons_flags);
}

/* ---- consumer ---- */

/* Take over the producer's index; 0, or -EPROTO when it can't be true. */
static inline int vmshm_cons_refresh(struct vmshm_cons *c)
{
	u64 prod = vmshm_load_acquire(&c->hdr->prod);	/* (B), pairs with A */

	/* It may only go forward, and not beyond the space that there was. */
	if (prod - c->prod > c->size - (c->prod - c->cons))
		return -EPROTO;
	vmshm_store(&c->prod, prod);
	return 0;
}

/*
 * Bytes that can be read now.  The peer's index is read again only when the
 * cached one offers less than @want.  Returns -EPROTO as vmshm_cons_refresh().
 */
static inline long vmshm_cons_avail(struct vmshm_cons *c, u64 want)
{
	if (c->prod - c->cons < want) {
		int err = vmshm_cons_refresh(c);

		if (err)
			return err;
	}
	return (long)(c->prod - c->cons);
}

/*
 * The pieces to read @len bytes from, @skip bytes after the next one;
 * @skip + @len is at most vmshm_cons_avail().
 */
static inline int vmshm_cons_spans(struct vmshm_cons *c, u64 skip, u64 len,
				   struct vmshm_span span[2])
{
	return vmshm_spans(c->data, c->size, c->cons + skip, len, span);
}

/* Give @len bytes back; true when the producer waits for them: ring. */
static inline bool vmshm_cons_consume(struct vmshm_cons *c, u64 len)
{
	u64 old = c->cons, new = old + len;

	vmshm_store(&c->cons, new);
	vmshm_store_release(&c->hdr->cons, new);	/* (C), pairs with D */
	vmshm_mb();					/* (F), pairs with H */
	return vmshm_crossed(vmshm_load(&c->hdr->space_event), old, new);
}

/*
 * About to sleep until @lowat bytes (1 to size) can be read: arm, and look once
 * more.  Returns 0: sleep, a doorbell will come; 1: they are there already; 2:
 * likewise, and wake all others who wait; -EPROTO as vmshm_cons_refresh().  The
 * flags are to be looked at afterwards.  By the consumer alone, and an earlier
 * event stays, a later one gives way: see vmshm_prod_arm().
 */
static inline int vmshm_cons_arm(struct vmshm_cons *c, u64 lowat)
{
	u64 event = c->cons + lowat;
	bool gave_way = false;

	for (;;) {
		u64 other = c->event - c->prod - 1, own = event - c->prod - 1;
		int err;

		if (other >= own) {
			gave_way = other != own && other < 1ULL << 63;
			c->event = event;
			vmshm_store(&c->hdr->data_event, event);
		}
		vmshm_mb();				/* (G), pairs with E */
		err = vmshm_cons_refresh(c);
		if (err)
			return err;
		if (c->prod - c->cons >= lowat)
			return 1 + gave_way;
		if (c->event - c->prod - 1 < 1ULL << 63)
			return 0;
	}
}

/* Which vector the producer is to ring: see vmshm_prod_set_vector(). */
static inline void vmshm_cons_set_vector(struct vmshm_cons *c, u32 vector)
{
	if (c->vector == vector)
		return;
	c->vector = vector;
	vmshm_store(&c->hdr->data_vector, vector);
}

/* Which one the producer would like to be rung. */
static inline u32 vmshm_cons_peer_vector(const struct vmshm_cons *c)
{
	return vmshm_load(&c->hdr->space_vector);
}

/* A hint of the readable bytes, from beside the consumer: see vmshm_prod_peek(). */
static inline u64 vmshm_cons_peek(const struct vmshm_cons *c)
{
	u64 avail = vmshm_load_acquire(&c->hdr->prod) - vmshm_load(&c->cons);	/* (B) */

	return avail > c->size ? c->size : avail;
}

/* Set flags for the producer; the caller rings afterwards, always. */
static inline void vmshm_cons_set_flags(struct vmshm_cons *c, u32 flags)
{
	c->flags |= flags;
	vmshm_store_release(&c->hdr->cons_flags, c->flags);
	vmshm_mb();	/* the doorbell that follows finds the flag set */
}

/*
 * What the producer says: VMSHM_RING_FIN, VMSHM_RING_RESET.  To be loaded
 * before the index: after FIN, the index that is loaded next is the last.
 */
static inline u32 vmshm_cons_peer_flags(const struct vmshm_cons *c)
{
	return vmshm_load_acquire(&c->hdr->prod_flags);
}

/* ---- queues of fixed entries: control messages and pending numbers ---- */

/*
 * Barriers as A to D above, on 32-bit free-running indices:
 *   producer: load_acquire(cons) (J), write entry, store_release(prod) (K)
 *   consumer: load_acquire(prod) (L), copy entry, store_release(cons) (M)
 * K pairs with L, M with J.  A doorbell follows each publication, so there is
 * no event index; "wanted" (below) is the one wait for room.
 */

/**
 * struct vmshm_queue - one end of a queue, private
 * @mine: the index that this end writes
 * @theirs: the index that the other end writes
 * @entries: capacity, a power of two
 * @here: private copy of *@mine
 * @there: last checked value of *@theirs
 */
struct vmshm_queue {
	u32 *mine;
	const u32 *theirs;
	u32 entries;
	u32 here;
	u32 there;
};

static inline void vmshm_queue_init(struct vmshm_queue *q, u32 *mine, const u32 *theirs,
				    u32 entries)
{
	q->mine = mine;
	q->theirs = theirs;
	q->entries = entries;
	q->here = 0;
	q->there = 0;
}

/* Free entries for the producing end; -EPROTO when the peer's index lies. */
static inline int vmshm_queue_room(struct vmshm_queue *q)
{
	u32 there = vmshm_load_acquire(q->theirs);	/* (J), pairs with M */

	if (there - q->there > q->here - q->there)
		return -EPROTO;
	q->there = there;
	return (int)(q->entries - (q->here - there));
}

/* Filled entries for the consuming end; -EPROTO when the peer's index lies. */
static inline int vmshm_queue_filled(struct vmshm_queue *q)
{
	u32 there = vmshm_load_acquire(q->theirs);	/* (L), pairs with K */

	if (there - q->there > q->entries - (q->there - q->here))
		return -EPROTO;
	q->there = there;
	return (int)(there - q->here);
}

/* Which entry comes next, for either end. */
static inline u32 vmshm_queue_slot(const struct vmshm_queue *q)
{
	return q->here & (q->entries - 1);
}

/* Pass one entry on: written by the producing end, done with by the other. */
static inline void vmshm_queue_advance(struct vmshm_queue *q)
{
	q->here++;
	vmshm_store_release(q->mine, q->here);		/* (K) or (M) */
}

/*
 * The producing end found no room: ask to be rung when there is.  The caller
 * looks at vmshm_queue_room() once more afterwards.
 */
static inline void vmshm_want_room(u32 *wanted, u32 on)
{
	vmshm_store(wanted, on);
	vmshm_mb();		/* (N): pairs with (O), as E pairs with G */
}

/* The consuming end made room: does the peer want to be rung for it? */
static inline bool vmshm_room_wanted(const u32 *wanted)
{
	vmshm_mb();		/* (O): pairs with (N) */
	return vmshm_load(wanted) != 0;
}

/*
 * A pending queue without room: the producer counts up a word of its own, and
 * the consumer that finds it changed looks at every ring once, after it took
 * the word over.
 */
static inline void vmshm_overflow_bump(u32 *word, u32 *mine)
{
	vmshm_store_release(word, ++*mine);
}

static inline bool vmshm_overflow_seen(const u32 *word, u32 *last)
{
	u32 now = vmshm_load_acquire(word);

	if (now == *last)
		return false;
	*last = now;
	return true;
}

/* ---- single words ---- */

/*
 * A word that publishes what was stored before it: epochs, presence, magic.
 * Release pairs with the acquire of vmshm_word_read().
 */
static inline void vmshm_word_publish(u64 *word, u64 value)
{
	vmshm_store_release(word, value);
}

static inline u64 vmshm_word_read(const u64 *word)
{
	return vmshm_load_acquire(word);
}

#endif /* _VMSHM_RING_H */
