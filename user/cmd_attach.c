// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "cgroup.h"
#include "instance.h"
#include "lane.h"
#include "options.h"

struct request {
	const char *cgroup, *unit;
	pid_t pid;
	bool upgrade;
	struct kac_lane_arguments args;
};

static int parse(int argc, char **argv, struct request *r)
{
	static const struct option options[] = {
		{"cgroup", required_argument, NULL, 'c'},
		{"pid", required_argument, NULL, 'p'},
		{"unit", required_argument, NULL, 'u'},
		{"port", required_argument, NULL, 'P'},
		{"upgrade", no_argument, NULL, 'U'},
		KAC_LANE_OPTIONS,
		{},
	};
	uint64_t v;
	int opt, err;

	optind = 0;
	while ((opt = kac_getopt(argc, argv, options)) != -1) {
		switch (opt) {
		case 'c':
			r->cgroup = optarg;
			break;
		case 'p':
			if (kac_parse_u64(optarg, 1, INT32_MAX, &v))
				return kac_usage("--pid %s: not a process id", optarg);
			r->pid = v;
			break;
		case 'u':
			r->unit = optarg;
			break;
		case 'P':
			if (kac_parse_u64(optarg, 1, 65535, &v))
				return kac_usage("--port %s: not a port, 1 to 65535", optarg);
			r->args.lane.port = v;
			break;
		case 'U':
			r->upgrade = true;
			break;
		default:
			err = kac_lane_argument(opt, optarg, argv, &r->args);
			if (err)
				return err;
		}
	}
	if (optind != argc)
		return kac_usage("attach: '%s' is not an option", argv[optind]);
	if (r->upgrade)
		return 0;
	if (!!r->cgroup + !!r->pid + !!r->unit != 1)
		return kac_usage(
			"attach: name the origin by one of --cgroup PATH, --pid PID, --unit NAME");
	if (!r->args.lane.port)
		return kac_usage("attach: say which port the origin listens on, with --port N");
	return 0;
}

/* The directory of the origin's cgroup, and in @pid one of its processes or 0. */
static int find_cgroup(const struct request *r, char path[KAC_PATH_MAX], pid_t *pid)
{
	char root[KAC_PATH_MAX];
	int err;

	*pid = r->pid;
	if (kac_cgroup_root(root))
		return kac_fail(
			"cgroup v2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified");
	if (r->pid) {
		err = kac_cgroup_of_pid(r->pid, path);
		if (err == -ESRCH)
			return kac_fail("--pid %d: no such process", (int)r->pid);
		if (err)
			return kac_fail("--pid %d: has no cgroup in %s", (int)r->pid, root);
		if (!strcmp(path, root))
			return kac_fail(
				"process %d is in the root cgroup with everything else: move it "
				"to one of its own, or attach there with --cgroup %s",
				(int)r->pid, root);
		return 0;
	}
	if (r->unit) {
		if (kac_cgroup_of_unit(r->unit, path))
			return kac_fail(
				"--unit %s: not running (no such cgroup below %s/system.slice)",
				r->unit, root);
	} else if (snprintf(path, KAC_PATH_MAX, "%s", r->cgroup ? r->cgroup : "") >= KAC_PATH_MAX) {
		return kac_fail("--cgroup: the path is too long");
	}
	*pid = kac_cgroup_some_pid(path);
	return 0;
}

static int print_result(const struct kac_ctx *ctx, const char *did, const struct kac_devices *devs)
{
	unsigned int i;
	char name[IF_NAMESIZE];

	if (ctx->json) {
		json_t *list = json_array(), *out = json_object();
		char *text;

		for (i = 0; i < devs->count; i++) {
			if (if_indextoname(devs->ifindex[i], name))
				json_array_append_new(list, json_string(name));
		}
		json_object_set_new(out, "instance", json_string(ctx->instance));
		json_object_set_new(out, "did", json_string(did));
		json_object_set_new(out, "devices", list);
		text = json_dumps(out, JSON_INDENT(2));
		puts(text);
		free(text);
		json_decref(out);
		return KAC_EXIT_OK;
	}
	printf("%s instance '%s'", did, ctx->instance);
	for (i = 0; i < devs->count; i++) {
		if (if_indextoname(devs->ifindex[i], name))
			printf("%s%s", i ? ", " : " on ", name);
	}
	puts("");
	return KAC_EXIT_OK;
}

static int upgrade(const struct kac_ctx *ctx)
{
	struct kac_devices none = {};
	__cleanup_fd int lock = -1;
	int err;

	err = kac_instance_lock(ctx, &lock);
	if (!err)
		err = kac_lane_is_draining(ctx);
	if (err < 0)
		return kac_fail_instance(ctx, err);
	if (kac_lane_upgrade(ctx))
		return KAC_EXIT_FAIL;
	return print_result(ctx, "upgraded", &none);
}

/*
 * Take up an instance that is being drained again: what it still translates goes on. Its maps are
 * as they were made, and it goes on with the cgroup whose connections it has.
 */
static int resume(const struct kac_ctx *ctx, const struct request *r, int cgroup)
{
	__cleanup_config struct kac_config *config = NULL;
	uint64_t id, old = kac_instance_cgroup(ctx);
	int err;

	err = kac_instance_config(ctx, &config);
	if (err)
		return kac_fail_instance(ctx, err);
	if (!(config->flags & KAC_CONFIG_DRAINING))
		return kac_fail(
			"instance '%s' is attached already: 'kaccel detach' it, upgrade it with "
			"--upgrade, or name another with --instance",
			ctx->instance);
	if (config->port != r->args.lane.port || config->netns != r->args.lane.netns ||
	    (old && (kac_cgroup_id(cgroup, &id) || id != old)))
		return kac_fail(
			"instance '%s' is draining for another port, cgroup or network namespace: "
			"'kaccel detach --now' it, or name another with --instance",
			ctx->instance);
	if (kac_lane_upgrade(ctx))
		return KAC_EXIT_FAIL;
	config->refresh_ns = r->args.lane.refresh_ns;
	return 0;
}

/* With the instance's lock held. */
static int attach(const struct kac_ctx *ctx, const struct request *r, int cgroup,
		  const struct kac_devices *devs)
{
	bool resumed = false;
	unsigned int i;
	int err;

	err = kac_lane_create(ctx, &r->args.lane);
	if (err == -EEXIST) {
		resumed = true;
		err = resume(ctx, r, cgroup);
	}
	if (err)
		return KAC_EXIT_FAIL;
	/* Devices first: a connection is answered only where both directions are translated. */
	for (i = 0; i < devs->count && !err; i++)
		err = kac_lane_attach_device(ctx, devs->ifindex[i]);
	if (!err)
		err = kac_lane_attach_cgroup(ctx, cgroup);
	if (!err && resumed)
		err = kac_lane_resume(ctx);
	if (err) {
		if (!resumed)
			kac_lane_remove(ctx);
		return kac_fail("cannot attach: %s; 'kaccel check' says what this kernel lacks",
				strerror(-err));
	}
	return print_result(ctx, resumed ? "attached again" : "attached", devs);
}

int cmd_attach(const struct kac_ctx *ctx, int argc, char **argv)
{
	struct request r = {.args = kac_lane_arguments()};
	char path[KAC_PATH_MAX], rival[KAC_INSTANCE_MAX + 1];
	__cleanup_fd int cgroup = -1, lock = -1;
	struct kac_devices devs;
	uint64_t theirs = 0;
	pid_t pid;
	int err;

	err = parse(argc, argv, &r);
	if (err)
		return err;
	if (geteuid())
		return kac_fail_instance(ctx, -EPERM);
	if (r.upgrade)
		return upgrade(ctx);
	err = find_cgroup(&r, path, &pid);
	if (err)
		return err;
	cgroup = kac_cgroup_open(path);
	if (cgroup == -ENOTDIR)
		return kac_fail("%s: not in cgroup v2; see 'grep cgroup2 /proc/mounts'", path);
	if (cgroup < 0)
		return kac_fail(
			"%s: no such cgroup: 'cat /proc/PID/cgroup' says where a process is", path);
	if (kac_netns_cookie(0, &r.args.lane.netns))
		return kac_fail(
			"this kernel has no network namespace cookies (5.14): 'kaccel check'");
	if (pid && !kac_netns_cookie(pid, &theirs) && theirs != r.args.lane.netns)
		return kac_fail("the origin is in another network namespace: run this as 'nsenter "
				"--net=/proc/%d/ns/net kaccel attach …'",
				(int)pid);
	err = kac_lane_devices(&r.args, NULL, &devs);
	if (err)
		return err;
	if (!kac_instance_rival(ctx, path, r.args.lane.port, r.args.lane.netns, rival))
		return kac_fail(
			"instance '%s' already follows connections of %s: pin with --instance %s, "
			"or 'kaccel detach' it",
			rival, path, rival);
	err = kac_instance_make(ctx);
	if (!err)
		err = kac_instance_lock(ctx, &lock);
	if (err)
		return kac_fail("cannot make the instance in %s: %s", KAC_BPFFS, strerror(-err));
	return attach(ctx, &r, cgroup, &devs);
}
