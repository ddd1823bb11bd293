// SPDX-License-Identifier: GPL-2.0-only
/*
 * The messages whose path bench/layers counts: one at a time, to a receiver that
 * sleeps, with a pause after each, so that all it causes on either side (TCP's
 * ACK, a timer) falls into its own window.
 *
 *	layers_load --serve [--family F]		in the VM that receives
 *	layers_load --client PEER [--family F] -l LEN	in the one that sends
 *	layers_load --loop [--family F] -l LEN		both ends here, for the check
 *
 * In the loop, what the plugin counts in a window is also counted by the time
 * stamp counter, which under -icount is a count of instructions: "NAME TICKS".
 */
#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/vmshm.h>

#include "marker.h"

#define TRACE_MARKER	"/sys/kernel/tracing/trace_marker"
#define TRACE_SWITCH	"/sys/kernel/tracing/tracing_on"
#define PORT		20492
#define WARM		20	/* messages before those that count */
#define MAX_LEN		(1 << 20)

static int family = AF_VMSHM;
static const char *peer;
static bool serving, loop, idle;
static size_t len = 1;
static int count = 60;
static long pause_ms = 60;
static int trace_fd = -1;
static char buffer[MAX_LEN] __attribute__((aligned(4096)));

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "layers_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void rest(void)
{
	struct timespec t = { pause_ms / 1000, pause_ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/* A window has ended: tells the plugin, and the kernel's own tracer if that is what counts. */
static __always_inline void window_ends(int n)
{
	marker(n);
	if (trace_fd >= 0 && dprintf(trace_fd, "layers %d\n", n) < 0)
		die(TRACE_MARKER);
}

/* The kernel's tracer writes down what happens from here on, or up to here. */
static void trace(const char *on)
{
	int fd;

	if (trace_fd < 0)
		return;
	fd = open(TRACE_SWITCH, O_WRONLY);
	if (fd < 0 || write(fd, on, 1) != 1)
		die(TRACE_SWITCH);
	close(fd);
}

static int new_socket(void)
{
	int fd = socket(family, SOCK_STREAM, 0), one = 1;

	if (fd < 0)
		die("socket");
	if (family == AF_INET && (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
				  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))))
		die("setsockopt");
	return fd;
}

/* Sleeping is what is counted here, so no looking at the ring before it. */
static void never_poll(int fd)
{
	int never = 0;

	if (family == AF_VMSHM &&
	    setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &never, sizeof(never)))
		die("SO_VMSHM_BUSY_POLL");
}

static socklen_t address(struct sockaddr_storage *a, const char *host)
{
	struct sockaddr_vmshm vm = { .svm_family = family, .svm_port = PORT,
				     .svm_cid = host ? strtoul(host, NULL, 10) : VMSHM_CID_ANY };

	if (family == AF_INET) {
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(PORT) };

		if (host && !inet_aton(host, &in.sin_addr))
			die(host);
		memcpy(a, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(a, &vm, sizeof(vm));
	return sizeof(vm);
}

static int listener(void)
{
	struct sockaddr_storage a;
	socklen_t n = address(&a, NULL);
	int fd = new_socket();

	if (bind(fd, (struct sockaddr *)&a, n) || listen(fd, 1))
		die("listen");
	return fd;
}

static int caller(const char *host)
{
	struct sockaddr_storage a;
	socklen_t n = address(&a, host);
	int fd = new_socket();

	if (connect(fd, (struct sockaddr *)&a, n))
		die("connect");
	return fd;
}

/* All of it, or false at the end of the stream. */
static bool take(int fd, void *to, size_t bytes)
{
	ssize_t n = recv(fd, to, bytes, MSG_WAITALL);

	if (n < 0)
		die("recv");
	return (size_t)n == bytes;
}

static void give(int fd, const void *from, size_t bytes)
{
	if (send(fd, from, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
		die("send");
}

static void serve(void)
{
	int fd, listening = listener();
	uint64_t told;

	fd = accept(listening, NULL, NULL);
	if (fd < 0)
		die("accept");
	never_poll(fd);
	if (!take(fd, &told, sizeof(told)) || told > MAX_LEN)
		die("the client's first words");
	trace("1");
	for (int i = 0; take(fd, buffer, told); i++) {
		if (i < WARM)
			window_ends(MARKER_FORGET);
		else
			window_ends(MARKER_RECEIVE);
	}
	trace("0");
}

static void client(void)
{
	uint64_t told = len;
	int fd = caller(peer);

	never_poll(fd);
	give(fd, &told, sizeof(told));
	rest();
	trace("1");
	window_ends(MARKER_FORGET);
	for (int i = 0; i < count; i++) {
		rest();
		if (i < count / 4)
			window_ends(MARKER_FORGET);
		else
			window_ends(MARKER_BASE);
	}
	for (int i = 0; i < WARM + count; i++) {
		if (!idle)
			give(fd, buffer, len);
		rest();
		if (i < WARM)
			window_ends(MARKER_FORGET);
		else
			window_ends(MARKER_SEND);
	}
	trace("0");
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t mode_of(uint64_t *values, int n)
{
	uint64_t best = 0;
	int best_run = 0, run = 0;

	qsort(values, n, sizeof(*values), compare);
	for (int i = 0; i < n; i++) {
		run = i && values[i] == values[i - 1] ? run + 1 : 1;
		if (run > best_run) {
			best_run = run;
			best = values[i];
		}
	}
	return best;
}

static void both_ends(void)
{
	uint64_t *sends = calloc(count, sizeof(*sends)), *recvs = calloc(count, sizeof(*recvs));
	int listening = listener(), from = caller(family == AF_INET ? "127.0.0.1" : "1");
	int to = accept(listening, NULL, NULL);

	if (to < 0 || !sends || !recvs)
		die("accept");
	trace("1");
	for (int i = 0; i < count; i++) {
		uint64_t start;

		window_ends(MARKER_FORGET);
		start = __builtin_ia32_rdtsc();
		give(from, buffer, len);
		sends[i] = __builtin_ia32_rdtsc() - start;
		window_ends(MARKER_SEND);
		start = __builtin_ia32_rdtsc();
		if (!take(to, buffer, len))
			die("recv");
		recvs[i] = __builtin_ia32_rdtsc() - start;
		window_ends(MARKER_RECEIVE);
	}
	trace("0");
	printf("send_ticks %llu\nreceive_ticks %llu\n", (unsigned long long)mode_of(sends, count),
	       (unsigned long long)mode_of(recvs, count));
}

static const struct argp_option argp_options[] = {
	{ "serve", 's', NULL, 0, "receive what one client sends", 0 },
	{ "client", 'c', "PEER", 0, "send to this CID or address", 0 },
	{ "loop", 'o', NULL, 0, "send and receive here", 0 },
	{ "family", 'f', "FAMILY", 0, "vmshm (default), vsock or tcp", 0 },
	{ "len", 'l', "BYTES", 0, "of a message (1)", 0 },
	{ "count", 'n', "COUNT", 0, "messages that count (60)", 0 },
	{ "pause", 'p', "MS", 0, "after each message (60)", 0 },
	{ "trace", 't', NULL, 0,
	  "switch the kernel's tracer on, and mark the windows in its trace", 0 },
	{ "idle", 'i', NULL, 0, "connect and pause, but send no message", 0 },
	{ 0 }
};

static long number(const char *what, const char *text, long most, const struct argp_state *state)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end || value < 1 || value > most)
		argp_error(state, "%s %s: expected a number from 1 to %ld", what, text, most);
	return value;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 's':
		serving = true;
		break;
	case 'c':
		peer = arg;
		break;
	case 'o':
		loop = true;
		break;
	case 'f':
		if (strcmp(arg, "vmshm") && strcmp(arg, "vsock") && strcmp(arg, "tcp"))
			argp_error(state, "--family %s: expected vmshm, vsock or tcp", arg);
		family = *arg == 't' ? AF_INET : arg[1] == 'm' ? AF_VMSHM : AF_VSOCK;
		break;
	case 'l':
		len = number("--len", arg, MAX_LEN, state);
		break;
	case 'n':
		count = number("--count", arg, 100000, state);
		break;
	case 'i':
		idle = true;
		break;
	case 't':
		trace_fd = open(TRACE_MARKER, O_WRONLY | O_CLOEXEC);
		if (trace_fd < 0)
			argp_failure(state, 1, errno, TRACE_MARKER);
		break;
	case 'p':
		pause_ms = number("--pause", arg, 10000, state);
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'? there are options only", arg);
		break;
	case ARGP_KEY_END:
		if (serving + loop + !!peer != 1)
			argp_error(state, "one of --serve, --client and --loop");
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
		.doc = "Messages whose path is counted, see bench/layers/run.",
	};

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	memset(buffer, 1, sizeof(buffer));
	if (serving)
		serve();
	else if (loop)
		both_ends();
	else
		client();
	return 0;
}
