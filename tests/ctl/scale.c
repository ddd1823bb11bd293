// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hundred members, 250 to 1000 couples, all of them connected: time and
 * memory of the start, the storm of joins, one that leaves, a reload, and
 * questions. As a test it compares the growth with the count of couples; with
 * the argument "table" it prints what it measured, for bench/scale.
 */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MEMBERS		100
#define COUPLES_MAX	1000
#define VECTORS		2
/* Growth that is no worse than the couples', with room for a busy machine. */
#define SLACK		2.0

static struct vmshmd d;
static int sockets[2 * COUPLES_MAX];

struct measured {
	unsigned int couples;
	double start, storm, leave, reload, question;	/* seconds */
	unsigned long anon_kib;
	unsigned int fds;
	unsigned long long resident, size;		/* bytes of all segments */
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Couple number @n: each member has as many as any other, as far as that goes. */
static void couple(unsigned int n, unsigned int *a, unsigned int *b)
{
	unsigned int distance = 1 + n / MEMBERS;

	*a = n % MEMBERS;
	*b = (*a + distance) % MEMBERS;
}

static char *configuration(unsigned int couples)
{
	size_t size = 200 * (couples + MEMBERS), len = 0;
	char *body = malloc(size);

	need(body, "no memory");
	len += (size_t)snprintf(body + len, size - len, "members = (");
	for (unsigned int i = 0; i < MEMBERS; i++)
		len += (size_t)snprintf(body + len, size - len, "%s{ name = \"vm%u\"; cid = %u; }",
					i ? ",\n" : "", i, 3 + i);
	len += (size_t)snprintf(body + len, size - len, ");\nsegments = (");
	for (unsigned int n = 0; n < couples; n++) {
		unsigned int a, b;

		couple(n, &a, &b);
		len += (size_t)snprintf(body + len, size - len,
					"%s{ name = \"c%u\"; members = [ \"vm%u\", \"vm%u\" ]; }",
					n ? ",\n" : "", n, a, b);
	}
	/* Sparse: the sizes add up to more than the host has. */
	snprintf(body + len, size - len, ");\nmemory_limit = \"1024G\";\n");
	return body;
}

/* Connects a member of couple @n and takes what it is sent; only the socket is kept. */
static int join(unsigned int n, unsigned int side)
{
	char segment[16], member[16];
	unsigned int who[2];
	int socket;

	couple(n, &who[0], &who[1]);
	snprintf(segment, sizeof(segment), "c%u", n);
	snprintf(member, sizeof(member), "vm%u", who[side]);
	socket = fake_connect(&d, segment, member);
	for (unsigned int i = 0; socket >= 0 && i < fake_messages(2, VECTORS); i++) {
		int64_t value;
		int fd;

		if (fake_receive(socket, &value, &fd, PATIENCE) != 1) {
			close(socket);
			return -1;
		}
		if (fd >= 0)
			close(fd);
	}
	return socket;
}

/* The number after "@key":  in the answer to a question. */
static unsigned long long asked(const char *key)
{
	static const char question[] = "{\"command\": \"status\"}\n";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char answer[4096] = "", name[32], *at;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock", d.run);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    write(fd, question, sizeof(question) - 1) < 0)
		return 0;
	n = recv(fd, answer, sizeof(answer) - 1, 0);
	close(fd);
	answer[n > 0 ? n : 0] = '\0';
	snprintf(name, sizeof(name), "\"%s\":", key);
	at = strstr(answer, name);
	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static struct measured measure(unsigned int couples)
{
	struct measured m = { .couples = couples };
	char *body = configuration(couples);
	unsigned int back;
	double began;

	began = now();
	daemon_start(&d, body);
	m.start = now() - began;

	began = now();
	for (unsigned int i = 0; i < 2 * couples; i++) {
		sockets[i] = join(i / 2, i % 2);
		need(sockets[i] >= 0, "member %u of couple %u is not served", i % 2, i / 2);
	}
	m.storm = now() - began;
	need(soon(asked("connected") == 2 * couples), "not all are connected");
	m.anon_kib = daemon_rss_kib(&d);
	m.fds = daemon_fds(&d);
	m.resident = asked("resident");
	m.size = asked("size");

	began = now();
	for (int i = 0; i < 20; i++)
		need(asked("couples") == couples, "a wrong answer");
	m.question = (now() - began) / 20;

	back = daemon_said(&d, "its memory is given back");
	began = now();
	close(sockets[0]);
	need(soon(daemon_said(&d, "its memory is given back") > back), "it never leaves");
	m.leave = now() - began;

	began = now();
	need(daemon_reload(&d, body), "no reload");
	m.reload = now() - began;
	free(body);
	for (unsigned int i = 1; i < 2 * couples; i++)
		close(sockets[i]);
	return m;
}

static bool grows_with(double small, double large, double floor)
{
	return large <= SLACK * 4 * (small > floor ? small : floor);
}

int main(int argc, char **argv)
{
	bool table = argc > 1 && !strcmp(argv[1], "table");
	struct rlimit limit;
	struct measured m[3];

	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < 11 * COUPLES_MAX) {
		skip("a process may not have 11000 descriptors here", "a thousand couples");
		return done();
	}
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned int i = 0; i < NR(m); i++) {
		m[i] = measure(250U << i);
		if (!table) {
			daemon_end(&d);
			diag("%u couples: start %.3f s, 2 joins each %.3f s, one leaves %.3f s, "
			     "reload %.3f s, status %.4f s, %lu KiB, %u descriptors, "
			     "%llu KiB of segments",
			     m[i].couples, m[i].start, m[i].storm, m[i].leave, m[i].reload,
			     m[i].question, m[i].anon_kib, m[i].fds, m[i].resident / 1024);
			continue;
		}
		need(daemon_stop(&d, SIGTERM) == 0, "the daemon does not end with 0");
		daemon_end(&d);
		printf("%7u %8.3f %8.3f %8.3f %8.3f %8.4f %9lu %8u %12llu %10llu\n", m[i].couples,
		       m[i].start, m[i].storm, m[i].leave, m[i].reload, m[i].question,
		       m[i].anon_kib, m[i].fds, m[i].resident / 1024, m[i].size >> 20);
	}
	if (table)
		return 0;
	ok(grows_with(m[0].start, m[2].start, 0.1), "the start grows as the couples do");
	ok(grows_with(m[0].storm, m[2].storm, 0.1), "so does a storm of joins");
	ok(m[2].leave < 1, "one that leaves is noticed within a second");
	ok(grows_with(m[0].reload, m[2].reload, 0.1), "a reload grows as the couples do");
	ok(grows_with((double)m[0].anon_kib, (double)m[2].anon_kib, 4096),
	   "so does the daemon's memory");
	ok(m[2].fds < 4.2 * m[0].fds, "so do its descriptors");
	ok(m[2].resident <= m[2].couples * 16384ULL && m[2].size == m[2].couples * (256ULL << 20),
	   "a couple that does nothing takes 16 KiB at most of its 256 MiB");
	return done();
}
