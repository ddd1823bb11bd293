// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts doorbells in the two cases where their number does not depend on how
 * fast the two VMs run:
 *
 *	sleeping	the receiver sleeps before each message: one each
 *	awake		the receiver never sleeps and the ring never fills: none
 *
 * Both sides count, so an answer that nobody needs is seen too. The client
 * prints one line for each case: "NAME DOORBELLS MESSAGES".
 */
#include <argp.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/vmshm.h>

#define PORT		20491
#define LEN		64
#define SLEEPING	100	/* messages */
#define AWAKE		1000	/* messages; all of them fit into the smallest default ring */
#define PAUSE_MS	20	/* long enough for the receiver to fall asleep */

static unsigned int cid;

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "count_doorbells: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void check(int result, const char *what)
{
	if (result < 0)
		die(what);
}

static uint64_t doorbells(int fd)
{
	struct vmshm_info info;
	socklen_t len = sizeof(info);

	check(getsockopt(fd, AF_VMSHM, SO_VMSHM_INFO, &info, &len), "SO_VMSHM_INFO");
	return info.doorbells_sent;
}

static void never_poll(int fd)
{
	int never = 0;

	check(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &never, sizeof(never)),
	      "SO_VMSHM_BUSY_POLL");
}

static void pause_ms(long ms)
{
	struct timespec t = { 0, ms * 1000000 };

	nanosleep(&t, NULL);
}

static void take(int fd, void *buf, size_t len)
{
	ssize_t n = recv(fd, buf, len, MSG_WAITALL);

	if (n >= 0 && (size_t)n != len)
		errno = ECONNRESET;
	if (n < 0 || (size_t)n != len)
		die("recv");
}

static void give(int fd, const void *buf, size_t len)
{
	if (send(fd, buf, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send");
}

/*
 * Server: one case on one connection, with one message before it that does not
 * count; then tell how often this side rang.
 */
static void receive(int fd, int messages, int flags)
{
	uint64_t before;
	char buf[LEN];
	size_t got = 0;
	ssize_t n;

	never_poll(fd);
	give(fd, "g", 1);
	before = doorbells(fd);
	while (got < (size_t)(messages + 1) * LEN) {
		n = recv(fd, buf, LEN, flags);
		if (n < 0 && errno == EAGAIN)
			continue;
		check(n, "recv");
		if (!n) {
			errno = ECONNRESET;
			die("recv");
		}
		got += n;
	}
	before = doorbells(fd) - before;
	give(fd, &before, sizeof(before));
	close(fd);
}

static void serve(void)
{
	struct sockaddr_vmshm a = { .svm_family = AF_VMSHM, .svm_port = PORT,
				    .svm_cid = VMSHM_CID_ANY };
	int fd = socket(AF_VMSHM, SOCK_STREAM, 0);

	check(fd, "socket (is the module loaded?)");
	check(bind(fd, (struct sockaddr *)&a, sizeof(a)), "bind");
	check(listen(fd, 1), "listen");
	receive(accept(fd, NULL, NULL), SLEEPING, 0);
	receive(accept(fd, NULL, NULL), AWAKE, MSG_DONTWAIT);
}

static int connect_server(void)
{
	struct sockaddr_vmshm a = { .svm_family = AF_VMSHM, .svm_port = PORT, .svm_cid = cid };
	int fd, tries;

	for (tries = 0; tries < 100; tries++) {
		fd = socket(AF_VMSHM, SOCK_STREAM, 0);
		check(fd, "socket (is the module loaded?)");
		if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
			return fd;
		close(fd);
		if (errno != ECONNRESET)
			break;
		pause_ms(100);		/* the server may still be starting */
	}
	die("connect");
}

static void send_messages(const char *name, int messages, int pause)
{
	uint64_t before, theirs;
	char buf[LEN] = "";
	int fd = connect_server();

	never_poll(fd);
	take(fd, buf, 1);
	/* A ring begins armed: its first message rings, whoever is awake. */
	give(fd, buf, LEN);
	pause_ms(PAUSE_MS);
	before = doorbells(fd);
	for (int i = 0; i < messages; i++) {
		if (pause)
			pause_ms(pause);
		give(fd, buf, LEN);
	}
	before = doorbells(fd) - before;
	take(fd, &theirs, sizeof(theirs));
	printf("doorbells_%s %llu %d\n", name, (unsigned long long)(before + theirs), messages);
	close(fd);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	char *end;

	switch (key) {
	case 'c':
		cid = strtoul(arg, &end, 10);
		if (end == arg || *end || !cid)
			argp_error(state, "--client %s: expected the server's CID", arg);
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'? there are options only", arg);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "client", 'c', "CID", 0, "send to the server at CID (else be the server)", 0 },
		{ 0 }
	};
	struct argp argp = {
		.options = options,
		.parser = parse,
		.doc = "Counts doorbells where their number is forced.",
	};

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	if (!cid) {
		serve();
		return 0;
	}
	send_messages("sleeping", SLEEPING, PAUSE_MS);
	send_messages("awake", AWAKE, 0);
	return 0;
}
