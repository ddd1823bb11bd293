// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host's operator sees of a channel: this side's counters, copied into
 * the segment about once a second while something happens; and heeding the wish
 * that no new connections begin (drain).
 */
#include "lib.h"

#include <errno.h>

#define PERIOD_MS	1000

/* Where this side receives: the first so many rings. How many. */
static u32 publish_rings(struct chan *ch)
{
	struct vmshm_ring_note *note = (void *)((u8 *)ch->mine + VMSHM_SIDE_RINGS);
	struct vmshm_sock *s;
	u32 n = 0;

	for_each(s, &ch->ends, chan_node) {
		if (n == VMSHM_RING_NOTES)
			break;
		vmshm_store(&note[n].id, s->id);
		vmshm_store(&note[n].gen, s->gen);
		vmshm_store(&note[n].ring_off, s->rx_off);
		vmshm_store(&note[n].ring_order, s->rx_order);
		vmshm_store(&note[n].local_port, s->port);
		vmshm_store(&note[n].peer_port, s->peer_port);
		vmshm_store(&note[n].sock_type, (u16)SOCK_STREAM);
		n++;
	}
	return n;
}

static void publish(struct chan *ch)
{
	struct vmshm_counters *shown = (void *)((u8 *)ch->mine + VMSHM_SIDE_COUNTERS);

	vmshm_store(&shown->tx_bytes, ch->tx_bytes);
	vmshm_store(&shown->rx_bytes, ch->rx_bytes);
	vmshm_store(&shown->tx_msgs, ch->tx_msgs);
	vmshm_store(&shown->rx_msgs, ch->rx_msgs);
	vmshm_store(&shown->doorbells_sent, ch->doorbells_sent);
	vmshm_store(&shown->doorbells_received, ch->doorbells_received);
	vmshm_store(&shown->doorbells_suppressed, ch->doorbells_suppressed);
	vmshm_store(&shown->ring_full, ch->ring_full);
	vmshm_store(&shown->protocol_errors, ch->protocol_errors);
	vmshm_store(&shown->half_used, ch->half.size - ch->half.avail);
	vmshm_store(&shown->rings, publish_rings(ch));
	vmshm_store(&shown->connections, ch->nr_ends);
	/* Who sees this sees a count from after the wish was heard. */
	vmshm_word_publish(&shown->draining, ch->draining);
}

/* Something changed: it will be shown. */
void counters_touch(struct vmshm_host *h)
{
	if (h->counters_at)
		return;
	h->counters_at = now_ms() + PERIOD_MS;
	timer_by(h, h->counters_at);
}

void counters_publish(struct vmshm_host *h)
{
	for (unsigned int i = 0; i < h->nr_chans; i++)
		publish(&h->chans[i]);
	h->counters_at = 0;
}

/*
 * Does the host's operator wish that no new connections begin? Those that wait
 * for the channel to come up fail, too.
 */
void drain_heed(struct chan *ch)
{
	bool on = vmshm_load(ch->drain[0]) | vmshm_load(ch->drain[1]);

	if (on == ch->draining)
		return;
	ch->draining = on;
	say(ch->host, "cid %u: %s", ch->peer_cid,
	    on ? "the operator drains it: no new connections" : "open again");
	if (on)
		connect_drop(ch, ESHUTDOWN);
	counters_publish(ch->host);
}
