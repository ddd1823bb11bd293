// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmshm_perf: options, and the course of a test on the client and the server.
 * See docs/man/vmshm_perf.1.
 */
#include <argp.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "perf.h"

struct options opt = { .port = DEFAULT_PORT, .interval = 1, .outstanding = 1 };

static struct test test = {
	.len = 128 << 10,
	.streams = 1,
	.seconds = 10,
	.busy_poll = NO_BUSY_POLL,
};

enum {
	OPT_RR = 256, OPT_CRR, OPT_BUSY_POLL, OPT_BUFFER, OPT_FAMILY, OPT_FILE, OPT_OUT,
	OPT_OUTSTANDING, OPT_RATE, OPT_SEQPACKET,
};

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	if (opt.json && !opt.server) {
		char text[400];

		vsnprintf(text, sizeof(text), format, args);
		json_dumpf(json_pack("{ss}", "error", text), stdout, JSON_INDENT(2));
		putchar('\n');
		fprintf(stderr, "vmshm_perf: %s\n", text);
	} else {
		fputs("vmshm_perf: ", stderr);
		vfprintf(stderr, format, args);
		fputc('\n', stderr);
	}
	va_end(args);
	exit(1);
}

double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static const struct argp_option argp_options[] = {
	{ "server", 's', NULL, 0, "serve tests, one after the other", 1 },
	{ "client", 'c', "PEER", 0,
	  "run a test with the server at PEER: a CID, a host for tcp, \"local\" for unix", 1 },
	{ "one-off", '1', NULL, 0, "server: end after one test", 1 },
	{ "port", 'p', "PORT", 0, "port of the server (5201)", 1 },
	{ "family", OPT_FAMILY, "FAMILY", 0, "vmshm (default), vsock, tcp or unix", 1 },
	{ "seqpacket", OPT_SEQPACKET, NULL, 0,
	  "records (SOCK_SEQPACKET) instead of a stream; not for tcp", 1 },
	{ "time", 't', "SECS", 0, "send for that long (10)", 2 },
	{ "bytes", 'n', "BYTES", 0, "send that much instead (K, M, G mean powers of 1024)", 2 },
	{ "blockcount", 'k', "COUNT", 0, "send that many messages instead", 2 },
	{ "len", 'l', "LEN", 0, "bytes of a message (128K; 64 with --rr)", 2 },
	{ "parallel", 'P', "STREAMS", 0, "connections at the same time (1)", 2 },
	{ "reverse", 'R', NULL, 0, "the server sends", 2 },
	{ "rr", OPT_RR, NULL, 0, "measure round trips of a message", 3 },
	{ "outstanding", OPT_OUTSTANDING, "COUNT", 0,
	  "with --rr: so many on their way at a time (1), 32 KiB in all", 3 },
	{ "rate", OPT_RATE, "COUNT", 0,
	  "with --rr: so many a second, each timed from when it was due", 3 },
	{ "crr", OPT_CRR, NULL, 0, "measure rounds of connect, accept and close", 3 },
	{ "file", OPT_FILE, "PATH", 0, "send this file, compare SHA-256 sums", 3 },
	{ "out", OPT_OUT, "PATH", 0, "server: where a file goes (else it is only summed)", 3 },
	{ "busy-poll", OPT_BUSY_POLL, "HOW", 0, "adaptive, off or 1 to 1000 microseconds", 4 },
	{ "buffer", OPT_BUFFER, "BYTES", 0, "size of a socket's buffers", 4 },
	{ "interval", 'i', "SECS", 0, "seconds between reports (1; 0 is none)", 5 },
	{ "json", 'J', NULL, 0, "one JSON object at the end", 5 },
	{ "verbose", 'V', NULL, 0, "print all counters", 5 },
	{ 0 }
};

static uint64_t number(struct argp_state *state, const char *option, const char *text,
		       uint64_t min, uint64_t max)
{
	unsigned long long value;
	int shift = 0;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	switch (end == text ? '?' : *end) {
	case 'G': case 'g':
		shift += 10;
		/* fall through */
	case 'M': case 'm':
		shift += 10;
		/* fall through */
	case 'K': case 'k':
		shift += 10;
		end++;
	}
	if (errno || end == text || *end || *text == '-' || value > UINT64_MAX >> shift ||
	    value << shift < min || value << shift > max)
		argp_error(state, "%s %s: expected a number from %llu to %llu", option, text,
			   (unsigned long long)min, (unsigned long long)max);
	return value << shift;
}

static double time_of(struct argp_state *state, const char *option, const char *text, double min)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !isfinite(value) || value < min || value > 86400)
		argp_error(state, "%s %s: expected seconds from %g to 86400", option, text, min);
	return value;
}

static void set_kind(struct argp_state *state, enum kind kind)
{
	if (test.kind != STREAM && test.kind != kind)
		argp_error(state, "--rr, --crr and --file exclude each other");
	test.kind = kind;
}

static bool len_given, time_given;

static void check(struct argp_state *state)
{
	if (opt.server == !!opt.host)
		argp_error(state, "give either -s (server) or -c PEER (client)");
	if (opt.server && opt.in_path)
		argp_error(state, "--file is the client's");
	if (!opt.server && opt.out_path)
		argp_error(state, "--out is the server's: start it with vmshm_perf -s --out PATH");
	if (!opt.server && opt.one_off)
		argp_error(state, "-1 is the server's");
	if (!!test.bytes + !!test.blocks + time_given > 1)
		argp_error(state, "-t, -n and -k exclude each other");
	if (test.busy_poll != NO_BUSY_POLL && opt.family != VMSHM)
		argp_error(state, "--busy-poll is for --family vmshm");
	if (opt.seqpacket && opt.family == TCP)
		argp_error(state, "--seqpacket: tcp has no records; take another --family");
	if (opt.seqpacket && (test.kind == TRANSFER || opt.out_path))
		argp_error(state, "--seqpacket is not for --file and --out, which send a stream");
	if (test.reverse && test.kind != STREAM)
		argp_error(state, "-R is for throughput, not for --rr, --crr or --file");
	if (test.kind == CRR && (test.streams > 1 || test.bytes))
		argp_error(state, "--crr takes -t or -k, and one stream");
	if (test.kind == TRANSFER && (test.streams > 1 || test.bytes || test.blocks || time_given))
		argp_error(state, "--file takes one stream, and the file says how much");
	if (test.kind == RR && !len_given)
		test.len = 64;
	if ((opt.outstanding > 1 || opt.rate) && test.kind != RR)
		argp_error(state, "--outstanding and --rate are for --rr");
	if (opt.outstanding > 1 && opt.rate)
		argp_error(state, "--outstanding and --rate exclude each other");
	if (opt.outstanding > 1 && opt.outstanding * test.len > MAX_FLIGHT)
		argp_error(state, "--outstanding %u of %zu bytes: expected 32 KiB at the most",
			   opt.outstanding, test.len);
	if (opt.server && (len_given || time_given || test.bytes || test.blocks ||
			   test.kind != STREAM || test.streams > 1 || test.reverse ||
			   test.buffer || test.busy_poll != NO_BUSY_POLL))
		argp_error(state,
			   "the client says what the test is; -s takes -p, -1, --family, --seqpacket, --out");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 's':
		opt.server = true;
		break;
	case 'c':
		opt.host = arg;
		break;
	case '1':
		opt.one_off = true;
		break;
	case 'p':
		opt.port = number(state, "-p", arg, 1, 0xfffffffe);
		break;
	case OPT_FAMILY:
		for (opt.family = VMSHM; family_names[opt.family]; opt.family++)
			if (!strcmp(arg, family_names[opt.family]))
				return 0;
		argp_error(state, "--family %s: expected vmshm, vsock, tcp or unix", arg);
		break;
	case OPT_SEQPACKET:
		opt.seqpacket = true;
		break;
	case 't':
		test.seconds = time_of(state, "-t", arg, 0.01);
		time_given = true;
		break;
	case 'n':
		test.bytes = number(state, "-n", arg, 1, 1ull << 50);
		break;
	case 'k':
		test.blocks = number(state, "-k", arg, 1, 1ull << 40);
		break;
	case 'l':
		test.len = number(state, "-l", arg, 1, MAX_LEN);
		len_given = true;
		break;
	case 'P':
		test.streams = number(state, "-P", arg, 1, MAX_STREAMS);
		break;
	case 'R':
		test.reverse = true;
		break;
	case OPT_RR:
		set_kind(state, RR);
		break;
	case OPT_OUTSTANDING:
		opt.outstanding = number(state, "--outstanding", arg, 1, MAX_OUTSTANDING);
		break;
	case OPT_RATE:
		opt.rate = number(state, "--rate", arg, 1, 10000000);
		break;
	case OPT_CRR:
		set_kind(state, CRR);
		break;
	case OPT_FILE:
		set_kind(state, TRANSFER);
		opt.in_path = arg;
		break;
	case OPT_OUT:
		opt.out_path = arg;
		break;
	case OPT_BUSY_POLL:
		if (!strcmp(arg, "adaptive"))
			test.busy_poll = VMSHM_BUSY_POLL_ADAPTIVE;
		else if (!strcmp(arg, "off"))
			test.busy_poll = 0;
		else if (*arg < '0' || *arg > '9')
			argp_error(state,
				   "--busy-poll %s: expected adaptive, off or microseconds", arg);
		else
			test.busy_poll = number(state, "--busy-poll", arg, 0,
						VMSHM_BUSY_POLL_MAX_US);
		break;
	case OPT_BUFFER:
		test.buffer = number(state, "--buffer", arg, 1, 1 << 30);
		break;
	case 'i':
		opt.interval = time_of(state, "-i", arg, 0);
		break;
	case 'J':
		opt.json = true;
		break;
	case 'V':
		opt.verbose = true;
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'? there are options only", arg);
		break;
	case ARGP_KEY_END:
		check(state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void processor_time(double *user, double *system)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	*user = r.ru_utime.tv_sec + r.ru_utime.tv_usec / 1e6 - *user;
	*system = r.ru_stime.tv_sec + r.ru_stime.tv_usec / 1e6 - *system;
}

static void run_client_side(struct side *side, struct histogram *ns)
{
	switch (test.kind) {
	case STREAM:
		stream_run(&test, -1, side);
		break;
	case RR:
		rr_run(&test, -1, side, ns);
		break;
	case CRR:
		crr_client(&test, side, ns);
		break;
	case TRANSFER:
		file_send(&test, opt.in_path, side);
		break;
	}
}

static int client(void)
{
	static struct side here, there;
	struct histogram *ns = calloc(1, sizeof(*ns));
	char error[200], where[80];
	json_t *answer;
	int fd;

	if (opt.in_path && access(opt.in_path, R_OK))
		die("--file %s: %s", opt.in_path, strerror(errno));
	fd = net_connect(NULL);
	if (fd < 0)
		die("cannot connect to %s: %s; is vmshm_perf -s running there?",
		    net_name(where), strerror(errno));
	if (!control_send(fd, test_pack(&test), error))
		die("%s", error);
	answer = control_receive(fd, error);
	if (!answer)
		die("%s", error);
	json_decref(answer);
	report_start(&test);
	processor_time(&here.cpu_user, &here.cpu_system);
	run_client_side(&here, ns);
	processor_time(&here.cpu_user, &here.cpu_system);
	if (here.error[0])
		die("%s", here.error);
	if (test.kind == CRR && send(fd, "\n", 1, MSG_NOSIGNAL) != 1)
		die("control connection: %s", strerror(errno));
	answer = control_receive(fd, error);
	if (!answer || !side_unpack(answer, &there, error))
		die("%s", error);
	json_decref(answer);
	report_end(&test, &here, &there, ns);
	return test.kind == TRANSFER && strcmp(here.sha256, there.sha256);
}

static void run_server_side(int listen_fd, int control, struct side *side)
{
	switch (test.kind) {
	case STREAM:
		stream_run(&test, listen_fd, side);
		break;
	case RR:
		rr_run(&test, listen_fd, side, NULL);
		break;
	case CRR:
		crr_server(&test, listen_fd, control, side);
		break;
	case TRANSFER:
		file_receive(&test, listen_fd, opt.out_path, side);
		break;
	}
}

static int must_listen(void)
{
	int fd = net_listen();

	if (fd < 0)
		die("cannot listen at port %u: %s%s", opt.port, strerror(errno),
		    errno == EADDRINUSE ? "; is another one running?" : "");
	return fd;
}

/* One client's test; what goes wrong is said, here and there. */
static void serve(int *listen_fd, int control)
{
	struct side side = { 0 };
	char error[200];
	json_t *object;

	net_limit(control, 10);
	object = control_receive(control, error);
	if (!object || !test_unpack(object, &test, error)) {
		fprintf(stderr, "vmshm_perf: %s\n", error);
		control_send(control, json_pack("{ss}", "error", error), error);
		json_decref(object);
		return;
	}
	json_decref(object);
	net_limit(control, 0);
	if (net_prepare(*listen_fd, &test)) {
		snprintf(error, sizeof(error), "--buffer: %s", strerror(errno));
		control_send(control, json_pack("{ss}", "error", error), error);
		return;
	}
	if (!control_send(control, json_pack("{sb}", "ok", 1), error)) {
		fprintf(stderr, "vmshm_perf: %s\n", error);
		return;
	}
	processor_time(&side.cpu_user, &side.cpu_system);
	run_server_side(*listen_fd, control, &side);
	processor_time(&side.cpu_user, &side.cpu_system);
	if (side.error[0])
		fprintf(stderr, "vmshm_perf: %s\n", side.error);
	/*
	 * A new listener for each test, so that no test's buffer sizes stay; and
	 * before the client knows that this one is over, for it may come back.
	 */
	close(*listen_fd);
	*listen_fd = must_listen();
	control_send(control, side_pack(&side), error);
}

static int server(void)
{
	int listen_fd = must_listen(), control;

	do {
		control = net_accept(listen_fd, NULL);
		if (control < 0)
			die("accept: %s", strerror(errno));
		serve(&listen_fd, control);
		close(control);
	} while (!opt.one_off);
	return 0;
}

int main(int argc, char **argv)
{
	struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Measures AF_VMSHM sockets, and others the same way.",
	};

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	return opt.server ? server() : client();
}
