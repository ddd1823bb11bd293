/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an operator does to members that are connected: let go of them, tell
 * them to let their connections end.
 */
#ifndef VMSHMD_STEER_H
#define VMSHMD_STEER_H

#include <stdbool.h>

struct segment;

/*
 * Let go of @member's QEMU, in the segment called @segment or ("") in all.
 * Returns how many there were, or -1, said in the log.
 */
int steer_kick(struct segment *segments, const char *member, const char *segment);

/* Tell a member and its peers to begin no connections (@on), or that they may. */
int steer_drain(struct segment *segments, const char *member, const char *segment, bool on);

#endif
