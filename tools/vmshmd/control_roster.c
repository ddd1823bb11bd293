// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables that readers see: see control_roster.h.
 */
#include "control_roster.h"
#include "control_rcu.h"
#include "segment.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A table with what frees it. */
struct edition {
	struct roster roster;
	struct rcu_head rcu;
};

static struct edition *current;
static char grace;		/* stands for the periods of grace, see control_rcu.h */

#ifdef __SANITIZE_THREAD__
const char *__tsan_default_suppressions(void);

/* The library's own memory, whose barriers cannot be seen. */
const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:liburcu-bp.so\n";
}
#endif

/* ---- readers ---- */

const struct roster *roster_begin(void)
{
	struct edition *edition;

	rcu_read_lock();
	edition = rcu_take(&current);
	return edition ? &edition->roster : NULL;
}

void roster_end(void)
{
	rcu_read_end(&grace);
}

static int by_name(const void *name, const void *segment)
{
	return strcmp(name, (*(struct roster_segment *const *)segment)->name);
}

const struct roster_segment *roster_find_segment(const struct roster *r, const char *name)
{
	struct roster_segment **found;

	found = bsearch(name, r->segments, r->nr_segments, sizeof(r->segments[0]), by_name);
	return found ? *found : NULL;
}

static int by_member(const void *name, const void *member)
{
	return strcmp(name, ((const struct roster_member *)member)->name);
}

const struct roster_member *roster_find_member(const struct roster *r, const char *name)
{
	return bsearch(name, r->members, r->nr_members, sizeof(r->members[0]), by_member);
}

/* ---- segments ---- */

static void *get(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);

	if (!memory)
		abort();
	return memory;
}

/* The presence is odd while one is here, and never goes back. */
static u64 connects(const struct seat *seat)
{
	return (seat->presence + 1) / 2;
}

struct roster_segment *roster_segment_new(const struct segment *s)
{
	struct roster_segment *shown = get(1, sizeof(*shown) +
					   s->nr_seats * sizeof(shown->seats[0]));

	shown->refs = 1;
	memcpy(shown->name, s->name, sizeof(shown->name));
	memcpy(shown->uuid, s->uuid, sizeof(shown->uuid));
	shown->geometry = s->geometry;
	shown->vectors = s->vectors;
	shown->shared = s->shared;
	shown->huge = s->huge;
	shown->thp = s->thp;
	shown->numa_node = s->numa_node;
	shown->memfd = s->memfd;
	shown->nr_seats = s->nr_seats;
	for (u32 i = 0; i < s->nr_seats; i++) {
		struct roster_seat *seat = &shown->seats[i];
		struct record_seat *kept = s->seats[i].kept;

		memcpy(seat->name, s->seats[i].name, sizeof(seat->name));
		seat->cid = s->seats[i].cid;
		seat->ivshmem_id = s->seats[i].ivshmem_id;
		seat->presence = s->seats[i].presence;
		seat->connects = connects(&s->seats[i]);
		if (!kept->since)
			kept->since = (u64)time(NULL);
		seat->since = kept->since;
		seat->refused = kept->refused;
		seat->kicked = kept->kicked;
		seat->draining = s->seats[i].draining;
	}
	return shown;
}

void roster_segment_put(struct roster_segment *shown)
{
	if (!shown || __atomic_sub_fetch(&shown->refs, 1, __ATOMIC_ACQ_REL))
		return;
	close(shown->memfd);
	free(shown);
}

/* ---- tables ---- */

static void free_edition(struct rcu_head *head)
{
	struct edition *edition = caa_container_of(head, struct edition, rcu);
	struct roster *r = &edition->roster;

	rcu_tell_acquire(&grace);
	for (u32 i = 0; i < r->nr_segments; i++)
		roster_segment_put(r->segments[i]);
	free(r->segments);
	free(r->members);
	free(r->all_places);
	free(r->runtime_dir);
	free(edition);
}

static int order_segments(const void *one, const void *other)
{
	return strcmp((*(struct roster_segment *const *)one)->name,
		      (*(struct roster_segment *const *)other)->name);
}

static int order_members(const void *one, const void *other)
{
	return strcmp(((const struct roster_member *)one)->name,
		      ((const struct roster_member *)other)->name);
}

static void take_segments(struct roster *r, const struct segment *segments)
{
	u32 nr = 0;

	for (const struct segment *s = segments; s; s = s->next)
		nr++;
	r->segments = get(nr, sizeof(r->segments[0]));
	for (const struct segment *s = segments; s; s = s->next) {
		__atomic_add_fetch(&s->shown->refs, 1, __ATOMIC_RELAXED);
		r->segments[r->nr_segments++] = s->shown;
		r->nr_couples += s->geometry.nr_channels;
	}
	qsort(r->segments, nr, sizeof(r->segments[0]), order_segments);
}

static void take_members(struct roster *r, const struct config *config)
{
	u32 nr_places = 0, used = 0;

	r->members = get(config->nr_members, sizeof(r->members[0]));
	r->nr_members = config->nr_members;
	for (u32 i = 0; i < r->nr_members; i++) {
		memcpy(r->members[i].name, config->members[i].name, sizeof(r->members[i].name));
		r->members[i].cid = config->members[i].cid;
	}
	qsort(r->members, r->nr_members, sizeof(r->members[0]), order_members);

	/* Count each member's places, share one array out, fill it. */
	for (u32 i = 0; i < r->nr_segments; i++) {
		for (u32 k = 0; k < r->segments[i]->nr_seats; k++) {
			struct roster_member *m = (struct roster_member *)
				roster_find_member(r, r->segments[i]->seats[k].name);

			m->nr_places++;
			nr_places++;
		}
	}
	r->all_places = get(nr_places, sizeof(r->all_places[0]));
	for (u32 i = 0; i < r->nr_members; i++) {
		r->members[i].places = &r->all_places[used];
		used += r->members[i].nr_places;
		r->members[i].nr_places = 0;
	}
	for (u32 i = 0; i < r->nr_segments; i++) {
		for (u32 k = 0; k < r->segments[i]->nr_seats; k++) {
			struct roster_member *m = (struct roster_member *)
				roster_find_member(r, r->segments[i]->seats[k].name);

			m->places[m->nr_places++] =
				(struct roster_place){ .segment = r->segments[i], .index = k };
		}
	}
}

void roster_publish(const struct config *config, const struct segment *segments)
{
	struct edition *edition = NULL, *old = current;

	if (config) {
		edition = get(1, sizeof(*edition));
		edition->roster.runtime_dir = strdup(config->runtime_dir);
		if (!edition->roster.runtime_dir)
			abort();
		take_segments(&edition->roster, segments);
		take_members(&edition->roster, config);
	}
	rcu_publish(&current, edition);
	if (!old)
		return;
	rcu_tell_release(&grace);
	call_rcu(&old->rcu, free_edition);
}

/* ---- words that change ---- */

static struct roster_seat *shown(const struct seat *seat)
{
	return &seat->segment->shown->seats[seat->index];
}

static void put(u64 *word, u64 value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

void roster_show_presence(const struct seat *seat)
{
	struct roster_seat *to = shown(seat);

	if (!(seat->presence & 1)) {
		put(&to->pid, 0);
		put(&to->uid, 0);
	}
	/* A successor says again what was so before. */
	if (roster_word(to->presence) == seat->presence)
		return;
	seat->kept->since = (u64)time(NULL);
	put(&to->presence, seat->presence);
	put(&to->connects, connects(seat));
	put(&to->since, seat->kept->since);
}

void roster_show_client(const struct seat *seat, pid_t pid, uid_t uid)
{
	struct roster_seat *to = shown(seat);

	put(&to->pid, (u64)pid);
	put(&to->uid, uid);
}

void roster_show_refusal(const struct seat *seat)
{
	put(&shown(seat)->refused, ++seat->kept->refused);
}

void roster_show_kick(const struct seat *seat)
{
	put(&shown(seat)->kicked, ++seat->kept->kicked);
}

void roster_show_drain(const struct seat *seat)
{
	put(&shown(seat)->draining, seat->draining);
}

void roster_stop(void)
{
	rcu_barrier();
}
