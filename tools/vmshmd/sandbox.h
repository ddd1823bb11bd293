/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The system calls that a daemon at work makes, and no others: a seccomp filter
 * that it sets upon itself, with and without a service manager that has one.
 */
#ifndef VMSHMD_SANDBOX_H
#define VMSHMD_SANDBOX_H

#include <stdbool.h>

/*
 * From here on, in all threads, another call fails with EPERM and is told in the
 * log. @network: sockets of the internet families may be made, too. 0, or -1, said
 * in the log. Not for the process in front: it starts programs.
 */
int sandbox_enter(bool network);

/* Was this program built with a sanitizer, whose run-time library makes calls of its own? */
bool sandbox_is_impossible(void);

#endif
