// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>

#include "kaccel.h"

static void complain(const char *fmt, va_list args)
{
	char *text __cleanup_free = NULL, *p;

	if (vasprintf(&text, fmt, args) < 0) {
		text = NULL;
		return;
	}
	/* Names and arguments are quoted as they came: it is to be one line, and safe to show. */
	for (p = text; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	}
	fprintf(stderr, "kaccel: %s\n", text);
}

int kac_fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(fmt, args);
	va_end(args);
	return KAC_EXIT_FAIL;
}

int kac_usage(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(fmt, args);
	va_end(args);
	return KAC_EXIT_USAGE;
}

int kac_getopt(int argc, char **argv, const struct option *longs)
{
	opterr = 0;
	return getopt_long(argc, argv, ":", longs, NULL);
}

int kac_usage_option(int c, char **argv)
{
	return kac_usage("%s: %s '%s': see 'kaccel %s --help'", argv[0],
			 c == ':' ? "a value is missing after" : "unknown option", argv[optind - 1],
			 argv[0]);
}

/* Digits only: strtoull alone takes signs, spaces and prefixes too. Leaves *@end behind them. */
static int parse_digits(const char *text, const char **end, uint64_t *value)
{
	uint64_t v = 0;
	const char *p;

	for (p = text; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *p - '0', &v))
			return -EINVAL;
	}
	if (p == text)
		return -EINVAL;
	*end = p;
	*value = v;
	return 0;
}

int kac_parse_size(const char *text, uint64_t *bytes)
{
	unsigned int shift = 0;
	const char *end;
	uint64_t v;

	if (parse_digits(text, &end, &v))
		return -EINVAL;
	switch (*end | 0x20) {
	case 'k':
		shift = 10;
		break;
	case 'm':
		shift = 20;
		break;
	case 'g':
		shift = 30;
		break;
	case 't':
		shift = 40;
		break;
	default:
		end--;
	}
	if (end[1] || v > UINT64_MAX >> shift)
		return -EINVAL;
	*bytes = v << shift;
	return 0;
}

int kac_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	const char *end;
	uint64_t v;

	if (parse_digits(text, &end, &v) || *end || v < min || v > max)
		return -EINVAL;
	*value = v;
	return 0;
}

void kac_pin_path(const struct kac_ctx *ctx, const char *leaf, char path[KAC_PATH_MAX])
{
	snprintf(path, KAC_PATH_MAX, "%s/kaccel/%s%s%s", KAC_BPFFS, ctx->instance, leaf ? "/" : "",
		 leaf ? leaf : "");
}

int kac_open_map(const struct kac_ctx *ctx, const char *name)
{
	char path[KAC_PATH_MAX];
	int fd;

	kac_pin_path(ctx, name, path);
	fd = bpf_obj_get(path);
	/* EACCES: /sys/fs/bpf is root's, as systemd mounts it. */
	return fd == -EACCES ? -EPERM : fd;
}

int kac_fail_instance(const struct kac_ctx *ctx, int err)
{
	switch (err) {
	case -ENOENT:
		return kac_fail("no instance '%s': start one with 'kaccel serve' or "
				"'kaccel attach', or name another with --instance",
				ctx->instance);
	case -EPERM:
	case -EACCES:
		return kac_fail("needs root (CAP_BPF and CAP_NET_ADMIN): run it with sudo");
	case -EPROTO:
		return kac_fail("instance '%s' was made by another version of kaccel: "
				"'kaccel detach --now' it, then start it again",
				ctx->instance);
	case -EUCLEAN:
		return kac_fail("the store of instance '%s' is damaged: "
				"'kaccel detach --now' it, then start it again",
				ctx->instance);
	default:
		return kac_fail("instance '%s' cannot be used: %s", ctx->instance, strerror(-err));
	}
}
