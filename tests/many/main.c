// SPDX-License-Identifier: GPL-2.0-only
/*
 * many: much at once between two VMs. Here: its arguments, and what the parts
 * share. They are in serve.c (the server), crowd.c (connections), share.c and
 * tail.c (fairness), cpus.c (processors).
 */
#include "many.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

static const char usage[] =
	"usage: many serve PORT POLL APART             for all that follow, on PORT and up\n"
	"       many crowd CID PORT COUNT ROUNDS SIZE  COUNT connections with buffers of SIZE bytes (0:\n"
	"                                              no wish); each moves data in ROUNDS rounds\n"
	"       many fill CID PORT SIZE                connections until there is no room for more,\n"
	"                                              and again after some have closed\n"
	"       many share CID PORT STREAMS SECONDS    streams at full speed: what each of them gets\n"
	"       many pauses CID PORT STREAMS PAUSING SECONDS    all of them beside others that pause\n"
	"       many tail CID PORT ROUNDS MS POLL APART\n"
	"                                              round trips, in turns alone, beside a bulk stream\n"
	"                                              and beside a busy thread in each VM\n"
	"       many cpus CID PORT THEIRS KIB          senders and receivers on each couple of CPUs, of\n"
	"                                              which the server's VM has THEIRS\n"
	"       many woken CID PORT CPU TRIPS          round trips that sleep, on CPU in both VMs\n"
	"POLL: microseconds of busy-poll before a call sleeps, 0: none, -1: as long as it pays\n"
	"APART: 1: round trips on the last CPU, what is beside them on the first; 0: anywhere\n";

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	fputs("many: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static long number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end) {
		fprintf(stderr, "many: '%s' is no number\n%s", text, usage);
		exit(2);
	}
	return n;
}

int connected(unsigned int cid, unsigned int port)
{
	int fd = connect_to(cid, port);

	if (fd < 0)
		die("connect to port %u of CID %u: %s", port, cid, errno_name(errno));
	set_limits(fd, 30000);
	return fd;
}

void set_buffer(int fd, uint64_t bytes)
{
	if (setsockopt(fd, AF_VMSHM, SO_VMSHM_BUFFER_SIZE, &bytes, sizeof(bytes)))
		die("SO_VMSHM_BUFFER_SIZE %llu: %s", (unsigned long long)bytes, errno_name(errno));
}

void set_busy_poll(int fd, int us)
{
	if (setsockopt(fd, AF_VMSHM, SO_VMSHM_BUSY_POLL, &us, sizeof(us)))
		die("SO_VMSHM_BUSY_POLL %d: %s", us, errno_name(errno));
}

void raise_descriptors(void)
{
	struct rlimit limit = { 200000, 200000 };

	if (setrlimit(RLIMIT_NOFILE, &limit))
		die("no %lu descriptors: %s", (unsigned long)limit.rlim_cur, errno_name(errno));
}

void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("no CPU %d to run on: %s", cpu, errno_name(errno));
}

void keep_busy(void)
{
	for (volatile int i = 0; i < 100000; i++)
		;
}

int cpu_count(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

uint64_t slab_bytes(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	unsigned long long kib = 0;
	char line[100];

	if (!file)
		die("/proc/meminfo: %s", errno_name(errno));
	while (fgets(line, sizeof(line), file) && sscanf(line, "Slab: %llu", &kib) != 1)
		;
	fclose(file);
	return kib << 10;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

double median(double *values, int n)
{
	qsort(values, n, sizeof(*values), by_value);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	long arg[6] = { 0 };

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 2; i < argc && i < 8; i++)
		arg[i - 2] = number(argv[i]);
	if (!strcmp(what, "serve") && argc == 5)
		return serve(arg[0], arg[1], arg[2]);
	if (!strcmp(what, "crowd") && argc == 7)
		return crowd(arg[0], arg[1], arg[2], arg[3], arg[4]);
	if (!strcmp(what, "fill") && argc == 5)
		return fill(arg[0], arg[1], arg[2]);
	if (!strcmp(what, "share") && argc == 6)
		return share(arg[0], arg[1], arg[2], arg[3]);
	if (!strcmp(what, "pauses") && argc == 7)
		return pauses(arg[0], arg[1], arg[2], arg[3], arg[4]);
	if (!strcmp(what, "tail") && argc == 8)
		return tail(arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	if (!strcmp(what, "cpus") && argc == 6)
		return cpus(arg[0], arg[1], arg[2], arg[3]);
	if (!strcmp(what, "woken") && argc == 6)
		return woken(arg[0], arg[1], arg[2], arg[3]);
	fputs(usage, stderr);
	return 2;
}
