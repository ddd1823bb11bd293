// SPDX-License-Identifier: GPL-2.0-only
/*
 * A peer that breaks the protocol: takes the ivshmem device that this VM shares
 * with another one out of its driver's hands, drives it from user space
 * (peer.c), and tells one kind of lie for some seconds (lies.c).
 *
 * hostile list               the lies, a line each
 * hostile CID SECONDS LIE    CID is that of the VM to lie to
 *
 * At the end the device goes back to its driver. Prints what was seen; exit
 * status 1 when the honest peer saw a wrong byte or nothing at all.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lies.h"

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static u64 now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
}

static void run(struct peer *p, const struct lie *lie, u64 seconds)
{
	u64 start = now_us(), now = start, told = start, tried = start;

	while (!stop && now - start < seconds * 1000000) {
		if (!lie->mute)
			peer_step(p);
		/* A pause first, so that there is something to lie about. */
		if (lie->tell && now - start > 300000 && now - told >= lie->every_us) {
			told = now;
			lie->tell(p);
		}
		/* Two of the three ports have a listener, or one; see victim.c. */
		if (!lie->mute && now - tried >= 5000) {
			tried = now;
			peer_connect(p, 7300 + (peer_random(p) % 4 == 0));
		}
		/* A handshake that a lie spoiled begins anew. */
		if (!lie->mute && !p->up && peer_random(p) % 50000 == 0)
			peer_new_epoch(p);
		now = now_us();
	}
}

int main(int argc, char **argv)
{
	static struct peer p;
	const struct lie *lie = NULL;
	int bad = 0;

	if (argc == 2 && !strcmp(argv[1], "list")) {
		for (size_t i = 0; i < nr_lies; i++)
			puts(lies[i].name);
		return 0;
	}
	if (argc != 4)
		die("usage: hostile list | hostile CID SECONDS LIE");
	for (size_t i = 0; i < nr_lies; i++)
		if (!strcmp(lies[i].name, argv[3]))
			lie = &lies[i];
	if (!lie)
		die("hostile: '%s' is no lie; see: hostile list", argv[3]);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);

	peer_open(&p, strtoul(argv[1], NULL, 10));
	peer_new_epoch(&p);
	run(&p, lie, strtoul(argv[2], NULL, 10));
	peer_close(&p);
	printf("up %llu accepted %llu refused %llu messages %llu echoed %llu "
	       "checked %llu wrong %llu ended %llu datagrams %llu\n",
	       (unsigned long long)p.ups, (unsigned long long)p.accepts,
	       (unsigned long long)p.refusals, (unsigned long long)p.messages,
	       (unsigned long long)p.echoed, (unsigned long long)p.checked,
	       (unsigned long long)p.wrong, (unsigned long long)p.ended,
	       (unsigned long long)p.datagrams);
	if (!lie->tell)
		bad = p.wrong || !p.checked || !p.echoed || !p.accepts || !p.refusals ||
		      !p.ended || !p.datagrams;
	return bad;
}
