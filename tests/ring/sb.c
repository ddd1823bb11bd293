// SPDX-License-Identifier: GPL-2.0-only
/*
 * Store buffering, in lockstep: in each round one side publishes while the
 * other arms and looks, both let go at the same moment.  Forbidden: no doorbell
 * and nothing seen, that is, a wake-up lost.  Three places in ring.h have that
 * shape:
 *
 *   data	publish (E) against cons_arm (G)
 *   space	consume (F) against prod_arm (H)
 *   room	room_wanted (O) against want_room (N)
 *
 * "sb" checks all three and finds nothing.  "sb --mutant PLACE" is built from a
 * copy of ring.h that lacks one of the two barriers, and passes when it finds a
 * lost wake-up: that shows that the test can fail.
 */
#include "rt.h"

#include <stdlib.h>

#define BATCH 4096U

enum place { DATA, SPACE, ROOM, PLACES };
static const char *const place_name[] = { "data", "space", "room" };

struct sb {
	struct rt_ring ring;
	struct vmshm_prod p;
	struct vmshm_cons c;
	enum place place;
	u64 rounds;
	u64 spread;
	bool stop;
	u8 pad0[VMSHM_LINE];
	u64 round[2][VMSHM_LINE / 8];
	/* The words of a queue, a line each, as in struct vmshm_side. */
	u32 q_prod[VMSHM_LINE / 4];
	u32 q_cons[VMSHM_LINE / 4];
	u32 q_wanted[VMSHM_LINE / 4];
	u8 lines[8][VMSHM_LINE];	/* stores that hold up the store buffer */
	u8 told[BATCH];		/* the acting side rang */
	u8 saw[BATCH];		/* the sleeping side saw it */
	u64 lost, rung, seen, both, done;
	struct rt_fail fail;
};

/* Let both sides go at once; the first to come waits.  False: stop. */
static bool meet(struct sb *s, int me, u64 round)
{
	unsigned int spins = 0;

	vmshm_store_release(&s->round[me][0], round);
	while (vmshm_load_acquire(&s->round[!me][0]) < round) {
		if (vmshm_load(&s->stop))
			return false;
		if (++spins % 2048 == 0)
			rt_relax(&spins);
	}
	return true;
}

static void wait_a_bit(u64 turns)
{
	while (turns--)
		__asm__ __volatile__("");
}

/* Keep the store buffer busy with lines that the other side dirtied too. */
static void dirty(struct sb *s, u64 round)
{
	int i;

	for (i = 0; i < 4; i++)
		vmshm_store(&s->lines[i][0], (u8)round);
}

/* The side that publishes, gives back or makes room: one byte, one entry. */
static void actor(void *arg)
{
	struct sb *s = arg;
	struct rt_rng rng = rt_rng(1);
	struct vmshm_queue q;
	u64 r;

	vmshm_queue_init(&q, s->q_cons, s->q_prod, 8);
	for (r = 0; r < vmshm_load(&s->rounds); r++) {
		u64 delay = rt_below(&rng, s->spread);
		bool told = false;

		/* Bring what is loaded last into the cache. */
		if (s->place == DATA)
			(void)vmshm_load(&s->ring.hdr->data_event);
		else if (s->place == SPACE)
			(void)vmshm_load(&s->ring.hdr->space_event);
		else
			(void)vmshm_load(&s->q_wanted[0]);
		if (!meet(s, 0, 2 * r + 1))
			return;
		wait_a_bit(delay);
		dirty(s, r);
		switch (s->place) {
		case DATA:
			told = vmshm_prod_publish(&s->p, 1);
			break;
		case SPACE:
			told = vmshm_cons_consume(&s->c, 1);
			break;
		default:
			vmshm_queue_advance(&q);
			told = vmshm_room_wanted(&s->q_wanted[0]);
		}
		vmshm_store(&s->told[r % BATCH], told);
		if (!meet(s, 0, 2 * r + 2))
			return;
	}
}

static void sleeper(void *arg)
{
	struct sb *s = arg;
	struct rt_budget budget = rt_budget(1.0);
	struct rt_rng rng = rt_rng(2);
	struct vmshm_queue q;
	u64 r;

	vmshm_queue_init(&q, s->q_prod, s->q_cons, 8);
	for (r = 0; r < vmshm_load(&s->rounds); r++) {
		u64 delay = rt_below(&rng, s->spread) + r / 512 % 16 * s->spread / 16;
		bool saw = false, told;

		/* The other side is in this round, or still in the one before. */
		if (r + 2 < s->rounds && rt_spent(&budget))
			vmshm_store(&s->rounds, r + 2);
		if (s->place == DATA) {
			(void)vmshm_load(&s->ring.hdr->prod);
		} else if (s->place == SPACE) {
			(void)vmshm_load(&s->ring.hdr->cons);
		} else {
			vmshm_store(&s->q_wanted[0], 0);
			(void)vmshm_load(&s->q_cons[0]);
		}
		if (!meet(s, 1, 2 * r + 1))
			break;
		wait_a_bit(delay);
		dirty(s, r);
		switch (s->place) {
		case DATA:
			saw = vmshm_cons_arm(&s->c, 1);
			break;
		case SPACE:
			saw = vmshm_prod_arm(&s->p, 1);
			break;
		default:
			vmshm_want_room(&s->q_wanted[0], 1);
			saw = vmshm_load_acquire(q.theirs) == (u32)(r + 1);
		}
		if (!meet(s, 1, 2 * r + 2))
			break;
		told = vmshm_load(&s->told[r % BATCH]);
		s->lost += !told && !saw;
		s->rung += told;
		s->seen += saw;
		s->both += told && saw;
		s->done++;
		/* Take what is there now, silently, for the next round. */
		if (s->place == DATA) {
			if (vmshm_cons_avail(&s->c, 1) != 1) {
				rt_fail(&s->fail, "one byte a round");
				break;
			}
			s->c.cons++;
		} else if (s->place == SPACE) {
			if (vmshm_prod_space(&s->p, 1) != 1) {
				rt_fail(&s->fail, "one byte a round");
				break;
			}
			s->p.prod++;
		}
	}
	vmshm_store(&s->stop, true);
}

/* Lost wake-ups in @rounds rounds, or till the first in mutants. */
static struct sb *run(enum place place, u64 rounds, u64 spread)
{
	struct sb *s = rt_shared(sizeof(*s));

	s->place = place;
	s->rounds = rounds;
	s->spread = spread;
	rt_ring_new(&s->ring, 12);
	rt_ring_start(&s->ring, &s->p, &s->c, 0);
	if (place == SPACE)
		vmshm_prod_publish(&s->p, s->p.size);	/* full */
	if (!rt_pair(RT_THREADS, sleeper, actor, s, 110))
		rt_fail(&s->fail, "a side died");
	rt_ring_free(&s->ring);
	return s;
}

static void test(enum place place)
{
	struct sb *s = run(place, rt_rounds(1000000), 40);

	tap_ok(!rt_failed(&s->fail) && s->done == s->rounds && !s->lost,
	       "%s: %llu rounds in lockstep, %llu wake-ups lost", place_name[place],
	       (unsigned long long)s->done, (unsigned long long)s->lost);
	tap_diag("rung %llu, seen %llu, both %llu", (unsigned long long)s->rung,
		 (unsigned long long)s->seen, (unsigned long long)s->both);
	if (rt_failed(&s->fail))
		tap_diag("%s", s->fail.what);
}

static void must_lose(const char *name)
{
	double end = rt_now() + 30;
	u64 lost = 0, done = 0;
	int place;

	for (place = 0; place < PLACES; place++)
		if (!strcmp(name, place_name[place]))
			break;
	if (place == PLACES) {
		fprintf(stderr, "sb: --mutant wants data, space or room, not %s\n", name);
		exit(2);
	}
	while (!lost && rt_now() < end) {
		struct sb *s = run(place, 100000, 1 + done / 100000 * 10 % 80);

		lost = s->lost;
		done += s->done;
		if (rt_failed(&s->fail)) {
			tap_diag("%s", s->fail.what);
			break;
		}
	}
	tap_ok(lost, "%s without a barrier: %llu wake-ups lost in %llu rounds", name,
	       (unsigned long long)lost, (unsigned long long)done);
}

int main(int argc, char **argv)
{
	int place;

	tap_start();
	if (argc == 3 && !strcmp(argv[1], "--mutant")) {
		must_lose(argv[2]);
		return tap_done();
	}
	for (place = 0; place < PLACES; place++)
		test(place);
	return tap_done();
}
