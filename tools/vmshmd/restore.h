/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * From a segment to descriptors that are kept, and back: see restore.c.
 */
#ifndef VMSHMD_RESTORE_H
#define VMSHMD_RESTORE_H

#include "segment.h"

/* All segments that were kept, without their sockets; what is damaged is left out. */
struct segment *restore_segments(void);

/* Have all kept that a successor needs: 0, or -1, said in the log. */
int segment_keep(struct segment *segment);

/* It is about to be taken away: a successor is not to find it. */
void segment_forget(struct segment *segment);

#endif
