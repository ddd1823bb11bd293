// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams at full speed, a thread each: does each get its share? And do others that
 * pause all the time leave the CPUs to those that do not?
 */
#include "many.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#define MESSAGE		(64 << 10)
/* Who pauses sends more than a turn, so that its turn comes and finds it asleep. */
#define BURST		(MESSAGE * 5)
#define PAUSE_US	20000
#define PAUSES_ROUNDS	3

struct stream {
	int fd;
	pthread_t thread;
	uint64_t sent;
	uint64_t before;	/* when the window began */
};

static bool over, bursts;

static void send_some(struct stream *s, unsigned int i)
{
	static char buf[MESSAGE + PLACES_BYTES];
	ssize_t n = send(s->fd, buf + place_of(i), MESSAGE, MSG_NOSIGNAL);

	if (n <= 0)
		die("send: %s", errno_name(errno));
	__atomic_store_n(&s->sent, s->sent + n, __ATOMIC_RELAXED);
}

static void *send_all_the_time(void *arg)
{
	for (unsigned int i = 0; !__atomic_load_n(&over, __ATOMIC_RELAXED); i++)
		send_some(arg, i);
	return NULL;
}

static void *send_and_pause(void *arg)
{
	unsigned int n = 0;

	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		if (__atomic_load_n(&bursts, __ATOMIC_RELAXED))
			for (unsigned int i = 0; i < BURST / MESSAGE; i++)
				send_some(arg, n++);
		usleep(PAUSE_US);
	}
	return NULL;
}

static struct stream *streams_of(unsigned int n, unsigned int cid, unsigned int port,
				 void *(*run)(void *))
{
	struct stream *s = calloc(n, sizeof(*s));

	if (!s || !n)
		die("%u streams: expected 1 or more", n);
	for (unsigned int i = 0; i < n; i++)
		s[i].fd = connected(cid, port + PORT_SINK);
	for (unsigned int i = 0; i < n; i++)
		if (pthread_create(&s[i].thread, NULL, run, &s[i]))
			die("no thread: %s", errno_name(errno));
	return s;
}

static void end_streams(struct stream *s, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		pthread_join(s[i].thread, NULL);
	free(s);
}

int share(unsigned int cid, unsigned int port, unsigned int streams, unsigned int seconds)
{
	struct stream *s = streams_of(streams, cid, port, send_all_the_time);
	uint64_t least = UINT64_MAX, most = 0, all = 0;
	double begin, squares = 0;

	sleep(1);
	begin = seconds_now();
	for (unsigned int i = 0; i < streams; i++)
		s[i].before = __atomic_load_n(&s[i].sent, __ATOMIC_RELAXED);
	sleep(seconds);
	for (unsigned int i = 0; i < streams; i++) {
		uint64_t n = __atomic_load_n(&s[i].sent, __ATOMIC_RELAXED) - s[i].before;

		squares += (double)n * n;
		least = n < least ? n : least;
		most = n > most ? n : most;
		all += n;
	}
	begin = seconds_now() - begin;
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	end_streams(s, streams);
	printf("streams %u\nmib_per_second %.0f\n", streams, all / begin / (1 << 20));
	printf("least_percent %.1f\nmost_percent %.1f\nmost_to_least %.3f\n",
	       100.0 * least * streams / all, 100.0 * most * streams / all,
	       (double)most / least);
	/* The standard deviation of the shares. */
	printf("spread_percent %.1f\n",
	       100 * sqrt(fmax(squares * streams / ((double)all * all) - 1, 0)));
	return 0;
}

static uint64_t sent_by(const struct stream *s, unsigned int n)
{
	uint64_t sum = 0;

	while (n--)
		sum += __atomic_load_n(&s[n].sent, __ATOMIC_RELAXED);
	return sum;
}

/* In turns: without those that pause, and with them. */
int pauses(unsigned int cid, unsigned int port, unsigned int streams, unsigned int pausing,
	   unsigned int seconds)
{
	struct stream *s = streams_of(streams, cid, port, send_all_the_time);
	struct stream *p = streams_of(pausing, cid, port, send_and_pause);
	double speed[2][PAUSES_ROUNDS], begin;

	for (int i = 0; i < 2 * PAUSES_ROUNDS; i++) {
		uint64_t before;

		__atomic_store_n(&bursts, i % 2, __ATOMIC_RELAXED);
		usleep(500000);
		before = sent_by(s, streams) + sent_by(p, pausing);
		begin = seconds_now();
		sleep(seconds);
		before = sent_by(s, streams) + sent_by(p, pausing) - before;
		speed[i % 2][i / 2] = before / (seconds_now() - begin) / (1 << 20);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	end_streams(s, streams);
	end_streams(p, pausing);
	printf("without_mib_per_second %.0f\nwith_mib_per_second %.0f\n",
	       median(speed[0], PAUSES_ROUNDS), median(speed[1], PAUSES_ROUNDS));
	return 0;
}
