// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A user's own filter, as far as the tests need one: marks every packet. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define MARK 7

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int mark(struct __sk_buff *skb)
{
	skb->mark = MARK;
	return TC_ACT_OK;
}
