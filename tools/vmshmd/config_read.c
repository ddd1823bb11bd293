// SPDX-License-Identifier: GPL-2.0-only
/*
 * Settings one at a time: see config_read.h.
 */
#include "config_read.h"
#include "log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nobody writes a configuration by hand that is longer. */
#define FILE_LIMIT	(16 << 20)

/*
 * Where the file is that libconfig calls @file: an included one is looked for
 * beside the one that includes it; NULL is that one.
 */
static const char *real_path(const struct reader *r, const char *file, char path[PATH_MAX])
{
	const char *slash = strrchr(r->path, '/');

	if (!file)
		return r->path;
	if (file[0] == '/' || !slash)
		return file;
	snprintf(path, PATH_MAX, "%.*s/%s", (int)(slash - r->path), r->path, file);
	return path;
}

static void tell(struct reader *r, const char *file, unsigned int line, const char *fmt,
		 va_list args)
{
	char text[512], path[PATH_MAX];

	vsnprintf(text, sizeof(text), fmt, args);
	if (line)
		say_plain("%s:%u: %s", real_path(r, file, path), line, text);
	else
		say_plain("%s: %s", real_path(r, file, path), text);
	r->mistakes++;
}

static void mistake_in(struct reader *r, const char *file, unsigned int line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void mistake_in(struct reader *r, const char *file, unsigned int line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tell(r, file, line, fmt, args);
	va_end(args);
}

void mistake(struct reader *r, const config_setting_t *at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tell(r, at ? config_setting_source_file(at) : NULL,
	     at ? config_setting_source_line(at) : 0, fmt, args);
	va_end(args);
}

/*
 * libconfig 1.5 cuts an integer to 32 bits without a word, so that 4294967299
 * would pass for 3. Find such numbers in the text, outside strings and
 * comments.
 */
static void check_numbers(struct reader *r, const char *file, const char *text)
{
	unsigned int line = 1;
	const char *p = text;

	while (*p) {
		if (*p == '"') {
			for (p++; *p && *p != '"'; p++) {
				if (*p == '\\' && p[1])
					p++;
				line += *p == '\n';
			}
			p += *p == '"';
		} else if (*p == '#' || (*p == '/' && p[1] == '/')) {
			p += strcspn(p, "\n");
		} else if (*p == '/' && p[1] == '*') {
			for (p += 2; *p && !(*p == '*' && p[1] == '/'); p++)
				line += *p == '\n';
			p += *p ? 2 : 0;
		} else if (isalpha((unsigned char)*p) || *p == '_') {
			while (isalnum((unsigned char)*p) || *p == '_' || *p == '-')
				p++;
		} else if (isdigit((unsigned char)*p)) {
			bool hex = *p == '0' && (p[1] == 'x' || p[1] == 'X');
			unsigned long long number;
			char *end;

			errno = 0;
			number = strtoull(p, &end, hex ? 16 : 10);
			if (errno || (number > INT_MAX && *end != 'L'))
				mistake_in(r, file, line,
					   "the number %.*s is too large, expected at most %d",
					   (int)(end - p), p, INT_MAX);
			p = end;
		} else {
			line += *p++ == '\n';
		}
	}
}

/* The whole of @path as a string; NULL with errno. */
static char *read_text(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0, room = 0;
	char *text = NULL;
	ssize_t n = 1;
	int err = 0;

	if (fd < 0)
		return NULL;
	while (n > 0) {
		if (room - len < 4096) {
			char *more = realloc(text, room += 65536);

			if (!more) {
				err = ENOMEM;
				break;
			}
			text = more;
		}
		n = read(fd, text + len, room - len - 1);
		if (n < 0) {
			err = errno;
		} else {
			len += (size_t)n;
			if (len > FILE_LIMIT) {
				err = EFBIG;
				break;
			}
		}
	}
	close(fd);
	if (!err && memchr(text, '\0', len))
		err = EILSEQ;
	if (err) {
		free(text);
		errno = err;
		return NULL;
	}
	text[len] = '\0';
	return text;
}

/* Files that @include named get the same look; each is met at its first setting. */
static void check_included(struct reader *r, const config_setting_t *setting, const char **last)
{
	const char *file = config_setting_source_file(setting);
	char path[PATH_MAX];

	if (file && file != *last) {
		char *text = read_text(real_path(r, file, path));

		*last = file;
		if (text)
			check_numbers(r, file, text);
		free(text);
	}
	for (int i = 0; config_setting_is_aggregate(setting) &&
	     i < config_setting_length(setting); i++)
		check_included(r, config_setting_get_elem(setting, (unsigned int)i), last);
}

bool reader_open(struct reader *r, const char *path)
{
	const char *last = NULL;
	char *text, *dir, *slash;
	unsigned int line;
	bool ok;

	*r = (struct reader){ .path = path };
	config_init(&r->file);
	text = read_text(path);
	if (!text) {
		mistake(r, NULL,
			"cannot be read: %s; expected a configuration as in vmshmd.conf(5)",
			errno == EILSEQ ? "it is not a text file" : strerror(errno));
		return false;
	}
	dir = strdup(path);
	slash = dir ? strrchr(dir, '/') : NULL;
	if (slash) {
		slash[slash == dir] = '\0';
		config_set_include_dir(&r->file, dir);
	}
	free(dir);
	ok = config_read_string(&r->file, text);
	line = (unsigned int)config_error_line(&r->file);
	if (!ok)
		mistake_in(r, config_error_file(&r->file), line,
			   "%s, expected settings as in vmshmd.conf(5)",
			   config_error_text(&r->file));
	check_numbers(r, NULL, text);
	if (ok)
		check_included(r, config_root_setting(&r->file), &last);
	free(text);
	return ok;
}

void reader_close(struct reader *r)
{
	config_destroy(&r->file);
}

/* ---- kinds ---- */

static const char *kind_text(enum kind kind)
{
	switch (kind) {
	case KIND_STRING:
		return "a string in quotes";
	case KIND_INT:
		return "an integer";
	case KIND_BOOL:
		return "true or false";
	case KIND_SIZE:
		return "a size such as \"256M\"";
	case KIND_GROUPS:
		return "a list of groups: ( { ... }, ... )";
	case KIND_NAMES:
		return "a list of names: [ \"a\", \"b\" ]";
	}
	return "";
}

static bool is_kind(const config_setting_t *setting, enum kind kind)
{
	int type = config_setting_type(setting);

	switch (kind) {
	case KIND_STRING:
		return type == CONFIG_TYPE_STRING;
	case KIND_INT:
		return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
	case KIND_BOOL:
		return type == CONFIG_TYPE_BOOL;
	case KIND_SIZE:
		return type == CONFIG_TYPE_STRING || type == CONFIG_TYPE_INT ||
		       type == CONFIG_TYPE_INT64;
	case KIND_GROUPS:
		return type == CONFIG_TYPE_LIST;
	case KIND_NAMES:
		return type == CONFIG_TYPE_LIST || type == CONFIG_TYPE_ARRAY;
	}
	return false;
}

static const struct key *find_key(const struct key *keys, size_t nr_keys, const char *name)
{
	for (size_t i = 0; i < nr_keys; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

void check_keys(struct reader *r, const config_setting_t *group, const char *what,
		const struct key *keys, size_t nr_keys)
{
	char known[256] = "";
	size_t len = 0;

	for (size_t i = 0; i < nr_keys; i++) {
		len += (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i ? ", " : "",
					keys[i].name);
		if (keys[i].required && !config_setting_get_member(group, keys[i].name))
			mistake(r, group, "%s has no '%s', expected %s", what, keys[i].name,
				kind_text(keys[i].kind));
	}
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *setting = config_setting_get_elem(group, (unsigned int)i);
		const char *name = config_setting_name(setting);
		const struct key *key = find_key(keys, nr_keys, name);

		if (!key)
			mistake(r, setting, "unknown setting '%s' in %s, expected one of: %s",
				name, what, known);
		else if (!is_kind(setting, key->kind))
			mistake(r, setting, "'%s' has the wrong type, expected %s", name,
				kind_text(key->kind));
	}
}

const config_setting_t *get_key(const config_setting_t *group, const struct key *keys,
				size_t nr_keys, const char *name)
{
	const struct key *key = find_key(keys, nr_keys, name);
	const config_setting_t *setting = config_setting_get_member(group, name);

	return setting && key && is_kind(setting, key->kind) ? setting : NULL;
}

/* ---- values ---- */

bool read_name(struct reader *r, const config_setting_t *setting, char value[VMSHM_NAME_LEN])
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
	const char *name;

	if (!setting)
		return false;
	name = config_setting_get_string(setting);
	if (!*name || !isalnum((unsigned char)*name) || strspn(name, allowed) != strlen(name)) {
		mistake(r, setting,
			"the name '%s' can't be a file's name here, expected letters, digits, '_', '-' and '.', the first a letter or digit",
			name);
		return false;
	}
	if (strlen(name) >= VMSHM_NAME_LEN) {
		mistake(r, setting, "the name '%s' is too long, expected at most %d characters",
			name, VMSHM_NAME_LEN - 1);
		return false;
	}
	memcpy(value, name, strlen(name) + 1);
	return true;
}

void read_number(struct reader *r, const config_setting_t *setting, u32 min, u32 max, u32 *value)
{
	long long number;

	if (!setting)
		return;
	number = config_setting_get_int64(setting);
	if (number < min || number > max)
		mistake(r, setting, "'%s' is %lld, expected %u to %u",
			config_setting_name(setting), number, min, max);
	else
		*value = (u32)number;
}

void read_bool(const config_setting_t *setting, bool *value)
{
	if (setting)
		*value = config_setting_get_bool(setting);
}

/* A number of bytes, and how it was written: NULL where it is none, or missing. */
static const char *number_of_bytes(struct reader *r, const config_setting_t *setting,
				   char given[32], u64 *value)
{
	unsigned long long number;
	const char *text;
	char *end;
	int shift = 0;

	if (!setting)
		return NULL;
	text = config_setting_get_string(setting);
	if (!text) {
		snprintf(given, 32, "%lld", config_setting_get_int64(setting));
		text = given;
	}
	errno = 0;
	number = strtoull(text, &end, 10);
	if (*end && strchr("KkMmGg", *end)) {
		shift = strchr("Kk", *end) ? 10 : strchr("Mm", *end) ? 20 : 30;
		end++;
	}
	if (!isdigit((unsigned char)*text) || *end || errno || number > UINT64_MAX >> shift) {
		mistake(r, setting,
			"'%s' is '%s', expected a number of bytes, or with K, M or G after it",
			config_setting_name(setting), text);
		return NULL;
	}
	*value = number << shift;
	return text;
}

void read_bytes(struct reader *r, const config_setting_t *setting, u64 *value)
{
	char given[32];

	number_of_bytes(r, setting, given, value);
}

void read_size(struct reader *r, const config_setting_t *setting, u64 *value)
{
	char given[32];
	u64 number = 0;
	const char *text = number_of_bytes(r, setting, given, &number);

	if (!text)
		return;
	if (number & (number - 1))
		mistake(r, setting, "'%s' is '%s', expected a power of two",
			config_setting_name(setting), text);
	else if (number < VMSHM_SEGMENT_MIN || number > VMSHM_SEGMENT_MAX)
		mistake(r, setting, "'%s' is '%s', expected %s to %s", config_setting_name(setting),
			text, size_text(VMSHM_SEGMENT_MIN).text, size_text(VMSHM_SEGMENT_MAX).text);
	else
		*value = number;
}

/* A number that stands for a user or group itself; -1 is nobody's. */
static bool numeric_id(const char *text, u32 *id)
{
	unsigned long number;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	number = strtoul(text, &end, 10);
	if (*end || errno || number >= UINT32_MAX)
		return false;
	*id = (u32)number;
	return true;
}

void read_user(struct reader *r, const config_setting_t *setting, uid_t *value)
{
	const struct passwd *user;
	const char *name;

	if (!setting)
		return;
	name = config_setting_get_string(setting);
	user = getpwnam(name);
	if (user)
		*value = user->pw_uid;
	else if (!numeric_id(name, value))
		mistake(r, setting,
			"there is no user '%s', expected a user's name or number", name);
}

void read_group(struct reader *r, const config_setting_t *setting, gid_t *value)
{
	const struct group *group;
	const char *name;

	if (!setting)
		return;
	name = config_setting_get_string(setting);
	group = getgrnam(name);
	if (group)
		*value = group->gr_gid;
	else if (!numeric_id(name, value))
		mistake(r, setting, "there is no group '%s', expected a group's name or number",
			name);
}

void read_mode(struct reader *r, const config_setting_t *setting, mode_t *value)
{
	const char *text;
	unsigned long mode;
	char *end;

	if (!setting)
		return;
	text = config_setting_get_string(setting);
	mode = strtoul(text, &end, 8);
	if (!isdigit((unsigned char)*text) || *end || mode > 0777)
		mistake(r, setting, "'mode' is '%s', expected an octal number such as \"0660\"",
			text);
	else
		*value = (mode_t)mode;
}
