// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may connect to a socket: see access.h.
 */
#include "access.h"
#include "log.h"

#include <acl/libacl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/acl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Three bits of a mode as text. */
struct rights {
	char text[4];
};

static struct rights rights(mode_t bits)
{
	return (struct rights){ { bits & 4 ? 'r' : '-', bits & 2 ? 'w' : '-',
				  bits & 1 ? 'x' : '-', '\0' } };
}

static int set_acl(const char *path, const struct access *access)
{
	bool user = access->uid != (uid_t)-1, group = access->gid != (gid_t)-1;
	char text[256];
	size_t len = 0;
	int err, saved;
	acl_t acl;

	/* Mask: what named users and groups may have at the most. */
	len += (size_t)snprintf(text, sizeof(text), "u::rw-,g::%s,o::%s,m::rwx",
				group ? "---" : rights(access->mode >> 3).text,
				rights(access->mode).text);
	if (user)
		len += (size_t)snprintf(text + len, sizeof(text) - len, ",u:%u:%s", access->uid,
					rights(access->mode >> 6).text);
	if (group)
		len += (size_t)snprintf(text + len, sizeof(text) - len, ",g:%u:%s", access->gid,
					rights(access->mode >> 3).text);
	acl = acl_from_text(text);
	if (!acl)
		return -1;
	err = acl_set_file(path, ACL_TYPE_ACCESS, acl);
	saved = errno;
	acl_free(acl);
	errno = saved;
	return err;
}

/* What an earlier configuration named; the mode alone would let it stand. */
static void drop_acl(const char *path)
{
	acl_t acl = acl_from_mode(0600);

	/* A file system without ACLs has none to drop. */
	if (acl && acl_set_file(path, ACL_TYPE_ACCESS, acl))
		errno = 0;
	acl_free(acl);
}

int access_set(const char *path, const struct access *access)
{
	uid_t uid = access->uid != (uid_t)-1 ? access->uid : geteuid();
	gid_t gid = access->gid != (gid_t)-1 ? access->gid : getegid();

	if (!lchown(path, uid, gid)) {
		drop_acl(path);
		return chmod(path, access->mode);
	}
	/* What it may always have: that of an earlier configuration is not to stay. */
	if (errno != EPERM || lchown(path, geteuid(), getegid()))
		return -1;
	return set_acl(path, access);
}

int access_set_control(const char *what, const char *path, const struct access *access)
{
	struct access whole = *access;
	char group[32] = "";

	if (whole.mode == (mode_t)-1)
		whole.mode = CONFIG_DEFAULT_MODE;
	if (!access_set(path, &whole))
		return 0;
	if (whole.gid != (gid_t)-1)
		snprintf(group, sizeof(group), "group %u with ", whole.gid);
	say("%s: %s cannot be given to %smode %04o: %s%s", what, path, group, whole.mode,
	    strerror(errno), *group ? "; let the daemon's user be in that group, "
	    "or have the socket on a file system with ACLs" : "");
	return -1;
}
