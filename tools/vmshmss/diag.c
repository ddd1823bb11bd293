// SPDX-License-Identifier: GPL-2.0-only
/* Asks the kernel over a sock_diag(7) socket for the family's sockets. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmshmss.h"

struct collection {
	struct entries entries;
	size_t room;
	unsigned int states;
};

int family(void)
{
	FILE *f = fopen("/sys/module/af_vmshm/parameters/family", "re");
	int number;

	if (!f)
		return AF_VMSHM;
	if (fscanf(f, "%d", &number) != 1)
		number = AF_VMSHM;
	fclose(f);
	return number;
}

/* An attribute's value; a kernel that knows more or less says more or less. */
static void take(void *to, size_t size, const struct nlattr *attr)
{
	size_t len = mnl_attr_get_payload_len(attr);

	memcpy(to, mnl_attr_get_payload(attr), len < size ? len : size);
}

static int take_attribute(const struct nlattr *attr, void *data)
{
	struct entry *e = data;
	uint8_t state = 0;

	switch (mnl_attr_get_type(attr)) {
	case VMSHM_DIAG_STATE:
		take(&state, sizeof(state), attr);
		e->state = state;
		break;
	case VMSHM_DIAG_QUEUES:
		take(&e->queues, sizeof(e->queues), attr);
		break;
	case VMSHM_DIAG_UID:
		take(&e->uid, sizeof(e->uid), attr);
		break;
	case VMSHM_DIAG_INFO:
		take(&e->info, sizeof(e->info), attr);
		break;
	case VMSHM_DIAG_BUFFER:
		take(&e->buffer, sizeof(e->buffer), attr);
		break;
	}
	return MNL_CB_OK;
}

static int take_socket(const struct nlmsghdr *h, void *data)
{
	struct collection *all = data;
	struct entry e = { 0 };

	if (mnl_nlmsg_get_payload_len(h) < sizeof(e.msg)) {
		errno = EPROTO;
		return MNL_CB_ERROR;
	}
	memcpy(&e.msg, mnl_nlmsg_get_payload(h), sizeof(e.msg));
	mnl_attr_parse(h, sizeof(e.msg), take_attribute, &e);
	if (!(all->states & 1u << (e.state & 31)))
		return MNL_CB_OK;
	if (all->entries.count == all->room) {
		struct entry *more;

		all->room = all->room ? 2 * all->room : 64;
		more = reallocarray(all->entries.entry, all->room, sizeof(*more));
		if (!more)
			return MNL_CB_ERROR;
		all->entries.entry = more;
	}
	all->entries.entry[all->entries.count++] = e;
	return MNL_CB_OK;
}

struct entries ask_kernel(unsigned int states)
{
	static char buf[32768];
	struct collection all = { .states = states };
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct vmshm_diag_req *req = mnl_nlmsg_put_extra_header(h, sizeof(*req));
	unsigned int portid;
	int status = MNL_CB_OK;
	ssize_t n;

	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0)
		die("no netlink socket for sock_diag: %s", strerror(errno));
	portid = mnl_socket_get_portid(nl);
	h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = 1;
	req->sdiag_family = family();
	req->vdiag_states = ~0u;
	req->vdiag_show = VMSHM_DIAG_SHOW_QUEUES | VMSHM_DIAG_SHOW_UID |
			  VMSHM_DIAG_SHOW_INFO | VMSHM_DIAG_SHOW_BUFFER;
	if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		die("sock_diag: %s", strerror(errno));
	while (status > MNL_CB_STOP) {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		status = n < 0 ? MNL_CB_ERROR :
			 mnl_cb_run(buf, n, 1, portid, take_socket, &all);
	}
	if (status == MNL_CB_ERROR) {
		if (errno == ENOENT)
			die("the kernel knows no AF_VMSHM sockets: modprobe af_vmshm");
		die("sock_diag: %s", strerror(errno));
	}
	mnl_socket_close(nl);
	return all.entries;
}
