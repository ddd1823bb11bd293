// SPDX-License-Identifier: GPL-2.0-only
/* Asks the kernel, and takes apart what it answers. */
#include <libmnl/libmnl.h>
#include <stdlib.h>

#include "sockdiag.h"

#define SHOW_ALL (VMSHM_DIAG_SHOW_QUEUES | VMSHM_DIAG_SHOW_UID | \
		  VMSHM_DIAG_SHOW_INFO | VMSHM_DIAG_SHOW_BUFFER)

int diag_socket(void)
{
	int fd = OK(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));

	set_timeout(fd, SO_RCVTIMEO, 5000);
	return fd;
}

struct vmshm_diag_req any_request(void)
{
	return (struct vmshm_diag_req) {
		.sdiag_family = ctx.family,
		.vdiag_states = ~0u,
		.vdiag_show = SHOW_ALL,
		.vdiag_cookie = { ~0u, ~0u },
	};
}

void ask_diag(int nl, const void *req, size_t len, int type, int flags)
{
	char buf[NLMSG_SPACE(256)] = "";
	struct nlmsghdr *h = (struct nlmsghdr *)buf;

	h->nlmsg_len = NLMSG_LENGTH(len);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = 7;
	memcpy(NLMSG_DATA(h), req, len);
	EQUAL(send(nl, buf, h->nlmsg_len, 0), h->nlmsg_len);
}

static int take_attribute(const struct nlattr *attr, void *data)
{
	static const size_t size[VMSHM_DIAG_MAX + 1] = {
		[VMSHM_DIAG_STATE] = 1,
		[VMSHM_DIAG_QUEUES] = sizeof(struct vmshm_diag_queues),
		[VMSHM_DIAG_UID] = sizeof(uint32_t),
		[VMSHM_DIAG_INFO] = sizeof(struct vmshm_info),
		[VMSHM_DIAG_BUFFER] = sizeof(struct vmshm_diag_buffer),
	};
	const void *from = mnl_attr_get_payload(attr);
	unsigned int type = mnl_attr_get_type(attr);
	struct seen *s = data;

	CHECK(type >= VMSHM_DIAG_STATE && type <= VMSHM_DIAG_MAX);
	EQUAL(mnl_attr_get_payload_len(attr), size[type]);
	CHECK(!(s->attrs & 1u << type));
	s->attrs |= 1u << type;
	if (type == VMSHM_DIAG_STATE)
		s->state = *(const uint8_t *)from;
	else if (type == VMSHM_DIAG_QUEUES)
		memcpy(&s->queues, from, size[type]);
	else if (type == VMSHM_DIAG_UID)
		memcpy(&s->uid, from, size[type]);
	else if (type == VMSHM_DIAG_INFO)
		memcpy(&s->info, from, size[type]);
	else
		memcpy(&s->buffer, from, size[type]);
	return MNL_CB_OK;
}

static struct seen parsed(const struct nlmsghdr *h)
{
	struct seen s = { .times = 1 };

	EQUAL(h->nlmsg_seq, 7);
	EQUAL(h->nlmsg_type, SOCK_DIAG_BY_FAMILY);
	CHECK(mnl_nlmsg_get_payload_len(h) >= sizeof(s.msg));
	memcpy(&s.msg, mnl_nlmsg_get_payload(h), sizeof(s.msg));
	EQUAL(s.msg.vdiag_family, ctx.family);
	mnl_attr_parse(h, sizeof(s.msg), take_attribute, &s);
	CHECK(s.attrs & 1u << VMSHM_DIAG_STATE);
	CHECK(s.state < __VMSHM_STATE_MAX);
	return s;
}

bool dump_part(int nl, struct list *list, size_t room)
{
	static char buf[65536];
	int len = OK(recv(nl, buf, room, 0));
	struct nlmsghdr *h = (struct nlmsghdr *)buf;

	for (; mnl_nlmsg_ok(h, len); h = mnl_nlmsg_next(h, &len)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return false;
		CHECK(h->nlmsg_flags & NLM_F_MULTI);
		if (list->count == list->room) {
			list->room = list->room ? 2 * list->room : 256;
			list->seen = reallocarray(list->seen, list->room, sizeof(*list->seen));
			CHECK(list->seen);
		}
		list->seen[list->count++] = parsed(h);
	}
	EQUAL(len, 0);
	return true;
}

struct list dump_by(const struct vmshm_diag_req *req, size_t room)
{
	struct list list = { NULL, 0, 0 };
	int nl = diag_socket();

	ask_diag(nl, req, sizeof(*req), SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);
	while (dump_part(nl, &list, room))
		;
	close(nl);
	return list;
}

struct list dump(void)
{
	struct vmshm_diag_req req = any_request();

	return dump_by(&req, 32768);
}

const struct seen *find(const struct list *list, ino_t ino)
{
	const struct seen *found = NULL;

	for (size_t i = 0; i < list->count; i++)
		if (list->seen[i].msg.vdiag_ino == ino) {
			CHECK(!found);
			found = &list->seen[i];
		}
	return found;
}

int answer(const void *req, size_t len, int type, int flags, struct seen *seen)
{
	static char buf[32768];
	struct nlmsghdr *h = (struct nlmsghdr *)buf;
	int nl = diag_socket(), n;

	ask_diag(nl, req, len, type, flags);
	n = OK(recv(nl, buf, sizeof(buf), 0));
	close(nl);
	CHECK(mnl_nlmsg_ok(h, n));
	if (h->nlmsg_type == NLMSG_ERROR)
		return -((struct nlmsgerr *)NLMSG_DATA(h))->error;
	CHECK(!(h->nlmsg_flags & NLM_F_MULTI));
	if (seen)
		*seen = parsed(h);
	return 0;
}
