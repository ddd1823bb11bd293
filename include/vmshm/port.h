/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The primitives that layout.h and ring.h are written in: in the kernel its
 * own, in user space C11's memory model through the compiler's builtins.
 *
 * Only the names are mapped here; which access needs which of them, and why,
 * is argued in ring.h.
 *
 * In the kernel they are the virt_*() kind: smp_*() compile to nothing on a
 * uniprocessor kernel, yet the peer is another machine's processor.  No
 * read-modify-write is offered on purpose: a uniprocessor guest patches the
 * LOCK prefix out of its atomics at boot, so they are not atomic towards the
 * peer.  Every shared word has one writer instead.
 */
#ifndef _VMSHM_PORT_H
#define _VMSHM_PORT_H

#ifdef __KERNEL__

#include <linux/types.h>
#include <linux/errno.h>
#include <linux/compiler.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <asm/barrier.h>

/* Which needs which is argued in ring.h, where they are used. */
#define vmshm_mb()			virt_mb()
#define vmshm_load(p)			READ_ONCE(*(p))
#define vmshm_store(p, v)		WRITE_ONCE(*(p), (v))
#define vmshm_load_acquire(p)		virt_load_acquire(p)		/* paired there */
#define vmshm_store_release(p, v)	virt_store_release(p, v)	/* paired there */

#else /* user space */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define vmshm_mb()			__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define vmshm_load(p)			__atomic_load_n(p, __ATOMIC_RELAXED)
#define vmshm_store(p, v)		__atomic_store_n(p, v, __ATOMIC_RELAXED)
#define vmshm_load_acquire(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define vmshm_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)

#endif

/* A 64-bit word has to be loaded and stored whole. */
_Static_assert(sizeof(void *) == 8, "AF_VMSHM wants a 64-bit machine");

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a segment is little-endian; this machine is not"
#endif

#endif /* _VMSHM_PORT_H */
