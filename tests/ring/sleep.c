// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sleep and wake: each side sleeps after arming alone, and rings only when
 * publish() or consume() says so.  No wake-up may be lost, none is sent that
 * nobody armed for, and a forced ping-pong rings exactly once a message.
 */
#include "rt.h"

struct sleep {
	struct rt_bell data, space;	/* whom they wake: consumer, producer */
	struct rt_ring ring;
	struct vmshm_prod p;
	struct vmshm_cons c;
	enum rt_mode mode;
	u64 bytes;
	u64 max_msg;
	u64 max_lowat;	/* max_lowat + max_free <= size, or both sleep rightly */
	u64 max_free;
	u64 key;
	struct rt_fail fail;
	struct {
		u64 arms, sleeps, rung;
		u8 pad[VMSHM_LINE - 24];
	} prod, cons;
};

/*
 * The sleep that follows an arming.  False: give up.  A bell that stays silent
 * although there is what the sleeper waits for is a lost wake-up, unless the
 * peer was only kept off its core between publishing and ringing.
 */
static bool nap(struct sleep *s, struct rt_bell *bell, u32 seen, const u64 *index, u64 event,
		const char *who)
{
	while (rt_bell_wait(bell, seen, RT_SUSPECT)) {
		if (rt_failed(&s->fail))
			return false;
		if (event - vmshm_load_acquire(index) - 1 < 1ULL << 63)
			continue;	/* not there yet */
		if (rt_bell_wait(bell, seen, RT_LOST)) {
			rt_fail(&s->fail, "%s: lost wake-up: event %llu, index %llu", who,
				(unsigned long long)event,
				(unsigned long long)vmshm_load(index));
			return false;
		}
	}
	return true;
}

/* Wait for @free bytes of space; a second waiter with a mark of its own arms too. */
static bool wait_space(struct sleep *s, struct vmshm_prod *p, u64 free, u64 other)
{
	for (;;) {
		u32 seen = rt_bell_seen(&s->space);
		int ret;

		if (other) {
			s->prod.arms++;
			if (vmshm_prod_arm(p, other) < 0)
				break;
		}
		s->prod.arms++;
		ret = vmshm_prod_arm(p, free);
		if (ret < 0)
			break;
		if (ret)
			return true;
		s->prod.sleeps++;
		if (!nap(s, &s->space, seen, &p->hdr->cons, p->event, "producer"))
			return false;
	}
	rt_fail(&s->fail, "producer: -EPROTO");
	return false;
}

static bool wait_data(struct sleep *s, struct vmshm_cons *c, u64 lowat, u64 other)
{
	for (;;) {
		u32 seen = rt_bell_seen(&s->data);
		int ret;

		if (other) {
			s->cons.arms++;
			if (vmshm_cons_arm(c, other) < 0)
				break;
		}
		s->cons.arms++;
		ret = vmshm_cons_arm(c, lowat);
		if (ret < 0)
			break;
		if (ret)
			return true;
		s->cons.sleeps++;
		if (!nap(s, &s->data, seen, &c->hdr->prod, c->event, "consumer"))
			return false;
	}
	rt_fail(&s->fail, "consumer: -EPROTO");
	return false;
}

static u64 some(struct rt_rng *rng, u64 max)
{
	return 1 + rt_below(rng, rt_below(rng, 4) ? max : 1 + max / 64);
}

static void producer(void *arg)
{
	struct sleep *s = arg;
	struct vmshm_prod p = s->p;
	struct rt_rng rng = rt_rng(s->key + 1);
	struct rt_budget budget = rt_budget(0.3);
	u64 sent = 0;

	while (sent < s->bytes) {
		struct vmshm_span span[2];
		u64 len = some(&rng, s->max_msg);
		u64 mark = some(&rng, s->max_free);
		int n, i;

		/* So far ahead that whatever the consumer waits for now still comes. */
		if (s->bytes - sent > p.size && rt_spent(&budget))
			vmshm_store(&s->bytes, sent + p.size);
		if (len > s->bytes - sent)
			len = s->bytes - sent;
		if ((u64)vmshm_prod_space(&p, mark) < mark &&
		    !wait_space(s, &p, mark, rt_below(&rng, 4) ? 0 : some(&rng, s->max_free)))
			return;
		if (len > (u64)vmshm_prod_space(&p, 0))
			len = (u64)vmshm_prod_space(&p, 0);
		n = vmshm_prod_spans(&p, len, span);
		for (i = 0; i < n; i++) {
			rt_fill(span[i].base, span[i].len, s->key, sent);
			sent += span[i].len;
		}
		if (vmshm_prod_publish(&p, len)) {
			s->prod.rung++;
			rt_bell_ring(&s->data);
		}
	}
}

static void consumer(void *arg)
{
	struct sleep *s = arg;
	struct rt_ring mine = s->ring;
	struct vmshm_cons c = s->c;
	struct rt_rng rng = rt_rng(s->key + 2);
	u64 got = 0;

	if (s->mode == RT_PROCESSES) {
		rt_ring_again(&mine, &s->ring);
		c.hdr = mine.hdr;
		c.data = (u8 *)(mine.hdr + 1);
	}
	while (got < vmshm_load(&s->bytes)) {
		struct vmshm_span span[2];
		u64 lowat = some(&rng, s->max_lowat), len;
		u64 left = vmshm_load(&s->bytes) - got;
		int n, i;

		if (lowat > left)
			lowat = left;
		if ((u64)vmshm_cons_avail(&c, lowat) < lowat &&
		    !wait_data(s, &c, lowat, rt_below(&rng, 4) ? 0 : some(&rng, s->max_lowat)))
			return;
		len = (u64)vmshm_cons_avail(&c, 0);
		if (rt_below(&rng, 2))
			len = 1 + rt_below(&rng, len);
		n = vmshm_cons_spans(&c, 0, len, span);
		for (i = 0; i < n; i++) {
			u64 bad = rt_verify(span[i].base, span[i].len, s->key, got);

			if (bad != ~0ULL) {
				rt_fail(&s->fail, "byte %llu is wrong", (unsigned long long)bad);
				return;
			}
			got += span[i].len;
		}
		if (vmshm_cons_consume(&c, len)) {
			s->cons.rung++;
			rt_bell_ring(&s->space);
		}
	}
}

static const char *const kind_name[] = { "spinning", "futex", "eventfd" };

static void random_sleeps(enum rt_mode mode, enum rt_bell_kind kind, u64 start, u64 max_msg,
			  u64 max_lowat, u64 max_free, u64 bytes)
{
	struct sleep *s = rt_shared(sizeof(*s));
	bool ok;

	s->mode = mode;
	s->bytes = rt_rounds(bytes);
	s->max_msg = max_msg;
	s->max_lowat = max_lowat;
	s->max_free = max_free;
	s->key = start ^ bytes ^ max_msg;
	rt_bell_init(&s->data, kind);
	rt_bell_init(&s->space, kind);
	rt_ring_new(&s->ring, 12);
	rt_ring_start(&s->ring, &s->p, &s->c, start);
	ok = rt_pair(mode, consumer, producer, s, 100);
	tap_ok(ok && !rt_failed(&s->fail),
	       "%s, %s, indices from %#llx, messages to %llu, lowat to %llu, mark to %llu: no wake-up lost",
	       rt_mode_name[mode], kind_name[kind], (unsigned long long)start,
	       (unsigned long long)max_msg, (unsigned long long)max_lowat,
	       (unsigned long long)max_free);
	if (rt_failed(&s->fail))
		tap_diag("%s", s->fail.what);
	tap_ok(s->prod.rung <= s->cons.arms && s->cons.rung <= s->prod.arms,
	       "... and no more doorbells than armings");
	tap_diag("%llu bytes; armed, slept, rang: reader %llu, %llu, %llu, writer %llu, %llu, %llu",
		 (unsigned long long)s->bytes,
		 (unsigned long long)s->cons.arms, (unsigned long long)s->cons.sleeps,
		 (unsigned long long)s->prod.rung, (unsigned long long)s->prod.arms,
		 (unsigned long long)s->prod.sleeps, (unsigned long long)s->cons.rung);
	rt_bell_fini(&s->data);
	rt_bell_fini(&s->space);
	rt_ring_free(&s->ring);
}

/*
 * ---- a ping-pong ----
 *
 * Forced: each message is sent when its receiver is known to sleep.  Free: as it
 * comes, so that each round is a race between arming and publishing.
 */

struct pong {
	struct rt_bell bell[2];		/* of side 0, of side 1 */
	struct rt_ring ring[2];		/* side i receives in ring i */
	struct vmshm_prod p[2];
	struct vmshm_cons c[2];
	bool force;
	double seconds;
	u64 rounds;
	u64 asleep[2][VMSHM_LINE / 8];	/* the round that side i sleeps in */
	struct rt_fail fail;
	u64 rung[2][VMSHM_LINE / 8];
	u64 sleeps[2][VMSHM_LINE / 8];
	u64 back[2][VMSHM_LINE / 8];	/* doorbells for space that nobody wants */
};

static bool pong_send(struct pong *s, int me, u64 round, u64 len)
{
	unsigned int spins = 0;

	while (s->force && vmshm_load_acquire(&s->asleep[!me][0]) < round) {
		if (rt_failed(&s->fail))
			return false;
		rt_relax(&spins);
	}
	if (vmshm_prod_space(&s->p[!me], len) < (long)len) {
		rt_fail(&s->fail, "no space in an empty ring");
		return false;
	}
	if (vmshm_prod_publish(&s->p[!me], len)) {
		s->rung[me][0]++;
		rt_bell_ring(&s->bell[!me]);
	}
	return true;
}

static bool pong_receive(struct pong *s, int me, u64 round, u64 len)
{
	u32 seen = rt_bell_seen(&s->bell[me]);
	int ret = vmshm_cons_arm(&s->c[me], 1);

	if (ret < 0 || (ret && s->force)) {
		rt_fail(&s->fail, "side %d, round %llu: arming says %d", me,
			(unsigned long long)round, ret);
		return false;
	}
	s->sleeps[me][0] += !ret;
	vmshm_store_release(&s->asleep[me][0], round);
	/* Free: the bell may be a late one, for data that was seen without it. */
	while (!ret && rt_bell_wait(&s->bell[me], seen, RT_SUSPECT + RT_LOST) == 0) {
		seen = rt_bell_seen(&s->bell[me]);
		ret = vmshm_cons_arm(&s->c[me], 1);
	}
	if (ret != 1) {
		rt_fail(&s->fail, "side %d, round %llu: not woken", me, (unsigned long long)round);
		return false;
	}
	if (vmshm_cons_avail(&s->c[me], len) != (long)len) {
		rt_fail(&s->fail, "side %d, round %llu: wrong length", me,
			(unsigned long long)round);
		return false;
	}
	s->back[me][0] += vmshm_cons_consume(&s->c[me], len);
	return true;
}

static void pong_side(struct pong *s, int me)
{
	struct rt_budget budget = rt_budget(s->seconds);
	u64 r;

	for (r = 1; r <= vmshm_load(&s->rounds); r++) {
		u64 len = 1 + r * 37 % 4096;

		if (!me && rt_spent(&budget))
			vmshm_store(&s->rounds, r);
		if (me ? !pong_receive(s, me, r, len) || !pong_send(s, me, r, len) :
			 !pong_send(s, me, r, len) || !pong_receive(s, me, r, len))
			return;
	}
}

static void pong0(void *arg)
{
	pong_side(arg, 0);
}

static void pong1(void *arg)
{
	pong_side(arg, 1);
}

static void pingpong(enum rt_mode mode, enum rt_bell_kind kind, bool force, u64 rounds)
{
	struct pong *s = rt_shared(sizeof(*s));
	bool ok;
	double t;
	int i;

	s->force = force;
	s->seconds = force ? 0.4 : 1.5;
	s->rounds = rt_rounds(rounds);
	for (i = 0; i < 2; i++) {
		rt_bell_init(&s->bell[i], kind);
		rt_ring_new(&s->ring[i], 12);
		rt_ring_start(&s->ring[i], &s->p[i], &s->c[i], ~0ULL - 3000);
	}
	t = rt_now();
	ok = rt_pair(mode, pong0, pong1, s, 100);
	t = rt_now() - t;
	ok = ok && !rt_failed(&s->fail) && !s->back[0][0] && !s->back[1][0];
	for (i = 0; i < 2; i++)
		ok = ok && (force ? s->rung[i][0] == s->rounds : s->rung[i][0] <= s->rounds);
	tap_ok(ok, "%s, %s: %llu %s round trips, %s", rt_mode_name[mode], kind_name[kind],
	       (unsigned long long)s->rounds, force ? "forced" : "free",
	       force ? "a doorbell a message" : "no wake-up lost");
	if (rt_failed(&s->fail))
		tap_diag("%s", s->fail.what);
	tap_diag("%.2f us a round trip; doorbells %llu, %llu; sleeps %llu, %llu",
		 t / (double)s->rounds * 1e6,
		 (unsigned long long)s->rung[0][0], (unsigned long long)s->rung[1][0],
		 (unsigned long long)s->sleeps[0][0], (unsigned long long)s->sleeps[1][0]);
	for (i = 0; i < 2; i++) {
		rt_bell_fini(&s->bell[i]);
		rt_ring_free(&s->ring[i]);
	}
}

int main(void)
{
	static const u64 starts[] = {
		0, (1ULL << 32) - 99999, (1ULL << 63) - 99999, ~0ULL - 99999,
	};
	const u64 mib = 1 << 20;
	size_t i;
	int m;

	tap_start();
	for (m = RT_THREADS; m <= RT_PROCESSES; m++) {
		for (i = 0; i < ARRAY_SIZE(starts); i++)
			random_sleeps(m, RT_SPIN, starts[i], 16, 8, 4000, 3 * mib);
		random_sleeps(m, RT_SPIN, 0, 4096, 4096 - 8, 8, 64 * mib);
		random_sleeps(m, RT_SPIN, ~0ULL - 99999, 4096, 1, 4095, 32 * mib);
		random_sleeps(m, RT_SPIN, 0, 2000, 2048, 2048, 64 * mib);
		random_sleeps(m, RT_SPIN, 0, 1, 1, 1, mib / 2);
		random_sleeps(m, RT_FUTEX, ~0ULL - 99999, 2000, 2048, 2048, 2 * mib);
		random_sleeps(m, RT_FUTEX, 0, 16, 4, 4, mib / 2);
		random_sleeps(m, RT_EVENTFD, 0, 4096, 2048, 2048, 2 * mib);
		random_sleeps(m, RT_EVENTFD, (1ULL << 63) - 99999, 16, 4, 4, mib / 2);
		pingpong(m, RT_SPIN, false, 3000000);
		pingpong(m, RT_FUTEX, false, 10000);
		pingpong(m, RT_SPIN, true, 300000);
		pingpong(m, RT_FUTEX, true, 5000);
		pingpong(m, RT_EVENTFD, true, 5000);
	}
	return tap_done();
}
