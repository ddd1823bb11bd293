// SPDX-License-Identifier: GPL-2.0-only
/*
 * Descriptors that outlive this process: see keep.h, and sd_pid_notify_with_fds(3)
 * for the protocol.
 */
#include "keep.h"
#include "log.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/*
 * All names are one string of the successor's environment, and the kernel
 * takes none that is longer than 128 KiB.
 */
#define NAMES_MAX	(120 << 10)

struct kept {
	struct keep_name name;	/* first: what is looked for is one */
	int fd;			/* not taken yet, else -1 */
};

/* ids[]: what a segment's number is used for. */
enum { ID_FREE, ID_USED, ID_HAS_RECORD };

static struct {
	bool on;
	bool lost;		/* it was said that nobody listens any more */
	void *tree;		/* of struct kept: all that is kept */
	size_t names_len;
	uint8_t *ids;
	uint32_t nr_ids;
} keep;

struct keep_name keep_name(char kind, uint32_t id, int64_t index)
{
	struct keep_name name;

	if (index < 0)
		snprintf(name.text, sizeof(name.text), "%c%" PRIu32, kind, id);
	else
		snprintf(name.text, sizeof(name.text), "%c%" PRIu32 ".%" PRId64, kind, id, index);
	return name;
}

/* ---- what is kept ---- */

static int order(const void *one, const void *other)
{
	return strcmp(((const struct kept *)one)->name.text,
		      ((const struct kept *)other)->name.text);
}

static struct kept *find(const struct keep_name *name)
{
	struct kept **found = tfind(name, &keep.tree, order);

	return found ? *found : NULL;
}

/* Note it; the colon that separates it from the next name counts, too. */
static bool note(const char *name, int fd)
{
	struct kept *kept = calloc(1, sizeof(*kept)), **there;

	if (!kept)
		return false;
	snprintf(kept->name.text, sizeof(kept->name.text), "%s", name);
	kept->fd = fd;
	there = tsearch(kept, &keep.tree, order);
	if (there && *there == kept) {
		keep.names_len += strlen(kept->name.text) + 1;
		return true;
	}
	free(kept);
	return there;
}

static void forget(struct kept *kept)
{
	keep.names_len -= strlen(kept->name.text) + 1;
	tdelete(kept, &keep.tree, order);
	free(kept);
}

/* ---- numbers of segments ---- */

static bool use_id(uint32_t id, uint8_t what)
{
	if (id >= keep.nr_ids) {
		uint32_t room = id + 64;
		uint8_t *more = realloc(keep.ids, room);

		if (!more)
			return false;
		memset(more + keep.nr_ids, ID_FREE, room - keep.nr_ids);
		keep.ids = more;
		keep.nr_ids = room;
	}
	keep.ids[id] = what;
	return true;
}

bool keep_next_segment(uint32_t *id)
{
	while (*id < keep.nr_ids && keep.ids[*id] != ID_HAS_RECORD)
		++*id;
	return *id < keep.nr_ids;
}

uint32_t keep_new_segment(void)
{
	uint32_t id = 0;

	while (id < keep.nr_ids && keep.ids[id] != ID_FREE)
		id++;
	return use_id(id, ID_USED) ? id : UINT32_MAX;
}

void keep_end_segment(uint32_t id)
{
	if (id < keep.nr_ids)
		keep.ids[id] = ID_FREE;
}

/* ---- taking ---- */

bool keep_on(void)
{
	return keep.on;
}

/* A name as keep_name() makes them; other descriptors are others' business. */
static bool is_ours(const char *name)
{
	return *name && strchr("rmelc", *name) && isdigit((unsigned char)name[1]) &&
	       strspn(name + 1, "0123456789.") == strlen(name + 1) &&
	       strlen(name) < KEEP_NAME_LEN;
}

int keep_start(bool alone)
{
	char **names = NULL;
	bool noted = true;
	int n;

	keep.on = !alone && getenv("NOTIFY_SOCKET");
	if (!keep.on)
		return 0;
	n = sd_listen_fds_with_names(0, &names);
	for (int i = 0; i < n; i++) {
		if (is_ours(names[i])) {
			noted &= note(names[i], SD_LISTEN_FDS_START + i);
			if (*names[i] == 'r' && strtoul(names[i] + 1, NULL, 10) < UINT16_MAX)
				noted &= use_id((uint32_t)strtoul(names[i] + 1, NULL, 10),
						ID_HAS_RECORD);
		}
		free(names[i]);
	}
	free(names);
	if (n >= 0 && noted)
		return 0;
	say("what was kept cannot be taken: %s", n < 0 ? strerror(-n) : "out of memory");
	return -1;
}

int keep_take(struct keep_name name)
{
	struct kept *kept = find(&name);
	int fd = -1;

	if (kept) {
		fd = kept->fd;
		kept->fd = -1;
	}
	return fd;
}

/* ---- telling ---- */

static int tell(const char *state, const int *fd)
{
	int err = sd_pid_notify_with_fds(0, 0, state, fd, fd ? 1 : 0);

	if (err >= 0)
		return 0;
	if ((err == -ECONNREFUSED || err == -ENOENT) && !keep.lost) {
		keep.lost = true;
		say("who kept the descriptors is gone: they will not outlive this process");
	}
	errno = -err;
	return keep.lost ? 0 : -1;
}

int keep_add(int fd, struct keep_name name)
{
	char state[96];

	if (!keep.on)
		return 0;
	if (keep.names_len + strlen(name.text) >= NAMES_MAX) {
		errno = E2BIG;
		return -1;
	}
	/* Without FDPOLL=0 systemd lets go of a socket that shows a hang-up. */
	snprintf(state, sizeof(state), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name.text);
	if (!note(name.text, -1)) {
		errno = ENOMEM;
		return -1;
	}
	if (tell(state, &fd)) {
		forget(find(&name));
		return -1;
	}
	return 0;
}

void keep_drop(struct keep_name name)
{
	struct kept *kept = find(&name);
	char state[96];

	if (!kept)
		return;
	if (kept->fd >= 0)
		close(kept->fd);
	forget(kept);
	snprintf(state, sizeof(state), "FDSTOREREMOVE=1\nFDNAME=%s", name.text);
	tell(state, NULL);
}

/* Used by keep_drop_rest() alone: one that nobody took. */
static const struct kept *untaken;

static void look_at(const void *node, VISIT visit, int depth)
{
	const struct kept *kept = *(const struct kept *const *)node;

	(void)depth;
	if ((visit == preorder || visit == leaf) && kept->fd >= 0)
		untaken = kept;
}

void keep_drop_rest(void)
{
	do {
		untaken = NULL;
		twalk(keep.tree, look_at);
		if (untaken)
			keep_drop(untaken->name);
	} while (untaken);
}

void keep_tell(const char *state)
{
	if (keep.on)
		tell(state, NULL);
}

void keep_end(void)
{
	tdestroy(keep.tree, free);
	keep.tree = NULL;
	free(keep.ids);
	keep.ids = NULL;
	keep.nr_ids = 0;
}
