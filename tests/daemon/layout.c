// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a client finds in the memory that it is sent, against vmshm/layout.h:
 * every field, that nothing overlaps, that the rest is zero and not allocated,
 * that the seals hold.
 */
#include "harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct wanted {
	const char *segment;
	u64 size;
	unsigned int vectors;
	bool shared;
	unsigned int members;	/* m0, m1, ... with CIDs 10, 11, ... */
};

static const struct wanted table[] = {
	{ "couple", 256ULL << 20, 2, false, 2 },
	{ "smallest", 1ULL << 20, 1, false, 2 },
	{ "largest", 64ULL << 30, 64, false, 2 },
	{ "pair", 1ULL << 21, 3, true, 2 },
	{ "trio", 1ULL << 30, 2, true, 3 },
	{ "crowd", 1ULL << 30, 1, true, 64 },
};

static unsigned int cid_of(unsigned int row, unsigned int index)
{
	return 1000 * (row + 1) + index;
}

static char *configuration(void)
{
	size_t size = 0, i, j;
	char *text;
	FILE *f = open_memstream(&text, &size);

	fprintf(f, "memory_limit = \"128G\"; members = (");
	for (i = 0; i < NR(table); i++)
		for (j = 0; j < table[i].members; j++)
			fprintf(f, "%s{ name = \"s%zum%zu\"; cid = %u; }", i + j ? ",\n" : "", i, j,
				cid_of((unsigned int)i, (unsigned int)j));
	fprintf(f, ");\nsegments = (");
	for (i = 0; i < NR(table); i++) {
		fprintf(f,
			"%s{ name = \"%s\"; size = \"%lluK\"; vectors = %u; shared = %s; members = [",
			i ? ",\n" : "", table[i].segment, (unsigned long long)table[i].size >> 10,
			table[i].vectors, table[i].shared ? "true" : "false");
		for (j = 0; j < table[i].members; j++)
			fprintf(f, "%s\"s%zum%zu\"", j ? "," : "", i, j);
		fprintf(f, "]; }");
	}
	fprintf(f, ");\n");
	fclose(f);
	return text;
}

/* Pieces of the segment in use, to find overlaps: sorted by where they begin. */
struct piece {
	u64 off, len;
};

static int by_offset(const void *one, const void *other)
{
	u64 a = ((const struct piece *)one)->off, b = ((const struct piece *)other)->off;

	return (a > b) - (a < b);
}

static bool disjoint(struct piece *pieces, size_t count, u64 size)
{
	bool fine = true;

	qsort(pieces, count, sizeof(*pieces), by_offset);
	for (size_t i = 0; i < count; i++) {
		u64 end = i + 1 < count ? pieces[i + 1].off : size;

		fine &= pieces[i].off + pieces[i].len <= end;
	}
	return fine;
}

static bool zero_from(const void *base, size_t len, size_t from)
{
	return is_zero((const u8 *)base + from, len - from);
}

static void check_header(const struct fake *f, const struct wanted *w)
{
	const struct vmshm_header *h = fake_header(f);
	unsigned int channels = w->members * (w->members - 1) / 2;
	char name[VMSHM_NAME_LEN] = "";

	strcpy(name, w->segment);
	ok(vmshm_word_read(&h->magic) == VMSHM_MAGIC, "%s: magic", w->segment);
	ok(h->abi_version == VMSHM_ABI_VERSION, "%s: ABI version", w->segment);
	ok(h->flags == (w->shared ? VMSHM_SEG_GROUP : 0), "%s: flags", w->segment);
	ok(f->size == w->size && h->segment_size == w->size, "%s: size", w->segment);
	ok(h->features == 0, "%s: features", w->segment);
	ok(!is_zero(h->uuid, sizeof(h->uuid)), "%s: uuid", w->segment);
	ok(h->nr_members == w->members && h->nr_channels == channels, "%s: counts", w->segment);
	ok(!memcmp(h->name, name, sizeof(name)), "%s: name", w->segment);
	ok(zero_from(h, sizeof(*h), 104), "%s: the header's rest is zero", w->segment);
}

static void check_members(const struct fake *f, const struct wanted *w, unsigned int row)
{
	bool cids = true, ids = true, vectors = true, names = true, rest = true, presence = true;

	for (unsigned int i = 0; i < w->members; i++) {
		const struct vmshm_member *m = fake_member(f, i);
		char name[VMSHM_NAME_LEN] = "";

		snprintf(name, sizeof(name), "s%um%u", row, i);
		cids &= m->cid == cid_of(row, i);
		ids &= m->ivshmem_id == cid_of(row, w->shared ? i : 1 - i);
		vectors &= m->vectors == w->vectors;
		names &= !memcmp(m->name, name, sizeof(name));
		presence &= vmshm_word_read(&m->presence) == (i == 0);
		rest &= !m->drain && zero_from(m, sizeof(*m), 56);
	}
	ok(cids, "%s: CIDs", w->segment);
	ok(ids, "%s: IDs are %s", w->segment, w->shared ? "one's own CID" : "the peer's CID");
	ok(vectors, "%s: vectors", w->segment);
	ok(names, "%s: names of members", w->segment);
	ok(presence, "%s: one member is present", w->segment);
	ok(rest, "%s: the table of members is zero otherwise", w->segment);
}

static void check_channels(const struct fake *f, const struct wanted *w)
{
	const struct vmshm_header *h = fake_header(f);
	struct piece *pieces = calloc(4 * h->nr_channels + 3, sizeof(*pieces));
	bool seen[FAKE_MEMBERS][FAKE_MEMBERS] = { { false } };
	bool couples = true, aligned = true, rest = true;
	u64 used = 0;
	size_t n = 0;

	pieces[n++] = (struct piece){ 0, sizeof(*h) };
	pieces[n++] = (struct piece){ h->member_off, h->nr_members * sizeof(struct vmshm_member) };
	pieces[n++] = (struct piece){ h->channel_off,
				      h->nr_channels * sizeof(struct vmshm_channel) };
	for (unsigned int i = 0; i < h->nr_channels; i++) {
		const struct vmshm_channel *c = fake_channel(f, i);

		couples &= c->member[0] < w->members && c->member[1] < w->members &&
			   c->member[0] != c->member[1];
		if (couples) {
			couples = !seen[c->member[0]][c->member[1]];
			seen[c->member[0]][c->member[1]] = true;
			seen[c->member[1]][c->member[0]] = true;
		}
		for (unsigned int k = 0; k < 2; k++) {
			pieces[n++] = (struct piece){ c->side_off[k], VMSHM_SIDE_SIZE };
			pieces[n++] = (struct piece){ c->half_off[k], c->half_size };
			aligned &= !(c->side_off[k] % VMSHM_PAGE) && !(c->half_off[k] % VMSHM_PAGE);
		}
		aligned &= c->half_size && !(c->half_size % VMSHM_PAGE) &&
			   c->half_size == fake_channel(f, 0)->half_size;
		rest &= zero_from(c, sizeof(*c), 48);
		used += 2 * (c->half_size + VMSHM_SIDE_SIZE);
	}
	ok(couples, "%s: each couple has one channel", w->segment);
	ok(aligned, "%s: sides and halves begin on pages, halves are equal", w->segment);
	ok(rest, "%s: the table of channels is zero otherwise", w->segment);
	ok(disjoint(pieces, n, w->size), "%s: nothing overlaps or leaves the segment", w->segment);
	ok(used > w->size / 100 * 95, "%s: channels take %u %% of it", w->segment,
	   (unsigned int)(used / (w->size / 100)));
	free(pieces);
}

static void check_memory(const struct fake *f, const struct wanted *w)
{
	const struct vmshm_header *h = fake_header(f);
	u64 tables = h->channel_off + h->nr_channels * sizeof(struct vmshm_channel);
	u64 pages = (tables + VMSHM_PAGE - 1) / VMSHM_PAGE * VMSHM_PAGE;
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	u64 blocks = fake_blocks(f);
	u8 byte = 1;

	if (!ok(blocks == pages, "%s: only header and tables take memory", w->segment))
		diag("%llu bytes, expected %llu", (unsigned long long)blocks,
		     (unsigned long long)pages);
	ok(lseek(f->memfd, (off_t)pages, SEEK_DATA) < 0 && errno == ENXIO,
	   "%s: there is nothing behind them", w->segment);
	ok(zero_from(f->map, pages, tables), "%s: their last page is zero behind them", w->segment);
	ok(fcntl(f->memfd, F_GET_SEALS) == seals, "%s: the seals", w->segment);
	ok(ftruncate(f->memfd, (off_t)w->size / 2) && errno == EPERM, "%s: cannot shrink",
	   w->segment);
	ok(ftruncate(f->memfd, (off_t)w->size * 2) && errno == EPERM, "%s: cannot grow",
	   w->segment);
	ok(pwrite(f->memfd, &byte, 1, (off_t)w->size) < 0, "%s: no write behind its end",
	   w->segment);
	ok(fcntl(f->memfd, F_ADD_SEALS, F_SEAL_WRITE) && errno == EPERM, "%s: no further seals",
	   w->segment);
}

static void check_messages(const struct fake *f, const struct wanted *w, unsigned int row)
{
	bool peers = f->nr_peers == w->members - 1, vectors = f->own.nr == w->vectors;

	for (unsigned int i = 0; i < f->nr_peers; i++) {
		peers &= f->peers[i].id == cid_of(row, w->shared ? i + 1 : 0);
		vectors &= f->peers[i].nr == w->vectors;
	}
	ok(f->version == 0, "%s: version of the protocol", w->segment);
	ok(f->id == cid_of(row, w->shared ? 0 : 1), "%s: the ID", w->segment);
	ok(f->in_order, "%s: messages in order", w->segment);
	ok(peers, "%s: the others' IDs", w->segment);
	ok(vectors, "%s: an eventfd for each vector", w->segment);
}

int main(void)
{
	u8 uuids[NR(table)][16];
	char *conf = configuration();
	struct vmshmd d;
	struct fake f;
	int64_t value;
	int fd;

	daemon_start(&d, conf);
	for (unsigned int i = 0; i < NR(table); i++) {
		const struct wanted *w = &table[i];
		char member[16];

		snprintf(member, sizeof(member), "s%um0", i);
		if (!ok(fake_join(&f, &d, w->segment, member, w->members, w->vectors),
			"%s: all messages come", w->segment))
			continue;
		ok(fake_receive(f.socket, &value, &fd, 50) == -1, "%s: and no more", w->segment);
		check_messages(&f, w, i);
		check_header(&f, w);
		check_members(&f, w, i);
		check_channels(&f, w);
		check_memory(&f, w);
		memcpy(uuids[i], fake_header(&f)->uuid, sizeof(uuids[i]));
		for (unsigned int j = 0; j < i; j++)
			need(memcmp(uuids[i], uuids[j], sizeof(uuids[i])), "two equal UUIDs");
		fake_leave(&f);
	}
	ok(daemon_said(&d, "gives up isolation") == 3, "the log says what each group gives up");
	ok(daemon_said(&d, "a couple: ") == 3, "the log names the couples");
	daemon_end(&d);
	free(conf);
	return done();
}
