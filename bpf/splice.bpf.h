/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_SPLICE_BPF_H
#define KACCEL_SPLICE_BPF_H

/*
 * The mapping between the two number spaces (S3): piecewise, monotone, clamped at the holes. All of
 * it runs under the connection's lock and calls nothing.
 */
#include "connection.bpf.h"

/* Holes older than this many bytes no longer concern any segment; they are moved along before the
 * 2^31 wrap. */
#define SPLICE_STALE (1U << 28)

/* Keep the reference points near, so that before() stays right on connections of many gigabytes. */
static __always_inline void splice_age(struct kac_conn *c)
{
	if (c->c_next - c->gend > 2 * SPLICE_STALE) {
		c->gend = c->c_next - SPLICE_STALE;
		c->gseq = c->gend;
	}
	if (c->c_ack - c->rend > 2 * SPLICE_STALE && !before(c->c_ack, c->rend)) {
		c->rend = c->c_ack - SPLICE_STALE;
		c->rstart = c->rend;
	}
}

/*
 * Client's sequence number to the kernel's. What reaches into the hole or behind it is shifted as a
 * whole: before the hole's end it is old to the kernel, which trims data and answers a keepalive.
 * An acknowledgement from just before the GET stands at the splice point.
 */
static __always_inline __u32 seq_to_kernel(const struct kac_conn *c, __u32 seq, __u32 len)
{
	if (after(seq + len, c->gseq))
		return seq - c->in_delta;
	return seq - in_delta_before(c);
}

/* Client's acknowledgement to the kernel's; inside the hole it is the splice point. */
static __always_inline __u32 ack_to_kernel(const struct kac_conn *c, __u32 ack)
{
	if (!before(ack, c->rend))
		return ack - c->out_delta;
	if (before(ack, c->rstart))
		return ack - out_delta_before(c);
	return c->rstart - out_delta_before(c);
}

/* The window field beside ack_to_kernel(@ack), so that the right edge stays where the client put
 * it. */
static __always_inline __u16 wnd_to_kernel(const struct kac_conn *c, __u32 ack, __u16 wnd)
{
	__u32 bytes = (__u32)wnd << (c->c_wscale & 15);
	__u32 edge = ack + bytes, in_hole;

	if (!before(ack, c->rend) || !after(edge, c->rstart))
		return wnd;
	in_hole = before(ack, c->rstart) ? c->rstart : ack;
	in_hole = (before(edge, c->rend) ? edge : c->rend) - in_hole;
	return (bytes - in_hole) >> (c->c_wscale & 15);
}

/*
 * Kernel's sequence number to the client's. Returns -1 for bytes that no single offset is right
 * for: a segment that spans the splice point, or a retransmission from before the last two, whose
 * offset is forgotten (S1). The client has acknowledged both.
 */
static __always_inline int seq_to_client(const struct kac_conn *c, __u32 seq, __u32 len, __u32 *out)
{
	__u32 splice = c->rend - c->out_delta;

	if (!before(seq, splice)) {
		*out = seq + c->out_delta;
		return 0;
	}
	if (len && (after(seq + len, splice) || before(seq, c->k_prev)))
		return -1;
	*out = seq + out_delta_before(c);
	return 0;
}

/* A kernel number of the client's bytes (an acknowledgement, or the edge of a SACK block) to the
 * client's. */
static __always_inline __u32 ack_to_client(const struct kac_conn *c, __u32 ack)
{
	__u32 splice = c->gend - c->in_delta;

	return ack + (before(ack, splice) ? in_delta_before(c) : c->in_delta);
}

/* Nothing that leaves may acknowledge more than this while a reply is outstanding (S2). */
static __always_inline int ack_clamp(struct kac_conn *c, __u32 *ack)
{
	if (!reply_outstanding(c) || !after(*ack, c->gseq))
		return 0;
	*ack = c->gseq;
	c->flags |= KAC_CONN_CLAMPED;
	return 1;
}

#endif
