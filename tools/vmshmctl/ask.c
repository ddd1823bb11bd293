// SPDX-License-Identifier: GPL-2.0-only
/*
 * The daemon's control socket: a line out, a line in. See ctl.h.
 */
#include "ctl.h"
#include "control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_S	30
#define CONNECT_S	5	/* takes no work of the daemon, but room in its queue */

struct daemon_link {
	const char *path;
	FILE *stream;
	const char *wrong;	/* why there was no answer */
};

void (*die_first)(void);

void die(int status, const char *fmt, ...)
{
	va_list args;

	if (die_first)
		die_first();
	fflush(stdout);
	fputs("vmshmctl: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(status);
}

/* A descriptor, or -1 with errno. */
static int connect_to(const char *path)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(address.sun_path))
		die(EXIT_USAGE, "the socket's path %s is too long, expected at most %zu characters",
		    path, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die(EXIT_REFUSED, "no socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	/* This bounds connect(), too. */
	patience.tv_sec = CONNECT_S;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

struct daemon_link *link_open(const struct options *o, bool quiet)
{
	const char *path = o->socket ? o->socket : CONFIG_DEFAULT_DIR "/" CONTROL_SOCKET;
	struct daemon_link *link;
	int fd = connect_to(path);

	/* Where systemd makes the socket, the daemon's own is not there, or a leftover. */
	if (fd < 0 && !o->socket) {
		int err = errno;

		fd = connect_to(CONTROL_SOCKET_UNIT);
		if (fd >= 0 || errno != ENOENT)
			path = CONTROL_SOCKET_UNIT;
		else
			errno = err;
	}
	if (fd < 0) {
		if (quiet)
			return NULL;
		if (errno == EACCES)
			die(EXIT_REFUSED,
			    "%s: %s; expected a member of the group that control_group, or SocketGroup= of its unit, names",
			    path, strerror(errno));
		if (errno == EAGAIN)
			die(EXIT_REFUSED,
			    "%s: vmshmd takes no connections; does it hang, or are too many open?",
			    path);
		die(EXIT_REFUSED, "%s: %s; is vmshmd running? (--socket names another one)", path,
		    strerror(errno));
	}
	link = calloc(1, sizeof(*link));
	if (!link)
		abort();
	link->path = path;
	link->stream = fdopen(fd, "r");
	if (!link->stream)
		abort();
	link_patience(link, PATIENCE_S);
	return link;
}

void link_patience(struct daemon_link *link, double seconds)
{
	struct timeval patience = { .tv_sec = (time_t)seconds };
	int fd = fileno(link->stream);

	patience.tv_usec = (suseconds_t)((seconds - (double)patience.tv_sec) * 1e6);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

void link_close(struct daemon_link *link)
{
	if (!link)
		return;
	fclose(link->stream);
	free(link);
}

/* A daemon that has hung up is told as other mistakes are: no SIGPIPE ends the program. */
static bool send_line(int fd, json_t *request)
{
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	size_t len, sent = 0;

	json_decref(request);
	if (!text)
		return false;
	len = strlen(text);
	text[len++] = '\n';	/* in place of the NUL */
	while (sent < len) {
		ssize_t n = send(fd, text + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		sent += (size_t)n;
	}
	free(text);
	return sent == len;
}

json_t *link_try(struct daemon_link *link, json_t *request, char **why)
{
	json_t *reply, *result = NULL;
	json_error_t error;

	*why = NULL;
	errno = 0;
	if (!send_line(fileno(link->stream), request)) {
		link->wrong = errno == EAGAIN ? "no answer in time" :
			      errno && errno != EPIPE && errno != ECONNRESET ? strerror(errno) :
			      "the daemon hung up";
		return NULL;
	}
	reply = json_loadf(link->stream, JSON_DISABLE_EOF_CHECK, &error);
	if (!json_is_object(reply)) {
		link->wrong = ferror(link->stream) && errno == EAGAIN ? "no answer in time" :
			      feof(link->stream) || ferror(link->stream) ? "the daemon hung up" :
			      "no answer that makes sense";
		json_decref(reply);
		return NULL;
	}
	/* The end of its line. */
	while (fgetc(link->stream) == ' ')
		;
	if (json_is_true(json_object_get(reply, "ok"))) {
		result = json_incref(json_object_get(reply, "result"));
	} else {
		const char *said = json_string_value(json_object_get(reply, "error"));

		*why = strdup(said ? said : "the daemon refused");
		if (!*why)
			abort();
	}
	json_decref(reply);
	return result;
}

void link_die(const struct daemon_link *link)
{
	die(EXIT_REFUSED, "%s: %s", link->path, link->wrong);
}

json_t *link_ask(struct daemon_link *link, json_t *request, char **why)
{
	json_t *result = link_try(link, request, why);

	if (!result && !*why)
		link_die(link);
	return result;
}

json_t *ask(const struct options *o, const char *command)
{
	struct daemon_link *link = link_open(o, false);
	char *why;
	json_t *result = link_ask(link, json_pack("{ss}", "command", command), &why);

	link_close(link);
	if (!result)
		die(EXIT_REFUSED, "%s", why);
	return result;
}

const char *str(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "?";
}

unsigned long long num(const json_t *object, const char *key)
{
	return (unsigned long long)json_integer_value(json_object_get(object, key));
}

bool yes(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

void print_json(json_t *value)
{
	if (json_dumpf(value, stdout, JSON_INDENT(2)) || putchar('\n') == EOF || fflush(stdout))
		die(EXIT_REFUSED, "the output cannot be written: %s", strerror(errno));
	json_decref(value);
}
