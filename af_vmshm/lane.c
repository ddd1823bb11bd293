// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lanes: the sending ends of SOCK_DGRAM.  All datagrams of this VM to one socket
 * of a peer go through one ring, in the receiver's half, so they stay in order
 * and a receiver that is full holds up nobody but its own senders.  The first
 * datagram opens the lane; it lasts as long as the socket at its other end, or
 * the channel.  What a call makes of that is in dgram.c.
 *
 * A lane is an end without a socket.  This file finds it by its destination,
 * and wakes those who wait for it: calls that sleep wait on lane->wait, sockets
 * that were told EAGAIN have a watch on it, so that poll() hears of it.
 */
#include <linux/hash.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include "vmshm.h"

#define LANE_BITS	8
#define LANES_MOST	4096	/* of a channel, those included of which the peer never says DONE */
#define OPENING_MOST	1024	/* of those, at a time: nobody answers, it seems */
#define WATCHES_OF_SOCK	256
#define WATCHES_OF_LANE	1024

/**
 * struct vmshm_lane - what an end has that is a lane
 * @end: the end
 * @node: in lanes[], while it can be used; writers under lanes_lock, readers RCU
 * @opening: counted in chan->lanes_opening
 * @wait: calls that wait for it to open, or for space
 * @lock: @watches; interrupts off
 * @watches: of sockets that were told EAGAIN
 * @nr_watches: how many
 * @rcu: the interrupt finds it through its end
 */
struct vmshm_lane {
	struct vmshm_end *end;
	struct hlist_node node;
	bool opening;
	wait_queue_head_t wait;
	spinlock_t lock;	/* of watches */
	struct list_head watches;
	unsigned int nr_watches;
	struct rcu_head rcu;
};

/**
 * struct vmshm_watch - a socket waits for a lane, in poll() perhaps
 * @end: the lane's, with a reference
 * @vs: the socket
 * @of_sock: vs->watches, under vs->aq_lock
 * @of_lane: lane->watches, under lane->lock
 */
struct vmshm_watch {
	struct vmshm_end *end;
	struct vmshm_sock *vs;
	struct list_head of_sock;
	struct list_head of_lane;
};

static struct hlist_head lanes[1 << LANE_BITS];
static DEFINE_SPINLOCK(lanes_lock);

static struct hlist_head *bucket(struct vmshm_chan *ch, u32 port)
{
	return &lanes[hash_32(port ^ hash_ptr(ch, 32), LANE_BITS)];
}

static bool leads_to(const struct vmshm_end *end, const struct vmshm_chan *ch, u32 port,
		     bool own_cid)
{
	return end->chan == ch && end->peer_port == port && end->to_own_cid == own_cid;
}

/* Of those in use, with a reference.  Under RCU or lanes_lock. */
static struct vmshm_end *lookup(struct vmshm_chan *ch, u32 port, bool own_cid)
{
	struct vmshm_lane *lane;

	hlist_for_each_entry_rcu(lane, bucket(ch, port), node, lockdep_is_held(&lanes_lock)) {
		struct vmshm_end *end = lane->end;

		if (leads_to(end, ch, port, own_cid) && refcount_inc_not_zero(&end->ref))
			return end;
	}
	return NULL;
}

static struct vmshm_end *lane_alloc(struct vmshm_chan *ch, u32 port, bool own_cid)
{
	struct vmshm_lane *lane = kzalloc(sizeof(*lane), GFP_KERNEL_ACCOUNT);
	struct vmshm_end *end;

	if (!lane)
		return NULL;
	end = vmshm_end_alloc(ch, GFP_KERNEL);
	if (!end) {
		kfree(lane);
		return NULL;
	}
	atomic_inc(&ch->lanes);
	lane->end = end;
	init_waitqueue_head(&lane->wait);
	spin_lock_init(&lane->lock);
	INIT_LIST_HEAD(&lane->watches);
	end->lane = lane;
	end->sock_type = SOCK_DGRAM;
	end->peer_port = port;
	end->to_own_cid = own_cid;
	end->released = true;		/* no socket reads from it */
	return end;
}

/* With the last reference of its end. */
void vmshm_lane_free(struct vmshm_end *end)
{
	atomic_dec(&end->chan->lanes);
	kfree_rcu(end->lane, rcu);
}

/**
 * vmshm_lane_get - the lane to a socket, opened if there is none
 * @ch: the channel to its VM
 * @port: the socket's
 * @own_cid: inside this VM, by its own CID rather than LOCAL
 *
 * Returns an end with a reference, or ERR_PTR(-ENOMEM or -ENOBUFS).  May sleep.
 */
struct vmshm_end *vmshm_lane_get(struct vmshm_chan *ch, u32 port, bool own_cid)
{
	struct vmshm_end *end, *other;

	rcu_read_lock();
	end = lookup(ch, port, own_cid);
	rcu_read_unlock();
	if (end)
		return end;
	if (atomic_read(&ch->lanes) >= LANES_MOST ||
	    atomic_read(&ch->lanes_opening) >= OPENING_MOST)
		return ERR_PTR(-ENOBUFS);
	end = lane_alloc(ch, port, own_cid);
	if (!end)
		return ERR_PTR(-ENOMEM);
	spin_lock(&lanes_lock);
	other = lookup(ch, port, own_cid);
	if (!other) {
		end->lane->opening = true;
		atomic_inc(&ch->lanes_opening);
		refcount_inc(&end->ref);
		hlist_add_head_rcu(&end->lane->node, bucket(ch, port));
	}
	spin_unlock(&lanes_lock);
	if (other) {
		vmshm_end_put(end);
		return other;
	}
	vmshm_connect_start(end);
	return end;
}

/* Something about it changed: all who wait look again.  How many watch.  Any context. */
unsigned int vmshm_lane_wake(struct vmshm_end *end)
{
	struct vmshm_lane *lane = end->lane;
	struct vmshm_watch *w;
	unsigned long flags;
	unsigned int n;

	wake_up_interruptible_all(&lane->wait);
	spin_lock_irqsave(&lane->lock, flags);
	list_for_each_entry(w, &lane->watches, of_lane)
		w->vs->sk.sk_write_space(&w->vs->sk);
	n = lane->nr_watches;
	spin_unlock_irqrestore(&lane->lock, flags);
	return n;
}

/* It is open, or will never be.  Under lanes_lock. */
static void no_longer_opening(struct vmshm_end *end)
{
	if (end->lane->opening)
		atomic_dec(&end->chan->lanes_opening);
	end->lane->opening = false;
}

/* Datagrams may flow. */
void vmshm_lane_opened(struct vmshm_end *end)
{
	spin_lock(&lanes_lock);
	no_longer_opening(end);
	spin_unlock(&lanes_lock);
	vmshm_lane_wake(end);
}

/*
 * Nothing will go through it any more: the next datagram opens another one.
 * Process context, no spinlock is held.
 */
void vmshm_lane_over(struct vmshm_end *end)
{
	struct vmshm_lane *lane = end->lane;
	bool was;

	spin_lock(&lanes_lock);
	no_longer_opening(end);
	was = !hlist_unhashed(&lane->node);
	if (was)
		hlist_del_init_rcu(&lane->node);
	spin_unlock(&lanes_lock);
	vmshm_lane_wake(end);
	if (was)
		vmshm_end_put(end);
}

/*
 * May one write?  0: yes; -EAGAIN: it is not open yet; -EPIPE: it is over, or
 * nobody reads any more; or why it did not open.
 */
int vmshm_lane_state(struct vmshm_end *end)
{
	enum vmshm_end_state state;
	int err;

	if (READ_ONCE(end->attention))
		vmshm_end_attend(end);
	/* Pairs with vmshm_end_open(): prod is whole. */
	if (likely(smp_load_acquire(&end->tx_open)))
		return READ_ONCE(end->peer_shutdown) & RCV_SHUTDOWN ? -EPIPE : 0;
	spin_lock(&end->lock);
	state = end->state;
	err = end->err;
	spin_unlock(&end->lock);
	if (state == VMSHM_END_DEAD)
		return -(err ?: ECONNRESET);
	if (state == VMSHM_END_OPEN)
		return READ_ONCE(end->tx_open) ? 0 : -EPIPE;
	return -EAGAIN;
}

/* Is it gone, so that another one is to be asked for? */
bool vmshm_lane_is_over(struct vmshm_end *end)
{
	return hlist_unhashed_lockless(&end->lane->node);
}

/* Does it have to be waited for, with @want bytes to write?  Arms if so. */
static bool must_wait(struct vmshm_end *end, u64 want)
{
	int err = vmshm_lane_state(end);

	if (err || !want)
		return err == -EAGAIN;
	return vmshm_end_writable(end) < want && !vmshm_end_arm_tx(end, want);
}

/*
 * The peer's kernel answers within microseconds if it is awake: take the answer
 * ourselves.  @until: of local_clock().
 */
static void look_for_answer(struct sock *sk, struct vmshm_end *end, u64 until)
{
	do {
		if (vmshm_chan_has_ctl(end->chan))
			vmshm_chan_try_run(end->chan);
		if (vmshm_lane_state(end) != -EAGAIN || READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
			return;
		cpu_relax();
	} while (!need_resched() && !signal_pending(current) && local_clock() < until);
}

/* A call that waits for a lane: what wakes its socket wakes it, too. */
struct lane_waiter {
	struct wait_queue_entry of_lane;
	struct wait_queue_entry of_sock;
};

/* A change of the socket's state, that is.  That it can read or write has a key. */
static int wake_of_sock(struct wait_queue_entry *entry, unsigned int mode, int sync, void *key)
{
	struct lane_waiter *w = container_of(entry, struct lane_waiter, of_sock);

	return key ? 0 : woken_wake_function(&w->of_lane, mode, sync, key);
}

/**
 * vmshm_lane_wait - wait until a lane is open, or has space
 * @sk: the socket that waits
 * @end: the lane's end
 * @want: bytes of space, or 0: until it is open
 * @spin_ns: how long to look before sleeping, when it is not open
 * @timeo: jiffies left, brought up to date
 *
 * Returns 0 (look again), -EAGAIN, -EINTR, -ERESTARTSYS, or -EPIPE when another
 * thread has shut down sending.  Sleeps.
 */
long vmshm_lane_wait(struct sock *sk, struct vmshm_end *end, u64 want, u32 spin_ns, long *timeo)
{
	struct vmshm_stats *own = &vmshm_sk(sk)->dgrams;
	struct lane_waiter wait;
	long err = 0;

	if (!want && spin_ns)
		look_for_answer(sk, end, local_clock() + spin_ns);
	if (want)
		end->tx_stats.ring_full++;
	init_waitqueue_func_entry(&wait.of_lane, woken_wake_function);
	wait.of_lane.private = current;
	init_waitqueue_func_entry(&wait.of_sock, wake_of_sock);
	add_wait_queue(&end->lane->wait, &wait.of_lane);
	add_wait_queue(sk_sleep(sk), &wait.of_sock);
	while (must_wait(end, want)) {
		if (READ_ONCE(sk->sk_shutdown) & SEND_SHUTDOWN)
			err = -EPIPE;
		else if (!*timeo)
			err = -EAGAIN;
		else if (signal_pending(current))
			err = sock_intr_errno(*timeo);
		if (err)
			break;
		end->tx_stats.sleeps++;
		WRITE_ONCE(own->sleeps, own->sleeps + 1);
		*timeo = wait_woken(&wait.of_lane, TASK_INTERRUPTIBLE, *timeo);
	}
	remove_wait_queue(sk_sleep(sk), &wait.of_sock);
	remove_wait_queue(&end->lane->wait, &wait.of_lane);
	return err;
}

/* ---- sockets that were told EAGAIN ---- */

static struct vmshm_watch *find_watch(struct vmshm_sock *vs, const struct vmshm_end *end)
{
	struct vmshm_watch *w;

	list_for_each_entry(w, &vs->watches, of_sock)
		if (w->end == end)
			return w;
	return NULL;
}

/* Of one that will never be used; the next call to there opens another. */
static struct vmshm_watch *find_dead(struct vmshm_sock *vs, const struct vmshm_end *end)
{
	struct vmshm_watch *w;

	list_for_each_entry(w, &vs->watches, of_sock)
		if (READ_ONCE(w->end->state) == VMSHM_END_DEAD)
			return w;
	return NULL;
}

/* Of a lane that @end took the place of. */
static struct vmshm_watch *find_stale(struct vmshm_sock *vs, const struct vmshm_end *end)
{
	struct vmshm_watch *w;

	list_for_each_entry(w, &vs->watches, of_sock)
		if (w->end != end &&
		    leads_to(w->end, end->chan, end->peer_port, end->to_own_cid))
			return w;
	return NULL;
}

/* One watch less, if @find has any.  May sleep. */
static bool unwatch_one(struct vmshm_sock *vs, const struct vmshm_end *end,
			struct vmshm_watch *(*find)(struct vmshm_sock *vs,
						    const struct vmshm_end *end))
{
	struct vmshm_watch *w;
	unsigned long flags;

	if (!READ_ONCE(vs->nr_watches))
		return false;
	spin_lock(&vs->aq_lock);
	w = find(vs, end);
	if (w) {
		list_del(&w->of_sock);
		vs->nr_watches--;
		spin_lock_irqsave(&w->end->lane->lock, flags);
		list_del(&w->of_lane);
		w->end->lane->nr_watches--;
		spin_unlock_irqrestore(&w->end->lane->lock, flags);
	}
	spin_unlock(&vs->aq_lock);
	if (!w)
		return false;
	vmshm_end_put(w->end);
	kfree(w);
	return true;
}

/**
 * vmshm_lane_watch - a call was told to come back when this lane can be used
 * @vs: its socket, which is woken then
 * @end: the lane's end
 *
 * May sleep.  Returns 0, -ENOMEM, or -ENOBUFS: the socket watches too many already,
 * or too many sockets watch the lane.  Watches are walked, those of a lane in hard
 * interrupts, and hold memory that no other limit counts.
 */
int vmshm_lane_watch(struct vmshm_sock *vs, struct vmshm_end *end)
{
	struct vmshm_watch *w = kmalloc(sizeof(*w), GFP_KERNEL_ACCOUNT);
	unsigned long flags;
	int err = 0;

	if (!w)
		return -ENOMEM;
	if (READ_ONCE(vs->nr_watches) >= WATCHES_OF_SOCK)
		unwatch_one(vs, end, find_dead);
	spin_lock(&vs->aq_lock);
	if (!find_watch(vs, end)) {
		spin_lock_irqsave(&end->lane->lock, flags);
		if (vs->nr_watches >= WATCHES_OF_SOCK ||
		    end->lane->nr_watches >= WATCHES_OF_LANE) {
			err = -ENOBUFS;
		} else {
			refcount_inc(&end->ref);
			w->end = end;
			w->vs = vs;
			list_add_tail(&w->of_sock, &vs->watches);
			vs->nr_watches++;
			list_add_tail(&w->of_lane, &end->lane->watches);
			end->lane->nr_watches++;
			w = NULL;
		}
		spin_unlock_irqrestore(&end->lane->lock, flags);
	}
	if (!err)
		WRITE_ONCE(vs->told_again, true);
	spin_unlock(&vs->aq_lock);
	kfree(w);
	return err;
}

/* The socket need not hear of this lane any more.  May sleep. */
void vmshm_lane_unwatch(struct vmshm_sock *vs, const struct vmshm_end *end)
{
	unwatch_one(vs, end, find_watch);
}

/* Nor of those whose place this lane took. */
void vmshm_lane_unwatch_stale(struct vmshm_sock *vs, const struct vmshm_end *end)
{
	while (unwatch_one(vs, end, find_stale))
		;
}

static struct vmshm_watch *find_first(struct vmshm_sock *vs, const struct vmshm_end *end)
{
	return list_first_entry_or_null(&vs->watches, struct vmshm_watch, of_sock);
}

/* The socket closes. */
void vmshm_lane_unwatch_all(struct vmshm_sock *vs)
{
	while (unwatch_one(vs, NULL, find_first))
		;
}

/* A lane to there that the socket watches and that did not open; a reference. */
struct vmshm_end *vmshm_lane_failed(struct vmshm_sock *vs, struct vmshm_chan *ch, u32 port,
				    bool own_cid)
{
	struct vmshm_end *found = NULL;
	struct vmshm_watch *w;

	if (!READ_ONCE(vs->nr_watches))
		return NULL;
	spin_lock(&vs->aq_lock);
	list_for_each_entry(w, &vs->watches, of_sock) {
		struct vmshm_end *end = w->end;

		if (leads_to(end, ch, port, own_cid) &&
		    READ_ONCE(end->state) == VMSHM_END_DEAD) {
			refcount_inc(&end->ref);
			found = end;
			break;
		}
	}
	spin_unlock(&vs->aq_lock);
	return found;
}

/* Not to be waited for, or with room for any datagram.  Arms if @arm. */
static bool can_be_tried(struct vmshm_end *end, bool arm)
{
	int err = vmshm_lane_state(end);

	if (err)
		return err != -EAGAIN;
	if (vmshm_end_writable(end) >= end->tx_mark)
		return true;
	return arm && vmshm_end_arm_tx(end, end->tx_mark) &&
	       vmshm_end_writable(end) >= end->tx_mark;
}

/**
 * vmshm_lane_any_ready - can one of the lanes that a socket watches be tried?
 * @vs: the socket
 * @arm: ask for a doorbell from those that can't
 *
 * May sleep.
 */
bool vmshm_lane_any_ready(struct vmshm_sock *vs, bool arm)
{
	unsigned int n = READ_ONCE(vs->nr_watches);
	bool ready = false;

	while (n-- && !ready) {
		struct vmshm_end *end = NULL;
		struct vmshm_watch *w;

		spin_lock(&vs->aq_lock);
		w = list_first_entry_or_null(&vs->watches, struct vmshm_watch, of_sock);
		if (w) {
			list_move_tail(&w->of_sock, &vs->watches);
			end = w->end;
			refcount_inc(&end->ref);
		}
		spin_unlock(&vs->aq_lock);
		if (!end)
			break;
		ready = can_be_tried(end, arm);
		vmshm_end_put(end);
	}
	return ready;
}
