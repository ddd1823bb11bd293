// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: sock_diag(7).  What the kernel says of a socket over netlink is what
 * its owner knows of it; dumps of many sockets while they come and go; requests
 * that are wrong.  The tool that people use is tested in tests/diag.
 */
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "sockdiag.h"

#define MANY		3000
#define SMALL_BUFFER	4096

static ino_t inode(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	return st.st_ino;
}

/* A socket asked for by its inode number; compared with what its owner knows. */
static struct seen look(int fd)
{
	struct vmshm_diag_req req = any_request();
	struct sockaddr_vmshm a;
	struct seen s = { .times = 0 };
	uint64_t cookie = 0, bytes = 0;
	struct timeval t;
	socklen_t len;

	req.vdiag_ino = inode(fd);
	EQUAL(answer(&req, sizeof(req), SOCK_DIAG_BY_FAMILY, 0, &s), 0);
	EQUAL(s.msg.vdiag_ino, inode(fd));
	EQUAL(s.msg.vdiag_type, get_int(fd, SOL_SOCKET, SO_TYPE));
	EQUAL(s.attrs, (1u << (VMSHM_DIAG_MAX + 1)) - 2);
	EQUAL(s.uid, geteuid());
	len = sizeof(a);
	OK(getsockname(fd, (struct sockaddr *)&a, &len));
	EQUAL(s.msg.vdiag_src_cid, a.svm_cid);
	EQUAL(s.msg.vdiag_src_port, a.svm_port);
	len = sizeof(a);
	if (!getpeername(fd, (struct sockaddr *)&a, &len)) {
		EQUAL(s.msg.vdiag_dst_cid, a.svm_cid);
		EQUAL(s.msg.vdiag_dst_port, a.svm_port);
	}
	len = sizeof(cookie);
	OK(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len));
	EQUAL(s.msg.vdiag_cookie[0] | (uint64_t)s.msg.vdiag_cookie[1] << 32, cookie);
	len = sizeof(bytes);
	OK(getsockopt(fd, ctx.family, SO_VMSHM_BUFFER_SIZE, &bytes, &len));
	EQUAL(s.buffer.size, bytes);
	OK(getsockopt(fd, ctx.family, SO_VMSHM_BUFFER_MIN_SIZE, &bytes, &len));
	EQUAL(s.buffer.min, bytes);
	OK(getsockopt(fd, ctx.family, SO_VMSHM_BUFFER_MAX_SIZE, &bytes, &len));
	EQUAL(s.buffer.max, bytes);
	len = sizeof(t);
	OK(getsockopt(fd, ctx.family, SO_VMSHM_CONNECT_TIMEOUT_OLD, &t, &len));
	EQUAL(s.buffer.connect_timeout_ms, t.tv_sec * 1000 + t.tv_usec / 1000);
	EQUAL(s.buffer.busy_poll, get_int(fd, ctx.family, SO_VMSHM_BUSY_POLL));
	return s;
}

/* The counters, against SO_VMSHM_INFO; nothing happens meanwhile. */
static void same_counters(int fd, const struct vmshm_info *info)
{
	struct vmshm_info own;
	socklen_t len = sizeof(own);

	OK(getsockopt(fd, ctx.family, SO_VMSHM_INFO, &own, &len));
	EQUAL(memcmp(&own, info, sizeof(own)), 0);
}

static void unconnected(void)
{
	unsigned long long bytes = 100000;
	int fd = stream_socket(), way = 17;
	struct timeval t = { 9, 0 };
	struct seen s;

	s = look(fd);
	EQUAL(s.state, VMSHM_STATE_UNCONNECTED);
	EQUAL(s.msg.vdiag_state, TCP_CLOSE);
	EQUAL(s.msg.vdiag_dst_cid, VMSHM_CID_ANY);
	EQUAL(s.msg.vdiag_dst_port, VMSHM_PORT_ANY);
	EQUAL(s.queues.rx_queue, 0);
	EQUAL(s.queues.tx_queue, 0);
	EQUAL(s.info.rx_ring, 0);
	OK(bind_to(fd, VMSHM_CID_LOCAL, port_nr(0)));
	OK(setsockopt(fd, ctx.family, SO_VMSHM_BUFFER_SIZE, &bytes, sizeof(bytes)));
	OK(setsockopt(fd, ctx.family, SO_VMSHM_CONNECT_TIMEOUT_OLD, &t, sizeof(t)));
	OK(setsockopt(fd, ctx.family, SO_VMSHM_BUSY_POLL, &way, sizeof(way)));
	s = look(fd);
	EQUAL(s.msg.vdiag_src_port, port_nr(0));
	EQUAL(s.buffer.connect_timeout_ms, 9000);
	EQUAL(s.buffer.busy_poll, 17);
	/* A connect that fails leaves it as it was, but for the address it tried. */
	FAILS(connect_to(fd, ctx.peer, port_nr(9)), ECONNRESET);
	EQUAL(look(fd).state, VMSHM_STATE_UNCONNECTED);
}

static void listening_client(void)
{
	barrier("listening");
	for (int i = 0; i < 3; i++)
		connected(0);
	barrier("connected");
	barrier("done");
}

static void listening_server(void)
{
	int fd = listener(0, 5);
	struct seen s;

	s = look(fd);
	EQUAL(s.state, VMSHM_STATE_LISTEN);
	EQUAL(s.msg.vdiag_state, TCP_LISTEN);
	EQUAL(s.queues.rx_queue, 0);
	EQUAL(s.queues.tx_queue, 5);
	barrier("listening");
	barrier("connected");
	EQUAL(look(fd).queues.rx_queue, 3);
	close(accept_one(fd));
	EQUAL(look(fd).queues.rx_queue, 2);
	barrier("done");
}

static void connected_client(void)
{
	char buf[1000] = "";
	struct seen s;
	int fd = pair();

	s = look(fd);
	EQUAL(s.state, VMSHM_STATE_CONNECTED);
	EQUAL(s.msg.vdiag_state, TCP_ESTABLISHED);
	EQUAL(s.msg.vdiag_shutdown, 0);
	send_all(fd, buf, 1000);
	s = look(fd);
	EQUAL(s.queues.tx_queue, 1000);
	EQUAL(s.info.tx_bytes, 1000);
	EQUAL(s.info.tx_msgs, 1);
	same_counters(fd, &s.info);
	tell("tx_ring", s.info.tx_ring);
	barrier("sent");
	barrier("read");
	s = look(fd);
	EQUAL(s.queues.tx_queue, 400);
	EQUAL(s.queues.rx_queue, 50);
	same_counters(fd, &s.info);
	OK(shutdown(fd, SHUT_WR));
	s = look(fd);
	EQUAL(s.msg.vdiag_shutdown, 2);
	EQUAL(s.state, VMSHM_STATE_CLOSING);
	barrier("half closed");
	barrier("closed");
	/* It left 400 bytes unread. */
	CHECK(poll_one(fd, 0, 5000));
	EQUAL(look(fd).state, VMSHM_STATE_RESET);
}

static void connected_server(void)
{
	char buf[1000] = "";
	unsigned long long ring;
	struct seen s;
	int fd = pair();

	ring = ask("tx_ring");
	barrier("sent");
	wait_readable(fd, 1000);
	s = look(fd);
	EQUAL(s.queues.rx_queue, 1000);
	EQUAL(s.info.rx_ring, ring);
	recv_all(fd, buf, 600);
	send_all(fd, buf, 50);
	s = look(fd);
	EQUAL(s.queues.rx_queue, 400);
	EQUAL(s.info.rx_bytes, 600);
	EQUAL(s.info.tx_bytes, 50);
	same_counters(fd, &s.info);
	barrier("read");
	barrier("half closed");
	for (double end = now() + 5; look(fd).state != VMSHM_STATE_CLOSING && now() < end;)
		poll_one(fd, POLLRDHUP, 100);
	s = look(fd);
	EQUAL(s.state, VMSHM_STATE_CLOSING);
	EQUAL(s.msg.vdiag_shutdown, 0);
	close(fd);
	barrier("closed");
}

static void by_inode(void)
{
	struct vmshm_diag_req req = any_request();
	int fd = stream_socket(), other = stream_socket();
	struct seen s = look(fd);

	req.vdiag_ino = inode(fd);
	memcpy(req.vdiag_cookie, s.msg.vdiag_cookie, sizeof(req.vdiag_cookie));
	EQUAL(answer(&req, sizeof(req), SOCK_DIAG_BY_FAMILY, 0, &s), 0);
	req.vdiag_cookie[0]++;
	EQUAL(answer(&req, sizeof(req), SOCK_DIAG_BY_FAMILY, 0, NULL), ESTALE);
	/* Only what is asked for is told. */
	req = any_request();
	req.vdiag_ino = inode(fd);
	req.vdiag_show = 0;
	EQUAL(answer(&req, sizeof(req), SOCK_DIAG_BY_FAMILY, 0, &s), 0);
	EQUAL(s.attrs, 1u << VMSHM_DIAG_STATE);
	req.vdiag_show = VMSHM_DIAG_SHOW_UID | 0x80000000;
	EQUAL(answer(&req, sizeof(req), SOCK_DIAG_BY_FAMILY, 0, &s), 0);
	EQUAL(s.attrs, 1u << VMSHM_DIAG_STATE | 1u << VMSHM_DIAG_UID);
	close(fd);
	EQUAL(answer(&req, sizeof(req), SOCK_DIAG_BY_FAMILY, 0, NULL), ENOENT);
	/* The inode number of a socket of another family. */
	req.vdiag_ino = inode(diag_socket());
	EQUAL(answer(&req, sizeof(req), SOCK_DIAG_BY_FAMILY, 0, NULL), ENOENT);
	close(other);
}

static void by_state_client(void)
{
	struct vmshm_diag_req req = any_request();
	int idle = stream_socket(), listening = listener(5, 1), fd = pair();
	const struct { int fd, state; } expected[] = {
		{ idle, TCP_CLOSE }, { listening, TCP_LISTEN }, { fd, TCP_ESTABLISHED },
	};
	struct list list;

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		req.vdiag_states = 1u << expected[i].state;
		list = dump_by(&req, 32768);
		for (size_t j = 0; j < ARRAY_SIZE(expected); j++)
			EQUAL(!!find(&list, inode(expected[j].fd)), i == j);
		for (size_t j = 0; j < list.count; j++)
			EQUAL(list.seen[j].msg.vdiag_state, expected[i].state);
	}
	req.vdiag_states = 0;
	EQUAL(dump_by(&req, 32768).count, 0);
	barrier("done");
}

static void idle_server(void)
{
	pair();
	barrier("done");
}

static void bad_requests(void)
{
	struct vmshm_diag_req req = any_request(), bad;
	int fd = stream_socket();

	req.vdiag_ino = inode(fd);
	for (size_t len = 2; len < sizeof(req); len++) {
		EQUAL(answer(&req, len, SOCK_DIAG_BY_FAMILY, 0, NULL), EINVAL);
		EQUAL(answer(&req, len, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, NULL), EINVAL);
	}
	/* A longer one is that of a newer program. */
	EQUAL(answer(&(struct { struct vmshm_diag_req req; char more[64]; }) { req, "" },
		     sizeof(req) + 64, SOCK_DIAG_BY_FAMILY, 0, NULL), 0);
	bad = req;
	bad.sdiag_protocol = 1;
	EQUAL(answer(&bad, sizeof(bad), SOCK_DIAG_BY_FAMILY, 0, NULL), EINVAL);
	EQUAL(answer(&bad, sizeof(bad), SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, NULL), EINVAL);
	bad = req;
	bad.pad = 1;
	EQUAL(answer(&bad, sizeof(bad), SOCK_DIAG_BY_FAMILY, 0, NULL), EINVAL);
	bad = req;
	bad.vdiag_ino = 0;
	EQUAL(answer(&bad, sizeof(bad), SOCK_DIAG_BY_FAMILY, 0, NULL), EINVAL);
	/* Nobody ends other people's sockets this way. */
	EQUAL(answer(&req, sizeof(req), SOCK_DESTROY, 0, NULL), EOPNOTSUPP);
	EQUAL(look(fd).state, VMSHM_STATE_UNCONNECTED);
}

static void random_requests(void)
{
	unsigned char bytes[80];
	uint64_t random = 0x5eed2;
	struct list list;
	int fd = stream_socket(), nl;

	for (int i = 0; i < 3000; i++) {
		size_t len = 1 + random_below(&random, sizeof(bytes));

		for (size_t j = 0; j < len; j++)
			bytes[j] = random_below(&random, 256);
		bytes[0] = ctx.family;
		if (random_below(&random, 2) && len > 3)
			memset(bytes + 1, 0, 3);
		nl = diag_socket();
		ask_diag(nl, bytes, len, SOCK_DIAG_BY_FAMILY,
			 random_below(&random, 2) ? NLM_F_DUMP : random_below(&random, 65536));
		recv(nl, bytes, sizeof(bytes), MSG_DONTWAIT);
		close(nl);
	}
	list = dump();
	CHECK(find(&list, inode(fd)));
}

static void raise_limit(void)
{
	struct rlimit r = { 2 * MANY, 2 * MANY };

	OK(setrlimit(RLIMIT_NOFILE, &r));
}

/* Thousands in small parts: each once. */
static void many(void)
{
	static int fds[MANY];
	static ino_t inodes[MANY];
	struct vmshm_diag_req req = any_request();
	size_t with = 0, without = 0;
	struct list list;

	raise_limit();
	for (int i = 0; i < MANY; i++) {
		fds[i] = stream_socket();
		inodes[i] = inode(fds[i]);
	}
	list = dump_by(&req, SMALL_BUFFER);
	CHECK(list.count >= MANY);
	/* Sockets come in the order in which they were made. */
	for (size_t i = 0; i < list.count && with < MANY; i++)
		with += list.seen[i].msg.vdiag_ino == inodes[with];
	EQUAL(with, MANY);
	for (int i = 0; i < MANY; i += 2)
		close(fds[i]);
	free(list.seen);
	list = dump();
	for (size_t i = 0; i < list.count && without < MANY; i++) {
		while (without < MANY && without % 2 == 0)
			without++;
		without += without < MANY && list.seen[i].msg.vdiag_ino == inodes[without];
	}
	CHECK(without >= MANY - 1);
}

static bool stop_churn;

/* Sockets that are made, bound, connected and closed all the time. */
static void *churn(void *arg)
{
	unsigned int port = port_nr(8 + (long)arg);
	int fds[40], listen_fd;

	while (!__atomic_load_n(&stop_churn, __ATOMIC_RELAXED)) {
		listen_fd = stream_socket();
		OK(bind_to(listen_fd, VMSHM_CID_ANY, port));
		OK(listen(listen_fd, ARRAY_SIZE(fds)));
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
			fds[i] = stream_socket();
			if (i % 2)
				OK(connect_to(fds[i], VMSHM_CID_LOCAL, port));
		}
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			close(fds[i]);
		close(listen_fd);
	}
	return NULL;
}

static void comings(void)
{
	static int fds[300];
	struct vmshm_diag_req req = any_request();
	unsigned int dumps = 0;
	pthread_t threads[3];
	struct list list;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = stream_socket();
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		EQUAL(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
	for (double end = now() + 3; now() < end; dumps++) {
		list = dump_by(&req, dumps % 2 ? SMALL_BUFFER : 32768);
		/* Who lives all the time is there, once. */
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			CHECK(find(&list, inode(fds[i])));
		free(list.seen);
	}
	__atomic_store_n(&stop_churn, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	CHECK(dumps > 3);
}

static int module_users(void)
{
	FILE *f = fopen("/sys/module/af_vmshm/refcnt", "r");
	int n = -1;

	if (f) {
		EQUAL(fscanf(f, "%d", &n), 1);
		fclose(f);
	}
	return n;
}

/* Dumps that nobody reads to their end hold nothing for longer than their socket. */
static void abandoned(void)
{
	struct vmshm_diag_req req = any_request();
	struct list list = { NULL, 0, 0 };
	int before = module_users(), fds[200], nl;

	if (before < 0)
		skip("the module is not one");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = stream_socket();
	for (int i = 0; i < 50; i++) {
		nl = diag_socket();
		ask_diag(nl, &req, sizeof(req), SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
		dump_part(nl, &list, SMALL_BUFFER);
		list.count = 0;
		if (i % 2)
			close(nl);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	EQUAL(close_range(3, UINT_MAX, 0), 0);
	for (double end = now() + 5; module_users() > before && now() < end;)
		sleep_ms(20);
	CHECK(module_users() <= before);
}

static void unprivileged(void)
{
	struct list list;
	int fd = stream_socket();
	pid_t pid;

	pid = OK(fork());
	if (!pid) {
		drop_privileges();
		list = dump();
		CHECK(find(&list, inode(fd)));
		EQUAL(find(&list, inode(fd))->uid, 0);
		EQUAL(look(stream_socket()).uid, 65534);
		_exit(0);
	}
	wait_ok(pid);
}

static void namespaces(void)
{
	struct vmshm_diag_req req = any_request();
	int fd = stream_socket(), own;
	struct list list;

	req.vdiag_ino = inode(fd);
	if (unshare(CLONE_NEWNET))
		skip("no network namespaces: %s", error_name(errno));
	own = stream_socket();
	list = dump();
	EQUAL(list.count, 1);
	EQUAL(list.seen[0].msg.vdiag_ino, inode(own));
	EQUAL(answer(&req, sizeof(req), SOCK_DIAG_BY_FAMILY, 0, NULL), ENOENT);
}

static const struct test_case cases[] = {
	{ "unconnected", "a socket that does nothing: state, addresses, options, cookie",
	  unconnected, .flags = VMSHM_ONLY },
	{ "listening", "a listener's queue and backlog", listening_client, listening_server,
	  .flags = VMSHM_ONLY },
	{ "connected", "queued bytes, counters, rings, states until the reset",
	  connected_client, connected_server, .flags = VMSHM_ONLY },
	{ "by_inode", "one socket by inode and cookie; what is asked for is told",
	  by_inode, .flags = VMSHM_ONLY },
	{ "by_state", "a dump has the states that were asked for", by_state_client, idle_server,
	  .flags = VMSHM_ONLY },
	{ "bad_requests", "requests that are wrong: EINVAL, EOPNOTSUPP", bad_requests,
	  .flags = VMSHM_ONLY },
	{ "random_requests", "3,000 random requests", random_requests, .flags = VMSHM_ONLY },
	{ "many", "3,000 sockets in small parts: each once, in order", many, .limit = 30,
	  .flags = VMSHM_ONLY | ROOT_ONLY },
	{ "comings", "dumps while sockets come and go", comings, .limit = 20,
	  .flags = VMSHM_ONLY },
	{ "abandoned", "dumps that are not read hold nothing", abandoned, .flags = VMSHM_ONLY },
	{ "unprivileged", "anybody may look", unprivileged, .flags = VMSHM_ONLY | ROOT_ONLY },
	{ "namespaces", "each network namespace has its own sockets", namespaces,
	  .flags = VMSHM_ONLY | ROOT_ONLY },
};

SUBJECT(diag);
