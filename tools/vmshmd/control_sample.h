/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the two sides of a channel say of themselves in the segment. It is the
 * guests' word: each may write anything, its peer too. It is shown, and nothing
 * is decided by it.
 */
#ifndef VMSHMD_CONTROL_SAMPLE_H
#define VMSHMD_CONTROL_SAMPLE_H

#include "control_roster.h"

/* Counters in the order of struct vmshm_counters. */
enum sample_counter {
	SAMPLE_TX_BYTES, SAMPLE_RX_BYTES, SAMPLE_TX_MSGS, SAMPLE_RX_MSGS,
	SAMPLE_DOORBELLS_SENT, SAMPLE_DOORBELLS_RECEIVED, SAMPLE_DOORBELLS_SUPPRESSED,
	SAMPLE_POLL_HITS, SAMPLE_POLL_MISSES, SAMPLE_RING_FULL, SAMPLE_PROTOCOL_ERRORS,
	SAMPLE_CONNECTIONS, SAMPLE_HALF_USED, SAMPLE_DRAINING, SAMPLE_RINGS,
	SAMPLE_COUNTERS
};

extern const char *const sample_names[SAMPLE_COUNTERS];

struct sample {
	const char *state;	/* "down", "hello", "up", "left", "unknown" */
	u64 features;		/* VMSHM_F_* */
	u32 ctl_waiting;	/* messages that the peer has not taken, as they say */
	u32 pend_waiting;
	u32 pend_overflow;
	u64 counters[SAMPLE_COUNTERS];
};

/*
 * Side 0 and 1 of a channel. Reads by pread(): a page that nobody touched
 * reads as zeros and is not allocated, and one that was taken away is no signal.
 */
void sample_channel(const struct roster_segment *s, u32 channel, struct sample sides[2]);

/* A ring that a side says it receives in, as far as that can be true. */
struct sample_ring {
	u32 id;
	u32 local_port, peer_port;
	u32 sock_type;
	u64 size;		/* bytes of its data area */
	u64 sent, received;	/* since the connection began */
	u64 waiting;		/* bytes in it, at most @size */
	bool ended;		/* no more is written, or nobody reads any more */
	bool reset;
};

/* Up to @max rings of a side, which calls itself its @counters. Returns how many. */
u32 sample_rings(const struct roster_segment *s, u32 channel, u32 side,
		 const struct sample *sample, struct sample_ring *rings, u32 max);

/* Bytes of host memory that the segment takes. */
u64 sample_resident(const struct roster_segment *s);

#endif
