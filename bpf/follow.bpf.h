/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_FOLLOW_BPF_H
#define KACCEL_FOLLOW_BPF_H

/*
 * Following what passes, so that it is known when the connection is quiet (P2, S6): how many
 * requests the origin still owes an answer, and where the answer it is giving ends.
 */
#include "connection.bpf.h"
#include <kaccel/http.h>
#include <kaccel/http_response.h>

/* Responses that one segment of the origin may begin, before the connection is given up. */
#define FOLLOW_HEADS_MAX 4

/* New bytes of the client that are passed to the origin. Under the lock. */
static __always_inline void follow_request(struct kac_conn *c, const struct kac_request *req,
					   __u32 len, __u32 *out)
{
	__u64 rest;

	if (c->request_left) {
		if (len > c->request_left) {
			connection_out(c, KAC_OUT_REQUEST, out);
			return;
		}
		c->request_left -= len;
		return;
	}
	if ((req->head.verdict != KAC_HEAD_ANSWERABLE && req->head.verdict != KAC_HEAD_FRAMED) ||
	    (req->head.flags & KAC_F_CHUNKED) || req->head.len > len) {
		connection_out(c, KAC_OUT_REQUEST, out);
		return;
	}
	rest = len - req->head.len;
	if (rest > req->head.body_len) {
		connection_out(c, KAC_OUT_REQUEST, out);
		return;
	}
	if (c->pending >= KAC_PENDING_MAX) {
		connection_out(c, KAC_OUT_DEPTH, out);
		return;
	}
	if (req->head.flags & (KAC_F_CLOSE | KAC_F_UPGRADE))
		connection_out(c, KAC_OUT_CLOSE, out);
	c->request_left = req->head.body_len - rest;
	if (req->method == KAC_METHOD_HEAD)
		c->pending_head |= 1U << (c->pending & (KAC_PENDING_MAX - 1));
	c->pending++;
}

/* What a segment of the origin does to the connection; filled in before the lock, applied under it.
 */
struct follow {
	__u64 left;  /* of the response that is under way after it */
	__u32 begun; /* responses that began in it */
	__u32 out;   /* KAC_OUT_*: the connection goes out of play; else 0 */
};

static __always_inline void follow_commit(struct kac_conn *c, const struct follow *f, __u32 *out)
{
	c->response_left = f->left;
	c->pending -= f->begun;
	c->pending_head = f->begun < KAC_PENDING_MAX ? c->pending_head >> f->begun : 0;
	if (f->out)
		connection_out(c, f->out, out);
}

#endif
