/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_CGROUP_H
#define KACCEL_CGROUP_H

#include <stdint.h>
#include <sys/types.h>

#include "kaccel.h"

/* Where cgroup v2 is mounted, from /proc/self/mounts. -ENOENT when it is not. */
int kac_cgroup_root(char path[KAC_PATH_MAX]);

/* The directory of process @pid's cgroup. -ESRCH without such a process, -ENOENT without cgroup v2.
 */
int kac_cgroup_of_pid(pid_t pid, char path[KAC_PATH_MAX]);

/* The directory of a systemd unit's cgroup; ".service" may be left out. -ENOENT when it has none.
 */
int kac_cgroup_of_unit(const char *unit, char path[KAC_PATH_MAX]);

/*
 * Open a cgroup's directory. A descriptor that the caller closes; -ENOENT; -ENOTDIR when @path is
 * not in cgroup v2.
 */
int kac_cgroup_open(const char *path);

/* One of the processes in the cgroup, 0 when it is empty. */
pid_t kac_cgroup_some_pid(const char *path);

/* Move the calling process into the cgroup. 0 or -errno. */
int kac_cgroup_enter(const char *path);

/* The id that the kernel knows the cgroup by (what bpf_link_info gives). */
int kac_cgroup_id(int fd, uint64_t *id);

/* Whether the cgroup at @path is the one of this id, or above it, or below it. */
bool kac_cgroup_related(const char *path, uint64_t id);

/* The cookie of a network namespace: of process @pid's, or of the caller's own when it is 0. */
int kac_netns_cookie(pid_t pid, uint64_t *cookie);

#endif
