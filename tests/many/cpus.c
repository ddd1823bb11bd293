// SPDX-License-Identifier: GPL-2.0-only
/*
 * Senders and receivers on each couple of CPUs of two VMs, all at the same time:
 * a connection each, data in both directions, every byte checked.  And one couple
 * that sleeps, each on one CPU: who ran it looks which CPUs were interrupted.
 */
#include "many.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

struct couple {
	unsigned int cid, port;
	int here;
	uint8_t there;
	uint64_t bytes;
	int err;
	pthread_t thread;
};

static void *talk(void *arg)
{
	struct couple *c = arg;
	int fd;

	pin_to(c->here);
	fd = connected(c->cid, c->port);
	if (send(fd, &c->there, 1, MSG_NOSIGNAL) != 1)
		c->err = errno;
	else
		c->err = echo_check(fd, c->bytes);
	close(fd);
	return NULL;
}

int cpus(unsigned int cid, unsigned int port, unsigned int their_cpus, unsigned int kib)
{
	unsigned int n = cpu_count() * their_cpus, bad = 0;
	struct couple *c = calloc(n, sizeof(*c));
	double begin = seconds_now();

	if (!c || !n)
		die("no CPUs");
	for (unsigned int i = 0; i < n; i++) {
		c[i].cid = cid;
		c[i].port = port + PORT_CPUS;
		c[i].here = i / their_cpus;
		c[i].there = i % their_cpus;
		c[i].bytes = (uint64_t)kib << 10;
		if (pthread_create(&c[i].thread, NULL, talk, &c[i]))
			die("no thread: %s", errno_name(errno));
	}
	for (unsigned int i = 0; i < n; i++) {
		pthread_join(c[i].thread, NULL);
		if (!c[i].err)
			continue;
		fprintf(stderr, "many: from CPU %d to CPU %u: %s\n", c[i].here, c[i].there,
			errno_name(c[i].err));
		bad++;
	}
	printf("couples %u\nseconds %.1f\n", n, seconds_now() - begin);
	free(c);
	return bad != 0;
}

int woken(unsigned int cid, unsigned int port, unsigned int cpu, unsigned int trips)
{
	uint8_t there = cpu;
	char buf[64] = { 0 };
	int fd;

	pin_to(cpu);
	fd = connected(cid, port + PORT_CPUS);
	set_busy_poll(fd, 0);
	if (send(fd, &there, 1, MSG_NOSIGNAL) != 1)
		die("send: %s", errno_name(errno));
	for (unsigned int i = 0; i < trips; i++)
		if (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) != sizeof(buf) ||
		    recv(fd, buf, sizeof(buf), MSG_WAITALL) != sizeof(buf))
			die("round trip %u: %s", i, errno_name(errno));
	printf("trips %u\n", trips);
	close(fd);
	return 0;
}
