// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records into a ring and out of it, whole or not at all.  What a call makes of
 * that is in seqpacket.c and dgram.c; what lies in the ring in vmshm/record.h.
 *
 * A copy runs under tx_lock or rx_lock with page faults disabled, a bounded
 * piece at a time, as in stream.c.  What keeps the pieces of two records apart
 * is a mutex around them: nobody waits for a page or for space while holding
 * it.  Where a page is not there, nothing has happened yet: the caller faults
 * it in without a lock and begins the record anew.
 */
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include "transfer.h"

/*
 * Datagrams of this size go to every receiver, however small its buffer; and
 * records of this size to every one that did not ask for less.
 */
#define RECORD_LEAST	(64 * 1024)

/* Records that are dropped under one hold of the lock. */
#define DROP_BUDGET	256

/**
 * vmshm_ring_for - the receive ring that a socket's buffer size asks for
 * @sock_type: of the socket
 * @vs: the socket
 * @order: log2 of its bytes
 * @record_max: bytes of the longest record, 0 for a stream
 *
 * A ring of records holds the longest one, and a buffer's worth of bytes.
 */
void vmshm_ring_for(u16 sock_type, const struct vmshm_sock *vs, u32 *order, u32 *record_max)
{
	const u64 most = vmshm_record_most(1ULL << VMSHM_RING_ORDER_MAX);
	u64 buffer = READ_ONCE(vs->buffer_size);

	*record_max = 0;
	if (sock_type != SOCK_STREAM) {
		if (sock_type == SOCK_DGRAM)
			buffer = max_t(u64, buffer, RECORD_LEAST);
		*record_max = min(buffer, most);
		buffer = vmshm_record_bytes(*record_max);
	}
	*order = vmshm_ring_order(buffer);
}

/* How large a ring an end that is not numbered yet shall have. */
void vmshm_end_size(struct vmshm_end *end, const struct vmshm_sock *vs)
{
	u32 order;

	vmshm_ring_for(end->sock_type, vs, &order, &end->rx_record_max);
	end->order_wanted = order;
	end->record_wanted = end->rx_record_max;
	end->order_least = VMSHM_RING_ORDER_MIN;
	if (end->sock_type == SOCK_STREAM)
		return;
	end->order_least = vmshm_ring_order(vmshm_record_bytes(RECORD_LEAST));
	/* What was asked for, or no connection. */
	if (end->sock_type == SOCK_SEQPACKET && READ_ONCE(vs->buffer_chosen))
		end->order_least = order;
}

/**
 * vmshm_end_resize - the size may have been set since the ring was asked for
 * @end: just connected
 * @vs: its socket
 *
 * A ring that memory was too short for stays as it is.  May sleep; takes chan->mutex.
 */
void vmshm_end_resize(struct vmshm_end *end, const struct vmshm_sock *vs)
{
	u32 order, record_max;

	vmshm_ring_for(end->sock_type, vs, &order, &record_max);
	if (order > end->order_wanted || record_max > end->record_wanted)
		vmshm_end_grow(end, vs);	/* or SO_VMSHM_INFO says that it has not */
}

/* The receive ring is there: what the peer may put into it. */
void vmshm_record_rx_init(struct vmshm_end *end)
{
	u32 fits = vmshm_record_most(end->cons.size);

	end->rx_record_max = min(end->rx_record_max, fits);
	vmshm_store(&end->cons.hdr->record_max, end->rx_record_max);
}

/*
 * The peer's ring is there: the longest record that it takes.  As with streams
 * a poller sleeps until there is room for whatever comes next.
 */
void vmshm_record_tx_init(struct vmshm_end *end)
{
	end->tx_record_max = min(vmshm_load(&end->prod.hdr->record_max),
				 vmshm_record_most(end->prod.size));
	end->tx_mark = vmshm_record_bytes(end->tx_record_max);
}

/* A record was written; the peer was rung, or need not be. */
static void count_doorbell(struct vmshm_stats *s, bool rung)
{
	if (rung)
		WRITE_ONCE(s->doorbells_sent, s->doorbells_sent + 1);
	else
		WRITE_ONCE(s->doorbells_suppressed, s->doorbells_suppressed + 1);
}

/*
 * The next piece of a record; the last one publishes it.  Under tx_mutex.
 * *@at: bytes of it that are there.  As vmshm_record_write(), and 1: go on.
 */
static int write_piece(struct vmshm_end *end, struct iov_iter *from, size_t len, u32 info,
		       size_t *at, struct vmshm_stats *own)
{
	size_t piece = min_t(size_t, len - *at, VMSHM_COPY_CHUNK);
	struct vmshm_span span[2];
	bool ring = false;
	int err = -EPIPE;
	size_t got;
	long room;
	int n;

	spin_lock(&end->tx_lock);
	if (unlikely(!vmshm_may_write(end)))
		goto out;
	/* Nobody else writes meanwhile, so what there was room for, there is. */
	room = vmshm_prod_space(&end->prod, vmshm_record_bytes(len));
	if (unlikely(room < (long)vmshm_record_bytes(len))) {
		err = room < 0 ? COPY_LIE : -EAGAIN;
		goto out;
	}
	n = vmshm_record_put_spans(&end->prod, *at, piece, span);
	got = copy_from_caller(span, n, from);
	*at += got;
	err = got < piece ? COPY_FAULT : *at < len;
	if (err)
		goto out;
	vmshm_record_put(&end->prod, 0, len, info);
	ring = vmshm_prod_publish(&end->prod, vmshm_record_bytes(len));
	end->tx_stats.tx_bytes += len;
	end->tx_stats.tx_msgs++;
	count_doorbell(&end->tx_stats, ring);
	if (own)
		count_doorbell(own, ring);
out:
	spin_unlock(&end->tx_lock);
	if (ring)
		vmshm_notify(end, VMSHM_PEND_DATA);
	return err;
}

/**
 * vmshm_record_write - put a record into the peer's ring
 * @end: whose
 * @from: where it is; at its end afterwards, or where it was
 * @len: bytes, no more than tx_record_max
 * @info: for the record's header
 * @timeo: of the call, for the errno of a signal
 * @own: where a socket counts its doorbells that others use the end with, or NULL
 *
 * Returns 0, -EAGAIN (no room for it), COPY_LIE, -EPIPE (the ring is closed),
 * -EFAULT, or -EINTR and the like.  May sleep, for a page of the caller's and
 * for those who write at the same time.
 */
int vmshm_record_write(struct vmshm_end *end, struct iov_iter *from, size_t len, u32 info,
		       long timeo, struct vmshm_stats *own)
{
	size_t at;
	int err;

	do {
		at = 0;
		mutex_lock(&end->tx_mutex);
		while ((err = write_piece(end, from, len, info, &at, own)) > 0)
			cond_resched();
		mutex_unlock(&end->tx_mutex);
		if (err != COPY_FAULT) {
			if (err)
				iov_iter_revert(from, at);
			return err;
		}
		/* All of it, and anew. */
		err = vmshm_fault_in(from, len - at, false, timeo);
		iov_iter_revert(from, at);
	} while (!err);
	return err;
}

/* The next record is the caller's, or nobody's: give its bytes back. */
static bool consume(struct vmshm_end *end, u32 len)
{
	bool ring = vmshm_cons_consume(&end->cons, vmshm_record_bytes(len));

	end->rx_stats.rx_bytes += len;
	end->rx_stats.rx_msgs++;
	end->rx_stats.doorbells_sent += ring;
	return ring;
}

/*
 * The next piece of the next record.  *@at: bytes of it that the caller has; with
 * none, its header is taken into *@rec.  @bounce: a page to copy to when @to
 * may sleep.  As vmshm_record_read(), and 1: go on.  Under rx_mutex.
 */
static int read_piece(struct vmshm_end *end, struct iov_iter *to, size_t want, bool peek,
		      void *bounce, struct vmshm_record *rec, size_t *at)
{
	struct vmshm_span span[2];
	size_t piece, put = 0;
	bool ring = false;
	int err, i, n;
	long there;

	spin_lock(&end->rx_lock);
	err = -EAGAIN;
	if (unlikely(!end->rx_open))
		goto out;
	if (!*at) {
		there = vmshm_cons_avail(&end->cons, 1);
		if (there <= 0) {
			err = there < 0 ? COPY_LIE : -EAGAIN;
			goto out;
		}
		err = vmshm_record_get(&end->cons, end->rx_record_max, rec);
		if (unlikely(err))
			goto out;
	}
	want = min_t(size_t, want, rec->len);
	piece = min_t(size_t, want - *at, bounce ? PAGE_SIZE : VMSHM_COPY_CHUNK);
	n = vmshm_record_get_spans(&end->cons, *at, piece, span);
	if (likely(!bounce)) {
		put = copy_to_caller(span, n, to);
		*at += put;
		err = put < piece ? COPY_FAULT : *at < want;
	} else {
		for (i = 0; i < n; i++) {
			memcpy(bounce + put, span[i].base, span[i].len);
			put += span[i].len;
		}
		/* The last byte is the caller's before the ring gives it back. */
		err = 1;
	}
	if (!err && !peek)
		ring = consume(end, rec->len);
out:
	spin_unlock(&end->rx_lock);
	if (bounce && err == 1) {
		put = copy_to_iter(bounce, put, to);
		*at += put;
		if (put < piece)
			return COPY_FAULT;
		if (*at < want)
			return 1;
		spin_lock(&end->rx_lock);
		if (!peek && end->rx_open)
			ring = consume(end, rec->len);
		spin_unlock(&end->rx_lock);
		err = 0;
	}
	if (ring)
		vmshm_notify(end, VMSHM_PEND_SPACE);
	return err;
}

/* It can't be delivered: gone, and no other.  @hdr, @was: where it began. */
static void drop(struct vmshm_end *end, const struct vmshm_ring_hdr *hdr, u64 was)
{
	struct vmshm_record rec;
	bool ring = false;

	mutex_lock(&end->rx_mutex);
	spin_lock(&end->rx_lock);
	if (end->rx_open && end->cons.hdr == hdr && end->cons.cons == was &&
	    !vmshm_record_get(&end->cons, end->rx_record_max, &rec))
		ring = consume(end, rec.len);
	spin_unlock(&end->rx_lock);
	mutex_unlock(&end->rx_mutex);
	if (ring)
		vmshm_notify(end, VMSHM_PEND_SPACE);
}

/* Bytes of the next record, 0 when there is none: SIOCINQ. */
u32 vmshm_record_next(struct vmshm_end *end)
{
	struct vmshm_record rec = {};

	spin_lock(&end->rx_lock);
	if (end->rx_open && vmshm_cons_avail(&end->cons, 1) > 0 &&
	    vmshm_record_get(&end->cons, end->rx_record_max, &rec))
		rec.len = 0;
	spin_unlock(&end->rx_lock);
	return rec.len;
}

/*
 * Drop what is at the front and whose info is not @info, -1: all of it.  Returns
 * whether there is a record of @info then, or something that is none, which who
 * reads it is told; or -EAGAIN when a ring's worth was dropped and there is more:
 * who writes it without end does not keep us for as long.
 */
int vmshm_record_drop_others(struct vmshm_end *end, s64 info)
{
	u64 left = end->cons.size, bytes;
	bool ring = false, more;
	struct vmshm_record rec;
	int budget, found = 0;

	mutex_lock(&end->rx_mutex);
	do {
		budget = DROP_BUDGET;
		more = false;
		spin_lock(&end->rx_lock);
		while (end->rx_open && !more) {
			long n = vmshm_cons_avail(&end->cons, 1);

			if (!n)
				break;
			found = n < 0 || vmshm_record_get(&end->cons, end->rx_record_max, &rec) ||
				rec.info == info;
			if (found)
				break;
			bytes = vmshm_record_bytes(rec.len);
			ring |= vmshm_cons_consume(&end->cons, bytes);
			left -= min(left, bytes);
			more = !left || !--budget;
		}
		spin_unlock(&end->rx_lock);
		cond_resched();
	} while (more && left && !signal_pending(current));
	mutex_unlock(&end->rx_mutex);
	if (ring)
		vmshm_notify(end, VMSHM_PEND_SPACE);
	return more ? -EAGAIN : found;
}

/**
 * vmshm_record_read - take the next record out of one's own ring
 * @end: whose
 * @to: where it goes; behind it afterwards, or where it was
 * @want: bytes that fit there; the rest of a longer record is lost
 * @peek: the record stays
 * @timeo: of the call, for the errno of a signal
 * @rec: its header
 *
 * Returns 0, -EAGAIN (none is there, or the ring is closed), COPY_LIE, -EFAULT
 * (the record is gone unless @peek), -ENOMEM, or -EINTR and the like.  May
 * sleep, as vmshm_record_write().
 */
int vmshm_record_read(struct vmshm_end *end, struct iov_iter *to, size_t want, bool peek,
		      long timeo, struct vmshm_record *rec)
{
	const struct vmshm_ring_hdr *hdr;
	void *bounce = NULL;
	size_t at;
	u64 was;
	int err;

	if (unlikely(vmshm_iter_sleeps(to))) {
		bounce = (void *)__get_free_page(GFP_KERNEL);
		if (!bounce)
			return -ENOMEM;
	}
	do {
		at = 0;
		mutex_lock(&end->rx_mutex);
		hdr = end->cons.hdr;
		was = end->cons.cons;
		while ((err = read_piece(end, to, want, peek, bounce, rec, &at)) > 0)
			cond_resched();
		mutex_unlock(&end->rx_mutex);
		if (likely(!err))
			break;
		if (err == COPY_FAULT)
			err = vmshm_fault_in(to, min_t(size_t, want, rec->len) - at, true, timeo);
		iov_iter_revert(to, at);
	} while (!err);
	if (err == -EFAULT && !peek)
		drop(end, hdr, was);
	free_page((unsigned long)bounce);
	return err;
}
