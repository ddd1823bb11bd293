// SPDX-License-Identifier: GPL-2.0-only
/*
 * send() and receive() of SOCK_STREAM: bytes go straight between the caller's
 * buffers and the ring.  Waiting is in ring_wait.c, the ring in ring.h.
 *
 * A copy runs under tx_lock or rx_lock with page faults disabled, so whoever
 * needs the ring to be left alone (close, a device that is removed) waits for
 * one bounded copy and never for a page that somebody does not deliver.  A copy
 * that comes out short is published as far as it got; then the page is faulted
 * in without a lock, and the copy goes on.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include "vmshm.h"
#include "trace.h"
#include "transfer.h"

/* Publish at least this often, so that the reader starts before all is written. */
#define PUBLISH_BYTES	(64 * 1024)

/*
 * Copy what fits now.  Returns bytes moved; 0: no room; COPY_FAULT: the next
 * page of the caller's is not there; COPY_LIE; -EPIPE: the ring is closed.
 * @least: do not bother for less room than this.
 */
static ssize_t copy_in(struct vmshm_end *end, struct iov_iter *from, size_t len, size_t least,
		       bool first)
{
	struct vmshm_span span[2];
	bool ring = false;
	ssize_t done;
	long room;
	int n;

	len = min_t(size_t, len, PUBLISH_BYTES);
	spin_lock(&end->tx_lock);
	done = -EPIPE;
	if (unlikely(!vmshm_may_write(end)))
		goto out;
	room = vmshm_prod_space(&end->prod, max(len, least));
	if (unlikely(room < (long)least)) {
		done = room < 0 ? COPY_LIE : 0;
		goto out;
	}
	len = min_t(size_t, len, room);
	n = vmshm_prod_spans(&end->prod, len, span);
	done = copy_from_caller(span, n, from);
	if (unlikely(!done)) {
		done = COPY_FAULT;
		goto out;
	}
	ring = vmshm_prod_publish(&end->prod, done);
	end->tx_stats.tx_bytes += done;
	end->tx_stats.tx_msgs += first;
	if (ring)
		end->tx_stats.doorbells_sent++;
	else
		end->tx_stats.doorbells_suppressed++;
out:
	spin_unlock(&end->tx_lock);
	if (ring)
		vmshm_notify(end, VMSHM_PEND_DATA);
	return done;
}

int vmshm_stream_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)
{
	struct sock *sk = sock->sk;
	struct vmshm_end *end;
	size_t least, mark;
	size_t done = 0;
	long err = 0;
	long timeo;

	if (unlikely(!is_connected(sk) ||
		     msg->msg_flags & (MSG_OOB | MSG_ZEROCOPY) || msg->msg_namelen)) {
		if (msg->msg_flags & MSG_ZEROCOPY)
			return vmshm_zerocopy_send(sock, msg, len, vmshm_stream_sendmsg);
		err = tx_unusual(sock, msg);
		if (err)
			goto out;
	}
	end = vmshm_sk(sk)->end;
	timeo = sock_sndtimeo(sk, msg->msg_flags & MSG_DONTWAIT);
	err = tx_error(sk, end);

	while (!err && done < len) {
		ssize_t n;

		vmshm_turn_tx(end, &timeo);
		/* A blocking sender waits for room that is worth a copy. */
		mark = min_t(size_t, len - done, end->tx_mark);
		least = timeo ? min_t(size_t, mark, PUBLISH_BYTES) : 1;
		n = copy_in(end, &msg->msg_iter, len - done, least, !done);
		if (likely(n > 0)) {
			done += n;
			/* Without a lock: about right will do. */
			data_race(end->tx_turn += n);
			if (done < len)
				err = tx_error(sk, end);
			continue;
		}
		if (n == COPY_FAULT) {
			err = vmshm_fault_in(&msg->msg_iter, min_t(size_t, len - done, PAGE_SIZE),
					     false, timeo);
			continue;
		}
		if (n == COPY_LIE) {
			vmshm_end_reset(end, "more was read than written");
			err = -EPIPE;
			continue;
		}
		if (n == -EPIPE) {
			err = -EPIPE;
			continue;
		}
		/*
		 * Full.  An edge-triggered watcher calls nobody between this
		 * result and its wait, so ask for the doorbell on its behalf.
		 */
		if (!timeo && is_watched(sk) && vmshm_end_arm_tx(end, end->tx_mark) &&
		    !signal_pending(current)) {
			cond_resched();
			err = tx_error(sk, end);
			continue;
		}
		err = vmshm_wait_tx(sk, end, least, mark, &timeo);
		if (!err)
			err = tx_error(sk, end);
	}
	trace_vmshm_send(end->chan->peer_cid, end->id, len, done ?: err);
	if (unlikely(err))
		vmshm_turn_leave(&end->tx_in_turn);
	if (done)
		return done;
out:
	return sk_stream_error(sk, msg->msg_flags, err);
}

/*
 * Copy what is there.  Returns bytes moved; 0: none; COPY_FAULT, COPY_LIE as
 * copy_in().  @len: at most VMSHM_COPY_CHUNK.  @skip: bytes to leave where they
 * are (a peek that goes on).  *@drained: those were all, and fewer than @len.
 */
static ssize_t copy_out(struct vmshm_end *end, struct iov_iter *to, size_t len, size_t skip,
			bool peek, bool first, bool *drained)
{
	struct vmshm_span span[2];
	bool ring = false;
	ssize_t done = 0;
	long there;
	int n;

	spin_lock(&end->rx_lock);
	if (unlikely(!end->rx_open))
		goto out;
	there = vmshm_cons_avail(&end->cons, len + skip);
	if (unlikely(there <= (long)skip)) {
		done = there < 0 ? COPY_LIE : 0;
		goto out;
	}
	*drained = there - skip < len;
	len = min_t(size_t, len, there - skip);
	n = vmshm_cons_spans(&end->cons, skip, len, span);
	done = copy_to_caller(span, n, to);
	*drained &= done == len;
	if (unlikely(!done)) {
		done = COPY_FAULT;
		goto out;
	}
	if (peek)
		goto out;
	ring = vmshm_cons_consume(&end->cons, done);
	end->rx_stats.rx_bytes += done;
	end->rx_stats.rx_msgs += first;
	if (ring)
		end->rx_stats.doorbells_sent++;
out:
	spin_unlock(&end->rx_lock);
	if (ring)
		vmshm_notify(end, VMSHM_PEND_SPACE);
	return done;
}

/*
 * For an iterator whose copy may sleep: through a page of our own.  Somebody
 * else may read meanwhile, so what was copied is only taken if it is still
 * the next.
 */
static ssize_t copy_out_slowly(struct vmshm_end *end, struct iov_iter *to, size_t len)
{
	const struct vmshm_ring_hdr *hdr = NULL;
	struct vmshm_span span[2];
	void *page = (void *)__get_free_page(GFP_KERNEL);
	ssize_t done = 0;
	bool ring = false;
	long there;
	u64 at = 0;
	int i, n;

	if (!page)
		return -ENOMEM;
	spin_lock(&end->rx_lock);
	if (end->rx_open) {
		there = vmshm_cons_avail(&end->cons, min_t(size_t, len, PAGE_SIZE));
		len = min3(len, (size_t)max(there, 0L), (size_t)PAGE_SIZE);
		done = there < 0 ? COPY_LIE : 0;
		hdr = end->cons.hdr;
		at = end->cons.cons;
		n = vmshm_cons_spans(&end->cons, 0, len, span);
		for (i = 0; i < n && len; i++) {
			memcpy(page + done, span[i].base, span[i].len);
			done += span[i].len;
		}
	}
	spin_unlock(&end->rx_lock);
	if (done <= 0)
		goto out;

	n = done;
	done = copy_to_iter(page, done, to);
	if (!done) {
		done = -EFAULT;
		goto out;
	}
	spin_lock(&end->rx_lock);
	if (end->rx_open && end->cons.hdr == hdr && end->cons.cons == at) {
		ring = vmshm_cons_consume(&end->cons, done);
		end->rx_stats.rx_bytes += done;
		end->rx_stats.rx_msgs++;
		end->rx_stats.doorbells_sent += ring;
	} else {
		iov_iter_revert(to, done);
		done = -EAGAIN;
	}
	spin_unlock(&end->rx_lock);
	if (ring)
		vmshm_notify(end, VMSHM_PEND_SPACE);
out:
	free_page((unsigned long)page);
	return done;
}

int vmshm_stream_recvmsg(struct socket *sock, struct msghdr *msg, size_t len, int flags)
{
	struct sock *sk = sock->sk;
	struct vmshm_sock *vs = vmshm_sk(sk);
	bool peek = flags & MSG_PEEK;
	struct vmshm_end *end;
	size_t done = 0;
	size_t target;
	long err = 0;
	long timeo;

	if (unlikely(flags & MSG_ERRQUEUE))
		return sock_recv_errqueue(sk, msg, len, SOL_VMSHM, VMSHM_RECVERR);
	if (unlikely(!is_connected(sk)))
		return sk->sk_shutdown & RCV_SHUTDOWN ? 0 : -ENOTCONN;
	if (unlikely(flags & MSG_OOB))
		return -EOPNOTSUPP;
	if (unlikely(READ_ONCE(vs->rd_shut) || !len))
		return 0;
	end = vs->end;
	timeo = sock_rcvtimeo(sk, flags & MSG_DONTWAIT);
	target = min_t(size_t, sock_rcvlowat(sk, flags & MSG_WAITALL, len), len);
	if (peek)
		target = min_t(size_t, target, vmshm_rx_wait_max(end));

	while (done < len) {
		size_t want = min_t(size_t, len - done, VMSHM_COPY_CHUNK);
		bool drained = false;
		bool again = false;
		ssize_t n;

		vmshm_turn_rx(end, &timeo);
		if (unlikely(vmshm_iter_sleeps(&msg->msg_iter)))
			n = copy_out_slowly(end, &msg->msg_iter, len - done);
		else
			n = copy_out(end, &msg->msg_iter, want, peek ? done : 0, peek, !done,
				     &drained);
		if (likely(n > 0)) {
			done += n;
			/* As when sending. */
			data_race(end->rx_turn += n);
			/* All there was, and enough: no second look unless one is owed. */
			if (drained && done >= target && !is_watched(sk))
				break;
			continue;
		}
		if (n == -EAGAIN)
			continue;
		if (n == COPY_FAULT) {
			err = vmshm_fault_in(&msg->msg_iter, min_t(size_t, len - done, PAGE_SIZE),
					     true, timeo);
			if (err)
				break;
			continue;
		}
		if (n == COPY_LIE) {
			vmshm_end_reset(end, "more was written than there was room");
			n = 0;
		}
		if (n < 0) {
			err = n;
			break;
		}
		/* Short.  As for a full ring: a watcher that asks only once. */
		if ((done >= target || !timeo) && is_watched(sk) && !peek &&
		    vmshm_end_arm_rx(end, min_t(u64, READ_ONCE(sk->sk_rcvlowat),
						vmshm_rx_wait_max(end))) &&
		    vmshm_end_readable(end) && !signal_pending(current)) {
			cond_resched();
			continue;
		}
		if (done >= target)
			break;
		err = rx_end(sk, end, peek ? done : 0, done, &again);
		if (again)
			continue;
		if (err || READ_ONCE(vs->rd_shut))
			break;
		err = vmshm_wait_rx(sk, end, min_t(u64, (peek ? done : 0) +
				    min_t(size_t, target - done, READ_ONCE(sk->sk_rcvlowat)),
				    vmshm_rx_wait_max(end)), &timeo);
		if (err)
			break;
	}
	if (done == len && !peek)
		rx_signal(sk, end);
	trace_vmshm_recv(end->chan->peer_cid, end->id, len, done ?: min(err, 0L));
	if (done)
		return done;
	return err > 0 ? 0 : err;
}
