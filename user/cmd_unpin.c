// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "print.h"
#include "url.h"

struct unpin_all {
	struct kac_store *store;
	uint32_t count;
};

static int unpin_one(const struct kac_pinned *pinned, void *arg)
{
	struct unpin_all *all = arg;
	int err;

	err = kac_store_unpin(all->store, pinned->authority, pinned->target);
	if (!err)
		all->count++;
	return err;
}

int cmd_unpin(const struct kac_ctx *ctx, int argc, char **argv)
{
	struct kac_store *store __cleanup_store = NULL;
	struct unpin_all all = {0};
	struct kac_url url;
	const char *why;
	bool every;
	int err;

	if (argc != 2)
		return kac_usage("unpin: give one URL, or --all");
	every = !strcmp(argv[1], "--all");
	if (!every && *argv[1] == '-')
		return kac_usage("unpin: unknown option '%s': see 'kaccel unpin --help'", argv[1]);
	if (!every && kac_url_parse(argv[1], &url, &why))
		return kac_usage("'%s': %s", argv[1], why);
	err = kac_store_open(ctx, false, &store);
	if (err)
		return kac_fail_instance(ctx, err);
	all.store = store;
	if (every) {
		err = kac_store_each(store, unpin_one, &all);
	} else {
		err = kac_store_unpin(store, url.authority, url.target);
		all.count = 1;
	}
	if (err == -ENOENT)
		return kac_fail("http://%s%s is not pinned: 'kaccel list' shows what is",
				url.authority, url.target);
	if (err)
		return kac_fail("unpin: %s", strerror(-err));
	if (ctx->json)
		return kac_print_json(json_pack("{s:I}", "objects", (json_int_t)all.count));
	printf("unpinned %u %s\n", all.count, all.count == 1 ? "object" : "objects");
	return KAC_EXIT_OK;
}
