/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A segment: its memory, what the daemon writes there, and the seats of its
 * members. Sockets are seat.c's, the ivshmem protocol is client.c's.
 *
 * Guests can write all of the memory, so nothing is ever read back from it:
 * what the daemon knows is in these structures.
 */
#ifndef VMSHMD_SEGMENT_H
#define VMSHMD_SEGMENT_H

#include "config.h"
#include "doorbell.h"
#include "geometry.h"
#include "log.h"
#include "record.h"

struct client;
struct segment;
struct roster_segment;
struct sd_event_source;

/* How far the memory of a member that is gone has been given back. */
struct wipe {
	u32 piece;		/* two for each channel of the member: side, half */
	u64 done;		/* bytes of that piece */
};

/* A member's place in a segment. */
struct seat {
	struct segment *segment;
	u32 index;		/* in the segment's table of members */
	char name[VMSHM_NAME_LEN];
	u32 cid;
	u32 ivshmem_id;
	u64 presence;		/* odd: connected */
	bool draining;		/* its connections are to end; until it goes */
	struct bell *bell;
	struct record_seat *kept;	/* what of this outlives the process */

	/* The rest is seat.c's. */
	struct access access;
	char *path;
	int listen_fd;
	struct sd_event_source *listener;
	struct sd_event_source *retry;		/* listens again after a shortage */
	struct sd_event_source *wiping;
	struct wipe wipe;
	struct client *client;
	struct say_limit say_limit;
};

struct segment {
	struct segment *next;		/* server.c's list */
	char name[VMSHM_NAME_LEN];
	struct geometry geometry;
	u8 uuid[16];
	u32 vectors;
	bool shared;
	bool huge;
	bool thp;
	int numa_node;		/* -1: any */
	int memfd;
	u8 *map;		/* header and tables; with huge pages the sides at least */
	u64 map_len;
	u32 nr_seats;
	struct seat *seats;
	struct roster_segment *shown;	/* to the control threads; has the memfd, too */
	struct record *record;
	int record_fd;		/* -1 where nobody keeps it */
	u32 keep_id;		/* its number in the names of keep.h */
	bool kept;		/* its descriptors are kept */
};

/* Make and lay out a segment: NULL when the host can't, said in the log. */
struct segment *segment_new(const struct config *config, const struct config_segment *wanted);

/* For restore.c: a seat without its bell; the start of the memory, 0 or -1. */
void seat_init(struct seat *seat, struct segment *segment, u32 index, const char *name, u32 cid);
int segment_map(struct segment *segment);
int segment_geometry(struct segment *segment, u64 size, u32 nr_members);

/* Whose something is, for the log. */
struct seat_label {
	char text[2 * VMSHM_NAME_LEN + 24];
};

struct seat_label seat_label(const struct seat *seat);

/* The seats' sockets and clients are gone already. */
void segment_free(struct segment *segment);

/* A member came or went: publish its presence and ring all others. */
void segment_set_presence(struct seat *seat, bool here);

/* Tell a member and its peers to begin no connections of its, or that they may. */
void segment_set_draining(struct seat *seat, bool on);

/* The same for all members, as it is: the process before may not have got to it. */
void segment_publish(struct segment *segment);

/*
 * Give back a part of what a member that is gone has written and what was
 * written for it: its sides and halves in all its channels. Returns false
 * when nothing is left to do.
 */
bool segment_wipe_some(struct seat *seat);

#endif
