// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory of a segment: see segment.h, and vmshm/layout.h for what is laid
 * out here.
 */
#include "segment.h"
#include "control_roster.h"
#include "guard.h"
#include "placement.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#include <vmshm/ring.h>

/* Given back at a time, so that freeing a large half holds up nobody. */
#define WIPE_STEP	(256ULL << 20)

#define HUGE_FREE	"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

static u64 huge_pages_free(void)
{
	FILE *file = fopen(HUGE_FREE, "re");
	u64 pages = 0;

	if (file) {
		if (fscanf(file, "%" SCNu64, &pages) != 1)
			pages = 0;
		fclose(file);
	}
	return pages;
}

/* Map @len bytes of the memfd; for huge pages this reserves them too, unless @flags say. */
static u8 *map_shared(int memfd, u64 len, int flags)
{
	void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | flags, memfd, 0);

	return map == MAP_FAILED ? NULL : map;
}

/*
 * Punched huge pages lose their reservation; without one, whoever touches them
 * next is killed when the host has none left. Mapping reserves again.
 */
static void reserve_again(struct segment *s)
{
	u8 *map = map_shared(s->memfd, s->geometry.size, 0);

	if (map)
		munmap(map, s->geometry.size);
	else
		say("segment %s: huge pages that were given back are taken: %" PRIu64
		    " are free; raise vm.nr_hugepages", s->name, huge_pages_free());
}

/*
 * What the daemon touches: the start, with huge pages the sides, too. Of new
 * ones all are reserved by this. Those of a segment that is kept may have been
 * punched out and be somebody else's now, which is no reason to let go of it:
 * what the daemon touches there is guarded.
 */
int segment_map(struct segment *s)
{
	const struct geometry *g = &s->geometry;

	s->map_len = !s->huge ? g->side_off : s->kept ? g->half_off : g->size;
	s->map = map_shared(s->memfd, s->map_len, s->huge && s->kept ? MAP_NORESERVE : 0);
	if (s->map && s->huge && s->kept)
		reserve_again(s);
	return s->map ? 0 : -1;
}

/* Where things are, by its kind of pages; 0 or -1. */
int segment_geometry(struct segment *s, u64 size, u32 nr_members)
{
	if (geometry_make(&s->geometry, size, nr_members, s->huge || s->thp))
		return -1;
	/* Transparent huge pages go back in small ones. */
	if (!s->huge)
		s->geometry.page = VMSHM_PAGE;
	return 0;
}

/*
 * The memfd, sealed against a change of its size, and its start mapped. What
 * the daemon itself writes is allocated now, where running out of memory is
 * an error and not a signal.
 */
static int make_memory(struct segment *s)
{
	const struct geometry *g = &s->geometry;
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	char name[VMSHM_NAME_LEN + 8];

	snprintf(name, sizeof(name), "vmshm:%s", s->name);
	if (s->huge)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	s->memfd = memfd_create(name, flags);
	if (s->memfd < 0 || ftruncate(s->memfd, (off_t)g->size)) {
		say("segment %s: cannot make its memory: %s", s->name, strerror(errno));
		return -1;
	}
	if (placement_apply(s))
		return -1;
	if (segment_map(s) && s->huge) {
		say("segment %s: needs %llu huge pages of 2 MiB and %" PRIu64
		    " are free; raise vm.nr_hugepages or set huge_pages = false",
		    s->name, g->size / HUGE_PAGE, huge_pages_free());
		return -1;
	}
	/* Pages are reserved for the host as a whole: on a node they have to be taken. */
	if (s->map && s->huge && s->numa_node >= 0 && fallocate(s->memfd, 0, 0, (off_t)g->size)) {
		say("segment %s: NUMA node %d has too few huge pages of 2 MiB, %llu are needed: %s",
		    s->name, s->numa_node, g->size / HUGE_PAGE, strerror(errno));
		return -1;
	}
	if (!s->map || fallocate(s->memfd, 0, 0, (off_t)(s->huge ? g->half_off : g->side_off))) {
		say("segment %s: cannot allocate its tables: %s", s->name, strerror(errno));
		return -1;
	}
	if (fcntl(s->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		say("segment %s: cannot seal its memory: %s", s->name, strerror(errno));
		return -1;
	}
	return 0;
}

static struct vmshm_member *shared_member(const struct segment *s, u32 index)
{
	return (struct vmshm_member *)(s->map + s->geometry.member_off) + index;
}

/* Nobody else has the memory yet. */
static void write_tables(struct segment *s)
{
	const struct geometry *g = &s->geometry;
	struct vmshm_channel *channel = (struct vmshm_channel *)(s->map + g->channel_off);
	struct vmshm_header *h = (struct vmshm_header *)s->map;

	h->abi_version = VMSHM_ABI_VERSION;
	h->flags = s->shared ? VMSHM_SEG_GROUP : 0;
	h->segment_size = g->size;
	memcpy(h->uuid, s->uuid, sizeof(h->uuid));
	h->nr_members = g->nr_members;
	h->nr_channels = g->nr_channels;
	h->member_off = g->member_off;
	h->channel_off = g->channel_off;
	memcpy(h->name, s->name, sizeof(h->name));
	for (u32 i = 0; i < s->nr_seats; i++) {
		struct vmshm_member *m = shared_member(s, i);

		m->cid = s->seats[i].cid;
		m->ivshmem_id = s->seats[i].ivshmem_id;
		m->vectors = s->vectors;
		m->presence = s->seats[i].presence;
		memcpy(m->name, s->seats[i].name, sizeof(m->name));
	}
	for (u32 i = 0; i < g->nr_channels; i++, channel++) {
		geometry_couple(g, i, channel->member);
		for (u32 k = 0; k < 2; k++) {
			channel->side_off[k] = geometry_side(g, i, k);
			channel->half_off[k] = geometry_half(g, i, k);
		}
		channel->half_size = g->half_size;
	}
	vmshm_word_publish(&h->magic, VMSHM_MAGIC);
}

struct seat_label seat_label(const struct seat *seat)
{
	struct seat_label label;

	snprintf(label.text, sizeof(label.text), "segment %s: member %s", seat->segment->name,
		 seat->name);
	return label;
}

void seat_init(struct seat *seat, struct segment *s, u32 index, const char *name, u32 cid)
{
	seat->segment = s;
	seat->index = index;
	seat->listen_fd = -1;
	memcpy(seat->name, name, sizeof(seat->name));
	seat->cid = cid;
	seat->ivshmem_id = cid;
}

static int make_seats(struct segment *s, const struct config *config,
		      const struct config_segment *wanted)
{
	s->nr_seats = wanted->nr_members;
	s->seats = calloc(s->nr_seats, sizeof(*s->seats));
	if (!s->seats) {
		say("segment %s: out of memory", s->name);
		return -1;
	}
	for (u32 i = 0; i < s->nr_seats; i++) {
		const struct config_member *member = &config->members[wanted->members[i]];
		struct seat *seat = &s->seats[i];

		seat_init(seat, s, i, member->name, member->cid);
		seat->bell = bell_new(s->vectors, seat_label(seat).text, NULL);
		if (!seat->bell) {
			say("%s: cannot make %u eventfds: %s", seat_label(seat).text, s->vectors,
			    strerror(errno));
			return -1;
		}
	}
	/* In a couple the ID that a VM sees, which no peer can forge, names its peer. */
	if (!s->shared) {
		s->seats[0].ivshmem_id = s->seats[1].cid;
		s->seats[1].ivshmem_id = s->seats[0].cid;
	}
	return 0;
}

static int make_record(struct segment *s, const char *runtime_dir)
{
	struct record *r = record_new(s->nr_seats, s->name, &s->record_fd);

	if (!r) {
		say("segment %s: cannot make its record: %s", s->name, strerror(errno));
		return -1;
	}
	s->record = r;
	r->size = s->geometry.size;
	r->vectors = s->vectors;
	r->shared = s->shared;
	r->huge = s->huge;
	r->thp = s->thp;
	r->node_plus_1 = (u32)(s->numa_node + 1);
	memcpy(r->uuid, s->uuid, sizeof(r->uuid));
	memcpy(r->name, s->name, sizeof(r->name));
	snprintf(r->runtime_dir, sizeof(r->runtime_dir), "%s", runtime_dir);
	for (u32 i = 0; i < s->nr_seats; i++) {
		struct seat *seat = &s->seats[i];

		seat->kept = &r->seats[i];
		memcpy(seat->kept->name, seat->name, sizeof(seat->kept->name));
		seat->kept->cid = seat->cid;
		seat->kept->ivshmem_id = seat->ivshmem_id;
	}
	return 0;
}

struct segment *segment_new(const struct config *config, const struct config_segment *wanted)
{
	struct segment *s = calloc(1, sizeof(*s));

	if (!s) {
		say("segment %s: out of memory", wanted->name);
		return NULL;
	}
	s->memfd = -1;
	s->record_fd = -1;
	memcpy(s->name, wanted->name, sizeof(s->name));
	s->vectors = wanted->vectors;
	s->shared = wanted->shared;
	s->huge = wanted->huge;
	s->thp = wanted->thp;
	s->numa_node = wanted->numa_node;
	/* The configuration was checked: it fits. */
	if (segment_geometry(s, wanted->size, wanted->nr_members))
		abort();
	if (getrandom(s->uuid, sizeof(s->uuid), 0) != (ssize_t)sizeof(s->uuid)) {
		say("segment %s: no random numbers: %s", s->name, strerror(errno));
		segment_free(s);
		return NULL;
	}
	if (make_seats(s, config, wanted) || make_memory(s) ||
	    make_record(s, config->runtime_dir)) {
		segment_free(s);
		return NULL;
	}
	write_tables(s);
	s->shown = roster_segment_new(s);
	return s;
}

void segment_free(struct segment *s)
{
	if (!s)
		return;
	for (u32 i = 0; s->seats && i < s->nr_seats; i++)
		bell_put(s->seats[i].bell);
	if (s->map)
		munmap(s->map, s->map_len);
	if (s->shown)
		roster_segment_put(s->shown);	/* closes the memfd after its last reader */
	else if (s->memfd >= 0)
		close(s->memfd);
	record_close(s->record);
	if (s->record_fd >= 0)
		close(s->record_fd);
	free(s->seats);
	free(s);
}

/* ---- presence ---- */

static void store_presence(void *arg)
{
	struct seat *seat = arg;

	vmshm_word_publish(&shared_member(seat->segment, seat->index)->presence, seat->presence);
}

static void store_draining(void *arg)
{
	struct seat *seat = arg;

	__atomic_store_n(&shared_member(seat->segment, seat->index)->drain, seat->draining,
			 __ATOMIC_RELEASE);
}

void segment_set_draining(struct seat *seat, bool on)
{
	struct segment *s = seat->segment;

	seat->draining = on;
	record_store(seat->kept->draining, on);
	roster_show_drain(seat);
	if (guarded(store_draining, seat))
		say("segment %s: member %s: drain could not be published: no memory", s->name,
		    seat->name);
	for (u32 i = 0; i < s->nr_seats; i++)
		bell_ring(s->seats[i].bell);
}

void segment_set_presence(struct seat *seat, bool here)
{
	struct segment *s = seat->segment;

	if ((seat->presence & 1) != here)
		seat->presence++;
	record_store(seat->kept->presence, seat->presence);
	roster_show_presence(seat);
	if (!here && seat->draining)
		segment_set_draining(seat, false);
	/* A member may have punched the table's page out, and no memory be left. */
	if (guarded(store_presence, seat))
		say("segment %s: member %s: its presence could not be published: no memory",
		    s->name, seat->name);
	for (u32 i = 0; i < s->nr_seats; i++)
		if (i != seat->index)
			bell_ring(s->seats[i].bell);
}

void segment_publish(struct segment *s)
{
	for (u32 i = 0; i < s->nr_seats; i++)
		segment_set_presence(&s->seats[i], s->seats[i].presence & 1);
}

/* ---- giving back ---- */

struct zero {
	u8 *at;
	u64 len;
};

static void zero(void *arg)
{
	struct zero *z = arg;

	memset(z->at, 0, z->len);
}

/*
 * Side areas in a segment of huge pages share theirs with others', so they are
 * overwritten: those pages were allocated at the start and stay.
 */
static bool give_back(struct segment *s, u64 off, u64 len)
{
	if (off % s->geometry.page || len % s->geometry.page) {
		struct zero z = { s->map + off, len };

		if (!guarded(zero, &z))
			return true;
		errno = EFAULT;
		return false;
	}
	return !fallocate(s->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
			  (off_t)len);
}

bool segment_wipe_some(struct seat *seat)
{
	struct segment *s = seat->segment;
	const struct geometry *g = &s->geometry;
	struct wipe *w = &seat->wipe;
	u32 other = w->piece / 2, channel, k;
	u64 off, len;

	if (other >= seat->index)
		other++;	/* the peers in turn, without oneself */
	if (other >= s->nr_seats) {
		if (s->huge)
			reserve_again(s);
		*w = (struct wipe){ .piece = 0 };
		return false;
	}
	channel = geometry_channel(g, seat->index, other, &k);
	if (w->piece % 2) {
		off = geometry_half(g, channel, k);
		len = g->half_size;
	} else {
		off = geometry_side(g, channel, k);
		len = VMSHM_SIDE_SIZE;
	}
	off += w->done;
	len -= w->done;
	if (len > WIPE_STEP)
		len = WIPE_STEP;
	if (!give_back(s, off, len))
		say("segment %s: member %s: %" PRIu64 " bytes at %" PRIu64
		    " could not be given back: %s", s->name, seat->name, len, off, strerror(errno));
	w->done += len;
	if (w->done == (w->piece % 2 ? g->half_size : VMSHM_SIDE_SIZE)) {
		w->piece++;
		w->done = 0;
	}
	return true;
}
