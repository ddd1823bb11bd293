// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells out and in: pending queues, eventfds, the timer, and who is woken.
 *
 * An eventfd is shared with the QEMUs that ring it and wait on it, and so are its
 * flags: each of them can fill it, and make it block. Ours are read without
 * waiting whatever the flags say (RWF_NOWAIT). A write can't be told so; so the
 * kernel rings for us when a read of no bytes is complete (io_submit(2)), and
 * that never waits, as when KVM rings.
 */
#include "lib.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Reads of no bytes that are complete and not taken yet. */
#define AIO_EVENTS	128

/*
 * A peer that rings without end: so many times in WINDOW_MS somebody rang and no
 * byte or message had moved since the last time, and they are looked at by timer
 * for a while. Who moves bytes pays for the doorbell himself.
 */
#define WINDOW_MS	10
#define WINDOW_RINGS	50
#define MASK_MS		100

/* What an epoll event is for, beside 0 up for one's own vectors. */
#define EV_TIMER	VECTORS_MAX
#define EV_KICK		(VECTORS_MAX + 1)
#define EV_SERVER	(VECTORS_MAX + 2)
#define EV_MOST		(VECTORS_MAX + 3)

static int watch(struct vmshm_host *h, int op, int fd, u32 events, u32 what)
{
	struct epoll_event ev = { .events = events, .data.u32 = what };

	return epoll_ctl(h->epoll_fd, op, fd, &ev);
}

int bells_open(struct vmshm_host *h)
{
	int err;

	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	h->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	h->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	err = h->epoll_fd < 0 || h->timer_fd < 0 || h->kick_fd < 0 ||
	      watch(h, EPOLL_CTL_ADD, h->timer_fd, EPOLLIN, EV_TIMER) ||
	      watch(h, EPOLL_CTL_ADD, h->kick_fd, EPOLLIN, EV_KICK) ||
	      watch(h, EPOLL_CTL_ADD, h->server, EPOLLRDHUP, EV_SERVER);
	for (unsigned int i = 0; !err && i < h->own.nr; i++)
		err = watch(h, EPOLL_CTL_ADD, h->own.fds[i], EPOLLIN, i);
	if (err) {
		why("doorbells can't be waited for: %s", strerror(errno));
		return -1;
	}
	if (syscall(SYS_io_setup, AIO_EVENTS, &h->aio)) {
		h->aio = 0;
		why("doorbells can't be rung: io_setup: %s%s", strerror(errno),
		    errno == EAGAIN ? "; fs.aio-max-nr is used up" : "");
		return -1;
	}
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_bells(struct bells *b)
{
	while (b->nr)
		close(b->fds[--b->nr]);
}

void bells_close(struct vmshm_host *h)
{
	if (h->aio)
		syscall(SYS_io_destroy, h->aio);
	close_fd(&h->epoll_fd);
	close_fd(&h->timer_fd);
	close_fd(&h->kick_fd);
	close_bells(&h->own);
	while (h->peers && h->nr_peers)
		close_bells(&h->peers[--h->nr_peers]);
}

/* ---- out ---- */

/* Ring the peer. Whatever is announced by it was stored before. */
void bell_ring(struct chan *ch, u32 vector)
{
	const struct bells *b = ch->bells;
	struct vmshm_host *h = ch->host;
	struct io_event taken[AIO_EVENTS];
	struct iocb nothing = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (u32)h->memfd,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (u32)b->fds[vector % b->nr],
	}, *list = &nothing;

	vmshm_mb();
	ch->doorbells_sent++;
	while (syscall(SYS_io_submit, h->aio, 1, &list) != 1)
		if (errno != EAGAIN ||
		    syscall(SYS_io_getevents, h->aio, 0, AIO_EVENTS, taken, NULL) <= 0)
			break;
}

/* The vector that who waits there asks for, else one by the end's number. */
static u32 vector_for(const struct vmshm_sock *s, u32 reason)
{
	u32 wish = 0;

	if (reason & VMSHM_PEND_DATA && s->tx_open)
		wish = vmshm_prod_peer_vector(&s->prod);
	if (!wish && reason & VMSHM_PEND_SPACE && s->rx_open)
		wish = vmshm_cons_peer_vector(&s->cons);
	return wish ? wish - 1 : s->peer_id;
}

/**
 * notify - tell the peer that something happened to an end
 * @s: an end
 * @reason: VMSHM_PEND_DATA, VMSHM_PEND_SPACE or both
 */
void notify(struct vmshm_sock *s, u32 reason)
{
	struct chan *ch = s->chan;

	if (ch->state != CHAN_UP || !s->tabled)
		return;
	/* A lie about the index costs the liar: its own wake-ups get vague. */
	if (vmshm_queue_room(&ch->pend_tx) > 0) {
		vmshm_store(&pend_queue(ch->mine)[vmshm_queue_slot(&ch->pend_tx)],
			    s->peer_id | reason);
		vmshm_queue_advance(&ch->pend_tx);
	} else {
		vmshm_overflow_bump(&ch->mine->pend_overflow, &ch->pend_overflow);
	}
	bell_ring(ch, vector_for(s, reason));
}

/* Both queues begin anew, with a new pair of epochs. */
void notify_reset(struct chan *ch)
{
	vmshm_queue_init(&ch->pend_tx, &ch->mine->pend_prod, &ch->theirs->pend_cons,
			 VMSHM_PEND_ENTRIES);
	vmshm_store(&ch->mine->pend_prod, 0);
	vmshm_queue_init(&ch->pend_rx, &ch->mine->pend_cons, &ch->theirs->pend_prod,
			 VMSHM_PEND_ENTRIES);
	vmshm_store(&ch->mine->pend_cons, 0);
}

/* ---- in ---- */

/* The program is to look at a socket that it knows. */
void wake(struct vmshm_sock *s)
{
	if (s->woken || s->released || s->queued_on)
		return;
	/* Who sleeps on the descriptor next is to come for it. */
	if (!s->host->dispatching && TAILQ_EMPTY(&s->host->woken))
		kick(s->host);
	s->woken = true;
	TAILQ_INSERT_TAIL(&s->host->woken, s, woken_node);
}

/* The program does not want to hear of it any more. */
void unwake(struct vmshm_sock *s)
{
	if (s->woken)
		TAILQ_REMOVE(&s->host->woken, s, woken_node);
	s->woken = false;
}

/* Whom the peer rang for; at most a queue's length. */
void pend_receive(struct chan *ch)
{
	int filled = vmshm_queue_filled(&ch->pend_rx);

	/* A lie, or a restart that will be seen: its entries are lost to it. */
	while (filled-- > 0) {
		u32 id = vmshm_load(&pend_queue(ch->theirs)[vmshm_queue_slot(&ch->pend_rx)]) &
			 VMSHM_PEND_ID_MASK;

		vmshm_queue_advance(&ch->pend_rx);
		if (id < ch->table_size && ch->table[id])
			wake(ch->table[id]);
	}
}

/* The pending queue ran over, or lied: everybody looks. */
void wake_all(struct chan *ch)
{
	struct vmshm_sock *s;

	for_each(s, &ch->ends, chan_node)
		wake(s);
}

/* ---- waiting ---- */

/* Be back in vmshm_host_dispatch() at @at, in ms, or before. */
void timer_by(struct vmshm_host *h, u64 at)
{
	struct itimerspec when = {
		.it_value = { .tv_sec = (time_t)(at / 1000),
			      .tv_nsec = (long)(at % 1000) * 1000000 },
	};

	if (h->timer_at && h->timer_at <= at)
		return;
	h->timer_at = at;
	timerfd_settime(h->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Be back in vmshm_host_dispatch() at once. */
void kick(struct vmshm_host *h)
{
	u64 one = 1;

	if (write(h->kick_fd, &one, sizeof(one)) < 0)
		return;		/* it is full: kicked enough */
}

static void mask(struct vmshm_host *h, bool on)
{
	for (unsigned int i = 0; i < h->own.nr; i++)
		watch(h, on ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, h->own.fds[i], EPOLLIN, i);
}

static void mind_storms(struct vmshm_host *h, bool rung)
{
	u64 now = now_ms(), moved = 0;

	for (unsigned int i = 0; i < h->nr_chans; i++)
		moved += h->chans[i].tx_bytes + h->chans[i].rx_bytes + h->chans[i].ctl_taken;
	if (rung && moved != h->seen_moved)
		rung = false;
	h->seen_moved = moved;
	if (h->masked_until && now >= h->masked_until) {
		h->masked_until = 0;
		mask(h, false);
	}
	if (h->masked_until) {
		timer_by(h, now + 1);
		return;
	}
	if (now - h->window_at >= WINDOW_MS) {
		h->window_at = now;
		h->window_rings = 0;
	}
	h->window_rings += rung;
	if (h->window_rings <= WINDOW_RINGS)
		return;
	h->window_rings = 0;
	h->masked_until = now + MASK_MS;
	mask(h, true);
	timer_by(h, now + 1);
}

/* Take what rang, so that the descriptor is readable only for what comes after. */
void bells_take(struct vmshm_host *h)
{
	struct epoll_event ev[EV_MOST];
	int n = epoll_wait(h->epoll_fd, ev, EV_MOST, 0);
	bool rung = false;

	while (n-- > 0) {
		u32 what = ev[n].data.u32;
		struct iovec iov;
		u64 count;

		iov.iov_base = &count;
		iov.iov_len = sizeof(count);
		if (what < h->own.nr) {
			if (preadv2(h->own.fds[what], &iov, 1, -1, RWF_NOWAIT) > 0)
				rung = true;
		} else if (what == EV_TIMER) {
			if (read(h->timer_fd, &count, sizeof(count)) > 0)
				h->timer_at = 0;
		} else if (what == EV_KICK) {
			if (read(h->kick_fd, &count, sizeof(count)) < 0)
				continue;
		} else {
			close_fd(&h->server);
			say(h, "vmshmd has let go of this member");
		}
	}
	if (rung)
		for (unsigned int i = 0; i < h->nr_chans; i++)
			h->chans[i].doorbells_received++;
	mind_storms(h, rung);
}
