/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A second implementation of a channel's side, in user space: it does the
 * handshake of epochs, takes and sends control messages, and echoes what comes
 * in. Honest by itself; lies.c makes it lie.
 *
 * One thread, which looks all the time. Connections that the other side opens
 * are echoed; those that peer_connect() opens carry a pattern that is checked
 * when it comes back.
 */
#ifndef LIFE_PEER_H
#define LIFE_PEER_H

#include <vmshm/record.h>

#include "segment.h"

#define CONNS		120	/* below VMSHM_CTL_CREDITS */
#define CONN_ORDER	14	/* log2 of a receive ring's bytes */
#define CONN_RECORD	5000	/* bytes of the longest record */

enum conn_state { CONN_FREE, CONN_CONNECTING, CONN_OPEN };

struct conn {
	enum conn_state state;
	u32 id, gen, peer_id, peer_gen;
	u64 ring_off;
	struct vmshm_cons cons;
	struct vmshm_prod prod;
	bool active;		/* opened from here */
	u16 type;		/* of the socket */
	u32 port;		/* DGRAM: where it goes */
	bool lane;		/* DGRAM: sends only; else receives only */
	u32 tried;		/* DGRAM: no lane could be opened to this port */
	u64 sent, back;		/* bytes of the pattern, when active */
	u64 echoed;
	bool fin;
};

struct peer {
	struct segment seg;
	u32 my_cid, cid;		/* cid: of the VM on the other side */
	struct vmshm_header *h;
	struct vmshm_member *members;
	u32 me;				/* index of the own member */
	struct vmshm_side *mine, *theirs;
	u8 *my_half, *their_half;
	u64 half_size;
	u8 *tables;			/* a copy of header and tables */
	u64 tables_size;

	u64 epoch, peer_epoch;
	bool up;
	struct vmshm_queue ctl_tx, ctl_rx, pend_tx, pend_rx;
	u32 overflow;
	u32 gen;
	struct conn conns[CONNS];
	u64 seed;

	/* What happened. */
	u64 ups, accepts, refusals, messages, echoed, checked, wrong, ended, datagrams;
};

u64 peer_random(struct peer *p);

/* The device whose segment this VM shares with @cid; its driver is unbound. */
void peer_open(struct peer *p, u32 cid);
/* Puts header and tables back, says LEFT, and gives the device to its driver. */
void peer_close(struct peer *p);

void peer_new_epoch(struct peer *p);
void peer_doorbell(struct peer *p, u32 vector);
/* Looks once at everything and does what is to be done. */
void peer_step(struct peer *p);
/* Opens a connection if there is a free number; NULL when not. */
struct conn *peer_connect(struct peer *p, u32 port);
/* Puts a message into the control queue, as it is; false: no room. */
bool peer_say(struct peer *p, const struct vmshm_ctl *msg);
/* A message of an end as it should be. */
struct vmshm_ctl peer_message(const struct peer *p, const struct conn *c, u32 type);
void peer_pend(struct peer *p, u32 entry);
void peer_done(struct peer *p, struct conn *c, bool reset);
/* A random connection that is open, or NULL. */
struct conn *peer_any(struct peer *p);
struct conn *peer_any_records(struct peer *p);	/* no stream, and sends */

static inline struct vmshm_ctl *peer_ctl(struct vmshm_side *side)
{
	return (struct vmshm_ctl *)((u8 *)side + VMSHM_SIDE_CTL);
}

static inline u32 *peer_pending(struct vmshm_side *side)
{
	return (u32 *)((u8 *)side + VMSHM_SIDE_PEND);
}

#endif /* LIFE_PEER_H */
