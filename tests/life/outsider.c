// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VM whose kernel is hostile can do with the device that it has: takes
 * the first ivshmem device of this VM out of its driver's hands and does one
 * thing with its memory or its doorbell register. Whether anybody else was
 * harmed is for others to find out (run-isolated).
 *
 * outsider find              looks for the pattern of traffic.c in all of the memory, or
 *                            until it has found plenty; prints how many bytes it read,
 *                            and how many are of the pattern
 * outsider overwrite SECONDS writes other bytes into all of it, again and again
 * outsider claim CID SECONDS forges header and tables: this VM is CID
 * outsider ring              rings all peers that a number can mean, on all vectors
 * outsider flood SECONDS     rings each peer that there may be, without a pause
 * outsider spin SECONDS      is as busy, and rings nobody
 *
 * Header and tables are put back at the end, the driver gets the device again.
 * Nothing of the protocol is spoken here: that is hostile.c.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmshm/port.h>

#include "net.h"
#include "segment.h"

#define CHUNK		4096
#define RUN		24	/* bytes in a row that are no accident */
#define ENOUGH		1000	/* found: that was no accident either */
#define CIDS		16	/* of a lab's VMs, the least numbers */

static struct segment seg;
static u8 *tables;
static u64 tables_size;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

/* Header and tables lie before all that members write. */
static void save_tables(void)
{
	const struct vmshm_header *h = (const void *)seg.mem;
	const struct vmshm_channel *c;

	if (h->magic != VMSHM_MAGIC || h->nr_channels != 1)
		die("%s: this is no couple's segment", seg.bdf);
	c = (const void *)(seg.mem + h->channel_off);
	tables_size = c->side_off[0] < c->side_off[1] ? c->side_off[0] : c->side_off[1];
	tables = malloc(tables_size);
	if (!tables)
		die("no memory");
	memcpy(tables, seg.mem, tables_size);
}

static void put_back(void)
{
	memcpy(seg.mem, tables, tables_size);
	segment_unmap(&seg);
	segment_bind(&seg);
}

/* ---- its memory ---- */

/*
 * pattern_fill() at a place that is not known: a byte is what is left of the
 * place divided by 251, and all of a run have the same value added by xor.
 */
static bool is_pattern(const u8 *at)
{
	for (unsigned int k = 0; k < 256; k++) {
		unsigned int i = 1;

		while (i < RUN && (at[i] ^ k) == ((at[i - 1] ^ k) + 1) % 251)
			i++;
		if (i == RUN)
			return true;
	}
	return false;
}

static bool is_zero(const u8 *chunk)
{
	const u64 *words = (const u64 *)chunk;
	u64 all = 0;

	for (unsigned int i = 0; i < CHUNK / sizeof(*words); i++)
		all |= words[i];
	return !all;
}

static int find(void)
{
	u64 read = 0, written = 0, found = 0;
	u8 chunk[CHUNK];

	for (; read < seg.size && found < ENOUGH && !stop; read += CHUNK) {
		memcpy(chunk, seg.mem + read, CHUNK);
		if (is_zero(chunk))
			continue;
		written += CHUNK;
		for (unsigned int i = 0; i + RUN <= CHUNK; i++)
			found += is_pattern(chunk + i);
	}
	printf("read %llu of them written %llu found %llu\n", (unsigned long long)read,
	       (unsigned long long)written, (unsigned long long)found);
	return read != seg.size && found < ENOUGH;
}

static int overwrite(double seconds)
{
	const double end = seconds_now() + seconds;
	u64 rounds = 0, written = 0;

	while (!stop && seconds_now() < end) {
		/* All bits, none, and what looks like small numbers. */
		static const u8 with[] = { 0xff, 0, 1, 0x5a };

		for (u64 at = 0; at < seg.size && !stop && seconds_now() < end; at += 1 << 20) {
			memset(seg.mem + at, with[rounds % 4], 1 << 20);
			written += 1 << 20;
		}
		rounds++;
	}
	printf("wrote %llu\n", (unsigned long long)written);
	return written < seg.size;
}

/* Every way to say that this VM is @cid, in turn, and back to the truth. */
static int claim(u32 cid, double seconds)
{
	const double end = seconds_now() + seconds;
	struct vmshm_header *h = (void *)seg.mem;
	struct vmshm_member *m = (void *)(seg.mem + h->member_off);
	const u32 position = seg.regs[2];
	u32 me = m[1].ivshmem_id == position, rounds = 0;
	struct vmshm_member mine = m[me], peer = m[!me];

	while (!stop && seconds_now() < end) {
		m[me] = mine;
		m[!me] = peer;
		if (rounds & 1)
			m[me].cid = cid;
		if (rounds & 2)
			m[!me].ivshmem_id = cid;	/* what the peer's device shows */
		if (rounds & 4)
			m[me].ivshmem_id = cid;
		if (rounds & 8)
			snprintf(m[me].name, sizeof(m[me].name), "a");
		if (rounds & 16)
			m[me].presence += 2;
		rounds++;
		vmshm_mb();
		for (unsigned int v = 0; v < 4; v++)
			seg.regs[3] = mine.cid << 16 | v;
	}
	printf("claimed %u times\n", rounds);
	return !rounds;
}

/* ---- its doorbell register ---- */

/*
 * The register takes 16 bits of peer and 16 of vector: every peer with the
 * vectors that a device can have and some beyond, the lab's with all.
 */
static int ring(void)
{
	u64 rung = 0;

	for (u32 peer = 0; peer < 65536 && !stop; peer++) {
		u32 last = peer < CIDS || peer == 65535 ? 65535 : 70;

		for (u32 vector = 0; vector <= last; vector++)
			seg.regs[3] = peer << 16 | vector;
		rung += last + 1;
	}
	/* The other registers, too: those that can be written mask interrupts. */
	for (unsigned int i = 0; i < 64; i++)
		if (i != 3)
			seg.regs[i] = UINT32_MAX;
	printf("rang %llu times\n", (unsigned long long)rung);
	return 0;
}

static int flood(double seconds, bool truly)
{
	const double end = seconds_now() + seconds;
	const struct vmshm_header *h = (const void *)tables;
	const struct vmshm_member *m = (const void *)(tables + h->member_off);
	u32 peer = m[m[1].ivshmem_id != seg.regs[2]].ivshmem_id;
	u64 rung = 0;

	/* In a couple, one rings one's own CID. */
	while (!stop && seconds_now() < end) {
		for (u32 i = 0; i < 1000; i++) {
			u32 vector = i % (truly ? m[0].vectors : 1);

			if (truly)
				seg.regs[3] = peer << 16 | vector;
			else
				vmshm_store((u32 *)(seg.mem + seg.size) - 1, i);
		}
		rung += 1000;
	}
	printf("%s %llu times\n", truly ? "rang" : "stored", (unsigned long long)rung);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	double seconds = argc > 2 ? strtod(argv[argc - 1], NULL) : 0;
	int bad = 2;

	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGHUP, on_signal);
	segment_find(&seg, 0);
	segment_unbind(&seg);
	segment_map(&seg);
	save_tables();
	puts("begins");
	fflush(stdout);
	if (!strcmp(what, "find") && argc == 2)
		bad = find();
	else if (!strcmp(what, "overwrite") && argc == 3)
		bad = overwrite(seconds);
	else if (!strcmp(what, "claim") && argc == 4)
		bad = claim(strtoul(argv[2], NULL, 10), seconds);
	else if (!strcmp(what, "ring") && argc == 2)
		bad = ring();
	else if ((!strcmp(what, "flood") || !strcmp(what, "spin")) && argc == 3)
		bad = flood(seconds, *what == 'f');
	else
		fputs("usage: outsider find | ring | overwrite SECONDS | claim CID SECONDS |\n"
		      "                flood SECONDS | spin SECONDS\n", stderr);
	put_back();
	return bad;
}
