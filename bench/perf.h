/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmshm_perf: what its parts share.
 *
 * A test is one control connection, over which the client says as one line of
 * JSON what will be done and the server as another what it saw, and the data
 * connections, all to one port.
 */
#ifndef VMSHM_PERF_H
#define VMSHM_PERF_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <linux/vmshm.h>
#include <pthread.h>

#define DEFAULT_PORT	5201
#define MAX_STREAMS	256
#define MAX_LEN		(64U << 20)
#define MAX_OUTSTANDING	256
#define MAX_FLIGHT	(32U << 10)	/* bytes that fit into any socket's buffers */
#define NO_BUSY_POLL	(-2)	/* busy-poll is left as it is */

enum family { VMSHM, VSOCK, TCP, UNIX };
enum kind { STREAM, RR, CRR, TRANSFER };

struct options {
	enum family family;
	const char *host;	/* client: CID, host name or "local" */
	bool server;
	bool one_off;		/* server: ends after one test */
	bool json;
	bool verbose;
	bool seqpacket;		/* records instead of a stream of bytes */
	unsigned int port;
	unsigned int outstanding;	/* client: requests at a time */
	double rate;		/* client: requests a second, 0 is one after the other */
	double interval;	/* seconds between reports, 0 is none */
	const char *in_path;	/* client: file to send */
	const char *out_path;	/* server: where a file goes */
};

/* What is done: the client's line. */
struct test {
	enum kind kind;
	size_t len;		/* bytes of a message */
	unsigned int streams;
	bool reverse;		/* the server sends */
	double seconds;		/* how long, or */
	uint64_t bytes;		/* how much in all, or */
	uint64_t blocks;	/* how many messages; the last two are 0 if not given */
	uint64_t buffer;	/* bytes of a socket's buffer, 0 is the default */
	int busy_poll;
};

/*
 * Counts of whatever unit, kept to one part in 64 from 0 to 2^63. The record of
 * a value costs a few instructions.
 */
struct histogram {
	uint64_t bucket[60 * 64];
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t min;
};

struct stream {
	const struct test *test;
	pthread_t thread;
	int fd;
	unsigned int nr;
	bool sender;
	uint64_t share;		/* bytes to send, UINT64_MAX is until stop */
	uint64_t bytes;		/* sent or received */
	uint64_t messages;
	double begin, end;	/* seconds, by clock() */
	struct histogram *rtt;	/* in ticks */
	char error[200];	/* not empty: what went wrong */
};

/* What one side saw. */
struct side {
	bool sent;
	uint64_t bytes;
	uint64_t messages;
	double seconds;
	double cpu_user, cpu_system;
	bool has_info;
	struct vmshm_info info;	/* the streams' sum */
	char sha256[65];
	char error[200];
};

extern struct options opt;
extern volatile bool stop;

/* main.c */
void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...);
double seconds_now(void);
/* A clock that costs next to nothing, in its own unit. */
static inline uint64_t ticks(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
#endif
}

/* net.c: sockets of each family. Below 0 is an error, in errno. */
int net_listen(void);
int net_connect(const struct test *test);
int net_accept(int fd, const struct test *test);
/* A listener's connections get their buffers from it. */
int net_prepare(int fd, const struct test *test);
bool net_info(int fd, struct vmshm_info *sum);	/* adds to it */
void net_limit(int fd, int seconds);		/* for receiving; 0 is none */
const char *net_name(char buf[80]);		/* of where the client connects to */
extern const char *const family_names[];

/* control.c: lines of JSON. Each is false or NULL with *error set. */
bool control_send(int fd, json_t *object, char error[200]);
json_t *control_receive(int fd, char error[200]);
json_t *test_pack(const struct test *test);
bool test_unpack(json_t *object, struct test *test, char error[200]);
json_t *side_pack(const struct side *side);
bool side_unpack(json_t *object, struct side *side, char error[200]);
extern const char *const kind_names[];

/*
 * One side of a test on its connections. The client's connect and the server
 * accepts. What fails is said in side->error.
 */
void stream_run(const struct test *test, int listen_fd, struct side *side);
void rr_run(const struct test *test, int listen_fd, struct side *side,
	    struct histogram *ns);
void crr_client(const struct test *test, struct side *side, struct histogram *ns);
void crr_server(const struct test *test, int listen_fd, int control, struct side *side);
void file_send(const struct test *test, const char *path, struct side *side);
void file_receive(const struct test *test, int listen_fd, const char *path,
		  struct side *side);

/* stream.c: for those above. */
bool open_streams(const struct test *test, int listen_fd, struct stream *streams,
		  struct side *side);
void close_streams(const struct test *test, struct stream *streams, struct side *side);
ssize_t receive_full(int fd, void *buf, size_t len);	/* short at the end */
void *message_buffer(size_t len);
void free_message_buffer(void *buf, size_t len);
void wait_for_end(const struct test *test, struct stream *streams);

/* rr_load.c: a client's stream of requests. Times are in ticks; of a rate, in ns. */
void outstanding_client(struct stream *s, char *buf);
void open_loop_client(struct stream *s, char *buf);

/* histogram.c */
void histogram_add(struct histogram *h, uint64_t value);
/* The values that those of from are when multiplied; adds to h. */
void histogram_merge(struct histogram *h, const struct histogram *from, double factor);
/* The smallest value that so many parts of all (0 to 1) don't exceed. */
uint64_t histogram_quantile(const struct histogram *h, double part);

/* report.c */
void report_start(const struct test *test);
void report_interval(const struct test *test, const struct stream *streams, double from,
		     double to, uint64_t bytes, uint64_t messages);
void report_end(const struct test *test, const struct side *client,
		const struct side *server, const struct histogram *ns);
void format_bytes(char buf[32], double bytes);
void format_rate(char buf[32], double bytes_per_second);

#endif /* VMSHM_PERF_H */
