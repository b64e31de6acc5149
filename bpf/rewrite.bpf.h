/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_REWRITE_BPF_H
#define KACCEL_REWRITE_BPF_H

/* Changing a segment's numbers in place, on its way to the kernel or from it. */
#include "splice.bpf.h"

#define REWRITE_OPTIONS_WORDS (TCP_OPTIONS_MAX / 4)
#define SACK_BLOCKS_MAX	      4

/*
 * The words of a TCP header that translation may change, old and new. The decision fills in the
 * numbers under the lock; everything else happens outside it.
 */
struct rewrite {
	__u32 seq, ack; /* host order */
	__u16 wnd;
	__u8 sack_strip; /* write NOPs over the SACK option */
	__u8 changed;
	__u32 tsval; /* TSval to send instead, where it differs from the segment's */
	__u32 in_delta, in_before, gseq, gend;
	__u32 out_delta, out_before, rstart, rend;
	__u64 kept[SACK_BLOCKS_MAX]; /* blocks that stay: left edge, right edge */
	__u32 from[3 + REWRITE_OPTIONS_WORDS];
	__u32 to[3 + REWRITE_OPTIONS_WORDS];
};

/* What the SACK blocks are mapped with; they are walked after the lock is released. */
static __always_inline void rewrite_snapshot(struct rewrite *rw, const struct kac_conn *c)
{
	rw->in_delta = c->in_delta;
	rw->in_before = in_delta_before(c);
	rw->gseq = c->gseq;
	rw->gend = c->gend;
	rw->out_delta = c->out_delta;
	rw->out_before = out_delta_before(c);
	rw->rstart = c->rstart;
	rw->rend = c->rend;
}

static __always_inline __u32 sack_edge(const struct rewrite *rw, __u32 edge, int to_kernel)
{
	if (!to_kernel)
		return edge +
		       (before(edge, rw->gend - rw->in_delta) ? rw->in_before : rw->in_delta);
	if (!before(edge, rw->rend))
		return edge - rw->out_delta;
	if (before(edge, rw->rstart))
		return edge - rw->out_before;
	return rw->rstart - rw->out_before;
}

/*
 * Map the SACK blocks and clip them to the other side's bytes (S3). A block that covers only a
 * reply is empty to the kernel and left out: NOPs take its place, before the option, so that the
 * blocks stay aligned.
 */
__weak __noinline int rewrite_sack(struct segment *seg, struct rewrite *rw, int to_kernel)
{
	__u32 blocks, kept = 0, skip, at, i;
	__u8 *opt;

	if (!seg || !rw)
		return 0;
	opt = (__u8 *)&rw->to[3];
	blocks = ((__u32)seg->sack_len - 2) / 8;
	at = seg->sack_at - sizeof(struct tcphdr);
	kac_opaque(at);
	if (at > TCP_OPTIONS_MAX - 10)
		return 0;
	for (i = 0; i < SACK_BLOCKS_MAX; i++) {
		__u32 from = at + 2 + 8 * i, left, right;

		kac_opaque(from);
		if (i >= blocks || from > TCP_OPTIONS_MAX - 8)
			break;
		left = sack_edge(rw, load32(&seg->opt[from]), to_kernel);
		right = sack_edge(rw, load32(&seg->opt[from + 4]), to_kernel);
		if (rw->sack_strip || left == right)
			continue;
		kac_opaque(kept);
		rw->kept[kept & (SACK_BLOCKS_MAX - 1)] = (__u64)left << 32 | right;
		kept++;
	}
	kac_opaque(kept);
	skip = kept ? 8 * (blocks - kept) : seg->sack_len;
	for (i = 0; i < 2 + 8 * SACK_BLOCKS_MAX; i++) {
		__u32 to = at + i;

		kac_opaque(to);
		if (i >= skip || to >= TCP_OPTIONS_MAX)
			break;
		opt[to] = 1;
	}
	for (i = 0; i < SACK_BLOCKS_MAX; i++) {
		__u32 to = at + skip + 2 + 8 * i;

		kac_opaque(to);
		if (i >= kept || to < 2 || to > TCP_OPTIONS_MAX - 8)
			break;
		if (i == 0) {
			opt[to - 2] = 5;
			opt[to - 1] = 2 + 8 * kept;
		}
		store32(opt + to, rw->kept[i] >> 32);
		store32(opt + to + 4, rw->kept[i]);
	}
	return 0;
}

/*
 * Carry out @rw on the packet. One difference sum covers all changed words; bpf_l4_csum_replace()
 * knows what CHECKSUM_PARTIAL and CHECKSUM_COMPLETE need. Returns 0, or -1 when the packet could
 * not be written: it must then be dropped, for half translated it would be wrong.
 */
__weak __noinline int rewrite_apply(struct __sk_buff *skb, struct segment *seg, struct rewrite *rw,
				    int to_kernel)
{
	__u32 len, words = 3 * 4;
	__s64 diff;

	if (!seg || !rw)
		return -1;
	len = seg->doff - sizeof(struct tcphdr);

	if (bpf_skb_load_bytes(skb, seg->l4 + 4, rw->from, 12))
		return -1;
	rw->to[0] = bpf_htonl(rw->seq);
	rw->to[1] = bpf_htonl(rw->ack);
	rw->to[2] = (rw->from[2] & bpf_htonl(0xffff0000)) | bpf_htonl(rw->wnd);
	if (seg->sack_at || (seg->ts_at && rw->tsval != seg->tsval)) {
		__builtin_memcpy(&rw->from[3], seg->opt, TCP_OPTIONS_MAX);
		__builtin_memcpy(&rw->to[3], seg->opt, TCP_OPTIONS_MAX);
		if (seg->sack_at)
			rewrite_sack(seg, rw, to_kernel);
		if (seg->ts_at) {
			__u32 at = seg->ts_at - sizeof(struct tcphdr) + 2;

			kac_opaque(at);
			if (at <= TCP_OPTIONS_MAX - 4)
				store32((__u8 *)&rw->to[3] + at, rw->tsval);
		}
		if (len == 0 || len > TCP_OPTIONS_MAX)
			return -1;
		words += len & ~3U;
	}
	if (!kac_in_range(&words, sizeof(rw->from)))
		return -1;
	diff = bpf_csum_diff(rw->from, words, rw->to, words, 0);
	if (diff < 0)
		return -1;
	if (bpf_skb_store_bytes(skb, seg->l4 + 4, rw->to, 12, 0))
		return -1;
	if (words > 12) {
		__u32 n = words - 12;

		if (!kac_in_range(&n, TCP_OPTIONS_MAX) ||
		    bpf_skb_store_bytes(skb, seg->l4 + sizeof(struct tcphdr), &rw->to[3], n, 0))
			return -1;
	}
	return bpf_l4_csum_replace(skb, seg->l4 + __builtin_offsetof(struct tcphdr, check), 0, diff,
				   0);
}

#endif
