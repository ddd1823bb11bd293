// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: what <linux/vm_sockets.h> and vsock(7) define, where no other file has
 * it: the numbers themselves, special CIDs, the address's flag, 32-bit programs.
 * docs/VSOCK.md has the table.
 */
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <linux/time_types.h>

#include "vmshm_test.h"

#define SAME(ours, theirs) \
	_Static_assert((ours) == (theirs), #ours " has another value than " #theirs)
SAME(sizeof(struct sockaddr_vmshm), sizeof(struct sockaddr_vm));
SAME(sizeof(struct sockaddr_vmshm), sizeof(struct sockaddr));
SAME(offsetof(struct sockaddr_vmshm, svm_family), offsetof(struct sockaddr_vm, svm_family));
SAME(offsetof(struct sockaddr_vmshm, svm_reserved1), offsetof(struct sockaddr_vm, svm_reserved1));
SAME(offsetof(struct sockaddr_vmshm, svm_port), offsetof(struct sockaddr_vm, svm_port));
SAME(offsetof(struct sockaddr_vmshm, svm_cid), offsetof(struct sockaddr_vm, svm_cid));
SAME(offsetof(struct sockaddr_vmshm, svm_flags), offsetof(struct sockaddr_vm, svm_flags));
SAME(offsetof(struct sockaddr_vmshm, svm_zero), offsetof(struct sockaddr_vm, svm_zero));
SAME(VMSHM_CID_ANY, VMADDR_CID_ANY);
SAME(VMSHM_CID_HYPERVISOR, VMADDR_CID_HYPERVISOR);
SAME(VMSHM_CID_LOCAL, VMADDR_CID_LOCAL);
SAME(VMSHM_CID_HOST, VMADDR_CID_HOST);
SAME(VMSHM_PORT_ANY, VMADDR_PORT_ANY);
SAME(SO_VMSHM_BUFFER_SIZE, SO_VM_SOCKETS_BUFFER_SIZE);
SAME(SO_VMSHM_BUFFER_MIN_SIZE, SO_VM_SOCKETS_BUFFER_MIN_SIZE);
SAME(SO_VMSHM_BUFFER_MAX_SIZE, SO_VM_SOCKETS_BUFFER_MAX_SIZE);
SAME(SO_VMSHM_PEER_HOST_VM_ID, SO_VM_SOCKETS_PEER_HOST_VM_ID);
SAME(SO_VMSHM_TRUSTED, SO_VM_SOCKETS_TRUSTED);
SAME(SO_VMSHM_CONNECT_TIMEOUT_OLD, SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD);
SAME(SO_VMSHM_CONNECT_TIMEOUT, SO_VM_SOCKETS_CONNECT_TIMEOUT);
SAME(SO_VMSHM_NONBLOCK_TXRX, SO_VM_SOCKETS_NONBLOCK_TXRX);
SAME(SO_VMSHM_CONNECT_TIMEOUT_NEW, SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW);
SAME(IOCTL_VMSHM_GET_LOCAL_CID, IOCTL_VM_SOCKETS_GET_LOCAL_CID);
/* Older headers have no names for these. */
SAME(SOL_VMSHM, 287);
SAME(VMSHM_RECVERR, 1);
#ifdef SOL_VSOCK
SAME(SOL_VMSHM, SOL_VSOCK);
SAME(VMSHM_RECVERR, VSOCK_RECVERR);
#endif

/* Nobody is at the hypervisor's and the host's CID, and nobody of here is. */
static void special_cids(void)
{
	FAILS(connect_to(stream_socket(), VMADDR_CID_HYPERVISOR, port_nr(0)), ENODEV);
	FAILS(connect_to(stream_socket(), VMADDR_CID_HOST, port_nr(0)), ENODEV);
	FAILS(bind_to(stream_socket(), VMADDR_CID_HYPERVISOR, port_nr(0)), EADDRNOTAVAIL);
	FAILS(bind_to(stream_socket(), VMADDR_CID_HOST, port_nr(0)), EADDRNOTAVAIL);
}

static void to_host(void)
{
	struct sockaddr_vmshm a = address(ctx.peer, port_nr(0));
	int fd = stream_socket();

	a.svm_flags = VMADDR_FLAG_TO_HOST;
	FAILS(connect(fd, (struct sockaddr *)&a, sizeof(a)), EINVAL);
	a.svm_cid = VMADDR_CID_ANY;
	FAILS(bind(fd, (struct sockaddr *)&a, sizeof(a)), EINVAL);
}

/* The program says AF_VSOCK's names, with nothing but the family changed. */
static void by_its_names_client_of(int type)
{
	struct sockaddr_vm a = { .svm_family = ctx.family, .svm_cid = ctx.peer };
	struct timeval t = { 3, 0 };
	unsigned int cid = 0;
	uint64_t size = 65536;
	char buf[5];
	int fd;

	fd = OK(open(ctx.family == AF_VSOCK ? "/dev/vsock" : "/dev/vmshm", O_RDONLY | O_CLOEXEC));
	OK(ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid));
	CHECK(cid != VMADDR_CID_ANY);
	fd = OK(socket(ctx.family, type, 0));
	OK(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size)));
	OK(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &t, sizeof(t)));
	barrier("listening");
	a.svm_port = port_nr(0);
	OK(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	recv_all(fd, buf, 5);
	EQUAL(memcmp(buf, "hello", 5), 0);
	barrier("done");
}

static void by_its_names_server_of(int type)
{
	struct sockaddr_vm a = { .svm_family = ctx.family, .svm_cid = VMADDR_CID_ANY };
	int fd = OK(socket(ctx.family, type, 0));

	a.svm_port = port_nr(0);
	OK(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	OK(listen(fd, 1));
	barrier("listening");
	send_all(accept_one(fd), "hello", 5);
	barrier("done");
}

static void by_its_names_client(void)
{
	by_its_names_client_of(SOCK_STREAM);
}

static void by_its_names_server(void)
{
	by_its_names_server_of(SOCK_STREAM);
}

static void records_by_its_names_client(void)
{
	by_its_names_client_of(SOCK_SEQPACKET);
}

static void records_by_its_names_server(void)
{
	by_its_names_server_of(SOCK_SEQPACKET);
}

/* From one tick of the kernel's up; what would overflow is refused. */
static void timeout_limits(void)
{
	struct timeval t = { 365L * 86400, 0 }, got;
	socklen_t len = sizeof(got);
	int fd = stream_socket();

	OK(setsockopt(fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD, &t, sizeof(t)));
	OK(getsockopt(fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD, &got, &len));
	EQUAL(got.tv_sec, t.tv_sec);
	t.tv_sec = INT64_MAX / 100;
	FAILS(setsockopt(fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD, &t, sizeof(t)),
	      ERANGE);
	/* What failed changed nothing. */
	OK(getsockopt(fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD, &got, &len));
	EQUAL(got.tv_sec, 365L * 86400);
	/* A microsecond is not nothing. */
	t = (struct timeval) { 0, 1 };
	OK(setsockopt(fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD, &t, sizeof(t)));
	OK(getsockopt(fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD, &got, &len));
	CHECK(got.tv_sec == 0 && got.tv_usec > 0 && got.tv_usec <= 10000);
}

static void rcvlowat_limit(void)
{
	uint64_t size = 65536;
	int fd = stream_socket(), mark = 65536;

	OK(setsockopt(fd, ctx.family, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size)));
	OK(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)));
	EQUAL(get_int(fd, SOL_SOCKET, SO_RCVLOWAT), 65536);
	mark++;
	FAILS(setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark)), EINVAL);
	EQUAL(get_int(fd, SOL_SOCKET, SO_RCVLOWAT), 65536);
}

#ifdef __x86_64__
/* System calls as a 32-bit program makes them: numbers of i386, short pointers. */
enum { I386_IOCTL = 54, I386_GETSOCKOPT = 365, I386_SETSOCKOPT = 366 };

static sigjmp_buf no_int80;

static void on_fault(int sig)
{
	siglongjmp(no_int80, sig);
}

static long int80(long nr, long a, long b, long c, const void *d, const void *e)
{
	long result;

	asm volatile("int $0x80" : "=a" (result) :
		     "a" (nr), "b" (a), "c" (b), "d" (c), "S" (d), "D" (e) :
		     "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static void program_of_32_bits(void)
{
	struct { int32_t sec, usec; } *old;
	struct __kernel_sock_timeval *new;
	int fd = stream_socket(), dev;
	unsigned int *cid;
	uint64_t *size;
	int32_t *len;
	char *low;

	dev = OK(open(ctx.family == AF_VSOCK ? "/dev/vsock" : "/dev/vmshm", O_RDONLY | O_CLOEXEC));
	low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
		   -1, 0);
	CHECK(low != MAP_FAILED);
	old = (void *)low;
	new = (void *)(low + 64);
	size = (void *)(low + 128);
	len = (void *)(low + 192);
	cid = (void *)(low + 256);
	on_signal(SIGSEGV, on_fault, 0);
	if (sigsetjmp(no_int80, 1))
		skip("this kernel runs no 32-bit programs");

	old->sec = 5;
	old->usec = 500000;
	EQUAL(int80(I386_SETSOCKOPT, fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD, old,
		    (void *)8L), 0);
	*len = 16;
	EQUAL(int80(I386_GETSOCKOPT, fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW, new,
		    len), 0);
	EQUAL(*len, 16);
	EQUAL(new->tv_sec, 5);
	EQUAL(new->tv_usec, 500000);
	new->tv_sec = 1L << 32;
	new->tv_usec = 0;
	EQUAL(int80(I386_SETSOCKOPT, fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW, new,
		    (void *)16L), 0);
	new->tv_sec = 6;
	EQUAL(int80(I386_SETSOCKOPT, fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW, new,
		    (void *)16L), 0);
	memset(old, 0xff, 16);
	*len = 8;
	EQUAL(int80(I386_GETSOCKOPT, fd, ctx.family, SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD, old,
		    len), 0);
	EQUAL(*len, 8);
	EQUAL(old->sec, 6);
	EQUAL(old->usec, 0);
	*size = 50000;
	EQUAL(int80(I386_SETSOCKOPT, fd, ctx.family, SO_VM_SOCKETS_BUFFER_SIZE, size,
		    (void *)8L), 0);
	*size = 0;
	*len = 8;
	EQUAL(int80(I386_GETSOCKOPT, fd, ctx.family, SO_VM_SOCKETS_BUFFER_SIZE, size, len), 0);
	EQUAL(*size, 50000);
	EQUAL(int80(I386_IOCTL, dev, IOCTL_VM_SOCKETS_GET_LOCAL_CID, (long)cid, NULL, NULL), 0);
	EQUAL(*cid, local_cid());
}
#else
static void program_of_32_bits(void)
{
	skip("for x86 alone");
}
#endif

static const struct test_case cases[] = {
	{ "special_cids", "nobody is at CIDs 0 and 2: ENODEV, EADDRNOTAVAIL", special_cids,
	  .vsock_differs = "without a device the host's CID is the VM's own" },
	{ "to_host", "VMADDR_FLAG_TO_HOST means nothing: EINVAL", to_host, .flags = VMSHM_ONLY },
	{ "by_its_names", "a program of AF_VSOCK's with the family changed",
	  by_its_names_client, by_its_names_server },
	{ "records_by_its_names", "the same with records",
	  records_by_its_names_client, records_by_its_names_server },
	{ "timeout_limits", "connect timeouts of a microsecond and a year; ERANGE",
	  timeout_limits },
	{ "rcvlowat_limit", "SO_RCVLOWAT above the buffer's size: EINVAL", rcvlowat_limit },
	{ "32_bits", "options and ioctl of a 32-bit program", program_of_32_bits },
};

SUBJECT(vsock);
