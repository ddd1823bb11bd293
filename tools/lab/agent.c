// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first process of a lab VM: runs commands for lab-exec on the host.
 *
 * One process serves one virtio-serial port and runs one command at a time; the
 * first process starts them and reaps orphans. A command lives as long as its
 * client: when the port is closed on the host, or another client speaks, its
 * process group is killed. What a command left running in the background (in
 * the same way as after ssh) stays when the command itself has ended.
 *
 * Here: the guest's side. The frames: proto.h. The host's side: exec.c.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto.h"

#define PORT_PREFIX	"vmshm-lab."
#define PORTS_MAX	64

#define CLOSED_MS	200	/* a port that is closed so long has lost its client */
#define ANSWER_MS	5000	/* time to claim a command after LAB_HELLO */

enum port_state {
	PORT_OPEN,
	PORT_CLOSING,	/* closed; maybe the next client is already on its way */
	PORT_CLOSED,
};

struct command {
	uint64_t session;
	pid_t pid;		/* 0: none */
	bool ended;		/* reaped; what is left in its pipes is still sent */
	struct lab_exit exit;
	int in;			/* our ends of its pipes, -1 when closed */
	int out[2];		/* its stdout, its stderr */
	int left[2];		/* bytes to send after its end */
	bool eof;		/* close in when pending is empty */
	struct lab_buf pending;	/* stdin that its pipe didn't take yet */
};

struct agent {
	int port;
	int signals;
	enum port_state state;
	long long deadline;	/* ms: PORT_CLOSING ends, or LAB_HERE is due; 0: none */
	struct lab_buf tx;
	struct lab_decoder rx;
	struct command cmd;
};

static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("lab agent: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void forget(struct command *cmd)
{
	shut(&cmd->in);
	shut(&cmd->out[0]);
	shut(&cmd->out[1]);
	cmd->pending.start = 0;
	cmd->pending.len = 0;
	cmd->left[0] = 0;
	cmd->left[1] = 0;
	cmd->ended = false;
	cmd->pid = 0;
}

/* Ends the command now, with its process group; its client is gone. */
static void drop(struct agent *agent)
{
	struct command *cmd = &agent->cmd;

	if (cmd->pid && !cmd->ended) {
		kill(-cmd->pid, SIGKILL);
		kill(cmd->pid, SIGKILL);
		waitpid(cmd->pid, NULL, 0);
	}
	forget(cmd);
}

static void __attribute__((noreturn)) fail(int status, const char *what)
{
	dprintf(2, "vmshm-lab: %s: %s\n", what, strerror(errno));
	_exit(status);
}

static void __attribute__((noreturn))
child(int in, int out, int err, char **argv, const char *cwd, bool must_cwd)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		fail(126, "dup2");
	close_range(3, ~0U, 0);
	if (cwd && chdir(cwd) && must_cwd)
		fail(126, cwd);
	execvp(argv[0], argv);
	fail(errno == ENOENT ? 127 : 126, argv[0]);
}

static void start(struct agent *agent, uint64_t session, uint8_t *payload, size_t n)
{
	struct command *cmd = &agent->cmd;
	char **argv = calloc(n + 1, sizeof(*argv));
	int in[2] = { -1, -1 }, out[2], err[2], argc = 0;
	bool must_cwd = false, has_stdin = false;
	char *s = (char *)payload, *end = s + n, *cwd = NULL;

	if (!argv)
		abort();
	if (n && end[-1])
		goto out;
	clearenv();
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("LANG", "C.UTF-8", 1);
	for (; s < end; s += strlen(s) + 1) {
		switch (*s) {
		case LAB_STR_CWD:
			must_cwd = true;
			__attribute__((fallthrough));
		case LAB_STR_TRYCWD:
			cwd = s + 1;
			break;
		case LAB_STR_ENV:
			putenv(s + 1);
			break;
		case LAB_STR_STDIN:
			has_stdin = true;
			break;
		case LAB_STR_ARG:
			argv[argc++] = s + 1;
			break;
		}
	}
	if (!argc)
		goto out;

	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC) ||
	    (has_stdin && pipe2(in, O_CLOEXEC))) {
		say("pipe: %s", strerror(errno));
		goto out;
	}
	if (!has_stdin)
		in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	*cmd = (struct command){ .session = session, .pending = cmd->pending,
				 .in = in[1], .out = { out[0], err[0] } };
	cmd->pid = fork();
	if (!cmd->pid)
		child(in[0], out[1], err[1], argv, cwd, must_cwd);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	if (cmd->pid < 0) {
		say("fork: %s", strerror(errno));
		forget(cmd);
		goto out;
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	if (has_stdin)
		fcntl(in[1], F_SETFL, O_NONBLOCK);
	lab_put(&agent->tx, LAB_STARTED, session, NULL, 0);
out:
	free(argv);
}

/* The strings that start() gave to putenv() live in the decoder: copy them. */
static void run(struct agent *agent, uint64_t session, const uint8_t *payload, size_t n)
{
	static uint8_t *strings;

	drop(agent);
	agent->deadline = 0;
	clearenv();
	free(strings);
	strings = malloc(n + 1);
	if (!strings)
		abort();
	memcpy(strings, payload, n);
	start(agent, session, strings, n);
}

/* Moves pending stdin into the command's pipe and tells the client how much. */
static void feed(struct agent *agent)
{
	struct command *cmd = &agent->cmd;
	uint32_t n = 0;

	while (cmd->pending.len && cmd->in >= 0) {
		ssize_t r = write(cmd->in, cmd->pending.data + cmd->pending.start,
				  cmd->pending.len);

		if (r < 0 && errno == EAGAIN)
			break;
		if (r < 0)
			shut(&cmd->in);		/* it closed its standard input */
		else
			lab_buf_took(&cmd->pending, r);
		n += r > 0 ? r : 0;
	}
	if (cmd->in < 0) {
		n += cmd->pending.len;
		lab_buf_took(&cmd->pending, cmd->pending.len);
	}
	if (n)
		lab_put(&agent->tx, LAB_ACK, cmd->session, &n, sizeof(n));
	if (cmd->eof && !cmd->pending.len)
		shut(&cmd->in);
}

static void take(struct agent *agent)
{
	struct lab_header header = lab_header(&agent->rx);
	uint8_t *payload = lab_payload(&agent->rx);
	struct command *cmd = &agent->cmd;
	uint32_t i;

	if (header.type == LAB_ASK) {
		lab_put(&agent->tx, LAB_READY, header.session, NULL, 0);
		return;
	}
	if (header.type == LAB_RUN) {
		/* A client says it again after LAB_HELLO. */
		if (cmd->session != header.session)
			run(agent, header.session, payload, header.len);
		return;
	}
	if (!cmd->pid || header.session != cmd->session)
		return;
	if (header.type == LAB_HERE)
		agent->deadline = 0;
	if (header.type == LAB_STDIN)
		for (i = 0; i < header.len; i++)
			lab_buf_byte(&cmd->pending, payload[i]);
	if (header.type == LAB_EOF)
		cmd->eof = true;
	feed(agent);
}

static void receive(struct agent *agent)
{
	uint8_t buf[LAB_CHUNK];
	ssize_t i, n;

	n = read(agent->port, buf, sizeof(buf));
	for (i = 0; i < n; i++)
		if (lab_take(&agent->rx, buf[i]))
			take(agent);
}

static void forward(struct agent *agent, int which)
{
	struct command *cmd = &agent->cmd;
	size_t want = LAB_CHUNK;
	uint8_t buf[LAB_CHUNK];
	ssize_t n;

	if (cmd->ended && (size_t)cmd->left[which] < want)
		want = cmd->left[which];
	n = want ? read(cmd->out[which], buf, want) : 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		shut(&cmd->out[which]);
		return;
	}
	lab_put(&agent->tx, which ? LAB_STDERR : LAB_STDOUT, cmd->session, buf, n);
	cmd->exit.bytes += n;
	if (cmd->ended)
		cmd->left[which] -= n;
}

/*
 * The command has ended. Something that it left in the background may hold its
 * pipes and write for ever: only what is in them now belongs to the command.
 */
static void reap(struct agent *agent)
{
	struct command *cmd = &agent->cmd;
	int status, i;

	if (!cmd->pid || cmd->ended || waitpid(cmd->pid, &status, WNOHANG) != cmd->pid)
		return;
	cmd->ended = true;
	cmd->exit.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	for (i = 0; i < 2; i++)
		if (cmd->out[i] < 0 || ioctl(cmd->out[i], FIONREAD, &cmd->left[i]))
			cmd->left[i] = 0;
}

static void finish(struct agent *agent)
{
	struct command *cmd = &agent->cmd;

	while (cmd->ended && (cmd->left[0] || cmd->left[1]) && agent->tx.len < LAB_CHUNK) {
		int which = cmd->left[0] ? 0 : 1;

		forward(agent, which);
		if (cmd->out[which] < 0)
			cmd->left[which] = 0;
	}
	if (cmd->ended && !cmd->left[0] && !cmd->left[1]) {
		lab_put(&agent->tx, LAB_EXIT, cmd->session, &cmd->exit, sizeof(cmd->exit));
		forget(cmd);
	}
}

static void transmit(struct agent *agent)
{
	struct lab_buf *tx = &agent->tx;

	while (tx->len) {
		ssize_t n = write(agent->port, tx->data + tx->start, tx->len);

		if (n <= 0)
			return;
		lab_buf_took(tx, n);
	}
}

static void on_signals(struct agent *agent)
{
	struct signalfd_siginfo info;

	while (read(agent->signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGCHLD)
			reap(agent);
}

/* The client is gone for good: so are its command and what it had sent. */
static void close_port(struct agent *agent)
{
	uint8_t buf[LAB_CHUNK];

	drop(agent);
	while (read(agent->port, buf, sizeof(buf)) > 0)
		;
	agent->tx.start = 0;
	agent->tx.len = 0;
	agent->rx.len = 0;
	agent->state = PORT_CLOSED;
	agent->deadline = 0;
}

/*
 * Looks whether the host has the port open. A closed port is always readable, so
 * it is not polled: SIGIO tells of a change, and turn() comes here each time.
 */
static void look(struct agent *agent)
{
	struct pollfd pfd = { .fd = agent->port };
	struct command *cmd = &agent->cmd;

	if (poll(&pfd, 1, 0) < 0)
		return;
	if (pfd.revents & POLLHUP) {
		if (agent->state == PORT_OPEN) {
			agent->state = PORT_CLOSING;
			agent->deadline = now_ms() + CLOSED_MS;
		}
	} else if (agent->state != PORT_OPEN) {
		agent->state = PORT_OPEN;
		agent->deadline = cmd->pid ? now_ms() + ANSWER_MS : 0;
		lab_put(&agent->tx, LAB_HELLO, cmd->session, NULL, 0);
	}
	if (agent->deadline && now_ms() >= agent->deadline) {
		agent->deadline = 0;
		if (agent->state == PORT_CLOSING) {
			close_port(agent);
		} else if (cmd->pid) {
			drop(agent);
			cmd->exit.status = 128 + SIGKILL;
			lab_put(&agent->tx, LAB_EXIT, cmd->session, &cmd->exit, sizeof(cmd->exit));
		}
	}
}

static void turn(struct agent *agent)
{
	struct command *cmd = &agent->cmd;
	bool room = agent->tx.len < LAB_CHUNK;
	struct pollfd fds[5] = {
		{ .fd = agent->signals, .events = POLLIN },
		{ .fd = agent->state == PORT_OPEN ? agent->port : -1,
		  .events = POLLIN | (agent->tx.len ? POLLOUT : 0) },
		{ .fd = cmd->pid && cmd->pending.len ? cmd->in : -1, .events = POLLOUT },
		{ .fd = cmd->pid && !cmd->ended && room ? cmd->out[0] : -1, .events = POLLIN },
		{ .fd = cmd->pid && !cmd->ended && room ? cmd->out[1] : -1, .events = POLLIN },
	};
	long long wait = agent->deadline ? agent->deadline - now_ms() : -1;
	int i;

	if (poll(fds, 5, agent->deadline && wait < 0 ? 0 : wait) < 0)
		return;
	look(agent);
	/* Output before the end: a command's last words precede its status. */
	for (i = 0; i < 2; i++)
		if (fds[3 + i].revents && cmd->pid)
			forward(agent, i);
	if (fds[2].revents && cmd->pid)
		feed(agent);
	if (fds[0].revents)
		on_signals(agent);
	if (agent->state == PORT_OPEN && (fds[1].revents & POLLIN))
		receive(agent);
	finish(agent);
	if (agent->state == PORT_OPEN)
		transmit(agent);
}

static void __attribute__((noreturn)) serve(const char *path)
{
	struct agent agent = { .state = PORT_CLOSED, .cmd = { .in = -1, .out = { -1, -1 } } };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGIO);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	agent.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	agent.port = open(path, O_RDWR | O_CLOEXEC);
	if (agent.signals < 0 || agent.port < 0) {
		say("%s: %s", path, strerror(errno));
		_exit(1);
	}
	fcntl(agent.port, F_SETOWN, getpid());
	fcntl(agent.port, F_SETFL, O_NONBLOCK | O_ASYNC);
	for (look(&agent);;)
		turn(&agent);
}

/* Fills in the device paths of the lab's ports that exist by now. */
static int find_ports(char path[][300])
{
	static const char class[] = "/sys/class/virtio-ports";
	DIR *dir = opendir(class);
	struct dirent *entry;
	int n = 0;

	while (dir && n < PORTS_MAX && (entry = readdir(dir))) {
		char file[400], name[80] = "";
		FILE *f;

		snprintf(file, sizeof(file), "%s/%s/name", class, entry->d_name);
		f = fopen(file, "r");
		if (!f)
			continue;
		if (fgets(name, sizeof(name), f) &&
		    !strncmp(name, PORT_PREFIX, strlen(PORT_PREFIX)))
			snprintf(path[n++], sizeof(*path), "/dev/%s", entry->d_name);
		fclose(f);
	}
	if (dir)
		closedir(dir);
	return n;
}

static pid_t launch(const char *path)
{
	pid_t pid = fork();

	if (!pid)
		serve(path);
	return pid;
}

int main(int argc, char **argv)
{
	static char path[PORTS_MAX][300];
	pid_t pids[PORTS_MAX], pid;
	int want = argc > 1 ? atoi(argv[1]) : 1;
	int n, i, tries;

	/* The driver learns of its ports one by one, by messages. */
	for (tries = 0; (n = find_ports(path)) < want && tries < 1000; tries++)
		usleep(10000);
	if (n < want)
		say("found %d of %d virtio-serial ports", n, want);
	for (i = 0; i < n; i++)
		pids[i] = launch(path[i]);
	for (;;) {
		pid = wait(NULL);
		if (pid < 0)
			pause();
		for (i = 0; i < n; i++)
			if (pids[i] == pid)
				pids[i] = launch(path[i]);
	}
}
