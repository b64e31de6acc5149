/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_INSTANCE_H
#define KACCEL_INSTANCE_H

#include <kaccel/maps.h>

#include "kaccel.h"

/* An instance as a whole: its directory in bpffs, the lock on it, its configuration, its peers. */

/* Mount bpffs where it is not mounted yet, and make the instance's directory. 0 or -errno. */
int kac_instance_make(const struct kac_ctx *ctx);

/*
 * Wait for the lock that every writer of an instance holds. 0 and a descriptor, whose closing gives
 * the lock back; -ENOENT when there is no such instance; -EPERM.
 */
int kac_instance_lock(const struct kac_ctx *ctx, int *lock);

/*
 * Map the configuration for reading and writing. 0, -ENOENT, -EPERM, or -EPROTO when another
 * version made it. The caller unmaps it with kac_instance_unmap().
 */
int kac_instance_config(const struct kac_ctx *ctx, struct kac_config **config);
void kac_instance_unmap(struct kac_config *config);

/* Tell the programs how far CLOCK_TAI is ahead of UTC: the kernel may learn it late. */
void kac_instance_set_clock(struct kac_config *config);

/* The id of the cgroup that the instance's sockops program is attached to; 0: none, or it is gone.
 */
uint64_t kac_instance_cgroup(const struct kac_ctx *ctx);

/*
 * Whether the caller may act on the instance's devices and sockets: 0; -EXDEV from within another
 * network namespace than its own, as long as a device of it is there.
 */
int kac_instance_reachable(const struct kac_ctx *ctx);

/*
 * Look for another instance that would follow the same connections: of this network namespace, this
 * port, and a cgroup that is @path, above it or below it. 0 and its name, or -ENOENT.
 */
int kac_instance_rival(const struct kac_ctx *ctx, const char *path, uint32_t port, uint64_t netns,
		       char name[KAC_INSTANCE_MAX + 1]);

static inline void kac_instance_unmap_ptr(struct kac_config **config)
{
	if (*config)
		kac_instance_unmap(*config);
}

#define __cleanup_config __attribute__((cleanup(kac_instance_unmap_ptr)))

#endif
