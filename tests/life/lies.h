/* SPDX-License-Identifier: GPL-2.0-only */
/* Ways to break the protocol: see lies.c. */
#ifndef LIFE_LIES_H
#define LIFE_LIES_H

#include "peer.h"

struct lie {
	const char *name;
	void (*tell)(struct peer *p);	/* NULL: the truth */
	u32 every_us;			/* so often; 0: in every turn */
	bool mute;			/* the honest part of the peer stands still */
};

extern const struct lie lies[];
extern const size_t nr_lies;

#endif /* LIFE_LIES_H */
