// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "cgroup.h"
#include "instance.h"
#include "kaccel.skel.h"
#include "lane.h"
#include "map.h"
#include "reset.h"

/* From linux/bpf.h of 6.6; Debian 12's is of 6.1. */
#define ATTACH_TCX_INGRESS 46
#define ATTACH_TCX_EGRESS  47

struct hook {
	const char *prog; /* pin of the program */
	const char *link; /* prefix of the pins of its links; the device's index follows */
	int attach_type;
	enum bpf_tc_attach_point point;
};

static const struct hook tc_hooks[] = {
	{"prog_ingress", KAC_PIN_LINK_INGRESS, ATTACH_TCX_INGRESS, BPF_TC_INGRESS},
	{"prog_egress", KAC_PIN_LINK_EGRESS, ATTACH_TCX_EGRESS, BPF_TC_EGRESS},
};

static const struct hook sockops_hook = {"prog_sockops", KAC_PIN_LINK_SOCKOPS, BPF_CGROUP_SOCK_OPS,
					 0};

static void skel_destroy(struct kaccel **skel)
{
	if (*skel)
		kaccel__destroy(*skel);
}

#define __cleanup_skel __attribute__((cleanup(skel_destroy)))

/* libbpf's own words come only when asked for: an error here is one line. */
static int quiet(enum libbpf_print_level level, const char *fmt, va_list args)
{
	if (!getenv("KACCEL_DEBUG"))
		return 0;
	return vfprintf(stderr, fmt, args);
}

static int config_flag(const struct kac_ctx *ctx, uint32_t flag, bool on)
{
	struct kac_config *config;
	int err = kac_instance_config(ctx, &config);

	if (err)
		return err;
	if (on)
		__atomic_or_fetch(&config->flags, flag, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(&config->flags, ~flag, __ATOMIC_SEQ_CST);
	kac_instance_unmap(config);
	return 0;
}

int kac_lane_is_draining(const struct kac_ctx *ctx)
{
	struct kac_config *config;
	int err = kac_instance_config(ctx, &config);

	if (err)
		return err;
	err = !!(config->flags & KAC_CONFIG_DRAINING);
	kac_instance_unmap(config);
	return err;
}

/* The configuration comes last: an instance that has it has all. */
static int pin_maps(const struct kac_ctx *ctx, struct kaccel *skel)
{
	char path[KAC_PATH_MAX];
	struct bpf_map *map;
	int err;

	bpf_object__for_each_map(map, skel->obj)
	{
		/* Scratch and read-only data belong to the programs. */
		if (bpf_map__is_internal(map) || strstr(bpf_map__name(map), "_scratch") ||
		    map == skel->maps.config)
			continue;
		kac_pin_path(ctx, bpf_map__name(map), path);
		/* Of an instance that was never finished: it has no configuration. */
		unlink(path);
		err = bpf_map__pin(map, path);
		if (err)
			return err;
	}
	kac_pin_path(ctx, "config", path);
	return bpf_map__pin(skel->maps.config, path);
}

static int pin_programs(const struct kac_ctx *ctx, struct kaccel *skel)
{
	const struct {
		const char *name;
		struct bpf_program *prog;
	} pins[] = {
		{tc_hooks[0].prog, skel->progs.kaccel_ingress},
		{tc_hooks[1].prog, skel->progs.kaccel_egress},
		{sockops_hook.prog, skel->progs.kaccel_sockops},
	};
	char path[KAC_PATH_MAX];
	size_t i;

	for (i = 0; i < sizeof(pins) / sizeof(pins[0]); i++) {
		kac_pin_path(ctx, pins[i].name, path);
		if (unlink(path) && errno != ENOENT)
			return -errno;
		if (bpf_obj_pin(bpf_program__fd(pins[i].prog), path))
			return -errno;
	}
	return 0;
}

static int load_failed(int err)
{
	switch (err) {
	case -EPERM:
	case -EACCES:
		kac_fail("needs root (CAP_BPF and CAP_NET_ADMIN): run it with sudo");
		break;
	case -ENOMEM:
		kac_fail("not enough memory for the maps: give less with --memory or --objects");
		break;
	default:
		kac_fail("this kernel does not take the programs (%s): 'kaccel check' says what it "
			 "lacks",
			 strerror(-err));
	}
	return err;
}

int kac_lane_create(const struct kac_ctx *ctx, const struct kac_lane_options *opt)
{
	__cleanup_skel struct kaccel *skel = NULL;
	char path[KAC_PATH_MAX];
	struct kac_config config = {
		.netns = opt->netns,
		.refresh_ns = opt->refresh_ns,
		.port = opt->port,
	};
	uint32_t zero = 0, slabs = (opt->memory + KAC_SLAB_SIZE - 1) / KAC_SLAB_SIZE;
	int err;

	libbpf_set_print(quiet);
	kac_pin_path(ctx, "config", path);
	if (!access(path, F_OK))
		return -EEXIST;
	kac_instance_set_clock(&config);
	skel = kaccel__open();
	if (!skel)
		return load_failed(-errno);
	bpf_map__set_max_entries(skel->maps.arena, slabs);
	bpf_map__set_max_entries(skel->maps.objects, opt->objects);
	bpf_map__set_max_entries(skel->maps.names, opt->objects);
	bpf_map__set_max_entries(skel->maps.conns, opt->conns);
	err = kaccel__load(skel);
	if (err) {
		kac_lane_remove(ctx);
		return load_failed(err);
	}
	err = bpf_map_update_elem(bpf_map__fd(skel->maps.config), &zero, &config, BPF_ANY);
	if (!err)
		err = pin_programs(ctx, skel);
	if (!err)
		err = pin_maps(ctx, skel);
	if (err) {
		kac_lane_remove(ctx);
		return load_failed(err);
	}
	return 0;
}

/* Put the pinned program behind every link of a hook. */
static int update_links(const struct kac_ctx *ctx, const struct hook *hook)
{
	char dir[KAC_PATH_MAX], path[KAC_PATH_MAX];
	__cleanup_fd int prog = -1;
	struct dirent *e;
	int err = 0;
	DIR *d;

	kac_pin_path(ctx, hook->prog, path);
	prog = bpf_obj_get(path);
	if (prog < 0)
		return prog;
	kac_pin_path(ctx, NULL, dir);
	d = opendir(dir);
	if (!d)
		return -errno;
	while (!err && (e = readdir(d))) {
		__cleanup_fd int link = -1;

		if (strncmp(e->d_name, hook->link, strlen(hook->link)))
			continue;
		kac_pin_path(ctx, e->d_name, path);
		link = bpf_obj_get(path);
		err = link < 0 ? link : bpf_link_update(link, prog, NULL);
		/* The device or the cgroup is gone: the link is only a name. */
		if (err == -ENOLINK)
			err = 0;
	}
	closedir(d);
	return err;
}

static int attach_clsact(const struct kac_ctx *ctx, uint32_t ifindex, struct kac_device *device);

int kac_lane_upgrade(const struct kac_ctx *ctx)
{
	__cleanup_skel struct kaccel *skel = NULL;
	__cleanup_fd int devices = -1;
	char path[KAC_PATH_MAX];
	uint32_t key, *prev = NULL;
	struct bpf_map *map;
	int err;

	libbpf_set_print(quiet);
	skel = kaccel__open();
	if (!skel)
		return load_failed(-errno);
	bpf_object__for_each_map(map, skel->obj)
	{
		struct bpf_map_info info = {};
		__u32 len = sizeof(info);
		__cleanup_fd int fd = -1;

		if (bpf_map__is_internal(map) || strstr(bpf_map__name(map), "_scratch"))
			continue;
		kac_pin_path(ctx, bpf_map__name(map), path);
		fd = bpf_obj_get(path);
		if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) ||
		    info.value_size != bpf_map__value_size(map) ||
		    info.key_size != bpf_map__key_size(map)) {
			kac_fail("the maps of instance '%s' are another version's: 'kaccel detach' "
				 "it and "
				 "attach anew",
				 ctx->instance);
			return -EPROTO;
		}
		err = bpf_map__reuse_fd(map, fd);
		if (err)
			return load_failed(err);
	}
	err = kaccel__load(skel);
	if (!err)
		err = pin_programs(ctx, skel);
	if (!err)
		err = update_links(ctx, &tc_hooks[0]);
	if (!err)
		err = update_links(ctx, &tc_hooks[1]);
	if (!err)
		err = update_links(ctx, &sockops_hook);
	if (err)
		return load_failed(err);
	devices = kac_open_map(ctx, "devices");
	while (devices >= 0 && !bpf_map_get_next_key(devices, prev, &key)) {
		struct kac_device device;

		if (!bpf_map_lookup_elem(devices, &key, &device) &&
		    device.kind == KAC_DEVICE_CLSACT) {
			err = attach_clsact(ctx, key, &device);
			if (err)
				return load_failed(err);
		}
		prev = &key;
	}
	return 0;
}

int kac_lane_resume(const struct kac_ctx *ctx)
{
	return config_flag(ctx, KAC_CONFIG_DRAINING, false);
}

int kac_lane_attach_cgroup(const struct kac_ctx *ctx, int fd)
{
	char path[KAC_PATH_MAX];
	__cleanup_fd int prog = -1, link = -1;
	uint64_t id;
	int err;

	err = kac_cgroup_id(fd, &id);
	if (err)
		return err;
	if (kac_instance_cgroup(ctx) == id)
		return 0;
	kac_pin_path(ctx, sockops_hook.prog, path);
	prog = bpf_obj_get(path);
	if (prog < 0)
		return prog;
	link = bpf_link_create(prog, fd, BPF_CGROUP_SOCK_OPS, NULL);
	if (link < 0)
		return link;
	kac_pin_path(ctx, KAC_PIN_LINK_SOCKOPS, path);
	unlink(path);
	return bpf_obj_pin(link, path) ? -errno : 0;
}

static void link_path(const struct kac_ctx *ctx, const struct hook *hook, uint32_t ifindex,
		      char path[KAC_PATH_MAX])
{
	char leaf[64];

	snprintf(leaf, sizeof(leaf), "%s_%u", hook->link, ifindex);
	kac_pin_path(ctx, leaf, path);
}

/* A link to a device that is gone stays as a name; its index may have been given out again. */
static bool link_alive(const char *path, uint32_t ifindex)
{
	__cleanup_fd int fd = bpf_obj_get(path);
	struct {
		struct bpf_link_info info;
		char room[64]; /* newer kernels fill in more */
	} link = {};
	__u32 len = sizeof(link);

	if (fd < 0)
		return false;
	/* bpf_link_info.tcx of 6.6 begins where cgroup.cgroup_id does, with the index. */
	return !bpf_obj_get_info_by_fd(fd, &link.info, &len) &&
	       *(uint32_t *)&link.info.cgroup == ifindex;
}

static int attach_tcx(const struct kac_ctx *ctx, uint32_t ifindex)
{
	size_t i;

	for (i = 0; i < 2; i++) {
		__cleanup_fd int prog = -1, link = -1;
		char path[KAC_PATH_MAX];

		link_path(ctx, &tc_hooks[i], ifindex, path);
		if (link_alive(path, ifindex))
			continue;
		unlink(path);
		kac_pin_path(ctx, tc_hooks[i].prog, path);
		prog = bpf_obj_get(path);
		if (prog < 0)
			return prog;
		link = bpf_link_create(prog, ifindex, tc_hooks[i].attach_type, NULL);
		if (link < 0)
			return link;
		link_path(ctx, &tc_hooks[i], ifindex, path);
		if (bpf_obj_pin(link, path))
			return -errno;
	}
	return 0;
}

static void detach_clsact(uint32_t ifindex, const struct kac_device *device)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = ifindex);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = KAC_TC_HANDLE, .priority = KAC_TC_PRIORITY);
	size_t i;

	for (i = 0; i < 2; i++) {
		tc.attach_point = tc_hooks[i].point;
		bpf_tc_detach(&tc, &opts);
	}
	if (device->own_qdisc) {
		tc.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
		bpf_tc_hook_destroy(&tc);
	}
}

static int attach_clsact(const struct kac_ctx *ctx, uint32_t ifindex, struct kac_device *device)
{
	LIBBPF_OPTS(bpf_tc_hook, tc, .ifindex = ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	size_t i;
	int err;

	err = bpf_tc_hook_create(&tc);
	if (err && err != -EEXIST)
		return err;
	if (!err)
		device->own_qdisc = 1;
	for (i = 0; i < 2; i++) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = KAC_TC_HANDLE, .priority = KAC_TC_PRIORITY,
			    .flags = BPF_TC_F_REPLACE);
		__cleanup_fd int prog = -1;
		char path[KAC_PATH_MAX];

		kac_pin_path(ctx, tc_hooks[i].prog, path);
		prog = bpf_obj_get(path);
		if (prog < 0)
			return prog;
		tc.attach_point = tc_hooks[i].point;
		opts.prog_fd = prog;
		err = bpf_tc_attach(&tc, &opts);
		if (err) {
			detach_clsact(ifindex, device);
			return err;
		}
	}
	return 0;
}

int kac_lane_attach_device(const struct kac_ctx *ctx, uint32_t ifindex)
{
	struct kac_device device = {.kind = KAC_DEVICE_TCX}, known;
	__cleanup_fd int devices = kac_open_map(ctx, "devices");
	int err;

	if (devices < 0)
		return devices;
	if (!bpf_map_lookup_elem(devices, &ifindex, &known))
		device = known;
	/* Written first: what is attached afterwards must be found again to be removed. */
	err = bpf_map_update_elem(devices, &ifindex, &device, BPF_ANY);
	if (err)
		return err;
	err = device.kind == KAC_DEVICE_TCX ? attach_tcx(ctx, ifindex) : -EINVAL;
	if (err != -EINVAL)
		return err;
	/* Before 6.6 there is no such link. */
	device.kind = KAC_DEVICE_CLSACT;
	err = attach_clsact(ctx, ifindex, &device);
	if (err)
		return err;
	return bpf_map_update_elem(devices, &ifindex, &device, BPF_ANY);
}

int kac_lane_each_device(const struct kac_ctx *ctx, int (*fn)(uint32_t ifindex, void *arg),
			 void *arg)
{
	__cleanup_fd int devices = kac_open_map(ctx, "devices");
	uint32_t key, *prev = NULL;
	int err = 0;

	if (devices < 0)
		return devices;
	while (!err && !bpf_map_get_next_key(devices, prev, &key)) {
		err = fn(key, arg);
		prev = &key;
	}
	return err;
}

struct sweep {
	int conns;
	uint32_t left;
};

static int sweep_one(const void *key, const void *value, void *arg)
{
	const struct kac_conn *c = value;
	struct sweep *s = arg;

	if (c->in_delta || c->out_delta)
		s->left++;
	else
		bpf_map_delete_elem(s->conns, key);
	return 0;
}

int kac_lane_draining(const struct kac_ctx *ctx, uint32_t *left)
{
	struct sweep s = {};
	int err;

	s.conns = kac_open_map(ctx, "conns");
	if (s.conns < 0)
		return s.conns;
	err = kac_map_each(s.conns, sizeof(struct kac_conn_key), sizeof(struct kac_conn), sweep_one,
			   &s);
	close(s.conns);
	*left = s.left;
	return err;
}

int kac_lane_drain(const struct kac_ctx *ctx, uint32_t *left)
{
	int err = config_flag(ctx, KAC_CONFIG_DRAINING, true);

	/* A program that read the flag before may still be answering. */
	if (!err)
		err = kac_map_wait_readers();
	return err ? err : kac_lane_draining(ctx, left);
}

struct reset {
	int conns;
	uint32_t left;
};

static int reset_one(const void *key, const void *value, void *arg)
{
	const struct kac_conn *c = value;
	struct reset *r = arg;

	if (!(c->in_delta || c->out_delta))
		return 0;
	if (!(c->flags & KAC_CONN_CLOSED) && kac_reset_socket(key))
		r->left++;
	else
		bpf_map_delete_elem(r->conns, key);
	return 0;
}

int kac_lane_reset(const struct kac_ctx *ctx, uint32_t *left)
{
	struct reset r = {};
	int err;

	r.conns = kac_open_map(ctx, "conns");
	if (r.conns < 0)
		return r.conns;
	err = kac_map_each(r.conns, sizeof(struct kac_conn_key), sizeof(struct kac_conn), reset_one,
			   &r);
	close(r.conns);
	*left = r.left;
	return err;
}

int kac_lane_remove(const struct kac_ctx *ctx)
{
	char dir[KAC_PATH_MAX], path[KAC_PATH_MAX];
	__cleanup_fd int devices = kac_open_map(ctx, "devices");
	uint32_t key, *prev = NULL;
	struct dirent *e;
	int err = 0;
	DIR *d;

	libbpf_set_print(quiet);
	while (devices >= 0 && !bpf_map_get_next_key(devices, prev, &key)) {
		struct kac_device device;

		if (!bpf_map_lookup_elem(devices, &key, &device) &&
		    device.kind == KAC_DEVICE_CLSACT)
			detach_clsact(key, &device);
		prev = &key;
	}
	kac_pin_path(ctx, NULL, dir);
	d = opendir(dir);
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		kac_pin_path(ctx, e->d_name, path);
		if (unlink(path))
			err = -errno;
	}
	closedir(d);
	if (rmdir(dir))
		err = -errno;
	/* The last instance takes the common directory along. */
	snprintf(path, sizeof(path), "%s/kaccel", KAC_BPFFS);
	rmdir(path);
	return err;
}
