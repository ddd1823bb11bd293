// SPDX-License-Identifier: GPL-2.0-only
/*
 * The queues of fixed entries: control messages whole and in order, asking for
 * room, and the pending queue whose overflow makes the receiver look at every
 * ring.  Indices begin just below 2^32.
 */
#include "rt.h"

#define ENTRIES 64
#define RINGS 1000

struct queue {
	struct rt_bell bell, room;	/* for the consumer, for the producer */
	u32 prod[VMSHM_LINE / 4];
	u32 cons[VMSHM_LINE / 4];
	u32 wanted[VMSHM_LINE / 4];
	u32 overflow[VMSHM_LINE / 4];
	struct vmshm_ctl ctl[ENTRIES];
	u32 pend[ENTRIES];
	u64 value[RINGS];	/* what a ring's index is to the receiver: one writer */
	u32 start;
	u64 rounds;
	bool done;
	u64 waits, overflows, rung;
	struct rt_fail fail;
};

static void start_queue(struct vmshm_queue *q, struct queue *s, bool producer)
{
	if (producer)
		vmshm_queue_init(q, s->prod, s->cons, ENTRIES);
	else
		vmshm_queue_init(q, s->cons, s->prod, ENTRIES);
	q->here = s->start;
	q->there = s->start;
}

/* ---- control messages, with a producer that sleeps when there is no room ---- */

static void ctl_producer(void *arg)
{
	struct rt_budget budget = rt_budget(0.4);
	struct queue *s = arg;
	struct vmshm_queue q;
	u64 r;

	start_queue(&q, s, true);
	for (r = 0; r < s->rounds; r++) {
		int room = vmshm_queue_room(&q);

		if (rt_spent(&budget))
			vmshm_store(&s->rounds, r + 1);
		while (!room) {
			u32 seen = rt_bell_seen(&s->room);

			s->waits++;
			vmshm_want_room(s->wanted, 1);
			room = vmshm_queue_room(&q);
			if (!room) {
				if (rt_bell_wait(&s->room, seen, RT_SUSPECT + RT_LOST)) {
					rt_fail(&s->fail, "message %llu: no bell for room",
						(unsigned long long)r);
					return;
				}
				room = vmshm_queue_room(&q);
			}
			if (room)
				vmshm_want_room(s->wanted, 0);
		}
		if (room < 0 || room > ENTRIES || rt_failed(&s->fail)) {
			rt_fail(&s->fail, "room is %d", room);
			return;
		}
		rt_fill((u8 *)&s->ctl[vmshm_queue_slot(&q)], sizeof(struct vmshm_ctl), s->start,
			r * sizeof(struct vmshm_ctl));
		vmshm_queue_advance(&q);
		rt_bell_ring(&s->bell);
	}
}

static void ctl_consumer(void *arg)
{
	struct queue *s = arg;
	struct rt_rng rng = rt_rng(7);
	unsigned int spins = 0;
	struct vmshm_queue q;
	u64 got = 0;

	start_queue(&q, s, false);
	/* So that each run has a producer that finds no room. */
	while (!vmshm_load(&s->wanted[0]))
		rt_relax(&spins);
	while (got < vmshm_load(&s->rounds)) {
		u32 seen = rt_bell_seen(&s->bell);
		int filled = vmshm_queue_filled(&q), i, batch;

		if (filled < 0 || filled > ENTRIES || rt_failed(&s->fail)) {
			rt_fail(&s->fail, "filled is %d", filled);
			return;
		}
		if (!filled) {
			/* The producer may be gone, with a last doorbell before "seen". */
			if (rt_bell_wait(&s->bell, seen, RT_SUSPECT + RT_LOST)) {
				rt_fail(&s->fail, "after %llu messages: not woken",
					(unsigned long long)got);
				return;
			}
			continue;
		}
		batch = 1 + (int)rt_below(&rng, (u64)filled);
		for (i = 0; i < batch; i++) {
			struct vmshm_ctl m;

			vmshm_copy_once(&m, &s->ctl[vmshm_queue_slot(&q)], sizeof(m));
			vmshm_queue_advance(&q);
			if (rt_verify((u8 *)&m, sizeof(m), s->start, got * sizeof(m)) != ~0ULL) {
				rt_fail(&s->fail, "message %llu is wrong", (unsigned long long)got);
				return;
			}
			got++;
		}
		if (vmshm_room_wanted(s->wanted)) {
			s->rung++;
			rt_bell_ring(&s->room);
		}
	}
	if (vmshm_queue_filled(&q))
		rt_fail(&s->fail, "there is more than was sent");
}

static void test_ctl(enum rt_mode mode, enum rt_bell_kind kind, u32 start, u64 rounds)
{
	struct queue *s = rt_shared(sizeof(*s));
	bool ok;

	s->start = start;
	s->prod[0] = start;
	s->cons[0] = start;
	s->rounds = rt_rounds(rounds);
	rt_bell_init(&s->bell, kind);
	rt_bell_init(&s->room, kind);
	ok = rt_pair(mode, ctl_consumer, ctl_producer, s, 60);
	tap_ok(ok && !rt_failed(&s->fail) && s->waits, "%s: %llu control messages from index %#x",
	       rt_mode_name[mode], (unsigned long long)s->rounds, start);
	if (rt_failed(&s->fail))
		tap_diag("%s", s->fail.what);
	tap_diag("%llu waits for room, %llu bells for it", (unsigned long long)s->waits,
		 (unsigned long long)s->rung);
	rt_bell_fini(&s->bell);
	rt_bell_fini(&s->room);
}

/* ---- pending numbers that overflow ---- */

static void pend_producer(void *arg)
{
	struct rt_budget budget = rt_budget(0.4);
	struct queue *s = arg;
	struct rt_rng rng = rt_rng(8);
	struct vmshm_queue q;
	u32 overflow = 0;
	u64 r;

	start_queue(&q, s, true);
	for (r = 1; r <= s->rounds; r++) {
		u32 id = (u32)rt_below(&rng, RINGS);
		int room;

		if (rt_spent(&budget))
			vmshm_store(&s->rounds, r);
		vmshm_store_release(&s->value[id], r);
		room = vmshm_queue_room(&q);
		if (room < 0 || rt_failed(&s->fail)) {
			rt_fail(&s->fail, "room is %d", room);
			return;
		}
		if (room) {
			vmshm_store(&s->pend[vmshm_queue_slot(&q)], id | VMSHM_PEND_DATA);
			vmshm_queue_advance(&q);
		} else {
			vmshm_overflow_bump(s->overflow, &overflow);
			s->overflows++;
		}
		rt_bell_ring(&s->bell);
		/* Give the receiver a chance now and then, or it only overflows. */
		if (overflow && !rt_below(&rng, 512)) {
			unsigned int spins = 0;

			while (!rt_failed(&s->fail) && vmshm_queue_room(&q) < ENTRIES)
				rt_relax(&spins);
		}
	}
	vmshm_store_release(&s->done, true);
	rt_bell_ring(&s->bell);
}

/*
 * A ring's value that the receiver did not see, although it is never rung for
 * it again, is a lost wake-up: compared at the end.
 */
static void pend_consumer(void *arg)
{
	static u64 known[RINGS];
	struct queue *s = arg;
	struct vmshm_queue q;
	unsigned int spins = 0;
	u32 last = 0, id;

	memset(known, 0, sizeof(known));
	start_queue(&q, s, false);
	while (!vmshm_load(&s->overflow[0]))
		rt_relax(&spins);
	for (;;) {
		u32 seen = rt_bell_seen(&s->bell);
		bool done = vmshm_load_acquire(&s->done);
		int filled = vmshm_queue_filled(&q);

		if (filled < 0 || rt_failed(&s->fail)) {
			rt_fail(&s->fail, "filled is %d", filled);
			return;
		}
		while (filled--) {
			u32 entry = vmshm_load(&s->pend[vmshm_queue_slot(&q)]);

			vmshm_queue_advance(&q);
			id = entry & VMSHM_PEND_ID_MASK;
			if (id >= RINGS || entry != (id | VMSHM_PEND_DATA)) {
				rt_fail(&s->fail, "entry %#x", entry);
				return;
			}
			known[id] = vmshm_load_acquire(&s->value[id]);
		}
		if (vmshm_overflow_seen(s->overflow, &last))
			for (id = 0; id < RINGS; id++)
				known[id] = vmshm_load_acquire(&s->value[id]);
		if (done)
			break;
		if (rt_bell_wait(&s->bell, seen, RT_SUSPECT + RT_LOST)) {
			rt_fail(&s->fail, "not woken");
			return;
		}
	}
	for (id = 0; id < RINGS; id++)
		if (known[id] != s->value[id])
			rt_fail(&s->fail, "ring %u: missed the last change", id);
}

static void test_pend(enum rt_mode mode, enum rt_bell_kind kind, u32 start, u64 rounds)
{
	struct queue *s = rt_shared(sizeof(*s));
	bool ok;

	s->start = start;
	s->prod[0] = start;
	s->cons[0] = start;
	s->rounds = rt_rounds(rounds);
	rt_bell_init(&s->bell, kind);
	ok = rt_pair(mode, pend_consumer, pend_producer, s, 60);
	tap_ok(ok && !rt_failed(&s->fail),
	       "%s: %llu pending numbers of %d rings through %d entries: none missed",
	       rt_mode_name[mode], (unsigned long long)s->rounds, RINGS, ENTRIES);
	tap_ok(s->overflows && s->overflows < s->rounds, "... with and without overflow");
	if (rt_failed(&s->fail))
		tap_diag("%s", s->fail.what);
	tap_diag("%llu overflows", (unsigned long long)s->overflows);
	rt_bell_fini(&s->bell);
}

int main(void)
{
	int m;

	tap_start();
	for (m = RT_THREADS; m <= RT_PROCESSES; m++) {
		test_ctl(m, RT_SPIN, 0, 2000000);
		test_ctl(m, RT_SPIN, ~0U - 100000, 2000000);
		test_ctl(m, RT_EVENTFD, 1U << 31, 50000);
		test_pend(m, RT_SPIN, ~0U - 100000, 2000000);
		test_pend(m, RT_EVENTFD, 0, 50000);
	}
	return tap_done();
}
