// SPDX-License-Identifier: GPL-2.0-only
/*
 * The end of a stream: FIN that races with the last data, and FIN, RDSHUT and
 * RESET against sides that sleep, that are about to, and that are awake.
 */
#include "rt.h"

struct end {
	struct rt_bell data, space;
	struct rt_ring ring;
	enum rt_mode mode;
	u64 rounds;
	u32 flag;		/* the one that is tried */
	bool by_consumer;	/* set by the consumer */
	u64 start;
	u64 round[2][VMSHM_LINE / 8];
	u64 sent;		/* in this round, told before FIN */
	u64 sleeps;
	struct rt_fail fail;
};

static bool meet(struct end *s, int me, u64 round)
{
	unsigned int spins = 0;

	vmshm_store_release(&s->round[me][0], round);
	while (vmshm_load_acquire(&s->round[!me][0]) < round) {
		if (rt_failed(&s->fail))
			return false;
		rt_relax(&spins);
	}
	return true;
}

static struct rt_ring my_ring(struct end *s)
{
	struct rt_ring mine = s->ring;

	if (s->mode == RT_PROCESSES)
		rt_ring_again(&mine, &s->ring);
	return mine;
}

/* ---- FIN right after the last data: nothing is missed, nothing comes after ---- */

static void fin_producer(void *arg)
{
	struct end *s = arg;
	struct rt_ring mine = my_ring(s);
	struct rt_rng rng = rt_rng(3);
	u64 r;

	for (r = 0; r < vmshm_load(&s->rounds); r++) {
		u64 left = rt_below(&rng, 200), sent = 0;
		struct vmshm_prod p;

		if (!meet(s, 0, 2 * r + 1))
			return;
		vmshm_prod_init(&p, mine.hdr, mine.order);
		p.prod = s->start;
		p.cons = s->start;
		vmshm_store(&s->sent, left);
		while (left) {
			u64 len = 1 + rt_below(&rng, left);
			struct vmshm_span span[2];
			int n, i;

			if (vmshm_prod_space(&p, len) < (long)len) {
				rt_fail(&s->fail, "no space");
				return;
			}
			n = vmshm_prod_spans(&p, len, span);
			for (i = 0; i < n; i++) {
				rt_fill(span[i].base, span[i].len, r, sent);
				sent += span[i].len;
			}
			if (vmshm_prod_publish(&p, len))
				rt_bell_ring(&s->data);
			left -= len;
		}
		vmshm_prod_set_flags(&p, VMSHM_RING_FIN);
		rt_bell_ring(&s->data);
		if (!meet(s, 0, 2 * r + 2))
			return;
	}
}

static void fin_consumer(void *arg)
{
	struct rt_budget budget = rt_budget(0.3);
	struct end *s = arg;
	struct vmshm_prod p;
	struct vmshm_cons c;
	u64 r;

	for (r = 0; r < vmshm_load(&s->rounds); r++) {
		u64 got = 0;

		/* The other side is in this round, or still in the one before. */
		if (r + 2 < s->rounds && rt_spent(&budget))
			vmshm_store(&s->rounds, r + 2);
		rt_ring_start(&s->ring, &p, &c, s->start);
		if (!meet(s, 1, 2 * r + 1))
			return;
		for (;;) {
			u32 seen = rt_bell_seen(&s->data);
			u32 flags = vmshm_cons_peer_flags(&c);
			struct vmshm_span span[2];
			int n, i, ret;
			long avail;

			if (vmshm_cons_refresh(&c)) {
				rt_fail(&s->fail, "-EPROTO");
				return;
			}
			avail = vmshm_cons_avail(&c, 0);
			if (!avail && flags & VMSHM_RING_FIN)
				break;
			if (!avail) {
				ret = vmshm_cons_arm(&c, 1);
				if (ret < 0)
					rt_fail(&s->fail, "-EPROTO");
				if (ret || vmshm_cons_peer_flags(&c))
					continue;
				s->sleeps++;
				if (rt_bell_wait(&s->data, seen, RT_SUSPECT + RT_LOST)) {
					rt_fail(&s->fail, "round %llu: not woken",
						(unsigned long long)r);
					return;
				}
				continue;
			}
			n = vmshm_cons_spans(&c, 0, (u64)avail, span);
			for (i = 0; i < n; i++) {
				if (rt_verify(span[i].base, span[i].len, r, got) != ~0ULL) {
					rt_fail(&s->fail, "a byte is wrong");
					return;
				}
				got += span[i].len;
			}
			vmshm_cons_consume(&c, (u64)avail);
		}
		if (got != vmshm_load(&s->sent)) {
			rt_fail(&s->fail, "round %llu: end of file after %llu bytes of %llu",
				(unsigned long long)r, (unsigned long long)got,
				(unsigned long long)vmshm_load(&s->sent));
			return;
		}
		if (!meet(s, 1, 2 * r + 2))
			return;
	}
}

/* ---- one flag against one that sleeps for data or for space ---- */

/* The side that gets tired: sets the flag at some moment, and rings. */
static void flag_setter(void *arg)
{
	struct end *s = arg;
	struct rt_ring mine = my_ring(s);
	struct rt_rng rng = rt_rng(5);
	u64 r;

	for (r = 0; r < vmshm_load(&s->rounds); r++) {
		u64 delay = rt_below(&rng, 200);
		struct vmshm_prod p;
		struct vmshm_cons c;

		if (!meet(s, 0, 2 * r + 1))
			return;
		while (delay--)
			__asm__ __volatile__("");
		vmshm_prod_init(&p, mine.hdr, mine.order);
		vmshm_cons_init(&c, mine.hdr, mine.order);
		if (s->by_consumer) {
			vmshm_cons_set_flags(&c, s->flag);
			rt_bell_ring(&s->space);
		} else {
			vmshm_prod_set_flags(&p, s->flag);
			rt_bell_ring(&s->data);
		}
		if (!meet(s, 0, 2 * r + 2))
			return;
	}
}

static void flag_waiter(void *arg)
{
	struct rt_budget budget = rt_budget(0.3);
	struct end *s = arg;
	struct rt_bell *bell = s->by_consumer ? &s->space : &s->data;
	struct vmshm_prod p;
	struct vmshm_cons c;
	u64 r;

	for (r = 0; r < vmshm_load(&s->rounds); r++) {
		/* The other side is in this round, or still in the one before. */
		if (r + 2 < s->rounds && rt_spent(&budget))
			vmshm_store(&s->rounds, r + 2);
		rt_ring_start(&s->ring, &p, &c, s->start);
		if (s->by_consumer)
			vmshm_prod_publish(&p, p.size);	/* full: wait for space */
		if (!meet(s, 1, 2 * r + 1))
			return;
		for (;;) {
			u32 seen = rt_bell_seen(bell);
			int ret = s->by_consumer ? vmshm_prod_arm(&p, 1) : vmshm_cons_arm(&c, 1);
			u32 flags = s->by_consumer ? vmshm_prod_peer_flags(&p) :
						     vmshm_cons_peer_flags(&c);

			if (ret) {
				rt_fail(&s->fail, "arming says %d", ret);
				return;
			}
			if (flags) {
				if (flags != s->flag)
					rt_fail(&s->fail, "flags %#x", flags);
				break;
			}
			s->sleeps++;
			if (rt_bell_wait(bell, seen, RT_SUSPECT + RT_LOST)) {
				rt_fail(&s->fail, "round %llu: not woken", (unsigned long long)r);
				return;
			}
		}
		if (!meet(s, 1, 2 * r + 2))
			return;
	}
}

static struct end *new_end(enum rt_mode mode, enum rt_bell_kind kind, u64 start, u64 rounds)
{
	struct end *s = rt_shared(sizeof(*s));

	s->mode = mode;
	s->start = start;
	s->rounds = rt_rounds(rounds);
	rt_bell_init(&s->data, kind);
	rt_bell_init(&s->space, kind);
	rt_ring_new(&s->ring, 12);
	return s;
}

static void end_end(struct end *s)
{
	if (rt_failed(&s->fail))
		tap_diag("%s", s->fail.what);
	tap_diag("%llu sleeps", (unsigned long long)s->sleeps);
	rt_bell_fini(&s->data);
	rt_bell_fini(&s->space);
	rt_ring_free(&s->ring);
}

static void fin(enum rt_mode mode, enum rt_bell_kind kind, u64 start, u64 rounds)
{
	struct end *s = new_end(mode, kind, start, rounds);
	bool ok = rt_pair(mode, fin_consumer, fin_producer, s, 60);

	tap_ok(ok && !rt_failed(&s->fail),
	       "%s: FIN after the last data, %llu rounds, indices from %#llx: all of it, then the end",
	       rt_mode_name[mode], (unsigned long long)s->rounds, (unsigned long long)start);
	end_end(s);
}

static void flag(enum rt_mode mode, enum rt_bell_kind kind, u32 which, bool by_consumer,
		 const char *what, u64 rounds)
{
	struct end *s = new_end(mode, kind, 0, rounds);
	bool ok;

	s->flag = which;
	s->by_consumer = by_consumer;
	ok = rt_pair(mode, flag_waiter, flag_setter, s, 60);
	tap_ok(ok && !rt_failed(&s->fail), "%s: %s, %llu rounds", rt_mode_name[mode], what,
	       (unsigned long long)s->rounds);
	end_end(s);
}

int main(void)
{
	int m;

	tap_start();
	for (m = RT_THREADS; m <= RT_PROCESSES; m++) {
		fin(m, RT_SPIN, 0, 100000);
		fin(m, RT_SPIN, ~0ULL - 100, 100000);
		fin(m, RT_EVENTFD, (1ULL << 32) - 100, 5000);
		flag(m, RT_SPIN, VMSHM_RING_FIN, false, "FIN wakes a consumer", 100000);
		flag(m, RT_SPIN, VMSHM_RING_RESET, false, "RESET wakes a consumer", 50000);
		flag(m, RT_SPIN, VMSHM_RING_RDSHUT, true, "RDSHUT wakes a producer", 50000);
		flag(m, RT_FUTEX, VMSHM_RING_RESET, true, "RESET wakes a producer", 5000);
	}
	return tap_done();
}
