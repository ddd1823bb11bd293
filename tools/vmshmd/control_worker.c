// SPDX-License-Identifier: GPL-2.0-only
/*
 * A thread of the control socket: takes connections, a line at a time from
 * each, and answers it. Who does not read its answer gets no other one, who is
 * silent for long is let go, and how many there may be is limited.
 */
#include "control_worker.h"
#include "control_rcu.h"
#include "control_reply.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX	64	/* a thread */
#define SILENCE_S	60	/* without a whole line, or without reading an answer */
#define LOOK_USEC	2000000	/* how often that is looked for */

struct connection {
	struct connection *next, **link;
	struct worker *worker;
	sd_event_source *io;
	int fd;
	struct order *order;	/* waits for the main thread */
	bool dead;		/* goes when its order comes back */
	time_t active;
	char in[CONTROL_LINE];
	size_t in_len;
	char *out;		/* the answer, NULL: none */
	size_t out_len, out_sent;
};

struct worker {
	pthread_t thread;
	sd_event *event;
	sd_event_source *listener;
	int listen_fd;
	struct order_queue *orders;	/* to the main thread */
	struct order_queue answers;	/* and back */
	bool stop;
	struct connection *connections;
	unsigned int nr_connections;
	struct say_limit limit;
};

/* ---- queues ---- */

int order_queue_init(struct order_queue *queue)
{
	cds_wfcq_init(&queue->head, &queue->tail);
	queue->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return queue->bell < 0 ? -1 : 0;
}

void order_queue_end(struct order_queue *queue)
{
	struct order *order;

	while ((order = order_pop(queue)))
		free(order);
	close(queue->bell);
}

static void ring(struct order_queue *queue)
{
	const u64 one = 1;

	/* A full eventfd rings already. */
	if (write(queue->bell, &one, sizeof(one)) < 0)
		return;
}

void order_push(struct order_queue *queue, struct order *order)
{
	cds_wfcq_node_init(&order->node);
	rcu_tell_release(order);
	cds_wfcq_enqueue(&queue->head, &queue->tail, &order->node);
	ring(queue);
}

struct order *order_pop(struct order_queue *queue)
{
	struct cds_wfcq_node *node = __cds_wfcq_dequeue_nonblocking(&queue->head, &queue->tail);
	struct order *order;

	if (node == CDS_WFCQ_WOULDBLOCK) {
		ring(queue);
		return NULL;
	}
	if (!node)
		return NULL;
	order = caa_container_of(node, struct order, node);
	rcu_tell_acquire(order);
	return order;
}

/* ---- connections ---- */

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec;
}

static void let_go(struct connection *c)
{
	struct worker *w = c->worker;

	if (c->io)
		c->io = sd_event_source_disable_unref(c->io);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->dead = true;
	if (c->order)
		return;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	if (w->nr_connections-- == CONNECTIONS_MAX && w->listener)
		sd_event_source_set_enabled(w->listener, SD_EVENT_ON);
	free(c->out);
	free(c);
}

static void want(struct connection *c, uint32_t events)
{
	sd_event_source_set_io_events(c->io, events);
}

/* Returns false when the connection went. */
static bool flush(struct connection *c)
{
	while (c->out && c->out_sent < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			want(c, EPOLLOUT);
			return true;
		}
		if (n < 0) {
			let_go(c);
			return false;
		}
		c->out_sent += (size_t)n;
		c->active = now();
	}
	free(c->out);
	c->out = NULL;
	want(c, EPOLLIN);
	return true;
}

static bool answer(struct connection *c, json_t *reply)
{
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;

	json_decref(reply);
	if (!text) {
		/* Nothing can be said without memory. */
		let_go(c);
		return false;
	}
	c->out_len = strlen(text);
	text[c->out_len++] = '\n';	/* in place of the NUL */
	c->out = text;
	c->out_sent = 0;
	return flush(c);
}

static bool take_name(const json_t *request, const char *key, char name[VMSHM_NAME_LEN])
{
	const char *given = json_string_value(json_object_get(request, key));

	*name = '\0';
	if (!given || strlen(given) >= VMSHM_NAME_LEN)
		return false;
	memcpy(name, given, strlen(given) + 1);
	return true;
}

/* Gives an order to the main thread; NULL, or why not. */
static const char *give_order(struct connection *c, enum control_order what, const json_t *request)
{
	struct order *order = calloc(1, sizeof(*order));

	if (!order)
		return "out of memory";
	order->worker = c->worker;
	order->connection = c;
	order->what = what;
	if (what != CONTROL_RELOAD && !take_name(request, "member", order->member)) {
		free(order);
		return "no member is named, expected \"member\": \"NAME\"";
	}
	if (json_object_get(request, "segment") &&
	    !take_name(request, "segment", order->segment)) {
		free(order);
		return "the segment's name is no name";
	}
	c->order = order;
	want(c, 0);
	order_push(c->worker->orders, order);
	return NULL;
}

static bool obey(struct connection *c, const json_t *request)
{
	static const struct {
		const char *name;
		enum control_order what;
	} orders[] = {
		{ "reload", CONTROL_RELOAD }, { "kick", CONTROL_KICK },
		{ "drain", CONTROL_DRAIN }, { "undrain", CONTROL_UNDRAIN },
	};
	const char *command = json_string_value(json_object_get(request, "command"));

	for (size_t i = 0; command && i < sizeof(orders) / sizeof(orders[0]); i++) {
		const char *why;

		if (strcmp(command, orders[i].name))
			continue;
		why = give_order(c, orders[i].what, request);
		return why ? answer(c, reply_error(why)) : true;
	}
	return answer(c, reply_to(request));
}

/* Whole lines, until one waits for something. False when the connection went. */
static bool take_lines(struct connection *c)
{
	while (!c->out && !c->order) {
		char *end = memchr(c->in, '\n', c->in_len);
		json_error_t error;
		json_t *request;
		size_t len;
		bool here;

		if (!end) {
			if (c->in_len < sizeof(c->in))
				return true;
			if (say_may(&c->worker->limit, "control socket"))
				say("control socket: a line of more than %d bytes", CONTROL_LINE);
			let_go(c);
			return false;
		}
		len = (size_t)(end - c->in);
		request = json_loadb(c->in, len, 0, &error);
		memmove(c->in, end + 1, c->in_len - len - 1);
		c->in_len -= len + 1;
		c->active = now();
		if (json_is_object(request))
			here = obey(c, request);
		else
			here = answer(c, reply_error("expected a JSON object a line"));
		json_decref(request);
		if (!here)
			return false;
	}
	return true;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct connection *c = arg;
	ssize_t n;

	(void)source;
	if ((events & EPOLLOUT) && c->out) {
		if (flush(c))
			take_lines(c);
		return 0;
	}
	if (c->order || c->out || c->in_len == sizeof(c->in)) {
		/* Nothing is wanted of it now, so this is its end. */
		if (events & (EPOLLHUP | EPOLLERR))
			let_go(c);
		return 0;
	}
	n = recv(fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		let_go(c);
		return 0;
	}
	c->in_len += (size_t)n;
	take_lines(c);
	return 0;
}

static int on_listen(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct worker *w = arg;
	struct connection *c;

	(void)events;
	/* Another thread was quicker, or there is no descriptor left. */
	if (peer < 0) {
		if (errno == EMFILE || errno == ENFILE)
			usleep(10000);
		return 0;
	}
	c = calloc(1, sizeof(*c));
	if (!c || sd_event_add_io(w->event, &c->io, peer, EPOLLIN, on_connection, c) < 0) {
		free(c);
		close(peer);
		return 0;
	}
	c->worker = w;
	c->fd = peer;
	c->active = now();
	c->next = w->connections;
	c->link = &w->connections;
	if (c->next)
		c->next->link = &c->next;
	w->connections = c;
	if (++w->nr_connections == CONNECTIONS_MAX)
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static int on_answers(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct worker *w = arg;
	struct order *order;
	u64 count;

	(void)source;
	(void)events;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return 0;
	if (__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE))
		return sd_event_exit(w->event, 0);
	while ((order = order_pop(&w->answers))) {
		struct connection *c = order->connection;

		c->order = NULL;
		if (c->dead)
			let_go(c);
		else if (answer(c, reply_order(order->done, order->said)))
			take_lines(c);
		free(order);
	}
	return 0;
}

static int on_look(sd_event_source *source, uint64_t usec, void *arg)
{
	struct connection *c, *next;
	struct worker *w = arg;
	time_t t = now();

	(void)usec;
	for (c = w->connections; c; c = next) {
		next = c->next;
		if (!c->order && t - c->active > SILENCE_S)
			let_go(c);
	}
	sd_event_source_set_time_relative(source, LOOK_USEC);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	sd_event_loop(w->event);
	return NULL;
}

static void worker_free(struct worker *w)
{
	w->listener = sd_event_source_disable_unref(w->listener);
	while (w->connections) {
		/* It is in a queue, which goes too. */
		w->connections->order = NULL;
		let_go(w->connections);
	}
	sd_event_unref(w->event);
	order_queue_end(&w->answers);
	free(w);
}

struct worker *worker_start(int listen_fd, struct order_queue *orders)
{
	struct worker *w = calloc(1, sizeof(*w));
	sigset_t all, old;
	int err;

	if (!w)
		return NULL;
	w->orders = orders;
	w->listen_fd = listen_fd;
	if (order_queue_init(&w->answers)) {
		free(w);
		return NULL;
	}
	err = sd_event_new(&w->event);
	if (err >= 0)
		err = sd_event_add_io(w->event, &w->listener, listen_fd, EPOLLIN, on_listen, w);
	if (err >= 0)
		err = sd_event_add_io(w->event, NULL, w->answers.bell, EPOLLIN, on_answers, w);
	if (err >= 0)
		err = sd_event_add_time_relative(w->event, NULL, CLOCK_MONOTONIC, LOOK_USEC, 0,
						 on_look, w);
	if (err >= 0) {
		sigfillset(&all);
		sigdelset(&all, SIGBUS);
		sigdelset(&all, SIGSYS);
		pthread_sigmask(SIG_BLOCK, &all, &old);
		err = -pthread_create(&w->thread, NULL, work, w);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	if (err < 0) {
		worker_free(w);
		errno = -err;
		return NULL;
	}
	return w;
}

void worker_answer(struct order *order)
{
	order_push(&order->worker->answers, order);
}

void worker_stop(struct worker *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	ring(&w->answers);
	pthread_join(w->thread, NULL);
	worker_free(w);
}
