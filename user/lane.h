/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_LANE_H
#define KACCEL_LANE_H

#include <kaccel/conn.h>
#include <kaccel/maps.h>

#include "kaccel.h"

/* The packet lane's programs and maps: loading, attaching, draining, removing. All state is pinned.
 */

#define KAC_PIN_LINK_SOCKOPS "link_sockops"
#define KAC_PIN_LINK_INGRESS "link_ingress" /* and "_<ifindex>" */
#define KAC_PIN_LINK_EGRESS  "link_egress"

#define KAC_MEMORY_DEFAULT  (64ULL << 20)
#define KAC_OBJECTS_DEFAULT 4096
#define KAC_CONNS_DEFAULT   65536

struct kac_lane_options {
	uint64_t memory;     /* bytes for replies; rounded up to whole slabs */
	uint32_t objects;    /* how many objects at most */
	uint32_t conns;	     /* how many connections at most */
	uint32_t port;	     /* the origin's; 0: any of the cgroup's */
	uint64_t refresh_ns; /* 0: the default (S16) */
	uint64_t netns;	     /* cookie of the namespace served */
};

/*
 * Load programs and maps and pin them in the instance's directory, which is there. Says what is
 * wrong on stderr. 0; -EEXIST when there is such an instance; -errno, and then nothing is left.
 */
int kac_lane_create(const struct kac_ctx *ctx, const struct kac_lane_options *opt);

/*
 * Replace the instance's programs, on every hook atomically, by this binary's; maps and connections
 * stay (P5). Says what is wrong on stderr.
 */
int kac_lane_upgrade(const struct kac_ctx *ctx);

/* Attach the sockops program to the cgroup open as @fd; a link to another cgroup is replaced. */
int kac_lane_attach_cgroup(const struct kac_ctx *ctx, int fd);

/* Attach both TC programs to a device: TCX links, else clsact filters (before 6.6). Idempotent. */
int kac_lane_attach_device(const struct kac_ctx *ctx, uint32_t ifindex);

/*
 * Stop answering. When this returns, no request is answered any more, and the entries that need no
 * translation are gone; *@left is how many still do. 0 or -errno.
 */
int kac_lane_drain(const struct kac_ctx *ctx, uint32_t *left);

/* How many connections still need translation, after dropping those that don't. */
int kac_lane_draining(const struct kac_ctx *ctx, uint32_t *left);

/* End a drain: connections are enrolled and answered again. 0 or -errno. */
int kac_lane_resume(const struct kac_ctx *ctx);

/* Whether the instance is draining: 1 or 0, or -errno. */
int kac_lane_is_draining(const struct kac_ctx *ctx);

/* Reset the connections that need translation, on both ends. *@left: those that could not be. */
int kac_lane_reset(const struct kac_ctx *ctx, uint32_t *left);

/* Remove links, filters, pins and with them programs and maps. Missing parts are no error. */
int kac_lane_remove(const struct kac_ctx *ctx);

/* The names of the devices that the lane is attached to, or that are fit for it: call @fn for each.
 */
int kac_lane_each_device(const struct kac_ctx *ctx, int (*fn)(uint32_t ifindex, void *arg),
			 void *arg);

#endif
