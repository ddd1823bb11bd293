// SPDX-License-Identifier: GPL-2.0-only
/*
 * Three members and the couples a-b and b-c: whatever c does with what it has,
 * it learns nothing of what a and b exchange and changes no byte of it. c is
 * a process that holds all that its QEMU would: its segment, its doorbells and
 * those of b.
 */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/kcmp.h>
#include <unistd.h>

#define SEED	0x9e3779b97f4a7c15ULL

static const char configuration[] =
	"members = ( { name = \"a\"; cid = 3; }, { name = \"b\"; cid = 4; },\n"
	"{ name = \"c\"; cid = 5; } );\n"
	"segments = ( " COUPLE_AB ",\n"
	"{ name = \"b-c\"; members = [ \"b\", \"c\" ]; size = \"16M\"; } );\n";

static struct vmshmd d;

static bool same_file(int one, int other)
{
	return !syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, one, other);
}

/* How many descriptors of @f are also in @other. */
static unsigned int in_common(const struct fake *f, const struct fake *other)
{
	const struct fake *both[2] = { f, other };
	int fds[2][16];
	unsigned int n[2] = { 0, 0 }, common = 0;

	for (int i = 0; i < 2; i++) {
		fds[i][n[i]++] = both[i]->memfd;
		for (unsigned int v = 0; v < both[i]->own.nr; v++)
			fds[i][n[i]++] = both[i]->own.fds[v];
		for (unsigned int p = 0; p < both[i]->nr_peers; p++)
			for (unsigned int v = 0; v < both[i]->peers[p].nr; v++)
				fds[i][n[i]++] = both[i]->peers[p].fds[v];
	}
	for (unsigned int i = 0; i < n[0]; i++)
		for (unsigned int k = 0; k < n[1]; k++)
			common += same_file(fds[0][i], fds[1][k]);
	return common;
}

/* Bytes that nobody else would write. */
static void fill(const struct fake *f)
{
	u64 *words = (u64 *)f->map;

	for (u64 i = 0; i < f->size / 8; i++)
		words[i] = (i + 1) * SEED;
}

/* Words that are not as fill() left them, but for the presence of the members. */
static u64 changed(const struct fake *f, u64 member_off)
{
	const u64 *words = (const u64 *)f->map;
	u64 n = 0;

	for (u64 i = 0; i < f->size / 8; i++) {
		u64 in_member = (i * 8 - member_off) % sizeof(struct vmshm_member);

		if (i * 8 >= member_off && i * 8 < member_off + 2 * sizeof(struct vmshm_member) &&
		    in_member == offsetof(struct vmshm_member, presence))
			continue;
		n += words[i] != (i + 1) * SEED;
	}
	return n;
}

/* Say that this is the segment of a and b, and that c is a. */
static void forge(const struct fake *c, const struct fake *a)
{
	struct vmshm_member *members = fake_member(c, 0);

	memcpy(fake_header(c)->name, fake_header(a)->name, VMSHM_NAME_LEN);
	memcpy(fake_header(c)->uuid, fake_header(a)->uuid, 16);
	memcpy(members, fake_member(a, 0), 2 * sizeof(*members));
}

/* Ring b without end, on all vectors, with its own bells for good measure. */
static pid_t flood(const struct fake *c, const struct fake *a)
{
	pid_t pid = fork();
	u64 one = 1;

	need(pid >= 0, "fork: %s", strerror(errno));
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* A copy of its socket would keep it connected. */
	close(a->socket);
	for (;;) {
		for (unsigned int v = 0; v < 2; v++)
			if (write(c->peers[0].fds[v], &one, 8) < 0 ||
			    write(c->own.fds[v], &one, 8) < 0)
				continue;
	}
}

/* Milliseconds until a member of the other couple has come and gone. */
static u64 time_to_serve(void)
{
	u64 began = now_ms();
	struct fake a;

	if (!fake_join(&a, &d, "a-b", "a", 2, 2))
		return UINT64_MAX;
	fake_leave(&a);
	return now_ms() - began;
}

int main(void)
{
	struct fake a, b, bc, c;
	struct traffic *t;
	u64 member_off, before, quiet, flooded;
	pid_t pid;
	int i;

	signal(SIGPIPE, SIG_IGN);
	daemon_start(&d, configuration);
	need(fake_join(&b, &d, "a-b", "b", 2, 2) && fake_join(&bc, &d, "b-c", "b", 2, 2) &&
	     fake_join(&c, &d, "b-c", "c", 2, 2), "members are not served");
	member_off = fake_header(&c)->member_off;
	ok(is_zero(c.map + fake_channel(&c, 0)->side_off[0],
		   c.size - fake_channel(&c, 0)->side_off[0]), "c's memory is zero to begin with");
	quiet = time_to_serve();
	need(fake_join(&a, &d, "a-b", "a", 2, 2), "a is not served");
	ok(in_common(&c, &a) == 0 && in_common(&c, &b) == 0,
	   "c has not one descriptor that a has, or that b has for a");
	ok(in_common(&c, &bc) == 5, "and all five that b has for c");
	ok(fcntl(c.memfd, F_ADD_SEALS, F_SEAL_WRITE) < 0 && ftruncate(c.memfd, 4096) < 0 &&
	   ftruncate(c.memfd, 1 << 30) < 0, "c can neither seal nor resize its segment");

	t = traffic_start(&a, &b);
	forge(&c, &a);
	need(soon(traffic_received(t) > 1 << 20), "no bytes run between a and b");
	fill(&c);
	before = traffic_received(t);
	pid = flood(&c, &a);
	ok(soon(traffic_received(t) > before + (64 << 20)),
	   "c forges, overwrites all it has and floods its doorbells; a and b go on");
	ok(changed(&c, member_off) == 0, "not a word of c's segment is what they exchange");
	need(!fallocate(c.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)c.size),
	     "c cannot punch holes");
	before = traffic_received(t);
	ok(soon(traffic_received(t) > before + (16 << 20)) && traffic_end(t),
	   "c takes all pages away; not one of a's and b's bytes is lost or wrong");
	fake_leave(&a);
	/* What the host did meanwhile counts once, a daemon that is held up each time. */
	for (i = 0, flooded = UINT64_MAX; i < 3 && flooded >= quiet + 1000; i++)
		flooded = time_to_serve();
	ok(flooded < quiet + 1000, "during the flood a member is served in %llu ms (before: %llu)",
	   (unsigned long long)flooded, (unsigned long long)quiet);
	ok(vmshm_word_read(&fake_member(&b, 0)->presence) >= 4 &&
	   vmshm_word_read(&fake_member(&b, 1)->presence) == 1,
	   "a's and b's presence is what it should be");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	fake_leave(&b);
	fake_leave(&bc);
	fake_leave(&c);
	daemon_end(&d);
	return done();
}
