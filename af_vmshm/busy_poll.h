/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The loop that looks for a while before a wait sleeps, of rings and of datagrams.
 * How long it looks, and what it learns, is in ring_wait.c.
 */
#ifndef _AF_VMSHM_BUSY_POLL_H
#define _AF_VMSHM_BUSY_POLL_H

#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include "vmshm.h"

#define SPIN_LOOKS	8	/* looks between two readings of the clock */

/**
 * vmshm_busy_poll - look for a while before sleeping
 * @vs: whose setting counts
 * @spin: what earlier waits taught; brought up to date
 * @over: is the wait over?  Called again and again
 * @arg: for it
 * @stats: counts
 *
 * Returns true when the wait is over.  Inline, so that @over is: with an indirect call
 * in each look, the peer's answer is seen later (4.5 us a round trip instead of 4.2).
 */
static __always_inline bool vmshm_busy_poll(struct vmshm_sock *vs, struct vmshm_spin *spin,
					    bool (*over)(void *arg), void *arg,
					    struct vmshm_stats *stats)
{
	u32 window = vmshm_spin_window(vs, spin);
	bool hit = false;
	u64 start, now;

	if (!window)
		return false;
	start = local_clock();
	do {
		int looks = SPIN_LOOKS;

		while (looks-- && !hit) {
			hit = over(arg);
			if (!hit)
				cpu_relax();
		}
		now = local_clock();
	} while (!hit && !need_resched() && !signal_pending(current) && now - start < window);

	vmshm_spin_learn(vs, spin, now - start, hit);
	if (hit)
		stats->poll_hits++;
	else
		stats->poll_misses++;
	return hit;
}

#endif /* _AF_VMSHM_BUSY_POLL_H */
