/* SPDX-License-Identifier: GPL-2.0-only */
/* Which daemon segment_find() goes to: see joined.c. */
#ifndef HOST_JOINED_H
#define HOST_JOINED_H

#include "../daemon/harness.h"
#include "../life/segment.h"

extern const struct vmshmd *joined_daemon;

#endif /* HOST_JOINED_H */
