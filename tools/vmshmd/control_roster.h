/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the control threads may see: tables of members, couples and segments,
 * published by the main thread and read under RCU. The main thread never waits
 * for a reader; what readers hold goes when they let go of it.
 *
 * The tables are made anew when the configuration changes. What changes more
 * often (who is connected) is in words that the main thread writes in place.
 */
#ifndef VMSHMD_CONTROL_ROSTER_H
#define VMSHMD_CONTROL_ROSTER_H

#include "config.h"
#include "geometry.h"

#include <sys/types.h>

struct segment;
struct seat;

/* A member's place in a segment. The words after @ivshmem_id change: read by roster_word(). */
struct roster_seat {
	char name[VMSHM_NAME_LEN];
	u32 cid;
	u32 ivshmem_id;
	u64 presence;		/* odd: connected */
	u64 pid, uid;		/* of the QEMU, while connected */
	u64 since;		/* seconds since the epoch: when it came or went */
	u64 connects;		/* QEMUs that were let in */
	u64 refused;		/* and that were not, as another was there */
	u64 kicked;
	u64 draining;		/* 1: told to let connections end */
};

#define roster_word(word)	__atomic_load_n(&(word), __ATOMIC_RELAXED)

struct roster_segment {
	unsigned int refs;
	char name[VMSHM_NAME_LEN];
	u8 uuid[16];
	struct geometry geometry;
	u32 vectors;
	bool shared;
	bool huge;
	bool thp;
	int numa_node;		/* -1: any */
	int memfd;		/* closed with the last reference */
	u32 nr_seats;
	struct roster_seat seats[];
};

/* A member, and where it sits. */
struct roster_member {
	char name[VMSHM_NAME_LEN];
	u32 cid;
	u32 nr_places;
	struct roster_place {
		struct roster_segment *segment;
		u32 index;
	} *places;
};

struct roster {
	u32 nr_members;
	struct roster_member *members;		/* by name */
	u32 nr_segments;
	struct roster_segment **segments;	/* by name */
	u32 nr_couples;
	char *runtime_dir;
	struct roster_place *all_places;	/* what the members' point into */
};

/* ---- readers, in any thread ---- */

/* The tables, until roster_end(); NULL while there are none. */
const struct roster *roster_begin(void);
void roster_end(void);

const struct roster_segment *roster_find_segment(const struct roster *r, const char *name);
const struct roster_member *roster_find_member(const struct roster *r, const char *name);

/* ---- the main thread ---- */

/*
 * What readers see of a segment. Owns @segment's memfd from here on. Aborts
 * when there is no memory.
 */
struct roster_segment *roster_segment_new(const struct segment *segment);
void roster_segment_put(struct roster_segment *segment);

/* Publish the tables of @config with its @segments; both NULL: take them away. */
void roster_publish(const struct config *config, const struct segment *segments);

void roster_show_presence(const struct seat *seat);
void roster_show_client(const struct seat *seat, pid_t pid, uid_t uid);
void roster_show_refusal(const struct seat *seat);
void roster_show_kick(const struct seat *seat);
void roster_show_drain(const struct seat *seat);

/* Wait until what was let go of has been freed. */
void roster_stop(void);

#endif
