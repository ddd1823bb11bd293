// SPDX-License-Identifier: GPL-2.0-only
/*
 * Round trips (a message there and one back, over one connection a stream) and
 * connection rounds (connect, accept, close on both sides).
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "perf.h"

/* How often the server looks whether a client still is there, s. */
#define CRR_LIMIT	1

static bool round_trip(struct stream *s, char *buf)
{
	size_t len = s->test->len;
	uint64_t start = ticks();
	ssize_t n;

	if (send(s->fd, buf, len, MSG_NOSIGNAL) != (ssize_t)len) {
		snprintf(s->error, sizeof(s->error), "stream %u: send: %s", s->nr,
			 strerror(errno));
		return false;
	}
	n = receive_full(s->fd, buf, len);
	if (n != (ssize_t)len) {
		snprintf(s->error, sizeof(s->error), "stream %u: recv: %s", s->nr,
			 n < 0 ? strerror(errno) : "the server has gone");
		return false;
	}
	histogram_add(s->rtt, ticks() - start);
	s->bytes += len;
	s->messages++;
	return true;
}

static void *rr_client_thread(void *arg)
{
	struct stream *s = arg;
	char *buf = message_buffer(s->test->len), byte;

	s->begin = seconds_now();
	if (opt.rate)
		open_loop_client(s, buf);
	else if (opt.outstanding > 1)
		outstanding_client(s, buf);
	else
		while (!stop && s->bytes < s->share && round_trip(s, buf))
			;
	shutdown(s->fd, SHUT_WR);
	s->end = seconds_now();
	recv(s->fd, &byte, 1, 0);
	free_message_buffer(buf, s->test->len);
	return NULL;
}

static void *rr_server_thread(void *arg)
{
	struct stream *s = arg;
	size_t len = s->test->len;
	char *buf = message_buffer(len);
	ssize_t n;

	s->begin = seconds_now();
	while ((n = receive_full(s->fd, buf, len)) == (ssize_t)len) {
		if (send(s->fd, buf, len, MSG_NOSIGNAL) != (ssize_t)len) {
			n = -1;
			break;
		}
		s->bytes += len;
		s->messages++;
	}
	if (n)
		snprintf(s->error, sizeof(s->error), "stream %u: %s", s->nr,
			 n < 0 ? strerror(errno) : "a message has been cut");
	shutdown(s->fd, SHUT_WR);
	s->end = seconds_now();
	free_message_buffer(buf, len);
	return NULL;
}

void rr_run(const struct test *test, int listen_fd, struct side *side, struct histogram *ns)
{
	struct stream *streams = calloc(test->streams, sizeof(*streams));
	bool client = listen_fd < 0;
	uint64_t tick_start;
	double start, factor;

	side->sent = client;
	if (!open_streams(test, listen_fd, streams, side))
		goto out;
	start = seconds_now();
	tick_start = ticks();
	for (unsigned int i = 0; i < test->streams; i++) {
		streams[i].rtt = calloc(1, sizeof(*streams[i].rtt));
		if (!streams[i].rtt ||
		    pthread_create(&streams[i].thread, NULL,
				   client ? rr_client_thread : rr_server_thread, &streams[i]))
			die("no thread for stream %u: %s", i + 1, strerror(errno));
	}
	if (client)
		wait_for_end(test, streams);
	for (unsigned int i = 0; i < test->streams; i++)
		pthread_join(streams[i].thread, NULL);
	factor = opt.rate ? 1 : (seconds_now() - start) * 1e9 / (ticks() - tick_start);
	for (unsigned int i = 0; i < test->streams; i++) {
		if (client)
			histogram_merge(ns, streams[i].rtt, factor);
		free(streams[i].rtt);
	}
	close_streams(test, streams, side);
out:
	free(streams);
}

void crr_client(const struct test *test, struct side *side, struct histogram *ns)
{
	double start = seconds_now(), factor;
	uint64_t begin, first = ticks(), limit = UINT64_MAX;
	struct histogram *h = calloc(1, sizeof(*h));
	bool timed = !test->blocks;
	char byte;
	int fd;

	if (!h)
		die("no memory");
	if (!timed)
		limit = test->blocks;
	side->sent = true;
	while (side->messages < limit) {
		begin = ticks();
		fd = net_connect(test);
		if (fd < 0) {
			snprintf(side->error, sizeof(side->error), "connect %llu: %s",
				 (unsigned long long)side->messages + 1, strerror(errno));
			break;
		}
		/* The end of file says that the server accepted and closed. */
		if (recv(fd, &byte, 1, 0)) {
			snprintf(side->error, sizeof(side->error), "connection %llu: %s",
				 (unsigned long long)side->messages + 1, strerror(errno));
			close(fd);
			break;
		}
		close(fd);
		histogram_add(h, ticks() - begin);
		side->messages++;
		if (timed && seconds_now() - start >= test->seconds)
			break;
	}
	side->seconds = seconds_now() - start;
	factor = side->seconds * 1e9 / (ticks() - first);
	histogram_merge(ns, h, factor);
	free(h);
}

/* Until the client says over the control connection that it is done. */
void crr_server(const struct test *test, int listen_fd, int control, struct side *side)
{
	double start = seconds_now();
	char byte;
	int fd;

	net_limit(listen_fd, CRR_LIMIT);
	for (;;) {
		fd = net_accept(listen_fd, test);
		if (fd >= 0) {
			close(fd);
			side->messages++;
			continue;
		}
		if (errno != EAGAIN) {
			snprintf(side->error, sizeof(side->error), "accept: %s",
				 strerror(errno));
			break;
		}
		/* One byte: done. End of file: gone. Neither: a slow client. */
		if (recv(control, &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN)
			break;
	}
	net_limit(listen_fd, 0);
	side->seconds = seconds_now() - start;
}
