// SPDX-License-Identifier: GPL-2.0-only
/*
 * What streams and records do after a copy that met a page which was not there.
 * What they do in every call is in transfer.h.
 */
#include <linux/pagemap.h>
#include <linux/sched/signal.h>

#include "transfer.h"

/**
 * vmshm_fault_in - have the caller's pages there
 * @iter: where the copy stopped
 * @len: bytes from there that are wanted
 * @writeable: to be written
 * @timeo: of the call, for the errno of a signal
 *
 * Returns 0 when the first of them is there, -EFAULT when it can't be, or -EINTR and
 * the like.  A call that may not wait is not interrupted, but by what kills.  May sleep.
 */
int vmshm_fault_in(struct iov_iter *iter, size_t len, bool writeable, long timeo)
{
	size_t bad = writeable ? fault_in_iov_iter_writeable(iter, len) :
				 fault_in_iov_iter_readable(iter, len);

	/* A copy that may sleep has looked for the page itself. */
	if (bad == len || vmshm_iter_sleeps(iter))
		return -EFAULT;
	if (timeo ? signal_pending(current) : fatal_signal_pending(current))
		return sock_intr_errno(timeo);
	cond_resched();
	return 0;
}
