/* SPDX-License-Identifier: GPL-2.0-only */
/* What a VM does while its peer misbehaves: see victim.c. */
#ifndef LIFE_VICTIM_H
#define LIFE_VICTIM_H

int victim(unsigned int cid, unsigned int port, unsigned int seconds);

#endif /* LIFE_VICTIM_H */
