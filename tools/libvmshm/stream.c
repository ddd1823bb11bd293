// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bytes: sending and receiving, readiness, waiting. The ring is vmshm/ring.h's;
 * each call that comes to nothing arms the doorbell for what it wanted, looks
 * again, and only then says EAGAIN.
 */
#include "lib.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

static int fail(int err)
{
	errno = err;
	return -1;
}

/* The error that the program has not been told yet; -1 with errno, or 0. */
static int take_error(struct vmshm_sock *s)
{
	int err = s->err;

	s->err = 0;
	return err ? fail(err) : 0;
}

/* ---- is there anything? ---- */

/*
 * Bytes that can be read, all of them if @want is beyond the ring's size; 0: end
 * of file; -1 with errno, EAGAIN when the doorbell is armed.
 */
static long readable(struct vmshm_sock *s, u64 want)
{
	if (s->listener || s->state != END_OPEN)
		return fail(ENOTCONN);
	for (;;) {
		long n = 0;

		/* Flags before the index: after FIN, the index that is read is the last. */
		end_attend(s);
		if (s->shut & NO_READ)
			return 0;
		if (s->rx_open)
			n = vmshm_cons_avail(&s->cons, want);
		if (n > 0)
			return n;
		if (n < 0)
			end_reset(s, "more was written than there was room");
		if (take_error(s))
			return -1;
		if (s->peer_shut & NO_WRITE || !s->rx_open)
			return 0;
		/* Each flag is news once, and what arming finds is read in the next turn. */
		n = vmshm_cons_arm(&s->cons, 1);
		if (n < 0)
			end_reset(s, "more was written than there was room");
		if (!n && !end_attend(s))
			return fail(EAGAIN);
	}
}

/* Room to write @want bytes or fewer, at least one; -1 with errno as readable(). */
static long writable(struct vmshm_sock *s, u64 want)
{
	if (s->listener || s->state != END_OPEN)
		return fail(ENOTCONN);
	for (;;) {
		long n = 0;

		end_attend(s);
		if (take_error(s))
			return -1;
		if (s->shut & NO_WRITE || s->peer_shut & NO_READ || !s->tx_open)
			return fail(EPIPE);
		n = vmshm_prod_space(&s->prod, want);
		if (n > 0)
			return n;
		if (!n)
			n = vmshm_prod_arm(&s->prod, s->prod.size / 4);
		if (n < 0)
			end_reset(s, "more was read than written");
		if (!n && !end_attend(s)) {
			s->chan->ring_full++;
			return fail(EAGAIN);
		}
	}
}

static bool has_data(struct vmshm_sock *s)
{
	return vmshm_events(s, POLLIN) & (POLLIN | POLLERR | POLLHUP);
}

static bool has_room(struct vmshm_sock *s)
{
	return vmshm_events(s, POLLOUT) & (POLLOUT | POLLERR | POLLHUP);
}

int vmshm_events(struct vmshm_sock *s, int want)
{
	int events = 0;
	long n;

	if (s->listener)
		return TAILQ_EMPTY(&s->queue) ? 0 : POLLIN;
	if (s->state == END_DEAD)
		return POLLERR | POLLHUP;
	if (s->state != END_OPEN)
		return 0;
	if (s->rx_open) {
		n = vmshm_cons_avail(&s->cons, 1);
		if (!n && want & POLLIN)
			n = vmshm_cons_arm(&s->cons, 1);
		if (n)
			events |= POLLIN;
	}
	if (s->tx_open && !(s->shut & NO_WRITE)) {
		n = vmshm_prod_space(&s->prod, s->prod.size / 4);
		if (n >= 0 && n < (long)s->prod.size / 4)
			n = want & POLLOUT ? vmshm_prod_arm(&s->prod, s->prod.size / 4) : 0;
		if (n)
			events |= POLLOUT;
	}
	/* After arming: who set a flag before that did not ring for us. */
	end_attend(s);
	if (s->shut & NO_READ || s->peer_shut & NO_WRITE)
		events |= POLLIN | POLLRDHUP;
	/* A send that would fail at once does not block. */
	if (s->peer_shut & NO_READ && !(s->shut & NO_WRITE))
		events |= POLLOUT;
	/* Nothing can be sent any more, and nothing more will come. */
	if (s->reset || ((s->shut & NO_WRITE || s->peer_shut & NO_READ) &&
			 (s->shut & NO_READ || s->peer_shut & NO_WRITE)))
		events |= POLLHUP;
	if (s->err)
		events |= POLLERR;
	return events;
}

/* ---- in pieces of the ring ---- */

static int fill(struct iovec piece[2], const struct vmshm_span span[2], int n)
{
	for (int i = 0; i < n; i++)
		piece[i] = (struct iovec){ span[i].base, span[i].len };
	return n;
}

int vmshm_send_pieces(struct vmshm_sock *s, struct iovec piece[2])
{
	long n = writable(s, UINT64_MAX);
	struct vmshm_span span[2];

	return n < 0 ? -1 : fill(piece, span, vmshm_prod_spans(&s->prod, (u64)n, span));
}

int vmshm_send_done(struct vmshm_sock *s, size_t bytes)
{
	struct chan *ch = s->chan;

	if (!bytes)
		return 0;
	if (s->listener || !s->tx_open)
		return fail(EPIPE);
	if (bytes > s->prod.size - (s->prod.prod - s->prod.cons))
		return fail(EINVAL);
	ch->tx_bytes += bytes;
	ch->tx_msgs++;
	counters_touch(s->host);
	if (vmshm_prod_publish(&s->prod, bytes))
		notify(s, VMSHM_PEND_DATA);
	else
		ch->doorbells_suppressed++;
	return 0;
}

int vmshm_recv_pieces(struct vmshm_sock *s, struct iovec piece[2])
{
	long n = readable(s, UINT64_MAX);
	struct vmshm_span span[2];

	return n <= 0 ? (int)n : fill(piece, span, vmshm_cons_spans(&s->cons, 0, (u64)n, span));
}

int vmshm_recv_done(struct vmshm_sock *s, size_t bytes)
{
	struct chan *ch = s->chan;

	if (!bytes)
		return 0;
	if (s->listener || !s->rx_open)
		return fail(ECONNRESET);
	if (bytes > s->cons.prod - s->cons.cons)
		return fail(EINVAL);
	ch->rx_bytes += bytes;
	ch->rx_msgs++;
	counters_touch(s->host);
	if (vmshm_cons_consume(&s->cons, bytes))
		notify(s, VMSHM_PEND_SPACE);
	return 0;
}

/* ---- with a copy ---- */

static ssize_t send_some(struct vmshm_sock *s, const u8 *buf, size_t len)
{
	struct vmshm_span span[2];
	long room = writable(s, len);
	size_t n;

	if (room < 0)
		return -1;
	n = (size_t)room < len ? (size_t)room : len;
	for (int i = 0, k = vmshm_prod_spans(&s->prod, n, span); i < k; i++) {
		memcpy(span[i].base, buf, span[i].len);
		buf += span[i].len;
	}
	return vmshm_send_done(s, n) ? -1 : (ssize_t)n;
}

ssize_t vmshm_send(struct vmshm_sock *s, const void *buf, size_t len, int timeout_ms)
{
	u64 until = timeout_ms < 0 ? UINT64_MAX : now_ms() + (u64)timeout_ms;
	size_t done = 0;

	while (done < len) {
		ssize_t n = send_some(s, (const u8 *)buf + done, len - done);
		u64 now;

		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (errno != EAGAIN || !timeout_ms)
			break;
		now = now_ms();
		if (wait_until(s->host, has_room, s, until == UINT64_MAX ? -1 :
			       now >= until ? 0 : (int)(until - now)))
			break;
	}
	return done || !len ? (ssize_t)done : -1;
}

static ssize_t recv_some(struct vmshm_sock *s, u8 *buf, size_t len)
{
	struct vmshm_span span[2];
	long there = readable(s, len);
	size_t n;

	if (there <= 0)
		return there;
	n = (size_t)there < len ? (size_t)there : len;
	for (int i = 0, k = vmshm_cons_spans(&s->cons, 0, n, span); i < k; i++) {
		vmshm_copy_once(buf, span[i].base, span[i].len);
		buf += span[i].len;
	}
	return vmshm_recv_done(s, n) ? -1 : (ssize_t)n;
}

ssize_t vmshm_recv(struct vmshm_sock *s, void *buf, size_t len, int timeout_ms)
{
	for (;;) {
		ssize_t n = len ? recv_some(s, buf, len) : 0;

		if (n >= 0 || errno != EAGAIN || !timeout_ms)
			return n;
		if (wait_until(s->host, has_data, s, timeout_ms))
			return -1;
	}
}

int vmshm_shutdown(struct vmshm_sock *s, int how)
{
	u32 reason = 0;

	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return fail(EINVAL);
	if (s->listener || s->state != END_OPEN)
		return fail(ENOTCONN);
	if (how != SHUT_RD) {
		s->shut |= NO_WRITE;
		if (s->tx_open) {
			vmshm_prod_set_flags(&s->prod, VMSHM_RING_FIN);
			reason |= VMSHM_PEND_DATA;
		}
	}
	if (how != SHUT_WR) {
		s->shut |= NO_READ;
		if (s->rx_open) {
			vmshm_cons_set_flags(&s->cons, VMSHM_RING_RDSHUT);
			reason |= VMSHM_PEND_SPACE;
		}
	}
	if (reason)
		notify(s, reason);
	return 0;
}

/* ---- waiting ---- */

/*
 * Serve the segment until @ready, for @timeout_ms at the most. 0, or -1 with
 * EAGAIN or EINTR. Sockets that were woken meanwhile stay for vmshm_host_next().
 */
int wait_until(struct vmshm_host *h, bool (*ready)(struct vmshm_sock *s), struct vmshm_sock *s,
	       int timeout_ms)
{
	u64 until = timeout_ms < 0 ? UINT64_MAX : now_ms() + (u64)timeout_ms;
	struct pollfd fd = { .fd = h->epoll_fd, .events = POLLIN };
	int err = 0;

	while (!err && !ready(s)) {
		u64 now = timeout_ms < 0 ? 0 : now_ms();

		if (now >= until)
			err = EAGAIN;
		else if (poll(&fd, 1, timeout_ms < 0 ? -1 : (int)(until - now)) < 0)
			err = errno;
		else
			vmshm_host_dispatch(h);
	}
	/* Those that were woken while somebody else was waited for. */
	if (timeout_ms && !TAILQ_EMPTY(&h->woken))
		kick(h);
	return err ? fail(err) : 0;
}
