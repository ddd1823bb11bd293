// SPDX-License-Identifier: GPL-2.0-only
/*
 * One side of one case: forked, watched and ended here.
 *
 * The case's process talks to its runner over a socket pair, the runners talk
 * over the control channel. Lines there:
 *
 *	S NUMBER TEXT		a case's barrier or value, for the other side
 *	D NUMBER VERDICT TEXT	this side of the case has ended
 *
 * NUMBER tells cases apart, so what a failed one left in the channel is dropped.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "control.h"

/* How long a side lives on when the other has failed, ms. */
#define GRACE_MS	1000
/* How much longer than the case's limit its runner waits for its end, ms. */
#define OVERTIME_MS	3000

struct context ctx;

static bool sync_receive(char line[LINE_LEN])
{
	ssize_t n = recv(ctx.sync, line, LINE_LEN - 1, 0);

	if (n <= 0)
		FAIL("the runner is gone");
	line[n] = '\0';
	return strcmp(line, "!");
}

static void sync_send(const char *kind, const char *name, unsigned long long value)
{
	char line[LINE_LEN];

	snprintf(line, sizeof(line), "%s %llu %s", kind, value, name);
	if (send(ctx.sync, line, strlen(line), MSG_NOSIGNAL) < 0)
		FAIL("the runner is gone");
}

static unsigned long long sync_expect(const char *kind, const char *name)
{
	char line[LINE_LEN], got_kind[16], got_name[LINE_LEN];
	unsigned long long value;

	here(__FILE__, __LINE__, name);
	if (!sync_receive(line))
		FAIL("the other side ended; waited for its \"%s\"", name);
	if (sscanf(line, "%15s %llu %1023[^\n]", got_kind, &value, got_name) != 3 ||
	    strcmp(kind, got_kind) || strcmp(name, got_name))
		FAIL("expected %s \"%s\", the other side sent \"%s\"", kind, name, line);
	return value;
}

void barrier(const char *name)
{
	sync_send("barrier", name, 0);
	sync_expect("barrier", name);
}

void tell(const char *name, unsigned long long value)
{
	sync_send("value", name, value);
}

unsigned long long ask(const char *name)
{
	return sync_expect("value", name);
}

static void out_of_time(int sig)
{
	struct report *r = ctx.report;

	(void)sig;
	/* At this point fail_at()'s snprintf is worth the risk: _exit follows. */
	fail_at(r->file ? r->file : "?", r->line, "hangs in: %s", r->what ? r->what : "?");
}

static void __attribute__((noreturn)) child(void (*side)(void), int limit)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	on_signal(SIGPIPE, SIG_DFL, 0);
	on_signal(SIGALRM, out_of_time, 0);
	alarm(limit);
	side();
	_exit(0);
}

static struct report *new_report(void)
{
	struct report *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (r == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	return r;
}

/* A process that even a signal doesn't end: say where its kernel side is. */
static void stuck(pid_t pid, struct outcome *o)
{
	char path[64], stack[400] = "";
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stack", pid);
	f = fopen(path, "r");
	if (f) {
		n = fread(stack, 1, sizeof(stack) - 1, f);
		stack[n] = '\0';
		fclose(f);
	}
	for (n = 0; stack[n]; n++)
		if (stack[n] == '\n')
			stack[n] = ';';
	o->verdict = FAILED;
	snprintf(o->why, sizeof(o->why), "cannot be killed in %s:%d (%s): %s",
		 ctx.report->file ? ctx.report->file : "?", ctx.report->line,
		 ctx.report->what ? ctx.report->what : "?", stack);
}

static void collect(pid_t pid, struct outcome *o)
{
	const struct report *r = ctx.report;
	int status = 0, tries;

	for (tries = 0; waitpid(pid, &status, WNOHANG) != pid; tries++) {
		if (tries == 20) {
			stuck(pid, o);
			return;
		}
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		usleep(50000);
	}
	kill(-pid, SIGKILL);
	o->verdict = r->verdict;
	snprintf(o->why, sizeof(o->why), "%s", r->why);
	if (r->verdict == PASSED && (!WIFEXITED(status) || WEXITSTATUS(status))) {
		o->verdict = FAILED;
		if (WIFSIGNALED(status))
			snprintf(o->why, sizeof(o->why), "ended by signal %d (%s) after %s:%d: %s",
				 WTERMSIG(status), strsignal(WTERMSIG(status)),
				 r->file ? r->file : "?", r->line, r->what ? r->what : "?");
		else
			snprintf(o->why, sizeof(o->why), "exited with %d", WEXITSTATUS(status));
	}
}

static void send_done(int control, unsigned int number, const struct outcome *o)
{
	char line[2 * LINE_LEN];

	snprintf(line, sizeof(line), "D %u %d %s", number, o->verdict, o->why);
	for (char *p = line; *p; p++)
		if (*p == '\n')
			*p = ' ';
	line[LINE_LEN - 1] = '\0';
	control_send(control, line);
}

/* What came over the control channel; true when the other side has ended. */
static bool handle_line(const char *line, unsigned int number, int to_child,
			struct outcome *theirs)
{
	unsigned int got;
	int verdict, at = 0;

	if (sscanf(line, "S %u %n", &got, &at) == 1 && at) {
		if (got == number && to_child >= 0)
			send(to_child, line + at, strlen(line + at), MSG_NOSIGNAL);
		return false;
	}
	if (sscanf(line, "D %u %d %n", &got, &verdict, &at) < 2 || !at)
		die("control channel: unexpected line: %s", line);
	if (got != number)
		return false;
	theirs->verdict = verdict;
	snprintf(theirs->why, sizeof(theirs->why), "%s", line + at);
	if (to_child >= 0)
		send(to_child, "!", 1, MSG_NOSIGNAL);
	return true;
}

/* Carries lines until this side's process ends; true when the other has, too. */
static bool watch(int control, unsigned int number, pid_t pid, int sync, double end,
		  struct outcome *theirs)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p[] = {
		{ .fd = pidfd, .events = POLLIN },
		{ .fd = sync, .events = POLLIN },
		{ .fd = control, .events = POLLIN },
	};
	char line[LINE_LEN], text[LINE_LEN - 32];
	bool done = control < 0, more;
	ssize_t n;

	if (pidfd < 0)
		die("pidfd_open: %s", strerror(errno));
	while (now() < end) {
		p[2].fd = done ? -1 : control;
		if (poll(p, ARRAY_SIZE(p), 100) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		if (p[1].revents & POLLIN) {
			n = recv(sync, text, sizeof(text) - 1, MSG_DONTWAIT);
			if (n > 0 && control >= 0) {
				text[n] = '\0';
				snprintf(line, sizeof(line), "S %u %s", number, text);
				control_send(control, line);
			} else if (n <= 0) {
				p[1].fd = -1;
			}
			continue;
		}
		/* Several lines can have come at once, so ask until none is left. */
		more = !done && control_receive(control, line, 0);
		if (more && handle_line(line, number, sync, theirs)) {
			done = true;
			if (theirs->verdict != PASSED && now() + GRACE_MS / 1000.0 < end)
				end = now() + GRACE_MS / 1000.0;
		}
		if (!more && p[0].revents)
			break;
	}
	close(pidfd);
	return done;
}

static unsigned int limit_of(const struct test_case *c)
{
	return (c->limit ? c->limit : DEFAULT_LIMIT) * ctx.patience;
}

static void run_mine(int control, unsigned int number, const struct test_case *c,
		     void (*side)(void), struct outcome *mine, bool *done,
		     struct outcome *theirs)
{
	unsigned int limit = limit_of(c);
	int sync[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync))
		die("socketpair: %s", strerror(errno));
	memset(ctx.report, 0, sizeof(*ctx.report));
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (!pid) {
		ctx.sync = sync[1];
		close(sync[0]);
		if (control >= 0)
			close(control);
		child(side, limit);
	}
	setpgid(pid, pid);
	close(sync[1]);
	*done = watch(control, number, pid, sync[0],
		      now() + limit + OVERTIME_MS / 1000.0, theirs);
	/* Out of time: let it say where it hangs. */
	kill(pid, SIGALRM);
	usleep(1000);
	collect(pid, mine);
	close(sync[0]);
}

void run_case(int control, unsigned int number, const struct test_case *c,
	      struct outcome *mine, struct outcome *theirs)
{
	void (*side)(void) = ctx.is_client ? c->client : c->server;
	unsigned int limit = limit_of(c);
	char line[LINE_LEN];
	bool done = false;

	if (!ctx.report)
		ctx.report = new_report();
	*mine = *theirs = (struct outcome) { .verdict = PASSED };
	if (side)
		run_mine(control, number, c, side, mine, &done, theirs);
	if (control < 0)
		return;
	send_done(control, number, mine);
	while (!done) {
		if (!control_receive(control, line, limit * 1000 + 2 * OVERTIME_MS))
			die("the other side has not ended case %u in time", number);
		done = handle_line(line, number, -1, theirs);
	}
}
