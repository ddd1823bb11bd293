// SPDX-License-Identifier: GPL-2.0-only
/*
 * A file over one connection. What is timed is the transfer; both sides take
 * the SHA-256 sum afterwards, of what is in the files, so that a slow sum does
 * not look like a slow socket.
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "perf.h"

static void failed(struct side *side, const char *what, const char *path)
{
	snprintf(side->error, sizeof(side->error), "%s %s: %s", what, path, strerror(errno));
}

static void to_hex(EVP_MD_CTX *sum, char hex[65])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len;

	if (!EVP_DigestFinal_ex(sum, digest, &len))
		die("libcrypto gives no SHA-256 sum");
	for (unsigned int i = 0; i < len; i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
}

static EVP_MD_CTX *new_sum(void)
{
	EVP_MD_CTX *sum = EVP_MD_CTX_new();

	if (!sum || !EVP_DigestInit_ex(sum, EVP_sha256(), NULL))
		die("libcrypto has no SHA-256");
	return sum;
}

static void sum_of_file(int fd, const char *path, char *buf, size_t len, struct side *side)
{
	EVP_MD_CTX *sum = new_sum();
	ssize_t n;

	if (lseek(fd, 0, SEEK_SET) < 0)
		failed(side, "rewind", path);
	while ((n = read(fd, buf, len)) > 0)
		EVP_DigestUpdate(sum, buf, n);
	if (n < 0)
		failed(side, "read", path);
	to_hex(sum, side->sha256);
	EVP_MD_CTX_free(sum);
}

static bool send_full(int fd, const char *buf, size_t len)
{
	ssize_t n;

	for (; len; len -= n, buf += n) {
		n = send(fd, buf, len, MSG_NOSIGNAL);
		if (n < 0)
			return false;
	}
	return true;
}

void file_send(const struct test *test, const char *path, struct side *side)
{
	char *buf = message_buffer(test->len), byte;
	int in = open(path, O_RDONLY | O_CLOEXEC), fd = -1;
	double start;
	ssize_t n;

	side->sent = true;
	if (in < 0) {
		failed(side, "open", path);
		goto out;
	}
	fd = net_connect(test);
	if (fd < 0) {
		failed(side, "connect to", opt.host);
		goto out;
	}
	start = seconds_now();
	while ((n = read(in, buf, test->len)) > 0) {
		if (!send_full(fd, buf, n)) {
			failed(side, "send", path);
			goto out;
		}
		side->bytes += n;
		side->messages++;
	}
	if (n < 0) {
		failed(side, "read", path);
		goto out;
	}
	shutdown(fd, SHUT_WR);
	/* The server's end says that it has everything. */
	if (recv(fd, &byte, 1, 0) < 0)
		failed(side, "wait for the end of", path);
	side->seconds = seconds_now() - start;
	side->has_info = net_info(fd, &side->info);
	sum_of_file(in, path, buf, test->len, side);
out:
	free_message_buffer(buf, test->len);
	if (in >= 0)
		close(in);
	if (fd >= 0)
		close(fd);
}

static bool write_full(int fd, const char *buf, size_t len)
{
	ssize_t n;

	for (; len; len -= n, buf += n) {
		n = write(fd, buf, len);
		if (n < 0)
			return false;
	}
	return true;
}

void file_receive(const struct test *test, int listen_fd, const char *path, struct side *side)
{
	struct stream stream = { 0 };
	char *buf = message_buffer(test->len);
	EVP_MD_CTX *sum = path ? NULL : new_sum();
	int out = -1;
	double start;
	ssize_t n;

	if (!open_streams(test, listen_fd, &stream, side))
		goto out;
	if (path) {
		out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		if (out < 0) {
			failed(side, "open", path);
			goto out;
		}
	}
	start = seconds_now();
	while ((n = recv(stream.fd, buf, test->len, 0)) > 0) {
		if (out < 0) {
			EVP_DigestUpdate(sum, buf, n);
		} else if (!write_full(out, buf, n)) {
			failed(side, "write", path);
			goto out;
		}
		side->bytes += n;
		side->messages++;
	}
	if (n < 0)
		failed(side, "receive", path ? path : "the file");
	side->seconds = seconds_now() - start;
	side->has_info = net_info(stream.fd, &side->info);
	shutdown(stream.fd, SHUT_WR);
	if (out >= 0)
		sum_of_file(out, path, buf, test->len, side);
	else
		to_hex(sum, side->sha256);
out:
	EVP_MD_CTX_free(sum);
	free_message_buffer(buf, test->len);
	if (stream.fd > 0)
		close(stream.fd);
	if (out >= 0)
		close(out);
}
