/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a program in a VM tells the plugin where a window of counting ends: it
 * executes a no-operation with an address in it that nobody else has use for.
 */
#ifndef LAYERS_MARKER_H
#define LAYERS_MARKER_H

#include <sys/cdefs.h>

/* nopl MARKER_MAGIC + n(%rax): 0f 1f 80 and four bytes, the lowest of them n. */
#define MARKER_MAGIC	0x564d5300
#define MARKER_BYTES	7

#define MARKER_FORGET	0	/* what was counted so far is thrown away */
#define MARKER_SEND	1	/* it was one message's, where it was sent */
#define MARKER_RECEIVE	2	/* ... where it was received */
#define MARKER_BASE	3	/* it was the sender's pause alone */

static __always_inline void marker(int n)
{
	__asm__ __volatile__("nopl %c0(%%rax)" : : "i" (MARKER_MAGIC + n) : "memory");
}

#endif
