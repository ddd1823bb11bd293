// SPDX-License-Identifier: GPL-2.0-only
/*
 * The doorbell thread.
 *
 * An eventfd is shared with the QEMUs that ring it and wait on it, and so are
 * its flags: each of them can fill it and make it blocking, so that a write
 * blocks. Therefore nothing but this thread writes, it writes only where
 * there is room (a full eventfd is a bell that rings already), and a timer
 * interrupts a write that blocks all the same because somebody was quick
 * enough in between.
 */
#include "doorbell.h"
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* How long a write may block; it repeats, so that none is missed. */
#define WRITE_LIMIT_NS	20000000
#define LIMIT_SIGNAL	SIGRTMIN

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	pthread_t thread;
	struct bell *first, **last;
	bool stop;
	timer_t timer;		/* the thread's alone */
	struct say_limit limit;	/* the thread's alone */
} doorbell = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.more = PTHREAD_COND_INITIALIZER,
	.last = &doorbell.first,
};

struct bell *bell_new(uint32_t vectors, const char *label, const int *fds)
{
	struct bell *bell = calloc(1, sizeof(*bell) + vectors * sizeof(bell->fds[0]));

	if (!bell)
		return NULL;
	bell->refs = 1;
	snprintf(bell->label, sizeof(bell->label), "%s", label);
	for (; bell->vectors < vectors; bell->vectors++) {
		int fd = fds ? fds[bell->vectors] : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		if (fd < 0) {
			int err = errno;

			bell_put(bell);
			errno = err;
			return NULL;
		}
		bell->fds[bell->vectors] = fd;
	}
	return bell;
}

void bell_put(struct bell *bell)
{
	if (!bell || __atomic_sub_fetch(&bell->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (uint32_t i = 0; i < bell->vectors; i++)
		close(bell->fds[i]);
	free(bell);
}

void bell_ring(struct bell *bell)
{
	pthread_mutex_lock(&doorbell.lock);
	if (!bell->pending) {
		bell->pending = true;
		bell->next = NULL;
		__atomic_add_fetch(&bell->refs, 1, __ATOMIC_RELAXED);
		*doorbell.last = bell;
		doorbell.last = &bell->next;
		pthread_cond_signal(&doorbell.more);
	}
	pthread_mutex_unlock(&doorbell.lock);
}

/* The next bell to ring, with the queue's reference; NULL: time to end. */
static struct bell *next_bell(void)
{
	struct bell *bell;

	pthread_mutex_lock(&doorbell.lock);
	while (!doorbell.first && !doorbell.stop)
		pthread_cond_wait(&doorbell.more, &doorbell.lock);
	bell = doorbell.first;
	if (bell) {
		doorbell.first = bell->next;
		if (!doorbell.first)
			doorbell.last = &doorbell.first;
		/* From here on a new ring is a new event. */
		bell->pending = false;
	}
	pthread_mutex_unlock(&doorbell.lock);
	return bell;
}

static void limit_writes(bool on)
{
	struct itimerspec spec = {
		.it_value.tv_nsec = on ? WRITE_LIMIT_NS : 0,
		.it_interval.tv_nsec = on ? WRITE_LIMIT_NS : 0,
	};

	timer_settime(doorbell.timer, 0, &spec, NULL);
}

static void ring_now(struct bell *bell)
{
	struct pollfd room = { .fd = bell->fds[0], .events = POLLOUT };
	const uint64_t one = 1;
	ssize_t n;
	int err;

	if (poll(&room, 1, 0) == 0)
		return;
	limit_writes(true);
	n = write(room.fd, &one, sizeof(one));
	err = errno;
	limit_writes(false);
	if (n < 0 && err != EAGAIN && say_may(&doorbell.limit, "doorbells"))
		say("%s: its doorbell could not be rung: %s", bell->label,
		    err == EINTR ? "somebody made it block" : strerror(err));
}

static void limit_reached(int sig)
{
	(void)sig;	/* its one effect is that write() returns EINTR */
}

/* How doorbell_start() learns whether the thread could begin. */
struct start {
	sem_t done;
	int err;
};

static void *doorbell_thread(void *arg)
{
	struct start *start = arg;
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = LIMIT_SIGNAL,
		.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid),
	};
	struct bell *bell;
	sigset_t set;
	int failed;

	if (timer_create(CLOCK_MONOTONIC, &event, &doorbell.timer))
		start->err = errno;
	failed = start->err;
	sem_post(&start->done);		/* @start is gone after this */
	if (failed)
		return NULL;
	sigemptyset(&set);
	sigaddset(&set, LIMIT_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while ((bell = next_bell())) {
		ring_now(bell);
		bell_put(bell);
	}
	timer_delete(doorbell.timer);
	return NULL;
}

int doorbell_start(void)
{
	struct sigaction action = { .sa_handler = limit_reached };
	struct start start = { .err = 0 };
	sigset_t all, old;
	int err;

	sigemptyset(&action.sa_mask);
	if (sigaction(LIMIT_SIGNAL, &action, NULL))
		return -1;
	doorbell.stop = false;
	/* Every other signal is the main thread's. */
	sigfillset(&all);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	sem_init(&start.done, 0, 0);
	err = pthread_create(&doorbell.thread, NULL, doorbell_thread, &start);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!err) {
		while (sem_wait(&start.done))
			;	/* interrupted */
		err = start.err;
		if (err)
			pthread_join(doorbell.thread, NULL);
	}
	sem_destroy(&start.done);
	if (err) {
		errno = err;
		return -1;
	}
	return 0;
}

void doorbell_stop(void)
{
	pthread_mutex_lock(&doorbell.lock);
	doorbell.stop = true;
	pthread_cond_signal(&doorbell.more);
	pthread_mutex_unlock(&doorbell.lock);
	pthread_join(doorbell.thread, NULL);
}
