// SPDX-License-Identifier: GPL-2.0-only
/*
 * What every test case uses that is no socket: failing, time, signals,
 * processes, memory, and the pattern that data is made of.
 */
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "vmshm_test.h"

const char *error_name(int err)
{
	static __thread char number[32];
	const char *name = strerrorname_np(err);

	if (!name) {
		snprintf(number, sizeof(number), "errno %d", err);
		name = number;
	}
	return name;
}

void fail_at(const char *file, int line, const char *format, ...)
{
	struct report *report = ctx.report;
	int passed = PASSED;
	va_list args;
	int len;

	if (__atomic_compare_exchange_n(&report->verdict, &passed, FAILED, false,
					__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		len = snprintf(report->why, sizeof(report->why), "%s:%d: ", file, line);
		va_start(args, format);
		vsnprintf(report->why + len, sizeof(report->why) - len, format, args);
		va_end(args);
	}
	_exit(1);
}

void skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(ctx.report->why, sizeof(ctx.report->why), format, args);
	va_end(args);
	ctx.report->verdict = SKIPPED;
	_exit(0);
}

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

void sleep_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
		;
}

void check_elapsed(double since, int ms)
{
	double took = (now() - since) * 1000;

	/*
	 * Early by what the kernel's tick lagged behind when the wait began, late
	 * by what a busy machine takes.
	 */
	if (took < ms * 0.85 - 5 || took > ms + 5000)
		FAIL("took %.0f ms, expected %d", took, ms);
}

void wait_ok(int pid)
{
	int status;

	here(__FILE__, __LINE__, "waitpid");
	if (waitpid(pid, &status, 0) != pid)
		FAIL("waitpid: %s", error_name(errno));
	if (WIFSIGNALED(status))
		FAIL("process ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		FAIL("process exited with %d", WEXITSTATUS(status));
}

void on_signal(int sig, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	OK(sigaction(sig, &action, NULL));
}

void signal_me_in(int sig, int ms)
{
	pid_t me = getpid();

	if (OK(fork()))
		return;
	sleep_ms(ms);
	_exit(kill(me, sig) ? 1 : 0);
}

void drop_privileges(void)
{
	const int nobody = 65534;

	OK(setgroups(0, NULL));
	OK(setresgid(nobody, nobody, nobody));
	OK(setresuid(nobody, nobody, nobody));
}

size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

void *pages(size_t count)
{
	void *p = mmap(NULL, count * page_size(), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		FAIL("mmap: %s", error_name(errno));
	return p;
}

static inline uint64_t pattern_word(uint64_t index, uint64_t seed)
{
	uint64_t x = (index + seed) * 0x9e3779b97f4a7c15ull;

	return x ^ (x >> 29);
}

static inline unsigned char pattern_byte(uint64_t at, uint64_t seed)
{
	return pattern_word(at / 8, seed) >> (at % 8 * 8);
}

void pattern_fill(void *buf, uint64_t from, size_t len, uint64_t seed)
{
	unsigned char *p = buf;

	for (; len && from % 8; len--)
		*p++ = pattern_byte(from++, seed);
	for (; len >= 8; len -= 8, from += 8, p += 8) {
		uint64_t word = pattern_word(from / 8, seed);

		memcpy(p, &word, 8);
	}
	while (len--)
		*p++ = pattern_byte(from++, seed);
}

static void pattern_byte_check(unsigned char got, uint64_t at, uint64_t seed)
{
	unsigned char want = pattern_byte(at, seed);

	if (got != want)
		FAIL("byte %llu of the stream is %#x, expected %#x",
		     (unsigned long long)at, got, want);
}

void pattern_check(const void *buf, uint64_t from, size_t len, uint64_t seed)
{
	const unsigned char *p = buf;
	uint64_t word;
	int i;

	for (; len && from % 8; len--)
		pattern_byte_check(*p++, from++, seed);
	for (; len >= 8; len -= 8, from += 8, p += 8) {
		memcpy(&word, p, 8);
		if (word == pattern_word(from / 8, seed))
			continue;
		for (i = 0; i < 8; i++)
			pattern_byte_check(p[i], from + i, seed);
	}
	while (len--)
		pattern_byte_check(*p++, from++, seed);
}

uint64_t random_below(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % below;
}
