// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc/net/vmshm: a line for each socket of the reader's network namespace.
 * The counters carry the names of struct vmshm_info.
 */
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/seq_file_net.h>
#include <net/net_namespace.h>
#include "vmshm.h"
#include "view.h"

/* A place in the file: 0 is the heading, any other a socket's number. */
static void *start(struct seq_file *seq, loff_t *pos)
	__acquires(&vmshm_table_lock)
{
	spin_lock(&vmshm_table_lock);
	return *pos ? vmshm_view_from(*pos) : SEQ_START_TOKEN;
}

static void *next(struct seq_file *seq, void *v, loff_t *pos)
{
	struct vmshm_sock *vs = v == SEQ_START_TOKEN ? vmshm_view_from(0) : vmshm_view_next(v);

	*pos = vs ? vs->serial : *pos + 1;
	return vs;
}

static void stop(struct seq_file *seq, void *v)
	__releases(&vmshm_table_lock)
{
	spin_unlock(&vmshm_table_lock);
}

static const char * const state_names[] = {
	[VMSHM_STATE_UNCONNECTED] = "UNCONNECTED",
	[VMSHM_STATE_CONNECTING] = "CONNECTING",
	[VMSHM_STATE_LISTEN] = "LISTEN",
	[VMSHM_STATE_CONNECTED] = "CONNECTED",
	[VMSHM_STATE_CLOSING] = "CLOSING",
	[VMSHM_STATE_RESET] = "RESET",
};

static const char *type_name(int type)
{
	switch (type) {
	case SOCK_SEQPACKET:
		return "SEQPACKET";
	case SOCK_DGRAM:
		return "DGRAM";
	default:
		return "STREAM";
	}
}

static void show_addr(struct seq_file *seq, const struct sockaddr_vmshm *addr)
{
	char text[24];
	int n = 0;

	if (addr->svm_cid == VMSHM_CID_ANY)
		n = scnprintf(text, sizeof(text), "*");
	else
		n = scnprintf(text, sizeof(text), "%u", addr->svm_cid);
	if (addr->svm_port == VMSHM_PORT_ANY)
		scnprintf(text + n, sizeof(text) - n, ":*");
	else
		scnprintf(text + n, sizeof(text) - n, ":%u", addr->svm_port);
	seq_printf(seq, " %-16s", text);
}

static int show(struct seq_file *seq, void *v)
{
	const struct vmshm_info *info;
	struct vmshm_view view;
	struct vmshm_sock *vs = v;

	if (v == SEQ_START_TOKEN) {
		seq_puts(seq, "Num              RefCount Type      State       Local            Peer             Inode      Uid  rx_queue tx_queue rx_ring tx_ring rx_bytes tx_bytes rx_msgs tx_msgs doorbells_sent doorbells_suppressed wakeups poll_hits poll_misses sleeps ring_full\n");
		return 0;
	}
	if (!net_eq(sock_net(&vs->sk), seq_file_net(seq)))
		return 0;
	vmshm_view_get(vs, &view);
	info = &view.info;
	seq_printf(seq, "%pK: %08x %-9s %-11s", vs, refcount_read(&vs->sk.sk_refcnt),
		   type_name(vs->sk.sk_type), state_names[view.state]);
	show_addr(seq, &view.local);
	show_addr(seq, &view.remote);
	seq_printf(seq, " %-10lu %-4u %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu\n",
		   view.ino, from_kuid_munged(seq_user_ns(seq), view.uid),
		   view.rx_queue, view.tx_queue, info->rx_ring, info->tx_ring, info->rx_bytes,
		   info->tx_bytes, info->rx_msgs, info->tx_msgs, info->doorbells_sent,
		   info->doorbells_suppressed, info->wakeups, info->poll_hits, info->poll_misses,
		   info->sleeps, info->ring_full);
	return 0;
}

static const struct seq_operations seq_ops = {
	.start = start,
	.next = next,
	.stop = stop,
	.show = show,
};

static int __net_init net_init(struct net *net)
{
	if (!proc_create_net("vmshm", 0444, net->proc_net, &seq_ops,
			     sizeof(struct seq_net_private)))
		return -ENOMEM;
	return 0;
}

static void __net_exit net_exit(struct net *net)
{
	remove_proc_entry("vmshm", net->proc_net);
}

static struct pernet_operations net_ops = {
	.init = net_init,
	.exit = net_exit,
};

int vmshm_proc_register(void)
{
	return register_pernet_subsys(&net_ops);
}

void vmshm_proc_unregister(void)
{
	unregister_pernet_subsys(&net_ops);
}
