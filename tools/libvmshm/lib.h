/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of libvmshm share. One thread, no locks; the same objects and
 * rules as in af_vmshm/vmshm.h, whose files these follow:
 *
 *   join.c	the ivshmem server's client: memory and eventfds
 *   segment.c	what is in the memory, checked
 *   bell.c	doorbells out and in, pending queues, timers
 *   half.c	which pages of one's own half are in use
 *   chan.c	a channel to a peer: epochs, presence
 *   ctl.c	control messages
 *   end.c	the life of an end of a connection
 *   counters.c	what the host's operator sees
 *   host.c	the segment as a whole
 *   sock.c	listen, accept, connect, close
 *   stream.c	send and receive, readiness, waiting
 *
 * The peer may write anything anywhere in the memory at any time. Its words are
 * read once, into private variables, and checked there (vmshm/ring.h).
 */
#ifndef LIBVMSHM_H
#define LIBVMSHM_H

#include "vmshm_host.h"

#include <linux/aio_abi.h>
#include <linux/vmshm.h>
#include <sys/queue.h>
#include <vmshm/ring.h>

#define NR(array)	(sizeof(array) / sizeof((array)[0]))
#define VECTORS_MAX	64

/* TAILQ_FOREACH, for the eyes of who expects a loop. */
#define for_each	TAILQ_FOREACH

enum chan_state {
	CHAN_ABSENT,		/* nobody is there */
	CHAN_HELLO,		/* the epochs are not agreed on yet */
	CHAN_UP,
};

/* Free pages of a half. */
struct extent {
	TAILQ_ENTRY(extent) node;
	u64 off, len;
};

TAILQ_HEAD(extents, extent);

struct half {
	struct extents free;	/* by offset, never adjacent */
	struct extents spare;	/* one more than rings, with the free ones */
	u64 size, avail;
};

struct refusal {
	u32 id, gen;
	u16 error;
};

TAILQ_HEAD(socks, vmshm_sock);

/* Doorbells of one member: eventfds, by vector. */
struct bells {
	u32 id;			/* its ivshmem ID */
	unsigned int nr;
	int fds[VECTORS_MAX];
};

struct chan {
	struct vmshm_host *host;
	u32 peer_cid;
	const struct bells *bells;	/* the peer's */
	struct vmshm_side *mine, *theirs;
	u8 *my_half, *peer_half;
	u64 half_size;
	const u64 *presence;		/* the daemon's word on the peer */
	const u32 *drain[2];

	enum chan_state state;
	u64 epoch, peer_epoch, dead_epoch;
	u64 seen_presence;
	u64 features;
	bool bad_abi;
	bool draining;
	unsigned int hello_tries;
	u64 hello_at;			/* ms; 0: not wanted */

	struct half half;
	struct vmshm_sock **table;	/* by number; [0] is nobody's */
	u32 table_size, next_id, next_gen;
	struct socks ends;		/* those in the table */
	unsigned int nr_ends;

	struct vmshm_queue ctl_tx, ctl_rx;
	struct socks backlog;		/* ends with something to say */
	struct socks connects;		/* ends that wait for a start */
	int credits;
	bool ctl_stuck;
	struct refusal refusals[VMSHM_CTL_CREDITS];
	unsigned int refusal_head, refusal_tail;

	struct vmshm_queue pend_tx, pend_rx;
	u32 pend_overflow, seen_overflow;

	/* What it did; the names of struct vmshm_counters. */
	u64 tx_bytes, rx_bytes, tx_msgs, rx_msgs;
	u64 doorbells_sent, doorbells_received, doorbells_suppressed;
	u64 ring_full, protocol_errors;
	u64 ctl_taken;			/* messages */
};

enum end_state {
	END_WAITING,		/* for the channel, or a credit; not numbered */
	END_CONNECTING,		/* CONNECT is on its way */
	END_CANCELLED,		/* nobody wants the answer any more */
	END_OPEN,		/* both rings are known */
	END_DEAD,		/* refused, or the channel broke before it was open */
};

/* Still to be said, in this order. */
#define SAY_CONNECT	(1U << 0)
#define SAY_ACCEPT	(1U << 1)
#define SAY_DONE	(1U << 2)

/* vmshm_sock.shut, .peer_shut */
#define NO_READ		(1U << 0)
#define NO_WRITE	(1U << 1)

struct vmshm_sock {
	TAILQ_ENTRY(vmshm_sock) all_node, chan_node, ctl_node, wait_node, listen_node, woken_node;
	struct vmshm_host *host;
	void *data;
	bool listener;
	u32 port;			/* one's own */

	/* Of a listener. */
	struct socks queue;
	unsigned int queued, backlog;

	/* Of an end of a connection. */
	struct chan *chan;
	enum end_state state;
	u32 id, gen, peer_id, peer_gen;
	u32 peer_port;
	int err;			/* what the program is told, once */
	u32 shut, peer_shut;
	bool reset;			/* not an orderly end */
	bool refused;			/* END_OPEN for the DONEs only: the connect failed */
	bool released;			/* no program uses it any more */
	bool tabled;			/* in chan->table and chan->ends */
	bool queued_on;			/* in a listener's queue */
	bool waiting;			/* in chan->connects */
	bool done_said, done_sent, done_received;
	u8 ctl_bits, ctl_flags;		/* in chan->backlog while ctl_bits is not 0 */

	bool tx_open, rx_open;
	struct vmshm_prod prod;
	struct vmshm_cons cons;
	bool has_ring;			/* memory to give back */
	u64 rx_off;
	u32 rx_order, order_wanted;

	/* Of both. */
	bool woken;			/* in host->woken */
	bool dead;			/* in host->dead, through woken_node */
};

struct vmshm_host {
	int server;			/* the daemon's socket, -1 once it let go */
	int memfd;
	u8 *mem;
	u64 size;
	u32 id, cid;			/* ivshmem ID; CID */
	bool group;
	struct bells own;
	struct bells *peers;
	unsigned int nr_peers;

	struct vmshm_header header;	/* a copy, checked */
	struct vmshm_member *members;	/* likewise */
	unsigned int me;

	struct chan *chans;
	unsigned int nr_chans;

	int epoll_fd, timer_fd, kick_fd;
	aio_context_t aio;
	u64 timer_at;			/* ms, 0: not set */
	u64 counters_at;		/* ms, when they are due; 0: nothing changed */
	u64 seen_moved;			/* bytes and messages, all channels */
	u64 window_at;			/* ms; doorbells for nothing since then */
	unsigned int window_rings;
	u64 masked_until;		/* ms, 0: not masked */

	struct socks listeners;
	struct socks all;		/* ends that are not freed yet */
	struct socks woken, dead;
	bool dispatching;		/* the program asks who was woken after that */
	u32 buffer_order;
	u32 next_port;

	void (*say)(void *arg, const char *line);
	void *say_arg;
	u64 said_at;			/* ms; lines since then */
	unsigned int said;
};

static inline struct vmshm_ctl *ctl_queue(struct vmshm_side *side)
{
	return (struct vmshm_ctl *)((u8 *)side + VMSHM_SIDE_CTL);
}

static inline u32 *pend_queue(struct vmshm_side *side)
{
	return (u32 *)((u8 *)side + VMSHM_SIDE_PEND);
}

/* host.c */
u64 now_ms(void);
void say(struct vmshm_host *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void why(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void reap(struct vmshm_host *h);

/* join.c: each 0, or -1 with errno and a word on why */
int join(struct vmshm_host *h, const char *path, int timeout_ms);

/* segment.c */
int segment_check(struct vmshm_host *h, bool any_cid);
int segment_place(struct vmshm_host *h, const struct bells *peer, struct chan *ch);

/* bell.c */
int bells_open(struct vmshm_host *h);
void bells_close(struct vmshm_host *h);
void bell_ring(struct chan *ch, u32 vector);
void bells_take(struct vmshm_host *h);
void timer_by(struct vmshm_host *h, u64 at);
void kick(struct vmshm_host *h);
void notify(struct vmshm_sock *s, u32 reason);
void notify_reset(struct chan *ch);
void pend_receive(struct chan *ch);
void wake(struct vmshm_sock *s);
void unwake(struct vmshm_sock *s);
void wake_all(struct chan *ch);

/* half.c */
int half_open(struct half *half, u64 size);
void half_close(struct half *half);
bool half_alloc(struct half *half, u32 order, u64 *off);
void half_free(struct half *half, u32 order, u64 off);

/* chan.c */
int chan_open(struct chan *ch);
void chan_run(struct chan *ch);
void chan_close(struct chan *ch);

/* ctl.c */
void ctl_reset(struct chan *ch);
void ctl_say(struct vmshm_sock *s, u8 bit);
void ctl_unlist(struct vmshm_sock *s);
bool ctl_unsay_connect(struct vmshm_sock *s);
void ctl_flush(struct chan *ch);
void ctl_unstick(struct chan *ch);
int ctl_receive(struct chan *ch);
void connect_pump(struct chan *ch);
void connect_drop(struct chan *ch, int err);

/* end.c */
struct vmshm_sock *end_new(struct chan *ch);
int end_number(struct vmshm_sock *s);
bool end_open(struct vmshm_sock *s, u64 off, u32 order);
void end_fail(struct vmshm_sock *s, int err);
void end_kill(struct vmshm_sock *s);
void end_reset(struct vmshm_sock *s, const char *reason);
void end_peer_done(struct vmshm_sock *s, bool reset);
void end_done_sent(struct vmshm_sock *s);
void end_refuse_ring(struct vmshm_sock *s);
void end_cancel(struct vmshm_sock *s);
void end_release(struct vmshm_sock *s, bool abort);
bool end_attend(struct vmshm_sock *s);
void end_settle(struct vmshm_sock *s);
void end_free(struct vmshm_sock *s);

/* counters.c */
void counters_touch(struct vmshm_host *h);
void counters_publish(struct vmshm_host *h);
void drain_heed(struct chan *ch);

/* sock.c */
struct vmshm_sock *find_listener(struct vmshm_host *h, u32 port);

/* stream.c */
int wait_until(struct vmshm_host *h, bool (*ready)(struct vmshm_sock *s), struct vmshm_sock *s,
	       int timeout_ms);

#endif /* LIBVMSHM_H */
