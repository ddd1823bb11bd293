// SPDX-License-Identifier: GPL-2.0-only
/*
 * Offsets in a segment: header, table of members, table of channels, then the
 * side areas of all channels, then the halves of all channels.
 *
 * With huge pages the halves begin on one: what a member used can then be
 * given back, which works in whole pages.
 */
#include "geometry.h"

static u64 round_up(u64 value, u64 unit)
{
	return (value + unit - 1) / unit * unit;
}

int geometry_make(struct geometry *g, u64 size, u32 nr_members, bool huge)
{
	g->size = size;
	g->page = huge ? HUGE_PAGE : VMSHM_PAGE;
	g->nr_members = nr_members;
	g->nr_channels = nr_members * (nr_members - 1) / 2;
	g->member_off = sizeof(struct vmshm_header);
	g->channel_off = g->member_off + nr_members * sizeof(struct vmshm_member);
	g->side_off = round_up(g->channel_off + g->nr_channels * sizeof(struct vmshm_channel),
			       VMSHM_PAGE);
	g->half_off = round_up(g->side_off + 2ULL * g->nr_channels * VMSHM_SIDE_SIZE, g->page);
	if (g->half_off >= size)
		return -ENOSPC;
	g->half_size = (size - g->half_off) / (2ULL * g->nr_channels) / g->page * g->page;
	return g->half_size < HALF_MIN ? -ENOSPC : 0;
}

u64 geometry_min_size(u32 nr_members, bool huge)
{
	struct geometry g;
	u64 size = VMSHM_SEGMENT_MIN;

	while (geometry_make(&g, size, nr_members, huge))
		size <<= 1;
	return size;
}

u64 geometry_side(const struct geometry *g, u32 channel, u32 k)
{
	return g->side_off + (2ULL * channel + k) * VMSHM_SIDE_SIZE;
}

u64 geometry_half(const struct geometry *g, u32 channel, u32 k)
{
	return g->half_off + (2ULL * channel + k) * g->half_size;
}

void geometry_couple(const struct geometry *g, u32 channel, u32 member[2])
{
	u32 first = 0, row = g->nr_members - 1;

	while (channel >= row) {
		channel -= row--;
		first++;
	}
	member[0] = first;
	member[1] = first + 1 + channel;
}

u32 geometry_channel(const struct geometry *g, u32 one, u32 other, u32 *k)
{
	u32 first = one < other ? one : other;
	u32 second = one < other ? other : one;

	*k = one < other ? 0 : 1;
	return first * (2 * g->nr_members - first - 1) / 2 + (second - first - 1);
}
