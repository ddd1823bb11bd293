// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cases: buffers whose pages are missing, forbidden or late. Whatever a call
 * says it moved is what the stream has.
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "vmshm_test.h"

/* Not mapped; where it points is the compiler's business least of all. */
static void *volatile bad = (void *)8;
#define BAD	bad

/* A page to use, with a page behind it that nobody may touch. */
static char *last_page(void)
{
	char *p = pages(2);

	OK(mprotect(p + page_size(), page_size(), PROT_NONE));
	return p;
}

static void recv_bad_client(void)
{
	int fd = pair();

	send_all(fd, "0123456789", 10);
	barrier("sent");
	barrier("done");
}

static void recv_bad_server(void)
{
	int fd = pair();
	char buf[10];

	barrier("sent");
	wait_readable(fd, 10);
	FAILS(recv(fd, BAD, 10, 0), EFAULT);
	FAILS(read(fd, BAD, 10), EFAULT);
	FAILS(recv(fd, BAD, 10, MSG_PEEK), EFAULT);
	/* Nothing is lost. */
	recv_all(fd, buf, 10);
	EQUAL(memcmp(buf, "0123456789", 10), 0);
	barrier("done");
}

static void send_bad_client(void)
{
	int fd = pair();

	FAILS(send(fd, BAD, 10, MSG_NOSIGNAL), EFAULT);
	FAILS(write(fd, BAD, 10), EFAULT);
	FAILS(sendmsg(fd, BAD, 0), EFAULT);
	FAILS(send(fd, BAD, 1 << 20, MSG_NOSIGNAL), EFAULT);
	send_all(fd, "clean", 5);
	barrier("done");
}

static void send_bad_server(void)
{
	int fd = pair();
	char buf[5];

	recv_all(fd, buf, 5);
	EQUAL(memcmp(buf, "clean", 5), 0);
	expect_nothing(fd);
	barrier("done");
}

/* The first page is good, the second is not; from each offset to the border. */
static const int before[] = { 1, 7, 64, 100, 1000, 4000 };

static void send_border_client(void)
{
	char *p = last_page() + page_size();
	uint64_t at = 0;
	int fd = pair();
	ssize_t n;

	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		pattern_fill(p - before[i], at, before[i], 1);
		here(__FILE__, __LINE__, "send over the border");
		n = send(fd, p - before[i], before[i] + 100, MSG_NOSIGNAL);
		if (n == -1) {
			EQUAL(errno, EFAULT);
			n = 0;
		}
		if (n > before[i])
			FAIL("%zd bytes sent of %d that could be read", n, before[i]);
		at += n;
	}
	tell("sent", at);
	barrier("done");
}

static void send_border_server(void)
{
	int fd = pair();
	uint64_t n = ask("sent");

	drain_pattern(fd, 1, 0, n);
	expect_nothing(fd);
	barrier("done");
}

static void recv_border_client(void)
{
	static char buf[20000];
	int fd = pair();

	pattern_fill(buf, 0, sizeof(buf), 2);
	send_all(fd, buf, sizeof(buf));
	barrier("done");
}

static void recv_border_server(void)
{
	char *p = last_page() + page_size();
	uint64_t at = 0;
	int fd = pair();
	ssize_t n;

	wait_readable(fd, 20000);
	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		here(__FILE__, __LINE__, "recv over the border");
		n = recv(fd, p - before[i], before[i] + 100, 0);
		if (n == -1) {
			EQUAL(errno, EFAULT);
			n = 0;
		}
		if (n > before[i])
			FAIL("%zd bytes received into %d", n, before[i]);
		pattern_check(p - before[i], at, n, 2);
		at += n;
	}
	drain_pattern(fd, 2, at, 20000 - at);
	expect_nothing(fd);
	barrier("done");
}

/* Good pieces around a bad one: what follows the bad one never goes. */
static void iov_hole_client(void)
{
	char a[100], b[100];
	struct iovec v[] = { { a, 100 }, { BAD, 100 }, { b, 100 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 3 };
	int fd = pair();
	ssize_t n;

	pattern_fill(a, 0, 100, 3);
	memset(b, 0xff, 100);
	here(__FILE__, __LINE__, "sendmsg with a bad piece");
	n = sendmsg(fd, &m, MSG_NOSIGNAL);
	if (n == -1) {
		EQUAL(errno, EFAULT);
		n = 0;
	}
	CHECK(n <= 100);
	pattern_fill(a, n, 100, 3);
	send_all(fd, a, 100);
	tell("sent", n + 100);
	barrier("done");
}

static void iov_hole_server(void)
{
	int fd = pair();
	uint64_t n = ask("sent");

	drain_pattern(fd, 3, 0, n);
	expect_nothing(fd);
	barrier("done");
}

static void iov_hole_recv_client(void)
{
	char buf[300];
	int fd = pair();

	pattern_fill(buf, 0, 300, 4);
	send_all(fd, buf, 300);
	barrier("done");
}

static void iov_hole_recv_server(void)
{
	char a[100] = "", b[100];
	struct iovec v[] = { { a, 100 }, { BAD, 100 }, { b, 100 } };
	int fd = pair();
	ssize_t n;

	wait_readable(fd, 300);
	here(__FILE__, __LINE__, "readv with a bad piece");
	n = readv(fd, v, 3);
	if (n == -1) {
		EQUAL(errno, EFAULT);
		n = 0;
	}
	CHECK(n <= 100);
	pattern_check(a, 0, n, 4);
	drain_pattern(fd, 4, n, 300 - n);
	expect_nothing(fd);
	barrier("done");
}

/* A page behind a file's end: SIGBUS for a program, EFAULT for a call. */
static void past_end_client(void)
{
	int file = OK(memfd_create("short", MFD_CLOEXEC)), fd;
	char *p;

	OK(ftruncate(file, page_size()));
	p = mmap(NULL, 2 * page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(p != MAP_FAILED);
	fd = pair();
	FAILS(send(fd, p + page_size(), 10, MSG_NOSIGNAL), EFAULT);
	EQUAL(send(fd, p, 10, 0), 10);
	barrier("sent");
	FAILS(recv(fd, p + page_size(), 5, 0), EFAULT);
	EQUAL(recv(fd, p, 5, MSG_WAITALL), 5);
	barrier("done");
}

static void past_end_server(void)
{
	int fd = pair();
	char buf[10];

	recv_all(fd, buf, 10);
	send_all(fd, "01234", 5);
	barrier("sent");
	barrier("done");
}

/* Received data must not go where the caller may only read. */
static void read_only_server(void)
{
	char *p = pages(1);
	int fd = pair();

	OK(mprotect(p, page_size(), PROT_READ));
	wait_readable(fd, 10);
	FAILS(recv(fd, p, 10, 0), EFAULT);
	/* A private page of a file is copied for the writer. */
	OK(mprotect(p, page_size(), PROT_READ | PROT_WRITE));
	recv_all(fd, p, 10);
	barrier("sent");
	barrier("done");
}

/* Fresh pages, each touched for the first time by the call. */
static void untouched_client(void)
{
	size_t len = 32 * page_size();
	char *out = pages(32), *in = pages(32);
	int fd = pair();

	/* All zero pages at first. */
	EQUAL(send(fd, out, len, 0), len);
	EQUAL(recv(fd, in, len, MSG_WAITALL), len);
	for (size_t i = 0; i < len; i++)
		if (in[i] != 'u')
			FAIL("byte %zu is wrong", i);
	barrier("done");
}

static void untouched_server(void)
{
	size_t len = 32 * page_size();
	char *in = pages(32);
	int fd = pair();

	EQUAL(recv(fd, in, len, MSG_WAITALL), len);
	for (size_t i = 0; i < len; i++)
		if (in[i])
			FAIL("byte %zu is wrong", i);
	memset(in, 'u', len);
	EQUAL(send(fd, in, len, 0), len);
	barrier("done");
}

/* Pages that a thread supplies late, through userfaultfd. */
#define LATE_PAGES	6

struct late {
	int uffd;
	char *area;
	pthread_t thread;
	uint64_t seed;		/* the pages' contents */
};

static void *supply(void *arg)
{
	struct late *l = arg;
	struct uffd_msg msg;
	static char page[65536];

	for (int i = 0; i < LATE_PAGES; i++) {
		if (read(l->uffd, &msg, sizeof(msg)) != sizeof(msg) ||
		    msg.event != UFFD_EVENT_PAGEFAULT)
			FAIL("userfaultfd: no fault");
		char *at = (char *)(msg.arg.pagefault.address & ~(page_size() - 1));
		struct uffdio_copy copy = {
			.dst = (unsigned long)at, .src = (unsigned long)page,
			.len = page_size(),
		};

		sleep_ms(60);
		pattern_fill(page, at - l->area, page_size(), l->seed);
		if (ioctl(l->uffd, UFFDIO_COPY, &copy) && errno != EEXIST)
			FAIL("UFFDIO_COPY: %s", error_name(errno));
	}
	return NULL;
}

static void late_pages(struct late *l, uint64_t seed)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	l->seed = seed;
	l->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (l->uffd < 0)
		skip("no userfaultfd: %s", error_name(errno));
	OK(ioctl(l->uffd, UFFDIO_API, &api));
	l->area = pages(LATE_PAGES);
	reg.range.start = (unsigned long)l->area;
	reg.range.len = LATE_PAGES * page_size();
	OK(ioctl(l->uffd, UFFDIO_REGISTER, &reg));
	EQUAL(pthread_create(&l->thread, NULL, supply, l), 0);
}

static void late_send_client(void)
{
	struct late l;
	int fd;

	late_pages(&l, 5);
	fd = pair();
	EQUAL(send(fd, l.area, LATE_PAGES * page_size(), 0), LATE_PAGES * page_size());
	EQUAL(pthread_join(l.thread, NULL), 0);
	barrier("done");
}

static void late_send_server(void)
{
	int fd = pair();

	drain_pattern(fd, 5, 0, LATE_PAGES * page_size());
	barrier("done");
}

static void late_recv_client(void)
{
	static char buf[LATE_PAGES * 4096];
	int fd = pair();

	pattern_fill(buf, 0, sizeof(buf), 6);
	send_all(fd, buf, sizeof(buf));
	barrier("done");
}

static void late_recv_server(void)
{
	struct late l;
	size_t len = LATE_PAGES * 4096;
	int fd;

	late_pages(&l, 99);
	fd = pair();
	EQUAL(recv(fd, l.area, len, MSG_WAITALL), len);
	pattern_check(l.area, 0, len, 6);
	barrier("done");
}

/* While one call waits for its page, other sockets go on. */
static void *other_socket(void *arg)
{
	int fd = *(int *)arg;
	char c;

	for (int i = 0; i < 100; i++) {
		send_all(fd, "o", 1);
		recv_all(fd, &c, 1);
	}
	return (void *)1;
}

static void late_others_client(void)
{
	struct late l;
	int fd, other;
	pthread_t t;
	void *done;
	double start;

	late_pages(&l, 5);
	fd = pair();
	other = pair_on(1);
	start = now();
	EQUAL(pthread_create(&t, NULL, other_socket, &other), 0);
	EQUAL(send(fd, l.area, LATE_PAGES * page_size(), 0), LATE_PAGES * page_size());
	CHECK(now() - start > LATE_PAGES * 0.05);
	EQUAL(pthread_join(t, &done), 0);
	barrier("done");
}

static void late_others_server(void)
{
	int fd = pair(), other = pair_on(1);
	char c;

	for (int i = 0; i < 100; i++) {
		recv_all(other, &c, 1);
		send_all(other, &c, 1);
	}
	drain_pattern(fd, 5, 0, LATE_PAGES * page_size());
	barrier("done");
}

static const struct test_case cases[] = {
	{ "recv_bad", "a bad pointer to recv: EFAULT, no data lost",
	  recv_bad_client, recv_bad_server,
	  .vsock_differs = "it says ENOMEM for a buffer that it can't write" },
	{ "send_bad", "a bad pointer to send: EFAULT, nothing sent",
	  send_bad_client, send_bad_server,
	  .vsock_differs = "it says ENOMEM for a buffer that it can't read" },
	{ "send_border", "the buffer's second page is forbidden: what is counted is sent",
	  send_border_client, send_border_server,
	  .vsock_differs = "it says ENOMEM for a buffer that it can't read" },
	{ "recv_border", "the buffer's second page is forbidden: what is counted is received",
	  recv_border_client, recv_border_server,
	  .vsock_differs = "it says ENOMEM for a buffer that it can't write" },
	{ "iov_hole", "a bad piece between good ones, sending", iov_hole_client, iov_hole_server,
	  .vsock_differs = "it says ENOMEM for a buffer that it can't read" },
	{ "iov_hole_recv", "a bad piece between good ones, receiving",
	  iov_hole_recv_client, iov_hole_recv_server,
	  .vsock_differs = "it says ENOMEM for a buffer that it can't write" },
	{ "past_end", "a mapping past its file's end: EFAULT", past_end_client, past_end_server,
	  .vsock_differs = "it says ENOMEM for a buffer that it can't read" },
	{ "read_only", "a page that may only be read: EFAULT, no data lost",
	  recv_bad_client, read_only_server,
	  .vsock_differs = "it says ENOMEM for a buffer that it can't write" },
	{ "untouched", "fresh pages are faulted in", untouched_client, untouched_server },
	{ "late_send", "pages that come late, sending: all sent, in one call",
	  late_send_client, late_send_server, .flags = ROOT_ONLY },
	{ "late_recv", "pages that come late, receiving", late_recv_client, late_recv_server,
	  .flags = ROOT_ONLY },
	{ "late_others", "other sockets go on while a call waits for its page",
	  late_others_client, late_others_server, .flags = ROOT_ONLY },
};

SUBJECT(memory);
