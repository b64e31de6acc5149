// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/magic.h>
#include <mntent.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "cgroup.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

int kac_cgroup_root(char path[KAC_PATH_MAX])
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	struct mntent *m;
	int err = -ENOENT;

	if (!mounts)
		return -errno;
	while ((m = getmntent(mounts))) {
		if (strcmp(m->mnt_type, "cgroup2") || strlen(m->mnt_dir) >= KAC_PATH_MAX)
			continue;
		strcpy(path, m->mnt_dir);
		err = 0;
		break;
	}
	endmntent(mounts);
	return err;
}

static int join(char path[KAC_PATH_MAX], const char *root, const char *rest)
{
	int n = snprintf(path, KAC_PATH_MAX, "%s%s", root, rest);

	return n < KAC_PATH_MAX ? 0 : -ENAMETOOLONG;
}

int kac_cgroup_of_pid(pid_t pid, char path[KAC_PATH_MAX])
{
	char root[KAC_PATH_MAX], name[64], *line = NULL;
	size_t room = 0;
	int err;
	FILE *f;

	err = kac_cgroup_root(root);
	if (err)
		return err;
	snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
	f = fopen(name, "re");
	if (!f)
		return -ESRCH;
	err = -ENOENT;
	while (getline(&line, &room, f) > 0) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "0::/", 4))
			continue;
		err = join(path, root, strcmp(line, "0::/") ? line + 3 : "");
		break;
	}
	free(line);
	fclose(f);
	return err;
}

int kac_cgroup_of_unit(const char *unit, char path[KAC_PATH_MAX])
{
	char root[KAC_PATH_MAX], rest[KAC_PATH_MAX];
	struct stat st;
	int err;

	if (strchr(unit, '/'))
		return -ENOENT;
	err = kac_cgroup_root(root);
	if (err)
		return err;
	snprintf(rest, sizeof(rest), "/system.slice/%s%s", unit,
		 strchr(unit, '.') ? "" : ".service");
	err = join(path, root, rest);
	return err ? err : stat(path, &st) ? -ENOENT : 0;
}

int kac_cgroup_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC) {
		close(fd);
		return -ENOTDIR;
	}
	return fd;
}

pid_t kac_cgroup_some_pid(const char *path)
{
	char name[KAC_PATH_MAX + 16];
	int pid = 0;
	FILE *f;

	snprintf(name, sizeof(name), "%s/cgroup.procs", path);
	f = fopen(name, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid;
}

int kac_cgroup_enter(const char *path)
{
	char name[KAC_PATH_MAX + 16];
	__cleanup_fd int fd = -1;

	snprintf(name, sizeof(name), "%s/cgroup.procs", path);
	fd = open(name, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		return -errno;
	return 0;
}

int kac_cgroup_id(int fd, uint64_t *id)
{
	struct stat st;

	/* kernfs: the inode's number is the cgroup's id on 64-bit kernels. */
	if (fstat(fd, &st))
		return -errno;
	*id = st.st_ino;
	return 0;
}

bool kac_cgroup_related(const char *path, uint64_t id)
{
	char up[KAC_PATH_MAX], *down[] = {up, NULL}, *slash;
	struct statfs fs;
	struct stat st;
	bool found = false;
	FTSENT *e;
	FTS *tree;

	if (snprintf(up, sizeof(up), "%s", path) >= (int)sizeof(up))
		return false;
	tree = fts_open(down, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	while (tree && !found && (e = fts_read(tree)))
		found = e->fts_info == FTS_D && e->fts_statp->st_ino == id;
	if (tree)
		fts_close(tree);
	while (!found && (slash = strrchr(up, '/')) && slash != up) {
		*slash = 0;
		if (statfs(up, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC || stat(up, &st))
			break;
		found = st.st_ino == id;
	}
	return found;
}

static int own_cookie(uint64_t *cookie)
{
	__cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &len))
		return -errno;
	return 0;
}

int kac_netns_cookie(pid_t pid, uint64_t *cookie)
{
	__cleanup_fd int self = -1, other = -1;
	char name[64];
	int err;

	if (!pid)
		return own_cookie(cookie);
	snprintf(name, sizeof(name), "/proc/%d/ns/net", (int)pid);
	self = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	other = open(name, O_RDONLY | O_CLOEXEC);
	if (self < 0 || other < 0)
		return -errno;
	if (setns(other, CLONE_NEWNET))
		return -errno;
	err = own_cookie(cookie);
	if (setns(self, CLONE_NEWNET))
		return -errno;
	return err;
}
