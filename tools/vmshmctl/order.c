// SPDX-License-Identifier: GPL-2.0-only
/*
 * Orders to the daemon: reload, kick, drain. What kick can't do is said where
 * it is used.
 */
#include "ctl.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_NS	300000000
#define AWAY_S	30	/* a daemon that is restarted is back by then */

/* Gives an order about a member; the result, or the program ends. */
static json_t *order(struct daemon_link *link, const struct options *o, const char *command)
{
	json_t *request = json_pack("{ss}", "command", command), *result;
	char *why;

	if (o->nr_args)
		json_object_set_new(request, "member", json_string(o->args[0]));
	if (o->segment)
		json_object_set_new(request, "segment", json_string(o->segment));
	result = link_ask(link, request, &why);
	if (!result)
		die(EXIT_REFUSED, "%s", why);
	return result;
}

int order_reload(const struct options *o)
{
	struct daemon_link *link = link_open(o, false);
	json_t *result = order(link, o, "reload");

	link_close(link);
	if (o->json) {
		print_json(result);
		return EXIT_SUCCESS;
	}
	puts(str(result, "said"));
	json_decref(result);
	return EXIT_SUCCESS;
}

int order_kick(const struct options *o)
{
	struct daemon_link *link = link_open(o, false);
	json_t *result = order(link, o, "kick");
	unsigned long long n = num(result, "seats");

	link_close(link);
	if (o->json) {
		print_json(result);
		return EXIT_SUCCESS;
	}
	json_decref(result);
	if (!n) {
		printf("%s is not connected\n", o->args[0]);
		return EXIT_SUCCESS;
	}
	printf("%s: let go in %llu segment%s; its connections are ended by its peers\n", o->args[0],
	       n, n == 1 ? "" : "s");
	puts("Not revoked: its QEMU has the memory mapped and can ring doorbells until\n"
	     "device_del or its exit.  To keep it out, unplug its devices (device_del) or end\n"
	     "its QEMU, and remove the member or its couples.");
	return EXIT_SUCCESS;
}

/* ---- drain ---- */

struct progress {
	unsigned long long left;	/* connections */
	unsigned int waiting;		/* sides that have not answered */
	unsigned int mute;		/* sides whose module does not know of this */
	char text[512];
};

static void look_at(const json_t *couple, const json_t *mine, const json_t *theirs,
		    struct progress *p)
{
	const json_t *says[2] = {
		json_object_get(mine, "guest_says"), json_object_get(theirs, "guest_says"),
	};
	unsigned long long left = 0;
	size_t len = strlen(p->text);

	/* Who is not there has no connections, and none with others. */
	if (!yes(mine, "connected") || !yes(theirs, "connected"))
		return;
	for (int i = 0; i < 2; i++) {
		if (!strcmp(str(says[i], "state"), "down") ||
		    !strcmp(str(says[i], "state"), "left"))
			return;
	}
	for (int i = 0; i < 2; i++) {
		if (!yes(says[i], "drains"))
			p->mute++;
		else if (!yes(says[i], "draining"))
			p->waiting++;
		else if (num(says[i], "connections") > left)
			left = num(says[i], "connections");
	}
	p->left += left;
	if (left)
		snprintf(p->text + len, sizeof(p->text) - len, "%s%s: %llu", len ? ", " : "",
			 str(couple, "segment"), left);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/*
 * The couples, also when the daemon is restarted meanwhile: it goes on draining.
 * Until @end at the most; who can be connected to need not answer.
 */
static json_t *couples(struct daemon_link **link, const struct options *o, double end)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	double limit = now() + AWAY_S, left;
	char *why;

	if (end < limit)
		limit = end;
	for (;;) {
		if (*link) {
			json_t *list;

			/* The last answer may come when the time is up. */
			left = limit - now();
			link_patience(*link, left > 1 ? left : 1);
			list = link_try(*link, json_pack("{ss}", "command", "couples"), &why);
			if (list)
				return list;
			if (why)
				die(EXIT_REFUSED, "%s", why);
			if (now() >= limit)
				link_die(*link);
			link_close(*link);
		}
		nanosleep(&pause, NULL);
		/* The last time it says itself what is wrong. */
		*link = link_open(o, now() < limit);
	}
}

static struct progress look(struct daemon_link **link, const struct options *o, double end)
{
	struct progress p = { .left = 0 };
	json_t *list, *couple;
	size_t i;

	list = couples(link, o, end);
	json_array_foreach(list, i, couple) {
		const json_t *sides = json_object_get(couple, "sides");

		if (o->segment && strcmp(o->segment, str(couple, "segment")))
			continue;
		for (unsigned int k = 0; k < 2; k++) {
			const json_t *side = json_array_get(sides, k);

			if (!strcmp(str(side, "member"), o->args[0]))
				look_at(couple, side, json_array_get(sides, 1 - k), &p);
		}
	}
	json_decref(list);
	return p;
}

static int drain_result(const struct options *o, const struct progress *p, bool done)
{
	if (o->json)
		print_json(json_pack("{ss sb sI si si}", "member", o->args[0], "drained", done,
				     "connections", (json_int_t)p->left, "unanswered",
				     (int)p->waiting, "unable", (int)p->mute));
	else if (done)
		printf("%s: no connection is left; its devices can be unplugged now\n", o->args[0]);
	if (done)
		return EXIT_SUCCESS;
	if (p->mute)
		die(EXIT_REFUSED,
		    "%s: %u side%s has a module that does not know drain: end its connections there, or use kick",
		    o->args[0], p->mute, p->mute == 1 ? "" : "s");
	die(EXIT_REFUSED,
	    "%s: %llu connections left after %ld s (the guests' word); it is still draining, see --undo and kick",
	    o->args[0], p->left, o->timeout);
}

int order_drain(const struct options *o)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	struct daemon_link *link = link_open(o, false);
	double end = o->timeout < 0 ? INFINITY : now() + (double)o->timeout, mute_end;
	struct progress p, shown = { .left = ~0ULL };
	json_t *result;

	result = order(link, o, o->undo ? "undrain" : "drain");
	if (o->undo) {
		if (o->json)
			print_json(result);
		else
			printf("%s: may begin connections again\n", o->args[0]);
		link_close(link);
		return EXIT_SUCCESS;
	}
	json_decref(result);
	/* A module that is just being loaded says later what it knows. */
	mute_end = now() + 3;
	for (;;) {
		p = look(&link, o, end);
		if (!o->json && (p.left != shown.left || p.waiting != shown.waiting)) {
			if (p.waiting)
				printf("%s: %u side%s not answered yet\n", o->args[0], p.waiting,
				       p.waiting == 1 ? " has" : "s have");
			else if (p.left)
				printf("%s: %llu connection%s left (%s)\n", o->args[0], p.left,
				       p.left == 1 ? "" : "s", p.text);
			fflush(stdout);
			shown = p;
		}
		if ((!p.left && !p.waiting && !p.mute) || (p.mute && now() > mute_end) ||
		    now() >= end)
			break;
		nanosleep(&pause, NULL);
	}
	link_close(link);
	return drain_result(o, &p, !p.left && !p.waiting && !p.mute);
}
