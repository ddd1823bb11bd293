// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ways to copy a message into and out of AF_VMSHM's ring: the C library's
 * memcpy(), DPDK's rte_memcpy(), "rep movsb" (what the kernel runs on processors
 * that are fast at it), and stores that go past the caches, with the fence that
 * these want before the index is published.
 */
#include <rte_memcpy.h>

#include "vmshm.h"

const char *const mech_doc = "Messages through AF_VMSHM's ring, copied in several ways.";

static void *dpdk_copy(void *to, const void *from, size_t len)
{
	return rte_memcpy(to, from, len);
}

static inline void *movsb_copy(void *to, const void *from, size_t len)
{
	void *at = to;

	__asm__ __volatile__("rep movsb" : "+D" (at), "+S" (from), "+c" (len) : : "memory");
	return to;
}

/* Stores past the caches where source and target allow it, else memcpy(). */
static inline void *stream_copy(void *to, const void *from, size_t len)
{
	__m128i *t = to;
	const __m128i *f = from;
	size_t n = len / sizeof(*t);

	if ((uintptr_t)to % sizeof(*t))
		return memcpy(to, from, len);
	for (size_t i = 0; i < n; i++)
		_mm_stream_si128(t + i, _mm_loadu_si128(f + i));
	memcpy(t + n, f + n, len % sizeof(*t));
	_mm_sfence();
	return to;
}

static __always_inline u32 push(struct mech *m, int dir, const u8 *msgs, u32 n, mech_copy copy)
{
	struct vmshm_prod *p = &((struct mech_vmshm *)m->data)[dir].prod;
	u64 len = mech_vmshm_fill(m, p, msgs, n, copy);

	if (len && vmshm_prod_publish(p, len))
		mech_die("a doorbell was asked for, and nobody sleeps");
	return len / m->size;
}

static __always_inline u32 pull(struct mech *m, int dir, u8 *msgs, u32 n, mech_copy copy)
{
	struct vmshm_cons *c = &((struct mech_vmshm *)m->data)[dir].cons;
	u64 len = mech_vmshm_drain(m, c, msgs, n, copy);

	if (len && vmshm_cons_consume(c, len))
		mech_die("a doorbell was asked for, and nobody sleeps");
	return len / m->size;
}

#define WAY(name, in, out)								\
static __always_inline u32 name##_push(struct mech *m, int dir, const u8 *msgs,		\
				     unsigned int n)					\
{											\
	return push(m, dir, msgs, n, in);						\
}											\
static __always_inline u32 name##_pull(struct mech *m, int dir, u8 *msgs, u32 n)	\
{											\
	return pull(m, dir, msgs, n, out);						\
}											\
MECH_LOOPS(name, name##_push, name##_pull)

WAY(libc, mech_memcpy, mech_memcpy);
WAY(dpdk, dpdk_copy, dpdk_copy);
WAY(movsb, movsb_copy, movsb_copy);
WAY(past_in, stream_copy, mech_memcpy);

const struct mech_variant mech_variants[] = {
	{ "memcpy", "the C library's", mech_vmshm_setup, NULL, libc },
	{ "rte_memcpy", "DPDK's", mech_vmshm_setup, NULL, dpdk },
	{ "movsb", "rep movsb", mech_vmshm_setup, NULL, movsb },
	{ "non-temporal", "stores past the caches into the ring", mech_vmshm_setup, NULL,
	  past_in },
	{ 0 }
};
