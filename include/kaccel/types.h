/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_TYPES_H
#define KACCEL_TYPES_H

/* What the headers of include/kaccel need in both worlds: BPF programs and user space. */
#include <linux/types.h>

#ifdef __bpf__
#include <bpf/bpf_helpers.h>
#else
#include <string.h>
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#endif

/*
 * Keep a bound that was just established: without it the compiler may prove a mask redundant,
 * remove it, and leave the verifier without the bound.
 */
#ifdef __bpf__
#define kac_opaque(x) asm volatile("" : "+r"(x))
#else
#define kac_opaque(x) ((void)0)
#endif

/*
 * Whether *@n is in 1..@max, in a form from which the verifier of 6.1 learns both bounds: there a
 * comparison with zero teaches it nothing.
 */
static __always_inline int kac_in_range(__u32 *n, __u32 max)
{
	__u32 less = *n - 1;

	kac_opaque(less);
	if (less >= max)
		return 0;
	*n = less + 1;
	return 1;
}

#endif
