/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the daemon tests share: TAP output, a vmshmd in a directory of its own
 * (daemon.c), and a fake QEMU that speaks the client's side of the ivshmem
 * protocol (fake.c). Not here: what is expected of the daemon.
 *
 * The environment variable VMSHMD names the daemon.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <limits.h>
#include <stdio.h>
#include <sys/types.h>
#include <vmshm/ring.h>

#define NR(array)	(sizeof(array) / sizeof((array)[0]))

/* How long anything may take, in milliseconds; nothing waits when all is well. */
#define PATIENCE	15000

/* ---- TAP (tap.c) ---- */

/* One test; returns @passed. */
bool ok(bool passed, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void skip(const char *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Without this nothing further makes sense: ends the program if not @condition. */
void need(bool condition, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints the plan; the exit status: 0 when all passed. */
int done(void);

/* Whether @condition comes true within PATIENCE. */
#define soon(condition) ({ \
	int soon_ms_ = 0; \
	while (!(condition) && soon_ms_++ < PATIENCE) \
		sleep_ms(1); \
	soon_ms_ <= PATIENCE; \
})

void sleep_ms(unsigned int ms);
u64 now_ms(void);

/* ---- the daemon (daemon.c) ---- */

struct vmshmd {
	pid_t pid;
	char dir[64];		/* a directory of this daemon's own */
	char run[80];		/* its runtime directory, below that */
	char conf[80];
	char log[80];
	unsigned int descriptors;	/* how many it may have, 0: as it comes */
	uid_t uid;		/* whose process, 0: ours, with all that it may */
	char program[80];	/* which, empty: the one that VMSHMD names */
	bool unit;		/* run by systemd, as UNIT */
	bool kept;		/* @pid is a keeper, with the daemon proper as its child */
};

/* The two lines of members and segments that most tests want. */
#define MEMBERS_AB "members = ( { name = \"a\"; cid = 3; }, { name = \"b\"; cid = 4; } );\n"
#define COUPLE_AB "{ name = \"a-b\"; members = [ \"a\", \"b\" ]; size = \"16M\"; }"

/* What a daemon is called that systemd runs; its unit says where its files are. */
#define UNIT "vmshmd.service"
#define UNIT_DIR "/run/vmshm-test"

/* Whether systemd is to run those that are prepared from now on. */
extern bool daemons_are_units;

/* A directory, without a daemon in it yet. */
void daemon_prepare(struct vmshmd *d);

/* Write the configuration: runtime_dir and then @body. */
void daemon_config(struct vmshmd *d, const char *body);

/* Run it (no waiting); daemon_start() does all three and waits until it is ready. */
void daemon_run(struct vmshmd *d, const char *const *more_args);
void daemon_start(struct vmshmd *d, const char *body);

/* The same with a keeper in front. */
void daemon_start_kept(struct vmshmd *d, const char *body);

/* Its exit status after a signal (0: none), -1 when it was killed; must be quick. */
int daemon_stop(struct vmshmd *d, int sig);

/* Reload with this body: whether the daemon took it. */
bool daemon_reload(struct vmshmd *d, const char *body);

/* Stop with SIGTERM, expect 0 and no report of a sanitizer; remove the directory. */
void daemon_end(struct vmshmd *d);

/* With @d->kept: the daemon proper, 0 between two of them. */
pid_t daemon_worker(const struct vmshmd *d);

/* The worker that comes after @before is ready. */
bool daemon_ready_again(const struct vmshmd *d, pid_t before);

/* How often the log has @text. */
unsigned int daemon_said(const struct vmshmd *d, const char *text);

/* How many descriptors it has open, and the number that the next one gets. */
unsigned int daemon_fds(const struct vmshmd *d);
unsigned int daemon_free_fd(const struct vmshmd *d);
unsigned long daemon_rss_kib(const struct vmshmd *d);
/* All of its threads' time so far, theirs and the kernel's for them. */
unsigned long daemon_cpu_ms(const struct vmshmd *d);

/* ---- fake QEMU (fake.c) ---- */

#define FAKE_MEMBERS	64
#define FAKE_VECTORS	64

struct fake_bell {
	int64_t id;
	unsigned int nr;
	int fds[FAKE_VECTORS];
};

struct fake {
	int socket;
	int64_t version;
	int64_t id;
	unsigned int nr_peers;
	struct fake_bell peers[FAKE_MEMBERS];
	struct fake_bell own;
	int memfd;
	u64 size;
	u8 *map;
	bool in_order;		/* as client.c of the daemon says */
	unsigned int messages;
};

/* Connect only: the socket, or -1 with errno. */
int fake_connect(const struct vmshmd *d, const char *segment, const char *member);

/* A message: 1, or 0 at the end, -1 when none comes in time. *@fd is -1 without one. */
int fake_receive(int socket, int64_t *value, int *fd, unsigned int ms);

/* How many messages a member of a segment gets. */
unsigned int fake_messages(unsigned int members, unsigned int vectors);

/* Connect and take all messages; false when that fails. */
bool fake_join(struct fake *f, const struct vmshmd *d, const char *segment, const char *member,
	       unsigned int members, unsigned int vectors);

/* Let go of everything, as the end of a process does: memory first. */
void fake_leave(struct fake *f);

/* The shared structures, mapped. */
struct vmshm_header *fake_header(const struct fake *f);
struct vmshm_member *fake_member(const struct fake *f, unsigned int index);
struct vmshm_channel *fake_channel(const struct fake *f, unsigned int index);

/* Bytes that the segment takes on the host. */
u64 fake_blocks(const struct fake *f);

/* Whether a bell rings within @ms; takes what it counts. */
bool bell_rings(int fd, unsigned int ms);

bool is_zero(const u8 *at, u64 len);

/* ---- bytes that run between two members of a couple (bytes.c) ---- */

struct traffic;

/* From member 0 to member 1, until traffic_end(): whether every byte was right. */
struct traffic *traffic_start(const struct fake *from, const struct fake *to);
u64 traffic_received(const struct traffic *t);
bool traffic_end(struct traffic *t);

#endif
