// SPDX-License-Identifier: GPL-2.0-only
/*
 * Both members of a couple in one thread: see two.h.
 */
#include "two.h"

#include <signal.h>

#define BODY \
	"members = ( { name = \"a\"; cid = 3; }, { name = \"host\"; cid = 2; host = true; } );\n" \
	"segments = ( { name = \"s\"; members = [ \"a\", \"host\" ]; size = \"%s\"; } );\n"

void two_daemon(struct two *t, const char *size)
{
	char body[256];

	memset(t, 0, sizeof(*t));
	snprintf(body, sizeof(body), BODY, size);
	daemon_start(&t->d, body);
}

void two_daemon_kept(struct two *t, const char *size)
{
	char body[256];

	memset(t, 0, sizeof(*t));
	snprintf(body, sizeof(body), BODY, size);
	daemon_start_kept(&t->d, body);
}

struct vmshm_host *two_open(const struct two *t, const char *member)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/s/%s.sock", t->d.run, member);
	return vmshm_host_open(path, strcmp(member, "host") ? VMSHM_HOST_ANY_CID : 0, PATIENCE);
}

void pump(struct two *t)
{
	struct vmshm_host *both[] = { t->host, t->vm };
	struct pollfd fds[2];
	unsigned int n = 0;

	for (unsigned int i = 0; i < 2; i++)
		if (both[i])
			fds[n++] = (struct pollfd){ vmshm_host_fd(both[i]), POLLIN, 0 };
	poll(fds, n, 1);
	for (unsigned int i = 0; i < 2; i++) {
		if (!both[i])
			continue;
		vmshm_host_dispatch(both[i]);
		while (vmshm_host_next(both[i]))
			;
	}
}

void two_start(struct two *t, const char *size)
{
	two_daemon(t, size);
	two_join(t);
}

void two_join(struct two *t)
{
	t->host = two_open(t, "host");
	need(t->host, "the host can't join: %s", vmshm_host_why());
	t->vm = two_open(t, "a");
	need(t->vm, "a can't join: %s", vmshm_host_why());
	need(pumped(t, vmshm_host_peer_up(t->host, VM) && vmshm_host_peer_up(t->vm, HOST)),
	     "the channel does not come up");
}

void two_end(struct two *t)
{
	vmshm_host_close(t->host);
	vmshm_host_close(t->vm);
	daemon_end(&t->d);
}

bool two_connect(struct two *t, unsigned int port, struct ends *e)
{
	struct vmshm_sock *l = vmshm_listen(t->vm, port, 1);

	e->vm = NULL;
	e->host = l ? vmshm_connect(t->host, VM, port, 0) : NULL;
	if (e->host && pumped(t, vmshm_connected(e->host)))
		e->vm = vmshm_accept(l, 0);
	vmshm_close(l);
	return e->host && e->vm && vmshm_connected(e->host) == 1;
}
