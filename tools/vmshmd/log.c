// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lines to stderr. Each is written at once, so that lines of two threads do
 * not mix.
 */
#include "log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 1024

static __thread struct {
	char *text;
	size_t size, len;
} copy;

void say_copy(char *text, size_t size)
{
	copy.text = text;
	copy.size = size;
	copy.len = 0;
	if (text)
		*text = '\0';
}

static void copy_line(const char *line, size_t len)
{
	if (!copy.text || copy.size - copy.len < len + 2)
		return;
	if (copy.len)
		copy.text[copy.len++] = '\n';
	memcpy(copy.text + copy.len, line, len);
	copy.len += len;
	copy.text[copy.len] = '\0';
}

static void say_line(const char *prefix, const char *fmt, va_list args)
{
	char line[LINE_MAX_LEN];
	int len = snprintf(line, sizeof(line), "%s", prefix);
	int more = vsnprintf(line + len, sizeof(line) - (size_t)len, fmt, args);

	if (more < 0)
		return;
	len += more;
	if (len > LINE_MAX_LEN - 1)
		len = LINE_MAX_LEN - 1;
	copy_line(line + strlen(prefix), (size_t)len - strlen(prefix));
	line[len++] = '\n';
	/* Nobody is left to tell when stderr itself fails. */
	if (write(STDERR_FILENO, line, (size_t)len) < 0)
		return;
}

void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_line("vmshmd: ", fmt, args);
	va_end(args);
}

void say_plain(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say_line("", fmt, args);
	va_end(args);
}

struct size_text size_text(uint64_t bytes)
{
	struct size_text s;
	const char *unit = "";

	if (bytes && !(bytes & ((1ULL << 30) - 1))) {
		bytes >>= 30;
		unit = "G";
	} else if (bytes && !(bytes & ((1ULL << 20) - 1))) {
		bytes >>= 20;
		unit = "M";
	} else if (bytes && !(bytes & ((1ULL << 10) - 1))) {
		bytes >>= 10;
		unit = "K";
	}
	snprintf(s.text, sizeof(s.text), "%" PRIu64 "%s", bytes, unit);
	return s;
}

struct size_text size_rounded(uint64_t bytes)
{
	struct size_text s;

	if (bytes >= 1ULL << 30)
		snprintf(s.text, sizeof(s.text), "%.1f GiB", (double)bytes / (1 << 30));
	else
		snprintf(s.text, sizeof(s.text), "%.1f MiB", (double)bytes / (1 << 20));
	return s;
}

bool say_may(struct say_limit *limit, const char *about)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!limit->said || now.tv_sec - limit->window >= SAY_WINDOW_S) {
		if (limit->held_back)
			say("%s: %u more lines were held back", about, limit->held_back);
		limit->window = now.tv_sec;
		limit->said = 0;
		limit->held_back = 0;
	}
	if (limit->said >= SAY_BURST) {
		limit->held_back++;
		return false;
	}
	limit->said++;
	return true;
}
