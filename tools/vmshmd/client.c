// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a QEMU is sent, in this order:
 *
 *   0					the version of the protocol
 *   its ID
 *   ID of each other member, with an eventfd for each vector
 *   -1, with the memory
 *   its ID, with its own eventfd for each vector
 *
 * QEMU 7.2 waits for everything up to the memory before the VM starts, so a
 * guest can ring all members from its first instruction; its own eventfds
 * before the memory would crash it. All members' eventfds are sent, connected
 * or not: they exist as long as the segment, so nothing has to be announced
 * later. Disconnections are never announced: QEMU would free what a member
 * that returns needs.
 *
 * Messages are made when the socket has room for them, so a client that does
 * not read costs no memory. Its send buffer is small, which limits the
 * descriptors in flight: the kernel counts those a user, over all clients, and
 * who leaves them unread for five seconds is dropped.
 */
#include "client.h"
#include "seat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#define PROTOCOL_VERSION	0
#define MEMORY_MESSAGE		(-1)

/* About twenty messages: each takes near a kilobyte in the kernel. */
#define SEND_BUFFER	8192

#define RETRY_USEC	100000

/* How long a client may leave its buffer full. */
#define UNREAD_USEC	5000000

struct client {
	struct seat *seat;
	int fd;
	sd_event_source *io;
	sd_event_source *retry;
	sd_event_source *unread;	/* runs while the buffer is full */
	struct say_limit say_limit;
};

/* Message number @n: false when there is none. *@fd is -1 when none goes with it. */
static bool message(const struct seat *seat, u32 n, int64_t *value, int *fd)
{
	const struct segment *s = seat->segment;
	u32 others = (s->nr_seats - 1) * s->vectors;

	*fd = -1;
	*value = PROTOCOL_VERSION;
	if (n == 0)
		return true;
	*value = seat->ivshmem_id;
	if (n == 1)
		return true;
	n -= 2;
	if (n < others) {
		const struct seat *other = &s->seats[n / s->vectors];

		if (other >= seat)
			other++;
		*value = other->ivshmem_id;
		*fd = other->bell->fds[n % s->vectors];
		return true;
	}
	n -= others;
	if (n == 0) {
		*value = MEMORY_MESSAGE;
		*fd = s->memfd;
		return true;
	}
	*fd = n <= s->vectors ? seat->bell->fds[n - 1] : -1;
	return n <= s->vectors;
}

/* 0, or -1 with errno. */
static int send_message(int socket, struct mmsghdr *sent, int64_t value, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .space = "" };
	struct iovec iov = { &value, sizeof(value) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	sent->msg_hdr = msg;
	/* It writes @sent->msg_len as it sends: see record.h. */
	return sendmmsg(socket, sent, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *arg)
{
	struct client *client = arg;

	(void)source;
	(void)usec;
	client->retry = sd_event_source_disable_unref(client->retry);
	client_start(client);
	return 0;
}

static int on_unread(sd_event_source *source, uint64_t usec, void *arg)
{
	struct client *client = arg;
	char why[96];

	(void)source;
	(void)usec;
	snprintf(why, sizeof(why), "dropped: it has not read message %u and those before for %d s",
		 record_sent(client->seat->kept), UNREAD_USEC / 1000000);
	seat_client_gone(client->seat, why);
	return 0;
}

/* It has to read now; without a timer it may take as long as it likes. */
static void wait_for_room(struct client *client)
{
	sd_event_source_set_io_events(client->io, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
	if (!client->unread)
		sd_event_add_time_relative(client_event(client), &client->unread, CLOCK_MONOTONIC,
					   UNREAD_USEC, 0, on_unread, client);
}

/* There is room: what has to be waited for now is not the client's doing. */
static void stop_unread(struct client *client)
{
	int err = errno;

	client->unread = sd_event_source_disable_unref(client->unread);
	errno = err;
}

void client_start(struct client *client)
{
	struct seat *seat = client->seat;
	char why[128];
	int64_t value;
	int fd;

	while (message(seat, record_sent(seat->kept), &value, &fd)) {
		if (!send_message(client->fd, record_send(seat->kept), value, fd)) {
			stop_unread(client);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN) {
			wait_for_room(client);
			return;
		}
		/* Too many descriptors in flight, or no memory: that passes. */
		if (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM) {
			if (say_may(&client->say_limit, seat->name))
				say("segment %s: member %s: sending waits: %s", seat->segment->name,
				    seat->name, strerror(errno));
			stop_unread(client);
			sd_event_source_set_io_events(client->io, EPOLLIN | EPOLLRDHUP);
			if (sd_event_add_time_relative(client_event(client), &client->retry,
						       CLOCK_MONOTONIC, RETRY_USEC, 0, on_retry,
						       client) >= 0)
				return;
		}
		snprintf(why, sizeof(why), "gone while message %u was sent: %s",
			 record_sent(seat->kept), strerror(errno));
		seat_client_gone(seat, why);
		return;
	}
	sd_event_source_set_io_events(client->io, EPOLLIN | EPOLLRDHUP);
}

bool client_check(struct client *client)
{
	char rubbish[256];
	ssize_t n = recv(client->fd, rubbish, sizeof(rubbish), MSG_DONTWAIT);
	char why[128];

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0)
		snprintf(why, sizeof(why),
			 "dropped: it sent %zd bytes, and an ivshmem client sends none", n);
	else
		snprintf(why, sizeof(why), "gone: it closed its connection%s%s", n ? ": " : "",
			 n ? strerror(errno) : "");
	seat_client_gone(client->seat, why);
	return true;
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct client *client = arg;

	(void)source;
	(void)fd;
	if ((events & ~(uint32_t)EPOLLOUT) && client_check(client))
		return 0;
	if ((events & EPOLLOUT) && !client->retry)
		client_start(client);
	return 0;
}

struct client *client_new(struct seat *seat, sd_event *event, int fd)
{
	struct client *client = calloc(1, sizeof(*client));
	int size = SEND_BUFFER;
	int err;

	if (!client)
		return NULL;
	client->seat = seat;
	client->fd = fd;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	err = sd_event_add_io(event, &client->io, fd, EPOLLIN | EPOLLRDHUP, on_client, client);
	if (err < 0) {
		free(client);
		errno = -err;
		return NULL;
	}
	return client;
}

sd_event *client_event(const struct client *client)
{
	return sd_event_source_get_event(client->io);
}

void client_free(struct client *client)
{
	sd_event_source_disable_unref(client->io);
	sd_event_source_disable_unref(client->retry);
	sd_event_source_disable_unref(client->unread);
	close(client->fd);
	free(client);
}
