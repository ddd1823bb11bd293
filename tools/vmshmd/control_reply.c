// SPDX-License-Identifier: GPL-2.0-only
/*
 * What questions are answered: see control_reply.h, and vmshmctl(8) for what
 * the fields mean. What guests say of themselves stands under "guest_says".
 */
#include "control_reply.h"
#include "control_roster.h"
#include "control_sample.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct reply_facts reply_facts;

static json_t *number(u64 value)
{
	return json_integer((json_int_t)value);
}

static void append(json_t *array, json_t *element)
{
	json_array_append_new(array, element);
}

/* ---- parts ---- */

static void set_socket(json_t *to, const struct roster *r, const struct roster_segment *s, u32 i)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s/%s" CONFIG_SOCKET_SUFFIX, r->runtime_dir, s->name,
		 s->seats[i].name);
	json_object_set_new(to, "socket", json_string(path));
}

static json_t *seat_json(const struct roster_seat *seat)
{
	u64 presence = roster_word(seat->presence);

	return json_pack("{ss si sb sI sI sI sI sI sI sI sb}",
			 "member", seat->name, "cid", (int)seat->cid,
			 "connected", (int)(presence & 1), "presence", (json_int_t)presence,
			 "pid", (json_int_t)roster_word(seat->pid),
			 "uid", (json_int_t)roster_word(seat->uid),
			 "since", (json_int_t)roster_word(seat->since),
			 "connects", (json_int_t)roster_word(seat->connects),
			 "refused", (json_int_t)roster_word(seat->refused),
			 "kicked", (json_int_t)roster_word(seat->kicked),
			 "draining", (int)roster_word(seat->draining));
}

static json_t *sample_json(const struct sample *sample)
{
	json_t *says = json_pack("{ss sb sb sI sI sI}", "state", sample->state,
				 "counts", !!(sample->features & VMSHM_F_COUNTERS),
				 "drains", !!(sample->features & VMSHM_F_DRAIN),
				 "ctl_waiting", (json_int_t)sample->ctl_waiting,
				 "pend_waiting", (json_int_t)sample->pend_waiting,
				 "pend_overflow", (json_int_t)sample->pend_overflow);

	for (int i = 0; i < SAMPLE_COUNTERS; i++)
		json_object_set_new(says, sample_names[i], number(sample->counters[i]));
	return says;
}

/* The part of it that tells how far a drain is. */
static json_t *brief(const struct sample *sample)
{
	return json_pack("{ss sI sb sb sb}", "state", sample->state,
			 "connections", (json_int_t)sample->counters[SAMPLE_CONNECTIONS],
			 "counts", !!(sample->features & VMSHM_F_COUNTERS),
			 "drains", !!(sample->features & VMSHM_F_DRAIN),
			 "draining", !!sample->counters[SAMPLE_DRAINING]);
}

/* ---- questions ---- */

static json_t *status(const struct roster *r, const json_t *request)
{
	u64 size = 0, resident = 0, seats = 0, connected = 0, refused = 0;

	(void)request;
	for (u32 i = 0; i < r->nr_segments; i++) {
		const struct roster_segment *s = r->segments[i];

		size += s->geometry.size;
		resident += sample_resident(s);
		seats += s->nr_seats;
		for (u32 k = 0; k < s->nr_seats; k++) {
			connected += roster_word(s->seats[k].presence) & 1;
			refused += roster_word(s->seats[k].refused);
		}
	}
	return json_pack("{ss si sI sI ss ss sI sI sI sI sI sI sI sI sI sI}",
			 "version", reply_facts.version, "pid", (int)getpid(),
			 "started", (json_int_t)reply_facts.started,
			 "uptime", (json_int_t)(time(NULL) - reply_facts.started),
			 "config", reply_facts.config_path, "runtime_dir", r->runtime_dir,
			 "members", (json_int_t)r->nr_members,
			 "segments", (json_int_t)r->nr_segments,
			 "couples", (json_int_t)r->nr_couples,
			 "seats", (json_int_t)seats, "connected", (json_int_t)connected,
			 "refused", (json_int_t)refused,
			 "size", (json_int_t)size, "resident", (json_int_t)resident,
			 "reloads", (json_int_t)roster_word(reply_facts.reloads),
			 "reloads_refused", (json_int_t)roster_word(reply_facts.refusals));
}

static json_t *members(const struct roster *r, const json_t *request)
{
	json_t *list = json_array();

	(void)request;
	for (u32 i = 0; i < r->nr_members; i++) {
		const struct roster_member *m = &r->members[i];
		json_t *places = json_array();

		for (u32 k = 0; k < m->nr_places; k++) {
			const struct roster_segment *s = m->places[k].segment;
			json_t *place = seat_json(&s->seats[m->places[k].index]);

			json_object_set_new(place, "segment", json_string(s->name));
			json_object_set_new(place, "vectors", number(s->vectors));
			set_socket(place, r, s, m->places[k].index);
			append(places, place);
		}
		append(list, json_pack("{ss si so}", "name", m->name, "cid", (int)m->cid,
				       "places", places));
	}
	return list;
}

static json_t *couples(const struct roster *r, const json_t *request)
{
	json_t *list = json_array();

	(void)request;
	for (u32 i = 0; i < r->nr_segments; i++) {
		const struct roster_segment *s = r->segments[i];
		u64 resident = sample_resident(s);

		for (u32 channel = 0; channel < s->geometry.nr_channels; channel++) {
			struct sample sides[2];
			json_t *both = json_array();
			u32 who[2];

			geometry_couple(&s->geometry, channel, who);
			sample_channel(s, channel, sides);
			for (u32 k = 0; k < 2; k++) {
				json_t *side = seat_json(&s->seats[who[k]]);

				json_object_set_new(side, "guest_says", brief(&sides[k]));
				append(both, side);
			}
			append(list, json_pack("{ss sb sb sb si sI sI sI so}", "segment", s->name,
					       "shared", s->shared, "huge_pages", s->huge,
					       "transparent_huge_pages", s->thp,
					       "numa_node", s->numa_node,
					       "size", (json_int_t)s->geometry.size,
					       "resident", (json_int_t)resident,
					       "half_size", (json_int_t)s->geometry.half_size,
					       "sides", both));
		}
	}
	return list;
}

/* One element a direction: what @from sends to @to, and where @from receives. */
static json_t *rings(const struct roster *r, const json_t *request)
{
	json_t *list = json_array();

	(void)request;
	for (u32 i = 0; i < r->nr_segments; i++) {
		const struct roster_segment *s = r->segments[i];

		for (u32 channel = 0; channel < s->geometry.nr_channels; channel++) {
			struct sample sides[2];
			u32 who[2];

			geometry_couple(&s->geometry, channel, who);
			sample_channel(s, channel, sides);
			for (u32 k = 0; k < 2; k++)
				append(list, json_pack("{ss ss ss sI so}", "segment", s->name,
						       "from", s->seats[who[k]].name,
						       "to", s->seats[who[!k]].name,
						       "half_size",
						       (json_int_t)s->geometry.half_size,
						       "guest_says", sample_json(&sides[k])));
		}
	}
	return list;
}

/* Those of one side: where it receives from its peer. */
static void add_rings(json_t *list, const struct roster_segment *s, u32 channel, u32 k,
		      const struct sample *sample)
{
	static __thread struct sample_ring all[VMSHM_RING_NOTES];
	size_t room = REPLY_RINGS_MAX - json_array_size(list);
	u32 who[2], nr;

	geometry_couple(&s->geometry, channel, who);
	nr = sample_rings(s, channel, k, sample, all,
			  room < VMSHM_RING_NOTES ? (u32)room : VMSHM_RING_NOTES);
	for (u32 i = 0; i < nr; i++) {
		const struct sample_ring *ring = &all[i];

		append(list, json_pack("{ss ss ss s{sI sI sI sI sI sI sI sI sb sb}}",
				       "segment", s->name, "from", s->seats[who[!k]].name,
				       "to", s->seats[who[k]].name, "guest_says",
				       "id", (json_int_t)ring->id,
				       "from_port", (json_int_t)ring->peer_port,
				       "to_port", (json_int_t)ring->local_port,
				       "type", (json_int_t)ring->sock_type,
				       "size", (json_int_t)ring->size,
				       "sent", (json_int_t)ring->sent,
				       "received", (json_int_t)ring->received,
				       "waiting", (json_int_t)ring->waiting,
				       "ended", ring->ended, "reset", ring->reset));
	}
}

/* Each ring, of all segments or the one that is named: the first so many. */
static json_t *connections(const struct roster *r, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "segment"));
	json_t *list = json_array();

	for (u32 i = 0; i < r->nr_segments; i++) {
		const struct roster_segment *s = r->segments[i];

		if (name && strcmp(name, s->name))
			continue;
		for (u32 channel = 0; channel < s->geometry.nr_channels; channel++) {
			struct sample sides[2];

			sample_channel(s, channel, sides);
			for (u32 k = 0; k < 2; k++)
				add_rings(list, s, channel, k, &sides[k]);
		}
	}
	return list;
}

static json_t *version(const struct roster *r, const json_t *request)
{
	char abi[16];

	(void)r;
	(void)request;
	snprintf(abi, sizeof(abi), "%d.%d", VMSHM_ABI_MAJOR, VMSHM_ABI_MINOR);
	return json_pack("{ss ss}", "vmshmd", reply_facts.version, "abi", abi);
}

static json_t *ok(json_t *result)
{
	return result ? json_pack("{sb so}", "ok", 1, "result", result) : NULL;
}

json_t *reply_to(const json_t *request)
{
	static const struct {
		const char *name;
		json_t *(*result)(const struct roster *r, const json_t *request);
	} questions[] = {
		{ "status", status }, { "members", members }, { "couples", couples },
		{ "rings", rings }, { "connections", connections }, { "version", version },
	};
	const char *command = json_string_value(json_object_get(request, "command"));

	for (size_t i = 0; command && i < sizeof(questions) / sizeof(questions[0]); i++) {
		const struct roster *r;
		json_t *reply;

		if (strcmp(command, questions[i].name))
			continue;
		r = roster_begin();
		reply = r ? ok(questions[i].result(r, request)) :
			    reply_error("the daemon is ending");
		roster_end();
		return reply;
	}
	return reply_error("unknown command, expected \"command\": one of status, members, "
			   "couples, rings, connections, version, reload, kick, drain, undrain");
}

json_t *reply_error(const char *why)
{
	return json_pack("{sb ss}", "ok", 0, "error", why);
}

json_t *reply_order(int done, const char *said)
{
	if (done < 0)
		return reply_error(*said ? said : "the daemon refused");
	return ok(json_pack("{si ss}", "seats", done, "said", said));
}
