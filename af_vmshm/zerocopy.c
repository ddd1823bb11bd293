// SPDX-License-Identifier: GPL-2.0-only
/*
 * SO_ZEROCOPY and MSG_ZEROCOPY.  The bytes are copied into the ring before the
 * call returns, which is what the family is about; the caller's pages are never
 * held.  What the kernel's msg_zerocopy document promises is kept all the same:
 * each call that sent anything has a number, and a notification on the error
 * queue says which calls are over, and that their bytes were copied.
 */
#include <linux/errqueue.h>
#include "vmshm.h"

/*
 * A call is over.  Its number follows the last one's, so one notification
 * serves for all that nobody has read yet: the queue never grows.
 */
static void announce(struct sock *sk, struct sk_buff *skb)
{
	struct sk_buff_head *q = &sk->sk_error_queue;
	struct sock_extended_err *ee;
	struct sk_buff *tail;
	unsigned long flags;
	u32 id;

	spin_lock_irqsave(&q->lock, flags);
	id = (u32)atomic_inc_return(&sk->sk_zckey) - 1;
	tail = skb_peek_tail(q);
	ee = tail ? &SKB_EXT_ERR(tail)->ee : NULL;
	if (ee && ee->ee_origin == SO_EE_ORIGIN_ZEROCOPY && ee->ee_data + 1 == id &&
	    ee->ee_info != id) {
		ee->ee_data = id;
	} else {
		SKB_EXT_ERR(skb)->ee = (struct sock_extended_err) {
			.ee_origin = SO_EE_ORIGIN_ZEROCOPY,
			.ee_code = SO_EE_CODE_ZEROCOPY_COPIED,
			.ee_info = id,
			.ee_data = id,
		};
		__skb_queue_tail(q, skb);
		skb = NULL;
	}
	spin_unlock_irqrestore(&q->lock, flags);
	kfree_skb(skb);
	sk_error_report(sk);
}

/**
 * vmshm_zerocopy_send - a send call with MSG_ZEROCOPY
 * @sock: the socket
 * @msg: the message; the flag goes
 * @len: its bytes
 * @send: the call as it is without the flag
 *
 * Returns what @send does, or -ENOBUFS.
 */
int vmshm_zerocopy_send(struct socket *sock, struct msghdr *msg, size_t len,
			int (*send)(struct socket *sock, struct msghdr *msg, size_t len))
{
	struct sock *sk = sock->sk;
	struct sk_buff *skb;
	int n;

	msg->msg_flags &= ~MSG_ZEROCOPY;
	/* Who did not set the option gets no notification; io_uring has its own. */
	if (!len || !sock_flag(sk, SOCK_ZEROCOPY) || msg->msg_ubuf)
		return send(sock, msg, len);
	skb = alloc_skb(0, GFP_KERNEL);
	if (!skb)
		return -ENOBUFS;
	n = send(sock, msg, len);
	if (n > 0)
		announce(sk, skb);
	else
		kfree_skb(skb);
	return n;
}

/* setsockopt(SO_ZEROCOPY), where the kernel leaves that to the family. */
int vmshm_zerocopy_set(struct sock *sk, sockptr_t from, unsigned int len)
{
	int val;

	if (len < sizeof(val))
		return -EINVAL;
	if (copy_from_sockptr(&val, from, sizeof(val)))
		return -EFAULT;
	if (val < 0 || val > 1)
		return -EINVAL;
	lock_sock(sk);
	sock_valbool_flag(sk, SOCK_ZEROCOPY, val);
	release_sock(sk);
	return 0;
}
