// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many connections (--connections): all in one ring, each message with the
 * number of its connection before it ("one"); or a ring each, where the receiver
 * looks at all of them in turn ("own-scan"), or at those whose number stands in
 * a queue, which the sender fills as AF_VMSHM's module does ("own-queue").
 *
 * Bursts go to the connections in a scattered order, and each receiver's message
 * is copied to a buffer of its connection. The numbers in the messages are
 * checked for each connection. --ring is the size of the one ring and of each of
 * the many. Only throughput is measured.
 */
#include <stdlib.h>

#include "vmshm.h"

const char *const mech_doc = "Messages of many connections, through one ring or one each.";

#define QUEUE	65536	/* connections that can wait, as many as there can be */

struct connection {
	u64 sent __aligned(MECH_LINE);
	u64 received __aligned(MECH_LINE);
	struct mech_vmshm v;
};

struct connections {
	struct connection *c;
	u64 sent;		/* the producer's: bursts */
	struct vmshm_queue in, out;
	u32 *entries;
	u32 words[2 * MECH_LINE];	/* the queue's indices, apart */
	u32 *mine;		/* the receiver's own list of rings that may hold more */
	u32 first, last, scan;
};

static struct connections all;

static void setup(struct mech *m, unsigned int rings)
{
	size_t bytes = vmshm_ring_bytes(__builtin_ctzl(m->ring));
	u8 *p = mech_memory(m, rings * bytes);

	if (m->rtt)
		mech_die("round trips are not measured here");
	all.c = mech_memory(m, sizeof(*all.c) * m->connections);
	all.entries = mech_memory(m, QUEUE * sizeof(u32));
	all.mine = mech_memory(m, QUEUE * sizeof(u32));
	for (unsigned int i = 0; i < rings; i++)
		mech_vmshm_init(&all.c[i].v, p + i * bytes, m->ring);
	vmshm_queue_init(&all.in, &all.words[0], &all.words[MECH_LINE], QUEUE);
	vmshm_queue_init(&all.out, &all.words[MECH_LINE], &all.words[0], QUEUE);
}

static void setup_one(struct mech *m)
{
	setup(m, 1);
}

static void setup_own(struct mech *m)
{
	setup(m, m->connections);
}

static void setup_queue(struct mech *m)
{
	setup(m, m->connections);
	/* Armed from the start: the first message of a connection is told. */
	for (unsigned int i = 0; i < m->connections; i++)
		if (vmshm_cons_arm(&all.c[i].v.cons, 1))
			mech_die("a new ring is not empty");
}

/* Which connection the next burst is for: each once a round, in no order. */
static inline u32 next_connection(const struct mech *m)
{
	return (all.sent * 2654435761UL) % m->connections;
}

static inline void number_them(struct mech *m, u8 *msgs, struct connection *c)
{
	for (unsigned int i = 0; i < m->burst; i++) {
		u64 number = c->sent++;

		memcpy(msgs + i * m->size, &number, sizeof(number));
	}
}

static inline bool check_them(struct mech *m, const u8 *msgs, u32 n, struct connection *c)
{
	struct mech_side *s = &m->side[1];

	for (unsigned int i = 0; i < n; i++) {
		u64 number;

		memcpy(&number, msgs + i * m->size, sizeof(number));
		if (number != c->received++) {
			__atomic_store_n(&m->failed, true, __ATOMIC_RELAXED);
			__atomic_store_n(&m->stop, true, __ATOMIC_RELAXED);
			return false;
		}
	}
	s->next += n;
	__atomic_store_n(&s->done, s->next, __ATOMIC_RELAXED);
	return true;
}

/* Waits until that many bytes are free; false when it is over. */
static inline bool room(struct mech *m, struct vmshm_prod *p, u64 len)
{
	while (vmshm_prod_space(p, len) < (long)len) {
		if (mech_stopped(m))
			return false;
		_mm_pause();
	}
	return true;
}

static inline void put(struct vmshm_prod *p, const void *from, u64 len)
{
	struct vmshm_span span[2];

	if (vmshm_prod_spans(p, len, span) == 2)
		memcpy(span[1].base, (const u8 *)from + span[0].len, span[1].len);
	memcpy(span[0].base, from, span[0].len);
}

static inline void get(struct vmshm_cons *c, u64 skip, void *to, u64 len)
{
	struct vmshm_span span[2];

	if (vmshm_cons_spans(c, skip, len, span) == 2)
		memcpy((u8 *)to + span[0].len, span[1].base, span[1].len);
	memcpy(to, span[0].base, span[0].len);
}

static void own_producer(struct mech *m, bool queue)
{
	u64 len = m->burst * m->size;

	for (; !mech_stopped(m); all.sent++) {
		u8 *msgs = mech_buffers(m, &m->side[0]);
		u32 at = next_connection(m);
		struct connection *c = &all.c[at];

		number_them(m, msgs, c);
		if (!room(m, &c->v.prod, len))
			return;
		put(&c->v.prod, msgs, len);
		if (!vmshm_prod_publish(&c->v.prod, len) || !queue)
			continue;
		if (vmshm_queue_room(&all.in) <= 0)
			mech_die("the queue of waiting connections is full");
		all.entries[vmshm_queue_slot(&all.in)] = at;
		vmshm_store_release(all.in.mine, ++all.in.here);
	}
}

static inline bool take_from(struct mech *m, struct connection *c)
{
	long avail = vmshm_cons_avail(&c->v.cons, m->burst * m->size);
	u8 *msgs = mech_buffers(m, &m->side[1]);
	unsigned int n = avail / m->size;

	if (!n)
		return false;
	if (n > m->burst)
		n = m->burst;
	get(&c->v.cons, 0, msgs, n * m->size);
	(void)vmshm_cons_consume(&c->v.cons, n * m->size);
	check_them(m, msgs, n, c);
	return true;
}

static void scan_producer(struct mech *m)
{
	own_producer(m, false);
}

static void scan_consumer(struct mech *m)
{
	while (!mech_stopped(m)) {
		take_from(m, &all.c[all.scan]);
		if (++all.scan == m->connections)
			all.scan = 0;
	}
}

static void queue_producer(struct mech *m)
{
	own_producer(m, true);
}

static void queue_consumer(struct mech *m)
{
	while (!mech_stopped(m)) {
		int n = vmshm_queue_filled(&all.out);

		while (n-- > 0) {
			all.mine[all.last++ % QUEUE] = all.entries[vmshm_queue_slot(&all.out)];
			vmshm_store_release(all.out.mine, ++all.out.here);
		}
		if (all.first != all.last) {
			u32 at = all.mine[all.first++ % QUEUE];

			/* Not empty yet: to the end of the list; else armed again. */
			if (take_from(m, &all.c[at]) || vmshm_cons_arm(&all.c[at].v.cons, 1))
				all.mine[all.last++ % QUEUE] = at;
		} else {
			_mm_pause();
		}
	}
}

static void one_producer(struct mech *m)
{
	struct vmshm_prod *p = &all.c[0].v.prod;
	u64 len = m->burst * m->size;

	for (; !mech_stopped(m); all.sent++) {
		u8 *msgs = mech_buffers(m, &m->side[0]);
		u64 at = next_connection(m);

		number_them(m, msgs, &all.c[at]);
		if (!room(m, p, sizeof(at) + len))
			return;
		put(p, &at, sizeof(at));
		p->prod += sizeof(at);
		put(p, msgs, len);
		p->prod -= sizeof(at);
		(void)vmshm_prod_publish(p, sizeof(at) + len);
	}
}

static void one_consumer(struct mech *m)
{
	struct vmshm_cons *c = &all.c[0].v.cons;
	u64 len = m->burst * m->size, at;

	while (!mech_stopped(m)) {
		u8 *msgs = mech_buffers(m, &m->side[1]);

		if (vmshm_cons_avail(c, sizeof(at) + len) < (long)(sizeof(at) + len)) {
			_mm_pause();
			continue;
		}
		get(c, 0, &at, sizeof(at));
		get(c, sizeof(at), msgs, len);
		(void)vmshm_cons_consume(c, sizeof(at) + len);
		if (at >= m->connections)
			mech_die("connection %llu is none", (unsigned long long)at);
		check_them(m, msgs, m->burst, &all.c[at]);
	}
}

static void queue(struct mech *m, enum mech_role role)
{
	(role == MECH_CONSUMER ? queue_consumer : queue_producer)(m);
}

static void scan(struct mech *m, enum mech_role role)
{
	(role == MECH_CONSUMER ? scan_consumer : scan_producer)(m);
}

static void one(struct mech *m, enum mech_role role)
{
	(role == MECH_CONSUMER ? one_consumer : one_producer)(m);
}

const struct mech_variant mech_variants[] = {
	{ "own-queue", "a ring each, and a queue of those that have something", setup_queue, NULL,
	  queue },
	{ "own-scan", "a ring each, looked at in turn", setup_own, NULL, scan },
	{ "one", "all in one ring", setup_one, NULL, one },
	{ 0 }
};
