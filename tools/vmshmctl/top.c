// SPDX-License-Identifier: GPL-2.0-only
/*
 * A live view of what goes in each direction of each couple, busiest first. On
 * a terminal it stays until 'q'; into a file or pipe each look is a table.
 */
#include "ctl.h"

#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Counters of which the rate is shown, in the order of the columns. */
static const char *const counters[] = {
	"tx_bytes", "tx_msgs", "doorbells_sent", "doorbells_suppressed", "ring_full",
};

#define LOOK_S	5	/* an answer's time on a terminal, where 'q' waits for it */

#define NR_COUNTERS	(sizeof(counters) / sizeof(counters[0]))

static const char *const heads[] = { "SEGMENT", "FROM", "TO", ">BYTES/s*", ">MESSAGES/s*",
	">DOORBELLS/s*", ">SPARED/s*", ">FULL/s*", ">CONNECTIONS*" };

#define NR_HEADS	(sizeof(heads) / sizeof(heads[0]))

struct direction {
	char segment[VMSHM_NAME_LEN], from[VMSHM_NAME_LEN], to[VMSHM_NAME_LEN];
	unsigned long long count[NR_COUNTERS], connections;
	double rate[NR_COUNTERS];
};

struct look {
	double when;		/* seconds */
	size_t nr;
	struct direction *directions;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * A connection for each look: the daemon lets go of who is silent for long, and
 * may be restarted meanwhile. No answer ends the program, or is false if @patient.
 */
static bool take_look(const struct options *o, bool patient, struct look *look)
{
	struct daemon_link *link = link_open(o, patient);
	json_t *list, *r;
	char *why;
	size_t i;

	if (!link)
		return false;
	if (patient)
		link_patience(link, LOOK_S);
	list = link_try(link, json_pack("{ss}", "command", "rings"), &why);
	if (!list && !patient && !why)
		link_die(link);
	link_close(link);
	if (!list && !patient)
		die(EXIT_REFUSED, "%s", why);
	free(why);
	if (!list)
		return false;
	*look = (struct look){ .when = now() };
	look->directions = calloc(json_array_size(list) + 1, sizeof(*look->directions));
	if (!look->directions)
		abort();
	json_array_foreach(list, i, r) {
		const json_t *says = json_object_get(r, "guest_says");
		struct direction *d = &look->directions[look->nr++];

		snprintf(d->segment, sizeof(d->segment), "%s", str(r, "segment"));
		snprintf(d->from, sizeof(d->from), "%s", str(r, "from"));
		snprintf(d->to, sizeof(d->to), "%s", str(r, "to"));
		d->connections = num(says, "connections");
		for (size_t k = 0; k < NR_COUNTERS; k++)
			d->count[k] = num(says, counters[k]);
	}
	json_decref(list);
	return true;
}

static int same_direction(const void *one, const void *other)
{
	const struct direction *a = one, *b = other;
	int order = strcmp(a->segment, b->segment);

	if (!order)
		order = strcmp(a->from, b->from);
	return order ? order : strcmp(a->to, b->to);
}

static int busier(const void *one, const void *other)
{
	const struct direction *a = one, *b = other;

	if (a->rate[0] != b->rate[0])
		return a->rate[0] < b->rate[0] ? 1 : -1;
	return same_direction(one, other);
}

/* Rates since @before; a counter that went back began anew. */
static void compare(struct look *look, struct look *before)
{
	qsort(before->directions, before->nr, sizeof(*before->directions), same_direction);
	for (size_t i = 0; i < look->nr; i++) {
		struct direction *d = &look->directions[i];
		const struct direction *was = bsearch(d, before->directions, before->nr,
						      sizeof(*d), same_direction);

		for (size_t k = 0; was && k < NR_COUNTERS; k++)
			if (d->count[k] >= was->count[k])
				d->rate[k] = (double)(d->count[k] - was->count[k]) /
					     (look->when - before->when);
	}
	qsort(look->directions, look->nr, sizeof(*look->directions), busier);
	free(before->directions);
}

static void print_table(const struct look *look)
{
	struct table *t = table_new(heads, NR_HEADS);

	for (size_t i = 0; i < look->nr; i++) {
		const struct direction *d = &look->directions[i];

		table_add(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%llu", d->segment, d->from, d->to,
			  size_for_people(d->rate[0]).text, count_for_people(d->rate[1]).text,
			  count_for_people(d->rate[2]).text, count_for_people(d->rate[3]).text,
			  count_for_people(d->rate[4]).text, d->connections);
	}
	table_print(t);
	puts("* the guests' word\n");
	fflush(stdout);
}

static void print_json_look(const struct look *look)
{
	json_t *list = json_array();

	for (size_t i = 0; i < look->nr; i++) {
		const struct direction *d = &look->directions[i];
		json_t *says = json_pack("{sI}", "connections", (json_int_t)d->connections);

		for (size_t k = 0; k < NR_COUNTERS; k++) {
			char name[64];

			snprintf(name, sizeof(name), "%s_per_second", counters[k]);
			json_object_set_new(says, name, json_real(d->rate[k]));
		}
		json_array_append_new(list, json_pack("{ss ss ss so}", "segment", d->segment,
						      "from", d->from, "to", d->to, "guest_says",
						      says));
	}
	print_json(list);
}

/* ---- on a terminal ---- */

/* @silent: for so many seconds the daemon has not answered, and this look is old. */
static void draw(const struct look *look, const struct options *o, double silent)
{
	int rows, columns, y = 3;
	double total = 0;
	char line[512];

	getmaxyx(stdscr, rows, columns);
	erase();
	for (size_t i = 0; i < look->nr; i++)
		total += look->directions[i].rate[0];
	snprintf(line, sizeof(line),
		 "vmshm: %s/s in %zu directions, every %g s; * the guests' word; q ends",
		 size_for_people(total).text, look->nr, o->interval);
	mvaddnstr(0, 0, line, columns);
	if (silent > 0) {
		snprintf(line, sizeof(line),
			 "vmshmd has not answered for %.0f s; this is from before", silent);
		mvaddnstr(1, 0, line, columns);
	}
	snprintf(line, sizeof(line), "%-24s %-16s %-16s %10s %12s %12s %10s %8s %13s", "SEGMENT",
		 "FROM", "TO", "BYTES/s*", "MESSAGES/s*", "DOORBELLS/s*", "SPARED/s*", "FULL/s*",
		 "CONNECTIONS*");
	attron(A_REVERSE);
	mvaddnstr(2, 0, line, columns);
	attroff(A_REVERSE);
	for (size_t i = 0; i < look->nr && y < rows; i++, y++) {
		const struct direction *d = &look->directions[i];

		snprintf(line, sizeof(line),
			 "%-24.24s %-16.16s %-16.16s %10s %12s %12s %10s %8s %13llu",
			 d->segment, d->from, d->to, size_for_people(d->rate[0]).text,
			 count_for_people(d->rate[1]).text, count_for_people(d->rate[2]).text,
			 count_for_people(d->rate[3]).text, count_for_people(d->rate[4]).text,
			 d->connections);
		mvaddnstr(y, 0, line, columns);
	}
	refresh();
}

static void leave_screen(void)
{
	if (!isendwin())
		endwin();
}

/* Waits for the next look; false: the user has seen enough. */
static bool wait_on_terminal(double seconds)
{
	double end = now() + seconds;

	while (now() < end) {
		int key;

		timeout((int)((end - now()) * 1000) + 1);
		key = getch();
		if (key == 'q' || key == 'Q')
			return false;
		if (key == KEY_RESIZE)
			return true;
	}
	return true;
}

int top(const struct options *o)
{
	bool screen = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && !o->json && o->count < 0;
	struct look before, look;
	bool more = true;

	take_look(o, false, &before);
	if (screen) {
		setlocale(LC_ALL, "");
		if (!initscr())
			die(EXIT_REFUSED, "this terminal cannot be used; see --count");
		atexit(leave_screen);
		die_first = leave_screen;
		cbreak();
		noecho();
		keypad(stdscr, true);
		curs_set(0);
		draw(&before, o, 0);
	}
	for (long n = 0; more && (o->count < 0 || n < o->count); n++) {
		if (screen)
			more = wait_on_terminal(o->interval);
		else
			usleep((useconds_t)(o->interval * 1e6));
		if (!more)
			break;
		if (!take_look(o, screen, &look)) {
			draw(&before, o, now() - before.when);
			continue;
		}
		compare(&look, &before);
		if (screen)
			draw(&look, o, 0);
		else if (o->json)
			print_json_look(&look);
		else
			print_table(&look);
		before = look;
	}
	free(before.directions);
	return EXIT_SUCCESS;
}
