/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What every program here shares: two pinned threads, the loops that drive a
 * way of passing messages, and what is measured of them. A program brings
 * push() and pull(); the loops are inlined around them, so that no call stands
 * between what is compared.
 *
 * A message carries its number in its first eight bytes, which the other side
 * checks. It is copied in from a private buffer and copied out to another, by
 * every program alike: what differs is what is between.
 */
#ifndef MECH_H
#define MECH_H

#include <emmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sys/cdefs.h>

#include <vmshm/ring.h>

#ifndef __aligned
#define __aligned(n) __attribute__((aligned(n)))
#endif

#define MECH_LINE	128	/* two cache lines: the prefetcher takes them in pairs */
#define MECH_MAX_BURST	256
#define MECH_BUFFERS	(256 << 10)	/* bytes each side's private messages take at least */
#define MECH_RTTS	(1 << 20)	/* round trips that are kept, at most */

/* One side's private memory and counts; on cache lines of its own. */
struct mech_side {
	u64 done;		/* messages; written by its thread, read by main */
	u64 next;		/* number of the next message */
	u8 *buffers;
	size_t slots;		/* messages that fit into buffers */
	size_t slot;
	double cpu;		/* seconds of processor time its thread used */
	int core;
} __aligned(MECH_LINE);

struct mech {
	/* Told by the command line. */
	size_t size;		/* bytes of a message, 8 or more */
	unsigned int burst;	/* messages a publication */
	size_t ring;		/* bytes of a ring's data area, a power of two */
	unsigned int connections;
	bool huge;		/* mech_memory() asks for huge pages */
	bool rtt;		/* round trips, not throughput */
	const char *variant;
	/* Used while it runs. */
	bool stop;
	bool failed;
	struct mech_side side[2];	/* producer or ping, consumer or pong */
	uint32_t *rtts;			/* in steps of the time stamp counter */
	u64 rtt_count;
	void *data;			/* the program's own */
};

enum mech_role { MECH_PRODUCER, MECH_CONSUMER, MECH_PING, MECH_PONG };

/* Runs one thread's loop until it is over. */
typedef void (*mech_loop)(struct mech *m, enum mech_role role);

struct mech_variant {
	const char *name, *what;
	void (*setup)(struct mech *m);
	void (*wake)(struct mech *m);	/* ends waiting after stop was set; may be null */
	mech_loop loop;
};

/* A program defines these two; the last variant has no name. */
extern const char *const mech_doc;
extern const struct mech_variant mech_variants[];

/* Zeroed memory, in huge pages if m->huge and the system has them; never freed. */
void *mech_memory(const struct mech *m, size_t bytes);
/* One line on standard error, exit status 1. */
void __attribute__((noreturn, format(printf, 1, 2))) mech_die(const char *format, ...);

static inline u64 mech_ticks(void)
{
	return __builtin_ia32_rdtsc();
}

static inline bool mech_stopped(const struct mech *m)
{
	return __atomic_load_n(&m->stop, __ATOMIC_RELAXED);
}

/* The next burst of private messages, which lie side by side. */
static inline u8 *mech_buffers(struct mech *m, struct mech_side *s)
{
	u8 *at = s->buffers + s->slot * m->size;

	s->slot += m->burst;
	if (s->slot + m->burst > s->slots)
		s->slot = 0;
	return at;
}

static inline void mech_number(struct mech *m, struct mech_side *s, u8 *msgs, u32 n)
{
	for (unsigned int i = 0; i < n; i++) {
		u64 number = s->next + i;

		memcpy(msgs + i * m->size, &number, sizeof(number));
	}
}

static inline void mech_check(struct mech *m, struct mech_side *s, const u8 *msgs, u32 n)
{
	for (unsigned int i = 0; i < n; i++) {
		u64 number;

		memcpy(&number, msgs + i * m->size, sizeof(number));
		if (__builtin_expect(number != s->next, 0)) {
			__atomic_store_n(&m->failed, true, __ATOMIC_RELAXED);
			__atomic_store_n(&m->stop, true, __ATOMIC_RELAXED);
			return;
		}
		s->next++;
	}
}

/*
 * Up to n messages into, or out of, direction 0 or 1; returns how many went.
 * Direction 1 is only used by round trips.
 */
typedef unsigned int (*mech_push)(struct mech *m, int dir, const u8 *msgs, u32 n);
typedef unsigned int (*mech_pull)(struct mech *m, int dir, u8 *msgs, u32 n);

static __always_inline void mech_producer(struct mech *m, mech_push push)
{
	struct mech_side *s = &m->side[0];

	while (!mech_stopped(m)) {
		u8 *msgs = mech_buffers(m, s);
		unsigned int left = m->burst;

		mech_number(m, s, msgs, left);
		while (left) {
			unsigned int n = push(m, 0, msgs, left);

			if (!n) {
				if (mech_stopped(m))
					return;
				_mm_pause();
			}
			msgs += n * m->size;
			left -= n;
		}
		s->next += m->burst;
	}
}

static __always_inline void mech_consumer(struct mech *m, mech_pull pull)
{
	struct mech_side *s = &m->side[1];

	while (!mech_stopped(m)) {
		u8 *msgs = mech_buffers(m, s);
		unsigned int n = pull(m, 0, msgs, m->burst);

		if (!n) {
			_mm_pause();
			continue;
		}
		mech_check(m, s, msgs, n);
		__atomic_store_n(&s->done, s->next, __ATOMIC_RELAXED);
	}
}

/* False when it is over. */
static __always_inline bool mech_push_one(struct mech *m, mech_push push, int dir, const u8 *msg)
{
	while (!push(m, dir, msg, 1)) {
		if (mech_stopped(m))
			return false;
		_mm_pause();
	}
	return true;
}

static __always_inline bool mech_pull_one(struct mech *m, mech_pull pull, int dir, u8 *msg)
{
	while (!pull(m, dir, msg, 1)) {
		if (mech_stopped(m))
			return false;
		_mm_pause();
	}
	return true;
}

static __always_inline void mech_ping(struct mech *m, mech_push push, mech_pull pull)
{
	struct mech_side *s = &m->side[0];

	while (!mech_stopped(m)) {
		u8 *msg = mech_buffers(m, s);
		u64 start, took;

		mech_number(m, s, msg, 1);
		start = mech_ticks();
		if (!mech_push_one(m, push, 0, msg) || !mech_pull_one(m, pull, 1, msg))
			return;
		took = mech_ticks() - start;
		mech_check(m, s, msg, 1);
		m->rtts[m->rtt_count++ % MECH_RTTS] = took > UINT32_MAX ? UINT32_MAX : took;
		__atomic_store_n(&s->done, s->next, __ATOMIC_RELAXED);
	}
}

static __always_inline void mech_pong(struct mech *m, mech_push push, mech_pull pull)
{
	struct mech_side *s = &m->side[1];

	while (!mech_stopped(m)) {
		u8 *msg = mech_buffers(m, s);

		if (!mech_pull_one(m, pull, 0, msg))
			return;
		mech_check(m, s, msg, 1);
		if (!mech_push_one(m, push, 1, msg))
			return;
	}
}

static __always_inline void mech_run(struct mech *m, enum mech_role role, mech_push push,
				     mech_pull pull)
{
	switch (role) {
	case MECH_PRODUCER:
		mech_producer(m, push);
		break;
	case MECH_CONSUMER:
		mech_consumer(m, pull);
		break;
	case MECH_PING:
		mech_ping(m, push, pull);
		break;
	case MECH_PONG:
		mech_pong(m, push, pull);
		break;
	}
}

/* The loops around a push() and a pull(), as the mech_loop NAME. */
#define MECH_LOOPS(name, push, pull)				\
static void name(struct mech *m, enum mech_role role)		\
{								\
	mech_run(m, role, push, pull);				\
}								\
struct mech

#endif
