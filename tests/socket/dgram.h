/* SPDX-License-Identifier: GPL-2.0-only */
/* What the cases of SOCK_DGRAM share: sockets on this case's ports. */
#ifndef VMSHM_TEST_DGRAM_H
#define VMSHM_TEST_DGRAM_H

#include "vmshm_test.h"

/* A socket on port_nr(n). */
static inline int dgram_on(unsigned int n)
{
	int fd = socket_of(SOCK_DGRAM);

	OK(bind_to(fd, VMSHM_CID_ANY, port_nr(n)));
	return fd;
}

/* sendto(2) the peer's port_nr(n). */
static inline ssize_t send_to(int fd, unsigned int n, const void *buf, size_t len, int flags)
{
	struct sockaddr_vmshm to = address(ctx.peer, port_nr(n));

	return sendto(fd, buf, len, flags, (struct sockaddr *)&to, sizeof(to));
}

#endif /* VMSHM_TEST_DGRAM_H */
