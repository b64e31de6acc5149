// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The wire between a test's client and its server: attached at TC ingress of both its devices, it
 * moves frames from one to the other and loses, doubles, holds or damages those that a rule names.
 */
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lossy.h"

#define FLAGS_FIN_SYN 0x03

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 client_ifindex;
const volatile __u32 server_ifindex;

struct flow {
	__u32 dir;
	__u32 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LOSSY_RULES);
	__type(key, __u32);
	__type(value, struct lossy_rule);
} rules SEC(".maps");

/* The highest sequence number seen, by direction and the client's port. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct flow);
	__type(value, __u32);
} highest SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} held SEC(".maps");

struct segment {
	__u32 dir;
	__u32 port;
	__u32 ip_off;
	__u32 tcp_off;
	__u32 data_off;
	__u32 data_len;
	__u32 flags;
	__u32 seen;
	__u8 prefix[LOSSY_PREFIX_MAX];
};

static __always_inline int read_segment(struct __sk_buff *skb, struct segment *s)
{
	__u32 ip_len, end;
	struct tcphdr tcp;
	__u16 proto;

	if (bpf_skb_load_bytes(skb, offsetof(struct ethhdr, h_proto), &proto, sizeof(proto)))
		return -1;
	s->ip_off = sizeof(struct ethhdr);
	if (proto == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, s->ip_off, &ip, sizeof(ip)) ||
		    ip.protocol != IPPROTO_TCP || (ip.frag_off & bpf_htons(0x1fff)))
			return -1;
		s->tcp_off = s->ip_off + ip.ihl * 4;
		ip_len = bpf_ntohs(ip.tot_len);
	} else if (proto == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip6;

		if (bpf_skb_load_bytes(skb, s->ip_off, &ip6, sizeof(ip6)) ||
		    ip6.nexthdr != IPPROTO_TCP)
			return -1;
		s->tcp_off = s->ip_off + sizeof(ip6);
		ip_len = sizeof(ip6) + bpf_ntohs(ip6.payload_len);
	} else {
		return -1;
	}
	if (bpf_skb_load_bytes(skb, s->tcp_off, &tcp, sizeof(tcp)))
		return -1;
	s->data_off = s->tcp_off + tcp.doff * 4;
	end = s->ip_off + ip_len;
	s->data_len = end > s->data_off ? end - s->data_off : 0;
	s->flags = ((__u8 *)&tcp)[13];
	s->port = bpf_ntohs(s->dir == LOSSY_TO_SERVER ? tcp.source : tcp.dest);
	__builtin_memset(s->prefix, 0, sizeof(s->prefix));
	if (s->data_len >= sizeof(s->prefix))
		bpf_skb_load_bytes(skb, s->data_off, s->prefix, sizeof(s->prefix));

	s->seen = LOSSY_ANY;
	end = bpf_ntohl(tcp.seq) + s->data_len + tcp.syn + tcp.fin;
	if (s->data_len || (s->flags & FLAGS_FIN_SYN)) {
		struct flow key = {.dir = s->dir, .port = s->port};
		__u32 *high = bpf_map_lookup_elem(&highest, &key);

		if (high && !tcp.syn && (__s32)(end - *high) <= 0) {
			s->seen = LOSSY_AGAIN;
		} else {
			s->seen = LOSSY_NEW;
			bpf_map_update_elem(&highest, &key, &end, BPF_ANY);
		}
	}
	return 0;
}

static __always_inline int matches(const struct lossy_rule *r, const struct segment *s)
{
	__u32 i;

	if (r->action == LOSSY_OFF || r->dir != s->dir)
		return 0;
	if ((s->flags & r->flags_mask) != r->flags_value)
		return 0;
	if (s->data_len < r->len_min || s->data_len > r->len_max)
		return 0;
	if ((r->port && r->port != s->port) || (r->seen && r->seen != s->seen))
		return 0;
	if (r->prefix_len && s->data_len < LOSSY_PREFIX_MAX)
		return 0;
	for (i = 0; i < LOSSY_PREFIX_MAX; i++)
		if (i < r->prefix_len && r->prefix[i] != s->prefix[i])
			return 0;
	return 1;
}

/* Whether the @n-th match is one to act on. */
static __always_inline int lucky(const struct lossy_rule *r, __u64 n)
{
	__u64 z;

	if (n < r->skip || (r->count && n >= (__u64)r->skip + r->count))
		return 0;
	if (!r->chance)
		return 1;
	z = n * 0x9e3779b97f4a7c15ULL + r->seed; /* splitmix64 */
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (__u32)(z >> 32) < r->chance;
}

static __always_inline int hold(struct __sk_buff *skb, const struct lossy_rule *r)
{
	__u32 len = skb->len;
	struct lossy_held *h;

	if (len < ETH_HLEN || len > LOSSY_FRAME_MAX)
		return -1;
	h = bpf_ringbuf_reserve(&held, sizeof(*h), 0);
	if (!h)
		return -1;
	h->dir = r->dir;
	h->len = len;
	h->hold_ms = r->hold_ms;
	if (bpf_skb_load_bytes(skb, 0, h->frame, len)) {
		bpf_ringbuf_discard(h, 0);
		return -1;
	}
	bpf_ringbuf_submit(h, 0);
	return 0;
}

static __always_inline void flip(struct __sk_buff *skb, const struct lossy_rule *r,
				 const struct segment *s)
{
	__u32 at = r->offset;
	__u8 byte;

	if (r->base == LOSSY_BASE_IP)
		at += s->ip_off;
	else if (r->base == LOSSY_BASE_TCP)
		at += s->tcp_off;
	else
		at += s->data_off;
	if (bpf_skb_load_bytes(skb, at, &byte, 1))
		return;
	byte ^= 1;
	bpf_skb_store_bytes(skb, at, &byte, 1, 0);
}

SEC("tc")
int wire(struct __sk_buff *skb)
{
	struct segment s = {};
	__u32 i, out;

	if (skb->ifindex == client_ifindex) {
		s.dir = LOSSY_TO_SERVER;
		out = server_ifindex;
	} else {
		s.dir = LOSSY_TO_CLIENT;
		out = client_ifindex;
	}
	if (read_segment(skb, &s))
		return bpf_redirect(out, 0);

	for (i = 0; i < LOSSY_RULES; i++) {
		__u32 key = i;
		struct lossy_rule *r = bpf_map_lookup_elem(&rules, &key);

		if (!r || !matches(r, &s))
			continue;
		if (!lucky(r, __sync_fetch_and_add(&r->matched, 1)))
			continue;
		__sync_fetch_and_add(&r->acted, 1);
		switch (r->action) {
		case LOSSY_DUP:
			bpf_clone_redirect(skb, out, 0);
			break;
		case LOSSY_FLIP:
			flip(skb, r, &s);
			break;
		case LOSSY_HOLD:
			/* A frame too long to hold is dropped: the test sees it as a loss. */
			hold(skb, r);
			return TC_ACT_SHOT;
		default:
			return TC_ACT_SHOT;
		}
		break;
	}
	return bpf_redirect(out, 0);
}
