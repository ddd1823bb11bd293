// SPDX-License-Identifier: GPL-2.0-only
/*
 * Members that come and go: presence, doorbells, eventfds that stay the same,
 * memory that goes back, and doorbells that somebody broke.
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <linux/kcmp.h>
#include <unistd.h>

static const char configuration[] =
	"members = ( { name = \"a\"; cid = 3; }, { name = \"b\"; cid = 4; },\n"
	"{ name = \"c\"; cid = 5; }, { name = \"e\"; cid = 6; },\n"
	"{ name = \"x\"; cid = 7; }, { name = \"y\"; cid = 8; }, { name = \"z\"; cid = 9; } );\n"
	"segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ]; size = \"64M\"; },\n"
	"{ name = \"c-e\"; members = [ \"c\", \"e\" ]; size = \"16M\"; },\n"
	"{ name = \"trio\"; members = [ \"x\", \"y\", \"z\" ];\n"
	"shared = true; size = \"16M\"; } );\n";

static struct vmshmd d;

static u64 presence(const struct fake *f, unsigned int index)
{
	return vmshm_word_read(&fake_member(f, index)->presence);
}

static bool join(struct fake *f, const char *segment, const char *member)
{
	return fake_join(f, &d, segment, member, strcmp(segment, "trio") ? 2 : 3, 2);
}

static bool same_file(int one, int other)
{
	return !syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, one, other);
}

static void presence_and_bells(void)
{
	struct fake a, b;

	need(join(&b, "a-b", "b"), "b is not served");
	ok(presence(&b, 0) == 0, "a's presence is 0 before it ever came");
	ok(presence(&b, 1) == 1, "b's own presence is 1");
	ok(!bell_rings(b.own.fds[0], 50), "nothing rings b yet");
	need(join(&a, "a-b", "a"), "a is not served");
	ok(presence(&a, 0) == 1, "a's presence is 1 when it has its memory");
	ok(bell_rings(b.own.fds[0], PATIENCE), "b is rung when a comes");
	ok(!bell_rings(b.own.fds[1], 0), "on its first vector alone");
	ok(bell_rings(a.own.fds[0], PATIENCE), "the ring for a, when b came, waited for it");
	ok(same_file(a.own.fds[0], b.peers[0].fds[0]) &&
	   same_file(a.own.fds[1], b.peers[0].fds[1]) &&
	   same_file(b.own.fds[0], a.peers[0].fds[0]) &&
	   same_file(b.own.fds[1], a.peers[0].fds[1]),
	   "what one rings is what the other waits on");
	fake_leave(&a);
	ok(bell_rings(b.own.fds[0], PATIENCE), "b is rung when a goes");
	ok(presence(&b, 0) == 2, "a's presence is 2 when b is rung");
	need(join(&a, "a-b", "a"), "a is not served again");
	ok(presence(&b, 0) == 3 && presence(&b, 1) == 1, "and 3 when it came again");
	ok(bell_rings(b.own.fds[0], PATIENCE), "b is rung for that");
	fake_leave(&a);
	fake_leave(&b);
}

static void same_bells_again(void)
{
	struct fake first, again;
	int kept[4];

	need(join(&first, "a-b", "a"), "a is not served");
	kept[0] = dup(first.own.fds[0]);
	kept[1] = dup(first.own.fds[1]);
	kept[2] = dup(first.peers[0].fds[0]);
	kept[3] = dup(first.peers[0].fds[1]);
	fake_leave(&first);
	need(join(&again, "a-b", "a"), "a is not served again");
	ok(same_file(kept[0], again.own.fds[0]) && same_file(kept[1], again.own.fds[1]),
	   "who comes again has the same eventfds");
	ok(same_file(kept[2], again.peers[0].fds[0]) && same_file(kept[3], again.peers[0].fds[1]),
	   "and its peer too");
	ok(!same_file(kept[0], kept[1]) && !same_file(kept[0], kept[2]), "each vector has its own");
	fake_leave(&again);
	for (unsigned int i = 0; i < NR(kept); i++)
		close(kept[i]);
}

static void group_bells(void)
{
	struct fake x, y, z;

	need(join(&x, "trio", "x") && join(&y, "trio", "y"), "x and y are not served");
	/* The rings of both arrivals are in. */
	ok(bell_rings(x.own.fds[0], PATIENCE), "in a group, x is rung when y comes");
	while (bell_rings(x.own.fds[0], 50) || bell_rings(y.own.fds[0], 50))
		;
	need(join(&z, "trio", "z"), "z is not served");
	ok(bell_rings(x.own.fds[0], PATIENCE) && bell_rings(y.own.fds[0], PATIENCE),
	   "both others are rung when z comes");
	while (bell_rings(z.own.fds[0], 50))
		;
	fake_leave(&y);
	ok(bell_rings(x.own.fds[0], PATIENCE) && bell_rings(z.own.fds[0], PATIENCE),
	   "both others are rung when y goes");
	ok(presence(&x, 0) == 1 && presence(&x, 1) == 2 && presence(&x, 2) == 1,
	   "presences are 1, 2, 1");
	fake_leave(&x);
	fake_leave(&z);
}

/* A member in a process of its own that writes all it may and is then killed. */
static pid_t writer(const char *segment, const char *member, unsigned int side)
{
	int ready[2];
	char byte;
	pid_t pid;

	need(!pipe(ready), "pipe");
	pid = fork();
	if (!pid) {
		struct fake f;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!join(&f, segment, member))
			_exit(1);
		for (unsigned int i = 0; i < fake_header(&f)->nr_channels; i++) {
			const struct vmshm_channel *c = fake_channel(&f, i);

			if (fake_header(&f)->nr_channels > 1 && c->member[side] != side)
				continue;
			memset(f.map + c->half_off[side], 0xaa, c->half_size);
			memset(f.map + c->side_off[side], 0xbb, VMSHM_SIDE_SIZE);
		}
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	need(read(ready[0], &byte, 1) == 1, "the member %s did not get ready", member);
	close(ready[0]);
	return pid;
}

static void memory_goes_back(void)
{
	const struct vmshm_channel *c;
	struct fake a, b;
	u64 before, full;
	pid_t pid;
	u8 *kept, *side;

	need(join(&b, "a-b", "b"), "b is not served");
	c = fake_channel(&b, 0);
	kept = b.map + c->half_off[1];
	memset(kept, 0xcc, 1 << 20);
	memset(b.map + c->side_off[1], 0xdd, VMSHM_SIDE_SIZE);
	before = fake_blocks(&b);
	pid = writer("a-b", "a", 0);
	full = fake_blocks(&b);
	ok(full == before + c->half_size + VMSHM_SIDE_SIZE, "a uses %llu bytes",
	   (unsigned long long)(full - before));
	while (bell_rings(b.own.fds[0], 50))
		;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ok(bell_rings(b.own.fds[0], PATIENCE) && presence(&b, 0) % 2 == 0,
	   "a is killed, b is rung");
	ok(fake_blocks(&b) == before, "all that a used has gone back by then");
	ok(is_zero(b.map + c->half_off[0], c->half_size), "its half is zero");
	ok(is_zero(b.map + c->side_off[0], VMSHM_SIDE_SIZE), "its side is zero");
	ok(kept[0] == 0xcc && !memcmp(kept, kept + 1, (1 << 20) - 1), "b's half is untouched");
	side = b.map + c->side_off[1];
	ok(side[0] == 0xdd && !memcmp(side, side + 1, VMSHM_SIDE_SIZE - 1),
	   "b's side is untouched");

	/* A successor that is waiting already gets in only after that. */
	pid = writer("a-b", "a", 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	need(join(&a, "a-b", "a"), "a's successor is not served");
	ok(is_zero(a.map + c->half_off[0], c->half_size) &&
	   is_zero(a.map + c->side_off[0], VMSHM_SIDE_SIZE), "a's successor finds zeroes");
	fake_leave(&a);
	fake_leave(&b);
}

static void memory_of_a_group(void)
{
	const struct vmshm_channel *c;
	bool zero = true, kept = true;
	struct fake z;
	pid_t pid;

	need(join(&z, "trio", "z"), "z is not served");
	for (unsigned int i = 0; i < 3; i++) {
		c = fake_channel(&z, i);
		for (unsigned int k = 0; k < 2; k++) {
			memset(z.map + c->half_off[k], 0x11, c->half_size);
			memset(z.map + c->side_off[k], 0x22, VMSHM_SIDE_SIZE);
		}
	}
	while (bell_rings(z.own.fds[0], 50))
		;
	pid = writer("trio", "x", 0);
	need(bell_rings(z.own.fds[0], PATIENCE), "z is not rung");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	need(bell_rings(z.own.fds[0], PATIENCE), "z is not rung");
	for (unsigned int i = 0; i < 3; i++) {
		c = fake_channel(&z, i);
		for (unsigned int k = 0; k < 2; k++) {
			const u8 *half = z.map + c->half_off[k], *side = z.map + c->side_off[k];

			if (c->member[k] == 0)
				zero &= is_zero(half, c->half_size) &&
					is_zero(side, VMSHM_SIDE_SIZE);
			else
				kept &= half[0] == 0x11 &&
					!memcmp(half, half + 1, c->half_size - 1) &&
					side[0] == 0x22 &&
					!memcmp(side, side + 1, VMSHM_SIDE_SIZE - 1);
		}
	}
	ok(zero, "in a group, what the dead member wrote is zero in all its channels");
	ok(kept, "and nothing else is touched");
	fake_leave(&z);
}

/* A guest may overwrite the tables; the daemon goes by what it knows. */
static void forged_tables(void)
{
	struct fake a, b;
	u64 offset;

	need(join(&b, "a-b", "b"), "b is not served");
	offset = fake_header(&b)->member_off;
	memset(b.map, 0xff, 3 * VMSHM_PAGE);
	need(join(&a, "a-b", "a"), "a is not served after the tables were overwritten");
	fake_leave(&a);
	while (bell_rings(b.own.fds[0], 200))
		;
	ok(((struct vmshm_member *)(b.map + offset))->presence % 2 == 0 &&
	   ((struct vmshm_member *)(b.map + offset))->presence < 1000,
	   "overwritten tables change nothing of what the daemon knows");
	/* Even the pages can be taken away. */
	ok(!fallocate(b.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)b.size),
	   "a member can punch out all of the segment");
	need(join(&a, "a-b", "a"), "a is not served after the tables were punched out");
	ok(((struct vmshm_member *)(b.map + offset))->presence % 2 == 1,
	   "presence is still published");
	fake_leave(&a);
	fake_leave(&b);
}

/* Every bell of c-e can still be rung in good time. */
static bool rings_elsewhere(struct fake *c)
{
	struct fake e;
	u64 began;

	while (bell_rings(c->own.fds[0], 0))
		;
	began = now_ms();
	if (!join(&e, "c-e", "e") || !bell_rings(c->own.fds[0], PATIENCE))
		return false;
	fake_leave(&e);
	return bell_rings(c->own.fds[0], PATIENCE) && now_ms() - began < 1000;
}

static void full_bells(void)
{
	const u64 most = UINT64_MAX - 1;
	struct fake a, b, c;
	u64 count;

	need(join(&b, "a-b", "b") && join(&c, "c-e", "c"), "b and c are not served");
	while (bell_rings(b.own.fds[0], 50))
		;
	/* Full and blocking: a careless write would never return. */
	need(write(b.own.fds[0], &most, sizeof(most)) == sizeof(most),
	     "the eventfd cannot be filled");
	need(!fcntl(b.own.fds[0], F_SETFL, fcntl(b.own.fds[0], F_GETFL) & ~O_NONBLOCK), "fcntl");
	for (int i = 0; i < 10; i++) {
		need(join(&a, "a-b", "a"), "a is not served beside a full doorbell");
		fake_leave(&a);
	}
	ok(rings_elsewhere(&c), "a full, blocking doorbell holds up nobody else's");
	ok(read(b.own.fds[0], &count, sizeof(count)) == sizeof(count) && count == most &&
	   !daemon_said(&d, "could not be rung"), "it is left as it is");
	need(join(&a, "a-b", "a"), "a is not served");
	ok(bell_rings(b.own.fds[0], PATIENCE), "emptied, it rings again");
	fake_leave(&a);
	fake_leave(&b);
	fake_leave(&c);
}

/* Interrupts a write of ours that blocks, as a write of the daemon's is to. */
static void interrupt(int sig)
{
	(void)sig;
}

static void drain_and_fill(int fd)
{
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	u64 count = UINT64_MAX - 1 - 8, one = 1;

	if (!bell_rings(fd, 0))
		return;
	if (write(fd, &count, sizeof(count)) < 0)
		return;
	while (poll(&room, 1, 0) == 1 && write(fd, &one, sizeof(one)) > 0)
		;
}

/* Whether one of the daemon's threads is in a write to an eventfd. */
static bool daemon_blocked(void)
{
	char path[300], link[64] = "", text[64] = "";
	struct dirent *task;
	bool blocked = false;
	unsigned int fd;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", d.pid);
	tasks = opendir(path);
	while (tasks && !blocked && (task = readdir(tasks))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/syscall", d.pid, task->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fgets(text, sizeof(text), file) && sscanf(text, "1 0x%x ", &fd) == 1) {
			snprintf(path, sizeof(path), "/proc/%d/fd/%u", d.pid, fd);
			blocked = readlink(path, link, sizeof(link) - 1) > 0 &&
				  strstr(link, "eventfd");
		}
		fclose(file);
	}
	if (tasks)
		closedir(tasks);
	return blocked;
}

/*
 * Somebody makes its doorbell full and blocking between the daemon's look and
 * its write. One process makes it blocking all the time, one comes and goes to
 * make the daemon ring, and this one fills it again and again until it meets
 * the moment.
 */
static void racing_bells(void)
{
	struct itimerval often = { { 0, 5000 }, { 0, 5000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = interrupt };
	u64 end = now_ms() + 10000;
	bool met = false;
	struct fake b, c;
	pid_t pids[2];

	need(join(&b, "a-b", "b") && join(&c, "c-e", "c"), "b and c are not served");
	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			struct fake a;

			if (!i)
				fcntl(b.own.fds[0], F_SETFL, O_RDWR);
			else if (join(&a, "a-b", "a"))
				fake_leave(&a);
		}
	}
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (!met && now_ms() < end) {
		drain_and_fill(b.own.fds[0]);
		/* What is there now and in a millisecond stays until it is interrupted. */
		met = daemon_blocked();
		if (met) {
			sleep_ms(1);
			met = daemon_blocked();
		}
	}
	setitimer(ITIMER_REAL, &never, NULL);
	if (met)
		ok(rings_elsewhere(&c), "a doorbell that blocks a write holds up nobody else's");
	else
		skip("not met in ten seconds", "a doorbell that blocks a write");
	for (int i = 0; i < 2; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	ok(!met || soon(daemon_said(&d, "its doorbell could not be rung: somebody made it block")),
	   "the log says so");
	fake_leave(&b);
	fake_leave(&c);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	daemon_start(&d, configuration);
	presence_and_bells();
	same_bells_again();
	group_bells();
	memory_goes_back();
	memory_of_a_group();
	forged_tables();
	full_bells();
	racing_bells();
	daemon_end(&d);
	return done();
}
