// SPDX-License-Identifier: GPL-2.0-only
/*
 * Socket options and ioctls.  AF_VSOCK's options have AF_VSOCK's numbers and
 * are taken at its level and at this family's.  User memory is never touched
 * with the socket locked: a page that nobody delivers stalls its owner alone.
 */
#include <linux/sockios.h>
#include <linux/uaccess.h>
#include <asm/ioctls.h>
#include "vmshm.h"

static bool our_level(int level)
{
	return level == vmshm_family || level == VMSHM_LEVEL_VSOCK;
}

/*
 * A size within the bounds that were set, as AF_VSOCK does it, and no more than
 * there can be, as its transports do it.
 */
static void set_size(struct vmshm_sock *vs, u64 size)
{
	u64 most = 1ULL << VMSHM_RING_ORDER_MAX;

	if (vs->sk.sk_type != SOCK_STREAM)
		most = vmshm_record_most(most);
	vs->buffer_size = min3(max(size, vs->buffer_min), vs->buffer_max, most);
}

/* One of the three sizes.  What can't be promised leaves all as it was. */
static int set_buffer(struct vmshm_sock *vs, int name, u64 val)
{
	u64 size = vs->buffer_size, least = vs->buffer_min, most = vs->buffer_max;
	bool chosen = vs->buffer_chosen;
	int err = 0;

	if (name == SO_VMSHM_BUFFER_MAX_SIZE)
		vs->buffer_max = val;
	else if (name == SO_VMSHM_BUFFER_MIN_SIZE)
		vs->buffer_min = val;
	set_size(vs, name == SO_VMSHM_BUFFER_SIZE ? val : size);
	vs->buffer_chosen = true;
	/* What is promised now can be sent before the socket reads. */
	if (vs->sk.sk_state == TCP_ESTABLISHED)
		err = vmshm_end_grow(vs->end, vs);
	if (err) {
		vs->buffer_size = size;
		vs->buffer_min = least;
		vs->buffer_max = most;
		vs->buffer_chosen = chosen;
	}
	return err;
}

static int get_u64(u64 *val, sockptr_t from, unsigned int len)
{
	if (len < sizeof(*val))
		return -EINVAL;
	return copy_from_sockptr(val, from, sizeof(*val)) ? -EFAULT : 0;
}

static int set_timeout(struct sock *sk, sockptr_t val, unsigned int len, bool old)
{
	struct __kernel_sock_timeval tv;
	int err = sock_copy_user_timeval(&tv, val, len, old);
	long timeo;

	if (err)
		return err;
	if (tv.tv_sec < 0 || tv.tv_usec < 0 || tv.tv_usec >= USEC_PER_SEC ||
	    tv.tv_sec >= MAX_SCHEDULE_TIMEOUT / HZ - 1)
		return -ERANGE;
	timeo = tv.tv_sec * HZ + DIV_ROUND_UP((unsigned long)tv.tv_usec, USEC_PER_SEC / HZ);
	lock_sock(sk);
	vmshm_sk(sk)->connect_timeout = timeo ?: 2 * HZ;	/* 0: the default, as AF_VSOCK */
	release_sock(sk);
	return 0;
}

static int set_busy_poll(struct vmshm_sock *vs, sockptr_t from, unsigned int len)
{
	int val;

	if (len < sizeof(val))
		return -EINVAL;
	if (copy_from_sockptr(&val, from, sizeof(val)))
		return -EFAULT;
	if (val < VMSHM_BUSY_POLL_ADAPTIVE || val > VMSHM_BUSY_POLL_MAX_US)
		return -EINVAL;
	WRITE_ONCE(vs->busy_poll, val);
	return 0;
}

int vmshm_setsockopt(struct socket *sock, int level, int name, sockptr_t from, unsigned int len)
{
	struct vmshm_sock *vs = vmshm_sk(sock->sk);
	u64 val;
	int err;

	if (level == SOL_SOCKET)
		return name == SO_ZEROCOPY ? vmshm_zerocopy_set(sock->sk, from, len) :
					     sock_setsockopt(sock, level, name, from, len);
	if (!our_level(level))
		return -ENOPROTOOPT;
	switch (name) {
	case SO_VMSHM_CONNECT_TIMEOUT_OLD:
	case SO_VMSHM_CONNECT_TIMEOUT_NEW:
		return set_timeout(sock->sk, from, len, name == SO_VMSHM_CONNECT_TIMEOUT_OLD);
	case SO_VMSHM_BUSY_POLL:
		return set_busy_poll(vs, from, len);
	case SO_VMSHM_BUFFER_SIZE:
	case SO_VMSHM_BUFFER_MIN_SIZE:
	case SO_VMSHM_BUFFER_MAX_SIZE:
		break;
	default:
		return -ENOPROTOOPT;
	}
	err = get_u64(&val, from, len);
	if (err)
		return err;
	lock_sock(sock->sk);
	err = set_buffer(vs, name, val);
	release_sock(sock->sk);
	return err;
}

/* Add what was counted. */
void vmshm_info_add(struct vmshm_info *info, const struct vmshm_stats *s)
{
	info->tx_bytes += READ_ONCE(s->tx_bytes);
	info->rx_bytes += READ_ONCE(s->rx_bytes);
	info->tx_msgs += READ_ONCE(s->tx_msgs);
	info->rx_msgs += READ_ONCE(s->rx_msgs);
	info->doorbells_sent += READ_ONCE(s->doorbells_sent);
	info->doorbells_suppressed += READ_ONCE(s->doorbells_suppressed);
	info->wakeups += READ_ONCE(s->wakeups);
	info->poll_hits += READ_ONCE(s->poll_hits);
	info->poll_misses += READ_ONCE(s->poll_misses);
	info->sleeps += READ_ONCE(s->sleeps);
	info->ring_full += READ_ONCE(s->ring_full);
}

/* What a socket's end has counted. */
void vmshm_info_get(struct vmshm_end *end, struct vmshm_info *info)
{
	*info = (struct vmshm_info) {
		.rx_ring = READ_ONCE(end->cons.size),
		.tx_ring = READ_ONCE(end->prod.size),
	};
	vmshm_info_add(info, &end->tx_stats);
	vmshm_info_add(info, &end->rx_stats);
}

int vmshm_getsockopt(struct socket *sock, int level, int name, char __user *to, int __user *lenp)
{
	struct vmshm_sock *vs = vmshm_sk(sock->sk);
	union {
		u64 val64;
		int val;
		struct __kernel_old_timeval old;
		struct __kernel_sock_timeval tv;
		struct vmshm_info info;
	} v = {};
	int size = sizeof(v.val64);
	bool whole = true;		/* a shorter buffer is an error */
	int len;

	if (!our_level(level))
		return -ENOPROTOOPT;
	if (get_user(len, lenp))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	switch (name) {
	case SO_VMSHM_BUFFER_SIZE:
		v.val64 = READ_ONCE(vs->buffer_size);
		break;
	case SO_VMSHM_BUFFER_MIN_SIZE:
		v.val64 = READ_ONCE(vs->buffer_min);
		break;
	case SO_VMSHM_BUFFER_MAX_SIZE:
		v.val64 = READ_ONCE(vs->buffer_max);
		break;
	case SO_VMSHM_CONNECT_TIMEOUT_OLD:
	case SO_VMSHM_CONNECT_TIMEOUT_NEW:
		size = sock_get_timeout(READ_ONCE(vs->connect_timeout), &v,
					name == SO_VMSHM_CONNECT_TIMEOUT_OLD);
		break;
	case SO_VMSHM_BUSY_POLL:
		v.val = READ_ONCE(vs->busy_poll);
		size = sizeof(v.val);
		break;
	case SO_VMSHM_INFO:
		/* Pairs with vmshm_end_open(). */
		if (smp_load_acquire(&sock->sk->sk_state) == TCP_ESTABLISHED)
			vmshm_info_get(vs->end, &v.info);
		else if (sock->sk->sk_type == SOCK_DGRAM)
			vmshm_dgram_info(vs, &v.info);
		size = sizeof(v.info);
		whole = false;		/* it may grow: give what fits */
		break;
	default:
		return -ENOPROTOOPT;
	}
	if (len < size && whole)
		return -EINVAL;
	len = min(len, size);
	if (copy_to_user(to, &v, len) || put_user(len, lenp))
		return -EFAULT;
	return 0;
}

/* SO_RCVLOWAT; as AF_VSOCK, no more than the buffer holds. */
int vmshm_set_rcvlowat(struct sock *sk, int val)
{
	if (val > vmshm_sk(sk)->buffer_size)
		return -EINVAL;
	WRITE_ONCE(sk->sk_rcvlowat, val ?: 1);
	/* A waiter may have armed for more. */
	sk->sk_data_ready(sk);
	return 0;
}

int vmshm_ioctl(struct socket *sock, unsigned int cmd, unsigned long arg)
{
	struct sock *sk = sock->sk;
	struct vmshm_end *end = NULL;
	u64 n = 0;

	if (cmd == IOCTL_VMSHM_GET_LOCAL_CID) {
		u32 cid = vmshm_local_cid();

		if (cid == VMSHM_CID_ANY)
			cid = VMSHM_CID_LOCAL;
		return put_user(cid, (u32 __user *)arg);
	}
	if (cmd != SIOCOUTQ && cmd != SIOCINQ)
		return -ENOIOCTLCMD;
	if (sk->sk_state == TCP_LISTEN)
		return -EINVAL;
	if (sk->sk_type == SOCK_DGRAM) {
		/* What it sent waits among what others sent. */
		if (cmd == SIOCOUTQ)
			return -EOPNOTSUPP;
		n = vmshm_dgram_next(vmshm_sk(sk));
	}
	/* Pairs with vmshm_end_open(). */
	if (smp_load_acquire(&sk->sk_state) == TCP_ESTABLISHED)
		end = vmshm_sk(sk)->end;
	if (end)
		n = cmd == SIOCOUTQ ? vmshm_end_unread(end) :
		    sk->sk_type == SOCK_STREAM ? vmshm_end_inq(end) : vmshm_record_next(end);
	return put_user((int)n, (int __user *)arg);
}
