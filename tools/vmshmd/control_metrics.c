// SPDX-License-Identifier: GPL-2.0-only
/*
 * Metrics: see control_metrics.h. The format is Prometheus' text format 0.0.4.
 */
#include "control_metrics.h"
#include "access.h"
#include "control_address.h"
#include "control_reply.h"
#include "control_roster.h"
#include "control_sample.h"
#include "live.h"
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECTIONS_MAX	16
#define SILENCE_S	10

static struct {
	struct MHD_Daemon *http;
	char *path;
} metrics;

/* ---- the text ---- */

struct metric {
	const char *name, *type, *help;
};

static void head(FILE *out, const struct metric *m)
{
	fprintf(out, "# HELP vmshm_%s %s\n# TYPE vmshm_%s %s\n", m->name, m->help, m->name,
		m->type);
}

/* Names have no character that would need an escape. */
static void totals(FILE *out, const struct roster *r)
{
	const struct {
		struct metric m;
		u64 value;
	} all[] = {
		{ { "members", "gauge", "Members in the configuration." }, r->nr_members },
		{ { "couples", "gauge", "Couples in the configuration." }, r->nr_couples },
		{ { "start_time_seconds", "gauge", "When the daemon started, seconds since 1970." },
		  (u64)reply_facts.started },
		{ { "reloads_total", "counter", "Configurations that were taken over." },
		  roster_word(reply_facts.reloads) },
		{ { "reloads_refused_total", "counter", "Configurations that were refused." },
		  roster_word(reply_facts.refusals) },
	};

	fprintf(out, "# HELP vmshm_build_info The daemon's version.\n"
		"# TYPE vmshm_build_info gauge\nvmshm_build_info{version=\"%s\"} 1\n",
		reply_facts.version);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		head(out, &all[i].m);
		fprintf(out, "vmshm_%s %" PRIu64 "\n", all[i].m.name, all[i].value);
	}
}

static void segments(FILE *out, const struct roster *r)
{
	static const struct metric size = {
		"segment_size_bytes", "gauge", "Size of a segment."
	}, resident = {
		"segment_resident_bytes", "gauge", "Host memory that a segment takes."
	};

	head(out, &size);
	for (u32 i = 0; i < r->nr_segments; i++)
		fprintf(out, "vmshm_%s{segment=\"%s\"} %" PRIu64 "\n", size.name,
			r->segments[i]->name, (u64)r->segments[i]->geometry.size);
	head(out, &resident);
	for (u32 i = 0; i < r->nr_segments; i++)
		fprintf(out, "vmshm_%s{segment=\"%s\"} %" PRIu64 "\n", resident.name,
			r->segments[i]->name, sample_resident(r->segments[i]));
}

static u64 seat_value(const struct roster_seat *seat, unsigned int what)
{
	switch (what) {
	case 0:
		return roster_word(seat->presence) & 1;
	case 1:
		return roster_word(seat->connects);
	case 2:
		return roster_word(seat->refused);
	case 3:
		return roster_word(seat->kicked);
	default:
		return roster_word(seat->draining);
	}
}

static void seats(FILE *out, const struct roster *r)
{
	static const struct metric all[] = {
		{ "member_connected", "gauge", "1 while a QEMU is connected for the member." },
		{ "member_connects_total", "counter", "QEMUs that were let in." },
		{ "member_refused_total", "counter",
		  "QEMUs that were refused because another was connected." },
		{ "member_kicked_total", "counter", "QEMUs that an operator let go of." },
		{ "member_draining", "gauge", "1 while its connections are to end." },
	};

	for (unsigned int what = 0; what < sizeof(all) / sizeof(all[0]); what++) {
		head(out, &all[what]);
		for (u32 i = 0; i < r->nr_segments; i++) {
			const struct roster_segment *s = r->segments[i];

			for (u32 k = 0; k < s->nr_seats; k++)
				fprintf(out,
					"vmshm_%s{segment=\"%s\",member=\"%s\",cid=\"%u\"} %" PRIu64
					"\n", all[what].name, s->name, s->seats[k].name,
					s->seats[k].cid, seat_value(&s->seats[k], what));
		}
	}
}

#define GUEST	" The guest's word."

static int guests(FILE *out, const struct roster *r)
{
	static const struct metric all[SAMPLE_COUNTERS] = {
		{ "guest_transmit_bytes_total", "counter", "Bytes sent to the peer." GUEST },
		{ "guest_receive_bytes_total", "counter", "Bytes received." GUEST },
		{ "guest_transmit_messages_total", "counter", "Calls that sent." GUEST },
		{ "guest_receive_messages_total", "counter", "Calls that received." GUEST },
		{ "guest_doorbells_sent_total", "counter", "Doorbells rung." GUEST },
		{ "guest_doorbells_received_total", "counter", "Interrupts taken." GUEST },
		{ "guest_doorbells_suppressed_total", "counter",
		  "Doorbells that nobody waited for." GUEST },
		{ "guest_poll_hits_total", "counter", "Busy-polls that paid." GUEST },
		{ "guest_poll_misses_total", "counter", "Busy-polls that did not." GUEST },
		{ "guest_ring_full_total", "counter", "Waits for space in a ring." GUEST },
		{ "guest_protocol_errors_total", "counter", "Rules that the peer broke." GUEST },
		{ "guest_connections", "gauge", "Connections that are open." GUEST },
		{ "guest_half_used_bytes", "gauge", "Memory of receive rings." GUEST },
		{ "guest_draining", "gauge", "1: it begins no connections." GUEST },
		{ "guest_rings", "gauge", "Receive rings that it lists, 512 at most." GUEST },
	};
	struct sample (*sides)[2] = calloc(r->nr_couples + 1, sizeof(*sides));
	u32 at = 0;

	if (!sides)
		return -1;
	for (u32 i = 0; i < r->nr_segments; i++)
		for (u32 c = 0; c < r->segments[i]->geometry.nr_channels; c++)
			sample_channel(r->segments[i], c, sides[at++]);
	for (int what = 0; what < SAMPLE_COUNTERS; what++) {
		head(out, &all[what]);
		at = 0;
		for (u32 i = 0; i < r->nr_segments; i++) {
			const struct roster_segment *s = r->segments[i];

			for (u32 c = 0; c < s->geometry.nr_channels; c++, at++) {
				u32 who[2];

				geometry_couple(&s->geometry, c, who);
				for (u32 k = 0; k < 2; k++)
					fprintf(out,
						"vmshm_%s{segment=\"%s\",member=\"%s\",peer=\"%s\"} %"
						PRIu64 "\n", all[what].name, s->name,
						s->seats[who[k]].name, s->seats[who[!k]].name,
						sides[at][k].counters[what]);
			}
		}
	}
	free(sides);
	return 0;
}

char *metrics_text(size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	const struct roster *r;
	int err = 0;

	if (!out)
		return NULL;
	r = roster_begin();
	if (r) {
		totals(out, r);
		segments(out, r);
		seats(out, r);
		err = guests(out, r);
	}
	roster_end();
	if (fclose(out) || err) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- HTTP ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned int code,
			      const char *type, char *text, size_t len,
			      enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(len, text, mode);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	result = MHD_queue_response(connection, code, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_size, void **state)
{
	static const char here[] = "see /metrics\n";
	char *text;
	size_t len;

	(void)arg;
	(void)version;
	(void)data;
	(void)data_size;
	(void)state;
	if (strcmp(method, "GET"))
		return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", (char *)here,
			      sizeof(here) - 1, MHD_RESPMEM_PERSISTENT);
	if (strcmp(url, "/metrics"))
		return answer(connection, MHD_HTTP_NOT_FOUND, "text/plain", (char *)here,
			      sizeof(here) - 1, MHD_RESPMEM_PERSISTENT);
	text = metrics_text(&len);
	if (!text)
		return MHD_NO;
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text,
		      len, MHD_RESPMEM_MUST_FREE);
}

/* ---- where ---- */

static int listen_at(const char *text, const struct access *access)
{
	union metrics_address address;
	const int one = 1;
	struct stat st;
	socklen_t len;
	int fd;

	if (metrics_address(text, &address, &len))
		return -1;
	fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (*text != '/')
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	else if (!lstat(text, &st) && S_ISSOCK(st.st_mode) && !is_live(text))
		unlink(text);	/* of a daemon that is gone; others' are left alone */
	if (bind(fd, &address.any, len) || listen(fd, CONNECTIONS_MAX)) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	if (*text != '/')
		return fd;
	metrics.path = strdup(text);
	if (!metrics.path)
		abort();
	metrics_set_access(access);
	return fd;
}

void metrics_set_access(const struct access *access)
{
	if (metrics.path)
		access_set_control("metrics", metrics.path, access);
}

void metrics_start(const char *address, const struct access *access)
{
	int fd = listen_at(address, access);

	if (fd < 0) {
		say("metrics: cannot listen on %s, so nobody is served there: %s%s", address,
		    strerror(errno),
		    errno == EADDRINUSE ?
		    "; end who does, remove what is there, or give another" : "");
		return;
	}
	metrics.http = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request,
					NULL, MHD_OPTION_LISTEN_SOCKET, fd,
					MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
					MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_S, MHD_OPTION_END);
	if (!metrics.http) {
		say("metrics: cannot be served on %s", address);
		close(fd);
	}
}

void metrics_stop(void)
{
	if (metrics.http)
		MHD_stop_daemon(metrics.http);
	metrics.http = NULL;
	if (metrics.path)
		unlink(metrics.path);
	free(metrics.path);
	metrics.path = NULL;
}
