// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: SOCK_DGRAM, what a datagram is and where it goes: addresses, connect(),
 * limits, flags. Waiting, order and ends are in dgramwait.c.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "dgram.h"

/* Whom a datagram of the other side comes from. */
static unsigned int other_cid(void)
{
	unsigned int cid;

	tell("my cid", local_cid());
	cid = ask("my cid");
	return ctx.one_vm ? VMSHM_CID_LOCAL : cid;
}

static void address_client(void)
{
	int fd = dgram_on(0);
	unsigned int other = other_cid();
	struct sockaddr_vmshm from;
	socklen_t len = sizeof(from);
	char buf[100];

	barrier("bound");
	EQUAL(send_to(fd, 1, "ping", 4, 0), 4);
	memset(&from, 0x55, sizeof(from));
	EQUAL(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len), 4);
	EQUAL(memcmp(buf, "pong", 4), 0);
	EQUAL(len, sizeof(from));
	EQUAL(from.svm_family, AF_VMSHM);
	EQUAL(from.svm_cid, other);
	EQUAL(from.svm_port, port_nr(1));
	/* A socket that is not bound gets a port by sending. */
	fd = socket_of(SOCK_DGRAM);
	EQUAL(send_to(fd, 1, "who?", 4, 0), 4);
	len = sizeof(from);
	OK(getsockname(fd, (struct sockaddr *)&from, &len));
	CHECK(from.svm_port != VMSHM_PORT_ANY && from.svm_port > VMSHM_LAST_RESERVED_PORT);
	tell("port", from.svm_port);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 3);
	barrier("done");
}

static void address_server(void)
{
	int fd = dgram_on(1);
	unsigned int other = other_cid();
	struct sockaddr_vmshm from;
	socklen_t len = sizeof(from);
	char buf[100];

	barrier("bound");
	EQUAL(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len), 4);
	EQUAL(memcmp(buf, "ping", 4), 0);
	EQUAL(from.svm_cid, other);
	EQUAL(from.svm_port, port_nr(0));
	EQUAL(sendto(fd, "pong", 4, 0, (struct sockaddr *)&from, len), 4);
	EQUAL(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len), 4);
	EQUAL(from.svm_cid, other);
	EQUAL(from.svm_port, ask("port"));
	EQUAL(sendto(fd, "you", 3, 0, (struct sockaddr *)&from, len), 3);
	barrier("done");
}

static void ports(void)
{
	struct sockaddr_vmshm name;
	socklen_t len = sizeof(name);
	int fd = dgram_on(0), other = socket_of(SOCK_DGRAM), stream = stream_socket();

	FAILS(bind_to(other, VMSHM_CID_ANY, port_nr(0)), EADDRINUSE);
	FAILS(bind_to(other, VMSHM_CID_LOCAL, port_nr(0)), EADDRINUSE);
	FAILS(bind_to(fd, VMSHM_CID_ANY, port_nr(1)), EINVAL);
	/* Streams have ports of their own. */
	OK(bind_to(stream, VMSHM_CID_ANY, port_nr(0)));
	OK(listen(stream, 1));
	close(fd);
	OK(bind_to(other, VMSHM_CID_LOCAL, port_nr(0)));
	OK(getsockname(other, (struct sockaddr *)&name, &len));
	EQUAL(name.svm_cid, VMSHM_CID_LOCAL);
	EQUAL(name.svm_port, port_nr(0));
	FAILS(getpeername(other, (struct sockaddr *)&name, &len), ENOTCONN);
}

static void errors(void)
{
	struct sockaddr_vmshm to = address(9999, port_nr(0));
	int fd = socket_of(SOCK_DGRAM);
	char c;

	EQUAL(get_int(fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
	FAILS(listen(fd, 1), EOPNOTSUPP);
	FAILS(accept(fd, NULL, NULL), EOPNOTSUPP);
	/* As AF_VSOCK: no address, no peer. */
	FAILS(send(fd, &c, 1, 0), EINVAL);
	FAILS(sendto(fd, &c, 1, 0, (struct sockaddr *)&to, sizeof(to)), ENODEV);
	FAILS(connect(fd, (struct sockaddr *)&to, sizeof(to)), ENODEV);
	to.svm_cid = VMSHM_CID_HYPERVISOR;
	FAILS(sendto(fd, &c, 1, 0, (struct sockaddr *)&to, sizeof(to)), ENODEV);
	to = address(ctx.peer, VMSHM_PORT_ANY);
	FAILS(sendto(fd, &c, 1, 0, (struct sockaddr *)&to, sizeof(to)), EINVAL);
	FAILS(connect(fd, (struct sockaddr *)&to, sizeof(to)), EINVAL);
	to = address(ctx.peer, port_nr(0));
	FAILS(sendto(fd, &c, 1, 0, (struct sockaddr *)&to, sizeof(to) - 1), EINVAL);
	FAILS(sendto(fd, &c, 1, MSG_OOB, (struct sockaddr *)&to, sizeof(to)), EOPNOTSUPP);
	to.svm_family = AF_INET;
	FAILS(sendto(fd, &c, 1, 0, (struct sockaddr *)&to, sizeof(to)), EINVAL);
	FAILS(recv(fd, &c, 1, MSG_OOB), EOPNOTSUPP);
	FAILS(recv(fd, &c, 1, MSG_DONTWAIT), EAGAIN);
	FAILS(socket(ctx.family, SOCK_DGRAM, 1), EPROTONOSUPPORT);
}

static void nobody_client(void)
{
	int fd = socket_of(SOCK_DGRAM), i;
	struct sockaddr_vmshm to = address(ctx.peer, port_nr(0));

	/* A listener for streams takes no datagrams. */
	barrier("listening");
	for (i = 0; i < 20; i++)
		FAILS(send_to(fd, 0, "x", 1, 0), ECONNREFUSED);
	OK(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	FAILS(send(fd, "x", 1, 0), ECONNREFUSED);
	/* Without waiting, it may take a second call until that is known. */
	for (i = 0; i < 20; i++) {
		here(__FILE__, __LINE__, "send to nobody");
		while (send_to(fd, 0, "x", 1, MSG_DONTWAIT) == -1 && errno == EAGAIN)
			EQUAL(poll_one(fd, POLLOUT, 5000), POLLOUT);
		EQUAL(errno, ECONNREFUSED);
	}
	barrier("bind");
	barrier("bound");
	EQUAL(send(fd, "x", 1, 0), 1);
	barrier("done");
}

static void nobody_server(void)
{
	char c;
	int fd;

	listener(0, 1);
	barrier("listening");
	barrier("bind");
	fd = dgram_on(0);
	barrier("bound");
	EQUAL(recv(fd, &c, 1, 0), 1);
	barrier("done");
}

static void connect_client(void)
{
	int fd = dgram_on(0), stranger = dgram_on(2);
	struct sockaddr_vmshm to = address(ctx.peer, port_nr(1)), name;
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	socklen_t len = sizeof(name);
	char buf[10];

	barrier("bound");
	OK(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	OK(getpeername(fd, (struct sockaddr *)&name, &len));
	EQUAL(name.svm_cid, ctx.peer);
	EQUAL(name.svm_port, port_nr(1));
	EQUAL(send(fd, "one", 3, 0), 3);
	EQUAL(write(fd, "two2", 4), 4);
	/* An address goes before the peer. */
	EQUAL(send_to(fd, 3, "three", 5, 0), 5);
	EQUAL(send_to(stranger, 1, "stray", 5, 0), 5);
	barrier("sent");
	/* Only what the peer sends is taken: port 3 was first. */
	barrier("answered");
	EQUAL(recv(fd, buf, sizeof(buf), 0), 4);
	EQUAL(memcmp(buf, "peer", 4), 0);
	expect_nothing(fd);
	EQUAL(poll_one(fd, POLLIN, 0), 0);
	barrier("checked");
	barrier("more");
	OK(connect(fd, &none, sizeof(none)));
	FAILS(getpeername(fd, (struct sockaddr *)&name, &len), ENOTCONN);
	FAILS(send(fd, "x", 1, 0), EINVAL);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 6);
	barrier("done");
}

static void answer(int fd, const struct sockaddr_vmshm *to, const char *text)
{
	EQUAL(sendto(fd, text, strlen(text), 0, (const struct sockaddr *)to, sizeof(*to)),
	      strlen(text));
}

static void connect_server(void)
{
	int fd = dgram_on(1), other = dgram_on(3);
	struct sockaddr_vmshm to;
	socklen_t len = sizeof(to);
	char buf[10];

	barrier("bound");
	barrier("sent");
	EQUAL(recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&to, &len), 3);
	EQUAL(to.svm_port, port_nr(0));
	EQUAL(recv(fd, buf, sizeof(buf), 0), 4);
	EQUAL(recv(fd, buf, sizeof(buf), 0), 5);
	EQUAL(memcmp(buf, "stray", 5), 0);
	EQUAL(recv(other, buf, sizeof(buf), 0), 5);
	answer(other, &to, "not the peer");
	answer(fd, &to, "peer");
	answer(other, &to, "not the peer");
	barrier("answered");
	barrier("checked");
	answer(other, &to, "anyone");
	barrier("more");
	barrier("done");
}

static void flags_client(void)
{
	int fd = socket_of(SOCK_DGRAM);
	struct sockaddr_vmshm to = address(ctx.peer, port_nr(0));
	struct iovec v[] = { { "he", 2 }, { "llo", 3 } };
	struct msghdr m = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = v,
			    .msg_iovlen = 2 };
	struct mmsghdr mm[] = { { .msg_hdr = m }, { .msg_hdr = m }, { .msg_hdr = m } };

	barrier("bound");
	EQUAL(sendmsg(fd, &m, 0), 5);
	EQUAL(send_to(fd, 0, "", 0, 0), 0);
	EQUAL(send_to(fd, 0, "0123456789", 10, 0), 10);
	EQUAL(sendmmsg(fd, mm, 3, 0), 3);
	EQUAL(mm[2].msg_len, 5);
	barrier("sent");
	barrier("done");
}

static void flags_server(void)
{
	char buf[3][100];
	struct iovec v[] = { { buf[0], 4 }, { buf[1], 100 }, { buf[2], 100 } };
	struct sockaddr_vmshm from[2];
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 1 };
	struct mmsghdr mm[] = {
		{ .msg_hdr = { .msg_iov = &v[1], .msg_iovlen = 1, .msg_name = &from[0],
			       .msg_namelen = sizeof(from[0]) } },
		{ .msg_hdr = { .msg_iov = &v[2], .msg_iovlen = 1, .msg_name = &from[1],
			       .msg_namelen = sizeof(from[1]) } },
	};
	int fd = dgram_on(0), n = -1;

	barrier("bound");
	barrier("sent");
	OK(ioctl(fd, FIONREAD, &n));
	EQUAL(n, 5);
	EQUAL(recvmsg(fd, &m, MSG_PEEK), 4);
	EQUAL(m.msg_flags, MSG_TRUNC);
	EQUAL(recvmsg(fd, &m, MSG_PEEK | MSG_TRUNC), 5);
	EQUAL(recvmsg(fd, &m, 0), 4);
	EQUAL(m.msg_flags, MSG_TRUNC);
	EQUAL(memcmp(buf[0], "hell", 4), 0);
	/* A datagram of no bytes is one. */
	EQUAL(poll_one(fd, POLLIN, 0), POLLIN);
	EQUAL(recvmsg(fd, &m, 0), 0);
	EQUAL(m.msg_flags, 0);
	EQUAL(recv(fd, buf[0], 3, MSG_TRUNC), 10);
	EQUAL(recvmmsg(fd, mm, 2, 0, NULL), 2);
	EQUAL(mm[1].msg_len, 5);
	EQUAL(memcmp(buf[2], "hello", 5), 0);
	EQUAL(from[0].svm_port, from[1].svm_port);
	EQUAL(recv(fd, buf[0], 100, 0), 5);
	FAILS(recv(fd, buf[0], 100, MSG_DONTWAIT), EAGAIN);
	barrier("done");
}

/* Buffers of the receivers, and the longest datagram that follows. */
static const struct {
	unsigned int buffer, longest;
} limits[] = { { 4096, 65536 }, { 65536, 65536 }, { 0, 262144 }, { 1 << 20, 1 << 20 } };

static void limit_client(void)
{
	static char buf[(1 << 20) + 1];
	int fd = socket_of(SOCK_DGRAM);

	barrier("bound");
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		pattern_fill(buf, 0, sizeof(buf), i);
		FAILS(send_to(fd, i, buf, limits[i].longest + 1, 0), EMSGSIZE);
		EQUAL(send_to(fd, i, buf, limits[i].longest, 0), limits[i].longest);
		EQUAL(send_to(fd, i, buf, limits[i].longest, 0), limits[i].longest);
	}
	barrier("done");
}

static void limit_server(void)
{
	static char buf[1 << 20];
	int fd[ARRAY_SIZE(limits)];

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		fd[i] = socket_of(SOCK_DGRAM);
		if (limits[i].buffer)
			set_buffer(fd[i], limits[i].buffer);
		OK(bind_to(fd[i], VMSHM_CID_ANY, port_nr(i)));
	}
	barrier("bound");
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		for (int k = 0; k < 2; k++) {
			EQUAL(recv(fd[i], buf, sizeof(buf), 0), limits[i].longest);
			pattern_check(buf, 0, limits[i].longest, i);
		}
	}
	barrier("done");
}

static void fault_client(void)
{
	char *mem = pages(2);
	int fd = socket_of(SOCK_DGRAM);

	OK(mprotect(mem + page_size(), page_size(), PROT_NONE));
	barrier("bound");
	FAILS(send_to(fd, 0, mem, page_size() + 1, 0), EFAULT);
	EQUAL(send_to(fd, 0, mem, 1000, 0), 1000);
	EQUAL(send_to(fd, 0, mem, 2000, 0), 2000);
	barrier("done");
}

static void fault_server(void)
{
	char *mem = pages(2), *bad = mem + page_size();
	int fd = dgram_on(0);

	OK(mprotect(bad, page_size(), PROT_NONE));
	barrier("bound");
	FAILS(recv(fd, bad - 500, 1000, MSG_PEEK), EFAULT);
	FAILS(recv(fd, bad - 500, 1000, 0), EFAULT);
	EQUAL(recv(fd, mem, page_size(), 0), 2000);
	expect_nothing(fd);
	barrier("done");
}

static const struct test_case cases[] = {
	{ "address", "the sender's address comes with the datagram and can be answered",
	  address_client, address_server, .flags = VMSHM_ONLY },
	{ "ports", "bind: EADDRINUSE; streams have other ports; names", ports,
	  .flags = VMSHM_ONLY },
	{ "errors", "what is no call for datagrams, and no address", errors, .flags = VMSHM_ONLY },
	{ "nobody", "nobody is bound: ECONNREFUSED, with and without waiting",
	  nobody_client, nobody_server, .flags = VMSHM_ONLY },
	{ "connect", "connect fixes whom one sends to and hears from",
	  connect_client, connect_server, .flags = VMSHM_ONLY },
	{ "flags", "sendmsg, sendmmsg, recvmmsg, MSG_TRUNC, MSG_PEEK, no bytes, FIONREAD",
	  flags_client, flags_server, .flags = VMSHM_ONLY },
	{ "limit", "64 KiB always, the receiver's buffer if that is more; EMSGSIZE above",
	  limit_client, limit_server, .flags = VMSHM_ONLY },
	{ "fault", "a fault sends nothing, or drops that datagram and no more",
	  fault_client, fault_server, .flags = VMSHM_ONLY },
};

SUBJECT(dgram);
