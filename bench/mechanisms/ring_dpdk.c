// SPDX-License-Identifier: GPL-2.0-only
/*
 * DPDK's rte_ring with one producer and one consumer: elements of the message's
 * size that the ring copies by itself ("copy"), or that are written and read in
 * place between start and finish ("zero-copy").
 */
#include <rte_errno.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <rte_ring_peek_zc.h>

#include "mech.h"

const char *const mech_doc = "Messages through DPDK's rte_ring.";

static void setup(struct mech *m)
{
	static struct rte_ring *rings[2];
	/* A ring of N holds N - 1. */
	unsigned int count = m->ring / m->size;
	ssize_t bytes;

	while (count & (count - 1))
		count &= count - 1;
	bytes = rte_ring_get_memsize_elem(m->size, count);
	if (bytes < 0)
		mech_die("no rte_ring of %u elements of %zu bytes", count, m->size);
	if (count - 1 < m->burst)
		mech_die("--ring %zu holds no burst of %u", m->ring, m->burst);
	for (int i = 0; i < 2; i++) {
		rings[i] = mech_memory(m, bytes);
		if (rte_ring_init(rings[i], i ? "back" : "forth", count,
				  RING_F_SP_ENQ | RING_F_SC_DEQ))
			mech_die("rte_ring_init: %s", rte_strerror(rte_errno));
	}
	m->data = rings;
}

static __always_inline u32 copy_push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	struct rte_ring *r = ((struct rte_ring **)m->data)[dir];

	return rte_ring_sp_enqueue_burst_elem(r, msgs, m->size, n, NULL);
}

static __always_inline u32 copy_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	struct rte_ring *r = ((struct rte_ring **)m->data)[dir];

	return rte_ring_sc_dequeue_burst_elem(r, msgs, m->size, n, NULL);
}

static __always_inline u32 zc_push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	struct rte_ring *r = ((struct rte_ring **)m->data)[dir];
	struct rte_ring_zc_data zc;

	n = rte_ring_enqueue_zc_burst_elem_start(r, m->size, n, &zc, NULL);
	if (!n)
		return 0;
	memcpy(zc.ptr1, msgs, zc.n1 * m->size);
	if (zc.n1 < n)
		memcpy(zc.ptr2, msgs + zc.n1 * m->size, (n - zc.n1) * m->size);
	rte_ring_enqueue_zc_elem_finish(r, n);
	return n;
}

static __always_inline u32 zc_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	struct rte_ring *r = ((struct rte_ring **)m->data)[dir];
	struct rte_ring_zc_data zc;

	n = rte_ring_dequeue_zc_burst_elem_start(r, m->size, n, &zc, NULL);
	if (!n)
		return 0;
	memcpy(msgs, zc.ptr1, zc.n1 * m->size);
	if (zc.n1 < n)
		memcpy(msgs + zc.n1 * m->size, zc.ptr2, (n - zc.n1) * m->size);
	rte_ring_dequeue_zc_elem_finish(r, n);
	return n;
}

MECH_LOOPS(copy_loops, copy_push, copy_pull);
MECH_LOOPS(zc_loops, zc_push, zc_pull);

const struct mech_variant mech_variants[] = {
	{ "copy", "the ring copies elements", setup, NULL, copy_loops },
	{ "zero-copy", "elements are written and read in place", setup, NULL, zc_loops },
	{ 0 }
};
