// SPDX-License-Identifier: GPL-2.0-only
/*
 * send() and receive() of SOCK_SEQPACKET: one record a call.  How a record gets
 * into the ring and out of it is in record.c; the rest of such a socket's life
 * is a stream's.
 *
 * As AF_VSOCK: no SIGPIPE, receiving into no buffer takes nothing.
 */
#include <linux/sched/signal.h>
#include "trace.h"
#include "transfer.h"

/* Why there is no sending any more. */
static int broken(struct sock *sk)
{
	return sock_error(sk) ?: -EPIPE;
}

int vmshm_seqpacket_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	u32 info = msg->msg_flags & MSG_EOR ? VMSHM_RECORD_EOR : 0;
	struct sock *sk = sock->sk;
	struct vmshm_end *end;
	long timeo, err;
	u64 need;

	if (unlikely(!is_connected(sk) ||
		     msg->msg_flags & (MSG_OOB | MSG_ZEROCOPY) || msg->msg_namelen)) {
		if (msg->msg_flags & MSG_ZEROCOPY)
			return vmshm_zerocopy_send(sock, msg, len, vmshm_seqpacket_sendmsg);
		err = tx_unusual(sock, msg);
		if (err)
			return err;
	}
	end = vmshm_sk(sk)->end;
	timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	for (;;) {
		err = tx_error(sk, end);
		if (err)
			break;
		err = -EMSGSIZE;
		if (unlikely(len > end->tx_record_max))
			break;
		err = vmshm_record_write(end, &msg->msg_iter, len, info, timeo, NULL);
		if (err == COPY_LIE) {
			vmshm_end_reset(end, "more was read than written");
			err = -EPIPE;
		}
		if (err != -EAGAIN)
			break;
		/*
		 * Full.  An edge-triggered watcher calls nobody between this
		 * result and its wait, so ask for the doorbell on its behalf.
		 */
		if (!timeo && is_watched(sk) && vmshm_end_arm_tx(end, end->tx_mark) &&
		    !signal_pending(current)) {
			cond_resched();
			continue;
		}
		/* Who sleeps is not woken for each record that the peer takes. */
		need = vmshm_record_bytes(len);
		err = vmshm_wait_tx(sk, end, need, max_t(u64, need, end->prod.size / 4), &timeo);
		if (err)
			break;
	}
	if (err == -EPIPE)
		err = broken(sk);
	trace_vmshm_send(end->chan->peer_cid, end->id, len, err ?: (long)len);
	return err ?: (long)len;
}

int vmshm_seqpacket_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	bool peek = flags & MSG_PEEK;
	struct vmshm_record rec;
	struct vmshm_end *end;
	long timeo, err;
	bool again;

	if (unlikely(!is_connected(sk)))
		return sk->sk_shutdown & RCV_SHUTDOWN ? 0 : -ENOTCONN;
	if (unlikely(flags & MSG_OOB))
		return -EOPNOTSUPP;
	if (unlikely(flags & MSG_ERRQUEUE))
		return sock_recv_errqueue(sk, msg, len, SOL_VMSHM, VMSHM_RECVERR);
	if (unlikely(READ_ONCE(vs->rd_shut) || !len))
		return 0;
	end = vs->end;
	timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	for (;;) {
		err = vmshm_record_read(end, &msg->msg_iter, len, peek, timeo, &rec);
		if (!err) {
			if (rec.info & VMSHM_RECORD_EOR)
				msg->msg_flags |= MSG_EOR;
			if (rec.len > len)
				msg->msg_flags |= MSG_TRUNC;
			err = flags & MSG_TRUNC ? rec.len : min_t(size_t, rec.len, len);
			if (!peek)
				rx_signal(sk, end);
			break;
		}
		if (err == COPY_LIE)
			vmshm_end_reset(end, "what came is no record");
		else if (err != -EAGAIN)
			break;
		/* As for a full ring: a watcher that asks only once. */
		if (!timeo && is_watched(sk) && vmshm_end_arm_rx(end, 1) &&
		    vmshm_end_readable(end) && !signal_pending(current)) {
			cond_resched();
			continue;
		}
		err = rx_end(sk, end, 0, false, &again);
		if (again && !signal_pending(current))
			continue;
		if (err || READ_ONCE(vs->rd_shut)) {
			err = min(err, 0L);
			break;
		}
		err = vmshm_wait_rx(sk, end, 1, &timeo);
		if (err)
			break;
	}
	trace_vmshm_recv(end->chan->peer_cid, end->id, len, err);
	return err;
}
