// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring that an end receives in: its memory, and making it ready.  When the
 * memory goes back is decided in end.c; which pages it is in half.c.
 */
#include "vmshm.h"

/* Memory for a ring of this side, counted. */
struct vmshm_ring_hdr *vmshm_ring_get(struct vmshm_chan *ch, u32 order, u64 *off)
{
	struct vmshm_ring_hdr *hdr = ch->bus->ring_alloc(ch, order, off);

	if (hdr)
		atomic64_add(vmshm_ring_bytes(order), &ch->half_used);
	return hdr;
}

void vmshm_ring_put(struct vmshm_chan *ch, struct vmshm_ring_hdr *hdr, u64 off, u32 order)
{
	ch->bus->ring_free(ch, hdr, off, order);
	atomic64_sub(vmshm_ring_bytes(order), &ch->half_used);
}

/*
 * Memory to receive in; a smaller ring where it is short.  0 or -ENOBUFS.  Under
 * chan->mutex; may sleep.
 */
int vmshm_rxring_alloc(struct vmshm_end *end)
{
	struct vmshm_chan *ch = end->chan;
	struct vmshm_ring_hdr *hdr = NULL;
	u32 order = end->order_wanted;
	u64 off = 0;

	for (; order >= end->order_least; order--) {
		hdr = vmshm_ring_get(ch, order, &off);
		if (hdr)
			break;
	}
	if (!hdr)
		return -ENOBUFS;

	end->rx_off = off;
	end->rx_order = order;
	end->rx_hdr = hdr;
	spin_lock(&ch->stats_lock);
	list_add_tail(&end->ring_node, &ch->rings);
	spin_unlock(&ch->stats_lock);
	return 0;
}

/* The end has a number: who hears of it may write into the ring from now on. */
void vmshm_rxring_open(struct vmshm_end *end)
{
	vmshm_ring_init(end->rx_hdr, end->rx_order, end->id, end->gen);

	spin_lock(&end->rx_lock);
	vmshm_cons_init(&end->cons, end->rx_hdr, end->rx_order);
	if (end->sock_type != SOCK_STREAM)
		vmshm_record_rx_init(end);
	/* The first byte rings: a process that waits for SIGIO asks nobody. */
	vmshm_cons_arm(&end->cons, 1);
	/* Who looks from beside the lock sees cons whole. */
	smp_store_release(&end->rx_open, true);
	spin_unlock(&end->rx_lock);
}

/* Give the memory back, if there is any.  May sleep. */
void vmshm_rxring_free(struct vmshm_end *end)
{
	struct vmshm_chan *ch = end->chan;

	if (!end->rx_hdr)
		return;
	vmshm_grow_free(end);
	vmshm_ring_put(ch, end->rx_hdr, end->rx_off, end->rx_order);
	end->rx_hdr = NULL;
	/* The device's removal waits for this list to run empty. */
	spin_lock(&ch->stats_lock);
	list_del_init(&end->ring_node);
	spin_unlock(&ch->stats_lock);
}
