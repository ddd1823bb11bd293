// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guests' words: see control_sample.h.
 */
#include "control_sample.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmshm/ring.h>

const char *const sample_names[SAMPLE_COUNTERS] = {
	"tx_bytes", "rx_bytes", "tx_msgs", "rx_msgs",
	"doorbells_sent", "doorbells_received", "doorbells_suppressed",
	"poll_hits", "poll_misses", "ring_full", "protocol_errors",
	"connections", "half_used", "draining", "rings",
};

_Static_assert(SAMPLE_COUNTERS * sizeof(u64) == offsetof(struct vmshm_counters, reserved),
	       "a counter is missing");

/* Up to the last word that is read here. */
#define HDR_LEN		(offsetof(struct vmshm_ring_hdr, cons_flags) + sizeof(u32))
#define WORDS_LEN	(offsetof(struct vmshm_side, pend_cons) + sizeof(u32))

static void get(const struct roster_segment *s, u64 off, void *to, size_t len)
{
	ssize_t n = pread(s->memfd, to, len, (off_t)off);

	if (n != (ssize_t)len)
		memset(to, 0, len);
}

static const char *state_text(const struct vmshm_side *me, const struct vmshm_side *peer)
{
	if (me->state == VMSHM_SIDE_DOWN)
		return "down";
	if (me->state == VMSHM_SIDE_LEFT)
		return "left";
	if (me->state != VMSHM_SIDE_UP)
		return "unknown";
	return me->epoch && peer->epoch && me->epoch_echo == peer->epoch &&
	       peer->epoch_echo == me->epoch ? "up" : "hello";
}

/* How full a queue is; what can't be true is shown as full. */
static u32 waiting(u32 prod, u32 cons, u32 entries)
{
	return prod - cons > entries ? entries : prod - cons;
}

void sample_channel(const struct roster_segment *s, u32 channel, struct sample sides[2])
{
	struct vmshm_side words[2];

	for (u32 k = 0; k < 2; k++) {
		u64 off = geometry_side(&s->geometry, channel, k);

		get(s, off, &words[k], WORDS_LEN);
		get(s, off + VMSHM_SIDE_COUNTERS, sides[k].counters, sizeof(sides[k].counters));
	}
	for (u32 k = 0; k < 2; k++) {
		const struct vmshm_side *me = &words[k], *peer = &words[!k];

		sides[k].state = state_text(me, peer);
		sides[k].features = me->features;
		sides[k].ctl_waiting = waiting(me->ctl_prod, peer->ctl_cons, VMSHM_CTL_ENTRIES);
		sides[k].pend_waiting = waiting(me->pend_prod, peer->pend_cons,
						VMSHM_PEND_ENTRIES);
		sides[k].pend_overflow = me->pend_overflow;
	}
}

u32 sample_rings(const struct roster_segment *s, u32 channel, u32 side,
		 const struct sample *sample, struct sample_ring *rings, u32 max)
{
	u64 half = geometry_half(&s->geometry, channel, side);
	u64 nr = sample->counters[SAMPLE_RINGS];
	struct vmshm_ring_note notes[64];
	u32 n = 0;

	if (nr > VMSHM_RING_NOTES)
		nr = VMSHM_RING_NOTES;
	for (u32 i = 0; i < nr && n < max; i++) {
		const struct vmshm_ring_note *note = &notes[i % 64];
		struct sample_ring *ring = &rings[n];
		struct vmshm_ring_hdr h;

		if (i % 64 == 0)
			get(s, geometry_side(&s->geometry, channel, side) + VMSHM_SIDE_RINGS +
			    i * sizeof(*note), notes, sizeof(notes));
		if (!vmshm_ring_fits(note->ring_off, note->ring_order, s->geometry.half_size))
			continue;
		get(s, half + note->ring_off, &h, HDR_LEN);
		*ring = (struct sample_ring){
			.id = note->id,
			.local_port = note->local_port,
			.peer_port = note->peer_port,
			.sock_type = note->sock_type,
			.size = 1ULL << note->ring_order,
			.sent = h.prod,
			.received = h.cons,
			.ended = (h.prod_flags & VMSHM_RING_FIN) ||
				 (h.cons_flags & VMSHM_RING_RDSHUT),
			.reset = (h.prod_flags | h.cons_flags) & VMSHM_RING_RESET,
		};
		ring->waiting = h.prod - h.cons > ring->size ? ring->size : h.prod - h.cons;
		n++;
	}
	return n;
}

u64 sample_resident(const struct roster_segment *s)
{
	struct stat st;

	return fstat(s->memfd, &st) ? 0 : (u64)st.st_blocks * 512;
}
