// SPDX-License-Identifier: GPL-2.0-only
/*
 * A segment as a whole: opening it, what is done when its descriptor is
 * readable, closing it; and what all other files say to people.
 */
#include "lib.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_ORDER	20		/* log2 of a receive ring's bytes */
#define FIRST_PORT	1024		/* of those that connect */

/* A peer that breaks rules without end fills no log. */
#define SAY_LINES	20
#define SAY_MS		10000

static __thread char reason[256];

void why(const char *fmt, ...)
{
	int err = errno;
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	errno = err;
}

const char *vmshm_host_why(void)
{
	return reason;
}

u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

void say(struct vmshm_host *h, const char *fmt, ...)
{
	u64 now = now_ms();
	char line[256];
	va_list args;

	if (!h->say)
		return;
	if (now - h->said_at >= SAY_MS) {
		h->said_at = now;
		h->said = 0;
	}
	if (h->said++ >= SAY_LINES)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	h->say(h->say_arg, line);
	if (h->said == SAY_LINES)
		h->say(h->say_arg, "more is not told for some seconds");
}

static struct vmshm_host *host_new(void)
{
	struct vmshm_host *h = calloc(1, sizeof(*h));

	if (!h) {
		why("out of memory");
		return NULL;
	}
	h->server = -1;
	h->memfd = -1;
	h->epoll_fd = -1;
	h->timer_fd = -1;
	h->kick_fd = -1;
	h->buffer_order = DEFAULT_ORDER;
	h->next_port = FIRST_PORT + (u32)(getpid() % 30000);
	TAILQ_INIT(&h->all);
	TAILQ_INIT(&h->woken);
	TAILQ_INIT(&h->dead);
	TAILQ_INIT(&h->listeners);
	return h;
}

static int open_chans(struct vmshm_host *h)
{
	h->chans = calloc(h->nr_peers, sizeof(*h->chans));
	if (!h->chans)
		return -1;
	for (unsigned int i = 0; i < h->nr_peers; i++) {
		struct chan *ch = &h->chans[i];

		if (segment_place(h, &h->peers[i], ch))
			return -1;
		h->nr_chans++;
		if (chan_open(ch))
			return -1;
	}
	return 0;
}

static void host_free(struct vmshm_host *h)
{
	bells_close(h);
	if (h->mem)
		munmap(h->mem, h->size);
	if (h->memfd >= 0)
		close(h->memfd);
	/* Last: from then on another process may be this member. */
	if (h->server >= 0)
		close(h->server);
	for (unsigned int i = 0; i < h->nr_chans; i++) {
		half_close(&h->chans[i].half);
		free(h->chans[i].table);
	}
	free(h->chans);
	free(h->members);
	free(h->peers);
	free(h);
}

struct vmshm_host *vmshm_host_open(const char *path, int flags, int timeout_ms)
{
	struct vmshm_host *h;
	int err;

	*reason = '\0';
	if (flags & ~VMSHM_HOST_ANY_CID) {
		why("flags %#x are unknown", flags);
		errno = EINVAL;
		return NULL;
	}
	h = host_new();
	if (!h)
		return NULL;
	if (join(h, path, timeout_ms) || segment_check(h, flags & VMSHM_HOST_ANY_CID) ||
	    bells_open(h) || open_chans(h)) {
		err = errno;
		if (!*reason)
			why("%s: %s", path, strerror(err));
		host_free(h);
		errno = err;
		return NULL;
	}
	kick(h);	/* what rang before we listened */
	return h;
}

/* Free what nobody can be using any more. */
void reap(struct vmshm_host *h)
{
	struct vmshm_sock *s;

	while ((s = TAILQ_FIRST(&h->dead))) {
		TAILQ_REMOVE(&h->dead, s, woken_node);
		end_free(s);
	}
}

void vmshm_host_close(struct vmshm_host *h)
{
	struct vmshm_sock *s;

	if (!h)
		return;
	while ((s = TAILQ_FIRST(&h->listeners)))
		vmshm_close(s);
	for (unsigned int i = 0; i < h->nr_chans; i++)
		chan_close(&h->chans[i]);
	counters_publish(h);
	while ((s = TAILQ_FIRST(&h->all)))
		end_free(s);
	host_free(h);
}

void vmshm_host_dispatch(struct vmshm_host *h)
{
	reap(h);
	h->dispatching = true;
	bells_take(h);
	for (unsigned int i = 0; i < h->nr_chans; i++)
		chan_run(&h->chans[i]);
	if (h->counters_at && now_ms() >= h->counters_at)
		counters_publish(h);
	if (h->counters_at)
		timer_by(h, h->counters_at);
	h->dispatching = false;
}

struct vmshm_sock *vmshm_host_next(struct vmshm_host *h)
{
	struct vmshm_sock *s = TAILQ_FIRST(&h->woken);

	if (s) {
		TAILQ_REMOVE(&h->woken, s, woken_node);
		s->woken = false;
	}
	return s;
}

int vmshm_host_set_buffer(struct vmshm_host *h, size_t bytes)
{
	u32 order = VMSHM_RING_ORDER_MIN;

	if (bytes > 1UL << VMSHM_RING_ORDER_MAX) {
		errno = EINVAL;
		return -1;
	}
	while (1UL << order < bytes)
		order++;
	h->buffer_order = order;
	return 0;
}

void vmshm_host_set_log(struct vmshm_host *h, void (*say_line)(void *arg, const char *line),
			void *arg)
{
	h->say = say_line;
	h->say_arg = arg;
}

unsigned int vmshm_host_cid(const struct vmshm_host *h)
{
	return h->cid;
}

int vmshm_host_peer_up(const struct vmshm_host *h, unsigned int cid)
{
	for (unsigned int i = 0; i < h->nr_chans; i++)
		if (h->chans[i].peer_cid == cid)
			return h->chans[i].state == CHAN_UP;
	return 0;
}

int vmshm_host_attached(const struct vmshm_host *h)
{
	return h->server >= 0;
}

int vmshm_host_fd(const struct vmshm_host *h)
{
	return h->epoll_fd;
}
