/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_DECIDE_BPF_H
#define KACCEL_DECIDE_BPF_H

/* What becomes of a client's segment. All of it runs under the connection's lock and calls nothing.
 */
#include "follow.bpf.h"
#include "request.bpf.h"

/* After a loss a connection's requests go to the origin for this long (S15). */
#define LOSS_HOLD_NS (1 * NSEC_PER_SEC)

/* A segment this far from the next expected byte says nothing of the connection (S5). */
#define SEQ_PLAUSIBLE (1U << 20)

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

#endif
