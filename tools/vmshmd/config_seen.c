// SPDX-License-Identifier: GPL-2.0-only
/*
 * What was seen in the configuration: see config_seen.h.
 */
#include "config_seen.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

static int seen_order(const void *one, const void *other)
{
	return strcmp(((const struct seen *)one)->key, ((const struct seen *)other)->key);
}

const struct seen *see(const char *path, void **tree, const char *key,
		       const config_setting_t *where, u32 index)
{
	struct seen *mine = calloc(1, sizeof(*mine)), **found;

	if (!mine)
		abort();
	snprintf(mine->key, sizeof(mine->key), "%s", key);
	mine->path = path;
	mine->where = where;
	mine->index = index;
	found = tsearch(mine, tree, seen_order);
	if (!found)
		abort();
	if (*found == mine)
		return NULL;
	free(mine);
	return *found;
}

const struct seen *seen_before(void *const *tree, const char *key)
{
	struct seen wanted = { .index = 0 }, **found;

	snprintf(wanted.key, sizeof(wanted.key), "%s", key);
	found = tfind(&wanted, tree, seen_order);
	return found ? *found : NULL;
}

struct place_text place(const char *path, const struct seen *before)
{
	unsigned int line = config_setting_source_line(before->where);
	struct place_text place;

	if (before->path == path)
		snprintf(place.text, sizeof(place.text), "line %u", line);
	else
		snprintf(place.text, sizeof(place.text), "%s:%u", before->path, line);
	return place;
}
