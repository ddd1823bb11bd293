// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a side does that finds the ring empty or full: "poll" looks again at
 * once, for ever, as a DPDK program does; "sleep" arms the ring's event and
 * sleeps on an eventfd, which the other side writes when it crosses the event;
 * "both" looks for 50 microseconds first. An eventfd stands for the doorbell.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vmshm.h"

#define LOOK_US	50

const char *const mech_doc = "Messages through AF_VMSHM's ring, waiting by polling or by sleeping.";

static enum { POLL, SLEEP, BOTH } how;

static int bells[2][2];	/* direction; 0 wakes its producer, 1 its consumer */
static u64 look_ticks;

static void setup(struct mech *m)
{
	struct timespec t = { 0, 10000000 };
	u64 start;

	mech_vmshm_setup(m);
	for (int i = 0; i < 4; i++) {
		bells[i / 2][i % 2] = eventfd(0, EFD_CLOEXEC);
		if (bells[i / 2][i % 2] < 0)
			mech_die("eventfd: %s", strerror(errno));
	}
	start = mech_ticks();
	nanosleep(&t, NULL);
	look_ticks = (mech_ticks() - start) / 10000 * LOOK_US;
}

static void ring_bell(int fd)
{
	u64 one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		mech_die("eventfd: %s", strerror(errno));
}

static void wake(struct mech *m)
{
	(void)m;
	for (int i = 0; i < 4; i++)
		ring_bell(bells[i / 2][i % 2]);
}

static void sleep_on(struct mech *m, int fd)
{
	u64 count;

	if (!mech_stopped(m) && read(fd, &count, sizeof(count)) != sizeof(count))
		mech_die("eventfd: %s", strerror(errno));
}

/* Something may have come; the caller looks again. */
static __always_inline void wait_space(struct mech *m, int dir, struct vmshm_prod *p)
{
	u64 end = mech_ticks() + look_ticks;

	if (how == POLL)
		return;
	while (how == BOTH && mech_ticks() < end) {
		if (vmshm_prod_peek(p) >= m->size)
			return;
		_mm_pause();
	}
	if (!vmshm_prod_arm(p, m->size))
		sleep_on(m, bells[dir][0]);
}

static __always_inline void wait_data(struct mech *m, int dir, struct vmshm_cons *c)
{
	u64 end = mech_ticks() + look_ticks;

	if (how == POLL)
		return;
	while (how == BOTH && mech_ticks() < end) {
		if (vmshm_cons_peek(c) >= m->size)
			return;
		_mm_pause();
	}
	if (!vmshm_cons_arm(c, m->size))
		sleep_on(m, bells[dir][1]);
}

static __always_inline u32 push(struct mech *m, int dir, const u8 *msgs, u32 n)
{
	struct vmshm_prod *p = &((struct mech_vmshm *)m->data)[dir].prod;
	u64 len = mech_vmshm_fill(m, p, msgs, n, mech_memcpy);

	if (!len)
		wait_space(m, dir, p);
	else if (vmshm_prod_publish(p, len))
		ring_bell(bells[dir][1]);
	return len / m->size;
}

static __always_inline u32 pull(struct mech *m, int dir, u8 *msgs, u32 n)
{
	struct vmshm_cons *c = &((struct mech_vmshm *)m->data)[dir].cons;
	u64 len = mech_vmshm_drain(m, c, msgs, n, mech_memcpy);

	if (!len)
		wait_data(m, dir, c);
	else if (vmshm_cons_consume(c, len))
		ring_bell(bells[dir][0]);
	return len / m->size;
}

static void setup_poll(struct mech *m)
{
	how = POLL;
	setup(m);
}

static void setup_sleep(struct mech *m)
{
	how = SLEEP;
	setup(m);
}

static void setup_both(struct mech *m)
{
	how = BOTH;
	setup(m);
}

MECH_LOOPS(loop, push, pull);

const struct mech_variant mech_variants[] = {
	{ "poll", "looks again at once", setup_poll, wake, loop },
	{ "sleep", "arms the event and sleeps", setup_sleep, wake, loop },
	{ "both", "looks for 50 us, then sleeps", setup_both, wake, loop },
	{ 0 }
};
