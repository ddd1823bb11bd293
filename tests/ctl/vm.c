// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM that is none, for the shell: connects as a member of a couple and stays
 * until its input ends. What it "says" in the segment it is told line by line:
 *
 *   up			this side is up, with the peer's epoch echoed
 *   set NAME VALUE	a counter of its page
 *   ring OFF ORDER LOCAL PEER	list a ring at this offset of its half, 1000 bytes in it
 *   fill			list as many as there may be
 *   heed		wait for the host's wish to drain, say that it was heard
 *   drain		print the wish: of this side, of the peer
 *   bell		print whether it was rung within a second
 *   punch		take the daemon's tables away from under it
 *
 * Each line is answered by one. Usage: vm RUNTIME_DIR SEGMENT MEMBER.
 */
#include "harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fake f;
static struct vmshm_side *mine, *theirs;
static struct vmshm_counters *counters;
static const u32 *wish[2];
static u64 epoch, half_size;
static u8 *half;

static void find_places(const char *member)
{
	const struct vmshm_channel *c = fake_channel(&f, 0);
	unsigned int me = strcmp(fake_member(&f, 0)->name, member) ? 1 : 0;
	unsigned int side = c->member[0] == me ? 0 : 1;

	mine = (struct vmshm_side *)(f.map + c->side_off[side]);
	theirs = (struct vmshm_side *)(f.map + c->side_off[!side]);
	counters = (struct vmshm_counters *)((u8 *)mine + VMSHM_SIDE_COUNTERS);
	half = f.map + c->half_off[side];
	half_size = c->half_size;
	wish[0] = &fake_member(&f, me)->drain;
	wish[1] = &fake_member(&f, !me)->drain;
}

static bool set(const char *name, unsigned long long value)
{
	static const char *const names[] = {
		"tx_bytes", "rx_bytes", "tx_msgs", "rx_msgs", "doorbells_sent",
		"doorbells_received", "doorbells_suppressed", "poll_hits", "poll_misses",
		"ring_full", "protocol_errors", "connections", "half_used", "draining", "rings",
	};

	for (unsigned int i = 0; i < NR(names); i++) {
		if (!strcmp(names[i], name)) {
			vmshm_store((u64 *)counters + i, value);
			return true;
		}
	}
	return false;
}

/* A lie where it does not fit; then only the note is written. */
static bool list_ring(u64 off, u32 order, u32 local, u32 peer)
{
	struct vmshm_ring_note *note = (void *)((u8 *)mine + VMSHM_SIDE_RINGS);
	u64 n = vmshm_load(&counters->rings);

	if (n >= VMSHM_RING_NOTES)
		return false;
	note[n] = (struct vmshm_ring_note){
		.id = (u32)n + 1, .gen = 1, .ring_off = off, .ring_order = order,
		.local_port = local, .peer_port = peer, .sock_type = 1,
	};
	if (vmshm_ring_fits(off, order, half_size)) {
		struct vmshm_ring_hdr *h = (void *)(half + off);

		h->prod = 5000;
		h->cons = 4000;
	}
	vmshm_store(&counters->rings, n + 1);
	return true;
}

static bool wished(void)
{
	return vmshm_load(wish[0]) || vmshm_load(wish[1]);
}

static void obey(char *line)
{
	unsigned int order, local, peer;
	unsigned long long value;
	char name[64];

	if (!strcmp(line, "up")) {
		vmshm_store(&mine->features,
			    VMSHM_F_STREAM | VMSHM_F_COUNTERS | VMSHM_F_DRAIN);
		vmshm_store(&mine->state, VMSHM_SIDE_UP);
		vmshm_word_publish(&mine->epoch, epoch);
		/* The other does the same, sooner or later. */
		if (soon(vmshm_word_read(&theirs->epoch)))
			vmshm_word_publish(&mine->epoch_echo, vmshm_word_read(&theirs->epoch));
		puts("ok");
	} else if (sscanf(line, "set %63s %llu", name, &value) == 2) {
		puts(set(name, value) ? "ok" : "no such counter");
	} else if (sscanf(line, "ring %llu %u %u %u", &value, &order, &local, &peer) == 4) {
		puts(list_ring(value, order, local, peer) ? "ok" : "no");
	} else if (!strcmp(line, "fill")) {
		while (list_ring(0, 12, 1, 1))
			;
		puts("ok");
	} else if (!strcmp(line, "heed")) {
		puts(soon(wished()) ? "ok" : "no wish");
		set("draining", 1);
	} else if (!strcmp(line, "drain")) {
		printf("%u %u\n", vmshm_load(wish[0]), vmshm_load(wish[1]));
	} else if (!strcmp(line, "bell")) {
		puts(bell_rings(f.own.fds[0], 1000) ? "rang" : "silent");
	} else if (!strcmp(line, "punch")) {
		puts(fallocate(f.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 65536) ?
		     "no" : "ok");
	} else {
		puts("what?");
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct vmshmd d = { .pid = 0 };
	char line[128];

	need(argc == 4, "usage: vm RUNTIME_DIR SEGMENT MEMBER");
	snprintf(d.run, sizeof(d.run), "%s", argv[1]);
	need(fake_join(&f, &d, argv[2], argv[3], 2, 2), "cannot join %s as %s", argv[2], argv[3]);
	find_places(argv[3]);
	epoch = 0x1000 + (u64)getpid();
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		obey(line);
	}
	fake_leave(&f);
	return 0;
}
