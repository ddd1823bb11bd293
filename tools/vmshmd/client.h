/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One connected QEMU: the server's side of the ivshmem protocol, which is one
 * way only. Who is let in, and what follows a departure, is seat.c's.
 */
#ifndef VMSHMD_CLIENT_H
#define VMSHMD_CLIENT_H

#include "segment.h"

struct sd_event;

/* Takes @fd over, a non-blocking socket; NULL with errno (and @fd still open). */
struct client *client_new(struct seat *seat, struct sd_event *event, int fd);

/* Begin to send; may end in seat_client_gone(). */
void client_start(struct client *client);

/* Look whether the client is gone; true: it was, and seat_client_gone() ran. */
bool client_check(struct client *client);

struct sd_event *client_event(const struct client *client);
void client_free(struct client *client);

#endif
