/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef TESTS_NET_LOSSY_H
#define TESTS_NET_LOSSY_H

/*
 * What the wire's TC program (lossy.bpf.c) and its control program (wire.c) share. The wire is a
 * network namespace between the client's and the server's: every frame that enters by one of its
 * two devices leaves by the other, unless a rule says otherwise.
 */
#include <linux/types.h>

#define LOSSY_RULES	 16
#define LOSSY_PREFIX_MAX 16
#define LOSSY_FRAME_MAX	 2048

enum lossy_action {
	LOSSY_OFF,
	LOSSY_DROP,
	LOSSY_DUP,
	LOSSY_HOLD, /* taken off the wire, given to user space, which puts it back later */
	LOSSY_FLIP, /* one bit changed, no checksum mended */
};

enum lossy_dir {
	LOSSY_TO_SERVER,
	LOSSY_TO_CLIENT,
};

/* How a segment's sequence number must relate to the highest seen in its direction. */
enum lossy_seen {
	LOSSY_ANY,
	LOSSY_NEW,  /* carries bytes (or SYN, FIN) not seen before */
	LOSSY_AGAIN /* carries only what was seen before; a pure ACK is neither */
};

enum lossy_base {
	LOSSY_BASE_IP,
	LOSSY_BASE_TCP,
	LOSSY_BASE_PAYLOAD,
};

/*
 * A rule acts on the TCP segments that meet all of its conditions: on @count of them (0: all) after
 * the first @skip, and of those with a chance of @chance / 2^32 (0: always). The first rule that
 * acts on a frame is the only one that does.
 */
struct lossy_rule {
	__u32 action;
	__u32 dir;
	__u32 flags_mask; /* of the TCP header's flag byte */
	__u32 flags_value;
	__u32 len_min; /* payload bytes */
	__u32 len_max;
	__u32 port; /* the client's, 0: any */
	__u32 seen;
	__u32 prefix_len;
	__u32 skip;
	__u32 count;
	__u32 chance;
	__u32 seed;    /* of the chance; the n-th match of a seed has always the same luck */
	__u32 hold_ms; /* put back after this long; 0: when told */
	__u32 base;    /* of @offset, LOSSY_BASE_* */
	__u32 offset;  /* byte whose lowest bit is flipped */
	__u64 matched; /* results */
	__u64 acted;
	__u8 prefix[LOSSY_PREFIX_MAX];
};

/* A held frame. */
struct lossy_held {
	__u32 dir;
	__u32 len;
	__u32 hold_ms;
	__u8 frame[LOSSY_FRAME_MAX];
};

#endif
