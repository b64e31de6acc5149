/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_USER_H
#define KACCEL_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* Exit statuses of every command. */
#define KAC_EXIT_OK    0
#define KAC_EXIT_FAIL  1 /* what was asked for could not be done */
#define KAC_EXIT_USAGE 2 /* it was not asked for rightly */

#define KAC_INSTANCE_MAX 32
#define KAC_BPFFS	 "/sys/fs/bpf"
#define KAC_PATH_MAX	 256

/* The one context: what the global options said. Passed to every command, never changed by one. */
struct kac_ctx {
	const char *instance; /* --instance NAME, else "default" */
	bool json;	      /* --json */
};

/* One command: @argv[0] is its name. Returns a KAC_EXIT_* status, with one line on stderr when it
 * is not 0. */
typedef int (*kac_cmd_fn)(const struct kac_ctx *ctx, int argc, char **argv);

int cmd_serve(const struct kac_ctx *ctx, int argc, char **argv);
int cmd_attach(const struct kac_ctx *ctx, int argc, char **argv);
int cmd_detach(const struct kac_ctx *ctx, int argc, char **argv);
int cmd_pin(const struct kac_ctx *ctx, int argc, char **argv);
int cmd_unpin(const struct kac_ctx *ctx, int argc, char **argv);
int cmd_list(const struct kac_ctx *ctx, int argc, char **argv);
int cmd_show(const struct kac_ctx *ctx, int argc, char **argv);
int cmd_stats(const struct kac_ctx *ctx, int argc, char **argv);
int cmd_check(const struct kac_ctx *ctx, int argc, char **argv);

/*
 * Print "kaccel: " and one line on stderr. Says what is wrong and how to mend it. Returns
 * KAC_EXIT_FAIL (kac_fail) or KAC_EXIT_USAGE (kac_usage), for `return kac_fail("…")`.
 */
int kac_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int kac_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * getopt_long(3) of a command's arguments with ":" for the short options: nothing is printed, and
 * an error is '?' or ':'. Start with optind = 0.
 */
struct option;
int kac_getopt(int argc, char **argv, const struct option *longs);

/* Say which option getopt did not like (@c: '?' or ':'), and where help is. KAC_EXIT_USAGE. */
int kac_usage_option(int c, char **argv);

/* Parse "64M", "1G", "4096" into bytes. -EINVAL when @text is anything else. */
int kac_parse_size(const char *text, uint64_t *bytes);

/* Parse a decimal number in [@min, @max]. -EINVAL when @text is anything else. */
int kac_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* The directory of an instance's pins: KAC_BPFFS/kaccel/<instance>[/@leaf when not NULL]. */
void kac_pin_path(const struct kac_ctx *ctx, const char *leaf, char path[KAC_PATH_MAX]);

/*
 * Open a pinned map of the instance. Returns a file descriptor that the caller closes; -ENOENT when
 * there is no such instance, -EPERM without the privilege.
 */
int kac_open_map(const struct kac_ctx *ctx, const char *name);

/* Say, in one line, why an instance's map could not be opened (@err: what kac_open_map returned).
 * KAC_EXIT_FAIL. */
int kac_fail_instance(const struct kac_ctx *ctx, int err);

static inline void kac_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void kac_free_ptr(void *p)
{
	free(*(void **)p);
}

#define __cleanup_fd   __attribute__((cleanup(kac_close_fd)))
#define __cleanup_free __attribute__((cleanup(kac_free_ptr)))

#endif
