/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between kernels, found by Kbuild in the kernel's own headers
 * (distributions backport, so version numbers say little).  The rest of the
 * module reads as if written for the newest kernel.
 */
#ifndef _AF_VMSHM_COMPAT_H
#define _AF_VMSHM_COMPAT_H

#include <linux/net.h>
#include <linux/uio.h>

/* bind() and connect() take a struct sockaddr_unsized since 6.19. */
#ifdef VMSHM_HAVE_SOCKADDR_UNSIZED
#define vmshm_sockaddr sockaddr_unsized
#else
#define vmshm_sockaddr sockaddr
#endif

/* accept() takes a struct proto_accept_arg since 6.10. */
#ifdef VMSHM_HAVE_PROTO_ACCEPT_ARG
#define VMSHM_ACCEPT_PROTO(name) \
	int name(struct socket *sock, struct socket *newsock, struct proto_accept_arg *arg)
#define VMSHM_ACCEPT_FLAGS	(arg->flags)
#define VMSHM_ACCEPT_KERN	(arg->kern)
#else
#define VMSHM_ACCEPT_PROTO(name) \
	int name(struct socket *sock, struct socket *newsock, int arg_flags, bool arg_kern)
#define VMSHM_ACCEPT_FLAGS	arg_flags
#define VMSHM_ACCEPT_KERN	arg_kern
#endif

/*
 * Copying to a pipe iterator allocates pages and so may sleep; it went away in
 * 6.5, with the last user of pipe iterators.
 */
#ifdef VMSHM_HAVE_ITER_PIPE
#define vmshm_iter_sleeps(iter)	iov_iter_is_pipe(iter)
#else
#define vmshm_iter_sleeps(iter)	((void)(iter), false)
#endif

/*
 * A family answers for SOL_SOCKET itself, and so for SO_ZEROCOPY, since 6.7;
 * before, the kernel knows by name which families have it.
 */
#ifdef SOCK_CUSTOM_SOCKOPT
static inline void vmshm_offer_zerocopy(struct socket *sock)
{
	set_bit(SOCK_CUSTOM_SOCKOPT, &sock->flags);
	set_bit(SOCK_SUPPORT_ZC, &sock->flags);		/* io_uring's */
}
#else
static inline void vmshm_offer_zerocopy(struct socket *sock)
{
}
#endif

/* A sock_diag handler names its module since 6.8; before, a mutex kept it. */
#ifdef VMSHM_HAVE_DIAG_OWNER
#define VMSHM_DIAG_OWNER	.owner = THIS_MODULE,
#else
#define VMSHM_DIAG_OWNER
#endif

#endif /* _AF_VMSHM_COMPAT_H */
