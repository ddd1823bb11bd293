/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What pci.c (the device) and segment.c (what is in its memory) share.
 */
#ifndef _AF_VMSHM_PCI_H
#define _AF_VMSHM_PCI_H

#include <linux/pci.h>
#include "vmshm.h"

#define VMSHM_PCI_VECTORS	64	/* as many as a segment's member may have */

struct vmshm_pci;

struct vmshm_vector {
	struct vmshm_pci *dev;
	int irq;
	char name[40];
	unsigned long jiffy;		/* when busy_ns began */
	u64 busy_ns;			/* spent since then */
	unsigned int useful, idle;	/* interrupts since then, for something or nothing */
	unsigned long until;		/* masked until then */
	struct delayed_work storm;
};

struct vmshm_pci_chan {
	struct vmshm_chan ch;
	struct gen_pool *pool;		/* of my_half */
	u8 *my_half;
	u8 *peer_half;
};

/**
 * struct vmshm_pci - an ivshmem device
 * @node: in the list that the panic and reboot notifiers walk
 * @regs: BAR0
 * @mem: BAR2, write-back
 * @size: bytes of BAR2
 * @vmapped: @mem came from vmap_pfn()
 * @position: IVPosition, which nobody in the segment can forge
 * @header: a checked copy of the segment's header
 */
struct vmshm_pci {
	struct pci_dev *pdev;
	struct list_head node;
	void __iomem *regs;
	u8 *mem;
	u64 size;
	bool vmapped;
	u32 position;
	struct vmshm_header *header;
	struct vmshm_member *members;	/* copy */
	int nr_vectors;
	struct vmshm_vector vectors[VMSHM_PCI_VECTORS];
	int vector_cpu[VMSHM_PCI_VECTORS];	/* that each interrupted last */
	int nr_chans;
	struct vmshm_pci_chan *chans[VMSHM_MEMBERS_MAX];
};

/* Where a channel's parts are; all checked, offsets from the segment's start. */
struct vmshm_place {
	u32 local_cid, peer_cid;
	u32 peer_vectors;
	u32 doorbell_id;
	u64 my_side, peer_side;
	u64 my_half, peer_half;
	u64 half_size;
	u64 presence;
	u64 drain[2];		/* of this side, of the peer */
};

int vmshm_segment_map(struct vmshm_pci *dev);
void vmshm_segment_unmap(struct vmshm_pci *dev);
int vmshm_segment_check(struct vmshm_pci *dev);
int vmshm_segment_place(struct vmshm_pci *dev, unsigned int member, struct vmshm_place *place);

#endif /* _AF_VMSHM_PCI_H */
