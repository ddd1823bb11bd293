// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a segment to descriptors that are kept, and back. Sockets are taken
 * over by seat.c, names are keep.c's.
 *
 * The record is stored last and marked before anything is dropped, so that a
 * successor finds a segment whole or not at all.
 */
#include "restore.h"
#include "control_roster.h"
#include "keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- to ---- */

static struct keep_name bell_name(const struct seat *seat, u32 vector)
{
	const struct segment *s = seat->segment;

	return keep_name('e', s->keep_id, (int64_t)seat->index * s->vectors + vector);
}

static int keep_all(struct segment *s)
{
	if (keep_add(s->memfd, keep_name('m', s->keep_id, -1)))
		return -1;
	for (u32 i = 0; i < s->nr_seats; i++) {
		const struct seat *seat = &s->seats[i];

		if (keep_add(seat->listen_fd, keep_name('l', s->keep_id, i)))
			return -1;
		for (u32 v = 0; v < s->vectors; v++)
			if (keep_add(seat->bell->fds[v], bell_name(seat, v)))
				return -1;
	}
	return keep_add(s->record_fd, keep_name('r', s->keep_id, -1));
}

int segment_keep(struct segment *s)
{
	if (!keep_on())
		return 0;
	s->keep_id = keep_new_segment();
	s->kept = true;
	if (!keep_all(s))
		return 0;
	say("segment %s: its descriptors cannot be kept: %s", s->name,
	    errno == E2BIG ? "there are more than a successor could be given" : strerror(errno));
	segment_forget(s);
	return -1;
}

void segment_forget(struct segment *s)
{
	if (!s->kept)
		return;
	record_store(s->record->removed, 1);
	for (u32 i = 0; i < s->nr_seats; i++) {
		for (u32 v = 0; v < s->vectors; v++)
			keep_drop(bell_name(&s->seats[i], v));
		keep_drop(keep_name('l', s->keep_id, i));
		keep_drop(keep_name('c', s->keep_id, i));
	}
	keep_drop(keep_name('m', s->keep_id, -1));
	keep_drop(keep_name('r', s->keep_id, -1));
	keep_end_segment(s->keep_id);
	s->kept = false;
}

/* ---- back ---- */

/* A member's eventfds; false: one is missing. */
static bool take_bell(struct seat *seat)
{
	struct segment *s = seat->segment;
	int fds[CONFIG_VECTORS_MAX];
	bool whole = true;

	for (u32 v = 0; v < s->vectors; v++) {
		fds[v] = keep_take(bell_name(seat, v));
		whole &= fds[v] >= 0;
	}
	if (whole)
		seat->bell = bell_new(s->vectors, seat_label(seat).text, fds);
	for (u32 v = 0; !seat->bell && v < s->vectors; v++)
		if (fds[v] >= 0)
			close(fds[v]);
	return seat->bell;
}

static bool take_all(struct segment *s)
{
	const struct record *r = s->record;

	if (segment_geometry(s, r->size, r->nr_seats))
		return false;
	s->seats = calloc(r->nr_seats, sizeof(*s->seats));
	if (!s->seats)
		return false;
	s->nr_seats = r->nr_seats;
	for (u32 i = 0; i < s->nr_seats; i++) {
		struct seat *seat = &s->seats[i];

		seat->kept = &s->record->seats[i];
		seat_init(seat, s, i, seat->kept->name, seat->kept->cid);
		seat->ivshmem_id = seat->kept->ivshmem_id;
		seat->presence = seat->kept->presence;
		seat->draining = seat->kept->draining;
	}
	for (u32 i = 0; i < s->nr_seats; i++)
		if (!take_bell(&s->seats[i]))
			return false;
	s->memfd = keep_take(keep_name('m', s->keep_id, -1));
	if (s->memfd < 0 || segment_map(s))
		return false;
	s->shown = roster_segment_new(s);
	return true;
}

/*
 * Not all of it is there. Its sockets refuse from now on, though the one who
 * keeps them has not let go of them yet: a successor of this name is to have
 * their paths. What was taken is dropped like the rest, or the next segment of
 * this number would be kept under names that stand for this one's descriptors.
 */
static void give_up(struct segment *s)
{
	say("segment %s: not all of it was kept (is FileDescriptorStoreMax= too small?): "
	    "it is made anew, and VMs that use the old one have to plug out and in", s->name);
	for (u32 i = 0; i < s->nr_seats; i++) {
		int fd = keep_take(keep_name('l', s->keep_id, i));

		if (fd < 0)
			continue;
		shutdown(fd, SHUT_RDWR);
		close(fd);
	}
	segment_forget(s);
}

static struct segment *restore(u32 id)
{
	struct segment *s = calloc(1, sizeof(*s));
	const struct record *r;

	if (!s)
		return NULL;
	s->memfd = -1;
	s->keep_id = id;
	s->record_fd = keep_take(keep_name('r', id, -1));
	s->record = record_open(s->record_fd);
	r = s->record;
	if (r && !r->removed) {
		s->vectors = r->vectors;
		s->shared = r->shared;
		s->huge = r->huge;
		s->thp = r->thp;
		s->numa_node = (int)r->node_plus_1 - 1;
		memcpy(s->uuid, r->uuid, sizeof(s->uuid));
		memcpy(s->name, r->name, sizeof(s->name));
		s->kept = true;
		if (take_all(s))
			return s;
		give_up(s);
	}
	/* Its other descriptors go with what nobody took. */
	keep_drop(keep_name('r', id, -1));
	keep_end_segment(id);
	segment_free(s);
	return NULL;
}

struct segment *restore_segments(void)
{
	struct segment *list = NULL, *s;

	for (u32 id = 0; keep_next_segment(&id); id++) {
		s = restore(id);
		if (!s)
			continue;
		s->next = list;
		list = s;
	}
	return list;
}
