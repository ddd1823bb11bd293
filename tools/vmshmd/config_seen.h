/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What may be in the configuration once: a name, a CID, a couple. Where it was
 * the first time, to say so at the second.
 */
#ifndef VMSHMD_CONFIG_SEEN_H
#define VMSHMD_CONFIG_SEEN_H

#include "config.h"

#include <libconfig.h>

struct seen {
	char key[2 * VMSHM_NAME_LEN + 16];
	const char *path;	/* of the file that has it */
	const config_setting_t *where;
	u32 index;
};

/*
 * Returns what was there before under @key in @tree (tsearch(3), its nodes are
 * free()'s), NULL if it is new (and now there, in file @path at @where).
 */
const struct seen *see(const char *path, void **tree, const char *key,
		       const config_setting_t *where, u32 index);
const struct seen *seen_before(void *const *tree, const char *key);

struct place_text {
	char text[512];
};

/* "line 3", or "FILE:3" in another file than @path. */
struct place_text place(const char *path, const struct seen *before);

#endif
