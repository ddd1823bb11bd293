// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who listens, on either side, and what the segment has to say.
 */
#include "proxy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define VM_BACKLOG	128
#define RETRY_USEC	1000000

static bool full(struct proxy *p)
{
	if (p->nr_links < p->max_links)
		return false;
	if (!p->paused)
		say_often(p, "%u connections: no more until one ends", p->nr_links);
	p->paused = true;
	return true;
}

/* One that waits for descriptors or memory goes on waiting: see on_retry(). */
static void listen_on(struct forward *f, bool on)
{
	if (f->io)
		sd_event_source_set_enabled(f->io, on && !f->retry ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *arg)
{
	struct forward *f = arg;

	(void)source;
	(void)usec;
	f->retry = sd_event_source_disable_unref(f->retry);
	listen_on(f, true);
	return 0;
}

static int on_client(sd_event_source *source, int listen_fd, uint32_t events, void *arg)
{
	struct forward *f = arg;
	int fd;

	(void)source;
	(void)events;
	if (full(f->proxy)) {
		listen_on(f, false);
		return 0;
	}
	fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		link_from_fd(f, fd);
		return 0;
	}
	/* Short of something: it stays in the backlog. */
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		say_often(f->proxy,
			  "%s: a connection can't be accepted: %s; trying again in a second",
			  f->from.text, strerror(errno));
		if (!f->retry &&
		    sd_event_add_time_relative(f->proxy->event, &f->retry, CLOCK_MONOTONIC,
					       RETRY_USEC, 0, on_retry, f) >= 0)
			listen_on(f, false);
	}
	return 0;
}

static void accept_vms(struct forward *f)
{
	struct vmshm_sock *vm;

	while (!full(f->proxy) && (vm = vmshm_accept(f->listener, 0)))
		link_from_vm(f, vm);
}

int forward_start(struct forward *f)
{
	int err;

	f->fd = -1;
	if (f->from.kind == KIND_VMSHM) {
		f->listener = vmshm_listen(f->proxy->host, f->from.port, VM_BACKLOG);
		if (f->listener)
			return 0;
		say("can't listen at %s: %s", f->from.text, strerror(errno));
		return -1;
	}
	f->fd = address_listen(&f->from);
	err = f->fd < 0 ? -errno : sd_event_add_io(f->proxy->event, &f->io, f->fd, EPOLLIN,
						   on_client, f);
	if (err >= 0)
		return 0;
	say("can't listen at %s: %s", f->from.text, strerror(-err));
	return -1;
}

void forward_stop(struct forward *f)
{
	f->io = sd_event_source_disable_unref(f->io);
	f->retry = sd_event_source_disable_unref(f->retry);
	if (f->fd >= 0) {
		if (f->from.kind == KIND_UNIX)
			unlink(((struct sockaddr_un *)&f->from.sa)->sun_path);
		close(f->fd);
		f->fd = -1;
	}
	vmshm_close(f->listener);
	f->listener = NULL;
}

void forward_resume(struct proxy *p)
{
	if (p->detached && !p->nr_links)
		sd_event_exit(p->event, 1);
	if (!p->paused || p->nr_links >= p->max_links)
		return;
	p->paused = false;
	for (unsigned int i = 0; i < p->nr_forwards; i++) {
		listen_on(&p->forwards[i], true);
		if (p->forwards[i].listener)
			accept_vms(&p->forwards[i]);
	}
}

/* ---- the segment ---- */

/* Nobody would tell us that a VM is gone: what is open ends by itself, then we do. */
static void detach(struct proxy *p)
{
	say("vmshmd has let go of this member: no new connections, %u go on", p->nr_links);
	p->detached = true;
	for (unsigned int i = 0; i < p->nr_forwards; i++)
		forward_stop(&p->forwards[i]);
	forward_resume(p);
}

static struct forward *forward_of(struct proxy *p, const struct vmshm_sock *listener)
{
	for (unsigned int i = 0; i < p->nr_forwards; i++)
		if (p->forwards[i].listener == listener)
			return &p->forwards[i];
	return NULL;
}

static int on_host(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct proxy *p = arg;
	struct vmshm_sock *s;

	(void)source;
	(void)fd;
	(void)events;
	vmshm_host_dispatch(p->host);
	while ((s = vmshm_host_next(p->host))) {
		struct forward *f = forward_of(p, s);

		if (f)
			accept_vms(f);
		else
			link_wake(s);
	}
	if (!p->detached && !vmshm_host_attached(p->host))
		detach(p);
	return 0;
}

int proxy_watch_host(struct proxy *p)
{
	return sd_event_add_io(p->event, &p->host_io, vmshm_host_fd(p->host), EPOLLIN, on_host, p);
}
