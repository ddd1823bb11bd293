/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A seat's life: its listening socket, who is let in, and what happens when
 * the member's QEMU is gone.
 *
 *   free --accept--> taken --QEMU is gone--> wiping --memory given back--> free
 *
 * A free seat has an even presence, a taken one an odd one. While it is being
 * wiped its presence is still odd, and who connects waits in the backlog.
 */
#ifndef VMSHMD_SEAT_H
#define VMSHMD_SEAT_H

#include "segment.h"

struct sd_event;

/* Make the socket and listen: 0, or -1, said in the log. */
int seat_open(struct seat *seat, struct sd_event *event, const char *runtime_dir,
	      struct access access);

/*
 * Go on with a seat that was kept: its socket, its client, or giving back
 * where that was under way. 0, or -1 when it can't listen, said in the log.
 */
int seat_resume(struct seat *seat, struct sd_event *event, const char *runtime_dir);

/* Apply other owners or another mode to the socket. */
int seat_set_access(struct seat *seat, struct access access);

/* Remove the socket. A connected client stays. */
void seat_close(struct seat *seat);

/*
 * Let go of a client because its segment is taken away; its peers are told.
 * The memory stays as it is: both VMs have it until they let go of it.
 */
void seat_evict(struct seat *seat);

/* The daemon ends: VMs go on among themselves, nobody is told anything. */
void seat_abandon(struct seat *seat);

/* The daemon ends and has a successor: its socket stays where it is. */
void seat_leave(struct seat *seat);

/* client.c: the client is over. */
void seat_client_gone(struct seat *seat, const char *why);

#endif
