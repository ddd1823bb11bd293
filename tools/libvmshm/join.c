// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ivshmem server's client, as QEMU is one. What comes, in this order: the
 * version of the protocol; the own ID; each other member's ID with an eventfd a
 * vector; -1 with the memory; the own ID with an eventfd a vector. A message is
 * eight bytes, with a descriptor or none.
 *
 * IDs and eventfds are the daemon's word, which no peer can forge; what is in the
 * memory is anybody's.
 */
#include "lib.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PROTOCOL_VERSION	0
#define MEMORY_MESSAGE		(-1)
#define ID_MAX			65535

static int fail(int err)
{
	errno = err;
	return -1;
}

static int reach(struct vmshm_host *h, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path)) {
		why("%s: a socket's path has at most %zu characters", path,
		    sizeof(address.sun_path) - 1);
		return fail(ENAMETOOLONG);
	}
	strcpy(address.sun_path, path);
	/* Not blocking: a backlog that is full is EAGAIN, and not waited for. */
	h->server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->server < 0 || connect(h->server, (struct sockaddr *)&address, sizeof(address))) {
		why("%s: %s; is vmshmd running, and may this user be that member?", path,
		    strerror(errno));
		return -1;
	}
	return 0;
}

/* A message. 1, 0 at the end of the stream, or -1 with errno. *@fd is -1 without one. */
static int receive(struct vmshm_host *h, int64_t *value, int *fd, u64 until)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct pollfd ready = { .fd = h->server, .events = POLLIN };
	size_t got = 0;

	*fd = -1;
	while (got < sizeof(*value)) {
		struct iovec iov = { (char *)value + got, sizeof(*value) - got };
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = &control, .msg_controllen = sizeof(control),
		};
		struct cmsghdr *c;
		ssize_t n = recvmsg(h->server, &msg, MSG_CMSG_CLOEXEC);

		if (n < 0 && errno == EAGAIN) {
			u64 now = now_ms();
			int ms = until == UINT64_MAX ? -1 : now >= until ? 0 : (int)(until - now);

			if (!ms)
				return fail(ETIMEDOUT);
			if (poll(&ready, 1, ms) < 0)
				return -1;
			continue;
		}
		if (n <= 0)
			return n && errno != ECONNRESET ? -1 : 0;
		c = CMSG_FIRSTHDR(&msg);
		if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			if (*fd >= 0)
				close(*fd);
			memcpy(fd, CMSG_DATA(c), sizeof(*fd));
		}
		got += (size_t)n;
	}
	return 1;
}

static int take_memory(struct vmshm_host *h, int fd)
{
	struct statfs fs;
	struct stat st;
	int seals;

	h->memfd = fd;
	if (fstat(fd, &st) || fstatfs(fd, &fs))
		return -1;
	h->size = (u64)st.st_size;
	if (h->size < VMSHM_SEGMENT_MIN || h->size > VMSHM_SEGMENT_MAX || h->size & (h->size - 1)) {
		why("the memory has %llu bytes, expected a power of two from 1 MiB to 64 GiB",
		    (unsigned long long)h->size);
		return fail(EPROTO);
	}
	/* A page that is taken away and can't be had again is the end of a process. */
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
		why("the shared memory is not sealed against shrinking: is this vmshmd's socket?");
		return fail(EPROTO);
	}
	if (fs.f_type == HUGETLBFS_MAGIC) {
		why("the segment is in huge pages, which a VM could take away under this process");
		return fail(EOPNOTSUPP);
	}
	h->mem = mmap(NULL, h->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (h->mem == MAP_FAILED) {
		h->mem = NULL;
		why("the shared memory can't be mapped: %s", strerror(errno));
		return -1;
	}
	/* A child that wrote there would be a second one of this member. */
	madvise(h->mem, h->size, MADV_DONTFORK);
	return 0;
}

static int take_bell(struct bells *b, int fd)
{
	if (fd < 0 || b->nr == VECTORS_MAX) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	b->fds[b->nr++] = fd;
	return 0;
}

static int take_peer(struct vmshm_host *h, int64_t id, int fd)
{
	struct bells *last = h->nr_peers ? &h->peers[h->nr_peers - 1] : NULL;

	if (!last || last->id != (u32)id) {
		if (h->nr_peers == VMSHM_MEMBERS_MAX - 1) {
			close(fd);
			return -1;
		}
		last = &h->peers[h->nr_peers++];
		last->id = (u32)id;
	}
	return take_bell(last, fd);
}

/* One message: 0, or -1 when it is none that may come here. */
static int take(struct vmshm_host *h, unsigned int n, int64_t value, int fd)
{
	if (n < 2) {
		if (fd >= 0)
			close(fd);
		if (fd >= 0 || value < 0 || value > ID_MAX)
			return -1;
		if (!n)
			return value == PROTOCOL_VERSION ? 0 : -1;
		h->id = (u32)value;
		h->own.id = h->id;
		return 0;
	}
	if (fd < 0)
		return -1;
	if (value == MEMORY_MESSAGE && h->memfd < 0)
		return take_memory(h, fd);
	if (value == h->id && h->memfd >= 0)
		return take_bell(&h->own, fd);
	if (value >= 0 && value <= ID_MAX && value != h->id && h->memfd < 0)
		return take_peer(h, value, fd);
	close(fd);
	return -1;
}

/* All members of a segment have the same number of vectors. */
static bool complete(const struct vmshm_host *h)
{
	return h->memfd >= 0 && h->nr_peers && h->own.nr == h->peers[0].nr;
}

int join(struct vmshm_host *h, const char *path, int timeout_ms)
{
	u64 until = timeout_ms < 0 ? UINT64_MAX : now_ms() + (u64)timeout_ms;
	int64_t value;
	int fd, got;

	h->peers = calloc(VMSHM_MEMBERS_MAX, sizeof(*h->peers));
	if (!h->peers || reach(h, path))
		return -1;
	for (unsigned int n = 0; !complete(h); n++) {
		got = receive(h, &value, &fd, until);
		if (got <= 0 && fd >= 0)
			close(fd);
		if (got < 0) {
			why("%s: no answer: %s", path, strerror(errno));
			return -1;
		}
		if (!got && !n) {
			why("%s: refused: another process is this member already", path);
			return fail(EBUSY);
		}
		if (!got) {
			why("%s: closed while the segment was received", path);
			return fail(EPROTO);
		}
		errno = 0;
		if (take(h, n, value, fd)) {
			if (!errno) {
				why("%s: message %u, %lld, is none of vmshmd's", path, n,
				    (long long)value);
				errno = EPROTO;
			}
			return -1;
		}
	}
	return 0;
}
