// SPDX-License-Identifier: GPL-2.0-only
/* vmshmss: shows AF_VMSHM sockets; options and which states they mean. See vmshmss(8). */
#include <argp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmshmss.h"

#define STATE(name)	(1u << VMSHM_STATE_##name)

const char *argp_program_version = "vmshmss " VERSION;

static const struct argp_option argp_options[] = {
	{ "all", 'a', NULL, 0, "all sockets: also those that listen or are not connected", 0 },
	{ "listening", 'l', NULL, 0, "only sockets that listen", 0 },
	{ "numeric", 'n', NULL, 0, "CIDs as numbers, not \"local\" and \"host\"", 0 },
	{ "processes", 'p', NULL, 0, "the processes that have the socket open", 0 },
	{ "extended", 'e', NULL, 0, "user, inode, cookie, and the socket's options", 0 },
	{ "info", 'i', NULL, 0, "ring sizes and counters", 0 },
	{ "no-header", 'H', NULL, 0, "no line with the names of the columns", 0 },
	{ "json", 'j', NULL, 0, "one JSON object with everything (processes with -p)", 0 },
	{ 0 }
};

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	fputs("vmshmss: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'a':
		o->all = true;
		break;
	case 'l':
		o->listening = true;
		break;
	case 'n':
		o->numeric = true;
		break;
	case 'p':
		o->processes = true;
		break;
	case 'e':
		o->extended = true;
		break;
	case 'i':
		o->info = true;
		break;
	case 'H':
		o->no_header = true;
		break;
	case 'j':
		o->json = true;
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'? there are options only", arg);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Shows the AF_VMSHM sockets of this network namespace; by default those "
		       "that are connected or on their way to it or from it.",
	};
	unsigned int states = STATE(CONNECTING) | STATE(CONNECTED) | STATE(CLOSING) | STATE(RESET);
	struct options o = { 0 };
	struct entries entries;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (o.all)
		states = ~0u;
	else if (o.listening)
		states = STATE(LISTEN);
	entries = ask_kernel(states);
	if (o.processes)
		find_users();
	if (o.json)
		print_json(&entries, &o);
	else
		print_text(&entries, &o);
	if (fflush(stdout) || ferror(stdout))
		die("the output cannot be written");
	free(entries.entry);
	return 0;
}
