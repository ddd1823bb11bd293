// SPDX-License-Identifier: GPL-2.0-only
/*
 * The client's side of the ivshmem protocol, as QEMU does it: see harness.h.
 */
#include "harness.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int fake_connect(const struct vmshmd *d, const char *segment, const char *member)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	/* A full backlog makes connect() wait. */
	struct timeval limit = { .tv_sec = PATIENCE / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s/%s.sock", d->run, segment,
		 member);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

int fake_receive(int socket, int64_t *value, int *fd, unsigned int ms)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct pollfd ready = { .fd = socket, .events = POLLIN };
	struct iovec iov = { value, sizeof(*value) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	if (poll(&ready, 1, (int)ms) <= 0)
		return -1;
	n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return 0;
	need(n == sizeof(*value), "a message of %zd bytes", n);
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return 1;
}

unsigned int fake_messages(unsigned int members, unsigned int vectors)
{
	return 2 + (members - 1) * vectors + 1 + vectors;
}

static void take(struct fake *f, int64_t value, int fd)
{
	unsigned int n = f->messages++;
	struct fake_bell *bell;
	struct stat st;

	if (n < 2) {
		*(n ? &f->id : &f->version) = value;
		f->in_order &= fd < 0;
		return;
	}
	f->in_order &= fd >= 0;
	if (value == -1) {
		f->in_order &= f->memfd < 0 && !f->own.nr;
		f->memfd = fd;
		if (!fstat(fd, &st)) {
			f->size = (u64)st.st_size;
			f->map = mmap(NULL, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		}
		need(f->map && f->map != MAP_FAILED, "the memory cannot be mapped: %s",
		     strerror(errno));
		return;
	}
	/* Others before the memory, oneself after it. */
	f->in_order &= (value == f->id) == (f->memfd >= 0);
	bell = &f->own;
	if (value != f->id) {
		if (!f->nr_peers || f->peers[f->nr_peers - 1].id != value)
			f->nr_peers++;
		bell = &f->peers[f->nr_peers - 1];
	}
	bell->id = value;
	bell->fds[bell->nr++] = fd;
}

bool fake_join(struct fake *f, const struct vmshmd *d, const char *segment, const char *member,
	       unsigned int members, unsigned int vectors)
{
	int64_t value;
	int fd;

	memset(f, 0, sizeof(*f));
	f->memfd = -1;
	f->in_order = true;
	f->socket = fake_connect(d, segment, member);
	if (f->socket < 0)
		return false;
	while (f->messages < fake_messages(members, vectors)) {
		if (fake_receive(f->socket, &value, &fd, PATIENCE) != 1) {
			fake_leave(f);
			return false;
		}
		take(f, value, fd);
	}
	return true;
}

static void close_bell(struct fake_bell *bell)
{
	while (bell->nr)
		close(bell->fds[--bell->nr]);
}

void fake_leave(struct fake *f)
{
	if (f->map)
		munmap(f->map, f->size);
	f->map = NULL;
	while (f->nr_peers)
		close_bell(&f->peers[--f->nr_peers]);
	close_bell(&f->own);
	if (f->memfd >= 0)
		close(f->memfd);
	f->memfd = -1;
	if (f->socket >= 0)
		close(f->socket);
	f->socket = -1;
}

struct vmshm_header *fake_header(const struct fake *f)
{
	return (struct vmshm_header *)f->map;
}

struct vmshm_member *fake_member(const struct fake *f, unsigned int index)
{
	return (struct vmshm_member *)(f->map + fake_header(f)->member_off) + index;
}

struct vmshm_channel *fake_channel(const struct fake *f, unsigned int index)
{
	return (struct vmshm_channel *)(f->map + fake_header(f)->channel_off) + index;
}

u64 fake_blocks(const struct fake *f)
{
	struct stat st;

	return fstat(f->memfd, &st) ? 0 : (u64)st.st_blocks * 512;
}

bool bell_rings(int fd, unsigned int ms)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	u64 count;

	return poll(&ready, 1, (int)ms) == 1 && read(fd, &count, sizeof(count)) == sizeof(count);
}

bool is_zero(const u8 *at, u64 len)
{
	return !len || (!at[0] && !memcmp(at, at + 1, len - 1));
}
