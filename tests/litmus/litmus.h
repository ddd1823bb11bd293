/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of vmshm_litmus.ko share: the area in the segment that both
 * VMs use, one run, and its outcome.
 */
#ifndef VMSHM_LITMUS_H
#define VMSHM_LITMUS_H

#include <linux/types.h>
#include <vmshm/layout.h>

/* A word on lines of its own. */
struct litmus_word {
	u64 v;
	u8 pad[VMSHM_LINE - 8];
};

#define LITMUS_RING_ORDER 12

/*
 * The last LITMUS_AREA bytes of the segment. Each word has one writer: the side
 * that its index or its comment names.
 */
#define LITMUS_AREA (64 << 10)
struct litmus_area {
	struct litmus_word hello[2];
	struct litmus_word round[2];
	struct litmus_word told;	/* side 0: whether it rang in this round */
	struct litmus_word value[2];	/* side i */
	struct litmus_word dirt[8];	/* side 0: 0 to 3, side 1: 4 to 7 */
	struct litmus_word q_prod;	/* side 1 */
	struct litmus_word q_cons;	/* side 0 */
	struct litmus_word wanted;	/* side 1 */
	u8 fill[VMSHM_PAGE - 18 * VMSHM_LINE];
	struct vmshm_ring_hdr ring;
	u8 data[1 << LITMUS_RING_ORDER];
};

/**
 * struct litmus - one run of one side
 * @area: in the segment
 * @side: 0 or 1
 * @rounds: how many to do
 * @spread: how far apart the sides may start, turns of an empty loop
 * @session: what both sides of a run have in common, and no other run
 * @deadline: ktime_get_ns() at which to give up
 * @done: rounds that were done
 * @forbidden: outcomes that must not be
 * @rang: rounds in which side 0 saw the arming (store buffering)
 * @saw: rounds in which side 1 saw the index (store buffering)
 * @rng: state of the generator
 */
struct litmus {
	struct litmus_area *area;
	unsigned int side;
	u64 rounds;
	u32 spread;
	u32 session;
	u64 deadline;
	u64 done;
	u64 forbidden;
	u64 rang;
	u64 saw;
	u64 rng;
};

/* 0, -EINVAL (no such test), -ETIMEDOUT (the other side does not answer) or -EINTR. */
int litmus_run(struct litmus *l, const char *test);
/* The same with all full barriers of ring.h taken away. */
int litmus_run_control(struct litmus *l, const char *test);

#endif /* VMSHM_LITMUS_H */
