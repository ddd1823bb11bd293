// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: SOCK_DGRAM, order, waiting for datagrams and for room, poll and epoll,
 * many senders and receivers, ends. What a datagram is: dgram.c.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "dgram.h"

#define MOST	65536

/* A datagram whose content follows from its number. */
static ssize_t put(int fd, unsigned int n, size_t len, uint64_t nr, int flags)
{
	static char buf[MOST];

	pattern_fill(buf, 0, len, nr);
	return send_to(fd, n, buf, len, flags);
}

static void get(int fd, size_t len, uint64_t nr)
{
	static char buf[MOST];

	EQUAL(recv(fd, buf, sizeof(buf), 0), len);
	pattern_check(buf, 0, len, nr);
}

static size_t some_len(uint64_t *state, unsigned int i)
{
	return i % 300 ? random_below(state, 2500) : MOST - random_below(state, 50);
}

#define ORDER	8000

/* The receiver stops now and then, so the sender has to wait. */
static void order_client(void)
{
	int fd = socket_of(SOCK_DGRAM);
	uint64_t state = 5;

	barrier("bound");
	for (unsigned int i = 0; i < ORDER; i++) {
		size_t len = some_len(&state, i);

		EQUAL(put(fd, 0, len, i, 0), len);
	}
	barrier("done");
}

static void order_server(void)
{
	int fd = dgram_on(0);
	uint64_t state = 5;

	barrier("bound");
	for (unsigned int i = 0; i < ORDER; i++) {
		if (i % 2000 == 1)
			sleep_ms(20);
		get(fd, some_len(&state, i), i);
	}
	expect_nothing(fd);
	barrier("done");
}

static unsigned int fill_receiver(int fd, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < 100000; i++) {
		here(__FILE__, __LINE__, "send until full");
		if (put(fd, n, 5000, i, MSG_DONTWAIT) == 5000)
			continue;
		EQUAL(errno, EAGAIN);
		/* Not open yet, at the very beginning. */
		if (i)
			return i;
		EQUAL(poll_one(fd, POLLOUT, 5000), POLLOUT);
		i--;
	}
	FAIL("never full");
}

static void full_client(void)
{
	int fd = socket_of(SOCK_DGRAM), other = socket_of(SOCK_DGRAM);
	unsigned int n;
	double start;

	barrier("bound");
	n = fill_receiver(fd, 0);
	CHECK(n >= 10);
	EQUAL(poll_one(fd, POLLOUT, 0), 0);
	set_timeout(fd, SO_SNDTIMEO, 200);
	start = now();
	FAILS(put(fd, 0, MOST, 0, 0), EAGAIN);
	check_elapsed(start, 200);
	/* Another socket of this VM has to wait, too. */
	FAILS(put(other, 0, MOST, 0, MSG_DONTWAIT), EAGAIN);
	/* What goes elsewhere does not. */
	start = now();
	for (unsigned int i = 0; i < 10; i++)
		EQUAL(put(fd, 1, 2000, i, i ? MSG_DONTWAIT : 0), 2000);
	CHECK(now() - start < 0.15 * ctx.patience);
	EQUAL(poll_one(fd, POLLOUT, 0), POLLOUT);
	tell("sent", n);
	set_timeout(fd, SO_SNDTIMEO, 0);
	EQUAL(put(fd, 0, MOST, 77, 0), MOST);
	EQUAL(poll_one(other, POLLOUT, 5000), POLLOUT);
	EQUAL(put(other, 0, 100, 78, 0), 100);
	barrier("done");
}

static void full_server(void)
{
	int fd = dgram_on(0), elsewhere = dgram_on(1);
	unsigned int n;

	barrier("bound");
	n = ask("sent");
	for (unsigned int i = 0; i < 10; i++)
		get(elsewhere, 2000, i);
	for (unsigned int i = 0; i < n; i++) {
		if (i < 3)
			sleep_ms(20);
		get(fd, 5000, i);
	}
	get(fd, MOST, 77);
	get(fd, 100, 78);
	barrier("done");
}

static void wait_client(void)
{
	int fd = dgram_on(0);
	double start = now();
	char buf[10];

	FAILS(recv(fd, buf, 10, MSG_DONTWAIT), EAGAIN);
	EQUAL(poll_one(fd, POLLIN | POLLOUT, 0), POLLOUT);
	set_timeout(fd, SO_RCVTIMEO, 200);
	FAILS(recv(fd, buf, 10, 0), EAGAIN);
	check_elapsed(start, 200);
	set_timeout(fd, SO_RCVTIMEO, 5000);
	tell("cid", ctx.one_vm ? VMSHM_CID_LOCAL : local_cid());
	EQUAL(recv(fd, buf, 10, 0), 3);
	EQUAL(poll_one(fd, POLLIN, 5000), POLLIN);
	EQUAL(recv(fd, buf, 10, MSG_DONTWAIT), 1);
	barrier("done");
}

static void wait_server(void)
{
	int fd = socket_of(SOCK_DGRAM);

	ctx.peer = ask("cid");
	sleep_ms(100);
	EQUAL(send_to(fd, 0, "abc", 3, 0), 3);
	sleep_ms(100);
	EQUAL(send_to(fd, 0, "d", 1, 0), 1);
	barrier("done");
}

/* ---- edge-triggered on both sides ---- */

static int edge_of(int fd, unsigned int events)
{
	struct epoll_event e = { .events = events | EPOLLET };
	int ep = OK(epoll_create1(EPOLL_CLOEXEC));

	set_blocking(fd, false);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	return ep;
}

static void wait_edge(int ep)
{
	struct epoll_event e;

	here(__FILE__, __LINE__, "wait for an edge");
	if (epoll_wait(ep, &e, 1, ctx.patience * 5000) != 1)
		FAIL("no edge came");
}

static void edge_client(void)
{
	int fd = socket_of(SOCK_DGRAM), ep = edge_of(fd, EPOLLOUT);
	uint64_t state = 6;

	barrier("bound");
	for (unsigned int i = 0; i < ORDER; i++) {
		size_t len = some_len(&state, i);

		while (put(fd, 0, len, i, 0) != (ssize_t)len) {
			EQUAL(errno, EAGAIN);
			wait_edge(ep);
		}
	}
	barrier("done");
}

static void edge_server(void)
{
	int fd = dgram_on(0), ep = edge_of(fd, EPOLLIN);
	static char buf[MOST];
	uint64_t state = 6;
	ssize_t n;

	barrier("bound");
	for (unsigned int i = 0; i < ORDER; i++) {
		size_t len = some_len(&state, i);

		while ((n = recv(fd, buf, MOST, 0)) < 0) {
			EQUAL(errno, EAGAIN);
			wait_edge(ep);
		}
		EQUAL(n, len);
		pattern_check(buf, 0, len, i);
	}
	barrier("done");
}

/* What fits takes no edge from what did not. */
static void edge_kept_client(void)
{
	int fd = socket_of(SOCK_DGRAM), ep;
	struct epoll_event e;
	unsigned int n;

	barrier("bound");
	for (n = 0; n < 2; n++)
		EQUAL(put(fd, 0, MOST, n, 0), MOST);
	ep = edge_of(fd, EPOLLOUT);
	while (put(fd, 0, MOST, n, 0) == MOST)
		n++;
	EQUAL(errno, EAGAIN);
	while (OK(epoll_wait(ep, &e, 1, 0)))
		;
	EQUAL(put(fd, 0, 100, n++, 0), 100);
	tell("sent", n);
	do
		wait_edge(ep);
	while (put(fd, 0, MOST, n, 0) < 0 && errno == EAGAIN);
	barrier("done");
}

static void edge_kept_server(void)
{
	int fd = dgram_on(0);
	unsigned int n;

	barrier("bound");
	n = ask("sent");
	sleep_ms(100);
	for (unsigned int i = 0; i < n - 1; i++)
		get(fd, MOST, i);
	get(fd, 100, n - 1);
	get(fd, MOST, n);
	barrier("done");
}

/* ---- many of them ---- */

/* By two of its own CIDs a VM is two that send. */
static void put_by(int fd, unsigned int cid, size_t len)
{
	struct sockaddr_vmshm to = address(cid, port_nr(0));
	static char buf[MOST];

	EQUAL(sendto(fd, buf, len, 0, (struct sockaddr *)&to, sizeof(to)), len);
}

#define TURNS	20

/* Who asks poll() before each datagram hears one as often as the other. */
static void turns(void)
{
	int fd = dgram_on(0), from = socket_of(SOCK_DGRAM);
	unsigned int taken[2] = { 0 };
	char buf[8];

	for (unsigned int i = 0; i < TURNS; i++) {
		put_by(from, VMSHM_CID_LOCAL, 1);
		put_by(from, local_cid(), 2);
	}
	for (unsigned int i = 0; i < TURNS; i++) {
		EQUAL(poll_one(fd, POLLIN, 0), POLLIN);
		taken[OK(recv(fd, buf, sizeof(buf), 0)) - 1]++;
	}
	EQUAL(taken[0], TURNS / 2);
	EQUAL(taken[1], TURNS / 2);
}

/* What MSG_PEEK and FIONREAD tell of is what is taken next. */
static void looked_at(void)
{
	int fd = dgram_on(0), from = socket_of(SOCK_DGRAM), len;
	char buf[100];

	for (unsigned int i = 0; i < TURNS; i++) {
		put_by(from, VMSHM_CID_LOCAL, 10);
		put_by(from, local_cid(), 100);
	}
	for (unsigned int i = 0; i < 2 * TURNS; i++) {
		ssize_t n = OK(recv(fd, buf, 1, MSG_PEEK | MSG_TRUNC));

		EQUAL(poll_one(fd, POLLIN, 0), POLLIN);
		OK(ioctl(fd, FIONREAD, &len));
		EQUAL(len, n);
		EQUAL(recv(fd, buf, n, MSG_TRUNC), n);
	}
	expect_nothing(fd);
}

#define SENDERS		4
#define EACH		1500

/* Four processes to one socket; what each sends stays in order. */
static void senders_client(void)
{
	pid_t pid[SENDERS];
	int fd;

	barrier("bound");
	for (unsigned int s = 0; s < SENDERS; s++) {
		pid[s] = OK(fork());
		if (pid[s])
			continue;
		fd = dgram_on(1 + s);
		for (unsigned int i = 0; i < EACH; i++)
			EQUAL(put(fd, 0, 8 + (i * 7 + s) % 3000, s << 20 | i, 0),
			      8 + (i * 7 + s) % 3000);
		_exit(0);
	}
	for (unsigned int s = 0; s < SENDERS; s++)
		wait_ok(pid[s]);
	barrier("done");
}

static void senders_server(void)
{
	unsigned int next[SENDERS] = { 0 }, s;
	struct sockaddr_vmshm from;
	static char buf[MOST];
	int fd = dgram_on(0);
	socklen_t len;
	ssize_t n;

	barrier("bound");
	for (unsigned int i = 0; i < SENDERS * EACH; i++) {
		len = sizeof(from);
		n = OK(recvfrom(fd, buf, MOST, 0, (struct sockaddr *)&from, &len));
		s = from.svm_port - port_nr(1);
		CHECK(s < SENDERS && next[s] < EACH);
		EQUAL(n, 8 + (next[s] * 7 + s) % 3000);
		pattern_check(buf, 0, n, s << 20 | next[s]);
		next[s]++;
	}
	expect_nothing(fd);
	barrier("done");
}

/* One socket to many, which all get theirs; their ports are told. */
#define RECEIVERS	100

static void receivers_client(void)
{
	struct sockaddr_vmshm to = address(ctx.peer, 0);
	int fd = socket_of(SOCK_DGRAM);
	unsigned int port[RECEIVERS];

	for (unsigned int i = 0; i < RECEIVERS; i++)
		port[i] = ask("port");
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < RECEIVERS; i++) {
			to.svm_port = port[i];
			EQUAL(sendto(fd, &i, 4, 0, (struct sockaddr *)&to, sizeof(to)), 4);
		}
	}
	barrier("done");
}

static void receivers_server(void)
{
	int fd[RECEIVERS], n;

	for (int i = 0; i < RECEIVERS; i++) {
		struct sockaddr_vmshm name;
		socklen_t len = sizeof(name);

		fd[i] = socket_of(SOCK_DGRAM);
		OK(bind_to(fd[i], VMSHM_CID_ANY, VMSHM_PORT_ANY));
		OK(getsockname(fd[i], (struct sockaddr *)&name, &len));
		tell("port", name.svm_port);
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < RECEIVERS; i++) {
			EQUAL(recv(fd[i], &n, 4, 0), 4);
			EQUAL(n, i);
		}
	}
	barrier("done");
}

/* ---- ends ---- */

static void shutdown_client(void)
{
	int fd = socket_of(SOCK_DGRAM);
	struct sockaddr_vmshm to = address(ctx.peer, port_nr(0));
	char c;

	signal(SIGPIPE, SIG_DFL);
	barrier("bound");
	EQUAL(send_to(fd, 0, "last", 4, 0), 4);
	barrier("shut");
	FAILS(send_to(fd, 0, "x", 1, 0), EPIPE);
	FAILS(shutdown(fd, 77), EINVAL);
	OK(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	OK(shutdown(fd, SHUT_WR));
	FAILS(send(fd, "x", 1, 0), EPIPE);
	expect_nothing(fd);
	OK(shutdown(fd, SHUT_RD));
	EQUAL(recv(fd, &c, 1, 0), 0);
	CHECK(poll_one(fd, POLLIN | POLLOUT, 0) & POLLHUP);
	barrier("done");
}

static void shutdown_server(void)
{
	int fd = dgram_on(0);
	char buf[10];

	barrier("bound");
	EQUAL(recv(fd, buf, 10, 0), 4);
	/* As AF_VSOCK: without a peer it is done, but says so. */
	FAILS(shutdown(fd, SHUT_RD), ENOTCONN);
	EQUAL(recv(fd, buf, 10, 0), 0);
	barrier("shut");
	barrier("done");
}

/*
 * A socket that shut down reading before anybody had sent to it: at the latest the
 * datagrams after the first are told so. Where nobody looks they fill the ring.
 */
static void shut_before_client(void)
{
	int fd = socket_of(SOCK_DGRAM);
	int sent = 0;

	barrier("shut");
	while (sent < 100 && send_to(fd, 0, "x", 1, 0) == 1) {
		sent++;
		sleep_ms(10);
	}
	EQUAL(sent == 100 ? 0 : errno, EPIPE);
	barrier("done");
}

static void shut_before_server(void)
{
	int fd = dgram_on(0);

	FAILS(shutdown(fd, SHUT_RD), ENOTCONN);
	barrier("shut");
	barrier("done");
}

/*
 * One thread waits for room, another one shuts down: the wait is over, and what
 * it had to send stays unsent when there is room.
 */
static void *shut_soon(void *fd)
{
	sleep_ms(300);
	OK(shutdown(*(int *)fd, SHUT_WR));
	return NULL;
}

static void shut_waiting_client(void)
{
	struct sockaddr_vmshm to = address(ctx.peer, port_nr(0));
	pthread_t thread;
	double start;
	int fd;

	barrier("bound");
	tell("sent", fill_receiver(socket_of(SOCK_DGRAM), 0));
	/* For ever, and with a timeout that is far away. */
	for (int ms = 0; ms <= 60000; ms += 60000) {
		fd = socket_of(SOCK_DGRAM);
		OK(connect(fd, (struct sockaddr *)&to, sizeof(to)));
		set_timeout(fd, SO_SNDTIMEO, ms);
		start = now();
		EQUAL(pthread_create(&thread, NULL, shut_soon, &fd), 0);
		FAILS(put(fd, 0, MOST, 99, 0), EPIPE);
		check_elapsed(start, 300);
		EQUAL(pthread_join(thread, NULL), 0);
	}
	barrier("shut");
	barrier("done");
}

static void shut_waiting_server(void)
{
	int fd = dgram_on(0);
	unsigned int n;

	barrier("bound");
	n = ask("sent");
	barrier("shut");
	for (unsigned int i = 0; i < n; i++)
		get(fd, 5000, i);
	sleep_ms(100);
	expect_nothing(fd);
	barrier("done");
}

static void close_client(void)
{
	int fd = socket_of(SOCK_DGRAM);

	barrier("bound");
	fill_receiver(fd, 0);
	barrier("full");
	/* Waits, until nobody is there any more. */
	FAILS(put(fd, 0, MOST, 0, 0), ECONNREFUSED);
	FAILS(put(fd, 0, 1, 0, 0), ECONNREFUSED);
	barrier("bind again");
	barrier("bound again");
	EQUAL(put(fd, 0, 10, 5, 0), 10);
	barrier("done");
}

static void close_server(void)
{
	int fd = dgram_on(0);

	barrier("bound");
	barrier("full");
	sleep_ms(200);
	close(fd);
	barrier("bind again");
	fd = dgram_on(0);
	barrier("bound again");
	/* Nothing of what the first one did not take. */
	get(fd, 10, 5);
	expect_nothing(fd);
	barrier("done");
}

/* What a sender left when it ended is there, and its end is no error. */
static void sender_gone_client(void)
{
	pid_t pid;

	barrier("bound");
	for (unsigned int i = 0; i < 20; i++) {
		pid = OK(fork());
		if (!pid) {
			put(socket_of(SOCK_DGRAM), 0, 100 + i, i, 0);
			_exit(0);
		}
		wait_ok(pid);
	}
	barrier("gone");
	barrier("done");
}

static void sender_gone_server(void)
{
	int fd = dgram_on(0);

	barrier("bound");
	barrier("gone");
	for (unsigned int i = 0; i < 20; i++)
		get(fd, 100 + i, i);
	expect_nothing(fd);
	EQUAL(get_int(fd, SOL_SOCKET, SO_ERROR), 0);
	EQUAL(poll_one(fd, POLLIN, 0), 0);
	barrier("done");
}

static void on_usr1(int sig)
{
	(void)sig;
}

static void signal_client(void)
{
	int fd = socket_of(SOCK_DGRAM);
	pid_t child, me = getpid();
	char c;

	on_signal(SIGUSR1, on_usr1, 0);
	barrier("bound");
	fill_receiver(fd, 0);
	child = OK(fork());
	/* Again and again: one may come before the call waits. */
	while (!child) {
		sleep_ms(100);
		if (kill(me, SIGUSR1))
			_exit(0);
	}
	FAILS(recv(fd, &c, 1, 0), EINTR);
	FAILS(put(fd, 0, MOST, 0, 0), EINTR);
	OK(kill(child, SIGKILL));
	OK(waitpid(child, NULL, 0));
	barrier("done");
}

static void idle_server(void)
{
	dgram_on(0);
	barrier("bound");
	barrier("done");
}

/* How often a receive looked before it slept, and how often it slept. */
static struct vmshm_info info_of(int fd)
{
	struct vmshm_info info;
	socklen_t len = sizeof(info);

	OK(getsockopt(fd, AF_VMSHM, SO_VMSHM_INFO, &info, &len));
	return info;
}

static void set_busy_poll(int fd, int us)
{
	OK(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &us, sizeof(us)));
}

/* Each wait, doorbell and datagram once, whose socket it is. */
static void counters_client(void)
{
	int fd = socket_of(SOCK_DGRAM);
	struct vmshm_info before, after;
	unsigned int n;

	set_busy_poll(fd, 0);
	barrier("bound");
	EQUAL(put(fd, 0, 100, 0, 0), 100);
	barrier("first");
	barrier("waits");
	sleep_ms(300);
	before = info_of(fd);
	EQUAL(put(fd, 0, 200, 1, 0), 200);
	barrier("second");
	after = info_of(fd);
	EQUAL(after.tx_msgs, 2);
	EQUAL(after.tx_bytes, 300);
	/* The very first one, and the one that was slept for. */
	EQUAL(after.doorbells_sent, 2);
	EQUAL(after.doorbells_suppressed, 0);
	EQUAL(after.sleeps, before.sleeps);
	EQUAL(after.ring_full, 0);
	/* Full: told once, and waited for once. */
	n = fill_receiver(fd, 0);
	set_timeout(fd, SO_SNDTIMEO, 200);
	FAILS(put(fd, 0, MOST, 0, 0), EAGAIN);
	after = info_of(fd);
	EQUAL(after.ring_full, 2);
	EQUAL(after.sleeps, before.sleeps + 1);
	EQUAL(after.tx_msgs, n + 2);
	EQUAL(after.doorbells_sent + after.doorbells_suppressed, n + 2);
	EQUAL(after.poll_hits + after.poll_misses, 0);
	EQUAL(after.tx_ring + after.rx_ring, 0);
	tell("sent", n);
	barrier("done");
}

static void counters_server(void)
{
	int fd = dgram_on(0);
	struct vmshm_info info;
	unsigned int n;

	set_busy_poll(fd, 200);
	barrier("bound");
	barrier("first");
	get(fd, 100, 0);
	info = info_of(fd);
	EQUAL(info.sleeps, 0);
	EQUAL(info.poll_hits + info.poll_misses, 0);
	barrier("waits");
	get(fd, 200, 1);
	barrier("second");
	info = info_of(fd);
	EQUAL(info.rx_msgs, 2);
	EQUAL(info.rx_bytes, 300);
	EQUAL(info.poll_misses, 1);
	EQUAL(info.poll_hits, 0);
	EQUAL(info.sleeps, 1);
	EQUAL(info.wakeups, 2);
	EQUAL(info.doorbells_sent, 0);
	/* For a datagram of 256 KiB and its header. */
	EQUAL(info.rx_ring, 524288);
	n = ask("sent");
	for (unsigned int i = 0; i < n; i++)
		get(fd, 5000, i);
	/* The sender had waited for room. */
	EQUAL(info_of(fd).doorbells_sent, 1);
	EQUAL(info_of(fd).rx_msgs, n + 2);
	barrier("done");
}

#define TRIPS	300

/* Back and forth; the server answers to where a datagram came from. */
static void trips(bool first, int poll_us)
{
	int fd = dgram_on(first ? 1 : 0);
	struct sockaddr_vmshm from;
	struct vmshm_info info;
	char buf[64];

	set_busy_poll(fd, poll_us);
	barrier("bound");
	for (uint64_t i = 0; i < TRIPS; i++) {
		socklen_t len = sizeof(from);

		if (first) {
			EQUAL(put(fd, 0, sizeof(buf), i, 0), sizeof(buf));
			get(fd, sizeof(buf), i);
			continue;
		}
		EQUAL(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len),
		      sizeof(buf));
		EQUAL(sendto(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, len),
		      sizeof(buf));
	}
	info = info_of(fd);
	if (poll_us) {
		CHECK(info.poll_hits + info.poll_misses > 0);
	} else {
		EQUAL(info.poll_hits + info.poll_misses, 0);
		CHECK(info.sleeps > 0);
	}
	barrier("done");
	close(fd);
}

static void busy_poll(void)
{
	trips(ctx.is_client, 500);
	trips(ctx.is_client, VMSHM_BUSY_POLL_ADAPTIVE);
	trips(ctx.is_client, 0);
}

static void nobody_server(void)
{
	barrier("done");
}

/* What was to be waited for is over, also when it ended with an error. */
static void refused_client(void)
{
	int fd = socket_of(SOCK_DGRAM), off = 0, again = 0;

	OK(setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &off, sizeof(off)));
	for (int i = 0; i < 20; i++) {
		here(__FILE__, __LINE__, "send to nobody");
		while (send_to(fd, i, "x", 1, MSG_DONTWAIT) == -1 && errno == EAGAIN) {
			EQUAL(poll_one(fd, POLLOUT, 5000), POLLOUT);
			again++;
		}
		EQUAL(errno, ECONNREFUSED);
		EQUAL(poll_one(fd, POLLOUT, 0), POLLOUT);
	}
	barrier("done");
	/* Inside a VM it may, and so it may where all VMs have one CPU of the host. */
	if (!again && !ctx.one_vm)
		skip("each answer was there at once");
}

/* What a socket does not take, as its peer is another one, holds up no call. */
#define FLOOD_S		2.0

static void strangers_client(void)
{
	struct timeval limit = { .tv_usec = 200000 };
	int fd = dgram_on(0);
	double end;

	OK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
	barrier("bound");
	for (end = now() + FLOOD_S; now() < end;)
		CHECK(send_to(fd, 1, "stray", 5, 0) == 5 || errno == EAGAIN);
	barrier("flooded");
	barrier("done");
}

static void strangers_server(void)
{
	struct sockaddr_vmshm peer = address(ctx.peer, port_nr(2));
	struct timeval limit = { .tv_usec = 200000 };
	int fd = dgram_on(1);
	double start;
	char buf[8];

	OK(connect(fd, (struct sockaddr *)&peer, sizeof(peer)));
	OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	barrier("bound");
	for (start = now(); now() < start + FLOOD_S;) {
		double begin = now();

		FAILS(recv(fd, buf, sizeof(buf), 0), EAGAIN);
		CHECK(now() - begin < FLOOD_S / 2);
		begin = now();
		FAILS(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), EAGAIN);
		EQUAL(poll_one(fd, POLLIN, 0), 0);
		CHECK(now() - begin < FLOOD_S / 2);
	}
	barrier("flooded");
	barrier("done");
}

static const struct test_case cases[] = {
	{ "order", "all arrive, in order, whatever the receiver's pace",
	  order_client, order_server, .limit = 30, .flags = VMSHM_ONLY },
	{ "full", "a receiver that is full holds up its senders alone: EAGAIN, SO_SNDTIMEO, poll",
	  full_client, full_server, .flags = VMSHM_ONLY },
	{ "wait", "blocking, SO_RCVTIMEO, MSG_DONTWAIT, poll", wait_client, wait_server,
	  .flags = VMSHM_ONLY },
	{ "edge", "edge-triggered on both sides, no datagram is lost", edge_client, edge_server,
	  .limit = 30, .flags = VMSHM_ONLY },
	{ "edge_kept", "a datagram that fits takes no edge from a longer one that waits",
	  edge_kept_client, edge_kept_server, .flags = VMSHM_ONLY },
	{ "turns", "poll() before each read: two that send are heard in turn", turns,
	  .flags = VMSHM_ONLY },
	{ "looked_at", "MSG_PEEK, poll() and FIONREAD tell of the datagram that is next", looked_at,
	  .flags = VMSHM_ONLY },
	{ "senders", "many send to one; what each sends stays in order",
	  senders_client, senders_server, .limit = 30, .flags = VMSHM_ONLY },
	{ "receivers", "one sends to many; each gets its own",
	  receivers_client, receivers_server, .flags = VMSHM_ONLY },
	{ "shutdown", "shutdown on either side: EPIPE without a signal, end of file",
	  shutdown_client, shutdown_server, .flags = VMSHM_ONLY },
	{ "shut_before", "shutdown before the first datagram: EPIPE, too",
	  shut_before_client, shut_before_server, .flags = VMSHM_ONLY },
	{ "shut_waiting", "shutdown by another thread ends a wait for room: EPIPE, nothing sent",
	  shut_waiting_client, shut_waiting_server, .flags = VMSHM_ONLY },
	{ "close", "the receiver closes: a sender that waits gets ECONNREFUSED; a successor",
	  close_client, close_server, .flags = VMSHM_ONLY },
	{ "sender_gone", "what a sender sent before it ended arrives, and no error",
	  sender_gone_client, sender_gone_server, .flags = VMSHM_ONLY },
	{ "counters", "SO_VMSHM_INFO counts each thing once", counters_client, counters_server,
	  .flags = VMSHM_ONLY },
	{ "busy_poll", "a receive looks for a while before it sleeps, if it may",
	  busy_poll, busy_poll, .limit = 20, .flags = VMSHM_ONLY },
	{ "signal", "a signal ends a wait", signal_client, idle_server, .flags = VMSHM_ONLY },
	{ "refused", "after EAGAIN and a refusal the socket is writable again",
	  refused_client, nobody_server, .flags = VMSHM_ONLY },
	{ "strangers", "a flood of what a connected socket does not take holds up no call",
	  strangers_client, strangers_server, .limit = 20, .flags = VMSHM_ONLY },
};

SUBJECT(dgramwait);
