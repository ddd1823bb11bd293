// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bytes that run between two members, checked one by one: see harness.h. Each
 * side is a process; they ring each other on vector 1, which the daemon never
 * does, so a wake-up that is lost is found.
 */
#include "harness.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define RING_ORDER	16

/* Shared between the processes; each word has one writer. */
struct traffic {
	u64 stop;		/* the test's */
	u64 sent, ended;	/* the sender's */
	u64 received, wrong;	/* the receiver's */
	pid_t pids[2];		/* theirs */
};

static u8 byte_at(u64 position)
{
	return (u8)((position * 0x9e3779b97f4a7c15ULL) >> 56);
}

static void wait_bell(int fd)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	u64 count;

	/* Nobody but the peer rings vector 1: without it this is a hang, and found. */
	if (poll(&ready, 1, -1) == 1 && read(fd, &count, sizeof(count)) < 0)
		return;
}

static void ring(int fd)
{
	const u64 one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		_exit(9);
}

static void sender(struct traffic *t, const struct fake *f)
{
	struct vmshm_ring_hdr *hdr =
		(struct vmshm_ring_hdr *)(f->map + fake_channel(f, 0)->half_off[1]);
	struct vmshm_prod p;

	vmshm_prod_init(&p, hdr, RING_ORDER);
	while (!vmshm_word_read(&t->stop)) {
		long space = vmshm_prod_space(&p, 1);
		struct vmshm_span span[2];
		u64 len = (u64)rand() % 9000 + 1, at = p.prod;
		int n;

		if (space < 0)
			_exit(2);
		if (!space) {
			if (!vmshm_prod_arm(&p, p.size / 2))
				wait_bell(f->own.fds[1]);
			continue;
		}
		len = len < (u64)space ? len : (u64)space;
		n = vmshm_prod_spans(&p, len, span);
		for (int i = 0; i < n; i++)
			for (u32 k = 0; k < span[i].len; k++)
				span[i].base[k] = byte_at(at++);
		if (vmshm_prod_publish(&p, len))
			ring(f->peers[0].fds[1]);
		vmshm_word_publish(&t->sent, p.prod);
	}
	vmshm_prod_set_flags(&p, VMSHM_RING_FIN);
	ring(f->peers[0].fds[1]);
	_exit(0);
}

static void receiver(struct traffic *t, const struct fake *f)
{
	struct vmshm_ring_hdr *hdr =
		(struct vmshm_ring_hdr *)(f->map + fake_channel(f, 0)->half_off[1]);
	struct vmshm_cons c;
	u64 wrong = 0;

	vmshm_cons_init(&c, hdr, RING_ORDER);
	for (;;) {
		u32 flags = vmshm_cons_peer_flags(&c);
		struct vmshm_span span[2];
		long avail = vmshm_cons_avail(&c, 1);
		u64 at = c.cons;
		int n;

		if (avail < 0)
			_exit(2);
		if (!avail && flags & VMSHM_RING_FIN)
			break;
		if (!avail) {
			if (!vmshm_cons_arm(&c, 1) && !vmshm_cons_peer_flags(&c))
				wait_bell(f->own.fds[1]);
			continue;
		}
		n = vmshm_cons_spans(&c, 0, (u64)avail, span);
		for (int i = 0; i < n; i++)
			for (u32 k = 0; k < span[i].len; k++)
				wrong += span[i].base[k] != byte_at(at++);
		if (vmshm_cons_consume(&c, (u64)avail))
			ring(f->peers[0].fds[1]);
		vmshm_word_publish(&t->received, c.cons);
		vmshm_word_publish(&t->wrong, wrong);
	}
	_exit(0);
}

static pid_t process(void (*work)(struct traffic *t, const struct fake *f), struct traffic *t,
		     const struct fake *f)
{
	pid_t pid = fork();

	need(pid >= 0, "fork: %s", strerror(errno));
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	srand(1);
	/* A VM's one CPU is for the service manager's work first. */
	if (daemons_are_units && nice(19) < 0)
		_exit(3);
	work(t, f);
	_exit(3);
}

static bool ended_well(pid_t pid)
{
	int status = -1;

	if (!soon(waitpid(pid, &status, WNOHANG) == pid)) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return false;
	}
	return status == 0;
}

struct traffic *traffic_start(const struct fake *from, const struct fake *to)
{
	struct traffic *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	need(t != MAP_FAILED, "mmap: %s", strerror(errno));
	vmshm_ring_init((struct vmshm_ring_hdr *)(to->map + fake_channel(to, 0)->half_off[1]),
			RING_ORDER, 1, 1);
	t->pids[0] = process(sender, t, from);
	t->pids[1] = process(receiver, t, to);
	return t;
}

u64 traffic_received(const struct traffic *t)
{
	return vmshm_word_read(&t->received);
}

bool traffic_end(struct traffic *t)
{
	bool fine;

	vmshm_word_publish(&t->stop, 1);
	fine = ended_well(t->pids[0]);
	fine &= ended_well(t->pids[1]);
	fine &= t->sent == t->received && !t->wrong;
	munmap(t, sizeof(*t));
	return fine;
}
