// SPDX-License-Identifier: GPL-2.0-only
/*
 * A ring as it is written at first, and the two changes that every fast one has,
 * alone and together: "naive" has both indices on one cache line and reads the
 * other side's for each message; "padded" puts 128 bytes between them; "cached"
 * keeps a private copy of the other side's and reads it again only when it runs
 * out.
 */
#include "mech.h"

const char *const mech_doc = "Messages through a naive ring, with padding or cached indices.";

struct indices {
	u64 *head, *tail;	/* written by the producer, by the consumer */
	u8 *data;
	/* Private, used by "cached" alone. */
	u64 tail_seen __aligned(MECH_LINE);
	u64 head_seen __aligned(MECH_LINE);
};

static void setup(struct mech *m, size_t apart)
{
	struct indices *x = mech_memory(m, 2 * sizeof(*x));

	for (int i = 0; i < 2; i++) {
		u8 *shared = mech_memory(m, 4096 + m->ring);

		x[i].head = (u64 *)shared;
		x[i].tail = (u64 *)(shared + apart);
		x[i].data = shared + 4096;
	}
	m->data = x;
}

static void setup_together(struct mech *m)
{
	setup(m, sizeof(u64));
}

static void setup_apart(struct mech *m)
{
	setup(m, MECH_LINE);
}

static __always_inline u32 push(struct mech *m, int dir, const u8 *msgs, u32 n, bool cached)
{
	struct indices *x = (struct indices *)m->data + dir;
	u64 head = *x->head, len = n * m->size, space, at, first;
	u64 tail = cached ? x->tail_seen : vmshm_load_acquire(x->tail);

	if (cached && m->ring - (head - tail) < len) {
		tail = vmshm_load_acquire(x->tail);
		x->tail_seen = tail;
	}
	space = m->ring - (head - tail);
	if (len > space)
		len = space / m->size * m->size;
	if (!len)
		return 0;
	at = head & (m->ring - 1);
	first = len < m->ring - at ? len : m->ring - at;
	memcpy(x->data + at, msgs, first);
	if (first < len)
		memcpy(x->data, msgs + first, len - first);
	vmshm_store_release(x->head, head + len);
	return len / m->size;
}

static __always_inline u32 pull(struct mech *m, int dir, u8 *msgs, u32 n, bool cached)
{
	struct indices *x = (struct indices *)m->data + dir;
	u64 tail = *x->tail, len = n * m->size, at, first;
	u64 head = cached ? x->head_seen : vmshm_load_acquire(x->head);

	if (cached && head - tail < len) {
		head = vmshm_load_acquire(x->head);
		x->head_seen = head;
	}
	if (len > head - tail)
		len = (head - tail) / m->size * m->size;
	if (!len)
		return 0;
	at = tail & (m->ring - 1);
	first = len < m->ring - at ? len : m->ring - at;
	memcpy(msgs, x->data + at, first);
	if (first < len)
		memcpy(msgs + first, x->data, len - first);
	vmshm_store_release(x->tail, tail + len);
	return len / m->size;
}

static __always_inline u32 always_push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	return push(m, dir, msgs, n, false);
}

static __always_inline u32 always_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	return pull(m, dir, msgs, n, false);
}

static __always_inline u32 cached_push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	return push(m, dir, msgs, n, true);
}

static __always_inline u32 cached_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	return pull(m, dir, msgs, n, true);
}

MECH_LOOPS(always_loops, always_push, always_pull);
MECH_LOOPS(cached_loops, cached_push, cached_pull);

const struct mech_variant mech_variants[] = {
	{ "naive", "neither", setup_together, NULL, always_loops },
	{ "padded", "indices 128 bytes apart", setup_apart, NULL, always_loops },
	{ "cached", "the other side's index is kept", setup_together, NULL, cached_loops },
	{ "padded-cached", "both", setup_apart, NULL, cached_loops },
	{ 0 }
};
