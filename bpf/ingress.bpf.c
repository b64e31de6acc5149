// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * TC ingress: the client's segments. Answers what it can, translates the rest for the origin's
 *socket.
 *
 *	segment -> connection -> request -> object -> decide (under the lock) -> act
 */
#include "reply.bpf.h"
#include "follow.bpf.h"
#include "icmp.bpf.h"
#include "rewrite.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* After a loss a connection's requests go to the origin for this long (S15). */
#define LOSS_HOLD_NS (1 * NSEC_PER_SEC)

/* One passed request per connection and this long, where the configuration does not say (S16). */
#define REFRESH_NS (1 * NSEC_PER_SEC)

/* A segment this far from the next expected byte says nothing of the connection (S5). */
#define SEQ_PLAUSIBLE (1U << 20)

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

/* P1, P2, P6, S6, S15-S17: may this connection be answered now? 0, or the reason why not. */
static __always_inline int connection_ready(const struct kac_conn *c, const struct ingress *s,
					    __u32 ifindex, __u32 *reason)
{
	const struct segment *seg = &s->seg;
	__u32 window = (__u32)seg->wnd << (c->c_wscale & 15);

	*reason = KAC_PASS_DRAINING;
	if (s->cand.draining)
		return 0;
	*reason = KAC_PASS_DEVICE;
	if (c->ifindex != ifindex)
		return 0;
	*reason = KAC_PASS_BUSY;
	if (c->pending || c->request_left || c->response_left)
		return 0;
	/* What was lost behind us the client must still be asked for: a reply would acknowledge it.
	 */
	*reason = KAC_PASS_SEQUENCE;
	if (seg->seq != c->k_ack + c->in_delta)
		return 0;
	*reason = KAC_PASS_UNACKED;
	if (seg->ack != c->k_next + c->out_delta)
		return 0;
	*reason = KAC_PASS_TIMESTAMP;
	if (c->flags & KAC_CONN_TS) {
		if (!seg->ts_at || before(seg->tsval, c->ts_recent))
			return 0;
	} else if (seg->ts_at) {
		return 0;
	}
	*reason = KAC_PASS_TOO_LARGE;
	if (s->cand.length > c->mss || s->cand.length > window)
		return 0;
	*reason = KAC_PASS_AFTER_LOSS;
	if (s->now < c->loss_until_ns)
		return 0;
	*reason = KAC_PASS_REFRESH;
	if (s->now - c->origin_ns >= s->refresh)
		return 0;
	return 1;
}

/* The parts of a reply that the connection gives. TSval never runs backwards (S17). */
static __always_inline void reply_prepare(struct kac_conn *c, struct ingress *s, __u32 ack)
{
	struct reply *r = &s->reply;

	r->seq = c->rstart;
	r->ack = ack;
	r->ts = !!(c->flags & KAC_CONN_TS);
	r->tsval = (c->flags & KAC_CONN_TS_US ? s->now / 1000 : s->now / 1000000) + c->ts_offset;
	if (before(r->tsval, c->ts_sent))
		r->tsval = c->ts_sent;
	c->ts_sent = r->tsval;
	r->tsecr = c->ts_recent;
	r->wnd = c->wnd;
	r->ttl = c->ttl;
	r->tos = c->tos;
	r->flow = c->flow;
	r->l2 = !!(c->flags & KAC_CONN_L2);
	__builtin_memcpy(r->smac, c->smac, 6);
	__builtin_memcpy(r->dmac, c->dmac, 6);
	r->slot = c->slot;
	r->date = c->date;
	r->generation = c->generation;
	r->at = 0;
	r->len = 0;
	r->piece = SEGMENT_MAX;
	r->flags = TCP_ACK;
}

/* Commit the exchange before anything is sent (S11). */
static __always_inline void answer(struct kac_conn *c, struct ingress *s)
{
	const struct segment *seg = &s->seg;

	c->k_prev = c->rend - c->out_delta;
	c->gseq = seg->seq;
	c->gend = seg->seq + seg->len;
	c->c_next = c->gend;
	c->in_delta += seg->len;
	c->rstart = seg->ack;
	c->rend = seg->ack + s->cand.length;
	c->out_delta += s->cand.length;
	c->generation = s->cand.generation;
	c->slot = s->cand.slot;
	c->date = s->utc;
	c->timeouts = 0;
	c->sent_ns = s->now;
	c->flags &= ~(KAC_CONN_CLAMPED | KAC_CONN_PIECES);
	reply_prepare(c, s, c->gend);
	s->reply.len = s->cand.length;
	s->reply.flags = TCP_ACK | TCP_PSH;
	s->verdict.action = ACT_REPLY;
	s->verdict.hit = 1;
	s->verdict.up = c->k_una != c->k_next;
}

/*
 * The client asks for the outstanding reply (S5): at most once per round trip; what it has is left
 * out; after two tries without progress in segments that pass everywhere (S8).
 */
static __always_inline void answer_again(struct kac_conn *c, struct ingress *s)
{
	struct reply *r = &s->reply;
	__u32 small = c->flags & KAC_CONN_V6 ? SMALL_SEGMENT_V6 : SMALL_SEGMENT_V4;

	/* With IP options there is no room for our headers; the kernel's answer keeps it asking. */
	if (s->seg.options)
		return;
	s->verdict.action = ACT_CONSUME;
	if ((__s64)(s->now - c->sent_ns) < (__s64)c->rtt_us * 1000)
		return;
	c->sent_ns = s->now;
	c->timeouts++;
	c->loss_until_ns = s->now + LOSS_HOLD_NS;
	reply_prepare(c, s, c->gend);
	r->at = c->c_ack - c->rstart;
	r->len = c->rend - c->c_ack;
	r->seq = c->c_ack;
	r->flags = TCP_ACK | TCP_PSH;
	if (c->timeouts > 2 && small < c->mss)
		c->mss = small;
	if (r->len > c->mss)
		r->piece = c->mss;
	if (r->len > r->piece)
		c->flags |= KAC_CONN_PIECES;
	if (c->flags & KAC_CONN_PIECES) {
		/* Acknowledged when it has arrived: until then the client keeps asking (S2). */
		r->ack = c->gseq;
		c->flags |= KAC_CONN_CLAMPED;
	}
	s->verdict.action = ACT_REPLY;
	s->verdict.resent = 1;
}

/* A client that misses the reply says so by SACK: it has what lies beyond (S5). */
static __always_inline int sack_asks(const struct kac_conn *c, const struct segment *seg)
{
	__u32 at = seg->sack_at - sizeof(struct tcphdr) + 2;

	if (!seg->sack_at || at > TCP_OPTIONS_MAX)
		return 0;
	return after(load32(&seg->opt[at & 63]), c->c_ack);
}

/* A segment without payload: an acknowledgement, perhaps with FIN or RST. */
static __always_inline void decide_bare(struct kac_conn *c, struct ingress *s, int outstanding,
					int advanced)
{
	const struct segment *seg = &s->seg;
	struct verdict *v = &s->verdict;

	if (seg->flags & (TCP_FIN | TCP_RST)) {
		connection_out(c, KAC_OUT_FIN, &v->out);
		if ((seg->flags & TCP_FIN) && seg->seq == c->c_next)
			c->c_next++;
		return;
	}
	if (reply_outstanding(c)) {
		if (sack_asks(c, seg)) {
			answer_again(c, s);
			return;
		}
	} else if (outstanding && (c->flags & KAC_CONN_CLAMPED) && !seg->options) {
		/* The reply has arrived: now its request may be acknowledged, and all behind it. */
		__u32 ack = c->k_ack + c->in_delta;

		c->flags &= ~KAC_CONN_CLAMPED;
		reply_prepare(c, s, before(ack, c->gend) ? c->gend : ack);
		s->reply.seq = c->k_next + c->out_delta;
		v->action = ACT_REPLY;
		v->up = 1;
		return;
	}
	/*
	 * Of no news to the kernel (S3): this very segment acknowledges bytes of a reply, and
	 * nothing else has changed. The same acknowledgement once more is the client's answer to a
	 * probe, or tells of a loss, and goes up.
	 */
	if (advanced && !seg->sack_at && seg->seq == c->c_next && after(seg->ack, c->rstart) &&
	    !after(seg->ack, c->rend) && c->k_next == c->rend - c->out_delta &&
	    c->k_una == c->k_next && wnd_to_kernel(c, seg->ack, seg->wnd) == c->up_wnd)
		v->action = ACT_CONSUME;
}

/* A segment with payload. */
static __always_inline void decide_payload(struct kac_conn *c, struct ingress *s, __u32 ifindex,
					   int had_fin)
{
	const struct segment *seg = &s->seg;
	struct verdict *v = &s->verdict;
	__u32 end = seg->seq + seg->len;

	if (before(seg->seq, c->c_next)) {
		if (reply_outstanding(c) && !before(seg->seq, c->gseq) && before(seg->seq, c->gend))
			answer_again(c, s);
		else if (after(end, c->c_next))
			connection_out(c, KAC_OUT_GAP, &v->out);
		if (v->action == ACT_TRANSLATE && after(end + had_fin, c->c_next))
			c->c_next = end + had_fin;
		return;
	}
	if (seg->seq != c->c_next) {
		connection_out(c, KAC_OUT_GAP, &v->out);
		c->c_next = end + had_fin;
		return;
	}
	v->passed = !c->request_left;
	v->miss = s->cand.miss;
	v->reason = s->cand.reason;
	if (c->flags & KAC_CONN_OUT) {
		v->miss = 0;
		v->reason = KAC_PASS_OUT_OF_PLAY;
	} else if (!had_fin) {
		if (s->cand.found && !c->request_left &&
		    connection_ready(c, s, ifindex, &v->reason)) {
			answer(c, s);
			v->passed = 0;
			return;
		}
		follow_request(c, &s->request, seg->len, &v->out);
		c->origin_ns = s->now;
	}
	if (had_fin)
		connection_out(c, KAC_OUT_FIN, &v->out);
	c->c_next = end + had_fin;
}

/*
 * Whether to believe what the segment says of the connection: its checksum is good, its numbers are
 * near what is expected (RFC 5961 5.2), and the kernel will not drop it for its timestamp (RFC 7323
 * 5.3). Any other is translated as it is and changes nothing.
 */
static __always_inline int segment_credible(const struct kac_conn *c, const struct segment *seg)
{
	if (seg->seq - (c->c_next - SEQ_PLAUSIBLE) >= 2 * SEQ_PLAUSIBLE)
		return 0;
	if (seg->flags & TCP_RST)
		return 1;
	if (!(seg->flags & TCP_ACK) || after(seg->ack, c->k_next + c->out_delta) ||
	    before(seg->ack, c->c_ack - SEQ_PLAUSIBLE))
		return 0;
	return !seg->len || !(c->flags & KAC_CONN_TS) ||
	       (seg->ts_at && !before(seg->tsval, c->ts_recent));
}

/* Segments come in by one device, the first that shows them to us (S14). */
static __always_inline void device_check(struct kac_conn *c, __u32 ifindex, __u32 *out)
{
	if (c->in_ifindex && c->in_ifindex != ifindex && !(c->in_delta | c->out_delta)) {
		/* Devices on top of each other show each segment twice: nothing is answered. */
		connection_out(c, KAC_OUT_DEVICE, out);
		return;
	}
	/* An answered connection has one device only: its route has changed. */
	c->in_ifindex = ifindex;
}

/*
 * Under the lock. What the segment tells of the client is taken in first; then the segment gets its
 * verdict; then, if it goes to the kernel, its numbers.
 */
static __always_inline void decide(struct kac_conn *c, struct ingress *s, __u32 ifindex)
{
	const struct segment *seg = &s->seg;
	struct verdict *v = &s->verdict;
	int had_fin = !!(seg->flags & TCP_FIN);
	int outstanding = reply_outstanding(c), advanced = 0;
	__u32 ack;

	v->action = ACT_TRANSLATE;
	c->seen_ns = s->now;
	splice_age(c);
	device_check(c, ifindex, &v->out);
	if (s->reply.csum >= CSUM_GOOD && segment_credible(c, seg)) {
		if ((seg->flags & TCP_ACK) && after(seg->ack, c->c_ack) &&
		    !after(seg->ack, c->k_next + c->out_delta)) {
			c->c_ack = seg->ack;
			c->timeouts = 0;
			advanced = 1;
		}
		if (seg->ts_at && !after(seg->seq, c->c_next) && after(seg->tsval, c->ts_recent))
			c->ts_recent = seg->tsval;
		if (seg->len)
			decide_payload(c, s, ifindex, had_fin);
		else
			decide_bare(c, s, outstanding, advanced);
	}
	if (!reply_outstanding(c)) {
		c->generation = 0;
		c->flags &= ~KAC_CONN_CLAMPED;
	}
	if (v->action != ACT_TRANSLATE && !v->up)
		return;

	s->rw.seq = seq_to_kernel(c, seg->seq, v->up ? 0 : seg->len);
	s->rw.ack = ack_to_kernel(c, seg->ack);
	s->rw.wnd = wnd_to_kernel(c, seg->ack, seg->wnd);
	s->rw.tsval = seg->tsval;
	s->rw.sack_strip = before(seg->ack, c->rend);
	s->rw.changed = s->rw.seq != seg->seq || s->rw.ack != seg->ack || s->rw.wnd != seg->wnd ||
			(seg->sack_at && c->out_delta);
	if (s->rw.changed)
		rewrite_snapshot(&s->rw, c);
	ack = s->rw.ack;
	if ((seg->flags & TCP_ACK) && after(ack, c->k_una) && !after(ack, c->k_next))
		c->k_una = ack;
	c->up_wnd = s->rw.wnd;
}

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

static __always_inline void count_verdict(const struct verdict *v)
{
	if (v->hit)
		count(KAC_CNT_HITS);
	if (v->passed)
		count(v->miss ? KAC_CNT_MISSES : v->reason);
	if (v->resent)
		count(KAC_CNT_RESENT);
	if (v->out)
		count(v->out);
}

/*
 * Remember a first request that is ahead of its connection's establishment (kac_early). A second
 * one that is ahead as well is not followed. Where the connection has been established meanwhile,
 * on another processor, it has not seen the note.
 */
__noinline int early_note(struct __sk_buff *skb, struct ingress *s)
{
	struct kac_early e = {}, *noted;
	struct kac_conn_key key;
	struct segment *seg;
	struct kac_conn *c;
	__u32 out = 0;

	if (!s)
		return TC_ACT_UNSPEC;
	seg = &s->seg;
	if (!seg->len || (seg->flags & (TCP_SYN | TCP_RST)))
		return TC_ACT_UNSPEC;
	key = seg->key;
	segment_options(skb, seg);
	e.seq = seg->seq;
	e.end = seg->seq + seg->len;
	e.tsval = seg->ts_at ? seg->tsval : 0;
	noted = bpf_map_lookup_elem(&early, &key);
	if (!(noted && noted->seq != e.seq) && !(seg->flags & TCP_FIN) && !request_load(skb, s)) {
		__u32 verdict = s->request.head.verdict;

		e.known = (verdict == KAC_HEAD_ANSWERABLE || verdict == KAC_HEAD_FRAMED) &&
			  s->request.head.len == seg->len && !s->request.head.body_len &&
			  !(s->request.head.flags & (KAC_F_CHUNKED | KAC_F_CLOSE | KAC_F_UPGRADE));
		e.head = s->request.method == KAC_METHOD_HEAD;
	}
	bpf_map_update_elem(&early, &key, &e, BPF_ANY);
	c = bpf_map_lookup_elem(&conns, &key);
	if (!c)
		return TC_ACT_UNSPEC;
	bpf_spin_lock(&c->lock);
	if (c->tag == key_tag(&key))
		connection_out(c, KAC_OUT_FIRST, &out);
	bpf_spin_unlock(&c->lock);
	if (out)
		count(out);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int kaccel_ingress(struct __sk_buff *skb)
{
	struct kac_config *cfg = config_get();
	struct kac_conn *c;
	struct ingress *s;
	__u32 zero = 0;
	__u64 tag;
	int live;

	s = bpf_map_lookup_elem(&ingress_scratch, &zero);
	/* Unicast to us: pkt_type is PACKET_HOST, which is 0. */
	if (!cfg || !s || skb->pkt_type)
		return TC_ACT_UNSPEC;
	switch (segment_parse(skb, &s->seg, 1, cfg->port)) {
	case SEGMENT_TCP:
		break;
	case SEGMENT_NOT_TCP:
		return icmp_translate(skb);
	default:
		return TC_ACT_UNSPEC;
	}
	c = bpf_map_lookup_elem(&conns, &s->seg.key);
	if (!c) {
		if (!cfg->netns)
			netns_learn(skb, cfg, &s->seg);
		/* Without a port this would be every segment of every connection. */
		return cfg->port ? early_note(skb, s) : TC_ACT_UNSPEC;
	}

	/* Of a new incarnation, or of nothing: the kernel knows, and answers a live one's client.
	 */
	if (s->seg.flags & TCP_SYN)
		return TC_ACT_UNSPEC;
	__builtin_memset(&s->verdict, 0, sizeof(s->verdict));
	s->refresh = cfg->refresh_ns ? cfg->refresh_ns : REFRESH_NS;
	s->cand.draining = cfg->flags & KAC_CONFIG_DRAINING;
	s->cand.found = 0;
	segment_options(skb, &s->seg);
	s->reply.csum = csum_verify(skb, &s->seg, &s->csum);
	if (s->reply.csum == CSUM_WRONG) {
		/* As wrong as it came, it goes to the kernel, which drops it. */
		count(KAC_PASS_CHECKSUM);
		return TC_ACT_UNSPEC;
	}
	if (s->seg.len && !(c->flags & KAC_CONN_OUT))
		candidate_find(skb, s);

	/* Replies need the exact clock; what only passes does with the last tick's. */
	s->now = s->cand.found || c->generation ? bpf_ktime_get_ns() : bpf_ktime_get_coarse_ns();
	tag = key_tag(&s->seg.key);
	bpf_spin_lock(&c->lock);
	live = c->tag == tag && !(c->flags & KAC_CONN_REBORN);
	if (live)
		decide(c, s, skb->ifindex);
	bpf_spin_unlock(&c->lock);
	if (!live)
		return TC_ACT_UNSPEC;

	count_verdict(&s->verdict);
	switch (s->verdict.action) {
	case ACT_REPLY:
		return reply(skb, s);
	case ACT_CONSUME:
		count(KAC_CNT_CONSUMED);
		return TC_ACT_SHOT;
	case ACT_TRANSLATE:
		if (!s->rw.changed)
			return TC_ACT_UNSPEC;
		count(KAC_CNT_TRANSLATED_IN);
		return rewrite_apply(skb, &s->seg, &s->rw, 1) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	}
	return TC_ACT_UNSPEC;
}
