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

/*
 * Rings larger than this leave a quarter of the half to others: a few sockets
 * with the largest buffers must not keep everybody else from connecting.
 */
#define ORDINARY_ORDER	18

/* Room for a ring of 1 << @order bytes; false when there is none. */
bool vmshm_half_alloc(struct gen_pool *pool, u32 order, u64 *off)
{
	u64 bytes = vmshm_ring_bytes(order);
	unsigned long at;

	if (order > ORDINARY_ORDER && gen_pool_avail(pool) < bytes + gen_pool_size(pool) / 4)
		return false;
	at = gen_pool_alloc(pool, bytes);

	if (!at)
		return false;
	*off = at - HALF_BASE;
	return true;
}

void vmshm_half_free(struct gen_pool *pool, u32 order, u64 off)
{
	gen_pool_free(pool, off + HALF_BASE, vmshm_ring_bytes(order));
}
