// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device in sysfs: see segment.h.
 */
#include "segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICES	"/sys/bus/pci/devices"
#define DRIVER	"/sys/bus/pci/drivers/af_vmshm"

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

static long read_hex(const char *bdf, const char *name)
{
	char path[128], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/%s", bdf, name);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return -1;
	close(fd);
	return strtol(text, NULL, 16);
}

static int write_to(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);
	int err = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		err = errno;
	close(fd);
	return err;
}

int segment_bind(const struct segment *seg)
{
	return write_to(DRIVER "/bind", seg->bdf);
}

int segment_unbind(const struct segment *seg)
{
	return write_to(DRIVER "/unbind", seg->bdf);
}

static void *map_bar(const char *bdf, int bar, u64 *size)
{
	char path[128];
	struct stat st;
	u8 *mem;
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/enable", bdf);
	write_to(path, "1");
	snprintf(path, sizeof(path), DEVICES "/%s/resource%d", bdf, bar);
	fd = open(path, O_RDWR);
	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	*size = st.st_size;
	mem = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		die("%s: mmap: %s", path, strerror(errno));
	close(fd);
	return mem;
}

/* The firmware gives a small BAR a page of its own, so it begins at offset 0. */
void segment_map(struct segment *seg)
{
	u64 size;

	seg->mem = map_bar(seg->bdf, 2, &seg->size);
	seg->regs = map_bar(seg->bdf, 0, &size);
}

void segment_unmap(struct segment *seg)
{
	munmap(seg->mem, seg->size);
	munmap((void *)(uintptr_t)seg->regs, 256);
}

static bool has_member(struct segment *seg, u32 cid)
{
	const struct vmshm_header *h;
	const struct vmshm_member *members;
	bool found = false;

	segment_map(seg);
	h = (const void *)seg->mem;
	members = (const void *)(seg->mem + h->member_off);
	for (u32 i = 0; i < h->nr_members; i++)
		found |= members[i].cid == cid;
	segment_unmap(seg);
	return found;
}

void segment_find(struct segment *seg, u32 peer_cid)
{
	DIR *dir = opendir(DEVICES);
	const struct dirent *entry;
	char path[128];
	bool bound;

	if (!dir)
		die(DEVICES ": %s", strerror(errno));
	while ((entry = readdir(dir))) {
		if (read_hex(entry->d_name, "vendor") != 0x1af4 ||
		    read_hex(entry->d_name, "device") != 0x1110)
			continue;
		snprintf(seg->bdf, sizeof(seg->bdf), "%.31s", entry->d_name);
		if (!peer_cid)
			break;
		snprintf(path, sizeof(path), DRIVER "/%s", seg->bdf);
		bound = !access(path, F_OK);
		if (bound)
			segment_unbind(seg);
		if (has_member(seg, peer_cid))
			break;
		if (bound)
			segment_bind(seg);
	}
	if (!entry)
		die("no ivshmem device whose segment has a member with CID %u", peer_cid);
	closedir(dir);
}
