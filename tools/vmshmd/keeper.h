/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The process in front of the daemon where there is no systemd: see keeper.c.
 */
#ifndef VMSHMD_KEEPER_H
#define VMSHMD_KEEPER_H

#include <signal.h>

/* What the worker gets when the keeper has died. */
#define KEEPER_DEATH	SIGUSR1

/* Run the program with @argv again and again; the exit status at the end. */
int keeper_run(char **argv);

#endif
