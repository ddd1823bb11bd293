// SPDX-License-Identifier: GPL-2.0-only
/*
 * A peer that writes anything anywhere in shared memory at any time: the header
 * page, the data area, the queues.  The side that is checked may see -EPROTO or
 * plausible lengths, and nothing else; it never touches memory outside the data
 * area (which lies between pages that can't be touched, apart from the header),
 * and its private state stays whole (canaries, guard pages, invariants after
 * each call).
 */
#include "rt.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ORDER 12
#define ENTRIES 64
#define CANARY 0x5ca1ab1e0ddba11ULL
#define HALF 1048576ULL

/* What both sides see, besides two rings. */
struct queues {
	u32 prod[VMSHM_LINE / 4];
	u32 cons[VMSHM_LINE / 4];
	u32 wanted[VMSHM_LINE / 4];
	u32 overflow[VMSHM_LINE / 4];
	struct vmshm_ctl ctl[ENTRIES];
};

/* What the checked side alone has; its end touches a guard page. */
struct private {
	u64 canary0;
	struct vmshm_prod p;
	u64 canary1;
	struct vmshm_cons c;
	u64 canary2;
	struct vmshm_queue in, out;
	u64 canary3;
	struct vmshm_ctl msg;
	u64 canary4;
};

struct game {
	int fd[2];
	struct queues *q;
	double seconds;
	bool stop;
	struct rt_fail fail;
	u64 calls, lies, plausible, bytes, fits;
};

/* A ring whose header page and data area each lie between guard pages. */
static void map_apart(int fd, struct vmshm_ring_hdr **hdr, u8 **data)
{
	u64 size = 1ULL << ORDER;
	u8 *m = mmap(NULL, size + 4 * VMSHM_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED ||
	    mmap(m + VMSHM_PAGE, VMSHM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 0) == MAP_FAILED ||
	    mmap(m + 3 * VMSHM_PAGE, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 VMSHM_PAGE) == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	*hdr = (void *)(m + VMSHM_PAGE);
	*data = m + 3 * VMSHM_PAGE;
}

/* ---- the liar ---- */

/* A lie about an index: what hurts is near the truth, or far away. */
static u64 lie(struct rt_rng *rng, u64 truth, u64 before)
{
	u64 size = 1ULL << ORDER;

	switch (rt_below(rng, 16)) {
	case 0: return truth + 1;
	case 1: return truth - 1;
	case 2: return truth + size;
	case 3: return truth + size + 1;
	case 4: return truth - size;
	case 5: return truth - size - 1;
	case 6: return truth + (1ULL << 63);
	case 7: return truth + (1ULL << 32);
	case 8: return 0;
	case 9: return ~0ULL;
	case 10: return rt_rand(rng);
	case 11: return before;
	case 12: return before - 1;
	default: return truth + rt_below(rng, size + 1) - (rt_below(rng, 2) ? size : 0);
	}
}

static void liar(void *arg)
{
	struct game *g = arg;
	struct rt_rng rng = rt_rng(11);
	struct vmshm_ring_hdr *hdr[2];
	u8 *data[2];
	int i;

	for (i = 0; i < 2; i++)
		map_apart(g->fd[i], &hdr[i], &data[i]);
	while (!vmshm_load(&g->stop)) {
		struct vmshm_ring_hdr *h = hdr[rt_below(&rng, 2)];
		u64 *word, a, b;
		u32 *word32;
		u64 n;

		switch (rt_below(&rng, 20)) {
		case 0:	/* anything into any word of the header */
			word = (u64 *)h + rt_below(&rng, VMSHM_PAGE / 8);
			vmshm_store(word, rt_rand(&rng));
			break;
		case 1:	/* all of the header */
			for (n = 0; n < VMSHM_PAGE / 8; n++)
				vmshm_store((u64 *)h + n, rt_rand(&rng));
			break;
		case 2:	/* data, while it is read or written */
			for (n = 0; n < 256; n++)
				vmshm_store(data[n & 1] + rt_below(&rng, 1ULL << ORDER), (u8)n);
			break;
		case 3:	/* events that make it ring, and that don't */
			vmshm_store(&h->data_event, lie(&rng, vmshm_load(&h->prod), 0));
			vmshm_store(&h->space_event, lie(&rng, vmshm_load(&h->cons), 0));
			break;
		case 4:	/* flips while it is being read */
			word = rt_below(&rng, 2) ? &h->prod : &h->cons;
			a = lie(&rng, vmshm_load(word), 0);
			b = lie(&rng, vmshm_load(&h->prod), vmshm_load(&h->cons));
			for (n = 0; n < 100; n++)
				vmshm_store(word, n & 1 ? a : b);
			break;
		case 5:	/* the queues: whole words and entries */
			word32 = (u32 *)g->q + rt_below(&rng, sizeof(*g->q) / 4);
			vmshm_store(word32, (u32)rt_rand(&rng));
			break;
		case 6:
			word32 = rt_below(&rng, 2) ? g->q->prod : g->q->cons;
			vmshm_store(word32, vmshm_load(word32) + (u32)rt_below(&rng, 2 * ENTRIES));
			break;
		case 7:	/* an entry that flips between what fits and what does not */
			n = rt_below(&rng, ENTRIES);
			for (a = 0; a < 100; a++) {
				vmshm_store(&g->q->ctl[n].ring_off, a & 1 ? 0 : ~0ULL << 12);
				vmshm_store(&g->q->ctl[n].ring_order, a & 1 ? 12 : 63);
			}
			break;
		case 8:
			vmshm_store(&g->q->prod[0], vmshm_load(&g->q->prod[0]) + 1);
			vmshm_store(&g->q->cons[0], vmshm_load(&g->q->cons[0]) + 1);
			break;
		default:	/* near the truth, so that the game goes on */
			a = lie(&rng, vmshm_load(&hdr[0]->prod), vmshm_load(&hdr[0]->cons));
			b = lie(&rng, vmshm_load(&hdr[1]->cons), vmshm_load(&hdr[1]->prod));
			vmshm_store(&hdr[0]->cons, a);
			vmshm_store(&hdr[1]->prod, b);
		}
	}
}

/* ---- the checked side ---- */

/* Something that must not be; false. */
#define bad(g, ...) (rt_fail(&(g)->fail, __VA_ARGS__), false)

static bool spans_inside(const struct vmshm_span *span, int n, const u8 *data, u64 size, u64 len)
{
	u64 sum = 0;
	int i;

	if (n < 1 || n > 2)
		return false;
	for (i = 0; i < n; i++) {
		if (span[i].base < data || span[i].len > size ||
		    span[i].base + span[i].len > data + size)
			return false;
		sum += span[i].len;
	}
	return sum == len;
}

static bool whole(const struct private *v)
{
	return v->canary0 == CANARY && v->canary1 == CANARY && v->canary2 == CANARY &&
	       v->canary3 == CANARY && v->canary4 == CANARY &&
	       v->p.prod - v->p.cons <= v->p.size && v->c.prod - v->c.cons <= v->c.size &&
	       v->p.size == 1ULL << ORDER && v->c.size == 1ULL << ORDER &&
	       v->out.here - v->out.there <= ENTRIES && v->in.there - v->in.here <= ENTRIES;
}

/* A new connection in the same memory, as after a reset. */
static void reset_prod(struct private *v, struct vmshm_ring_hdr *hdr, u8 *data, u64 at)
{
	vmshm_ring_init(hdr, ORDER, 1, 1);
	vmshm_prod_init(&v->p, hdr, ORDER);
	v->p.data = data;
	v->p.prod = at;
	v->p.cons = at;
	v->p.event = at;
	vmshm_store(&hdr->prod, at);
	vmshm_store(&hdr->cons, at);
}

static void reset_cons(struct private *v, struct vmshm_ring_hdr *hdr, u8 *data, u64 at)
{
	vmshm_ring_init(hdr, ORDER, 1, 1);
	vmshm_cons_init(&v->c, hdr, ORDER);
	v->c.data = data;
	v->c.prod = at;
	v->c.cons = at;
	v->c.event = at;
	vmshm_store(&hdr->prod, at);
	vmshm_store(&hdr->cons, at);
}

static void reset_queue(struct vmshm_queue *q, u32 *mine, u32 *theirs, u32 at)
{
	vmshm_queue_init(q, mine, theirs, ENTRIES);
	q->here = at;
	q->there = at;
	vmshm_store(mine, at);
	vmshm_store(theirs, at);
}

/* One call of the producer's; false when something is wrong. *@lied: -EPROTO. */
static bool produce(struct game *g, struct vmshm_prod *p, struct rt_rng *rng, bool *lied)
{
	u64 cons = p->cons, prod = p->prod, want = rt_below(rng, p->size + 2);
	struct vmshm_span span[2];
	long space;
	u64 len;
	int n, i;

	switch (rt_below(rng, 6)) {
	case 0:
		if (vmshm_prod_peek(p) > p->size || vmshm_prod_unread(p) > p->size)
			return bad(g, "producer: peek or unread is above the size");
		return true;
	case 1:
		vmshm_prod_set_flags(p, (u32)rt_below(rng, 8));
		(void)vmshm_prod_peer_flags(p);
		return true;
	case 2:
		i = vmshm_prod_arm(p, 1 + rt_below(rng, p->size));
		if ((i < 0 || i > 2) && i != -EPROTO)
			return bad(g, "producer: arm says %d", i);
		*lied = i < 0;
		break;
	default:
		space = vmshm_prod_space(p, want);
		if (space != -EPROTO && (space < 0 || space > (long)p->size))
			return bad(g, "producer: space is %ld", space);
		*lied = space < 0;
		if (space <= 0)
			break;
		g->plausible++;
		len = 1 + rt_below(rng, (u64)space);
		n = vmshm_prod_spans(p, len, span);
		if (!spans_inside(span, n, p->data, p->size, len))
			return bad(g, "producer: a piece lies outside");
		for (i = 0; i < n; i++)
			memset(span[i].base, i, span[i].len);
		vmshm_prod_publish(p, len);
		g->bytes += len;
		if (p->prod != prod + len)
			return bad(g, "producer: its own index is wrong");
		return true;
	}
	if (p->cons - cons > prod - cons)
		return bad(g, "producer: a lie was taken over");
	return true;
}

static bool consume(struct game *g, struct vmshm_cons *c, struct rt_rng *rng, bool *lied)
{
	u64 cons = c->cons, want = rt_below(rng, c->size + 2), len, skip;
	static u8 sink[1 << ORDER];
	struct vmshm_span span[2];
	long avail;
	int n, i;

	switch (rt_below(rng, 6)) {
	case 0:
		if (vmshm_cons_peek(c) > c->size)
			return bad(g, "consumer: peek is above the size");
		return true;
	case 1:
		vmshm_cons_set_flags(c, (u32)rt_below(rng, 8));
		(void)vmshm_cons_peer_flags(c);
		return true;
	case 2:
		i = vmshm_cons_arm(c, 1 + rt_below(rng, c->size));
		if ((i < 0 || i > 2) && i != -EPROTO)
			return bad(g, "consumer: arm says %d", i);
		*lied = i < 0;
		return true;
	default:
		avail = vmshm_cons_avail(c, want);
		if (avail != -EPROTO && (avail < 0 || avail > (long)c->size))
			return bad(g, "consumer: avail is %ld", avail);
		*lied = avail < 0;
		if (avail <= 0)
			return true;
		g->plausible++;
		len = 1 + rt_below(rng, (u64)avail);
		skip = rt_below(rng, len);
		n = vmshm_cons_spans(c, skip, len - skip, span);
		if (!spans_inside(span, n, c->data, c->size, len - skip))
			return bad(g, "consumer: a piece lies outside");
		for (i = 0; i < n; i++)
			memcpy(sink, span[i].base, span[i].len);
		vmshm_cons_consume(c, len);
		g->bytes += len;
		if (c->cons != cons + len)
			return bad(g, "consumer: its own index is wrong");
		return true;
	}
}

static bool queues(struct game *g, struct private *v, struct rt_rng *rng, bool *lied)
{
	static u32 overflow, last;
	int n;

	if (rt_below(rng, 2)) {
		n = vmshm_queue_room(&v->out);
		if (n != -EPROTO && (n < 0 || n > ENTRIES))
			return bad(g, "queue: room is %d", n);
		*lied = n < 0;
		if (n > 0) {
			if (vmshm_queue_slot(&v->out) >= ENTRIES)
				return bad(g, "queue: a slot lies outside");
			vmshm_queue_advance(&v->out);
		} else {
			vmshm_overflow_bump(g->q->overflow, &overflow);
			vmshm_want_room(g->q->wanted, 1);
		}
		return true;
	}
	n = vmshm_queue_filled(&v->in);
	if (n != -EPROTO && (n < 0 || n > ENTRIES))
		return bad(g, "queue: filled is %d", n);
	*lied = n < 0;
	while (n-- > 0) {
		u64 off;
		u32 order;

		if (vmshm_queue_slot(&v->in) >= ENTRIES)
			return bad(g, "queue: a slot lies outside");
		vmshm_copy_once(&v->msg, &g->q->ctl[vmshm_queue_slot(&v->in)], sizeof(v->msg));
		vmshm_queue_advance(&v->in);
		if (!vmshm_ring_fits(v->msg.ring_off, v->msg.ring_order, HALF))
			continue;
		/* What was checked has to be what is used now. */
		off = v->msg.ring_off;
		order = v->msg.ring_order;
		if (off >= HALF || off % VMSHM_PAGE || order > VMSHM_RING_ORDER_MAX ||
		    off + VMSHM_PAGE + (1ULL << order) > HALF)
			return bad(g, "ring_fits() let %#llx, order %u pass",
				   (unsigned long long)off, order);
		g->fits++;
	}
	(void)vmshm_room_wanted(g->q->wanted);
	(void)vmshm_overflow_seen(g->q->overflow, &last);
	return true;
}

static void victim(void *arg)
{
	struct game *g = arg;
	struct rt_rng rng = rt_rng(12);
	double end = rt_now() + g->seconds;
	struct vmshm_ring_hdr *hdr[2];
	struct private *v;
	u8 *data[2], *m;
	u64 round;
	int i;

	for (i = 0; i < 2; i++)
		map_apart(g->fd[i], &hdr[i], &data[i]);
	m = mmap(NULL, 3 * VMSHM_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED || mprotect(m + VMSHM_PAGE, VMSHM_PAGE, PROT_READ | PROT_WRITE)) {
		perror("mmap");
		exit(2);
	}
	v = (void *)(m + 2 * VMSHM_PAGE - sizeof(*v));
	v->canary0 = CANARY;
	v->canary1 = CANARY;
	v->canary2 = CANARY;
	v->canary3 = CANARY;
	v->canary4 = CANARY;
	reset_prod(v, hdr[0], data[0], 0);
	reset_cons(v, hdr[1], data[1], 0);
	reset_queue(&v->out, g->q->prod, g->q->cons, 0);
	reset_queue(&v->in, g->q->cons, g->q->prod, 0);

	for (round = 0; round % 4096 || rt_now() < end; round++) {
		bool lied = false, ok;

		switch (rt_below(&rng, 3)) {
		case 0:
			ok = produce(g, &v->p, &rng, &lied);
			if (lied)
				reset_prod(v, hdr[0], data[0], rt_rand(&rng));
			break;
		case 1:
			ok = consume(g, &v->c, &rng, &lied);
			if (lied)
				reset_cons(v, hdr[1], data[1], rt_rand(&rng));
			break;
		default:
			ok = queues(g, v, &rng, &lied);
			if (lied) {
				u32 at = (u32)rt_rand(&rng);

				reset_queue(&v->out, g->q->prod, g->q->cons, at);
				reset_queue(&v->in, g->q->cons, g->q->prod, at);
			}
		}
		if (round % 1024 == 0)
			sched_yield();
		g->calls++;
		g->lies += lied;
		if (!ok)
			break;
		if (!whole(v)) {
			rt_fail(&g->fail, "private state was damaged");
			break;
		}
	}
	vmshm_store(&g->stop, true);
}

static void play(enum rt_mode mode, double seconds)
{
	struct game *g = rt_shared(sizeof(*g));
	struct rt_ring r[2];
	bool ok;
	int i;

	for (i = 0; i < 2; i++) {
		rt_ring_new(&r[i], ORDER);
		g->fd[i] = r[i].fd;
	}
	g->q = rt_shared(sizeof(*g->q));
	g->seconds = seconds;
	ok = rt_pair(mode, victim, liar, g, seconds + 30);
	tap_ok(ok && !rt_failed(&g->fail), "%s: a lying peer, %llu calls", rt_mode_name[mode],
	       (unsigned long long)g->calls);
	if (rt_failed(&g->fail))
		tap_diag("%s", g->fail.what);
	tap_ok(g->lies > 100 && g->plausible > 100 && g->fits,
	       "... whose lies are found out, and whose plausible words are taken");
	tap_diag("%llu lies found, %llu times plausible, %llu bytes, %llu rings that fit",
		 (unsigned long long)g->lies, (unsigned long long)g->plausible,
		 (unsigned long long)g->bytes, (unsigned long long)g->fits);
	for (i = 0; i < 2; i++)
		rt_ring_free(&r[i]);
}

int main(void)
{
	double seconds = (double)rt_rounds(200000) / 1e5;

	tap_start();
	if (seconds < 1.0)
		seconds = 1.0;
	play(RT_PROCESSES, seconds);
#ifdef __SANITIZE_THREAD__
	tap_skip("a liar races by profession", "threads: a lying peer");
#else
	play(RT_THREADS, seconds);
#endif
	return tap_done();
}
