/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frames between lab-exec on the host and the agent in a VM.
 *
 * A virtio-serial port is a byte stream that outlives its users: a client that
 * is killed leaves half a frame behind, and the next one must not be confused
 * by it. So frames are delimited as HDLC does it: LAB_FLAG begins and ends a
 * frame and occurs nowhere else, LAB_ESC announces a changed byte. A frame says
 * its length, so a cut one is dropped, and its session, so a late one is.
 *
 * The guest learns by another queue that a port was opened or closed on the
 * host, so it can't tell which client a notice speaks of. When a port was closed
 * for a moment the agent says LAB_HELLO: the client whose command that is says
 * LAB_HERE, another one says again what it wants (the agent takes it once). And
 * QEMU drops such a notice when that queue is full, which leaves the port deaf:
 * a client first asks, connects anew when there is no answer, and says LAB_RUN
 * over a connection that works. LAB_EXIT counts the bytes that went before.
 *
 * Host and guest are the same architecture: words are in native byte order.
 * Here: the frame format and its codec. Not here: what either side does.
 */
#ifndef LAB_PROTO_H
#define LAB_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LAB_FLAG	0x7e
#define LAB_ESC		0x7d
#define LAB_FLIP	0x20

#define LAB_CHUNK	16384		/* bytes of stream data in a frame, at most */
#define LAB_RUN_MAX	(1 << 20)	/* bytes of a LAB_RUN payload, at most */
#define LAB_WINDOW	65536		/* bytes of stdin under way, at most */

enum lab_type {
	LAB_NOTHING,
	/* host to guest */
	LAB_ASK,	/* is the port alive? */
	LAB_RUN,	/* strings, see below: start a command, end the last one */
	LAB_STDIN,	/* bytes for its standard input */
	LAB_EOF,	/* end of its standard input */
	LAB_HERE,	/* answer to LAB_HELLO: that command is mine */
	/* guest to host */
	LAB_READY,	/* answer to LAB_ASK */
	LAB_STARTED,	/* LAB_RUN was understood */
	LAB_STDOUT,	/* bytes */
	LAB_STDERR,	/* bytes */
	LAB_ACK,	/* uint32_t: so many bytes of stdin were taken */
	LAB_EXIT,	/* struct lab_exit */
	LAB_HELLO,	/* the port was opened; its last command had this session, or 0 */
};

/*
 * A LAB_RUN payload is a row of strings, each with its terminating zero and a
 * first character that says what it is.
 */
#define LAB_STR_CWD	'C'	/* working directory, an error if it isn't there */
#define LAB_STR_TRYCWD	'c'	/* the same, / if it isn't there */
#define LAB_STR_ENV	'E'	/* NAME=value */
#define LAB_STR_STDIN	'I'	/* standard input will come; else /dev/null */
#define LAB_STR_ARG	'A'	/* one argument, the command being the first */

struct lab_header {
	uint64_t session;
	uint32_t len;
	uint32_t type;
};

struct lab_exit {
	uint32_t status;	/* exit status, 128 + n for signal n */
	uint32_t pad;
	uint64_t bytes;		/* of stdout and stderr, all together */
};

struct lab_buf {
	uint8_t *data;
	size_t start;		/* first byte not yet written */
	size_t len;		/* bytes from start */
	size_t size;
};

struct lab_decoder {
	uint8_t *data;
	size_t len;
	size_t size;
	bool escaped;
	bool overflow;
};

static inline void lab_buf_byte(struct lab_buf *buf, uint8_t byte)
{
	if (buf->start + buf->len == buf->size) {
		if (buf->start > buf->size / 2) {
			memmove(buf->data, buf->data + buf->start, buf->len);
			buf->start = 0;
		} else {
			buf->size = buf->size ? 2 * buf->size : 65536;
			buf->data = realloc(buf->data, buf->size);
			if (!buf->data)
				abort();
		}
	}
	buf->data[buf->start + buf->len++] = byte;
}

static inline void lab_buf_took(struct lab_buf *buf, size_t n)
{
	buf->start += n;
	buf->len -= n;
	if (!buf->len)
		buf->start = 0;
}

static inline void lab_put_bytes(struct lab_buf *buf, const void *from, size_t n)
{
	const uint8_t *p = from;

	for (; n; n--, p++) {
		if (*p == LAB_FLAG || *p == LAB_ESC) {
			lab_buf_byte(buf, LAB_ESC);
			lab_buf_byte(buf, *p ^ LAB_FLIP);
		} else {
			lab_buf_byte(buf, *p);
		}
	}
}

static inline void lab_put(struct lab_buf *buf, enum lab_type type, uint64_t session,
			   const void *payload, size_t n)
{
	struct lab_header header = { .session = session, .len = n, .type = type };

	lab_buf_byte(buf, LAB_FLAG);
	lab_put_bytes(buf, &header, sizeof(header));
	lab_put_bytes(buf, payload, n);
	lab_buf_byte(buf, LAB_FLAG);
}

/* Takes one byte; true when it ended a sound frame, which lab_header() and lab_payload() read. */
static inline bool lab_take(struct lab_decoder *dec, uint8_t byte)
{
	struct lab_header header;
	size_t len = dec->len;

	if (byte == LAB_FLAG) {
		bool sound = !dec->escaped && !dec->overflow && len >= sizeof(header);

		dec->len = 0;
		dec->escaped = false;
		dec->overflow = false;
		if (!sound)
			return false;
		memcpy(&header, dec->data, sizeof(header));
		return header.len == len - sizeof(header);
	}
	if (byte == LAB_ESC) {
		dec->escaped = true;
		return false;
	}
	if (dec->escaped) {
		byte ^= LAB_FLIP;
		dec->escaped = false;
	}
	if (dec->len == dec->size) {
		if (dec->size >= 2 * LAB_RUN_MAX) {
			dec->overflow = true;
			return false;
		}
		dec->size = dec->size ? 2 * dec->size : 65536;
		dec->data = realloc(dec->data, dec->size);
		if (!dec->data)
			abort();
	}
	dec->data[dec->len++] = byte;
	return false;
}

static inline struct lab_header lab_header(const struct lab_decoder *dec)
{
	struct lab_header header;

	memcpy(&header, dec->data, sizeof(header));
	return header;
}

static inline uint8_t *lab_payload(const struct lab_decoder *dec)
{
	return dec->data + sizeof(struct lab_header);
}

#endif /* LAB_PROTO_H */
