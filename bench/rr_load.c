// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests under load, the client's side of round trips that do not wait for each
 * other: so many outstanding at a time (--outstanding), or so many a second, come
 * what may (--rate). The second is an open loop: a request's time counts from when
 * it was due, so that a stall shows in all requests that had to wait for it.
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "perf.h"

#define NS	1000000000ull

static uint64_t ns_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS + t.tv_nsec;
}

static bool send_one(struct stream *s, const char *buf)
{
	if (send(s->fd, buf, s->test->len, MSG_NOSIGNAL) == (ssize_t)s->test->len)
		return true;
	snprintf(s->error, sizeof(s->error), "stream %u: send: %s", s->nr, strerror(errno));
	return false;
}

/* 1, 0 at the end of the stream, or -1. */
static int receive_one(struct stream *s, char *buf)
{
	ssize_t n = receive_full(s->fd, buf, s->test->len);

	if (n == (ssize_t)s->test->len) {
		s->bytes += n;
		s->messages++;
		return 1;
	}
	if (!n)
		return 0;
	snprintf(s->error, sizeof(s->error), "stream %u: recv: %s", s->nr,
		 n < 0 ? strerror(errno) : "the server has gone");
	return -1;
}

void outstanding_client(struct stream *s, char *buf)
{
	uint64_t begun[MAX_OUTSTANDING], limit = s->share / s->test->len;
	uint64_t sent = 0, received = 0;

	if (s->share != UINT64_MAX && s->share % s->test->len)
		limit++;
	while (received < sent || (!stop && sent < limit)) {
		int n;

		while (!stop && sent < limit && sent - received < opt.outstanding) {
			begun[sent % MAX_OUTSTANDING] = ticks();
			if (!send_one(s, buf))
				return;
			sent++;
		}
		if (received == sent)
			break;
		n = receive_one(s, buf);
		if (n <= 0) {
			if (!n)
				snprintf(s->error, sizeof(s->error),
					 "stream %u: recv: the server has gone", s->nr);
			return;
		}
		histogram_add(s->rtt, ticks() - begun[received % MAX_OUTSTANDING]);
		received++;
	}
}

/* What the sending and the receiving thread of an open loop share. */
struct open_loop {
	struct stream *s;
	uint64_t start;		/* ns, of the first request */
	uint64_t sent;		/* the sender's, once it has ended */
};

static uint64_t due(const struct open_loop *o, uint64_t n)
{
	return o->start + (uint64_t)(n * (NS / opt.rate));
}

static void *take_answers(void *arg)
{
	struct open_loop *o = arg;
	struct stream *s = o->s;
	char *buf = message_buffer(s->test->len);

	for (uint64_t n = 0; receive_one(s, buf) == 1; n++) {
		uint64_t now = ns_now();

		/* A timer that fires early by less than its step is no answer from the future. */
		histogram_add(s->rtt, now > due(o, n) ? now - due(o, n) : 0);
	}
	free_message_buffer(buf, s->test->len);
	return NULL;
}

void open_loop_client(struct stream *s, char *buf)
{
	struct open_loop o = { .s = s, .start = ns_now() + NS / 1000 };
	uint64_t limit = s->share / s->test->len;
	pthread_t thread;

	if (pthread_create(&thread, NULL, take_answers, &o))
		die("no thread for the answers: %s", strerror(errno));
	for (; !stop && o.sent < limit; o.sent++) {
		struct timespec t = { due(&o, o.sent) / NS, due(&o, o.sent) % NS };

		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR && !stop)
			;
		if (!send_one(s, buf))
			break;
	}
	shutdown(s->fd, SHUT_WR);
	pthread_join(thread, NULL);
	if (!s->error[0] && s->messages != o.sent)
		snprintf(s->error, sizeof(s->error), "stream %u: %llu of %llu answers came", s->nr,
			 (unsigned long long)s->messages, (unsigned long long)o.sent);
}
