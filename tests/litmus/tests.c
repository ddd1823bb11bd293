// SPDX-License-Identifier: GPL-2.0-only
/*
 * The litmus tests themselves, with the functions of <vmshm/ring.h> as the guest's
 * kernel compiles them. Side 0 runs in one VM, side 1 in another; they go in
 * lockstep, by polling alone.
 *
 *   data	store buffering: publish (E) against cons_arm (G)
 *   space	store buffering: consume (F) against prod_arm (H)
 *   room	store buffering: room_wanted (O) against want_room (N)
 *   mp		message passing: bytes, then the index (A, B), and the index
 *		back before the bytes are overwritten (C, D)
 *   coherence	a word's values arrive in order, and whole
 *
 * Read-modify-write is no test here: a uniprocessor guest patches the LOCK prefix
 * out of it, and ring.h uses none.
 */
#include "litmus.h"

#ifdef LITMUS_CONTROL
#include <vmshm/port.h>
#undef vmshm_mb
#define vmshm_mb() barrier()
#define litmus_run litmus_run_control
#endif

#include <vmshm/ring.h>

#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>

static u32 litmus_rand(struct litmus *l, u32 below)
{
	l->rng ^= l->rng << 13;
	l->rng ^= l->rng >> 7;
	l->rng ^= l->rng << 17;
	return (u32)(l->rng >> 20) % below;
}

/* Now and then in every loop that waits: is it still worth while? */
static int litmus_patience(struct litmus *l, u32 *turns)
{
	if (++*turns % 1024)
		return 0;
	cond_resched();
	if (signal_pending(current))
		return -EINTR;
	return ktime_get_ns() > l->deadline ? -ETIMEDOUT : 0;
}

/* Both sides leave at once; the first one to come waits. */
static int litmus_meet(struct litmus *l, u64 round)
{
	const u64 *theirs = &l->area->round[!l->side].v;
	u32 turns = 0;
	int err;

	vmshm_store_release(&l->area->round[l->side].v, round);
	while (vmshm_load_acquire(theirs) < round) {
		err = litmus_patience(l, &turns);
		if (err)
			return err;
	}
	return 0;
}

/* Agree on the run: what is used has been reset before either begins. */
static int litmus_hello(struct litmus *l)
{
	const u64 *theirs = &l->area->hello[!l->side].v;
	u32 turns = 0;
	int err;

	vmshm_store(&l->area->round[l->side].v, 0);
	vmshm_word_publish(&l->area->hello[l->side].v, l->session);
	while (vmshm_word_read(theirs) != l->session) {
		err = litmus_patience(l, &turns);
		if (err)
			return err;
	}
	return 0;
}

/* Apart by a little, and with stores under way that take their time. */
static void litmus_stir(struct litmus *l, u64 round)
{
	u32 turns = litmus_rand(l, l->spread);
	int i;

	if (l->side)
		turns += round / 512 % 16 * l->spread / 16;
	while (turns--)
		barrier();
	for (i = 0; i < 4; i++)
		vmshm_store(&l->area->dirt[4 * l->side + i].v, round);
}

enum litmus_place { LITMUS_DATA, LITMUS_SPACE, LITMUS_ROOM };

/* Side 0 publishes, gives back or makes room, and looks whether to ring. */
static int litmus_actor(struct litmus *l, enum litmus_place place)
{
	struct litmus_area *area = l->area;
	struct vmshm_queue q;
	struct vmshm_prod p;
	struct vmshm_cons c;
	int err = 0;

	vmshm_prod_init(&p, &area->ring, LITMUS_RING_ORDER);
	vmshm_cons_init(&c, &area->ring, LITMUS_RING_ORDER);
	vmshm_queue_init(&q, (u32 *)&area->q_cons.v, (u32 *)&area->q_prod.v, 8);
	vmshm_ring_init(&area->ring, LITMUS_RING_ORDER, 0, 0);
	vmshm_store(&area->q_cons.v, 0);
	if (place == LITMUS_SPACE)
		vmshm_store(&area->ring.prod, p.size);	/* full from the start */
	err = litmus_hello(l);
	for (; !err && l->done < l->rounds; l->done++) {
		bool told;

		if (place == LITMUS_DATA)
			(void)vmshm_load(&area->ring.data_event);
		else if (place == LITMUS_SPACE)
			(void)vmshm_load(&area->ring.space_event);
		else
			(void)vmshm_load(&area->wanted.v);
		err = litmus_meet(l, 2 * l->done + 1);
		if (err)
			break;
		litmus_stir(l, l->done);
		if (place == LITMUS_DATA) {
			told = vmshm_prod_publish(&p, 1);
		} else if (place == LITMUS_SPACE) {
			told = vmshm_cons_consume(&c, 1);
		} else {
			vmshm_queue_advance(&q);
			told = vmshm_room_wanted((u32 *)&area->wanted.v);
		}
		vmshm_store(&area->told.v, told);
		err = litmus_meet(l, 2 * l->done + 2);
	}
	return err;
}

/* Side 1 arms and looks. Forbidden: not rung, and nothing seen. */
static int litmus_sleeper(struct litmus *l, enum litmus_place place)
{
	struct litmus_area *area = l->area;
	struct vmshm_queue q;
	struct vmshm_prod p;
	struct vmshm_cons c;
	int err;

	vmshm_prod_init(&p, &area->ring, LITMUS_RING_ORDER);
	vmshm_cons_init(&c, &area->ring, LITMUS_RING_ORDER);
	vmshm_queue_init(&q, (u32 *)&area->q_prod.v, (u32 *)&area->q_cons.v, 8);
	vmshm_store(&area->wanted.v, 0);
	if (place == LITMUS_SPACE)
		p.prod = p.size;
	err = litmus_hello(l);
	for (; !err && l->done < l->rounds; l->done++) {
		bool told;
		int saw;

		if (place == LITMUS_DATA) {
			(void)vmshm_load(&area->ring.prod);
		} else if (place == LITMUS_SPACE) {
			(void)vmshm_load(&area->ring.cons);
		} else {
			vmshm_want_room((u32 *)&area->wanted.v, 0);
			(void)vmshm_load(&area->q_cons.v);
		}
		err = litmus_meet(l, 2 * l->done + 1);
		if (err)
			break;
		litmus_stir(l, l->done);
		if (place == LITMUS_DATA) {
			saw = vmshm_cons_arm(&c, 1);
		} else if (place == LITMUS_SPACE) {
			saw = vmshm_prod_arm(&p, 1);
		} else {
			vmshm_want_room((u32 *)&area->wanted.v, 1);
			saw = vmshm_load_acquire(q.theirs) == (u32)(l->done + 1);
		}
		err = litmus_meet(l, 2 * l->done + 2);
		if (err)
			break;
		told = vmshm_load(&area->told.v);
		l->forbidden += saw < 0 || (!told && !saw);
		l->rang += told;
		l->saw += saw > 0;
		/* Take it in silence, so that the next round begins the same way. */
		if (place == LITMUS_DATA) {
			l->forbidden += vmshm_cons_avail(&c, 1) != 1;
			c.cons++;
		} else if (place == LITMUS_SPACE) {
			l->forbidden += vmshm_prod_space(&p, 1) != 1;
			p.prod++;
		}
	}
	return err;
}

static int litmus_sb(struct litmus *l, enum litmus_place place)
{
	return l->side ? litmus_sleeper(l, place) : litmus_actor(l, place);
}

/* The byte at a place in the stream: 251 is prime, so no two laps look the same. */
static u8 litmus_byte(u64 at)
{
	return (u8)(at % 251);
}

static u64 litmus_bytes(struct litmus *l, struct vmshm_span *span, int n, u64 at)
{
	u64 from = at;
	u32 j;
	int i;

	for (i = 0; i < n; i++)
		for (j = 0; j < span[i].len; j++, at++)
			if (l->side)
				l->forbidden += span[i].base[j] != litmus_byte(at);
			else
				span[i].base[j] = litmus_byte(at);
	return at - from;
}

/*
 * Side 0 sends messages and FIN, side 1 checks each byte. A byte that is older
 * than its index (A, B), or newer than the index that gave it back (C, D), is
 * wrong; so is an end that comes before the last byte.
 */
static int litmus_mp_sender(struct litmus *l)
{
	struct litmus_area *area = l->area;
	struct vmshm_span span[2];
	struct vmshm_prod p;
	u32 turns = 0;
	int err;

	vmshm_prod_init(&p, &area->ring, LITMUS_RING_ORDER);
	vmshm_ring_init(&area->ring, LITMUS_RING_ORDER, 0, 0);
	err = litmus_hello(l);
	while (!err && l->done < l->rounds) {
		u32 len = 1 + litmus_rand(l, litmus_rand(l, 8) ? 16 : 256);
		long space = vmshm_prod_space(&p, len);

		err = litmus_patience(l, &turns);
		if (space < 0) {
			l->forbidden++;
			break;
		}
		if (space < len)
			continue;
		litmus_bytes(l, span, vmshm_prod_spans(&p, len, span), p.prod);
		vmshm_prod_publish(&p, len);
		l->done++;
	}
	vmshm_store(&area->value[0].v, p.prod);
	vmshm_prod_set_flags(&p, VMSHM_RING_FIN);
	return err;
}

static int litmus_mp_receiver(struct litmus *l)
{
	struct litmus_area *area = l->area;
	struct vmshm_span span[2];
	struct vmshm_cons c;
	u32 turns = 0;
	int err;

	vmshm_cons_init(&c, &area->ring, LITMUS_RING_ORDER);
	err = litmus_hello(l);
	while (!err) {
		u32 flags = vmshm_cons_peer_flags(&c);
		long avail = vmshm_cons_avail(&c, c.size);

		err = litmus_patience(l, &turns);
		if (avail < 0) {
			l->forbidden++;
			break;
		}
		if (!avail && flags & VMSHM_RING_FIN)
			break;
		if (!avail)
			continue;
		litmus_bytes(l, span, vmshm_cons_spans(&c, 0, avail, span), c.cons);
		vmshm_cons_consume(&c, avail);
		l->done++;
	}
	if (!err)
		l->forbidden += c.cons != vmshm_load(&area->value[0].v);
	return err;
}

/* Each side counts up its word, in both halves of it, and watches the other's. */
static int litmus_coherence(struct litmus *l)
{
	const u64 *theirs = &l->area->value[!l->side].v;
	u64 *mine = &l->area->value[l->side].v;
	u64 next = 0, last = 0;
	u32 turns = 0;
	int err, i;

	vmshm_store(mine, 0);
	err = litmus_hello(l);
	while (!err && (next < l->rounds || l->done < l->rounds)) {
		if (next < l->rounds) {
			next++;
			vmshm_store(mine, next << 32 | next);
		}
		for (i = 0; i < 2; i++) {
			u64 now = vmshm_load(theirs);

			l->forbidden += now < last || (u32)now != now >> 32;
			l->saw += now != last;
			last = now;
		}
		l->done = (u32)last;
		err = litmus_patience(l, &turns);
	}
	return err;
}

int litmus_run(struct litmus *l, const char *test)
{
	if (!strcmp(test, "data"))
		return litmus_sb(l, LITMUS_DATA);
	if (!strcmp(test, "space"))
		return litmus_sb(l, LITMUS_SPACE);
	if (!strcmp(test, "room"))
		return litmus_sb(l, LITMUS_ROOM);
	if (!strcmp(test, "mp"))
		return l->side ? litmus_mp_receiver(l) : litmus_mp_sender(l);
	if (!strcmp(test, "coherence"))
		return litmus_coherence(l);
	return -EINVAL;
}
