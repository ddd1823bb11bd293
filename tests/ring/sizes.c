// SPDX-License-Identifier: GPL-2.0-only
/*
 * Throughput by size of the ring and of the message: what the default size of a
 * ring is chosen by. Two threads; a message is copied in and copied out, the
 * consumer reads what there is; both spin. Not a test: prints a table.
 *
 *	sizes [-n ROUNDS] [-m MILLISECONDS]
 */
#include "rt.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct bench {
	struct rt_ring ring;
	struct vmshm_prod p;
	struct vmshm_cons c;
	u64 msg;
	double seconds;
	u8 *src, *dst;
	bool stop;
	u64 bytes;
	double took;
};

#define BUFFER (4ULL << 20)

static void sender(void *arg)
{
	struct bench *b = arg;
	struct vmshm_prod p = b->p;
	unsigned int spins = 0;
	u64 at = 0;

	while (!vmshm_load(&b->stop)) {
		u64 done = 0;

		/* A source that moves: not one alignment, not one cache line. */
		at = (at + b->msg + 64) % BUFFER;
		if (at + b->msg > BUFFER)
			at = 0;
		while (done < b->msg) {
			struct vmshm_span span[2];
			u64 len = b->msg - done, off = at + done;
			long space = vmshm_prod_space(&p, len < p.size ? len : p.size / 4);
			int n, i;

			if (space <= 0) {
				if (vmshm_load(&b->stop))
					return;
				rt_relax(&spins);
				continue;
			}
			if (len > (u64)space)
				len = (u64)space;
			n = vmshm_prod_spans(&p, len, span);
			for (i = 0; i < n; i++) {
				memcpy(span[i].base, b->src + off, span[i].len);
				off += span[i].len;
			}
			vmshm_prod_publish(&p, len);
			done += len;
		}
	}
}

static void receiver(void *arg)
{
	struct bench *b = arg;
	struct vmshm_cons c = b->c;
	double start = rt_now(), now = start;
	unsigned int spins = 0, turns = 0;
	u64 at = 0;

	while (now - start < b->seconds) {
		struct vmshm_span span[2];
		long avail = vmshm_cons_avail(&c, 1);
		u64 len;
		int n, i;

		if (turns++ % 64 == 0)
			now = rt_now();
		if (avail <= 0) {
			rt_relax(&spins);
			continue;
		}
		len = (u64)avail < b->msg ? (u64)avail : b->msg;
		at = (at + len + 64) % BUFFER;
		if (at + len > BUFFER)
			at = 0;
		n = vmshm_cons_spans(&c, 0, len, span);
		for (i = 0; i < n; i++) {
			memcpy(b->dst + at, span[i].base, span[i].len);
			at += span[i].len;
		}
		vmshm_cons_consume(&c, len);
		b->bytes += len;
	}
	b->took = rt_now() - start;
	vmshm_store(&b->stop, true);
}

static double once(u32 order, u64 msg, double seconds, u8 *src, u8 *dst)
{
	struct bench *b = rt_shared(sizeof(*b));
	double rate;

	b->msg = msg;
	b->seconds = seconds;
	b->src = src;
	b->dst = dst;
	rt_ring_new(&b->ring, order);
	rt_ring_start(&b->ring, &b->p, &b->c, 0);
	memset(b->ring.hdr + 1, 1, 1ULL << order);
	rt_pair(RT_THREADS, receiver, sender, b, 100);
	rate = (double)b->bytes / b->took / 1e6;
	rt_ring_free(&b->ring);
	munmap(b, sizeof(*b));
	return rate;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static const u64 msgs[] = { 64, 1024, 16384, 65536, 1 << 20 };
	enum { NR = ARRAY_SIZE(msgs), ROUNDS_MAX = 99, ORDERS = 13 };
	static double rate[ORDERS][NR][ROUNDS_MAX];
	u8 *src = rt_shared(BUFFER + (1 << 20)), *dst = rt_shared(BUFFER + (1 << 20));
	int rounds = 5, r, opt;
	double seconds = 0.05;
	u32 order;
	size_t m;

	while ((opt = getopt(argc, argv, "n:m:")) != -1) {
		if (opt == 'n')
			rounds = atoi(optarg);
		else if (opt == 'm')
			seconds = atof(optarg) / 1e3;
		if (opt == '?' || rounds < 1 || rounds > ROUNDS_MAX || seconds <= 0.0) {
			fprintf(stderr, "usage: sizes [-n ROUNDS, 1 to %d] [-m MILLISECONDS]\n",
				ROUNDS_MAX);
			return 2;
		}
	}
	memset(src, 1, BUFFER + (1 << 20));
	memset(dst, 2, BUFFER + (1 << 20));
	/* Rounds outermost: what else the machine does hits every cell alike. */
	for (r = 0; r < rounds; r++)
		for (order = VMSHM_RING_ORDER_MIN; order <= VMSHM_RING_ORDER_MAX; order++)
			for (m = 0; m < NR; m++)
				rate[order - VMSHM_RING_ORDER_MIN][m][r] =
					once(order, msgs[m], seconds, src, dst);
	printf("MB/s, median of %d rounds of %.0f ms (lowest to highest)\n%-9s", rounds,
	       seconds * 1e3, "ring KiB");
	for (m = 0; m < NR; m++)
		printf(" %14llu B   ", (unsigned long long)msgs[m]);
	printf("\n");
	for (order = VMSHM_RING_ORDER_MIN; order <= VMSHM_RING_ORDER_MAX; order++) {
		printf("%-9llu", 1ULL << (order - 10));
		for (m = 0; m < NR; m++) {
			double *v = rate[order - VMSHM_RING_ORDER_MIN][m];

			qsort(v, (size_t)rounds, sizeof(*v), compare);
			printf(" %6.0f (%5.0f-%5.0f)", v[rounds / 2], v[0], v[rounds - 1]);
		}
		printf("\n");
	}
	return 0;
}
