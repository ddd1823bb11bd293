/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RCU as the control threads use it: liburcu's "bulletproof" flavour, in which
 * no thread has to say that it begins or ends (libmicrohttpd's are not ours).
 *
 * liburcu's own barriers are invisible to ThreadSanitizer, so pointers are
 * published and taken by the compiler's atomics, and what a grace period
 * orders is told to it here.
 */
#ifndef VMSHMD_CONTROL_RCU_H
#define VMSHMD_CONTROL_RCU_H

#include <urcu-bp.h>

#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *at);
void __tsan_release(void *at);
#define rcu_tell_release(at)	__tsan_release(at)
#define rcu_tell_acquire(at)	__tsan_acquire(at)
#else
#define rcu_tell_release(at)	((void)(at))
#define rcu_tell_acquire(at)	((void)(at))
#endif

#define rcu_publish(where, what)	__atomic_store_n(where, what, __ATOMIC_RELEASE)
#define rcu_take(where)			__atomic_load_n(where, __ATOMIC_ACQUIRE)

/* @at: stands for what the end of readers orders; no atomic word. */
static inline void rcu_read_end(void *at)
{
	rcu_tell_release(at);
	rcu_read_unlock();
}

#endif
