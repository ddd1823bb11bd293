// SPDX-License-Identifier: GPL-2.0-only
/* Cases: FIONREAD/SIOCINQ, SIOCOUTQ, the local CID, and the device node. */
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "vmshm_test.h"

static int inq(int fd)
{
	int n = -1;

	OK(ioctl(fd, FIONREAD, &n));
	return n;
}

static int outq(int fd)
{
	int n = -1;

	OK(ioctl(fd, SIOCOUTQ, &n));
	return n;
}

static void inq_client(void)
{
	char buf[1000] = "";
	int fd = pair();

	send_all(fd, buf, 1000);
	barrier("sent");
	send_all(fd, buf, 1);
	barrier("done");
}

static void inq_server(void)
{
	char buf[1000];
	int fd = pair();

	barrier("sent");
	wait_readable(fd, 1000);
	CHECK(inq(fd) >= 1000);
	recv_all(fd, buf, 400);
	CHECK(inq(fd) >= 600);
	barrier("done");
	wait_readable(fd, 601);
	EQUAL(inq(fd), 601);
	recv_all(fd, buf, 601);
	EQUAL(inq(fd), 0);
}

static void outq_client(void)
{
	char buf[1000] = "";
	int fd = pair();
	double end;

	EQUAL(outq(fd), 0);
	send_all(fd, buf, 1000);
	/* The peer reads nothing yet. */
	EQUAL(outq(fd), 1000);
	barrier("sent");
	barrier("read");
	for (end = now() + 3; outq(fd) && now() < end;)
		sleep_ms(1);
	EQUAL(outq(fd), 0);
	barrier("done");
}

static void outq_server(void)
{
	char buf[1000];
	int fd = pair();

	barrier("sent");
	recv_all(fd, buf, 1000);
	barrier("read");
	barrier("done");
}

/* What it sent waits in one ring with what others of its VM sent. */
static void outq_dgram(void)
{
	int n;

	FAILS(ioctl(socket_of(SOCK_DGRAM), SIOCOUTQ, &n), EOPNOTSUPP);
}

static void queues_elsewhere(void)
{
	int fd = listener(0, 1), n;

	here(__FILE__, __LINE__, "SIOCOUTQ of a listener");
	CHECK(ioctl(fd, SIOCOUTQ, &n) == -1 && (errno == EINVAL || errno == EOPNOTSUPP));
	here(__FILE__, __LINE__, "SIOCINQ of a listener");
	CHECK(ioctl(fd, SIOCINQ, &n) == -1 && (errno == EINVAL || errno == EOPNOTSUPP));
	FAILS(ioctl(stream_socket(), 0xdead, &n), ENOTTY);
}

static void socket_cid(void)
{
	unsigned int cid = 0;

	OK(ioctl(stream_socket(), IOCTL_VMSHM_GET_LOCAL_CID, &cid));
	EQUAL(cid, local_cid());
	FAILS(ioctl(stream_socket(), IOCTL_VMSHM_GET_LOCAL_CID, 8), EFAULT);
}

static void device(void)
{
	const char *path = ctx.family == AF_VSOCK ? "/dev/vsock" : "/dev/vmshm";
	unsigned int cid = local_cid();
	int fd = OK(open(path, O_RDWR | O_CLOEXEC));

	CHECK(cid != 0 && cid != VMSHM_CID_HOST);
	FAILS(ioctl(fd, IOCTL_VMSHM_GET_LOCAL_CID, 8), EFAULT);
	FAILS(ioctl(fd, 0xdead, &cid), ENOTTY);
}

static void device_for_all(void)
{
	const char *path = "/dev/vmshm";
	struct stat st;
	pid_t pid;

	OK(stat(path, &st));
	CHECK(S_ISCHR(st.st_mode));
	pid = OK(fork());
	if (!pid) {
		drop_privileges();
		local_cid();
		_exit(0);
	}
	wait_ok(pid);
}

static const struct test_case cases[] = {
	{ "inq", "FIONREAD: bytes that can be read", inq_client, inq_server,
	  .vsock_differs = "SIOCINQ came with 6.17" },
	{ "outq", "SIOCOUTQ: bytes that the peer has not read", outq_client, outq_server,
	  .vsock_differs = "it counts what its transport has not taken" },
	{ "outq_dgram", "SIOCOUTQ of a datagram socket: EOPNOTSUPP", outq_dgram,
	  .flags = VMSHM_ONLY },
	{ "queues_elsewhere", "neither on a listener; an unknown ioctl: ENOTTY",
	  queues_elsewhere, .vsock_differs = "SIOCINQ came with 6.17" },
	{ "socket_cid", "a socket knows the VM's CID", socket_cid,
	  .vsock_differs = "a socket has no such ioctl" },
	{ "device", "the device node tells the VM's CID", device },
	{ "device_for_all", "anybody may ask /dev/vmshm", device_for_all,
	  .flags = VMSHM_ONLY | ROOT_ONLY },
};

SUBJECT(ioctl);
