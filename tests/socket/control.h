/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The line-by-line channel between the runners of the two sides, and the run of
 * one case over it. Private to main.c, control.c and runner.c.
 */
#ifndef VMSHM_TEST_CONTROL_H
#define VMSHM_TEST_CONTROL_H

#include "vmshm_test.h"

#define LINE_LEN	1024

/* One from each file of cases. */
extern const struct subject names_subject, connect_subject, listen_subject,
	sendrecv_subject, flags_subject, timeouts_subject, poll_subject, epoll_subject,
	sigio_subject,
	shutdown_subject, options_subject, buffer_subject, ioctl_subject, splice_subject,
	uring_subject, process_subject, threads_subject, memory_subject,
	badinput_subject, stress_subject, peer_subject, seqpacket_subject,
	recordwait_subject, dgram_subject, dgramwait_subject,
	grow_subject, diag_subject, zerocopy_subject, vsock_subject,
	poll_records_subject, epoll_records_subject, timeouts_records_subject,
	shutdown_records_subject, uring_records_subject, mmsg_records_subject,
	mmsg_dgram_subject;

/* WHERE is HOST:PORT or unix:PATH. Each ends the program when it fails. */
int control_listen(const char *where);
int control_accept(int fd);
int control_connect(const char *where);

void control_send(int fd, const char *line);
/* One line without its newline; false at the end or after that many ms. */
bool control_receive(int fd, char line[LINE_LEN], int ms);

struct outcome {
	enum verdict verdict;
	char why[LINE_LEN];
};

/*
 * Runs this side of a case (control is -1 when there is no other side), then
 * gives what both sides said: mine and theirs.
 */
void run_case(int control, unsigned int number, const struct test_case *c,
	      struct outcome *mine, struct outcome *theirs);

void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...);

#endif /* VMSHM_TEST_CONTROL_H */
