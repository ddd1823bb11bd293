// SPDX-License-Identifier: GPL-2.0-only
/*
 * Clients that do what no QEMU should: never read, read a byte at a time, end
 * at every point, send, connect twice, come and go quickly. After each of
 * them another segment is served as before, and nothing leaks.
 */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CROWD		8	/* m0 to m7 in one group */
#define VECTORS		16

static const char configuration[] =
	"members = (\n"
	"{ name = \"a\"; cid = 3; }, { name = \"b\"; cid = 4; },\n"
	"{ name = \"m0\"; cid = 10; }, { name = \"m1\"; cid = 11; }, { name = \"m2\"; cid = 12; },\n"
	"{ name = \"m3\"; cid = 13; }, { name = \"m4\"; cid = 14; }, { name = \"m5\"; cid = 15; },\n"
	"{ name = \"m6\"; cid = 16; }, { name = \"m7\"; cid = 17; } );\n"
	"segments = ( " COUPLE_AB ",\n"
	"{ name = \"crowd\"; size = \"64M\"; shared = true; vectors = 16;\n"
	"members = [ \"m0\", \"m1\", \"m2\", \"m3\", \"m4\", \"m5\", \"m6\", \"m7\" ]; } );\n";

static struct vmshmd d;

/* Somebody else is served: quickly, and wholly. */
static bool others_served(void)
{
	struct fake f;
	bool fine = fake_join(&f, &d, "a-b", "a", 2, 2);

	if (fine)
		fake_leave(&f);
	return fine;
}

static bool crowd_served(const char *member)
{
	struct fake f;
	bool fine = fake_join(&f, &d, "crowd", member, CROWD, VECTORS);

	if (fine)
		fake_leave(&f);
	return fine;
}

/* The daemon closed the connection; what it had sent is passed over. */
static bool closed(int socket)
{
	int64_t value;
	int fd, got;

	while ((got = fake_receive(socket, &value, &fd, PATIENCE)) == 1)
		if (fd >= 0)
			close(fd);
	return got == 0;
}

/* Settled: every client that was there is gone, as far as descriptors tell. */
static bool fds_are(unsigned int fds)
{
	return soon(daemon_fds(&d) == fds);
}

static void never_reads(unsigned int fds)
{
	int sockets[CROWD];

	for (int i = 0; i < CROWD; i++) {
		char member[8];

		snprintf(member, sizeof(member), "m%d", i);
		sockets[i] = fake_connect(&d, "crowd", member);
	}
	sleep_ms(100);
	ok(others_served(), "others are served beside eight clients that never read");
	for (int i = 0; i < CROWD; i++)
		close(sockets[i]);
	ok(fds_are(fds), "clients that never read leave nothing behind");
}

static void reads_late(void)
{
	int socket = fake_connect(&d, "crowd", "m0"), fd;
	int64_t value;
	unsigned int n = 0;

	sleep_ms(300);
	while (n < fake_messages(CROWD, VECTORS) &&
	       fake_receive(socket, &value, &fd, PATIENCE) == 1) {
		n++;
		if (fd >= 0)
			close(fd);
	}
	ok(n == fake_messages(CROWD, VECTORS), "who reads late gets all %u messages", n);
	close(socket);
}

static void reads_bytes(void)
{
	int socket = fake_connect(&d, "crowd", "m3"), fds = 0;
	unsigned int bytes = 0, all = 8 * fake_messages(CROWD, VECTORS);

	while (bytes < all) {
		char control[CMSG_SPACE(sizeof(int))], byte;
		struct iovec iov = { &byte, 1 };
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = control, .msg_controllen = sizeof(control),
		};

		if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) != 1)
			break;
		if (CMSG_FIRSTHDR(&msg)) {
			int fd;

			memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
			close(fd);
			fds++;
		}
		bytes++;
		if (!(bytes % 256))
			sleep_ms(1);
	}
	ok(bytes == all && fds == CROWD * VECTORS + 1, "who reads byte by byte gets everything");
	close(socket);
}

static void ends_anywhere(unsigned int fds)
{
	unsigned int all = fake_messages(CROWD, VECTORS), served = 0;

	for (unsigned int stop = 0; stop <= all; stop++) {
		int socket = fake_connect(&d, "crowd", "m5"), fd;
		int64_t value;

		for (unsigned int i = 0; i < stop; i++)
			if (fake_receive(socket, &value, &fd, PATIENCE) == 1 && fd >= 0)
				close(fd);
		close(socket);
		served += !(stop % 16) && others_served();
	}
	ok(served == all / 16 + 1,
	   "others are served while a client ends after each of %u messages", all);
	ok(crowd_served("m5"), "so is the member itself afterwards");
	ok(fds_are(fds), "clients that end in the middle leave nothing behind");
}

static void sends(unsigned int fds)
{
	static const char *const rubbish[] = { "\0", "x", "GET / HTTP/1.0\r\n\r\n" };
	char *much = calloc(1, 1 << 20);
	struct fake f;
	int socket, pipes[2];

	for (unsigned int i = 0; i < NR(rubbish); i++) {
		socket = fake_connect(&d, "crowd", "m1");
		need(send(socket, rubbish[i], strlen(rubbish[i]) + 1, MSG_NOSIGNAL) > 0, "send");
		ok(closed(socket), "who sends %zu bytes is dropped", strlen(rubbish[i]) + 1);
		close(socket);
	}
	ok(daemon_said(&d, "member m1: dropped: it sent ") == NR(rubbish),
	   "the log says that, and why");

	need(fake_join(&f, &d, "crowd", "m1", CROWD, VECTORS), "m1 is not served");
	send(f.socket, much, 1 << 20, MSG_NOSIGNAL | MSG_DONTWAIT);
	ok(closed(f.socket), "so is who sends much after it was served");
	fake_leave(&f);
	free(much);

	/* Descriptors in what it sends must not stay with the daemon. */
	need(!pipe(pipes), "pipe");
	socket = fake_connect(&d, "crowd", "m1");
	for (int i = 0; i < 8; i++) {
		union {
			struct cmsghdr header;
			char space[CMSG_SPACE(sizeof(int))];
		} control = { .space = "" };
		struct iovec iov = { &i, sizeof(i) };
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = &control, .msg_controllen = sizeof(control),
		};

		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &pipes[1], sizeof(int));
		sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	close(pipes[1]);
	ok(closed(socket), "so is who sends descriptors");
	close(socket);
	ok(fds_are(fds), "the daemon keeps none of them");
	close(pipes[0]);
	ok(crowd_served("m1"), "the member is served again");

	need(fake_join(&f, &d, "crowd", "m1", CROWD, VECTORS), "m1 is not served");
	shutdown(f.socket, SHUT_WR);
	ok(closed(f.socket), "who closes one direction is gone");
	fake_leave(&f);
	ok(others_served(), "others are served as before");
}

static void connects_twice(void)
{
	struct fake first;
	int second, fd;
	int64_t value;

	need(fake_join(&first, &d, "a-b", "b", 2, 2), "b is not served");
	second = fake_connect(&d, "a-b", "b");
	ok(second >= 0 && fake_receive(second, &value, &fd, PATIENCE) == 0,
	   "a second client is closed at once");
	ok(daemon_said(&d, "member b: refused: process ") == 1, "the log says so");
	ok(fake_receive(first.socket, &value, &fd, 50) == -1, "the first one stays");
	close(second);
	ok(vmshm_word_read(&fake_member(&first, 1)->presence) & 1, "and is present");
	fake_leave(&first);
	ok(fake_join(&first, &d, "a-b", "b", 2, 2), "the next one is let in");
	fake_leave(&first);
}

/* Two clients of one member at a time, of which one is ending: none is refused. */
static void takes_over(void)
{
	unsigned int refused = daemon_said(&d, "refused"), served = 0;

	for (int i = 0; i < 100; i++) {
		int old = fake_connect(&d, "a-b", "a");
		int64_t value;
		int next, fd;

		close(old);
		next = fake_connect(&d, "a-b", "a");
		served += fake_receive(next, &value, &fd, PATIENCE) == 1 && value == 0;
		close(next);
	}
	ok(served == 100 && daemon_said(&d, "refused") == refused,
	   "who comes right after its predecessor ended is let in, 100 times of %u", served);
}

static void comes_and_goes(unsigned int fds)
{
	unsigned long rss = 0, rss_after;
	u64 blocks, blocks_after;
	struct fake witness;
	unsigned int good = 0;

	need(fake_join(&witness, &d, "a-b", "b", 2, 2), "b is not served");
	blocks = fake_blocks(&witness);
	for (int i = 0; i < 400; i++) {
		struct fake f;

		if (i == 200)
			rss = daemon_rss_kib(&d);
		if (!fake_join(&f, &d, "a-b", "a", 2, 2))
			continue;
		memset(f.map + fake_channel(&f, 0)->half_off[0], 0x5a, 65536);
		fake_leave(&f);
		good++;
	}
	ok(good == 400, "400 clients, one after the other, are served");
	ok(soon(vmshm_word_read(&fake_member(&witness, 0)->presence) % 2 == 0),
	   "the last one is gone");
	blocks_after = fake_blocks(&witness);
	ok(blocks_after == blocks, "the segment takes no more memory: %llu bytes",
	   (unsigned long long)blocks_after);
	rss_after = daemon_rss_kib(&d);
	/* A sanitizer keeps freed memory for a while; it looks for leaks itself. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip("a sanitizer keeps freed memory", "the daemon does not grow: %lu KiB, then %lu", rss,
	     rss_after);
#else
	ok(rss_after <= rss + 16, "the daemon does not grow: %lu KiB, then %lu", rss, rss_after);
#endif
	fake_leave(&witness);
	ok(fds_are(fds), "nor keep descriptors");
}

/* A flood of refused clients fills no log. */
static void floods(void)
{
	unsigned int lines = daemon_said(&d, "");
	struct fake f;

	need(fake_join(&f, &d, "crowd", "m7", CROWD, VECTORS), "m7 is not served");
	for (int i = 0; i < 500; i++) {
		int64_t value;
		int fd, socket = fake_connect(&d, "crowd", "m7");

		fake_receive(socket, &value, &fd, PATIENCE);
		close(socket);
	}
	lines = daemon_said(&d, "") - lines;
	ok(lines <= 25, "500 refused clients make %u lines in the log", lines);
	fake_leave(&f);
}

/*
 * No descriptor left: who comes waits, and is served when there is one again. Of a
 * daemon that just started, which had no reason to wait for anything before.
 */
static void descriptors_used_up(void)
{
	struct rlimit old, tight;
	int64_t value;
	int first, second, fd;
	unsigned long ms;
	bool waited;

	need(!prlimit(d.pid, RLIMIT_NOFILE, NULL, &old), "prlimit");
	tight = old;
	/* One more connection can be accepted. */
	tight.rlim_cur = daemon_free_fd(&d) + 1;
	need(!prlimit(d.pid, RLIMIT_NOFILE, &tight, NULL), "prlimit");
	first = fake_connect(&d, "a-b", "a");
	ok(fake_receive(first, &value, &fd, PATIENCE) == 1, "the last descriptor serves one more");
	second = fake_connect(&d, "crowd", "m0");
	waited = soon(daemon_said(&d, "cannot be accepted: Too many open files"));
	ok(waited, "the log says that there are no more");
	ms = daemon_cpu_ms(&d);
	ok(fake_receive(second, &value, &fd, 500) == -1, "the next one waits");
	ms = daemon_cpu_ms(&d) - ms;
	ok(ms < 100, "and the daemon with it: it is busy for %lu of 500 ms", ms);
	close(first);
	ok(fake_receive(second, &value, &fd, PATIENCE) == 1, "and is served when one is free");
	close(second);
	prlimit(d.pid, RLIMIT_NOFILE, &old, NULL);
	ok(others_served() && crowd_served("m2"), "everyone is served afterwards");
}

int main(void)
{
	unsigned int fds;

	signal(SIGPIPE, SIG_IGN);
	daemon_start(&d, configuration);
	fds = daemon_fds(&d);
	never_reads(fds);
	reads_late();
	reads_bytes();
	need(fds_are(fds), "descriptors do not settle");
	ends_anywhere(fds);
	sends(fds);
	connects_twice();
	takes_over();
	comes_and_goes(fds);
	floods();
	need(fds_are(fds), "descriptors do not settle");
	daemon_end(&d);

	daemon_start(&d, configuration);
	descriptors_used_up();
	daemon_end(&d);
	return done();
}
