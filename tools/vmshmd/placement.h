/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a segment's pages come from: from which NUMA node, and whether the host
 * would give transparent huge pages. The pool of huge pages is segment.c's.
 */
#ifndef VMSHMD_PLACEMENT_H
#define VMSHMD_PLACEMENT_H

struct segment;

/*
 * Apply what @segment's configuration says to its memfd, before a page of it is
 * allocated. 0, or -1 when the host can't, said in the log.
 */
int placement_apply(const struct segment *segment);

#endif
