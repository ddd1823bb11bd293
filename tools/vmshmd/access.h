/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who may connect to a socket: see vmshmd.conf(5).
 */
#ifndef VMSHMD_ACCESS_H
#define VMSHMD_ACCESS_H

#include "config.h"

/*
 * Let @path have the owner, the group and the mode of @access; what is left out
 * there is the daemon's own. Where the daemon may not give the file away, it stays
 * the owner, and a POSIX ACL names the user and the group with the rights that
 * they would have had. 0, or -1 with errno.
 */
int access_set(const char *path, const struct access *access);

/*
 * The same for a socket that is not a member's, which @what names: its mode is
 * CONFIG_DEFAULT_MODE unless @access has one. 0, or -1, said in the log.
 */
int access_set_control(const char *what, const char *path, const struct access *access);

#endif
