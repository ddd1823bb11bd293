// SPDX-License-Identifier: GPL-2.0-only
/*
 * The server of all parts: what each of its ports does is in many.h.
 */
#include "many.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#define BACKLOG		4096
#define STACK		(128 << 10)	/* of a connection's thread */
#define SINK_BUFFER	(128 << 10)

static int listener(unsigned int port)
{
	int fd = listen_on(port, BACKLOG);

	if (fd < 0)
		die("listen on port %u: %s", port, errno_name(errno));
	return fd;
}

/* ---- one thread for all ---- */

/* What came goes back; false when the connection is over. */
static bool echo_some(int fd)
{
	char buf[SMALL_BUFFER];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return true;
	/* There is room: who sends waits for the echo before it sends more. */
	return n > 0 && send(fd, buf, n, MSG_NOSIGNAL) == n;
}

static void *crowd_server(void *arg)
{
	struct epoll_event events[256], e = { .events = EPOLLIN };
	int listen_fd = *(int *)arg, ep = epoll_create1(EPOLL_CLOEXEC);

	e.data.fd = listen_fd;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, listen_fd, &e))
		die("epoll: %s", errno_name(errno));
	for (;;) {
		int n = epoll_wait(ep, events, 256, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listen_fd) {
				fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
				e.data.fd = fd;
				if (fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
					die("accept: %s", errno_name(errno));
			} else if (!echo_some(fd)) {
				close(fd);
			}
		}
	}
	return NULL;
}

/* ---- a thread a connection ---- */

/* Of a bulk stream the first CPU, of its round trips the last (many tail). */
static bool apart;

static void *echo_thread(void *arg)
{
	int fd = (long)arg;

	if (apart)
		pin_to(cpu_count() - 1);
	echo_all(fd);
	close(fd);
	return NULL;
}

static void *sink_thread(void *arg)
{
	char *buf = malloc(SINK_BUFFER + PLACES_BYTES);
	int fd = (long)arg;

	if (apart)
		pin_to(0);
	for (unsigned int i = 0; buf && recv(fd, buf + place_of(i), SINK_BUFFER, 0) > 0; i++)
		;
	free(buf);
	close(fd);
	return NULL;
}

static void *cpus_thread(void *arg)
{
	int fd = (long)arg;
	uint8_t cpu;

	if (recv(fd, &cpu, 1, 0) == 1) {
		pin_to(cpu);
		echo_all(fd);
	}
	close(fd);
	return NULL;
}

static void *busy_thread(void *arg)
{
	int fd = (long)arg;
	char byte;

	if (apart)
		pin_to(0);
	while (recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)
		keep_busy();
	close(fd);
	return NULL;
}

static void *slab_thread(void *arg)
{
	uint64_t bytes = slab_bytes();
	int fd = (long)arg;

	send(fd, &bytes, sizeof(bytes), MSG_NOSIGNAL);
	close(fd);
	return NULL;
}

struct service {
	int fd;
	void *(*run)(void *conn);
};

static void *accept_all(void *arg)
{
	struct service *s = arg;
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	for (;;) {
		long fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0 || pthread_create(&thread, &attr, s->run, (void *)fd))
			die("accept: %s", errno_name(errno));
	}
	return NULL;
}

int serve(unsigned int port, int poll_us, bool pins)
{
	static struct service services[PORTS] = {
		[PORT_ECHO] = { .run = echo_thread },
		[PORT_SINK] = { .run = sink_thread },
		[PORT_CPUS] = { .run = cpus_thread },
		[PORT_BUSY] = { .run = busy_thread },
		[PORT_SLAB] = { .run = slab_thread },
	};
	pthread_t thread;

	apart = pins;
	raise_descriptors();
	for (int i = 0; i < PORTS; i++) {
		services[i].fd = listener(port + i);
		set_busy_poll(services[i].fd, poll_us);
	}
	set_buffer(services[PORT_CROWD].fd, SMALL_BUFFER);
	for (int i = 0; i < PORTS; i++)
		if (services[i].run && pthread_create(&thread, NULL, accept_all, &services[i]))
			die("no thread: %s", errno_name(errno));
	puts("ready");
	crowd_server(&services[PORT_CROWD].fd);
	return 0;
}
