/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether the host could back what is to be served: see admission.c.
 */
#ifndef VMSHMD_ADMISSION_H
#define VMSHMD_ADMISSION_H

#include "config.h"

/* 0, or -1 when the segments of @config are too much, said in the log. */
int admission_check(const struct config *config);

#endif
