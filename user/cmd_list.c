// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "field.h"
#include "print.h"

struct row {
	char *authority, *target, *type;
	uint32_t bytes;
	uint16_t status;
	int64_t expires_in; /* as kac_expires_in gives it */
};

struct listing {
	struct kac_store *store;
	struct row *rows;
	size_t count, room;
	uint8_t reply[KAC_REPLY_MAX];
};

static int add_row(const struct kac_pinned *pinned, void *arg)
{
	const struct kac_object *o = pinned->object;
	struct listing *l = arg;
	const char *type;
	struct row *row;
	size_t len;
	int err;

	err = kac_store_reply(l->store, pinned, l->reply);
	if (err)
		return err == -ESTALE ? 0 : err;
	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		struct row *bigger = reallocarray(l->rows, room, sizeof(*l->rows));

		if (!bigger)
			return -ENOMEM;
		l->rows = bigger;
		l->room = room;
	}
	row = &l->rows[l->count++];
	type = kac_field((const char *)l->reply, o->head_len, "Content-Type", &len);
	*row = (struct row){
		.authority = strdup(pinned->authority),
		.target = strdup(pinned->target),
		.type = type ? strndup(type, len) : strdup(""),
		.bytes = o->length,
		.status = o->status,
		.expires_in = kac_expires_in(o),
	};
	return row->authority && row->target && row->type ? 0 : -ENOMEM;
}

static int compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int order = strcmp(x->authority, y->authority);

	return order ? order : strcmp(x->target, y->target);
}

static json_t *row_json(const struct row *r)
{
	return json_pack("{s:s++, s:i, s:s, s:I, s:o}", "url", "http://", r->authority, r->target,
			 "status", (int)r->status, "type", r->type, "bytes", (json_int_t)r->bytes,
			 "expires_in",
			 r->expires_in < 0 ? json_null() : json_integer(r->expires_in));
}

static int print_json(const struct listing *l)
{
	json_t *array = json_array();
	size_t i;

	for (i = 0; i < l->count; i++) {
		if (json_array_append_new(array, row_json(&l->rows[i]))) {
			json_decref(array);
			return kac_print_json(NULL);
		}
	}
	return kac_print_json(array);
}

static void print_text(const struct listing *l)
{
	int width = (int)strlen("URL");
	size_t i;

	for (i = 0; i < l->count; i++) {
		int len = (int)(strlen("http://") + strlen(l->rows[i].authority) +
				strlen(l->rows[i].target));

		if (len > width)
			width = len;
	}
	printf("%-*s  STATUS    BYTES  EXPIRES IN  TYPE\n", width, "URL");
	for (i = 0; i < l->count; i++) {
		const struct row *r = &l->rows[i];

		kac_print_url(r->authority, r->target, width);
		printf("  %6u  %7u  ", r->status, r->bytes);
		if (r->expires_in > 0)
			printf("%8" PRId64 " s", r->expires_in);
		else
			printf("%10s", r->expires_in < 0 ? "never" : "expired");
		printf("  %s\n", r->type);
	}
}

int cmd_list(const struct kac_ctx *ctx, int argc, char **argv)
{
	struct kac_store *store __cleanup_store = NULL;
	struct listing l = {0};
	int err, status = KAC_EXIT_OK;
	size_t i;

	if (argc != 1)
		return kac_usage("list: unknown argument '%s': it takes none", argv[1]);
	err = kac_store_open(ctx, true, &store);
	if (err)
		return kac_fail_instance(ctx, err);
	l.store = store;
	err = kac_store_each(store, add_row, &l);
	if (l.count)
		qsort(l.rows, l.count, sizeof(*l.rows), compare);
	if (err)
		status = kac_fail("list: %s", strerror(-err));
	else if (ctx->json)
		status = print_json(&l);
	else
		print_text(&l);
	for (i = 0; i < l.count; i++) {
		free(l.rows[i].authority);
		free(l.rows[i].target);
		free(l.rows[i].type);
	}
	free(l.rows);
	return status;
}
