// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vmshmd under test: see harness.h.
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What ends in the log when one of the compiler's checks found something. */
static const char *const reports[] = {
	"AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:",
	"is not one of the daemon's: refused",
};

bool daemons_are_units;

void daemon_prepare(struct vmshmd *d)
{
	bool unit = daemons_are_units;

	memset(d, 0, sizeof(*d));
	d->unit = unit;
	snprintf(d->dir, sizeof(d->dir), unit ? UNIT_DIR : "/tmp/vmshmd-test.XXXXXX");
	need(unit ? !mkdir(d->dir, 0755) || errno == EEXIST : !!mkdtemp(d->dir),
	     "cannot make %s: %s", d->dir, strerror(errno));
	need(!chmod(d->dir, 0755), "chmod %s: %s", d->dir, strerror(errno));
	snprintf(d->run, sizeof(d->run), unit ? "/run/vmshm" : "%s/run", d->dir);
	snprintf(d->conf, sizeof(d->conf), "%s/conf", d->dir);
	snprintf(d->log, sizeof(d->log), "%s/log", d->dir);
}

void daemon_config(struct vmshmd *d, const char *body)
{
	FILE *file = fopen(d->conf, "we");

	need(file && fprintf(file, "runtime_dir = \"%s\";\n%s", d->run, body) > 0 && !fclose(file),
	     "cannot write %s", d->conf);
}

void daemon_run(struct vmshmd *d, const char *const *more_args)
{
	const char *program = *d->program ? d->program : getenv("VMSHMD");
	const char *args[16] = { "vmshmd", "--config", d->conf, d->kept ? NULL : "--no-keeper" };
	struct rlimit limit = { d->descriptors, d->descriptors };
	int log;

	if (d->unit) {
		unlink(d->log);
		need(!system("systemctl start " UNIT), "systemctl start " UNIT);
		return;
	}
	need(program, "VMSHMD does not name the daemon");
	for (unsigned int i = d->kept ? 3 : 4; more_args && *more_args && i < NR(args) - 1; i++)
		args[i] = *more_args++;
	need(!d->uid || !chown(d->dir, d->uid, d->uid), "chown: %s", strerror(errno));
	d->pid = fork();
	need(d->pid >= 0, "fork: %s", strerror(errno));
	if (d->pid)
		return;
	log = open(d->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(log, STDERR_FILENO);
	dup2(log, STDOUT_FILENO);
	close(log);
	if (d->descriptors)
		setrlimit(RLIMIT_NOFILE, &limit);
	if (d->uid && (setgroups(0, NULL) || setresgid(d->uid, d->uid, d->uid) ||
		       setresuid(d->uid, d->uid, d->uid)))
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execv(program, (char *const *)args);
	_exit(127);
}

static void start(struct vmshmd *d, const char *body)
{
	daemon_config(d, body);
	daemon_run(d, NULL);
	need(soon(daemon_said(d, "vmshmd: ready")), "the daemon is not ready; see %s", d->log);
}

void daemon_start(struct vmshmd *d, const char *body)
{
	daemon_prepare(d);
	start(d, body);
}

void daemon_start_kept(struct vmshmd *d, const char *body)
{
	daemon_prepare(d);
	d->kept = !d->unit;
	start(d, body);
}

int daemon_stop(struct vmshmd *d, int sig)
{
	int status = 0;

	if (d->unit)
		return system("systemctl stop " UNIT);
	if (sig)
		kill(d->pid, sig);
	if (!soon(waitpid(d->pid, &status, WNOHANG) == d->pid)) {
		diag("the daemon does not end");
		kill(d->pid, SIGKILL);
		waitpid(d->pid, &status, 0);
	}
	d->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool daemon_reload(struct vmshmd *d, const char *body)
{
	unsigned int good = daemon_said(d, "vmshmd: reloaded ");
	unsigned int bad = daemon_said(d, "vmshmd: not reloaded");

	daemon_config(d, body);
	kill(d->pid, SIGHUP);
	need(soon(daemon_said(d, "vmshmd: reloaded ") + daemon_said(d, "vmshmd: not reloaded") ==
		  good + bad + 1), "no answer to SIGHUP; see %s", d->log);
	return daemon_said(d, "vmshmd: reloaded ") > good;
}

pid_t daemon_worker(const struct vmshmd *d)
{
	char path[64];
	pid_t pid = 0;
	FILE *file;

	if (d->unit) {
		file = popen("systemctl show -P MainPID " UNIT, "re");
		if (!file || fscanf(file, "%d", &pid) != 1)
			pid = 0;
		if (file)
			pclose(file);
		return pid;
	}
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", d->pid, d->pid);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%d", &pid) != 1)
		pid = 0;
	if (file)
		fclose(file);
	return pid;
}

/* The lock file has its number, and it is written before anybody is served. */
static bool other_worker(const struct vmshmd *d, pid_t before)
{
	pid_t pid = 0, now = daemon_worker(d);
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/.lock", d->run);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%d", &pid) != 1)
		pid = 0;
	if (file)
		fclose(file);
	return now && now != before && pid == now;
}

bool daemon_ready_again(const struct vmshmd *d, pid_t before)
{
	return soon(other_worker(d, before));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void daemon_end(struct vmshmd *d)
{
	bool clean = true;

	if (d->pid || d->unit) {
		int status = daemon_stop(d, SIGTERM);

		for (unsigned int i = 0; i < NR(reports); i++)
			clean &= !daemon_said(d, reports[i]);
		if (!ok(status == 0 && clean,
			"the daemon ends with 0, and no check found anything"))
			diag("exit status %d; its log is %s", status, d->log);
		clean &= status == 0;
	}
	if (clean)
		nftw(d->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

unsigned int daemon_said(const struct vmshmd *d, const char *text)
{
	FILE *file = fopen(d->log, "re");
	unsigned int count = 0;
	char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) >= 0)
		count += !!strstr(line, text);
	free(line);
	if (file)
		fclose(file);
	return count;
}

unsigned int daemon_fds(const struct vmshmd *d)
{
	unsigned int count = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", d->pid);
	dir = opendir(path);
	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count - 2;	/* . and .. */
}

unsigned int daemon_free_fd(const struct vmshmd *d)
{
	unsigned int fd = 0;
	char path[64];
	struct stat st;

	do {
		snprintf(path, sizeof(path), "/proc/%d/fd/%u", d->pid, fd);
	} while (!lstat(path, &st) && ++fd);
	return fd;
}

unsigned long daemon_cpu_ms(const struct vmshmd *d)
{
	struct timespec t = { 0 };
	clockid_t clock;

	need(!clock_getcpuclockid(d->pid, &clock) && !clock_gettime(clock, &t),
	     "the daemon's time cannot be read");
	return (unsigned long)t.tv_sec * 1000 + (unsigned long)t.tv_nsec / 1000000;
}

unsigned long daemon_rss_kib(const struct vmshmd *d)
{
	unsigned long kib = 0;
	char path[64], line[128];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", d->pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "RssAnon: %lu", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib;
}
