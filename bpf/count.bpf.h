/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_COUNT_BPF_H
#define KACCEL_COUNT_BPF_H

#include "maps.bpf.h"

static __always_inline void count_add(__u32 counter, __u64 n)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += n;
}

static __always_inline void count(__u32 counter)
{
	count_add(counter, 1);
}

#endif
