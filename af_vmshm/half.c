// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who uses which pages of one's own half of a channel.  The bookkeeping is
 * private to this kernel; the peer is told offsets and never asked.  When
 * memory may be given back is decided in end.c.
 */
#include <linux/genalloc.h>
#include "vmshm.h"

/* An offset of 0 is valid, yet gen_pool_alloc() says 0 for "no memory". */
#define HALF_BASE	VMSHM_PAGE

/**
 * vmshm_half_create - begin to keep track of a half
 * @size: bytes
 *
 * May sleep.  Returns NULL when there is no memory.
 */
struct gen_pool *vmshm_half_create(u64 size)
{
	struct gen_pool *pool = gen_pool_create(ilog2(VMSHM_PAGE), NUMA_NO_NODE);

	if (!pool)
		return NULL;
	if (gen_pool_add(pool, HALF_BASE, size, NUMA_NO_NODE)) {
		gen_pool_destroy(pool);
		return NULL;
	}
	return pool;
}

/* Every ring has been given back before: gen_pool_destroy() insists. */
void vmshm_half_destroy(struct gen_pool *pool)
{
	gen_pool_destroy(pool);
}

#define ORDINARY_ORDER	20
#define SHARE		64

/**
 * vmshm_ring_affordable - may a ring of 1 << @order bytes be had?
 * @order: log2 of its bytes
 * @avail: bytes that are free
 * @size: bytes in all
 *
 * Who comes late must not find everything taken.  Rings larger than the default
 * leave a quarter to others.  Of those up to the default each takes no more than
 * its share of what is free, so that they get smaller the more there are:
 * sixty-odd of a size, then of half of it, down to the smallest, which go on
 * until nothing is left.
 */
bool vmshm_ring_affordable(u32 order, u64 avail, u64 size)
{
	if (order > ORDINARY_ORDER)
		return avail >= vmshm_ring_bytes(order) + size / 4;
	return order <= VMSHM_RING_ORDER_MIN || (1ULL << order) <= avail / SHARE;
}

/* Room for a ring of 1 << @order bytes; false when there is none. */
bool vmshm_half_alloc(struct gen_pool *pool, u32 order, u64 *off)
{
	unsigned long at;

	if (!vmshm_ring_affordable(order, gen_pool_avail(pool), gen_pool_size(pool)))
		return false;
	at = gen_pool_alloc(pool, vmshm_ring_bytes(order));
	if (!at)
		return false;
	*off = at - HALF_BASE;
	return true;
}

void vmshm_half_free(struct gen_pool *pool, u32 order, u64 off)
{
	gen_pool_free(pool, off + HALF_BASE, vmshm_ring_bytes(order));
}
