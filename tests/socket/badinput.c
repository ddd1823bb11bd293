// SPDX-License-Identifier: GPL-2.0-only
/* Cases: addresses and arguments that are wrong. */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "vmshm_test.h"

static void connect_length(void)
{
	struct sockaddr_vmshm a = address(ctx.peer, port_nr(0));
	int fd = stream_socket();

	for (socklen_t len = 0; len < sizeof(a); len++)
		FAILS(connect(fd, (struct sockaddr *)&a, len), EINVAL);
	FAILS(connect(fd, (struct sockaddr *)&a, -1), EINVAL);
	FAILS(connect(fd, (struct sockaddr *)&a, 1000), EINVAL);
	FAILS(connect(fd, (struct sockaddr *)8, sizeof(a)), EFAULT);
	/* None of them did anything to the socket. */
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), ECONNRESET);
}

static void bind_length(void)
{
	struct sockaddr_vmshm a = address(VMSHM_CID_ANY, port_nr(0));
	int fd = stream_socket();

	for (socklen_t len = 0; len < sizeof(a); len++)
		FAILS(bind(fd, (struct sockaddr *)&a, len), EINVAL);
	FAILS(bind(fd, (struct sockaddr *)&a, -1), EINVAL);
	FAILS(bind(fd, (struct sockaddr *)8, sizeof(a)), EFAULT);
	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(0)));
}

/* A longer address is fine, as long as its start is. */
static void long_address(void)
{
	struct sockaddr_storage s = { 0 };
	struct sockaddr_vmshm a = address(VMSHM_CID_ANY, port_nr(0));

	memset(&s, 0xff, sizeof(s));
	memcpy(&s, &a, sizeof(a));
	OK(bind(stream_socket(), (struct sockaddr *)&s, sizeof(s)));
}

static void wrong_family(void)
{
	static const int families[] = { AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, 46, 65535 };
	struct sockaddr_vmshm a;
	int fd = stream_socket();

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		a = address(ctx.peer, port_nr(0));
		a.svm_family = families[i];
		FAILS(connect(fd, (struct sockaddr *)&a, sizeof(a)), EINVAL);
		a.svm_cid = VMSHM_CID_ANY;
		FAILS(bind(fd, (struct sockaddr *)&a, sizeof(a)), EINVAL);
	}
}

static void flags_field(void)
{
	struct sockaddr_vmshm a = address(ctx.peer, port_nr(0));
	int fd = stream_socket();

	for (int flag = 2; flag < 256; flag *= 2) {
		a.svm_flags = flag;
		FAILS(connect(fd, (struct sockaddr *)&a, sizeof(a)), EINVAL);
		FAILS(bind(fd, (struct sockaddr *)&a, sizeof(a)), EINVAL);
	}
}

/* What is in reserved fields has no meaning, as with AF_VSOCK. */
static void reserved_fields(void)
{
	struct sockaddr_vmshm a = address(ctx.peer, port_nr(0));
	int fd = stream_socket();

	a.svm_reserved1 = 0xffff;
	memset(a.svm_zero, 0xff, sizeof(a.svm_zero));
	FAILS(connect(fd, (struct sockaddr *)&a, sizeof(a)), ECONNRESET);
	a.svm_cid = VMSHM_CID_ANY;
	OK(bind(stream_socket(), (struct sockaddr *)&a, sizeof(a)));
}

static void any_port(void)
{
	int fd = stream_socket();

	FAILS(connect_to(fd, ctx.peer, VMSHM_PORT_ANY), ECONNRESET);
}

/* Ports are 32 bits wide, all of them. */
static const unsigned int ports[] = { 1024, 65535, 65536, 1u << 31, 0xfffffffe };

static void wide_ports_client(void)
{
	char c;

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		int fd = stream_socket();

		barrier("listening");
		OK(connect_to(fd, ctx.peer, ports[i]));
		recv_all(fd, &c, 1);
		EQUAL(c, (char)i);
		/* Not by its lower half alone. */
		FAILS(connect_to(stream_socket(), ctx.peer, ports[i] ^ 0x50000), ECONNRESET);
		close(fd);
	}
}

static void wide_ports_server(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		int listen_fd = stream_socket(), fd;
		char c = i;

		OK(bind_to(listen_fd, VMSHM_CID_ANY, ports[i]));
		OK(listen(listen_fd, 1));
		barrier("listening");
		fd = accept_one(listen_fd);
		send_all(fd, &c, 1);
		expect_eof(fd);
		close(listen_fd);
	}
}

static void closed_descriptor(void)
{
	int fd = stream_socket();
	char c = 0;

	close(fd);
	FAILS(connect_to(fd, ctx.peer, port_nr(0)), EBADF);
	FAILS(listen(fd, 1), EBADF);
	FAILS(accept(fd, NULL, NULL), EBADF);
	FAILS(send(fd, &c, 1, 0), EBADF);
	FAILS(recv(fd, &c, 1, 0), EBADF);
	FAILS(shutdown(fd, SHUT_WR), EBADF);
}

static void accept_pointers_client(void)
{
	barrier("listening");
	connected(0);
	connected(0);
	barrier("done");
}

static void accept_pointers_server(void)
{
	struct sockaddr_vmshm a;
	socklen_t len = -1;
	int fd = listener(0, 2), err;

	barrier("listening");
	/* It may cost the connection, as elsewhere on Linux, and nothing more. */
	here(__FILE__, __LINE__, "accept with bad pointers");
	err = accept(fd, (struct sockaddr *)8, &len);
	CHECK(err == -1 && (errno == EINVAL || errno == EFAULT));
	len = sizeof(a);
	OK(accept(fd, (struct sockaddr *)&a, &len));
	EQUAL(len, sizeof(a));
	barrier("done");
}

static void random_calls_client(void)
{
	uint64_t random = 0x5eed1;
	char buf[256] = "";
	int fd = pair();
	int value;

	/* Anything goes, as long as it returns and the next case still works. */
	for (int i = 0; i < 2000; i++) {
		int a = random_below(&random, 1ull << 32), b = random_below(&random, 100);
		socklen_t len = random_below(&random, 64);

		here(__FILE__, __LINE__, "a random call");
		switch (random_below(&random, 7)) {
		case 0:
			setsockopt(fd, b % 2 ? ctx.family : AF_VSOCK, b, buf, len);
			break;
		case 1:
			getsockopt(fd, b % 2 ? ctx.family : AF_VSOCK, b, buf, &len);
			break;
		case 2:
			ioctl(fd, a, &value);
			break;
		case 3:
			recv(fd, buf, len, a | MSG_DONTWAIT);
			break;
		case 4:
			memset(buf, a, sizeof(struct sockaddr_vmshm));
			bind(fd, (struct sockaddr *)buf, len);
			break;
		case 5:
			memset(buf, a, sizeof(struct sockaddr_vmshm));
			connect(fd, (struct sockaddr *)buf, len);
			break;
		case 6:
			listen(fd, a);
			break;
		}
	}
	barrier("done");
}

static void idle_server(void)
{
	pair();
	barrier("done");
}

static const struct test_case cases[] = {
	{ "connect_length", "connect with an address of any wrong length", connect_length },
	{ "bind_length", "bind with an address of any wrong length", bind_length },
	{ "long_address", "a longer address is accepted", long_address },
	{ "family", "an address of another family: EINVAL", wrong_family },
	{ "flags_field", "svm_flags that don't exist: EINVAL", flags_field },
	{ "reserved_fields", "what is in reserved fields changes nothing", reserved_fields },
	{ "any_port", "port ANY is nobody's", any_port },
	{ "wide_ports", "ports of all 32 bits are told apart",
	  wide_ports_client, wide_ports_server },
	{ "closed", "a closed descriptor: EBADF", closed_descriptor },
	{ "accept_pointers", "accept with bad pointers leaves the listener whole",
	  accept_pointers_client, accept_pointers_server },
	{ "random", "2,000 random calls on a connection", random_calls_client, idle_server },
};

SUBJECT(badinput);
