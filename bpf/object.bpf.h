/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_OBJECT_BPF_H
#define KACCEL_OBJECT_BPF_H

/* Looking up what a request names. Runs within the RCU section that the store's writer waits for.
 */
#include "maps.bpf.h"
#include <kaccel/http.h>

static __always_inline struct kac_object *object_at(__u32 slot)
{
	return bpf_map_lookup_elem(&objects, &slot);
}

static __always_inline struct kac_object *object_named(const __u8 *buf,
						       const struct kac_request *req,
						       __u64 authority, __u64 target, int any,
						       __u32 *slot)
{
	struct kac_name name = {.hash = kac_name_hash(authority, target)};
	struct kac_slot *leads_to = bpf_map_lookup_elem(&names, &name);
	struct kac_object *obj;

	if (!leads_to)
		return NULL;
	*slot = leads_to->slot;
	obj = object_at(*slot);
	if (!obj || !obj->generation || obj->target_len != req->target_len)
		return NULL;
	if (!kac_same(buf, req->target_off, req->target_len, KAC_TARGET_MAX, 0, obj->target))
		return NULL;
	if (any)
		return obj->authority_len == 1 && obj->authority[0] == '*' ? obj : NULL;
	if (obj->authority_len != req->host_len ||
	    !kac_same(buf, req->host_off, req->host_len, KAC_AUTHORITY_MAX, 1, obj->authority))
		return NULL;
	return obj;
}

/* The object of the request's authority and target, else that of any authority, else NULL. */
static __always_inline struct kac_object *object_lookup(const struct kac_config *cfg,
							const __u8 *buf,
							const struct kac_request *req, __u32 *slot)
{
	struct kac_object *obj = NULL;
	__u64 target, seed = cfg->seed;

	if (!cfg->exact && !cfg->fallback)
		return NULL;
	target = kac_hash(buf, req->target_off, req->target_len, KAC_TARGET_MAX, 0, seed);
	if (cfg->exact)
		obj = object_named(
			buf, req,
			kac_hash(buf, req->host_off, req->host_len, KAC_AUTHORITY_MAX, 1, seed),
			target, 0, slot);
	if (!obj && cfg->fallback)
		obj = object_named(buf, req, kac_hash_any(seed), target, 1, slot);
	return obj;
}

#endif
