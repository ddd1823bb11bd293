/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An ivshmem device of this VM, taken out of the driver's hands: found, unbound
 * and bound through sysfs, its BARs mapped by a process of root's.
 *
 * Not here: what is written into it.
 */
#ifndef LIFE_SEGMENT_H
#define LIFE_SEGMENT_H

#include <vmshm/layout.h>

struct segment {
	char bdf[32];		/* PCI address, 0000:00:05.0 */
	u8 *mem;		/* BAR2 */
	u64 size;
	volatile u32 *regs;	/* BAR0 */
};

void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...);

/* The first ivshmem device, or the one whose segment has a member with this CID. */
void segment_find(struct segment *seg, u32 peer_cid);
/* 0 or a positive errno, what the write to sysfs returned. */
int segment_bind(const struct segment *seg);
int segment_unbind(const struct segment *seg);
/* With the driver unbound; a mapping does not outlive segment_bind(). */
void segment_map(struct segment *seg);
void segment_unmap(struct segment *seg);

#endif /* LIFE_SEGMENT_H */
