/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_REPLY_BPF_H
#define KACCEL_REPLY_BPF_H

/* Turning a client's segment, in place, into what the client gets. Headers are built from scratch
 * (S9). */
#include "clock.bpf.h"
#include "object.bpf.h"
#include "splice.bpf.h"

/* What one skb can be grown to at TC ingress (SKB_MAX_ALLOC less headers), and so the longest
 * segment made. */
#define SEGMENT_MAX (15U << 10)

/* "After two timeouts without progress": segments that pass wherever IP does (S8). */
#define SMALL_SEGMENT_V4 536
#define SMALL_SEGMENT_V6 1220

/* Segments sent per request for retransmission: at most 2 MSS per timeout (S5), in small ones. */
#define REPLY_PIECES_MAX 4

#define HEADERS_MAX (ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct tcphdr) + TCP_OPTIONS_MAX)

/* bpf_csum_diff() takes 512 bytes at a time on older kernels. */
#define CSUM_BLOCK 512

/* What is to be sent; decided under the lock. */
struct reply {
	__u32 seq, ack; /* wire, host order */
	__u32 tsval, tsecr;
	__u32 at;    /* first byte of the object's reply that is sent */
	__u32 len;   /* bytes sent in all; 0: a pure acknowledgement, or a reset */
	__u32 piece; /* bytes per segment */
	__u32 date;
	__u32 slot;
	__u32 flow;
	__u64 generation;
	__u16 wnd;
	__u8 flags;
	__u8 ts;
	__u8 ttl;
	__u8 tos;
	__u8 l2;   /* smac and dmac are set; else the segment's own, swapped */
	__u8 csum; /* enum csum_state of the client's segment, and so of what is made of it */
	__u8 smac[6];
	__u8 dmac[6];
};

struct date_text {
	__u32 utc;
	__u32 csum;    /* of the text at an even offset */
	__u8 text[64]; /* KAC_DATE_LEN of them, the rest zero: any part of it may be copied */
};

/* The sum of bytes that begin at an odd offset is that at an even one, swapped (RFC 1071 2(B)). */
static __always_inline __u32 csum_at(__u32 sum, __u32 offset)
{
	return offset & 1 ? __builtin_bswap16(csum_fold(sum)) : sum;
}

/* IPv4-mapped addresses sum to IPv4's once the constant ffff is taken as the zero it is. */
static __always_inline __u64 csum_pseudo(const struct kac_conn_key *key, __u32 tcp_len)
{
	return csum_words(key->client, 4) + csum_words(key->server, 4) + bpf_htons(IPPROTO_TCP) +
	       bpf_htons(tcp_len & 0xffff);
}

__weak __noinline int date_update(struct date_text *d, __u32 utc)
{
	if (!d)
		return 0;
	clock_format(utc, d->text);
	d->utc = utc;
	d->csum = csum_fold(csum_words(d->text, 32 / 4));
	return 0;
}

struct csum_buffer {
	__u8 bytes[CSUM_BLOCK + 4];
};

/*
 * Ones' complement sum, folded, of @len bytes at @offset of the packet, by way of @buf. Returns -1
 * when they cannot be read. Global functions are verified once, whoever calls them.
 */
__weak __noinline int csum_packet(struct __sk_buff *skb, struct csum_buffer *buf, __u32 offset,
				  __u32 len)
{
	__u32 i, blocks = len / CSUM_BLOCK, tail = len % CSUM_BLOCK;
	__s64 sum = 0;

	if (!buf || len > SEGMENT_MAX)
		return -1;
	for (i = 0; i < SEGMENT_MAX / CSUM_BLOCK; i++) {
		if (i >= blocks)
			break;
		if (bpf_skb_load_bytes(skb, offset + i * CSUM_BLOCK, buf->bytes, CSUM_BLOCK))
			return -1;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)buf->bytes, CSUM_BLOCK, sum);
	}
	if (kac_in_range(&tail, CSUM_BLOCK - 1)) {
		*(__u32 *)&buf->bytes[tail & ~3U] = 0;
		if (bpf_skb_load_bytes(skb, offset + blocks * CSUM_BLOCK, buf->bytes, tail))
			return -1;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)buf->bytes, (tail + 3) & ~3U, sum);
	}
	return csum_fold(sum);
}

/* What is known of a segment's checksum. */
enum csum_state {
	CSUM_WRONG,
	CSUM_UNKNOWN, /* a fragment, or too long to be summed here: translated, and believed nothing
		       */
	CSUM_GOOD,    /* verified by the device, or by us */
	CSUM_COMPLETE, /* verified, and the device's own sum of the packet stands in the skb */
	CSUM_PARTIAL, /* never was on a wire: the check field holds the pseudo-header's sum alone */
};

/*
 * A program cannot read skb->ip_summed, but the helpers that change it tell: raising the level
 * makes CHECKSUM_NONE the CHECKSUM_UNNECESSARY that a query then finds, and only CHECKSUM_COMPLETE
 * takes an update. What was NONE stays raised when it is found right, and is reset when not.
 */
static __always_inline int csum_verify(struct __sk_buff *skb, const struct segment *seg,
				       struct csum_buffer *buf)
{
	__u32 tcp_len = seg->doff + seg->len;
	int sum, none = 0;

	if (bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY) >= 0)
		return CSUM_GOOD;
	if (seg->options || tcp_len > SEGMENT_MAX)
		return CSUM_UNKNOWN;
	bpf_csum_level(skb, BPF_CSUM_LEVEL_INC);
	if (bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY) >= 0)
		none = 1;
	else if (bpf_csum_update(skb, 0) < 0)
		return CSUM_PARTIAL;
	sum = csum_packet(skb, buf, seg->l4, tcp_len);
	if (sum >= 0 && csum_fold(csum_pseudo(&seg->key, tcp_len) + sum) == 0xffff)
		return none ? CSUM_GOOD : CSUM_COMPLETE;
	if (none)
		bpf_csum_level(skb, BPF_CSUM_LEVEL_RESET);
	return CSUM_WRONG;
}

/* The segment's Ethernet addresses in @hdr, for a packet that goes back. */
static __always_inline void header_ethernet(__u8 *hdr, const struct reply *r)
{
	struct ethhdr *eth = (void *)hdr;
	__u8 mac[6];

	if (r->l2) {
		__builtin_memcpy(eth->h_dest, r->dmac, 6);
		__builtin_memcpy(eth->h_source, r->smac, 6);
		return;
	}
	__builtin_memcpy(mac, eth->h_dest, 6);
	__builtin_memcpy(eth->h_dest, eth->h_source, 6);
	__builtin_memcpy(eth->h_source, mac, 6);
}

/* All headers but what differs from segment to segment. @hdr begins with the client's Ethernet
 * header. */
static __always_inline void header_build(__u8 *hdr, const struct segment *seg,
					 const struct reply *r)
{
	struct tcphdr *tcp;

	header_ethernet(hdr, r);
	if (seg->v6) {
		struct ipv6hdr *ip6 = (void *)(hdr + ETH_HLEN);

		*(__u32 *)ip6 = r->flow ? r->flow : bpf_htonl(6U << 28 | (__u32)r->tos << 20);
		ip6->nexthdr = IPPROTO_TCP;
		ip6->hop_limit = r->ttl;
		__builtin_memcpy(&ip6->saddr, seg->key.server, 16);
		__builtin_memcpy(&ip6->daddr, seg->key.client, 16);
		tcp = (void *)(ip6 + 1);
	} else {
		struct iphdr *ip = (void *)(hdr + ETH_HLEN);

		*(__u8 *)ip = 0x45;
		ip->tos = r->tos;
		ip->id = 0; /* atomic: never fragmented (RFC 6864 4.1) */
		ip->frag_off = bpf_htons(IP_DF);
		ip->ttl = r->ttl;
		ip->protocol = IPPROTO_TCP;
		ip->saddr = seg->key.server[3];
		ip->daddr = seg->key.client[3];
		tcp = (void *)(ip + 1);
	}
	tcp->source = seg->key.server_port;
	tcp->dest = seg->key.client_port;
	tcp->ack_seq = bpf_htonl(r->ack);
	((__u8 *)tcp)[12] = (sizeof(*tcp) + (r->ts ? TCP_TS_BYTES : 0)) << 2;
	tcp->window = bpf_htons(r->wnd);
	tcp->urg_ptr = 0;
	if (r->ts) {
		__u32 *opt = (void *)(tcp + 1);

		opt[0] = bpf_htonl(TCP_TS_HEAD);
		opt[1] = bpf_htonl(r->tsval);
		opt[2] = bpf_htonl(r->tsecr);
	}
}

/* Lengths, sequence number and checksums of one segment; @payload is the sum of its payload. */
static __always_inline void header_finish(__u8 *hdr, const struct segment *seg,
					  const struct reply *r, __u32 seq, __u32 len, __u8 flags,
					  __u32 payload)
{
	__u32 tcp_len = sizeof(struct tcphdr) + (r->ts ? TCP_TS_BYTES : 0) + len;
	struct tcphdr *tcp;
	__u64 sum;

	if (seg->v6) {
		struct ipv6hdr *ip6 = (void *)(hdr + ETH_HLEN);

		ip6->payload_len = bpf_htons(tcp_len);
		tcp = (void *)(ip6 + 1);
	} else {
		struct iphdr *ip = (void *)(hdr + ETH_HLEN);
		__u16 *w = (void *)ip;
		__u32 s = 0, i;

		ip->tot_len = bpf_htons(sizeof(*ip) + tcp_len);
		ip->check = 0;
#pragma unroll
		for (i = 0; i < sizeof(*ip) / 2; i++)
			s += w[i];
		ip->check = ~csum_fold(s);
		tcp = (void *)(ip + 1);
	}
	tcp->seq = bpf_htonl(seq);
	((__u8 *)tcp)[13] = flags;
	tcp->check = 0;
	sum = csum_pseudo(&seg->key, tcp_len);
	if (r->csum == CSUM_PARTIAL) {
		tcp->check = csum_fold(sum);
		return;
	}
	{
		const __u16 *w = (const void *)tcp;
		__u32 i;

#pragma unroll
		for (i = 0; i < sizeof(*tcp) / 2; i++)
			sum += w[i];
		if (r->ts) {
#pragma unroll
			for (i = 0; i < TCP_TS_BYTES / 2; i++)
				sum += w[sizeof(*tcp) / 2 + i];
		}
	}
	tcp->check = ~csum_fold(sum + payload);
}

#endif
