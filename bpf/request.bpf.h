/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_REQUEST_BPF_H
#define KACCEL_REQUEST_BPF_H

/*
 * What one run of the ingress program knows of a client's segment, and everything about a request
 * that does not depend on its connection.
 */
#include "reply.bpf.h"
#include "rewrite.bpf.h"

enum action {
	ACT_NONE,      /* not ours: leave it as it is */
	ACT_TRANSLATE, /* to the kernel, with its numbers */
	ACT_CONSUME,   /* it concerns a reply of ours alone (S3) */
	ACT_REPLY,     /* turn it into the reply, or a piece of it, or an acknowledgement */
};

/* Why a decision was taken, for counting it after the lock is released. */
struct verdict {
	__u32 action;
	__u32 up;     /* answered, and its acknowledgement goes to the kernel as well (S1) */
	__u32 hit;    /* a request was answered */
	__u32 resent; /* a reply is sent again */
	__u32 passed; /* a request is passed, for @reason */
	__u32 miss;
	__u32 reason; /* KAC_PASS_* */
	__u32 out;    /* KAC_OUT_*, or 0 */
};

/* What is known of the segment's request before the lock is taken. */
struct candidate {
	__u32 found; /* there is something to answer with */
	__u32 slot;
	__u32 miss;   /* answerable, but not pinned */
	__u32 reason; /* KAC_PASS_* where nothing is found and it is not a miss */
	__u32 length;
	__u32 draining;
	__u64 generation;
};

struct ingress {
	__u8 req[KAC_REQ_MAX + KAC_REQ_PAD];
	__u8 hdr[128];
	__u8 saved[128];
	struct csum_buffer csum;
	struct kac_request request;
	struct segment seg;
	struct reply reply;
	struct rewrite rw;
	struct verdict verdict;
	struct candidate cand;
	struct date_text date;
	__u64 now;
	__u32 utc;
	__u64 refresh;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ingress);
} ingress_scratch SEC(".maps");

__noinline int ingress_request_parse(struct ingress *s, __u32 len)
{
	if (!s)
		return 0;
	return kac_request_parse(s->req, len, &s->request);
}

/* Read the head of what the segment carries, as far as it is looked at. */
static __always_inline int request_load(struct __sk_buff *skb, struct ingress *s)
{
	__u32 len = s->seg.len;

	if (len > KAC_REQ_MAX)
		len = KAC_REQ_MAX;
	if (!kac_in_range(&len, KAC_REQ_MAX) ||
	    bpf_skb_load_bytes(skb, s->seg.l4 + s->seg.doff, s->req, len))
		return -1;
	ingress_request_parse(s, len);
	return 0;
}

/* What the stack would have taken, and nothing that a reply would have to answer in kind (S9). */
static __always_inline int segment_plain(struct __sk_buff *skb, const struct segment *seg)
{
	return !seg->options && seg->plain && !(seg->flags & ~(TCP_ACK | TCP_PSH)) &&
	       (seg->flags & TCP_ACK) && (seg->tos & INET_ECN_MASK) != INET_ECN_CE &&
	       skb->gso_segs <= 1;
}

/* Everything about a request that does not depend on the connection. */
__noinline int candidate_find(struct __sk_buff *skb, struct ingress *s)
{
	struct kac_config *cfg = config_get();
	struct kac_object *obj;

	if (!cfg || !s)
		return 0;

	s->cand.found = 0;
	s->cand.miss = 0;
	if (request_load(skb, s)) {
		s->request.head.verdict = KAC_HEAD_OPAQUE;
		s->cand.reason = KAC_PASS_SEGMENT;
		return 0;
	}
	s->cand.reason = s->request.head.reason;
	if (s->request.head.verdict == KAC_HEAD_MORE)
		s->cand.reason = KAC_PASS_PARTIAL;
	if (s->request.head.verdict != KAC_HEAD_ANSWERABLE)
		return 0;
	s->cand.reason = KAC_PASS_PARTIAL;
	if (s->request.head.len != s->seg.len)
		return 0;
	obj = object_lookup(cfg, s->req, &s->request, &s->cand.slot);
	if (!obj) {
		s->cand.miss = 1;
		return 0;
	}
	s->cand.reason = KAC_PASS_EXPIRED;
	if (obj->expires && bpf_ktime_get_boot_ns() >= obj->expires)
		return 0;
	s->cand.reason = KAC_PASS_SEGMENT;
	if (!segment_plain(skb, &s->seg))
		return 0;
	s->cand.reason = KAC_PASS_TOO_LARGE;
	if (obj->length < 1 || obj->length > SEGMENT_MAX)
		return 0;
	s->cand.found = 1;
	s->cand.length = obj->length;
	s->cand.generation = obj->generation;
	s->utc = clock_utc(cfg);
	return 0;
}

#endif
