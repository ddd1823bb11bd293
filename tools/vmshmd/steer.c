// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kick and drain: see steer.h.
 */
#include "steer.h"
#include "control_roster.h"
#include "seat.h"

#include <string.h>

/* The next seat of @member from segment *@s on, in @segment or anywhere. */
static struct seat *next_seat(struct segment **s, const char *member, const char *segment)
{
	for (; *s; *s = (*s)->next) {
		if (*segment && strcmp((*s)->name, segment))
			continue;
		for (u32 i = 0; i < (*s)->nr_seats; i++) {
			if (!strcmp((*s)->seats[i].name, member)) {
				struct seat *seat = &(*s)->seats[i];

				*s = (*s)->next;
				return seat;
			}
		}
	}
	return NULL;
}

static int nobody(const char *member, const char *segment)
{
	if (*segment)
		say("there is no member %s in a segment %s; see: vmshmctl members", member,
		    segment);
	else
		say("no segment has a member %s; see: vmshmctl members", member);
	return -1;
}

int steer_kick(struct segment *segments, const char *member, const char *segment)
{
	unsigned int seats = 0;
	struct seat *seat;
	int kicked = 0;

	while ((seat = next_seat(&segments, member, segment))) {
		seats++;
		if (!seat->client)
			continue;
		roster_show_kick(seat);
		seat_client_gone(seat, "kicked: its peers end their connections; its QEMU keeps "
				 "memory and doorbells until device_del or its exit");
		kicked++;
	}
	return seats ? kicked : nobody(member, segment);
}

int steer_drain(struct segment *segments, const char *member, const char *segment, bool on)
{
	unsigned int seats = 0;
	struct seat *seat;
	int told = 0;

	while ((seat = next_seat(&segments, member, segment))) {
		seats++;
		/* Who is not there has no connections. */
		if (on && !(seat->presence & 1))
			continue;
		segment_set_draining(seat, on);
		told++;
	}
	return seats ? told : nobody(member, segment);
}
