// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc/net/vmshm: a line for each socket of the reader's network namespace.
 * The counters carry the names of struct vmshm_info.
 */
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/seq_file_net.h>
#include <net/net_namespace.h>
#include <net/tcp_states.h>
#include "vmshm.h"

static void *start(struct seq_file *seq, loff_t *pos)
	__acquires(&vmshm_table_lock)
{
	spin_lock(&vmshm_table_lock);
	return seq_list_start_head(&vmshm_all_socks, *pos);
}

static void *next(struct seq_file *seq, void *v, loff_t *pos)
{
	return seq_list_next(v, &vmshm_all_socks, pos);
}

static void stop(struct seq_file *seq, void *v)
	__releases(&vmshm_table_lock)
{
	spin_unlock(&vmshm_table_lock);
}

static const char *state_name(struct vmshm_sock *vs)
{
	switch (READ_ONCE(vs->sk.sk_state)) {
	case TCP_LISTEN:
		return "LISTEN";
	case TCP_SYN_SENT:
		return "CONNECTING";
	case TCP_ESTABLISHED:
		break;
	default:
		return READ_ONCE(vs->fixed) ? "CONNECTED" : "UNCONNECTED";
	}
	if (vs->end && READ_ONCE(vs->end->reset))
		return "RESET";
	if ((vs->end && READ_ONCE(vs->end->peer_shutdown)) || READ_ONCE(vs->sk.sk_shutdown))
		return "CLOSING";
	return "CONNECTED";
}

static const char *type_name(struct vmshm_sock *vs)
{
	switch (vs->sk.sk_type) {
	case SOCK_SEQPACKET:
		return "SEQPACKET";
	case SOCK_DGRAM:
		return "DGRAM";
	}
	return "STREAM";
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
	struct vmshm_info info = {};
	struct vmshm_sock *vs;
	u64 rx_queue = 0, tx_queue = 0;

	if (v == &vmshm_all_socks) {
		seq_puts(seq, "Num              RefCount Type      State       Local            Peer             Inode      Uid  rx_queue tx_queue rx_ring tx_ring rx_bytes tx_bytes rx_msgs tx_msgs doorbells_sent doorbells_suppressed wakeups poll_hits poll_misses sleeps ring_full\n");
		return 0;
	}
	vs = list_entry(v, struct vmshm_sock, all_node);
	if (!net_eq(sock_net(&vs->sk), seq_file_net(seq)))
		return 0;
	if (vs->end) {
		vmshm_info_get(vs->end, &info);
		rx_queue = vmshm_end_readable(vs->end);
		tx_queue = vmshm_end_unread(vs->end);
	} else if (vs->sk.sk_type == SOCK_DGRAM) {
		vmshm_info_fill(&vs->dgrams, &vs->dgrams, &info);
		rx_queue = vmshm_dgram_bytes(vs, &info.rx_ring);
	} else if (vs->listening) {
		rx_queue = READ_ONCE(vs->sk.sk_ack_backlog);
		tx_queue = READ_ONCE(vs->sk.sk_max_ack_backlog);
	}
	seq_printf(seq, "%pK: %08x %-9s %-11s", vs, refcount_read(&vs->sk.sk_refcnt),
		   type_name(vs), state_name(vs));
	show_addr(seq, &vs->local);
	show_addr(seq, &vs->remote);
	seq_printf(seq, " %-10lu %-4u %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu\n",
		   sock_i_ino(&vs->sk),
		   from_kuid_munged(seq_user_ns(seq), sock_i_uid(&vs->sk)),
		   rx_queue, tx_queue, info.rx_ring, info.tx_ring, info.rx_bytes, info.tx_bytes,
		   info.rx_msgs, info.tx_msgs, info.doorbells_sent, info.doorbells_suppressed,
		   info.wakeups, info.poll_hits, info.poll_misses, info.sleeps, info.ring_full);
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
