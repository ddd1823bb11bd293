// SPDX-License-Identifier: GPL-2.0-only
/*
 * The daemon as a service: sockets and who may use them, two daemons on one
 * directory, stale and foreign sockets, its end, and SIGHUP.
 */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABC "members = ( { name = \"a\"; cid = 3; }, { name = \"b\"; cid = 4; }, { name = \"c\"; cid = 5; } );\n"
#define BC "{ name = \"b-c\"; members = [ \"b\", \"c\" ]; size = \"16M\"; }"

static const char *path_in(const struct vmshmd *d, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", d->run, name);
	return path;
}

static bool there(const struct vmshmd *d, const char *name)
{
	return !access(path_in(d, name), F_OK);
}

/* The permissions of @name, 0 when it is not there. */
static unsigned int mode_of(const struct vmshmd *d, const char *name)
{
	struct stat st;

	return lstat(path_in(d, name), &st) ? 0 : st.st_mode & 07777;
}

static bool serves(const struct vmshmd *d, const char *segment, const char *member)
{
	struct fake f;
	bool fine = fake_join(&f, d, segment, member, 2, 2);

	if (fine)
		fake_leave(&f);
	return fine;
}

/* A connection that is still open, from which nothing comes. */
static bool undisturbed(const struct fake *f)
{
	int64_t value;
	int fd;

	return fake_receive(f->socket, &value, &fd, 20) == -1;
}

static void sockets_and_modes(void)
{
	struct stat st;
	struct vmshmd d;
	pid_t pid;
	int status;

	daemon_start(&d, "members = ( { name = \"a\"; cid = 3; },\n"
		     "{ name = \"b\"; cid = 4; owner = \"1234\"; mode = \"0600\"; },\n"
		     "{ name = \"c\"; cid = 5; } );\n"
		     "segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ]; size = \"1M\"; },\n"
		     "{ name = \"b-c\"; members = [ \"b\", \"c\" ]; size = \"1M\";\n"
		     "owner = \"5678\"; group = \"4321\"; mode = \"0606\"; } );\n");
	ok(mode_of(&d, "") == 0755 && mode_of(&d, "a-b") == 0755, "directories can be passed");
	ok(mode_of(&d, ".lock") == 0600, "the lock file is the daemon's");
	ok(mode_of(&d, "a-b/a.sock") == 0660, "a socket has 0660 by default");
	ok(!lstat(path_in(&d, "a-b/a.sock"), &st) && st.st_uid == geteuid() &&
	   st.st_gid == getegid(), "and the daemon's owners");
	ok(mode_of(&d, "a-b/b.sock") == 0600 && !lstat(path_in(&d, "a-b/b.sock"), &st) &&
	   st.st_uid == 1234, "a member's mode and owner hold");
	ok(mode_of(&d, "b-c/c.sock") == 0606 && !lstat(path_in(&d, "b-c/c.sock"), &st) &&
	   st.st_uid == 5678 && st.st_gid == 4321, "a segment's mode, owner and group hold");
	ok(mode_of(&d, "b-c/b.sock") == 0600 && !lstat(path_in(&d, "b-c/b.sock"), &st) &&
	   st.st_uid == 1234 && st.st_gid == 4321, "a member's go before its segment's");
	pid = fork();
	if (!pid) {
		bool fine = !setresgid(1000, 1000, 1000) && !setresuid(1234, 1234, 1234) &&
			    fake_connect(&d, "a-b", "b") >= 0 &&
			    fake_connect(&d, "a-b", "a") < 0 && errno == EACCES;

		_exit(!fine);
	}
	waitpid(pid, &status, 0);
	ok(status == 0, "who may not connect cannot");
	daemon_end(&d);
}

static void two_daemons(void)
{
	struct vmshmd d, second;
	char pid[64];

	daemon_start(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	second = d;
	snprintf(second.log, sizeof(second.log), "%s/log2", d.dir);
	daemon_run(&second, NULL);
	ok(daemon_stop(&second, 0) == 1, "a second daemon on one directory ends with 1");
	snprintf(pid, sizeof(pid), "another vmshmd (process %d) serves ", d.pid);
	ok(daemon_said(&second, pid) == 1 && daemon_said(&second, "") == 1,
	   "it says why in one line");
	ok(serves(&d, "a-b", "a"), "the first one serves as before");
	daemon_end(&d);
}

static void stale_and_foreign(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct vmshmd d;
	int fd;

	daemon_start(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	daemon_stop(&d, SIGKILL);
	ok(there(&d, "a-b/a.sock") && there(&d, ".lock"), "a killed daemon leaves its sockets");
	daemon_run(&d, NULL);
	ok(soon(daemon_said(&d, "ready") == 2) && serves(&d, "a-b", "a"),
	   "the next one replaces them");
	daemon_stop(&d, SIGTERM);

	need(!mkdir(path_in(&d, "a-b"), 0755), "mkdir");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/a-b/b.sock", d.run);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(!bind(fd, (struct sockaddr *)&address, sizeof(address)) && !listen(fd, 1), "listen");
	daemon_run(&d, NULL);
	ok(daemon_stop(&d, 0) == 1, "a socket that somebody listens on is left alone");
	ok(daemon_said(&d, "another process listens on ") == 1, "the log says whose socket it is");
	ok(there(&d, "a-b/b.sock") && !there(&d, "a-b/a.sock") && !there(&d, ".lock"),
	   "and nothing of the daemon is left");
	close(fd);
	unlink(path_in(&d, "a-b/b.sock"));

	fd = open(path_in(&d, "a-b/b.sock"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	need(fd >= 0, "open");
	close(fd);
	daemon_run(&d, NULL);
	ok(daemon_stop(&d, 0) == 1 && there(&d, "a-b/b.sock"), "so is a file that is no socket");
	ok(daemon_said(&d, "is there and is no socket; remove it") == 1, "the log says so");
	daemon_end(&d);
}

static void ends(int sig)
{
	struct vmshmd d;
	struct fake a, b;
	u64 count = 1;

	daemon_start(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	need(fake_join(&a, &d, "a-b", "a", 2, 2) && fake_join(&b, &d, "a-b", "b", 2, 2),
	     "a and b are not served");
	while (bell_rings(a.own.fds[0], 50) || bell_rings(b.own.fds[0], 50))
		;
	memset(a.map + fake_channel(&a, 0)->half_off[0], 0x77, 4096);
	ok(daemon_stop(&d, sig) == 0, "signal %d ends the daemon with 0", sig);
	ok(!there(&d, "a-b") && !there(&d, ".lock") && there(&d, ""),
	   "its sockets, their directory and its lock are gone");
	ok(vmshm_word_read(&fake_member(&b, 0)->presence) == 1 && !bell_rings(b.own.fds[0], 50) &&
	   b.map[fake_channel(&b, 0)->half_off[0]] == 0x77,
	   "members keep their memory and each other");
	ok(write(b.peers[0].fds[1], &count, sizeof(count)) == sizeof(count) &&
	   bell_rings(a.own.fds[1], PATIENCE), "and their doorbells");
	fake_leave(&a);
	fake_leave(&b);
	daemon_end(&d);
}

static void reload_adds_and_removes(void)
{
	struct fake a, b, c;
	struct vmshmd d;

	daemon_start(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	need(fake_join(&a, &d, "a-b", "a", 2, 2) && fake_join(&b, &d, "a-b", "b", 2, 2),
	     "a and b are not served");
	while (bell_rings(a.own.fds[0], 50) || bell_rings(b.own.fds[0], 50))
		;
	ok(daemon_reload(&d, ABC "segments = ( " COUPLE_AB ", " BC " );\n"),
	   "SIGHUP adds a member and a segment");
	ok(fake_join(&c, &d, "b-c", "c", 2, 2), "the new one is served");
	ok(undisturbed(&a) && undisturbed(&b) && !bell_rings(a.own.fds[0], 0) &&
	   vmshm_word_read(&fake_member(&a, 0)->presence) == 1 &&
	   vmshm_word_read(&fake_member(&a, 1)->presence) == 1,
	   "those who were there notice nothing");
	fake_leave(&a);
	ok(bell_rings(b.own.fds[0], PATIENCE), "and hear of each other as before");
	need(fake_join(&a, &d, "a-b", "a", 2, 2), "a is not served");
	ok(bell_rings(b.own.fds[0], PATIENCE), "also of one that comes again");

	ok(daemon_reload(&d, ABC "segments = ( " BC ", " COUPLE_AB " );\n") && undisturbed(&a) &&
	   undisturbed(&c), "another order changes nothing");
	ok(daemon_reload(&d, ABC "segments = ( " BC " );\n"), "SIGHUP removes a segment");
	ok(!there(&d, "a-b"), "its sockets are gone");
	ok(!undisturbed(&a) && !undisturbed(&b), "its members' connections are closed");
	ok(vmshm_word_read(&fake_member(&a, 1)->presence) % 2 == 0 &&
	   vmshm_word_read(&fake_member(&a, 0)->presence) % 2 == 0 &&
	   bell_rings(a.own.fds[0], PATIENCE), "they are told that the other is gone");
	ok(undisturbed(&c) && serves(&d, "b-c", "b"), "the other segment is served as before");
	fake_leave(&a);
	fake_leave(&b);
	fake_leave(&c);
	ok(daemon_reload(&d, "members = ( );\nsegments = ( );\n") && !there(&d, "b-c"),
	   "all of them can go");
	ok(daemon_reload(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n") &&
	   serves(&d, "a-b", "a"), "and come again");
	daemon_end(&d);
}

static void reload_changes(void)
{
	struct stat st;
	struct vmshmd d;
	struct fake a;
	u8 uuid[16];

	daemon_start(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	need(fake_join(&a, &d, "a-b", "a", 2, 2), "a is not served");
	memcpy(uuid, fake_header(&a)->uuid, sizeof(uuid));
	ok(!daemon_reload(&d, ABC "segments = ( " BC ",\n"
			  "{ name = \"a-b\"; members = [ \"a\", \"b\" ]; size = \"32M\"; } );\n"),
	   "a segment in use cannot get another size");
	ok(daemon_said(&d, "segment a-b: cannot change while a is connected") == 1,
	   "the log says why");
	ok(undisturbed(&a) && serves(&d, "a-b", "b") && !there(&d, "b-c"), "nothing has changed");
	ok(!daemon_reload(&d,
			  "members = ( { name = \"a\"; cid = 3; }, { name = \"b\"; cid = 9; } );\n"
			  "segments = ( " COUPLE_AB " );\n") &&
		   undisturbed(&a),
	   "nor can a member in use get a peer with another CID");
	ok(daemon_reload(&d, MEMBERS_AB
		"segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ];\n"
			 "size = \"16M\"; mode = \"0640\"; } );\n") &&
	   mode_of(&d, "a-b/a.sock") == 0640 && undisturbed(&a), "who may connect can change");
	ok(daemon_reload(&d, "control_group = \"4322\";\n" MEMBERS_AB
			 "segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ];\n"
			 "size = \"16M\"; owner = \"1234\"; group = \"4321\"; } );\n") &&
	   !lstat(path_in(&d, "a-b/a.sock"), &st) && st.st_uid == 1234 && st.st_gid == 4321 &&
	   !lstat(path_in(&d, "control.sock"), &st) && st.st_gid == 4322,
	   "by owner and group, too");
	ok(daemon_reload(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n") &&
	   !lstat(path_in(&d, "a-b/a.sock"), &st) && st.st_uid == geteuid() &&
	   st.st_gid == getegid() && !lstat(path_in(&d, "control.sock"), &st) &&
	   st.st_gid == getegid(), "who is not named any more cannot connect any more");
	fake_leave(&a);
	need(serves(&d, "a-b", "b"), "b is not served");
	ok(soon(daemon_reload(&d, MEMBERS_AB "segments = ( { name = \"a-b\";\n"
			      "members = [ \"a\", \"b\" ]; size = \"32M\"; } );\n")),
	   "a segment that nobody uses can get another size");
	ok(fake_join(&a, &d, "a-b", "a", 2, 2) && a.size == 32 << 20 &&
	   memcmp(uuid, fake_header(&a)->uuid, sizeof(uuid)), "it is new memory");
	fake_leave(&a);
	daemon_end(&d);
}

static void reload_refused(void)
{
	struct vmshmd d;
	char text[512];
	struct fake a;
	int fd;

	daemon_start(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	need(fake_join(&a, &d, "a-b", "a", 2, 2), "a is not served");
	ok(!daemon_reload(&d, ABC "segments = ( " BC "\n" BC " );\n"), "a faulty file is refused");
	snprintf(text, sizeof(text), "%s:4: syntax error", d.conf);
	ok(daemon_said(&d, text) == 1 && daemon_said(&d, "not reloaded: 1 mistake in") == 1,
	   "the log has the place of the mistake");
	ok(!daemon_reload(&d, ABC "segments = ( " BC ",\n"
			  "{ name = \"x\"; members = [ \"a\", \"z\" ]; } );\n"),
	   "so is one with a wrong name");
	ok(undisturbed(&a) && serves(&d, "a-b", "b") && !there(&d, "b-c"), "nothing has changed");
	unlink(d.conf);
	kill(d.pid, SIGHUP);
	ok(soon(daemon_said(&d, "cannot be read: No such file")) && serves(&d, "a-b", "b"),
	   "nor with a file that is gone");

	daemon_config(&d, "");
	fd = open(d.conf, O_WRONLY | O_TRUNC | O_CLOEXEC);
	dprintf(fd, "runtime_dir = \"%s2\";\n" MEMBERS_AB "segments = ( " COUPLE_AB " );\n", d.run);
	close(fd);
	kill(d.pid, SIGHUP);
	ok(soon(daemon_said(&d, "runtime_dir cannot change from ")) && undisturbed(&a),
	   "another runtime_dir is refused");

	/* One of two new segments can't be made: the other one is not there either. */
	need(!mkdir(path_in(&d, "b-c"), 0755), "mkdir");
	fd = open(path_in(&d, "b-c/c.sock"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	ok(!daemon_reload(&d,
			  "members = ( { name = \"a\"; cid = 3; }, { name = \"b\"; cid = 4; },\n"
			  "{ name = \"c\"; cid = 5; }, { name = \"e\"; cid = 6; } );\n"
			  "segments = ( { name = \"c-e\"; members = [ \"c\", \"e\" ]; },\n" BC ",\n"
			  "{ name = \"a-c\"; members = [ \"a\", \"c\" ]; } );\n"),
	   "a reload that the host does not allow is refused");
	ok(!there(&d, "c-e") && !there(&d, "a-c") && !there(&d, "b-c/b.sock") &&
	   there(&d, "b-c/c.sock"), "nothing of it is left");
	ok(undisturbed(&a) && serves(&d, "a-b", "b"), "what was served still is");
	fake_leave(&a);
	daemon_end(&d);
}

/* The old one is gone when the new one's socket turns out to be impossible. */
static void reload_half(void)
{
	static const char half[] = ABC "segments = ( " BC ",\n"
		"{ name = \"a-b\"; members = [ \"a\", \"c\" ]; size = \"16M\"; } );\n";
	unsigned int fds;
	struct vmshmd d;
	int fd;

	daemon_start(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	fds = daemon_fds(&d);	/* b-c alone has as many as a-b alone */
	fd = open(path_in(&d, "a-b/c.sock"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	need(fd >= 0, "open");
	close(fd);
	ok(!daemon_reload(&d, half) && !daemon_said(&d, "nothing has changed") &&
	   daemon_said(&d, "segment a-b: is not served any more; the next reload tries again") == 1,
	   "a reload that loses a segment says so");
	ok(serves(&d, "b-c", "c") && !there(&d, "a-b/a.sock"), "the rest of it holds");
	ok(!daemon_reload(&d, half) && daemon_said(&d, "not reloaded; nothing has changed") == 1 &&
	   soon(daemon_fds(&d) == fds), "the next one tries again");
	unlink(path_in(&d, "a-b/c.sock"));
	ok(daemon_reload(&d, half) && serves(&d, "a-b", "c") && serves(&d, "a-b", "a") &&
	   serves(&d, "b-c", "b"), "and succeeds when it can");
	daemon_end(&d);
}

/* Many reloads leak nothing. */
static void reload_often(void)
{
	unsigned int fds, good = 0;
	struct vmshmd d;

	daemon_start(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	fds = daemon_fds(&d);
	for (int i = 0; i < 30; i++) {
		good += daemon_reload(&d, ABC "segments = ( " BC " );\n") && serves(&d, "b-c", "c");
		good += daemon_reload(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	}
	ok(good == 60 && soon(daemon_fds(&d) == fds), "60 reloads keep no descriptor");
	daemon_end(&d);
}

static void descriptors_too_few(void)
{
	struct vmshmd d;

	daemon_prepare(&d);
	daemon_config(&d, MEMBERS_AB "segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ];\n"
		      "vectors = 64; } );\n");
	d.descriptors = 24;
	daemon_run(&d, NULL);
	ok(daemon_stop(&d, 0) == 1 &&
	   daemon_said(&d, "cannot make 64 eventfds: Too many open files") == 1,
	   "too few descriptors end the start with one line and 1");
	daemon_end(&d);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	sockets_and_modes();
	two_daemons();
	stale_and_foreign();
	ends(SIGTERM);
	ends(SIGINT);
	reload_adds_and_removes();
	reload_changes();
	reload_refused();
	reload_half();
	reload_often();
	descriptors_too_few();
	return done();
}
