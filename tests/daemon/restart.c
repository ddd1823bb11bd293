// SPDX-License-Identifier: GPL-2.0-only
/*
 * Restarts that lose nothing: bytes run between two members through fifty of
 * them, members come and go in between, and what a successor finds is what
 * its predecessor left. Killing the daemon at each single step is killed.c's.
 */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESTARTS	(getenv("RESTARTS") ? (unsigned int)atoi(getenv("RESTARTS")) : 50)

#define ABCX "members = ( { name = \"a\"; cid = 3; }, { name = \"b\"; cid = 4; },\n" \
	"{ name = \"c\"; cid = 5; }, { name = \"x\"; cid = 6; } );\n"
#define TRIO "{ name = \"trio\"; members = [ \"b\", \"c\", \"x\" ]; size = \"16M\"; shared = true; }"
#define AC "{ name = \"a-c\"; members = [ \"a\", \"c\" ]; size = \"16M\"; vectors = 5; }"

/* The trio would contain the couple b-c twice with another; a-c is apart. */
static const char configuration[] = ABCX "segments = ( " COUPLE_AB ", " AC ", " TRIO " );\n";

static u64 presence(const struct fake *f, unsigned int index)
{
	return vmshm_word_read(&fake_member(f, index)->presence);
}

/* ---- restarts ---- */

/* Three ways in turn; whether a new worker is there and ready. */
static bool restart(const struct vmshmd *d, unsigned int n)
{
	unsigned int ready = daemon_said(d, "vmshmd: ready");
	pid_t before = daemon_worker(d);

	switch (n % 3) {
	case 0:
		kill(before, SIGKILL);
		break;
	case 1:
		if (d->unit)
			need(!system("systemctl restart " UNIT), "systemctl restart " UNIT);
		else
			kill(d->pid, SIGUSR2);
		break;
	default:
		kill(before, SIGTERM);
	}
	return daemon_ready_again(d, before) && soon(daemon_said(d, "vmshmd: ready") > ready);
}

static bool undisturbed(const struct fake *f)
{
	int64_t value;
	int fd;

	return fake_receive(f->socket, &value, &fd, 0) == -1;
}

static void fifty_restarts(void)
{
	unsigned int restarted = 0, moved = 0, seen = 0, fds = 0, keeper_fds = 0;
	bool same = true;
	struct fake a, b, c, x;
	struct vmshmd d, w;
	u64 before, generation;
	struct traffic *t;
	u8 uuid[16];

	daemon_start_kept(&d, configuration);
	need(fake_join(&a, &d, "a-b", "a", 2, 2) &&
	     fake_join(&b, &d, "a-b", "b", 2, 2) && fake_join(&x, &d, "trio", "x", 3, 2),
	     "members are not served");
	memcpy(uuid, fake_header(&a)->uuid, sizeof(uuid));
	t = traffic_start(&a, &b);
	for (unsigned int i = 0; i < RESTARTS; i++) {
		before = traffic_received(t);
		restarted += restart(&d, i);
		moved += soon(traffic_received(t) > before);
		same &= undisturbed(&a) && undisturbed(&b) && undisturbed(&x) &&
			presence(&a, 0) == 1 && presence(&a, 1) == 1;
		/* Somebody comes after the restart, and goes after the next one. */
		while (bell_rings(x.own.fds[0], 20))
			;
		generation = presence(&x, 1);
		if (i % 2) {
			fake_leave(&c);
			seen += bell_rings(x.own.fds[0], PATIENCE) &&
				soon(presence(&x, 1) == generation + 1);
		} else {
			seen += fake_join(&c, &d, "trio", "c", 3, 2) &&
				bell_rings(x.own.fds[0], PATIENCE) &&
				presence(&x, 1) == generation + 1 && presence(&c, 2) == 1;
		}
		/* Two of the same kind; the keeper has heard of the last one that left. */
		w = d;
		w.pid = daemon_worker(&d);
		if (i == 1) {
			sleep_ms(100);
			fds = daemon_fds(&w);
			keeper_fds = d.unit ? 0 : daemon_fds(&d);
		} else if (i == RESTARTS - 1) {
			same &= soon(daemon_fds(&w) == fds &&
				     (d.unit || daemon_fds(&d) == keeper_fds));
		}
	}
	ok(restarted == RESTARTS, "%u restarts, by SIGKILL, %s and SIGTERM, of %u", restarted,
	   d.unit ? "systemctl restart" : "SIGUSR2", RESTARTS);
	ok(moved == RESTARTS, "bytes move during and after each of them");
	ok(seen == RESTARTS, "each time a member comes or goes, and another one is told");
	ok(same, "who stayed was sent nothing, is present as before, and no descriptor is lost");
	before = traffic_received(t);
	ok(traffic_end(t), "not one of %llu bytes is lost or wrong", (unsigned long long)before);
	fake_leave(&a);
	ok(soon(presence(&b, 0) == 2) && fake_join(&a, &d, "a-b", "a", 2, 2) &&
	   presence(&b, 0) == 3 && !memcmp(uuid, fake_header(&a)->uuid, sizeof(uuid)),
	   "who goes and comes again afterwards has the same segment");
	fake_leave(&a);
	fake_leave(&b);
	fake_leave(&x);
	daemon_end(&d);
}

/* ---- what a successor finds ---- */

/* A member leaves, and one comes, while there is no daemon. */
static void meanwhile(void)
{
	struct vmshmd d;
	struct fake a, b;
	pid_t worker;
	int waiting, fd;
	int64_t value;

	daemon_start_kept(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	need(fake_join(&a, &d, "a-b", "a", 2, 2) && fake_join(&b, &d, "a-b", "b", 2, 2),
	     "members are not served");
	memset(a.map + fake_channel(&a, 0)->half_off[0], 0x77, 1 << 20);
	worker = daemon_worker(&d);
	kill(worker, SIGSTOP);
	while (bell_rings(b.own.fds[0], 50))
		;
	fake_leave(&a);
	waiting = fake_connect(&d, "a-b", "a");
	kill(worker, SIGKILL);
	ok(bell_rings(b.own.fds[0], PATIENCE) && soon(presence(&b, 0) >= 2),
	   "a member that left while there was no daemon is found gone");
	ok(waiting >= 0 && fake_receive(waiting, &value, &fd, PATIENCE) == 1 && !value,
	   "one that connected meanwhile is served");
	ok(is_zero(b.map + fake_channel(&b, 0)->half_off[0], fake_channel(&b, 0)->half_size) &&
	   presence(&b, 0) == 3, "after what the one before used went back");
	close(waiting);
	fake_leave(&b);
	daemon_end(&d);
}

static void change_file(const struct vmshmd *d, const char *body)
{
	daemon_config((struct vmshmd *)d, body);
}

/* The configuration is another one when the worker is started again. */
static void other_configuration(void)
{
	struct vmshmd d;
	struct fake a, b, x;
	u8 uuid[16];

	daemon_start_kept(&d, ABCX "segments = ( " COUPLE_AB ", " TRIO " );\n");
	need(fake_join(&a, &d, "a-b", "a", 2, 2) && fake_join(&x, &d, "trio", "x", 3, 2),
	     "members are not served");
	memcpy(uuid, fake_header(&a)->uuid, sizeof(uuid));

	change_file(&d, "members = ( { name = 5");
	ok(restart(&d, 0) && daemon_said(&d, "what was served before still is") == 1,
	   "with a faulty file, what was served before is served again");
	ok(undisturbed(&a) && fake_join(&b, &d, "a-b", "b", 2, 2), "wholly");
	change_file(&d, "members = (); segments = (");
	ok(restart(&d, 1) && undisturbed(&a) && undisturbed(&b), "also by a keeper that is new");

	change_file(&d, ABCX "segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ];\n"
		    "size = \"32M\"; }, " TRIO " );\n");
	ok(restart(&d, 2) && daemon_said(&d, "segment a-b: cannot change while a is connected") &&
	   undisturbed(&a), "a segment that is in use does not change at a restart");

	change_file(&d, ABCX "segments = ( " COUPLE_AB ", " AC " );\n");
	ok(restart(&d, 0) && daemon_said(&d, "segment trio: removed") == 1,
	   "a segment that is gone from the file is removed");
	ok(soon(fake_receive(x.socket, &(int64_t){ 0 }, &(int){ 0 }, 0) == 0) && undisturbed(&a) &&
	   presence(&x, 2) == 2, "its members are let go, others are not");
	fake_leave(&x);
	ok(fake_join(&x, &d, "a-c", "c", 2, 5), "one that is new in it is served");
	ok(restart(&d, 1) && undisturbed(&a) && undisturbed(&b) && undisturbed(&x) &&
	   !memcmp(uuid, fake_header(&a)->uuid, sizeof(uuid)),
	   "and all that outlives the next one");

	/* Somebody tidies up. */
	need(chdir(d.run) == 0 && !unlink("a-b/a.sock") && !unlink("a-c/a.sock") &&
	     !unlink("a-c/c.sock") && !rmdir("a-c") && chdir("/") == 0, "cannot remove sockets");
	fake_leave(&a);
	ok(restart(&d, 2) && fake_join(&a, &d, "a-b", "a", 2, 2) && undisturbed(&b) &&
	   undisturbed(&x), "sockets that somebody removed are made again");
	fake_leave(&a);
	fake_leave(&b);
	fake_leave(&x);
	ok(restart(&d, 0) && fake_join(&a, &d, "a-c", "a", 2, 5), "and kept, too");
	fake_leave(&a);
	daemon_end(&d);
}

/* Whether there is NAME in the runtime directory of @d. */
static bool there(const struct vmshmd *d, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", d->run, name);
	return !access(path, F_OK);
}

/* A file without mistakes that can't be taken over, and a control socket that can't be made. */
static void refused_configuration(void)
{
	static const char fine[] = MEMBERS_AB "segments = ( " COUPLE_AB " );\n";
	struct vmshmd d, moved;
	struct fake a;
	char path[128];

	daemon_start_kept(&d, fine);
	need(fake_join(&a, &d, "a-b", "a", 2, 2) && there(&d, "control.sock"), "a is not served");
	moved = d;
	snprintf(moved.run, sizeof(moved.run), "%s/other", d.dir);
	change_file(&moved, fine);
	/* By SIGTERM, after which no stale one is left. */
	ok(restart(&d, 2) && undisturbed(&a) &&
	   daemon_said(&d, "a restart keeps the old one") == 1 &&
	   daemon_said(&d, "what was served before still is") == 1,
	   "with another runtime_dir, what was served before is served again");
	need(!mkdir(moved.run, 0755), "mkdir: %s", strerror(errno));
	ok(restart(&d, 0) && undisturbed(&a) && !there(&moved, "control.sock") &&
	   !there(&d, "control.sock"), "and nothing is made in the other one");
	change_file(&d, MEMBERS_AB "segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ];\n"
		    "size = \"32M\"; } );\n");
	ok(restart(&d, 0) && undisturbed(&a) && !there(&d, "control.sock"),
	   "while the file is refused, nobody can ask");
	ok(daemon_reload(&d, fine) && there(&d, "control.sock"),
	   "until a reload has one that can be taken over");

	snprintf(path, sizeof(path), "%s/control.sock", d.run);
	need(!unlink(path) && !mkdir(path, 0755), "mkdir: %s", strerror(errno));
	ok(restart(&d, 0) && undisturbed(&a) &&
	   daemon_said(&d, "control.sock is there and is no socket; remove it") == 1 &&
	   daemon_said(&d, "there is no control socket; what was served before still is") == 1,
	   "without its control socket, what was served before is served again, too");
	need(!rmdir(path), "rmdir: %s", strerror(errno));
	ok(daemon_reload(&d, fine) && there(&d, "control.sock"), "the next reload makes it");
	fake_leave(&a);
	daemon_end(&d);
}

/* ---- a descriptor is lost ---- */

/* Tell the keeper in the worker's name to let go of a descriptor, as root may. */
static void lose(const struct vmshmd *d, const char *name)
{
	static const char variable[] = "NOTIFY_SOCKET=/proc/self/fd/";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(struct ucred))];
	} control = { .space = "" };
	struct ucred who = { .pid = daemon_worker(d) };
	char text[64], path[64], environment[8192], *found;
	struct iovec iov = { text, 0 };
	struct msghdr msg = {
		.msg_name = &address, .msg_namelen = sizeof(address),
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/environ", who.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	need(fd >= 0, "open %s: %s", path, strerror(errno));
	iov.iov_len = (size_t)read(fd, environment, sizeof(environment));
	close(fd);
	found = memmem(environment, iov.iov_len, variable, sizeof(variable) - 1);
	need(found, "the worker has no NOTIFY_SOCKET");
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/%d/fd/%d", who.pid,
		 atoi(found + sizeof(variable) - 1));
	iov.iov_len = (size_t)snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_CREDENTIALS;
	control.header.cmsg_len = CMSG_LEN(sizeof(who));
	memcpy(CMSG_DATA(&control.header), &who, sizeof(who));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	need(sendmsg(fd, &msg, 0) == (ssize_t)iov.iov_len, "sendmsg: %s", strerror(errno));
	close(fd);
}

static void one_is_lost(void)
{
	unsigned int kept, started;
	struct fake a, b;
	struct vmshmd d;
	u64 count = 1;

	daemon_start_kept(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	/* A keeper that has started a worker again has a timer for it. */
	need(restart(&d, 0), "it does not start again");
	kept = daemon_fds(&d);
	lose(&d, "m0");
	need(soon(daemon_fds(&d) == kept - 1), "the keeper does not let go of m0");
	started = daemon_said(&d, "vmshmd: ready");
	ok(restart(&d, 0) && daemon_said(&d, "segment a-b: not all of it was kept") == 1,
	   "a segment of which a descriptor was lost is not taken over");
	ok(daemon_said(&d, "vmshmd: ready") == started + 1 && soon(daemon_fds(&d) == kept) &&
	   !daemon_said(&d, "another process listens") && fake_join(&b, &d, "a-b", "b", 2, 2),
	   "it is made anew at once, and nothing of the old one is kept");
	ok(restart(&d, 0) && fake_join(&a, &d, "a-b", "a", 2, 2) &&
	   !memcmp(fake_header(&a)->uuid, fake_header(&b)->uuid, 16) &&
	   soon(daemon_fds(&d) == kept + 2), "the next restart takes over the new one");
	while (bell_rings(a.own.fds[0], 50))
		;
	ok(write(b.peers[0].fds[0], &count, sizeof(count)) == sizeof(count) &&
	   bell_rings(a.own.fds[0], PATIENCE), "with its doorbells");
	fake_leave(&a);
	fake_leave(&b);
	daemon_end(&d);
}

/* ---- another program ---- */

static void copy(const char *from, const char *to, bool other_version)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	struct stat st;
	char *text;

	need(in >= 0 && out >= 0 && !fstat(in, &st), "cannot copy %s: %s", from, strerror(errno));
	text = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, in, 0);
	need(text != MAP_FAILED, "mmap: %s", strerror(errno));
	if (other_version) {
		char *version = memmem(text, (size_t)st.st_size, "vmshmd 1.0", 11);

		need(version, "%s has no version", from);
		memcpy(version, "vmshmd 9.9", 10);
	}
	need(write(out, text, (size_t)st.st_size) == st.st_size, "write: %s", strerror(errno));
	munmap(text, (size_t)st.st_size);
	close(in);
	close(out);
}

static bool version_is(pid_t pid, const char *version)
{
	char command[128], line[64] = "";
	FILE *pipe;

	snprintf(command, sizeof(command), "/proc/%d/exe --version", pid);
	pipe = popen(command, "re");
	if (pipe && !fgets(line, sizeof(line), pipe))
		*line = '\0';
	if (pipe)
		pclose(pipe);
	return strstr(line, version);
}

static void upgrade(void)
{
	struct fake a, b;
	struct vmshmd d;
	char next[96];

	daemon_prepare(&d);
	d.kept = true;
	snprintf(d.program, sizeof(d.program), "%s/vmshmd", d.dir);
	snprintf(next, sizeof(next), "%s/next", d.dir);
	copy(getenv("VMSHMD"), d.program, false);
	daemon_config(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	daemon_run(&d, NULL);
	need(soon(daemon_said(&d, "vmshmd: ready")) && fake_join(&a, &d, "a-b", "a", 2, 2),
	     "a is not served");
	ok(version_is(d.pid, "1.0"), "the old version runs");

	copy(getenv("VMSHMD"), next, true);
	need(!rename(next, d.program), "rename");
	ok(restart(&d, 1) && version_is(d.pid, "9.9") && version_is(daemon_worker(&d), "9.9"),
	   "SIGUSR2 starts the new version, worker and keeper");
	ok(undisturbed(&a) && fake_join(&b, &d, "a-b", "b", 2, 2) && presence(&a, 1) == 1,
	   "which goes on with what the old one left");

	need(!unlink(d.program), "unlink");
	ok(restart(&d, 0) && undisturbed(&a), "where the program is missing, the old one goes on");
	ok(restart(&d, 1) && undisturbed(&b), "with a keeper that is new, too");
	copy(getenv("VMSHMD"), d.program, false);
	ok(restart(&d, 1) && version_is(d.pid, "1.0") && undisturbed(&a) && undisturbed(&b),
	   "and back to the version before");
	fake_leave(&a);
	fake_leave(&b);
	daemon_end(&d);
}

/* ---- how it ends ---- */

static bool gone(pid_t pid)
{
	return kill(pid, 0) && errno == ESRCH;
}

static void ends(void)
{
	struct vmshmd d, second;
	struct stat st;
	struct fake a;
	pid_t worker;
	char path[128];

	daemon_start_kept(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	worker = daemon_worker(&d);
	snprintf(path, sizeof(path), "%s/a-b", d.run);
	ok(daemon_stop(&d, SIGTERM) == 0 && gone(worker) && lstat(path, &st) &&
	   daemon_said(&d, "vmshmd: ended") == 1, "SIGTERM ends both, and no socket is left");

	daemon_run(&d, NULL);
	need(soon(daemon_said(&d, "vmshmd: ready") == 2), "it does not start again");
	second = d;
	snprintf(second.log, sizeof(second.log), "%s/log2", d.dir);
	daemon_run(&second, NULL);
	ok(daemon_stop(&second, 0) == 1 && daemon_said(&second, "another vmshmd (process ") == 1 &&
	   daemon_said(&second, "") == 1, "a second one on the directory ends at once with 1");
	ok(daemon_stop(&d, SIGINT) == 0, "SIGINT ends it, too");
	daemon_config(&d, "segments = 3;\n");
	daemon_run(&d, NULL);
	ok(daemon_stop(&d, 0) == 3, "a faulty file at the first start ends it with 3");

	/* The keeper dies: the worker serves as long as somebody is there. */
	daemon_config(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	daemon_run(&d, NULL);
	need(soon(daemon_said(&d, "vmshmd: ready") == 3) && fake_join(&a, &d, "a-b", "a", 2, 2),
	     "a is not served");
	worker = daemon_worker(&d);
	kill(d.pid, SIGKILL);
	waitpid(d.pid, NULL, 0);
	ok(soon(daemon_said(&d, "the process in front is gone")) && undisturbed(&a) &&
	   !gone(worker), "a worker without its keeper goes on");
	fake_leave(&a);
	ok(soon(gone(worker)), "until nobody is connected");
	d.pid = 0;
	daemon_end(&d);
}

/* systemd lets go of what it kept: to stop and to start is not to restart. */
static void unit_stops(void)
{
	struct vmshmd d;
	struct fake a, b;
	struct stat st;

	daemon_start_kept(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	need(fake_join(&a, &d, "a-b", "a", 2, 2), "a is not served");
	ok(!system("systemctl reload " UNIT) && soon(daemon_said(&d, "vmshmd: reloaded ")) &&
	   undisturbed(&a), "systemctl reload reads the configuration");
	ok(!system("systemctl is-active --quiet " UNIT) && !daemon_stop(&d, 0) &&
	   lstat(d.run, &st), "systemctl stop leaves no socket");
	daemon_run(&d, NULL);
	ok(soon(daemon_said(&d, "vmshmd: ready")) && fake_join(&b, &d, "a-b", "b", 2, 2) &&
	   memcmp(fake_header(&a)->uuid, fake_header(&b)->uuid, 16) &&
	   !daemon_said(&d, "taken over"), "systemctl start makes new memory");
	/* Not killed by the watchdog: one that hangs is. */
	kill(daemon_worker(&d), SIGSTOP);
	ok(soon(daemon_said(&d, "taken over: 1 segment, 1 connection")) && undisturbed(&b),
	   "a daemon that hangs is started again by the watchdog, and loses nothing");
	fake_leave(&a);
	fake_leave(&b);
	daemon_end(&d);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && !strcmp(argv[1], "--systemd")) {
		daemons_are_units = true;
		fifty_restarts();
		meanwhile();
		other_configuration();
		unit_stops();
		return done();
	}
	fifty_restarts();
	meanwhile();
	other_configuration();
	refused_configuration();
	one_is_lost();
	upgrade();
	ends();
	return done();
}
