/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_TESTS_INSTANCE_H
#define KACCEL_TESTS_INSTANCE_H

/* An instance of empty maps, in a bpffs that only the test sees and that goes away with it. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <kaccel/conn.h>
#include <kaccel/counters.h>
#include <kaccel/maps.h>

#include "../../user/kaccel.h"

#define INSTANCE "unit"

static const struct kac_ctx test_ctx = {.instance = INSTANCE};

struct test_map {
	const char *name;
	enum bpf_map_type type;
	uint32_t key_size, value_size, entries, flags;
};

/* Mount a bpffs of this process's own. 0 or -errno. */
static inline int instance_mount(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", KAC_BPFFS, "bpf", 0, NULL) || mkdir(KAC_BPFFS "/kaccel", 0700))
		return -errno;
	return 0;
}

/* fork(2), but the child does not outlive a test that fails. */
static inline pid_t test_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static inline int instance_add_map(const struct test_map *map)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = map->flags);
	int fd __cleanup_fd = bpf_map_create(map->type, map->name, map->key_size, map->value_size,
					     map->entries, &opts);
	char path[KAC_PATH_MAX];

	if (fd < 0)
		return fd;
	kac_pin_path(&test_ctx, map->name, path);
	return bpf_obj_pin(fd, path);
}

/* Make the instance's maps; instance_mount() comes first. 0 or -errno. */
static inline int instance_make(uint32_t slots, uint32_t slabs)
{
	const struct test_map maps[] = {
		{"config", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct kac_config), 1, BPF_F_MMAPABLE},
		{"counters", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, KAC_CNT_MAX, 0},
		{"conns", BPF_MAP_TYPE_HASH, sizeof(struct kac_conn_key), sizeof(struct kac_conn),
		 1024, 0},
		{"names", BPF_MAP_TYPE_HASH, sizeof(struct kac_name), sizeof(struct kac_slot),
		 slots, 0},
		{"objects", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct kac_object), slots,
		 BPF_F_MMAPABLE},
		{"arena", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct kac_slab), slabs, BPF_F_MMAPABLE},
	};
	char path[KAC_PATH_MAX];
	size_t i;
	int err;

	kac_pin_path(&test_ctx, NULL, path);
	if (mkdir(path, 0700))
		return -errno;
	for (i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		err = instance_add_map(&maps[i]);
		if (err)
			return err;
	}
	return 0;
}

static inline void instance_remove(void)
{
	static const char *const names[] = {"config", "counters", "conns",
					    "names",  "objects",  "arena"};
	char path[KAC_PATH_MAX];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		kac_pin_path(&test_ctx, names[i], path);
		unlink(path);
	}
	kac_pin_path(&test_ctx, NULL, path);
	rmdir(path);
}

#endif
