/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: events/vmshm/ in tracefs.  CIDs, ports and numbers as the
 * socket shows them; lengths in bytes; err is negative as the call returns it.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vmshm

#if !defined(_AF_VMSHM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _AF_VMSHM_TRACE_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(vmshm_peer,
	TP_PROTO(u32 cid, u32 local_port, u32 peer_port, int err),
	TP_ARGS(cid, local_port, peer_port, err),
	TP_STRUCT__entry(
		__field(u32, cid)
		__field(u32, local_port)
		__field(u32, peer_port)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->cid = cid;
		__entry->local_port = local_port;
		__entry->peer_port = peer_port;
		__entry->err = err;
	),
	TP_printk("cid=%u local_port=%u peer_port=%u err=%d",
		  __entry->cid, __entry->local_port, __entry->peer_port, __entry->err)
);

/* connect() returns */
DEFINE_EVENT(vmshm_peer, vmshm_connect,
	TP_PROTO(u32 cid, u32 local_port, u32 peer_port, int err),
	TP_ARGS(cid, local_port, peer_port, err));

/* accept() returns a socket */
DEFINE_EVENT(vmshm_peer, vmshm_accept,
	TP_PROTO(u32 cid, u32 local_port, u32 peer_port, int err),
	TP_ARGS(cid, local_port, peer_port, err));

/* a connection ends, and not in order */
DEFINE_EVENT(vmshm_peer, vmshm_reset,
	TP_PROTO(u32 cid, u32 local_port, u32 peer_port, int err),
	TP_ARGS(cid, local_port, peer_port, err));

DECLARE_EVENT_CLASS(vmshm_copy,
	TP_PROTO(u32 cid, u32 id, size_t len, ssize_t done),
	TP_ARGS(cid, id, len, done),
	TP_STRUCT__entry(
		__field(u32, cid)
		__field(u32, id)
		__field(size_t, len)
		__field(ssize_t, done)
	),
	TP_fast_assign(
		__entry->cid = cid;
		__entry->id = id;
		__entry->len = len;
		__entry->done = done;
	),
	TP_printk("cid=%u id=%u len=%zu done=%zd",
		  __entry->cid, __entry->id, __entry->len, __entry->done)
);

/* send() returns */
DEFINE_EVENT(vmshm_copy, vmshm_send,
	TP_PROTO(u32 cid, u32 id, size_t len, ssize_t done),
	TP_ARGS(cid, id, len, done));

/* recv() returns */
DEFINE_EVENT(vmshm_copy, vmshm_recv,
	TP_PROTO(u32 cid, u32 id, size_t len, ssize_t done),
	TP_ARGS(cid, id, len, done));

/* the peer is rung; id 0: for control messages or the handshake */
TRACE_EVENT(vmshm_doorbell,
	TP_PROTO(u32 cid, u32 peer_id, u32 why),
	TP_ARGS(cid, peer_id, why),
	TP_STRUCT__entry(
		__field(u32, cid)
		__field(u32, peer_id)
		__field(u32, why)
	),
	TP_fast_assign(
		__entry->cid = cid;
		__entry->peer_id = peer_id;
		__entry->why = why;
	),
	TP_printk("cid=%u peer_id=%u why=%#x", __entry->cid, __entry->peer_id, __entry->why)
);

/* the peer's doorbell wakes a socket */
TRACE_EVENT(vmshm_wakeup,
	TP_PROTO(u32 cid, u32 id),
	TP_ARGS(cid, id),
	TP_STRUCT__entry(
		__field(u32, cid)
		__field(u32, id)
	),
	TP_fast_assign(
		__entry->cid = cid;
		__entry->id = id;
	),
	TP_printk("cid=%u id=%u", __entry->cid, __entry->id)
);

#endif /* _AF_VMSHM_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
