// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sockets for vmshm_perf: the families differ here and nowhere else; all data
 * goes through the same system calls.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "perf.h"

const char *const family_names[] = { "vmshm", "vsock", "tcp", "unix", NULL };

union any_address {
	struct sockaddr sa;
	struct sockaddr_vmshm vm;
	struct sockaddr_storage storage;
	struct sockaddr_un un;
};

static int vm_family(void)
{
	return opt.family == VMSHM ? AF_VMSHM : AF_VSOCK;
}

static bool is_vm(void)
{
	return opt.family == VMSHM || opt.family == VSOCK;
}

static socklen_t tcp_address(union any_address *a, int flags)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };
	struct addrinfo *list;
	char port[12];
	socklen_t len;
	int err;

	if (flags & AI_PASSIVE)
		hints.ai_family = AF_INET;
	snprintf(port, sizeof(port), "%u", opt.port);
	err = getaddrinfo(opt.host, port, &hints, &list);
	if (err)
		die("-c %s: %s", opt.host, gai_strerror(err));
	len = list->ai_addrlen;
	memcpy(a, list->ai_addr, len);
	freeaddrinfo(list);
	return len;
}

static unsigned int cid_of(const char *text)
{
	unsigned long cid;
	char *end;

	errno = 0;
	cid = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || cid > UINT32_MAX)
		die("-c %s: expected a CID (1 is this VM itself), or name another --family", text);
	return cid;
}

/* Where the client connects to, or the server listens. */
static socklen_t address(union any_address *a)
{
	memset(a, 0, sizeof(*a));
	if (is_vm()) {
		a->vm.svm_family = vm_family();
		a->vm.svm_port = opt.port;
		a->vm.svm_cid = opt.server ? VMSHM_CID_ANY : cid_of(opt.host);
		return sizeof(a->vm);
	}
	if (opt.family == UNIX) {
		if (opt.host && strcmp(opt.host, "local"))
			die("-c %s: --family unix stays in this machine: -c local", opt.host);
		a->un.sun_family = AF_UNIX;
		/* An abstract name: it goes when the server does. */
		return offsetof(struct sockaddr_un, sun_path) +
			sprintf(a->un.sun_path + 1, "vmshm_perf-%u", opt.port) + 1;
	}
	return tcp_address(a, opt.server ? AI_PASSIVE : 0);
}

const char *net_name(char buf[80])
{
	if (is_vm())
		snprintf(buf, 80, "CID %s port %u", opt.host, opt.port);
	else
		snprintf(buf, 80, "%s port %u", opt.host, opt.port);
	return buf;
}

static int set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

static int set_buffer(int fd, uint64_t bytes)
{
	if (!bytes)
		return 0;
	if (!is_vm())
		return set_int(fd, SOL_SOCKET, SO_SNDBUF, bytes) |
			set_int(fd, SOL_SOCKET, SO_RCVBUF, bytes);
	return setsockopt(fd, vm_family(), SO_VMSHM_BUFFER_MAX_SIZE, &bytes, sizeof(bytes)) |
		setsockopt(fd, vm_family(), SO_VMSHM_BUFFER_SIZE, &bytes, sizeof(bytes));
}

/* What a connection can only get for itself. */
static int set_options(int fd, const struct test *test)
{
	if (opt.family == TCP && (test->kind == RR || test->kind == CRR) &&
	    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1))
		return -1;
	if (opt.family == VMSHM && test->busy_poll != NO_BUSY_POLL &&
	    set_int(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, test->busy_poll))
		return -1;
	return 0;
}

static int new_socket(int family)
{
	int type = opt.seqpacket ? SOCK_SEQPACKET : SOCK_STREAM;
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	if (fd < 0 && is_vm() && (errno == EAFNOSUPPORT || errno == ESOCKTNOSUPPORT))
		die("this kernel has no %s sockets: load the module (modprobe %s)",
		    family_names[opt.family], opt.family == VMSHM ? "af_vmshm" : "vsock_loopback");
	return fd;
}

static int closed(int fd)
{
	int err = errno;

	close(fd);
	errno = err;
	return -1;
}

int net_listen(void)
{
	union any_address a;
	socklen_t len = address(&a);
	int fd = new_socket(a.sa.sa_family);

	if (fd < 0)
		return fd;
	if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) || bind(fd, &a.sa, len) ||
	    listen(fd, MAX_STREAMS))
		return closed(fd);
	return fd;
}

int net_prepare(int fd, const struct test *test)
{
	return set_buffer(fd, test->buffer);
}

int net_connect(const struct test *test)
{
	/* Looked up once: a name server's time is no connection's time. */
	static union any_address a;
	static socklen_t len;
	int fd;

	if (!len)
		len = address(&a);
	fd = new_socket(a.sa.sa_family);
	if (fd < 0)
		return fd;
	if ((test && (set_buffer(fd, test->buffer) || set_options(fd, test))) ||
	    connect(fd, &a.sa, len))
		return closed(fd);
	return fd;
}

int net_accept(int listen_fd, const struct test *test)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0 && test && set_options(fd, test))
		return closed(fd);
	return fd;
}

bool net_info(int fd, struct vmshm_info *sum)
{
	struct vmshm_info one = { 0 };
	socklen_t len = sizeof(one);

	if (opt.family != VMSHM || getsockopt(fd, AF_VMSHM, SO_VMSHM_INFO, &one, &len))
		return false;
	/* All members are u64: add them up one by one. */
	for (size_t i = 0; i < sizeof(one) / sizeof(__u64); i++)
		((__u64 *)sum)[i] += ((__u64 *)&one)[i];
	sum->rx_ring = one.rx_ring;
	sum->tx_ring = one.tx_ring;
	return true;
}

void net_limit(int fd, int seconds)
{
	struct timeval t = { .tv_sec = seconds };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}
