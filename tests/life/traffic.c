// SPDX-License-Identifier: GPL-2.0-only
/*
 * Traffic whose content is checked, for VMs, devices and modules that come and
 * go around it. What a peer that misbehaves meets is in victim.c.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vmshm.h>

#include "heirs.h"
#include "net.h"
#include "stuck.h"
#include "victim.h"

static const char usage[] =
	"usage: traffic serve PORT                 echo, for ever, a process a connection\n"
	"       traffic echo CID PORT BYTES        send BYTES, get them back, compare\n"
	"       traffic stream CID PORT SECONDS    the same in both directions at once until the time\n"
	"                                          is over (or SIGUSR1 says so) or the connection; says\n"
	"                                          how each call ended\n"
	"       traffic wait CID PORT              poll() an idle connection; says what it saw\n"
	"       traffic connect CID PORT           connect(); says how it ended\n"
	"       traffic whom PORT                  says which CID each has who connects\n"
	"       traffic stuck CID PORT HOLD        calls whose page nobody delivers, see stuck.h\n"
	"       traffic heirs CID PORT COUNT       connections that outlive who made them, see heirs.h\n"
	"       traffic heir FD                    one who has a connection from before exec()\n"
	"       traffic post CID PORT              a datagram to CID and one to this VM, at once and gone\n"
	"       traffic sink PORT                  datagrams come in and are forgotten\n"
	"       traffic hold PORT                  records and datagrams come in, nobody reads them\n"
	"       traffic full CID PORT              send() and recv() of records, send() of datagrams\n"
	"                                          that wait; says how each ended\n"
	"       traffic victim CID PORT SECONDS    be misused by the VM with that CID\n";

static unsigned int number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end) {
		fprintf(stderr, "traffic: '%s' is no number\n%s", text, usage);
		exit(2);
	}
	return n;
}

static int serve(unsigned int port)
{
	int fd = listen_on(port, 128);

	if (fd < 0) {
		fprintf(stderr, "traffic: listen on port %u: %s\n", port, errno_name(errno));
		return 1;
	}
	signal(SIGCHLD, SIG_IGN);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int conn = accept(fd, NULL, NULL);

		if (conn < 0) {
			fprintf(stderr, "traffic: accept: %s\n", errno_name(errno));
			return 1;
		}
		if (!fork()) {
			close(fd);
			echo_all(conn);
			_exit(0);
		}
		close(conn);
	}
}

static int echo(unsigned int cid, unsigned int port, uint64_t bytes)
{
	int fd = connect_to(cid, port);
	int err = fd < 0 ? errno : 0;

	if (!err) {
		set_limits(fd, 10000);
		err = echo_check(fd, bytes);
	}
	puts(errno_name(err));
	return err != 0;
}

/* ---- both directions at once ---- */

struct stream {
	int fd;
	double end;
	int send_err, recv_err;		/* 0: the time was over; -1: end of file */
	double send_over, recv_over;
	uint64_t sent, received;
	int wrong;			/* a byte was not what was sent */
};

static volatile sig_atomic_t stream_over;

static void end_stream(int sig)
{
	(void)sig;
	stream_over = 1;
}

static void *stream_send(void *arg)
{
	struct stream *s = arg;
	char buf[16384];

	while (!stream_over && seconds_now() < s->end) {
		ssize_t n;

		pattern_fill(buf, s->sent, sizeof(buf));
		n = send(s->fd, buf, sizeof(buf), MSG_NOSIGNAL);
		if (n < 0) {
			s->send_err = errno;
			break;
		}
		s->sent += n;
	}
	s->send_over = seconds_now();
	if (!s->send_err)
		shutdown(s->fd, SHUT_WR);
	return NULL;
}

static void stream_receive(struct stream *s)
{
	char buf[16384];

	for (;;) {
		ssize_t n = recv(s->fd, buf, sizeof(buf), 0);

		if (n <= 0) {
			s->recv_err = n ? errno : -1;
			break;
		}
		if (!pattern_is(buf, s->received, n))
			s->wrong = 1;
		s->received += n;
		if (s->wrong)
			break;
	}
	s->recv_over = seconds_now();
}

static const char *how(int err)
{
	return err < 0 ? "EOF" : errno_name(err);
}

/*
 * "send ERRNO recv ERRNO apart SECONDS bytes N": 0 is a send whose time was
 * over. Exit status 1 when the content was wrong, or something is missing of a
 * stream that ended in order.
 */
static int stream(unsigned int cid, unsigned int port, unsigned int seconds)
{
	struct stream s = { .end = seconds_now() + seconds };
	pthread_t sender;

	s.fd = connect_to(cid, port);
	if (s.fd < 0) {
		printf("connect %s\n", errno_name(errno));
		return 1;
	}
	signal(SIGUSR1, end_stream);
	puts("connected");
	fflush(stdout);
	if (pthread_create(&sender, NULL, stream_send, &s))
		return 1;
	stream_receive(&s);
	pthread_join(sender, NULL);
	printf("send %s recv %s apart %.1f bytes %llu\n", how(s.send_err), how(s.recv_err),
	       s.recv_over > s.send_over ? s.recv_over - s.send_over : s.send_over - s.recv_over,
	       (unsigned long long)s.received);
	if (s.wrong)
		printf("wrong byte after %llu\n", (unsigned long long)s.received);
	else if (!s.send_err && s.received != s.sent)
		printf("%llu bytes sent, %llu came back\n", (unsigned long long)s.sent,
		       (unsigned long long)s.received);
	else
		return 0;
	return 1;
}

/* ---- one call that waits ---- */

static int wait_for_end(unsigned int cid, unsigned int port)
{
	struct pollfd p = { .fd = connect_to(cid, port), .events = POLLIN | POLLRDHUP };
	socklen_t len = sizeof(int);
	int err = 0;

	if (p.fd < 0) {
		printf("connect %s\n", errno_name(errno));
		return 1;
	}
	puts("connected");
	fflush(stdout);
	if (poll(&p, 1, -1) != 1)
		return 1;
	getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &err, &len);
	printf("events%s%s%s%s error %s\n", p.revents & POLLIN ? " IN" : "",
	       p.revents & POLLRDHUP ? " RDHUP" : "", p.revents & POLLHUP ? " HUP" : "",
	       p.revents & POLLERR ? " ERR" : "", errno_name(err));
	return 0;
}

static int try_connect(unsigned int cid, unsigned int port)
{
	double start = seconds_now();
	int fd = connect_to(cid, port);

	printf("%s after %.1f s\n", errno_name(fd < 0 ? errno : 0), seconds_now() - start);
	return 0;
}

static int whom(unsigned int port)
{
	struct sockaddr_vmshm who;
	int fd = listen_on(port, 16);

	if (fd < 0) {
		fprintf(stderr, "traffic: listen on port %u: %s\n", port, errno_name(errno));
		return 1;
	}
	puts("ready");
	for (;;) {
		socklen_t len = sizeof(who);
		int conn = accept(fd, (struct sockaddr *)&who, &len);

		if (conn < 0) {
			printf("accept: %s\n", errno_name(errno));
			return 1;
		}
		printf("CID %u\n", who.svm_cid);
		close(conn);
	}
}

/* ---- records and datagrams ---- */

static int dgram_at(unsigned int port)
{
	struct sockaddr_vmshm at = {
		.svm_family = AF_VMSHM, .svm_cid = VMSHM_CID_ANY, .svm_port = port
	};
	int fd = socket(AF_VMSHM, SOCK_DGRAM, 0);

	return fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) ? -1 : fd;
}

static int sink(unsigned int port)
{
	int fd = dgram_at(port);
	char buf[4096];

	if (fd >= 0)
		puts("ready");
	while (fd >= 0 && recv(fd, buf, sizeof(buf), 0) >= 0)
		;
	printf("sink: %s\n", errno_name(errno));
	return 1;
}

/* What was opened for a datagram outlives the process. */
static int post(unsigned int cid, unsigned int port)
{
	const unsigned int cids[] = { cid, VMSHM_CID_LOCAL };
	int fd = dgram_at(port);
	char buf[1000] = "";

	for (int i = 0; i < 2; i++) {
		struct sockaddr_vmshm to = {
			.svm_family = AF_VMSHM, .svm_cid = cids[i], .svm_port = port
		};

		if (fd < 0 || sendto(fd, buf, sizeof(buf), 0, (struct sockaddr *)&to,
				     sizeof(to)) != sizeof(buf)) {
			printf("to CID %u: %s\n", cids[i], errno_name(errno));
			return 1;
		}
	}
	return 0;
}

static int hold(unsigned int port)
{
	int fd = listen_of(SOCK_SEQPACKET, port, 64);

	if (fd < 0 || dgram_at(port) < 0) {
		printf("set-up: %s\n", errno_name(errno));
		return 1;
	}
	puts("ready");
	for (;;) {
		struct pollfd p = { .fd = accept(fd, NULL, NULL), .events = POLLRDHUP };

		/* Until it is over: what was sent stays where it is. */
		if (p.fd >= 0 && !fork()) {
			while (poll(&p, 1, -1) != 1 || !(p.revents & (POLLHUP | POLLRDHUP)))
				;
			_exit(0);
		}
		if (p.fd >= 0)
			close(p.fd);
	}
}

/* Sends until that fails, or receives; the errno goes into a pipe. */
static void until_it_fails(int type, bool receive, unsigned int cid, unsigned int port, int out)
{
	static char buf[4096];
	int fd = connect_of(type, cid, port);
	int err = fd < 0 ? errno : 0;

	while (!err)
		if ((receive ? recv(fd, buf, sizeof(buf), 0) :
			       send(fd, buf, sizeof(buf), MSG_NOSIGNAL)) <= 0)
			err = errno ? errno : ENODATA;
	if (write(out, &err, sizeof(err)) != sizeof(err))
		_exit(1);
	_exit(0);
}

static int full(unsigned int cid, unsigned int port)
{
	static const struct {
		const char *name;
		int type;
		bool receive;
	} calls[] = {
		{ "send", SOCK_SEQPACKET, false },
		{ "recv", SOCK_SEQPACKET, true },
		{ "dgram", SOCK_DGRAM, false },
	};
	int out[3][2], err;

	for (int i = 0; i < 3; i++) {
		if (pipe(out[i]))
			return 1;
		if (!fork())
			until_it_fails(calls[i].type, calls[i].receive, cid, port, out[i][1]);
		close(out[i][1]);
	}
	puts("connected");
	for (int i = 0; i < 3; i++) {
		if (read(out[i][0], &err, sizeof(err)) != sizeof(err))
			return 1;
		printf("%s%s %s", i ? " " : "", calls[i].name, errno_name(err));
	}
	putchar('\n');
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "serve") && argc == 3)
		return serve(number(argv[2]));
	if (!strcmp(what, "echo") && argc == 5)
		return echo(number(argv[2]), number(argv[3]), number(argv[4]));
	if (!strcmp(what, "stream") && argc == 5)
		return stream(number(argv[2]), number(argv[3]), number(argv[4]));
	if (!strcmp(what, "wait") && argc == 4)
		return wait_for_end(number(argv[2]), number(argv[3]));
	if (!strcmp(what, "connect") && argc == 4)
		return try_connect(number(argv[2]), number(argv[3]));
	if (!strcmp(what, "whom") && argc == 3)
		return whom(number(argv[2]));
	if (!strcmp(what, "stuck") && argc == 5)
		return stuck(number(argv[2]), number(argv[3]), number(argv[4]));
	if (!strcmp(what, "heirs") && argc == 5)
		return heirs(number(argv[2]), number(argv[3]), number(argv[4]));
	if (!strcmp(what, "heir") && argc == 3)
		return heir(number(argv[2]));
	if (!strcmp(what, "post") && argc == 4)
		return post(number(argv[2]), number(argv[3]));
	if (!strcmp(what, "sink") && argc == 3)
		return sink(number(argv[2]));
	if (!strcmp(what, "hold") && argc == 3)
		return hold(number(argv[2]));
	if (!strcmp(what, "full") && argc == 4)
		return full(number(argv[2]), number(argv[3]));
	if (!strcmp(what, "victim") && argc == 5)
		return victim(number(argv[2]), number(argv[3]), number(argv[4]));
	fputs(usage, stderr);
	return 2;
}
