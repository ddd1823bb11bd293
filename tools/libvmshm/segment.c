// SPDX-License-Identifier: GPL-2.0-only
/*
 * Believing of the segment's tables only what was checked, as the module does
 * (af_vmshm/segment.c). A peer can forge header and tables; the IDs that came
 * from the daemon it can't.
 */
#include "lib.h"

#include <errno.h>
#include <stdlib.h>

#define FORGED	"the segment was damaged or forged; restart vmshmd and the VMs"

static int bad(int err)
{
	errno = err;
	return -1;
}

/* Does [off, off + len) lie in the segment, behind the header, aligned? */
static bool inside(const struct vmshm_host *h, u64 off, u64 len, u64 align)
{
	return !(off % align) && off >= sizeof(struct vmshm_header) && off <= h->size &&
	       len <= h->size - off;
}

struct part {
	u64 off, len;
};

/* Is any byte in two of them? */
static bool overlap(const struct part *p, int n)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; j < i; j++)
			if (p[i].off < p[j].off + p[j].len && p[j].off < p[i].off + p[i].len)
				return true;
	return false;
}

/*
 * In a couple a member's ID is its peer's CID, in a group its own. The header
 * says which it is; for the host, whose CID nobody else has, the IDs do, and the
 * header has to agree: a VM can't pose as the host, nor make it another.
 */
static int find_cid(struct vmshm_host *h, bool any_cid)
{
	bool host;

	h->group = h->header.flags & VMSHM_SEG_GROUP;
	if (!h->group && h->nr_peers != 1) {
		why("this is to be a couple, and there are %u peers: " FORGED, h->nr_peers);
		return bad(EPROTO);
	}
	h->cid = h->group ? h->id : h->peers[0].id;
	host = h->cid == VMSHM_CID_HOST;
	if (!host && !any_cid) {
		why("this is the socket of a VM, CID %u; a process on the host is that of CID 2",
		    h->cid);
		return bad(EPERM);
	}
	return 0;
}

static int find_self(struct vmshm_host *h)
{
	unsigned int i;

	for (i = 0; i < h->header.nr_members; i++)
		if (h->members[i].ivshmem_id == h->id && h->members[i].cid == h->cid)
			break;
	h->me = i;
	if (i < h->header.nr_members)
		return 0;
	why("ID %u, CID %u is no member: " FORGED, h->id, h->cid);
	return bad(EPROTO);
}

/**
 * segment_check - is this a segment that this process is a member of?
 * @h: joined
 * @any_cid: also if that member is a VM's
 *
 * Takes copies of header and members. 0, or -1 with errno and a word on why.
 */
int segment_check(struct vmshm_host *h, bool any_cid)
{
	struct vmshm_header *hd = &h->header;
	u64 members;

	if (vmshm_word_read((u64 *)h->mem) != VMSHM_MAGIC) {
		why("the shared memory has no AF_VMSHM header: is this vmshmd's socket?");
		return bad(EPROTO);
	}
	vmshm_copy_once(hd, h->mem, sizeof(*hd));
	if (hd->abi_version >> 16 != VMSHM_ABI_MAJOR) {
		why("the daemon speaks ABI %u.%u, this library %u.%u: install the same release",
		    hd->abi_version >> 16, hd->abi_version & 0xffff, VMSHM_ABI_MAJOR,
		    VMSHM_ABI_MINOR);
		return bad(EPROTONOSUPPORT);
	}
	members = hd->nr_members * sizeof(struct vmshm_member);
	if (hd->segment_size != h->size || hd->nr_members < 2 ||
	    hd->nr_members > VMSHM_MEMBERS_MAX || hd->nr_members != h->nr_peers + 1 ||
	    !hd->nr_channels ||
	    hd->nr_channels > VMSHM_MEMBERS_MAX * (VMSHM_MEMBERS_MAX - 1) / 2 ||
	    (!(hd->flags & VMSHM_SEG_GROUP) && hd->nr_channels != 1) ||
	    !inside(h, hd->member_off, members, 8) ||
	    !inside(h, hd->channel_off, hd->nr_channels * sizeof(struct vmshm_channel), 8)) {
		why("the header's tables can't be true: " FORGED);
		return bad(EPROTO);
	}
	h->members = malloc(members);
	if (!h->members)
		return -1;
	vmshm_copy_once(h->members, h->mem + hd->member_off, members);
	if (find_cid(h, any_cid) || find_self(h))
		return -1;
	return 0;
}

static int find_peer(const struct vmshm_host *h, const struct bells *peer, u32 cid)
{
	for (unsigned int i = 0; i < h->header.nr_members; i++)
		if (i != h->me && h->members[i].ivshmem_id == peer->id && h->members[i].cid == cid)
			return (int)i;
	return -1;
}

/**
 * segment_place - where is the channel with a peer?
 * @h: checked
 * @peer: the peer's ID and eventfds
 * @ch: filled in
 *
 * 0, or -1 with errno and a word on why.
 */
int segment_place(struct vmshm_host *h, const struct bells *peer, struct chan *ch)
{
	const struct vmshm_header *hd = &h->header;
	u32 cid = h->group ? peer->id : h->id;
	int other = find_peer(h, peer, cid), side = -1;
	struct vmshm_channel c;

	if (other < 0) {
		why("ID %u, CID %u is no member: " FORGED, peer->id, cid);
		return bad(EPROTO);
	}
	for (u32 i = 0; i < hd->nr_channels && side < 0; i++) {
		vmshm_copy_once(&c, h->mem + hd->channel_off + i * sizeof(c), sizeof(c));
		if (c.member[0] == h->me && c.member[1] == (u32)other)
			side = 0;
		else if (c.member[1] == h->me && c.member[0] == (u32)other)
			side = 1;
	}
	if (side < 0 ||
	    !inside(h, c.side_off[0], VMSHM_SIDE_SIZE, VMSHM_PAGE) ||
	    !inside(h, c.side_off[1], VMSHM_SIDE_SIZE, VMSHM_PAGE) ||
	    !inside(h, c.half_off[0], c.half_size, VMSHM_PAGE) ||
	    !inside(h, c.half_off[1], c.half_size, VMSHM_PAGE) ||
	    c.half_size % VMSHM_PAGE || c.half_size < vmshm_ring_bytes(VMSHM_RING_ORDER_MIN) ||
	    overlap((struct part[]) {
			{ hd->member_off, hd->nr_members * sizeof(struct vmshm_member) },
			{ hd->channel_off, hd->nr_channels * sizeof(struct vmshm_channel) },
			{ c.side_off[0], VMSHM_SIDE_SIZE }, { c.side_off[1], VMSHM_SIDE_SIZE },
			{ c.half_off[0], c.half_size }, { c.half_off[1], c.half_size } }, 6)) {
		why("the channel to CID %u can't be true: " FORGED, cid);
		return bad(EPROTO);
	}
	ch->host = h;
	ch->peer_cid = cid;
	ch->bells = peer;
	ch->mine = (struct vmshm_side *)(h->mem + c.side_off[side]);
	ch->theirs = (struct vmshm_side *)(h->mem + c.side_off[!side]);
	ch->my_half = h->mem + c.half_off[side];
	ch->peer_half = h->mem + c.half_off[!side];
	ch->half_size = c.half_size;
	ch->presence = (const u64 *)(h->mem + hd->member_off +
		       (u64)other * sizeof(struct vmshm_member) +
		       offsetof(struct vmshm_member, presence));
	ch->drain[0] = (const u32 *)(h->mem + hd->member_off +
		       h->me * sizeof(struct vmshm_member) + offsetof(struct vmshm_member, drain));
	ch->drain[1] = (const u32 *)(h->mem + hd->member_off +
		       (u64)other * sizeof(struct vmshm_member) +
		       offsetof(struct vmshm_member, drain));
	return 0;
}
