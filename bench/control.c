// SPDX-License-Identifier: GPL-2.0-only
/*
 * What client and server of vmshm_perf tell each other: lines of JSON over the
 * control connection, checked before anything is believed.
 */
#include <stdlib.h>
#include <sys/socket.h>

#include "perf.h"

#define LINE_MAX_LEN	65536
#define VERSION		1

const char *const kind_names[] = { "stream", "rr", "crr", "file", NULL };

bool control_send(int fd, json_t *object, char error[200])
{
	char *text = json_dumps(object, JSON_COMPACT);
	size_t len = strlen(text), done = 0;
	ssize_t n;

	json_decref(object);
	text[len++] = '\n';		/* in the place of the zero */
	while (done < len) {
		n = send(fd, text + done, len - done, MSG_NOSIGNAL);
		if (n < 0) {
			snprintf(error, 200, "control connection: %s", strerror(errno));
			free(text);
			return false;
		}
		done += n;
	}
	free(text);
	return true;
}

json_t *control_receive(int fd, char error[200])
{
	static char line[LINE_MAX_LEN];
	json_error_t why;
	json_t *object;
	size_t len = 0;
	ssize_t n;

	do {
		/* A record holds a line; of a stream, what follows the line stays there. */
		n = recv(fd, line + len, opt.seqpacket ? sizeof(line) - len : 1, 0);
		if (n <= 0) {
			snprintf(error, 200, "control connection: %s",
				 n ? strerror(errno) : "the other side has gone");
			return NULL;
		}
		len += n;
	} while (line[len - 1] != '\n' && len < sizeof(line));
	object = json_loadb(line, len, 0, &why);
	if (!object) {
		snprintf(error, 200, "not a vmshm_perf at the other side (%s)", why.text);
		return NULL;
	}
	if (json_is_string(json_object_get(object, "error"))) {
		snprintf(error, 200, "the other side says: %s",
			 json_string_value(json_object_get(object, "error")));
		json_decref(object);
		return NULL;
	}
	return object;
}

json_t *test_pack(const struct test *t)
{
	return json_pack("{si ss sI si sb sf sI sI sI si}",
			 "vmshm_perf", VERSION, "kind", kind_names[t->kind],
			 "len", (json_int_t)t->len, "streams", t->streams,
			 "reverse", t->reverse, "seconds", t->seconds,
			 "bytes", (json_int_t)t->bytes, "blocks", (json_int_t)t->blocks,
			 "buffer", (json_int_t)t->buffer, "busy_poll", t->busy_poll);
}

bool test_unpack(json_t *object, struct test *t, char error[200])
{
	json_int_t len, bytes, blocks, buffer;
	int version, streams, reverse;
	const char *kind;
	json_error_t why;

	if (json_unpack_ex(object, &why, 0, "{si ss sI si sb sF sI sI sI si}",
			   "vmshm_perf", &version, "kind", &kind, "len", &len,
			   "streams", &streams, "reverse", &reverse, "seconds", &t->seconds,
			   "bytes", &bytes, "blocks", &blocks, "buffer", &buffer,
			   "busy_poll", &t->busy_poll)) {
		snprintf(error, 200, "the client sent no test: %s", why.text);
		return false;
	}
	if (version != VERSION) {
		snprintf(error, 200, "client has protocol %d, server has %d", version, VERSION);
		return false;
	}
	for (t->kind = STREAM; kind_names[t->kind]; t->kind++)
		if (!strcmp(kind, kind_names[t->kind]))
			break;
	if (!kind_names[t->kind] || len < 1 || len > MAX_LEN || streams < 1 ||
	    streams > MAX_STREAMS || t->seconds < 0 || bytes < 0 || blocks < 0 || buffer < 0) {
		snprintf(error, 200, "the client asks for something impossible");
		return false;
	}
	t->len = len;
	t->streams = streams;
	t->reverse = reverse;
	t->bytes = bytes;
	t->blocks = blocks;
	t->buffer = buffer;
	return true;
}

static const char *const info_names[] = {
	"tx_bytes", "rx_bytes", "tx_msgs", "rx_msgs", "doorbells_sent",
	"doorbells_suppressed", "wakeups", "poll_hits", "poll_misses", "sleeps",
	"ring_full", "rx_ring", "tx_ring",
};

_Static_assert(sizeof(info_names) / sizeof(info_names[0]) ==
	       sizeof(struct vmshm_info) / sizeof(__u64), "a name for each counter");

json_t *side_pack(const struct side *s)
{
	json_t *object = json_pack("{sb sI sI sf sf sf}", "sender", s->sent,
				   "bytes", (json_int_t)s->bytes,
				   "messages", (json_int_t)s->messages, "seconds", s->seconds,
				   "cpu_user", s->cpu_user, "cpu_system", s->cpu_system);

	if (s->error[0])
		json_object_set_new(object, "error", json_string(s->error));
	if (s->sha256[0])
		json_object_set_new(object, "sha256", json_string(s->sha256));
	if (s->has_info) {
		json_t *info = json_object();

		for (size_t i = 0; i < sizeof(info_names) / sizeof(info_names[0]); i++)
			json_object_set_new(info, info_names[i],
					    json_integer(((__u64 *)&s->info)[i]));
		json_object_set_new(object, "vmshm", info);
	}
	return object;
}

bool side_unpack(json_t *object, struct side *s, char error[200])
{
	json_t *info = json_object_get(object, "vmshm");
	const char *sum = NULL;
	json_int_t bytes, messages;
	json_error_t why;
	int sent;

	memset(s, 0, sizeof(*s));
	if (json_unpack_ex(object, &why, 0, "{sb sI sI sF sF sF s?s}", "sender", &sent,
			   "bytes", &bytes, "messages", &messages, "seconds", &s->seconds,
			   "cpu_user", &s->cpu_user, "cpu_system", &s->cpu_system,
			   "sha256", &sum)) {
		snprintf(error, 200, "the server sent no result: %s", why.text);
		return false;
	}
	s->sent = sent;
	s->bytes = bytes;
	s->messages = messages;
	if (sum)
		snprintf(s->sha256, sizeof(s->sha256), "%s", sum);
	s->has_info = json_is_object(info);
	for (size_t i = 0; s->has_info && i < sizeof(info_names) / sizeof(info_names[0]); i++)
		((__u64 *)&s->info)[i] =
			json_integer_value(json_object_get(info, info_names[i]));
	return true;
}
