// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/* The head parsers in the kernel: what follows the Ethernet header of a test packet is parsed. */
#include <linux/bpf.h>

#include <kaccel/http_response.h>

#define FRAME_HEAD 14

struct scratch {
	__u8 buf[KAC_REQ_MAX + KAC_REQ_PAD];
	struct kac_request req;
	struct kac_response resp;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline struct scratch *load(struct __sk_buff *skb, __u32 *len)
{
	__u32 zero = 0, last = skb->len - FRAME_HEAD - 1;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &zero);

	if (!s || last >= KAC_REQ_MAX)
		return NULL;
	/* Linux 6.1 does not take the lower bound from a comparison with zero. */
	last &= KAC_REQ_MAX - 1;
	kac_opaque(last);
	if (bpf_skb_load_bytes(skb, FRAME_HEAD, s->buf, last + 1))
		return NULL;
	*len = last + 1;
	return s;
}

/* Global functions, as in the programs that answer: verified once and by themselves. */
__noinline int request(struct scratch *s, __u32 len)
{
	if (!s)
		return 0;
	return kac_request_parse(s->buf, len, &s->req);
}

__noinline int response(struct scratch *s, __u32 len)
{
	if (!s)
		return 0;
	return kac_response_parse(s->buf, len, &s->resp);
}

/* The two that parse, without the parsing: their time is to be subtracted. */
SEC("tc")
int load_only(struct __sk_buff *skb)
{
	__u32 len;

	return !load(skb, &len);
}

SEC("tc")
int parse_request(struct __sk_buff *skb)
{
	struct scratch *s;
	__u32 len;

	s = load(skb, &len);
	if (!s)
		return 0;
	return request(s, len);
}

SEC("tc")
int parse_response(struct __sk_buff *skb)
{
	struct scratch *s;
	__u32 len;

	s = load(skb, &len);
	if (!s)
		return 0;
	return response(s, len);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
