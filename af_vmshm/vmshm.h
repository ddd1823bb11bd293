/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module share: the objects, who locks them, and the
 * functions that cross a file.  docs/ARCHITECTURE.md tells the whole story.
 *
 * Objects
 *
 *   vmshm_sock   what a descriptor stands for; a struct sock
 *   vmshm_end    one end of a connection: its two rings and the words that
 *                both kernels agree on.  Outlives the socket until the peer
 *                has acknowledged the end of the connection.
 *   vmshm_chan   what two VMs share: control queues, pending queues, halves
 *   vmshm_bus    how a channel reaches its memory and its peer (pci, loopback)
 *
 * Locks, outermost first
 *
 *   lock_sock()          serialises system calls that change a socket's state;
 *                        never taken by the worker, the interrupt or removal
 *   chan->mutex          handshake, control messages, starting connects
 *   vmshm_table_lock     bound sockets, list of sockets
 *   sock->aq_lock        a listener's queue of ends, a datagram socket's
 *   end->tx_mutex, end->rx_mutex   the pieces of one record (not for streams)
 *   lanes_lock           who sends datagrams where (lane.c)
 *   end->lock            state of an end and what the socket shows of it
 *   end->tx_lock         the producer's view of the peer's ring; a copy runs
 *                        under it with page faults disabled, so it is bounded
 *   end->rx_lock         the consumer's view of one's own ring; likewise
 *   chan->ctl_lock       outgoing control queue
 *   chan->pend_tx_lock   outgoing pending queue
 *   chan->pend_rx_lock   incoming pending queue; taken in hard interrupts
 *   lane->lock           who watches a lane (lane.c); likewise, and on the
 *                        loopback bus by who rings, under tx_mutex or aq_lock
 *   line->lock           whose turn it is among streams (turn.c); under none
 *
 * References
 *
 *   A socket holds its end; the channel's table holds an end from the moment
 *   it has a number until both sides said DONE; a control message that waits
 *   holds its end.  An end holds its channel.  A channel's memory may go while
 *   it is referenced: tx_open, rx_open and chan->gone say when.
 */
#ifndef _AF_VMSHM_VMSHM_H
#define _AF_VMSHM_VMSHM_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <net/sock.h>
#include <linux/vmshm.h>
#include <vmshm/record.h>
#include "compat/compat.h"

#define VMSHM_LEVEL_VSOCK	40	/* AF_VSOCK, as an option level */

/* Bytes that one hold of tx_lock or rx_lock may copy: bounds the latency. */
#define VMSHM_COPY_CHUNK	(64 * 1024)

struct vmshm_chan;
struct vmshm_end;

/**
 * struct vmshm_bus - how a channel reaches memory and peer
 * @name: for people
 * @doorbell: interrupt the peer; any context
 * @ring_alloc: memory for a receive ring; returns its header and the offset to
 *	tell the peer, or NULL; may sleep
 * @ring_free: give it back; not in interrupts
 * @ring_peer: the header of a ring that the peer offers, already checked with
 *	vmshm_ring_fits(); NULL when there is none
 * @release: the last reference is gone
 */
struct vmshm_bus {
	const char *name;
	void (*doorbell)(struct vmshm_chan *ch, u32 vector);
	struct vmshm_ring_hdr *(*ring_alloc)(struct vmshm_chan *ch, u32 order, u64 *off);
	void (*ring_free)(struct vmshm_chan *ch, struct vmshm_ring_hdr *hdr, u64 off, u32 order);
	struct vmshm_ring_hdr *(*ring_peer)(struct vmshm_chan *ch, u64 off, u32 order);
	void (*release)(struct vmshm_chan *ch);
};

/* What an end or a channel has counted; the names of struct vmshm_info. */
struct vmshm_stats {
	u64 tx_bytes, rx_bytes;
	u64 tx_msgs, rx_msgs;
	u64 doorbells_sent, doorbells_suppressed;
	u64 wakeups;
	u64 poll_hits, poll_misses, sleeps;
	u64 ring_full;
};

/* A refusal that waits for room in the control queue. */
struct vmshm_refusal {
	u32 id, gen;
	u16 error;
};

enum vmshm_chan_state {
	VMSHM_CHAN_ABSENT,	/* nobody is there */
	VMSHM_CHAN_HELLO,	/* the epochs are not agreed on yet */
	VMSHM_CHAN_UP,
};

struct vmshm_chan {
	struct kref ref;
	const struct vmshm_bus *bus;
	void *bus_priv;
	struct list_head node;		/* vmshm_chans, under vmshm_chans_mutex */
	u32 local_cid;			/* as the peer knows this VM */
	u32 peer_cid;
	bool far_side;			/* of the loopback bus: with the ends that were accepted */
	u32 peer_vectors;
	u32 doorbell_id;		/* ivshmem ID of the peer */
	const int *vector_cpu;		/* where each of one's own vectors interrupts; hints, */
	unsigned int nr_vectors;	/* there while an end's ring is open */
	u64 half_size;			/* of the peer's half */
	struct vmshm_side *mine;	/* this side's area */
	struct vmshm_side *theirs;	/* the peer's area */
	const u64 *presence;		/* the daemon's word on the peer, or NULL */
	const u32 *drain[2];		/* and its wish: of this side, of the peer */

	struct mutex mutex;		/* all down to the next comment */
	enum vmshm_chan_state state;	/* read anywhere */
	u64 epoch;			/* mine */
	u64 peer_epoch;			/* the one that I echoed, or 0 */
	u64 dead_epoch;			/* of a peer that I broke with */
	u64 seen_presence;
	u64 features;			/* VMSHM_F_* that both sides have; read anywhere */
	struct vmshm_queue ctl_rx;
	struct list_head connects;	/* ends that wait for a start, under ctl_lock */
	unsigned int hello_tries;
	unsigned long run_jiffy;	/* the worker's time in this tick, */
	u64 run_ns;			/* ns; under @mutex */
	bool pausing;			/* it had too much; hello goes on at the next tick */
	bool bad_abi;
	struct work_struct work;
	struct delayed_work hello;

	bool gone;			/* the memory is about to go; RCU */
	struct xarray ends;		/* by number; RCU for readers */
	u32 next_id;
	u32 next_gen;
	atomic_t nr_ends;
	atomic_t lanes;
	atomic_t lanes_opening;

	spinlock_t ctl_lock;		/* the outgoing control queue */
	struct vmshm_queue ctl_tx;
	struct list_head ctl_backlog;	/* ends with something to say */
	int credits;			/* CONNECTs that may still be sent */
	bool ctl_stuck;			/* no room: the worker goes on when rung */
	struct vmshm_refusal refusals[VMSHM_CTL_CREDITS];
	unsigned int refusal_head, refusal_tail;

	spinlock_t pend_tx_lock;	/* the outgoing pending queue */
	struct vmshm_queue pend_tx;
	u32 pend_overflow;

	spinlock_t pend_rx_lock;	/* the incoming pending queue */
	struct vmshm_queue pend_rx;
	u32 seen_overflow;
	u64 doorbells_received;		/* under pend_rx_lock */
	u64 storms;			/* times that a vector was masked, of the bus */

	bool draining;			/* written under mutex: no new connections */
	struct delayed_work counters;

	spinlock_t stats_lock;		/* closed, rings */
	struct vmshm_stats closed;	/* of ends that are gone */
	struct list_head rings;		/* ends with memory in one's own half */
	atomic64_t half_used;		/* bytes of it */
	atomic64_t protocol_errors;
	atomic64_t ctl_doorbells;
	struct dentry *debugfs;
};

enum vmshm_end_state {
	VMSHM_END_WAITING,	/* for the channel, or a credit; not yet numbered */
	VMSHM_END_CONNECTING,	/* CONNECT is on its way */
	VMSHM_END_CANCELLED,	/* nobody wants the answer any more */
	VMSHM_END_OPEN,		/* both rings are known */
	VMSHM_END_DEAD,		/* refused, or the channel broke */
};

/* vmshm_end.ctl_bits: what is still to be said, in this order */
#define VMSHM_SAY_CONNECT	BIT(0)
#define VMSHM_SAY_ACCEPT	BIT(1)
#define VMSHM_SAY_RING		BIT(2)
#define VMSHM_SAY_DONE		BIT(3)

/* Among those whose turn it is: turn.c, under its locks. */
struct vmshm_turn {
	struct vmshm_line *line;	/* where it has a place, or NULL */
	struct list_head node;
	struct task_struct *task;	/* whose it is, with a reference; while it is there */
	unsigned long since;		/* jiffies */
	unsigned long over;		/* when the last one was; without a lock */
};

/* Adaptive busy-poll: what the last waits of one direction taught. */
struct vmshm_spin {
	u32 window_ns;		/* 0: does not pay */
	u32 skipped;		/* waits since it stopped paying */
	u32 backoff;		/* so many before the next trial */
	u32 sleep_ns;		/* how long sleeping waits take, 0: unknown */
};

struct vmshm_end {
	/* Set up once, then read. */
	struct vmshm_chan *chan;
	struct sock __rcu *sk;		/* whom to wake; NULL after release */
	refcount_t ref;
	struct rcu_head rcu;
	u32 id, gen;			/* mine; id 0: not numbered */
	u32 peer_id, peer_gen;
	u32 local_cid;
	u32 local_port, peer_port;
	u16 sock_type;
	struct vmshm_lane *lane;	/* it sends datagrams, for any socket: lane.c */
	bool to_own_cid;		/* loopback: addressed by the VM's own CID */
	u8 order_wanted, order_least;	/* log2 of the receive ring asked for */
	u32 record_wanted;		/* bytes of the longest record asked for */

	spinlock_t lock;		/* all down to the next comment */
	enum vmshm_end_state state;
	bool reset;			/* not an orderly end */
	int err;			/* what the socket is told of it, or 0 */
	bool released;			/* no socket any more */
	bool done_said;			/* DONE is on its way out */
	bool done_sent, done_received;
	bool tabled;			/* in chan->ends */
	struct list_head node;		/* chan->connects, or a listener's queue */

	/* Under chan->ctl_lock. */
	u8 ctl_bits;
	struct list_head ctl_node;
	u8 ctl_flags;			/* of DONE */

	u32 attention;			/* rung: look at the flags */
	u32 peer_shutdown;		/* RCV_SHUTDOWN, SEND_SHUTDOWN of the peer */

	/* Sending. */
	spinlock_t tx_lock ____cacheline_aligned_in_smp;
	bool tx_open;			/* prod may be used */
	struct vmshm_prod prod;
	u64 tx_mark;			/* free bytes worth waking for */
	struct vmshm_spin tx_spin;
	u32 tx_turn;			/* bytes: turn.c */
	struct vmshm_stats tx_stats;
	struct mutex tx_mutex;		/* the pieces of one record */
	u32 tx_record_max;		/* bytes of the longest record that the peer takes */
	seqcount_t tx_seq;		/* prod became another one */
	u64 tx_behind;			/* unread in rings before this one, until TAKEN */
	struct vmshm_turn tx_in_turn;

	/* Receiving. */
	spinlock_t rx_lock ____cacheline_aligned_in_smp;
	bool rx_open;			/* cons may be used */
	struct vmshm_cons cons;
	struct vmshm_ring_hdr *rx_hdr;	/* memory to give back, or NULL */
	struct list_head ring_node;	/* chan->rings, under stats_lock */
	u64 rx_off;
	u32 rx_order;
	struct vmshm_spin rx_spin;
	u32 rx_turn;			/* bytes: turn.c */
	struct vmshm_stats rx_stats;
	struct mutex rx_mutex;		/* the pieces of one record */
	u32 rx_record_max;		/* bytes of the longest record that may come */
	seqcount_t rx_seq;		/* cons became another one */
	struct list_head rx_next;	/* rings to follow to: grow.c */
	struct vmshm_turn rx_in_turn;
};

/* The address of the other end: both sides of the loopback bus are LOCAL. */
static inline u32 vmshm_peer_cid(const struct vmshm_end *end)
{
	return end->chan->presence ? end->chan->peer_cid : VMSHM_CID_LOCAL;
}

/*
 * The ring is there, and nothing said that it ends: what comes after FIN the peer
 * never reads.  Under tx_lock.
 */
static inline bool vmshm_may_write(const struct vmshm_end *end)
{
	return end->tx_open && !(end->prod.flags & VMSHM_RING_FIN);
}

/*
 * The most bytes that a receiver may wait for: a sender sleeps while less than
 * a quarter of the ring is free, and the two must not wait for each other.
 */
static inline u64 vmshm_rx_wait_max(const struct vmshm_end *end)
{
	return end->cons.size - end->cons.size / 4;
}

/* Does the host wish that no new connections begin?  The memory is there. */
static inline bool vmshm_drain_wished(const struct vmshm_chan *ch)
{
	return ch->presence && (vmshm_load(ch->drain[0]) | vmshm_load(ch->drain[1]));
}

/* Has the peer put anything into its control queue?  A hint. */
static inline bool vmshm_chan_has_ctl(struct vmshm_chan *ch)
{
	bool has = false;

	rcu_read_lock();
	if (!READ_ONCE(ch->gone) && READ_ONCE(ch->state) == VMSHM_CHAN_UP)
		has = vmshm_load(ch->ctl_rx.theirs) != READ_ONCE(ch->ctl_rx.here);
	rcu_read_unlock();
	return has;
}

struct vmshm_sock {
	struct sock sk;			/* first */
	struct sockaddr_vmshm local;
	struct sockaddr_vmshm remote;
	struct vmshm_end *end;		/* fixed once sk_state is TCP_ESTABLISHED */
	u64 buffer_size, buffer_min, buffer_max;	/* bytes */
	bool buffer_chosen;		/* by the program */
	long connect_timeout;		/* jiffies */
	int busy_poll;			/* VMSHM_BUSY_POLL_ADAPTIVE, 0, microseconds */
	struct vmshm_spin spin;		/* DGRAM: of its receives; no lock, hints */
	bool rd_shut;			/* shutdown(SHUT_RD) was called */
	struct hlist_node bound_node;	/* vmshm_table_lock */
	struct rb_node all_node;	/* vmshm_table_lock */
	unsigned long serial;		/* its place among all sockets */
	struct delayed_work connect_work;	/* timeout of a non-blocking connect, */
	const struct vmshm_end *timed_end;	/* of this one; only compared */
	spinlock_t aq_lock;		/* all down to the end, and remote of a DGRAM */
	struct list_head accept_queue;	/* ends; of a DGRAM, who sends to it */
	bool listening;			/* ends may be added */
	bool fixed;			/* DGRAM: remote is its peer */
	bool told_again;		/* DGRAM: the last send came to EAGAIN */
	struct list_head watches;	/* DGRAM: lanes that gave EAGAIN, lane.c */
	unsigned int nr_watches;
	struct vmshm_stats dgrams;	/* DGRAM: what the socket has done */
};

static inline struct vmshm_sock *vmshm_sk(struct sock *sk)
{
	return (struct vmshm_sock *)sk;
}

/* What both ends of a connection of this type must be able to do. */
static inline u64 vmshm_type_feature(u16 sock_type)
{
	switch (sock_type) {
	case SOCK_STREAM:
		return VMSHM_F_STREAM;
	case SOCK_SEQPACKET:
		return VMSHM_F_SEQPACKET;
	case SOCK_DGRAM:
		return VMSHM_F_DGRAM;
	}
	return 0;
}

/* log2 of the ring for a receive buffer of @bytes. */
static inline u8 vmshm_ring_order(u64 bytes)
{
	if (bytes <= 1ULL << VMSHM_RING_ORDER_MIN)
		return VMSHM_RING_ORDER_MIN;
	if (bytes >= 1ULL << VMSHM_RING_ORDER_MAX)
		return VMSHM_RING_ORDER_MAX;
	return order_base_2(bytes);
}

/* main.c */
extern int vmshm_family;
extern int vmshm_busy_poll_default;
extern unsigned int vmshm_busy_poll_max_us;
extern struct workqueue_struct *vmshm_wq;
u32 vmshm_local_cid(void);
bool vmshm_claim_cid(u32 cid);

/* sock.c */
extern struct proto vmshm_proto;
extern const struct proto_ops vmshm_stream_ops;
extern const struct proto_ops vmshm_seqpacket_ops;
extern const struct proto_ops vmshm_dgram_ops;
struct sock *vmshm_sock_alloc(struct net *net, struct socket *sock, struct sock *parent,
			      int type, int kern);
int vmshm_sock_register(void);
void vmshm_sock_unregister(void);

/* bind.c */
extern spinlock_t vmshm_table_lock;
void vmshm_addr_set(struct sockaddr_vmshm *addr, u32 cid, u32 port);
int vmshm_addr_check(const void *addr, int len);
int vmshm_bind(struct socket *sock, struct vmshm_sockaddr *addr, int len);
int vmshm_autobind(struct vmshm_sock *vs);
void vmshm_unbind(struct vmshm_sock *vs);
struct vmshm_sock *vmshm_find_listener(u32 cid, u32 port);
struct vmshm_sock *vmshm_find_dgram(u32 cid, u32 port);

/* connect.c */
struct vmshm_chan *vmshm_chan_to(u32 cid);
int vmshm_connect(struct socket *sock, struct vmshm_sockaddr *addr, int len, int flags);
void vmshm_connect_timeout(struct work_struct *work);

/* accept.c */
int vmshm_listen(struct socket *sock, int backlog);
VMSHM_ACCEPT_PROTO(vmshm_accept);
int vmshm_accept_queue(struct vmshm_sock *listener, struct vmshm_end *end);
void vmshm_accept_flush(struct vmshm_sock *listener);

/* stream.c */
int vmshm_stream_sendmsg(struct socket *sock, struct msghdr *msg, size_t len);
int vmshm_stream_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags);

/* record.c */
void vmshm_ring_for(u16 sock_type, const struct vmshm_sock *vs, u32 *order, u32 *record_max);
void vmshm_end_size(struct vmshm_end *end, const struct vmshm_sock *vs);
void vmshm_end_resize(struct vmshm_end *end, const struct vmshm_sock *vs);
void vmshm_record_rx_init(struct vmshm_end *end);
void vmshm_record_tx_init(struct vmshm_end *end);
int vmshm_record_write(struct vmshm_end *end, struct iov_iter *from, size_t len, u32 info,
		       long timeo, struct vmshm_stats *own);
int vmshm_record_read(struct vmshm_end *end, struct iov_iter *to, size_t want, bool peek,
		      long timeo, struct vmshm_record *rec);
u32 vmshm_record_next(struct vmshm_end *end);
int vmshm_record_drop_others(struct vmshm_end *end, s64 info);

/* seqpacket.c */
int vmshm_seqpacket_sendmsg(struct socket *sock, struct msghdr *msg, size_t len);
int vmshm_seqpacket_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags);

/* grow.c */
int vmshm_end_grow(struct vmshm_end *end, const struct vmshm_sock *vs);
bool vmshm_grow_compose(struct vmshm_end *end, struct vmshm_ctl *msg);
bool vmshm_rx_has_moved(struct vmshm_end *end);
bool vmshm_rx_follow(struct vmshm_end *end);
void vmshm_rx_set_flags(struct vmshm_end *end, u32 flags);
u32 vmshm_rx_peer_flags(struct vmshm_end *end);
u64 vmshm_rx_unread(struct vmshm_end *end);
void vmshm_grow_free(struct vmshm_end *end);
u64 vmshm_tx_unread(const struct vmshm_end *end);
bool vmshm_end_move(struct vmshm_end *end, struct vmshm_ring_hdr *hdr, u32 order);

/* lane.c */
struct vmshm_end *vmshm_lane_get(struct vmshm_chan *ch, u32 port, bool own_cid);
void vmshm_lane_free(struct vmshm_end *end);
unsigned int vmshm_lane_wake(struct vmshm_end *end);
void vmshm_lane_opened(struct vmshm_end *end);
void vmshm_lane_over(struct vmshm_end *end);
bool vmshm_lane_is_over(struct vmshm_end *end);
int vmshm_lane_state(struct vmshm_end *end);
long vmshm_lane_wait(struct sock *sk, struct vmshm_end *end, u64 want, u32 spin_ns, long *timeo);
int vmshm_lane_watch(struct vmshm_sock *vs, struct vmshm_end *end);
void vmshm_lane_unwatch(struct vmshm_sock *vs, const struct vmshm_end *end);
void vmshm_lane_unwatch_stale(struct vmshm_sock *vs, const struct vmshm_end *end);
void vmshm_lane_unwatch_all(struct vmshm_sock *vs);
struct vmshm_end *vmshm_lane_failed(struct vmshm_sock *vs, struct vmshm_chan *ch, u32 port,
				    bool own_cid);
bool vmshm_lane_any_ready(struct vmshm_sock *vs, bool arm);

/* dgram.c */
int vmshm_dgram_connect(struct socket *sock, struct vmshm_sockaddr *addr, int len, int flags);
int vmshm_dgram_shutdown(struct socket *sock, int how);
int vmshm_dgram_sendmsg(struct socket *sock, struct msghdr *msg, size_t len);
int vmshm_dgram_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags);
int vmshm_dgram_offered(struct vmshm_chan *ch, u32 cid, const struct vmshm_ctl *msg);
u32 vmshm_dgram_next(struct vmshm_sock *vs);
u64 vmshm_dgram_info(struct vmshm_sock *vs, struct vmshm_info *info);
__poll_t vmshm_dgram_poll(struct file *file, struct socket *sock, poll_table *wait);

/* ring_wait.c */
long vmshm_wait_rx(struct sock *sk, struct vmshm_end *end, u64 want, long *timeo);
long vmshm_wait_tx(struct sock *sk, struct vmshm_end *end, u64 enough, u64 want, long *timeo);
u32 vmshm_spin_window(struct vmshm_sock *vs, struct vmshm_spin *spin);
void vmshm_spin_learn(struct vmshm_sock *vs, struct vmshm_spin *spin, u64 took, bool hit);
void vmshm_sleep_learn(struct vmshm_spin *spin, u64 took);

/* turn.c */
extern unsigned int vmshm_turn_bytes;
extern atomic_t vmshm_connections;
void vmshm_turn_tx_over(struct vmshm_end *end, long *timeo);
void vmshm_turn_rx_over(struct vmshm_end *end, long *timeo);
void vmshm_turn_leave(struct vmshm_turn *turn);
void vmshm_turn_start(void);
void vmshm_turn_end(void);

/*
 * A call goes on sending: is its turn over?  A call adds what it has sent to tx_turn,
 * without a lock, so it counts about right.
 */
static inline void vmshm_turn_tx(struct vmshm_end *end, long *timeo)
{
	if (unlikely(READ_ONCE(end->tx_turn) >= READ_ONCE(vmshm_turn_bytes)))
		vmshm_turn_tx_over(end, timeo);
}

/* It goes on receiving. */
static inline void vmshm_turn_rx(struct vmshm_end *end, long *timeo)
{
	if (unlikely(READ_ONCE(end->rx_turn) >= READ_ONCE(vmshm_turn_bytes)))
		vmshm_turn_rx_over(end, timeo);
}

/* poll.c */
__poll_t vmshm_poll(struct file *file, struct socket *sock, poll_table *wait);

/* zerocopy.c */
int vmshm_zerocopy_send(struct socket *sock, struct msghdr *msg, size_t len,
			int (*send)(struct socket *sock, struct msghdr *msg, size_t len));
int vmshm_zerocopy_set(struct sock *sk, sockptr_t from, unsigned int len);

/* sockopt.c */
int vmshm_setsockopt(struct socket *sock, int level, int name, sockptr_t val, unsigned int len);
int vmshm_getsockopt(struct socket *sock, int level, int name, char __user *val,
		     int __user *len);
int vmshm_set_rcvlowat(struct sock *sk, int val);
int vmshm_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg);
void vmshm_info_add(struct vmshm_info *info, const struct vmshm_stats *s);
void vmshm_info_get(struct vmshm_end *end, struct vmshm_info *info);

/* end.c */
struct vmshm_end *vmshm_end_alloc(struct vmshm_chan *ch, gfp_t gfp);
void vmshm_end_put(struct vmshm_end *end);
int vmshm_end_number(struct vmshm_end *end);
bool vmshm_end_open(struct vmshm_end *end, struct vmshm_ring_hdr *hdr, u32 order);
void vmshm_end_disown(struct vmshm_end *end, enum vmshm_end_state state, int err);
void vmshm_end_fail(struct vmshm_end *end, int err);
void vmshm_end_kill(struct vmshm_end *end);
void vmshm_end_reset(struct vmshm_end *end, const char *why);
void vmshm_end_peer_done(struct vmshm_end *end, bool reset);
void vmshm_end_release(struct vmshm_end *end, bool abort);
bool vmshm_end_cancel(struct vmshm_end *end);
void vmshm_end_done_sent(struct vmshm_end *end);
void vmshm_end_attend(struct vmshm_end *end);
void vmshm_end_shutdown(struct vmshm_end *end, int mode);
bool vmshm_end_arm_rx(struct vmshm_end *end, u64 lowat);
bool vmshm_end_arm_tx(struct vmshm_end *end, u64 want);
u64 vmshm_end_readable(struct vmshm_end *end);
u64 vmshm_end_take_rx(struct vmshm_end *end);
u64 vmshm_end_inq(struct vmshm_end *end);
bool vmshm_end_has_moved(struct vmshm_end *end);
u64 vmshm_end_writable(struct vmshm_end *end);
u64 vmshm_end_unread(struct vmshm_end *end);
void vmshm_ends_unmap(struct vmshm_chan *ch);

/* rxring.c */
struct vmshm_ring_hdr *vmshm_ring_get(struct vmshm_chan *ch, u32 order, u64 *off);
void vmshm_ring_put(struct vmshm_chan *ch, struct vmshm_ring_hdr *hdr, u64 off, u32 order);
int vmshm_rxring_alloc(struct vmshm_end *end);
void vmshm_rxring_open(struct vmshm_end *end);
void vmshm_rxring_free(struct vmshm_end *end);

/* ctl.c */
void vmshm_ctl_say(struct vmshm_end *end, u8 bit);
bool vmshm_ctl_unsay_connect(struct vmshm_end *end);
void vmshm_ctl_refuse(struct vmshm_chan *ch, u32 id, u32 gen, int error);
void vmshm_ctl_flush(struct vmshm_chan *ch);
void vmshm_ctl_unstick(struct vmshm_chan *ch);
int vmshm_ctl_receive(struct vmshm_chan *ch);
void vmshm_ctl_reset(struct vmshm_chan *ch);
void vmshm_connect_start(struct vmshm_end *end);
void vmshm_connect_pump(struct vmshm_chan *ch);
void vmshm_connect_drop(struct vmshm_chan *ch, int err);

/* notify.c */
void vmshm_notify(struct vmshm_end *end, u32 why);
void vmshm_notify_reset(struct vmshm_chan *ch);
void vmshm_chan_ring(struct vmshm_chan *ch);
bool vmshm_chan_irq(struct vmshm_chan *ch);
bool vmshm_chan_drain(struct vmshm_chan *ch);
void vmshm_chan_wake_all(struct vmshm_chan *ch);

/* chan.c */
extern struct list_head vmshm_chans;
extern struct mutex vmshm_chans_mutex;
void vmshm_chan_init(struct vmshm_chan *ch, const struct vmshm_bus *bus);
int vmshm_chan_add(struct vmshm_chan *ch);
void vmshm_chan_remove(struct vmshm_chan *ch);
void vmshm_chan_leave(struct vmshm_chan *ch);
void vmshm_chan_put(struct vmshm_chan *ch);
struct vmshm_chan *vmshm_chan_find(u32 cid);
void vmshm_chan_run(struct vmshm_chan *ch);
void vmshm_chan_try_run(struct vmshm_chan *ch);
void vmshm_chan_stats(struct vmshm_chan *ch, struct vmshm_stats *sum);

/* counters.c */
void vmshm_counters_init(struct vmshm_chan *ch);
void vmshm_counters_start(struct vmshm_chan *ch);
void vmshm_counters_stop(struct vmshm_chan *ch);
void vmshm_counters_ended(struct vmshm_chan *ch);
void vmshm_drain_heed(struct vmshm_chan *ch);

/* half.c */
struct gen_pool;
struct gen_pool *vmshm_half_create(u64 size);
void vmshm_half_destroy(struct gen_pool *pool);
bool vmshm_ring_affordable(u32 order, u64 avail, u64 size);
bool vmshm_half_alloc(struct gen_pool *pool, u32 order, u64 *off);
void vmshm_half_free(struct gen_pool *pool, u32 order, u64 off);

/* buses */
int vmshm_pci_register(void);
void vmshm_pci_unregister(void);
int vmshm_loopback_register(void);
void vmshm_loopback_unregister(void);
struct vmshm_chan *vmshm_loopback_chan(void);

/* view.c; what it shows is in view.h */
void vmshm_view_add(struct vmshm_sock *vs);
void vmshm_view_del(struct vmshm_sock *vs);

/* proc.c, diag.c, debugfs.c, dev.c */
int vmshm_proc_register(void);
void vmshm_proc_unregister(void);
int vmshm_diag_register(void);
void vmshm_diag_unregister(void);
void vmshm_debugfs_register(void);
void vmshm_debugfs_unregister(void);
void vmshm_debugfs_add(struct vmshm_chan *ch, const char *name);
void vmshm_debugfs_remove(struct vmshm_chan *ch);
int vmshm_dev_register(void);
void vmshm_dev_unregister(void);

#endif /* _AF_VMSHM_VMSHM_H */
