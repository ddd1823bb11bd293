// SPDX-License-Identifier: GPL-2.0-only
/*
 * The configuration's files: what is added lies in a file of its own in
 * CONFIG.d, and what is removed is such a file. The files are the only truth;
 * the daemon is told to read them again. What it refuses is taken back; what it
 * does not answer is not, since it may have read it.
 */
#include "ctl.h"
#include "log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

char *edit_config_path(const struct options *o)
{
	const char *path = o->config;
	struct daemon_link *link;
	json_t *status = NULL;
	char *why = NULL, *mine;

	if (!path) {
		link = link_open(o, true);
		if (link)
			status = link_ask(link, json_pack("{ss}", "command", "status"), &why);
		link_close(link);
		path = status ? str(status, "config") : CONFIG_DEFAULT_PATH;
	}
	mine = strdup(path);
	if (!mine)
		abort();
	json_decref(status);
	free(why);
	return mine;
}

int edit_check(const struct options *o)
{
	char *path = edit_config_path(o);
	unsigned int mistakes;
	struct config *config = config_load(path, NULL, &mistakes);

	if (o->json)
		print_json(json_pack("{ss sb si}", "config", path, "right", !!config, "mistakes",
				     (int)mistakes));
	else if (config)
		printf("%s is right: segments: %u, members: %u\n", path, config->nr_segments,
		       config->nr_members);
	if (!config)
		die(EXIT_CONFIG, "%u mistake%s in %s", mistakes, mistakes == 1 ? "" : "s", path);
	config_free(config);
	free(path);
	return EXIT_SUCCESS;
}

/* ---- one file of CONFIG.d ---- */

struct addition {
	char *config;		/* the configuration that it belongs to */
	char *dir;
	int dir_fd;		/* locked */
	char file[2 * VMSHM_NAME_LEN + 24];
	char hidden[2 * VMSHM_NAME_LEN + 32];	/* the same where nobody reads it */
};

static void open_dir(struct addition *a, const struct options *o, const char *kind,
		     const char *name)
{
	if (strlen(name) >= 2 * VMSHM_NAME_LEN || strchr(name, '/') || !*name || *name == '.')
		die(EXIT_USAGE,
		    "'%s' is no name, expected letters, digits, '_', '-' and '.', the first a letter or digit",
		    name);
	a->config = edit_config_path(o);
	/* The daemon reads as another user, whatever root keeps to itself. */
	umask(022);
	if (asprintf(&a->dir, "%s" CONFIG_MORE_DIR, a->config) < 0)
		abort();
	if (mkdir(a->dir, 0755) && errno != EEXIST)
		die(EXIT_REFUSED, "the directory %s cannot be made: %s", a->dir, strerror(errno));
	a->dir_fd = open(a->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->dir_fd < 0 || flock(a->dir_fd, LOCK_EX))
		die(EXIT_REFUSED, "the directory %s cannot be used: %s", a->dir, strerror(errno));
	snprintf(a->file, sizeof(a->file), "%s-%s" CONFIG_MORE_SUFFIX, kind, name);
	snprintf(a->hidden, sizeof(a->hidden), ".%s", a->file);
}

static bool is_right(const struct addition *a, unsigned int *mistakes)
{
	struct config *config = config_load(a->config, NULL, mistakes);

	config_free(config);
	return config;
}

static int move(const struct addition *a, const char *from, const char *to)
{
	return renameat(a->dir_fd, from, a->dir_fd, to) || fsync(a->dir_fd) ? -1 : 0;
}

/* How far the daemon knows of a change. */
enum told { TOLD, ABSENT, FORBIDDEN, UNANSWERED };

/* Tells the daemon; returns NULL, or why it refuses. */
static char *reload(const struct options *o, enum told *told)
{
	struct daemon_link *link = link_open(o, true);
	json_t *result;
	char *why;

	if (!link) {
		*told = errno == EACCES ? FORBIDDEN : errno == EAGAIN ? UNANSWERED : ABSENT;
		return NULL;
	}
	result = link_try(link, json_pack("{ss}", "command", "reload"), &why);
	*told = result || why ? TOLD : UNANSWERED;
	json_decref(result);
	link_close(link);
	return why;
}

static int tell(const struct options *o, struct addition *a, const char *what, enum told told)
{
	static const char *const but[] = {
		[TOLD] = "",
		[ABSENT] = "; vmshmd does not run, and will read it when it starts",
		[FORBIDDEN] = "; you may not ask vmshmd (see control_group): "
			      "it reads the files when it starts, or at a reload",
		[UNANSWERED] = "; vmshmd has not answered: "
			       "it reads the files when it starts, or at vmshmctl reload",
	};

	if (o->json)
		print_json(json_pack("{ss ss ss sb sb}", "done", what, "directory", a->dir, "file",
				     a->file, "running", told != ABSENT, "told", told == TOLD));
	else
		printf("%s: %s/%s%s\n", what, a->dir, a->file, but[told]);
	close(a->dir_fd);
	free(a->config);
	free(a->dir);
	return EXIT_SUCCESS;
}

/* ---- add ---- */

/* A value in quotes, if it is given; what is in it was checked for quotes. */
static void put_text(FILE *out, const char *name, const char *value)
{
	if (!value)
		return;
	if (strpbrk(value, "\"\\\n"))
		die(EXIT_USAGE, "'%s' can't be a value of %s, expected no quotes or backslashes",
		    value, name);
	fprintf(out, " %s = \"%s\";", name, value);
}

static void put_number(FILE *out, const char *name, const char *value)
{
	if (!value)
		return;
	if (!*value || strspn(value, "0123456789") != strlen(value) || strlen(value) > 9)
		die(EXIT_USAGE, "--%s is '%s', expected a number", name, value);
	fprintf(out, " %s = %s;", name, value);
}

static void put_access(FILE *out, const struct options *o)
{
	put_text(out, "owner", o->owner);
	put_text(out, "group", o->group);
	put_text(out, "mode", o->mode);
}

static void put_member(FILE *out, const struct options *o)
{
	if (!o->cid && !o->host)
		die(EXIT_USAGE, "a member needs --cid=N, 3 to 65534, or --host");
	if (o->nr_args != 2)
		die(EXIT_USAGE, "'add member' takes one name");
	if (o->name || o->size || o->vectors || o->shared || o->huge_pages || o->thp ||
	    o->numa_node)
		die(EXIT_USAGE, "a member has --cid, --host, --owner, --group and --mode");
	fputs("members = ( {", out);
	put_text(out, "name", o->args[1]);
	put_number(out, "cid", o->cid ? o->cid : "2");
	if (o->host)
		fputs(" host = true;", out);
	put_access(out, o);
	fputs(" } );\n", out);
}

static void put_segment(FILE *out, const struct options *o, const char *name, int first)
{
	fputs("segments = ( {", out);
	put_text(out, "name", name);
	fputs(" members = [", out);
	for (int i = first; i < o->nr_args; i++) {
		if (strpbrk(o->args[i], "\"\\\n"))
			die(EXIT_USAGE, "'%s' is no member's name", o->args[i]);
		fprintf(out, "%s \"%s\"", i > first ? "," : "", o->args[i]);
	}
	fputs(" ];", out);
	put_text(out, "size", o->size);
	put_number(out, "vectors", o->vectors);
	if (o->shared)
		fputs(" shared = true;", out);
	if (o->huge_pages)
		fputs(" huge_pages = true;", out);
	if (o->thp)
		fputs(" transparent_huge_pages = true;", out);
	put_number(out, "numa_node", o->numa_node);
	put_access(out, o);
	fputs(" } );\n", out);
}

static void couple_name(const struct options *o, char *name, size_t size)
{
	if (o->nr_args != 3)
		die(EXIT_USAGE, "a couple is two members: couple A B");
	if (o->name)
		snprintf(name, size, "%s", o->name);
	else
		snprintf(name, size, "%s-%s", o->args[1], o->args[2]);
}

static void write_hidden(const struct addition *a, const char *text)
{
	int fd = openat(a->dir_fd, a->hidden, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");

	if (!out || fprintf(out, "# Written by vmshmctl; see vmshmd.conf(5).\n%s", text) < 0 ||
	    fflush(out) || fsync(fd) || fclose(out))
		die(EXIT_REFUSED, "%s/%s cannot be written: %s", a->dir, a->hidden,
		    strerror(errno));
}

int edit_add(const struct options *o)
{
	char name[4 * VMSHM_NAME_LEN] = "", *text = NULL, *why;
	struct addition a = { .dir_fd = -1 };
	unsigned int mistakes;
	enum told told;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		abort();
	if (!strcmp(o->args[0], "member")) {
		put_member(out, o);
		open_dir(&a, o, "member", o->args[1]);
	} else if (!strcmp(o->args[0], "couple") || !strcmp(o->args[0], "segment")) {
		bool couple = !strcmp(o->args[0], "couple");

		if (o->cid || o->host)
			die(EXIT_USAGE, "--%s is a member's", o->cid ? "cid" : "host");
		if (couple)
			couple_name(o, name, sizeof(name));
		else
			snprintf(name, sizeof(name), "%s", o->args[1]);
		put_segment(out, o, name, couple ? 1 : 2);
		open_dir(&a, o, "segment", name);
	} else {
		die(EXIT_USAGE, "add '%s'?  expected member, couple or segment", o->args[0]);
	}
	fclose(out);
	if (!faccessat(a.dir_fd, a.file, F_OK, AT_SYMLINK_NOFOLLOW))
		die(EXIT_REFUSED, "%s/%s is there already; remove it first", a.dir, a.file);
	write_hidden(&a, text);
	if (move(&a, a.hidden, a.file))
		die(EXIT_REFUSED, "%s/%s cannot be made: %s", a.dir, a.file, strerror(errno));
	if (!is_right(&a, &mistakes)) {
		unlinkat(a.dir_fd, a.file, 0);
		die(EXIT_CONFIG, "not added: %u mistake%s", mistakes, mistakes == 1 ? "" : "s");
	}
	why = reload(o, &told);
	if (why) {
		unlinkat(a.dir_fd, a.file, 0);
		die(EXIT_REFUSED, "not added: %s", why);
	}
	free(text);
	return tell(o, &a, "added", told);
}

/* ---- remove ---- */

/* Is this one of add's files: a segment of these two, in whichever order, and nothing else? */
static bool has_couple(const char *path, const char *const *who)
{
	const config_setting_t *segments, *members;
	const char *names[2];
	bool has = false;
	config_t file;

	config_init(&file);
	if (!config_read_file(&file, path))
		goto out;
	segments = config_lookup(&file, "segments");
	if (config_setting_length(config_root_setting(&file)) != 1 || !segments ||
	    config_setting_length(segments) != 1)
		goto out;
	members = config_setting_get_member(config_setting_get_elem(segments, 0), "members");
	if (!members || config_setting_length(members) != 2)
		goto out;
	for (int i = 0; i < 2; i++) {
		names[i] = config_setting_get_string_elem(members, i);
		if (!names[i])
			goto out;
	}
	has = (!strcmp(names[0], who[0]) && !strcmp(names[1], who[1])) ||
	      (!strcmp(names[0], who[1]) && !strcmp(names[1], who[0]));
out:
	config_destroy(&file);
	return has;
}

/*
 * Finds the couple's file by what is in it: the members may have been named in the
 * other order, the segment may have a name of its own, and A-B-C is the name of the
 * couple of A-B and C as well as of A and B-C.
 */
static void find_couple(struct addition *a, const char *const *who)
{
	static const char kind[] = "segment-";
	DIR *dir = opendir(a->dir);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		const char *suffix = strrchr(entry->d_name, '.');
		char *path;

		if (strncmp(entry->d_name, kind, strlen(kind)) || !suffix ||
		    strcmp(suffix, CONFIG_MORE_SUFFIX) || strlen(entry->d_name) >= sizeof(a->file))
			continue;
		if (asprintf(&path, "%s/%s", a->dir, entry->d_name) < 0)
			abort();
		found = has_couple(path, who);
		free(path);
		if (found) {
			snprintf(a->file, sizeof(a->file), "%s", entry->d_name);
			snprintf(a->hidden, sizeof(a->hidden), ".%s", a->file);
		}
	}
	if (dir)
		closedir(dir);
	if (!found)
		die(EXIT_REFUSED,
		    "no file in %s has just the couple %s and %s: what vmshmctl has not added is removed by hand, in %s",
		    a->dir, who[0], who[1], a->config);
}

int edit_remove(const struct options *o)
{
	char name[4 * VMSHM_NAME_LEN] = "", *why;
	struct addition a = { .dir_fd = -1 };
	unsigned int mistakes;
	enum told told;

	if (!strcmp(o->args[0], "couple"))
		couple_name(o, name, sizeof(name));
	else if (o->nr_args == 2)
		snprintf(name, sizeof(name), "%s", o->args[1]);
	else
		die(EXIT_USAGE, "'remove %s' takes one name", o->args[0]);
	if (!strcmp(o->args[0], "member"))
		open_dir(&a, o, "member", name);
	else if (!strcmp(o->args[0], "couple") || !strcmp(o->args[0], "segment"))
		open_dir(&a, o, "segment", name);
	else
		die(EXIT_USAGE, "remove '%s'?  expected member, couple or segment", o->args[0]);
	if (!strcmp(o->args[0], "couple"))
		find_couple(&a, o->args + 1);
	if (move(&a, a.file, a.hidden)) {
		if (errno == ENOENT)
			die(EXIT_REFUSED,
			    "there is no %s/%s: what vmshmctl has not added is removed by hand, in %s",
			    a.dir, a.file, a.config);
		die(EXIT_REFUSED, "%s/%s cannot be removed: %s", a.dir, a.file, strerror(errno));
	}
	if (!is_right(&a, &mistakes)) {
		move(&a, a.hidden, a.file);
		die(EXIT_CONFIG, "not removed: %u mistake%s without it", mistakes,
		    mistakes == 1 ? "" : "s");
	}
	why = reload(o, &told);
	if (why) {
		move(&a, a.hidden, a.file);
		die(EXIT_REFUSED, "not removed: %s", why);
	}
	unlinkat(a.dir_fd, a.hidden, 0);
	return tell(o, &a, "removed", told);
}
