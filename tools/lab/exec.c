// SPDX-License-Identifier: GPL-2.0-only
/*
 * vmshm-lab exec: runs a command in a lab VM, as ssh would.
 *
 * Takes a free virtio-serial port of the VM (each is a UNIX socket that QEMU
 * listens at, with a lock file beside it), says what to run, and then carries
 * standard input there and standard output and error back. Dying is how it says
 * that the command shall end: QEMU closes the port, the agent does the rest.
 *
 * Here: the host's side. The frames: proto.h. The guest's side: agent.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proto.h"

#define ANSWER_LIMIT	1.5	/* seconds until a port that doesn't answer is tried anew */
#define EXIT_LAB	255	/* the lab's fault, not the command's */

static const char usage[] =
	"usage: vmshm-lab exec [-n] [-C DIR] [-e NAME=value]... VM [--] COMMAND [ARGUMENT]...\n"
	"  -n             standard input is /dev/null\n"
	"  -C DIR         working directory (else the same as here, or / if the VM has none such)\n"
	"  -e NAME=value  environment variable (none is passed on by itself)\n"
	"Exit status: the command's, 128 + n if signal n ended it, 255 if the VM didn't answer\n"
	"or ended.\n";

struct client {
	const char *vm;
	const char *dir;	/* the lab's folder */
	int port;
	int sock;
	uint64_t session;
	bool ready;		/* the port answers */
	bool started;
	bool exited;
	struct lab_exit exit;
	uint64_t bytes;		/* of output that came */
	bool read_stdin;
	size_t window;		/* bytes of stdin that may still be sent */
	struct lab_buf run;	/* payload of LAB_RUN */
	struct lab_buf tx;
	struct lab_decoder rx;
};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("vmshm-lab: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(EXIT_LAB);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void string(struct client *c, char kind, const char *s)
{
	lab_buf_byte(&c->run, kind);
	do {
		lab_buf_byte(&c->run, *s);
	} while (*s++);
	if (c->run.len > LAB_RUN_MAX)
		die("the command line is longer than %d bytes", LAB_RUN_MAX);
}

static int dial(const char *dir, const char *vm, int port)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s/port%d.sock", dir, vm, port) >=
	    (int)sizeof(addr.sun_path))
		die("socket path too long: %s/%s/port%d.sock", dir, vm, port);
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
		die("VM %s is not running (%s); see: vmshm-lab status", vm, strerror(errno));
	return sock;
}

/* The lock of the port that was taken stays open until this process ends. */
static int take_port(const char *dir, const char *vm, double until)
{
	char path[4096];
	int port, lock;

	for (;;) {
		for (port = 0; ; port++) {
			snprintf(path, sizeof(path), "%s/%s/port%d.lock", dir, vm, port);
			lock = open(path, O_RDWR | O_CLOEXEC);
			if (lock < 0)
				break;
			if (!flock(lock, LOCK_EX | LOCK_NB))
				return port;
			close(lock);
		}
		if (!port)
			die("no VM %s in this lab; see: vmshm-lab status", vm);
		if (now() > until)
			die("all %d ports of VM %s are busy: end a command first", port, vm);
		usleep(20000);
	}
}

static void write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t r = write(fd, p, n);

		if (r < 0 && errno == EAGAIN) {
			struct pollfd pfd = { .fd = fd, .events = POLLOUT };

			poll(&pfd, 1, -1);
			continue;
		}
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			die("cannot write to standard %s: %s", fd == 1 ? "output" : "error",
			    strerror(errno));
		p += r;
		n -= r;
	}
}

/* What is to be said as long as the command has not started. */
static void speak(struct client *c)
{
	if (c->ready)
		lab_put(&c->tx, LAB_RUN, c->session, c->run.data, c->run.len);
	else
		lab_put(&c->tx, LAB_ASK, c->session, NULL, 0);
}

static void take(struct client *c)
{
	struct lab_header header = lab_header(&c->rx);
	uint8_t *payload = lab_payload(&c->rx);
	uint32_t word = 0;

	if (header.type == LAB_HELLO) {
		if (header.session == c->session)
			lab_put(&c->tx, LAB_HERE, c->session, NULL, 0);
		else if (c->started)
			die("VM %s was reset while the command ran", c->vm);
		else
			speak(c);
		return;
	}
	if (header.session != c->session)
		return;
	if (header.len >= sizeof(word))
		memcpy(&word, payload, sizeof(word));
	switch (header.type) {
	case LAB_READY:
		if (!c->ready) {
			c->ready = true;
			speak(c);
		}
		break;
	case LAB_STARTED:
		c->started = true;
		break;
	case LAB_STDOUT:
		c->bytes += header.len;
		write_all(1, payload, header.len);
		break;
	case LAB_STDERR:
		c->bytes += header.len;
		write_all(2, payload, header.len);
		break;
	case LAB_ACK:
		c->window += word;
		break;
	case LAB_EXIT:
		c->exited = true;
		memcpy(&c->exit, payload, sizeof(c->exit));
		if (c->exit.bytes != c->bytes)
			die("VM %s sent %llu bytes of output, %llu arrived", c->vm,
			    (unsigned long long)c->exit.bytes, (unsigned long long)c->bytes);
		break;
	}
}

static void receive(struct client *c)
{
	uint8_t buf[65536];
	ssize_t i, n = recv(c->sock, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		die("VM %s ended while the command ran; its console: vmshm-lab log %s", c->vm,
		    c->vm);
	for (i = 0; i < n && !c->exited; i++)
		if (lab_take(&c->rx, buf[i]))
			take(c);
}

static void transmit(struct client *c)
{
	ssize_t n = send(c->sock, c->tx.data + c->tx.start, c->tx.len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		lab_buf_took(&c->tx, n);
	/* An error shows in receive() too, and is told there. */
}

static void forward_stdin(struct client *c)
{
	uint8_t buf[LAB_CHUNK];
	size_t want = c->window < sizeof(buf) ? c->window : sizeof(buf);
	ssize_t n = read(0, buf, want);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lab_put(&c->tx, LAB_EOF, c->session, NULL, 0);
		c->read_stdin = false;
		return;
	}
	c->window -= n;
	lab_put(&c->tx, LAB_STDIN, c->session, buf, n);
}

/* A new connection makes QEMU tell the guest anew that the port is open. */
static void connect_again(struct client *c)
{
	close(c->sock);
	c->tx.start = 0;
	c->tx.len = 0;
	c->rx.len = 0;
	c->sock = dial(c->dir, c->vm, c->port);
	speak(c);
}

static void talk(struct client *c, double until)
{
	double again = now() + ANSWER_LIMIT;

	while (!c->exited) {
		bool stdin_now = c->started && c->read_stdin && c->window &&
				 c->tx.len < LAB_WINDOW;
		struct pollfd fds[2] = {
			{ .fd = c->sock, .events = POLLIN | (c->tx.len ? POLLOUT : 0) },
			{ .fd = stdin_now ? 0 : -1, .events = POLLIN },
		};
		int wait = -1;

		if (!c->started) {
			wait = (until - now()) * 1000;
			if (wait <= 0)
				die("VM %s does not answer; its console: vmshm-lab log %s",
				    c->vm, c->vm);
		}
		if (!c->ready) {
			if (now() >= again) {
				connect_again(c);
				again = now() + ANSWER_LIMIT;
				continue;
			}
			if (wait > (again - now()) * 1000 + 1)
				wait = (again - now()) * 1000 + 1;
		}
		if (poll(fds, 2, wait) < 0)
			continue;
		if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
			receive(c);
		if (fds[1].revents)
			forward_stdin(c);
		if (c->tx.len)
			transmit(c);
	}
}

/* A terminal's keys stay here, and /dev/null needs no carrying. */
static bool wants_stdin(void)
{
	struct stat st, null;

	if (isatty(0) || fstat(0, &st) || stat("/dev/null", &null))
		return false;
	return !(S_ISCHR(st.st_mode) && st.st_rdev == null.st_rdev);
}

int main(int argc, char **argv)
{
	struct client c = { .window = LAB_WINDOW, .read_stdin = wants_stdin() };
	double limit = 60;
	bool cwd = false;
	char here[4096];
	int opt;

	while ((opt = getopt(argc, argv, "+nC:e:d:t:h")) != -1) {
		switch (opt) {
		case 'n':
			c.read_stdin = false;
			break;
		case 'C':
			string(&c, LAB_STR_CWD, optarg);
			cwd = true;
			break;
		case 'e':
			if (!strchr(optarg, '=') || *optarg == '=')
				die("-e %s: write it as NAME=value", optarg);
			string(&c, LAB_STR_ENV, optarg);
			break;
		case 'd':		/* the lab's folder; vmshm-lab gives it */
			c.dir = optarg;
			break;
		case 't':		/* seconds until the VM must answer */
			limit = atof(optarg);
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return EXIT_LAB;
		}
	}
	c.vm = argv[optind++];
	if (c.vm && argv[optind] && !strcmp(argv[optind], "--"))
		optind++;
	if (!c.vm || !argv[optind] || !c.dir) {
		fputs(usage, stderr);
		return EXIT_LAB;
	}
	if (!cwd && getcwd(here, sizeof(here)))
		string(&c, LAB_STR_TRYCWD, here);
	if (c.read_stdin)
		string(&c, LAB_STR_STDIN, "");
	for (; argv[optind]; optind++)
		string(&c, LAB_STR_ARG, argv[optind]);

	if (getrandom(&c.session, sizeof(c.session), 0) != sizeof(c.session))
		die("getrandom: %s", strerror(errno));
	c.port = take_port(c.dir, c.vm, now() + limit);
	c.sock = dial(c.dir, c.vm, c.port);
	speak(&c);
	talk(&c, now() + limit);
	return c.exit.status;
}
