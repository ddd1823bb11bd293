// SPDX-License-Identifier: GPL-2.0-only
/*
 * One side alone, no concurrency: index arithmetic of ring.h against a model,
 * at wrap and at the bounds of 32, 63 and 64 bits, and with every lie that an
 * index can tell.
 */
#include "rt.h"

static const u64 bases[] = {
	0, 1, 4095, 4096, (1ULL << 32) - 1, 1ULL << 32, (1ULL << 63) - 1, 1ULL << 63,
	(1ULL << 63) + 1, ~0ULL - 4096, ~0ULL - 1, ~0ULL,
};

/* Whether one of the counts old + 1 to old + len is the event: by counting. */
static bool model_crossed(u64 event, u64 old, u64 len)
{
	u64 i;

	for (i = 1; i <= len; i++)
		if (old + i == event)
			return true;
	return false;
}

static void test_crossed(void)
{
	unsigned int wrong = 0;
	size_t b;
	u64 len;
	int d;

	for (b = 0; b < ARRAY_SIZE(bases); b++)
		for (len = 0; len < 20; len++)
			for (d = -25; d <= 25; d++) {
				u64 event = bases[b] + (u64)(int64_t)d;

				wrong += vmshm_crossed(event, bases[b], bases[b] + len) !=
					 model_crossed(event, bases[b], len);
			}
	tap_ok(!wrong, "crossed() agrees with counting, %zu starts (%u differences)",
	       ARRAY_SIZE(bases), wrong);
	tap_ok(!vmshm_crossed(0, 0, 4096) && !vmshm_crossed(0, 1, 1ULL << 40),
	       "a new ring's event 0 is disarmed");
}

static void test_fits(void)
{
	const u64 half = 1ULL << 20;
	u32 o;
	bool ok = true;

	tap_ok(vmshm_ring_fits(0, 12, half) && vmshm_ring_fits(half - 8192, 12, half),
	       "a ring at either end of a half fits");
	tap_ok(!vmshm_ring_fits(half - 4096, 12, half) && !vmshm_ring_fits(half, 12, half) &&
	       !vmshm_ring_fits(half + 4096, 12, half), "a ring past the end does not");
	tap_ok(!vmshm_ring_fits(~0ULL & ~4095ULL, 12, half) &&
	       !vmshm_ring_fits(~0ULL - 8191, 12, half) &&
	       !vmshm_ring_fits(1ULL << 63, 12, ~0ULL >> 1), "nor one whose end overflows");
	tap_ok(!vmshm_ring_fits(1, 12, half) && !vmshm_ring_fits(2048, 12, half),
	       "nor one that does not begin on a page");
	for (o = 0; o < 100; o++)
		if (o < VMSHM_RING_ORDER_MIN || o > VMSHM_RING_ORDER_MAX)
			ok = ok && !vmshm_ring_fits(0, o, 1ULL << 36);
		else
			ok = ok && vmshm_ring_fits(0, o, 1ULL << 36);
	tap_ok(ok && !vmshm_ring_fits(0, 0x80000000U, ~0ULL) && !vmshm_ring_fits(0, ~0U, ~0ULL),
	       "orders 12 to 24 alone are taken");
	tap_ok(!vmshm_ring_fits(0, 24, 1ULL << 24), "the header page counts");
}

static void test_spans(void)
{
	struct rt_ring r;
	struct vmshm_prod p;
	struct vmshm_cons c;
	u64 at, len, size;
	bool ok = true, cons_ok = true;

	rt_ring_new(&r, 12);
	rt_ring_start(&r, &p, &c, 0);
	size = p.size;
	for (at = ~0ULL - size - 2; at != 3; at++) {
		static const u64 lens[] = { 0, 1, 2, 7, 8, 100, 2048, 4095, 4096 };
		size_t i;

		p.prod = at;
		c.cons = at;
		for (i = 0; i < ARRAY_SIZE(lens); i++) {
			struct vmshm_span s[2] = { { NULL, 0 }, { NULL, 0 } };
			u64 start = at % size;
			int n;

			len = lens[i];
			n = vmshm_prod_spans(&p, len, s);
			ok = ok && n >= 1 && n <= 2 && s[0].base == p.data + start &&
			     s[0].len + (n == 2 ? s[1].len : 0) == len &&
			     start + s[0].len <= size &&
			     (n == 1 || (s[1].base == p.data && s[1].len <= start && s[1].len));
			n = vmshm_cons_spans(&c, size - len, len, s);
			start = (at + size - len) % size;
			cons_ok = cons_ok && s[0].base == c.data + start &&
				  s[0].len + (n == 2 ? s[1].len : 0) == len &&
				  start + s[0].len <= size;
		}
	}
	tap_ok(ok, "pieces cover exactly the bytes asked for, inside the data area");
	tap_ok(cons_ok, "pieces to read after a skip too");
	rt_ring_free(&r);
}

/* Everything that the peer's index can be, around what is possible. */
static void test_refresh(void)
{
	unsigned int wrong = 0, tried = 0;
	struct vmshm_prod p;
	struct vmshm_cons c;
	struct rt_ring r;
	size_t b;

	rt_ring_new(&r, 12);
	for (b = 0; b < ARRAY_SIZE(bases); b++) {
		static const u64 used[] = { 0, 1, 100, 4095, 4096 };
		size_t i, j;

		for (i = 0; i < ARRAY_SIZE(used); i++) {
			u64 lies[64];
			size_t n = 0;
			int d;

			for (d = -3; d <= 3; d++) {
				lies[n++] = bases[b] + (u64)(int64_t)d;
				lies[n++] = bases[b] + used[i] + (u64)(int64_t)d;
				lies[n++] = bases[b] + 4096 + (u64)(int64_t)d;
				lies[n++] = bases[b] - 4096 + (u64)(int64_t)d;
				lies[n++] = bases[b] + (1ULL << 63) + (u64)(int64_t)d;
				lies[n++] = bases[b] + (1ULL << 32) + (u64)(int64_t)d;
			}
			for (j = 0; j < n; j++) {
				u64 step = lies[j] - bases[b];
				bool want_ok;

				/* Producer: @used bytes unread, the peer says cons = lie. */
				rt_ring_start(&r, &p, &c, bases[b]);
				p.prod += used[i];
				r.hdr->cons = lies[j];
				want_ok = step <= used[i];
				tried++;
				wrong += (vmshm_prod_refresh(&p) == 0) != want_ok;
				wrong += p.cons != (want_ok ? lies[j] : bases[b]);
				wrong += vmshm_prod_peek(&p) > p.size;
				wrong += vmshm_prod_unread(&p) > p.size;

				/* Consumer: @used bytes known, the peer says prod = lie. */
				rt_ring_start(&r, &p, &c, bases[b]);
				c.prod += used[i];
				r.hdr->prod = lies[j];
				want_ok = step >= used[i] && step <= c.size;
				tried++;
				wrong += (vmshm_cons_refresh(&c) == 0) != want_ok;
				wrong += c.prod != (want_ok ? lies[j] : bases[b] + used[i]);
				wrong += vmshm_cons_peek(&c) > c.size;
			}
		}
	}
	tap_ok(!wrong, "an index that can't be true is not taken over (%u tried, %u wrong)",
	       tried, wrong);
	rt_ring_free(&r);
}

static void test_thresholds(void)
{
	struct vmshm_prod p;
	struct vmshm_cons c;
	struct rt_ring r;
	size_t b;
	bool data = true, space = true, behind = true;

	rt_ring_new(&r, 12);
	for (b = 0; b < ARRAY_SIZE(bases); b++) {
		u64 lowat;

		for (lowat = 1; lowat <= 4096; lowat += lowat < 4 ? 1 : 1023) {
			rt_ring_start(&r, &p, &c, bases[b]);
			vmshm_cons_arm(&c, lowat);
			if (lowat > 1)
				data = data && !vmshm_prod_publish(&p, lowat - 1);
			data = data && vmshm_prod_publish(&p, 1);
			if (lowat < 4096)
				data = data && !vmshm_prod_publish(&p, 1);

			rt_ring_start(&r, &p, &c, bases[b]);
			vmshm_prod_publish(&p, 4096);
			vmshm_cons_refresh(&c);
			vmshm_prod_arm(&p, lowat);
			if (lowat > 1)
				space = space && !vmshm_cons_consume(&c, lowat - 1);
			space = space && vmshm_cons_consume(&c, 1);
			if (lowat < 4096)
				space = space && !vmshm_cons_consume(&c, 1);

			/* There was room: the event lies behind and disturbs nobody. */
			rt_ring_start(&r, &p, &c, bases[b]);
			vmshm_prod_publish(&p, 4096 - lowat);
			vmshm_prod_arm(&p, lowat);
			vmshm_cons_refresh(&c);
			behind = behind && vmshm_prod_peek(&p) >= lowat;
			if (lowat < 4096)
				behind = behind && !vmshm_cons_consume(&c, 4096 - lowat);
		}
	}
	tap_ok(data, "data: the doorbell rings at the armed count, once");
	tap_ok(space, "space: the doorbell rings at the armed count, once");
	tap_ok(behind, "space: an event behind the index rings nobody");
	rt_ring_free(&r);
}

/* The ways in which two waiters with thresholds of their own share one word. */
static void test_shared_word(void)
{
	struct vmshm_prod p;
	struct vmshm_cons c;
	struct rt_ring r;
	size_t b;
	bool lower = true, spent = true, lower_s = true, spent_s = true, reached = true;
	bool told = true;

	rt_ring_new(&r, 12);
	for (b = 0; b < ARRAY_SIZE(bases); b++) {
		/* The lower threshold wins, whoever comes first. */
		rt_ring_start(&r, &p, &c, bases[b]);
		lower = lower && !vmshm_cons_arm(&c, 10) && !vmshm_cons_arm(&c, 100) &&
			!vmshm_prod_publish(&p, 9) && vmshm_prod_publish(&p, 1);
		rt_ring_start(&r, &p, &c, bases[b]);
		lower = lower && !vmshm_cons_arm(&c, 100) && !vmshm_cons_arm(&c, 10) &&
			!vmshm_prod_publish(&p, 9) && vmshm_prod_publish(&p, 1);

		/*
		 * A lower one that was reached since the consumer last looked is spent
		 * and must not keep a later one out.
		 */
		rt_ring_start(&r, &p, &c, bases[b]);
		spent = spent && !vmshm_cons_arm(&c, 1) && vmshm_prod_publish(&p, 50) &&
			!vmshm_cons_arm(&c, 100) && !vmshm_prod_publish(&p, 49) &&
			vmshm_prod_publish(&p, 1);

		rt_ring_start(&r, &p, &c, bases[b]);
		vmshm_prod_publish(&p, 4096);
		vmshm_cons_refresh(&c);
		lower_s = lower_s && !vmshm_prod_arm(&p, 10) && !vmshm_prod_arm(&p, 100) &&
			  !vmshm_cons_consume(&c, 9) && vmshm_cons_consume(&c, 1);
		rt_ring_start(&r, &p, &c, bases[b]);
		vmshm_prod_publish(&p, 4096);
		vmshm_cons_refresh(&c);
		spent_s = spent_s && !vmshm_prod_arm(&p, 1) && vmshm_cons_consume(&c, 50) &&
			  !vmshm_prod_arm(&p, 100) && !vmshm_cons_consume(&c, 49) &&
			  vmshm_cons_consume(&c, 1);

		/* What is there already needs no sleep. */
		rt_ring_start(&r, &p, &c, bases[b]);
		reached = reached && vmshm_prod_arm(&p, 4096) == 1;
		vmshm_prod_publish(&p, 100);
		reached = reached && vmshm_cons_arm(&c, 100) == 1 && !vmshm_cons_arm(&c, 101) &&
			  !vmshm_prod_arm(&p, 4096) && vmshm_prod_arm(&p, 3996) == 1;
		r.hdr->prod = bases[b] - 1;
		r.hdr->cons = bases[b] + 101;
		reached = reached && vmshm_cons_arm(&c, 200) == -EPROTO &&
			  vmshm_prod_arm(&p, 4096) == -EPROTO;
	}
	for (b = 0; b < ARRAY_SIZE(bases); b++) {
		/*
		 * One waits for more. Another one asks for less, and finds that it
		 * came since the last look: that has put an event that nobody rings
		 * for in the place of the first one's, and has to be told.
		 */
		rt_ring_start(&r, &p, &c, bases[b]);
		told = told && !vmshm_cons_arm(&c, 100) && !vmshm_prod_publish(&p, 20) &&
		       vmshm_cons_arm(&c, 10) == 2;
		/* Once; and who arms anew is rung for. */
		told = told && vmshm_cons_arm(&c, 10) == 1 && !vmshm_cons_arm(&c, 100) &&
		       vmshm_prod_publish(&p, 80);

		rt_ring_start(&r, &p, &c, bases[b]);
		vmshm_prod_publish(&p, 4096);
		vmshm_cons_refresh(&c);
		told = told && !vmshm_prod_arm(&p, 100) && !vmshm_cons_consume(&c, 20) &&
		       vmshm_prod_arm(&p, 10) == 2;
		told = told && vmshm_prod_arm(&p, 10) == 1 && !vmshm_prod_arm(&p, 100) &&
		       vmshm_cons_consume(&c, 80);
	}
	tap_ok(told, "who puts away another's threshold and need not sleep is told to wake it");
	tap_ok(lower && lower_s, "of two thresholds the lower one rings");
	tap_ok(spent && spent_s, "a threshold that was reached does not keep a higher one out");
	tap_ok(reached, "arming tells what is there already, and a lie");

	/* A threshold that can't be: no endless loop. */
	rt_ring_start(&r, &p, &c, 0);
	vmshm_cons_arm(&c, 4097);
	vmshm_prod_publish(&p, 1);
	vmshm_prod_arm(&p, 4097);
	vmshm_cons_arm(&c, ~0ULL >> 1);
	tap_ok(true, "a threshold above the size of the ring comes back");
	rt_ring_free(&r);
}

static void test_flags(void)
{
	struct vmshm_prod p;
	struct vmshm_cons c;
	struct rt_ring r;

	rt_ring_new(&r, 12);
	rt_ring_start(&r, &p, &c, 0);
	tap_ok(!vmshm_prod_peer_flags(&p) && !vmshm_cons_peer_flags(&c), "a new ring has no flags");
	vmshm_prod_set_flags(&p, VMSHM_RING_FIN);
	r.hdr->prod_flags = 0;	/* the peer's doing: own words are not read back */
	vmshm_prod_set_flags(&p, VMSHM_RING_RESET);
	vmshm_cons_set_flags(&c, VMSHM_RING_RDSHUT);
	vmshm_cons_set_flags(&c, VMSHM_RING_RESET);
	tap_ok(vmshm_cons_peer_flags(&c) == (VMSHM_RING_FIN | VMSHM_RING_RESET) &&
	       vmshm_prod_peer_flags(&p) == (VMSHM_RING_RDSHUT | VMSHM_RING_RESET),
	       "flags accumulate");
	rt_ring_free(&r);
}

static void test_queue_lies(void)
{
	static const u32 starts[] = {
		0, 1, 511, ~0U - 600, ~0U - 1, ~0U, 1U << 31, (1U << 31) - 1,
	};
	unsigned int wrong = 0, tried = 0;
	size_t i;
	u32 used;
	int d;

	for (i = 0; i < ARRAY_SIZE(starts); i++)
		for (used = 0; used <= 512; used += 128)
			for (d = -520; d <= 1040; d++) {
				u32 mine = 0, theirs = starts[i] + (u32)d;
				struct vmshm_queue q;
				bool ok;

				vmshm_queue_init(&q, &mine, &theirs, 512);
				q.here = starts[i] + used;
				q.there = starts[i];
				ok = d >= 0 && (u32)d <= used;
				wrong += vmshm_queue_room(&q) !=
					 (ok ? (int)(512 - used + (u32)d) : -EPROTO);

				vmshm_queue_init(&q, &mine, &theirs, 512);
				q.here = starts[i];
				q.there = starts[i] + used;
				ok = d >= (int)used && d <= 512;
				wrong += vmshm_queue_filled(&q) != (ok ? d : -EPROTO);
				tried += 2;
			}
	tap_ok(!wrong, "queues: an index that can't be true is refused (%u tried, %u wrong)",
	       tried, wrong);
}

/* Each side sees what the other one asked for last, and nothing in a new ring. */
static void test_vectors(void)
{
	struct rt_ring r;
	struct vmshm_prod p;
	struct vmshm_cons c;
	bool ok;

	rt_ring_new(&r, 12);
	rt_ring_start(&r, &p, &c, 0);
	ok = !vmshm_prod_peer_vector(&p) && !vmshm_cons_peer_vector(&c);
	vmshm_cons_set_vector(&c, 3);
	vmshm_prod_set_vector(&p, 64);
	ok = ok && vmshm_prod_peer_vector(&p) == 3 && vmshm_cons_peer_vector(&c) == 64;
	vmshm_cons_set_vector(&c, 0);
	ok = ok && !vmshm_prod_peer_vector(&p) && vmshm_cons_peer_vector(&c) == 64;
	/* One's own is never read back: what a peer puts there is written over. */
	vmshm_cons_set_vector(&c, 5);
	vmshm_store(&r.hdr->data_vector, 77);
	vmshm_cons_set_vector(&c, 6);
	ok = ok && vmshm_prod_peer_vector(&p) == 6;
	tap_ok(ok, "vectors: each side sees what the other asks for");
	rt_ring_free(&r);
}

int main(void)
{
	tap_start();
	test_crossed();
	test_fits();
	test_spans();
	test_refresh();
	test_thresholds();
	test_shared_word();
	test_flags();
	test_queue_lies();
	test_vectors();
	return tap_done();
}
