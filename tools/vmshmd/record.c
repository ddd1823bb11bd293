// SPDX-License-Identifier: GPL-2.0-only
/*
 * The record of a segment: see record.h.
 */
#include "record.h"
#include "keep.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static size_t record_size(u32 nr_seats)
{
	return sizeof(struct record) + nr_seats * sizeof(struct record_seat);
}

/*
 * The kernel counts messages in it, which can't wait for a page. Where locking
 * is not allowed, the page was written a moment before.
 */
static void stay(struct record *record, size_t size)
{
	if (mlock(record, size))
		return;
}

struct record *record_new(u32 nr_seats, const char *name, int *fd)
{
	size_t size = record_size(nr_seats);
	char label[VMSHM_NAME_LEN + 24];
	struct record *record;
	int err;

	*fd = -1;
	if (!keep_on()) {
		record = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			      0);
	} else {
		snprintf(label, sizeof(label), "vmshm-record:%s", name);
		*fd = memfd_create(label, MFD_CLOEXEC);
		if (*fd < 0)
			return NULL;
		/* Allocated now: running out of memory later would be a signal. */
		record = fallocate(*fd, 0, 0, (off_t)size) ? MAP_FAILED :
			 mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	}
	if (record == MAP_FAILED) {
		err = errno;
		if (*fd >= 0)
			close(*fd);
		*fd = -1;
		errno = err;
		return NULL;
	}
	stay(record, size);
	record->magic = RECORD_MAGIC;
	record->version = RECORD_VERSION;
	record->nr_seats = nr_seats;
	return record;
}

struct record *record_open(int fd)
{
	struct record *record;
	struct stat st;
	const char *wrong;

	if (fstat(fd, &st) || (size_t)st.st_size < sizeof(*record)) {
		say("a record of a segment that was kept is too small; it is left out");
		return NULL;
	}
	record = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (record == MAP_FAILED) {
		say("a record of a segment that was kept cannot be read: %s", strerror(errno));
		return NULL;
	}
	wrong = record->magic != RECORD_MAGIC ? "is none" :
		record->version != RECORD_VERSION ? "is of another version of vmshmd" :
		record->nr_seats < 2 || record->nr_seats > VMSHM_MEMBERS_MAX ||
		(size_t)st.st_size != record_size(record->nr_seats) ? "has a wrong size" :
		!record->vectors || record->vectors > CONFIG_VECTORS_MAX ||
		!memchr(record->name, '\0', sizeof(record->name)) ||
		!memchr(record->runtime_dir, '\0', sizeof(record->runtime_dir)) ?
		"is damaged" : NULL;
	for (u32 i = 0; !wrong && i < record->nr_seats; i++)
		if (!memchr(record->seats[i].name, '\0', sizeof(record->seats[i].name)))
			wrong = "is damaged";
	if (!wrong) {
		stay(record, (size_t)st.st_size);
		return record;
	}
	say("a record of a segment that was kept %s; it is left out", wrong);
	munmap(record, (size_t)st.st_size);
	return NULL;
}

void record_close(struct record *record)
{
	if (record)
		munmap(record, record_size(record->nr_seats));
}

u32 record_sent(const struct record_seat *seat)
{
	return seat->next + !!seat->sent[seat->next % 2].msg_len;
}

struct mmsghdr *record_send(struct record_seat *seat)
{
	u32 n = record_sent(seat);

	/* The other slot is empty before it is the one that counts. */
	record_store(seat->sent[n % 2].msg_len, 0);
	record_store(seat->next, n);
	return &seat->sent[n % 2];
}

void record_reset(struct record_seat *seat)
{
	record_store(seat->next, 0);
	record_store(seat->sent[0].msg_len, 0);
	record_store(seat->sent[1].msg_len, 0);
}
