// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM whose QEMU was taken over, against a process on the host: doorbells that
 * are full and block, doorbells without end, forged tables. What is said in the
 * protocol itself is hostile.c's.
 */
#include "two.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

/* The VM, by its protocol alone. */
static void fake_first(struct two *t, struct fake *f)
{
	two_daemon(t, "16M");
	need(fake_join(f, &t->d, "s", "a", 2, 2), "a can't join");
}

static void host_joins(struct two *t)
{
	t->host = two_open(t, "host");
	need(t->host, "the host can't join: %s", vmshm_host_why());
}

static void fake_and_host(struct two *t, struct fake *f)
{
	fake_first(t, f);
	host_joins(t);
}

static void blocking_bells(void)
{
	u64 full = UINT64_MAX - 1;
	struct fake f;
	struct two t;

	fake_first(&t, &f);
	for (unsigned int i = 0; i < 2; i++) {
		int bells[] = { f.own.fds[i], f.peers[0].fds[i] };

		for (unsigned int k = 0; k < 2; k++) {
			need(!fcntl(bells[k], F_SETFL, 0), "fcntl: %s", strerror(errno));
			bell_rings(bells[k], 0);
			need(write(bells[k], &full, sizeof(full)) == sizeof(full), "write");
		}
	}
	host_joins(&t);
	vmshm_store(&((struct vmshm_side *)(f.map + fake_channel(&f, 0)->side_off[0]))->state,
		    VMSHM_SIDE_UP);
	for (u64 i = 1; i < 300; i++) {
		/* A new epoch each time, for which the host rings. */
		vmshm_word_publish(&((struct vmshm_side *)(f.map +
				   fake_channel(&f, 0)->side_off[0]))->epoch, i);
		pump(&t);
	}
	ok(true, "doorbells that are full and block: the host goes on");
	fake_leave(&f);
	two_end(&t);
}

struct flood {
	struct fake *f;
	bool stop;
	u64 rung;
};

/* Rings, and takes it away before it is heard, perhaps; at the end, too. */
static void *steal(void *arg)
{
	struct flood *fl = arg;
	struct iovec iov = { &fl->rung, sizeof(fl->rung) };
	u64 one = 1, until = now_ms() + 20;

	while (now_ms() < until) {
		if (write(fl->f->peers[0].fds[0], &one, sizeof(one)) < 0)
			break;
		preadv2(fl->f->peers[0].fds[0], &iov, 1, -1, RWF_NOWAIT);
	}
	vmshm_store(&fl->stop, true);
	return NULL;
}

static void stolen_bells(void)
{
	pthread_t thread;
	struct fake f;
	struct two t;

	fake_and_host(&t, &f);
	/* Who lets himself be made to wait for one does so for ever. */
	fcntl(f.peers[0].fds[0], F_SETFL, 0);
	for (int round = 0; round < 50; round++) {
		struct flood fl = { .f = &f, .stop = false };

		pthread_create(&thread, NULL, steal, &fl);
		while (!vmshm_load(&fl.stop))
			vmshm_host_dispatch(t.host);
		pthread_join(thread, NULL);
		sleep_ms(2);
	}
	fcntl(f.peers[0].fds[0], F_SETFL, O_NONBLOCK);
	ok(true, "doorbells that are taken away: the host waits for none of them");
	fake_leave(&f);
	two_end(&t);
}

static void *flood(void *arg)
{
	struct flood *fl = arg;
	u64 one = 1;

	while (!vmshm_load(&fl->stop))
		fl->rung += write(fl->f->peers[0].fds[fl->rung % 2], &one, sizeof(one)) > 0;
	return NULL;
}

static void endless_bells(void)
{
	struct flood fl = { .stop = false };
	struct pollfd fd = { .events = POLLIN };
	u64 turns = 0, until;
	pthread_t thread;
	struct fake f;
	struct two t;

	fake_and_host(&t, &f);
	fl.f = &f;
	fd.fd = vmshm_host_fd(t.host);
	pthread_create(&thread, NULL, flood, &fl);
	for (until = now_ms() + 2000; now_ms() < until; turns++) {
		poll(&fd, 1, 100);
		vmshm_host_dispatch(t.host);
	}
	vmshm_store(&fl.stop, true);
	pthread_join(thread, NULL);
	diag("%lu doorbells in two seconds, %lu turns", (unsigned long)fl.rung,
	     (unsigned long)turns);
	ok(turns > 100 && turns < 8000 && fl.rung > 2 * turns,
	   "doorbells without end: the host looks by timer");
	sleep_ms(150);
	for (int i = 0; i < 3; i++)
		vmshm_host_dispatch(t.host);
	fl.rung = 1;
	need(write(f.peers[0].fds[0], &fl.rung, 8) == 8, "write");
	until = now_ms();
	poll(&fd, 1, 5);
	ok(now_ms() - until < 5, "afterwards a doorbell is heard at once");
	fake_leave(&f);
	two_end(&t);
}

/* Each number that says where something is, by values that it can't have. */
static void forged_places(void)
{
	u64 size, right, ch, header[] = { 16, 56, 64 }, channel[] = { 8, 16, 24, 32, 40 };
	unsigned int refused = 0, tried = 0;
	struct fake f;
	struct two t;

	fake_first(&t, &f);
	size = f.size;
	ch = fake_header(&f)->channel_off;
	for (unsigned int i = 0; i < NR(header) + NR(channel); i++) {
		u64 wrong[] = { 0, 1, size - 8, size, size + VMSHM_PAGE, -4096ULL, 1ULL << 63 };
		u64 *word = (u64 *)(f.map + (i < NR(header) ? header[i] :
					     ch + channel[i - NR(header)]));

		right = *word;
		for (unsigned int k = 0; k < NR(wrong); k++) {
			vmshm_store(word, wrong[k]);
			t.host = wrong[k] == right ? NULL : two_open(&t, "host");
			tried += wrong[k] != right;
			refused += wrong[k] != right && !t.host && errno == EPROTO;
			if (t.host)
				diag("word %u is %#lx, and it joins", i, (unsigned long)wrong[k]);
			vmshm_host_close(t.host);
		}
		vmshm_store(word, right);
	}
	t.host = NULL;
	ok(refused == tried, "places that can't be: %u of %u refused", refused, tried);
	fake_leave(&f);
	two_end(&t);
}

static void forged_tables(void)
{
	unsigned int opened = 0, refused = 0, strange = 0, seed = 1;
	struct fake f;
	struct two t;
	u8 *right;
	u64 len;

	fake_first(&t, &f);
	len = fake_channel(&f, 0)->side_off[0];
	right = malloc(len);
	memcpy(right, f.map, len);
	for (int i = 0; i < 120; i++) {
		u64 fields[] = { 8, 12, 16, 48, 52, 56, 64, fake_header(&f)->member_off,
				 fake_header(&f)->member_off + 128,
				 fake_header(&f)->channel_off };
		u64 at = fields[rand_r(&seed) % NR(fields)] + rand_r(&seed) % 6 * 4;
		u64 value = (u64)rand_r(&seed) << (rand_r(&seed) % 33);

		vmshm_store((u32 *)(f.map + at), (u32)(rand_r(&seed) & 1 ? value : value % 5));
		if (rand_r(&seed) & 1)
			vmshm_store((u64 *)(f.map + (at & ~7ULL)), value % 3 ? value : -value);
		t.host = two_open(&t, "host");
		if (t.host) {
			opened++;
			pump(&t);
			vmshm_host_close(t.host);
		} else if (errno == EPROTO || errno == EPROTONOSUPPORT || errno == EPERM) {
			refused++;
		} else {
			diag("%s: %s", strerror(errno), vmshm_host_why());
			strange++;
		}
		memcpy(f.map, right, len);
	}
	ok(refused > 30 && opened > 5 && !strange,
	   "forged tables: %u refused, %u harmless", refused, opened);
	t.host = two_open(&t, "host");
	ok(t.host, "with the right ones it joins");
	free(right);
	fake_leave(&f);
	two_end(&t);
}

int main(void)
{
	alarm(100);
	blocking_bells();
	stolen_bells();
	endless_bells();
	forged_places();
	forged_tables();
	return done();
}
