// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages of one's own half of a channel are in use: a list of what is free.
 * The bookkeeping is private; the peer is told offsets and never asked.
 *
 * Giving back needs no memory: rings in use leave one more gap than there are of
 * them at the most, and each allocation brings the extent for its own.
 */
#include "lib.h"

#include <stdlib.h>

#define ORDINARY_ORDER	20
#define SHARE		64

int half_open(struct half *half, u64 size)
{
	struct extent *all = calloc(1, sizeof(*all));

	TAILQ_INIT(&half->free);
	TAILQ_INIT(&half->spare);
	if (!all)
		return -1;
	all->len = size;
	half->size = size;
	half->avail = size;
	TAILQ_INSERT_HEAD(&half->free, all, node);
	return 0;
}

static void empty(struct extents *list)
{
	struct extent *e;

	while ((e = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, e, node);
		free(e);
	}
}

void half_close(struct half *half)
{
	empty(&half->free);
	empty(&half->spare);
}

/*
 * The module's rule: large rings leave a quarter to others, those up to the
 * default take a share of what is free, the smallest go on until nothing is left.
 */
static bool affordable(const struct half *half, u32 order)
{
	if (order > ORDINARY_ORDER)
		return half->avail >= vmshm_ring_bytes(order) + half->size / 4;
	return order <= VMSHM_RING_ORDER_MIN || 1ULL << order <= half->avail / SHARE;
}

static void put_aside(struct half *half, struct extent *e)
{
	TAILQ_REMOVE(&half->free, e, node);
	TAILQ_INSERT_HEAD(&half->spare, e, node);
}

/* Room for a ring of 1 << @order bytes; false when there is none. */
bool half_alloc(struct half *half, u32 order, u64 *off)
{
	u64 len = vmshm_ring_bytes(order);
	struct extent *e, *spare;

	if (!affordable(half, order))
		return false;
	for_each(e, &half->free, node)
		if (e->len >= len)
			break;
	spare = e ? malloc(sizeof(*spare)) : NULL;
	if (!spare)
		return false;
	TAILQ_INSERT_HEAD(&half->spare, spare, node);
	*off = e->off;
	e->off += len;
	e->len -= len;
	half->avail -= len;
	if (!e->len)
		put_aside(half, e);
	return true;
}

void half_free(struct half *half, u32 order, u64 off)
{
	u64 len = vmshm_ring_bytes(order);
	struct extent *next, *before, *e;

	for_each(next, &half->free, node)
		if (next->off > off)
			break;
	before = next ? TAILQ_PREV(next, extents, node) : TAILQ_LAST(&half->free, extents);
	half->avail += len;
	if (before && before->off + before->len == off) {
		before->len += len;
	} else {
		before = TAILQ_FIRST(&half->spare);
		TAILQ_REMOVE(&half->spare, before, node);
		before->off = off;
		before->len = len;
		if (next)
			TAILQ_INSERT_BEFORE(next, before, node);
		else
			TAILQ_INSERT_TAIL(&half->free, before, node);
	}
	if (next && before->off + before->len == next->off) {
		before->len += next->len;
		put_aside(half, next);
	}
	/* That of this ring. */
	e = TAILQ_FIRST(&half->spare);
	TAILQ_REMOVE(&half->spare, e, node);
	free(e);
}
