/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_SEND_BPF_H
#define KACCEL_SEND_BPF_H

/* Carrying out a reply: the client's own segment becomes it, and what goes up is what is left. */
#include "request.bpf.h"

/*
 * The segment has been answered by a copy; what is left of it goes to the kernel as a pure
 * acknowledgement with the kernel's numbers (S1). Copying the acknowledgement up instead would not
 * do: a copy is queued, and comes by here again when later exchanges have moved the numbers on.
 * Returns the program's verdict.
 */
static __always_inline int ack_up(struct __sk_buff *skb, struct ingress *s)
{
	struct segment *seg = &s->seg;
	__u32 l4 = ETH_HLEN + (seg->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__u32 doff = seg->doff, len, i;
	struct tcphdr *tcp;
	__u8 *opt;

	if (doff < sizeof(*tcp) || !kac_in_range(&doff, sizeof(*tcp) + TCP_OPTIONS_MAX))
		return TC_ACT_SHOT;
	len = l4 + doff;
	/* Growing makes CHECKSUM_COMPLETE NONE; its sum is of bytes that are no more. */
	if (s->reply.csum == CSUM_COMPLETE && bpf_skb_change_tail(skb, skb->len + 1, 0))
		return TC_ACT_SHOT;
	if (bpf_skb_change_tail(skb, len, 0))
		return TC_ACT_SHOT;
	if (seg->v6) {
		((struct ipv6hdr *)(s->saved + ETH_HLEN))->payload_len = bpf_htons(doff);
	} else {
		struct iphdr *ip = (void *)(s->saved + ETH_HLEN);

		ip->tot_len = bpf_htons(sizeof(*ip) + doff);
		ip->check = 0;
		ip->check = ~csum_fold(csum_words(ip, sizeof(*ip) / 4));
	}
	tcp = (void *)(s->saved + l4);
	tcp->seq = bpf_htonl(s->rw.seq);
	tcp->ack_seq = bpf_htonl(s->rw.ack);
	tcp->window = bpf_htons(s->rw.wnd);
	((__u8 *)tcp)[13] = TCP_ACK;
	opt = (__u8 *)(tcp + 1);
	for (i = 0; i < TCP_OPTIONS_MAX && seg->sack_at; i++) {
		__u32 at = seg->sack_at - sizeof(*tcp) + i;

		kac_opaque(at);
		if (i >= seg->sack_len || at >= TCP_OPTIONS_MAX)
			break;
		opt[at] = 1;
	}
	tcp->check = 0;
	if (s->reply.csum == CSUM_PARTIAL)
		tcp->check = csum_fold(csum_pseudo(&seg->key, doff));
	else
		tcp->check = ~csum_fold(csum_pseudo(&seg->key, doff) +
					(__u32)bpf_csum_diff(NULL, 0, (__be32 *)tcp, doff, 0));
	if (bpf_skb_store_bytes(skb, 0, s->saved, len, 0))
		return TC_ACT_SHOT;
	count(KAC_CNT_ACKS_UP);
	return TC_ACT_UNSPEC;
}

/* Keep the segment's headers for ack_up(). */
static __always_inline int headers_save(struct __sk_buff *skb, struct ingress *s)
{
	__u32 len = s->seg.l4 + s->seg.doff;

	return !kac_in_range(&len, HEADERS_MAX) || bpf_skb_load_bytes(skb, 0, s->saved, len);
}

/* Put @len bytes of the object's reply, from @at on, behind the headers. Returns their sum, or -1.
 */
static __always_inline __s64 payload_put(struct __sk_buff *skb, struct ingress *s,
					 const struct kac_object *obj, __u32 headers, __u32 at,
					 __u32 len)
{
	struct kac_slab *slab = bpf_map_lookup_elem(&arena, &obj->slab);
	__u32 from = obj->offset, date = obj->date_off;

	if (!slab || from > KAC_SLAB_SIZE - KAC_REPLY_MAX)
		return -1;
	if (at > KAC_REPLY_MAX - SEGMENT_MAX || !kac_in_range(&len, SEGMENT_MAX))
		return -1;
	if (bpf_skb_store_bytes(skb, headers, slab->bytes + from + at, len, 0))
		return -1;
	if (date && date < at + len && date + KAC_DATE_LEN > at) {
		__u32 first = date < at ? at : date;
		__u32 end = date + KAC_DATE_LEN > at + len ? at + len : date + KAC_DATE_LEN;
		__u32 skip = first - date, n = end - first;

		skip &= 31;
		kac_opaque(skip);
		if (!kac_in_range(&n, KAC_DATE_LEN))
			return -1;
		if (bpf_skb_store_bytes(skb, headers + first - at, s->date.text + skip, n, 0))
			return -1;
	}
	if (s->reply.csum == CSUM_PARTIAL)
		return 0;
	if (at == 0 && len == obj->length)
		return obj->csum + (date ? csum_at(s->date.csum, date) : 0);
	return csum_packet(skb, &s->csum, headers, len);
}

/*
 * Send what s->reply says: one segment as a rule, made of the client's own; more only for one that
 * has to be sent again in small ones. Returns the program's verdict.
 */
__noinline int reply_send(struct __sk_buff *skb, struct ingress *s)
{
	const struct kac_object *obj = NULL;
	__u32 headers, done = 0, i;
	struct segment *seg;
	struct reply *r;

	if (!s)
		return TC_ACT_SHOT;
	seg = &s->seg;
	r = &s->reply;
	headers = (seg->v6 ? ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct tcphdr)
			   : ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr)) +
		  (r->ts ? TCP_TS_BYTES : 0);
	if (bpf_skb_load_bytes(skb, 0, s->hdr, ETH_HLEN))
		return TC_ACT_SHOT;
	header_build(s->hdr, seg, r);
	if (r->len) {
		obj = object_at(r->slot);
		if (!obj || obj->generation != r->generation) {
			/* What was lost cannot be said again, and nothing else may be said (P3). */
			count(KAC_CNT_CHANGED);
			obj = NULL;
			r->len = 0;
			r->flags = TCP_RST | TCP_ACK;
		}
		if (obj && obj->date_off && s->date.utc != r->date)
			date_update(&s->date, r->date);
	}
	for (i = 0; i < REPLY_PIECES_MAX; i++) {
		__u32 len = r->len - done;
		__s64 sum = 0;
		__u8 flags = r->flags;

		if (len > r->piece) {
			len = r->piece;
			flags &= ~TCP_PSH;
		}
		if (len > SEGMENT_MAX || bpf_skb_change_tail(skb, headers + len, 0))
			return TC_ACT_SHOT;
		if (obj)
			sum = payload_put(skb, s, obj, headers, r->at + done, len);
		if (sum < 0)
			return TC_ACT_SHOT;
		header_finish(s->hdr, seg, r, r->seq + done, len, flags, sum);
		if (bpf_skb_store_bytes(skb, 0, s->hdr, headers, 0))
			return TC_ACT_SHOT;
		done += len;
		if (done >= r->len || i == REPLY_PIECES_MAX - 1)
			break;
		if (bpf_clone_redirect(skb, skb->ifindex, 0))
			return TC_ACT_SHOT;
	}
	if (!s->verdict.up)
		return bpf_redirect(skb->ifindex, 0);
	bpf_clone_redirect(skb, skb->ifindex, 0);
	return ack_up(skb, s);
}

/* A reply that could not be sent is a lost one: the client asks again (S11). */
static __always_inline int reply(struct __sk_buff *skb, struct ingress *s)
{
	int ret;

	if (s->verdict.hit)
		count_add(KAC_CNT_HIT_BYTES, s->reply.len);
	ret = s->verdict.up && headers_save(skb, s) ? TC_ACT_SHOT : reply_send(skb, s);
	if (ret == TC_ACT_SHOT)
		count(KAC_CNT_SEND_FAILED);
	return ret;
}

#endif
