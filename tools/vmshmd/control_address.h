/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where metrics may be served: a path, or a port of the loopback interface.
 */
#ifndef VMSHMD_CONTROL_ADDRESS_H
#define VMSHMD_CONTROL_ADDRESS_H

#include <netinet/in.h>
#include <sys/un.h>

union metrics_address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* NULL, with *@address and *@len filled in; or what was expected instead of @text. */
const char *metrics_address(const char *text, union metrics_address *address, socklen_t *len);

#endif
