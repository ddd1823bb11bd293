// SPDX-License-Identifier: GPL-2.0-only
/*
 * A histogram in the manner of HdrHistogram: 64 buckets for each power of two,
 * so that every quantile is right to 1.6 %, of any range, at a fixed cost.
 */
#include "perf.h"

#define SUB_BITS	6
#define SUB		(1U << SUB_BITS)

static unsigned int index_of(uint64_t value)
{
	unsigned int shift;

	if (value < SUB)
		return value;
	shift = 63 - __builtin_clzll(value) - SUB_BITS;
	/* value >> shift lies in SUB..2*SUB-1 */
	return (shift + 1) * SUB + (value >> shift) - SUB;
}

/* The middle of the values that share a bucket. */
static double middle_of(unsigned int index)
{
	unsigned int shift;

	if (index < SUB)
		return index;
	shift = index / SUB - 1;
	return ((double)(index % SUB + SUB) + 0.5) * ((uint64_t)1 << shift);
}

static void add(struct histogram *h, uint64_t value, uint64_t count)
{
	unsigned int index = index_of(value);

	if (index >= sizeof(h->bucket) / sizeof(h->bucket[0]))
		index = sizeof(h->bucket) / sizeof(h->bucket[0]) - 1;
	h->bucket[index] += count;
	h->count += count;
	h->sum += value * count;
	if (value > h->max)
		h->max = value;
	if (value < h->min || h->count == count)
		h->min = value;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	add(h, value, 1);
}

void histogram_merge(struct histogram *h, const struct histogram *from, double factor)
{
	uint64_t min = from->min * factor, max = from->max * factor, sum = h->sum;

	if (!from->count)
		return;
	if (h->count && h->min < min)
		min = h->min;
	if (h->max > max)
		max = h->max;
	for (unsigned int i = 0; i < sizeof(h->bucket) / sizeof(h->bucket[0]); i++)
		if (from->bucket[i])
			add(h, middle_of(i) * factor, from->bucket[i]);
	h->sum = sum + from->sum * factor;
	h->min = min;
	h->max = max;
}

uint64_t histogram_quantile(const struct histogram *h, double part)
{
	uint64_t wanted = part * h->count, seen = 0;
	double value;

	if (wanted >= h->count)
		return h->max;
	for (unsigned int i = 0; i < sizeof(h->bucket) / sizeof(h->bucket[0]); i++) {
		seen += h->bucket[i];
		if (seen > wanted) {
			value = middle_of(i);
			if (value > h->max)
				return h->max;
			return value < h->min ? h->min : value;
		}
	}
	return h->max;
}
