// SPDX-License-Identifier: GPL-2.0-only
/*
 * Admission: nobody can limit what two guests touch of a segment that they
 * have, so what counts is its full size, and all sizes together have to fit
 * into what the host has. Segments in huge pages are not counted: theirs are
 * reserved when they are made.
 */
#include "admission.h"
#include "log.h"

#include <sys/sysinfo.h>

static u64 host_memory(void)
{
	struct sysinfo info;

	return sysinfo(&info) ? 0 : (u64)info.totalram * info.mem_unit;
}

int admission_check(const struct config *config)
{
	u64 limit = config->memory_limit, wanted = 0;

	for (u32 i = 0; i < config->nr_segments; i++)
		if (!config->segments[i].huge)
			wanted += config->segments[i].size;
	if (!limit)
		limit = host_memory();
	if (wanted <= limit)
		return 0;
	say("all segments together may take %s, and %s %s; make them smaller, or set memory_limit",
	    size_rounded(wanted).text,
	    config->memory_limit ? "memory_limit is" : "this host has",
	    size_rounded(limit).text);
	return -1;
}
