// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * TC egress: what the origin's socket sends. Follows its responses and translates its numbers for
 *the client.
 *
 *	segment -> connection -> follow -> decide (under the lock) -> rewrite
 */
#include "follow.bpf.h"
#include "rewrite.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum egress_action {
	EGRESS_PASS,
	EGRESS_REWRITE,
	EGRESS_DROP, /* it spans the splice point: neither offset is right for all of it */
};

struct egress {
	__u8 buf[KAC_REQ_MAX + KAC_REQ_PAD];
	struct kac_response response;
	struct segment seg;
	struct rewrite rw;
	struct follow follow;
	__u32 out;
	__u32 clamped;
	__u8 mac[12]; /* destination, source */
};

/* A map of its own: a program that redirects runs this one nested (S11). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct egress);
} egress_scratch SEC(".maps");

__noinline int egress_response_parse(struct egress *s, __u32 len)
{
	if (!s)
		return 0;
	return kac_response_parse(s->buf, len, &s->response);
}

/* Most heads are this short; what is copied beyond is the body's. */
#define HEAD_FIRST_LOOK 512

/* Parse the head that begins @at bytes into the payload, @left bytes before its end. */
__noinline int response_head(struct __sk_buff *skb, struct egress *s, __u32 at, __u32 left)
{
	__u32 n = left, verdict;

	if (!s)
		return KAC_HEAD_OPAQUE;
	at += s->seg.l4 + s->seg.doff;
	if (n > HEAD_FIRST_LOOK)
		n = HEAD_FIRST_LOOK;
	if (!kac_in_range(&n, HEAD_FIRST_LOOK) || bpf_skb_load_bytes(skb, at, s->buf, n))
		return KAC_HEAD_OPAQUE;
	verdict = egress_response_parse(s, n);
	if (verdict != KAC_HEAD_MORE || left <= HEAD_FIRST_LOOK)
		return verdict;
	n = left > KAC_REQ_MAX ? KAC_REQ_MAX : left;
	if (!kac_in_range(&n, KAC_REQ_MAX) || bpf_skb_load_bytes(skb, at, s->buf, n))
		return KAC_HEAD_OPAQUE;
	return egress_response_parse(s, n);
}

/*
 * Walk the new bytes of a segment: the rest of a body, then the heads of further responses. Only
 * this program changes what is read here, and a socket's segments leave one after the other; a
 * request may join the pending ones meanwhile, at their end. RFC 9112 6.3 says where a response
 * ends.
 */
static __always_inline void follow_response(struct __sk_buff *skb, struct egress *s,
					    const struct kac_conn *c)
{
	__u32 pending = c->pending, heads = c->pending_head, at = 0, len = s->seg.len, i;
	struct follow *f = &s->follow;

	f->left = c->response_left;
	for (i = 0; i <= FOLLOW_HEADS_MAX; i++) {
		const struct kac_head *head = &s->response.head;
		__u32 n;

		if (f->left >= len - at) {
			f->left -= len - at;
			return;
		}
		at += f->left;
		f->left = 0;
		if (f->begun >= pending) {
			f->out = KAC_OUT_UNSOLICITED;
			return;
		}
		n = len - at;
		if (i == FOLLOW_HEADS_MAX || response_head(skb, s, at, n) != KAC_HEAD_FRAMED) {
			f->out = KAC_OUT_RESPONSE;
			return;
		}
		at += head->len;
		if (s->response.status < 200)
			continue;
		if (head->flags & KAC_F_CLOSE)
			f->out = KAC_OUT_CLOSE;
		if (!((heads >> (f->begun & (KAC_PENDING_MAX - 1))) & 1) &&
		    !(head->flags & KAC_F_NO_BODY)) {
			if (!(head->flags & KAC_F_LENGTH)) {
				f->out = KAC_OUT_RESPONSE;
				return;
			}
			f->left = head->body_len;
		}
		f->begun++;
	}
}

/* What the kernel's own segments tell: numbers, window, headers for the replies to come. */
static __always_inline void learn(struct kac_conn *c, struct egress *s)
{
	const struct segment *seg = &s->seg;
	__u32 end = seg->seq + seg->len + !!(seg->flags & TCP_FIN);

	if (after(end, c->k_next)) {
		if (seg->len && !(c->flags & KAC_CONN_OUT) && seg->seq == c->k_next)
			follow_commit(c, &s->follow, &s->out);
		else if (seg->len)
			connection_out(c, KAC_OUT_UNSOLICITED, &s->out);
		c->k_next = end;
	}
	/* The kernel does not know what we handed up: it is handed up again (S1). */
	if (seg->len && before(seg->seq, c->k_una))
		c->k_una = seg->seq;
	if (seg->flags & (TCP_FIN | TCP_RST))
		connection_out(c, KAC_OUT_FIN, &s->out);
	if (seg->flags & TCP_RST)
		return;
	if (after(seg->ack, c->k_ack))
		c->k_ack = seg->ack;
	if (after(c->k_ack + c->in_delta, c->c_next))
		connection_out(c, KAC_OUT_UNSEEN, &s->out);
	c->wnd = seg->wnd;
	c->ttl = seg->ttl;
	c->tos = seg->tos & ~INET_ECN_MASK;
	c->flow = seg->flow & bpf_htonl(~((__u32)INET_ECN_MASK << 20));
	__builtin_memcpy(c->dmac, s->mac, 6);
	__builtin_memcpy(c->smac, s->mac + 6, 6);
	c->flags |= KAC_CONN_L2;
}

/* Under the lock. */
static __always_inline int decide(struct kac_conn *c, struct egress *s, __u32 ifindex)
{
	const struct segment *seg = &s->seg;
	struct rewrite *rw = &s->rw;

	c->ifindex = ifindex;
	learn(c, s);
	rw->wnd = seg->wnd;
	rw->tsval = seg->tsval;
	if (seg->ts_at) {
		if (before(seg->tsval, c->ts_sent))
			rw->tsval = c->ts_sent; /* a reply left meanwhile (S17) */
		else
			c->ts_sent = seg->tsval;
	}
	if (!(c->in_delta | c->out_delta))
		return rw->tsval != seg->tsval ? EGRESS_REWRITE : EGRESS_PASS;
	if (seq_to_client(c, seg->seq, seg->len, &rw->seq))
		return EGRESS_DROP;
	rw->ack = seg->ack;
	if (seg->flags & TCP_ACK) {
		__u32 ack = ack_to_client(c, seg->ack);

		rw->ack = ack;
		s->clamped = ack_clamp(c, &rw->ack);
		if (s->clamped) {
			/* The right edge stays where the kernel put it. */
			__u32 wnd = seg->wnd + ((ack - rw->ack) >> (c->k_wscale & 15));

			rw->wnd = wnd > 0xffff ? 0xffff : wnd;
		}
	}
	rewrite_snapshot(rw, c);
	return EGRESS_REWRITE;
}

/* A SYN-ACK begins a new incarnation of the tuple: what is known of the old one ends here (S7). */
static __always_inline void connection_reborn(struct kac_conn *c, __u64 tag)
{
	bpf_spin_lock(&c->lock);
	if (c->tag == tag && (c->flags & KAC_CONN_CLOSED))
		c->flags |= KAC_CONN_REBORN | KAC_CONN_OUT;
	bpf_spin_unlock(&c->lock);
}

/*
 * Whether the segment leaves by the device of its socket's route. Another device sees it too where
 * devices stand on top of each other (S14); but when the route has changed, this is the one now.
 */
static __always_inline int device_of_route(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct tcp_sock *tp;

	if (!sk)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	return tp && BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.sk_dst_cache, dev, ifindex) ==
			     (int)skb->ifindex;
}

SEC("tc")
int kaccel_egress(struct __sk_buff *skb)
{
	struct kac_config *cfg = config_get();
	struct kac_conn *c;
	struct egress *s;
	__u32 zero = 0;
	int action, live;
	void *data;
	__u64 tag;

	s = bpf_map_lookup_elem(&egress_scratch, &zero);
	if (!cfg || !s)
		return TC_ACT_UNSPEC;
	/* Came in by a device: a reply of ours, or forwarded (S12). */
	if (skb->ingress_ifindex)
		return TC_ACT_UNSPEC;
	if (segment_parse(skb, &s->seg, 0, cfg->port) != SEGMENT_TCP)
		return TC_ACT_UNSPEC;
	c = bpf_map_lookup_elem(&conns, &s->seg.key);
	if (!c)
		return TC_ACT_UNSPEC;
	tag = key_tag(&s->seg.key);
	if (s->seg.flags & TCP_SYN) {
		connection_reborn(c, tag);
		return TC_ACT_UNSPEC;
	}
	if (c->ifindex != skb->ifindex && !device_of_route(skb))
		return TC_ACT_UNSPEC;
	data = (void *)(long)skb->data;
	if (data + sizeof(s->mac) > (void *)(long)skb->data_end)
		return TC_ACT_UNSPEC;
	__builtin_memcpy(s->mac, data, sizeof(s->mac));
	s->out = 0;
	s->clamped = 0;
	__builtin_memset(&s->follow, 0, sizeof(s->follow));
	segment_options(skb, &s->seg);
	if (s->seg.len && !(c->flags & KAC_CONN_OUT) && s->seg.seq == c->k_next)
		follow_response(skb, s, c);

	action = EGRESS_PASS;
	bpf_spin_lock(&c->lock);
	live = c->tag == tag && !(c->flags & KAC_CONN_REBORN);
	if (live)
		action = decide(c, s, skb->ifindex);
	bpf_spin_unlock(&c->lock);

	if (s->out)
		count(s->out);
	if (s->clamped)
		count(KAC_CNT_CLAMPED);
	if (action == EGRESS_PASS)
		return TC_ACT_UNSPEC;
	if (action == EGRESS_DROP) {
		count(KAC_CNT_EPOCH_DROPS);
		return TC_ACT_SHOT;
	}
	count(KAC_CNT_TRANSLATED_OUT);
	return rewrite_apply(skb, &s->seg, &s->rw, 0) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
