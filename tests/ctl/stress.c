// SPDX-License-Identifier: GPL-2.0-only
/*
 * Readers and orders against joins, leaves and reloads: a thousand questions a
 * second, answers that are whole and true, readers that ask and never read, and
 * QEMUs that are served all the same.
 */
#include "harness.h"

#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SECONDS		10
#define MEMBERS		8
#define READERS		8
#define WANTED		1000	/* questions a second */
#define JOINERS		3
#define IDLERS		20
/* A QEMU is served in this time while all that goes on. Sanitizers slow it. */
#define JOIN_LIMIT_MS	2000

static struct vmshmd d;
static bool stop;
static unsigned long answered, wrong, joined, not_joined, longest_ms, reloads, kicks, drains;

static int control(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = PATIENCE / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control.sock", d.run);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The result of a request, NULL: none, or the daemon said no. */
static json_t *request(int fd, const char *text)
{
	static __thread char reply[1 << 18];
	json_t *all, *result = NULL;
	size_t len = 0;
	ssize_t n = 1;

	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		return NULL;
	while (n > 0 && len < sizeof(reply) && (!len || reply[len - 1] != '\n')) {
		n = recv(fd, reply + len, sizeof(reply) - len, 0);
		len += n > 0 ? (size_t)n : 0;
	}
	all = json_loadb(reply, len, 0, NULL);
	if (json_is_true(json_object_get(all, "ok")))
		result = json_incref(json_object_get(all, "result"));
	json_decref(all);
	return result;
}

static long long integer(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* What can be seen in every answer, whatever goes on meanwhile. */
static bool is_true(unsigned int what, const json_t *result)
{
	size_t places = 0, i;
	json_t *element;

	switch (what) {
	case 0:
		return integer(result, "connected") <= integer(result, "seats") &&
		       integer(result, "seats") == 2 * integer(result, "couples") &&
		       integer(result, "members") == MEMBERS;
	case 1:
		json_array_foreach(result, i, element)
			places += json_array_size(json_object_get(element, "places"));
		return json_array_size(result) == MEMBERS && places % 2 == 0;
	case 2:
		json_array_foreach(result, i, element) {
			const json_t *sides = json_object_get(element, "sides");

			if (json_array_size(sides) != 2 ||
			    integer(element, "resident") > integer(element, "size"))
				return false;
		}
		return json_array_size(result) > 0;
	default:
		return json_array_size(result) && json_array_size(result) % 2 == 0;
	}
}

static void *reader(void *arg)
{
	static const char *const questions[] = {
		"{\"command\": \"status\"}\n", "{\"command\": \"members\"}\n",
		"{\"command\": \"couples\"}\n", "{\"command\": \"rings\"}\n",
	};
	unsigned int me = (unsigned int)(uintptr_t)arg, what = me;

	/* Most keep their connection, some come anew each time. */
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		int fd = control();
		unsigned int n = me % 2 ? 1 : 100;

		while (fd >= 0 && n-- && !__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
			/* The answers to three of the four are long: ask for them now and then. */
			unsigned int ask = ++what % 32 < 4 ? what % 4 : 0;
			json_t *result = request(fd, questions[ask]);

			__atomic_add_fetch(is_true(ask, result) ? &answered : &wrong, 1,
					   __ATOMIC_RELAXED);
			json_decref(result);
		}
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

static void couple_name(char name[16], unsigned int a, unsigned int b)
{
	snprintf(name, 16, "m%u-m%u", a < b ? a : b, a < b ? b : a);
}

/* Joins and leaves for one member; its couples with the others are there for good. */
static void *joiner(void *arg)
{
	unsigned int me = (unsigned int)(uintptr_t)arg, peer = 0;
	struct fake *f = calloc(1, sizeof(*f));
	char name[16], member[8];

	snprintf(member, sizeof(member), "m%u", me);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		u64 began = now_ms(), took;

		peer = (peer + 1) % (MEMBERS - 1);
		if (peer == me)
			continue;
		couple_name(name, me, peer);
		if (!fake_join(f, &d, name, member, 2, 2)) {
			__atomic_add_fetch(&not_joined, 1, __ATOMIC_RELAXED);
			continue;
		}
		took = now_ms() - began;
		__atomic_add_fetch(&joined, 1, __ATOMIC_RELAXED);
		if (took > __atomic_load_n(&longest_ms, __ATOMIC_RELAXED))
			__atomic_store_n(&longest_ms, took, __ATOMIC_RELAXED);
		fake_leave(f);
		sleep_ms(20);
	}
	free(f);
	return NULL;
}

/* The couples of the first seven for good, those of the last one come and go. */
static void config_with(char *body, size_t size, bool last)
{
	size_t len = (size_t)snprintf(body, size, "members = (");

	for (unsigned int i = 0; i < MEMBERS; i++)
		len += (size_t)snprintf(body + len, size - len, "%s{ name = \"m%u\"; cid = %u; }",
					i ? "," : "", i, 3 + i);
	len += (size_t)snprintf(body + len, size - len, ");\nsegments = (");
	for (unsigned int a = 0; a < MEMBERS; a++)
		for (unsigned int b = a + 1; b < MEMBERS - (last ? 0U : 1U); b++)
			len += (size_t)snprintf(body + len, size - len,
						"%s{ name = \"m%u-m%u\"; members = [ \"m%u\", \"m%u\" ]; size = \"4M\"; }",
						a + b > 1 ? ",\n" : "", a, b, a, b);
	snprintf(body + len, size - len, ");\n");
}

static void *steerer(void *arg)
{
	static char body[16384];
	bool last = false;
	json_t *result;
	int fd;

	(void)arg;
	fd = control();
	while (fd >= 0 && !__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		last = !last;
		config_with(body, sizeof(body), last);
		daemon_config(&d, body);
		result = request(fd, "{\"command\": \"reload\"}\n");
		__atomic_add_fetch(&reloads, !!result, __ATOMIC_RELAXED);
		json_decref(result);
		/* Nobody waits for member 6, so nobody misses it. */
		result = request(fd, "{\"command\": \"kick\", \"member\": \"m6\"}\n");
		__atomic_add_fetch(&kicks, !!result, __ATOMIC_RELAXED);
		json_decref(result);
		result = request(fd, "{\"command\": \"drain\", \"member\": \"m1\"}\n");
		__atomic_add_fetch(&drains, !!result, __ATOMIC_RELAXED);
		json_decref(result);
		json_decref(request(fd, "{\"command\": \"undrain\", \"member\": \"m1\"}\n"));
		sleep_ms(20);
	}
	close(fd);
	return NULL;
}

/* Ask for much, read nothing, and never go. */
static void idlers(int fds[IDLERS])
{
	static const char question[] = "{\"command\": \"rings\"}\n";

	for (unsigned int i = 0; i < IDLERS; i++) {
		fds[i] = control();
		need(fds[i] >= 0, "no connection: %s", strerror(errno));
		while (send(fds[i], question, sizeof(question) - 1, MSG_DONTWAIT) > 0)
			;
	}
}

static void storm(void)
{
	pthread_t readers[READERS], joiners[JOINERS], steer;
	int idle[IDLERS];

	idlers(idle);
	for (uintptr_t i = 0; i < READERS; i++)
		pthread_create(&readers[i], NULL, reader, (void *)i);
	for (uintptr_t i = 0; i < JOINERS; i++)
		pthread_create(&joiners[i], NULL, joiner, (void *)(2 * i));
	pthread_create(&steer, NULL, steerer, NULL);
	sleep_ms(SECONDS * 1000);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	for (unsigned int i = 0; i < JOINERS; i++)
		pthread_join(joiners[i], NULL);
	pthread_join(steer, NULL);
	for (unsigned int i = 0; i < IDLERS; i++)
		close(idle[i]);
}

/* Lines that are none, too long, cut off; none of them harms anybody. */
static void rubbish(void)
{
	static const char *const lines[] = {
		"\n", "x\n", "[]\n", "{}\n", "{\"command\": 3}\n", "{\"command\": \"kick\"}\n",
		"{\"command\": \"kick\", \"member\": 3}\n", "\"\\ud800\"\n",
		"{\"command\": \"kick\", \"member\": \"0123456789012345678901234567890123456789\"}\n",
		"{\"command\": \"drain\", \"member\": \"m0\", \"segment\": 1}\n",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
	};
	struct pollfd over = { .events = POLLIN };
	unsigned int refused = 0;
	char reply[4096], byte;
	json_t *result;
	ssize_t n;
	int fd = control();

	for (unsigned int i = 0; i < NR(lines); i++) {
		n = send(fd, lines[i], strlen(lines[i]), MSG_NOSIGNAL);
		n = n < 0 ? n : recv(fd, reply, sizeof(reply) - 1, 0);
		reply[n > 0 ? n : 0] = '\0';
		refused += !strncmp(reply, "{\"ok\":false,\"error\":\"", 21);
	}
	ok(refused == NR(lines), "each of %zu lines of rubbish is answered by an error",
	   NR(lines));
	memset(reply, ' ', sizeof(reply));
	for (int i = 0; i < 3; i++)
		if (send(fd, reply, sizeof(reply), MSG_NOSIGNAL) < 0)
			break;
	over.fd = fd;
	ok(poll(&over, 1, PATIENCE) == 1 && recv(fd, &byte, 1, 0) <= 0,
	   "a line without an end is cut off");
	close(fd);
	fd = control();
	n = send(fd, "{\"command\": \"st", 15, 0);
	close(fd);
	/* An order whose sender does not wait for the answer. */
	for (int i = 0; n > 0 && i < 200; i++) {
		fd = control();
		n = send(fd, "{\"command\": \"undrain\", \"member\": \"m0\"}\n", 39, 0);
		close(fd);
	}
	fd = control();
	result = request(fd, "{\"command\": \"status\"}\n");
	ok(is_true(0, result), "and others are answered");
	json_decref(result);
	close(fd);
}

int main(void)
{
	static char body[16384];
	unsigned int fds;

	signal(SIGPIPE, SIG_IGN);
	config_with(body, sizeof(body), false);
	daemon_start(&d, body);
	fds = daemon_fds(&d);
	rubbish();
	storm();
	diag("%lu answers a second, %lu wrong; %lu joins, the longest in %lu ms; %lu reloads",
	     answered / SECONDS, wrong, joined, longest_ms, reloads);
	ok(answered / SECONDS >= WANTED, "a thousand questions a second are answered");
	ok(!wrong, "no answer is wrong");
	ok(joined > 10 && !not_joined && longest_ms < JOIN_LIMIT_MS,
	   "QEMUs are served meanwhile, each within %d ms", JOIN_LIMIT_MS);
	ok(reloads > 10 && kicks > 10 && drains > 10, "and orders are carried out");
	config_with(body, sizeof(body), false);
	ok(daemon_reload(&d, body) && soon(daemon_fds(&d) == fds), "no descriptor is kept");
	daemon_end(&d);
	return done();
}
