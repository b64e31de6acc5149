// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "print.h"
#include "url.h"

/* What stands where every reply has the Date of its own time. */
#define DATE_TEXT "(the time of each reply)"

#define TIME_MAX 24

static void format_time(uint64_t ns, char text[TIME_MAX])
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;

	strftime(text, TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
}

/* Call @fn with each line of the head, the Date filled in, and @arg. */
static void each_line(const struct kac_object *o, const uint8_t *reply,
		      void (*fn)(const char *line, size_t len, void *arg), void *arg)
{
	static const char date[] = "Date: " DATE_TEXT;
	const char *p = (const char *)reply, *end = p + o->head_len;

	while (end - p > 2) {
		const char *eol = memmem(p, end - p, "\r\n", 2);

		if (!eol)
			break;
		if (o->date_off && p < (const char *)reply + o->date_off &&
		    eol > (const char *)reply + o->date_off)
			fn(date, sizeof(date) - 1, arg);
		else
			fn(p, eol - p, arg);
		p = eol + 2;
	}
}

static void print_line(const char *line, size_t len, void *arg)
{
	printf("    %.*s\n", (int)len, line);
}

static void append_line(const char *line, size_t len, void *arg)
{
	json_array_append_new(arg, json_stringn(line, len));
}

static int print_json(const struct kac_pinned *p, const uint8_t *reply)
{
	const struct kac_object *o = p->object;
	int64_t expires_in = kac_expires_in(o);
	json_t *head = json_array();
	char pinned[TIME_MAX];

	format_time(o->pinned, pinned);
	each_line(o, reply, append_line, head);
	return kac_print_json(json_pack(
		"{s:s++, s:s, s:s, s:i, s:I, s:I, s:I, s:s, s:o, s:I, s:I, s:I, s:I, s:i, s:o}",
		"url", "http://", p->authority, p->target, "authority", p->authority, "target",
		p->target, "status", (int)o->status, "bytes", (json_int_t)o->length, "head_bytes",
		(json_int_t)o->head_len, "body_bytes", (json_int_t)(o->length - o->head_len),
		"pinned", pinned, "expires_in",
		expires_in < 0 ? json_null() : json_integer(expires_in), "generation",
		(json_int_t)o->generation, "slot", (json_int_t)p->slot, "slab", (json_int_t)o->slab,
		"offset", (json_int_t)o->offset, "checksum", (int)o->csum, "head", head));
}

static void print_text(const struct kac_pinned *p, const uint8_t *reply)
{
	const struct kac_object *o = p->object;
	int64_t expires_in = kac_expires_in(o);
	char pinned[TIME_MAX];

	format_time(o->pinned, pinned);
	kac_print_url(p->authority, p->target, 0);
	printf("\n  status      %u\n", o->status);
	printf("  bytes       %u (head %u, body %u)\n", o->length, o->head_len,
	       o->length - o->head_len);
	printf("  pinned      %s\n", pinned);
	if (expires_in > 0)
		printf("  expires in  %" PRId64 " s\n", expires_in);
	else
		printf("  expires in  %s\n", expires_in < 0 ? "never" : "expired");
	printf("  generation  %" PRIu64 "\n", (uint64_t)o->generation);
	printf("  memory      slot %u, slab %u, offset %u\n", p->slot, o->slab, o->offset);
	printf("  checksum    0x%04x\n", o->csum);
	printf("  head\n");
	each_line(o, reply, print_line, NULL);
}

/* As the kernel looks it up: under its own host first, then under any. */
static int find(struct kac_store *store, const struct kac_url *url, struct kac_pinned *pinned)
{
	int err;

	err = kac_store_find(store, url->authority, url->target, pinned);
	if (err == -ENOENT)
		err = kac_store_find(store, "*", url->target, pinned);
	return err;
}

static int show(const struct kac_ctx *ctx, const struct kac_url *url, bool body)
{
	struct kac_store *store __cleanup_store = NULL;
	uint8_t reply[KAC_REPLY_MAX];
	const struct kac_object *o;
	struct kac_pinned pinned;
	int err;

	err = kac_store_open(ctx, true, &store);
	if (err)
		return kac_fail_instance(ctx, err);
	do {
		err = find(store, url, &pinned);
		if (!err)
			err = kac_store_reply(store, &pinned, reply);
	} while (err == -ESTALE);
	if (err == -ENOENT)
		return kac_fail("http://%s%s is not pinned: 'kaccel list' shows what is",
				url->authority, url->target);
	if (err)
		return kac_fail("show: %s", strerror(-err));
	o = pinned.object;
	if (body)
		fwrite(reply + o->head_len, 1, o->length - o->head_len, stdout);
	else if (ctx->json)
		return print_json(&pinned, reply);
	else
		print_text(&pinned, reply);
	return KAC_EXIT_OK;
}

int cmd_show(const struct kac_ctx *ctx, int argc, char **argv)
{
	const char *text = NULL, *why;
	struct kac_url url;
	bool body = false;
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--body"))
			body = true;
		else if (*argv[i] == '-')
			return kac_usage("show: unknown option '%s': see 'kaccel show --help'",
					 argv[i]);
		else if (text)
			return kac_usage("show: give one URL");
		else
			text = argv[i];
	}
	if (!text)
		return kac_usage("show: give one URL");
	if (body && ctx->json)
		return kac_usage("show: --body is the bytes alone: leave --json out");
	if (kac_url_parse(text, &url, &why))
		return kac_usage("'%s': %s", text, why);
	return show(ctx, &url, body);
}
