// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prefetching what the next messages need. A packet program passes pointers to
 * buffers that lie anywhere in a large pool; the receiver of a burst can fetch
 * the next buffers while it copies this one ("buffers", "buffers-prefetch"). A
 * byte stream lies side by side, and the processor sees that by itself ("stream",
 * "stream-prefetch"). Pointers go through AF_VMSHM's ring in all four. The pool
 * is as large as fits no second-level cache: 32 MiB, used in a scattered order.
 */
#include "vmshm.h"

#define POOL	(32UL << 20)
#define AHEAD	4	/* buffers, or cache lines of a stream */

const char *const mech_doc = "Messages in scattered buffers or side by side, prefetched or not.";

struct pool {
	u64 next __aligned(MECH_LINE);	/* the producer's */
	struct mech_vmshm *rings;
	u8 *base;
	u64 buffers;		/* how many, a power of two */
	u64 bytes;		/* of one */
};

static struct pool pools[2];

static void setup_buffers(struct mech *m)
{
	size_t size = m->size;

	/* The rings carry 8-byte offsets of buffers. */
	m->size = sizeof(u64);
	mech_vmshm_setup(m);
	m->size = size;
	for (int i = 0; i < 2; i++) {
		struct pool *p = &pools[i];

		p->rings = m->data;
		p->bytes = 256;
		while (p->bytes < size)
			p->bytes *= 2;
		p->buffers = POOL / p->bytes;
		/* Each buffer is free again before its turn comes. */
		if (p->buffers < 2 * m->ring / sizeof(u64))
			mech_die("--ring %zu: expected %lu at the most", m->ring,
				 p->buffers * sizeof(u64) / 2);
		p->base = mech_memory(m, POOL);
	}
	m->data = pools;
}

static __always_inline u32 buffers_push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	struct pool *pool = &pools[dir];
	struct vmshm_prod *p = &pool->rings[dir].prod;
	u64 offsets[MECH_MAX_BURST];
	struct vmshm_span span[2];
	long space = vmshm_prod_space(p, n * sizeof(u64));

	if (space < (long)(n * sizeof(u64)))
		n = space / sizeof(u64);
	if (!n)
		return 0;
	for (unsigned int i = 0; i < n; i++) {
		/* An odd factor visits each buffer once a round, in no order. */
		offsets[i] = (pool->next++ * 2654435761UL & (pool->buffers - 1)) * pool->bytes;
		memcpy(pool->base + offsets[i], msgs + i * m->size, m->size);
	}
	if (vmshm_prod_spans(p, n * sizeof(u64), span) == 2)
		memcpy(span[1].base, (u8 *)offsets + span[0].len, span[1].len);
	memcpy(span[0].base, offsets, span[0].len);
	if (vmshm_prod_publish(p, n * sizeof(u64)))
		mech_die("a doorbell was asked for, and nobody sleeps");
	return n;
}

static __always_inline void fetch(const u8 *at, size_t size)
{
	for (size_t i = 0; i < size && i < 4 * 64; i += 64)
		_mm_prefetch((const char *)at + i, _MM_HINT_T0);
}

static __always_inline u32 pull_buffers(struct mech *m, int dir, u8 *msgs, u32 n, bool ahead)
{
	struct pool *pool = &pools[dir];
	struct vmshm_cons *c = &pool->rings[dir].cons;
	u64 offsets[MECH_MAX_BURST];
	struct vmshm_span span[2];
	long avail = vmshm_cons_avail(c, n * sizeof(u64));

	if (avail < (long)(n * sizeof(u64)))
		n = avail / sizeof(u64);
	if (!n)
		return 0;
	if (vmshm_cons_spans(c, 0, n * sizeof(u64), span) == 2)
		memcpy((u8 *)offsets + span[0].len, span[1].base, span[1].len);
	memcpy(offsets, span[0].base, span[0].len);
	for (unsigned int i = 0; ahead && i < n && i < AHEAD; i++)
		fetch(pool->base + offsets[i], m->size);
	for (unsigned int i = 0; i < n; i++) {
		if (ahead && i + AHEAD < n)
			fetch(pool->base + offsets[i + AHEAD], m->size);
		memcpy(msgs + i * m->size, pool->base + offsets[i], m->size);
	}
	if (vmshm_cons_consume(c, n * sizeof(u64)))
		mech_die("a doorbell was asked for, and nobody sleeps");
	return n;
}

static __always_inline u32 buffers_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	return pull_buffers(m, dir, msgs, n, false);
}

static __always_inline u32 buffers_ahead_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	return pull_buffers(m, dir, msgs, n, true);
}

static __always_inline u32 stream_push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	struct vmshm_prod *p = &((struct mech_vmshm *)m->data)[dir].prod;
	u64 len = mech_vmshm_fill(m, p, msgs, n, mech_memcpy);

	if (len && vmshm_prod_publish(p, len))
		mech_die("a doorbell was asked for, and nobody sleeps");
	return len / m->size;
}

static __always_inline u32 pull_stream(struct mech *m, int dir, u8 *msgs, u32 n, bool ahead)
{
	struct vmshm_cons *c = &((struct mech_vmshm *)m->data)[dir].cons;
	u64 len = mech_vmshm_drain(m, c, msgs, n, mech_memcpy);

	if (!len)
		return 0;
	/* The bytes after these: of the next call, if they are there. */
	for (unsigned int i = 0; ahead && i < AHEAD; i++)
		_mm_prefetch((char *)c->data + ((c->cons + len + i * 64) & (c->size - 1)),
			     _MM_HINT_T0);
	if (vmshm_cons_consume(c, len))
		mech_die("a doorbell was asked for, and nobody sleeps");
	return len / m->size;
}

static __always_inline u32 stream_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	return pull_stream(m, dir, msgs, n, false);
}

static __always_inline u32 stream_ahead_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	return pull_stream(m, dir, msgs, n, true);
}

MECH_LOOPS(buffers, buffers_push, buffers_pull);
MECH_LOOPS(buffers_ahead, buffers_push, buffers_ahead_pull);
MECH_LOOPS(stream, stream_push, stream_pull);
MECH_LOOPS(stream_ahead, stream_push, stream_ahead_pull);

const struct mech_variant mech_variants[] = {
	{ "buffers", "scattered, no prefetch", setup_buffers, NULL, buffers },
	{ "buffers-prefetch", "scattered, four buffers ahead", setup_buffers, NULL,
	  buffers_ahead },
	{ "stream", "side by side, no prefetch", mech_vmshm_setup, NULL, stream },
	{ "stream-prefetch", "side by side, four lines ahead", mech_vmshm_setup, NULL,
	  stream_ahead },
	{ 0 }
};
