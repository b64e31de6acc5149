// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "instance.h"
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

/*
 * Drop what needs no translation any more, and with the last of it the instance. 0 when it is gone,
 * or attached again by somebody; 1 when connections are left, @left of them; or -errno.
 */
static int drain_on(const struct kac_ctx *ctx, uint32_t *left)
{
	__cleanup_fd int lock = -1;
	int err;

	err = kac_instance_lock(ctx, &lock);
	if (!err)
		err = kac_lane_is_draining(ctx);
	if (err != 1)
		return err;
	err = kac_lane_draining(ctx, left);
	if (err)
		return err;
	return *left ? 1 : kac_lane_remove(ctx);
}

/* The owner of what is left, in a session of its own: it outlives the shell that detached. */
static pid_t drain_in_background(const struct kac_ctx *ctx)
{
	uint32_t left;
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
	while (drain_on(ctx, &left) == 1)
		usleep(POLL_MS * 1000);
	_exit(0);
}

static int detach_now(const struct kac_ctx *ctx)
{
	uint32_t left = 0;
	int err;

	/* What cannot be read, being damaged or another version's, can still be removed. */
	if (!kac_lane_drain(ctx, &left) && left)
		kac_lane_reset(ctx, &left);
	err = kac_lane_remove(ctx);
	if (err)
		return kac_fail("cannot remove all of instance '%s': %s", ctx->instance,
				strerror(-err));
	if (left)
		fprintf(stderr,
			"kaccel: %u connections could not be reset and will stall: this kernel has "
			"no INET_DIAG_DESTROY\n",
			left);
	return say(ctx, 0, 0);
}

static int detach(const struct kac_ctx *ctx)
{
	uint32_t left;
	int err, waited;

	err = kac_lane_drain(ctx, &left);
	for (waited = 0; !err && waited < FOREGROUND_MS; waited += POLL_MS) {
		err = drain_on(ctx, &left);
		if (err <= 0)
			break;
		usleep(POLL_MS * 1000);
		err = 0;
	}
	if (err < 0)
		return kac_fail_instance(ctx, err);
	return waited < FOREGROUND_MS ? say(ctx, 0, 0) : say(ctx, left, drain_in_background(ctx));
}

int cmd_detach(const struct kac_ctx *ctx, int argc, char **argv)
{
	static const struct option options[] = {
		{"now", no_argument, NULL, 'n'},
		{},
	};
	__cleanup_fd int lock = -1;
	bool now = false;
	int opt, err;

	optind = 0;
	while ((opt = kac_getopt(argc, argv, options)) != -1) {
		if (opt != 'n')
			return kac_usage_option(opt, argv);
		now = true;
	}
	if (optind != argc)
		return kac_usage("detach: '%s' is not an option", argv[optind]);
	err = kac_instance_lock(ctx, &lock);
	if (err)
		return kac_fail_instance(ctx, err);
	if (kac_instance_reachable(ctx))
		return kac_fail(
			"instance '%s' is of another network namespace: run this there, with "
			"'nsenter --net=/proc/PID/ns/net kaccel detach …'",
			ctx->instance);
	if (now)
		return detach_now(ctx);
	kac_close_fd(&lock);
	lock = -1;
	return detach(ctx);
}
