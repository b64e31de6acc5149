// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Readers that are as slow as a program can be between finding an object and reading its bytes:
 * whatever a writer does too early, they see.
 */
#include "maps.bpf.h"

#define CHUNK 512

char LICENSE[] SEC("license") = "Dual BSD/GPL";

__u64 wanted_hash;
struct kac_conn_key wanted_conn;
__u64 delay;
__u64 whole, torn, lost;

static long nothing(__u32 i, void *ctx)
{
	return 0;
}

/* The reply's sum, of up to KAC_REPLY_MAX bytes; as wide as bpf_csum_diff gives it. */
static __always_inline __s64 sum_reply(const struct kac_slab *slab, __u32 offset, __u32 length)
{
	__u32 sum = 0, at;

	for (at = 0; at < KAC_REPLY_MAX; at += CHUNK) {
		__u32 n = (length - at + 3) & ~3U;
		__s64 part;

		if (at >= length)
			break;
		if (n > CHUNK)
			n = CHUNK;
		kac_opaque(n);
		if (n > CHUNK)
			break;
		part = bpf_csum_diff(NULL, 0, (__be32 *)(slab->bytes + offset + at), n, sum);
		if (part < 0)
			return part;
		sum = (__u32)part;
	}
	return sum;
}

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline void read_slowly(const struct kac_object *o)
{
	__u32 offset = o->offset, length = o->length, csum = o->csum, index = o->slab;
	struct kac_slab *slab = bpf_map_lookup_elem(&arena, &index);
	__s64 sum;

	bpf_loop(delay, nothing, NULL, 0);
	if (!slab || offset > KAC_SLAB_SIZE - KAC_REPLY_MAX || !length || length > KAC_REPLY_MAX) {
		__sync_fetch_and_add(&torn, 1);
		return;
	}
	sum = sum_reply(slab, offset, length);
	if (sum < 0 || fold(sum) != csum || o->offset != offset || o->length != length)
		__sync_fetch_and_add(&torn, 1);
	else
		__sync_fetch_and_add(&whole, 1);
}

static __always_inline struct kac_object *find_by_name(__u32 *slot)
{
	struct kac_slot *leads_to = bpf_map_lookup_elem(&names, &wanted_hash);
	struct kac_object *o;

	if (!leads_to)
		return NULL;
	*slot = leads_to->slot;
	o = bpf_map_lookup_elem(&objects, slot);
	if (o && o->generation)
		return o;
	__sync_fetch_and_add(&torn, 1);
	return NULL;
}

SEC("tc")
int read_by_name(struct __sk_buff *skb)
{
	__u32 slot;
	struct kac_object *o = find_by_name(&slot);

	if (o)
		read_slowly(o);
	return 0;
}

/*
 * Answer in one run, and send the same again in the next; as that begins, the acknowledgement comes
 * in on another processor.
 */
SEC("tc")
int answer_and_send_again(struct __sk_buff *skb)
{
	struct kac_conn *conn = bpf_map_lookup_elem(&conns, &wanted_conn);
	struct kac_object *o;
	__u64 generation;
	__u32 slot;

	if (!conn)
		return 0;
	if (!conn->generation) {
		o = find_by_name(&slot);
		if (!o)
			return 0;
		generation = o->generation;
		bpf_loop(delay, nothing, NULL, 0);
		conn->slot = slot;
		conn->generation = generation;
		return 0;
	}
	slot = conn->slot;
	generation = conn->generation;
	o = bpf_map_lookup_elem(&objects, &slot);
	if (!o || o->generation != generation) {
		__sync_fetch_and_add(&lost, 1);
		conn->generation = 0;
		return 0;
	}
	conn->generation = 0;
	read_slowly(o);
	return 0;
}
