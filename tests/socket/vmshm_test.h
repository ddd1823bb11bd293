/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a socket test case is and what it may use.
 *
 * A case has a client side and a server side. Each side of each case runs in a
 * process of its own, which the runner (runner.c) forks, limits in time and
 * ends; a side that fails ends at once and the other one soon after. A case
 * that is not needed on a side has no function there.
 *
 * Not here: the cases (a file for each subject) and how the two runners talk (control.c).
 */
#ifndef VMSHM_TEST_H
#define VMSHM_TEST_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vmshm.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PORTS_PER_CASE	16
#define DEFAULT_LIMIT	10	/* seconds for a case */

/* Where a case makes sense. */
#define ROOT_ONLY	0x1	/* wants privileges */
#define VMSHM_ONLY	0x2	/* about something that only AF_VMSHM has */
#define PAUSED_PEER	0x4	/* client alone; the peer's VM is paused */
#define STREAM_ONLY	0x8	/* of a subject that runs twice: not with records */

struct test_case {
	const char *name;
	const char *shows;		/* what is true when it passes */
	void (*client)(void);
	void (*server)(void);
	unsigned int limit;		/* seconds, 0 is DEFAULT_LIMIT */
	unsigned int flags;
	const char *vsock_differs;	/* why AF_VSOCK may fail it */
};

struct subject {
	const char *name;
	const struct test_case *cases;
	size_t count;
	int type;			/* of the cases' sockets, 0 is SOCK_STREAM */
};

#define SUBJECT(name_) \
	const struct subject name_##_subject = { \
		.name = #name_, \
		.cases = cases, \
		.count = ARRAY_SIZE(cases), \
	}

/* The same cases again, as NAME_records: the sockets are SOCK_SEQPACKET. */
#define SUBJECT_TWICE(name_) \
	SUBJECT(name_); \
	const struct subject name_##_records_subject = { \
		.name = #name_ "_records", \
		.cases = cases, \
		.count = ARRAY_SIZE(cases), \
		.type = SOCK_SEQPACKET, \
	}

enum verdict { PASSED, FAILED, SKIPPED };

/* Shared between a runner and the processes of a case. */
struct report {
	int verdict;
	char why[600];
	const char *file;
	const char *what;
	int line;
};

/* What a case may know about its run. */
struct context {
	int family;		/* AF_VMSHM or AF_VSOCK */
	unsigned int peer;	/* the CID to connect to */
	unsigned int port;	/* first of this case's PORTS_PER_CASE ports */
	int type;		/* of case_socket(), listener(), connected() and pair() */
	bool is_client;
	bool one_vm;		/* both sides in one VM */
	unsigned int patience;	/* factor of all time limits */
	int sync;		/* to the runner */
	struct report *report;
};

extern struct context ctx;

/* util.c: the end of a case. The first failure counts; none of these returns. */
void __attribute__((noreturn, format(printf, 3, 4)))
fail_at(const char *file, int line, const char *format, ...);
void __attribute__((noreturn, format(printf, 1, 2))) skip(const char *format, ...);
const char *error_name(int err);

static inline void here(const char *file, int line, const char *what)
{
	ctx.report->file = file;
	ctx.report->line = line;
	ctx.report->what = what;
}

#define FAIL(...)	fail_at(__FILE__, __LINE__, __VA_ARGS__)

/* The call succeeds; its value. */
#define OK(call) ({ \
	here(__FILE__, __LINE__, #call); \
	long _ret = (long)(call); \
	if (_ret == -1) \
		FAIL("%s: %s", #call, error_name(errno)); \
	_ret; })

/* The call returns -1 and errno is the given one. */
#define FAILS(call, error) ({ \
	here(__FILE__, __LINE__, #call); \
	errno = 0; \
	long _ret = (long)(call); \
	int _err = errno; \
	if (_ret != -1) \
		FAIL("%s: returned %ld, expected %s", #call, _ret, #error); \
	if (_err != (error)) \
		FAIL("%s: %s, expected %s", #call, error_name(_err), #error); \
	})

/* Two whole numbers are equal. */
#define EQUAL(expr, expected) ({ \
	here(__FILE__, __LINE__, #expr); \
	long long _a = (long long)(expr); \
	int _err = errno; \
	long long _b = (long long)(expected); \
	if (_a != _b) \
		FAIL("%s is %lld%s%s%s, expected %lld (%s)", #expr, _a, \
		     _a == -1 && _err ? " (" : "", \
		     _a == -1 && _err ? error_name(_err) : "", \
		     _a == -1 && _err ? ")" : "", _b, #expected); \
	})

#define CHECK(cond) ({ \
	here(__FILE__, __LINE__, #cond); \
	if (!(cond)) \
		FAIL("not true: %s", #cond); \
	})

/* Between the sides. A barrier returns when both sides reached it. */
void barrier(const char *name);
void tell(const char *name, unsigned long long value);
unsigned long long ask(const char *name);

/* net.c: addresses and connections. Each fails the case when it can't. */
struct sockaddr_vmshm address(unsigned int cid, unsigned int port);
unsigned int port_nr(unsigned int n);		/* this case's port n */
unsigned int local_cid(void);
int socket_of(int type);
int stream_socket(void);
int case_socket(void);			/* of the type that the case runs with */
int bind_to(int fd, unsigned int cid, unsigned int port);	/* as bind(2) */
int connect_to(int fd, unsigned int cid, unsigned int port);	/* as connect(2) */
int accept_one(int fd);
int listener(unsigned int n, int backlog);	/* on port_nr(n) */
int connected(unsigned int n);			/* to the peer's port_nr(n) */
/* A connection between the sides: each side calls it and gets its end. */
int pair(void);
int pair_on(unsigned int n);
int pair_with_buffer(unsigned long long bytes);	/* a stream */
int pair_of_records(unsigned int n, unsigned long long bytes);	/* SEQPACKET; 0: default */
void set_buffer(int fd, unsigned long long bytes);
void set_blocking(int fd, bool blocking);
void set_timeout(int fd, int option, int ms);
int get_int(int fd, int level, int option);

void send_all(int fd, const void *buf, size_t len);
void recv_all(int fd, void *buf, size_t len);
void expect_eof(int fd);
void expect_nothing(int fd);			/* EAGAIN at once */
size_t fill(int fd, uint64_t seed);		/* until EAGAIN; bytes of the pattern */
void drain_pattern(int fd, uint64_t seed, uint64_t from, size_t len);
/* Waits until that many bytes can be read (FIONREAD, or MSG_PEEK). */
void wait_readable(int fd, size_t len);
/* poll(2) of one descriptor: what it gave, 0 when the time is over. */
int poll_one(int fd, int events, int ms);

/* util.c: time, processes, memory, data. */
double now(void);
void sleep_ms(int ms);
/* What a sleep of that many ms may take when the machine is busy. */
void check_elapsed(double since, int ms);
void wait_ok(int pid);				/* the process exits with 0 */
void on_signal(int sig, void (*handler)(int), int flags);
void signal_me_in(int sig, int ms);		/* from another process */
void drop_privileges(void);
void *pages(size_t count);			/* readable and writable */
size_t page_size(void);
/*
 * The byte at each place of a stream follows from its place and a seed, so a
 * receiver can tell what is lost, doubled or moved, and where.
 */
void pattern_fill(void *buf, uint64_t from, size_t len, uint64_t seed);
void pattern_check(const void *buf, uint64_t from, size_t len, uint64_t seed);
uint64_t random_below(uint64_t *state, uint64_t below);

#endif /* VMSHM_TEST_H */
