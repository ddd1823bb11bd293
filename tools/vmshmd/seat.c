// SPDX-License-Identifier: GPL-2.0-only
/*
 * Listening, admission and departure for one member of one segment: see
 * seat.h.
 */
#include "seat.h"
#include "access.h"
#include "client.h"
#include "control_roster.h"
#include "keep.h"
#include "live.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#define BACKLOG		8
#define RETRY_USEC	1000000

static int on_connect(struct sd_event_source *source, int fd, uint32_t events, void *arg);

static bool may_say(struct seat *seat)
{
	return say_may(&seat->say_limit, seat->bell->label);
}

/* ---- the socket ---- */

/* Take away what a daemon left that is gone; anything else is not ours. */
static int clear_path(const struct seat *seat)
{
	struct stat st;

	if (lstat(seat->path, &st)) {
		if (errno == ENOENT)
			return 0;
		say("%s: %s: %s", seat->bell->label, seat->path, strerror(errno));
		return -1;
	}
	if (!S_ISSOCK(st.st_mode)) {
		say("%s: %s is there and is no socket; remove it", seat->bell->label, seat->path);
		return -1;
	}
	if (is_live(seat->path)) {
		say("%s: another process listens on %s; end it first", seat->bell->label,
		    seat->path);
		return -1;
	}
	if (unlink(seat->path)) {
		say("%s: the stale socket %s cannot be removed: %s", seat->bell->label, seat->path,
		    strerror(errno));
		return -1;
	}
	return 0;
}

int seat_set_access(struct seat *seat, struct access access)
{
	if (access_set(seat->path, &access)) {
		say("%s: %s cannot be given to user %d, group %d with mode %04o: %s",
		    seat->bell->label, seat->path, (int)access.uid, (int)access.gid, access.mode,
		    strerror(errno));
		return -1;
	}
	seat->access = access;
	seat->kept->uid = access.uid;
	seat->kept->gid = access.gid;
	seat->kept->mode = access.mode;
	return 0;
}

static bool set_path(struct seat *seat, const char *runtime_dir)
{
	if (asprintf(&seat->path, "%s/%s/%s" CONFIG_SOCKET_SUFFIX, runtime_dir,
		     seat->segment->name, seat->name) >= 0)
		return true;
	seat->path = NULL;
	say("%s: out of memory", seat->bell->label);
	return false;
}

static int start_listening(struct seat *seat, sd_event *event)
{
	int err = listen(seat->listen_fd, BACKLOG) ? -errno :
		  sd_event_add_io(event, &seat->listener, seat->listen_fd, EPOLLIN, on_connect,
				  seat);

	if (err >= 0)
		return 0;
	say("%s: cannot listen on %s: %s", seat->bell->label, seat->path, strerror(-err));
	return -1;
}

/* main() set a umask with which nobody else can connect before the mode is set. */
int seat_open(struct seat *seat, sd_event *event, const char *runtime_dir, struct access access)
{
	struct sockaddr_un address;

	if (!set_path(seat, runtime_dir))
		return -1;
	if (clear_path(seat)) {
		free(seat->path);
		seat->path = NULL;
		return -1;
	}
	address = unix_address(seat->path);
	seat->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (seat->listen_fd < 0 ||
	    bind(seat->listen_fd, (struct sockaddr *)&address, sizeof(address))) {
		say("%s: cannot make the socket %s: %s", seat->bell->label, seat->path,
		    strerror(errno));
		free(seat->path);
		seat->path = NULL;
		seat_close(seat);
		return -1;
	}
	if (seat_set_access(seat, access) || start_listening(seat, event)) {
		seat_close(seat);
		return -1;
	}
	return 0;
}

static void let_go(struct seat *seat)
{
	seat->listener = sd_event_source_disable_unref(seat->listener);
	seat->retry = sd_event_source_disable_unref(seat->retry);
	if (seat->listen_fd >= 0)
		close(seat->listen_fd);
	seat->listen_fd = -1;
}

void seat_close(struct seat *seat)
{
	let_go(seat);
	if (seat->path)
		unlink(seat->path);
	free(seat->path);
	seat->path = NULL;
}

void seat_leave(struct seat *seat)
{
	let_go(seat);
	free(seat->path);
	seat->path = NULL;
	seat_abandon(seat);
}

/* ---- admission ---- */

static void listen_on(struct seat *seat, bool on)
{
	if (seat->listener)
		sd_event_source_set_enabled(seat->listener, on ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *arg)
{
	struct seat *seat = arg;

	(void)source;
	(void)usec;
	seat->retry = sd_event_source_disable_unref(seat->retry);
	if (!seat->wiping)
		listen_on(seat, true);
	return 0;
}

/* Short of something: leave the client in the backlog and look again later. */
static void wait_a_while(struct seat *seat, const char *what, int err)
{
	if (may_say(seat))
		say("%s: %s: %s; trying again in a second", seat->bell->label, what, strerror(err));
	if (!seat->retry &&
	    sd_event_add_time_relative(sd_event_source_get_event(seat->listener), &seat->retry,
				       CLOCK_MONOTONIC, RETRY_USEC, 0, on_retry, seat) >= 0)
		listen_on(seat, false);
}

static struct keep_name client_name(const struct seat *seat)
{
	return keep_name('c', seat->segment->keep_id, seat->index);
}

static void admit(struct seat *seat, int fd, const struct ucred *who)
{
	/* Before anything else: what a successor does not get, QEMU sees as our end. */
	if (keep_add(fd, client_name(seat)) && may_say(seat))
		say("%s: process %d is served, but not beyond a restart: %s", seat->bell->label,
		    who->pid, strerror(errno));
	seat->client = client_new(seat, sd_event_source_get_event(seat->listener), fd);
	if (!seat->client) {
		if (may_say(seat))
			say("%s: process %d cannot be served: %s", seat->bell->label, who->pid,
			    strerror(errno));
		keep_drop(client_name(seat));
		close(fd);
		return;
	}
	roster_show_client(seat, who->pid, who->uid);
	segment_set_presence(seat, true);
	if (may_say(seat))
		say("%s: connected: process %d, user %u, presence %" PRIu64, seat->bell->label,
		    who->pid, who->uid, seat->presence);
	client_start(seat->client);
}

static int on_connect(sd_event_source *source, int listen_fd, uint32_t events, void *arg)
{
	struct ucred who = { .pid = 0 };
	socklen_t len = sizeof(who);
	struct seat *seat = arg;
	int fd;

	(void)source;
	(void)events;
	/* The one before may be gone without our having heard of it yet. */
	if (seat->client && client_check(seat->client))
		return 0;
	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			wait_a_while(seat, "a connection cannot be accepted", errno);
		return 0;
	}
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
	if (!seat->client) {
		admit(seat, fd, &who);
		return 0;
	}
	roster_show_refusal(seat);
	if (may_say(seat))
		say("%s: refused: process %d, user %u, while another is connected",
		    seat->bell->label, who.pid, who.uid);
	close(fd);
	return 0;
}

/* ---- departure ---- */

static void free_again(struct seat *seat)
{
	seat->wiping = sd_event_source_disable_unref(seat->wiping);
	segment_set_presence(seat, false);
	record_reset(seat->kept);
	record_store(seat->kept->wiping, 0);
	if (may_say(seat))
		say("%s: its memory is given back, presence %" PRIu64, seat->bell->label,
		    seat->presence);
	if (!seat->retry)
		listen_on(seat, true);
}

static int on_wipe(sd_event_source *source, void *arg)
{
	(void)source;
	if (!segment_wipe_some(arg))
		free_again(arg);
	return 0;
}

static void give_back(struct seat *seat, sd_event *event)
{
	int err;

	listen_on(seat, false);
	/* In small steps between other events; at once where that can't be. */
	err = sd_event_add_defer(event, &seat->wiping, on_wipe, seat);
	if (err >= 0)
		err = sd_event_source_set_enabled(seat->wiping, SD_EVENT_ON);
	if (err < 0) {
		while (segment_wipe_some(seat))
			;
		free_again(seat);
	}
}

void seat_client_gone(struct seat *seat, const char *why)
{
	sd_event *event = client_event(seat->client);

	if (may_say(seat))
		say("%s: %s", seat->bell->label, why);
	record_store(seat->kept->wiping, 1);
	keep_drop(client_name(seat));
	client_free(seat->client);
	seat->client = NULL;
	give_back(seat, event);
}

/*
 * A client whose socket is there and whose presence is not odd yet came right
 * before the end of the process before; one that is present and has no socket
 * had gone.
 */
static void resume_client(struct seat *seat, sd_event *event, int fd)
{
	struct ucred who = { .pid = 0 };
	socklen_t len = sizeof(who);

	if (fd >= 0 && !seat->kept->wiping) {
		seat->client = client_new(seat, event, fd);
		if (seat->client) {
			getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
			roster_show_client(seat, who.pid, who.uid);
			segment_set_presence(seat, true);
			client_start(seat->client);
			return;
		}
		say("%s: its client cannot be taken over: %s", seat->bell->label, strerror(errno));
	}
	if (fd >= 0) {
		keep_drop(client_name(seat));
		close(fd);
	}
	if (fd >= 0 || seat->kept->wiping || seat->presence & 1) {
		record_store(seat->kept->wiping, 1);
		give_back(seat, event);
	}
}

int seat_resume(struct seat *seat, sd_event *event, const char *runtime_dir)
{
	const struct record_seat *kept = seat->kept;
	const struct access access = { kept->uid, kept->gid, kept->mode };
	int listen_fd = keep_take(keep_name('l', seat->segment->keep_id, seat->index));
	int client_fd = keep_take(client_name(seat));
	struct stat st;
	int err;

	if (!set_path(seat, runtime_dir)) {
		err = -1;
	} else if (listen_fd >= 0 && !lstat(seat->path, &st) && S_ISSOCK(st.st_mode)) {
		seat->listen_fd = listen_fd;
		seat->access = access;
		err = start_listening(seat, event);
	} else {
		/* Somebody removed it: nobody can connect to it any more. */
		if (listen_fd >= 0)
			close(listen_fd);
		keep_drop(keep_name('l', seat->segment->keep_id, seat->index));
		free(seat->path);
		err = seat_open(seat, event, runtime_dir, access) ||
		      keep_add(seat->listen_fd,
			       keep_name('l', seat->segment->keep_id, seat->index));
	}
	resume_client(seat, event, client_fd);
	return err;
}

void seat_evict(struct seat *seat)
{
	bool was_here = seat->client || seat->wiping;

	seat_close(seat);
	seat_abandon(seat);
	if (!was_here)
		return;
	segment_set_presence(seat, false);
	say("%s: let go, presence %" PRIu64
	    "; its QEMU keeps the memory until the device is unplugged",
	    seat->bell->label, seat->presence);
}

void seat_abandon(struct seat *seat)
{
	seat->wiping = sd_event_source_disable_unref(seat->wiping);
	if (seat->client)
		client_free(seat->client);
	seat->client = NULL;
}
