// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of a segment: see placement.h.
 *
 * A node is bound to the memfd itself (the kernel's shared policy), so it holds
 * for whoever touches a page first, which is QEMU.
 *
 * QEMU asks for transparent huge pages by itself; what is needed is that the
 * host grants them to shared memory, and that the halves begin on one, which
 * geometry.c sees to.
 */
#include "placement.h"
#include "segment.h"

#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define THP_SHARED	"/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static int check_transparent(const struct segment *s)
{
	FILE *file = fopen(THP_SHARED, "re");
	char line[128] = "", *chosen, *end;

	if (file) {
		if (!fgets(line, sizeof(line), file))
			line[0] = '\0';
		fclose(file);
	}
	chosen = strchr(line, '[');
	end = chosen ? strchr(chosen, ']') : NULL;
	if (!end) {
		say("segment %s: this kernel has no transparent huge pages for shared memory; "
		    "set transparent_huge_pages = false",
		    s->name);
		return -1;
	}
	chosen++;
	*end = '\0';
	if (strcmp(chosen, "never") && strcmp(chosen, "deny"))
		return 0;
	say("segment %s: this host gives no transparent huge pages to shared memory ('%s' in "
	    THP_SHARED "); write 'advise' there or set transparent_huge_pages = false",
	    s->name, chosen);
	return -1;
}

static int bind_node(const struct segment *s)
{
	struct bitmask *nodes;
	void *map;
	int err;

	if (numa_available() < 0) {
		say("segment %s: this kernel binds no memory to a NUMA node; leave numa_node out",
		    s->name);
		return -1;
	}
	if (s->numa_node > numa_max_node() ||
	    !numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned int)s->numa_node)) {
		say("segment %s: there is no NUMA node %d with memory for this process, of 0 to %d",
		    s->name, s->numa_node, numa_max_node());
		return -1;
	}
	/* Reserving nothing: the policy is the object's, the mapping goes again. */
	map = mmap(NULL, s->geometry.size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, s->memfd, 0);
	if (map == MAP_FAILED) {
		say("segment %s: cannot be mapped to bind it to NUMA node %d: %s", s->name,
		    s->numa_node, strerror(errno));
		return -1;
	}
	nodes = numa_allocate_nodemask();
	numa_bitmask_setbit(nodes, (unsigned int)s->numa_node);
	err = mbind(map, s->geometry.size, MPOL_BIND, nodes->maskp, nodes->size + 1, 0) ? errno : 0;
	numa_free_nodemask(nodes);
	munmap(map, s->geometry.size);
	if (err)
		say("segment %s: cannot be bound to NUMA node %d: %s", s->name, s->numa_node,
		    strerror(err));
	return err ? -1 : 0;
}

int placement_apply(const struct segment *s)
{
	if (s->thp && check_transparent(s))
		return -1;
	return s->numa_node >= 0 ? bind_node(s) : 0;
}
