// SPDX-License-Identifier: GPL-2.0-only
/*
 * A header and tables that lie: one word of them is forged at a time while the
 * driver is unbound, then it is bound again. It has to refuse the device with
 * one line that names what is wrong and nothing else in the log; with the word
 * put back, connections have to work again.
 *
 * forged PEER PORT [TEXT]: PEER is the CID of a VM that runs "traffic serve
 * PORT"; only cases whose name contains TEXT.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net.h"
#include "segment.h"

struct tables {
	struct vmshm_header *h;
	struct vmshm_member *mine, *peer;	/* of the table of members */
	struct vmshm_channel *c;
	u64 size;
};

struct forgery {
	const char *name;
	void (*forge)(struct tables *t);
	const char *named;	/* what the log's line has to contain; NULL: is accepted */
};

static const char header[] = "no AF_VMSHM header";
static const char tables_lie[] = "header's tables can't be true";
static const char members_lie[] = "nobody's in the table of members";
static const char cid_lies[] = "the segment says that this VM is CID";
static const char ids_lie[] = "of the peer can't be true";
static const char channel_lies[] = "channel";

static void swap(u32 *a, u32 *b)
{
	u32 was = *a;

	*a = *b;
	*b = was;
}

#define FORGE(name_, statement) \
	static void name_(struct tables *t) { statement; }

FORGE(nothing, (void)t)
FORGE(magic, t->h->magic ^= 1)
FORGE(magic_zero, t->h->magic = 0)
FORGE(major_newer, t->h->abi_version += 1 << 16)
FORGE(major_zero, t->h->abi_version = VMSHM_ABI_MINOR)
FORGE(minor_newer, t->h->abi_version += 7)
FORGE(size_half, t->h->segment_size /= 2)
FORGE(size_double, t->h->segment_size *= 2)
FORGE(size_zero, t->h->segment_size = 0)
FORGE(size_huge, t->h->segment_size = UINT64_MAX)
FORGE(members_none, t->h->nr_members = 0)
FORGE(members_one, t->h->nr_members = 1)
FORGE(members_three, t->h->nr_members = 3)
FORGE(members_huge, t->h->nr_members = UINT32_MAX)
FORGE(channels_none, t->h->nr_channels = 0)
FORGE(channels_two, t->h->nr_channels = 2)
FORGE(channels_huge, t->h->nr_channels = UINT32_MAX)
FORGE(member_off_header, t->h->member_off = 0)
FORGE(member_off_end, t->h->member_off = t->size)
FORGE(member_off_across, t->h->member_off = t->size - sizeof(struct vmshm_member))
FORGE(member_off_odd, t->h->member_off += 1)
FORGE(member_off_wraps, t->h->member_off = -(u64)sizeof(struct vmshm_member))
FORGE(channel_off_header, t->h->channel_off = 0)
FORGE(channel_off_end, t->h->channel_off = t->size)
FORGE(channel_off_across, t->h->channel_off = t->size - 64)
FORGE(channel_off_odd, t->h->channel_off += 3)
FORGE(channel_off_wraps, t->h->channel_off = -(u64)sizeof(struct vmshm_channel))
FORGE(group, t->h->flags |= VMSHM_SEG_GROUP)
FORGE(group_many_members, t->h->flags |= VMSHM_SEG_GROUP; t->h->nr_members = VMSHM_MEMBERS_MAX + 1)
FORGE(group_many_channels, t->h->flags |= VMSHM_SEG_GROUP; t->h->nr_channels = 2017)
FORGE(group_other_cid, t->h->flags |= VMSHM_SEG_GROUP; t->mine->cid = t->mine->ivshmem_id)
FORGE(ids_wrong, t->mine->ivshmem_id = 60001; t->peer->ivshmem_id = 60002)
FORGE(id_mine, t->mine->ivshmem_id = 60001)
FORGE(id_peer, t->peer->ivshmem_id = 60001)
FORGE(ids_swapped, swap(&t->mine->ivshmem_id, &t->peer->ivshmem_id))
FORGE(ids_same, t->peer->ivshmem_id = t->mine->ivshmem_id)
FORGE(cid_mine, t->mine->cid = 777)
FORGE(cid_mine_any, t->mine->cid = UINT32_MAX)
FORGE(cid_mine_local, t->mine->cid = 1)
FORGE(cid_mine_and_id, t->mine->cid = 777; t->peer->ivshmem_id = 777)
FORGE(cid_peer, t->peer->cid = 777)
FORGE(cid_peer_local, t->peer->cid = 1)
FORGE(cids_same, t->peer->cid = t->mine->cid)
FORGE(side_header, t->c->side_off[0] = 0)
FORGE(side_end, t->c->side_off[1] = t->size)
FORGE(side_across, t->c->side_off[0] = t->size - VMSHM_PAGE)
FORGE(side_odd, t->c->side_off[1] += 64)
FORGE(side_wraps, t->c->side_off[0] = -(u64)VMSHM_PAGE)
FORGE(side_wraps_2, t->c->side_off[1] = -(u64)VMSHM_SIDE_SIZE)
FORGE(half_header, t->c->half_off[0] = 0)
FORGE(half_end, t->c->half_off[1] = t->size)
FORGE(half_across, t->c->half_size = t->size - t->c->half_off[1] + VMSHM_PAGE)
FORGE(half_odd, t->c->half_off[0] += 8)
FORGE(half_wraps, t->c->half_off[0] = -(u64)VMSHM_PAGE)
FORGE(half_size_zero, t->c->half_size = 0)
FORGE(half_size_page, t->c->half_size = VMSHM_PAGE)
FORGE(half_size_odd, t->c->half_size -= 1)
FORGE(half_size_segment, t->c->half_size = t->size)
FORGE(half_size_wraps, t->c->half_size = -(u64)VMSHM_PAGE)
FORGE(channel_member_outside, t->c->member[0] = 7)
FORGE(channel_member_huge, t->c->member[1] = UINT32_MAX)
FORGE(channel_members_same, t->c->member[1] = t->c->member[0])
FORGE(sides_same, t->c->side_off[1] = t->c->side_off[0])
FORGE(sides_overlap, t->c->side_off[1] = t->c->side_off[0] + VMSHM_PAGE)
FORGE(halves_same, t->c->half_off[1] = t->c->half_off[0])
FORGE(half_over_side, t->c->half_off[1] = t->c->side_off[0])

static const struct forgery forgeries[] = {
	{ "nothing is forged", nothing, NULL },
	{ "magic", magic, header },
	{ "magic 0, as while the daemon prepares it", magic_zero, header },
	{ "a newer major ABI version", major_newer, "the daemon speaks ABI 2." },
	{ "major ABI version 0", major_zero, "the daemon speaks ABI 0." },
	{ "a newer minor ABI version is accepted", minor_newer, NULL },
	{ "segment_size halved", size_half, "the header speaks of" },
	{ "segment_size doubled", size_double, "the header speaks of" },
	{ "segment_size 0", size_zero, "the header speaks of" },
	{ "segment_size 2^64 - 1", size_huge, "the header speaks of" },
	{ "nr_members 0", members_none, tables_lie },
	{ "nr_members 1", members_one, tables_lie },
	{ "nr_members 3 in a couple", members_three, tables_lie },
	{ "nr_members 2^32 - 1", members_huge, tables_lie },
	{ "nr_channels 0", channels_none, tables_lie },
	{ "nr_channels 2 in a couple", channels_two, tables_lie },
	{ "nr_channels 2^32 - 1", channels_huge, tables_lie },
	{ "member_off in the header", member_off_header, tables_lie },
	{ "member_off at the end of the segment", member_off_end, tables_lie },
	{ "member_off whose table crosses the end", member_off_across, tables_lie },
	{ "member_off not aligned", member_off_odd, tables_lie },
	{ "member_off that wraps around", member_off_wraps, tables_lie },
	{ "channel_off in the header", channel_off_header, tables_lie },
	{ "channel_off at the end of the segment", channel_off_end, tables_lie },
	{ "channel_off whose table crosses the end", channel_off_across, tables_lie },
	{ "channel_off not aligned", channel_off_odd, tables_lie },
	{ "channel_off that wraps around", channel_off_wraps, tables_lie },
	{ "a couple that says it is a group", group, members_lie },
	{ "a group with 65 members", group_many_members, tables_lie },
	{ "a group with 2017 channels", group_many_channels, tables_lie },
	{ "a group in which this VM has another CID", group_other_cid, cid_lies },
	{ "ivshmem_id of both members", ids_wrong, members_lie },
	{ "this VM's ivshmem_id", id_mine, members_lie },
	{ "the peer's ivshmem_id", id_peer, ids_lie },
	{ "ivshmem_ids exchanged", ids_swapped, members_lie },
	{ "both members with this VM's ivshmem_id", ids_same, ids_lie },
	{ "this VM's CID", cid_mine, ids_lie },
	{ "this VM's CID 2^32 - 1", cid_mine_any, ids_lie },
	{ "this VM's CID 1", cid_mine_local, ids_lie },
	{ "this VM's CID, and the peer's ivshmem_id to fit it", cid_mine_and_id, cid_lies },
	{ "the peer's CID", cid_peer, members_lie },
	{ "the peer's CID 1", cid_peer_local, members_lie },
	{ "the peer with this VM's CID", cids_same, members_lie },
	{ "side_off in the header", side_header, channel_lies },
	{ "side_off at the end of the segment", side_end, channel_lies },
	{ "side_off whose area crosses the end", side_across, channel_lies },
	{ "side_off not aligned", side_odd, channel_lies },
	{ "side_off that wraps around", side_wraps, channel_lies },
	{ "side_off whose area ends at 2^64", side_wraps_2, channel_lies },
	{ "half_off in the header", half_header, channel_lies },
	{ "half_off at the end of the segment", half_end, channel_lies },
	{ "a half that crosses the end", half_across, channel_lies },
	{ "half_off not aligned", half_odd, channel_lies },
	{ "half_off that wraps around", half_wraps, channel_lies },
	{ "half_size 0", half_size_zero, channel_lies },
	{ "half_size too small for a ring", half_size_page, channel_lies },
	{ "half_size not aligned", half_size_odd, channel_lies },
	{ "half_size of the whole segment", half_size_segment, channel_lies },
	{ "half_size that wraps around", half_size_wraps, channel_lies },
	{ "a channel of a member that is not there", channel_member_outside, channel_lies },
	{ "a channel of member 2^32 - 1", channel_member_huge, channel_lies },
	{ "a channel of one member with itself", channel_members_same, channel_lies },
	{ "both sides in the same place", sides_same, channel_lies },
	{ "sides that overlap", sides_overlap, channel_lies },
	{ "both halves in the same place", halves_same, channel_lies },
	{ "a half over a side's area", half_over_side, channel_lies },
};

/* ---- the kernel's log ---- */

struct log {
	int fd;
	int complaints;		/* lines of warning or worse, but for the core's */
	char line[400];		/* the first of them */
};

static void log_start(struct log *log)
{
	log->fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (log->fd < 0)
		die("/dev/kmsg: %s", strerror(errno));
	lseek(log->fd, 0, SEEK_END);
	log->complaints = 0;
	log->line[0] = 0;
}

/*
 * The driver core adds a line of its own when a probe fails, and the clock has
 * one for a host that left the VM waiting.
 */
static bool is_of_the_core(const char *text)
{
	return (strstr(text, "probe") && strstr(text, "failed with error")) ||
	       strstr(text, "hrtimer: interrupt took");
}

static void log_read(struct log *log)
{
	char record[1024], *text;
	ssize_t n;

	while ((n = read(log->fd, record, sizeof(record) - 1)) > 0) {
		record[n] = 0;
		text = strchr(record, ';');
		if (!text || (strtoul(record, NULL, 10) & 7) > 4 || is_of_the_core(text))
			continue;
		text[strcspn(text, "\n")] = 0;
		if (!log->complaints++)
			snprintf(log->line, sizeof(log->line), "%.399s", text + 1);
	}
	close(log->fd);
}

/* ---- a case ---- */

static struct segment seg;
static u8 *whole;		/* what the header and the tables said at first */
static u64 whole_size;

static struct tables tables_of(u32 peer)
{
	struct tables t = { .h = (void *)seg.mem, .size = seg.size };
	struct vmshm_member *members = (void *)(seg.mem + t.h->member_off);
	bool first = members[0].cid == peer;

	t.peer = &members[!first];
	t.mine = &members[first];
	t.c = (void *)(seg.mem + t.h->channel_off);
	return t;
}

/* NULL, or what is wrong. */
static const char *try_forgery(const struct forgery *f, u32 peer, struct log *log)
{
	struct tables t;
	int err;

	segment_map(&seg);
	t = tables_of(peer);
	f->forge(&t);
	segment_unmap(&seg);

	log_start(log);
	err = segment_bind(&seg);
	log_read(log);
	if (!err)
		segment_unbind(&seg);
	segment_map(&seg);
	memcpy(seg.mem, whole, whole_size);
	segment_unmap(&seg);

	if (!f->named && err)
		return "was refused";
	if (!f->named && log->complaints)
		return "was accepted with a complaint in the log";
	if (!f->named)
		return NULL;
	if (!err)
		return "was accepted";
	if (!log->complaints)
		return "was refused without a line in the log";
	if (log->complaints > 1)
		return "was refused with more than one line in the log";
	if (!strstr(log->line, f->named))
		return "was refused with a line that does not name it";
	return NULL;
}

/* The channel comes up by itself when the driver is bound; NULL or what is wrong. */
static const char *try_connection(u32 peer, u32 port)
{
	static char why[80];
	int fd = -1, err;

	err = segment_bind(&seg);
	if (err) {
		snprintf(why, sizeof(why), "cannot be bound again: %s", errno_name(err));
		return why;
	}
	fd = connect_to(peer, port);
	err = fd < 0 ? errno : 0;
	if (!err) {
		set_limits(fd, 5000);
		err = echo_check(fd, 100000);
		close(fd);
	}
	if (!err)
		return NULL;
	snprintf(why, sizeof(why), "no connection afterwards: %s", errno_name(err));
	return why;
}

int main(int argc, char **argv)
{
	const size_t n = sizeof(forgeries) / sizeof(forgeries[0]);
	unsigned int failed = 0, tap = 0, plan = 0;
	const struct vmshm_header *h;
	const char *only;
	u32 peer, port;

	if (argc < 3 || argc > 4)
		die("usage: forged PEER PORT [TEXT]");
	only = argc > 3 ? argv[3] : "";
	peer = strtoul(argv[1], NULL, 10);
	port = strtoul(argv[2], NULL, 10);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < n; i++)
		plan += !!strstr(forgeries[i].name, only);
	printf("TAP version 13\n1..%u\n", plan);

	segment_find(&seg, peer);
	segment_unbind(&seg);
	segment_map(&seg);
	h = (const void *)seg.mem;
	whole_size = h->channel_off + h->nr_channels * sizeof(struct vmshm_channel);
	if (h->member_off + h->nr_members * sizeof(struct vmshm_member) > whole_size)
		whole_size = h->member_off + h->nr_members * sizeof(struct vmshm_member);
	whole = malloc(whole_size);
	if (!whole)
		die("no memory");
	memcpy(whole, seg.mem, whole_size);
	segment_unmap(&seg);

	for (size_t i = 0; i < n; i++) {
		const struct forgery *f = &forgeries[i];
		const char *wrong, *after;
		struct log log;

		if (!strstr(f->name, only))
			continue;
		wrong = try_forgery(f, peer, &log);
		after = try_connection(peer, port);
		segment_unbind(&seg);
		printf("%s %u - %s\n", wrong || after ? "not ok" : "ok", ++tap, f->name);
		if (wrong)
			printf("# it %s\n", wrong);
		if (wrong && log.complaints)
			printf("# %d lines, the first: %s\n", log.complaints, log.line);
		if (after)
			printf("# %s\n", after);
		failed += wrong || after;
	}
	if (segment_bind(&seg))
		die("cannot bind %s again", seg.bdf);
	return failed != 0;
}
