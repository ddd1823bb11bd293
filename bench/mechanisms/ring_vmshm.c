// SPDX-License-Identifier: GPL-2.0-only
/*
 * AF_VMSHM's ring. "event" is what the module runs: after each publication a
 * full barrier and a look at whether the other side wants a doorbell. "plain"
 * leaves both out, as a ring can whose users never sleep: the difference is
 * what being able to sleep costs while nobody does.
 */
#include "vmshm.h"

const char *const mech_doc = "Messages through AF_VMSHM's ring.";

static __always_inline u32 event_push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	struct vmshm_prod *p = &((struct mech_vmshm *)m->data)[dir].prod;
	u64 len = mech_vmshm_fill(m, p, msgs, n, mech_memcpy);

	if (len && vmshm_prod_publish(p, len))
		mech_die("a doorbell was asked for, and nobody sleeps");
	return len / m->size;
}

static __always_inline u32 event_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	struct vmshm_cons *c = &((struct mech_vmshm *)m->data)[dir].cons;
	u64 len = mech_vmshm_drain(m, c, msgs, n, mech_memcpy);

	if (len && vmshm_cons_consume(c, len))
		mech_die("a doorbell was asked for, and nobody sleeps");
	return len / m->size;
}

/* The publication without its second half: only (A) and (C) of ring.h. */
static __always_inline u32 plain_push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	struct vmshm_prod *p = &((struct mech_vmshm *)m->data)[dir].prod;
	u64 len = mech_vmshm_fill(m, p, msgs, n, mech_memcpy);

	if (len) {
		p->prod += len;
		vmshm_store_release(&p->hdr->prod, p->prod);
	}
	return len / m->size;
}

static __always_inline u32 plain_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	struct vmshm_cons *c = &((struct mech_vmshm *)m->data)[dir].cons;
	u64 len = mech_vmshm_drain(m, c, msgs, n, mech_memcpy);

	if (len) {
		c->cons += len;
		vmshm_store_release(&c->hdr->cons, c->cons);
	}
	return len / m->size;
}

MECH_LOOPS(event_loops, event_push, event_pull);
MECH_LOOPS(plain_loops, plain_push, plain_pull);

/* A new ring's event is 0, which the first step from 0 does not cross. */
const struct mech_variant mech_variants[] = {
	{ "event", "as the module: full barrier and event index", mech_vmshm_setup, NULL,
	  event_loops },
	{ "plain", "neither: nobody could sleep", mech_vmshm_setup, NULL, plain_loops },
	{ 0 }
};
