// SPDX-License-Identifier: GPL-2.0-only
/*
 * A link: a connection on the VM's side, one on the other, and the bytes between
 * them. The ends of the two streams are carried over one by one, and so is a
 * reset.
 *
 * A link is looked at when one of its two sides may be ready: link_wake() and
 * on_fd() put it into proxy->ready, and run() takes each in turn, for TURN_BYTES
 * a direction at the most, so that no link holds up the others.
 */
#include "proxy.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURN_BYTES	(1 << 20)

struct link {
	TAILQ_ENTRY(link) all_node, ready_node;
	struct forward *f;
	struct vmshm_sock *vm;
	int fd;
	struct sd_event_source *io, *timeout;
	bool is_ready;			/* in proxy->ready */
	bool vm_open, fd_open;		/* connected */
	bool can_read, can_write;	/* fd: as epoll said, until EAGAIN */
	bool fd_reset;			/* as epoll said: its peer is gone, not in order */
	bool up_done, down_done;	/* fd to VM, VM to fd: its end was carried over */
	uint64_t up, down;		/* bytes */
};

/* What a turn came to. */
enum outcome { GOES_ON, HAS_MORE, IS_OVER, IS_BROKEN };

static void make_ready(struct link *l)
{
	struct proxy *p = l->f->proxy;

	if (l->is_ready)
		return;
	l->is_ready = true;
	TAILQ_INSERT_TAIL(&p->ready, l, ready_node);
	sd_event_source_set_enabled(p->run, SD_EVENT_ON);
}

void link_wake(struct vmshm_sock *vm)
{
	make_ready(vmshm_data(vm));
}

static void reset_on_close(const struct link *l)
{
	const struct linger at_once = { .l_onoff = 1 };
	const struct address *a = l->f->from.kind == KIND_VMSHM ? &l->f->to : &l->f->from;

	if (a->kind == KIND_TCP)
		setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

/* @why: what to tell, or NULL. */
static void end(struct link *l, bool reset, const char *why)
{
	struct proxy *p = l->f->proxy;

	if (why)
		say_often(p, "%s to %s: %s", l->f->from.text, l->f->to.text, why);
	else if (p->verbose)
		say("%s to %s: %s, %" PRIu64 " bytes to the VM, %" PRIu64 " from it",
		    l->f->from.text, l->f->to.text, reset ? "reset" : "ended", l->up, l->down);
	l->io = sd_event_source_disable_unref(l->io);
	l->timeout = sd_event_source_disable_unref(l->timeout);
	if (l->is_ready)
		TAILQ_REMOVE(&p->ready, l, ready_node);
	TAILQ_REMOVE(&p->links, l, all_node);
	p->nr_links--;
	if (l->fd >= 0) {
		if (reset)
			reset_on_close(l);
		close(l->fd);
	}
	if (l->vm && reset)
		vmshm_abort(l->vm);
	else
		vmshm_close(l->vm);
	free(l);
}

/* ---- bytes ---- */

/*
 * The VM takes no more. As for a process that has closed its socket: what comes
 * now can't be delivered, and who sends it is told.
 */
static enum outcome up_refused(struct link *l)
{
	char c;
	ssize_t n;

	if (errno != EPIPE)
		return IS_BROKEN;
	n = recv(l->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN) {
		l->can_read = false;
		return GOES_ON;
	}
	l->up_done = !n;
	return n ? IS_BROKEN : GOES_ON;
}

static enum outcome go_up(struct link *l)
{
	size_t done = 0;

	while (l->can_read && !l->up_done) {
		struct iovec piece[2];
		ssize_t n;
		int nr;

		if (done >= TURN_BYTES)
			return HAS_MORE;
		nr = vmshm_send_pieces(l->vm, piece);
		if (nr < 0)
			return errno == EAGAIN ? GOES_ON : up_refused(l);
		n = readv(l->fd, piece, nr);
		if (n > 0) {
			done += (size_t)n;
			l->up += (uint64_t)n;
			vmshm_send_done(l->vm, (size_t)n);
		} else if (!n) {
			vmshm_shutdown(l->vm, SHUT_WR);
			l->up_done = true;
		} else if (errno == EAGAIN) {
			l->can_read = false;
		} else if (errno != EINTR) {
			return IS_BROKEN;
		}
	}
	return GOES_ON;
}

static enum outcome go_down(struct link *l)
{
	size_t done = 0;

	while (l->can_write && !l->down_done) {
		struct iovec piece[2];
		struct msghdr msg = { .msg_iov = piece };
		ssize_t n;
		int nr;

		if (done >= TURN_BYTES)
			return HAS_MORE;
		nr = vmshm_recv_pieces(l->vm, piece);
		if (nr < 0)
			return errno == EAGAIN ? GOES_ON : IS_BROKEN;
		if (!nr) {
			shutdown(l->fd, SHUT_WR);
			l->down_done = true;
			break;
		}
		msg.msg_iovlen = (size_t)nr;
		n = sendmsg(l->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			done += (size_t)n;
			l->down += (uint64_t)n;
			vmshm_recv_done(l->vm, (size_t)n);
		} else if (errno == EAGAIN) {
			l->can_write = false;
		} else if (errno != EINTR) {
			return IS_BROKEN;
		}
	}
	return GOES_ON;
}

static enum outcome go_on(struct link *l)
{
	enum outcome up = go_up(l), down;

	if (up == IS_BROKEN)
		return up;
	/* What came before the reset is carried over as far as there is room now. */
	if (l->fd_reset && up != HAS_MORE)
		return IS_BROKEN;
	down = go_down(l);
	if (down == IS_BROKEN)
		return down;
	/* Neither does go_down() look at the VM while the descriptor takes nothing. */
	if (!l->can_write && vmshm_events(l->vm, 0) & POLLERR)
		return IS_BROKEN;
	/* All is delivered, and the VM's process wants no more either: nobody is there. */
	if (l->down_done && (l->up_done || vmshm_events(l->vm, 0) & POLLHUP))
		return IS_OVER;
	return up == HAS_MORE || down == HAS_MORE ? HAS_MORE : GOES_ON;
}

/* ---- beginning ---- */

/* Are both sides there by now? False also when the link is over. */
static bool is_open(struct link *l)
{
	int err = 0;

	if (!l->vm_open) {
		int is = vmshm_connected(l->vm);

		if (is < 0)
			err = errno;
		l->vm_open = is > 0;
	}
	if (!err && !l->fd_open && l->can_write) {
		socklen_t len = sizeof(err);

		getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &err, &len);
		l->fd_open = !err;
	}
	/* Nobody waits for the VM's answer any more. */
	if (!err && l->fd_reset && !l->vm_open)
		err = ECONNRESET;
	if (err)
		end(l, true, strerror(err));
	return !err && l->vm_open && l->fd_open;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *arg)
{
	struct link *l = arg;
	struct proxy *p = l->f->proxy;

	(void)source;
	(void)usec;
	end(l, true, strerror(ETIMEDOUT));
	forward_resume(p);
	return 0;
}

static int on_fd(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct link *l = arg;

	(void)source;
	(void)fd;
	if (events & ~(uint32_t)EPOLLOUT)
		l->can_read = true;
	if (events & ~(uint32_t)(EPOLLIN | EPOLLRDHUP))
		l->can_write = true;
	/* Before that it is the connect that failed; EPOLLHUP alone is two orderly ends. */
	if (events & EPOLLERR && l->fd_open)
		l->fd_reset = true;
	make_ready(l);
	return 0;
}

/* Owns @fd and @vm; one of them has to be connected yet. */
static void begin(struct forward *f, int fd, struct vmshm_sock *vm, bool fd_open, bool vm_open)
{
	struct proxy *p = f->proxy;
	struct link *l = calloc(1, sizeof(*l));
	int on = 1, err;

	if (!l) {
		say_often(p, "%s to %s: out of memory", f->from.text, f->to.text);
		close(fd);
		vmshm_abort(vm);
		return;
	}
	*l = (struct link){ .f = f, .fd = fd, .vm = vm, .fd_open = fd_open, .vm_open = vm_open };
	TAILQ_INSERT_TAIL(&p->links, l, all_node);
	p->nr_links++;
	vmshm_set_data(vm, l);
	if ((f->from.kind == KIND_VMSHM ? &f->to : &f->from)->kind == KIND_TCP)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	err = sd_event_add_io(p->event, &l->io, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
			      on_fd, l);
	if (err >= 0)
		err = sd_event_add_time_relative(p->event, &l->timeout, CLOCK_MONOTONIC,
						 p->timeout_s * 1000000ULL, 0, on_timeout, l);
	if (err < 0)
		end(l, true, strerror(-err));
	else
		make_ready(l);
}

void link_from_fd(struct forward *f, int fd)
{
	struct vmshm_sock *vm = vmshm_connect(f->proxy->host, f->to.cid, f->to.port, 0);
	const struct linger at_once = { .l_onoff = 1 };

	if (vm) {
		begin(f, fd, vm, true, false);
		return;
	}
	say_often(f->proxy, "%s to %s: %s", f->from.text, f->to.text, strerror(errno));
	if (f->from.kind == KIND_TCP)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

void link_from_vm(struct forward *f, struct vmshm_sock *vm)
{
	int fd = address_connect(&f->to);

	if (fd >= 0) {
		begin(f, fd, vm, false, true);
		return;
	}
	say_often(f->proxy, "%s to %s: %s", f->from.text, f->to.text, strerror(errno));
	vmshm_abort(vm);
}

/* ---- all of them ---- */

/* Those that are ready when this begins, a turn each. */
static int run(sd_event_source *source, void *arg)
{
	struct proxy *p = arg;
	struct link *last = TAILQ_LAST(&p->ready, links), *l;
	bool more = last;

	while (more && (l = TAILQ_FIRST(&p->ready))) {
		enum outcome is;

		more = l != last;
		TAILQ_REMOVE(&p->ready, l, ready_node);
		l->is_ready = false;
		if (!is_open(l))
			continue;
		l->timeout = sd_event_source_disable_unref(l->timeout);
		is = go_on(l);
		if (is == HAS_MORE)
			make_ready(l);
		else if (is != GOES_ON)
			end(l, is == IS_BROKEN, NULL);
	}
	if (TAILQ_EMPTY(&p->ready))
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	forward_resume(p);
	return 0;
}

int links_start(struct proxy *p)
{
	int err;

	TAILQ_INIT(&p->links);
	TAILQ_INIT(&p->ready);
	err = sd_event_add_defer(p->event, &p->run, run, p);
	return err < 0 ? err : sd_event_source_set_enabled(p->run, SD_EVENT_OFF);
}

void links_end(struct proxy *p)
{
	struct link *l;

	while ((l = TAILQ_FIRST(&p->links)))
		end(l, true, NULL);
	p->run = sd_event_source_disable_unref(p->run);
}
