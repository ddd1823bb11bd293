/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records in a ring: what SOCK_SEQPACKET and SOCK_DGRAM put into the byte
 * stream of ring.h.  A record is a header of eight bytes, the data, and bytes
 * without meaning up to a multiple of eight; the next one begins there, so a
 * header lies at a multiple of eight and never wraps.
 *
 * A producer publishes whole records only, and a consumer takes whole records
 * only: no index is ever in the middle of one.  The barriers are the ring's.
 */
#ifndef _VMSHM_RECORD_H
#define _VMSHM_RECORD_H

#include "ring.h"

/* Bytes of a ring that a record of @len bytes takes. */
static inline u64 vmshm_record_bytes(u64 len)
{
	return sizeof(struct vmshm_record) + ((len + 7) & ~7ULL);
}

/* The longest record that a ring of @size bytes can hold. */
static inline u32 vmshm_record_most(u64 size)
{
	return (u32)(size - sizeof(struct vmshm_record));
}

/*
 * Say what the next record is, @skip bytes after the last one that was
 * published.  There is room for it (vmshm_prod_space()); its data may be
 * written before or afterwards, and vmshm_prod_publish() comes last.
 */
static inline void vmshm_record_put(struct vmshm_prod *p, u64 skip, u32 len, u32 info)
{
	u64 word = len | (u64)info << 32;

	vmshm_store((u64 *)(p->data + ((p->prod + skip) & (p->size - 1))), word);
}

/* The pieces to write @len bytes of the next record into, @at bytes into it. */
static inline int vmshm_record_put_spans(struct vmshm_prod *p, u64 at, u64 len,
					 struct vmshm_span span[2])
{
	return vmshm_spans(p->data, p->size, p->prod + sizeof(struct vmshm_record) + at, len,
			   span);
}

/*
 * The header of the next record, for a consumer that found bytes to read.
 * @most: the longest record that may come.  Returns 0, or -EPROTO when what is
 * there can't be a whole record.
 */
static inline int vmshm_record_get(struct vmshm_cons *c, u32 most, struct vmshm_record *r)
{
	u64 avail = c->prod - c->cons;
	u64 word;

	if (avail < sizeof(*r))
		return -EPROTO;
	word = vmshm_load((const u64 *)(c->data + (c->cons & (c->size - 1))));
	r->len = (u32)word;
	r->info = (u32)(word >> 32);
	if (r->len > most || vmshm_record_bytes(r->len) > avail)
		return -EPROTO;
	return 0;
}

/* The pieces to read @len bytes of the next record from, @at bytes into it. */
static inline int vmshm_record_get_spans(struct vmshm_cons *c, u64 at, u64 len,
					 struct vmshm_span span[2])
{
	return vmshm_spans(c->data, c->size, c->cons + sizeof(struct vmshm_record) + at, len,
			   span);
}

#endif /* _VMSHM_RECORD_H */
