// SPDX-License-Identifier: GPL-2.0-only
/*
 * Streams at full speed, a thread each: does each get its share?
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

struct stream {
	int fd;
	pthread_t thread;
	uint64_t sent;
	uint64_t before;	/* when the window began */
};

static bool over;

static void *send_all_the_time(void *arg)
{
	static char buf[MESSAGE + PLACES_BYTES];
	struct stream *s = arg;

	for (unsigned int i = 0; !__atomic_load_n(&over, __ATOMIC_RELAXED); i++) {
		ssize_t n = send(s->fd, buf + place_of(i), MESSAGE, MSG_NOSIGNAL);

		if (n <= 0)
			die("send: %s", errno_name(errno));
		__atomic_store_n(&s->sent, s->sent + n, __ATOMIC_RELAXED);
	}
	return NULL;
}

int share(unsigned int cid, unsigned int port, unsigned int streams, unsigned int seconds)
{
	struct stream *s = calloc(streams, sizeof(*s));
	uint64_t least = UINT64_MAX, most = 0, all = 0;
	double begin, squares = 0;

	if (!s || !streams)
		die("%u streams: expected 1 or more", streams);
	for (unsigned int i = 0; i < streams; i++)
		s[i].fd = connected(cid, port + PORT_SINK);
	for (unsigned int i = 0; i < streams; i++)
		if (pthread_create(&s[i].thread, NULL, send_all_the_time, &s[i]))
			die("no thread: %s", errno_name(errno));
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
	for (unsigned int i = 0; i < streams; i++)
		pthread_join(s[i].thread, NULL);
	printf("streams %u\nmib_per_second %.0f\n", streams, all / begin / (1 << 20));
	printf("least_percent %.1f\nmost_percent %.1f\n", 100.0 * least * streams / all,
	       100.0 * most * streams / all);
	/* The standard deviation of the shares. */
	printf("spread_percent %.1f\n",
	       100 * sqrt(fmax(squares * streams / ((double)all * all) - 1, 0)));
	free(s);
	return 0;
}
