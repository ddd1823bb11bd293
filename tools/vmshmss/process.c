// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who holds which socket: the links in /proc/PID/fd.  What the caller may not
 * read is left out, as ss(8) does it.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmshmss.h"

static struct user *users;
static size_t count, room;

static void add(const struct user *user)
{
	if (count == room) {
		room = room ? 2 * room : 256;
		users = reallocarray(users, room, sizeof(*users));
		if (!users)
			die("out of memory");
	}
	users[count++] = *user;
}

static void read_name(struct user *user)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/comm", user->pid);
	f = fopen(path, "re");
	if (f) {
		if (fgets(user->name, sizeof(user->name), f))
			user->name[strcspn(user->name, "\n")] = '\0';
		fclose(f);
	}
}

static void read_process(int pid)
{
	struct user user = { .pid = pid };
	char path[64], link[64];
	struct dirent *d;
	ssize_t len;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		len = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);
		if (len < 0)
			continue;
		link[len] = '\0';
		if (sscanf(link, "socket:[%u]", &user.ino) != 1)
			continue;
		user.fd = atoi(d->d_name);
		if (!user.name[0])
			read_name(&user);
		add(&user);
	}
	closedir(dir);
}

static int by_inode(const void *a, const void *b)
{
	const struct user *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->fd - y->fd;
}

void find_users(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;

	if (!dir)
		die("/proc cannot be read: -p needs it");
	while ((d = readdir(dir)))
		if (d->d_name[0] >= '1' && d->d_name[0] <= '9')
			read_process(atoi(d->d_name));
	closedir(dir);
	if (count)
		qsort(users, count, sizeof(*users), by_inode);
}

const struct user *users_of(uint32_t ino, const struct user *last)
{
	size_t low = 0, high = count, middle;

	if (last) {
		last++;
		return last < users + count && last->ino == ino ? last : NULL;
	}
	while (low < high) {
		middle = (low + high) / 2;
		if (users[middle].ino < ino)
			low = middle + 1;
		else
			high = middle;
	}
	return ino && low < count && users[low].ino == ino ? &users[low] : NULL;
}
