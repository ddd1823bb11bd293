/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the ring tests share: TAP output, a ring in a memfd between pages that
 * can't be touched, a doorbell, a keyed byte sequence, and two sides that run
 * as two threads or as two processes.
 *
 * Not here: anything about the ring itself; the tests use <vmshm/ring.h> as
 * the module does.
 */
#ifndef RT_H
#define RT_H

#include <vmshm/ring.h>

#include <stdio.h>

#define __printf(a, b) __attribute__((format(printf, a, b)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- sizes of runs ---- */

/*
 * @rounds, scaled by the environment variable RING_SCALE (a decimal fraction,
 * default 1) and divided where a sanitizer makes each round dear; 1 at least.
 */
u64 rt_rounds(u64 rounds);

/*
 * Where a case ends before it did all its rounds: on a machine that is busy with
 * other things too, spinning in turns takes as long as the scheduler likes. One
 * side decides, by lowering the count that both look at.
 */
struct rt_budget {
	double end;
	unsigned int turns;
};

/* @seconds of a quiet machine's time, scaled by RING_SCALE. */
struct rt_budget rt_budget(double seconds);
/* To be asked in each round. */
bool rt_spent(struct rt_budget *b);

/* ---- TAP, version 13 ---- */

/* First of all: the head, and the seed, from the environment's RING_SEED or the clock. */
void tap_start(void);
__printf(2, 3)
bool tap_ok(bool ok, const char *fmt, ...);
__printf(1, 2)
void tap_diag(const char *fmt, ...);
__printf(2, 3)
void tap_skip(const char *why, const char *fmt, ...);
/* Print the plan; what main() returns: 0 when every test passed. */
int tap_done(void);

/* ---- numbers ---- */

struct rt_rng {
	u64 s;
};

/* Seeded by tap_start()'s seed and @salt. */
struct rt_rng rt_rng(u64 salt);
u64 rt_rand(struct rt_rng *r);
/* 0 to @below - 1 */
u64 rt_below(struct rt_rng *r, u64 below);

/*
 * The byte at position @pos of the sequence @key depends on both in full, so a
 * lost, repeated or misplaced byte shows.
 */
void rt_fill(u8 *buf, u64 len, u64 key, u64 pos);
/* The position of the first wrong byte, or ~0. */
u64 rt_verify(const u8 *buf, u64 len, u64 key, u64 pos);

double rt_now(void);	/* seconds, monotonic */
void rt_relax(unsigned int *spins);	/* in a loop that waits: pause, then yield */

/* ---- doorbells ---- */

enum rt_bell_kind {
	RT_SPIN,	/* the sleeper looks at a word: millions of rounds a second */
	RT_FUTEX,	/* the sleeper sleeps */
	RT_EVENTFD,	/* the sleeper sleeps, as behind an ivshmem server */
};

/* Lies in shared memory; one side rings, the other sleeps. */
struct rt_bell {
	u32 seq;	/* counts what was rung */
	u32 kind;
	int efd;
	u8 pad[VMSHM_LINE - 12];
};

void rt_bell_init(struct rt_bell *b, enum rt_bell_kind kind);
void rt_bell_fini(struct rt_bell *b);
void rt_bell_ring(struct rt_bell *b);
u32 rt_bell_seen(const struct rt_bell *b);
/* Sleep until the bell was rung after @seen was taken; 0 or -ETIMEDOUT. */
int rt_bell_wait(struct rt_bell *b, u32 seen, double seconds);

/* How long a sleeper sleeps before it looks whether a wake-up was lost. */
#define RT_SUSPECT	2.0	/* s */
#define RT_LOST		8.0	/* s more until it is called lost */

/* ---- rings ---- */

struct rt_ring {
	int fd;
	u32 order;
	void *map;	/* with the guard pages */
	u64 map_len;
	struct vmshm_ring_hdr *hdr;
};

/* A new ring in a new memfd; exits when there is no memory. */
void rt_ring_new(struct rt_ring *r, u32 order);
/* The same ring, mapped a second time elsewhere. */
void rt_ring_again(struct rt_ring *again, const struct rt_ring *r);
void rt_ring_free(struct rt_ring *r);
/* As if @at bytes had gone through it already. */
void rt_ring_start(struct rt_ring *r, struct vmshm_prod *p, struct vmshm_cons *c, u64 at);

/* Shared between threads and processes, zeroed. */
void *rt_shared(size_t len);

/* ---- two sides ---- */

enum rt_mode { RT_THREADS, RT_PROCESSES };
extern const char *const rt_mode_name[];

typedef void (*rt_side)(void *arg);

/*
 * Run @a here and @b in a thread or a process, and wait for both.  False when
 * @b died.  The watchdog ends the program after @seconds with a failed test.
 */
bool rt_pair(enum rt_mode mode, rt_side a, rt_side b, void *arg, double seconds);

/* A failure of either side: the first message is kept; the others stop. */
struct rt_fail {
	u32 failed;
	char what[200];
};

__printf(2, 3)
void rt_fail(struct rt_fail *f, const char *fmt, ...);
static inline bool rt_failed(const struct rt_fail *f)
{
	return vmshm_load(&f->failed);
}

#endif /* RT_H */
