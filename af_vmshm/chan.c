// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels: which peers there are, the handshake of epochs, what happens when a
 * peer comes, goes or starts anew, and the worker that minds all this.  What the
 * control messages mean is in ctl.c; how the memory got here is in the buses.
 *
 * The handshake (docs/ABI.md): each side publishes an epoch; each echoes the
 * other's once nothing of an older one is in use.  Up means: the peer is there,
 * I echoed its epoch, it echoed mine.  Whoever breaks off for a reason of its
 * own draws a new epoch; whoever sees the peer's new epoch does not, or the two
 * would never agree.
 */
#include <linux/random.h>
#include <linux/sched/clock.h>
#include "vmshm.h"

#define HELLO_FIRST_MS	10	/* then twice as long each time, */
#define HELLO_LAST_MS	1000	/* up to this */
#define RUN_NS		(NSEC_PER_SEC / HZ / 2)	/* of the worker, in a tick */
/* What this module can do. */
#define FEATURES	(VMSHM_F_STREAM | VMSHM_F_SEQPACKET | VMSHM_F_DGRAM | VMSHM_F_GROW)

LIST_HEAD(vmshm_chans);
DEFINE_MUTEX(vmshm_chans_mutex);	/* writers of vmshm_chans; readers: RCU */

/* What the daemon says of the peer; odd: its QEMU is connected. */
static u64 presence(struct vmshm_chan *ch)
{
	return ch->presence ? vmshm_word_read(ch->presence) : 1;
}

/*
 * Say who this side is.  Said again with each hello: the peer can write here
 * too, and what it spoiled would be believed for ever.
 */
static void introduce(struct vmshm_chan *ch)
{
	vmshm_store(&ch->mine->features, FEATURES | VMSHM_F_COUNTERS | VMSHM_F_DRAIN);
	vmshm_store(&ch->mine->abi_version, VMSHM_ABI_VERSION);
	vmshm_store(&ch->mine->state, VMSHM_SIDE_UP);
	vmshm_word_publish(&ch->mine->epoch_echo, ch->peer_epoch);
	vmshm_word_publish(&ch->mine->epoch, ch->epoch);
}

/* Publish a new epoch.  Everything of the old one is over. */
static void draw_epoch(struct vmshm_chan *ch)
{
	u64 epoch;

	do {
		epoch = get_random_u64();
	} while (!epoch || epoch == ch->epoch);

	/* Nobody takes the words below for those of the old epoch. */
	vmshm_word_publish(&ch->mine->epoch, 0);
	vmshm_mb();
	vmshm_store(&ch->mine->epoch_echo, 0);
	vmshm_ctl_reset(ch);
	vmshm_notify_reset(ch);
	WRITE_ONCE(ch->epoch, epoch);
	WRITE_ONCE(ch->peer_epoch, 0);
	introduce(ch);
	vmshm_chan_ring(ch);
}

static void set_state(struct vmshm_chan *ch, enum vmshm_chan_state state)
{
	/* ctl.c writes to the queue only when it sees UP under this lock. */
	spin_lock(&ch->ctl_lock);
	WRITE_ONCE(ch->state, state);
	spin_unlock(&ch->ctl_lock);
}

/*
 * Every connection of this channel is over.  When this returns, no copy into
 * the peer's half is in flight and none can begin.
 */
static void tear_down(struct vmshm_chan *ch)
{
	struct vmshm_end *end;
	unsigned long id;

	/*
	 * In this order: a datagram's sender that is woken below asks for the
	 * next connection at once, and that one waits for the peer's return or
	 * finds nobody; it is not one of those that broke.
	 */
	set_state(ch, ch->gone || !(ch->seen_presence & 1) ? VMSHM_CHAN_ABSENT : VMSHM_CHAN_HELLO);
	vmshm_connect_drop(ch, ECONNRESET);
	for (;;) {
		id = 0;
		rcu_read_lock();
		end = xa_find(&ch->ends, &id, ULONG_MAX, XA_PRESENT);
		if (end && !refcount_inc_not_zero(&end->ref))
			end = NULL;
		rcu_read_unlock();
		if (!end) {
			/* An end at its last reference leaves by itself. */
			if (xa_empty(&ch->ends))
				break;
			cond_resched();
			continue;
		}
		vmshm_end_kill(end);
		vmshm_end_put(end);
	}
	vmshm_ctl_reset(ch);
}

/* The peer is of this epoch now: begin anew with it. */
static void meet(struct vmshm_chan *ch, u64 epoch)
{
	vmshm_ctl_reset(ch);
	vmshm_notify_reset(ch);
	WRITE_ONCE(ch->features, vmshm_load(&ch->theirs->features) & FEATURES);
	WRITE_ONCE(ch->peer_epoch, epoch);
	introduce(ch);
	vmshm_chan_ring(ch);
}

static bool abi_fits(struct vmshm_chan *ch)
{
	u32 version = vmshm_load(&ch->theirs->abi_version);

	if (version >> 16 == VMSHM_ABI_MAJOR)
		return true;
	if (!ch->bad_abi)
		pr_err_ratelimited("cid %u speaks ABI %u.%u, this module %u.%u: no connections; load the same af_vmshm in both VMs\n",
				   ch->peer_cid, version >> 16, version & 0xffff,
				   VMSHM_ABI_MAJOR, VMSHM_ABI_MINOR);
	ch->bad_abi = true;
	return false;
}

/* Look at the peer's words and act on what changed.  Under chan->mutex. */
static void look_at_peer(struct vmshm_chan *ch)
{
	u64 here, epoch;
	bool up;
	int tries;

	/* All of one peer: a successor's epoch is not the old one's. */
	for (tries = 0; tries < 3; tries++) {
		here = presence(ch);
		epoch = vmshm_word_read(&ch->theirs->epoch);
		up = vmshm_load(&ch->theirs->state) == VMSHM_SIDE_UP;
		if (presence(ch) == here)
			break;
	}
	if (here != ch->seen_presence) {
		/* Its QEMU went, or went and came: its epoch is not to be trusted. */
		WRITE_ONCE(ch->seen_presence, here);
		if (ch->peer_epoch) {
			ch->dead_epoch = ch->peer_epoch;
			tear_down(ch);
			pr_info_ratelimited("cid %u: gone\n", ch->peer_cid);
		}
		/* Whatever it left in this side's words, a successor meets new ones. */
		draw_epoch(ch);
		epoch = vmshm_word_read(&ch->theirs->epoch);
		ch->hello_tries = 0;
	}
	if (!(here & 1) || !up || !epoch || epoch == ch->dead_epoch) {
		if (ch->peer_epoch) {
			/* It left in order, or is about to start anew. */
			tear_down(ch);
			WRITE_ONCE(ch->peer_epoch, 0);
			vmshm_word_publish(&ch->mine->epoch_echo, 0);
			if (ch->presence)
				pr_info_ratelimited("cid %u: left\n", ch->peer_cid);
		}
		if (!(here & 1)) {
			set_state(ch, VMSHM_CHAN_ABSENT);
			vmshm_connect_drop(ch, ENODEV);
		} else if (ch->state == VMSHM_CHAN_ABSENT) {
			set_state(ch, VMSHM_CHAN_HELLO);
		}
		return;
	}
	if (epoch != ch->peer_epoch) {
		if (ch->peer_epoch)
			tear_down(ch);
		set_state(ch, VMSHM_CHAN_HELLO);
		if (!abi_fits(ch))
			return;
		ch->bad_abi = false;
		meet(ch, epoch);
	}
	if (ch->state != VMSHM_CHAN_UP && vmshm_word_read(&ch->theirs->epoch_echo) == ch->epoch) {
		set_state(ch, VMSHM_CHAN_UP);
		ch->hello_tries = 0;
		if (ch->presence)
			pr_info_ratelimited("cid %u: up\n", ch->peer_cid);
		vmshm_chan_ring(ch);	/* it may have waited for this look */
	}
}

/* The peer lied about its control queue: nothing it says can be believed. */
static void break_off(struct vmshm_chan *ch)
{
	/* Not a lie if it has just started anew. */
	if (vmshm_word_read(&ch->theirs->epoch) != ch->peer_epoch) {
		queue_work(vmshm_wq, &ch->work);
		return;
	}
	atomic64_inc(&ch->protocol_errors);
	pr_warn_ratelimited("cid %u: its control queue can't be true; every connection to it is reset\n",
			    ch->peer_cid);
	tear_down(ch);
	draw_epoch(ch);
}

/* Has the peer had its share of this tick?  Under chan->mutex. */
static bool used_up(struct vmshm_chan *ch, u64 began)
{
	if (time_after(jiffies, ch->run_jiffy)) {
		ch->run_jiffy = jiffies;
		ch->run_ns = 0;
	}
	ch->run_ns += local_clock() - began;
	return ch->run_ns > RUN_NS;
}

/*
 * Under chan->mutex.  @more: the pending queue has more than was looked at.
 * @began: when the worker's look did, local_clock(); 0 for a task, whose time is
 * its own.
 */
static void run(struct vmshm_chan *ch, bool more, u64 began)
{
	int taken = 0;

	if (READ_ONCE(ch->gone))
		return;
	look_at_peer(ch);
	vmshm_drain_heed(ch);
	if (ch->state == VMSHM_CHAN_UP) {
		if (vmshm_overflow_seen(&ch->theirs->pend_overflow, &ch->seen_overflow))
			vmshm_chan_wake_all(ch);
		taken = vmshm_ctl_receive(ch);
		if (taken < 0) {
			break_off(ch);
		} else {
			vmshm_ctl_unstick(ch);
			vmshm_connect_pump(ch);
			vmshm_ctl_flush(ch);
		}
	}
	/* Say hello again until it is answered: a doorbell may find nobody. */
	if (ch->state == VMSHM_CHAN_HELLO && !ch->bad_abi) {
		unsigned int ms = HELLO_FIRST_MS << min(ch->hello_tries, 7U);

		queue_delayed_work(vmshm_wq, &ch->hello,
				   msecs_to_jiffies(min_t(unsigned int, ms, HELLO_LAST_MS)));
	}
	/*
	 * A peer that never stops talking keeps neither the mutex nor the
	 * processor: the rest is the next tick's, and until then interrupts queue
	 * nothing.  Queued under the mutex, so that removal cancels it.
	 */
	if (began && used_up(ch, began)) {
		WRITE_ONCE(ch->pausing, true);
		mod_delayed_work(vmshm_wq, &ch->hello, 1);
	} else if (taken > 0 || more) {
		queue_work(vmshm_wq, &ch->work);
	}
}

/**
 * vmshm_chan_run - do what the peer and the sockets want done
 * @ch: the channel; the caller holds a reference
 *
 * May sleep.
 */
void vmshm_chan_run(struct vmshm_chan *ch)
{
	mutex_lock(&ch->mutex);
	run(ch, false, 0);
	mutex_unlock(&ch->mutex);
}

/*
 * The same from a task that waits for a control message and would rather look
 * itself, unless somebody looks already.
 */
void vmshm_chan_try_run(struct vmshm_chan *ch)
{
	if (!mutex_trylock(&ch->mutex))
		return;
	run(ch, false, 0);
	mutex_unlock(&ch->mutex);
}

/* The same from the worker, with what the last interrupt's budget left over. */
static void drain_and_run(struct vmshm_chan *ch)
{
	u64 began = local_clock();
	bool more = READ_ONCE(ch->state) == VMSHM_CHAN_UP && vmshm_chan_drain(ch);

	mutex_lock(&ch->mutex);
	run(ch, more, began);
	mutex_unlock(&ch->mutex);
}

static void chan_work(struct work_struct *work)
{
	drain_and_run(container_of(work, struct vmshm_chan, work));
}

static void chan_hello(struct work_struct *work)
{
	struct vmshm_chan *ch = container_of(work, struct vmshm_chan, hello.work);

	mutex_lock(&ch->mutex);
	if (!READ_ONCE(ch->gone) && ch->state == VMSHM_CHAN_HELLO) {
		ch->hello_tries++;
		introduce(ch);
		vmshm_chan_ring(ch);
	}
	mutex_unlock(&ch->mutex);
	WRITE_ONCE(ch->pausing, false);
	smp_mb();		/* what an interrupt before that left to us is seen now */
	drain_and_run(ch);
}

/* Set up what does not depend on the bus; the bus fills in the rest. */
void vmshm_chan_init(struct vmshm_chan *ch, const struct vmshm_bus *bus)
{
	kref_init(&ch->ref);
	ch->bus = bus;
	INIT_LIST_HEAD(&ch->node);
	mutex_init(&ch->mutex);
	INIT_LIST_HEAD(&ch->connects);
	INIT_WORK(&ch->work, chan_work);
	INIT_DELAYED_WORK(&ch->hello, chan_hello);
	vmshm_counters_init(ch);
	xa_init_flags(&ch->ends, XA_FLAGS_ALLOC1);
	spin_lock_init(&ch->ctl_lock);
	INIT_LIST_HEAD(&ch->ctl_backlog);
	spin_lock_init(&ch->pend_tx_lock);
	spin_lock_init(&ch->pend_rx_lock);
	spin_lock_init(&ch->stats_lock);
	INIT_LIST_HEAD(&ch->rings);
	ch->peer_vectors = 1;
	ch->credits = VMSHM_CTL_CREDITS;
}

/**
 * vmshm_chan_add - let a channel live
 * @ch: set up in full, its memory mapped, its interrupts not yet enabled
 *
 * Returns 0 or -EEXIST when the peer has a channel already.  May sleep.
 */
int vmshm_chan_add(struct vmshm_chan *ch)
{
	struct vmshm_chan *other;

	mutex_lock(&vmshm_chans_mutex);
	list_for_each_entry(other, &vmshm_chans, node) {
		if (other->peer_cid == ch->peer_cid && other->bus == ch->bus) {
			mutex_unlock(&vmshm_chans_mutex);
			return -EEXIST;
		}
	}
	list_add_tail_rcu(&ch->node, &vmshm_chans);
	mutex_unlock(&vmshm_chans_mutex);

	mutex_lock(&ch->mutex);
	ch->seen_presence = presence(ch);
	ch->seen_overflow = vmshm_load(&ch->theirs->pend_overflow);
	ch->state = ch->seen_presence & 1 ? VMSHM_CHAN_HELLO : VMSHM_CHAN_ABSENT;
	vmshm_store(&ch->mine->pend_overflow, 0);
	draw_epoch(ch);
	mutex_unlock(&ch->mutex);
	queue_work(vmshm_wq, &ch->work);
	vmshm_counters_start(ch);
	return 0;
}

/* Tell the peer that nobody is here any more.  Any context, panic included. */
void vmshm_chan_leave(struct vmshm_chan *ch)
{
	vmshm_store(&ch->mine->state, VMSHM_SIDE_LEFT);
	vmshm_mb();
	ch->bus->doorbell(ch, 0);
}

/**
 * vmshm_chan_remove - end a channel; its memory may go afterwards
 * @ch: from vmshm_chan_add(); the caller's reference stays
 *
 * Interrupts are off already.  Takes no socket's lock.  May sleep.
 */
void vmshm_chan_remove(struct vmshm_chan *ch)
{
	mutex_lock(&vmshm_chans_mutex);
	list_del_rcu(&ch->node);
	mutex_unlock(&vmshm_chans_mutex);

	mutex_lock(&ch->mutex);
	WRITE_ONCE(ch->gone, true);
	tear_down(ch);
	set_state(ch, VMSHM_CHAN_ABSENT);
	vmshm_chan_leave(ch);
	mutex_unlock(&ch->mutex);

	cancel_work_sync(&ch->work);
	cancel_delayed_work_sync(&ch->hello);
	cancel_work_sync(&ch->work);
	vmshm_ends_unmap(ch);
	/* Who looked at a ring or was about to ring the doorbell is through. */
	synchronize_rcu();
	vmshm_counters_stop(ch);
}

static void chan_free(struct kref *ref)
{
	struct vmshm_chan *ch = container_of(ref, struct vmshm_chan, ref);

	xa_destroy(&ch->ends);
	ch->bus->release(ch);
}

void vmshm_chan_put(struct vmshm_chan *ch)
{
	kref_put(&ch->ref, chan_free);
}

/**
 * vmshm_chan_find - the channel to a peer
 * @cid: the peer, not this VM
 *
 * Returns it with a reference, or NULL.
 */
struct vmshm_chan *vmshm_chan_find(u32 cid)
{
	struct vmshm_chan *ch, *found = NULL;

	rcu_read_lock();
	list_for_each_entry_rcu(ch, &vmshm_chans, node) {
		if (ch->peer_cid == cid && !READ_ONCE(ch->gone) && kref_get_unless_zero(&ch->ref)) {
			found = ch;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}
