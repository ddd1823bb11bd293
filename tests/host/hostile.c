// SPDX-License-Identifier: GPL-2.0-only
/*
 * A peer that breaks the protocol in each of the ways of tests/life/lies.c, a
 * process of its own, against libvmshm in this one: it listens, echoes, connects,
 * sends, closes, and never waits for anything for long. Built with sanitizers,
 * it also reads and writes nothing that is not its own.
 */
#include "joined.h"
#include "two.h"
#include "../life/lies.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIE_MS		200
#define TRUTH_MS	600
#define BYTES		3000
#define LONGEST_MS	500	/* that a turn may take on a busy machine */

/* ---- the liar ---- */

static void lie_for(const struct lie *lie)
{
	u64 start = now_ms(), told = 0, tried = 0, now;
	static struct peer p;
	u32 ms = lie->tell ? LIE_MS : TRUTH_MS;

	peer_open(&p, HOST);
	peer_new_epoch(&p);
	while ((now = now_ms()) - start < ms) {
		if (!lie->mute)
			peer_step(&p);
		/* A pause first, so that there is something to lie about. */
		if (lie->tell && now - start > 60 && (now - told) * 1000 >= lie->every_us) {
			told = now;
			lie->tell(&p);
		}
		if (!lie->mute && now - tried >= 3) {
			tried = now;
			peer_connect(&p, 7300 + (peer_random(&p) % 4 == 0));
		}
		if (!lie->mute && !p.up && peer_random(&p) % 20000 == 0)
			peer_new_epoch(&p);
	}
	memcpy(p.seg.mem, p.tables, p.tables_size);
	/* No good-bye: the daemon says that it is gone. */
	_exit(!lie->tell && (!p.echoed || !p.checked || p.wrong));
}

/* ---- its victim ---- */

/* A connection that was begun here. */
struct own {
	struct victim *v;	/* NULL: none */
	u64 sent, back;
};

struct victim {
	struct vmshm_host *h;
	struct vmshm_sock *echo, *narrow;
	unsigned int seed;
	struct own own[30];
	u64 made, accepted;
};

static void end_own(struct vmshm_sock *s, struct own *o)
{
	o->v = NULL;
	vmshm_close(s);
}

static void serve_own(struct vmshm_sock *s, struct own *o)
{
	static u8 buf[BYTES];
	int is = vmshm_connected(s);
	ssize_t n;

	need(o->v, "a socket came out that had been closed");
	if (is <= 0) {
		if (is < 0)
			end_own(s, o);
		return;
	}
	while (o->sent < BYTES) {
		n = vmshm_send(s, buf, BYTES - o->sent, 0);
		if (n < 0)
			break;
		o->sent += (u64)n;
	}
	for (;;) {
		n = vmshm_recv(s, buf, sizeof(buf), 0);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0)
			o->back += (u64)n;
		if (n <= 0 || o->back >= BYTES)
			break;
	}
	o->v->made += o->back == BYTES;
	end_own(s, o);
}

static void echo(struct vmshm_sock *s)
{
	char buf[4096];
	ssize_t n;

	for (;;) {
		n = vmshm_recv(s, buf, sizeof(buf), 0);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || vmshm_send(s, buf, (size_t)n, 0) != n)
			break;
	}
	vmshm_close(s);
}

static void begin_own(struct victim *v)
{
	struct own *o = v->own;
	struct vmshm_sock *s;

	while (o < v->own + NR(v->own) && o->v)
		o++;
	if (o == v->own + NR(v->own) || !vmshm_host_peer_up(v->h, VM))
		return;
	s = vmshm_connect(v->h, VM, 5000, 0);
	if (!s)
		return;
	*o = (struct own){ .v = v };
	vmshm_set_data(s, o);
}

static void turn(struct victim *v)
{
	struct pollfd fd = { vmshm_host_fd(v->h), POLLIN, 0 };
	struct vmshm_sock *s, *conn;

	poll(&fd, 1, 3);
	vmshm_host_dispatch(v->h);
	while ((s = vmshm_host_next(v->h))) {
		if (s == v->echo || s == v->narrow) {
			while ((conn = vmshm_accept(s, 0)))
				v->accepted++;
		} else if (vmshm_data(s)) {
			serve_own(s, vmshm_data(s));
		} else {
			echo(s);
		}
	}
	if (rand_r(&v->seed) % 4 == 0)
		begin_own(v);
}

/* Until the liar is done; the longest turn, in ms. */
static u64 endure(struct victim *v, pid_t liar, int *status)
{
	u64 longest = 0, before = now_ms(), now;

	while (waitpid(liar, status, WNOHANG) != liar) {
		turn(v);
		now = now_ms();
		if (now - before > longest)
			longest = now - before;
		before = now;
	}
	return longest;
}

static void against(struct two *t, struct victim *v, const struct lie *lie)
{
	u64 made = v->made, accepted = v->accepted, longest;
	int status = 0;
	pid_t liar;

	fflush(stdout);
	liar = fork();
	need(liar >= 0, "fork: %s", strerror(errno));
	if (!liar) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		joined_daemon = &t->d;
		lie_for(lie);
	}
	longest = endure(v, liar, &status);
	if (!lie->tell)
		ok(!status && v->made > made && v->accepted > accepted,
		   "%s: %lu connections from here, %lu from there", lie->name,
		   (unsigned long)(v->made - made), (unsigned long)(v->accepted - accepted));
	else
		ok(WIFEXITED(status) && longest < LONGEST_MS, "%s", lie->name);
	if (longest >= LONGEST_MS)
		diag("a turn took %lu ms", (unsigned long)longest);
}

/* ---- connections that are accepted with a ring that is not there ---- */

static void accept_forged(struct peer *p)
{
	struct conn none = { .id = 1, .ring_off = p->half_size };
	struct vmshm_ctl in, out;

	while (vmshm_queue_filled(&p->ctl_rx) > 0) {
		vmshm_copy_once(&in, &peer_ctl(p->theirs)[vmshm_queue_slot(&p->ctl_rx)],
				sizeof(in));
		vmshm_queue_advance(&p->ctl_rx);
		if (in.type != VMSHM_CTL_CONNECT)
			continue;
		none.gen++;
		none.peer_id = in.src_id;
		none.peer_gen = in.src_gen;
		out = peer_message(p, &none, VMSHM_CTL_ACCEPT);
		peer_say(p, &out);
	}
}

/* Until it is killed; a byte into @told when it begins. As lie_for() otherwise. */
static void forge(int told)
{
	static struct peer p;
	bool tell = true;

	peer_open(&p, HOST);
	peer_new_epoch(&p);
	for (;;) {
		if (p.up && vmshm_word_read(&p.theirs->epoch) == p.peer_epoch) {
			if (tell && write(told, "", 1) != 1)
				_exit(1);
			tell = false;
			accept_forged(&p);
			continue;
		}
		peer_step(&p);
		if (!p.up && peer_random(&p) % 20000 == 0)
			peer_new_epoch(&p);
	}
}

static void against_forged(struct two *t, struct victim *v)
{
	struct pollfd fd = { .events = POLLIN };
	struct vmshm_sock *s;
	pid_t liar;
	int told[2];
	u64 since;

	fflush(stdout);
	need(!pipe(told), "pipe: %s", strerror(errno));
	liar = fork();
	need(liar >= 0, "fork: %s", strerror(errno));
	if (!liar) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		joined_daemon = &t->d;
		forge(told[1]);
	}
	fd.fd = told[0];
	/* A moment more: what the last lies left in the segment may part them once again. */
	since = now_ms();
	need(pumped(t, now_ms() - since > 100 && poll(&fd, 1, 0) == 1 &&
		    vmshm_host_peer_up(v->h, VM)), "the liar does not begin");
	ok(errno_of_sock(vmshm_connect(v->h, VM, 5000, PATIENCE)) == ECONNRESET,
	   "accepted with a ring that is not there: who waits for it gets ECONNRESET");
	s = vmshm_connect(v->h, VM, 5000, 0);
	ok(s && pumped(t, vmshm_connected(s)) && errno_of(vmshm_connected(s)) == ECONNRESET &&
	   errno_of(vmshm_connected(s)) == ECONNRESET,
	   "who does not wait is told so later, each time");
	vmshm_close(s);
	kill(liar, SIGKILL);
	waitpid(liar, NULL, 0);
	close(told[0]);
	close(told[1]);
}

/* hostile [LIE]: those whose name contains LIE. */
int main(int argc, char **argv)
{
	struct victim v = { .seed = 1 };
	struct two t;

	signal(SIGPIPE, SIG_IGN);
	two_daemon(&t, "16M");
	t.host = two_open(&t, "host");
	need(t.host, "the host can't join: %s", vmshm_host_why());
	v.h = t.host;
	vmshm_host_set_buffer(v.h, 16384);
	v.echo = vmshm_listen(v.h, 7300, 64);
	v.narrow = vmshm_listen(v.h, 7301, 1);
	for (size_t i = 0; i < nr_lies; i++)
		if (argc < 2 || strstr(lies[i].name, argv[1]))
			against(&t, &v, &lies[i]);
	if (argc < 2)
		against_forged(&t, &v);
	/* Whatever was said, it can be talked to again. */
	against(&t, &v, &lies[0]);
	two_end(&t);
	return done();
}
