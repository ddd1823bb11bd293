/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts of the program share. Each part is a client that says in "name
 * value" lines what it measured; whoever ran it judges. Exit status 1: something
 * was wrong, and the last line on stderr says what.
 */
#ifndef TESTS_MANY_H
#define TESTS_MANY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/vmshm.h>

/* Ports of the server, from the one that it is given on. */
enum {
	PORT_CROWD,	/* echoes, one thread for all; small rings */
	PORT_ECHO,	/* echoes, a thread a connection */
	PORT_SINK,	/* reads, a thread a connection */
	PORT_CPUS,	/* echoes on the CPU that the first byte names */
	PORT_BUSY,	/* keeps a CPU busy until the connection is closed */
	PORT_SLAB,	/* says how many bytes this VM's kernel has in its slabs */
	PORTS
};

/*
 * Where in its buffer a stream's message I begins: a page further on each time. An
 * emulated CPU copies many times slower between pages that share an entry of its
 * translation cache; a buffer that stays in one place has that for ever with some rings
 * and never with others, and they get half of what the others get.
 */
#define PLACES		17	/* no power of two, as rings and messages are */
#define PLACES_BYTES	(PLACES << 12)

static inline size_t place_of(unsigned int i)
{
	return (size_t)(i % PLACES) << 12;
}

/* Bytes of the buffers of who asks for little. */
#define SMALL_BUFFER	4096

void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...);
/* A connected stream whose calls wait 30 s at the most; dies if there is none. */
int connected(unsigned int cid, unsigned int port);
void set_buffer(int fd, uint64_t bytes);
void set_busy_poll(int fd, int us);	/* or VMSHM_BUSY_POLL_ADAPTIVE */
void raise_descriptors(void);		/* as many as root may have */
void pin_to(int cpu);
void keep_busy(void);			/* for a millisecond or so */
int cpu_count(void);
uint64_t slab_bytes(void);		/* of this VM's kernel */
double median(double *values, int n);	/* sorts them */

/* @apart: bulk streams and busy threads on the first CPU, their round trips on the last */
int serve(unsigned int port, int poll_us, bool apart);
int crowd(unsigned int cid, unsigned int port, unsigned int count, unsigned int rounds,
	  uint64_t buffer);
int fill(unsigned int cid, unsigned int port, uint64_t buffer);
int share(unsigned int cid, unsigned int port, unsigned int streams, unsigned int seconds);
int pauses(unsigned int cid, unsigned int port, unsigned int streams, unsigned int pausing,
	   unsigned int seconds);
int tail(unsigned int cid, unsigned int port, unsigned int rounds, unsigned int ms, int poll_us,
	 bool apart);
int cpus(unsigned int cid, unsigned int port, unsigned int their_cpus, unsigned int kib);
int woken(unsigned int cid, unsigned int port, unsigned int cpu, unsigned int trips);

#endif /* TESTS_MANY_H */
