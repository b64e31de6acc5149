/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef VMLINUX_H
#define VMLINUX_H

/*
 * The kernel's own types, trimmed to the members that are read (bpf/vmlinux.py). CO-RE relocates
 * every access, so the layout here does not matter and a member that a kernel lacks is asked for
 * with bpf_core_field_exists().
 */
#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct netns_ipv4 {
	__u8 sysctl_ip_default_ttl;
};

struct net {
	__u64 net_cookie;
	struct netns_ipv4 ipv4;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	__s32 ifindex;
};

struct dst_entry {
	struct net_device *dev;
};

struct sock_common {
	possible_net_t skc_net;
};

struct sock {
	struct sock_common __sk_common;
	struct dst_entry *sk_dst_cache;
};

struct inet_sock {
	struct sock sk;
	__s16 uc_ttl;
	__u8 tos;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct tcp_options_received {
	__u16 tstamp_ok : 1;
	__u16 snd_wscale : 4;
	__u16 rcv_wscale : 4;
	__u32 ts_recent;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	struct tcp_options_received rx_opt;
	__u32 tsoffset;
	__u32 rcv_wnd;
	__u8 ecn_flags;
	__u8 tcp_usec_ts : 1;
	__u8 is_mptcp;
	void *md5sig_info;
	void *ao_info;
};

#pragma clang attribute pop

#endif
