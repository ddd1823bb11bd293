// SPDX-License-Identifier: GPL-2.0-only
/*
 * Segments in huge pages: where things lie, that memory goes back and stays
 * reserved, and that a member which takes pages away harms nobody else. Lends
 * itself sixteen huge pages of 2 MiB from the host while it runs.
 */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_SIZE_HUGE	(2UL << 20)
#define POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define LENT		16

static const char configuration[] =
	MEMBERS_AB "segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ];\n"
	"size = \"16M\"; huge_pages = true; } );\n";

static long pool(const char *what)
{
	char path[128];
	FILE *file;
	long pages;

	snprintf(path, sizeof(path), POOL "%s", what);
	file = fopen(path, "re");
	if (!file)
		return -1;
	if (fscanf(file, "%ld", &pages) != 1)
		pages = -1;
	fclose(file);
	return pages;
}

/* Pages that somebody new could have. */
static long pages_left(void)
{
	return pool("free_hugepages") - pool("resv_hugepages");
}

static bool set_pool(long pages)
{
	FILE *file = fopen(POOL "nr_hugepages", "we");
	bool fine = file && fprintf(file, "%ld", pages) > 0;

	return file && !fclose(file) && fine && pool("nr_hugepages") == pages;
}

static struct vmshmd d;

static u64 presence(const struct fake *f, unsigned int index)
{
	return vmshm_word_read(&fake_member(f, index)->presence);
}

static void too_few(void)
{
	struct vmshmd many;

	daemon_prepare(&many);
	daemon_config(&many, MEMBERS_AB
		"segments = ( { name = \"a-b\"; members = [ \"a\", \"b\" ];\n"
		      "size = \"64G\"; huge_pages = true; } );\n");
	daemon_run(&many, NULL);
	ok(daemon_stop(&many, 0) == 1 &&
	   daemon_said(&many, "segment a-b: needs 32768 huge pages of 2 MiB and ") == 1,
	   "too few huge pages end the start with one line and 1");
	daemon_end(&many);
}

static void memory_goes_back(void)
{
	const struct vmshm_channel *c;
	struct fake a, b;
	long left;
	char byte;
	int ready[2];
	pid_t pid;

	need(fake_join(&b, &d, "a-b", "b", 2, 2), "b is not served");
	c = fake_channel(&b, 0);
	ok(!(c->half_off[0] % PAGE_SIZE_HUGE) && !(c->half_off[1] % PAGE_SIZE_HUGE) &&
	   c->half_size && !(c->half_size % PAGE_SIZE_HUGE), "halves are whole huge pages");
	ok(fake_blocks(&b) == PAGE_SIZE_HUGE, "only the first page is there at the start");
	ok(fcntl(b.memfd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), "the seals");
	memset(b.map + c->side_off[1], 0xdd, VMSHM_SIDE_SIZE);
	memset(b.map + c->half_off[1], 0xcc, c->half_size);
	left = pages_left();
	need(!pipe(ready), "pipe");
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!fake_join(&a, &d, "a-b", "a", 2, 2))
			_exit(1);
		memset(a.map + c->half_off[0], 0xaa, c->half_size);
		memset(a.map + c->side_off[0], 0xbb, VMSHM_SIDE_SIZE);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	need(read(ready[0], &byte, 1) == 1, "a is not served");
	close(ready[0]);
	ok(fake_blocks(&b) == PAGE_SIZE_HUGE + 2 * c->half_size, "both halves are there");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	need(soon(presence(&b, 0) == 2), "a's end is not told");
	ok(fake_blocks(&b) == PAGE_SIZE_HUGE + c->half_size, "a's half has gone back");
	ok(pages_left() == left, "it is still the segment's: %ld pages are left to others", left);
	ok(is_zero(b.map + c->side_off[0], VMSHM_SIDE_SIZE), "a's side is zero");
	ok(is_zero(b.map + c->half_off[0], c->half_size), "a's half is zero");
	ok(b.map[c->half_off[1]] == 0xcc && b.map[c->half_off[1] + c->half_size - 1] == 0xcc &&
	   b.map[c->side_off[1]] == 0xdd && b.map[c->side_off[1] + VMSHM_SIDE_SIZE - 1] == 0xdd,
	   "what is b's is untouched");
	ok(fake_header(&b)->magic == VMSHM_MAGIC && fake_member(&b, 0)->cid == 3,
	   "header and tables are untouched");
	fake_leave(&b);
}

#ifndef __SANITIZE_THREAD__
/* A member punches out the tables, and nothing is left to put there. */
static void pages_taken_away(void)
{
	struct fake a, b;
	long left;
	u8 *hog;

	need(fake_join(&b, &d, "a-b", "b", 2, 2), "b is not served");
	need(!fallocate(b.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)b.size),
	     "fallocate: %s", strerror(errno));
	left = pages_left();
	hog = mmap(NULL, (size_t)left * PAGE_SIZE_HUGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	need(hog != MAP_FAILED, "%ld huge pages cannot be taken: %s", left, strerror(errno));
	a.socket = fake_connect(&d, "a-b", "a");
	ok(soon(daemon_said(&d, "member a: its presence could not be published: no memory")),
	   "the log says that presence cannot be published");
	close(a.socket);
	munmap(hog, (size_t)left * PAGE_SIZE_HUGE);
	ok(soon(fake_join(&a, &d, "a-b", "a", 2, 2)), "the daemon goes on");
	fake_leave(&a);
	fake_leave(&b);
}
#endif

/* A member's half is punched out and taken by others while the daemon is away. */
static void restarted_when_short(void)
{
	const struct vmshm_channel *c;
	struct vmshmd kept;
	struct fake a, b;
	pid_t worker;
	long left;
	u8 *hog;

	daemon_start_kept(&kept, configuration);
	need(fake_join(&a, &kept, "a-b", "a", 2, 2) && fake_join(&b, &kept, "a-b", "b", 2, 2),
	     "a and b are not served");
	c = fake_channel(&b, 0);
	memset(a.map + c->half_off[0], 0xaa, c->half_size);
	worker = daemon_worker(&kept);
	need(!fallocate(a.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)c->half_off[0],
			(off_t)c->half_size), "fallocate: %s", strerror(errno));
	left = pages_left();
	hog = mmap(NULL, (size_t)left * PAGE_SIZE_HUGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	need(hog != MAP_FAILED, "%ld huge pages cannot be taken: %s", left, strerror(errno));
	kill(worker, SIGKILL);
	ok(daemon_ready_again(&kept, worker) && soon(daemon_said(&kept, "vmshmd: ready") == 2) &&
	   daemon_said(&kept, "taken over: 1 segment, 2 connections") == 1,
	   "a restart keeps a segment whose pages others have");
	ok(daemon_said(&kept, "segment a-b: huge pages that were given back are taken: ") == 1,
	   "the log says that they are missing");
	fake_leave(&a);
	ok(soon(presence(&b, 0) == 2), "who goes is found gone");
	munmap(hog, (size_t)left * PAGE_SIZE_HUGE);
	left = pages_left();
	worker = daemon_worker(&kept);
	kill(worker, SIGKILL);
	ok(daemon_ready_again(&kept, worker) && soon(daemon_said(&kept, "vmshmd: ready") == 3) &&
	   fake_join(&a, &kept, "a-b", "a", 2, 2) && pages_left() < left,
	   "and a restart when there are some again reserves them");
	memset(a.map + c->half_off[0], 0xaa, c->half_size);
	fake_leave(&a);
	fake_leave(&b);
	daemon_end(&kept);
}

int main(void)
{
	long before = pool("nr_hugepages");

	signal(SIGPIPE, SIG_IGN);
	if (before < 0 || !set_pool(before + LENT)) {
		if (before >= 0)
			set_pool(before);
		skip("the host has no huge pages to lend", "segments in huge pages");
		return done();
	}
	too_few();
	daemon_start(&d, configuration);
	memory_goes_back();
#ifdef __SANITIZE_THREAD__
	/* It holds a lock of its own in an atomic store, which the fault leaves. */
	skip("not with the thread sanitizer", "a member takes pages away");
#else
	pages_taken_away();
#endif
	daemon_end(&d);
	restarted_when_short();
	ok(set_pool(before), "the huge pages are given back to the host");
	return done();
}
