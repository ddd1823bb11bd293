// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/vmshm/CHANNEL: the state and the counters of a channel, one
 * "name value" a line.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include "vmshm.h"

static struct dentry *root;

static int channel_show(struct seq_file *seq, void *unused)
{
	static const char * const states[] = {
		[VMSHM_CHAN_ABSENT] = "absent",
		[VMSHM_CHAN_HELLO] = "hello",
		[VMSHM_CHAN_UP] = "up",
	};
	struct vmshm_chan *ch = seq->private;
	struct vmshm_stats sum;

	vmshm_chan_stats(ch, &sum);
	seq_printf(seq, "state %s\n", states[READ_ONCE(ch->state)]);
	seq_printf(seq, "local_cid %u\n", ch->local_cid);
	seq_printf(seq, "peer_cid %u\n", ch->peer_cid);
	seq_printf(seq, "draining %d\n", READ_ONCE(ch->draining));
	seq_printf(seq, "connections %d\n", atomic_read(&ch->nr_ends));
	seq_printf(seq, "half_used %lld\n", atomic64_read(&ch->half_used));
	seq_printf(seq, "tx_bytes %llu\n", sum.tx_bytes);
	seq_printf(seq, "rx_bytes %llu\n", sum.rx_bytes);
	seq_printf(seq, "tx_msgs %llu\n", sum.tx_msgs);
	seq_printf(seq, "rx_msgs %llu\n", sum.rx_msgs);
	seq_printf(seq, "doorbells_sent %llu\n", sum.doorbells_sent);
	seq_printf(seq, "doorbells_sent_ctl %lld\n", atomic64_read(&ch->ctl_doorbells));
	seq_printf(seq, "doorbells_received %llu\n", READ_ONCE(ch->doorbells_received));
	seq_printf(seq, "storms %llu\n", READ_ONCE(ch->storms));
	seq_printf(seq, "doorbells_suppressed %llu\n", sum.doorbells_suppressed);
	seq_printf(seq, "wakeups %llu\n", sum.wakeups);
	seq_printf(seq, "poll_hits %llu\n", sum.poll_hits);
	seq_printf(seq, "poll_misses %llu\n", sum.poll_misses);
	seq_printf(seq, "sleeps %llu\n", sum.sleeps);
	seq_printf(seq, "ring_full %llu\n", sum.ring_full);
	seq_printf(seq, "protocol_errors %lld\n", atomic64_read(&ch->protocol_errors));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(channel);

void vmshm_debugfs_add(struct vmshm_chan *ch, const char *name)
{
	ch->debugfs = debugfs_create_file(name, 0444, root, ch, &channel_fops);
}

/* Waits for readers. */
void vmshm_debugfs_remove(struct vmshm_chan *ch)
{
	debugfs_remove(ch->debugfs);
	ch->debugfs = NULL;
}

void vmshm_debugfs_register(void)
{
	root = debugfs_create_dir("vmshm", NULL);
}

void vmshm_debugfs_unregister(void)
{
	debugfs_remove(root);
}
