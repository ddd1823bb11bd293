// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waiting for bytes or for space: arming the events, looking from beside the
 * locks, what the adaptive busy-poll learns (its loop is in busy_poll.h), and the
 * sleep.  What is done with the bytes is in stream.c.
 *
 * Busy-poll, in the spirit of KVM's halt polling: a wait that the poll ended
 * sets the window to a few times what it took, one that it did not end halves
 * it down to nothing, and a direction whose window is nothing gets a trial now
 * and then, ever more rarely.  A trial is long: a peer that sleeps takes a
 * wake-up to answer, and only when one side stays awake for that long do both
 * get to stay awake.  The poll ends at once when somebody else wants this CPU.
 *
 * A poll that took longer than sleeping waits take is no success either.  Where
 * both VMs share one core of the host, the peer answers as soon as the sleep makes
 * room for it; a poll there may succeed for ever, whenever the host takes the core
 * away from it, and be slower than sleeping.  How long sleeps take is only ever used
 * to end polling, never to begin it.
 */
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include "busy_poll.h"
#include "vmshm.h"

#define SPIN_LEAST_NS	10000
#define SPIN_BACKOFF	512	/* waits between two trials, at the most */
#define SLEEP_MOST_NS	(10 * NSEC_PER_MSEC)

/* Bytes that can be read, a hint; 0 once the ring is closed. */
u64 vmshm_end_readable(struct vmshm_end *end)
{
	unsigned int seq;
	u64 n = 0;

	rcu_read_lock();
	/* Pairs with vmshm_end_number(): cons is whole. */
	if (smp_load_acquire(&end->rx_open)) {
		do {
			seq = read_seqcount_begin(&end->rx_seq);
			n = vmshm_cons_peek(&end->cons);
		} while (read_seqcount_retry(&end->rx_seq, seq));
	}
	rcu_read_unlock();
	return n;
}

/* Bytes that can be read, for certain: taken over under the lock. */
u64 vmshm_end_take_rx(struct vmshm_end *end)
{
	bool followed = false;
	long n = 0;

	spin_lock(&end->rx_lock);
	if (end->rx_open) {
		n = vmshm_cons_avail(&end->cons, end->cons.size + 1);
		/* The peer may have left the next one, too. */
		while (!n && vmshm_rx_follow(end)) {
			followed = true;
			n = vmshm_cons_avail(&end->cons, end->cons.size + 1);
		}
	}
	spin_unlock(&end->rx_lock);
	if (followed)
		vmshm_notify(end, VMSHM_PEND_SPACE);
	return max(n, 0L);
}

/* Bytes that wait to be read, in all rings. */
u64 vmshm_end_inq(struct vmshm_end *end)
{
	u64 n = 0;

	spin_lock(&end->rx_lock);
	if (end->rx_open)
		n = vmshm_rx_unread(end);
	spin_unlock(&end->rx_lock);
	return n;
}

/* Is what can be read all that comes in this ring, and more in another one? */
bool vmshm_end_has_moved(struct vmshm_end *end)
{
	bool moved;

	if (list_empty(&end->rx_next))
		return false;
	spin_lock(&end->rx_lock);
	moved = end->rx_open && vmshm_rx_has_moved(end);
	spin_unlock(&end->rx_lock);
	return moved;
}

/* Bytes that can be written, a hint; 0 once the peer's ring is closed. */
u64 vmshm_end_writable(struct vmshm_end *end)
{
	unsigned int seq;
	u64 n = 0;

	rcu_read_lock();
	/* Pairs with vmshm_end_open(): prod is whole. */
	if (smp_load_acquire(&end->tx_open)) {
		do {
			seq = read_seqcount_begin(&end->tx_seq);
			n = vmshm_prod_peek(&end->prod);
		} while (read_seqcount_retry(&end->tx_seq, seq));
	}
	rcu_read_unlock();
	return n;
}

/* Bytes that were sent and not read yet, as far as the peer says. */
u64 vmshm_end_unread(struct vmshm_end *end)
{
	unsigned int seq;
	u64 n = 0;

	rcu_read_lock();
	/* Pairs with vmshm_end_open(): prod is whole. */
	if (smp_load_acquire(&end->tx_open)) {
		do {
			seq = read_seqcount_begin(&end->tx_seq);
			n = vmshm_tx_unread(end);
		} while (read_seqcount_retry(&end->tx_seq, seq));
	}
	rcu_read_unlock();
	return n;
}

/*
 * This call asked for less than others who sleep do, and need not sleep: nobody
 * will ring for them, so they arm anew.  @why: VMSHM_PEND_DATA or _SPACE.
 */
static void wake_others(struct vmshm_end *end, u32 why)
{
	struct sock *sk;

	rcu_read_lock();
	sk = rcu_dereference(end->sk);
	if (sk && why == VMSHM_PEND_DATA)
		sk->sk_data_ready(sk);
	else if (sk)
		sk->sk_write_space(sk);
	rcu_read_unlock();
	if (end->lane)
		vmshm_lane_wake(end);
}

/*
 * The vector that interrupts this CPU, for the peer to ring: who sleeps here is then
 * woken without the help of another CPU.  1 + its number, 0: there is none.  Of several
 * each end has another one.  With a ring open, so that the device is there.
 */
static u32 vector_here(const struct vmshm_end *end)
{
	const struct vmshm_chan *ch = end->chan;
	unsigned int i, n = READ_ONCE(ch->nr_vectors);
	int cpu = raw_smp_processor_id();

	for (i = 0; i < n; i++) {
		unsigned int vector = (end->id + i) % n;

		if (READ_ONCE(ch->vector_cpu[vector]) == cpu)
			return 1 + vector;
	}
	return 0;
}

static int arm_here(struct vmshm_end *end, u64 lowat)
{
	vmshm_cons_set_vector(&end->cons, vector_here(end));
	return vmshm_cons_arm(&end->cons, clamp_t(u64, lowat, 1, end->cons.size + 1));
}

/*
 * Ask for a doorbell at @lowat readable bytes.  True: don't sleep, look again
 * (they are there, the ring is closed, or the peer lied, which the next copy
 * will find).
 */
bool vmshm_end_arm_rx(struct vmshm_end *end, u64 lowat)
{
	bool followed = false;
	int look = 1;

	spin_lock(&end->rx_lock);
	if (end->rx_open) {
		look = arm_here(end, lowat);
		/*
		 * More than there is does not come in a ring that was left; and the
		 * peer, which may have left several, rang for the last one long ago.
		 */
		while (!look && !list_empty(&end->rx_next)) {
			if (!vmshm_rx_follow(end)) {
				look = vmshm_rx_has_moved(end);
				break;
			}
			followed = true;
			look = arm_here(end, lowat);
		}
	}
	spin_unlock(&end->rx_lock);
	if (followed)
		vmshm_notify(end, VMSHM_PEND_SPACE);
	if (unlikely(look == 2))
		wake_others(end, VMSHM_PEND_DATA);
	return look;
}

/* Ask for a doorbell at @want free bytes; as vmshm_end_arm_rx(). */
bool vmshm_end_arm_tx(struct vmshm_end *end, u64 want)
{
	int look = 1;

	spin_lock(&end->tx_lock);
	if (end->tx_open) {
		vmshm_prod_set_vector(&end->prod, vector_here(end));
		look = vmshm_prod_arm(&end->prod, clamp_t(u64, want, 1, end->prod.size));
	}
	spin_unlock(&end->tx_lock);
	if (unlikely(look == 2))
		wake_others(end, VMSHM_PEND_SPACE);
	return look;
}

/* Reasons not to wait that are no bytes. */
static bool rx_over(struct sock *sk, struct vmshm_end *end)
{
	return !READ_ONCE(end->rx_open) ||
	       READ_ONCE(end->attention) || READ_ONCE(end->peer_shutdown) & SEND_SHUTDOWN ||
	       READ_ONCE(end->reset) || READ_ONCE(vmshm_sk(sk)->rd_shut);
}

static bool tx_over(struct sock *sk, struct vmshm_end *end)
{
	return !READ_ONCE(end->tx_open) ||
	       READ_ONCE(end->attention) || READ_ONCE(end->peer_shutdown) & RCV_SHUTDOWN ||
	       READ_ONCE(end->reset) || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN;
}

struct wait_kind {
	u64 (*peek)(struct vmshm_end *end);
	bool (*over)(struct sock *sk, struct vmshm_end *end);
	bool (*arm)(struct vmshm_end *end, u64 want);
};

static const struct wait_kind for_data = { vmshm_end_readable, rx_over, vmshm_end_arm_rx };
static const struct wait_kind for_space = { vmshm_end_writable, tx_over, vmshm_end_arm_tx };

/* How long to look before sleeping, in ns. */
u32 vmshm_spin_window(struct vmshm_sock *vs, struct vmshm_spin *spin)
{
	int mode = READ_ONCE(vs->busy_poll);

	if (mode != VMSHM_BUSY_POLL_ADAPTIVE)
		return mode * NSEC_PER_USEC;
	if (spin->window_ns)
		return spin->window_ns;
	if (spin->skipped < spin->backoff) {
		spin->skipped++;
		return 0;
	}
	spin->skipped = 0;
	spin->window_ns = READ_ONCE(vmshm_busy_poll_max_us) * NSEC_PER_USEC;
	return spin->window_ns;
}

/* The mean of sleeping waits, quick to fall and slow to rise: idle times are long. */
void vmshm_sleep_learn(struct vmshm_spin *spin, u64 took)
{
	u32 ns = min_t(u64, took, SLEEP_MOST_NS);

	if (!spin->sleep_ns)
		spin->sleep_ns = ns;
	else if (ns < spin->sleep_ns)
		spin->sleep_ns -= (spin->sleep_ns - ns) / 4;
	else
		spin->sleep_ns += (ns - spin->sleep_ns) / 16;
}

/* A look of @took ns was the end of the wait, or not. */
void vmshm_spin_learn(struct vmshm_sock *vs, struct vmshm_spin *spin, u64 took, bool hit)
{
	if (READ_ONCE(vs->busy_poll) != VMSHM_BUSY_POLL_ADAPTIVE)
		return;
	if (hit && spin->sleep_ns && took > spin->sleep_ns)
		hit = false;
	if (hit) {
		spin->backoff = 0;
		spin->window_ns = clamp_t(u64, 4 * took, 2 * SPIN_LEAST_NS,
					  READ_ONCE(vmshm_busy_poll_max_us) * NSEC_PER_USEC);
		return;
	}
	spin->window_ns /= 2;
	if (spin->window_ns < SPIN_LEAST_NS) {
		spin->window_ns = 0;
		spin->backoff = clamp_t(u32, spin->backoff * 2, 1, SPIN_BACKOFF);
	}
}

struct ring_look {
	struct sock *sk;
	struct vmshm_end *end;
	const struct wait_kind *kind;
	u64 want;
};

static __always_inline bool ring_over(void *arg)
{
	struct ring_look *look = arg;

	return look->kind->peek(look->end) >= look->want || look->kind->over(look->sk, look->end);
}

/*
 * Who is awake goes on at @enough bytes, who sleeps is woken at @want.  Returns 0
 * when it is worth looking again, or a negative errno.  Inline, as the poll is, so
 * that what @kind names is called directly: a look is that and hardly more.
 */
static __always_inline long ring_wait(struct sock *sk, struct vmshm_end *end, u64 enough, u64 want,
				      long *timeo, const struct wait_kind *kind,
				      struct vmshm_spin *spin, struct vmshm_stats *stats)
{
	struct ring_look look = { .sk = sk, .end = end, .kind = kind, .want = enough };
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	unsigned long start = jiffies;
	long err = 0;
	u64 slept;

	if (!*timeo)
		return -EAGAIN;
	/* A peer that has us look again and again holds up nobody but us. */
	if (signal_pending(current))
		return sock_intr_errno(*timeo);
	cond_resched();
	if (vmshm_busy_poll(vmshm_sk(sk), spin, ring_over, &look, stats)) {
		if (*timeo != MAX_SCHEDULE_TIMEOUT)
			*timeo -= min_t(unsigned long, *timeo, jiffies - start);
		return 0;
	}

	stats->sleeps++;
	slept = local_clock();
	add_wait_queue(sk_sleep(sk), &wait);
	for (;;) {
		/*
		 * Arm in every turn, and look after it: whatever changes from
		 * here on rings, and the ring finds us in the queue.
		 */
		if (kind->arm(end, want) || kind->over(sk, end))
			break;
		if (signal_pending(current)) {
			err = sock_intr_errno(*timeo);
			break;
		}
		if (!*timeo) {
			err = -EAGAIN;
			break;
		}
		*timeo = wait_woken(&wait, TASK_INTERRUPTIBLE, *timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait);
	vmshm_sleep_learn(spin, local_clock() - slept);
	return err;
}

/**
 * vmshm_wait_rx - wait for @want readable bytes, or for a reason not to
 * @sk: the socket; not locked
 * @end: its end
 * @want: bytes, at most the ring's size
 * @timeo: jiffies left, brought up to date
 *
 * Returns 0 (look again), -EAGAIN, -EINTR or -ERESTARTSYS.  Sleeps.
 */
long vmshm_wait_rx(struct sock *sk, struct vmshm_end *end, u64 want, long *timeo)
{
	vmshm_turn_leave(&end->rx_in_turn);
	return ring_wait(sk, end, want, want, timeo, &for_data, &end->rx_spin, &end->rx_stats);
}

/*
 * The same for @enough bytes of space in the peer's ring; who sleeps is let lie
 * until there are @want, or the two sides wake each other for every copy.
 */
long vmshm_wait_tx(struct sock *sk, struct vmshm_end *end, u64 enough, u64 want, long *timeo)
{
	end->tx_stats.ring_full++;
	vmshm_turn_leave(&end->tx_in_turn);
	return ring_wait(sk, end, enough, want, timeo, &for_space, &end->tx_spin, &end->tx_stats);
}
