// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "field.h"
#include "pin.h"
#include "print.h"

/* Ten years: what is meant to stay longer has no --ttl. */
#define TTL_MAX_S (10ULL * 365 * 24 * 3600)

struct options {
	const char *path;
	const char *url_text;
	struct kac_url url;
	struct kac_pin_options pin;
	char *headers; /* what pin.headers is */
};

static int add_header(struct options *o, const char *text)
{
	char *line __cleanup_free = NULL, *all;

	if (asprintf(&line, "%s\r\n", text) < 0) {
		line = NULL;
		return kac_fail("out of memory");
	}
	if (!*text || !kac_fields_valid(line) || strchr(text, '\n'))
		return kac_usage("--header '%s': give it as 'Name: value'", text);
	if (asprintf(&all, "%s%s", o->headers ? o->headers : "", line) < 0)
		return kac_fail("out of memory");
	free(o->headers);
	o->headers = all;
	o->pin.headers = all;
	return KAC_EXIT_OK;
}

static int check_type(const char *type)
{
	char *line __cleanup_free = NULL;

	if (asprintf(&line, "Content-Type: %s\r\n", type) < 0) {
		line = NULL;
		return kac_fail("out of memory");
	}
	if (!strchr(type, '/') || strchr(type, '\n') || !kac_fields_valid(line))
		return kac_usage("--type '%s': give a media type, such as text/html", type);
	return KAC_EXIT_OK;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"url", required_argument, NULL, 'u'},
		{"type", required_argument, NULL, 't'},
		{"ttl", required_argument, NULL, 'l'},
		{"header", required_argument, NULL, 'h'},
		{0},
	};
	const char *why;
	int c, status = KAC_EXIT_OK;

	optind = 0;
	while (!status && (c = kac_getopt(argc, argv, longs)) != -1) {
		switch (c) {
		case 'u':
			o->url_text = optarg;
			break;
		case 't':
			o->pin.type = optarg;
			status = check_type(optarg);
			break;
		case 'l':
			if (kac_parse_u64(optarg, 1, TTL_MAX_S, &o->pin.ttl_s))
				status = kac_usage("--ttl '%s': give it in seconds, from 1 to %llu",
						   optarg, TTL_MAX_S);
			break;
		case 'h':
			status = add_header(o, optarg);
			break;
		default:
			status = kac_usage_option(c, argv);
		}
	}
	if (status)
		return status;
	if (argc - optind != 1 || !o->url_text)
		return kac_usage("pin: give one file or directory and its --url: "
				 "see 'kaccel pin --help'");
	o->path = argv[optind];
	if (kac_url_parse(o->url_text, &o->url, &why))
		return kac_usage("--url '%s': %s", o->url_text, why);
	return KAC_EXIT_OK;
}

static int fail_full(const struct kac_ctx *ctx, struct kac_store *store)
{
	struct kac_store_usage u;

	kac_store_usage(store, &u);
	return kac_fail(
		"instance '%s' is full (%u of %u objects, %llu of %llu KiB): raise --memory or "
		"--objects at attach, or unpin something",
		ctx->instance, u.objects, u.object_limit, (unsigned long long)u.bytes_held >> 10,
		(unsigned long long)u.bytes_limit >> 10);
}

static int fail_pin(const struct kac_ctx *ctx, struct kac_store *store, const struct options *o,
		    int err)
{
	switch (err) {
	case -ENOSPC:
		return fail_full(ctx, store);
	case -EFBIG:
		return kac_fail("%s: too large: file and head may have %u bytes; leave it to the "
				"origin",
				o->path, KAC_REPLY_MAX);
	case -EAGAIN:
		return kac_fail("%s: is being written to: pin it when that is done", o->path);
	case -ENOTSUP:
		return kac_fail("%s: is neither a regular file nor a directory", o->path);
	case -EINVAL:
		return kac_usage("--header: Date, Content-Length and what concerns the connection "
				 "are not yours to set: leave them out");
	case -EEXIST:
		return kac_fail(
			"%s: the hash of its name is another object's: pin it under another "
			"URL",
			o->url_text);
	case -ENAMETOOLONG:
		return kac_fail("%s: too long", o->url_text);
	default:
		return kac_fail("%s: %s", o->path, strerror(-err));
	}
}

static int print_totals(const struct kac_ctx *ctx, const struct kac_pin_totals *t)
{
	if (ctx->json)
		return kac_print_json(json_pack(
			"{s:I, s:I, s:I, s:I, s:I, s:I}", "objects", (json_int_t)t->objects,
			"bytes", (json_int_t)t->bytes, "too_large", (json_int_t)t->too_large,
			"no_room", (json_int_t)t->no_room, "long_names", (json_int_t)t->long_names,
			"unreadable", (json_int_t)t->unreadable));
	kac_pin_totals_print(t, stdout);
	putchar('\n');
	return KAC_EXIT_OK;
}

static int pin(const struct kac_ctx *ctx, const struct options *o)
{
	struct kac_mime *mime __cleanup_mime = NULL;
	struct kac_store *store __cleanup_store = NULL;
	struct kac_pin_totals totals = {0};
	struct stat st;
	int err, status;

	if (stat(o->path, &st))
		return kac_fail("%s: %s", o->path, strerror(errno));
	if (S_ISDIR(st.st_mode) && (o->pin.type || o->pin.headers))
		return kac_usage("--type and --header are for a file, and %s is a directory",
				 o->path);
	if (S_ISDIR(st.st_mode) && strchr(o->url.target, '?'))
		return kac_usage("--url '%s': a directory's URL has no query", o->url_text);
	err = kac_mime_load(NULL, &mime);
	if (err)
		return kac_fail("%s: %s: install the package media-types", KAC_MIME_TYPES,
				strerror(-err));
	err = kac_store_open(ctx, false, &store);
	if (err)
		return kac_fail_instance(ctx, err);
	if (S_ISDIR(st.st_mode))
		err = kac_pin_tree(store, mime, o->path, o->url.authority, o->url.target,
				   o->pin.ttl_s, &totals);
	else
		err = kac_pin_file(store, mime, o->path, &o->url, &o->pin, &totals);
	if (err)
		return fail_pin(ctx, store, o, err);
	status = print_totals(ctx, &totals);
	return status || !totals.no_room ? status : fail_full(ctx, store);
}

int cmd_pin(const struct kac_ctx *ctx, int argc, char **argv)
{
	struct options o = {.path = ""};
	int status;

	status = parse(argc, argv, &o);
	if (!status)
		status = pin(ctx, &o);
	free(o.headers);
	return status;
}
