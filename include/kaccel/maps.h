/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_MAPS_H
#define KACCEL_MAPS_H

/*
 * Keys and values of every map: what BPF programs and user space share. All maps are pinned under
 * /sys/fs/bpf/kaccel/<instance>/ by the names given here.
 *
 *	config		array, 1			struct kac_config
 *	counters	per-CPU array, KAC_CNT_MAX	__u64, see counters.h
 *	conns		hash, preallocated		struct kac_conn_key -> struct kac_conn
 *(conn.h) names		hash				struct kac_name -> struct kac_slot
 *	objects		array, mmapable			struct kac_object, by slot
 *	arena		array, mmapable			struct kac_slab
 *	devices		hash				__u32 ifindex -> struct kac_device
 */
#include "types.h"
#include "key.h"

/* The arena's unit: one array element. A reply never straddles two slabs. */
#define KAC_SLAB_SIZE (4U << 20)

/* The largest reply, head included. An extent starts at least this far before a slab's end, so that
 * a reader may bound offset and length by constants of their own.
 */
#define KAC_REPLY_MAX (64U << 10)

/* Extents are multiples of this many bytes. */
#define KAC_GRAIN 64U

#define KAC_DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT", RFC 9110 5.6.7 */

#define KAC_CONFIG_DRAINING (1U << 0) /* answer nothing, translate what was answered */

/* Defaults for a zero field stand in the comment: an instance that plain bpftool loaded has only
 * zeros. */
struct kac_config {
	__u64 netns; /* cookie of the network namespace served; 0: learnt from the first segment */
	__u64 refresh_ns; /* pass one request per connection and this long (S16); 0: one second */
	__u64 seed;	  /* of the name hashes; set once, before the first object */
	__u64 generation; /* last generation given to an object; store only */
	__u32 flags;	  /* KAC_CONFIG_* */
	__u32 port;	  /* the origin's port, host order; 0: any port of the cgroup */
	__u32 exact;	  /* objects of a given authority; readers skip that look-up at 0 */
	__u32 fallback;	  /* objects of authority "*" */
	__s32 tai_offset; /* seconds that CLOCK_TAI is ahead of UTC */
	__u32 pad;
};

/* Key of names: kac_name_hash(kac_hash(authority), kac_hash(target)). */
struct kac_name {
	__u64 hash;
};

struct kac_slot {
	__u32 slot;
};

/*
 * One pinned response. Written whole before a name leads to it, then never changed, but for
 * @retired. The reply, status line to last byte of the body, lies at @offset of @slab, with
 * KAC_DATE_LEN zero bytes at @date_off (0: it has no Date).
 */
struct kac_object {
	__u64 generation; /* unique in the instance's life; 0: the slot is free */
	__u64 expires;	  /* CLOCK_BOOTTIME, ns; 0: never */
	__u64 pinned;	  /* CLOCK_REALTIME, ns */
	__u64 retired;	  /* CLOCK_BOOTTIME, ns, when its name stopped leading here; 0: live. Store
			     only */
	__u32 slab;
	__u32 offset; /* multiple of KAC_GRAIN; at most KAC_SLAB_SIZE - KAC_REPLY_MAX */
	__u32 length; /* of the reply; 1..KAC_REPLY_MAX */
	__u32 csum; /* ones' complement sum of the reply, folded to 16 bits, as bpf_csum_diff gives
		       it */
	__u16 head_len;
	__u16 date_off;
	__u16 status;
	__u16 authority_len;
	__u16 target_len;
	__u16 pad[3];
	__u64 authority[KAC_AUTHORITY_MAX / 8];
	__u64 target[KAC_TARGET_MAX / 8];
};

struct kac_slab {
	__u8 bytes[KAC_SLAB_SIZE];
};

/* A device that the TC programs are attached to. */
#define KAC_DEVICE_TCX	  1 /* links pinned as link_ingress_<ifindex>, link_egress_<ifindex> */
#define KAC_DEVICE_CLSACT 2 /* filters of handle KAC_TC_HANDLE, priority KAC_TC_PRIORITY */

#define KAC_TC_HANDLE	0x6b61
#define KAC_TC_PRIORITY 0x6b61

struct kac_device {
	__u32 kind;	 /* KAC_DEVICE_* */
	__u32 own_qdisc; /* the clsact qdisc is ours to remove */
};

#endif
