// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include <bpf/bpf.h>

#include "cgroup.h"
#include "instance.h"
#include "lane.h"
#include "map.h"

int kac_instance_make(const struct kac_ctx *ctx)
{
	char dir[KAC_PATH_MAX], base[KAC_PATH_MAX];
	struct statfs fs;

	if ((statfs(KAC_BPFFS, &fs) || fs.f_type != BPF_FS_MAGIC) &&
	    mount("bpf", KAC_BPFFS, "bpf", 0, "mode=0700"))
		return -errno;
	snprintf(base, sizeof(base), "%s/kaccel", KAC_BPFFS);
	kac_pin_path(ctx, NULL, dir);
	if ((mkdir(base, 0700) && errno != EEXIST) || (mkdir(dir, 0700) && errno != EEXIST))
		return -errno;
	return 0;
}

int kac_instance_lock(const struct kac_ctx *ctx, int *lock)
{
	char path[KAC_PATH_MAX];
	struct stat held, named;
	int fd __cleanup_fd = -1;

	kac_pin_path(ctx, NULL, path);
	do {
		kac_close_fd(&fd);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return errno == EACCES ? -EPERM : errno == ENOTDIR ? -ENOENT : -errno;
		if (flock(fd, LOCK_EX) || fstat(fd, &held))
			return -errno;
		/* While we waited the instance may have been removed, and even made anew. */
		if (stat(path, &named))
			return -errno;
	} while (held.st_ino != named.st_ino || held.st_dev != named.st_dev);
	*lock = fd;
	fd = -1;
	return 0;
}

int kac_instance_config(const struct kac_ctx *ctx, struct kac_config **config)
{
	__cleanup_fd int fd = kac_open_map(ctx, "config");
	void *p;
	int err;

	if (fd < 0)
		return fd;
	err = kac_map_check(fd, sizeof(__u32), sizeof(**config), NULL);
	if (err)
		return err;
	p = mmap(NULL, sizeof(**config), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*config = p;
	return 0;
}

void kac_instance_unmap(struct kac_config *config)
{
	munmap(config, sizeof(*config));
}

void kac_instance_set_clock(struct kac_config *config)
{
	struct timespec tai, utc;
	int64_t ms;

	clock_gettime(CLOCK_TAI, &tai);
	clock_gettime(CLOCK_REALTIME, &utc);
	/* Whole seconds, and some time between the two readings. */
	ms = (int64_t)(tai.tv_sec - utc.tv_sec) * 1000 + (tai.tv_nsec - utc.tv_nsec) / 1000000;
	__atomic_store_n(&config->tai_offset, (int32_t)((ms + (ms < 0 ? -500 : 500)) / 1000),
			 __ATOMIC_RELAXED);
}

/* The first word behind a link's common part: a device's index, or half of a cgroup's id. */
static int link_info(const struct kac_ctx *ctx, const char *leaf, struct bpf_link_info *info)
{
	struct {
		struct bpf_link_info info;
		char room[64]; /* newer kernels fill in more */
	} link = {};
	__u32 len = sizeof(link);
	char path[KAC_PATH_MAX];
	__cleanup_fd int fd = -1;

	kac_pin_path(ctx, leaf, path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &link.info, &len))
		return -errno;
	*info = link.info;
	return 0;
}

uint64_t kac_instance_cgroup(const struct kac_ctx *ctx)
{
	struct bpf_link_info info = {};

	return link_info(ctx, KAC_PIN_LINK_SOCKOPS, &info) ? 0 : info.cgroup.cgroup_id;
}

static int device_is_there(uint32_t ifindex, void *arg)
{
	const struct kac_ctx *ctx = arg;
	struct bpf_link_info info = {};
	char leaf[64];

	snprintf(leaf, sizeof(leaf), KAC_PIN_LINK_INGRESS "_%u", ifindex);
	/* No link: clsact, and no telling from here. The index is 0 when the device is gone. */
	return link_info(ctx, leaf, &info) || (uint32_t)info.cgroup.cgroup_id;
}

int kac_instance_reachable(const struct kac_ctx *ctx)
{
	__cleanup_config struct kac_config *config = NULL;
	uint64_t own;

	if (kac_instance_config(ctx, &config) || !config || kac_netns_cookie(0, &own) ||
	    !config->netns || config->netns == own)
		return 0;
	return kac_lane_each_device(ctx, device_is_there, (void *)ctx) > 0 ? -EXDEV : 0;
}

static bool is_rival(const struct kac_ctx *other, const char *path, uint32_t port, uint64_t netns)
{
	__cleanup_config struct kac_config *config = NULL;
	uint64_t cgroup = kac_instance_cgroup(other);

	if (!cgroup || kac_instance_config(other, &config) || !config)
		return false;
	if ((config->flags & KAC_CONFIG_DRAINING) || (config->netns && config->netns != netns) ||
	    (config->port && port && config->port != port))
		return false;
	return kac_cgroup_related(path, cgroup);
}

int kac_instance_rival(const struct kac_ctx *ctx, const char *path, uint32_t port, uint64_t netns,
		       char name[KAC_INSTANCE_MAX + 1])
{
	DIR *d = opendir(KAC_BPFFS "/kaccel");
	struct dirent *e;
	int err = -ENOENT;

	if (!d)
		return -ENOENT;
	while (err && (e = readdir(d))) {
		struct kac_ctx other = {.instance = e->d_name};

		if (e->d_name[0] == '.' || !strcmp(e->d_name, ctx->instance) ||
		    !is_rival(&other, path, port, netns))
			continue;
		snprintf(name, KAC_INSTANCE_MAX + 1, "%.*s", KAC_INSTANCE_MAX, e->d_name);
		err = 0;
	}
	closedir(d);
	return err;
}
