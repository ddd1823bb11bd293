// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may connect to a socket: see access.h.
 */
#include "access.h"

#include <acl/libacl.h>
#include <errno.h>
#include <stdio.h>
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
	if ((access->uid != (uid_t)-1 || access->gid != (gid_t)-1) &&
	    lchown(path, access->uid, access->gid)) {
		if (errno == EPERM)
			return set_acl(path, access);
		return -1;
	}
	drop_acl(path);
	return chmod(path, access->mode);
}
