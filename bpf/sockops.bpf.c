// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * sockops: the life of a connection. An entry is made when a socket of the attached cgroup is
 * established passively, and ends with it. No entry, no answer (P1).
 */
#include "connection.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SOL_TCP_AF_INET	 2
#define SOL_TCP_AF_INET6 10

#define ECN_MODE_ACCECN (1U << 4) /* TCP_ECN_MODE_ACCECN, tcp.h of 6.18 */

/* How long a closed connection's numbers may still be on the wire: 2 MSL as Linux has it
 * (TCP_TIMEWAIT_LEN). */
#define TIME_WAIT_NS (60ULL * 1000000000)

/* A socket that is aborted sends a RST after it says that it is closed, and nothing else. */
#define ABORT_NS (1ULL * 1000000000)

/* CLOCK_MONOTONIC of time.h, which does not compile for BPF. */
#define KAC_CLOCK_MONOTONIC 1

static __always_inline void sock_key(struct bpf_sock_ops *ops, struct kac_conn_key *key)
{
	if (ops->family == SOL_TCP_AF_INET) {
		__u32 remote = ops->remote_ip4, local = ops->local_ip4;

		/* Loads from the context stay loads from the context. */
		kac_opaque(remote);
		kac_opaque(local);
		key_map_v4(key->client, remote);
		key_map_v4(key->server, local);
	} else {
		key->client[0] = ops->remote_ip6[0];
		key->client[1] = ops->remote_ip6[1];
		key->client[2] = ops->remote_ip6[2];
		key->client[3] = ops->remote_ip6[3];
		key->server[0] = ops->local_ip6[0];
		key->server[1] = ops->local_ip6[1];
		key->server[2] = ops->local_ip6[2];
		key->server[3] = ops->local_ip6[3];
	}
	key->client_port = bpf_htons(bpf_ntohl(ops->remote_port));
	key->server_port = bpf_htons(ops->local_port);
}

/* MPTCP, TCP-MD5, TCP-AO and AccECN cover or count what we would change (S9). */
static __always_inline int sock_refused(struct tcp_sock *tp)
{
	if (bpf_core_field_exists(tp->is_mptcp) && BPF_CORE_READ_BITFIELD_PROBED(tp, is_mptcp))
		return 1;
	if (bpf_core_field_exists(tp->md5sig_info) && BPF_CORE_READ(tp, md5sig_info))
		return 1;
	if (bpf_core_field_exists(tp->ao_info) && BPF_CORE_READ(tp, ao_info))
		return 1;
	if (BPF_CORE_READ(tp, ecn_flags) & ECN_MODE_ACCECN)
		return 1;
	return 0;
}

/* Everything the socket knows that a reply needs. */
static __always_inline int sock_read(struct bpf_sock_ops *ops, struct kac_conn *c)
{
	struct bpf_sock *sk = ops->sk;
	struct tcp_sock *tp;
	__s16 ttl;

	if (!sk)
		return -1;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || sock_refused(tp))
		return -1;
	c->ifindex = BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.sk_dst_cache, dev, ifindex);
	if (!c->ifindex)
		return -1;
	c->c_wscale = BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.snd_wscale);
	c->k_wscale = BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.rcv_wscale);
	if (BPF_CORE_READ_BITFIELD_PROBED(tp, rx_opt.tstamp_ok)) {
		c->flags |= KAC_CONN_TS;
		c->ts_offset = BPF_CORE_READ(tp, tsoffset);
		c->ts_recent = BPF_CORE_READ(tp, rx_opt.ts_recent);
		if (bpf_core_field_exists(tp->tcp_usec_ts) &&
		    BPF_CORE_READ_BITFIELD_PROBED(tp, tcp_usec_ts))
			c->flags |= KAC_CONN_TS_US;
		c->ts_sent =
			(__u32)(bpf_ktime_get_ns() / (c->flags & KAC_CONN_TS_US ? 1000 : 1000000)) +
			c->ts_offset;
	}
	c->wnd = BPF_CORE_READ(tp, rcv_wnd) >> c->k_wscale;
	c->tos = BPF_CORE_READ(tp, inet_conn.icsk_inet.tos) & ~INET_ECN_MASK;
	ttl = BPF_CORE_READ(tp, inet_conn.icsk_inet.uc_ttl);
	c->ttl = ttl > 0 ? ttl
			 : BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.__sk_common.skc_net.net,
					 ipv4.sysctl_ip_default_ttl);
	return 0;
}

/*
 * Begin with a first request that was ahead of the establishment (kac_early). The entry stands
 * already: a note that comes after this look finds it.
 */
static __always_inline void early_take(const struct kac_conn_key *key, struct kac_conn *c)
{
	struct kac_early *noted = bpf_map_lookup_elem(&early, key), e;
	__u32 out = 0;

	if (!noted)
		return;
	e = *noted;
	bpf_spin_lock(&c->lock);
	if (e.seq != c->c_next || !e.known || c->pending) {
		connection_out(c, KAC_OUT_FIRST, &out);
	} else {
		c->c_next = e.end;
		c->pending = 1;
		c->pending_head = e.head;
		if (e.tsval)
			c->ts_recent = e.tsval;
	}
	bpf_spin_unlock(&c->lock);
	bpf_map_delete_elem(&early, key);
	if (out)
		count(out);
}

/* An element that is given up must not be taken for its connection's by who still holds it. */
static __always_inline void connection_forget(struct kac_conn *c)
{
	bpf_spin_lock(&c->lock);
	c->tag = 0;
	bpf_spin_unlock(&c->lock);
}

/* Link-local addresses mean something else on each link, and keys have no scope. */
static __always_inline int is_link_local(const __u32 addr[4])
{
	return (addr[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

static __always_inline void connection_begin(struct bpf_sock_ops *ops, const struct kac_config *cfg)
{
	struct kac_conn_key key = {};
	struct kac_conn c = {}, *made;

	if ((cfg->port && ops->local_port != cfg->port) || (cfg->flags & KAC_CONFIG_DRAINING))
		return;
	if (bpf_get_netns_cookie(ops) != cfg->netns) {
		count(KAC_CNT_NOT_ENROLLED);
		return;
	}
	sock_key(ops, &key);
	if (is_link_local(key.client) || sock_read(ops, &c)) {
		count(KAC_CNT_NOT_ENROLLED);
		return;
	}
	if (key.server[0] | key.server[1] | (key.server[2] ^ bpf_htonl(0xffff)))
		c.flags |= KAC_CONN_V6;
	c.tag = key_tag(&key);
	c.c_next = ops->rcv_nxt;
	c.gseq = ops->rcv_nxt;
	c.gend = ops->rcv_nxt;
	c.k_ack = ops->rcv_nxt;
	c.k_next = ops->snd_nxt;
	c.k_una = ops->snd_nxt;
	c.k_prev = ops->snd_nxt;
	c.c_ack = ops->snd_nxt;
	c.rstart = ops->snd_nxt;
	c.rend = ops->snd_nxt;
	c.mss = ops->mss_cache;
	c.rtt_us = ops->srtt_us >> 3;
	c.origin_ns = bpf_ktime_get_ns();
	if (ops->bytes_received)
		c.flags |= KAC_CONN_OUT;
	made = bpf_map_lookup_elem(&conns, &key);
	if (made)
		connection_forget(made);
	if (bpf_map_update_elem(&conns, &key, &c, BPF_ANY)) {
		count(KAC_CNT_FULL);
		return;
	}
	made = bpf_map_lookup_elem(&conns, &key);
	if (made)
		early_take(&key, made);
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	count(KAC_CNT_ENROLLED);
}

/* Runs linger_ns after the close, and again until that long passed without a segment. */
static int connection_expire(void *map, struct kac_conn_key *key, struct kac_conn *c)
{
	__u64 now = bpf_ktime_get_ns();

	if (!(c->flags & KAC_CONN_CLOSED))
		return 0;
	if (now - c->seen_ns < c->linger_ns) {
		bpf_timer_start(&c->end, c->linger_ns - (now - c->seen_ns), 0);
		return 0;
	}
	/* As connection_forget(), without the lock: 6.1 lets no timer take one. */
	c->tag = 0;
	bpf_map_delete_elem(map, key);
	return 0;
}

/*
 * The socket is closed, or goes to TIME_WAIT or FIN_WAIT2, where the kernel still answers with
 * numbers of its own. A connection that was never answered needs no translation; nor does one whose
 * last state says that both FINs are acknowledged, for what the kernel answers without a socket is
 * made of the client's numbers.
 */
static __always_inline void connection_end(struct bpf_sock_ops *ops)
{
	struct kac_conn_key key = {};
	int old = ops->args[0], spliced;
	struct kac_conn *c;

	sock_key(ops, &key);
	c = bpf_map_lookup_elem(&conns, &key);
	if (!c)
		return;
	bpf_spin_lock(&c->lock);
	c->flags |= KAC_CONN_CLOSED | KAC_CONN_OUT;
	spliced = (c->in_delta || c->out_delta) && old != BPF_TCP_LAST_ACK;
	if (!spliced)
		c->tag = 0;
	bpf_spin_unlock(&c->lock);
	count(KAC_CNT_ENDED);
	if (!spliced) {
		bpf_map_delete_elem(&conns, &key);
		return;
	}
	c->seen_ns = bpf_ktime_get_ns();
	c->linger_ns =
		old == BPF_TCP_ESTABLISHED || old == BPF_TCP_CLOSE_WAIT ? ABORT_NS : TIME_WAIT_NS;
	if (bpf_timer_init(&c->end, &conns, KAC_CLOCK_MONOTONIC) ||
	    bpf_timer_set_callback(&c->end, connection_expire))
		return;
	bpf_timer_start(&c->end, c->linger_ns, 0);
}

SEC("sockops")
int kaccel_sockops(struct bpf_sock_ops *ops)
{
	struct kac_config *cfg = config_get();

	if (!cfg)
		return 1;
	if (ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		connection_begin(ops, cfg);
	else if (ops->op == BPF_SOCK_OPS_STATE_CB && ops->args[1] == BPF_TCP_CLOSE)
		connection_end(ops);
	return 1;
}
