// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes sockets, says in one line of JSON what is true of them by their own
 * calls (not by what lists sockets, which is what the suites compare it with),
 * and keeps them until it is killed.  A call that fails is said by the name
 * of its errno instead, with exit status 3.
 *
 *	holder [-vqd] set			a stream of each state, connected to itself
 *	holder [-vqd] records			records and datagrams, some of them queued
 *	holder [-vqd] bind PORT			bound
 *	holder [-vqd] listen PORT		listening, backlog 7, nothing is accepted
 *	holder [-vqd] accept PORT		listening, then in a network namespace of its
 *						own connected to itself
 *	holder [-vqd] connect CID PORT BYTES	connected, so many bytes sent
 *	holder [-vqd] connecting CID PORT	on the way, for a minute
 *	holder [-vqd] socket COUNT		that many, unconnected
 *
 * -v: the same with AF_VSOCK, where only the words matter. -q, -d: sockets are
 * SOCK_SEQPACKET or SOCK_DGRAM.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/sockios.h>
#include <linux/vmshm.h>

#define BACKLOG		7
#define FIRST_PORT	6100

static int family = AF_VMSHM, type = SOCK_STREAM;
static json_t *sockets;

static void __attribute__((noreturn)) fail(const char *what)
{
	const char *name = strerrorname_np(errno);

	printf("%s\n", name ? name : "?");
	fprintf(stderr, "holder: %s: %s\n", what, strerror(errno));
	exit(3);
}

static int must(int result, const char *what)
{
	if (result < 0)
		fail(what);
	return result;
}

static int new_socket(void)
{
	return must(socket(family, type | SOCK_CLOEXEC, 0), "socket");
}

static struct sockaddr_vmshm address(unsigned int cid, unsigned int port)
{
	return (struct sockaddr_vmshm) {
		.svm_family = family, .svm_cid = cid, .svm_port = port,
	};
}

static void bind_to(int fd, unsigned int cid, unsigned int port)
{
	struct sockaddr_vmshm a = address(cid, port);

	must(bind(fd, (struct sockaddr *)&a, sizeof(a)), "bind");
}

static int listen_on(unsigned int port)
{
	int fd = new_socket();

	bind_to(fd, VMSHM_CID_ANY, port);
	must(listen(fd, BACKLOG), "listen");
	return fd;
}

static int connect_to(unsigned int cid, unsigned int port)
{
	struct sockaddr_vmshm a = address(cid, port);
	int fd = new_socket();

	must(connect(fd, (struct sockaddr *)&a, sizeof(a)), "connect");
	return fd;
}

static json_t *name_of(int fd, int (*name)(int fd, struct sockaddr *a, socklen_t *len))
{
	struct sockaddr_vmshm a;
	socklen_t len = sizeof(a);

	if (name(fd, (struct sockaddr *)&a, &len))
		a = address(VMSHM_CID_ANY, VMSHM_PORT_ANY);
	return json_pack("{so, so}", "cid",
			 a.svm_cid == VMSHM_CID_ANY ? json_null() : json_integer(a.svm_cid), "port",
			 a.svm_port == VMSHM_PORT_ANY ? json_null() : json_integer(a.svm_port));
}

static json_int_t buffer_option(int fd, int option)
{
	uint64_t bytes = 0;
	socklen_t len = sizeof(bytes);

	must(getsockopt(fd, family, option, &bytes, &len), "getsockopt");
	return bytes;
}

static const char *type_name(int fd)
{
	int is = 0;
	socklen_t len = sizeof(is);

	must(getsockopt(fd, SOL_SOCKET, SO_TYPE, &is, &len), "SO_TYPE");
	return is == SOCK_STREAM ? "STREAM" : is == SOCK_SEQPACKET ? "SEQPACKET" : "DGRAM";
}

/*
 * What the owner of a socket knows of it, under the names that the tool uses.
 * @in: bytes to read, where no call tells them; -1: one does.
 */
static void note_with(int fd, const char *state, int in)
{
	struct vmshm_info info;
	socklen_t len = sizeof(info);
	uint64_t number = 0;
	int out = 0;
	char cookie[20];
	struct stat st;
	json_t *one;

	must(fstat(fd, &st), "fstat");
	if (!strcmp(state, "LISTEN")) {
		out = BACKLOG;
		in = 0;
	} else {
		if (in < 0)
			must(ioctl(fd, SIOCINQ, &in), "SIOCINQ");
		/* Of datagrams there is none to tell. */
		ioctl(fd, SIOCOUTQ, &out);
	}
	must(getsockopt(fd, family, SO_VMSHM_INFO, &info, &len), "SO_VMSHM_INFO");
	len = sizeof(number);
	must(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &number, &len), "SO_COOKIE");
	snprintf(cookie, sizeof(cookie), "%llx", (unsigned long long)number);
	one = json_pack("{ss, ss, sI, si, sI, ss, si, si, so}", "type", type_name(fd),
			"state", state, "inode", (json_int_t)st.st_ino, "fd", fd,
			"uid", (json_int_t)geteuid(), "cookie", cookie,
			"rx_queue", in, "tx_queue", out,
			"local", name_of(fd, getsockname));
	/* One that was shut down, or is not there yet, has a peer that getpeername() keeps. */
	if (strcmp(state, "CLOSING") && strcmp(state, "CONNECTING"))
		json_object_set_new(one, "peer", name_of(fd, getpeername));
	json_object_set_new(one, "info",
			    json_pack("{sI, sI, sI, sI, sI, sI}",
				      "rx_ring", (json_int_t)info.rx_ring,
				      "tx_ring", (json_int_t)info.tx_ring,
				      "rx_bytes", (json_int_t)info.rx_bytes,
				      "tx_bytes", (json_int_t)info.tx_bytes,
				      "rx_msgs", (json_int_t)info.rx_msgs,
				      "tx_msgs", (json_int_t)info.tx_msgs));
	json_object_set_new(one, "buffer",
			    json_pack("{sI, sI, sI}",
				      "size", buffer_option(fd, SO_VMSHM_BUFFER_SIZE),
				      "min", buffer_option(fd, SO_VMSHM_BUFFER_MIN_SIZE),
				      "max", buffer_option(fd, SO_VMSHM_BUFFER_MAX_SIZE)));
	json_array_append_new(sockets, one);
}

static void note(int fd, const char *state)
{
	note_with(fd, state, -1);
}

/* A stream in each state. */
static void make_set(void)
{
	unsigned long long bytes = 10000;
	int idle = new_socket(), bound = new_socket(), listening, client, server, half[2], reset[2];
	char buf[1000] = "";

	bind_to(bound, VMSHM_CID_LOCAL, FIRST_PORT);
	must(setsockopt(bound, family, SO_VMSHM_BUFFER_SIZE, &bytes, sizeof(bytes)), "setsockopt");
	listening = listen_on(FIRST_PORT + 1);
	client = connect_to(VMSHM_CID_LOCAL, FIRST_PORT + 1);
	server = must(accept(listening, NULL, NULL), "accept");
	must(send(client, buf, sizeof(buf), 0), "send");
	must(send(server, buf, 77, 0), "send");
	must(recv(server, buf, 300, 0), "recv");
	half[0] = connect_to(VMSHM_CID_LOCAL, FIRST_PORT + 1);
	half[1] = must(accept(listening, NULL, NULL), "accept");
	must(shutdown(half[0], SHUT_WR), "shutdown");
	must(recv(half[1], buf, 1, 0), "recv");
	reset[0] = connect_to(VMSHM_CID_LOCAL, FIRST_PORT + 1);
	reset[1] = must(accept(listening, NULL, NULL), "accept");
	must(send(reset[0], buf, 1, 0), "send");
	close(reset[1]);
	if (recv(reset[0], buf, 1, 0) >= 0)
		fail("recv: no reset");
	note(idle, "UNCONNECTED");
	note(bound, "UNCONNECTED");
	note(listening, "LISTEN");
	note(client, "CONNECTED");
	note(server, "CONNECTED");
	note(half[0], "CLOSING");
	note(half[1], "CLOSING");
	note(reset[0], "RESET");
}

/* In a ring a record takes 8 bytes more, and is rounded up to a multiple of 8. */
static void make_records(void)
{
	struct sockaddr_vmshm a = address(VMSHM_CID_LOCAL, FIRST_PORT + 3);
	int listening, client, server, to, from;
	char buf[1000] = "";

	type = SOCK_SEQPACKET;
	listening = listen_on(FIRST_PORT + 2);
	client = connect_to(VMSHM_CID_LOCAL, FIRST_PORT + 2);
	server = must(accept(listening, NULL, NULL), "accept");
	must(send(client, buf, 1000, 0), "send");
	must(send(client, buf, 7, 0), "send");
	must(send(client, buf, 500, MSG_EOR), "send");
	must(send(server, buf, 77, 0), "send");
	must(recv(server, buf, 1000, 0), "recv");
	type = SOCK_DGRAM;
	to = new_socket();
	bind_to(to, VMSHM_CID_LOCAL, FIRST_PORT + 3);
	from = new_socket();
	must(connect(from, (struct sockaddr *)&a, sizeof(a)), "connect");
	must(send(from, buf, 100, 0), "send");
	must(send(from, buf, 200, 0), "send");
	must(send(from, buf, 1, 0), "send");
	must(recv(to, buf, 100, 0), "recv");
	note(listening, "LISTEN");
	note_with(client, "CONNECTED", 8 + 80);
	note_with(server, "CONNECTED", 8 + 8 + 8 + 504);
	note_with(to, "UNCONNECTED", 8 + 200 + 8 + 8);
	note_with(from, "CONNECTED", 0);
}

/* The listener stays where it was made, and so does what it accepts. */
static void make_accepted(unsigned int port)
{
	int listening = listen_on(port);

	must(unshare(CLONE_NEWNET), "unshare");
	connect_to(VMSHM_CID_LOCAL, port);
	must(accept(listening, NULL, NULL), "accept");
}

/* To a VM that does not answer. */
static void make_connecting(unsigned int cid, unsigned int port)
{
	struct sockaddr_vmshm a = address(cid, port);
	struct timeval limit = { 60, 0 };
	int fd = new_socket();

	must(setsockopt(fd, family, SO_VMSHM_CONNECT_TIMEOUT, &limit, sizeof(limit)), "setsockopt");
	must(fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)))
		errno = EISCONN;
	if (errno != EINPROGRESS)
		fail("connect");
	note_with(fd, "CONNECTING", 0);
}

static void make_many(unsigned int count)
{
	struct rlimit limit = { count + 64, count + 64 };

	must(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
	while (count--)
		new_socket();
}

static void make_connection(unsigned int cid, unsigned int port, size_t bytes)
{
	int fd = connect_to(cid, port);
	char buf[4096] = "";

	while (bytes)
		bytes -= must(send(fd, buf, bytes < sizeof(buf) ? bytes : sizeof(buf), 0), "send");
	if (family == AF_VMSHM)
		note(fd, "CONNECTED");
}

int main(int argc, char **argv)
{
	const char *command;
	unsigned int n[3] = { 0 };
	json_t *all;

	for (; argc > 1 && argv[1][0] == '-'; argc--, argv++) {
		if (!strcmp(argv[1], "-v"))
			family = AF_VSOCK;
		else if (!strcmp(argv[1], "-q"))
			type = SOCK_SEQPACKET;
		else if (!strcmp(argv[1], "-d"))
			type = SOCK_DGRAM;
		else
			break;
	}
	command = argc > 1 ? argv[1] : "";
	for (int i = 0; i < 3 && i + 2 < argc; i++)
		n[i] = strtoul(argv[i + 2], NULL, 10);
	sockets = json_array();
	if (!strcmp(command, "set"))
		make_set();
	else if (!strcmp(command, "records"))
		make_records();
	else if (!strcmp(command, "bind"))
		bind_to(new_socket(), VMSHM_CID_ANY, n[0]);
	else if (!strcmp(command, "listen"))
		listen_on(n[0]);
	else if (!strcmp(command, "accept"))
		make_accepted(n[0]);
	else if (!strcmp(command, "connecting"))
		make_connecting(n[0], n[1]);
	else if (!strcmp(command, "connect"))
		make_connection(n[0], n[1], n[2]);
	else if (!strcmp(command, "socket"))
		make_many(n[0]);
	else
		return fputs("usage: see the top of holder.c\n", stderr), 64;
	all = json_pack("{si, so}", "pid", getpid(), "sockets", sockets);
	json_dumpf(all, stdout, JSON_COMPACT);
	printf("\n");
	fflush(stdout);
	for (;;)
		pause();
}
