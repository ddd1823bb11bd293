// SPDX-License-Identifier: GPL-2.0-only
/*
 * One word on one cache line, which two threads pass to each other: no ring, no
 * buffer, so what no round trip between these two cores gets below. The word is
 * the message's number, and its lowest bit says whose turn it is.
 */
#include "mech.h"

const char *const mech_doc = "One word on one cache line, passed between two cores.";

static void setup(struct mech *m)
{
	m->data = mech_memory(m, MECH_LINE);
}

static __always_inline u32 push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	u64 *word = m->data, number;

	(void)n;
	/* A round trip takes turns by itself; a producer waits until its word is taken. */
	if (!m->rtt && vmshm_load_acquire(word) & 1)
		return 0;
	memcpy(&number, msgs, sizeof(number));
	vmshm_store_release(word, number << 1 | !dir);
	return 1;
}

static __always_inline u32 pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	u64 *word = m->data, value = vmshm_load_acquire(word), number = value >> 1;

	(void)n;
	if ((value & 1) != !dir)
		return 0;
	memcpy(msgs, &number, sizeof(number));
	if (!m->rtt)
		vmshm_store_release(word, value & ~1ULL);
	return 1;
}

MECH_LOOPS(loop, push, pull);

const struct mech_variant mech_variants[] = {
	{ "line", "a word passed on one cache line", setup, NULL, loop },
	{ 0 }
};
