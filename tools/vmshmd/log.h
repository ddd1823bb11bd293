/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the daemon says: one line an event, to stderr. Not here: mistakes in
 * the configuration, which config.c words as file:line.
 */
#ifndef VMSHMD_LOG_H
#define VMSHMD_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "vmshmd: ...", with a newline added. From any thread. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The line as it is, with a newline added. */
void say_plain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Until the next call, what this thread says goes to @text too, a line each
 * without the prefix, as far as there is room; NULL: no more.
 */
void say_copy(char *text, size_t size);

/* A number of bytes as "256M" where that is exact, in @buf. */
struct size_text {
	char text[24];
};

struct size_text size_text(uint64_t bytes);

/* A number of bytes for people, as "23.4 GiB". */
struct size_text size_rounded(uint64_t bytes);

/*
 * Keeps somebody who may connect from filling the log: SAY_BURST lines in
 * SAY_WINDOW_S seconds, then one that counts what was left out.
 */
struct say_limit {
	int64_t window;		/* seconds of CLOCK_MONOTONIC at its start */
	unsigned int said;
	unsigned int held_back;
};

#define SAY_BURST	20
#define SAY_WINDOW_S	10

/* May a line be said now?  Says what was held back before, as @about. */
bool say_may(struct say_limit *limit, const char *about);

#endif
