// SPDX-License-Identifier: GPL-2.0-only
/* What vmshm_perf prints: lines for people, or one JSON object at the end. */
#include <stdlib.h>

#include "perf.h"

static json_t *intervals;

void format_bytes(char buf[32], double bytes)
{
	static const char *const units[] = { "Bytes", "KiB", "MiB", "GiB", "TiB" };
	int i = 0;

	while (bytes >= 1024 && i < 4) {
		bytes /= 1024;
		i++;
	}
	snprintf(buf, 32, i ? "%.2f %s" : "%.0f %s", bytes, units[i]);
}

void format_rate(char buf[32], double bytes_per_second)
{
	double bits = bytes_per_second * 8;

	if (bits >= 1e9)
		snprintf(buf, 32, "%.2f Gbit/s", bits / 1e9);
	else if (bits >= 1e6)
		snprintf(buf, 32, "%.1f Mbit/s", bits / 1e6);
	else
		snprintf(buf, 32, "%.1f kbit/s", bits / 1e3);
}

void report_start(const struct test *t)
{
	char where[80];

	intervals = json_array();
	if (opt.json)
		return;
	printf("connected to %s, family %s%s: %s, %zu-byte messages, %u stream%s%s\n",
	       net_name(where), family_names[opt.family],
	       opt.seqpacket ? ", records" : "", kind_names[t->kind], t->len,
	       t->streams, t->streams > 1 ? "s" : "", t->reverse ? ", server sends" : "");
	fflush(stdout);
}

void report_interval(const struct test *t, const struct stream *streams, double from,
		     double to, uint64_t bytes, uint64_t messages)
{
	double seconds = to - from;
	char size[32], rate[32];

	(void)streams;
	if (opt.json) {
		json_t *one = json_pack("{sf sf sI sI sf}", "start", from, "end", to,
					"bytes", (json_int_t)bytes,
					"messages", (json_int_t)messages,
					"bits_per_second", bytes * 8 / seconds);

		json_array_append_new(intervals, one);
		return;
	}
	if (t->kind == STREAM) {
		format_bytes(size, bytes);
		format_rate(rate, bytes / seconds);
		printf("%6.2f-%-6.2f s  %12s  %14s\n", from, to, size, rate);
	} else {
		printf("%6.2f-%-6.2f s  %10.0f a second\n", from, to, messages / seconds);
	}
	fflush(stdout);
}

static double doorbells(const struct side *client, const struct side *server)
{
	return client->info.doorbells_sent + server->info.doorbells_sent;
}

static double per_mib(double count, double bytes)
{
	return bytes ? count / (bytes / (1 << 20)) : 0;
}

static const struct {
	const char *name;
	double part;
} quantiles[] = {
	{ "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p99.9", 0.999 },
};

static double us(double ns)
{
	return ns / 1000;
}

static void print_histogram(const char *what, const struct histogram *ns)
{
	printf("%s in us:", what);
	printf(" min %.2f", us(ns->min));
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		printf(", %s %.2f", quantiles[i].name,
		       us(histogram_quantile(ns, quantiles[i].part)));
	printf(", max %.2f, mean %.2f\n", us(ns->max),
	       ns->count ? us((double)ns->sum / ns->count) : 0);
}

static void print_side(const char *name, const struct side *s, bool rate_too)
{
	char size[32], rate[32];

	format_bytes(size, s->bytes);
	format_rate(rate, s->seconds ? s->bytes / s->seconds : 0);
	printf("%s: ", name);
	if (rate_too)
		printf("%s in %.2f s, %s, ", size, s->seconds, rate);
	printf("%llu %s", (unsigned long long)s->messages,
	       rate_too ? "calls" : "rounds");
	/* A file's sum takes its time, too, so there it says little. */
	if (s->seconds && !s->sha256[0])
		printf(", processor %.0f %%",
		       100 * (s->cpu_user + s->cpu_system) / s->seconds);
	putchar('\n');
}

static void print_info(const char *name, const struct side *s)
{
	const struct vmshm_info *i = &s->info;

	if (!s->has_info)
		return;
	printf("%s: doorbells %llu sent, %llu not needed; woken %llu times; "
	       "waits: %llu polled, %llu slept, %llu for space; rings %llu in, %llu out\n",
	       name, (unsigned long long)i->doorbells_sent,
	       (unsigned long long)i->doorbells_suppressed, (unsigned long long)i->wakeups,
	       (unsigned long long)i->poll_hits, (unsigned long long)i->sleeps,
	       (unsigned long long)i->ring_full, (unsigned long long)i->rx_ring,
	       (unsigned long long)i->tx_ring);
}

static void report_text(const struct test *t, const struct side *client,
			const struct side *server, const struct histogram *ns)
{
	const struct side *receiver = client->sent ? server : client;
	bool rate = t->kind == STREAM || t->kind == TRANSFER;

	print_side("client", client, rate);
	print_side("server", server, rate);
	if (t->kind == RR)
		print_histogram("round trip", ns);
	if (t->kind == CRR) {
		printf("connections a second: %.0f\n",
		       client->seconds ? client->messages / client->seconds : 0);
		print_histogram("connect, accept, close", ns);
	}
	if (t->kind == TRANSFER)
		printf("SHA-256 here  %s\nSHA-256 there %s\nthe sums %s\n", client->sha256,
		       server->sha256, strcmp(client->sha256, server->sha256) ?
		       "DIFFER" : "agree");
	if (client->has_info && t->kind == RR)
		printf("doorbells a round trip: %.3f\n", client->messages ?
		       doorbells(client, server) / client->messages : 0);
	else if (client->has_info && receiver->bytes)
		printf("doorbells a MiB: %.3f\n",
		       per_mib(doorbells(client, server), receiver->bytes));
	if (opt.verbose) {
		print_info("client", client);
		print_info("server", server);
	}
}

/*
 * [[us, count], ...] of what is not empty. A bucket's value is the quantile that its
 * first member is, so that the two agree.
 */
static json_t *buckets_pack(const struct histogram *ns)
{
	json_t *all = json_array();
	uint64_t seen = 0;

	for (size_t i = 0; i < sizeof(ns->bucket) / sizeof(ns->bucket[0]); i++) {
		double value;

		if (!ns->bucket[i])
			continue;
		value = us(histogram_quantile(ns, (seen + 0.5) / ns->count));
		json_array_append_new(all, json_pack("[fI]", value, (json_int_t)ns->bucket[i]));
		seen += ns->bucket[i];
	}
	return all;
}

static json_t *histogram_pack(const struct histogram *ns)
{
	json_t *object = json_pack("{sI sf sf sf}", "count", (json_int_t)ns->count,
				   "min", us(ns->min), "max", us(ns->max), "mean",
				   ns->count ? us((double)ns->sum / ns->count) : 0.0);

	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++)
		json_object_set_new(object, quantiles[i].name,
				    json_real(us(histogram_quantile(ns, quantiles[i].part))));
	json_object_set_new(object, "buckets", buckets_pack(ns));
	return object;
}

static void report_json(const struct test *t, const struct side *client,
			const struct side *server, const struct histogram *ns)
{
	const struct side *receiver = client->sent ? server : client;
	json_t *end = json_pack("{so so}", "client", side_pack(client),
				"server", side_pack(server));
	double rate = receiver->seconds ? receiver->bytes / receiver->seconds : 0;
	char where[80];
	json_t *all;

	if (t->kind == STREAM || t->kind == TRANSFER)
		json_object_set_new(end, "bits_per_second", json_real(rate * 8));
	if (t->kind == RR || t->kind == CRR)
		json_object_set_new(end, t->kind == RR ? "rtt_us" : "round_us",
				    histogram_pack(ns));
	if (t->kind == RR || t->kind == CRR)
		json_object_set_new(end, "per_second",
				    json_real(client->seconds ?
					      client->messages / client->seconds : 0));
	if (client->has_info && t->kind != CRR)
		json_object_set_new(end, "doorbells_per_mib",
				    json_real(per_mib(doorbells(client, server),
						      receiver->bytes)));
	if (client->has_info && t->kind == RR && client->messages)
		json_object_set_new(end, "doorbells_per_round_trip",
				    json_real(doorbells(client, server) / client->messages));
	if (t->kind == TRANSFER)
		json_object_set_new(end, "sums_agree",
				    json_boolean(!strcmp(client->sha256, server->sha256)));
	all = json_pack("{s{ss ss ss so} so so}", "start", "family", family_names[opt.family],
			"type", opt.seqpacket ? "seqpacket" : "stream",
			"peer", net_name(where), "test", test_pack(t),
			"intervals", intervals, "end", end);
	json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	putchar('\n');
	json_decref(all);
}

void report_end(const struct test *t, const struct side *client, const struct side *server,
		const struct histogram *ns)
{
	if (opt.json)
		report_json(t, client, server, ns);
	else
		report_text(t, client, server, ns);
	fflush(stdout);
}
