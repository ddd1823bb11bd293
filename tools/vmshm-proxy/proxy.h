/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of vmshm-proxy share.
 *
 *   main.c	the command line, the start and the end
 *   address.c	what an address is, listening and connecting there
 *   forward.c	who listens, and the VM side's events
 *   link.c	one connection on each side, and the bytes between them
 *
 * One thread, one event loop (sd-event, as in vmshmd). No bytes are kept here:
 * they go straight from the socket into the ring and from the ring into the
 * socket, so that who is slow holds up who is fast, and nobody else.
 */
#ifndef VMSHM_PROXY_H
#define VMSHM_PROXY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <vmshm_host.h>

enum kind { KIND_NONE, KIND_TCP, KIND_UNIX, KIND_VMSHM };

struct address {
	enum kind kind;
	const char *text;		/* as it was given */
	struct sockaddr_storage sa;
	socklen_t len;
	unsigned int cid, port;		/* VMSHM */
};

/* From where connections come, and where to they go. */
struct forward {
	struct proxy *proxy;
	struct address from, to;
	int fd;				/* that listens, or -1 */
	struct sd_event_source *io, *retry;
	struct vmshm_sock *listener;	/* or NULL */
};

#define FORWARDS_MAX	64

TAILQ_HEAD(links, link);

struct proxy {
	struct sd_event *event;
	struct vmshm_host *host;
	struct sd_event_source *host_io;
	struct forward forwards[FORWARDS_MAX];
	unsigned int nr_forwards;
	struct links links;		/* all */
	struct links ready;		/* those that may be able to go on */
	struct sd_event_source *run;
	unsigned int nr_links, max_links;
	unsigned int timeout_s;		/* for a connection to come about */
	bool verbose;
	bool paused;			/* max_links are there */
	bool detached;			/* the daemon let go */
	struct {
		uint64_t since;		/* usec of CLOCK_MONOTONIC */
		unsigned int said, held_back;
	} window;			/* see say_often() */
};

/* "vmshm-proxy: ..." to stderr, with a newline added. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * The same for what a VM or a client can make happen without end: no more than 20
 * such lines in 10 seconds, then one that counts those that were left out.
 */
void say_often(struct proxy *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- address.c ---- */

/* What @text means; NULL, or what was expected instead. */
const char *address_parse(const char *text, bool listen, struct address *a);

/* A descriptor; -1 with errno. A stale UNIX socket is replaced. */
int address_listen(const struct address *a);

/* A descriptor whose connection may still be coming about; -1 with errno. */
int address_connect(const struct address *a);

/* ---- forward.c ---- */

/* 0, or -1 and a line said. */
int forward_start(struct forward *f);
void forward_stop(struct forward *f);

/* There are fewer links than before. */
void forward_resume(struct proxy *p);

int proxy_watch_host(struct proxy *p);

/* ---- link.c ---- */

int links_start(struct proxy *p);

/* Takes over what is there; the other one is connected to where @f leads. */
void link_from_fd(struct forward *f, int fd);
void link_from_vm(struct forward *f, struct vmshm_sock *vm);

/* The VM's side may be ready for something. */
void link_wake(struct vmshm_sock *vm);

void links_end(struct proxy *p);

#endif /* VMSHM_PROXY_H */
