// SPDX-License-Identifier: GPL-2.0-only
/*
 * The daemon is killed at each single step while a member comes and goes: after
 * every message that it sends, and after every system call at all. Whatever it
 * had done by then, the member gets each message once and in order, its peer is
 * told once of each change, and nothing is left behind.
 *
 * A tracer (ptrace) kills the worker, so that the daemon is the one that is
 * shipped. The keeper starts it again, and the tracer follows.
 */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/ptrace.h>
#include <unistd.h>

#define THREADS	64

/* What the scenario, a process, tells the tracer. */
struct told {
	u64 running;		/* count from here, and no longer */
	u64 refused;		/* connections that ended before the first message */
	u64 failed;
	char why[128];
};

static struct vmshmd d;
static struct told *told;
static struct fake witness;

/* ---- the scenario ---- */

static void failed(const char *why)
{
	if (!told->failed)
		snprintf(told->why, sizeof(told->why), "%s", why);
	told->failed = 1;
}

/*
 * Connect, take everything, leave. The one thing that a crash may cost is a
 * connection that was accepted a moment before and had got nothing yet.
 */
static bool come(struct fake *a)
{
	for (unsigned int n = 0; n < 3; n++) {
		if (fake_join(a, &d, "a-b", "a", 2, 2))
			return true;
		if (a->messages) {
			failed("a connection was lost between messages");
			return false;
		}
		fake_leave(a);
		told->refused++;
	}
	failed("three connections were lost");
	return false;
}

static void scenario(void)
{
	struct vmshm_member *member = fake_member(&witness, 0);
	u64 before = vmshm_word_read(&member->presence);
	struct fake a;
	u64 here;

	vmshm_word_publish(&told->running, 1);
	if (!come(&a))
		_exit(0);
	here = vmshm_word_read(&member->presence);
	if (!(here & 1) || here > before + 1 + 2 * told->refused)
		failed("presence does not say that it came");
	if (!bell_rings(witness.own.fds[0], PATIENCE))
		failed("its peer was not rung");
	memset(a.map + fake_channel(&a, 0)->half_off[0], 0x55, 8192);
	fake_leave(&a);
	if (!soon(vmshm_word_read(&member->presence) == here + 1))
		failed("presence does not say that it went");
	if (!bell_rings(witness.own.fds[0], PATIENCE))
		failed("its peer was not rung when it went");
	if (!is_zero(witness.map + fake_channel(&witness, 0)->half_off[0], 8192))
		failed("its memory is not zero");
	vmshm_word_publish(&told->running, 0);
	/* What may come twice is a ring. */
	while (bell_rings(witness.own.fds[0], 20))
		;
	_exit(0);
}

/* ---- the tracer ---- */

struct thread {
	pid_t tid;
	u64 call;		/* the system call that it is in */
};

static struct tracer {
	struct thread threads[THREADS];
	bool all;		/* count every system call, not messages alone */
	bool again;		/* kill after each message to QEMU, not after the @left'th */
	unsigned int left;
	unsigned int kills;
} tracer;

static struct thread *thread_of(pid_t tid)
{
	struct thread *empty = NULL;

	for (unsigned int i = 0; i < THREADS; i++) {
		if (tracer.threads[i].tid == tid)
			return &tracer.threads[i];
		if (!tracer.threads[i].tid)
			empty = &tracer.threads[i];
	}
	if (empty)
		empty->tid = tid;
	return empty;
}

/* Whether the worker is to die here, right after that call. */
static bool is_time(u64 call)
{
	if (!vmshm_word_read(&told->running))
		return false;
	/* Those to QEMU alone: a daemon that dies as it says that it is ready serves nobody. */
	if (tracer.again)
		return call == SYS_sendmmsg;
	if (!tracer.all && call != SYS_sendmsg && call != SYS_sendmmsg)
		return false;
	return tracer.left && !--tracer.left;
}

/* A thread of the worker is stopped: let it go on, or not at all. */
static void stopped(pid_t tid, int status)
{
	struct ptrace_syscall_info info = { .op = 0 };
	struct thread *thread = thread_of(tid);
	int sig = WSTOPSIG(status);

	if (sig == (SIGTRAP | 0x80) && thread) {
		ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info);
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
			thread->call = info.entry.nr;
		} else if (is_time(thread->call)) {
			tracer.kills++;
			kill(tid, SIGKILL);
			return;
		}
		sig = 0;
	}
	if (status >> 16 || sig == SIGTRAP)
		sig = 0;
	ptrace(tid == d.pid ? PTRACE_CONT : PTRACE_SYSCALL, tid, 0, sig);
}

static void forget_thread(pid_t tid)
{
	struct thread *thread = thread_of(tid);

	if (thread)
		thread->tid = 0;
}

/* Run the scenario; true: it ended. */
static bool trace(void)
{
	u64 end = now_ms() + PATIENCE;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		scenario();
	}
	while (now_ms() < end) {
		int status;
		pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);

		if (!tid) {
			/* Short: every step of the worker waits for it. */
			usleep(20);
			continue;
		}
		if (tid == pid && (WIFEXITED(status) || WIFSIGNALED(status)))
			return true;
		if (WIFSTOPPED(status))
			stopped(tid, status);
		else
			forget_thread(tid);
	}
	kill(pid, SIGKILL);
	return false;
}

/* In a process of its own, at whose end everything goes on without it. */
static void traced(void (*work)(void))
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE |
			     PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;
	pid_t pid, worker;
	int status = -1;

	need(daemon_ready_again(&d, 0), "there is no worker");
	pid = fork();

	need(pid >= 0, "fork: %s", strerror(errno));
	if (pid) {
		waitpid(pid, &status, 0);
		need(status == 0, "the tracer ended with status %x", status);
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	worker = daemon_worker(&d);
	/* The worker's second thread rings, and has no state. */
	if (ptrace(PTRACE_SEIZE, d.pid, 0, options) || ptrace(PTRACE_SEIZE, worker, 0, options) ||
	    ptrace(PTRACE_INTERRUPT, worker, 0, 0))
		_exit(1);
	work();
	_exit(0);
}

/* ---- */

static unsigned int *results;	/* shared: what work() found */

enum { STEPS, KILLS, ENDED };

static void at_each_step(void)
{
	do {
		unsigned int kills = tracer.kills;

		tracer.left = ++results[STEPS];
		if (!trace())
			return;
		if (tracer.kills == kills)
			break;
	} while (!told->failed && results[STEPS] < 2000);
	results[KILLS] = tracer.kills;
	results[ENDED] = 1;
}

static void after_each_message(void)
{
	tracer.again = true;
	results[ENDED] = trace();
	results[KILLS] = tracer.kills;
}

static void run(void (*work)(void))
{
	memset(told, 0, sizeof(*told));
	memset(results, 0, 16);
	traced(work);
	if (told->failed)
		diag("step %u: %s", results[STEPS], told->why);
}

static void *shared(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	need(page != MAP_FAILED, "mmap: %s", strerror(errno));
	return page;
}

int main(void)
{
	unsigned int fds, keeper_fds;
	struct vmshmd worker;
	int64_t value;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	told = shared();
	results = shared();
	daemon_start_kept(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	need(fake_join(&witness, &d, "a-b", "b", 2, 2), "b is not served");
	/* What a first restart changes in the counts of descriptors is not looked for. */
	kill(daemon_worker(&d), SIGKILL);
	need(soon(daemon_said(&d, "vmshmd: ready") == 2), "it does not start again");
	/* The keeper has heard of all that the worker dropped. */
	sleep_ms(100);
	worker = d;
	worker.pid = daemon_worker(&d);
	fds = daemon_fds(&worker);
	keeper_fds = daemon_fds(&d);
	while (bell_rings(witness.own.fds[0], 50))
		;

	run(at_each_step);
	ok(results[ENDED] && !told->failed && results[KILLS] >= fake_messages(2, 2) + 2,
	   "killed after its first, second, ... message: %u times, and nobody notices",
	   results[KILLS]);
	ok(told->refused == 0, "no connection is lost");

	run(after_each_message);
	ok(results[ENDED] && !told->failed && results[KILLS] == fake_messages(2, 2),
	   "killed after every single message to a member, %u times for %u messages",
	   results[KILLS], fake_messages(2, 2));

	tracer.all = true;
	run(at_each_step);
	ok(results[ENDED] && !told->failed && results[KILLS] > 40,
	   "killed after its first, second, ... system call, %u times", results[KILLS]);
	/* sd_pid_notify_with_fds(3) is ten of them. */
	ok(told->refused && told->refused <= 13,
	   "a connection is lost only between accepting and keeping it: after %llu of these calls",
	   (unsigned long long)told->refused);

	ok(fake_receive(witness.socket, &value, &fd, 100) == -1,
	   "who was there all the time was sent nothing");
	worker.pid = daemon_worker(&d);
	ok(soon(daemon_fds(&worker) == fds) && soon(daemon_fds(&d) == keeper_fds),
	   "no descriptor is left: %u and %u", daemon_fds(&worker), daemon_fds(&d));
	fake_leave(&witness);
	daemon_end(&d);
	return done();
}
