// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls that make and end sockets: listen, accept, connect, close.
 */
#include "lib.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

static struct vmshm_sock *none(int err)
{
	errno = err;
	return NULL;
}

struct vmshm_sock *find_listener(struct vmshm_host *h, u32 port)
{
	struct vmshm_sock *s;

	for_each(s, &h->listeners, listen_node)
		if (s->port == port)
			return s;
	return NULL;
}

/* A port for who does not care which. */
static u32 free_port(struct vmshm_host *h)
{
	do {
		if (++h->next_port == VMSHM_PORT_ANY)
			h->next_port = VMSHM_LAST_RESERVED_PORT + 1;
	} while (find_listener(h, h->next_port));
	return h->next_port;
}

/* ---- listening ---- */

struct vmshm_sock *vmshm_listen(struct vmshm_host *h, unsigned int port, int backlog)
{
	struct vmshm_sock *s;

	if (backlog < 1)
		return none(EINVAL);
	if (port == VMSHM_PORT_ANY)
		port = free_port(h);
	else if (find_listener(h, port))
		return none(EADDRINUSE);
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->host = h;
	s->listener = true;
	s->port = port;
	s->backlog = (unsigned int)backlog;
	TAILQ_INIT(&s->queue);
	TAILQ_INSERT_TAIL(&h->listeners, s, listen_node);
	return s;
}

static struct vmshm_sock *dequeue(struct vmshm_sock *l)
{
	struct vmshm_sock *s = TAILQ_FIRST(&l->queue);

	if (s) {
		TAILQ_REMOVE(&l->queue, s, wait_node);
		s->queued_on = false;
		l->queued--;
	}
	return s;
}

static bool has_queued(struct vmshm_sock *l)
{
	return !TAILQ_EMPTY(&l->queue);
}

struct vmshm_sock *vmshm_accept(struct vmshm_sock *l, int timeout_ms)
{
	struct vmshm_sock *s;

	if (!l->listener)
		return none(EINVAL);
	if (wait_until(l->host, has_queued, l, timeout_ms))
		return NULL;
	s = dequeue(l);
	wake(s);		/* something may have come meanwhile */
	return s;
}

/* ---- connecting ---- */

static bool is_decided(struct vmshm_sock *s)
{
	return s->state == END_OPEN || s->state == END_DEAD;
}

static struct chan *chan_to(struct vmshm_host *h, u32 cid)
{
	for (unsigned int i = 0; i < h->nr_chans; i++)
		if (h->chans[i].peer_cid == cid)
			return &h->chans[i];
	return NULL;
}

struct vmshm_sock *vmshm_connect(struct vmshm_host *h, unsigned int cid, unsigned int port,
				 int timeout_ms)
{
	struct chan *ch = chan_to(h, cid);
	struct vmshm_sock *s;
	int err;

	if (!ch)
		return none(ENODEV);
	chan_run(ch);		/* as it is now */
	if (ch->state == CHAN_ABSENT)
		return none(ENODEV);
	if (ch->draining)
		return none(ESHUTDOWN);
	s = end_new(ch);
	if (!s)
		return NULL;
	s->port = free_port(h);
	s->peer_port = port;
	s->waiting = true;
	TAILQ_INSERT_TAIL(&ch->connects, s, wait_node);
	connect_pump(ch);
	if (!timeout_ms)
		return s;
	err = 0;
	if (wait_until(h, is_decided, s, timeout_ms))
		err = errno == EAGAIN ? ETIMEDOUT : errno;
	else if (vmshm_connected(s) < 0)
		err = errno;
	if (!err)
		return s;
	vmshm_close(s);
	return none(err);
}

int vmshm_connected(struct vmshm_sock *s)
{
	if (s->refused) {
		errno = ECONNRESET;
		return -1;
	}
	if (s->state == END_OPEN)
		return 1;
	if (s->state != END_DEAD)
		return 0;
	errno = s->err;
	return -1;
}

/* ---- ending ---- */

static void end(struct vmshm_sock *s, bool abort)
{
	unwake(s);
	if (s->state == END_OPEN) {
		end_release(s, abort);
	} else if (s->state == END_DEAD) {
		s->released = true;
		end_settle(s);
	} else {
		end_cancel(s);
	}
}

static void close_listener(struct vmshm_sock *l)
{
	struct vmshm_host *h = l->host;
	struct vmshm_sock *s;

	TAILQ_REMOVE(&h->listeners, l, listen_node);
	while ((s = dequeue(l)))
		end(s, true);
	unwake(l);
	free(l);
}

void vmshm_close(struct vmshm_sock *s)
{
	struct vmshm_host *h;

	if (!s)
		return;
	h = s->host;
	if (s->listener)
		close_listener(s);
	else
		end(s, false);
	reap(h);
}

void vmshm_abort(struct vmshm_sock *s)
{
	struct vmshm_host *h = s->host;

	if (s->listener)
		close_listener(s);
	else
		end(s, true);
	reap(h);
}

/* ---- small ones ---- */

unsigned int vmshm_local_port(const struct vmshm_sock *s)
{
	return s->port;
}

unsigned int vmshm_peer_port(const struct vmshm_sock *s)
{
	return s->peer_port;
}

unsigned int vmshm_peer_cid(const struct vmshm_sock *s)
{
	return s->listener ? VMSHM_CID_ANY : s->chan->peer_cid;
}

void vmshm_set_data(struct vmshm_sock *s, void *data)
{
	s->data = data;
}

void *vmshm_data(const struct vmshm_sock *s)
{
	return s->data;
}
