// SPDX-License-Identifier: GPL-2.0-only
/*
 * SIGBUS as a return value: see guard.h.
 */
#include "guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

static sigjmp_buf back;
static volatile sig_atomic_t armed;

static void bus_error(int sig)
{
	if (armed)
		siglongjmp(back, 1);
	/* A fault of our own: the access is made again and ends the process. */
	signal(sig, SIG_DFL);
}

int guard_start(void)
{
	struct sigaction action = { .sa_handler = bus_error };

	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL);
}

int guarded(void (*work)(void *arg), void *arg)
{
	if (sigsetjmp(back, 1)) {
		armed = 0;
		return -1;
	}
	armed = 1;
	work(arg);
	armed = 0;
	return 0;
}
