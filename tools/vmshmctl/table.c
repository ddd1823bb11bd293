// SPDX-License-Identifier: GPL-2.0-only
/*
 * Columns as wide as what is in them, and numbers as people read them. See
 * ctl.h.
 */
#include "ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX	16

struct table {
	unsigned int columns;
	bool right[COLUMNS_MAX];
	size_t width[COLUMNS_MAX];
	size_t nr_rows, room;
	char **rows;		/* cells end with a tab each */
};

static void take(struct table *t, char *row)
{
	const char *cell = row;

	for (unsigned int i = 0; i < t->columns; i++) {
		size_t len = strcspn(cell, "\t");

		if (len > t->width[i])
			t->width[i] = len;
		cell += len + (cell[len] == '\t');
	}
	if (t->nr_rows == t->room) {
		t->room = t->room ? 2 * t->room : 16;
		t->rows = realloc(t->rows, t->room * sizeof(t->rows[0]));
		if (!t->rows)
			abort();
	}
	t->rows[t->nr_rows++] = row;
}

struct table *table_new(const char *const *heads, unsigned int columns)
{
	struct table *t = calloc(1, sizeof(*t));
	char *row = calloc(1, COLUMNS_MAX * 32);

	if (!t || !row || columns > COLUMNS_MAX)
		abort();
	t->columns = columns;
	for (unsigned int i = 0; i < columns; i++) {
		t->right[i] = heads[i][0] == '>';
		strcat(row, heads[i] + t->right[i]);
		strcat(row, "\t");
	}
	take(t, row);
	return t;
}

/* @fmt has a tab between two cells. */
void table_add(struct table *t, const char *fmt, ...)
{
	va_list args;
	char *row;

	va_start(args, fmt);
	if (vasprintf(&row, fmt, args) < 0)
		abort();
	va_end(args);
	take(t, row);
}

void table_print(struct table *t)
{
	for (size_t r = 0; r < t->nr_rows; r++) {
		const char *cell = t->rows[r];

		for (unsigned int i = 0; i < t->columns; i++) {
			size_t len = strcspn(cell, "\t");
			int width = i + 1 < t->columns || t->right[i] ? (int)t->width[i] : 0;

			printf("%s%*.*s", i ? "  " : "", t->right[i] ? width : -width, (int)len,
			       cell);
			cell += len + (cell[len] == '\t');
		}
		putchar('\n');
		free(t->rows[r]);
	}
	free(t->rows);
	free(t);
}

static struct text scaled(double value, double step, const char *const *units, unsigned int nr)
{
	struct text t;
	unsigned int i = 0;

	while (value >= step * 0.9995 && i + 1 < nr) {
		value /= step;
		i++;
	}
	snprintf(t.text, sizeof(t.text), "%.*f%s", i && value < 99.95 ? 1 : 0, value, units[i]);
	return t;
}

struct text size_for_people(double bytes)
{
	static const char *const units[] = { "B", "K", "M", "G", "T", "P" };

	return scaled(bytes, 1024, units, 6);
}

struct text count_for_people(double count)
{
	static const char *const units[] = { "", "k", "M", "G", "T" };

	return scaled(count, 1000, units, 5);
}

struct text time_for_people(unsigned long long s)
{
	struct text t;

	if (s < 60)
		snprintf(t.text, sizeof(t.text), "%llus", s);
	else if (s < 3600)
		snprintf(t.text, sizeof(t.text), "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(t.text, sizeof(t.text), "%lluh%02llum", s / 3600, s / 60 % 60);
	else
		snprintf(t.text, sizeof(t.text), "%llud%02lluh", s / 86400, s / 3600 % 24);
	return t;
}
