// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a bulk stream does to the slowest hundredth of somebody else's round
 * trips: measured in turns, alone, beside it, and beside threads that keep as many
 * CPUs busy (what a host does that has fewer cores), on the same connections.
 */
#include "many.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#define PING		64
#define BULK		(128 << 10)
#define MAX_TRIPS	1000000
#define MAX_ROUNDS	100

/* What the VMs do besides: nothing, the stream, or as much work without it. */
enum beside { ALONE, BULK_STREAM, BUSY, NR_BESIDES };

static struct {
	int fd;
	uint64_t sent;
	enum beside what;
	bool over, apart;
	pthread_mutex_t lock;
	pthread_cond_t changed;
} bulk = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void *other_thread(void *arg)
{
	static char buf[BULK];

	(void)arg;
	if (bulk.apart)
		pin_to(0);
	for (;;) {
		enum beside what;
		bool over;

		pthread_mutex_lock(&bulk.lock);
		while (bulk.what == ALONE && !bulk.over)
			pthread_cond_wait(&bulk.changed, &bulk.lock);
		what = bulk.what;
		over = bulk.over;
		pthread_mutex_unlock(&bulk.lock);
		if (over)
			return NULL;
		if (what == BUSY) {
			keep_busy();
			continue;
		}
		if (send(bulk.fd, buf, sizeof(buf), MSG_NOSIGNAL) != sizeof(buf))
			die("bulk: %s", errno_name(errno));
		__atomic_store_n(&bulk.sent, bulk.sent + sizeof(buf), __ATOMIC_RELAXED);
	}
}

static void switch_to(enum beside what, bool over)
{
	pthread_mutex_lock(&bulk.lock);
	bulk.what = what;
	bulk.over = over;
	pthread_cond_signal(&bulk.changed);
	pthread_mutex_unlock(&bulk.lock);
	usleep(100000);		/* until it runs, or what it had sent is read */
}

struct turn {
	double p50, p99, p999;		/* microseconds */
	double mib_per_second;		/* of the bulk stream */
};

static int by_value(const void *a, const void *b)
{
	const float *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static struct turn measure(int fd, unsigned int ms)
{
	static float took[MAX_TRIPS];
	double begin = seconds_now(), end = begin + ms / 1000.0, before = begin;
	uint64_t sent = __atomic_load_n(&bulk.sent, __ATOMIC_RELAXED);
	char buf[PING] = { 0 };
	struct turn t;
	int n = 0;

	while (before < end && n < MAX_TRIPS) {
		double now;

		if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) != sizeof(buf) ||
		    recv(fd, buf, sizeof(buf), MSG_WAITALL) != sizeof(buf))
			die("round trip: %s", errno_name(errno));
		now = seconds_now();
		took[n++] = (now - before) * 1e6;
		before = now;
	}
	sent = __atomic_load_n(&bulk.sent, __ATOMIC_RELAXED) - sent;
	qsort(took, n, sizeof(*took), by_value);
	t.p50 = took[n / 2];
	t.p99 = took[(int)(n * 0.99)];
	t.p999 = took[(int)(n * 0.999)];
	t.mib_per_second = sent / (seconds_now() - begin) / (1 << 20);
	return t;
}

/* The medians of all rounds; returns that of the 99th hundredth. */
static double print(const char *name, const struct turn *turns, unsigned int n)
{
	double p50[MAX_ROUNDS], p99[MAX_ROUNDS], p999[MAX_ROUNDS], speed[MAX_ROUNDS];

	for (unsigned int i = 0; i < n; i++) {
		p50[i] = turns[i].p50;
		p99[i] = turns[i].p99;
		p999[i] = turns[i].p999;
		speed[i] = turns[i].mib_per_second;
	}
	printf("%s_p50_us %.0f\n%s_p99_us %.0f\n%s_p999_us %.0f\n%s_mib_per_second %.0f\n",
	       name, median(p50, n), name, median(p99, n), name, median(p999, n), name,
	       median(speed, n));
	return median(p99, n);
}

int tail(unsigned int cid, unsigned int port, unsigned int rounds, unsigned int ms, int poll_us,
	 bool apart)
{
	static const char *const names[NR_BESIDES] = { "alone", "beside", "busy" };
	struct turn turns[NR_BESIDES][MAX_ROUNDS];
	double p99[NR_BESIDES];
	int fd = connected(cid, port + PORT_ECHO);
	pthread_t thread;

	if (!rounds || rounds > MAX_ROUNDS)
		die("%u rounds: expected 1 to %d", rounds, MAX_ROUNDS);
	bulk.fd = connected(cid, port + PORT_SINK);
	bulk.apart = apart;
	if (apart)
		pin_to(cpu_count() - 1);
	set_busy_poll(fd, poll_us);
	set_busy_poll(bulk.fd, poll_us);
	if (pthread_create(&thread, NULL, other_thread, NULL))
		die("no thread: %s", errno_name(errno));
	for (unsigned int i = 0; i < rounds; i++) {
		for (enum beside what = ALONE; what < NR_BESIDES; what++) {
			int there = what == BUSY ? connected(cid, port + PORT_BUSY) : -1;

			switch_to(what, false);
			turns[what][i] = measure(fd, ms);
			if (there >= 0)
				close(there);
		}
	}
	switch_to(ALONE, true);
	pthread_join(thread, NULL);
	for (enum beside what = ALONE; what < NR_BESIDES; what++)
		p99[what] = print(names[what], turns[what], rounds);
	printf("p99_times_alone %.2f\np99_times %.2f\n", p99[BULK_STREAM] / p99[ALONE],
	       p99[BULK_STREAM] / p99[BUSY]);
	return 0;
}
