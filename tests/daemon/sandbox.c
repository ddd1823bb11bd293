// SPDX-License-Identifier: GPL-2.0-only
/*
 * The daemon's filter of system calls: all its threads have it, --no-seccomp
 * does without, and what it does not list is refused and told, in whichever
 * thread. That nothing which is needed is refused is what all other tests show.
 */
#include "harness.h"
#include "../../tools/vmshmd/sandbox.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* How many threads of @pid have a filter, and how many have none. */
static void count_threads(pid_t pid, unsigned int *with, unsigned int *without)
{
	char path[300], line[128];
	const struct dirent *entry;
	DIR *dir;

	*with = 0;
	*without = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, entry->d_name);
		file = *entry->d_name == '.' ? NULL : fopen(path, "re");
		while (file && fgets(line, sizeof(line), file)) {
			*with += !strcmp(line, "Seccomp:\t2\n");
			*without += !strcmp(line, "Seccomp:\t0\n");
		}
		if (file)
			fclose(file);
	}
	if (dir)
		closedir(dir);
}

static void daemon_has_it(void)
{
	static const char *const open_args[] = { "--no-seccomp", NULL };
	unsigned int with, without;
	struct vmshmd d;
	struct fake a;

	daemon_start_kept(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	need(fake_join(&a, &d, "a-b", "a", 2, 2), "a is not served");
	count_threads(daemon_worker(&d), &with, &without);
	ok(with >= 4 && !without, "the worker's %u threads have a filter", with);
	kill(daemon_worker(&d), SIGKILL);
	need(soon(daemon_said(&d, "taken over: 1 segment, 1 connection")) &&
	     soon(daemon_said(&d, "vmshmd: ready") == 2), "it is not started again");
	count_threads(daemon_worker(&d), &with, &without);
	ok(with >= 4 && !without, "its successor's, too");
	fake_leave(&a);
	daemon_end(&d);

	daemon_prepare(&d);
	daemon_config(&d, MEMBERS_AB "segments = ( " COUPLE_AB " );\n");
	daemon_run(&d, open_args);
	need(soon(daemon_said(&d, "vmshmd: ready")), "it does not start");
	count_threads(d.pid, &with, &without);
	ok(!with && without >= 4, "with --no-seccomp none has");
	daemon_end(&d);
}

/* ---- what is refused ---- */

static char page[4096] __attribute__((aligned(4096)));
static const char program[] = "/bin/true";
static const char *const args_of_program[] = { program, NULL };

/* They would fail with another error, or work, if they were let through. */
static const struct {
	const char *name;
	int number;
	long args[4];
} refused[] = {
	{ "to start a program", SYS_execve, { (long)program, (long)args_of_program, 0 } },
	{ "to trace", SYS_ptrace, { PTRACE_TRACEME } },
	{ "to signal another process", SYS_kill, { 1, 0 } },
	{ "to signal another's thread", SYS_tgkill, { 1, 1, 0 } },
	{ "a socket of the internet", SYS_socket, { AF_INET, SOCK_STREAM, 0 } },
	{ "a packet socket", SYS_socket, { AF_PACKET, SOCK_RAW, 0 } },
	{ "to read another process", SYS_process_vm_readv, { 1 } },
	{ "another root", SYS_chroot, { (long)"/" } },
	{ "to mount", SYS_mount, { (long)"none", (long)"/mnt", (long)"tmpfs" } },
	{ "other namespaces", SYS_unshare, { 0x10000000 } },
	{ "to be another user", SYS_setuid, { 0 } },
	{ "io_uring", SYS_io_uring_setup, { 1, 0 } },
	{ "BPF", SYS_bpf, { 0, 0, 0 } },
	{ "memory to write and to run", SYS_mprotect,
	  { (long)page, sizeof(page), PROT_READ | PROT_WRITE | PROT_EXEC } },
};

/* Each returns EPERM, and says so in one line; a bit for each that does not. */
static void *try_all(void *arg)
{
	unsigned long *wrong = arg;

	for (size_t i = 0; i < NR(refused); i++) {
		const long *a = refused[i].args;
		char line[128] = "", expected[128];
		int pipes[2], err;
		ssize_t n;

		if (pipe2(pipes, O_CLOEXEC) || dup2(pipes[1], STDERR_FILENO) < 0)
			_exit(99);
		errno = 0;
		err = syscall(refused[i].number, a[0], a[1], a[2], a[3]) == -1 ? errno : 0;
		n = write(pipes[1], "", 1) == 1 ? read(pipes[0], line, sizeof(line) - 1) : -1;
		snprintf(expected, sizeof(expected),
			 "vmshmd: system call %d is not one of the daemon's: refused\n",
			 refused[i].number);
		if (err != EPERM || n < 0 || strcmp(line, expected))
			*wrong |= 1UL << i;
		close(pipes[0]);
		close(pipes[1]);
	}
	return NULL;
}

static unsigned long wrong_calls[2];	/* of this thread, of one that was there before */
static pthread_barrier_t filtered;

static void *try_later(void *arg)
{
	pthread_barrier_wait(&filtered);
	return try_all(arg);
}

static void refuses(void)
{
	pthread_t thread;
	int pipes[2], status;
	pid_t pid;

	need(!pipe(pipes), "pipe");
	pid = fork();
	if (!pid) {
		pthread_barrier_init(&filtered, NULL, 2);
		if (pthread_create(&thread, NULL, try_later, &wrong_calls[1]) ||
		    sandbox_enter(false))
			_exit(98);
		try_all(&wrong_calls[0]);
		pthread_barrier_wait(&filtered);
		pthread_join(thread, NULL);
		if (write(pipes[1], wrong_calls, sizeof(wrong_calls)) != sizeof(wrong_calls))
			_exit(97);
		_exit(0);
	}
	need(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status) &&
	     read(pipes[0], wrong_calls, sizeof(wrong_calls)) == sizeof(wrong_calls),
	     "the filtered process ends with status %#x", status);
	for (size_t i = 0; i < NR(refused); i++)
		ok(!((wrong_calls[0] | wrong_calls[1]) >> i & 1),
		   "%s is refused and told, in both threads", refused[i].name);
}

int main(void)
{
	if (sandbox_is_impossible()) {
		ok(true, "the filter # SKIP a sanitizer's library makes calls of its own");
		return done();
	}
	signal(SIGPIPE, SIG_IGN);
	daemon_has_it();
	refuses();
	return done();
}
