// SPDX-License-Identifier: GPL-2.0-only
/*
 * TAP, version 13, and time: see harness.h.
 */
#include "harness.h"

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

static unsigned int tests, failures;

static void line(const char *start, const char *fmt, va_list args)
{
	if (!tests && *start != '#')
		puts("TAP version 13");
	if (*start != '#')
		tests++;
	printf(start, tests);
	vprintf(fmt, args);
}

bool ok(bool passed, const char *fmt, ...)
{
	va_list args;

	failures += !passed;
	va_start(args, fmt);
	line(passed ? "ok %u - " : "not ok %u - ", fmt, args);
	va_end(args);
	puts("");
	fflush(stdout);
	return passed;
}

void skip(const char *why, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	line("ok %u - ", fmt, args);
	va_end(args);
	printf(" # SKIP %s\n", why);
	fflush(stdout);
}

void diag(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	line("# ", fmt, args);
	va_end(args);
	puts("");
	fflush(stdout);
}

void need(bool condition, const char *fmt, ...)
{
	va_list args;

	if (condition)
		return;
	va_start(args, fmt);
	printf("Bail out! ");
	vprintf(fmt, args);
	va_end(args);
	puts("");
	exit(1);
}

int done(void)
{
	printf("1..%u\n", tests);
	if (failures)
		printf("# %u of %u failed\n", failures, tests);
	fflush(stdout);
	return failures ? 1 : 0;
}

void sleep_ms(unsigned int ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}
