// SPDX-License-Identifier: GPL-2.0-only
/*
 * main() of every program here: reads the command line, pins two threads to a
 * core each, lets them run, and prints one JSON object. What is measured stands
 * in mech.h; what a program is about, in the file of its name.
 */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <jansson.h>

#include "mech.h"

#define HUGE_PAGE	(2UL << 20)

static struct mech mech = {
	.size = 64,
	.burst = 1,
	.ring = 256 << 10,
	.connections = 1,
};

static double seconds = 1, warmup = 0.2;
static const struct mech_variant *variant;
static pthread_barrier_t start_line;

void mech_die(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void *mech_memory(const struct mech *m, size_t bytes)
{
	u8 *p;

	/* One huge page more, so that what is handed out can begin on one. */
	bytes = (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	p = mmap(NULL, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		mech_die("no %zu bytes of memory: %s", bytes, strerror(errno));
	p = (u8 *)(((uintptr_t)p + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	if (madvise(p, bytes, m->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) && m->huge)
		mech_die("no huge pages here: madvise: %s", strerror(errno));
	memset(p, 0, bytes);
	return p;
}

/* Kilobytes of this process that are in huge pages. */
static long huge_kb(void)
{
	char line[256];
	long kb = -1;
	FILE *f = fopen("/proc/self/smaps_rollup", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "AnonHugePages: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

static double clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void sleep_for(double s)
{
	struct timespec t = { (time_t)s, (long)((s - (time_t)s) * 1e9) };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

static void *run_side(void *arg)
{
	struct mech_side *s = arg;
	int which = s == &mech.side[1];
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(s->core, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set))
		mech_die("cannot pin a thread to core %d", s->core);
	pthread_barrier_wait(&start_line);
	if (mech.rtt)
		variant->loop(&mech, which ? MECH_PONG : MECH_PING);
	else
		variant->loop(&mech, which ? MECH_CONSUMER : MECH_PRODUCER);
	s->cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);
	return NULL;
}

/* The first two cores that we may use; the same one twice where there is one. */
static void choose_cores(void)
{
	cpu_set_t set;
	int n = 0;

	if (sched_getaffinity(0, sizeof(set), &set))
		mech_die("sched_getaffinity: %s", strerror(errno));
	for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &set))
			mech.side[n++].core = i;
	if (n == 1)
		mech.side[1].core = mech.side[0].core;
}

static void prepare_side(struct mech_side *s)
{
	s->slots = MECH_BUFFERS / mech.size;
	if (s->slots < 2 * mech.burst)
		s->slots = 2 * mech.burst;
	s->buffers = aligned_alloc(4096, (s->slots * mech.size + 4095) & ~4095UL);
	if (!s->buffers)
		mech_die("out of memory");
	memset(s->buffers, 0x55, s->slots * mech.size);
}

static int by_value(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static json_t *quantiles(double us_per_tick)
{
	u64 n = mech.rtt_count < MECH_RTTS ? mech.rtt_count : MECH_RTTS;

	if (!n)
		mech_die("no round trip was made");
	qsort(mech.rtts, n, sizeof(*mech.rtts), by_value);
#define AT(q) (mech.rtts[(u64)((n - 1) * (q))] * us_per_tick)
	return json_pack("{s:I s:f s:f s:f s:f s:f}", "count", (json_int_t)n, "p50", AT(0.5),
			 "p90", AT(0.9), "p99", AT(0.99), "p99.9", AT(0.999), "max", AT(1.0));
#undef AT
}

static void measure(void)
{
	pthread_t threads[2];
	double began, took, ticks;
	u64 done;
	json_t *out;

	pthread_barrier_init(&start_line, NULL, 3);
	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, run_side, &mech.side[i]))
			mech_die("no thread: %s", strerror(errno));
	pthread_barrier_wait(&start_line);
	sleep_for(warmup);
	done = __atomic_load_n(&mech.side[!mech.rtt].done, __ATOMIC_RELAXED);
	began = clock_of(CLOCK_MONOTONIC);
	ticks = mech_ticks();
	sleep_for(seconds);
	done = __atomic_load_n(&mech.side[!mech.rtt].done, __ATOMIC_RELAXED) - done;
	took = clock_of(CLOCK_MONOTONIC) - began;
	ticks = mech_ticks() - ticks;
	__atomic_store_n(&mech.stop, true, __ATOMIC_SEQ_CST);
	if (variant->wake)
		variant->wake(&mech);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	if (mech.failed)
		mech_die("variant %s: a message came damaged or out of order", variant->name);
	if (!done)
		mech_die("variant %s: nothing went through", variant->name);
	out = json_pack("{s:s s:s s:I s:I s:I s:I s:b s:b s:f s:f s:f s:f s:I s:[ii]}",
			"program", program_invocation_short_name, "variant", variant->name,
			"size", (json_int_t)mech.size, "burst", (json_int_t)mech.burst,
			"ring", (json_int_t)mech.ring, "connections", (json_int_t)mech.connections,
			"rtt", mech.rtt, "huge", mech.huge, "seconds", took,
			"messages_per_second", done / took, "ns_per_message", took * 1e9 / done,
			"cpu_ns_per_message", (mech.side[0].cpu + mech.side[1].cpu) * 1e9 /
			(double)mech.side[!mech.rtt].done,
			"huge_kb", (json_int_t)huge_kb(),
			"cores", mech.side[0].core, mech.side[1].core);
	if (mech.rtt)
		json_object_set_new(out, "rtt_us", quantiles(took * 1e6 / ticks));
	json_dumpf(out, stdout, JSON_REAL_PRECISION(8));
	putchar('\n');
	json_decref(out);
}

static u64 number(const char *name, const char *text, u64 least, u64 most,
		  const struct argp_state *state)
{
	char *end;
	u64 value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end == 'K' || *end == 'M')
		value <<= *end++ == 'K' ? 10 : 20;
	if (end == text || *end || errno || *text == '-' || value < least || value > most)
		argp_error(state, "%s %s: expected a number from %llu to %llu", name, text,
			   (unsigned long long)least, (unsigned long long)most);
	return value;
}

static double time_of(const char *name, const char *text, const struct argp_state *state)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value > 0 && value < 3600))
		argp_error(state, "%s %s: expected seconds", name, text);
	return value;
}

static const struct argp_option argp_options[] = {
	{ "variant", 'v', "NAME", 0, "which way; the first one without", 0 },
	{ "list", 'L', NULL, 0, "list the variants", 0 },
	{ "size", 'l', "BYTES", 0, "of a message (64), 8 to 1M", 0 },
	{ "burst", 'b', "COUNT", 0, "messages a publication (1), up to 256", 0 },
	{ "ring", 'r', "BYTES", 0, "of a ring's data (256K), a power of two", 0 },
	{ "connections", 'c', "COUNT", 0, "where a program knows more than one (1)", 0 },
	{ "rtt", 'p', NULL, 0, "round trips instead of throughput", 0 },
	{ "huge", 'H', NULL, 0, "what is shared lies in huge pages", 0 },
	{ "seconds", 't', "SECS", 0, "measured time (1)", 0 },
	{ "warmup", 'w', "SECS", 0, "time before that (0.2)", 0 },
	{ 0 }
};

static void list_variants(void)
{
	for (const struct mech_variant *v = mech_variants; v->name; v++)
		printf("%s\t%s\n", v->name, v->what);
	exit(0);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'v':
		mech.variant = arg;
		break;
	case 'L':
		list_variants();
		break;
	case 'l':
		mech.size = number("--size", arg, 8, 1 << 20, state);
		break;
	case 'b':
		mech.burst = number("--burst", arg, 1, MECH_MAX_BURST, state);
		break;
	case 'r':
		mech.ring = number("--ring", arg, 4096, 16 << 20, state);
		if (mech.ring & (mech.ring - 1))
			argp_error(state, "--ring %s: expected a power of two", arg);
		break;
	case 'c':
		mech.connections = number("--connections", arg, 1, 65536, state);
		break;
	case 'p':
		mech.rtt = true;
		break;
	case 'H':
		mech.huge = true;
		break;
	case 't':
		seconds = time_of("--seconds", arg, state);
		break;
	case 'w':
		warmup = time_of("--warmup", arg, state);
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'? there are options only", arg);
		break;
	case ARGP_KEY_END:
		if (mech.size % 8)
			argp_error(state, "--size %zu: expected a multiple of 8", mech.size);
		if (mech.ring < 2 * mech.size * mech.burst)
			argp_error(state, "--ring %zu: expected two bursts at least", mech.ring);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct argp argp = { .options = argp_options, .parser = parse, .doc = mech_doc };

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	variant = mech_variants;
	while (mech.variant && variant->name && strcmp(variant->name, mech.variant))
		variant++;
	if (!variant->name)
		mech_die("--variant %s is unknown; --list lists them", mech.variant);
	choose_cores();
	for (int i = 0; i < 2; i++)
		prepare_side(&mech.side[i]);
	mech.rtts = calloc(MECH_RTTS, sizeof(*mech.rtts));
	if (!mech.rtts)
		mech_die("out of memory");
	variant->setup(&mech);
	measure();
	return 0;
}
