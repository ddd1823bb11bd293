// SPDX-License-Identifier: GPL-2.0-only
/*
 * The list of all sockets, and what may be seen of one from outside: one
 * picture, which proc.c and diag.c show each in its own way.
 *
 * Sockets are kept in the order in which they were made, under a number that
 * is never used again.  A reader that comes back for more says after which
 * number it goes on, so it meets each socket that lives meanwhile exactly once,
 * however many come and go.
 */
#include <linux/sock_diag.h>
#include <net/tcp_states.h>
#include "vmshm.h"
#include "view.h"

static struct rb_root all_socks = RB_ROOT;	/* vmshm_table_lock */
static unsigned long last_serial;		/* likewise; 0 is nobody's */

static struct vmshm_sock *sock_of(struct rb_node *node)
{
	return rb_entry_safe(node, struct vmshm_sock, all_node);
}

static bool before(struct rb_node *a, const struct rb_node *b)
{
	return sock_of(a)->serial < rb_entry(b, struct vmshm_sock, all_node)->serial;
}

/* A new socket; it can be seen from now on. */
void vmshm_view_add(struct vmshm_sock *vs)
{
	spin_lock(&vmshm_table_lock);
	vs->serial = ++last_serial;
	rb_add(&vs->all_node, &all_socks, before);
	spin_unlock(&vmshm_table_lock);
}

/* It closes.  Under vmshm_table_lock, as whatever of it can't be looked at any more. */
void vmshm_view_del(struct vmshm_sock *vs)
{
	rb_erase(&vs->all_node, &all_socks);
}

/* The first socket whose number is @serial or more.  Under vmshm_table_lock. */
struct vmshm_sock *vmshm_view_from(unsigned long serial)
{
	struct rb_node *node = all_socks.rb_node;
	struct vmshm_sock *found = NULL;

	while (node) {
		struct vmshm_sock *vs = sock_of(node);

		if (vs->serial >= serial) {
			found = vs;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return found;
}

/* The one after it.  Under vmshm_table_lock. */
struct vmshm_sock *vmshm_view_next(struct vmshm_sock *vs)
{
	return sock_of(rb_next(&vs->all_node));
}

static u8 state_of(struct vmshm_sock *vs)
{
	switch (READ_ONCE(vs->sk.sk_state)) {
	case TCP_LISTEN:
		return VMSHM_STATE_LISTEN;
	case TCP_SYN_SENT:
		return VMSHM_STATE_CONNECTING;
	case TCP_ESTABLISHED:
		break;
	default:
		return READ_ONCE(vs->fixed) ? VMSHM_STATE_CONNECTED : VMSHM_STATE_UNCONNECTED;
	}
	if (vs->end && READ_ONCE(vs->end->reset))
		return VMSHM_STATE_RESET;
	if ((vs->end && READ_ONCE(vs->end->peer_shutdown)) || READ_ONCE(vs->sk.sk_shutdown))
		return VMSHM_STATE_CLOSING;
	return VMSHM_STATE_CONNECTED;
}

/* What can be seen of a socket now.  Under vmshm_table_lock, which keeps its end. */
void vmshm_view_get(struct vmshm_sock *vs, struct vmshm_view *view)
{
	struct vmshm_end *end = vs->end;

	*view = (struct vmshm_view) {
		.state = state_of(vs),
		.local = vs->local,
		.remote = vs->remote,
		.uid = sock_i_uid(&vs->sk),
		.ino = sock_i_ino(&vs->sk),
	};
	if (end) {
		vmshm_info_get(end, &view->info);
		view->rx_queue = vmshm_end_inq(end);
		view->tx_queue = vmshm_end_unread(end);
	} else if (vs->sk.sk_type == SOCK_DGRAM) {
		view->rx_queue = vmshm_dgram_info(vs, &view->info);
	} else if (READ_ONCE(vs->listening)) {
		view->rx_queue = READ_ONCE(vs->sk.sk_ack_backlog);
		view->tx_queue = READ_ONCE(vs->sk.sk_max_ack_backlog);
	}
}
