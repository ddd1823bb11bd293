// SPDX-License-Identifier: GPL-2.0-only
/*
 * What --check says beyond mistakes.
 */
#include "config.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_LEN	160

/* Some user or group is named, and the same for both. */
static bool same_people(const struct access *one, const struct access *other)
{
	return (one->uid != (uid_t)-1 || one->gid != (gid_t)-1) && one->uid == other->uid &&
	       one->gid == other->gid && one->mode == other->mode;
}

static struct access access_in(const struct config *config, u32 segment, u32 place)
{
	const struct config_segment *s = &config->segments[segment];

	return config_access(&config->members[s->members[place]], s);
}

/* Names, as long as they fit. */
static void add_name(char names[NAMES_LEN], const char *name)
{
	size_t len = strlen(names);

	if (len + strlen(name) + 8 < NAMES_LEN)
		snprintf(names + len, NAMES_LEN - len, "%s%s", len ? ", " : "", name);
	else if (strcmp(names + len - 3, "..."))
		snprintf(names + len, NAMES_LEN - len, ", ...");
}

/* Mark and name the members as which those who may be @access can connect; how many. */
static u32 members_of(const struct config *config, const struct access *access, bool *marked,
		      char names[NAMES_LEN])
{
	u32 count = 0;

	for (u32 i = 0; i < config->nr_segments; i++) {
		for (u32 k = 0; k < config->segments[i].nr_members; k++) {
			u32 member = config->segments[i].members[k];
			struct access its = access_in(config, i, k);

			if (marked[member] || !same_people(&its, access))
				continue;
			marked[member] = true;
			add_name(names, config->members[member].name);
			count++;
		}
	}
	return count;
}

/*
 * Members that the same user's processes can be. Where all QEMUs run as one
 * user, as libvirt has it, only what confines each of them keeps it from
 * another one's socket.
 */
static unsigned int warn_people(const struct config *config)
{
	bool *marked = calloc(config->nr_members + 1, sizeof(*marked));
	unsigned int warnings = 0;

	for (u32 i = 0; marked && i < config->nr_segments; i++) {
		for (u32 k = 0; k < config->segments[i].nr_members; k++) {
			struct access access = access_in(config, i, k);
			char names[NAMES_LEN] = "";

			if (marked[config->segments[i].members[k]] ||
			    members_of(config, &access, marked, names) < 2)
				continue;
			say("warning: the same users can connect as %s: if their QEMUs run as one "
			    "user, only a label each (SELinux, AppArmor) keeps them from the "
			    "others' sockets", names);
			warnings++;
		}
	}
	free(marked);
	return warnings;
}

unsigned int config_warn(const struct config *config)
{
	unsigned int warnings = warn_people(config);

	for (u32 i = 0; i < config->nr_segments; i++) {
		const struct config_segment *s = &config->segments[i];

		for (u32 k = 0; k < s->nr_members; k++) {
			if (!(access_in(config, i, k).mode & 0002))
				continue;
			say("warning: everybody on this host can connect as %s in segment %s",
			    config->members[s->members[k]].name, s->name);
			warnings++;
		}
		if (!s->shared)
			continue;
		say("warning: in segment %s each of %u members can read and forge what the others "
		    "exchange", s->name, s->nr_members);
		warnings++;
	}
	return warnings;
}
