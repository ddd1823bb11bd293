/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The configuration as the daemon uses it, and how it is read and checked.
 * vmshmd.conf(5) is its description for people.
 */
#ifndef VMSHMD_CONFIG_H
#define VMSHMD_CONFIG_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <vmshm/layout.h>

#define CONFIG_DEFAULT_PATH	"/etc/vmshm/vmshmd.conf"
#define CONFIG_DEFAULT_DIR	"/run/vmshm"
#define CONFIG_SOCKET_SUFFIX	".sock"
#define CONFIG_DEFAULT_MODE	0660
#define CONFIG_DEFAULT_SIZE	(256ULL << 20)
#define CONFIG_DEFAULT_VECTORS	2
#define CONFIG_VECTORS_MAX	64
#define CONFIG_NODE_MAX		1023
#define CONFIG_CID_HOST		2	/* with host = true, and only so */
#define CONFIG_CID_MIN		3
#define CONFIG_CID_MAX		65534

/* Who may connect: -1 for what the configuration leaves out. */
struct access {
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

#define ACCESS_UNSET	((struct access){ (uid_t)-1, (gid_t)-1, (mode_t)-1 })

struct config_member {
	char name[VMSHM_NAME_LEN];
	u32 cid;
	bool host;		/* a process on the host, no VM */
	struct access access;
};

struct config_segment {
	char name[VMSHM_NAME_LEN];
	u64 size;
	u32 vectors;
	bool shared;
	bool huge;
	bool thp;		/* transparent huge pages */
	int numa_node;		/* -1: any */
	struct access access;
	u32 nr_members;
	u32 members[VMSHM_MEMBERS_MAX];	/* indices into config.members */
};

struct config {
	char *runtime_dir;
	struct access control;	/* who may connect to the control socket */
	char *metrics;		/* where they are served; NULL: nowhere */
	u64 memory_limit;	/* bytes of all segments; 0: what the host has */
	u32 nr_members;
	struct config_member *members;
	u32 nr_segments;
	struct config_segment *segments;
};

/* What is added to a configuration lies beside it, in PATH.d/NAME.conf. */
#define CONFIG_MORE_DIR		".d"
#define CONFIG_MORE_SUFFIX	".conf"

/*
 * Read and check @path and what lies in its PATH.d; @runtime_dir replaces what
 * the file says unless NULL. Every mistake is told on stderr as "file:line: what,
 * what was expected".
 * Returns NULL when there was any, with their number in *@mistakes.
 */
struct config *config_load(const char *path, const char *runtime_dir, unsigned int *mistakes);
void config_free(struct config *config);

/* What is no mistake, but rarely meant, as "warning: ..." lines; how many. */
unsigned int config_warn(const struct config *config);

/* What holds for a member's socket: the member's word, the segment's, the default. */
struct access config_access(const struct config_member *member,
			    const struct config_segment *segment);

#endif
