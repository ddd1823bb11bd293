// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin for QEMU's TCG that counts how often the guest executes each
 * instruction, by its address, in windows that the guest's program marks
 * (marker.h). It costs the guest no instruction: QEMU adds the counting to the
 * code that it generates. bench/layers/run makes functions and layers of it.
 *
 *	-plugin layers.so,out=FILE
 *
 * FILE gets one record a window, of the machine's own byte order: the marker's
 * number and how many pairs follow (32 bits each), and the pairs, address and
 * count (64 bits each). All user-space addresses together are address 0.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "marker.h"
#include "qemu-plugin.h"

#define EXPORT __attribute__((visibility("default")))
#define KERNEL_HALF	(1ULL << 63)
#define SLOTS		(1U << 21)	/* of the hash table; a kernel executes a quarter of it */

EXPORT int qemu_plugin_version = 1;

/* Open addressing; the generated code holds pointers into it, so it never grows. */
static struct counter {
	uint64_t address, count;
} *counters;
static unsigned int used;
static struct counter user;	/* all of user space */
static FILE *out;

static uint64_t *counter_of(uint64_t address)
{
	unsigned int slot = (address * 0x9e3779b97f4a7c15ULL) >> 43;

	if (!(address & KERNEL_HALF))
		return &user.count;
	while (counters[slot].address && counters[slot].address != address)
		slot = (slot + 1) % SLOTS;
	if (!counters[slot].address) {
		if (++used > SLOTS / 4 * 3) {
			fprintf(stderr, "layers plugin: the guest executes too many addresses\n");
			exit(1);
		}
		counters[slot].address = address;
	}
	return &counters[slot].count;
}

static void put(const void *what, size_t bytes)
{
	if (fwrite(what, bytes, 1, out) != 1) {
		fprintf(stderr, "layers plugin: cannot write: %s\n", strerror(errno));
		exit(1);
	}
}

static void put_counter(const struct counter *c)
{
	if (c->count)
		put(c, sizeof(*c));
}

/* The guest executed a marker: its number is data. */
static void window(unsigned int vcpu, void *data)
{
	uint32_t head[2] = { (uintptr_t)data, !!user.count };

	(void)vcpu;
	if (head[0] != MARKER_FORGET) {
		for (unsigned int i = 0; i < SLOTS; i++)
			head[1] += !!counters[i].count;
		put(head, sizeof(head));
		put_counter(&user);
		for (unsigned int i = 0; i < SLOTS; i++)
			put_counter(&counters[i]);
		fflush(out);
	}
	for (unsigned int i = 0; i < SLOTS; i++)
		counters[i].count = 0;
	user.count = 0;
}

static bool is_marker(const struct qemu_plugin_insn *insn, uint32_t *number)
{
	const uint8_t *bytes = qemu_plugin_insn_data(insn);
	uint32_t address;

	if (qemu_plugin_insn_size(insn) != MARKER_BYTES || memcmp(bytes, "\x0f\x1f\x80", 3))
		return false;
	memcpy(&address, bytes + 3, sizeof(address));
	*number = address & 0xff;
	return (address & ~0xffU) == MARKER_MAGIC;
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t *counter = counter_of(qemu_plugin_insn_vaddr(insn));
		uint32_t number;

		if (is_marker(insn, &number))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, window, 0,
							       (void *)(uintptr_t)number);
		else
			qemu_plugin_register_vcpu_insn_exec_inline(insn, 0, counter, 1);
	}
}

EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv)
{
	if (argc != 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "layers plugin: expected out=FILE and nothing else\n");
		return -1;
	}
	if (info->system_emulation && info->system.smp_vcpus > 1) {
		fprintf(stderr, "layers plugin: only one vCPU is counted exactly; this VM has %d\n",
			info->system.smp_vcpus);
		return -1;
	}
	out = fopen(argv[0] + 4, "wb");
	counters = calloc(SLOTS, sizeof(*counters));
	if (!out || !counters) {
		fprintf(stderr, "layers plugin: %s: %s\n", argv[0] + 4, strerror(errno));
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
