// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmshmd: gives VMs shared memory and doorbells, and tells them of each other.
 *
 *   config*.c			the configuration
 *   geometry.c			where things lie in a segment
 *   segment.c			a segment's memory, presence, giving back
 *   seat.c			a member's socket, admission, departure
 *   client.c			a connected QEMU: the ivshmem protocol
 *   keeper.c			the process in front, where there is no systemd
 *   keep.c, record.c, restore.c	what a successor of the process goes on with
 *   admission.c		whether the host could back it all
 *   access.c			who may connect to a socket
 *   live.c			whether somebody listens on one
 *   doorbell.c			eventfds, and the thread that rings them
 *   server.c			all segments, the runtime directory, reload
 *   guard.c			memory that others can take away
 *   log.c			lines to stderr
 *   sandbox.c			which system calls it may make
 *   control*.c			the control socket and metrics (control.h)
 *   steer.c			what operators do to members
 *
 * Here: the command line, signals, and the event loop. All but the doorbell
 * thread and those of the control socket runs in it.
 */
#include "config.h"
#include "control.h"
#include "doorbell.h"
#include "guard.h"
#include "keep.h"
#include "keeper.h"
#include "log.h"
#include "sandbox.h"
#include "server.h"
#include "steer.h"

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

/* Exit codes, as vmshmd(8) lists them. */
#define EXIT_HOST	1	/* the host refuses something; the log says what */
#define EXIT_USAGE	2	/* the command line */
#define EXIT_CONFIG	3	/* mistakes in the configuration */

const char *argp_program_version = "vmshmd " VERSION;

struct options {
	const char *config;
	const char *runtime_dir;
	bool check;
	bool alone;
	bool open;		/* no filter of system calls */
};

struct daemon {
	struct options options;
	sd_event *event;
	struct server *server;
	struct control_info control;
	bool leave;		/* a successor goes on: SIGTERM, where somebody keeps */
};

/* Options without a letter. */
#define OPTION_ALONE	256
#define OPTION_OPEN	257

static const struct argp_option option_list[] = {
	{ "config", 'c', "FILE", 0, "Read FILE (" CONFIG_DEFAULT_PATH ")", 0 },
	{ "runtime-dir", 'r', "DIR", 0,
	  "Put sockets below DIR, whatever the configuration says (" CONFIG_DEFAULT_DIR ")", 0 },
	{ "no-keeper", OPTION_ALONE, NULL, 0,
	  "Start no process in front that keeps what a restart needs", 0 },
	{ "no-seccomp", OPTION_OPEN, NULL, 0,
	  "Set no filter of system calls", 0 },
	{ "check", 'k', NULL, 0, "Only check the configuration, and tell all its mistakes", 0 },
	{ 0 },
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'c':
		options->config = arg;
		break;
	case 'r':
		options->runtime_dir = arg;
		break;
	case 'k':
		options->check = true;
		break;
	case OPTION_ALONE:
		options->alone = true;
		break;
	case OPTION_OPEN:
		options->open = true;
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is one argument too many", arg);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int reload(struct daemon *d)
{
	unsigned int mistakes;
	struct config *config;
	int err = -1;

	keep_tell("RELOADING=1");
	config = config_load(d->options.config, d->options.runtime_dir, &mistakes);
	if (!config)
		say("not reloaded: %u mistake%s in %s; nothing has changed", mistakes,
		    mistakes == 1 ? "" : "s", d->options.config);
	else
		err = server_reload(d->server, config);
	if (config && err < 0)
		say("not reloaded; nothing has changed");
	/* The first that is right, after a start without one. */
	if (err >= 0 && !control_serves())
		control_start(d->event, config, &d->control);
	control_reloaded(err < 0 ? NULL : config, !err);
	if (!err)
		say("reloaded %s", d->options.config);
	else if (err > 0)
		say("not reloaded as a whole: all of %s holds but for what was said",
		    d->options.config);
	config_free(config);
	keep_tell("READY=1");
	return err ? -1 : 0;
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	(void)source;
	(void)info;
	reload(arg);
	return 0;
}

/* What the control socket was told. */
static int carry_out(void *arg, enum control_order order, const char *member, const char *segment)
{
	struct daemon *d = arg;
	struct segment *segments = server_segments(d->server);

	switch (order) {
	case CONTROL_RELOAD:
		return reload(d);
	case CONTROL_KICK:
		return steer_kick(segments, member, segment);
	case CONTROL_DRAIN:
	case CONTROL_UNDRAIN:
		return steer_drain(segments, member, segment, order == CONTROL_DRAIN);
	}
	return -1;
}

static int on_term(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct daemon *d = arg;

	(void)info;
	d->leave = keep_on();
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int on_orphan_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	struct daemon *d = arg;

	if (server_idle(d->server)) {
		say("nobody is connected any more");
		return sd_event_exit(sd_event_source_get_event(source), 0);
	}
	sd_event_source_set_time(source, usec + 1000000);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* The keeper died: VMs that are connected keep what they have, then it is over. */
static int on_orphaned(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	(void)info;
	say("the process in front is gone: serving until the last VM has left");
	return sd_event_add_time_relative(sd_event_source_get_event(source), NULL, CLOCK_MONOTONIC,
					  0, 0, on_orphan_timer, arg);
}

/* A segment needs a descriptor a vector and member, and some more. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Signals become events: blocked before there is a second thread. */
static int add_signals(sd_event *event, struct daemon *d)
{
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, KEEPER_DEATH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	err = sd_event_add_signal(event, NULL, SIGTERM, on_term, d);
	if (err >= 0)
		err = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
	if (err >= 0)
		err = sd_event_add_signal(event, NULL, SIGHUP, on_reload, d);
	if (err >= 0)
		err = sd_event_add_signal(event, NULL, KEEPER_DEATH, on_orphaned, d);
	return err;
}

static int on_never(sd_event_source *source, uint64_t usec, void *arg)
{
	(void)source;
	(void)usec;
	(void)arg;
	return 0;
}

/*
 * All timers of a loop share a descriptor, which the first of them makes. Who waits
 * because there is no descriptor left needs a timer then.
 */
static int make_timers(sd_event *event)
{
	return sd_event_add_time(event, NULL, CLOCK_MONOTONIC, UINT64_MAX, 0, on_never, NULL);
}

/* Everything but the loop.  -1: it was said why. */
static int start_all(struct daemon *d, struct config *config)
{
	d->server = server_start(d->event, config);
	if (!d->server)
		return -1;
	/* Without a configuration it goes on with what was there, unseen. */
	if (server_is_configured(d->server) && control_start(d->event, config, &d->control)) {
		if (!server_goes_on(d->server))
			return -1;
		say("there is no control socket; what was served before still is, "
		    "and the next reload tries again");
	}
	if (d->options.open || sandbox_is_impossible())
		return 0;
	/* A control socket that is yet to come may come with metrics. */
	return sandbox_enter(!control_serves() || config->metrics);
}

static int serve(struct daemon *d, struct config *config)
{
	sd_event *event = NULL;
	bool started;
	int err;

	d->control = (struct control_info){
		.config_path = d->options.config, .carry_out = carry_out, .arg = d,
	};
	umask(0177);
	raise_limits();
	err = sd_event_new(&event);
	if (err >= 0)
		err = add_signals(event, d);
	if (err >= 0)
		err = make_timers(event);
	if (err >= 0)
		err = sd_event_set_watchdog(event, true);
	if (err >= 0 && (guard_start() || doorbell_start()))
		err = -errno;
	if (err < 0) {
		say("cannot start: %s", strerror(-err));
		sd_event_unref(event);
		config_free(config);
		return EXIT_HOST;
	}
	d->event = event;
	started = start_all(d, config) == 0;
	config_free(config);
	if (started) {
		say("ready");
		keep_tell("READY=1");
		err = sd_event_loop(event);
		if (err < 0)
			say("the event loop failed: %s", strerror(-err));
	}
	control_stop();
	if (started)
		keep_tell("STOPPING=1");
	else
		d->leave = keep_on();
	if (d->server && d->leave)
		server_leave(d->server);
	else if (d->server)
		server_stop(d->server);
	if (started && err >= 0)
		say(d->leave ? "ended; a successor goes on" : "ended");
	doorbell_stop();
	keep_end();
	sd_event_unref(event);
	return started && err >= 0 ? EXIT_SUCCESS : EXIT_HOST;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = option_list,
		.parser = parse_option,
		.doc =
			"The host daemon of AF_VMSHM: shared memory and doorbells for couples of VMs.\v"
			"It runs in the foreground and logs to stderr.\n"
			"SIGHUP reads the configuration again, SIGUSR2 starts the program again\n"
			"without loss, SIGTERM and SIGINT end it.\n"
			"Exit status: 0 it ended or the configuration is right, 1 the host refused\n"
			"something, 2 wrong arguments, 3 mistakes in the configuration.",
	};
	struct daemon d = { .options.config = CONFIG_DEFAULT_PATH };
	unsigned int mistakes;
	struct config *config;

	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &d.options);
	if (!d.options.check) {
		if (!d.options.alone && !getenv("NOTIFY_SOCKET"))
			return keeper_run(argv);
		if (keep_start(d.options.alone))
			return EXIT_HOST;
	}
	config = config_load(d.options.config, d.options.runtime_dir, &mistakes);
	if (!config) {
		say("%u mistake%s in %s", mistakes, mistakes == 1 ? "" : "s", d.options.config);
		if (d.options.check || !keep_next_segment(&(u32){ 0 }))
			return EXIT_CONFIG;
	}
	if (d.options.check) {
		config_warn(config);
		say("%s is right: %u segment%s, %u member%s", d.options.config, config->nr_segments,
		    config->nr_segments == 1 ? "" : "s", config->nr_members,
		    config->nr_members == 1 ? "" : "s");
		config_free(config);
		return EXIT_SUCCESS;
	}
	return serve(&d, config);
}
