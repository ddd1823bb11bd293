// SPDX-License-Identifier: GPL-2.0-only
/*
 * Segments as a whole: see server.h.
 */
#include "server.h"
#include "admission.h"
#include "control_roster.h"
#include "keep.h"
#include "restore.h"
#include "seat.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* No segment's name begins with a dot. */
#define LOCK_NAME	".lock"

struct server {
	struct sd_event *event;
	char *runtime_dir;
	int dir_fd;
	int lock_fd;
	struct segment *segments;
	bool goes_on;		/* with what was kept */
	bool configured;	/* by a configuration that was taken over */
};

/* ---- directories ---- */

/*
 * Make a directory that everybody can pass, whatever the umask: who may
 * connect is the sockets' matter. One that is there already stays as it is.
 */
static int make_dir(int parent, const char *path)
{
	if (mkdirat(parent, path, 0700))
		return errno == EEXIST ? 0 : -1;
	return fchmodat(parent, path, 0755, 0);
}

/* Lock the directory for this process: 0, or -1, said in the log. */
static int lock_dir(struct server *server)
{
	struct stat held, there;
	char pid[16] = "";
	ssize_t n;

	for (;;) {
		server->lock_fd = openat(server->dir_fd, LOCK_NAME,
					 O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (server->lock_fd < 0) {
			say("%s/" LOCK_NAME " cannot be opened: %s", server->runtime_dir,
			    strerror(errno));
			return -1;
		}
		if (flock(server->lock_fd, LOCK_EX | LOCK_NB))
			break;
		/* The one before removes its file when it ends: is this still it? */
		if (!fstat(server->lock_fd, &held) &&
		    !fstatat(server->dir_fd, LOCK_NAME, &there, AT_SYMLINK_NOFOLLOW) &&
		    held.st_dev == there.st_dev && held.st_ino == there.st_ino) {
			if (!ftruncate(server->lock_fd, 0) &&
			    dprintf(server->lock_fd, "%d\n", (int)getpid()) > 0)
				return 0;
			say("%s/" LOCK_NAME " cannot be written: %s", server->runtime_dir,
			    strerror(errno));
			return -1;
		}
		close(server->lock_fd);
	}
	n = read(server->lock_fd, pid, sizeof(pid) - 1);
	pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
	say("another vmshmd (process %s) serves %s; end it or give another --runtime-dir", pid,
	    server->runtime_dir);
	close(server->lock_fd);
	server->lock_fd = -1;
	return -1;
}

static int open_dir(struct server *server)
{
	struct stat st;

	if (make_dir(AT_FDCWD, server->runtime_dir)) {
		say("the directory %s cannot be made: %s", server->runtime_dir, strerror(errno));
		return -1;
	}
	server->dir_fd = open(server->runtime_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (server->dir_fd < 0 || fstat(server->dir_fd, &st)) {
		say("the directory %s cannot be opened: %s", server->runtime_dir, strerror(errno));
		return -1;
	}
	if (st.st_mode & 0002)
		say("the directory %s can be written by everybody: anyone can put sockets there",
		    server->runtime_dir);
	return lock_dir(server);
}

/* ---- one segment ---- */

static const char sharing_means[] =
	"shared = true gives up isolation: each member can read and forge all that is here";

static void announce(const struct segment *s)
{
	char members[VMSHM_MEMBERS_MAX * (VMSHM_NAME_LEN + 16)];
	size_t len = 0;

	for (u32 i = 0; i < s->nr_seats; i++)
		len += (size_t)snprintf(members + len, sizeof(members) - len, "%s%s (CID %u)",
					i ? ", " : "", s->seats[i].name, s->seats[i].cid);
	say("segment %s: %s%s, %u vector%s, %s: %s", s->name, size_text(s->geometry.size).text,
	    s->huge ? " in huge pages" : "", s->vectors, s->vectors == 1 ? "" : "s",
	    s->shared ? "a shared group" : "a couple", members);
	if (s->thp)
		say("segment %s: in transparent huge pages, where QEMU gets them", s->name);
	if (s->numa_node >= 0)
		say("segment %s: on NUMA node %d", s->name, s->numa_node);
	if (s->shared)
		say("segment %s: %s", s->name, sharing_means);
}

static const struct config_member *member_called(const struct config *config,
						 const struct config_segment *wanted,
						 const char *name)
{
	for (u32 i = 0; i < wanted->nr_members; i++)
		if (!strcmp(config->members[wanted->members[i]].name, name))
			return &config->members[wanted->members[i]];
	return NULL;
}

/* Whether the memory that there is can serve as what is wanted. */
static bool is_same(const struct segment *s, const struct config *config,
		    const struct config_segment *wanted)
{
	if (s->geometry.size != wanted->size || s->vectors != wanted->vectors ||
	    s->shared != wanted->shared || s->huge != wanted->huge ||
	    s->thp != wanted->thp || s->numa_node != wanted->numa_node ||
	    s->nr_seats != wanted->nr_members)
		return false;
	for (u32 i = 0; i < s->nr_seats; i++) {
		const struct config_member *m = member_called(config, wanted, s->seats[i].name);

		if (!m || m->cid != s->seats[i].cid)
			return false;
	}
	return true;
}

static void close_segment(struct server *server, struct segment *s)
{
	segment_forget(s);
	for (u32 i = 0; i < s->nr_seats; i++)
		seat_close(&s->seats[i]);
	unlinkat(server->dir_fd, s->name, AT_REMOVEDIR);
}

static int open_segment(struct server *server, struct segment *s, const struct config *config,
			const struct config_segment *wanted)
{
	if (make_dir(server->dir_fd, s->name)) {
		say("the directory %s/%s cannot be made: %s", server->runtime_dir, s->name,
		    strerror(errno));
		return -1;
	}
	for (u32 i = 0; i < s->nr_seats; i++) {
		struct seat *seat = &s->seats[i];
		const struct config_member *m = member_called(config, wanted, seat->name);

		if (seat_open(seat, server->event, server->runtime_dir,
			      config_access(m, wanted))) {
			close_segment(server, s);
			return -1;
		}
	}
	if (segment_keep(s)) {
		close_segment(server, s);
		return -1;
	}
	return 0;
}

static void remove_segment(struct server *server, struct segment *s)
{
	for (u32 i = 0; i < s->nr_seats; i++)
		seat_evict(&s->seats[i]);
	close_segment(server, s);
	say("segment %s: removed", s->name);
	segment_free(s);
}

/* A socket's owners and mode may change while clients are connected. */
static void update_access(struct segment *s, const struct config *config,
			  const struct config_segment *wanted)
{
	for (u32 i = 0; i < s->nr_seats; i++) {
		struct seat *seat = &s->seats[i];
		struct access access = config_access(member_called(config, wanted, seat->name),
						     wanted);

		if (access.uid == seat->access.uid && access.gid == seat->access.gid &&
		    access.mode == seat->access.mode)
			continue;
		if (!seat_set_access(seat, access))
			say("segment %s: member %s: who may connect has changed", s->name,
			    seat->name);
	}
}

/* ---- all of them ---- */

static const struct config_segment *segment_wanted(const struct config *config, const char *name)
{
	for (u32 i = 0; i < config->nr_segments; i++)
		if (!strcmp(config->segments[i].name, name))
			return &config->segments[i];
	return NULL;
}

static struct segment *segment_called(struct segment *list, const char *name)
{
	while (list && strcmp(list->name, name))
		list = list->next;
	return list;
}

/* A segment whose memory has to be another can't be changed under its users. */
static int check_unused(const struct segment *s)
{
	for (u32 i = 0; i < s->nr_seats; i++) {
		if (s->seats[i].client || s->seats[i].wiping) {
			say("segment %s: cannot change while %s is connected; use another name",
			    s->name, s->seats[i].name);
			return -1;
		}
	}
	return 0;
}

/*
 * The successor of a segment that is removed, from the list of those that were
 * made: if it has no sockets, it goes, and the next reload finds it missing.
 */
static int open_successor(struct server *server, struct segment **fresh, const char *name,
			  const struct config *config)
{
	struct segment **link = fresh, *s;

	while (*link && strcmp((*link)->name, name))
		link = &(*link)->next;
	s = *link;
	if (!s || !open_segment(server, s, config, segment_wanted(config, name)))
		return 0;
	*link = s->next;
	say("segment %s: is not served any more; the next reload tries again", name);
	segment_free(s);
	return 1;
}

/*
 * Three steps, so that what can fail does so before anything has changed:
 * look, make what is new, take away what is old. A segment that changes and
 * has no users goes first, for its successor has the same sockets; those may
 * still fail, which is 1.
 */
static int take_over(struct server *server, const struct config *config)
{
	struct segment *fresh = NULL, *old = NULL, **link, *s;
	int failed = 0;

	if (admission_check(config))
		return -1;
	for (s = server->segments; s; s = s->next) {
		const struct config_segment *wanted = segment_wanted(config, s->name);

		if (wanted && !is_same(s, config, wanted) && check_unused(s))
			return -1;
	}
	for (u32 i = 0; i < config->nr_segments && !failed; i++) {
		const struct config_segment *wanted = &config->segments[i];

		s = segment_called(server->segments, wanted->name);
		if (s && is_same(s, config, wanted))
			continue;
		s = segment_new(config, wanted);
		if (s) {
			s->next = fresh;
			fresh = s;
		}
		failed = !s;
	}
	for (s = fresh; s && !failed; s = s->next)
		if (!segment_called(server->segments, s->name))
			failed = open_segment(server, s, config, segment_wanted(config, s->name));
	if (failed) {
		while ((s = fresh)) {
			fresh = s->next;
			if (!segment_called(server->segments, s->name))
				close_segment(server, s);
			segment_free(s);
		}
		return -1;
	}

	for (link = &server->segments; (s = *link);) {
		const struct config_segment *wanted = segment_wanted(config, s->name);

		if (wanted && is_same(s, config, wanted)) {
			update_access(s, config, wanted);
			link = &s->next;
		} else {
			*link = s->next;
			s->next = old;
			old = s;
		}
	}
	while ((s = old)) {
		char name[VMSHM_NAME_LEN];

		memcpy(name, s->name, sizeof(name));
		old = s->next;
		remove_segment(server, s);
		failed |= open_successor(server, &fresh, name, config);
	}
	while ((s = fresh)) {
		fresh = s->next;
		s->next = server->segments;
		server->segments = s;
		announce(s);
	}
	roster_publish(config, server->segments);
	return failed;
}

struct segment *server_segments(const struct server *server)
{
	return server->segments;
}

int server_reload(struct server *server, const struct config *config)
{
	int err;

	if (strcmp(server->runtime_dir, config->runtime_dir)) {
		say("runtime_dir cannot change from %s to %s while the daemon runs: "
		    "stop it and start it, for a restart keeps the old one",
		    server->runtime_dir, config->runtime_dir);
		return -1;
	}
	err = take_over(server, config);
	server->configured |= err >= 0;
	return err;
}

bool server_is_configured(const struct server *server)
{
	return server->configured;
}

bool server_goes_on(const struct server *server)
{
	return server->goes_on;
}

/* Those that were kept; what can't be served is said, and its VMs go on alone. */
static void resume(struct server *server)
{
	u32 members = 0, segments = 0;

	for (struct segment *s = server->segments; s; s = s->next) {
		segments++;
		/* Where somebody removed the directory, the sockets are made anew. */
		make_dir(server->dir_fd, s->name);
		for (u32 i = 0; i < s->nr_seats; i++) {
			seat_resume(&s->seats[i], server->event, server->runtime_dir);
			members += !!s->seats[i].client;
		}
		segment_publish(s);
	}
	keep_drop_rest();
	if (segments)
		say("taken over: %u segment%s, %u connection%s", segments,
		    segments == 1 ? "" : "s", members, members == 1 ? "" : "s");
}

struct server *server_start(struct sd_event *event, const struct config *config)
{
	struct server *server = calloc(1, sizeof(*server));
	struct segment *kept = restore_segments();
	const char *dir = kept ? kept->record->runtime_dir : config ? config->runtime_dir : NULL;
	char *runtime_dir = dir ? strdup(dir) : NULL;

	if (server)
		server->segments = kept;
	if (!server || !runtime_dir) {
		say(dir ? "out of memory" : "there is nothing to go on with");
		free(server);
		free(runtime_dir);
		return NULL;
	}
	server->runtime_dir = runtime_dir;
	server->goes_on = kept;
	server->event = event;
	server->dir_fd = -1;
	server->lock_fd = -1;
	if (open_dir(server)) {
		server_leave(server);
		return NULL;
	}
	resume(server);
	if (config && server_reload(server, config) >= 0)
		return server;
	if (server->goes_on) {
		say("not taken over: the configuration; what was served before still is");
		return server;
	}
	server_stop(server);
	return NULL;
}

bool server_idle(const struct server *server)
{
	for (const struct segment *s = server->segments; s; s = s->next)
		for (u32 i = 0; i < s->nr_seats; i++)
			if (s->seats[i].client || s->seats[i].wiping)
				return false;
	return true;
}

static void free_server(struct server *server)
{
	if (server->lock_fd >= 0)
		close(server->lock_fd);
	if (server->dir_fd >= 0)
		close(server->dir_fd);
	free(server->runtime_dir);
	free(server);
}

void server_leave(struct server *server)
{
	struct segment *s;

	roster_publish(NULL, NULL);
	while ((s = server->segments)) {
		server->segments = s->next;
		for (u32 i = 0; i < s->nr_seats; i++)
			seat_leave(&s->seats[i]);
		segment_free(s);
	}
	roster_stop();
	free_server(server);
}

void server_stop(struct server *server)
{
	struct segment *s;

	roster_publish(NULL, NULL);
	while ((s = server->segments)) {
		server->segments = s->next;
		close_segment(server, s);
		for (u32 i = 0; i < s->nr_seats; i++)
			seat_abandon(&s->seats[i]);
		segment_free(s);
	}
	roster_stop();
	if (server->lock_fd >= 0)
		unlinkat(server->dir_fd, LOCK_NAME, 0);
	free_server(server);
}
