// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bytes in bulk between two processes, processes that are killed, and memory
 * that is used up and comes back.
 */
#include "two.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ECHO		7
#define DIE		8
#define STREAMS		4
#define STREAM_BYTES	(24 << 20)

/* ---- the process that is the VM ---- */

/* Gives back what came; false when the connection is over. */
static bool echo_some(struct vmshm_sock *s)
{
	struct iovec in[2], out[2];

	for (;;) {
		int n = vmshm_recv_pieces(s, in);
		size_t len;

		if (n == 0)
			return vmshm_shutdown(s, SHUT_WR) && false;
		if (n < 0)
			return errno == EAGAIN;
		if (vmshm_send_pieces(s, out) < 0)
			return errno == EAGAIN;
		len = in[0].iov_len < out[0].iov_len ? in[0].iov_len : out[0].iov_len;
		memcpy(out[0].iov_base, in[0].iov_base, len);
		vmshm_recv_done(s, len);
		vmshm_send_done(s, len);
	}
}

static void serve(struct vmshm_host *h)
{
	struct vmshm_sock *echo = vmshm_listen(h, ECHO, 16), *die = vmshm_listen(h, DIE, 16), *s;
	struct pollfd fd = { vmshm_host_fd(h), POLLIN, 0 };
	char c;

	for (;;) {
		poll(&fd, 1, -1);
		vmshm_host_dispatch(h);
		while ((s = vmshm_host_next(h))) {
			if (s == echo)
				while (vmshm_accept(echo, 0))
					;
			else if (s == die)
				vmshm_set_data(vmshm_accept(die, 0), h);
			else if (vmshm_data(s) && vmshm_recv(s, &c, 1, 0) == 1 &&
				 vmshm_send(s, "last words", 10, 0) == 10)
				raise(SIGKILL);
			else if (!vmshm_data(s) && !echo_some(s))
				vmshm_close(s);
		}
	}
}

static pid_t vm_start(struct two *t)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	t->vm = two_open(t, "a");
	need(t->vm, "a can't join: %s", vmshm_host_why());
	serve(t->vm);
	return 0;
}

/* ---- bulk ---- */

struct stream {
	struct vmshm_sock *s;
	u64 sent, back;
	bool shut, ended;
};

/* Sends and checks what is possible now; false when a byte is wrong. */
static bool go_on(struct stream *st)
{
	static u8 buf[100000];

	while (st->sent < STREAM_BYTES) {
		u64 len = STREAM_BYTES - st->sent;
		ssize_t n;

		/* Lengths of all kinds. */
		if (len > 1 + st->sent % sizeof(buf))
			len = 1 + st->sent % sizeof(buf);
		for (u64 i = 0; i < len; i++)
			buf[i] = byte_at(st->sent + i);
		n = vmshm_send(st->s, buf, len, 0);
		if (n < 0)
			break;
		st->sent += (u64)n;
	}
	if (st->sent == STREAM_BYTES && !st->shut)
		st->shut = !vmshm_shutdown(st->s, SHUT_WR);
	for (;;) {
		ssize_t n = vmshm_recv(st->s, buf, sizeof(buf), 0);

		if (n == 0)
			st->ended = true;
		if (n <= 0)
			return n == 0 || errno == EAGAIN;
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != byte_at(st->back++))
				return false;
	}
}

static void bulk(void)
{
	struct stream st[STREAMS] = { 0 };
	struct pollfd fd = { .events = POLLIN };
	struct vmshm_sock *s;
	bool good = true;
	int open = STREAMS;
	struct two t;
	pid_t vm;

	two_daemon(&t, "64M");
	vm = vm_start(&t);
	t.host = two_open(&t, "host");
	need(t.host && pumped(&t, vmshm_host_peer_up(t.host, VM)), "the channel is not up");
	for (int i = 0; i < STREAMS; i++) {
		st[i].s = soon(st[i].s || (st[i].s = vmshm_connect(t.host, VM, ECHO, PATIENCE))) ?
			  st[i].s : NULL;
		need(st[i].s, "no connection: %s", strerror(errno));
		vmshm_set_data(st[i].s, &st[i]);
		good &= go_on(&st[i]);
	}
	fd.fd = vmshm_host_fd(t.host);
	while (good && open && poll(&fd, 1, PATIENCE) == 1) {
		vmshm_host_dispatch(t.host);
		while ((s = vmshm_host_next(t.host))) {
			struct stream *one = vmshm_data(s);

			good &= go_on(one);
			if (!one->ended)
				continue;
			good &= one->back == STREAM_BYTES;
			vmshm_close(s);
			open--;
		}
	}
	ok(good && !open, "%d MiB on each of %d connections, there and back, and ends of files",
	   STREAM_BYTES >> 20, STREAMS);
	kill(vm, SIGKILL);
	waitpid(vm, NULL, 0);
	two_end(&t);
}

/* ---- death ---- */

static void killed(void)
{
	struct vmshm_sock *s, *idle;
	char buf[64] = "";
	struct two t;
	pid_t vm;
	u64 began;

	two_daemon(&t, "16M");
	t.host = two_open(&t, "host");
	need(t.host, "the host can't join: %s", vmshm_host_why());
	for (int round = 0; round < 5; round++) {
		vm = vm_start(&t);
		s = NULL;
		need(pumped(&t, vmshm_host_peer_up(t.host, VM)), "the channel is not up");
		need(soon(s || (s = vmshm_connect(t.host, VM, DIE, 1000))), "no connection");
		idle = vmshm_connect(t.host, VM, ECHO, PATIENCE);
		need(idle, "no connection");
		vmshm_send(s, "!", 1, 0);
		waitpid(vm, NULL, 0);
		began = now_ms();
		if (!ok(vmshm_recv(s, buf, 64, PATIENCE) == 10 && !memcmp(buf, "last words", 10) &&
			errno_of(vmshm_recv(s, buf, 64, PATIENCE)) == ECONNRESET &&
			errno_of(vmshm_recv(idle, buf, 64, PATIENCE)) == ECONNRESET &&
			now_ms() - began < 2000,
			"killed, round %d: what had arrived, then ECONNRESET, at once", round))
			diag("%s after %lu ms", strerror(errno), (unsigned long)(now_ms() - began));
		ok(pumped(&t, errno_of_sock(vmshm_connect(t.host, VM, ECHO, 100)) == ENODEV),
		   "nobody is there: ENODEV");
		vmshm_close(s);
		vmshm_close(idle);
	}
	two_end(&t);
}

static void restarted(void)
{
	struct two t;
	struct ends e;
	char c = 0;
	pid_t worker;

	two_daemon_kept(&t, "16M");
	two_join(&t);
	need(two_connect(&t, 9, &e), "no connection");
	for (int i = 0; i < 3; i++) {
		worker = daemon_worker(&t.d);
		need(worker > 0 && !kill(worker, SIGKILL), "no worker");
		need(daemon_ready_again(&t.d, worker), "the daemon does not come back");
	}
	pump(&t);
	ok(vmshm_host_attached(t.host) && vmshm_send(e.vm, "x", 1, 0) == 1 &&
	   vmshm_recv(e.host, &c, 1, PATIENCE) == 1 && c == 'x',
	   "the daemon is killed three times: nothing happened");
	vmshm_host_close(t.vm);
	t.vm = NULL;
	ok(pumped(&t, errno_of_sock(vmshm_connect(t.host, VM, 9, 0)) == ENODEV) &&
	   errno_of(vmshm_recv(e.host, &c, 1, 0)) == ECONNRESET, "and it says who goes");
	vmshm_close(e.host);
	two_end(&t);
}

/* ---- memory ---- */

#define MOST	256

/* As many connections as there can be; all of them are closed again. */
static int fill_up(struct two *t, struct vmshm_sock *l, int *why)
{
	struct vmshm_sock *mine[MOST], *theirs[MOST];
	int n = 0;

	*why = 0;
	while (n < MOST) {
		mine[n] = vmshm_connect(t->host, VM, ECHO, 0);
		if (!mine[n] || !pumped(t, vmshm_connected(mine[n])))
			break;
		if (vmshm_connected(mine[n]) < 0) {
			*why = errno;
			vmshm_close(mine[n]);
			break;
		}
		theirs[n] = vmshm_accept(l, 0);
		n++;
	}
	/* In another order than they came. */
	for (int step = 0; step < 3; step++) {
		for (int i = step; i < n; i += 3) {
			vmshm_close(i % 2 ? theirs[i] : mine[i]);
			vmshm_close(i % 2 ? mine[i] : theirs[i]);
		}
	}
	for (int i = 0; i < 20; i++)
		pump(t);
	return n;
}

static void used_up(void)
{
	struct vmshm_sock *l;
	int first, again, err;
	struct two t;
	struct ends e;
	bool good = true;

	two_start(&t, "1M");
	l = vmshm_listen(t.vm, ECHO, 4);
	first = fill_up(&t, l, &err);
	ok(first > 20 && err == ENOBUFS, "%d connections, then ENOBUFS", first);
	for (int i = 0; i < 500 && good; i++) {
		good = two_connect(&t, 9, &e) && vmshm_send(e.host, "x", 1, 0) == 1;
		if (i % 3)
			vmshm_close(e.vm);
		vmshm_close(e.host);
		if (!(i % 3))
			vmshm_close(e.vm);
	}
	ok(good, "500 connections one after the other");
	again = fill_up(&t, l, &err);
	ok(again == first && err == ENOBUFS, "as many at the same time as before: %d", again);
	two_end(&t);
}

int main(void)
{
	bulk();
	killed();
	restarted();
	used_up();
	return done();
}
