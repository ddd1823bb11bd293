// SPDX-License-Identifier: GPL-2.0-only
/*
 * Something runs out: memory that the host could back, address space, a
 * client's patience, descriptors in flight. One clear line for the one
 * concerned, and all others are served as before. Huge pages are huge.c's,
 * descriptors of the daemon itself clients.c's.
 */
#include "harness.h"

#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY_UID	4711

#define ABC "members = ( { name = \"a\"; cid = 3; }, { name = \"b\"; cid = 4; },\n" \
	"{ name = \"c\"; cid = 5; } );\n"

static bool serves(const struct vmshmd *d, const char *segment, const char *member)
{
	struct fake f;
	bool fine = fake_join(&f, d, segment, member, 2, 2);

	if (fine)
		fake_leave(&f);
	return fine;
}

static bool undisturbed(const struct fake *f)
{
	int64_t value;
	int fd;

	return fake_receive(f->socket, &value, &fd, 20) == -1;
}

/* ---- memory ---- */

static void more_than_there_is(void)
{
	char text[512];
	struct sysinfo info;
	struct vmshmd d;
	struct fake a;
	u64 size = 1 << 20;

	need(!sysinfo(&info), "sysinfo");
	while (size <= (u64)info.totalram * info.mem_unit)
		size <<= 1;
	if (size > VMSHM_SEGMENT_MAX) {
		skip("this host could back every segment", "more than the host has is refused");
		return;
	}
	daemon_prepare(&d);
	snprintf(text, sizeof(text), MEMBERS_AB "segments = ( { name = \"a-b\";\n"
		 "members = [ \"a\", \"b\" ]; size = \"%lluM\"; } );\n",
		 (unsigned long long)size >> 20);
	daemon_config(&d, text);
	daemon_run(&d, NULL);
	ok(daemon_stop(&d, 0) == 1 && daemon_said(&d, "all segments together may take ") == 1 &&
	   daemon_said(&d, "this host has") == 1,
	   "a segment that is larger than the host's memory ends the start with one line and 1");
	daemon_end(&d);

	daemon_start(&d, ABC "memory_limit = \"40M\"; segments = ( " COUPLE_AB ",\n"
		     "{ name = \"b-c\"; members = [ \"b\", \"c\" ]; size = \"16M\"; } );\n");
	need(fake_join(&a, &d, "a-b", "a", 2, 2), "a is not served");
	ok(!daemon_reload(&d, ABC "memory_limit = \"40M\"; segments = ( " COUPLE_AB ",\n"
			  "{ name = \"b-c\"; members = [ \"b\", \"c\" ]; size = \"16M\"; },\n"
			  "{ name = \"a-c\"; members = [ \"a\", \"c\" ]; size = \"16M\"; } );\n") &&
	   daemon_said(&d, "may take 48.0 MiB, and memory_limit is 40.0 MiB") == 1,
	   "full sizes count, not what is used: one too many is refused");
	ok(undisturbed(&a) && serves(&d, "b-c", "b"), "who is served still is");
	ok(daemon_reload(&d, ABC "memory_limit = \"48M\"; segments = ( " COUPLE_AB ",\n"
			 "{ name = \"b-c\"; members = [ \"b\", \"c\" ]; size = \"16M\"; },\n"
			 "{ name = \"a-c\"; members = [ \"a\", \"c\" ]; size = \"16M\"; } );\n"),
	   "and taken when there is room");
	fake_leave(&a);
	daemon_end(&d);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED	true
#else
#define SANITIZED	false
#endif

static u64 address_space(pid_t pid)
{
	unsigned long pages = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return (u64)pages * 4096;
}

/* A group of 64 has tables of 270 KiB. */
static const char *large_group(void)
{
	static char text[16384];
	size_t len = (size_t)sprintf(text, "members = ( ");

	for (int i = 0; i < 64; i++)
		len += (size_t)sprintf(text + len, "{ name = \"%s%d\"; cid = %d; }%s",
				       i < 2 ? "" : "m", i, 3 + i, i < 63 ? ",\n" : " );\n");
	len += (size_t)sprintf(text + len, "segments = ( { name = \"0-1\";\n"
			       "members = [ \"0\", \"1\" ]; size = \"16M\"; }, { name = \"all\"; shared = true; vectors = 1;\n"
			       "size = \"1G\"; members = [ ");
	for (int i = 1; i < 64; i++)
		len += (size_t)sprintf(text + len, "\"%s%d\"%s", i < 2 ? "" : "m", i,
				       i < 63 ? ", " : " ]; } );\n");
	return text;
}

static void out_of_memory(void)
{
	struct rlimit limit, tight;
	struct vmshmd d;
	struct fake a;

	if (SANITIZED) {
		skip("a sanitizer needs all of it", "address space is used up");
		return;
	}
	/* What it takes to read the file is there; what is then mapped is not. */
	setenv("MALLOC_TOP_PAD_", "4194304", 1);
	setenv("MALLOC_TRIM_THRESHOLD_", "8388608", 1);
	daemon_start(&d, "members = ( { name = \"0\"; cid = 3; }, { name = \"1\"; cid = 4; } );\n"
		     "segments = ( { name = \"0-1\"; members = [ \"0\", \"1\" ];\n"
		     "size = \"16M\"; } );\n");
	need(fake_join(&a, &d, "0-1", "0", 2, 2), "0 is not served");
	need(!prlimit(d.pid, RLIMIT_AS, NULL, &limit), "prlimit");
	tight = limit;
	tight.rlim_cur = address_space(d.pid) + (100 << 10);
	need(!prlimit(d.pid, RLIMIT_AS, &tight, NULL), "prlimit");
	ok(!daemon_reload(&d, large_group()) &&
	   daemon_said(&d, "segment all: cannot allocate its tables: Cannot allocate memory") == 1,
	   "a segment for which there is no memory is refused, and why");
	ok(undisturbed(&a) && serves(&d, "0-1", "1"), "who is served still is");
	need(!prlimit(d.pid, RLIMIT_AS, &limit, NULL), "prlimit");
	ok(daemon_reload(&d, large_group()) && undisturbed(&a), "and taken when there is some");
	unsetenv("MALLOC_TOP_PAD_");
	unsetenv("MALLOC_TRIM_THRESHOLD_");
	fake_leave(&a);
	daemon_end(&d);
}

/* ---- clients that don't read ---- */

static const char crowd[] = ABC
	"segments = ( " COUPLE_AB ",\n"
	"{ name = \"b-c\"; members = [ \"b\", \"c\" ]; size = \"16M\"; vectors = 32; } );\n";

/* Messages in a socket that nobody reads. */
static unsigned int unread(int socket)
{
	unsigned int n = 0;
	int64_t value;
	int fd;

	while (fake_receive(socket, &value, &fd, 0) == 1) {
		n++;
		if (fd >= 0)
			close(fd);
	}
	return n;
}

static void never_reads(void)
{
	u64 began, took;
	struct vmshmd d;
	int socket;
	bool said;

	daemon_start_kept(&d, crowd);
	socket = fake_connect(&d, "b-c", "b");
	began = now_ms();
	ok(serves(&d, "a-b", "a") && serves(&d, "a-b", "b"),
	   "others are served beside one that never reads");
	said = soon(daemon_said(&d, "member b: dropped: it has not read message "));
	took = now_ms() - began;
	ok(said && took >= 4900 && took < 7000, "after five seconds it is dropped: %llu ms",
	   (unsigned long long)took);
	took = unread(socket);
	ok(took > 2 && took <= 32, "%llu descriptors at the most were in flight for it",
	   (unsigned long long)took);
	close(socket);
	socket = fake_connect(&d, "b-c", "b");
	sleep_ms(1000);
	kill(daemon_worker(&d), SIGKILL);
	need(soon(daemon_said(&d, "vmshmd: ready") == 2), "it does not start again");
	ok(soon(daemon_said(&d, "member b: dropped: it has not read message ") == 2),
	   "so is one that a restart comes in between");
	close(socket);
	daemon_end(&d);
}

/*
 * The kernel counts descriptors in flight a user, and lets nobody send more
 * than he may have open. Another process of the daemon's user uses them up.
 */
static pid_t fill_flight(int *release)
{
	int pair[2], ready[2], hold[2];
	char byte;
	pid_t pid;

	need(!pipe(ready) && !pipe(hold), "pipe");
	pid = fork();
	if (!pid) {
		struct rlimit many = { 4096, 4096 };
		union {
			struct cmsghdr header;
			char space[CMSG_SPACE(200 * sizeof(int))];
		} control = { .space = "" };
		int fds[200];

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setrlimit(RLIMIT_NOFILE, &many);
		if (setresgid(NOBODY_UID, NOBODY_UID, NOBODY_UID) ||
		    setresuid(NOBODY_UID, NOBODY_UID, NOBODY_UID) ||
		    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
			_exit(1);
		for (int i = 0; i < 200; i++)
			fds[i] = ready[1];
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(fds));
		memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
		for (int i = 0; i < 3; i++) {
			struct iovec iov = { &byte, 1 };
			struct msghdr msg = {
				.msg_iov = &iov, .msg_iovlen = 1,
				.msg_control = &control, .msg_controllen = sizeof(control),
			};

			if (sendmsg(pair[0], &msg, 0) != 1)
				_exit(2);
		}
		close(hold[1]);
		if (write(ready[1], "x", 1) != 1 || read(hold[0], &byte, 1) < 0)
			_exit(3);
		_exit(0);
	}
	close(ready[1]);
	close(hold[0]);
	need(read(ready[0], &byte, 1) == 1, "descriptors cannot be brought in flight");
	close(ready[0]);
	*release = hold[1];
	return pid;
}

static void flight_used_up(void)
{
	struct vmshmd d;
	int64_t value;
	int socket, fd, release;
	struct fake a;
	pid_t pid;

	daemon_prepare(&d);
	d.uid = NOBODY_UID;
	d.descriptors = 256;
	daemon_config(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	daemon_run(&d, NULL);
	need(soon(daemon_said(&d, "vmshmd: ready")), "the daemon is not ready; see %s", d.log);
	need(fake_join(&a, &d, "a-b", "a", 2, 2), "a is not served; see %s", d.log);
	pid = fill_flight(&release);
	socket = fake_connect(&d, "a-b", "b");
	ok(soon(daemon_said(&d, "member b: sending waits: Too many references")),
	   "with all descriptors in flight that its user may have, the daemon says so");
	ok(fake_receive(socket, &value, &fd, PATIENCE) == 1 &&
	   fake_receive(socket, &value, &fd, PATIENCE) == 1 &&
	   fake_receive(socket, &value, &fd, 300) == -1 && undisturbed(&a), "who comes waits");
	close(release);
	waitpid(pid, NULL, 0);
	for (unsigned int i = 2; i < fake_messages(2, 2); i++) {
		need(fake_receive(socket, &value, &fd, PATIENCE) == 1, "message %u is missing", i);
		close(fd);
	}
	ok(undisturbed(&a), "and gets everything when they are read");
	close(socket);
	fake_leave(&a);
	daemon_end(&d);
}

/* It left its buffer full, then it read: what keeps it waiting is the host's shortage. */
static void reads_in_time(void)
{
	struct vmshmd d;
	int64_t value;
	int socket, fd, release;
	unsigned int n = 0;
	pid_t pid;

	daemon_prepare(&d);
	d.uid = NOBODY_UID;
	d.descriptors = 256;
	daemon_config(&d, crowd);
	daemon_run(&d, NULL);
	need(soon(daemon_said(&d, "vmshmd: ready")), "the daemon is not ready; see %s", d.log);
	socket = fake_connect(&d, "b-c", "b");
	need(soon(daemon_said(&d, "member b: connected")), "b is not let in");
	/* Its buffer is full by now. */
	sleep_ms(500);
	pid = fill_flight(&release);
	n = unread(socket);
	need(soon(daemon_said(&d, "member b: sending waits: Too many references")),
	     "there is no shortage");
	sleep_ms(5500);
	ok(!daemon_said(&d, "member b: dropped"),
	   "who has read is not dropped while the daemon can't send");
	close(release);
	waitpid(pid, NULL, 0);
	while (n < fake_messages(2, 32) && fake_receive(socket, &value, &fd, PATIENCE) == 1) {
		n++;
		if (fd >= 0)
			close(fd);
	}
	ok(n == fake_messages(2, 32), "and gets all of its %u messages", n);
	close(socket);
	daemon_end(&d);
}

/* ---- a daemon that may do nothing ---- */

/* @segment may be ".", for the sockets that are no member's. */
static bool may_connect_to(const struct vmshmd *d, const char *segment, const char *name,
			   uid_t uid, gid_t gid)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(!(!setgroups(0, NULL) && !setresgid(gid, gid, gid) &&
			!setresuid(uid, uid, uid) && fake_connect(d, segment, name) >= 0));
	waitpid(pid, &status, 0);
	return status == 0;
}

static bool may_connect(const struct vmshmd *d, const char *member, uid_t uid, gid_t gid)
{
	return may_connect_to(d, "a-b", member, uid, gid);
}

static void without_privileges(void)
{
	char text[640];
	struct vmshmd d;

	daemon_prepare(&d);
	d.uid = NOBODY_UID;
	d.kept = true;
	snprintf(text, sizeof(text),
		 "control_group = \"4321\"; metrics = \"%s/metrics.sock\";\n"
		 MEMBERS_AB "segments = ( " COUPLE_AB " );\n", d.run);
	daemon_config(&d, text);
	daemon_run(&d, NULL);
	need(soon(daemon_said(&d, "vmshmd: ready")), "the daemon is not ready; see %s", d.log);
	ok(may_connect_to(&d, ".", "control", 1, 4321) && !may_connect_to(&d, ".", "control", 1, 1),
	   "a daemon that is not in control_group lets it connect by an ACL");
	ok(may_connect_to(&d, ".", "metrics", 1, 4321) && !may_connect_to(&d, ".", "metrics", 1, 1),
	   "to the metrics' socket, too");
	memcpy(strstr(text, "4321"), "4322", 4);
	ok(daemon_reload(&d, text) && may_connect_to(&d, ".", "control", 1, 4322) &&
	   may_connect_to(&d, ".", "metrics", 1, 4322) &&
	   !may_connect_to(&d, ".", "control", 1, 4321) &&
	   !may_connect_to(&d, ".", "metrics", 1, 4321), "and another one after a reload");
	daemon_end(&d);

	daemon_prepare(&d);
	d.uid = NOBODY_UID;
	d.kept = true;
	daemon_config(&d, "members = ( { name = \"a\"; cid = 3; owner = \"1234\";\n"
		      "mode = \"0600\"; },\n"
		      "{ name = \"b\"; cid = 4; group = \"4321\"; mode = \"0060\"; } );\n"
		      "segments = ( " COUPLE_AB " );\n");
	daemon_run(&d, NULL);
	need(soon(daemon_said(&d, "vmshmd: ready")), "the daemon is not ready; see %s", d.log);
	ok(may_connect(&d, "a", 1234, 1234) && !may_connect(&d, "a", 1235, 1234),
	   "a daemon that may not give files away lets a member's owner connect by an ACL");
	ok(may_connect(&d, "b", 1, 4321) && !may_connect(&d, "b", 1, 1) &&
	   !may_connect(&d, "b", 1234, 1234), "and a member's group");
	kill(daemon_worker(&d), SIGKILL);
	need(soon(daemon_said(&d, "vmshmd: ready") == 2), "it does not start again");
	ok(may_connect(&d, "a", 1234, 1234) && !may_connect(&d, "a", 1235, 1234),
	   "its keeper works as that user, too");
	ok(daemon_reload(&d, "members = ( { name = \"a\"; cid = 3; owner = \"1235\"; },\n"
			 "{ name = \"b\"; cid = 4; } ); segments = ( " COUPLE_AB " );\n") &&
	   !may_connect(&d, "a", 1234, 1234) && may_connect(&d, "a", 1235, 1235) &&
	   !may_connect(&d, "b", 1, 4321), "a reload changes who may connect");
	daemon_end(&d);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	more_than_there_is();
	out_of_memory();
	never_reads();
	flight_used_up();
	reads_in_time();
	without_privileges();
	return done();
}
