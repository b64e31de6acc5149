/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_KEY_H
#define KACCEL_KEY_H

#include "types.h"

/*
 * The name of an object: authority (lower case, a default port left out; "*" is the fallback for
 * any) and target (path with query, byte for byte). Both are kept zero-padded in whole words, so
 * that hashing and comparing go by words.
 */
#define KAC_AUTHORITY_MAX 128
#define KAC_TARGET_MAX	  384

/* Requests are read from a buffer of this size, followed by KAC_REQ_PAD bytes so that a whole word
 * may be loaded at every index. A power of two: indices are masked for the verifier.
 */
#define KAC_REQ_MAX 2048
#define KAC_REQ_PAD 8

static __always_inline __u64 kac_word_at(const __u8 *buf, __u32 at)
{
	at &= KAC_REQ_MAX - 1;
	kac_opaque(at);
#ifdef __bpf__
	return *(const __u64 *)(buf + at);
#else
	__u64 w;

	memcpy(&w, buf + at, sizeof(w));
	return w;
#endif
}

/* Keep the first @n bytes (0..8) of a little-endian word. */
static __always_inline __u64 kac_word_head(__u64 w, __u32 n)
{
	if (n >= 8)
		return w;
	return w & ((1ULL << ((n & 7) * 8)) - 1);
}

/* ASCII lower case, eight bytes at once. Bytes above 0x7f are not touched. */
static __always_inline __u64 kac_word_lower(__u64 w)
{
	__u64 low7 = w & 0x7f7f7f7f7f7f7f7fULL;
	__u64 ge_a = low7 + 0x3f3f3f3f3f3f3f3fULL; /* 0x80 - 'A' */
	__u64 gt_z = low7 + 0x2525252525252525ULL; /* 0x80 - 'Z' - 1 */
	__u64 upper = ge_a & ~gt_z & ~w & 0x8080808080808080ULL;

	return w | (upper >> 2);
}

static __always_inline __u64 kac_mix(__u64 h, __u64 w)
{
	h = (h ^ w) * 0x9fb21c651e98df25ULL;
	return h ^ (h >> 32);
}

/*
 * Keyed hash of @len bytes of the request buffer from @at on; @max bounds the loop (a multiple of
 * 8); @lower folds case. The seed is secret, so a client cannot aim for one bucket; a collision
 * costs a miss, for names are compared whole.
 */
static __always_inline __u64 kac_hash(const __u8 *buf, __u32 at, __u32 len, __u32 max, int lower,
				      __u64 seed)
{
	__u64 h = kac_mix(seed, len);
	__u32 i;

	for (i = 0; i < max; i += 8) {
		__u64 w;

		if (i >= len)
			break;
		w = kac_word_head(kac_word_at(buf, at + i), len - i);
		h = kac_mix(h, lower ? kac_word_lower(w) : w);
	}
	return kac_mix(h, seed);
}

/* kac_hash() of the authority "*". */
static __always_inline __u64 kac_hash_any(__u64 seed)
{
	return kac_mix(kac_mix(kac_mix(seed, 1), '*'), seed);
}

/* Whether @len bytes of the request buffer from @at on are the zero-padded @name of the same
 * length. */
static __always_inline int kac_same(const __u8 *buf, __u32 at, __u32 len, __u32 max, int lower,
				    const __u64 *name)
{
	__u32 i;

	for (i = 0; i < max; i += 8) {
		__u64 w;

		if (i >= len)
			break;
		w = kac_word_head(kac_word_at(buf, at + i), len - i);
		if ((lower ? kac_word_lower(w) : w) != name[i / 8])
			return 0;
	}
	return 1;
}

/* The index key of a name from the hashes of its two parts. */
static __always_inline __u64 kac_name_hash(__u64 authority, __u64 target)
{
	return kac_mix(authority, target);
}

#endif
