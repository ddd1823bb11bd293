// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmshmctl: shows what vmshmd serves, and steers it. Here: the command line.
 */
#include "ctl.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

const char *argp_program_version = "vmshmctl " VERSION;

enum {
	OPT_SOCKET = 's', OPT_CONFIG = 'c', OPT_JSON = 'j', OPT_INTERVAL = 'i', OPT_COUNT = 'n',
	OPT_SEGMENT = 256, OPT_NAME, OPT_SIZE, OPT_CID, OPT_VECTORS, OPT_OWNER, OPT_GROUP,
	OPT_MODE, OPT_HOST, OPT_SHARED, OPT_HUGE, OPT_THP, OPT_NODE, OPT_DOMAIN, OPT_EACH, OPT_UNDO,
	OPT_TIMEOUT,
};

static const struct argp_option option_list[] = {
	{ "socket", OPT_SOCKET, "PATH", 0,
	  "The daemon's control socket (/run/vmshm/control.sock, "
	  "else /run/vmshm-control.sock)", 0 },
	{ "config", OPT_CONFIG, "FILE", 0,
	  "The configuration (the running daemon's, else " CONFIG_DEFAULT_PATH ")", 0 },
	{ "json", OPT_JSON, NULL, 0, "JSON instead of a table", 0 },
	{ "segment", OPT_SEGMENT, "NAME", 0, "kick, drain: in this segment only", 1 },
	{ "timeout", OPT_TIMEOUT, "SECONDS", 0, "drain: give up after so long", 1 },
	{ "undo", OPT_UNDO, NULL, 0, "drain: let it begin connections again", 1 },
	{ "cid", OPT_CID, "N", 0, "add member: its CID, 3 to 65534", 2 },
	{ "host", OPT_HOST, NULL, 0, "add member: a process on the host, CID 2", 2 },
	{ "name", OPT_NAME, "NAME", 0, "add: the segment's name (A-B)", 2 },
	{ "size", OPT_SIZE, "SIZE", 0, "add: of the segment, such as 256M", 2 },
	{ "vectors", OPT_VECTORS, "N", 0, "add: interrupt vectors a member", 2 },
	{ "shared", OPT_SHARED, NULL, 0, "add: three or more share it, without isolation", 2 },
	{ "huge-pages", OPT_HUGE, NULL, 0, "add: take its memory from the pool of huge pages", 2 },
	{ "thp", OPT_THP, NULL, 0, "add: expect transparent huge pages", 2 },
	{ "numa-node", OPT_NODE, "N", 0, "add: take its memory from this node", 2 },
	{ "owner", OPT_OWNER, "USER", 0, "add: who may connect", 2 },
	{ "group", OPT_GROUP, "GROUP", 0, "add: who may connect", 2 },
	{ "mode", OPT_MODE, "OCTAL", 0, "add: permissions of the sockets", 2 },
	{ "domain", OPT_DOMAIN, NULL, 0, "libvirt-xml: a whole domain, to be completed", 3 },
	{ "each", OPT_EACH, NULL, 0, "rings: each connection's", 4 },
	{ "interval", OPT_INTERVAL, "SECONDS", 0, "top: between two looks (1)", 4 },
	{ "count", OPT_COUNT, "N", 0, "top: so many looks, then end", 4 },
	{ 0 },
};

/* What each command takes: arguments at least and at most, and options of its own. */
static const struct command {
	const char *name;
	int (*run)(const struct options *o);
	int min, max;
	int options[12];
} commands[] = {
	{ "status", show_status, 0, 0, { 0 } },
	{ "members", show_members, 0, ARGS_MAX, { 0 } },
	{ "couples", show_couples, 0, ARGS_MAX, { 0 } },
	{ "rings", show_rings, 0, ARGS_MAX, { OPT_EACH } },
	{ "top", top, 0, 0, { OPT_INTERVAL, OPT_COUNT } },
	{ "add", edit_add, 2, ARGS_MAX, { OPT_CID, OPT_HOST, OPT_NAME, OPT_SIZE, OPT_VECTORS,
					  OPT_SHARED, OPT_HUGE, OPT_THP, OPT_NODE, OPT_OWNER,
					  OPT_GROUP, OPT_MODE } },
	{ "remove", edit_remove, 2, 3, { 0 } },
	{ "kick", order_kick, 1, 1, { OPT_SEGMENT } },
	{ "drain", order_drain, 1, 1, { OPT_SEGMENT, OPT_TIMEOUT, OPT_UNDO } },
	{ "reload", order_reload, 0, 0, { 0 } },
	{ "check", edit_check, 0, 0, { 0 } },
	{ "version", show_version, 0, 0, { 0 } },
	{ "libvirt-xml", machine_libvirt, 1, 1, { OPT_DOMAIN } },
	{ "qemu-args", machine_qemu, 1, 1, { 0 } },
};

struct line {
	struct options o;
	const char *command;
	int given[32];
	unsigned int nr_given;
};

static double number(struct argp_state *state, const char *name, const char *text, double min)
{
	char *end;
	double value = strtod(text, &end);

	if (*end || end == text || !(value >= min) || value > 1e6)
		argp_error(state, "--%s is '%s', expected a number from %g to 1000000", name, text,
			   min);
	return value;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;
	struct options *o = &line->o;

	if (key >= OPT_SEGMENT || key == OPT_INTERVAL || key == OPT_COUNT) {
		if (key <= OPT_TIMEOUT && line->nr_given < 32)
			line->given[line->nr_given++] = key;
	}
	switch (key) {
	case OPT_SOCKET:
		o->socket = arg;
		break;
	case OPT_CONFIG:
		o->config = arg;
		break;
	case OPT_JSON:
		o->json = true;
		break;
	case OPT_SEGMENT:
		o->segment = arg;
		break;
	case OPT_TIMEOUT:
		o->timeout = (long)number(state, "timeout", arg, 0);
		break;
	case OPT_UNDO:
		o->undo = true;
		break;
	case OPT_CID:
		o->cid = arg;
		break;
	case OPT_NAME:
		o->name = arg;
		break;
	case OPT_SIZE:
		o->size = arg;
		break;
	case OPT_VECTORS:
		o->vectors = arg;
		break;
	case OPT_HOST:
		o->host = true;
		break;
	case OPT_SHARED:
		o->shared = true;
		break;
	case OPT_HUGE:
		o->huge_pages = true;
		break;
	case OPT_THP:
		o->thp = true;
		break;
	case OPT_NODE:
		o->numa_node = arg;
		break;
	case OPT_OWNER:
		o->owner = arg;
		break;
	case OPT_GROUP:
		o->group = arg;
		break;
	case OPT_MODE:
		o->mode = arg;
		break;
	case OPT_DOMAIN:
		o->domain = true;
		break;
	case OPT_EACH:
		o->each = true;
		break;
	case OPT_INTERVAL:
		o->interval = number(state, "interval", arg, 0.05);
		break;
	case OPT_COUNT:
		o->count = (long)number(state, "count", arg, 1);
		break;
	case ARGP_KEY_ARG:
		if (!line->command)
			line->command = arg;
		else if (o->nr_args < ARGS_MAX)
			o->args[o->nr_args++] = arg;
		else
			argp_error(state, "too many arguments, expected at most %d", ARGS_MAX);
		break;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "no command is given");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const char *option_name(int key)
{
	for (const struct argp_option *o = option_list; o->name; o++)
		if (o->key == key)
			return o->name;
	return "?";
}

static bool takes(const struct command *c, int option)
{
	for (size_t i = 0; i < sizeof(c->options) / sizeof(c->options[0]); i++)
		if (c->options[i] == option)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = option_list,
		.parser = parse_option,
		.args_doc = "COMMAND [ARGUMENT...]",
		.doc =
			"See and steer vmshmd, the host daemon of AF_VMSHM.\v"
			"Commands:\n"
			"  status                      the daemon as a whole\n"
			"  members [MEMBER...]         who is connected where\n"
			"  couples [SEGMENT...]        who talks to whom\n"
			"  rings [MEMBER|SEGMENT...]   what goes in each direction\n"
			"  top                         the same, live\n"
			"  add member NAME --cid=N     a VM\n"
			"  add couple A B              a segment of two\n"
			"  add segment NAME A B...     a segment; --shared for more than two\n"
			"  remove member|segment NAME  what add has added\n"
			"  remove couple A B\n"
			"  kick MEMBER                 let go of its QEMU\n"
			"  drain MEMBER                let its connections end, wait for that\n"
			"  reload                      read the configuration again\n"
			"  check                       look for mistakes in it\n"
			"  version                     of this tool and of the daemon\n"
			"  libvirt-xml MEMBER          what its domain needs\n"
			"  qemu-args MEMBER            what its QEMU needs\n"
			"\n"
			"Exit status: 0 done, 1 the daemon or the host refuses, 2 wrong arguments,\n"
			"3 mistakes in the configuration.",
	};
	struct line line = { .o = { .timeout = -1, .interval = 1, .count = -1 } };
	const struct command *c = NULL;

	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, &line);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, line.command))
			c = &commands[i];
	if (!c)
		die(EXIT_USAGE, "'%s' is no command; see: vmshmctl --help", line.command);
	for (unsigned int i = 0; i < line.nr_given; i++)
		if (!takes(c, line.given[i]))
			die(EXIT_USAGE, "--%s is not for '%s'; see: vmshmctl --help",
			    option_name(line.given[i]), c->name);
	if (line.o.nr_args < c->min || line.o.nr_args > c->max)
		die(EXIT_USAGE, "'%s' takes %s; see: vmshmctl --help", c->name,
		    !c->max ? "no argument" : c->max == 1 ? "one argument, a member" :
		    "two arguments or more");
	return c->run(&line.o);
}
