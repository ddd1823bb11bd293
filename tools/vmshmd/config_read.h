/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Reading settings of a configuration file one at a time, on top of libconfig:
 * types, known and unknown names, the form of sizes, modes and user names.
 * What the settings mean together is config.c's.
 */
#ifndef VMSHMD_CONFIG_READ_H
#define VMSHMD_CONFIG_READ_H

#include "config.h"

#include <libconfig.h>

/* A file that is being read. */
struct reader {
	const char *path;
	config_t file;
	unsigned int mistakes;
};

/* What a setting may be. */
enum kind {
	KIND_STRING,
	KIND_INT,
	KIND_BOOL,
	KIND_SIZE,	/* a string such as "256M", or bytes */
	KIND_GROUPS,	/* ( { ... }, ... ) */
	KIND_NAMES,	/* [ "a", "b" ] */
};

struct key {
	const char *name;
	enum kind kind;
	bool required;
};

/* Parse the file into @r->file: false when there is nothing to look at. */
bool reader_open(struct reader *r, const char *path);
void reader_close(struct reader *r);

/* Tell one mistake, at @at's place (the file alone if NULL). */
void mistake(struct reader *r, const config_setting_t *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Tell unknown, missing and wrongly typed settings of @group, called @what. */
void check_keys(struct reader *r, const config_setting_t *group, const char *what,
		const struct key *keys, size_t nr_keys);

/* A setting of @group if it is there and of its kind, else NULL. */
const config_setting_t *get_key(const config_setting_t *group, const struct key *keys,
				size_t nr_keys, const char *name);

/*
 * Each takes a setting's value, or tells what is wrong with it and leaves
 * *@value as it is. A @setting that is NULL does nothing.
 */
bool read_name(struct reader *r, const config_setting_t *setting, char value[VMSHM_NAME_LEN]);
void read_number(struct reader *r, const config_setting_t *setting, u32 min, u32 max, u32 *value);
void read_bool(const config_setting_t *setting, bool *value);
/* A number of bytes; read_size() takes only those that a segment may have. */
void read_bytes(struct reader *r, const config_setting_t *setting, u64 *value);
void read_size(struct reader *r, const config_setting_t *setting, u64 *value);
void read_user(struct reader *r, const config_setting_t *setting, uid_t *value);
void read_group(struct reader *r, const config_setting_t *setting, gid_t *value);
void read_mode(struct reader *r, const config_setting_t *setting, mode_t *value);

#endif
