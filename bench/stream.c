// SPDX-License-Identifier: GPL-2.0-only
/*
 * Throughput: each stream is a connection and a thread on either side, one
 * sending messages as fast as it can, one receiving. Also the opening and
 * closing of connections for the other kinds of test.
 */
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "perf.h"

volatile bool stop;

/* How long the server waits for a connection that the client announced, s. */
#define ACCEPT_LIMIT	10

bool open_streams(const struct test *test, int listen_fd, struct stream *streams,
		  struct side *side)
{
	stop = false;
	if (listen_fd >= 0)
		net_limit(listen_fd, ACCEPT_LIMIT);
	for (unsigned int i = 0; i < test->streams; i++) {
		struct stream *s = &streams[i];

		s->test = test;
		s->nr = i + 1;
		s->sender = (listen_fd < 0) != test->reverse;
		s->share = UINT64_MAX;
		if (test->bytes)
			s->share = test->bytes / test->streams +
				(i < test->bytes % test->streams);
		else if (test->blocks)
			s->share = (test->blocks / test->streams +
				    (i < test->blocks % test->streams)) * test->len;
		s->fd = listen_fd < 0 ? net_connect(test) : net_accept(listen_fd, test);
		if (s->fd >= 0)
			continue;
		snprintf(side->error, sizeof(side->error), "%s stream %u: %s",
			 listen_fd < 0 ? "connect" : "accept", s->nr, strerror(errno));
		while (i--)
			close(streams[i].fd);
		break;
	}
	if (listen_fd >= 0)
		net_limit(listen_fd, 0);
	return !side->error[0];
}

void close_streams(const struct test *test, struct stream *streams, struct side *side)
{
	double begin = INFINITY, end = 0;

	for (unsigned int i = 0; i < test->streams; i++) {
		struct stream *s = &streams[i];

		side->bytes += s->bytes;
		side->messages += s->messages;
		if (s->begin < begin)
			begin = s->begin;
		if (s->end > end)
			end = s->end;
		side->has_info |= net_info(s->fd, &side->info);
		if (s->error[0] && !side->error[0])
			snprintf(side->error, sizeof(side->error), "%s", s->error);
		close(s->fd);
	}
	side->seconds = end > begin ? end - begin : 0;
}

/*
 * Page-aligned, each page touched, and every message from nearly the same memory:
 * what is measured is the socket, not page faults. Nearly: where the buffer lies
 * against the ring decides how fast TCG copies (its direct-mapped TLB), so the
 * place moves on by a page every few messages, and no run has a lucky one. Over few
 * pages: with as many as the ring has, TCG would look up each anew.
 */
#define MOVE_PAGES	32
#define MOVE_BYTES	4096
#define MOVE_AFTER	64		/* messages, of small ones */
#define MOVE_AFTER_BYTES	65536	/* of large ones */

static size_t place(const struct stream *s)
{
	size_t len = s->test->len, after = MOVE_AFTER;

	if (len > MOVE_AFTER_BYTES / MOVE_AFTER)
		after = len < MOVE_AFTER_BYTES ? MOVE_AFTER_BYTES / len : 1;
	return s->messages / after % MOVE_PAGES * MOVE_BYTES;
}

void *message_buffer(size_t len)
{
	len += (size_t)MOVE_PAGES * MOVE_BYTES;

	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		die("no memory for messages of %zu bytes", len);
	for (size_t i = 0; i < len; i++)
		p[i] = i * 7;
	return p;
}

void free_message_buffer(void *buf, size_t len)
{
	munmap(buf, len + (size_t)MOVE_PAGES * MOVE_BYTES);
}

ssize_t receive_full(int fd, void *buf, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = recv(fd, (char *)buf + done, len - done, 0);
		if (n < 0)
			return n;
		if (!n)
			break;
		done += n;
	}
	return done;
}

static void send_messages(struct stream *s, const char *buf)
{
	size_t len = s->test->len, want;
	ssize_t n;

	while (!stop && s->bytes < s->share) {
		want = s->share - s->bytes < len ? s->share - s->bytes : len;
		n = send(s->fd, buf + place(s), want, MSG_NOSIGNAL);
		if (n < 0) {
			snprintf(s->error, sizeof(s->error), "stream %u: send: %s", s->nr,
				 strerror(errno));
			break;
		}
		s->bytes += n;
		s->messages++;
	}
	shutdown(s->fd, SHUT_WR);
}

static void receive_messages(struct stream *s, char *buf)
{
	ssize_t n;

	while ((n = recv(s->fd, buf + place(s), s->test->len, 0)) > 0) {
		s->bytes += n;
		s->messages++;
	}
	if (n < 0)
		snprintf(s->error, sizeof(s->error), "stream %u: recv: %s", s->nr,
			 strerror(errno));
}

static void *stream_thread(void *arg)
{
	struct stream *s = arg;
	char *buf = message_buffer(s->test->len), byte;

	s->begin = seconds_now();
	if (s->sender) {
		send_messages(s, buf);
		/* The other side has read all when its end comes back. */
		recv(s->fd, &byte, 1, 0);
	} else {
		receive_messages(s, buf);
		shutdown(s->fd, SHUT_WR);
	}
	s->end = seconds_now();
	free_message_buffer(buf, s->test->len);
	return NULL;
}

static bool all_ended(const struct test *test, const struct stream *streams)
{
	double end;

	for (unsigned int i = 0; i < test->streams; i++) {
		__atomic_load(&streams[i].end, &end, __ATOMIC_RELAXED);
		if (!end)
			return false;
	}
	return true;
}

/* Reports each interval, and says stop when the time is over. */
void wait_for_end(const struct test *test, struct stream *streams)
{
	bool timed = !test->bytes && !test->blocks;
	double start = seconds_now(), end = start + test->seconds, at, next, report;
	uint64_t bytes, messages, last_bytes = 0, last_messages = 0;
	double last = start;

	report = opt.server || !opt.interval ? INFINITY : start + opt.interval;
	for (;;) {
		at = seconds_now();
		if (at >= report - 0.001) {
			bytes = 0;
			messages = 0;
			for (unsigned int i = 0; i < test->streams; i++) {
				bytes += streams[i].bytes;
				messages += streams[i].messages;
			}
			report_interval(test, streams, last - start, at - start,
					bytes - last_bytes, messages - last_messages);
			last_bytes = bytes;
			last_messages = messages;
			last = at;
			report += opt.interval;
		}
		if ((timed && at >= end) || all_ended(test, streams))
			break;
		next = at + 0.05;
		if (timed && next > end)
			next = end;
		if (next > report)
			next = report;
		if (next > at)
			usleep((next - at) * 1e6 + 1);
	}
	if (timed)
		stop = true;
}

void stream_run(const struct test *test, int listen_fd, struct side *side)
{
	struct stream *streams = calloc(test->streams, sizeof(*streams));
	bool sender = (listen_fd < 0) != test->reverse;

	side->sent = sender;
	if (open_streams(test, listen_fd, streams, side)) {
		for (unsigned int i = 0; i < test->streams; i++)
			if (pthread_create(&streams[i].thread, NULL, stream_thread, &streams[i]))
				die("no thread for stream %u: %s", i + 1, strerror(errno));
		/* A receiver ends when its senders do. */
		if (sender || (!opt.server && opt.interval))
			wait_for_end(test, streams);
		for (unsigned int i = 0; i < test->streams; i++)
			pthread_join(streams[i].thread, NULL);
		close_streams(test, streams, side);
	}
	free(streams);
}
