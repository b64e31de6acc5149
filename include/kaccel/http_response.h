/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_HTTP_RESPONSE_H
#define KACCEL_HTTP_RESPONSE_H

#include "http.h"

struct kac_response {
	struct kac_head head;
	__u16 status; /* 100..599 but 101 */
	__u16 pad[3];
};

static inline long kac_response_field(__u32 i, void *ctx)
{
	struct kac_walk *walk = ctx;
	struct kac_response *resp = walk->message;
	int line;

	line = kac_field_next(walk);
	if (line == KAC_LINE_FIELD) {
		if (resp->head.kind == KAC_KIND_PLAIN)
			return 0;
		kac_field_trim(walk->buf, &resp->head);
		line = kac_field_framing(walk->buf, &resp->head);
	}
	resp->head.line = line;
	return line != KAC_LINE_FIELD;
}

static __always_inline int kac_status_line(struct kac_walk *walk)
{
	struct kac_response *resp = walk->message;
	const __u8 *buf = walk->buf;
	__u64 version = kac_word_at(buf, 0), w = kac_word_at(buf, 8);
	__u32 hundreds, tens, ones, limit = resp->head.limit;

	/* "HTTP/1.1 200 ": digits and space are known by their high halves here, and exactly below.
	 */
	if (limit < 13) {
		if (kac_version_differs(version, limit))
			return KAC_LINE_BAD;
		if (limit > 8 && kac_word_head((w ^ 0x2030303020) & 0xf0f0f0f0f0, limit - 8))
			return KAC_LINE_BAD;
		return KAC_LINE_MORE;
	}
	if (version == KAC_TEXT_HTTP_10)
		resp->head.flags |= KAC_F_OLD | KAC_F_CLOSE;
	else if (version != KAC_TEXT_HTTP_11)
		return KAC_LINE_BAD;

	hundreds = (__u8)(w >> 8) - '0';
	tens = (__u8)(w >> 16) - '0';
	ones = (__u8)(w >> 24) - '0';
	if ((__u8)w != ' ' || hundreds - 1 > 4 || tens > 9 || ones > 9 || (__u8)(w >> 32) != ' ')
		return KAC_LINE_BAD;
	resp->status = hundreds * 100 + tens * 10 + ones;
	if (resp->status == 101)
		return KAC_LINE_TUNNEL;

	resp->head.end = 13;
	kac_loop(KAC_REQ_MAX / KAC_SCAN_CHUNK, kac_scan_value, walk);
	resp->head.len = resp->head.end + 2;
	return kac_line_end(buf, &resp->head);
}

/*
 * Parse the head of a response; arguments as for kac_request_parse(). Returns resp->head.verdict:
 * KAC_HEAD_FRAMED, KAC_HEAD_MORE or KAC_HEAD_OPAQUE.
 *
 * The body of a framed response ends (RFC 9112 6.3): with the head, if it answers a HEAD or has
 * KAC_F_NO_BODY; with the last chunk, if KAC_F_CHUNKED; after head.body_len bytes, if
 * KAC_F_LENGTH; else when the connection is closed.
 */
static __always_inline int kac_response_parse(const __u8 *buf, __u32 len, struct kac_response *resp)
{
	struct kac_walk walk = {.buf = buf, .message = resp};
	struct kac_head *head = &resp->head;
	__u32 line;

	__builtin_memset(resp, 0, sizeof(*resp));
	head->limit = len;
	kac_forget();
	line = kac_status_line(&walk);
	if (line == KAC_LINE_FIELD) {
		kac_loop(KAC_FIELDS_MAX + 1, kac_response_field, &walk);
		line = head->line;
	}
	if (line == KAC_LINE_EMPTY)
		line = kac_head_check(head);
	if (line == KAC_LINE_EMPTY && (resp->status < 200 || resp->status == 204)) {
		/* RFC 9110 8.6 and RFC 9112 6.1 forbid both; clients differ in whom they believe.
		 */
		if ((head->flags & KAC_F_CHUNKED) || head->body_len)
			line = KAC_LINE_BAD;
		head->flags |= KAC_F_NO_BODY;
	}
	if (line != KAC_LINE_EMPTY) {
		__builtin_memset(resp, 0, sizeof(*resp));
		kac_head_fail(head, line, len);
		return head->verdict;
	}

	if (resp->status == 304)
		head->flags |= KAC_F_NO_BODY;
	head->verdict = KAC_HEAD_FRAMED;
	return head->verdict;
}

#endif
