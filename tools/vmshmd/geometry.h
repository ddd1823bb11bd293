/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where things lie in a segment: offsets computed from its size and the count
 * of its members. Pure arithmetic; who writes what there is in segment.c, and
 * what the structures look like in vmshm/layout.h.
 */
#ifndef VMSHMD_GEOMETRY_H
#define VMSHMD_GEOMETRY_H

#include <vmshm/layout.h>

#define HUGE_PAGE	(2ULL << 20)

/* A half that is smaller holds too few rings to be of use. */
#define HALF_MIN	(64ULL << 10)

/* All in bytes from the start of the segment. */
struct geometry {
	u64 size;
	u64 page;		/* what memory is given back in: 4 KiB or 2 MiB */
	u32 nr_members;
	u32 nr_channels;
	u64 member_off;
	u64 channel_off;
	u64 side_off;		/* of the first channel's side 0 */
	u64 half_off;		/* of the first channel's side 0; aligned to @page */
	u64 half_size;		/* a multiple of @page */
};

/* Returns 0, or -ENOSPC when @size is too small for so many members. */
int geometry_make(struct geometry *g, u64 size, u32 nr_members, bool huge);

/* The smallest power of two that geometry_make() takes. */
u64 geometry_min_size(u32 nr_members, bool huge);

/* Offsets for side @k (0 or 1) of channel @channel. */
u64 geometry_side(const struct geometry *g, u32 channel, u32 k);
u64 geometry_half(const struct geometry *g, u32 channel, u32 k);

/* The members (indices) of channel @channel, the smaller one first. */
void geometry_couple(const struct geometry *g, u32 channel, u32 member[2]);

/* The channel of members @one and @other; *@k is the side of @one. */
u32 geometry_channel(const struct geometry *g, u32 one, u32 other, u32 *k);

#endif
