// SPDX-License-Identifier: GPL-2.0-only
/* Cases: bind, and what getsockname and getpeername say in each state. */
#include <sys/wait.h>

#include "vmshm_test.h"

/* The address must be of the family, and zero where it says nothing. */
static struct sockaddr_vmshm checked(const struct sockaddr_vmshm *a, socklen_t len)
{
	static const unsigned char zero[sizeof(a->svm_zero)];

	EQUAL(len, sizeof(*a));
	EQUAL(a->svm_family, ctx.family);
	EQUAL(a->svm_reserved1, 0);
	EQUAL(memcmp(a->svm_zero, zero, sizeof(zero)), 0);
	return *a;
}

static struct sockaddr_vmshm sock_name(int fd)
{
	struct sockaddr_vmshm a;
	socklen_t len = sizeof(a);

	memset(&a, 0xff, sizeof(a));
	OK(getsockname(fd, (struct sockaddr *)&a, &len));
	return checked(&a, len);
}

static struct sockaddr_vmshm peer_name(int fd)
{
	struct sockaddr_vmshm a;
	socklen_t len = sizeof(a);

	memset(&a, 0xff, sizeof(a));
	OK(getpeername(fd, (struct sockaddr *)&a, &len));
	return checked(&a, len);
}

static void bind_explicit(void)
{
	int fd = stream_socket();
	struct sockaddr_vmshm a;

	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(0)));
	a = sock_name(fd);
	EQUAL(a.svm_port, port_nr(0));
	EQUAL(a.svm_cid, VMSHM_CID_ANY);
}

static void bind_auto(void)
{
	unsigned int ports[3];

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		int fd = stream_socket();

		OK(bind_to(fd, VMSHM_CID_ANY, VMSHM_PORT_ANY));
		ports[i] = sock_name(fd).svm_port;
		CHECK(ports[i] > VMSHM_LAST_RESERVED_PORT && ports[i] != VMSHM_PORT_ANY);
		for (size_t j = 0; j < i; j++)
			CHECK(ports[i] != ports[j]);
	}
}

static void bind_local_cid(void)
{
	int fd = stream_socket();

	OK(bind_to(fd, VMSHM_CID_LOCAL, port_nr(0)));
	EQUAL(sock_name(fd).svm_cid, VMSHM_CID_LOCAL);
}

static void bind_own_cid(void)
{
	int fd = stream_socket();
	unsigned int cid = local_cid();

	if (cid == VMSHM_CID_ANY)
		skip("this VM has no CID");
	OK(bind_to(fd, cid, port_nr(0)));
	EQUAL(sock_name(fd).svm_cid, cid);
}

static void bind_foreign_cid(void)
{
	FAILS(bind_to(stream_socket(), 60000, port_nr(0)), EADDRNOTAVAIL);
	FAILS(bind_to(stream_socket(), VMSHM_CID_HYPERVISOR, port_nr(0)), EADDRNOTAVAIL);
}

static void bind_in_use(void)
{
	int first = stream_socket(), second = stream_socket();

	OK(bind_to(first, VMSHM_CID_ANY, port_nr(0)));
	FAILS(bind_to(second, VMSHM_CID_ANY, port_nr(0)), EADDRINUSE);
	FAILS(bind_to(second, VMSHM_CID_LOCAL, port_nr(0)), EADDRINUSE);
	/* A bind that failed leaves the socket as it was. */
	OK(bind_to(second, VMSHM_CID_ANY, port_nr(1)));
}

static void bind_in_use_specific(void)
{
	int first = stream_socket(), second = stream_socket();

	OK(bind_to(first, VMSHM_CID_LOCAL, port_nr(0)));
	FAILS(bind_to(second, VMSHM_CID_ANY, port_nr(0)), EADDRINUSE);
	FAILS(bind_to(second, VMSHM_CID_LOCAL, port_nr(0)), EADDRINUSE);
}

static void bind_after_close(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = stream_socket();

		OK(bind_to(fd, VMSHM_CID_ANY, port_nr(0)));
		OK(listen(fd, 1));
		OK(close(fd));
	}
}

static void reuseaddr_changes_nothing(void)
{
	int first = stream_socket(), second = stream_socket(), on = 1;

	OK(setsockopt(first, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	OK(setsockopt(second, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	EQUAL(get_int(first, SOL_SOCKET, SO_REUSEADDR), 1);
	OK(bind_to(first, VMSHM_CID_ANY, port_nr(0)));
	FAILS(bind_to(second, VMSHM_CID_ANY, port_nr(0)), EADDRINUSE);
}

static void bind_twice(void)
{
	int fd = stream_socket();

	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(0)));
	FAILS(bind_to(fd, VMSHM_CID_ANY, port_nr(1)), EINVAL);
	EQUAL(sock_name(fd).svm_port, port_nr(0));
}

static void bind_privileged(void)
{
	int fd = stream_socket(), other = stream_socket();
	pid_t pid;

	/* Whatever else uses them: these two are nobody's. */
	OK(bind_to(fd, VMSHM_CID_ANY, 771));
	pid = OK(fork());
	if (!pid) {
		drop_privileges();
		FAILS(bind_to(other, VMSHM_CID_ANY, 772), EACCES);
		FAILS(bind_to(other, VMSHM_CID_ANY, VMSHM_LAST_RESERVED_PORT), EACCES);
		OK(bind_to(other, VMSHM_CID_ANY, VMSHM_LAST_RESERVED_PORT + 1));
		_exit(0);
	}
	wait_ok(pid);
}

static void name_unbound(void)
{
	struct sockaddr_vmshm a;
	socklen_t len = sizeof(a);
	int fd = stream_socket();

	a = sock_name(fd);
	EQUAL(a.svm_port, VMSHM_PORT_ANY);
	EQUAL(a.svm_cid, VMSHM_CID_ANY);
	FAILS(getpeername(fd, (struct sockaddr *)&a, &len), ENOTCONN);
}

static void name_listening(void)
{
	struct sockaddr_vmshm a;
	socklen_t len = sizeof(a);
	int fd = listener(0, 1);

	EQUAL(sock_name(fd).svm_port, port_nr(0));
	FAILS(getpeername(fd, (struct sockaddr *)&a, &len), ENOTCONN);
}

static void name_connected_client(void)
{
	struct sockaddr_vmshm own, peer;
	int fd;

	barrier("listening");
	fd = connected(0);
	own = sock_name(fd);
	peer = peer_name(fd);
	CHECK(own.svm_port > VMSHM_LAST_RESERVED_PORT && own.svm_port != VMSHM_PORT_ANY);
	EQUAL(peer.svm_cid, ctx.peer);
	EQUAL(peer.svm_port, port_nr(0));
	tell("client port", own.svm_port);
	barrier("done");
}

static void name_connected_server(void)
{
	struct sockaddr_vmshm a, peer;
	socklen_t len = sizeof(a);
	int fd, listen_fd = listener(0, 1);

	barrier("listening");
	memset(&a, 0xff, sizeof(a));
	fd = OK(accept(listen_fd, (struct sockaddr *)&a, &len));
	checked(&a, len);
	peer = peer_name(fd);
	EQUAL(a.svm_port, ask("client port"));
	EQUAL(a.svm_cid, peer.svm_cid);
	EQUAL(a.svm_port, peer.svm_port);
	CHECK(peer.svm_cid != VMSHM_CID_ANY);
	EQUAL(sock_name(fd).svm_port, port_nr(0));
	barrier("done");
}

/* The accepted side can call back to where its peer's address says it is. */
static void name_is_usable_client(void)
{
	int listen_fd = listener(1, 1), fd;

	barrier("listening");
	fd = connected(0);
	EQUAL(fd < 0, false);
	close(accept_one(listen_fd));
	barrier("done");
}

static void name_is_usable_server(void)
{
	int listen_fd = listener(0, 1), fd, back;

	barrier("listening");
	fd = accept_one(listen_fd);
	back = stream_socket();
	OK(connect_to(back, peer_name(fd).svm_cid, port_nr(1)));
	barrier("done");
}

static void bound_connects_client(void)
{
	int fd = stream_socket();

	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(3)));
	barrier("listening");
	OK(connect_to(fd, ctx.peer, port_nr(0)));
	EQUAL(sock_name(fd).svm_port, port_nr(3));
	barrier("done");
}

static void bound_connects_server(void)
{
	int listen_fd = listener(0, 1);

	barrier("listening");
	EQUAL(peer_name(accept_one(listen_fd)).svm_port, port_nr(3));
	barrier("done");
}

static void after_shutdown_client(void)
{
	struct sockaddr_vmshm a;
	socklen_t len = sizeof(a);
	int fd = pair();

	OK(shutdown(fd, SHUT_WR));
	FAILS(getpeername(fd, (struct sockaddr *)&a, &len), ENOTCONN);
	CHECK(sock_name(fd).svm_port != VMSHM_PORT_ANY);
	barrier("done");
}

static void after_shutdown_server(void)
{
	int fd = pair();

	expect_eof(fd);
	EQUAL(peer_name(fd).svm_family, ctx.family);
	barrier("done");
}

static void short_buffer(void)
{
	union {
		struct sockaddr_vmshm a;
		unsigned char bytes[sizeof(struct sockaddr_vmshm)];
	} u;
	socklen_t len = 4;
	int fd = stream_socket();

	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(0)));
	memset(&u, 0xee, sizeof(u));
	OK(getsockname(fd, (struct sockaddr *)&u.a, &len));
	EQUAL(len, sizeof(u.a));
	EQUAL(u.a.svm_family, ctx.family);
	EQUAL(u.bytes[4], 0xee);
	len = -1;
	FAILS(getsockname(fd, (struct sockaddr *)&u.a, &len), EINVAL);
	len = sizeof(u.a);
	FAILS(getsockname(fd, (struct sockaddr *)8, &len), EFAULT);
}

static const struct test_case cases[] = {
	{ "bind_explicit", "a socket gets the port that bind names", bind_explicit },
	{ "bind_auto", "port ANY gives each socket an unprivileged port of its own", bind_auto },
	{ "bind_local_cid", "a socket can be bound to CID LOCAL", bind_local_cid },
	{ "bind_own_cid", "a socket can be bound to the VM's own CID", bind_own_cid },
	{ "bind_foreign_cid", "bind to a CID that is not this VM's: EADDRNOTAVAIL",
	  bind_foreign_cid },
	{ "bind_in_use", "a bound port is EADDRINUSE for another socket", bind_in_use },
	{ "bind_in_use_specific", "a port bound to one CID is in use for ANY as well",
	  bind_in_use_specific },
	{ "bind_after_close", "close frees the port at once", bind_after_close },
	{ "reuseaddr", "SO_REUSEADDR is accepted and changes nothing", reuseaddr_changes_nothing },
	{ "bind_twice", "a second bind: EINVAL, and the first one holds", bind_twice },
	{ "bind_privileged", "ports below 1024 want CAP_NET_BIND_SERVICE: EACCES",
	  bind_privileged, .flags = ROOT_ONLY },
	{ "unbound", "names of a new socket: ANY, ENOTCONN", name_unbound },
	{ "listening", "names of a listening socket", name_listening },
	{ "connected", "names of both ends of a connection agree",
	  name_connected_client, name_connected_server },
	{ "usable", "the accepted side can connect to the CID that its peer's name says",
	  name_is_usable_client, name_is_usable_server },
	{ "bound_connects", "a bound socket connects from its port",
	  bound_connects_client, bound_connects_server },
	{ "after_shutdown", "shutdown takes away the peer's name on this side: ENOTCONN",
	  after_shutdown_client, after_shutdown_server },
	{ "short_buffer", "a short buffer gets the first bytes and the whole length",
	  short_buffer },
};

SUBJECT(names);
