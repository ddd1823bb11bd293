/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Touching memory that others can take away: a member that punches a hole
 * into a segment makes the next access allocate, and where nothing is left
 * that is SIGBUS.
 */
#ifndef VMSHMD_GUARD_H
#define VMSHMD_GUARD_H

/* Install the handler; before any guarded(). 0, or -1 with errno. */
int guard_start(void);

/*
 * Call @work(@arg) from the main thread: 0, or -1 when it met SIGBUS and was
 * cut short. @work only touches memory: it holds no lock and allocates nothing.
 */
int guarded(void (*work)(void *arg), void *arg);

#endif
