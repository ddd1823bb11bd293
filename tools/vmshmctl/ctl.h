/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of vmshmctl share: the command line as it was given, asking
 * the daemon, and the commands.
 *
 *   main.c	the command line
 *   ask.c	the control socket
 *   table.c	columns and numbers for people
 *   show.c	status, members, couples, rings, version
 *   order.c	kick, drain, reload
 *   edit.c	add, remove, check: the configuration's files
 *   machine.c	libvirt-xml, qemu-args
 *   top.c	the live view
 */
#ifndef VMSHMCTL_H
#define VMSHMCTL_H

#include "config.h"

#include <jansson.h>
#include <stdbool.h>

/* Exit codes, as vmshmctl(8) lists them. */
#define EXIT_REFUSED	1	/* the daemon or the host refuses, or isn't there */
#define EXIT_USAGE	2
#define EXIT_CONFIG	3	/* mistakes in the configuration */

#define ARGS_MAX	64

struct options {
	const char *socket;	/* NULL: the default */
	const char *config;	/* NULL: the running daemon's, else the default */
	bool json;
	const char *segment;
	const char *name;
	const char *size, *cid, *vectors;
	const char *owner, *group, *mode;
	const char *numa_node;
	bool shared, huge_pages, thp;
	bool host;
	bool domain;
	bool each;
	bool undo;
	long timeout;		/* seconds, -1: none */
	double interval;	/* seconds */
	long count;		/* -1: no end */
	const char *args[ARGS_MAX];
	int nr_args;
};

/* ---- ask.c ---- */

/*
 * A connection; when there is none, NULL if @quiet, with errno as connect(2) sets it,
 * else that ends the program.
 */
struct daemon_link *link_open(const struct options *o, bool quiet);
void link_close(struct daemon_link *link);

/* How long it may take to send or to answer; a fixed time when nobody says it. */
void link_patience(struct daemon_link *link, double seconds);

/*
 * Send @request (taken over), wait for the answer. The result, to be
 * dereferenced; NULL when the daemon said no: *@why is its reason, to be freed.
 * A daemon that hangs up ends the program; link_try() returns NULL, *@why is NULL
 * then, and the link is of no use any more: link_die() says why and ends the program.
 */
json_t *link_try(struct daemon_link *link, json_t *request, char **why);
json_t *link_ask(struct daemon_link *link, json_t *request, char **why);
void link_die(const struct daemon_link *link) __attribute__((noreturn));

/* A question without arguments, on a connection of its own; ends the program if refused. */
json_t *ask(const struct options *o, const char *command);

/* What die() calls before it says anything: gives the terminal back. */
extern void (*die_first)(void);

/* Say "vmshmctl: ..." and end with @status. */
void die(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));

const char *str(const json_t *object, const char *key);
unsigned long long num(const json_t *object, const char *key);
bool yes(const json_t *object, const char *key);

/* Print with an end of line, and dereference. */
void print_json(json_t *value);

/* ---- table.c ---- */

struct table;

/* @heads: names of columns; one that begins with '>' is aligned to the right. */
struct table *table_new(const char *const *heads, unsigned int columns);
void table_add(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(struct table *t);	/* and free it */

struct text {
	char text[32];
};

struct text size_for_people(double bytes);
struct text count_for_people(double count);
struct text time_for_people(unsigned long long seconds);

/* ---- commands: each returns the exit status ---- */

int show_status(const struct options *o);
int show_members(const struct options *o);
int show_couples(const struct options *o);
int show_rings(const struct options *o);
int show_version(const struct options *o);
int order_kick(const struct options *o);
int order_drain(const struct options *o);
int order_reload(const struct options *o);
int edit_add(const struct options *o);
int edit_remove(const struct options *o);
int edit_check(const struct options *o);
int machine_libvirt(const struct options *o);
int machine_qemu(const struct options *o);
int top(const struct options *o);

/* Which configuration is meant; to be freed. */
char *edit_config_path(const struct options *o);

#endif
