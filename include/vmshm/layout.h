/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is in a segment, byte by byte.  docs/ABI.md says the same in prose.
 *
 * Shared between the module, the daemon and the tests.  Every integer is
 * little-endian and naturally aligned.  How the words are ordered against each
 * other is not here: that is ring.h, the only file with memory barriers.
 *
 *   0          struct vmshm_header                     written by the daemon
 *   member_off struct vmshm_member[nr_members]         written by the daemon
 *   channel_off struct vmshm_channel[nr_channels]      written by the daemon
 *   side_off   struct vmshm_side and its queues        written by one member
 *   half_off   the rings that one member receives in   allocated by that member
 *
 * No word has two writers.  A reader believes nothing: it reads a word once
 * into a variable of its own and checks it there.
 */
#ifndef _VMSHM_LAYOUT_H
#define _VMSHM_LAYOUT_H

#include "port.h"

#define VMSHM_MAGIC		0x4745534d48534d56ULL	/* "VMSHMSEG" */
#define VMSHM_ABI_MAJOR		1	/* differs: incompatible */
#define VMSHM_ABI_MINOR		1	/* differs: compatible, see features */
#define VMSHM_ABI_VERSION	(VMSHM_ABI_MAJOR << 16 | VMSHM_ABI_MINOR)

#define VMSHM_PAGE		4096	/* unit of all offsets and sizes */
#define VMSHM_LINE		128	/* two cache lines: adjacent-line prefetch */

#define VMSHM_SEGMENT_MIN	(1ULL << 20)
#define VMSHM_SEGMENT_MAX	(1ULL << 36)
#define VMSHM_MEMBERS_MAX	64
#define VMSHM_NAME_LEN		32	/* with the terminating NUL */

/*
 * Feature bits: what a member can do.  A channel uses what both of its sides
 * offer.
 */
#define VMSHM_F_STREAM		(1ULL << 0)	/* SOCK_STREAM */
#define VMSHM_F_SEQPACKET	(1ULL << 1)	/* SOCK_SEQPACKET */
#define VMSHM_F_DGRAM		(1ULL << 2)	/* SOCK_DGRAM */
#define VMSHM_F_GROW		(1ULL << 3)	/* RING: rings that grow */
/* For who looks from the host; a channel does not ask whether both have them. */
#define VMSHM_F_COUNTERS	(1ULL << 16)	/* writes its struct vmshm_counters */
#define VMSHM_F_DRAIN		(1ULL << 17)	/* heeds vmshm_member.drain */

/* vmshm_header.flags */
/* IDs are as in a group: more than one couple may share it. */
#define VMSHM_SEG_GROUP		(1U << 0)

struct vmshm_header {
	u64 magic;		/* VMSHM_MAGIC, written last */
	u32 abi_version;	/* VMSHM_ABI_VERSION of the daemon */
	u32 flags;		/* VMSHM_SEG_* */
	u64 segment_size;	/* bytes, power of two, the size of the BAR */
	u64 features;		/* reserved for what a daemon offers; 0 */
	u8 uuid[16];		/* drawn when the segment is made */
	u32 nr_members;		/* 2 to VMSHM_MEMBERS_MAX */
	u32 nr_channels;	/* 1 unless VMSHM_SEG_GROUP */
	u64 member_off;		/* bytes from the start of the segment */
	u64 channel_off;	/* bytes from the start of the segment */
	char name[VMSHM_NAME_LEN];
	u8 reserved[VMSHM_PAGE - 104];
};

/*
 * A VM that may use the segment.
 *
 * @presence is a generation number: odd while a QEMU is connected for this
 * member, even while none is.  It never goes back, and survives the daemon.
 *
 * @drain is set before the member is to go: connections that are open live on
 * until they end by themselves, and nobody begins another one.
 */
struct vmshm_member {
	u32 cid;		/* 2 (the host) or 3 to 65534 */
	u32 ivshmem_id;		/* what IVPosition shows in that VM */
	u32 vectors;		/* MSI-X vectors, 1 or more */
	u32 drain;		/* 1: no new connections of this member */
	u64 presence;		/* odd: connected */
	char name[VMSHM_NAME_LEN];
	u8 reserved[VMSHM_LINE - 56];
};

/*
 * The part of a segment that belongs to one couple.  Side 0 is the member that
 * member[0] names, side 1 that of member[1].
 */
struct vmshm_channel {
	u32 member[2];		/* indices into the table of members; differ */
	u64 side_off[2];	/* VMSHM_SIDE_SIZE bytes each */
	u64 half_off[2];	/* half_size bytes each: rings side i receives in */
	u64 half_size;
	u8 reserved[VMSHM_LINE - 48];
};

/*
 * A side's area: this page of words, its counters, and the two queues that it
 * writes.  All of it is written by that member alone.
 */
#define VMSHM_SIDE_SIZE		0x18000
#define VMSHM_SIDE_COUNTERS	0x01000	/* struct vmshm_counters */
#define VMSHM_SIDE_RINGS	0x02000	/* struct vmshm_ring_note[VMSHM_RING_NOTES] */
#define VMSHM_SIDE_CTL		0x08000	/* struct vmshm_ctl[VMSHM_CTL_ENTRIES] */
#define VMSHM_SIDE_PEND		0x10000	/* u32[VMSHM_PEND_ENTRIES] */
#define VMSHM_RING_NOTES	512
#define VMSHM_CTL_ENTRIES	512
#define VMSHM_PEND_ENTRIES	8192

/* vmshm_side.state */
#define VMSHM_SIDE_DOWN		0	/* nobody drives this side */
#define VMSHM_SIDE_UP		1
#define VMSHM_SIDE_LEFT		2	/* gone in order: unload, reboot, panic */

struct vmshm_side {
	/* Who is here.  @epoch is the word that publishes the others. */
	u64 epoch;		/* random, never 0 while UP; new at each start */
	u64 epoch_echo;		/* the peer's epoch, once nothing of an older one is used */
	u64 features;		/* VMSHM_F_* */
	u32 abi_version;
	u32 state;		/* VMSHM_SIDE_* */
	u64 heartbeat;		/* for a keepalive, which no version has: 0 */
	u8 reserved0[VMSHM_LINE - 40];
	/* Producer's words of the queues in this area. */
	u32 ctl_prod;		/* free-running */
	u32 pend_prod;		/* free-running */
	u32 pend_overflow;	/* counts up: look at all rings once */
	u32 ctl_wanted;		/* 1: ring when the control queue has room again */
	u8 reserved1[VMSHM_LINE - 16];
	/* Consumer's words of the queues in the peer's area. */
	u32 ctl_cons;		/* free-running */
	u32 pend_cons;		/* free-running */
	u8 reserved2[VMSHM_LINE - 8];
	u8 reserved3[VMSHM_PAGE - 3 * VMSHM_LINE];
};

/*
 * What a member says that it did: the guest's word, for display only.  Nothing
 * is decided by it.
 */
struct vmshm_counters {
	u64 tx_bytes;
	u64 rx_bytes;
	u64 tx_msgs;
	u64 rx_msgs;
	u64 doorbells_sent;
	u64 doorbells_received;
	u64 doorbells_suppressed;
	u64 poll_hits;
	u64 poll_misses;
	u64 ring_full;
	u64 protocol_errors;
	u64 connections;	/* open now */
	u64 half_used;		/* bytes of the half that are allocated */
	u64 draining;		/* 1: drain was seen, connections is up to date since */
	u64 rings;		/* entries of the list of rings that count */
	u8 reserved[VMSHM_PAGE - 120];
};

/*
 * A ring in which a member receives, for people who look from the host: where
 * it is, and whose.  The first VMSHM_RING_NOTES are listed.  Never believed.
 */
struct vmshm_ring_note {
	u32 id;			/* the owner's number of its end */
	u32 gen;
	u64 ring_off;		/* struct vmshm_ring_hdr, from the start of the half */
	u32 ring_order;		/* log2 of the bytes of the ring's data area */
	u32 local_port;		/* of the owner */
	u32 peer_port;
	u16 sock_type;
	u16 reserved;
};

/*
 * An entry of a pending queue: the number that the receiver of the doorbell
 * gave its end of a connection, and why it is rung.  The receiver may treat
 * the reasons as hints.
 */
#define VMSHM_PEND_ID_MASK	0x00ffffffU
#define VMSHM_PEND_DATA		0x40000000U	/* data, end of file or reset */
#define VMSHM_PEND_SPACE	0x80000000U	/* space, or nobody reads any more */

/* vmshm_ctl.type */
#define VMSHM_CTL_CONNECT	1	/* src_*, port, sock_type, ring: yours to write */
#define VMSHM_CTL_ACCEPT	2	/* dst_*: whom; src_*, ring: yours to write */
#define VMSHM_CTL_REFUSE	3	/* dst_*: whom; error */
#define VMSHM_CTL_DONE		4	/* dst_*: I write into your ring no more */
#define VMSHM_CTL_RING		5	/* dst_*: whom; src_*, ring: go on in this one */

/* vmshm_ctl.flags */
#define VMSHM_CTL_F_RESET	(1U << 0)	/* DONE: not an orderly end */
#define VMSHM_CTL_F_OWN_CID	(1U << 1)	/* CONNECT, inside one VM: to its own CID */

/*
 * The most CONNECTs that a side may have sent without an answer: the peer
 * keeps a refusal's memory ready for each.
 */
#define VMSHM_CTL_CREDITS	128

/* A message of the control queue. */
struct vmshm_ctl {
	u32 type;		/* VMSHM_CTL_* */
	u32 flags;		/* VMSHM_CTL_F_* */
	u64 epoch;		/* of the sender */
	u64 epoch_echo;		/* of the receiver */
	u32 src_id;		/* sender's number of its end, 1 to VMSHM_PEND_ID_MASK */
	u32 src_gen;		/* which use of that number */
	u32 dst_id;		/* receiver's number of its end */
	u32 dst_gen;
	u32 src_port;
	u32 dst_port;
	u64 ring_off;		/* struct vmshm_ring_hdr, from the start of the sender's half */
	u32 ring_order;		/* log2 of the bytes of the ring's data area */
	u16 sock_type;		/* SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_SEQPACKET 5 */
	u16 error;		/* errno, positive, as Linux on x86 numbers them */
};

/* Limits of a ring's data area, log2 of bytes. */
#define VMSHM_RING_ORDER_MIN	12	/* 4 KiB */
#define VMSHM_RING_ORDER_MAX	24	/* 16 MiB */

/* vmshm_ring_hdr.prod_flags, .cons_flags: bits are set and never cleared. */
#define VMSHM_RING_FIN		(1U << 0)	/* prod: nothing after @prod */
#define VMSHM_RING_RDSHUT	(1U << 1)	/* cons: nobody reads any more */
#define VMSHM_RING_RESET	(1U << 2)	/* both: the connection is over */
#define VMSHM_RING_MOVED	(1U << 3)	/* prod: it goes on in the next ring */
#define VMSHM_RING_TAKEN	(1U << 4)	/* cons: those before it were read */

/*
 * A ring: this page, then the data area.  It lies in the half of the member
 * that receives.  @prod and @cons count bytes since the connection began and
 * never wrap in practice (64 bits); a byte's place is its count modulo the
 * size of the data area.
 */
struct vmshm_ring_hdr {
	/* Written by the producer (sender). */
	u64 prod;		/* bytes written */
	u32 prod_flags;
	u32 reserved0;
	u8 pad0[VMSHM_LINE - 16];
	/* Written by the consumer (receiver, owner of the memory). */
	u64 cons;		/* bytes read */
	u32 cons_flags;
	u32 reserved1;
	u8 pad1[VMSHM_LINE - 16];
	/* Written by the consumer when it is about to sleep. */
	u64 data_event;		/* ring when @prod reaches this, */
	u32 data_vector;	/* this vector: 1 + its number, 0: any; a hint */
	u32 reserved2;
	u8 pad2[VMSHM_LINE - 16];
	/* Written by the producer when it is about to sleep. */
	u64 space_event;	/* ring when @cons reaches this, */
	u32 space_vector;	/* this vector, likewise */
	u32 reserved3;
	u8 pad3[VMSHM_LINE - 16];
	/* Written once by the owner; for people who look, never believed. */
	u64 data_size;
	u32 owner_id;
	u32 owner_gen;
	/* Written once by the owner; the sender clamps it to what the ring holds. */
	u32 record_max;		/* bytes of the longest record; 0 in a stream */
	u8 reserved[VMSHM_PAGE - 4 * VMSHM_LINE - 20];
};

/*
 * What stands before each record in the data area of a ring that is no stream's
 * (record.h): one word of 64 bits, read once.
 */
struct vmshm_record {
	u32 len;		/* bytes of data that follow */
	u32 info;		/* SEQPACKET: VMSHM_RECORD_*; DGRAM: the sender's port */
};

/* vmshm_record.info of SEQPACKET; other bits are 0, and ignored */
#define VMSHM_RECORD_EOR	(1U << 0)	/* sent with MSG_EOR */

#define VMSHM_AT(type, field, offset) \
	_Static_assert(__builtin_offsetof(struct type, field) == (offset), \
		       #type "." #field " has moved")
#define VMSHM_SIZE(type, bytes) \
	_Static_assert(sizeof(struct type) == (bytes), #type " has changed size")

VMSHM_AT(vmshm_header, magic, 0);
VMSHM_AT(vmshm_header, abi_version, 8);
VMSHM_AT(vmshm_header, flags, 12);
VMSHM_AT(vmshm_header, segment_size, 16);
VMSHM_AT(vmshm_header, features, 24);
VMSHM_AT(vmshm_header, uuid, 32);
VMSHM_AT(vmshm_header, nr_members, 48);
VMSHM_AT(vmshm_header, nr_channels, 52);
VMSHM_AT(vmshm_header, member_off, 56);
VMSHM_AT(vmshm_header, channel_off, 64);
VMSHM_AT(vmshm_header, name, 72);
VMSHM_SIZE(vmshm_header, VMSHM_PAGE);

VMSHM_AT(vmshm_member, cid, 0);
VMSHM_AT(vmshm_member, ivshmem_id, 4);
VMSHM_AT(vmshm_member, vectors, 8);
VMSHM_AT(vmshm_member, drain, 12);
VMSHM_AT(vmshm_member, presence, 16);
VMSHM_AT(vmshm_member, name, 24);
VMSHM_SIZE(vmshm_member, VMSHM_LINE);

VMSHM_AT(vmshm_channel, member, 0);
VMSHM_AT(vmshm_channel, side_off, 8);
VMSHM_AT(vmshm_channel, half_off, 24);
VMSHM_AT(vmshm_channel, half_size, 40);
VMSHM_SIZE(vmshm_channel, VMSHM_LINE);

VMSHM_AT(vmshm_side, epoch, 0);
VMSHM_AT(vmshm_side, epoch_echo, 8);
VMSHM_AT(vmshm_side, features, 16);
VMSHM_AT(vmshm_side, abi_version, 24);
VMSHM_AT(vmshm_side, state, 28);
VMSHM_AT(vmshm_side, heartbeat, 32);
VMSHM_AT(vmshm_side, ctl_prod, 128);
VMSHM_AT(vmshm_side, pend_prod, 132);
VMSHM_AT(vmshm_side, pend_overflow, 136);
VMSHM_AT(vmshm_side, ctl_wanted, 140);
VMSHM_AT(vmshm_side, ctl_cons, 256);
VMSHM_AT(vmshm_side, pend_cons, 260);
VMSHM_SIZE(vmshm_side, VMSHM_PAGE);

VMSHM_AT(vmshm_counters, tx_bytes, 0);
VMSHM_AT(vmshm_counters, rx_bytes, 8);
VMSHM_AT(vmshm_counters, tx_msgs, 16);
VMSHM_AT(vmshm_counters, rx_msgs, 24);
VMSHM_AT(vmshm_counters, doorbells_sent, 32);
VMSHM_AT(vmshm_counters, doorbells_received, 40);
VMSHM_AT(vmshm_counters, doorbells_suppressed, 48);
VMSHM_AT(vmshm_counters, poll_hits, 56);
VMSHM_AT(vmshm_counters, poll_misses, 64);
VMSHM_AT(vmshm_counters, ring_full, 72);
VMSHM_AT(vmshm_counters, protocol_errors, 80);
VMSHM_AT(vmshm_counters, connections, 88);
VMSHM_AT(vmshm_counters, half_used, 96);
VMSHM_AT(vmshm_counters, draining, 104);
VMSHM_AT(vmshm_counters, rings, 112);
VMSHM_SIZE(vmshm_counters, VMSHM_PAGE);

VMSHM_AT(vmshm_ring_note, id, 0);
VMSHM_AT(vmshm_ring_note, gen, 4);
VMSHM_AT(vmshm_ring_note, ring_off, 8);
VMSHM_AT(vmshm_ring_note, ring_order, 16);
VMSHM_AT(vmshm_ring_note, local_port, 20);
VMSHM_AT(vmshm_ring_note, peer_port, 24);
VMSHM_AT(vmshm_ring_note, sock_type, 28);
VMSHM_SIZE(vmshm_ring_note, 32);

VMSHM_AT(vmshm_ctl, type, 0);
VMSHM_AT(vmshm_ctl, flags, 4);
VMSHM_AT(vmshm_ctl, epoch, 8);
VMSHM_AT(vmshm_ctl, epoch_echo, 16);
VMSHM_AT(vmshm_ctl, src_id, 24);
VMSHM_AT(vmshm_ctl, src_gen, 28);
VMSHM_AT(vmshm_ctl, dst_id, 32);
VMSHM_AT(vmshm_ctl, dst_gen, 36);
VMSHM_AT(vmshm_ctl, src_port, 40);
VMSHM_AT(vmshm_ctl, dst_port, 44);
VMSHM_AT(vmshm_ctl, ring_off, 48);
VMSHM_AT(vmshm_ctl, ring_order, 56);
VMSHM_AT(vmshm_ctl, sock_type, 60);
VMSHM_AT(vmshm_ctl, error, 62);
VMSHM_SIZE(vmshm_ctl, 64);

VMSHM_AT(vmshm_ring_hdr, prod, 0);
VMSHM_AT(vmshm_ring_hdr, prod_flags, 8);
VMSHM_AT(vmshm_ring_hdr, cons, 128);
VMSHM_AT(vmshm_ring_hdr, cons_flags, 136);
VMSHM_AT(vmshm_ring_hdr, data_event, 256);
VMSHM_AT(vmshm_ring_hdr, data_vector, 264);
VMSHM_AT(vmshm_ring_hdr, space_event, 384);
VMSHM_AT(vmshm_ring_hdr, space_vector, 392);
VMSHM_AT(vmshm_ring_hdr, data_size, 512);
VMSHM_AT(vmshm_ring_hdr, owner_id, 520);
VMSHM_AT(vmshm_ring_hdr, owner_gen, 524);
VMSHM_AT(vmshm_ring_hdr, record_max, 528);
VMSHM_SIZE(vmshm_ring_hdr, VMSHM_PAGE);

VMSHM_AT(vmshm_record, len, 0);
VMSHM_AT(vmshm_record, info, 4);
VMSHM_SIZE(vmshm_record, 8);

_Static_assert(VMSHM_SIDE_COUNTERS + sizeof(struct vmshm_counters) <= VMSHM_SIDE_RINGS,
	       "counters overlap the list of rings");
_Static_assert(VMSHM_SIDE_RINGS + VMSHM_RING_NOTES * sizeof(struct vmshm_ring_note) <=
	       VMSHM_SIDE_CTL, "the list of rings overlaps the control queue");
_Static_assert(VMSHM_SIDE_CTL + VMSHM_CTL_ENTRIES * sizeof(struct vmshm_ctl) <= VMSHM_SIDE_PEND,
	       "control queue overlaps the pending queue");
_Static_assert(VMSHM_SIDE_PEND + VMSHM_PEND_ENTRIES * sizeof(u32) <= VMSHM_SIDE_SIZE,
	       "pending queue overruns the side's area");

#undef VMSHM_AT
#undef VMSHM_SIZE

#endif /* _VMSHM_LAYOUT_H */
