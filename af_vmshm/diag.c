// SPDX-License-Identifier: GPL-2.0-only
/*
 * sock_diag(7): the family's sockets over netlink, for vmshmss(8) and others.
 * What is told is <linux/vmshm_diag.h>'s; the looking is view.c's.
 */
#include <linux/jiffies.h>
#include <linux/sock_diag.h>
#include <net/netlink.h>
#include <net/net_namespace.h>
#include "vmshm.h"
#include "view.h"

/* So many sockets are looked at without giving others a chance at the table. */
#define BATCH	256

/* Room for one socket with all that can be shown. */
#define MSG_ROOM (sizeof(struct vmshm_diag_msg) + nla_total_size(sizeof(u8)) + \
		  nla_total_size(sizeof(struct vmshm_diag_queues)) + \
		  nla_total_size(sizeof(u32)) + \
		  nla_total_size(sizeof(struct vmshm_info)) + \
		  nla_total_size(sizeof(struct vmshm_diag_buffer)))

static int put_buffer(struct sk_buff *skb, struct vmshm_sock *vs)
{
	const struct vmshm_diag_buffer buffer = {
		.size = READ_ONCE(vs->buffer_size),
		.min = READ_ONCE(vs->buffer_min),
		.max = READ_ONCE(vs->buffer_max),
		.connect_timeout_ms = jiffies_to_msecs(READ_ONCE(vs->connect_timeout)),
		.busy_poll = READ_ONCE(vs->busy_poll),
	};

	return nla_put(skb, VMSHM_DIAG_BUFFER, sizeof(buffer), &buffer);
}

static int put_attributes(struct sk_buff *skb, struct vmshm_sock *vs,
			  const struct vmshm_view *view, u32 show, struct user_namespace *ns)
{
	const struct vmshm_diag_queues queues = {
		.rx_queue = view->rx_queue,
		.tx_queue = view->tx_queue,
	};

	if (nla_put_u8(skb, VMSHM_DIAG_STATE, view->state))
		return -EMSGSIZE;
	if (show & VMSHM_DIAG_SHOW_QUEUES &&
	    nla_put(skb, VMSHM_DIAG_QUEUES, sizeof(queues), &queues))
		return -EMSGSIZE;
	if (show & VMSHM_DIAG_SHOW_UID &&
	    nla_put_u32(skb, VMSHM_DIAG_UID, from_kuid_munged(ns, view->uid)))
		return -EMSGSIZE;
	if (show & VMSHM_DIAG_SHOW_INFO &&
	    nla_put(skb, VMSHM_DIAG_INFO, sizeof(view->info), &view->info))
		return -EMSGSIZE;
	if (show & VMSHM_DIAG_SHOW_BUFFER && put_buffer(skb, vs))
		return -EMSGSIZE;
	return 0;
}

/* One socket as one message.  Under vmshm_table_lock.  0 or -EMSGSIZE. */
static int fill(struct sk_buff *skb, struct vmshm_sock *vs, const struct vmshm_diag_req *req,
		struct user_namespace *ns, const struct sk_buff *from,
		const struct nlmsghdr *request, int flags)
{
	struct vmshm_diag_msg *msg;
	struct vmshm_view view;
	struct nlmsghdr *h = nlmsg_put(skb, NETLINK_CB(from).portid, request->nlmsg_seq,
				       SOCK_DIAG_BY_FAMILY, sizeof(*msg), flags);

	if (!h)
		return -EMSGSIZE;
	vmshm_view_get(vs, &view);
	msg = nlmsg_data(h);
	*msg = (struct vmshm_diag_msg) {
		.vdiag_family = vmshm_family,
		.vdiag_type = vs->sk.sk_type,
		.vdiag_state = READ_ONCE(vs->sk.sk_state),
		.vdiag_shutdown = READ_ONCE(vs->sk.sk_shutdown),
		.vdiag_src_cid = view.local.svm_cid,
		.vdiag_src_port = view.local.svm_port,
		.vdiag_dst_cid = view.remote.svm_cid,
		.vdiag_dst_port = view.remote.svm_port,
		.vdiag_ino = view.ino,
	};
	sock_diag_save_cookie(&vs->sk, msg->vdiag_cookie);
	if (put_attributes(skb, vs, &view, req->vdiag_show, ns)) {
		nlmsg_cancel(skb, h);
		return -EMSGSIZE;
	}
	nlmsg_end(skb, h);
	return 0;
}

/*
 * Some more sockets, from number *@serial on.  0: go on from there; 1: there
 * are no more; -EMSGSIZE: @skb is full.
 */
static int dump_batch(struct sk_buff *skb, struct netlink_callback *cb, unsigned long *serial)
{
	const struct vmshm_diag_req *req = nlmsg_data(cb->nlh);
	struct user_namespace *ns = sk_user_ns(skb->sk);
	struct net *net = sock_net(skb->sk);
	struct vmshm_sock *vs;
	int n, err = 0;

	spin_lock(&vmshm_table_lock);
	vs = vmshm_view_from(*serial);
	for (n = 0; vs && n < BATCH; n++, vs = vmshm_view_next(vs)) {
		if (!net_eq(sock_net(&vs->sk), net) ||
		    !(req->vdiag_states & 1 << READ_ONCE(vs->sk.sk_state)))
			continue;
		err = fill(skb, vs, req, ns, cb->skb, cb->nlh, NLM_F_MULTI);
		if (err)
			break;
	}
	*serial = vs ? vs->serial : ULONG_MAX;
	spin_unlock(&vmshm_table_lock);
	return err ?: !vs;
}

static int dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	unsigned long serial = cb->args[0];
	int err;

	do {
		err = dump_batch(skb, cb, &serial);
		cond_resched();
	} while (!err);
	cb->args[0] = serial;
	return skb->len;
}

/* The socket with an inode number.  Under vmshm_table_lock, dropped now and then. */
static struct vmshm_sock *find_inode(const struct net *net, u32 ino)
{
	struct vmshm_sock *vs = vmshm_view_from(0);
	unsigned int n = 0;

	while (vs && !(net_eq(sock_net(&vs->sk), net) && sock_i_ino(&vs->sk) == ino)) {
		unsigned long serial = vs->serial + 1;

		if (++n % BATCH) {
			vs = vmshm_view_next(vs);
			continue;
		}
		spin_unlock(&vmshm_table_lock);
		cond_resched();
		spin_lock(&vmshm_table_lock);
		vs = vmshm_view_from(serial);
	}
	return vs;
}

static int get_one(struct sk_buff *skb, const struct nlmsghdr *h, const struct vmshm_diag_req *req)
{
	struct user_namespace *ns = sk_user_ns(NETLINK_CB(skb).sk);
	struct net *net = sock_net(skb->sk);
	struct vmshm_sock *vs;
	struct sk_buff *reply;
	int err = -ENOENT;

	if (!req->vdiag_ino)
		return -EINVAL;
	reply = nlmsg_new(MSG_ROOM, GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	spin_lock(&vmshm_table_lock);
	vs = find_inode(net, req->vdiag_ino);
	if (vs)
		err = sock_diag_check_cookie(&vs->sk, req->vdiag_cookie) ?:
		      fill(reply, vs, req, ns, skb, h, 0);
	spin_unlock(&vmshm_table_lock);
	if (err) {
		nlmsg_free(reply);
		return err;
	}
	return nlmsg_unicast(net->diag_nlsk, reply, NETLINK_CB(skb).portid);
}

static int request(struct sk_buff *skb, struct nlmsghdr *h)
{
	const struct vmshm_diag_req *req = nlmsg_data(h);
	struct net *net = sock_net(skb->sk);

	if (nlmsg_len(h) < sizeof(*req) || req->sdiag_protocol || req->pad)
		return -EINVAL;
	if (h->nlmsg_flags & NLM_F_DUMP) {
		struct netlink_dump_control control = {
			.dump = dump,
		};

		return netlink_dump_start(net->diag_nlsk, skb, h, &control);
	}
	return get_one(skb, h, req);
}

static struct sock_diag_handler handler = {
	VMSHM_DIAG_OWNER
	.dump = request,
};

int vmshm_diag_register(void)
{
	int err;

	handler.family = vmshm_family;
	err = sock_diag_register(&handler);
	if (err)
		pr_err("sock_diag has somebody else's family %d\n", vmshm_family);
	return err;
}

void vmshm_diag_unregister(void)
{
	sock_diag_unregister(&handler);
}

MODULE_ALIAS_NET_PF_PROTO_TYPE(PF_NETLINK, NETLINK_SOCK_DIAG, AF_VMSHM);
