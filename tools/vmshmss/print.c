// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shows sockets as text or as JSON.  States, types and counters have the names
 * that /proc/net/vmshm gives them.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "vmshmss.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define ADDRESS_LEN	32
#define SHUT_RECEIVE	1
#define SHUT_SEND	2

static const struct counter {
	const char *name;
	size_t offset;
} counters[] = {
#define COUNTER(name)	{ #name, offsetof(struct vmshm_info, name) }
	COUNTER(rx_ring), COUNTER(tx_ring),
	COUNTER(rx_bytes), COUNTER(tx_bytes),
	COUNTER(rx_msgs), COUNTER(tx_msgs),
	COUNTER(doorbells_sent), COUNTER(doorbells_suppressed),
	COUNTER(wakeups), COUNTER(poll_hits), COUNTER(poll_misses),
	COUNTER(sleeps), COUNTER(ring_full),
#undef COUNTER
};

static uint64_t counter_of(const struct entry *e, const struct counter *c)
{
	uint64_t value;

	memcpy(&value, (const char *)&e->info + c->offset, sizeof(value));
	return value;
}

static const char *state_name(unsigned int state)
{
	static const char *const names[] = {
		[VMSHM_STATE_UNCONNECTED] = "UNCONNECTED",
		[VMSHM_STATE_CONNECTING] = "CONNECTING",
		[VMSHM_STATE_LISTEN] = "LISTEN",
		[VMSHM_STATE_CONNECTED] = "CONNECTED",
		[VMSHM_STATE_CLOSING] = "CLOSING",
		[VMSHM_STATE_RESET] = "RESET",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "?";
}

static const char *type_name(int type)
{
	switch (type) {
	case SOCK_STREAM:
		return "STREAM";
	case SOCK_SEQPACKET:
		return "SEQPACKET";
	case SOCK_DGRAM:
		return "DGRAM";
	default:
		return "?";
	}
}

static uint64_t cookie_of(const struct entry *e)
{
	return e->msg.vdiag_cookie[0] | (uint64_t)e->msg.vdiag_cookie[1] << 32;
}

static const char *address(char buf[ADDRESS_LEN], uint32_t cid, uint32_t port, bool numeric)
{
	char *end = buf;

	if (cid == VMSHM_CID_ANY)
		end += sprintf(end, "*");
	else if (cid == VMSHM_CID_LOCAL && !numeric)
		end += sprintf(end, "local");
	else if (cid == VMSHM_CID_HOST && !numeric)
		end += sprintf(end, "host");
	else
		end += sprintf(end, "%" PRIu32, cid);
	if (port == VMSHM_PORT_ANY)
		sprintf(end, ":*");
	else
		sprintf(end, ":%" PRIu32, port);
	return buf;
}

/* A name that somebody chose: no control character of it gets to a terminal. */
static void print_name(const char *name)
{
	for (; *name; name++)
		putchar((unsigned char)*name < 0x20 || *name == 0x7f || *name == '"' ? '?' : *name);
}

static void print_users(uint32_t ino)
{
	const struct user *user = NULL;
	const char *before = " users:(";

	while ((user = users_of(ino, user))) {
		printf("%s(\"", before);
		print_name(user->name);
		printf("\",pid=%d,fd=%d)", user->pid, user->fd);
		before = ",";
	}
	if (*before == ',')
		putchar(')');
}

static void print_extended(const struct entry *e)
{
	const struct vmshm_diag_buffer *b = &e->buffer;

	printf(" uid:%" PRIu32 " ino:%" PRIu32 " sk:%" PRIx64, e->uid, e->msg.vdiag_ino,
	       cookie_of(e));
	if (e->msg.vdiag_shutdown)
		printf(" shutdown:%s%s", e->msg.vdiag_shutdown & SHUT_RECEIVE ? "r" : "",
		       e->msg.vdiag_shutdown & SHUT_SEND ? "w" : "");
	printf(" buffer:%llu,%llu..%llu connect_timeout:%llums", b->size, b->min, b->max,
	       b->connect_timeout_ms);
	if (b->busy_poll == VMSHM_BUSY_POLL_ADAPTIVE)
		printf(" busy_poll:adaptive");
	else
		printf(" busy_poll:%lldus", b->busy_poll);
}

static void print_info(const struct entry *e)
{
	fputs("\n\t", stdout);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		printf(" %s:%" PRIu64, counters[i].name, counter_of(e, &counters[i]));
}

void print_text(const struct entries *entries, const struct options *o)
{
	char local[ADDRESS_LEN], peer[ADDRESS_LEN];
	int wide_local = 16, wide_peer = 16, len;

	for (size_t i = 0; i < entries->count; i++) {
		const struct vmshm_diag_msg *m = &entries->entry[i].msg;

		len = strlen(address(local, m->vdiag_src_cid, m->vdiag_src_port, o->numeric));
		wide_local = len > wide_local ? len : wide_local;
		len = strlen(address(peer, m->vdiag_dst_cid, m->vdiag_dst_port, o->numeric));
		wide_peer = len > wide_peer ? len : wide_peer;
	}
	if (!o->no_header)
		printf("%-9s %-11s %8s %8s %*s %*s%s\n", "Type", "State", "rx_queue", "tx_queue",
		       wide_local, "Local", wide_peer, "Peer", o->processes ? " Process" : "");
	for (size_t i = 0; i < entries->count; i++) {
		const struct entry *e = &entries->entry[i];
		const struct vmshm_diag_msg *m = &e->msg;

		printf("%-9s %-11s %8llu %8llu %*s %*s", type_name(m->vdiag_type),
		       state_name(e->state), e->queues.rx_queue, e->queues.tx_queue, wide_local,
		       address(local, m->vdiag_src_cid, m->vdiag_src_port, o->numeric), wide_peer,
		       address(peer, m->vdiag_dst_cid, m->vdiag_dst_port, o->numeric));
		if (o->processes)
			print_users(m->vdiag_ino);
		if (o->extended)
			print_extended(e);
		if (o->info)
			print_info(e);
		putchar('\n');
	}
}

/* What is not fixed (the wildcard) is null. */
static json_t *json_address(uint32_t cid, uint32_t port)
{
	return json_pack("{so, so}",
			 "cid", cid == VMSHM_CID_ANY ? json_null() : json_integer(cid),
			 "port", port == VMSHM_PORT_ANY ? json_null() : json_integer(port));
}

static json_t *json_users(uint32_t ino)
{
	json_t *list = json_array(), *one;
	const struct user *user = NULL;

	while ((user = users_of(ino, user))) {
		/* A name need not be text. */
		one = json_pack("{so, si, si}", "name",
				json_string(user->name) ?: json_string("?"),
				"pid", user->pid, "fd", user->fd);
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *json_entry(const struct entry *e, const struct options *o)
{
	const struct vmshm_diag_msg *m = &e->msg;
	const struct vmshm_diag_buffer *b = &e->buffer;
	json_t *info = json_object(), *one;
	char cookie[20];

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		json_object_set_new(info, counters[i].name,
				    json_integer(counter_of(e, &counters[i])));
	snprintf(cookie, sizeof(cookie), "%" PRIx64, cookie_of(e));
	one = json_pack("{ss, ss, so, so, sI, sI, sI, sI, ss, sb, sb, so}",
			"type", type_name(m->vdiag_type), "state", state_name(e->state),
			"local", json_address(m->vdiag_src_cid, m->vdiag_src_port),
			"peer", json_address(m->vdiag_dst_cid, m->vdiag_dst_port),
			"rx_queue", (json_int_t)e->queues.rx_queue,
			"tx_queue", (json_int_t)e->queues.tx_queue,
			"inode", (json_int_t)m->vdiag_ino, "uid", (json_int_t)e->uid,
			"cookie", cookie,
			"shutdown_receive", !!(m->vdiag_shutdown & SHUT_RECEIVE),
			"shutdown_send", !!(m->vdiag_shutdown & SHUT_SEND),
			"info", info);
	if (!one)
		die("out of memory");
	json_object_set_new(one, "buffer", json_pack("{sI, sI, sI}", "size", (json_int_t)b->size,
						     "min", (json_int_t)b->min,
						     "max", (json_int_t)b->max));
	json_object_set_new(one, "connect_timeout_ms", json_integer(b->connect_timeout_ms));
	json_object_set_new(one, "busy_poll", json_integer(b->busy_poll));
	if (o->processes)
		json_object_set_new(one, "processes", json_users(m->vdiag_ino));
	return one;
}

void print_json(const struct entries *entries, const struct options *o)
{
	json_t *list = json_array(), *all = json_pack("{so}", "sockets", list);

	for (size_t i = 0; i < entries->count; i++)
		json_array_append_new(list, json_entry(&entries->entry[i], o));
	if (json_dumpf(all, stdout, JSON_INDENT(2)))
		die("the JSON cannot be written");
	putchar('\n');
	json_decref(all);
}
