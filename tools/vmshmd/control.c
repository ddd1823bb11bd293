// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control socket as a whole: see control.h.
 */
#include "control.h"
#include "access.h"
#include "control_metrics.h"
#include "control_reply.h"
#include "control_roster.h"
#include "control_worker.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#define WORKERS	2
#define BACKLOG	128

static struct {
	struct control_info info;
	char *config_path;	/* absolute */
	char *path;		/* of a socket of our own making */
	char *metrics;		/* where they are served, NULL: nowhere */
	int listen_fd;
	struct order_queue orders;
	sd_event_source *on_orders;
	struct worker *workers[WORKERS];
} control = { .listen_fd = -1, .orders.bell = -1 };

/* ---- the socket ---- */

/* systemd's, if it made one: it has its owners and mode from the unit. */
static int activated(void)
{
	char **names = NULL;
	static bool taken;
	int n, fd = -1;

	/* Its number may mean something else once it was closed. */
	if (taken)
		return -1;
	taken = true;
	n = sd_listen_fds_with_names(0, &names);
	for (int i = 0; i < n; i++) {
		if (fd < 0 && !strcmp(names[i], "control") &&
		    sd_is_socket_unix(SD_LISTEN_FDS_START + i, SOCK_STREAM, 1, NULL, 0) > 0) {
			fd = SD_LISTEN_FDS_START + i;
			/* Two threads accept: who comes second must not wait. */
			fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		}
		free(names[i]);
	}
	free(names);
	return fd;
}

static int set_access(const struct config *config)
{
	return access_set_control("control socket", control.path, &config->control);
}

/* The runtime directory is locked: what is at the path is a leftover. */
static int make_socket(const struct config *config)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;

	if (asprintf(&control.path, "%s/" CONTROL_SOCKET, config->runtime_dir) < 0)
		abort();
	if (!lstat(control.path, &st) && !S_ISSOCK(st.st_mode)) {
		say("control socket: %s is there and is no socket; remove it", control.path);
		goto forget;
	}
	if (strlen(control.path) >= sizeof(address.sun_path)) {
		say("control socket: its path %s is too long, shorten runtime_dir", control.path);
		goto forget;
	}
	unlink(control.path);
	memcpy(address.sun_path, control.path, strlen(control.path) + 1);
	control.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (control.listen_fd < 0 ||
	    bind(control.listen_fd, (struct sockaddr *)&address, sizeof(address))) {
		say("control socket: cannot make %s: %s", control.path, strerror(errno));
		goto forget;
	}
	if (set_access(config))
		return -1;
	if (listen(control.listen_fd, BACKLOG)) {
		say("control socket: cannot listen on %s: %s", control.path, strerror(errno));
		return -1;
	}
	return 0;
forget:
	free(control.path);
	control.path = NULL;
	return -1;
}

/* ---- orders ---- */

static int on_orders(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct order *order;
	u64 count;

	(void)source;
	(void)events;
	(void)arg;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return 0;
	while ((order = order_pop(&control.orders))) {
		say_copy(order->said, sizeof(order->said));
		order->done = control.info.carry_out(control.info.arg, order->what, order->member,
						     order->segment);
		say_copy(NULL, 0);
		worker_answer(order);
	}
	return 0;
}

/* ---- start and end ---- */

int control_start(struct sd_event *event, const struct config *config,
		  const struct control_info *info)
{
	int err;

	control.info = *info;
	control.config_path = realpath(info->config_path, NULL);
	reply_facts = (struct reply_facts){
		.version = VERSION,
		.config_path = control.config_path ? control.config_path : info->config_path,
		.started = time(NULL),
	};
	control.listen_fd = activated();
	if (control.listen_fd < 0 && make_socket(config))
		goto failed;
	if (order_queue_init(&control.orders)) {
		say("control socket: cannot be served: %s", strerror(errno));
		goto failed;
	}
	err = sd_event_add_io(event, &control.on_orders, control.orders.bell, EPOLLIN, on_orders,
			      NULL);
	if (err < 0) {
		say("control socket: cannot be served: %s", strerror(-err));
		goto failed;
	}
	for (int i = 0; i < WORKERS; i++) {
		control.workers[i] = worker_start(control.listen_fd, &control.orders);
		if (!control.workers[i]) {
			say("control socket: cannot be served: %s", strerror(errno));
			goto failed;
		}
	}
	if (config->metrics) {
		control.metrics = strdup(config->metrics);
		if (!control.metrics)
			abort();
		/* Who can't be measured can still be served. */
		metrics_start(config->metrics, &config->control);
	}
	return 0;
failed:
	control_stop();
	return -1;
}

bool control_serves(void)
{
	return control.listen_fd >= 0;
}

void control_reloaded(const struct config *config, bool whole)
{
	__atomic_add_fetch(whole ? &reply_facts.reloads : &reply_facts.refusals, 1,
			   __ATOMIC_RELAXED);
	if (!config)
		return;
	if (control.path)
		set_access(config);
	metrics_set_access(&config->control);
	if (!config->metrics != !control.metrics ||
	    (control.metrics && strcmp(config->metrics, control.metrics)))
		say("metrics stay where they are until the daemon is restarted");
}

void control_stop(void)
{
	struct order *order;

	metrics_stop();
	free(control.metrics);
	control.metrics = NULL;
	for (int i = 0; i < WORKERS; i++) {
		if (control.workers[i])
			worker_stop(control.workers[i]);
		control.workers[i] = NULL;
	}
	control.on_orders = sd_event_source_disable_unref(control.on_orders);
	if (control.orders.bell >= 0) {
		while ((order = order_pop(&control.orders)))
			free(order);
		order_queue_end(&control.orders);
	}
	control.orders.bell = -1;
	if (control.listen_fd >= 0)
		close(control.listen_fd);
	control.listen_fd = -1;
	if (control.path)
		unlink(control.path);
	free(control.path);
	control.path = NULL;
	free(control.config_path);
	control.config_path = NULL;
}
