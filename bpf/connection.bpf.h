/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_CONNECTION_BPF_H
#define KACCEL_CONNECTION_BPF_H

#include "count.bpf.h"
#include "segment.bpf.h"
#include <bpf/bpf_core_read.h>

/* A fingerprint of a key, never 0: an element's reader checks under the lock that it still is the
 * key's (conns reuses elements at once).
 */
static __always_inline __u64 key_tag(const struct kac_conn_key *key)
{
	__u64 h = kac_mix(((__u64)key->client[0] << 32) | key->client[1],
			  ((__u64)key->client[2] << 32) | key->client[3]);

	h = kac_mix(h, ((__u64)key->server[2] << 32) | key->server[3]);
	h = kac_mix(h, ((__u64)key->client_port << 16) | key->server_port);
	return h | 1;
}

/*
 * An instance serves one network namespace, for 127.0.0.1 is in every one (S13). Where nobody said
 * which, it is that of the device: of a socket that the segment's tuple leads to in the device's
 * own namespace. bpf_get_netns_cookie() would say it outright, but TC programs have it from 6.15 on
 * only.
 */
static __always_inline void netns_learn(struct __sk_buff *skb, struct kac_config *cfg,
					const struct segment *seg)
{
	struct bpf_sock_tuple tuple = {};
	struct tcp_sock *tp;
	struct bpf_sock *sk;

	if (seg->v6) {
		__builtin_memcpy(tuple.ipv6.saddr, seg->key.client, 16);
		__builtin_memcpy(tuple.ipv6.daddr, seg->key.server, 16);
		tuple.ipv6.sport = seg->key.client_port;
		tuple.ipv6.dport = seg->key.server_port;
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		tuple.ipv4.saddr = seg->key.client[3];
		tuple.ipv4.daddr = seg->key.server[3];
		tuple.ipv4.sport = seg->key.client_port;
		tuple.ipv4.dport = seg->key.server_port;
		sk = bpf_skc_lookup_tcp(skb, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp)
		cfg->netns = BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.__sk_common.skc_net.net,
					   net_cookie);
	bpf_sk_release(sk);
}

static __always_inline __u32 in_delta_before(const struct kac_conn *c)
{
	return c->in_delta - (c->gend - c->gseq);
}

static __always_inline __u32 out_delta_before(const struct kac_conn *c)
{
	return c->out_delta - (c->rend - c->rstart);
}

/* The last reply is not wholly acknowledged (S2). */
static __always_inline int reply_outstanding(const struct kac_conn *c)
{
	return c->generation && before(c->c_ack, c->rend);
}

/* Take the connection out of play, once; *@reason gets why, for counting it outside the lock. */
static __always_inline void connection_out(struct kac_conn *c, __u32 why, __u32 *reason)
{
	if (c->flags & KAC_CONN_OUT)
		return;
	c->flags |= KAC_CONN_OUT;
	*reason = why;
}

#endif
