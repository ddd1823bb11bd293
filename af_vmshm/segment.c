// SPDX-License-Identifier: GPL-2.0-only
/*
 * The segment in a device's BAR2: mapping it write-back, and believing of its
 * tables only what was checked.  A peer can forge header and tables; it can't
 * forge the ivshmem ID that the device shows, and this VM's own CID comes from
 * the host by another way (main.c).
 */
#include <linux/io.h>
#include <linux/vmalloc.h>
#include <asm/pgtable.h>
#include "vmshm.h"
#include "pci.h"

/* Is @addr mapped write-back?  TCG would hide it if it were not. */
static bool is_write_back(void *addr)
{
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)addr, &level);
	unsigned long flags;

	if (!pte)
		return false;
	flags = pte_flags(*pte);
	if (level != PG_LEVEL_4K)
		return !(flags & (_PAGE_PCD | _PAGE_PWT | _PAGE_PAT_LARGE));
	return !(flags & (_PAGE_PCD | _PAGE_PWT | _PAGE_PAT));
}

/*
 * memremap() yields an uncached mapping, and says nothing, where the firmware's
 * memory types say so for the hole below 4 GiB.  A guest's own page tables
 * decide under KVM, so map the pages ourselves then.
 */
static u8 *map_pages(phys_addr_t start, u64 size)
{
	unsigned long i, count = size >> PAGE_SHIFT;
	unsigned long *pfns;
	u8 *mem;

	pfns = kvmalloc_array(count, sizeof(*pfns), GFP_KERNEL);
	if (!pfns)
		return NULL;
	for (i = 0; i < count; i++)
		pfns[i] = (start >> PAGE_SHIFT) + i;
	mem = vmap_pfn(pfns, count, PAGE_KERNEL);
	kvfree(pfns);
	return mem;
}

/* Map BAR2; 0, or a negative errno with a line in the log. */
int vmshm_segment_map(struct vmshm_pci *dev)
{
	phys_addr_t start = pci_resource_start(dev->pdev, 2);
	struct device *d = &dev->pdev->dev;

	dev->size = pci_resource_len(dev->pdev, 2);
	if (dev->size < VMSHM_SEGMENT_MIN) {
		dev_err(d, "the shared memory has %llu bytes, %llu are the least: is vmshmd the server behind this device?\n",
			dev->size, VMSHM_SEGMENT_MIN);
		return -EINVAL;
	}
	dev->mem = memremap(start, dev->size, MEMREMAP_WB);
	if (dev->mem && is_write_back(dev->mem))
		return 0;
	if (dev->mem)
		memunmap(dev->mem);
	dev->mem = map_pages(start, dev->size);
	if (!dev->mem) {
		dev_err(d, "can't map %llu MiB of shared memory\n", dev->size >> 20);
		return -ENOMEM;
	}
	dev->vmapped = true;
	if (is_write_back(dev->mem))
		return 0;
	dev_err(d, "the shared memory can only be mapped uncached: give it a 64-bit BAR above 4 GiB\n");
	vmshm_segment_unmap(dev);
	return -EIO;
}

void vmshm_segment_unmap(struct vmshm_pci *dev)
{
	kvfree(dev->members);
	kvfree(dev->header);
	if (dev->vmapped)
		vunmap(dev->mem);
	else
		memunmap(dev->mem);
	dev->mem = NULL;
}

/* Does [off, off + len) lie in the segment, behind the header, aligned? */
static bool inside(struct vmshm_pci *dev, u64 off, u64 len, u64 align)
{
	return !(off % align) && off >= sizeof(struct vmshm_header) && off <= dev->size &&
	       len <= dev->size - off;
}

struct extent {
	u64 off, len;
};

/* Is any byte in two of them? */
static bool overlap(const struct extent *e, int n)
{
	int i, j;

	for (i = 0; i < n; i++)
		for (j = 0; j < i; j++)
			if (e[i].off < e[j].off + e[j].len && e[j].off < e[i].off + e[i].len)
				return true;
	return false;
}

/* Copy a part of the segment; what is checked afterwards is what is used. */
static void *copy(struct vmshm_pci *dev, u64 off, u64 len)
{
	void *mem = kvmalloc(len, GFP_KERNEL);

	if (mem)
		vmshm_copy_once(mem, dev->mem + off, len);
	return mem;
}

/* The entry of this VM, or -1: by the ID that the device shows. */
static int own_index(struct vmshm_pci *dev)
{
	bool group = dev->header->flags & VMSHM_SEG_GROUP;
	unsigned int i;

	for (i = 0; i < dev->header->nr_members; i++) {
		/* In a couple a member's ID is its peer's CID, in a group its own. */
		if (dev->members[i].ivshmem_id != dev->position)
			continue;
		if (!group && dev->members[!i].cid != dev->position)
			return -1;
		if (group && dev->members[i].cid != dev->position)
			return -1;
		return i;
	}
	return -1;
}

/**
 * vmshm_segment_check - is this a segment that this VM is a member of?
 * @dev: mapped
 *
 * Takes copies of the header and the members.  Returns 0, or a negative errno
 * with a line in the log that says what to do.
 */
int vmshm_segment_check(struct vmshm_pci *dev)
{
	struct device *d = &dev->pdev->dev;
	struct vmshm_header *h;
	u32 cid;
	int me;

	/* Published last: what is behind it is whole. */
	if (vmshm_word_read((u64 *)dev->mem) != VMSHM_MAGIC) {
		dev_err(d, "the shared memory has no AF_VMSHM header: is vmshmd the server behind this device?\n");
		return -EINVAL;
	}
	h = copy(dev, 0, sizeof(*h));
	if (!h)
		return -ENOMEM;
	dev->header = h;
	h->name[VMSHM_NAME_LEN - 1] = 0;
	if (h->abi_version >> 16 != VMSHM_ABI_MAJOR) {
		dev_err(d, "the daemon speaks ABI %u.%u, this module %u.%u: install the same release on both sides\n",
			h->abi_version >> 16, h->abi_version & 0xffff,
			VMSHM_ABI_MAJOR, VMSHM_ABI_MINOR);
		return -EPROTONOSUPPORT;
	}
	if (h->segment_size != dev->size) {
		dev_err(d, "the header speaks of %llu bytes, the device has %llu: restart vmshmd and the VM\n",
			h->segment_size, dev->size);
		return -EINVAL;
	}
	if (h->nr_members < 2 || h->nr_members > VMSHM_MEMBERS_MAX ||
	    (!(h->flags & VMSHM_SEG_GROUP) && (h->nr_members != 2 || h->nr_channels != 1)) ||
	    !h->nr_channels || h->nr_channels > VMSHM_MEMBERS_MAX * (VMSHM_MEMBERS_MAX - 1) / 2 ||
	    !inside(dev, h->member_off, h->nr_members * sizeof(struct vmshm_member), 8) ||
	    !inside(dev, h->channel_off, h->nr_channels * sizeof(struct vmshm_channel), 8)) {
		dev_err(d, "the header's tables can't be true: the segment was damaged, restart vmshmd and the VMs\n");
		return -EINVAL;
	}
	dev->members = copy(dev, h->member_off, h->nr_members * sizeof(struct vmshm_member));
	if (!dev->members)
		return -ENOMEM;
	me = own_index(dev);
	cid = vmshm_local_cid();
	if (me < 0) {
		dev_err(d, "ID %u of the device is nobody's in the table of members: the segment was damaged or forged\n",
			dev->position);
		return -EINVAL;
	}
	/* The number to ring is the peer's ID: in a couple one's own CID. */
	if (!(h->flags & VMSHM_SEG_GROUP) &&
	    dev->members[!me].ivshmem_id != dev->members[me].cid) {
		dev_err(d, "ID %u of the peer can't be true: the segment was damaged or forged\n",
			dev->members[!me].ivshmem_id);
		return -EINVAL;
	}
	if (!vmshm_claim_cid(dev->members[me].cid)) {
		dev_err(d, "the segment says that this VM is CID %u, the host or another device says %u: device refused\n",
			dev->members[me].cid, cid);
		return -EPERM;
	}
	return 0;
}

/**
 * vmshm_segment_place - where is the channel with a member?
 * @dev: checked
 * @member: index of the peer
 * @place: filled in
 *
 * Returns 0, -ENOENT when there is no such channel, or -EINVAL with a line in
 * the log.
 */
int vmshm_segment_place(struct vmshm_pci *dev, unsigned int member, struct vmshm_place *place)
{
	const struct vmshm_header *h = dev->header;
	int me = own_index(dev), side = -1;
	struct vmshm_channel c;
	u32 i;

	if (member >= h->nr_members || member == me)
		return -ENOENT;
	for (i = 0; i < h->nr_channels && side < 0; i++) {
		vmshm_copy_once(&c, dev->mem + h->channel_off + i * sizeof(c), sizeof(c));
		if (c.member[0] == me && c.member[1] == member)
			side = 0;
		else if (c.member[1] == me && c.member[0] == member)
			side = 1;
	}
	if (side < 0)
		return -ENOENT;
	if (!inside(dev, c.side_off[0], VMSHM_SIDE_SIZE, VMSHM_PAGE) ||
	    !inside(dev, c.side_off[1], VMSHM_SIDE_SIZE, VMSHM_PAGE) ||
	    !inside(dev, c.half_off[0], c.half_size, VMSHM_PAGE) ||
	    !inside(dev, c.half_off[1], c.half_size, VMSHM_PAGE) ||
	    c.half_size % VMSHM_PAGE || c.half_size < vmshm_ring_bytes(VMSHM_RING_ORDER_MIN)) {
		dev_err(&dev->pdev->dev, "channel %u lies outside the segment: it was damaged, restart vmshmd and the VMs\n",
			i - 1);
		return -EINVAL;
	}
	if (overlap((struct extent[]) {
			{ h->member_off, h->nr_members * sizeof(struct vmshm_member) },
			{ h->channel_off, h->nr_channels * sizeof(struct vmshm_channel) },
			{ c.side_off[0], VMSHM_SIDE_SIZE }, { c.side_off[1], VMSHM_SIDE_SIZE },
			{ c.half_off[0], c.half_size }, { c.half_off[1], c.half_size } }, 6)) {
		dev_err(&dev->pdev->dev, "parts of channel %u overlap: the segment was damaged, restart vmshmd and the VMs\n",
			i - 1);
		return -EINVAL;
	}
	place->local_cid = dev->members[me].cid;
	place->peer_cid = dev->members[member].cid;
	place->peer_vectors = clamp_t(u32, dev->members[member].vectors, 1, VMSHM_PCI_VECTORS);
	place->doorbell_id = dev->members[member].ivshmem_id & 0xffff;
	place->my_side = c.side_off[side];
	place->peer_side = c.side_off[!side];
	place->my_half = c.half_off[side];
	place->peer_half = c.half_off[!side];
	place->half_size = c.half_size;
	place->presence = h->member_off + member * sizeof(struct vmshm_member) +
			  offsetof(struct vmshm_member, presence);
	place->drain[0] = h->member_off + me * sizeof(struct vmshm_member) +
			  offsetof(struct vmshm_member, drain);
	place->drain[1] = h->member_off + member * sizeof(struct vmshm_member) +
			  offsetof(struct vmshm_member, drain);
	return 0;
}
