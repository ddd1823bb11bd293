/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The record of a segment: what a successor of this process has to know to go
 * on serving it. It lies in a memfd of its own that no VM ever sees, is kept
 * with the segment's other descriptors (keep.h), and is written in such an
 * order that it can be believed wherever the process was killed.
 *
 * Another version of the daemon reads it: fields are added in what is reserved,
 * and mean what they do today when they are zero.
 */
#ifndef VMSHMD_RECORD_H
#define VMSHMD_RECORD_H

#include "config.h"

#include <sys/socket.h>

#define RECORD_MAGIC	0x4452434d48534d56ULL	/* "VMSHMCRD" */
#define RECORD_VERSION	1	/* another one: cannot be read */
#define RECORD_DIR_LEN	108	/* as sun_path */

struct record_seat {
	char name[VMSHM_NAME_LEN];
	u32 cid;
	u32 ivshmem_id;
	u64 presence;
	u32 uid, gid, mode;
	/*
	 * 1 from when the client is found gone until its memory has gone back and
	 * the presence is even: a successor begins again to give back.
	 */
	u32 wiping;
	/*
	 * How many messages the client was sent: @next, and one more if @sent[@next % 2]
	 * has a length. The kernel writes that length as it sends (sendmmsg(2)): a
	 * process that is killed right after a message has left can't have missed to
	 * count it, and no QEMU gets a message twice or misses one.
	 */
	u32 next;
	u32 draining;
	struct mmsghdr sent[2];
	/* For who asks: when it came or went (seconds since 1970), who was not let in. */
	u64 since;
	u64 refused;
	u64 kicked;
	u8 reserved[32];
};

struct record {
	u64 magic;
	u32 version;
	u32 nr_seats;
	u64 size;		/* of the segment, in bytes */
	u32 vectors;
	u32 shared;
	u32 huge;
	u32 removed;		/* 1: being taken away, of no use to a successor */
	u8 uuid[16];
	char name[VMSHM_NAME_LEN];
	char runtime_dir[RECORD_DIR_LEN];
	u32 thp;
	u32 node_plus_1;	/* 0: any NUMA node */
	u8 reserved[244];
	struct record_seat seats[];
};

_Static_assert(sizeof(struct record_seat) == 256, "record_seat has changed size");
_Static_assert(sizeof(struct record) == 448, "record has changed size");

/* An empty record in *@fd (-1 where nobody keeps it); NULL with errno. */
struct record *record_new(u32 nr_seats, const char *name, int *fd);

/* The record in @fd, checked; NULL, said in the log. */
struct record *record_open(int fd);
void record_close(struct record *record);

/* How many messages the client was sent. */
u32 record_sent(const struct record_seat *seat);

/* Where the kernel is to count message record_sent(). */
struct mmsghdr *record_send(struct record_seat *seat);

/* The client is gone and forgotten: the next one begins anew. */
void record_reset(struct record_seat *seat);

/* Stores that a successor sees in the order in which they are made. */
#define record_store(word, value) __atomic_store_n(&(word), value, __ATOMIC_SEQ_CST)

#endif
