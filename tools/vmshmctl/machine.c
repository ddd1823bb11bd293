// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a member's virtual machine needs: a device for each of its segments, and
 * the SMBIOS string by which the VM knows its own CID from the host.
 */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct config_member *find(const struct config *config, const char *name, u32 *index)
{
	for (*index = 0; *index < config->nr_members; ++*index) {
		if (strcmp(config->members[*index].name, name))
			continue;
		if (config->members[*index].host)
			die(EXIT_REFUSED, "'%s' is a process on the host, no VM; see vmshm_host(3)",
			    name);
		return &config->members[*index];
	}
	die(EXIT_REFUSED, "there is no member '%s' in the configuration", name);
}

static bool is_in(const struct config_segment *s, u32 member)
{
	for (u32 i = 0; i < s->nr_members; i++)
		if (s->members[i] == member)
			return true;
	return false;
}

/* The configuration, with the runtime directory of the daemon that runs. */
static struct config *load(const struct options *o)
{
	struct daemon_link *link = link_open(o, true);
	char *path = edit_config_path(o), *why = NULL;
	json_t *status = NULL;
	struct config *config;
	unsigned int mistakes;

	if (link)
		status = link_ask(link, json_pack("{ss}", "command", "status"), &why);
	link_close(link);
	config = config_load(path, status ? str(status, "runtime_dir") : NULL, &mistakes);
	if (!config)
		die(EXIT_CONFIG, "%u mistake%s in %s", mistakes, mistakes == 1 ? "" : "s", path);
	json_decref(status);
	free(path);
	free(why);
	return config;
}

/* Names and paths have no character that XML would want escaped but these. */
static void put_escaped(const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", stdout);
			break;
		case '<':
			fputs("&lt;", stdout);
			break;
		case '\'':
			fputs("&apos;", stdout);
			break;
		default:
			putchar(*text);
		}
	}
}

static void put_shmem(const struct config *config, const struct config_segment *s,
		      const struct config_member *m)
{
	printf("    <shmem name='%s'>\n      <model type='ivshmem-doorbell'/>\n", s->name);
	fputs("      <server path='", stdout);
	put_escaped(config->runtime_dir);
	printf("/%s/%s" CONFIG_SOCKET_SUFFIX "'/>\n", s->name, m->name);
	printf("      <msi vectors='%u' ioeventfd='on'/>\n    </shmem>\n", s->vectors);
}

int machine_libvirt(const struct options *o)
{
	struct config *config = load(o);
	const struct config_member *m;
	u32 index;

	m = find(config, o->args[0], &index);
	if (o->json)
		die(EXIT_USAGE, "libvirt-xml prints XML: --json is not for it");
	if (o->domain)
		printf("<domain type='kvm'>\n  <name>%s</name>\n"
		       "  <memory unit='MiB'>1024</memory>\n  <vcpu>2</vcpu>\n", m->name);
	else
		printf("<!-- For the domain of %s: merge each part into its like. -->\n<domain>\n",
		       m->name);
	/* The VM believes the host's word on its CID, not the segment's. */
	printf("  <sysinfo type='smbios'>\n    <oemStrings>\n      <entry>vmshm.cid=%u</entry>\n"
	       "    </oemStrings>\n  </sysinfo>\n", m->cid);
	printf("  <os>\n%s    <smbios mode='sysinfo'/>\n  </os>\n",
	       o->domain ? "    <type arch='x86_64' machine='q35'>hvm</type>\n" : "");
	printf("  <devices>\n");
	if (o->domain)
		printf("    <emulator>/usr/bin/qemu-system-x86_64</emulator>\n");
	for (u32 i = 0; i < config->nr_segments; i++)
		if (is_in(&config->segments[i], index))
			put_shmem(config, &config->segments[i], m);
	printf("  </devices>\n</domain>\n");
	config_free(config);
	return EXIT_SUCCESS;
}

/* A comma in a value is written twice for QEMU. */
static char *doubled_commas(const char *text)
{
	char *twice = calloc(2, strlen(text) + 1), *to = twice;

	if (!twice)
		abort();
	for (; *text; text++) {
		if (*text == ',')
			*to++ = ',';
		*to++ = *text;
	}
	return twice;
}

static void add(json_t *args, const char *option, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void add(json_t *args, const char *option, const char *fmt, ...)
{
	va_list more;
	char *text;

	va_start(more, fmt);
	if (vasprintf(&text, fmt, more) < 0)
		abort();
	va_end(more);
	json_array_append_new(args, json_string(option));
	json_array_append_new(args, json_string(text));
	free(text);
}

/* For a shell, unless there is nothing to quote. */
static void put_quoted(const char *text)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,=/:";

	if (*text && strspn(text, plain) == strlen(text)) {
		fputs(text, stdout);
		return;
	}
	putchar('\'');
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*text);
	}
	putchar('\'');
}

int machine_qemu(const struct options *o)
{
	struct config *config = load(o);
	json_t *args = json_array(), *arg;
	const struct config_member *m;
	char *dir;
	u32 index;
	size_t n;

	m = find(config, o->args[0], &index);
	dir = doubled_commas(config->runtime_dir);
	add(args, "-smbios", "type=11,value=vmshm.cid=%u", m->cid);
	for (u32 i = 0; i < config->nr_segments; i++) {
		const struct config_segment *s = &config->segments[i];

		if (!is_in(s, index))
			continue;
		add(args, "-chardev", "socket,path=%s/%s/%s" CONFIG_SOCKET_SUFFIX
		    ",id=vmshm-%s", dir, s->name, m->name, s->name);
		add(args, "-device", "ivshmem-doorbell,chardev=vmshm-%s,id=vmshm-dev-%s,vectors=%u",
		    s->name, s->name, s->vectors);
	}
	free(dir);
	config_free(config);
	if (o->json) {
		print_json(args);
		return EXIT_SUCCESS;
	}
	json_array_foreach(args, n, arg) {
		put_quoted(json_string_value(arg));
		putchar(n % 2 ? '\n' : ' ');
	}
	json_decref(args);
	return EXIT_SUCCESS;
}
