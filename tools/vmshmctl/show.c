// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is there, as tables. What guests say of themselves is marked as such:
 * nobody can check it.
 */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NR(array) (sizeof(array) / sizeof((array)[0]))

static const char guests_word[] = "* the guests' word";

int show_status(const struct options *o)
{
	json_t *s = ask(o, "status");

	if (o->json) {
		print_json(s);
		return EXIT_SUCCESS;
	}
	printf("vmshmd %s, process %llu, up %s\n", str(s, "version"), num(s, "pid"),
	       time_for_people(num(s, "uptime")).text);
	printf("configuration  %s (%llu reloads, %llu refused)\n", str(s, "config"),
	       num(s, "reloads"), num(s, "reloads_refused"));
	printf("sockets        %s\n", str(s, "runtime_dir"));
	printf("members        %llu\n", num(s, "members"));
	printf("segments       %llu (couples: %llu)\n", num(s, "segments"), num(s, "couples"));
	printf("connected      %llu of %llu, %llu refused\n", num(s, "connected"),
	       num(s, "seats"), num(s, "refused"));
	printf("memory         %s used of %s\n", size_for_people((double)num(s, "resident")).text,
	       size_for_people((double)num(s, "size")).text);
	json_decref(s);
	return EXIT_SUCCESS;
}

static const char *seat_state(const json_t *seat)
{
	if (!yes(seat, "connected"))
		return "absent";
	return yes(seat, "draining") ? "draining" : "connected";
}

static unsigned long long age(const json_t *seat)
{
	unsigned long long now = (unsigned long long)time(NULL), since = num(seat, "since");

	return now > since ? now - since : 0;
}

/* Those that are named, or all. */
static bool asked_for(const struct options *o, const char *name)
{
	for (int i = 0; i < o->nr_args; i++)
		if (!strcmp(o->args[i], name))
			return true;
	return !o->nr_args;
}

static void not_there(const char *name) __attribute__((noreturn));

static void not_there(const char *name)
{
	die(EXIT_REFUSED, "there is no %s; see: vmshmctl members", name);
}

/* Takes out of @list what nobody asked for. */
static void sift(const struct options *o, json_t *list, const char *one, const char *other)
{
	size_t i = 0;

	while (i < json_array_size(list)) {
		const json_t *element = json_array_get(list, i);

		if (asked_for(o, str(element, one)) || (other && asked_for(o, str(element, other))))
			i++;
		else
			json_array_remove(list, i);
	}
}

/* The same of a list that has all there is. */
static void keep_asked(const struct options *o, json_t *list, const char *name)
{
	sift(o, list, name, NULL);
	if (o->nr_args && !json_array_size(list))
		not_there(o->args[0]);
}

int show_members(const struct options *o)
{
	static const char *const heads[] = { "MEMBER", ">CID", "SEGMENT", "STATE", ">FOR", ">PID",
		">UID", ">CAME", ">REFUSED", ">KICKED", "SOCKET" };
	json_t *list = ask(o, "members"), *m, *place;
	struct table *t;
	size_t i, k;

	keep_asked(o, list, "name");
	if (o->json) {
		print_json(list);
		return EXIT_SUCCESS;
	}
	t = table_new(heads, NR(heads));
	json_array_foreach(list, i, m) {
		json_t *places = json_object_get(m, "places");

		if (!json_array_size(places))
			table_add(t, "%s\t%llu\t-\tno segment\t\t\t\t\t\t\t", str(m, "name"),
				  num(m, "cid"));
		json_array_foreach(places, k, place) {
			bool here = yes(place, "connected");
			struct text pid = { "-" }, uid = { "-" };

			if (here) {
				snprintf(pid.text, sizeof(pid.text), "%llu", num(place, "pid"));
				snprintf(uid.text, sizeof(uid.text), "%llu", num(place, "uid"));
			}
			table_add(t, "%s\t%llu\t%s\t%s\t%s\t%s\t%s\t%llu\t%llu\t%llu\t%s",
				  str(m, "name"), num(m, "cid"), str(place, "segment"),
				  seat_state(place), time_for_people(age(place)).text, pid.text,
				  uid.text, num(place, "connects"), num(place, "refused"),
				  num(place, "kicked"), str(place, "socket"));
		}
	}
	table_print(t);
	json_decref(list);
	return EXIT_SUCCESS;
}

int show_couples(const struct options *o)
{
	static const char *const heads[] = { "SEGMENT", "MEMBER", "STATE", "SAYS*", "PEER", "STATE",
		"SAYS*", ">CONNECTIONS*", ">USED", ">SIZE", "MEMORY" };
	json_t *list = ask(o, "couples"), *c;
	struct table *t;
	size_t i;

	keep_asked(o, list, "segment");
	if (o->json) {
		print_json(list);
		return EXIT_SUCCESS;
	}
	t = table_new(heads, NR(heads));
	json_array_foreach(list, i, c) {
		const json_t *sides = json_object_get(c, "sides");
		const json_t *a = json_array_get(sides, 0), *b = json_array_get(sides, 1);
		const json_t *a_says = json_object_get(a, "guest_says");
		const json_t *b_says = json_object_get(b, "guest_says");

		table_add(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%llu/%llu\t%s\t%s\t%s%s",
			  str(c, "segment"), str(a, "member"), seat_state(a), str(a_says, "state"),
			  str(b, "member"), seat_state(b), str(b_says, "state"),
			  num(a_says, "connections"), num(b_says, "connections"),
			  size_for_people((double)num(c, "resident")).text,
			  size_for_people((double)num(c, "size")).text,
			  yes(c, "huge_pages") ? "huge pages" :
			  yes(c, "transparent_huge_pages") ? "transparent huge pages" : "sparse",
			  yes(c, "shared") ? ", shared by a group" : "");
	}
	table_print(t);
	puts(guests_word);
	json_decref(list);
	return EXIT_SUCCESS;
}

/* Adds to @segments, whose keys they are, those that @name means: itself or a member's. */
static void add_segments(json_t *segments, const json_t *members, const char *name)
{
	bool there = false;
	json_t *m, *place;
	size_t i, k;

	json_array_foreach(members, i, m) {
		bool named = !strcmp(str(m, "name"), name);

		there |= named;
		json_array_foreach(json_object_get(m, "places"), k, place) {
			const char *segment = str(place, "segment");

			if (!named && strcmp(segment, name))
				continue;
			there = true;
			json_object_set_new(segments, segment, json_null());
		}
	}
	if (!there)
		not_there(name);
}

/*
 * The segments that all names mean. Nobody can tell by what goes there whether a
 * name is one: there may be nothing.
 */
static json_t *segments_asked(const struct options *o)
{
	json_t *members = ask(o, "members"), *segments = json_object();

	for (int i = 0; i < o->nr_args; i++)
		add_segments(segments, members, o->args[i]);
	json_decref(members);
	return segments;
}

static const char *ring_state(const json_t *says)
{
	return yes(says, "reset") ? "reset" : yes(says, "ended") ? "ending" : "open";
}

/* An answer has so many at most, those of the first segments: each is asked for alone. */
static json_t *each_ring(const struct options *o)
{
	json_t *segments, *list, *of_one, *nothing;
	struct daemon_link *link;
	const char *name;
	char *why;

	if (!o->nr_args)
		return ask(o, "connections");
	segments = segments_asked(o);
	list = json_array();
	link = link_open(o, false);
	json_object_foreach(segments, name, nothing) {
		of_one = link_ask(link, json_pack("{ss ss}", "command", "connections", "segment",
						  name), &why);
		if (!of_one)
			die(EXIT_REFUSED, "%s", why);
		json_array_extend(list, of_one);
		json_decref(of_one);
	}
	link_close(link);
	json_decref(segments);
	sift(o, list, "from", "segment");
	return list;
}

static int show_each_ring(const struct options *o)
{
	static const char *const heads[] = { "SEGMENT", "FROM", ">PORT*", "TO", ">PORT*", ">SENT*",
		">WAITING*", ">SIZE*", "STATE*" };
	json_t *list = each_ring(o), *r;
	struct table *t;
	size_t i;

	if (o->json) {
		print_json(list);
		return EXIT_SUCCESS;
	}
	t = table_new(heads, NR(heads));
	json_array_foreach(list, i, r) {
		const json_t *says = json_object_get(r, "guest_says");

		table_add(t, "%s\t%s\t%llu\t%s\t%llu\t%s\t%s\t%s\t%s", str(r, "segment"),
			  str(r, "from"), num(says, "from_port"), str(r, "to"),
			  num(says, "to_port"), size_for_people((double)num(says, "sent")).text,
			  size_for_people((double)num(says, "waiting")).text,
			  size_for_people((double)num(says, "size")).text, ring_state(says));
	}
	table_print(t);
	puts(guests_word);
	json_decref(list);
	return EXIT_SUCCESS;
}

int show_rings(const struct options *o)
{
	static const char *const heads[] = { "SEGMENT", "FROM", "TO", ">SENT*", ">MESSAGES*",
		">CONNECTIONS*", ">FULL*", ">RUNG*", ">SPARED*", ">RINGS' MEMORY*", ">CONTROL*",
		">PENDING*", ">ERRORS*" };
	json_t *list, *r;
	struct table *t;
	size_t i;

	if (o->each)
		return show_each_ring(o);
	if (o->nr_args)
		json_decref(segments_asked(o));
	list = ask(o, "rings");
	sift(o, list, "from", "segment");
	if (o->json) {
		print_json(list);
		return EXIT_SUCCESS;
	}
	t = table_new(heads, NR(heads));
	json_array_foreach(list, i, r) {
		const json_t *says = json_object_get(r, "guest_says");

		table_add(t,
			  "%s\t%s\t%s\t%s\t%s\t%llu\t%llu\t%llu\t%llu\t%s of %s\t%llu of %d\t%llu of %d\t%llu",
			  str(r, "segment"), str(r, "from"), str(r, "to"),
			  size_for_people((double)num(says, "tx_bytes")).text,
			  count_for_people((double)num(says, "tx_msgs")).text,
			  num(says, "connections"), num(says, "ring_full"),
			  num(says, "doorbells_sent"), num(says, "doorbells_suppressed"),
			  size_for_people((double)num(says, "half_used")).text,
			  size_for_people((double)num(r, "half_size")).text,
			  num(says, "ctl_waiting"), VMSHM_CTL_ENTRIES,
			  num(says, "pend_waiting"), VMSHM_PEND_ENTRIES,
			  num(says, "protocol_errors"));
	}
	table_print(t);
	puts(guests_word);
	json_decref(list);
	return EXIT_SUCCESS;
}

int show_version(const struct options *o)
{
	struct daemon_link *link = link_open(o, true);
	json_t *daemon = NULL, *all;
	char *why = NULL, abi[16];

	if (link)
		daemon = link_ask(link, json_pack("{ss}", "command", "version"), &why);
	link_close(link);
	free(why);
	snprintf(abi, sizeof(abi), "%d.%d", VMSHM_ABI_MAJOR, VMSHM_ABI_MINOR);
	if (o->json) {
		all = json_pack("{ss ss so*}", "vmshmctl", VERSION, "abi", abi, "daemon", daemon);
		print_json(all);
		return EXIT_SUCCESS;
	}
	printf("vmshmctl %s, ABI %s\n", VERSION, abi);
	if (daemon)
		printf("vmshmd %s, ABI %s\n", str(daemon, "vmshmd"), str(daemon, "abi"));
	else
		puts("vmshmd does not answer");
	json_decref(daemon);
	return EXIT_SUCCESS;
}
