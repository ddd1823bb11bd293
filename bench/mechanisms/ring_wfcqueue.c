// SPDX-License-Identifier: GPL-2.0-only
/*
 * liburcu's wfcqueue: a linked list of messages, as Linux programs pass them
 * when they have no ring. Nodes come from a pool as large as the others' ring
 * and go back through a second queue of the same kind. "node" takes and gives
 * them one by one; "splice" takes all that there is at once, the way this queue
 * is meant to be used.
 */
#define _LGPL_SOURCE
#include <urcu/wfcqueue.h>

#include "mech.h"

const char *const mech_doc = "Messages through liburcu's wfcqueue.";

struct queue {
	struct cds_wfcq_head head __aligned(MECH_LINE);
	struct cds_wfcq_tail tail __aligned(MECH_LINE);
	/* The dequeuing side's own: what it has spliced off and not yet used. */
	struct cds_wfcq_head mine_head __aligned(MECH_LINE);
	struct cds_wfcq_tail mine_tail;
};

struct node {
	struct cds_wfcq_node link;
	u8 message[] __aligned(16);
};

struct direction {
	struct queue full, empty;
};

static void queue_init(struct queue *q)
{
	cds_wfcq_init(&q->head, &q->tail);
	cds_wfcq_init(&q->mine_head, &q->mine_tail);
}

static void setup(struct mech *m)
{
	struct direction *d = mech_memory(m, 2 * sizeof(*d));
	size_t bytes = (sizeof(struct node) + m->size + 63) & ~63UL;
	size_t count = m->ring / m->size;

	for (int i = 0; i < 2; i++) {
		u8 *pool = mech_memory(m, count * bytes);

		queue_init(&d[i].full);
		queue_init(&d[i].empty);
		for (size_t j = 0; j < count; j++) {
			struct node *node = (struct node *)(pool + j * bytes);

			cds_wfcq_node_init(&node->link);
			cds_wfcq_enqueue(&d[i].empty.head, &d[i].empty.tail, &node->link);
		}
	}
	m->data = d;
}

static __always_inline struct node *take(struct queue *q, bool splice)
{
	struct cds_wfcq_node *link;

	if (!splice) {
		link = __cds_wfcq_dequeue_nonblocking(&q->head, &q->tail);
		return !link || link == CDS_WFCQ_WOULDBLOCK ? NULL : (struct node *)link;
	}
	link = __cds_wfcq_dequeue_nonblocking(&q->mine_head, &q->mine_tail);
	if (!link) {
		__cds_wfcq_splice_nonblocking(&q->mine_head, &q->mine_tail, &q->head, &q->tail);
		link = __cds_wfcq_dequeue_nonblocking(&q->mine_head, &q->mine_tail);
	}
	return !link || link == CDS_WFCQ_WOULDBLOCK ? NULL : (struct node *)link;
}

static __always_inline void give(struct queue *q, struct node *node)
{
	cds_wfcq_node_init(&node->link);
	cds_wfcq_enqueue(&q->head, &q->tail, &node->link);
}

static __always_inline u32 push(struct mech *m, int dir, const u8 *msgs, u32 n, bool splice)
{
	struct direction *d = (struct direction *)m->data + dir;

	for (unsigned int i = 0; i < n; i++) {
		struct node *node = take(&d->empty, splice);

		if (!node)
			return i;
		memcpy(node->message, msgs + i * m->size, m->size);
		give(&d->full, node);
	}
	return n;
}

static __always_inline u32 pull(struct mech *m, int dir, u8 *msgs, u32 n, bool splice)
{
	struct direction *d = (struct direction *)m->data + dir;

	for (unsigned int i = 0; i < n; i++) {
		struct node *node = take(&d->full, splice);

		if (!node)
			return i;
		memcpy(msgs + i * m->size, node->message, m->size);
		give(&d->empty, node);
	}
	return n;
}

static __always_inline u32 node_push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	return push(m, dir, msgs, n, false);
}

static __always_inline u32 node_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	return pull(m, dir, msgs, n, false);
}

static __always_inline u32 splice_push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	return push(m, dir, msgs, n, true);
}

static __always_inline u32 splice_pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	return pull(m, dir, msgs, n, true);
}

MECH_LOOPS(node_loops, node_push, node_pull);
MECH_LOOPS(splice_loops, splice_push, splice_pull);

const struct mech_variant mech_variants[] = {
	{ "splice", "takes all that is there at once", setup, NULL, splice_loops },
	{ "node", "takes one by one", setup, NULL, node_loops },
	{ 0 }
};
