// SPDX-License-Identifier: GPL-2.0-only
/*
 * The process in front of the daemon where there is no systemd. It starts the
 * daemon proper, the worker, as a child, keeps copies of the descriptors that
 * the worker sends it, and when the worker ends in whatever way starts it again
 * with all of them. Between the two is systemd's protocol: sd_notify(3) with
 * FDSTORE, FDSTOREREMOVE, FDNAME, READY and BARRIER, and sd_listen_fds(3). So
 * the worker does not know which of the two it has.
 *
 * SIGHUP is passed on. SIGTERM and SIGINT end the worker for good. SIGUSR2
 * starts the program again, worker and keeper, from where it was first started:
 * after an upgrade, the new one. A keeper that is started with descriptors
 * (LISTEN_FDS) has them in its store, and that is all the way it takes.
 *
 * It knows nothing of segments, so that there is little in it that can fail.
 */
#include "keeper.h"
#include "keep.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

/* A worker that does not even get ready is started later by this each time. */
#define DELAY_MIN_USEC	20000
#define DELAY_MAX_USEC	5000000
/* How long the worker may take to end before it is killed. */
#define END_USEC	10000000

#define MESSAGE_MAX	4096
#define FDS_MAX		253	/* SCM_MAX_FD of the kernel */

struct stored {
	char name[KEEP_NAME_LEN];
	int fd;
};

static struct {
	char **argv;
	char program[PATH_MAX];
	sd_event *event;
	int notify_fd;		/* where the worker's messages come in */
	int notify_path_fd;	/* by which it finds that: see open_notify() */
	struct stored *store;
	unsigned int nr_stored, room;
	pid_t worker;		/* 0: none */
	bool was_ready;		/* some worker was: failing is no reason to give up */
	bool is_ready;		/* this one is */
	bool ending, again;
	uint64_t delay;
} keeper;

/* ---- the store ---- */

static void store(const char *name, int fd)
{
	if (keeper.nr_stored == keeper.room) {
		unsigned int room = keeper.room + 256;
		struct stored *more = realloc(keeper.store, room * sizeof(*more));

		if (!more) {
			say("keeper: out of memory: %s is not kept", name);
			close(fd);
			return;
		}
		keeper.store = more;
		keeper.room = room;
	}
	snprintf(keeper.store[keeper.nr_stored].name, KEEP_NAME_LEN, "%s", name);
	keeper.store[keeper.nr_stored++].fd = fd;
}

static void drop(const char *name)
{
	for (unsigned int i = 0; i < keeper.nr_stored; i++) {
		if (strcmp(keeper.store[i].name, name))
			continue;
		close(keeper.store[i].fd);
		keeper.store[i--] = keeper.store[--keeper.nr_stored];
	}
}

static int take_inherited(void)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	for (int i = 0; i < n; i++) {
		store(names[i], SD_LISTEN_FDS_START + i);
		free(names[i]);
	}
	free(names);
	keeper.was_ready = n > 0;
	return n < 0 ? n : 0;
}

/* ---- what the worker says ---- */

/* The value of @key in @text, lines of KEY=value; false: it is not there. */
static bool value_of(const char *text, const char *key, char *value, size_t size)
{
	size_t len = strlen(key);

	while (*text) {
		size_t line = strcspn(text, "\n");

		if (line > len && !strncmp(text, key, len) && text[len] == '=') {
			snprintf(value, size, "%.*s", (int)(line - len - 1), text + len + 1);
			return true;
		}
		text += line + (text[line] == '\n');
	}
	return false;
}

static void heard(const char *text, int *fds, unsigned int nr_fds)
{
	char name[KEEP_NAME_LEN] = "stored", value[16];
	unsigned int kept = 0;

	value_of(text, "FDNAME", name, sizeof(name));
	if (value_of(text, "FDSTORE", value, sizeof(value)))
		for (; kept < nr_fds; kept++)
			store(name, fds[kept]);
	if (value_of(text, "FDSTOREREMOVE", value, sizeof(value)))
		drop(name);
	if (value_of(text, "READY", value, sizeof(value))) {
		keeper.is_ready = true;
		keeper.was_ready = true;
	}
	/* Those of a BARRIER among them: that they are closed is the answer. */
	for (; kept < nr_fds; kept++)
		close(fds[kept]);
}

/* Take one message: false when there is none. */
static bool hear(void)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(FDS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
	} control;
	char text[MESSAGE_MAX];
	struct iovec iov = { text, sizeof(text) - 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct ucred who = { .pid = 0 };
	unsigned int nr_fds = 0;
	int fds[FDS_MAX];
	ssize_t n = recvmsg(keeper.notify_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EINTR;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_type == SCM_RIGHTS) {
			nr_fds = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(c), nr_fds * sizeof(int));
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&who, CMSG_DATA(c), sizeof(who));
		}
	}
	if (msg.msg_flags & MSG_CTRUNC)
		say("keeper: descriptors are lost on their way: no more may be open");
	text[n] = '\0';
	/* As systemd's NotifyAccess=main. */
	if (who.pid != keeper.worker) {
		text[0] = '\0';
		say("keeper: process %d is not the worker; what it says is passed over", who.pid);
	}
	heard(text, fds, nr_fds);
	return true;
}

static int on_notify(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	(void)source;
	(void)fd;
	(void)events;
	(void)arg;
	while (hear())
		;
	return 0;
}

/*
 * A datagram socket that nobody else can reach: its file is removed right
 * away, and the worker inherits a descriptor that stands for that file. 0, or
 * -1 with errno.
 */
static int open_notify(void)
{
	static const char *const places[] = { "/run", "/tmp" };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char dir[32] = "";
	const int on = 1;
	int err = -1;

	keeper.notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (keeper.notify_fd < 0 ||
	    setsockopt(keeper.notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)))
		return -1;
	for (unsigned int i = 0; i < 2 && err; i++) {
		snprintf(dir, sizeof(dir), "%s/vmshmd.XXXXXX", places[i]);
		err = mkdtemp(dir) ? 0 : -1;
	}
	if (err)
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", dir);
	err = bind(keeper.notify_fd, (struct sockaddr *)&address, sizeof(address));
	if (!err) {
		keeper.notify_path_fd = open(address.sun_path, O_PATH | O_CLOEXEC);
		err = keeper.notify_path_fd < 0;
		unlink(address.sun_path);
	}
	rmdir(dir);
	return err ? -1 : 0;
}

/* ---- the worker ---- */

/* Put all descriptors to where sd_listen_fds(3) looks for them: fds[i] to 3 + i. */
static bool line_up(int *fds, int n)
{
	for (int i = 0; i < n; i++) {
		int wanted = SD_LISTEN_FDS_START + i;

		if (fds[i] == wanted) {
			if (fcntl(wanted, F_SETFD, 0))
				return false;
			continue;
		}
		/* One that comes later may be in the way. */
		for (int k = i + 1; k < n; k++) {
			if (fds[k] != wanted)
				continue;
			fds[k] = fcntl(fds[k], F_DUPFD_CLOEXEC, SD_LISTEN_FDS_START);
			if (fds[k] < 0)
				return false;
			break;
		}
		if (dup2(fds[i], wanted) < 0)
			return false;
	}
	return true;
}

/* In the process that is to become the program: everything but the exec. */
static bool hand_over(bool to_worker)
{
	unsigned int n = keeper.nr_stored;
	int *fds = calloc(n + 1, sizeof(*fds));
	size_t len = 1, at = 0;
	char *names, text[32];

	for (unsigned int i = 0; i < n; i++)
		len += strlen(keeper.store[i].name) + 1;
	names = calloc(1, len);
	if (!fds || !names)
		return false;
	for (unsigned int i = 0; i < n; i++) {
		fds[i] = keeper.store[i].fd;
		at += (size_t)sprintf(names + at, "%s%s", i ? ":" : "", keeper.store[i].name);
	}
	/* The last one is not listed: the way to us. */
	if (to_worker)
		fds[n] = keeper.notify_path_fd;
	if (!line_up(fds, (int)n + to_worker))
		return false;
	if (n) {
		snprintf(text, sizeof(text), "%d", (int)getpid());
		setenv("LISTEN_PID", text, 1);
		snprintf(text, sizeof(text), "%u", n);
		setenv("LISTEN_FDS", text, 1);
		setenv("LISTEN_FDNAMES", names, 1);
	}
	if (to_worker) {
		snprintf(text, sizeof(text), "/proc/self/fd/%u", SD_LISTEN_FDS_START + n);
		setenv("NOTIFY_SOCKET", text, 1);
	}
	return true;
}

/* The new program, or this one where that can't be. */
static void execute(void)
{
	execv(keeper.program, keeper.argv);
	say("%s cannot be executed: %s; the old one goes on", keeper.program, strerror(errno));
	execv("/proc/self/exe", keeper.argv);
}

static int start_worker(void)
{
	pid_t keeper_pid = getpid();
	sigset_t none;

	keeper.is_ready = false;
	keeper.worker = fork();
	if (keeper.worker > 0)
		return 0;
	if (keeper.worker < 0) {
		keeper.worker = 0;
		return -1;
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, KEEPER_DEATH);
	if (getppid() != keeper_pid)
		_exit(1);
	if (hand_over(true))
		execute();
	say("the worker cannot be started: %s", strerror(errno));
	_exit(1);
}

static int on_start_timer(sd_event_source *source, uint64_t usec, void *arg);

static void start_later(void)
{
	int err = sd_event_add_time_relative(keeper.event, NULL, CLOCK_MONOTONIC, keeper.delay, 0,
					     on_start_timer, NULL);

	if (err < 0) {
		say("keeper: no timer: %s", strerror(-err));
		sd_event_exit(keeper.event, 1);
	}
	keeper.delay += DELAY_MIN_USEC;
	if (keeper.delay > DELAY_MAX_USEC)
		keeper.delay = DELAY_MAX_USEC;
}

static int on_start_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	(void)source;
	(void)usec;
	(void)arg;
	if (keeper.ending || keeper.worker)
		return 0;
	if (start_worker()) {
		say("the worker cannot be started: %s", strerror(errno));
		start_later();
	}
	return 0;
}

/* Become the program anew, with the store. Our own descriptors are overwritten. */
static void start_again(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (hand_over(false))
		execute();
	say("the keeper cannot be started again: %s", strerror(errno));
	_exit(1);
}

static void worker_ended(int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;

	while (hear())
		;
	keeper.worker = 0;
	if (keeper.ending || !keeper.was_ready) {
		sd_event_exit(keeper.event, code);
		return;
	}
	if (WIFSIGNALED(status))
		say("the worker was ended by signal %d (%s); starting it again", WTERMSIG(status),
		    strsignal(WTERMSIG(status)));
	else if (!keeper.again)
		say("the worker ended with status %d; starting it again", code);
	if (keeper.again)
		start_again();
	if (keeper.is_ready)
		keeper.delay = DELAY_MIN_USEC;
	start_later();
}

/* ---- signals ---- */

static int on_kill_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	(void)source;
	(void)usec;
	(void)arg;
	if ((keeper.ending || keeper.again) && keeper.worker) {
		say("the worker does not end; killing it");
		kill(keeper.worker, SIGKILL);
	}
	return 0;
}

static void end_worker(int sig)
{
	kill(keeper.worker, sig);
	sd_event_add_time_relative(keeper.event, NULL, CLOCK_MONOTONIC, END_USEC, 0, on_kill_timer,
				   NULL);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	int status;
	pid_t pid;

	(void)source;
	(void)arg;
	switch (info->ssi_signo) {
	case SIGCHLD:
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == keeper.worker)
				worker_ended(status);
		break;
	case SIGHUP:
		if (keeper.worker)
			kill(keeper.worker, SIGHUP);
		break;
	case SIGUSR2:
		say("starting %s again", keeper.program);
		keeper.again = true;
		if (keeper.worker)
			end_worker(SIGTERM);
		break;
	default:
		/* For the worker, SIGTERM means that a successor comes. */
		keeper.ending = true;
		if (!keeper.worker)
			return sd_event_exit(keeper.event, 0);
		end_worker(SIGINT);
	}
	return 0;
}

static int add_signals(void)
{
	static const int all[] = { SIGCHLD, SIGHUP, SIGUSR2, SIGTERM, SIGINT };
	int err = 0;
	sigset_t set;

	sigemptyset(&set);
	for (unsigned int i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		sigaddset(&set, all[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (unsigned int i = 0; i < sizeof(all) / sizeof(all[0]) && err >= 0; i++)
		err = sd_event_add_signal(keeper.event, NULL, all[i], on_signal, NULL);
	return err;
}

/* ---- */

static void raise_limits(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int keeper_run(char **argv)
{
	ssize_t len = readlink("/proc/self/exe", keeper.program, sizeof(keeper.program) - 1);
	int err = len < 0 ? -errno : 0;
	char *deleted;

	/* Of a program that is not there any more: its successor has that name. */
	deleted = strstr(keeper.program, " (deleted)");
	if (deleted)
		*deleted = '\0';
	keeper.argv = argv;
	keeper.delay = DELAY_MIN_USEC;
	raise_limits();
	if (!err)
		err = take_inherited();
	if (err >= 0)
		err = sd_event_new(&keeper.event);
	if (err >= 0)
		err = add_signals();
	if (err >= 0 && open_notify())
		err = -errno;
	if (err >= 0)
		err = sd_event_add_io(keeper.event, NULL, keeper.notify_fd, EPOLLIN, on_notify,
				      NULL);
	if (err >= 0 && start_worker())
		err = -errno;
	if (err >= 0)
		err = sd_event_loop(keeper.event);
	else
		say("cannot start: %s", strerror(-err));
	for (unsigned int i = 0; i < keeper.nr_stored; i++)
		close(keeper.store[i].fd);
	free(keeper.store);
	sd_event_unref(keeper.event);
	return err < 0 ? 1 : err;
}
