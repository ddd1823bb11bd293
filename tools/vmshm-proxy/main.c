// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmshm-proxy: leads connections from TCP or UNIX sockets of the host to VMs, and
 * back. Here: the command line, the start and the end.
 */
#include "proxy.h"

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#define EXIT_HOST	1	/* the daemon or the host refuses */
#define EXIT_USAGE	2

#define OPEN_MS		10000

/* As libvmshm and vmshmd do it: who connects without end fills no log. */
#define SAY_LINES	20
#define SAY_USEC	10000000

const char *argp_program_version = "vmshm-proxy " VERSION;

enum { OPT_ANY = 256 };

static const struct argp_option option_list[] = {
	{ "member", 'm', "SOCKET", 0, "The host's socket of a segment, as vmshmd makes it", 0 },
	{ "listen", 'l', "ADDRESS", 0, "Where connections come from", 0 },
	{ "connect", 'c', "ADDRESS", 0, "Where those of the --listen before it go to", 0 },
	{ "max-connections", 'n', "N", 0, "At the same time (4096)", 0 },
	{ "timeout", 't', "SECONDS", 0, "For a connection to come about (10)", 0 },
	{ "verbose", 'v', NULL, 0, "Tell the end of each connection", 0 },
	{ "any-member", OPT_ANY, NULL, 0, "SOCKET may be a VM's: for tests without a VM", 0 },
	{ 0 },
};

struct options {
	struct proxy *proxy;
	const char *member;
	int flags;
};

static void say_args(const char *fmt, va_list args)
{
	char line[512];

	vsnprintf(line, sizeof(line), fmt, args);
	fprintf(stderr, "vmshm-proxy: %s\n", line);
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_args(fmt, args);
	va_end(args);
}

void say_often(struct proxy *p, const char *fmt, ...)
{
	uint64_t now = 0;
	va_list args;

	sd_event_now(p->event, CLOCK_MONOTONIC, &now);
	if (!p->window.said || now - p->window.since >= SAY_USEC) {
		if (p->window.held_back)
			say("%u more lines were held back", p->window.held_back);
		p->window.since = now;
		p->window.said = 0;
		p->window.held_back = 0;
	}
	if (p->window.said == SAY_LINES) {
		p->window.held_back++;
		return;
	}
	p->window.said++;
	va_start(args, fmt);
	say_args(fmt, args);
	va_end(args);
}

static void say_line(void *arg, const char *line)
{
	(void)arg;
	say("%s", line);
}

static unsigned int number(struct argp_state *state, const char *name, const char *text,
			   unsigned long max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || !n || n > max)
		argp_error(state, "--%s is '%s', expected a number from 1 to %lu", name, text, max);
	return (unsigned int)n;
}

static void add_address(struct argp_state *state, struct proxy *p, const char *text, bool listen)
{
	const char *name = listen ? "listen" : "connect", *wrong;
	struct forward *f = &p->forwards[p->nr_forwards];
	struct address *a = listen ? &f->from : &f->to;
	bool from_vm, to_vm;

	if (p->nr_forwards == FORWARDS_MAX)
		argp_error(state, "more than %d --listen, expected a second process",
			   FORWARDS_MAX);
	if (listen && f->from.kind)
		argp_error(state, "--listen %s has no --connect after it", f->from.text);
	if (!listen && !f->from.kind)
		argp_error(state, "--connect %s has no --listen before it", text);
	wrong = address_parse(text, listen, a);
	if (wrong)
		argp_error(state, "--%s is '%s', %s", name, text, wrong);
	if (listen)
		return;
	from_vm = f->from.kind == KIND_VMSHM;
	to_vm = f->to.kind == KIND_VMSHM;
	if (from_vm == to_vm)
		argp_error(state, "%s to %s: expected vmshm: on one side, and only there",
			   f->from.text, f->to.text);
	f->proxy = p;
	f->fd = -1;
	p->nr_forwards++;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'm':
		if (o->member)
			argp_error(state, "--member is given twice, expected a process for each");
		o->member = arg;
		break;
	case 'l':
	case 'c':
		add_address(state, o->proxy, arg, key == 'l');
		break;
	case 'n':
		o->proxy->max_links = number(state, "max-connections", arg, 1000000);
		break;
	case 't':
		o->proxy->timeout_s = number(state, "timeout", arg, 86400);
		break;
	case 'v':
		o->proxy->verbose = true;
		break;
	case OPT_ANY:
		o->flags = VMSHM_HOST_ANY_CID;
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is no option, expected none but options", arg);
		break;
	case ARGP_KEY_END:
		if (!o->member)
			argp_error(state,
				   "--member is missing, expected a socket such as %s",
				   "/run/vmshm/a-host/host.sock");
		if (o->proxy->nr_forwards < FORWARDS_MAX &&
		    o->proxy->forwards[o->proxy->nr_forwards].from.kind)
			argp_error(state, "--listen %s has no --connect after it",
				   o->proxy->forwards[o->proxy->nr_forwards].from.text);
		if (!o->proxy->nr_forwards)
			argp_error(state, "nothing to do, expected --listen and --connect");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* Two descriptors a connection at the most, while it is accepted or made. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int start(struct proxy *p)
{
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	err = sd_event_new(&p->event);
	if (err >= 0)
		err = sd_event_add_signal(p->event, NULL, SIGTERM, NULL, NULL);
	if (err >= 0)
		err = sd_event_add_signal(p->event, NULL, SIGINT, NULL, NULL);
	if (err >= 0)
		err = links_start(p);
	if (err >= 0)
		err = proxy_watch_host(p);
	if (err < 0) {
		say("can't start: %s", strerror(-err));
		return -1;
	}
	for (unsigned int i = 0; i < p->nr_forwards; i++)
		if (forward_start(&p->forwards[i]))
			return -1;
	return 0;
}

static int serve(struct proxy *p)
{
	int status = EXIT_HOST;

	if (!start(p)) {
		say("ready, CID %u", vmshm_host_cid(p->host));
		sd_notify(0, "READY=1");
		status = sd_event_loop(p->event);
		if (status < 0)
			say("the event loop failed: %s", strerror(-status));
		sd_notify(0, "STOPPING=1");
	}
	for (unsigned int i = 0; i < p->nr_forwards; i++)
		forward_stop(&p->forwards[i]);
	if (p->run)
		links_end(p);
	sd_event_source_disable_unref(p->host_io);
	sd_event_unref(p->event);
	return status < 0 ? EXIT_HOST : status;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = option_list,
		.parser = parse_option,
		.doc =
			"Leads connections from sockets of the host to AF_VMSHM in a VM, and back.\v"
			"ADDRESS is tcp:HOST:PORT, unix:/PATH, vmshm:PORT to listen at, or\n"
			"vmshm:CID:PORT to connect to. --listen and --connect may be repeated.\n"
			"SIGTERM and SIGINT end it. Exit status: 0 it ended, 1 the daemon or the\n"
			"host refused something, or the daemon let go, 2 wrong arguments.",
	};
	static struct proxy p = { .max_links = 4096, .timeout_s = 10 };
	struct options o = { .proxy = &p };
	int status;

	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	raise_limits();
	p.host = vmshm_host_open(o.member, o.flags, OPEN_MS);
	if (!p.host) {
		say("%s", vmshm_host_why());
		return EXIT_HOST;
	}
	vmshm_host_set_log(p.host, say_line, NULL);
	status = serve(&p);
	vmshm_host_close(p.host);
	return status;
}
