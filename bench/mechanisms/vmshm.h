/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AF_VMSHM's ring (include/vmshm/ring.h) as the programs here use it: a couple
 * of rings in memory of mech_memory(), and messages copied in and out as the
 * module does it. Sleeping and waking stands in wait.c.
 */
#ifndef MECH_VMSHM_H
#define MECH_VMSHM_H

#include "mech.h"

struct mech_vmshm {
	struct vmshm_prod prod __aligned(MECH_LINE);
	struct vmshm_cons cons __aligned(MECH_LINE);
};

typedef void *(*mech_copy)(void *to, const void *from, size_t len);

static __always_inline void *mech_memcpy(void *to, const void *from, size_t len)
{
	return memcpy(to, from, len);
}

/* A ring at @hdr, which has vmshm_ring_bytes() of zeroed memory. */
static inline void mech_vmshm_init(struct mech_vmshm *v, void *hdr, size_t bytes)
{
	u32 order = __builtin_ctzl(bytes);

	vmshm_ring_init(hdr, order, 0, 0);
	vmshm_prod_init(&v->prod, hdr, order);
	vmshm_cons_init(&v->cons, hdr, order);
}

/* One ring a direction, into m->data. */
static inline void mech_vmshm_setup(struct mech *m)
{
	struct mech_vmshm *v = mech_memory(m, 2 * sizeof(*v));
	size_t bytes = vmshm_ring_bytes(__builtin_ctzl(m->ring));
	u8 *p = mech_memory(m, 2 * bytes);

	for (int i = 0; i < 2; i++)
		mech_vmshm_init(&v[i], p + i * bytes, m->ring);
	m->data = v;
}

/* Copies what fits, in whole messages, and leaves it unpublished: bytes. */
static __always_inline u64 mech_vmshm_fill(struct mech *m, struct vmshm_prod *p, const u8 *msgs,
					   u32 n, mech_copy copy)
{
	struct vmshm_span span[2];
	u64 len = n * m->size;
	long space = vmshm_prod_space(p, len);

	if (space < (long)len) {
		if (space < (long)m->size)
			return 0;
		len = space / m->size * m->size;
	}
	if (vmshm_prod_spans(p, len, span) == 2)
		copy(span[1].base, msgs + span[0].len, span[1].len);
	copy(span[0].base, msgs, span[0].len);
	return len;
}

static __always_inline u64 mech_vmshm_drain(struct mech *m, struct vmshm_cons *c, u8 *msgs,
					    u32 n, mech_copy copy)
{
	struct vmshm_span span[2];
	u64 len = n * m->size;
	long avail = vmshm_cons_avail(c, len);

	if (avail < (long)len) {
		if (avail < (long)m->size)
			return 0;
		len = avail / m->size * m->size;
	}
	if (vmshm_cons_spans(c, 0, len, span) == 2)
		copy(msgs + span[0].len, span[1].base, span[1].len);
	copy(msgs, span[0].base, span[0].len);
	return len;
}

#endif
