/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_SEGMENT_BPF_H
#define KACCEL_SEGMENT_BPF_H

/* A TCP segment as a packet carries it: where its parts are and what its header says, in host
 * order. */
#include "vmlinux.h"
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <kaccel/conn.h>

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_ECE 0x40
#define TCP_CWR 0x80

/* Extension headers that are walked, and how far; more than any stack sends with TCP. */
#define IPV6_HEADERS_MAX    4
#define IPV6_TCP_OFFSET_MAX 255U

#define TCP_OPTIONS_MAX 40
#define TCP_TS_BYTES	12 /* NOP NOP timestamps */

#define IP_FRAG_MASK   0x3fff /* MF and the offset */
#define IP_OFFSET_MASK 0x1fff
#define IP_DF	       0x4000

#define INET_ECN_MASK 3
#define INET_ECN_CE   3

struct segment {
	struct kac_conn_key key;
	__u32 seq, ack;
	__u32 len;   /* payload bytes */
	__u16 l4;    /* offset of the TCP header in the packet */
	__u16 doff;  /* its length in bytes */
	__u16 wnd;   /* as on the wire, not scaled */
	__u16 check; /* as on the wire */
	__u8 flags;
	__u8 tos;
	__u8 ttl;
	__u8 v6;
	__u32 flow;
	__u8 options; /* IP options, extension headers or a fragment: translated, never answered */

	/* TCP options: offsets from the TCP header, 0 for none. */
	__u8 plain; /* NOP, timestamps and SACK alone */
	__u8 ts_at;
	__u8 sack_at;
	__u8 sack_len; /* with kind and length bytes */
	__u32 tsval, tsecr;
	__u8 opt[TCP_OPTIONS_MAX + 24]; /* padded: a group may be read at every masked index */
};

/* a is before b, modulo 2^32 (RFC 9293 3.4). */
static __always_inline int before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

#define after(a, b) before(b, a)

static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Ones' complement sum, not folded, of @n words. */
static __always_inline __u64 csum_words(const void *from, __u32 n)
{
	const __u32 *w = from;
	__u64 sum = 0;
	__u32 i;

#pragma unroll
	for (i = 0; i < n; i++)
		sum += w[i];
	return sum;
}

static __always_inline __u32 load32(const __u8 *p)
{
	return (__u32)p[0] << 24 | (__u32)p[1] << 16 | (__u32)p[2] << 8 | p[3];
}

static __always_inline void store32(__u8 *p, __u32 v)
{
	p[0] = v >> 24;
	p[1] = v >> 16;
	p[2] = v >> 8;
	p[3] = v;
}

/* What RFC 7323 appendix A recommends and most stacks send. */
#define TCP_TS_HEAD 0x0101080aU

/* Walk the options that are not just timestamps. A separate function keeps the verifier's work
 * small. */
__weak __noinline int segment_options_walk(struct segment *seg)
{
	__u32 len, at = 0;
	int i;

	if (!seg)
		return 0;
	len = seg->doff - sizeof(struct tcphdr);
	for (i = 0; i < TCP_OPTIONS_MAX; i++) {
		__u32 kind, size;

		if (at >= len)
			break;
		at &= 63;
		kac_opaque(at);
		if (at > TCP_OPTIONS_MAX)
			break;
		kind = seg->opt[at];
		size = seg->opt[at + 1];
		if (kind == 1) {
			at++;
			continue;
		}
		if (kind == 0 || size < 2 || at + size > len) {
			seg->plain = 0;
			break;
		}
		if (kind == 8 && size == 10) {
			seg->ts_at = sizeof(struct tcphdr) + at;
			seg->tsval = load32(&seg->opt[at + 2]);
			seg->tsecr = load32(&seg->opt[at + 6]);
		} else if (kind == 5 && size >= 10 && (size - 2) % 8 == 0) {
			seg->sack_at = sizeof(struct tcphdr) + at;
			seg->sack_len = size;
		} else {
			seg->plain = 0;
		}
		at += size;
	}
	return 0;
}

static __always_inline void segment_options(struct __sk_buff *skb, struct segment *seg)
{
	__u32 len = seg->doff - sizeof(struct tcphdr);

	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 l4 = seg->l4;

	seg->plain = 1;
	seg->ts_at = 0;
	seg->sack_at = 0;
	seg->sack_len = 0;
	if (len == 0)
		return;
	kac_opaque(l4);
	l4 &= IPV6_TCP_OFFSET_MAX;
	if (len == TCP_TS_BYTES && data + l4 + sizeof(struct tcphdr) + TCP_TS_BYTES <= end) {
		const __u32 *opt = data + l4 + sizeof(struct tcphdr);

		if (opt[0] == bpf_htonl(TCP_TS_HEAD)) {
			__builtin_memcpy(seg->opt, opt, TCP_TS_BYTES);
			seg->ts_at = sizeof(struct tcphdr) + 2;
			seg->tsval = bpf_ntohl(opt[1]);
			seg->tsecr = bpf_ntohl(opt[2]);
			return;
		}
	}
	if (!kac_in_range(&len, TCP_OPTIONS_MAX) ||
	    bpf_skb_load_bytes(skb, seg->l4 + sizeof(struct tcphdr), seg->opt, len)) {
		seg->plain = 0;
		return;
	}
	segment_options_walk(seg);
}

static __always_inline void key_map_v4(__u32 addr[4], __u32 v4)
{
	addr[0] = 0;
	addr[1] = 0;
	addr[2] = bpf_htonl(0xffff);
	addr[3] = v4;
}

/* What segment_parse() says of a packet. */
enum segment_kind {
	SEGMENT_TCP,	/* read, and of the port */
	SEGMENT_NOT_IP, /* or tagged, or cut short: nothing for us */
	SEGMENT_NOT_OURS,
	SEGMENT_NOT_TCP, /* it may be an ICMP error */
};

/* Where the TCP header of an IPv6 packet with extension headers is (RFC 8200 4); 0: nowhere. */
__weak __noinline int ipv6_tcp_offset(struct __sk_buff *skb, __u32 next)
{
	__u32 at = ETH_HLEN + sizeof(struct ipv6hdr), i;

	for (i = 0; i < IPV6_HEADERS_MAX; i++) {
		__u8 head[4];

		if (bpf_skb_load_bytes(skb, at, head, sizeof(head)))
			return 0;
		if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS)
			at += 8 + head[1] * 8;
		else if (next == IPPROTO_FRAGMENT && !((head[2] << 8 | head[3]) & ~7))
			at += 8;
		else
			return 0;
		next = head[0];
		if (next == IPPROTO_TCP)
			return at;
	}
	return 0;
}

/* The port of the origin's end; 0 serves every port. */
static __always_inline int port_matches(const struct tcphdr *tcp, int from_client, __u32 port)
{
	return !port || (from_client ? tcp->dest : tcp->source) == bpf_htons(port);
}

/*
 * Read the headers of a TCP segment over IPv4 or IPv6 on an Ethernet-like device; @from_client says
 * which end is the key's client. The port comes first: most packets are not ours.
 */
static __always_inline int segment_parse(struct __sk_buff *skb, struct segment *seg,
					 int from_client, __u32 port)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 v4 = skb->protocol == bpf_htons(ETH_P_IP), total, l4;
	struct tcphdr *tcp;

	if ((!v4 && skb->protocol != bpf_htons(ETH_P_IPV6)) || skb->vlan_present)
		return SEGMENT_NOT_IP;
	l4 = ETH_HLEN + (v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	if (data + l4 + sizeof(*tcp) > end) {
		/* ICMP over IPv4 may be shorter than this, but then it quotes nothing of TCP. */
		if (skb->len < l4 + sizeof(*tcp) || bpf_skb_pull_data(skb, l4 + sizeof(*tcp)))
			return SEGMENT_NOT_IP;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
	}
	seg->options = 0;
	if (v4) {
		struct iphdr *ip = data + ETH_HLEN;

		if (data + ETH_HLEN + sizeof(*ip) + sizeof(*tcp) > end || ip->version != 4)
			return SEGMENT_NOT_IP;
		if (ip->protocol != IPPROTO_TCP)
			return SEGMENT_NOT_TCP;
		if (ip->ihl != sizeof(*ip) / 4 || (ip->frag_off & bpf_htons(IP_FRAG_MASK))) {
			seg->options = 1;
			l4 = ETH_HLEN + ip->ihl * 4;
			/* Behind the first fragment there is no TCP header. */
			if (ip->ihl < sizeof(*ip) / 4 ||
			    (ip->frag_off & bpf_htons(IP_OFFSET_MASK)) ||
			    skb->len < l4 + sizeof(*tcp) ||
			    bpf_skb_pull_data(skb, l4 + sizeof(*tcp)))
				return SEGMENT_NOT_IP;
			data = (void *)(long)skb->data;
			end = (void *)(long)skb->data_end;
			ip = data + ETH_HLEN;
			if ((void *)(ip + 1) > end)
				return SEGMENT_NOT_IP;
		}
		kac_opaque(l4);
		l4 &= 127;
		tcp = data + l4;
		if ((void *)(tcp + 1) > end)
			return SEGMENT_NOT_IP;
		if (!port_matches(tcp, from_client, port))
			return SEGMENT_NOT_OURS;
		seg->v6 = 0;
		seg->tos = ip->tos;
		seg->ttl = ip->ttl;
		seg->flow = 0;
		key_map_v4(from_client ? seg->key.client : seg->key.server, ip->saddr);
		key_map_v4(from_client ? seg->key.server : seg->key.client, ip->daddr);
		total = bpf_ntohs(ip->tot_len);
		total = total ? total + ETH_HLEN : skb->len;
		if (from_client && !seg->options &&
		    csum_fold(csum_words(ip, sizeof(*ip) / 4)) != 0xffff)
			return SEGMENT_NOT_IP;
	} else {
		struct ipv6hdr *ip6 = data + ETH_HLEN;

		if (data + ETH_HLEN + sizeof(*ip6) + sizeof(*tcp) > end || ip6->version != 6)
			return SEGMENT_NOT_IP;
		total = bpf_ntohs(ip6->payload_len);
		total = total ? total + l4 : skb->len;
		if (ip6->nexthdr != IPPROTO_TCP) {
			/* Also the stack's own: BIG TCP has a hop-by-hop header (6.18 and before).
			 */
			seg->options = 1;
			l4 = ipv6_tcp_offset(skb, ip6->nexthdr);
			kac_opaque(l4);
			if (l4 > IPV6_TCP_OFFSET_MAX || !l4)
				return SEGMENT_NOT_TCP;
			if (bpf_skb_pull_data(skb, l4 + sizeof(*tcp)))
				return SEGMENT_NOT_IP;
			data = (void *)(long)skb->data;
			end = (void *)(long)skb->data_end;
			ip6 = data + ETH_HLEN;
		}
		kac_opaque(l4);
		l4 &= IPV6_TCP_OFFSET_MAX;
		tcp = data + l4;
		if ((void *)(ip6 + 1) > end || (void *)(tcp + 1) > end)
			return SEGMENT_NOT_IP;
		if (!port_matches(tcp, from_client, port))
			return SEGMENT_NOT_OURS;
		seg->v6 = 1;
		seg->flow = *(__u32 *)ip6;
		seg->tos = bpf_ntohl(seg->flow) >> 20;
		seg->ttl = ip6->hop_limit;
		__builtin_memcpy(from_client ? seg->key.client : seg->key.server, &ip6->saddr, 16);
		__builtin_memcpy(from_client ? seg->key.server : seg->key.client, &ip6->daddr, 16);
	}
	seg->key.client_port = from_client ? tcp->source : tcp->dest;
	seg->key.server_port = from_client ? tcp->dest : tcp->source;
	seg->seq = bpf_ntohl(tcp->seq);
	seg->ack = bpf_ntohl(tcp->ack_seq);
	seg->wnd = bpf_ntohs(tcp->window);
	seg->check = tcp->check;
	seg->flags = ((__u8 *)tcp)[13];
	seg->doff = tcp->doff * 4;
	seg->l4 = l4;
	/* The reserved bits and AE are part of what must be plain (RFC 9768). */
	if (((__u8 *)tcp)[12] & 0x0f)
		seg->options = 1;
	if (seg->doff < sizeof(*tcp) || total > skb->len || l4 + seg->doff > total)
		return SEGMENT_NOT_IP;
	seg->len = total - l4 - seg->doff;
	return SEGMENT_TCP;
}

#endif
