// SPDX-License-Identifier: GPL-2.0-only
/*
 * The filter of system calls: see sandbox.h.
 *
 * What is listed is what the daemon and its libraries call once it serves, a
 * reload and the first lookup of a user's name included. Starting programs,
 * tracing, other processes, mounts, modules, keys, and memory that can be written
 * and run at the same time are not.
 */
#include "sandbox.h"
#include "log.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#define NR(array) (sizeof(array) / sizeof((array)[0]))

static const int allowed[] = {
	/* descriptors */
	SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(write), SCMP_SYS(writev),
	SCMP_SYS(pwrite64), SCMP_SYS(close), SCMP_SYS(lseek), SCMP_SYS(fcntl), SCMP_SYS(dup),
	SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(pipe2), SCMP_SYS(eventfd2),
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select),
	SCMP_SYS(pselect6), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_gettime), SCMP_SYS(signalfd4), SCMP_SYS(flock),
	/* files: the configuration, the runtime directory, what the host has */
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(fstat), SCMP_SYS(lstat),
	SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(fstatfs),
	SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(getdents64),
	SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getcwd), SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat), SCMP_SYS(rmdir), SCMP_SYS(unlink), SCMP_SYS(unlinkat),
	SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(umask),
	/* who may connect */
	SCMP_SYS(chmod), SCMP_SYS(fchmod), SCMP_SYS(fchmodat), SCMP_SYS(chown), SCMP_SYS(fchown),
	SCMP_SYS(lchown), SCMP_SYS(fchownat), SCMP_SYS(getxattr), SCMP_SYS(lgetxattr),
	SCMP_SYS(fgetxattr), SCMP_SYS(setxattr), SCMP_SYS(lsetxattr), SCMP_SYS(fsetxattr),
	SCMP_SYS(removexattr),
	/* sockets; socket() is below */
	SCMP_SYS(socketpair), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept),
	SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(shutdown), SCMP_SYS(getsockname),
	SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(sendto),
	SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
	/* memory; mmap() and mprotect() are below */
	SCMP_SYS(memfd_create), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(munmap),
	SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(brk),
	SCMP_SYS(mbind), SCMP_SYS(get_mempolicy), SCMP_SYS(msync), SCMP_SYS(mincore),
	SCMP_SYS(fadvise64), SCMP_SYS(membarrier),
	/* threads, time, signals to oneself */
	SCMP_SYS(clone), SCMP_SYS(clone3), SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
	SCMP_SYS(set_tid_address), SCMP_SYS(futex), SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu), SCMP_SYS(exit), SCMP_SYS(exit_group),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall),
	SCMP_SYS(timer_create), SCMP_SYS(timer_settime), SCMP_SYS(timer_gettime),
	SCMP_SYS(timer_delete), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(gettid), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getgroups),
	SCMP_SYS(getrlimit), SCMP_SYS(getrusage), SCMP_SYS(sysinfo), SCMP_SYS(uname),
	SCMP_SYS(getrandom),
};

/* ---- what happens at another call ---- */

/* Only what may be called in a signal's handler. */
static void put(char *line, size_t *len, size_t size, const char *text)
{
	while (*text && *len < size)
		line[(*len)++] = *text++;
}

static void on_forbidden(int sig, siginfo_t *info, void *context)
{
	ucontext_t *c = context;
	int number = info->si_syscall, err = errno;
	char line[80], digits[12];
	size_t len = 0, d = sizeof(digits);

	(void)sig;
	digits[--d] = '\0';
	do
		digits[--d] = (char)('0' + number % 10);
	while ((number /= 10) && d);
	put(line, &len, sizeof(line), "vmshmd: system call ");
	put(line, &len, sizeof(line), digits + d);
	put(line, &len, sizeof(line), " is not one of the daemon's: refused\n");
	if (write(STDERR_FILENO, line, len) < 0)
		errno = 0;
#ifdef __x86_64__
	c->uc_mcontext.gregs[REG_RAX] = -EPERM;
#elif defined(__aarch64__)
	c->uc_mcontext.regs[0] = (unsigned long long)-EPERM;
#else
#error "which register has a system call's result?"
#endif
	errno = err;
}

/* ---- the filter ---- */

/* Allowed whatever the arguments are. Calls that this machine has not are passed over. */
static int allow(scmp_filter_ctx filter)
{
	int err = 0;

	for (size_t i = 0; i < NR(allowed) && !err; i++) {
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
		if (err == -EDOM)
			err = 0;
	}
	return err;
}

/* Memory is written or run, not both. */
static int allow_memory(scmp_filter_ctx filter, int call)
{
	static const unsigned int either[] = { 0, PROT_WRITE, PROT_EXEC };
	int err = 0;

	for (size_t i = 0; i < NR(either) && !err; i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC,
					       either[i]));
	return err;
}

static int allow_sockets(scmp_filter_ctx filter, bool network)
{
	static const int families[] = { AF_UNIX, AF_INET, AF_INET6 };
	int err = 0;

	for (size_t i = 0; i < (network ? NR(families) : 1) && !err; i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				       SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	return err;
}

/* Calls of which only a part is wanted. */
static int allow_some(scmp_filter_ctx filter)
{
	int err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				   SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));

	/* Is it a terminal?  Asked of files by the C library. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				       SCMP_A1(SCMP_CMP_EQ, TCGETS));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				       SCMP_A1(SCMP_CMP_EQ, FIONBIO));
	/* A thread of libmicrohttpd's gives itself a name. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				       SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	/* One's own limits, to look at. */
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
				       SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0));
	return err;
}

bool sandbox_is_impossible(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#else
	return false;
#endif
}

int sandbox_enter(bool network)
{
	struct sigaction action = { .sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO };
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	int err = filter ? 0 : -ENOMEM;

	sigemptyset(&action.sa_mask);
	if (!err && sigaction(SIGSYS, &action, NULL))
		err = -errno;
	/* All threads, those that are there already, too. */
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	/* A tree instead of a list: a call costs some ten instructions. */
	if (!err)
		err = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err)
		err = allow(filter);
	if (!err)
		err = allow_memory(filter, SCMP_SYS(mmap));
	if (!err)
		err = allow_memory(filter, SCMP_SYS(mprotect));
	if (!err)
		err = allow_sockets(filter, network);
	if (!err)
		err = allow_some(filter);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	if (err)
		say("the filter of system calls cannot be set: %s; --no-seccomp does without",
		    strerror(-err));
	return err ? -1 : 0;
}
