// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <kaccel/conn.h>
#include <kaccel/counters.h>

#include "map.h"
#include "print.h"

struct counter {
	enum kac_counter id;
	const char *name, *text;
};

#define COUNTER(symbol, name, text) {symbol, name, text},

static const struct counter passes[] = {KAC_PASS_REASONS(COUNTER)};
static const struct counter outs[] = {KAC_OUT_REASONS(COUNTER)};
static const struct counter others[] = {KAC_OTHER_COUNTERS(COUNTER)};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

struct stats {
	uint64_t counts[KAC_CNT_MAX];
	uint64_t connections;
	struct kac_store_usage usage;
	bool draining;
};

static int read_counts(const struct kac_ctx *ctx, uint64_t counts[KAC_CNT_MAX])
{
	uint64_t *per_cpu __cleanup_free = NULL;
	int fd __cleanup_fd = -1;
	uint32_t entries, id;
	int cpus, cpu, err;

	fd = kac_open_map(ctx, "counters");
	if (fd < 0)
		return fd;
	err = kac_map_check(fd, sizeof(id), sizeof(*counts), &entries);
	if (err || entries != KAC_CNT_MAX)
		return err ? err : -EPROTO;
	cpus = libbpf_num_possible_cpus();
	if (cpus < 0)
		return cpus;
	per_cpu = calloc(cpus, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	for (id = 0; id < KAC_CNT_MAX; id++) {
		err = bpf_map_lookup_elem(fd, &id, per_cpu);
		if (err)
			return err;
		for (cpu = 0; cpu < cpus; cpu++)
			counts[id] += per_cpu[cpu];
	}
	return 0;
}

static int count_one(const void *key, const void *value, void *arg)
{
	uint64_t *count = arg;

	++*count;
	return 0;
}

static int count_connections(const struct kac_ctx *ctx, uint64_t *count)
{
	int fd __cleanup_fd = kac_open_map(ctx, "conns");

	if (fd < 0)
		return fd;
	return kac_map_each(fd, sizeof(struct kac_conn_key), sizeof(struct kac_conn), count_one,
			    count);
}

static int read_config(const struct kac_ctx *ctx, bool *draining)
{
	struct kac_config config = {0};
	int fd __cleanup_fd = kac_open_map(ctx, "config");
	uint32_t zero = 0;
	int err;

	if (fd < 0)
		return fd;
	err = kac_map_check(fd, sizeof(zero), sizeof(config), NULL);
	if (!err)
		err = bpf_map_lookup_elem(fd, &zero, &config);
	if (!err)
		*draining = config.flags & KAC_CONFIG_DRAINING;
	return err;
}

static int read_stats(const struct kac_ctx *ctx, struct stats *s)
{
	struct kac_store *store __cleanup_store = NULL;
	int err;

	err = kac_store_open(ctx, true, &store);
	if (err)
		return err;
	kac_store_usage(store, &s->usage);
	err = read_counts(ctx, s->counts);
	if (!err)
		err = count_connections(ctx, &s->connections);
	return err ? err : read_config(ctx, &s->draining);
}

static json_t *group_json(const struct stats *s, const struct counter *list, size_t count)
{
	json_t *group = json_object();
	size_t i;

	for (i = 0; i < count; i++)
		json_object_set_new(group, list[i].name,
				    json_integer((json_int_t)s->counts[list[i].id]));
	return group;
}

static int print_json(const struct kac_ctx *ctx, const struct stats *s)
{
	const struct kac_store_usage *u = &s->usage;

	return kac_print_json(json_pack(
		"{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I}, s:o, s:o, s:{s:o}}",
		"instance", ctx->instance, "draining", s->draining, "hits",
		(json_int_t)s->counts[KAC_CNT_HITS], "misses",
		(json_int_t)s->counts[KAC_CNT_MISSES], "objects", (json_int_t)u->objects,
		"object_limit", (json_int_t)u->object_limit, "bytes", (json_int_t)u->bytes,
		"connections", (json_int_t)s->connections, "memory", "limit",
		(json_int_t)u->bytes_limit, "held", (json_int_t)u->bytes_held, "passes",
		group_json(s, passes, LENGTH(passes)), "out_of_play",
		group_json(s, outs, LENGTH(outs)), "lanes", "packet",
		group_json(s, others, LENGTH(others))));
}

static void print_number(const char *name, uint64_t value, const char *text)
{
	printf("  %-16s%14" PRIu64 "  %s\n", name, value, text);
}

static void print_group(const char *title, const struct stats *s, const struct counter *list,
			size_t count, bool all)
{
	size_t i;

	printf("%s\n", title);
	for (i = 0; i < count; i++) {
		if (all || s->counts[list[i].id])
			print_number(list[i].name, s->counts[list[i].id], list[i].text);
	}
}

static void print_text(const struct kac_ctx *ctx, const struct stats *s, bool all)
{
	const struct kac_store_usage *u = &s->usage;

	printf("instance %s%s\n", ctx->instance, s->draining ? ", draining" : "");
	print_number("objects", u->objects, "pinned");
	print_number("object_limit", u->object_limit, "that can be");
	print_number("bytes", u->bytes, "of their replies");
	print_number("memory.held", u->bytes_held, "bytes in use, replaced objects included");
	print_number("memory.limit", u->bytes_limit, "bytes for replies");
	print_number("connections", s->connections, "followed now");
	print_group("packet lane", s, others, LENGTH(others), all);
	print_group("passed to the origin", s, passes, LENGTH(passes), all);
	print_group("connections gone out of play", s, outs, LENGTH(outs), all);
}

int cmd_stats(const struct kac_ctx *ctx, int argc, char **argv)
{
	struct stats s = {0};
	bool all = false;
	int i, err;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--all") != 0)
			return kac_usage("stats: unknown argument '%s': see 'kaccel stats --help'",
					 argv[i]);
		all = true;
	}
	err = read_stats(ctx, &s);
	if (err)
		return kac_fail_instance(ctx, err);
	if (ctx->json)
		return print_json(ctx, &s);
	print_text(ctx, &s, all);
	return KAC_EXIT_OK;
}
