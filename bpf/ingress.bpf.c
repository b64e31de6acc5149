// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * TC ingress: the client's segments. Answers what it can, translates the rest for the
 * origin's socket.
 *
 *	segment -> connection -> request -> object -> decide (under the lock) -> act
 */
#include "decide.bpf.h"
#include "icmp.bpf.h"
#include "send.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* One passed request per connection and this long, where the configuration does not say (S16). */
#define REFRESH_NS (1 * NSEC_PER_SEC)

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
