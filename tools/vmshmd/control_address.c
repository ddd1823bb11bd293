// SPDX-License-Identifier: GPL-2.0-only
/*
 * Addresses for metrics: see control_address.h.
 */
#include "control_address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static const char expected[] =
	"expected an absolute path, 127.0.0.1:PORT or [::1]:PORT (nobody else's address)";

const char *metrics_address(const char *text, union metrics_address *address, socklen_t *len)
{
	const char *port = strrchr(text, ':');
	unsigned long number;
	char *end;

	memset(address, 0, sizeof(*address));
	if (*text == '/') {
		if (strlen(text) >= sizeof(address->un.sun_path))
			return "the path is too long, expected at most 107 characters";
		address->un.sun_family = AF_UNIX;
		memcpy(address->un.sun_path, text, strlen(text) + 1);
		*len = sizeof(address->un);
		return NULL;
	}
	number = port && port[1] ? strtoul(port + 1, &end, 10) : 0;
	if (!number || number > 65535 || *end)
		return expected;
	if (!strncmp(text, "127.0.0.1:", 10) && port == text + 9) {
		address->in.sin_family = AF_INET;
		address->in.sin_port = htons((uint16_t)number);
		address->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		*len = sizeof(address->in);
		return NULL;
	}
	if (!strncmp(text, "[::1]:", 6) && port == text + 5) {
		address->in6.sin6_family = AF_INET6;
		address->in6.sin6_port = htons((uint16_t)number);
		address->in6.sin6_addr = in6addr_loopback;
		*len = sizeof(address->in6);
		return NULL;
	}
	return expected;
}
