// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmshm_test: options, the list of cases, and the report in TAP. The client
 * decides what runs and prints; the server follows.
 */
#include <argp.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "control.h"

#define FIRST_PORT	20000

static const struct subject *const subjects[] = {
	&names_subject, &connect_subject, &listen_subject,
	&sendrecv_subject, &flags_subject, &timeouts_subject, &poll_subject, &epoll_subject,
	&sigio_subject,
	&shutdown_subject, &options_subject, &buffer_subject, &ioctl_subject, &splice_subject,
	&uring_subject, &process_subject, &threads_subject, &memory_subject,
	&badinput_subject, &stress_subject, &peer_subject,
	&seqpacket_subject, &recordwait_subject, &dgram_subject, &dgramwait_subject,
	&grow_subject, &diag_subject, &zerocopy_subject, &vsock_subject,
	&poll_records_subject, &epoll_records_subject, &timeouts_records_subject,
	&shutdown_records_subject, &uring_records_subject, &mmsg_records_subject,
	&mmsg_dgram_subject,
};

enum mode { CLIENT = 1, SERVER, BOTH };
enum { OPT_PAUSED = 256 };

struct options {
	enum mode mode;
	const char *control;
	const char *only;
	bool list;
	bool paused;
	bool peer_given;
};

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	fputs("vmshm_test: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

static const struct argp_option argp_options[] = {
	{ "mode", 'm', "SIDE", 0, "client, server, or both (one VM, the default)", 0 },
	{ "peer", 'p', "CID", 0, "CID that the client connects to (1: this VM)", 0 },
	{ "family", 'f', "FAMILY", 0, "vmshm (the default) or vsock", 0 },
	{ "control", 'c', "WHERE", 0,
	  "HOST:PORT or unix:PATH where the two sides meet; the server listens there", 0 },
	{ "only", 'o', "REGEX", 0, "only cases whose name (subject.case) matches", 0 },
	{ "patience", 'P', "FACTOR", 0,
	  "multiply all time limits: for a slow or busy machine", 0 },
	{ "list", 'l', NULL, 0, "list the cases and what they show", 0 },
	{ "paused", OPT_PAUSED, NULL, 0,
	  "run the cases for a peer whose VM is paused (client alone)", 0 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	char *end;

	switch (key) {
	case 'm':
		if (!strcmp(arg, "client"))
			o->mode = CLIENT;
		else if (!strcmp(arg, "server"))
			o->mode = SERVER;
		else if (!strcmp(arg, "both"))
			o->mode = BOTH;
		else
			argp_error(state, "--mode %s: expected client, server or both", arg);
		break;
	case 'p':
		errno = 0;
		ctx.peer = strtoul(arg, &end, 10);
		if (errno || end == arg || *end)
			argp_error(state, "--peer %s: expected a CID, 1 or 3 up", arg);
		o->peer_given = true;
		break;
	case 'f':
		if (!strcmp(arg, "vmshm"))
			ctx.family = AF_VMSHM;
		else if (!strcmp(arg, "vsock"))
			ctx.family = AF_VSOCK;
		else
			argp_error(state, "--family %s: expected vmshm or vsock", arg);
		break;
	case 'c':
		o->control = arg;
		break;
	case 'o':
		o->only = arg;
		break;
	case 'P':
		ctx.patience = strtoul(arg, &end, 10);
		if (end == arg || *end || ctx.patience < 1 || ctx.patience > 100)
			argp_error(state, "--patience %s: expected a number from 1 to 100", arg);
		break;
	case 'l':
		o->list = true;
		break;
	case OPT_PAUSED:
		o->paused = true;
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'? there are options only", arg);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* The case at that place of the whole table; its sockets are of its subject's type. */
static const struct test_case *nth_case(size_t n, const struct subject **subject)
{
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++) {
		*subject = subjects[i];
		ctx.type = subjects[i]->type ?: SOCK_STREAM;
		if (n < subjects[i]->count)
			return &subjects[i]->cases[n];
		n -= subjects[i]->count;
	}
	return NULL;
}

static bool wanted(const struct options *o, const regex_t *only, const char *name,
		   const struct test_case *c)
{
	if (!!(c->flags & PAUSED_PEER) != o->paused)
		return false;
	/* What AF_VSOCK makes of records differs from one of its transports to the next. */
	if (ctx.type != SOCK_STREAM && (c->flags & STREAM_ONLY || ctx.family == AF_VSOCK))
		return false;
	return !o->only || !regexec(only, name, 0, NULL, 0);
}

static void serve(int control)
{
	const struct subject *subject;
	const struct test_case *c;
	struct outcome mine, theirs;
	unsigned int number;
	char line[LINE_LEN];

	for (;;) {
		if (!control_receive(control, line, 60000))
			die("the client has been silent for 60 s");
		if (!strcmp(line, "BYE"))
			return;
		/* Left over from a case that failed. */
		if (line[0] == 'S' || line[0] == 'D')
			continue;
		if (sscanf(line, "RUN %u", &number) != 1)
			die("control channel: unexpected line: %s", line);
		c = nth_case(number, &subject);
		if (!c)
			die("the client asks for case %u: it is another version", number);
		ctx.port = FIRST_PORT + number * PORTS_PER_CASE;
		run_case(control, number, c, &mine, &theirs);
	}
}

static const char *reason_to_skip(const struct test_case *c)
{
	if ((c->flags & ROOT_ONLY) && geteuid())
		return "wants to be root";
	if ((c->flags & VMSHM_ONLY) && ctx.family == AF_VSOCK)
		return "AF_VSOCK has no such thing";
	return NULL;
}

/* One case on both sides and its line; true if it has not failed. */
static bool report_case(int control, unsigned int number, unsigned int tap, const char *name,
			const struct test_case *c)
{
	const char *reason = reason_to_skip(c);
	struct outcome mine, theirs;
	char line[LINE_LEN];
	double start = now();
	bool failed;

	if (reason) {
		printf("ok %u - %s # SKIP %s\n", tap, name, reason);
		return true;
	}
	if (control >= 0) {
		snprintf(line, sizeof(line), "RUN %u", number);
		control_send(control, line);
	}
	ctx.port = FIRST_PORT + number * PORTS_PER_CASE;
	run_case(control, number, c, &mine, &theirs);
	failed = mine.verdict == FAILED || theirs.verdict == FAILED;
	if (failed && c->vsock_differs && ctx.family == AF_VSOCK) {
		printf("ok %u - %s # SKIP AF_VSOCK differs: %s\n", tap, name, c->vsock_differs);
		failed = false;
	} else if (!failed && (mine.verdict == SKIPPED || theirs.verdict == SKIPPED)) {
		printf("ok %u - %s # SKIP %s\n", tap, name,
		       mine.verdict == SKIPPED ? mine.why : theirs.why);
	} else {
		printf("%s %u - %s\n", failed ? "not ok" : "ok", tap, name);
	}
	if (failed)
		printf("# shows: %s\n# failed after %.1f s\n", c->shows, now() - start);
	if (mine.verdict == FAILED)
		printf("# client: %s\n", mine.why);
	if (theirs.verdict == FAILED)
		printf("# server: %s\n", theirs.why);
	return !failed;
}

/* Lists, or runs as the client; true if nothing failed. */
static bool each_case(const struct options *o, int control)
{
	const struct subject *subject;
	const struct test_case *c;
	unsigned int tap, plan = 0;
	bool good = true, list;
	char name[100];
	regex_t only;
	int err;

	if (o->only) {
		err = regcomp(&only, o->only, REG_EXTENDED | REG_NOSUB);
		if (err) {
			regerror(err, &only, name, sizeof(name));
			die("--only %s: %s", o->only, name);
		}
	}
	/* First round: how many; second round: do it. */
	for (int round = 0; round < 2; round++) {
		tap = 0;
		for (size_t n = 0; (c = nth_case(n, &subject)); n++) {
			snprintf(name, sizeof(name), "%s.%s", subject->name, c->name);
			list = o->list && (!o->only || !regexec(&only, name, 0, NULL, 0));
			if (!list && !(wanted(o, &only, name, c) && !o->list))
				continue;
			tap++;
			if (!round)
				continue;
			if (list)
				printf("%-34s %s\n", name, c->shows);
			else
				good &= report_case(control, n, tap, name, c);
			fflush(stdout);
		}
		if (!round && !o->list)
			printf("TAP version 13\n1..%u\n", plan = tap);
	}
	if (!plan && !o->list)
		fprintf(stderr, "vmshm_test: no case matches; see vmshm_test --list\n");
	return good;
}

static void check_family(void)
{
	int fd = socket(ctx.family, SOCK_STREAM, 0);

	if (fd < 0)
		die("family %d (%s): %s: load the module (modprobe %s)", ctx.family,
		    ctx.family == AF_VSOCK ? "AF_VSOCK" : "AF_VMSHM", strerror(errno),
		    ctx.family == AF_VSOCK ? "vsock_loopback" : "af_vmshm");
	close(fd);
}

static bool run_both(const struct options *o)
{
	int pipe[2], status;
	bool good;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pipe))
		die("socketpair: %s", strerror(errno));
	ctx.one_vm = true;
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (!pid) {
		close(pipe[0]);
		serve(pipe[1]);
		exit(0);
	}
	close(pipe[1]);
	ctx.is_client = true;
	good = each_case(o, pipe[0]);
	control_send(pipe[0], "BYE");
	waitpid(pid, &status, 0);
	return good && WIFEXITED(status) && !WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	struct argp argp = {
		.options = argp_options,
		.parser = parse,
		.doc = "Tests AF_VMSHM sockets (or AF_VSOCK, to test the tests); prints TAP.",
	};
	struct options o = { .mode = BOTH };
	bool good;
	int fd;

	ctx.family = AF_VMSHM;
	ctx.peer = VMSHM_CID_LOCAL;
	ctx.patience = 1;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	signal(SIGPIPE, SIG_IGN);
	if (o.list)
		return !each_case(&o, -1);
	check_family();
	if (o.paused) {
		ctx.is_client = true;
		return !each_case(&o, -1);
	}
	if (o.mode == BOTH)
		return !run_both(&o);
	if (!o.control)
		die("--mode client and server want --control HOST:PORT");
	if (o.mode == SERVER) {
		fd = control_listen(o.control);
		serve(control_accept(fd));
		return 0;
	}
	if (!o.peer_given)
		die("--mode client wants --peer CID");
	ctx.is_client = true;
	fd = control_connect(o.control);
	good = each_case(&o, fd);
	control_send(fd, "BYE");
	return !good;
}
