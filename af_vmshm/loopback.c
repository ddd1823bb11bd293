// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loopback bus: a VM talks to itself, without a device.  Two channels face
 * each other over the same memory; connect() uses side 0, listeners answer on
 * side 1, and everything above the bus is the code that talks to other VMs.
 *
 * Rings are vmalloc()ed one by one: "the offset in the half" that the two sides
 * tell each other is a number in a table.
 */
#include <linux/moduleparam.h>
#include <linux/vmalloc.h>
#include "vmshm.h"

static unsigned int loopback_mib = 256;
module_param(loopback_mib, uint, 0644);
MODULE_PARM_DESC(loopback_mib, "most memory of all rings inside this VM, MiB (default 256)");

struct lo_ring {
	struct rcu_work work;
	struct vmshm_ring_hdr *hdr;
	u32 order;
};

struct lo_side {
	struct vmshm_chan ch;
	struct lo_side *other;
	struct xarray rings;		/* struct lo_ring, by page number of the offset */
};

static struct lo_side *sides[2];
static void *lo_areas;
static atomic64_t lo_bytes;
static atomic64_t lo_leaving;	/* not in use any more, and not free yet */

static struct lo_side *side_of(struct vmshm_chan *ch)
{
	return container_of(ch, struct lo_side, ch);
}

static void lo_doorbell(struct vmshm_chan *ch, u32 vector)
{
	vmshm_chan_irq(&side_of(ch)->other->ch);
}

static struct vmshm_ring_hdr *lo_ring_alloc(struct vmshm_chan *ch, u32 order, u64 *off)
{
	u64 limit = (u64)READ_ONCE(loopback_mib) << 20;
	u64 bytes = vmshm_ring_bytes(order);
	u64 used = atomic64_read(&lo_bytes);
	struct lo_ring *ring;
	u32 index;

	if (used >= limit || !vmshm_ring_affordable(order, limit - used, limit))
		return NULL;
	/* Who opens and closes faster than RCU lets go of memory has twice the limit. */
	if (used + atomic64_read(&lo_leaving) + bytes > 2 * limit)
		return NULL;
	if (atomic64_add_return(bytes, &lo_bytes) > limit)
		goto unaccount;
	ring = kmalloc(sizeof(*ring), GFP_KERNEL_ACCOUNT);
	if (!ring)
		goto unaccount;
	ring->order = order;
	ring->hdr = __vmalloc(bytes, GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
	if (!ring->hdr)
		goto free_ring;
	if (xa_alloc(&side_of(ch)->rings, &index, ring, XA_LIMIT(1, INT_MAX), GFP_KERNEL))
		goto free_pages;
	*off = (u64)index * VMSHM_PAGE;
	return ring->hdr;

free_pages:
	vfree(ring->hdr);
free_ring:
	kfree(ring);
unaccount:
	atomic64_sub(bytes, &lo_bytes);
	return NULL;
}

static void ring_work(struct work_struct *work)
{
	struct lo_ring *ring = container_of(to_rcu_work(work), struct lo_ring, work);

	vfree(ring->hdr);
	atomic64_sub(vmshm_ring_bytes(ring->order), &lo_leaving);
	kfree(ring);
}

/* Who looks from beside the locks does so under RCU (ring_wait.c). */
static void lo_ring_free(struct vmshm_chan *ch, struct vmshm_ring_hdr *hdr, u64 off, u32 order)
{
	struct lo_ring *ring = xa_erase(&side_of(ch)->rings, off / VMSHM_PAGE);

	atomic64_add(vmshm_ring_bytes(order), &lo_leaving);
	atomic64_sub(vmshm_ring_bytes(order), &lo_bytes);
	INIT_RCU_WORK(&ring->work, ring_work);
	queue_rcu_work(vmshm_wq, &ring->work);
}

static struct vmshm_ring_hdr *lo_ring_peer(struct vmshm_chan *ch, u64 off, u32 order)
{
	struct lo_ring *ring = xa_load(&side_of(ch)->other->rings, off / VMSHM_PAGE);

	return ring && ring->order == order ? ring->hdr : NULL;
}

static void lo_release(struct vmshm_chan *ch)
{
	struct lo_side *side = side_of(ch);

	xa_destroy(&side->rings);
	kfree(side);
}

static const struct vmshm_bus loopback_bus = {
	.name = "loopback",
	.doorbell = lo_doorbell,
	.ring_alloc = lo_ring_alloc,
	.ring_free = lo_ring_free,
	.ring_peer = lo_ring_peer,
	.release = lo_release,
};

static struct lo_side *lo_side_create(int i)
{
	struct lo_side *side = kzalloc(sizeof(*side), GFP_KERNEL);

	if (!side)
		return NULL;
	vmshm_chan_init(&side->ch, &loopback_bus);
	xa_init_flags(&side->rings, XA_FLAGS_ALLOC1);
	side->ch.local_cid = VMSHM_CID_LOCAL;
	/* Two names in the list; vmshm_chan_to() looks neither of them up there. */
	side->ch.peer_cid = VMSHM_CID_LOCAL - i;
	side->ch.far_side = i;
	side->ch.half_size = S64_MAX;
	side->ch.mine = lo_areas + i * VMSHM_SIDE_SIZE;
	side->ch.theirs = lo_areas + (1 - i) * VMSHM_SIDE_SIZE;
	return side;
}

/* The channel that connect() uses for this VM itself, with a reference. */
struct vmshm_chan *vmshm_loopback_chan(void)
{
	kref_get(&sides[0]->ch.ref);
	return &sides[0]->ch;
}

int vmshm_loopback_register(void)
{
	int i;

	lo_areas = vzalloc(2 * VMSHM_SIDE_SIZE);
	if (!lo_areas)
		return -ENOMEM;
	for (i = 0; i < 2; i++) {
		sides[i] = lo_side_create(i);
		if (!sides[i])
			goto fail;
	}
	for (i = 0; i < 2; i++)
		sides[i]->other = sides[1 - i];
	for (i = 0; i < 2; i++) {
		vmshm_chan_add(&sides[i]->ch);
		vmshm_debugfs_add(&sides[i]->ch, i ? "loopback-in" : "loopback-out");
	}
	/* Up before the first socket can ask for it. */
	for (i = 0; i < 4; i++)
		vmshm_chan_run(&sides[i & 1]->ch);
	return 0;

fail:
	if (sides[0])
		vmshm_chan_put(&sides[0]->ch);
	vfree(lo_areas);
	return -ENOMEM;
}

void vmshm_loopback_unregister(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		vmshm_debugfs_remove(&sides[i]->ch);
		vmshm_chan_remove(&sides[i]->ch);
	}
	/* Rings are freed after a grace period, by the work queue. */
	rcu_barrier();
	flush_workqueue(vmshm_wq);
	for (i = 0; i < 2; i++)
		vmshm_chan_put(&sides[i]->ch);
	vfree(lo_areas);
}
