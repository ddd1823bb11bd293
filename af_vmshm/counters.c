// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host sees of a channel: this side's counters, copied into the
 * segment once a second, so that no message pays for it; and heeding the
 * host's wish that no new connections begin (drain).
 *
 * The work is deferrable: a VM that sleeps is not woken for a display. While
 * the channel drains, the end of each connection is told at once: somebody
 * waits for the last one.
 */
#include "vmshm.h"

/* Where this side receives: the first so many rings.  Returns how many. */
static u32 publish_rings(struct vmshm_chan *ch)
{
	struct vmshm_ring_note *note = (void *)((u8 *)ch->mine + VMSHM_SIDE_RINGS);
	struct vmshm_end *end;
	u32 n = 0;

	spin_lock(&ch->stats_lock);
	list_for_each_entry(end, &ch->rings, ring_node) {
		if (n == VMSHM_RING_NOTES)
			break;
		vmshm_store(&note[n].id, READ_ONCE(end->id));
		vmshm_store(&note[n].gen, end->gen);
		vmshm_store(&note[n].ring_off, end->rx_off);
		vmshm_store(&note[n].ring_order, end->rx_order);
		vmshm_store(&note[n].local_port, end->local_port);
		vmshm_store(&note[n].peer_port, end->peer_port);
		vmshm_store(&note[n].sock_type, end->sock_type);
		n++;
	}
	spin_unlock(&ch->stats_lock);
	return n;
}

static void publish(struct vmshm_chan *ch)
{
	struct vmshm_counters *shown = (void *)((u8 *)ch->mine + VMSHM_SIDE_COUNTERS);
	bool draining = READ_ONCE(ch->draining);
	struct vmshm_stats sum;

	vmshm_chan_stats(ch, &sum);
	vmshm_store(&shown->tx_bytes, sum.tx_bytes);
	vmshm_store(&shown->rx_bytes, sum.rx_bytes);
	vmshm_store(&shown->tx_msgs, sum.tx_msgs);
	vmshm_store(&shown->rx_msgs, sum.rx_msgs);
	vmshm_store(&shown->doorbells_sent,
		    sum.doorbells_sent + atomic64_read(&ch->ctl_doorbells));
	vmshm_store(&shown->doorbells_received, READ_ONCE(ch->doorbells_received));
	vmshm_store(&shown->doorbells_suppressed, sum.doorbells_suppressed);
	vmshm_store(&shown->poll_hits, sum.poll_hits);
	vmshm_store(&shown->poll_misses, sum.poll_misses);
	vmshm_store(&shown->ring_full, sum.ring_full);
	vmshm_store(&shown->protocol_errors, (u64)atomic64_read(&ch->protocol_errors));
	vmshm_store(&shown->half_used, (u64)atomic64_read(&ch->half_used));
	vmshm_store(&shown->rings, publish_rings(ch));
	vmshm_store(&shown->connections, (u64)atomic_read(&ch->nr_ends));
	/* Who sees this sees a count from after the wish was heard. */
	vmshm_word_publish(&shown->draining, draining);
}

static void counters_work(struct work_struct *work)
{
	struct vmshm_chan *ch = container_of(work, struct vmshm_chan, counters.work);

	publish(ch);
	if (!READ_ONCE(ch->gone))
		queue_delayed_work(vmshm_wq, &ch->counters, HZ);
}

void vmshm_counters_init(struct vmshm_chan *ch)
{
	INIT_DEFERRABLE_WORK(&ch->counters, counters_work);
}

/* Begin; a channel inside this VM has nobody who looks. */
void vmshm_counters_start(struct vmshm_chan *ch)
{
	if (ch->presence)
		queue_delayed_work(vmshm_wq, &ch->counters, 0);
}

/* After ch->gone was set and a grace period: nothing is written from here on. */
void vmshm_counters_stop(struct vmshm_chan *ch)
{
	cancel_delayed_work_sync(&ch->counters);
}

static void publish_soon(struct vmshm_chan *ch)
{
	rcu_read_lock();
	if (!READ_ONCE(ch->gone))
		mod_delayed_work(vmshm_wq, &ch->counters, 0);
	rcu_read_unlock();
}

/* A connection is over. */
void vmshm_counters_ended(struct vmshm_chan *ch)
{
	if (READ_ONCE(ch->draining))
		publish_soon(ch);
}

/**
 * vmshm_drain_heed - do what the host wishes
 * @ch: its memory is there
 *
 * New connections fail with ESHUTDOWN while the channel drains; those that
 * wait for the channel to come up, too.  Under chan->mutex.
 */
void vmshm_drain_heed(struct vmshm_chan *ch)
{
	bool on = vmshm_drain_wished(ch);

	if (on == ch->draining)
		return;
	WRITE_ONCE(ch->draining, on);
	pr_info_ratelimited("cid %u: %s\n", ch->peer_cid,
			    on ? "the host drains it: no new connections" : "open again");
	if (on)
		vmshm_connect_drop(ch, ESHUTDOWN);
	publish_soon(ch);
}
