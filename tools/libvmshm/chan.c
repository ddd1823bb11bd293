// SPDX-License-Identifier: GPL-2.0-only
/*
 * A channel to a peer: the handshake of epochs, and what happens when the peer
 * comes, goes or starts anew. Section 7 of docs/ABI.md; af_vmshm/chan.c is the
 * same in a guest. What the control messages mean is in ctl.c.
 */
#include "lib.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define HELLO_FIRST_MS	10	/* then twice as long each time, */
#define HELLO_LAST_MS	1000	/* up to this */
#define FEATURES	VMSHM_F_STREAM

/*
 * Say who this side is. Said again with each hello: the peer can write here too,
 * and what it spoiled would be believed for ever.
 */
static void introduce(struct chan *ch)
{
	vmshm_store(&ch->mine->features, FEATURES | VMSHM_F_COUNTERS | VMSHM_F_DRAIN);
	vmshm_store(&ch->mine->abi_version, VMSHM_ABI_VERSION);
	vmshm_store(&ch->mine->state, VMSHM_SIDE_UP);
	vmshm_word_publish(&ch->mine->epoch_echo, ch->peer_epoch);
	vmshm_word_publish(&ch->mine->epoch, ch->epoch);
}

/* Publish a new epoch. Everything of the old one is over. */
static void draw_epoch(struct chan *ch)
{
	u64 epoch;

	do {
		if (getrandom(&epoch, sizeof(epoch), 0) != sizeof(epoch))
			epoch = ch->epoch + now_ms();
	} while (!epoch || epoch == ch->epoch);

	/* Nobody takes the words below for those of the old epoch. */
	vmshm_word_publish(&ch->mine->epoch, 0);
	vmshm_mb();
	vmshm_store(&ch->mine->epoch_echo, 0);
	ctl_reset(ch);
	notify_reset(ch);
	ch->epoch = epoch;
	ch->peer_epoch = 0;
	introduce(ch);
	bell_ring(ch, 0);
}

/* Every connection of this channel is over; nothing is written to the peer's half. */
static void tear_down(struct chan *ch)
{
	struct vmshm_sock *s;

	ch->state = CHAN_HELLO;
	while ((s = TAILQ_FIRST(&ch->ends)))
		end_kill(s);
	connect_drop(ch, ECONNRESET);
	ctl_reset(ch);
}

/* The peer is of this epoch now: begin anew with it. */
static void meet(struct chan *ch, u64 epoch)
{
	ctl_reset(ch);
	notify_reset(ch);
	ch->features = vmshm_load(&ch->theirs->features) & FEATURES;
	ch->peer_epoch = epoch;
	introduce(ch);
	bell_ring(ch, 0);
}

static bool abi_fits(struct chan *ch)
{
	u32 version = vmshm_load(&ch->theirs->abi_version);

	if (version >> 16 == VMSHM_ABI_MAJOR)
		return true;
	if (!ch->bad_abi)
		say(ch->host, "cid %u speaks ABI %u.%u, this library %u.%u: no connections",
		    ch->peer_cid, version >> 16, version & 0xffff, VMSHM_ABI_MAJOR,
		    VMSHM_ABI_MINOR);
	ch->bad_abi = true;
	return false;
}

/* It left in order, or is about to start anew, or is not there at all. */
static void peer_away(struct chan *ch, bool present)
{
	if (ch->peer_epoch) {
		tear_down(ch);
		ch->peer_epoch = 0;
		vmshm_word_publish(&ch->mine->epoch_echo, 0);
		say(ch->host, "cid %u: left", ch->peer_cid);
	}
	if (!present) {
		ch->state = CHAN_ABSENT;
		connect_drop(ch, ENODEV);
	} else if (ch->state == CHAN_ABSENT) {
		ch->state = CHAN_HELLO;
	}
}

/* Look at the peer's words and act on what changed. */
static void look_at_peer(struct chan *ch)
{
	u64 here = vmshm_word_read(ch->presence);
	u64 epoch = vmshm_word_read(&ch->theirs->epoch);
	bool up = vmshm_load(&ch->theirs->state) == VMSHM_SIDE_UP;

	if (here != ch->seen_presence) {
		/* Its QEMU went, or went and came: its epoch is not to be trusted. */
		ch->seen_presence = here;
		if (ch->peer_epoch) {
			ch->dead_epoch = ch->peer_epoch;
			tear_down(ch);
			say(ch->host, "cid %u: gone", ch->peer_cid);
		}
		draw_epoch(ch);
		epoch = vmshm_word_read(&ch->theirs->epoch);
		ch->hello_tries = 0;
	}
	if (!(here & 1) || !up || !epoch || epoch == ch->dead_epoch) {
		peer_away(ch, here & 1);
		return;
	}
	if (epoch != ch->peer_epoch) {
		if (ch->peer_epoch)
			tear_down(ch);
		ch->state = CHAN_HELLO;
		if (!abi_fits(ch))
			return;
		ch->bad_abi = false;
		meet(ch, epoch);
	}
	if (ch->state != CHAN_UP && vmshm_word_read(&ch->theirs->epoch_echo) == ch->epoch) {
		ch->state = CHAN_UP;
		ch->hello_tries = 0;
		say(ch->host, "cid %u: up", ch->peer_cid);
		bell_ring(ch, 0);	/* it may have waited for this look */
	}
}

/* The peer lied about its control queue: nothing it says can be believed. */
static void break_off(struct chan *ch)
{
	/* Not a lie if it has just started anew. */
	if (vmshm_word_read(&ch->theirs->epoch) != ch->peer_epoch) {
		kick(ch->host);
		return;
	}
	ch->protocol_errors++;
	say(ch->host, "cid %u: its control queue can't be true; every connection to it is reset",
	    ch->peer_cid);
	tear_down(ch);
	draw_epoch(ch);
}

/* Say hello again until it is answered: a doorbell may find nobody. */
static void hello(struct chan *ch)
{
	u64 now = now_ms(), wait;

	if (ch->state != CHAN_HELLO || ch->bad_abi) {
		ch->hello_at = 0;
		return;
	}
	if (ch->hello_at && now >= ch->hello_at) {
		ch->hello_at = 0;
		ch->hello_tries++;
		introduce(ch);
		bell_ring(ch, 0);
	}
	if (!ch->hello_at) {
		wait = HELLO_FIRST_MS << (ch->hello_tries < 7 ? ch->hello_tries : 7);
		ch->hello_at = now + (wait < HELLO_LAST_MS ? wait : HELLO_LAST_MS);
	}
	timer_by(ch->host, ch->hello_at);
}

/* Do what the peer and the sockets want done. */
void chan_run(struct chan *ch)
{
	look_at_peer(ch);
	drain_heed(ch);
	if (ch->state == CHAN_UP) {
		pend_receive(ch);
		if (vmshm_overflow_seen(&ch->theirs->pend_overflow, &ch->seen_overflow))
			wake_all(ch);
		if (ctl_receive(ch) < 0) {
			break_off(ch);
		} else {
			ctl_unstick(ch);
			connect_pump(ch);
			ctl_flush(ch);
		}
	}
	hello(ch);
}

/* @ch is placed, and zero otherwise. 0, or -1 with errno. */
int chan_open(struct chan *ch)
{
	TAILQ_INIT(&ch->ends);
	TAILQ_INIT(&ch->backlog);
	TAILQ_INIT(&ch->connects);
	if (half_open(&ch->half, ch->half_size))
		return -1;
	ch->seen_presence = vmshm_word_read(ch->presence);
	ch->seen_overflow = vmshm_load(&ch->theirs->pend_overflow);
	ch->state = ch->seen_presence & 1 ? CHAN_HELLO : CHAN_ABSENT;
	vmshm_store(&ch->mine->pend_overflow, 0);
	vmshm_store(&ch->mine->heartbeat, 0);
	draw_epoch(ch);
	return 0;
}

/* Tell the peer that nobody is here any more. All ends are dead afterwards. */
void chan_close(struct chan *ch)
{
	tear_down(ch);
	ch->state = CHAN_ABSENT;
	vmshm_store(&ch->mine->state, VMSHM_SIDE_LEFT);
	bell_ring(ch, 0);
}
