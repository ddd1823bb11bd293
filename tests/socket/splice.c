// SPDX-License-Identifier: GPL-2.0-only
/* Cases: splice in both directions, sendfile, tee, vmsplice. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "vmshm_test.h"

#define TOTAL	(1 << 20)
#define SEED	9

static int pattern_file(void)
{
	static char buf[65536];
	int fd = OK(memfd_create("pattern", MFD_CLOEXEC));

	for (int at = 0; at < TOTAL; at += sizeof(buf)) {
		pattern_fill(buf, at, sizeof(buf), SEED);
		EQUAL(write(fd, buf, sizeof(buf)), sizeof(buf));
	}
	OK(lseek(fd, 0, SEEK_SET));
	return fd;
}

static void check_file(int fd)
{
	static char buf[65536];

	for (int at = 0; at < TOTAL; at += sizeof(buf)) {
		EQUAL(pread(fd, buf, sizeof(buf), at), sizeof(buf));
		pattern_check(buf, at, sizeof(buf), SEED);
	}
}

static void drain_server(void)
{
	int fd = pair();

	drain_pattern(fd, SEED, 0, TOTAL);
	expect_eof(fd);
}

static void pattern_sender_client(void)
{
	static char buf[65536];
	int fd = pair();

	for (int at = 0; at < TOTAL; at += sizeof(buf)) {
		pattern_fill(buf, at, sizeof(buf), SEED);
		send_all(fd, buf, sizeof(buf));
	}
}

static void sendfile_client(void)
{
	int fd = pair(), file = pattern_file();
	size_t left = TOTAL;
	ssize_t n;

	while (left) {
		n = OK(sendfile(fd, file, NULL, left));
		CHECK(n > 0);
		left -= n;
	}
}

static void sendfile_offset_client(void)
{
	int fd = pair(), file = pattern_file();
	off_t at = 0;

	while (at < TOTAL)
		CHECK(OK(sendfile(fd, file, &at, 100001)) > 0);
	EQUAL(at, TOTAL);
	EQUAL(lseek(file, 0, SEEK_CUR), 0);
}

static void splice_out_client(void)
{
	int fd = pair(), file = pattern_file(), p[2];
	size_t left = TOTAL, in;
	ssize_t n;

	OK(pipe(p));
	while (left) {
		in = OK(splice(file, NULL, p[1], NULL, left < 60000 ? left : 60000, 0));
		CHECK(in > 0);
		left -= in;
		while (in) {
			n = OK(splice(p[0], NULL, fd, NULL, in, SPLICE_F_MORE));
			CHECK(n > 0);
			in -= n;
		}
	}
}

static void splice_in_server(void)
{
	int fd = pair(), file = OK(memfd_create("received", MFD_CLOEXEC)), p[2];
	size_t total = 0, in;
	ssize_t n;

	OK(pipe(p));
	while ((in = OK(splice(fd, NULL, p[1], NULL, 60000, 0)))) {
		total += in;
		while (in) {
			n = OK(splice(p[0], NULL, file, NULL, in, 0));
			CHECK(n > 0);
			in -= n;
		}
	}
	EQUAL(total, TOTAL);
	check_file(file);
}

static void splice_nonblock_client(void)
{
	int fd = pair(), p[2];

	OK(pipe(p));
	/* The socket's own flag is what counts for the socket's side. */
	set_blocking(fd, false);
	FAILS(splice(fd, NULL, p[1], NULL, 100, SPLICE_F_NONBLOCK), EAGAIN);
	barrier("send");
	wait_readable(fd, 4);
	EQUAL(splice(fd, NULL, p[1], NULL, 100, SPLICE_F_NONBLOCK), 4);
	barrier("done");
}

static void splice_nonblock_server(void)
{
	int fd = pair();

	barrier("send");
	send_all(fd, "data", 4);
	barrier("done");
}

static void tee_client(void)
{
	static char buf[TOTAL];
	int fd = pair(), first[2], second[2];
	ssize_t n;

	OK(pipe(first));
	OK(pipe(second));
	pattern_fill(buf, 0, TOTAL, SEED);
	for (size_t at = 0; at < TOTAL; at += n) {
		n = OK(write(first[1], buf + at, 32768));
		EQUAL(tee(first[0], second[1], n, 0), n);
		/* One copy to the socket, one read here. */
		for (ssize_t done = 0; done < n;)
			done += OK(splice(second[0], NULL, fd, NULL, n - done, 0));
		EQUAL(read(first[0], buf + at, n), n);
	}
	pattern_check(buf, 0, TOTAL, SEED);
}

/* Pages given to the pipe and changed only after the socket took them. */
static void vmsplice_client(void)
{
	char *buf = pages(4);
	struct iovec v = { buf, 4 * page_size() };
	int fd = pair(), p[2];

	OK(pipe(p));
	for (size_t at = 0; at < TOTAL; at += v.iov_len) {
		pattern_fill(buf, at, v.iov_len, SEED);
		EQUAL(vmsplice(p[1], &v, 1, 0), v.iov_len);
		for (size_t done = 0; done < v.iov_len;)
			done += OK(splice(p[0], NULL, fd, NULL, v.iov_len - done, 0));
		memset(buf, 0, v.iov_len);
	}
}

static void relay_client(void)
{
	int fd = pair();

	send_all(fd, "through two pipes", 17);
	OK(shutdown(fd, SHUT_WR));
	drain_pattern(fd, SEED, 0, 1000);
	barrier("done");
}

/* From socket to socket without a copy to user space. */
static void relay_server(void)
{
	int fd = pair(), p[2];
	char buf[1000];

	OK(pipe(p));
	EQUAL(splice(fd, NULL, p[1], NULL, 17, 0), 17);
	EQUAL(read(p[0], buf, 17), 17);
	EQUAL(memcmp(buf, "through two pipes", 17), 0);
	/* The end of file is an end of file for splice. */
	EQUAL(splice(fd, NULL, p[1], NULL, 100, 0), 0);
	pattern_fill(buf, 0, 1000, SEED);
	EQUAL(write(p[1], buf, 1000), 1000);
	EQUAL(splice(p[0], NULL, fd, NULL, 1000, 0), 1000);
	barrier("done");
}

static const struct test_case cases[] = {
	{ "sendfile", "a file by sendfile", sendfile_client, drain_server },
	{ "sendfile_offset", "sendfile from an offset, in odd pieces",
	  sendfile_offset_client, drain_server },
	{ "out", "splice from a pipe to the socket", splice_out_client, drain_server },
	{ "in", "splice from the socket to a pipe and a file",
	  pattern_sender_client, splice_in_server },
	{ "nonblock", "splice from an empty non-blocking socket: EAGAIN",
	  splice_nonblock_client, splice_nonblock_server },
	{ "tee", "a pipe's data by tee to the socket and elsewhere", tee_client, drain_server },
	{ "vmsplice", "pages that are overwritten after splice returned",
	  vmsplice_client, drain_server },
	{ "relay", "splice sees the end of file, and sends back", relay_client, relay_server },
};

SUBJECT(splice);
