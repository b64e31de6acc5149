// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "lane.h"

/* Connections that end by themselves within this time are not worth a second process. */
#define FOREGROUND_MS 1000
#define POLL_MS	      100

static int say(const struct kac_ctx *ctx, uint32_t left, pid_t pid)
{
	if (ctx->json) {
		json_t *out = json_object();
		char *text;

		json_object_set_new(out, "instance", json_string(ctx->instance));
		json_object_set_new(out, "detached", json_boolean(!left));
		json_object_set_new(out, "draining", json_integer(left));
		text = json_dumps(out, JSON_INDENT(2));
		puts(text);
		free(text);
		json_decref(out);
	} else if (left) {
		printf("nothing is answered any more; %u connections are translated until they "
		       "close "
		       "(process %d waits for them; 'kaccel detach --now' resets them)\n",
		       left, (int)pid);
	} else {
		printf("detached instance '%s'\n", ctx->instance);
	}
	return KAC_EXIT_OK;
}

/* Wait for the last translated connection and remove the instance, unless it is attached again. */
static void drain_to_end(const struct kac_ctx *ctx)
{
	uint32_t left = 1;

	for (;;) {
		if (kac_lane_is_draining(ctx) != 1 || kac_lane_draining(ctx, &left))
			return;
		if (!left)
			break;
		usleep(POLL_MS * 1000);
	}
	kac_lane_remove(ctx);
}

/* The owner of what is left, in a session of its own: it outlives the shell that detached. */
static pid_t drain_in_background(const struct kac_ctx *ctx)
{
	pid_t pid;
	int null;

	fflush(NULL);
	pid = fork();
	if (pid)
		return pid;
	setsid();
	null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
	}
	if (chdir("/"))
		_exit(1);
	drain_to_end(ctx);
	_exit(0);
}

static int detach_now(const struct kac_ctx *ctx)
{
	uint32_t left;
	int err;

	err = kac_lane_drain(ctx, &left);
	if (!err && left)
		err = kac_lane_reset(ctx, &left);
	/* What this version cannot read it can still remove. */
	if (err && err != -EPROTO)
		return kac_fail_instance(ctx, err);
	err = kac_lane_remove(ctx);
	if (err)
		return kac_fail("cannot remove all of instance '%s': %s", ctx->instance,
				strerror(-err));
	if (left)
		fprintf(stderr,
			"kaccel: %u connections could not be reset: this kernel has no "
			"INET_DIAG_DESTROY; they will stall\n",
			left);
	return say(ctx, 0, 0);
}

int cmd_detach(const struct kac_ctx *ctx, int argc, char **argv)
{
	static const struct option options[] = {
		{"now", no_argument, NULL, 'n'},
		{},
	};
	bool now = false;
	uint32_t left;
	int opt, err, waited;

	optind = 0;
	while ((opt = kac_getopt(argc, argv, options)) != -1) {
		if (opt != 'n')
			return kac_usage_option(opt, argv);
		now = true;
	}
	if (optind != argc)
		return kac_usage("detach: '%s' is not an option", argv[optind]);
	if (now)
		return detach_now(ctx);
	err = kac_lane_drain(ctx, &left);
	for (waited = 0; !err && left && waited < FOREGROUND_MS; waited += POLL_MS) {
		usleep(POLL_MS * 1000);
		err = kac_lane_draining(ctx, &left);
	}
	if (err)
		return kac_fail_instance(ctx, err);
	if (left)
		return say(ctx, left, drain_in_background(ctx));
	err = kac_lane_remove(ctx);
	if (err)
		return kac_fail("cannot remove all of instance '%s': %s", ctx->instance,
				strerror(-err));
	return say(ctx, 0, 0);
}
