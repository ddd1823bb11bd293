// SPDX-License-Identifier: GPL-2.0-only
/*
 * The configuration as a whole: members, segments, and the rules between
 * them. The form of a single setting is config_read.c's.
 */
#include "config.h"
#include "config_read.h"
#include "config_seen.h"
#include "control.h"
#include "control_address.h"
#include "geometry.h"
#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define NR(array) (sizeof(array) / sizeof((array)[0]))

static const struct key root_keys[] = {
	{ "runtime_dir", KIND_STRING, false },
	{ "control_group", KIND_STRING, false },
	{ "control_mode", KIND_STRING, false },
	{ "metrics", KIND_STRING, false },
	{ "memory_limit", KIND_SIZE, false },
	{ "members", KIND_GROUPS, true },
	{ "segments", KIND_GROUPS, true },
	{ "couples", KIND_GROUPS, false },
};

/* What a file in PATH.d may have. */
static const struct key more_keys[] = {
	{ "members", KIND_GROUPS, false },
	{ "segments", KIND_GROUPS, false },
	{ "couples", KIND_GROUPS, false },
};

static const struct key member_keys[] = {
	{ "name", KIND_STRING, true },
	{ "cid", KIND_INT, true },
	{ "host", KIND_BOOL, false },
	{ "owner", KIND_STRING, false },
	{ "group", KIND_STRING, false },
	{ "mode", KIND_STRING, false },
};

static const struct key segment_keys[] = {
	/* Of a segment alone. */
	{ "name", KIND_STRING, true },
	{ "shared", KIND_BOOL, false },
	/* Of a group of couples, too: couples_keys. */
	{ "members", KIND_NAMES, true },
	{ "size", KIND_SIZE, false },
	{ "vectors", KIND_INT, false },
	{ "huge_pages", KIND_BOOL, false },
	{ "transparent_huge_pages", KIND_BOOL, false },
	{ "numa_node", KIND_INT, false },
	{ "owner", KIND_STRING, false },
	{ "group", KIND_STRING, false },
	{ "mode", KIND_STRING, false },
};

/* A group of which each two get a segment of their own: see above. */
static const struct key *const couples_keys = segment_keys + 2;
#define NR_COUPLES_KEYS	(NR(segment_keys) - 2)

/* What all files have named so far: trees of struct seen. */
struct known {
	void *member_names, *cids, *segment_names, *couples;
};

/* What is known while a file is read. */
struct check {
	struct reader r;
	char *path;
	bool open;
	struct config *config;
	struct known *known;
};

static void read_access(struct reader *r, const config_setting_t *group, const struct key *keys,
			size_t nr_keys, struct access *access)
{
	*access = ACCESS_UNSET;
	read_user(r, get_key(group, keys, nr_keys, "owner"), &access->uid);
	read_group(r, get_key(group, keys, nr_keys, "group"), &access->gid);
	read_mode(r, get_key(group, keys, nr_keys, "mode"), &access->mode);
}

/* A number of the host's own is asked for in so many words, and nobody else's. */
static void read_cid(struct check *c, const config_setting_t *group, struct config_member *m)
{
	const config_setting_t *cid = get_key(group, member_keys, NR(member_keys), "cid");
	u32 least = CONFIG_CID_HOST;

	read_bool(get_key(group, member_keys, NR(member_keys), "host"), &m->host);
	if (!cid || config_setting_get_int(cid) != CONFIG_CID_HOST)
		least = CONFIG_CID_MIN;
	read_number(&c->r, cid, least, CONFIG_CID_MAX, &m->cid);
	if (m->cid == CONFIG_CID_HOST && !m->host)
		mistake(&c->r, cid,
			"'cid' is %u, which is the host's, expected %u to %u, or 'host = true' if a process on the host is the member",
			m->cid, CONFIG_CID_MIN, CONFIG_CID_MAX);
	else if (m->cid && m->cid != CONFIG_CID_HOST && m->host)
		mistake(&c->r, cid, "'cid' is %u with 'host = true', expected %u", m->cid,
			CONFIG_CID_HOST);
}

static void read_member(struct check *c, const config_setting_t *group)
{
	struct config_member *m = &c->config->members[c->config->nr_members];
	const config_setting_t *name = get_key(group, member_keys, NR(member_keys), "name");
	const config_setting_t *cid = get_key(group, member_keys, NR(member_keys), "cid");
	const struct seen *before;
	char text[16];

	*m = (struct config_member){ .cid = 0 };
	check_keys(&c->r, group, "a member", member_keys, NR(member_keys));
	read_access(&c->r, group, member_keys, NR(member_keys), &m->access);
	read_cid(c, group, m);
	if (m->cid) {
		snprintf(text, sizeof(text), "%u", m->cid);
		before = see(c->r.path, &c->known->cids, text, cid, 0);
		if (before)
			mistake(&c->r, cid,
				"CID %u is given twice (before: %s), expected one member a CID",
				m->cid, place(c->r.path, before).text);
	}
	if (!read_name(&c->r, name, m->name))
		return;
	before = see(c->r.path, &c->known->member_names, m->name, name, c->config->nr_members);
	if (before) {
		mistake(&c->r, name,
			"there are two members '%s' (before: %s), expected another name",
			m->name, place(c->r.path, before).text);
		return;
	}
	c->config->nr_members++;
}

/* Names in a segment's list, as indices; how many were given in *@given. */
static void read_segment_members(struct check *c, const config_setting_t *list,
				 struct config_segment *s, u32 *given)
{
	*given = (u32)config_setting_length(list);
	for (u32 i = 0; i < *given; i++) {
		const config_setting_t *item = config_setting_get_elem(list, i);
		const char *name = config_setting_get_string(item);
		const struct seen *member;
		bool twice = false;

		if (!name) {
			mistake(&c->r, item,
				"a segment's member is no string, expected a member's name in quotes");
			continue;
		}
		member = seen_before(&c->known->member_names, name);
		if (!member) {
			mistake(&c->r, item,
				"there is no member '%s', expected a name from 'members'",
				name);
			continue;
		}
		for (u32 j = 0; j < s->nr_members; j++)
			twice |= s->members[j] == member->index;
		if (twice)
			mistake(&c->r, item,
				"member '%s' is listed twice, expected each member once",
				name);
		else if (s->nr_members < VMSHM_MEMBERS_MAX)
			s->members[s->nr_members++] = member->index;
	}
}

static void check_couples(struct check *c, const config_setting_t *at,
			  const struct config_segment *s)
{
	const struct config_member *m = c->config->members;

	for (u32 i = 0; i < s->nr_members; i++) {
		for (u32 j = i + 1; j < s->nr_members; j++) {
			u32 one = s->members[i], other = s->members[j];
			const struct seen *before;
			char key[32];

			snprintf(key, sizeof(key), "%u/%u", one < other ? one : other,
				 one < other ? other : one);
			before = see(c->r.path, &c->known->couples, key, at, 0);
			if (before)
				mistake(&c->r, at,
					"'%s' and '%s' are a couple already (%s), expected one segment a couple",
					m[one].name, m[other].name,
					place(c->r.path, before).text);
		}
	}
}

static void check_paths(struct check *c, const config_setting_t *at, const struct config_segment *s)
{
	const size_t limit = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	const struct config *config = c->config;
	const char *longest = "";
	size_t len;

	for (u32 i = 0; i < s->nr_members; i++)
		if (strlen(config->members[s->members[i]].name) > strlen(longest))
			longest = config->members[s->members[i]].name;
	len = strlen(config->runtime_dir) + 1 + strlen(s->name) + 1 + strlen(longest) +
	      strlen(CONFIG_SOCKET_SUFFIX);
	if (len > limit)
		mistake(&c->r, at, "the socket's path %s/%s/%s" CONFIG_SOCKET_SUFFIX
			" has %zu characters, expected at most %zu: shorten a name or runtime_dir",
			config->runtime_dir, s->name, longest, len, limit);
}

/*
 * A QEMU can give pages of a segment back; from a pool of huge pages that is empty
 * meanwhile they can't be had again, which ends a process that looks at them.
 */
static void check_host(struct check *c, const config_setting_t *list,
		       const struct config_segment *s)
{
	for (u32 i = 0; s->huge && i < s->nr_members; i++)
		if (c->config->members[s->members[i]].host)
			mistake(&c->r, list,
				"'%s' is a process on the host, expected no 'huge_pages' in its segments: a VM could take them away under it",
				c->config->members[s->members[i]].name);
}

/* Where its pages come from. */
static void read_placement(struct check *c, const config_setting_t *group,
			   struct config_segment *s)
{
	const config_setting_t *thp = get_key(group, segment_keys, NR(segment_keys),
					      "transparent_huge_pages");
	const config_setting_t *node = get_key(group, segment_keys, NR(segment_keys), "numa_node");
	u32 number = CONFIG_NODE_MAX + 1;

	read_bool(thp, &s->thp);
	if (s->thp && s->huge)
		mistake(&c->r, thp,
			"huge pages are either from the pool or transparent, expected one of 'huge_pages' and 'transparent_huge_pages'");
	read_number(&c->r, node, 0, CONFIG_NODE_MAX, &number);
	if (number <= CONFIG_NODE_MAX)
		s->numa_node = (int)number;
}

/* What a segment has beside its name and its members. */
static void read_settings(struct check *c, const config_setting_t *group, struct config_segment *s)
{
	*s = (struct config_segment){
		.size = CONFIG_DEFAULT_SIZE,
		.vectors = CONFIG_DEFAULT_VECTORS,
		.numa_node = -1,
	};
	read_access(&c->r, group, segment_keys, NR(segment_keys), &s->access);
	read_size(&c->r, get_key(group, segment_keys, NR(segment_keys), "size"), &s->size);
	read_number(&c->r, get_key(group, segment_keys, NR(segment_keys), "vectors"), 1,
		    CONFIG_VECTORS_MAX, &s->vectors);
	read_bool(get_key(group, segment_keys, NR(segment_keys), "huge_pages"), &s->huge);
	read_placement(c, group, s);
}

static void check_name(struct check *c, const config_setting_t *at, const struct config_segment *s)
{
	const struct seen *before = see(c->r.path, &c->known->segment_names, s->name, at, 0);

	if (before)
		mistake(&c->r, at,
			"there are two segments '%s' (before: %s), expected another name",
			s->name, place(c->r.path, before).text);
	if (!strcmp(s->name, CONTROL_SOCKET) || !strcmp(s->name, METRICS_SOCKET))
		mistake(&c->r, at,
			"a segment '%s' would be in a socket's place, expected another name",
			s->name);
}

static void check_room(struct check *c, const config_setting_t *group,
		       const struct config_segment *s)
{
	const config_setting_t *size = get_key(group, segment_keys, NR(segment_keys), "size");
	struct geometry geometry;

	if (geometry_make(&geometry, s->size, s->nr_members, s->huge || s->thp))
		mistake(&c->r, size ? size : group,
			"%s is too small for %u channel%s%s, expected at least %s",
			size_text(s->size).text, geometry.nr_channels,
			geometry.nr_channels == 1 ? "" : "s",
			s->huge || s->thp ? " in huge pages" : "",
			size_text(geometry_min_size(s->nr_members, s->huge || s->thp)).text);
}

static void read_segment(struct check *c, const config_setting_t *group)
{
	struct config_segment *s = &c->config->segments[c->config->nr_segments];
	const config_setting_t *name = get_key(group, segment_keys, NR(segment_keys), "name");
	const config_setting_t *list = get_key(group, segment_keys, NR(segment_keys), "members");
	unsigned int mistakes = c->r.mistakes;
	u32 given = 2;

	check_keys(&c->r, group, "a segment", segment_keys, NR(segment_keys));
	read_settings(c, group, s);
	read_bool(get_key(group, segment_keys, NR(segment_keys), "shared"), &s->shared);
	if (read_name(&c->r, name, s->name))
		check_name(c, name, s);
	if (list) {
		read_segment_members(c, list, s, &given);
		if (given < 2)
			mistake(&c->r, list, "a segment with %u member%s, expected two or more",
				given, given == 1 ? "" : "s");
		else if (given > VMSHM_MEMBERS_MAX)
			mistake(&c->r, list, "a segment with %u members, expected at most %d",
				given, VMSHM_MEMBERS_MAX);
		else if (given > 2 && !s->shared)
			mistake(&c->r, list,
				"a segment with %u members, expected two, or 'shared = true' if all of them may read and write what the others exchange",
				given);
		check_host(c, list, s);
		check_couples(c, list, s);
		check_paths(c, name ? name : list, s);
	}
	if (c->r.mistakes == mistakes)
		check_room(c, group, s);
	c->config->nr_segments++;
}

/* One of the couples that @group stands for: a segment called ONE-OTHER. */
static void add_couple(struct check *c, const config_setting_t *list,
		       const struct config_segment *group, u32 one, u32 other)
{
	struct config_segment *s = &c->config->segments[c->config->nr_segments];
	const struct config_member *m = c->config->members;
	int len;

	*s = *group;
	s->nr_members = 2;
	s->members[0] = one;
	s->members[1] = other;
	len = snprintf(s->name, sizeof(s->name), "%s-%s", m[one].name, m[other].name);
	if (len >= (int)sizeof(s->name)) {
		mistake(&c->r, list,
			"the segment of '%s' and '%s' would have a name of %d characters, expected at most %zu: shorten a name, or give the two a segment with a name",
			m[one].name, m[other].name, len, sizeof(s->name) - 1);
		return;
	}
	check_name(c, list, s);
	check_couples(c, list, s);
	check_paths(c, list, s);
	c->config->nr_segments++;
}

static void read_couples(struct check *c, const config_setting_t *group)
{
	const config_setting_t *list = get_key(group, couples_keys, NR_COUPLES_KEYS, "members");
	unsigned int mistakes = c->r.mistakes;
	struct config_segment all;
	u32 given;

	check_keys(&c->r, group, "a group of couples", couples_keys, NR_COUPLES_KEYS);
	read_settings(c, group, &all);
	if (!list)
		return;
	read_segment_members(c, list, &all, &given);
	check_host(c, list, &all);
	if (given < 2)
		mistake(&c->r, list, "a group of couples with %u member%s, expected two or more",
			given, given == 1 ? "" : "s");
	else if (given > VMSHM_MEMBERS_MAX)
		mistake(&c->r, list,
			"a group of couples with %u members, expected at most %d: write two groups",
			given, VMSHM_MEMBERS_MAX);
	for (u32 i = 0; i < all.nr_members; i++)
		for (u32 j = i + 1; j < all.nr_members; j++)
			add_couple(c, list, &all, all.members[i], all.members[j]);
	all.nr_members = 2;
	if (c->r.mistakes == mistakes)
		check_room(c, group, &all);
}

/* Every element of the list called @what, with @read; room is there already. */
static void read_groups(struct check *c, const config_setting_t *list, const char *what,
			void (*read)(struct check *c, const config_setting_t *group))
{
	for (int i = 0; list && i < config_setting_length(list); i++) {
		const config_setting_t *group = config_setting_get_elem(list, (unsigned int)i);

		if (config_setting_is_group(group))
			read(c, group);
		else
			mistake(&c->r, group, "an element of '%s' is no group, expected { ... }",
				what);
	}
}

static void read_runtime_dir(struct check *c, const config_setting_t *setting, const char *given)
{
	const char *dir = setting ? config_setting_get_string(setting) : CONFIG_DEFAULT_DIR;
	size_t len;

	if (given)
		dir = given;
	if (dir[0] != '/') {
		if (given)
			mistake(&c->r, NULL,
				"--runtime-dir is '%s', expected an absolute path", dir);
		else
			mistake(&c->r, setting, "'runtime_dir' is '%s', expected an absolute path",
				dir);
	}
	c->config->runtime_dir = strdup(dir);
	if (!c->config->runtime_dir)
		abort();
	for (len = strlen(dir); len > 1 && dir[len - 1] == '/'; len--)
		c->config->runtime_dir[len - 1] = '\0';
}

/* ---- files ---- */

static int is_more(const struct dirent *entry)
{
	const char *suffix = strrchr(entry->d_name, '.');

	return entry->d_name[0] != '.' && suffix && !strcmp(suffix, CONFIG_MORE_SUFFIX);
}

/* @path itself and what lies in its PATH.d, in the order of their names. */
static u32 open_files(struct check **files, const char *path, struct known *known,
		      struct config *config)
{
	struct dirent **names = NULL;
	char *dir = NULL;
	int n, err;

	if (asprintf(&dir, "%s" CONFIG_MORE_DIR, path) < 0)
		abort();
	n = scandir(dir, &names, is_more, alphasort);
	err = n < 0 ? errno : 0;
	*files = calloc(n > 0 ? (size_t)n + 1 : 1, sizeof(**files));
	if (!*files)
		abort();
	for (int i = 0; i <= (n > 0 ? n : 0); i++) {
		struct check *c = &(*files)[i];

		c->known = known;
		c->config = config;
		if (!i)
			c->path = strdup(path);
		else if (asprintf(&c->path, "%s/%s", dir, names[i - 1]->d_name) < 0)
			c->path = NULL;
		if (!c->path)
			abort();
		if (i)
			free(names[i - 1]);
		c->open = reader_open(&c->r, c->path);
		if (i && c->open)
			check_keys(&c->r, config_root_setting(&c->r.file), "a file of additions",
				   more_keys, NR(more_keys));
	}
	if (err && err != ENOENT && err != ENOTDIR)
		mistake(&(*files)[0].r, NULL, "the directory %s cannot be read: %s", dir,
			strerror(err));
	free(names);
	free(dir);
	return n > 0 ? (u32)n + 1 : 1;
}

static const config_setting_t *list_of(const struct check *c, const char *name)
{
	return c->open ? get_key(config_root_setting(&c->r.file), more_keys, NR(more_keys), name) :
			 NULL;
}

/* How many segments the groups of couples in @list are, at most. */
static size_t expanded(const config_setting_t *list)
{
	size_t count = 0;

	for (int i = 0; list && i < config_setting_length(list); i++) {
		const config_setting_t *group = config_setting_get_elem(list, (unsigned int)i);
		const config_setting_t *members = NULL;
		size_t n = 0;

		if (config_setting_is_group(group))
			members = get_key(group, couples_keys, NR_COUPLES_KEYS, "members");
		if (members)
			n = (size_t)config_setting_length(members);
		if (n > VMSHM_MEMBERS_MAX)
			n = VMSHM_MEMBERS_MAX;
		count += n * n / 2;
	}
	return count;
}

/* Room for all elements of the lists called @name, and @more of each file. */
static void *array_for(const struct check *files, u32 nr_files, const char *name, size_t size,
		       size_t (*more)(const config_setting_t *couples))
{
	size_t count = 1;
	void *array;

	for (u32 i = 0; i < nr_files; i++) {
		if (list_of(&files[i], name))
			count += (size_t)config_setting_length(list_of(&files[i], name));
		if (more)
			count += more(list_of(&files[i], "couples"));
	}
	array = calloc(count, size);
	if (!array)
		abort();
	return array;
}

/* Whether a path is that of @name in @dir, however many slashes it has. */
static bool is_path_of(const char *path, const char *dir, const char *name)
{
	char *other = NULL, *at;
	bool same;

	if (asprintf(&other, "%s/%s", dir, name) < 0)
		abort();
	for (at = other; *path && *path == *at; at++) {
		path += *path == '/' ? strspn(path, "/") : 1;
		if (*at == '/')
			at += strspn(at, "/") - 1;
	}
	same = !*path && !*at;
	free(other);
	return same;
}

static void read_control(struct check *c, const config_setting_t *root)
{
	const config_setting_t *metrics = get_key(root, root_keys, NR(root_keys), "metrics");
	union metrics_address address;
	const char *wrong;
	socklen_t len;

	read_group(&c->r, get_key(root, root_keys, NR(root_keys), "control_group"),
		   &c->config->control.gid);
	read_mode(&c->r, get_key(root, root_keys, NR(root_keys), "control_mode"),
		  &c->config->control.mode);
	if (!metrics)
		return;
	wrong = metrics_address(config_setting_get_string(metrics), &address, &len);
	if (wrong)
		mistake(&c->r, metrics, "'metrics' is '%s', %s", config_setting_get_string(metrics),
			wrong);
	else if (is_path_of(config_setting_get_string(metrics), c->config->runtime_dir,
			    CONTROL_SOCKET))
		mistake(&c->r, metrics,
			"'metrics' is '%s', which is the control socket, expected another path, such as %s/"
			METRICS_SOCKET, config_setting_get_string(metrics), c->config->runtime_dir);
	c->config->metrics = strdup(config_setting_get_string(metrics));
	if (!c->config->metrics)
		abort();
}

struct config *config_load(const char *path, const char *runtime_dir, unsigned int *mistakes)
{
	struct config *config = calloc(1, sizeof(*config));
	struct known known = { .couples = NULL };
	const config_setting_t *root;
	struct check *files;
	u32 nr_files;

	if (!config)
		abort();
	config->control = ACCESS_UNSET;
	nr_files = open_files(&files, path, &known, config);
	if (files[0].open) {
		root = config_root_setting(&files[0].r.file);
		check_keys(&files[0].r, root, "the configuration", root_keys, NR(root_keys));
		read_runtime_dir(&files[0], get_key(root, root_keys, NR(root_keys), "runtime_dir"),
				 runtime_dir);
		read_control(&files[0], root);
		read_bytes(&files[0].r, get_key(root, root_keys, NR(root_keys), "memory_limit"),
			   &config->memory_limit);
		config->members = array_for(files, nr_files, "members", sizeof(*config->members),
					    NULL);
		config->segments = array_for(files, nr_files, "segments",
					     sizeof(*config->segments), expanded);
		/* A segment may be of members that another file has. */
		for (u32 i = 0; i < nr_files; i++)
			read_groups(&files[i], list_of(&files[i], "members"), "members",
				    read_member);
		for (u32 i = 0; i < nr_files; i++)
			read_groups(&files[i], list_of(&files[i], "segments"), "segments",
				    read_segment);
		for (u32 i = 0; i < nr_files; i++)
			read_groups(&files[i], list_of(&files[i], "couples"), "couples",
				    read_couples);
	}
	*mistakes = 0;
	tdestroy(known.member_names, free);
	tdestroy(known.cids, free);
	tdestroy(known.segment_names, free);
	tdestroy(known.couples, free);
	for (u32 i = 0; i < nr_files; i++) {
		*mistakes += files[i].r.mistakes;
		reader_close(&files[i].r);
		free(files[i].path);
	}
	free(files);
	if (*mistakes) {
		config_free(config);
		return NULL;
	}
	return config;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	free(config->runtime_dir);
	free(config->metrics);
	free(config->members);
	free(config->segments);
	free(config);
}

struct access config_access(const struct config_member *member,
			    const struct config_segment *segment)
{
	struct access access = segment->access;

	if (member->access.uid != (uid_t)-1)
		access.uid = member->access.uid;
	if (member->access.gid != (gid_t)-1)
		access.gid = member->access.gid;
	if (member->access.mode != (mode_t)-1)
		access.mode = member->access.mode;
	if (access.mode == (mode_t)-1)
		access.mode = CONFIG_DEFAULT_MODE;
	return access;
}
