// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the ring tests share; rt.h says what each function does.
 */
#include "rt.h"

#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define RT_DEAR 10
#elif defined(__SANITIZE_ADDRESS__)
#define RT_DEAR 5
#else
#define RT_DEAR 1
#endif

const char *const rt_mode_name[] = { "threads", "processes" };

static unsigned int tap_count, tap_bad;

static double scale(void)
{
	const char *env = getenv("RING_SCALE");
	double s = env ? strtod(env, NULL) : 1.0;

	if (s <= 0.0) {
		fprintf(stderr, "RING_SCALE=%s: give a number above 0, such as 0.5 or 100\n", env);
		exit(2);
	}
	return s;
}

u64 rt_rounds(u64 rounds)
{
	double n = (double)rounds * scale() / RT_DEAR;

	return n < 1.0 ? 1 : (u64)n;
}

struct rt_budget rt_budget(double seconds)
{
	return (struct rt_budget){ .end = rt_now() + seconds * scale() };
}

bool rt_spent(struct rt_budget *b)
{
	return ++b->turns % 32 == 0 && rt_now() > b->end;
}

/* ---- TAP ---- */

static u64 rng_seed;

void tap_start(void)
{
	const char *env = getenv("RING_SEED");

	rng_seed = env ? strtoull(env, NULL, 0) : (u64)time(NULL);
	printf("TAP version 13\n# RING_SEED=%llu\n", (unsigned long long)rng_seed);
	fflush(stdout);
}

bool tap_ok(bool ok, const char *fmt, ...)
{
	va_list ap;

	tap_bad += !ok;
	printf("%sok %u - ", ok ? "" : "not ", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	return ok;
}

void tap_diag(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

void tap_skip(const char *why, const char *fmt, ...)
{
	va_list ap;

	printf("ok %u - ", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(" # SKIP %s\n", why);
	fflush(stdout);
}

int tap_done(void)
{
	printf("1..%u\n", tap_count);
	fflush(stdout);
	return tap_bad ? 1 : 0;
}

/* ---- numbers ---- */

static u64 mix(u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

struct rt_rng rt_rng(u64 salt)
{
	return (struct rt_rng){ mix(rng_seed) ^ mix(salt) };
}

u64 rt_rand(struct rt_rng *r)
{
	r->s += 0x9e3779b97f4a7c15ULL;
	return mix(r->s);
}

u64 rt_below(struct rt_rng *r, u64 below)
{
	return rt_rand(r) % below;
}

static u64 word_at(u64 key, u64 pos)
{
	return mix(key ^ (pos & ~7ULL) * 0xd6e8feb86659fd93ULL);
}

void rt_fill(u8 *buf, u64 len, u64 key, u64 pos)
{
	while (len && (pos & 7)) {
		*buf++ = (u8)(word_at(key, pos) >> 8 * (pos & 7));
		pos++;
		len--;
	}
	for (; len >= 8; len -= 8, buf += 8, pos += 8) {
		u64 w = word_at(key, pos);

		memcpy(buf, &w, 8);
	}
	for (; len; len--, pos++)
		*buf++ = (u8)(word_at(key, pos) >> 8 * (pos & 7));
}

u64 rt_verify(const u8 *buf, u64 len, u64 key, u64 pos)
{
	while (len) {
		u64 w = word_at(key, pos) >> 8 * (pos & 7), got = 0;
		u64 n = 8 - (pos & 7);

		if (n > len)
			n = len;
		memcpy(&got, buf, n);
		if (n < 8)
			w &= (1ULL << 8 * n) - 1;
		if (got != w)
			return pos + (u64)__builtin_ctzll(got ^ w) / 8;
		buf += n;
		pos += n;
		len -= n;
	}
	return ~0ULL;
}

double rt_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The machine is shared: who spins for long gives the core away. */
void rt_relax(unsigned int *spins)
{
	__builtin_ia32_pause();
	if (++*spins % 256 == 0)
		sched_yield();
}

/* ---- doorbells ---- */

static void die(const char *what)
{
	perror(what);
	exit(2);
}

void rt_bell_init(struct rt_bell *b, enum rt_bell_kind kind)
{
	b->seq = 0;
	b->kind = kind;
	b->efd = -1;
	if (kind == RT_EVENTFD) {
		b->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (b->efd < 0)
			die("eventfd");
	}
}

void rt_bell_fini(struct rt_bell *b)
{
	if (b->efd >= 0)
		close(b->efd);
}

/*
 * The counts are relaxed on purpose: a doorbell must not lend the ring an
 * ordering that it has to bring itself.
 */
void rt_bell_ring(struct rt_bell *b)
{
	u64 one = 1;

	__atomic_fetch_add(&b->seq, 1, __ATOMIC_RELAXED);
	if (b->kind == RT_FUTEX)
		syscall(SYS_futex, &b->seq, FUTEX_WAKE, 1, NULL, NULL, 0);
	else if (b->kind == RT_EVENTFD && write(b->efd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		die("write to an eventfd");
}

u32 rt_bell_seen(const struct rt_bell *b)
{
	return vmshm_load(&b->seq);
}

int rt_bell_wait(struct rt_bell *b, u32 seen, double seconds)
{
	double end = rt_now() + seconds;
	unsigned int spins = 0;

	while (vmshm_load(&b->seq) == seen) {
		if (b->kind == RT_SPIN) {
			rt_relax(&spins);
			if (spins % 4096)
				continue;
		}
		if (rt_now() >= end)
			return -ETIMEDOUT;
		if (b->kind == RT_FUTEX) {
			struct timespec ts = {
				.tv_sec = (time_t)seconds,
				.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9),
			};

			syscall(SYS_futex, &b->seq, FUTEX_WAIT, seen, &ts, NULL, 0);
		} else if (b->kind == RT_EVENTFD) {
			struct pollfd pfd = { .fd = b->efd, .events = POLLIN };
			u64 count;

			if (poll(&pfd, 1, (int)(seconds * 1e3)) > 0 &&
			    read(b->efd, &count, sizeof(count)) < 0 && errno != EAGAIN)
				die("read from an eventfd");
		}
	}
	return 0;
}

/* ---- rings ---- */

static void ring_map(struct rt_ring *r)
{
	u64 len = vmshm_ring_bytes(r->order);

	r->map_len = len + 2 * VMSHM_PAGE;
	r->map = mmap(NULL, r->map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r->map == MAP_FAILED)
		die("mmap");
	r->hdr = mmap((u8 *)r->map + VMSHM_PAGE, len, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED, r->fd, 0);
	if (r->hdr == MAP_FAILED)
		die("mmap of a memfd");
}

void rt_ring_new(struct rt_ring *r, u32 order)
{
	r->order = order;
	r->fd = memfd_create("ring", MFD_CLOEXEC);
	if (r->fd < 0)
		die("memfd_create");
	if (ftruncate(r->fd, (off_t)vmshm_ring_bytes(order)))
		die("ftruncate");
	ring_map(r);
	vmshm_ring_init(r->hdr, order, 1, 1);
}

void rt_ring_again(struct rt_ring *again, const struct rt_ring *r)
{
	*again = *r;
	again->fd = dup(r->fd);
	if (again->fd < 0)
		die("dup");
	ring_map(again);
}

void rt_ring_free(struct rt_ring *r)
{
	munmap(r->map, r->map_len);
	close(r->fd);
}

void rt_ring_start(struct rt_ring *r, struct vmshm_prod *p, struct vmshm_cons *c, u64 at)
{
	vmshm_ring_init(r->hdr, r->order, 1, 1);
	vmshm_prod_init(p, r->hdr, r->order);
	vmshm_cons_init(c, r->hdr, r->order);
	p->prod = at;
	p->cons = at;
	p->event = at;
	c->prod = at;
	c->cons = at;
	c->event = at;
	r->hdr->prod = at;
	r->hdr->cons = at;
	r->hdr->data_event = at;
	r->hdr->space_event = at;
}

void *rt_shared(size_t len)
{
	void *m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED)
		die("mmap");
	return m;
}

/* ---- two sides ---- */

struct pair {
	rt_side b;
	void *arg;
};

static void *pair_thread(void *arg)
{
	struct pair *p = arg;

	p->b(p->arg);
	return NULL;
}

static void on_alarm(int sig)
{
	static const char msg[] =
		"\nnot ok - watchdog: both sides sleep, or the machine is too slow\n";

	(void)sig;
	if (write(STDOUT_FILENO, msg, sizeof(msg) - 1) < 0)
		_exit(4);
	_exit(3);
}

bool rt_pair(enum rt_mode mode, rt_side a, rt_side b, void *arg, double seconds)
{
	struct pair p = { b, arg };
	pthread_t thread;
	int status = 0;
	pid_t pid = 0;

	signal(SIGALRM, on_alarm);
	alarm((unsigned int)seconds + 1);
	fflush(stdout);
	if (mode == RT_THREADS) {
		if (pthread_create(&thread, NULL, pair_thread, &p))
			die("pthread_create");
	} else {
		pid = fork();
		if (pid < 0)
			die("fork");
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			b(arg);
			fflush(stdout);
			_exit(0);
		}
	}
	a(arg);
	if (mode == RT_THREADS)
		pthread_join(thread, NULL);
	else if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	alarm(0);
	return !status;
}

void rt_fail(struct rt_fail *f, const char *fmt, ...)
{
	va_list ap;
	u32 zero = 0;

	if (!__atomic_compare_exchange_n(&f->failed, &zero, 1, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return;
	va_start(ap, fmt);
	vsnprintf(f->what, sizeof(f->what), fmt, ap);
	va_end(ap);
}
