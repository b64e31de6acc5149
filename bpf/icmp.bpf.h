/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_ICMP_BPF_H
#define KACCEL_ICMP_BPF_H

/*
 * ICMP errors quote a segment as it was on the wire. The kernel looks at the quoted sequence number
 * before it believes the error, so it is translated (S8); without that, path-MTU discovery dies.
 */
#include "splice.bpf.h"

/* Types and codes (RFC 792, RFC 4443): linux/icmp.h pulls in what does not compile for BPF. */
#define ICMP_DEST_UNREACH   3
#define ICMP_FRAG_NEEDED    4
#define ICMP_TIME_EXCEEDED  11
#define ICMP_PARAMETERPROB  12
#define ICMPV6_DEST_UNREACH 1
#define ICMPV6_PKT_TOOBIG   2
#define ICMPV6_PARAMPROB    4

#define MIN_PMTU_V4 552	 /* net.ipv4.route.min_pmtu */
#define MIN_PMTU_V6 1280 /* RFC 8200 5 */

/* As much of the quoted TCP header as an error must carry (RFC 792). */
struct icmp_quote {
	__u16 source, dest;
	__u32 seq;
};

struct icmp_head {
	__u8 type, code;
	__u16 check;
	__u32 info; /* next-hop MTU: the lower half in ICMP, all of it in ICMPv6 */
};

/* Whether the quoted segment is one that is on its way; then learn the path's MTU from the error.
 */
static __always_inline void icmp_learn_mtu(struct kac_conn *c, __u32 seq, __u32 mtu)
{
	__u32 headers = sizeof(struct tcphdr) + (c->flags & KAC_CONN_TS ? 12 : 0);
	__u32 least = c->flags & KAC_CONN_V6 ? MIN_PMTU_V6 : MIN_PMTU_V4;

	if (!mtu || before(seq, c->c_ack) || after(seq, c->k_next + c->out_delta))
		return;
	headers += c->flags & KAC_CONN_V6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	if (mtu < least)
		mtu = least;
	if (mtu - headers < c->mss)
		c->mss = mtu - headers;
}

__noinline int icmp_translate(struct __sk_buff *skb)
{
	struct kac_conn_key key = {};
	struct kac_config *cfg = config_get();
	__u32 at, quote_at, seq, mtu = 0;
	struct icmp_quote quote;
	struct icmp_head icmp;
	struct kac_conn *c;
	__u64 tag;
	int live;

	if (!cfg || skb->vlan_present)
		return TC_ACT_UNSPEC;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) ||
		    ip.protocol != IPPROTO_ICMP || ip.version != 4)
			return TC_ACT_UNSPEC;
		at = ETH_HLEN + ip.ihl * 4;
		if (bpf_skb_load_bytes(skb, at, &icmp, sizeof(icmp)) ||
		    (icmp.type != ICMP_DEST_UNREACH && icmp.type != ICMP_TIME_EXCEEDED &&
		     icmp.type != ICMP_PARAMETERPROB) ||
		    bpf_skb_load_bytes(skb, at + sizeof(icmp), &ip, sizeof(ip)) ||
		    ip.protocol != IPPROTO_TCP || ip.version != 4)
			return TC_ACT_UNSPEC;
		if (icmp.type == ICMP_DEST_UNREACH && icmp.code == ICMP_FRAG_NEEDED)
			mtu = bpf_ntohl(icmp.info) & 0xffff;
		quote_at = at + sizeof(icmp) + ip.ihl * 4;
		key_map_v4(key.server, ip.saddr);
		key_map_v4(key.client, ip.daddr);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip6;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip6, sizeof(ip6)) ||
		    ip6.nexthdr != IPPROTO_ICMPV6)
			return TC_ACT_UNSPEC;
		at = ETH_HLEN + sizeof(ip6);
		if (bpf_skb_load_bytes(skb, at, &icmp, sizeof(icmp)) ||
		    icmp.type < ICMPV6_DEST_UNREACH || icmp.type > ICMPV6_PARAMPROB ||
		    bpf_skb_load_bytes(skb, at + sizeof(icmp), &ip6, sizeof(ip6)) ||
		    ip6.nexthdr != IPPROTO_TCP)
			return TC_ACT_UNSPEC;
		if (icmp.type == ICMPV6_PKT_TOOBIG)
			mtu = bpf_ntohl(icmp.info);
		quote_at = at + sizeof(icmp) + sizeof(ip6);
		__builtin_memcpy(key.server, &ip6.saddr, 16);
		__builtin_memcpy(key.client, &ip6.daddr, 16);
	} else {
		return TC_ACT_UNSPEC;
	}
	if (bpf_skb_load_bytes(skb, quote_at, &quote, sizeof(quote)) ||
	    (cfg->port && quote.source != bpf_htons(cfg->port)))
		return TC_ACT_UNSPEC;
	key.server_port = quote.source;
	key.client_port = quote.dest;
	c = bpf_map_lookup_elem(&conns, &key);
	if (!c)
		return TC_ACT_UNSPEC;
	seq = bpf_ntohl(quote.seq);
	tag = key_tag(&key);
	bpf_spin_lock(&c->lock);
	live = c->tag == tag && !(c->flags & KAC_CONN_REBORN);
	if (live) {
		icmp_learn_mtu(c, seq, mtu);
		seq = ack_to_kernel(c, seq);
	}
	bpf_spin_unlock(&c->lock);
	seq = bpf_htonl(seq);
	if (!live || seq == quote.seq)
		return TC_ACT_UNSPEC;
	if (bpf_l4_csum_replace(skb, at + __builtin_offsetof(struct icmp_head, check), quote.seq,
				seq, 4) ||
	    bpf_skb_store_bytes(skb, quote_at + __builtin_offsetof(struct icmp_quote, seq), &seq, 4,
				0))
		return TC_ACT_SHOT;
	count(KAC_CNT_ICMP);
	return TC_ACT_UNSPEC;
}

#endif
