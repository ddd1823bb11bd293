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

/* Room for a ring of 1 << @order bytes; false when there is none. */
bool vmshm_half_alloc(struct gen_pool *pool, u32 order, u64 *off)
{
	unsigned long at = gen_pool_alloc(pool, vmshm_ring_bytes(order));

	if (!at)
		return false;
	*off = at - HALF_BASE;
	return true;
}

void vmshm_half_free(struct gen_pool *pool, u32 order, u64 off)
{
	gen_pool_free(pool, off + HALF_BASE, vmshm_ring_bytes(order));
}
