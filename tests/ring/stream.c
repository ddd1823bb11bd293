// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bytes through a ring between two threads and two processes: random sizes,
 * checked content, wrap-around of the data area and of the indices.  Both sides
 * stay awake and no doorbell may be rung; sleep.c is where they sleep.
 */
#include "rt.h"

struct stream {
	struct rt_ring ring;
	struct vmshm_prod p;
	struct vmshm_cons c;
	enum rt_mode mode;
	u64 start;	/* of the indices */
	u64 bytes;	/* to send */
	u64 max;	/* of one message */
	u64 key;
	bool peek;	/* read everything twice, as MSG_PEEK does */
	struct rt_fail fail;
	u64 data_rung, space_rung;
};

static void producer(void *arg)
{
	struct stream *s = arg;
	struct vmshm_prod p = s->p;
	struct rt_rng rng = rt_rng(s->key);
	unsigned int spins = 0;
	struct rt_budget budget = rt_budget(0.4);
	u64 sent = 0, rung = 0;

	while (sent < s->bytes && !rt_failed(&s->fail)) {
		u64 want = 1 + rt_below(&rng, s->max), done = 0;

		if (want > s->bytes - sent)
			want = s->bytes - sent;
		if (rt_spent(&budget))
			vmshm_store(&s->bytes, sent + want);
		while (done < want) {
			struct vmshm_span span[2];
			long space = vmshm_prod_space(&p, want - done);
			u64 len = want - done;
			int n, i;

			if (space < 0 || space > (long)p.size) {
				rt_fail(&s->fail, "space is %ld", space);
				return;
			}
			if (!space) {
				rt_relax(&spins);
				if (rt_failed(&s->fail))
					return;
				continue;
			}
			if (len > (u64)space)
				len = (u64)space;
			n = vmshm_prod_spans(&p, len, span);
			for (i = 0; i < n; i++) {
				rt_fill(span[i].base, span[i].len, s->key, sent);
				sent += span[i].len;
			}
			rung += vmshm_prod_publish(&p, len);
			done += len;
		}
	}
	s->data_rung = rung;
}

static bool check(struct stream *s, struct vmshm_cons *c, u64 skip, u64 len, u64 at)
{
	struct vmshm_span span[2];
	int n = vmshm_cons_spans(c, skip, len, span), i;

	for (i = 0; i < n; i++) {
		u64 bad = rt_verify(span[i].base, span[i].len, s->key, at);

		if (bad != ~0ULL) {
			rt_fail(&s->fail, "byte %llu is wrong", (unsigned long long)bad);
			return false;
		}
		at += span[i].len;
	}
	return true;
}

static void consumer(void *arg)
{
	struct stream *s = arg;
	struct rt_ring mine = s->ring;
	struct vmshm_cons c = s->c;
	struct rt_rng rng = rt_rng(~s->key);
	unsigned int spins = 0;
	u64 got = 0, rung = 0;

	if (s->mode == RT_PROCESSES) {
		rt_ring_again(&mine, &s->ring);
		c.hdr = mine.hdr;
		c.data = (u8 *)(mine.hdr + 1);
	}
	while (got < vmshm_load(&s->bytes) && !rt_failed(&s->fail)) {
		u64 want = 1 + rt_below(&rng, s->max), len, skip;
		long avail = vmshm_cons_avail(&c, want);

		if (avail < 0 || avail > (long)c.size) {
			rt_fail(&s->fail, "avail is %ld", avail);
			return;
		}
		if (!avail) {
			rt_relax(&spins);
			continue;
		}
		len = want < (u64)avail ? want : (u64)avail;
		skip = s->peek ? rt_below(&rng, len) : 0;
		if (skip && !check(s, &c, skip, len - skip, got + skip))
			return;
		if (!check(s, &c, 0, len, got))
			return;
		rung += vmshm_cons_consume(&c, len);
		got += len;
	}
	s->space_rung = rung;
	/* Not a byte more than was sent. */
	if (!rt_failed(&s->fail) && vmshm_cons_avail(&c, 1))
		rt_fail(&s->fail, "there is more than was sent");
}

static void one(enum rt_mode mode, u32 order, u64 start, u64 max, u64 bytes, bool peek)
{
	struct stream *s = rt_shared(sizeof(*s));
	double t;
	bool ok;

	s->mode = mode;
	s->start = start;
	s->max = max;
	s->bytes = rt_rounds(bytes);
	s->peek = peek;
	s->key = start ^ max << 20 ^ order;
	rt_ring_new(&s->ring, order);
	rt_ring_start(&s->ring, &s->p, &s->c, start);
	t = rt_now();
	ok = rt_pair(mode, consumer, producer, s, 120);
	t = rt_now() - t;
	tap_ok(ok && !rt_failed(&s->fail) && !s->data_rung && !s->space_rung,
	       "%s, ring 2^%u, messages to %llu bytes%s, indices from %#llx: content, no doorbell",
	       rt_mode_name[mode], order, (unsigned long long)max, peek ? ", peeked at" : "",
	       (unsigned long long)start);
	if (rt_failed(&s->fail))
		tap_diag("%s", s->fail.what);
	tap_diag("%.0f MB/s, filling and checking included; doorbells a MiB: %.3f",
		 (double)s->bytes / t / 1e6,
		 (double)(s->data_rung + s->space_rung) * 1048576.0 / (double)s->bytes);
	rt_ring_free(&s->ring);
}

int main(void)
{
	static const u64 starts[] = {
		0, (1ULL << 32) - 5000, (1ULL << 63) - 5000, ~0ULL - 5000,
	};
	const u64 mib = 1 << 20;
	size_t i;
	int m;

	tap_start();
	for (m = RT_THREADS; m <= RT_PROCESSES; m++) {
		for (i = 0; i < ARRAY_SIZE(starts); i++)
			one(m, 12, starts[i], 6000, 48 * mib, i & 1);
		one(m, 12, 0, 64, 8 * mib, false);
		one(m, 16, 0, 3, 1 * mib, true);
		one(m, 18, 0, 65536, 128 * mib, false);
		one(m, 24, ~0ULL - 12345678, 20 * mib, 128 * mib, false);
	}
	return tap_done();
}
