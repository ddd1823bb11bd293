// SPDX-License-Identifier: GPL-2.0-only
/*
 * tests/life's segment.h for a process on the host: the member "a" of a vmshmd
 * under test instead of a PCI device. Register 3 is looked at by a thread, which
 * rings as QEMU would.
 */
#include "joined.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

const struct vmshmd *joined_daemon;

static struct fake fake;
static u32 regs[1024];

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void *ring(void *arg)
{
	struct fake_bell *peer = &fake.peers[0];
	u64 one = 1;

	(void)arg;
	for (;;) {
		u32 value = __atomic_exchange_n(&regs[3], 0, __ATOMIC_ACQ_REL);

		if (value >> 16 == (u32)peer->id && (value & 0xffff) < peer->nr &&
		    write(peer->fds[value & 0xffff], &one, sizeof(one)) < 0)
			die("a doorbell is full");
		usleep(20);
	}
	return NULL;
}

void segment_find(struct segment *seg, u32 peer_cid)
{
	pthread_t thread;

	(void)peer_cid;
	if (!fake_join(&fake, joined_daemon, "s", "a", 2, 2))
		die("a can't join");
	*seg = (struct segment){ .bdf = "a", .mem = fake.map, .size = fake.size, .regs = regs };
	if (pthread_create(&thread, NULL, ring, NULL))
		die("no thread");
}

void segment_map(struct segment *seg)
{
	(void)seg;
}

void segment_unmap(struct segment *seg)
{
	(void)seg;
}

int segment_bind(const struct segment *seg)
{
	(void)seg;
	return 0;
}

int segment_unbind(const struct segment *seg)
{
	(void)seg;
	return 0;
}
