// SPDX-License-Identifier: GPL-2.0-only
/*
 * Addresses and ports: the table of bound sockets.  Ports belong to the VM, not
 * to a network namespace.  As in AF_VSOCK, a port can be had once for each CID
 * that it is bound to, and CID ANY collides with all of them.
 */
#include <linux/hash.h>
#include <linux/random.h>
#include "vmshm.h"

#define PORT_BITS	10
#define PORT_TRIES	24	/* automatic ports, as AF_VSOCK tries */

DEFINE_SPINLOCK(vmshm_table_lock);
static struct hlist_head bound[1 << PORT_BITS];
static u32 next_port;

static struct hlist_head *bucket(u32 port)
{
	return &bound[hash_32(port, PORT_BITS)];
}

static bool is_dgram(const struct vmshm_sock *vs)
{
	return vs->sk.sk_type == SOCK_DGRAM;
}

/*
 * Who has the port, for this CID or for all?  Datagrams have ports of their own.
 * Under vmshm_table_lock.
 */
static struct vmshm_sock *find_bound(u32 cid, u32 port, bool dgram)
{
	struct vmshm_sock *vs;

	hlist_for_each_entry(vs, bucket(port), bound_node)
		if (vs->local.svm_port == port && is_dgram(vs) == dgram &&
		    (vs->local.svm_cid == cid || vs->local.svm_cid == VMSHM_CID_ANY ||
		     cid == VMSHM_CID_ANY))
			return vs;
	return NULL;
}

void vmshm_addr_set(struct sockaddr_vmshm *addr, u32 cid, u32 port)
{
	memset(addr, 0, sizeof(*addr));
	addr->svm_family = vmshm_family;
	addr->svm_cid = cid;
	addr->svm_port = port;
}

/* Is this an address of the family?  0, -EFAULT, -EAFNOSUPPORT or -EINVAL. */
int vmshm_addr_check(const void *addr, int len)
{
	const struct sockaddr_vmshm *a = addr;

	if (len < 0 || (size_t)len < sizeof(*a))
		return -EFAULT;
	if (a->svm_family != vmshm_family)
		return -EAFNOSUPPORT;
	/* AF_VSOCK's one flag asks for a path that does not exist here. */
	if (a->svm_flags)
		return -EINVAL;
	return 0;
}

static int bind_port(struct vmshm_sock *vs, u32 cid, u32 port)
{
	bool dgram = is_dgram(vs);
	unsigned int i;

	if (port != VMSHM_PORT_ANY) {
		if (port <= VMSHM_LAST_RESERVED_PORT && !capable(CAP_NET_BIND_SERVICE))
			return -EACCES;
		spin_lock(&vmshm_table_lock);
		if (find_bound(cid, port, dgram)) {
			spin_unlock(&vmshm_table_lock);
			return -EADDRINUSE;
		}
		goto found;
	}
	spin_lock(&vmshm_table_lock);
	for (i = 0; i < PORT_TRIES; i++) {
		if (next_port <= VMSHM_LAST_RESERVED_PORT || next_port == VMSHM_PORT_ANY)
			next_port = VMSHM_LAST_RESERVED_PORT + 1;
		port = next_port++;
		if (!find_bound(cid, port, dgram))
			goto found;
	}
	spin_unlock(&vmshm_table_lock);
	return -EADDRNOTAVAIL;

found:
	vs->local.svm_cid = cid;
	vs->local.svm_port = port;
	hlist_add_head(&vs->bound_node, bucket(port));
	spin_unlock(&vmshm_table_lock);
	return 0;
}

int vmshm_bind(struct socket *sock, struct vmshm_sockaddr *addr, int len)
{
	struct sockaddr_vmshm *a = (struct sockaddr_vmshm *)addr;
	struct vmshm_sock *vs = vmshm_sk(sock->sk);
	int err = -EINVAL;

	if (vmshm_addr_check(addr, len))
		return -EINVAL;

	lock_sock(sock->sk);
	if (vs->local.svm_port != VMSHM_PORT_ANY)
		goto out;
	err = -EADDRNOTAVAIL;
	if (a->svm_cid != VMSHM_CID_ANY && a->svm_cid != VMSHM_CID_LOCAL &&
	    a->svm_cid != vmshm_local_cid())
		goto out;
	err = bind_port(vs, a->svm_cid, a->svm_port);
out:
	release_sock(sock->sk);
	return err;
}

/* Give a socket that wants to connect a port.  Under lock_sock(). */
int vmshm_autobind(struct vmshm_sock *vs)
{
	if (vs->local.svm_port != VMSHM_PORT_ANY)
		return 0;
	if (!next_port)
		next_port = get_random_u32();
	return bind_port(vs, VMSHM_CID_ANY, VMSHM_PORT_ANY);
}

void vmshm_unbind(struct vmshm_sock *vs)
{
	spin_lock(&vmshm_table_lock);
	hlist_del_init(&vs->bound_node);
	spin_unlock(&vmshm_table_lock);
}

/* Who listens at this address?  With a reference, or NULL. */
struct vmshm_sock *vmshm_find_listener(u32 cid, u32 port)
{
	struct vmshm_sock *vs;

	spin_lock(&vmshm_table_lock);
	vs = find_bound(cid, port, false);
	if (vs && READ_ONCE(vs->sk.sk_state) == TCP_LISTEN)
		sock_hold(&vs->sk);
	else
		vs = NULL;
	spin_unlock(&vmshm_table_lock);
	return vs;
}

/* Which socket takes datagrams there?  With a reference, or NULL. */
struct vmshm_sock *vmshm_find_dgram(u32 cid, u32 port)
{
	struct vmshm_sock *vs;

	spin_lock(&vmshm_table_lock);
	vs = find_bound(cid, port, true);
	if (vs)
		sock_hold(&vs->sk);
	spin_unlock(&vmshm_table_lock);
	return vs;
}
