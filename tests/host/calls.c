// SPDX-License-Identifier: GPL-2.0-only
/*
 * What libvmshm's calls give: opening, refusals, ends of streams and of
 * connections, errno values, readiness.
 */
#include "two.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void opening(void)
{
	struct two t;
	struct vmshm_host *h;

	two_start(&t, "16M");
	ok(vmshm_host_cid(t.host) == HOST && vmshm_host_cid(t.vm) == VM, "each knows its CID");
	ok(errno_of_sock(two_open(&t, "host")) == EBUSY &&
	   strstr(vmshm_host_why(), "another process"), "a second process is refused: EBUSY");
	vmshm_host_close(t.vm);
	t.vm = NULL;
	h = vmshm_host_open("/nonexistent/sock", 0, 100);
	ok(!h && errno == ENOENT && strstr(vmshm_host_why(), "is vmshmd running"),
	   "no daemon: ENOENT, and a line that says so");
	{
		char path[128];

		snprintf(path, sizeof(path), "%s/s/a.sock", t.d.run);
		h = vmshm_host_open(path, 0, PATIENCE);
		ok(!h && errno == EPERM && strstr(vmshm_host_why(), "CID 3"),
		   "a VM's socket is not the host's: EPERM");
		ok(errno_of_sock(vmshm_host_open(path, 4, 0)) == EINVAL, "unknown flags: EINVAL");
	}
	ok(pumped(&t, !vmshm_host_peer_up(t.host, VM)), "a peer that leaves is down");
	ok(errno_of_sock(vmshm_connect(t.host, VM, 1, 1000)) == ENODEV,
	   "connect to one that is not there: ENODEV");
	ok(errno_of_sock(vmshm_connect(t.host, 7, 1, 1000)) == ENODEV, "to an unknown CID: ENODEV");
	ok(errno_of_sock(vmshm_connect(t.host, HOST, 1, 0)) == ENODEV, "to oneself: ENODEV");
	t.vm = two_open(&t, "a");
	ok(t.vm && pumped(&t, vmshm_host_peer_up(t.host, VM)), "it comes back");
	ok(vmshm_host_attached(t.host), "the daemon has the member");
	daemon_stop(&t.d, SIGTERM);
	ok(pumped(&t, !vmshm_host_attached(t.host)), "the daemon's end is noticed");
	{
		struct ends e;
		char c = 0;

		ok(two_connect(&t, 5, &e) && vmshm_send(e.host, "x", 1, 0) == 1 &&
		   pumped(&t, vmshm_recv(e.vm, &c, 1, 0) == 1) && c == 'x',
		   "connections go on without it");
	}
	two_end(&t);
}

static void refusals(void)
{
	struct vmshm_sock *s, *l, *waiting[3];
	struct two t;
	int queued = 0;

	two_start(&t, "16M");
	s = vmshm_connect(t.host, VM, 9, 0);
	ok(s && pumped(&t, vmshm_connected(s) < 0) && errno == ECONNRESET,
	   "nobody listens: ECONNRESET");
	vmshm_close(s);
	l = vmshm_listen(t.vm, 9, 2);
	ok(l && errno_of_sock(vmshm_listen(t.vm, 9, 2)) == EADDRINUSE, "a port twice: EADDRINUSE");
	ok(errno_of_sock(vmshm_listen(t.vm, 10, 0)) == EINVAL, "a backlog of 0: EINVAL");
	ok(errno_of_sock(vmshm_accept(l, 0)) == EAGAIN, "nobody to accept: EAGAIN");
	for (int i = 0; i < 3; i++) {
		waiting[i] = vmshm_connect(t.host, VM, 9, 0);
		queued += pumped(&t, vmshm_connected(waiting[i])) &&
			  vmshm_connected(waiting[i]) == 1;
	}
	ok(queued == 2 && vmshm_connected(waiting[2]) < 0 && errno == ECONNRESET,
	   "a backlog that is full: ECONNRESET");
	ok(vmshm_events(l, POLLIN) == POLLIN, "a listener with a queue is readable");
	vmshm_close(l);
	for (int i = 0; i < 2; i++) {
		char c;

		ok(pumped(&t, errno_of(vmshm_recv(waiting[i], &c, 1, 0)) == ECONNRESET),
		   "whom nobody accepts before the listener goes: ECONNRESET");
		vmshm_close(waiting[i]);
	}
	vmshm_close(waiting[2]);
	l = vmshm_listen(t.host, VMSHM_PORT_ANY, 1);
	s = l ? vmshm_connect(t.vm, HOST, vmshm_local_port(l), 0) : NULL;
	ok(s && pumped(&t, vmshm_connected(s)) && vmshm_connected(s) == 1,
	   "any port: one is chosen, and the VM reaches it under CID HOST");
	ok(vmshm_peer_cid(s) == HOST && vmshm_peer_port(s) == vmshm_local_port(l) &&
	   errno_of(vmshm_shutdown(l, SHUT_WR)) == ENOTCONN, "names; a listener has no stream");
	vmshm_close(s);
	vmshm_close(l);
	/* The VM's process does nothing: no answer comes. */
	ok(errno_of_sock(vmshm_connect(t.host, VM, 9, 200)) == ETIMEDOUT, "no answer: ETIMEDOUT");
	s = vmshm_connect(t.host, VM, 9, 0);
	ok(s && vmshm_connected(s) == 0 && errno_of(vmshm_send(s, "x", 1, 0)) == ENOTCONN &&
	   vmshm_events(s, POLLOUT) == 0, "while it connects: ENOTCONN, and ready for nothing");
	vmshm_close(s);
	pump(&t);
	two_end(&t);
}

static void streams(void)
{
	struct two t;
	struct ends e;
	char buf[64];
	struct iovec piece[2];

	two_start(&t, "16M");
	need(two_connect(&t, 9, &e), "no connection");
	ok(vmshm_peer_cid(e.vm) == HOST && vmshm_local_port(e.vm) == 9 &&
	   vmshm_peer_port(e.vm) == vmshm_local_port(e.host), "both know who the other one is");
	ok(vmshm_events(e.vm, POLLIN | POLLOUT) == POLLOUT, "nothing to read, room to write");
	ok(errno_of(vmshm_recv(e.vm, buf, 1, 0)) == EAGAIN, "nothing to read: EAGAIN");
	ok(vmshm_send(e.host, "hello", 5, 0) == 5 && vmshm_recv(e.vm, buf, 64, 1000) == 5 &&
	   !memcmp(buf, "hello", 5), "five bytes");
	ok(vmshm_send(e.host, "", 0, 0) == 0 && vmshm_recv(e.vm, buf, 0, 0) == 0, "no bytes");

	ok(vmshm_shutdown(e.host, SHUT_WR) == 0 &&
	   errno_of(vmshm_send(e.host, "x", 1, 0)) == EPIPE &&
	   vmshm_recv(e.vm, buf, 64, 1000) == 0 && vmshm_recv(e.vm, buf, 64, 0) == 0,
	   "half closed: EPIPE here, end of file there");
	ok(vmshm_events(e.vm, POLLIN | POLLOUT) == (POLLIN | POLLOUT | POLLRDHUP),
	   "that is POLLRDHUP");
	ok(vmshm_send(e.vm, "back", 4, 0) == 4 && vmshm_recv(e.host, buf, 64, 1000) == 4,
	   "the other direction goes on");
	vmshm_close(e.vm);
	ok(pumped(&t, vmshm_events(e.host, POLLIN) & POLLHUP) &&
	   vmshm_recv(e.host, buf, 64, 0) == 0,
	   "closed in order: end of file");
	vmshm_close(e.host);

	need(two_connect(&t, 9, &e), "no connection");
	ok(vmshm_shutdown(e.vm, SHUT_RD) == 0 && vmshm_recv(e.vm, buf, 1, 0) == 0 &&
	   pumped(&t, errno_of(vmshm_send(e.host, "x", 1, 0)) == EPIPE),
	   "nobody reads any more: EPIPE");
	vmshm_close(e.host);
	vmshm_close(e.vm);

	need(two_connect(&t, 9, &e), "no connection");
	vmshm_send(e.host, "unread", 6, 0);
	vmshm_send(e.vm, "kept", 4, 0);
	vmshm_close(e.vm);
	ok(pumped(&t, vmshm_events(e.host, POLLIN) & POLLERR) &&
	   vmshm_recv(e.host, buf, 64, 0) == 4 &&
	   errno_of(vmshm_recv(e.host, buf, 64, 0)) == ECONNRESET &&
	   vmshm_recv(e.host, buf, 64, 0) == 0,
	   "closed with data unread: what had arrived, ECONNRESET once, end of file");
	vmshm_close(e.host);

	need(two_connect(&t, 9, &e), "no connection");
	vmshm_abort(e.vm);
	ok(pumped(&t, errno_of(vmshm_send(e.host, "x", 1, 0)) == ECONNRESET),
	   "aborted: ECONNRESET");
	vmshm_close(e.host);

	need(two_connect(&t, 9, &e), "no connection");
	ok(vmshm_send_pieces(e.host, piece) == 1 && piece[0].iov_len == 1 << 16,
	   "a ring is no more than a 64th of what is free: 64 KiB of 8 MiB");
	memset(piece[0].iov_base, 'p', 3);
	ok(errno_of(vmshm_send_done(e.host, piece[0].iov_len + 1)) == EINVAL &&
	   vmshm_send_done(e.host, 3) == 0 && vmshm_recv_pieces(e.vm, piece) == 1 &&
	   piece[0].iov_len == 3 && !memcmp(piece[0].iov_base, "ppp", 3) &&
	   errno_of(vmshm_recv_done(e.vm, 4)) == EINVAL && vmshm_recv_done(e.vm, 3) == 0,
	   "pieces of the ring itself, no more than there is");
	vmshm_close(e.host);
	vmshm_close(e.vm);
	two_end(&t);
}

/* A socket comes out of vmshm_host_next() when it is worth looking at, and only then. */
static void readiness(void)
{
	struct vmshm_sock *seen, *l;
	struct two t;
	struct ends e;
	char c;

	two_start(&t, "16M");
	l = vmshm_listen(t.vm, 9, 4);
	vmshm_set_data(l, &t);
	e.host = vmshm_connect(t.host, VM, 9, 0);
	for (seen = NULL; !seen;) {
		vmshm_host_dispatch(t.vm);
		seen = vmshm_host_next(t.vm);
	}
	ok(seen == l && vmshm_data(seen) == &t, "a listener comes out");
	e.vm = vmshm_accept(l, 0);
	ok(e.vm && vmshm_host_next(t.vm) == e.vm && !vmshm_host_next(t.vm),
	   "a new connection comes out once");
	need(pumped(&t, vmshm_connected(e.host)), "no connection");
	vmshm_recv(e.vm, &c, 1, 0);
	vmshm_send(e.host, "x", 1, 0);
	ok(soon((vmshm_host_dispatch(t.vm), seen = vmshm_host_next(t.vm))) && seen == e.vm,
	   "data comes, after EAGAIN");
	vmshm_send(e.host, "y", 1, 0);
	sleep_ms(20);
	vmshm_host_dispatch(t.vm);
	ok(!vmshm_host_next(t.vm), "who has not asked is not told again");
	while (vmshm_send(e.host, "0123456789abcdef", 16, 0) == 16)
		;
	vmshm_host_dispatch(t.host);
	ok(errno == EAGAIN && !vmshm_host_next(t.host), "a ring that is full: EAGAIN");
	while (vmshm_recv(e.vm, &c, 1, 0) == 1)
		;
	ok(soon((vmshm_host_dispatch(t.host), seen = vmshm_host_next(t.host))) && seen == e.host,
	   "room comes, after EAGAIN");
	vmshm_close(e.vm);
	vmshm_close(l);
	vmshm_close(e.host);
	two_end(&t);
}

static void draining(void)
{
	struct two t;
	struct ends e;
	u32 *drain;
	char c;

	two_start(&t, "16M");
	need(two_connect(&t, 9, &e), "no connection");
	vmshm_host_close(t.vm);
	{
		/* The daemon's word, by one who can write there, too. */
		struct fake f;

		t.vm = NULL;
		need(fake_join(&f, &t.d, "s", "a", 2, 2), "a can't join");
		drain = &fake_member(&f, 1)->drain;
		vmshm_store(drain, 1);
		bell_rings(f.own.fds[0], 0);
		ok(pumped(&t, errno_of_sock(vmshm_connect(t.host, VM, 9, 0)) == ESHUTDOWN),
		   "drained: ESHUTDOWN");
		ok(vmshm_load(&((struct vmshm_counters *)(f.map + fake_channel(&f, 0)->side_off[1] +
				VMSHM_SIDE_COUNTERS))->draining) == 1, "and the counters say so");
		vmshm_store(drain, 0);
		fake_leave(&f);
	}
	ok(pumped(&t, errno_of(vmshm_recv(e.host, &c, 1, 0)) == ECONNRESET),
	   "who was connected to one that left: ECONNRESET");
	vmshm_close(e.host);
	two_end(&t);
}

/* Three members that share a segment, each with a listener. */
static void group(void)
{
	static const char *const names[] = { "host", "a", "b" };
	struct vmshm_sock *l[3], *s, *conn;
	struct vmshm_host *h[3];
	unsigned int good = 0;
	struct two t = { 0 };

	daemon_start(&t.d,
		     "members = ( { name = \"a\"; cid = 3; }, { name = \"b\"; cid = 4; },\n"
		     "\t{ name = \"host\"; cid = 2; host = true; } );\n"
		     "segments = ( { name = \"s\"; members = [ \"b\", \"host\", \"a\" ];\n"
		     "\tsize = \"64M\"; shared = true; } );\n");
	for (unsigned int i = 0; i < 3; i++) {
		h[i] = two_open(&t, names[i]);
		need(h[i], "%s can't join: %s", names[i], vmshm_host_why());
		l[i] = vmshm_listen(h[i], 9, 4);
	}
	for (unsigned int from = 0; from < 3; from++) {
		for (unsigned int to = 0; to < 3; to++) {
			char c = 0;

			s = from == to ? NULL : vmshm_connect(h[from], HOST + to, 9, 0);
			for (int i = 0; s && i < PATIENCE && !vmshm_connected(s); i++) {
				for (unsigned int k = 0; k < 3; k++)
					vmshm_host_dispatch(h[k]);
				sleep_ms(1);
			}
			conn = s && vmshm_connected(s) == 1 ? vmshm_accept(l[to], 0) : NULL;
			good += conn && vmshm_peer_cid(conn) == HOST + from &&
				vmshm_send(conn, "x", 1, 0) == 1 &&
				vmshm_recv(s, &c, 1, PATIENCE) == 1 && c == 'x';
		}
	}
	ok(good == 6, "in a segment that three share each reaches each: %u of 6", good);
	for (unsigned int i = 0; i < 3; i++)
		vmshm_host_close(h[i]);
	daemon_end(&t.d);
}

int main(void)
{
	opening();
	refusals();
	streams();
	readiness();
	draining();
	group();
	return done();
}
