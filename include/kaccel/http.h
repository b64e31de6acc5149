/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_HTTP_H
#define KACCEL_HTTP_H

/*
 * The heads of HTTP/1.1 messages (RFC 9112, RFC 9110): one parser for BPF programs and user space.
 * This file has requests and what both directions share; http_response.h has responses.
 */
#include "counters.h"
#include "key.h"

enum kac_verdict {
	KAC_HEAD_ANSWERABLE = 1, /* an unambiguous GET whose headers change nothing (P8) */
	KAC_HEAD_FRAMED, /* valid, and where it ends is known; a request: but not ours to answer */
	KAC_HEAD_MORE,	 /* nothing wrong so far, but its end has not come yet */
	KAC_HEAD_OPAQUE, /* malformed, ambiguous or too long: the connection cannot be followed */
};

enum kac_method {
	KAC_METHOD_OTHER,
	KAC_METHOD_GET,
	KAC_METHOD_HEAD, /* its response has no body */
};

/* What the head says of the message and the connection: kac_head.flags. */
#define KAC_F_LENGTH  (1U << 0) /* has a Content-Length */
#define KAC_F_CHUNKED (1U << 1) /* the body is chunked; never together with KAC_F_LENGTH */
#define KAC_F_CLOSE   (1U << 2) /* the last message in its direction; HTTP/1.0 always */
#define KAC_F_UPGRADE (1U << 3) /* Upgrade or Expect: what comes next may not be what it says */
#define KAC_F_NO_BODY (1U << 4) /* a response's 1xx, 204, 304: no body, whatever the length */
#define KAC_F_HOST    (1U << 5) /* a request has a Host */
#define KAC_F_OLD     (1U << 6) /* HTTP/1.0 */

/*
 * What requests and responses have in common. After KAC_HEAD_MORE and KAC_HEAD_OPAQUE all but
 * @verdict and @reason is zero.
 */
struct kac_head {
	__u64 body_len; /* Content-Length; 0 without one */
	__u16 verdict;	/* enum kac_verdict */
	__u16 reason;	/* enum kac_counter, KAC_PASS_*; 0 after ANSWERABLE and MORE */
	__u16 len;   /* of the head with its empty line: there the body or the next head begins */
	__u16 flags; /* KAC_F_* */
	/* Private to the parser. */
	__u16 limit; /* the bytes that there are */
	__u16 rank;  /* enum kac_rank, of the request so far */
	__u16 line;  /* enum kac_line of the last line */
	__u16 kind;  /* enum kac_kind of it */
	__u16 at;    /* of the target or the last line's value */
	__u16 end;
	__u16 pad[2];
};

/* Offsets are from the start of the buffer. */
struct kac_request {
	struct kac_head head;
	__u16 method; /* enum kac_method */
	__u16 target_off;
	__u16 target_len;
	__u16 host_off; /* 0, and host_len too, where Host is the reason or absent */
	__u16 host_len; /* ":80" left out; case as the client wrote it */
	__u16 pad[3];
};

/* More header lines than this are refused. */
#define KAC_FIELDS_MAX 64

/* A method or an unknown header's name that is longer is refused. */
#define KAC_TOKEN_MAX 128

/* White space around the values that are read is skipped up to this, else they are not valid. */
#define KAC_OWS_MAX 8

/* A Content-Length of more digits is refused. */
#define KAC_LENGTH_DIGITS 18

/* A longer Connection is taken for one that closes. */
#define KAC_CONNECTION_MAX 64

/* A longer Accept-Encoding makes the request pass. A multiple of 8. */
#define KAC_ENCODING_MAX 128

#define KAC_PORT_DEFAULT 80

/* So many bytes are scanned by one verified loop. A multiple of 8 that divides KAC_REQ_MAX. */
#define KAC_SCAN_CHUNK 128

#define KAC_ONES    0x0101010101010101ULL
#define KAC_HIGHS   0x8080808080808080ULL
#define KAC_SPACES  0x2020202020202020ULL
#define KAC_WORD(c) ((__u64)(__u8)(c)*KAC_ONES)

/* Texts as the words that are loaded. */
#define KAC_TEXT_CRLF	  0x0a0d		/* "\r\n" */
#define KAC_TEXT_GET	  0x20544547		/* "GET " */
#define KAC_TEXT_HEAD	  0x44414548		/* "HEAD" */
#define KAC_TEXT_CONNECT  0x5443454e4e4f43ULL	/* "CONNECT" */
#define KAC_TEXT_HTTP_10  0x302e312f50545448ULL /* "HTTP/1.0" */
#define KAC_TEXT_HTTP_11  0x312e312f50545448ULL /* "HTTP/1.1" */
#define KAC_TEXT_CHUNKED  0x64656b6e756863ULL	/* "chunked" */
#define KAC_TEXT_CLOSE	  0x65736f6c63ULL	/* "close" */
#define KAC_TEXT_UPGRADE  0x65646172677075ULL	/* "upgrade" */
#define KAC_TEXT_KEEP_ALI 0x696c612d7065656bULL /* "keep-ali" */
#define KAC_TEXT_EP_ALIVE 0x6576696c612d7065ULL /* "ep-alive" */

/* Classes of bytes. */
#define KAC_C_TOKEN   (1U << 0) /* tchar, RFC 9110 5.6.2 */
#define KAC_C_NAME    (1U << 1) /* of a host name or an IPv4 address: letters, digits, -._ */
#define KAC_C_LITERAL (1U << 2) /* within the brackets of an IPv6 address */
#define KAC_C_DOT     (1U << 3)
#define KAC_C_COLON   (1U << 4)
#define KAC_C_OPEN    (1U << 5)

static const __u8 kac_classes[256] __attribute__((unused)) = {
	['!'] = KAC_C_TOKEN,
	['#' ... '\''] = KAC_C_TOKEN,
	['*' ... '+'] = KAC_C_TOKEN,
	['-'] = KAC_C_TOKEN | KAC_C_NAME,
	['.'] = KAC_C_TOKEN | KAC_C_NAME | KAC_C_LITERAL | KAC_C_DOT,
	['0' ... '9'] = KAC_C_TOKEN | KAC_C_NAME | KAC_C_LITERAL,
	[':'] = KAC_C_LITERAL | KAC_C_COLON,
	['A' ... 'F'] = KAC_C_TOKEN | KAC_C_NAME | KAC_C_LITERAL,
	['G' ... 'Z'] = KAC_C_TOKEN | KAC_C_NAME,
	['['] = KAC_C_OPEN,
	['^'] = KAC_C_TOKEN,
	['_'] = KAC_C_TOKEN | KAC_C_NAME,
	['`'] = KAC_C_TOKEN,
	['a' ... 'f'] = KAC_C_TOKEN | KAC_C_NAME | KAC_C_LITERAL,
	['g' ... 'z'] = KAC_C_TOKEN | KAC_C_NAME,
	['|'] = KAC_C_TOKEN,
	['~'] = KAC_C_TOKEN,
};

/* Of several reasons to pass a request the lowest rank is told: its low byte. */
#define KAC_RANK(order, reason) ((order) << 8 | (reason))

enum kac_rank {
	KAC_RANK_METHOD = KAC_RANK(0, KAC_PASS_METHOD),
	KAC_RANK_VERSION = KAC_RANK(1, KAC_PASS_VERSION),
	KAC_RANK_TARGET = KAC_RANK(2, KAC_PASS_TARGET),
	KAC_RANK_HOST = KAC_RANK(3, KAC_PASS_HOST),
	KAC_RANK_BODY = KAC_RANK(4, KAC_PASS_BODY),
	KAC_RANK_UPGRADE = KAC_RANK(5, KAC_PASS_UPGRADE),
	KAC_RANK_CLOSE = KAC_RANK(6, KAC_PASS_CLOSE),
	KAC_RANK_AUTHORIZATION = KAC_RANK(7, KAC_PASS_AUTHORIZATION),
	KAC_RANK_CONDITIONAL = KAC_RANK(8, KAC_PASS_CONDITIONAL),
	KAC_RANK_ENCODING = KAC_RANK(9, KAC_PASS_ENCODING),
	KAC_RANK_HEADER = KAC_RANK(10, KAC_PASS_HEADER),
	KAC_RANK_NONE = KAC_RANK(11, 0), /* no reason: answerable */
};

/* What a header line does beyond its rank. */
enum kac_kind {
	KAC_KIND_PLAIN, /* nothing */
	KAC_KIND_HOST,
	KAC_KIND_LENGTH,
	KAC_KIND_TRANSFER,
	KAC_KIND_CONNECTION,
	KAC_KIND_UPGRADE,
	KAC_KIND_ENCODING,
};

#define KAC_NAME_MAX   32
#define KAC_NAME_SLOTS 256

struct kac_name_slot {
	char name[KAC_NAME_MAX]; /* lower case; only letters, digits and '-' */
	__u16 rank;		 /* enum kac_rank, of a request that has the line */
	__u8 len;		 /* 0: free */
	__u8 kind;		 /* enum kac_kind */
} __attribute__((aligned(8)));

#define KAC_NAME(text, k, r)                                       \
	{                                                          \
		text, KAC_RANK_##r, sizeof(text) - 1, KAC_KIND_##k \
	}

/*
 * The names that are known, each in the slot that kac_name_index() gives it (the unit test tells
 * the slot of a name that is in a wrong one; where two names share one, KAC_NAME_MUL must change).
 *
 * A line is harmless (PLAIN, NONE) if ordinary origins answer the same with it and without it:
 * it serves logs and traces, or is what every browser sends with everything, so that a response
 * that depends on it says so in Vary and is not pinned. Left out, though common, because origins
 * do depend on them without saying so: X-Forwarded-Proto, -Host and -Port and Forwarded (redirects
 * and links made from them), Via (nginx does not compress for proxies), Save-Data and the client
 * hints that an origin has to ask for (it asks because they matter), Sec-Purpose (prefetches are
 * refused), X-Requested-With (another page for scripts), Origin (CORS), and Accept-Charset (no
 * client of today sends it).
 */
static const struct kac_name_slot kac_names[KAC_NAME_SLOTS] __attribute__((unused)) = {
	[45] = KAC_NAME("accept", PLAIN, NONE),
	[6] = KAC_NAME("accept-language", PLAIN, NONE),
	[240] = KAC_NAME("baggage", PLAIN, NONE),
	[51] = KAC_NAME("b3", PLAIN, NONE),
	[239] = KAC_NAME("cookie", PLAIN, NONE),
	[47] = KAC_NAME("dnt", PLAIN, NONE),
	[102] = KAC_NAME("keep-alive", PLAIN, NONE),
	[251] = KAC_NAME("priority", PLAIN, NONE),
	[140] = KAC_NAME("referer", PLAIN, NONE),
	[2] = KAC_NAME("sec-ch-ua", PLAIN, NONE),
	[27] = KAC_NAME("sec-ch-ua-mobile", PLAIN, NONE),
	[73] = KAC_NAME("sec-ch-ua-platform", PLAIN, NONE),
	[76] = KAC_NAME("sec-fetch-dest", PLAIN, NONE),
	[206] = KAC_NAME("sec-fetch-mode", PLAIN, NONE),
	[176] = KAC_NAME("sec-fetch-site", PLAIN, NONE),
	[153] = KAC_NAME("sec-fetch-user", PLAIN, NONE),
	[24] = KAC_NAME("sec-gpc", PLAIN, NONE),
	[5] = KAC_NAME("traceparent", PLAIN, NONE),
	[86] = KAC_NAME("tracestate", PLAIN, NONE),
	[65] = KAC_NAME("upgrade-insecure-requests", PLAIN, NONE),
	[196] = KAC_NAME("user-agent", PLAIN, NONE),
	[244] = KAC_NAME("x-amzn-trace-id", PLAIN, NONE),
	[74] = KAC_NAME("x-b3-flags", PLAIN, NONE),
	[55] = KAC_NAME("x-b3-parentspanid", PLAIN, NONE),
	[231] = KAC_NAME("x-b3-sampled", PLAIN, NONE),
	[226] = KAC_NAME("x-b3-spanid", PLAIN, NONE),
	[9] = KAC_NAME("x-b3-traceid", PLAIN, NONE),
	[163] = KAC_NAME("x-cloud-trace-context", PLAIN, NONE),
	[223] = KAC_NAME("x-correlation-id", PLAIN, NONE),
	[118] = KAC_NAME("x-forwarded-for", PLAIN, NONE),
	[99] = KAC_NAME("x-real-ip", PLAIN, NONE),
	[165] = KAC_NAME("x-request-id", PLAIN, NONE),

	[97] = KAC_NAME("host", HOST, NONE),
	[137] = KAC_NAME("content-length", LENGTH, NONE),
	[241] = KAC_NAME("transfer-encoding", TRANSFER, NONE),
	[111] = KAC_NAME("connection", CONNECTION, NONE),
	[211] = KAC_NAME("proxy-connection", CONNECTION, NONE),
	[83] = KAC_NAME("accept-encoding", ENCODING, NONE),

	[218] = KAC_NAME("expect", UPGRADE, UPGRADE),
	[243] = KAC_NAME("http2-settings", UPGRADE, UPGRADE),
	[181] = KAC_NAME("upgrade", UPGRADE, UPGRADE),
	[34] = KAC_NAME("authorization", PLAIN, AUTHORIZATION),
	[143] = KAC_NAME("proxy-authorization", PLAIN, AUTHORIZATION),
	[180] = KAC_NAME("cache-control", PLAIN, CONDITIONAL),
	[207] = KAC_NAME("if-match", PLAIN, CONDITIONAL),
	[197] = KAC_NAME("if-modified-since", PLAIN, CONDITIONAL),
	[236] = KAC_NAME("if-none-match", PLAIN, CONDITIONAL),
	[18] = KAC_NAME("if-range", PLAIN, CONDITIONAL),
	[246] = KAC_NAME("if-unmodified-since", PLAIN, CONDITIONAL),
	[43] = KAC_NAME("pragma", PLAIN, CONDITIONAL),
	[169] = KAC_NAME("range", PLAIN, CONDITIONAL),

	/* Of responses: for them it is enough to be known as a valid name, which is then not
	 * checked byte by byte.
	 */
	[72] = KAC_NAME("accept-ranges", PLAIN, HEADER),
	[29] = KAC_NAME("age", PLAIN, HEADER),
	[131] = KAC_NAME("content-encoding", PLAIN, HEADER),
	[120] = KAC_NAME("content-type", PLAIN, HEADER),
	[10] = KAC_NAME("date", PLAIN, HEADER),
	[85] = KAC_NAME("etag", PLAIN, HEADER),
	[88] = KAC_NAME("expires", PLAIN, HEADER),
	[154] = KAC_NAME("last-modified", PLAIN, HEADER),
	[253] = KAC_NAME("server", PLAIN, HEADER),
	[133] = KAC_NAME("vary", PLAIN, HEADER),
};

#define KAC_NAME_MUL 0xf819b75085ad0c99ULL

/* The slot of a name of which @w has the zero-padded words; upper and lower case have the same. */
static __always_inline __u32 kac_name_index(__u64 w0, __u64 w1, __u64 w2, __u64 w3)
{
	w0 |= KAC_SPACES;
	w1 |= KAC_SPACES;
	w2 |= KAC_SPACES;
	w3 |= KAC_SPACES;
	return ((w0 ^ (w1 << 3) ^ (w2 << 5) ^ (w3 << 7)) * KAC_NAME_MUL) >> 56;
}

static __always_inline __u64 kac_name_word(const struct kac_name_slot *slot, __u32 i)
{
	__u64 w;

	__builtin_memcpy(&w, slot->name + 8 * i, sizeof(w));
	return w;
}

/* The bits in which @w is not @name. The letters of @name have bit 6, which makes their case bit.
 */
static __always_inline __u64 kac_name_differs(__u64 w, __u64 name)
{
	return (w | ((name >> 1) & KAC_SPACES)) ^ name;
}

/*
 * Call @fn(i, @ctx) for i from 0 to @nr - 1, until it returns 1. In BPF each iteration is verified
 * once, however many there are (kernel 5.17).
 */
#ifdef __bpf__
#define kac_loop(nr, fn, ctx) bpf_loop(nr, fn, ctx, 0)
#else
static inline void kac_loop(__u32 nr, long (*fn)(__u32 i, void *ctx), void *ctx)
{
	__u32 i;

	for (i = 0; i < nr; i++)
		if (fn(i, ctx))
			break;
}
#endif

/*
 * Make the compiler read map memory anew. What the verifier does not know it need not tell apart:
 * positions that it saw being computed are compared with other outcomes known on each path, and no
 * two paths are ever the same; read from a map they are.
 */
#ifdef __bpf__
#define kac_forget() asm volatile("" ::: "memory")
#else
#define kac_forget() ((void)0)
#endif

static __always_inline __u8 kac_byte_at(const __u8 *buf, __u32 at)
{
	at &= KAC_REQ_MAX - 1;
	kac_opaque(at);
	return buf[at];
}

/* All bits of the bytes below the lowest whose highest bit is set in @mask, which is not 0. */
static __always_inline __u64 kac_mask_below(__u64 mask)
{
	mask >>= 7;
	return (mask - 1) & ~mask;
}

/* The index of that byte. */
static __always_inline __u32 kac_mask_index(__u64 mask)
{
	return ((kac_mask_below(mask) & KAC_ONES) * KAC_ONES) >> 56;
}

/* Mark the lowest byte of @w that is zero; bytes above it may be marked wrongly. */
static __always_inline __u64 kac_mask_zero(__u64 w)
{
	return (w - KAC_ONES) & ~w & KAC_HIGHS;
}

static __always_inline void kac_head_rank(struct kac_head *head, __u32 rank)
{
	if (rank < head->rank)
		head->rank = rank;
}

/* What a parser works on; the callbacks of kac_loop() get it. */
struct kac_walk {
	const __u8 *buf;
	void *message; /* struct kac_request or kac_response: a head comes first in both */
};

/*
 * Move head->end on to the first byte that may not be in a target (@low 0x21) or in a field's value
 * (@low 0x20, HTAB being allowed). Bytes above 0x7f before it are of rank @odd. Returns 1 when it
 * is found or lies beyond head->limit, 0 when KAC_SCAN_CHUNK bytes do not have it.
 */
static __always_inline int kac_scan(const __u8 *buf, struct kac_head *head, __u8 low, __u32 odd)
{
	__u32 at, limit, done = 0, i;

	kac_forget();
	at = head->end;
	limit = head->limit;
	for (i = 0; i < KAC_SCAN_CHUNK; i += 8) {
		__u64 w, w7, stop;

		if (at >= limit) {
			done = 1;
			break;
		}
		w = kac_word_at(buf, at);
		/* Borrow and carry reach bytes above one that is found: right for yes or no. */
		if (((w - KAC_WORD(low)) | (w + KAC_ONES) | w) & KAC_HIGHS) {
			w7 = w & ~KAC_HIGHS;
			stop = ~(w7 + KAC_WORD(0x80 - low)) | (w7 + KAC_ONES);
			if (low <= ' ')
				stop &= (w7 ^ KAC_WORD('\t')) + ~KAC_HIGHS;
			stop &= ~w & KAC_HIGHS;
			if (stop) {
				if (w & kac_mask_below(stop) & KAC_HIGHS)
					kac_head_rank(head, odd);
				at += kac_mask_index(stop);
				done = 1;
				break;
			}
			if (w & KAC_HIGHS)
				kac_head_rank(head, odd);
		}
		at += 8;
	}
	head->end = at;
	kac_forget();
	return done;
}

static inline long kac_scan_value(__u32 i, void *ctx)
{
	struct kac_walk *walk = ctx;

	return kac_scan(walk->buf, walk->message, ' ', KAC_RANK_HEADER);
}

static inline long kac_scan_target(__u32 i, void *ctx)
{
	struct kac_walk *walk = ctx;

	return kac_scan(walk->buf, walk->message, ' ' + 1, KAC_RANK_TARGET);
}

/* The end of the token that begins at @at: the first byte that is none, at most @limit. */
static __always_inline __u32 kac_token_end(const __u8 *buf, __u32 at, __u32 limit)
{
	__u32 i;

	for (i = 0; i <= KAC_TOKEN_MAX; i++) {
		if (at >= limit || !(kac_classes[kac_byte_at(buf, at)] & KAC_C_TOKEN))
			break;
		at++;
	}
	return at;
}

/* What comes at a place where a line may begin, and then what is wrong there. */
enum kac_line {
	KAC_LINE_FIELD,
	KAC_LINE_EMPTY,
	KAC_LINE_MORE, /* its end has not come yet */
	KAC_LINE_BAD,
	KAC_LINE_LONG,
	KAC_LINE_TUNNEL, /* CONNECT, or 101 */
};

/* Whether the line ends at head->end: FIELD (yes), MORE or BAD. */
static __always_inline int kac_line_end(const __u8 *buf, const struct kac_head *head)
{
	__u32 at = head->end, limit = head->limit;
	__u64 w;

	if (at >= limit)
		return KAC_LINE_MORE;
	w = kac_word_at(buf, at);
	if (at + 1 >= limit)
		return (w & 0xff) == '\r' ? KAC_LINE_MORE : KAC_LINE_BAD;
	return (w & 0xffff) == KAC_TEXT_CRLF ? KAC_LINE_FIELD : KAC_LINE_BAD;
}

/*
 * Find the name that begins at @at among those that are known. Returns its slot, and its length in
 * @n; NULL when it is none of them. One that is completed by bytes beyond the limit may be found:
 * then its value turns out to be missing.
 */
static __always_inline const struct kac_name_slot *kac_name_find(const __u8 *buf, __u32 at,
								 __u32 *n)
{
	__u64 w0, w1 = 0, w2 = 0, w3 = 0, colon;
	const struct kac_name_slot *slot;
	__u32 index, len;

	len = 0;
	w0 = kac_word_at(buf, at);
	colon = kac_mask_zero(w0 ^ KAC_WORD(':'));
	if (colon) {
		w0 &= kac_mask_below(colon);
		goto found;
	}
	len = 8;
	w1 = kac_word_at(buf, at + 8);
	colon = kac_mask_zero(w1 ^ KAC_WORD(':'));
	if (colon) {
		w1 &= kac_mask_below(colon);
		goto found;
	}
	len = 16;
	w2 = kac_word_at(buf, at + 16);
	colon = kac_mask_zero(w2 ^ KAC_WORD(':'));
	if (colon) {
		w2 &= kac_mask_below(colon);
		goto found;
	}
	len = 24;
	w3 = kac_word_at(buf, at + 24);
	colon = kac_mask_zero(w3 ^ KAC_WORD(':'));
	if (!colon)
		return NULL;
	w3 &= kac_mask_below(colon);
found:
	len += kac_mask_index(colon);
	index = kac_name_index(w0, w1, w2, w3) & (KAC_NAME_SLOTS - 1);
	kac_opaque(index);
	slot = &kac_names[index];
	*n = len;
	/* Names are the client's to choose: equal hashes say nothing. */
	if (slot->len != len || !len ||
	    (kac_name_differs(w0, kac_name_word(slot, 0)) |
	     kac_name_differs(w1, kac_name_word(slot, 1)) |
	     kac_name_differs(w2, kac_name_word(slot, 2)) |
	     kac_name_differs(w3, kac_name_word(slot, 3))))
		return NULL;
	return slot;
}

/*
 * Read the line that begins at head->len, and move that to the next one. The value is then in
 * [head->at, head->end), white space around it included.
 */
static __always_inline int kac_field_next(struct kac_walk *walk)
{
	struct kac_head *head = walk->message;
	const __u8 *buf = walk->buf;
	__u32 at = head->len, limit = head->limit, n;
	const struct kac_name_slot *slot;
	int ret;

	if (at >= limit)
		return KAC_LINE_MORE;
	if (kac_byte_at(buf, at) == '\r') {
		head->end = at;
		ret = kac_line_end(buf, head);
		if (ret)
			return ret;
		head->len = at + 2;
		return KAC_LINE_EMPTY;
	}

	slot = kac_name_find(buf, at, &n);
	if (slot) {
		head->kind = slot->kind;
		kac_head_rank(head, slot->rank);
		at += n;
	} else {
		head->kind = KAC_KIND_PLAIN;
		kac_head_rank(head, KAC_RANK_HEADER);
		kac_forget();
		n = head->len;
		limit = head->limit;
		at = kac_token_end(buf, n, limit);
		if (at >= limit)
			return KAC_LINE_MORE;
		if (at - n > KAC_TOKEN_MAX)
			return KAC_LINE_LONG;
		if (at == n || kac_byte_at(buf, at) != ':')
			return KAC_LINE_BAD;
	}
	at++;
	head->at = at;
	head->end = at;
	if (!kac_scan(buf, head, ' ', KAC_RANK_HEADER))
		kac_loop(KAC_REQ_MAX / KAC_SCAN_CHUNK, kac_scan_value, walk);
	ret = kac_line_end(buf, head);
	if (ret)
		return ret;
	head->len = head->end + 2;
	return KAC_LINE_FIELD;
}

static __always_inline int kac_is_ows(__u8 c)
{
	return c == ' ' || c == '\t';
}

/* Take the white space around a value away. */
static __always_inline void kac_field_trim(const __u8 *buf, struct kac_head *head)
{
	__u32 at = head->at, end = head->end, i;

	for (i = 0; i < KAC_OWS_MAX; i++) {
		if (at >= end || !kac_is_ows(kac_byte_at(buf, at)))
			break;
		at++;
	}
	head->at = at;
	kac_forget();
	at = head->at;
	end = head->end;
	for (i = 0; i < KAC_OWS_MAX; i++) {
		if (at >= end || !kac_is_ows(kac_byte_at(buf, end - 1)))
			break;
		end--;
	}
	head->end = end;
	kac_forget();
}

/*
 * The lines that frame the message are read to the letter: what servers are known to differ in is
 * refused, such as space after the value.
 */
static __always_inline int kac_field_length(const __u8 *buf, struct kac_head *head)
{
	__u32 at = head->at, end = head->end, i;
	__u64 value = 0;

	if ((head->flags & KAC_F_LENGTH) || at >= end)
		return KAC_LINE_BAD;
	for (i = 0; i < KAC_LENGTH_DIGITS; i++) {
		__u8 digit;

		if (at >= end)
			break;
		digit = kac_byte_at(buf, at) - '0';
		if (digit > 9)
			return KAC_LINE_BAD;
		value = value * 10 + digit;
		at++;
	}
	if (at < end || kac_byte_at(buf, end) != '\r')
		return KAC_LINE_BAD;
	head->body_len = value;
	head->flags |= KAC_F_LENGTH;
	return KAC_LINE_FIELD;
}

static __always_inline int kac_field_transfer(const __u8 *buf, struct kac_head *head)
{
	__u64 w = kac_word_at(buf, head->at);

	if ((head->flags & KAC_F_CHUNKED) || head->end - head->at != 7 ||
	    kac_word_lower(kac_word_head(w, 7)) != KAC_TEXT_CHUNKED ||
	    kac_byte_at(buf, head->end) != '\r')
		return KAC_LINE_BAD;
	head->flags |= KAC_F_CHUNKED;
	return KAC_LINE_FIELD;
}

/*
 * Only `keep-alive` alone is harmless. Elsewhere the two words that matter are looked for anywhere,
 * also within others: some servers do so too, and to take a connection for one that is going to be
 * closed costs little.
 */
static __always_inline void kac_field_connection(const __u8 *buf, struct kac_head *head)
{
	__u32 at = head->at, end = head->end, i;
	__u64 w;

	if (end - at == 10 && kac_word_lower(kac_word_at(buf, at)) == KAC_TEXT_KEEP_ALI &&
	    kac_word_lower(kac_word_at(buf, at + 2)) == KAC_TEXT_EP_ALIVE)
		return;
	kac_head_rank(head, KAC_RANK_HEADER);
	for (i = 0; i < KAC_CONNECTION_MAX; i++) {
		if (at >= end)
			return;
		w = kac_word_lower(kac_word_at(buf, at));
		if (kac_word_head(w, 5) == KAC_TEXT_CLOSE) {
			head->flags |= KAC_F_CLOSE;
			kac_head_rank(head, KAC_RANK_CLOSE);
		}
		if (kac_word_head(w, 7) == KAC_TEXT_UPGRADE) {
			head->flags |= KAC_F_UPGRADE;
			kac_head_rank(head, KAC_RANK_UPGRADE);
		}
		at++;
	}
	head->flags |= KAC_F_CLOSE;
}

/* What requests and responses read alike. FIELD, or BAD. */
static __always_inline int kac_field_framing(const __u8 *buf, struct kac_head *head)
{
	switch (head->kind) {
	case KAC_KIND_LENGTH:
		return kac_field_length(buf, head);
	case KAC_KIND_TRANSFER:
		return kac_field_transfer(buf, head);
	case KAC_KIND_CONNECTION:
		kac_field_connection(buf, head);
		break;
	}
	return KAC_LINE_FIELD;
}

/* What is wrong with the whole: EMPTY (nothing), or BAD. */
static __always_inline int kac_head_check(const struct kac_head *head)
{
	if (!(head->flags & KAC_F_CHUNKED))
		return KAC_LINE_EMPTY;
	if (head->flags & (KAC_F_LENGTH | KAC_F_OLD))
		return KAC_LINE_BAD;
	return KAC_LINE_EMPTY;
}

/* The verdict and reason where the last line was not EMPTY. FIELD: there are too many. */
static __always_inline void kac_head_fail(struct kac_head *head, __u32 line, __u32 len)
{
	if (line == KAC_LINE_MORE && len < KAC_REQ_MAX) {
		head->verdict = KAC_HEAD_MORE;
		return;
	}
	head->verdict = KAC_HEAD_OPAQUE;
	if (line == KAC_LINE_BAD)
		head->reason = KAC_PASS_MALFORMED;
	else if (line == KAC_LINE_TUNNEL)
		head->reason = KAC_PASS_UPGRADE;
	else
		head->reason = KAC_PASS_TOO_LONG;
}

/*
 * Read a Host's value: a name, IPv4 address or bracketed IPv6 address, and maybe a port. Narrower
 * than RFC 9110 4.2.3: sub-delims, percent-encoding, empty labels, an empty port and leading zeros
 * make the request pass.
 */
static __always_inline void kac_field_host(const __u8 *buf, struct kac_request *req)
{
	__u32 at = req->head.at, end = req->head.end, port = 0, i;
	__u8 class, open, need, last = KAC_C_DOT, seen = 0, dots = 0;

	if (req->head.flags & KAC_F_HOST)
		goto invalid;
	req->head.flags |= KAC_F_HOST;

	/* By arithmetic rather than by branches, which the verifier would follow twice through the
	 * loop.
	 */
	open = kac_classes[kac_byte_at(buf, at)] / KAC_C_OPEN & 1;
	need = KAC_C_NAME << open;
	at += open;
	for (i = 0; i < KAC_AUTHORITY_MAX; i++) {
		if (at >= end)
			break;
		class = kac_classes[kac_byte_at(buf, at)];
		if (!(class & need))
			break;
		dots |= class & last;
		seen |= class;
		last = class;
		at++;
	}
	req->host_len = at;
	kac_forget();
	at = req->host_len;

	if (open) {
		if (!(seen & KAC_C_COLON) || at >= end || kac_byte_at(buf, at) != ']')
			goto invalid;
		at++;
	}
	if (!seen || (dots & KAC_C_DOT))
		goto invalid;
	req->host_off = req->head.at;
	req->host_len = at - req->head.at;
	if (at < end) {
		if (kac_byte_at(buf, at) != ':')
			goto invalid;
		at++;
		for (i = 0; i < 5; i++) {
			__u8 digit;

			if (at >= end)
				break;
			digit = kac_byte_at(buf, at) - '0';
			if (digit > 9 || (!digit && !port))
				goto invalid;
			port = port * 10 + digit;
			at++;
		}
		if (at < end || !port || port > 65535)
			goto invalid;
		if (port != KAC_PORT_DEFAULT)
			req->host_len = at - req->head.at;
	}
	if (req->host_len <= KAC_AUTHORITY_MAX)
		return;

invalid:
	req->host_off = 0;
	req->host_len = 0;
	kac_head_rank(&req->head, KAC_RANK_HOST);
}

/* Weights need arithmetic that is not worth it: browsers, curl and crawlers send none. */
static __always_inline void kac_field_encoding(const __u8 *buf, struct kac_head *head)
{
	__u32 at = head->at, end = head->end, i;

	for (i = 0; i < KAC_ENCODING_MAX; i += 8) {
		__u64 w;

		if (at >= end)
			return;
		w = kac_word_head(kac_word_at(buf, at), end - at);
		if (kac_mask_zero(w ^ KAC_WORD(';')))
			break;
		at += 8;
	}
	kac_head_rank(head, KAC_RANK_ENCODING);
}

static inline long kac_request_field(__u32 i, void *ctx)
{
	struct kac_walk *walk = ctx;
	struct kac_request *req = walk->message;
	const __u8 *buf = walk->buf;
	__u32 kind;
	int line;

	line = kac_field_next(walk);
	if (line == KAC_LINE_FIELD) {
		kind = req->head.kind;
		if (kind == KAC_KIND_PLAIN)
			return 0;
		kac_field_trim(buf, &req->head);
		if (kind == KAC_KIND_HOST)
			kac_field_host(buf, req);
		else if (kind == KAC_KIND_ENCODING)
			kac_field_encoding(buf, &req->head);
		else if (kind == KAC_KIND_UPGRADE)
			req->head.flags |= KAC_F_UPGRADE;
		else
			line = kac_field_framing(buf, &req->head);
	}
	req->head.line = line;
	return line != KAC_LINE_FIELD;
}

/* Whether the first @n bytes of @w cannot become "HTTP/1.0" or "HTTP/1.1", which differ by a bit.
 */
static __always_inline int kac_version_differs(__u64 w, __u32 n)
{
	return !!kac_word_head((w ^ KAC_TEXT_HTTP_11) & ~(1ULL << 56), n);
}

static __always_inline int kac_request_line(struct kac_walk *walk)
{
	struct kac_request *req = walk->message;
	const __u8 *buf = walk->buf;
	__u32 limit = req->head.limit, at = 4, end, i;
	__u64 w = kac_word_at(buf, 0), fragment = 0;

	if ((__u32)w == KAC_TEXT_GET) {
		req->method = KAC_METHOD_GET;
	} else {
		at = kac_token_end(buf, 0, limit);
		if (at >= limit)
			return KAC_LINE_MORE;
		if (at > KAC_TOKEN_MAX)
			return KAC_LINE_LONG;
		if (!at || kac_byte_at(buf, at) != ' ')
			return KAC_LINE_BAD;
		w = kac_word_head(w, at);
		if (w == KAC_TEXT_CONNECT)
			return KAC_LINE_TUNNEL;
		req->method = w == KAC_TEXT_HEAD ? KAC_METHOD_HEAD : KAC_METHOD_OTHER;
		kac_head_rank(&req->head, KAC_RANK_METHOD);
		at++;
	}

	req->head.at = at;
	req->head.end = at;
	kac_loop(KAC_REQ_MAX / KAC_SCAN_CHUNK, kac_scan_target, walk);
	at = req->head.at;
	end = req->head.end;
	limit = req->head.limit;
	if (end >= limit)
		return KAC_LINE_MORE;
	if (end == at || kac_byte_at(buf, end) != ' ')
		return KAC_LINE_BAD;
	req->target_off = at;
	req->target_len = end - at;
	if (kac_byte_at(buf, at) != '/' || req->target_len > KAC_TARGET_MAX)
		kac_head_rank(&req->head, KAC_RANK_TARGET);
	/* What the last word has beyond the target is no '#', or else refused below. */
	for (i = 0; i < KAC_TARGET_MAX; i += 8) {
		if (at >= end)
			break;
		fragment |= kac_mask_zero(kac_word_at(buf, at) ^ KAC_WORD('#'));
		at += 8;
	}
	if (fragment)
		kac_head_rank(&req->head, KAC_RANK_TARGET);

	kac_forget();
	at = req->head.end + 1;
	limit = req->head.limit;
	w = kac_word_at(buf, at);
	if (at + 10 > limit) {
		if (kac_version_differs(w, limit - at))
			return KAC_LINE_BAD;
		if (at + 9 == limit && kac_byte_at(buf, at + 8) != '\r')
			return KAC_LINE_BAD;
		return KAC_LINE_MORE;
	}
	if (w == KAC_TEXT_HTTP_10) {
		req->head.flags |= KAC_F_OLD | KAC_F_CLOSE;
		kac_head_rank(&req->head, KAC_RANK_VERSION);
	} else if (w != KAC_TEXT_HTTP_11) {
		return KAC_LINE_BAD;
	}
	if ((kac_word_at(buf, at + 8) & 0xffff) != KAC_TEXT_CRLF)
		return KAC_LINE_BAD;
	req->head.len = at + 10;
	return KAC_LINE_FIELD;
}

/*
 * Parse the head of a request.
 *
 * @buf has KAC_REQ_MAX + KAC_REQ_PAD bytes, of which the first @len (<= KAC_REQ_MAX) are the
 * request's; what lies beyond never matters. @req need not be initialised. In BPF both must not be
 * on the stack; a program of some size puts the call into a global function, which is verified once
 * and by itself. Returns req->head.verdict.
 *
 * Lines are judged as they are complete: bytes that only the rest can tell wrong are
 * KAC_HEAD_MORE.
 */
static __always_inline int kac_request_parse(const __u8 *buf, __u32 len, struct kac_request *req)
{
	struct kac_walk walk = {.buf = buf, .message = req};
	__u32 line;

	__builtin_memset(req, 0, sizeof(*req));
	req->head.limit = len;
	req->head.rank = KAC_RANK_NONE;
	kac_forget();
	line = kac_request_line(&walk);
	if (line == KAC_LINE_FIELD) {
		kac_loop(KAC_FIELDS_MAX + 1, kac_request_field, &walk);
		line = req->head.line;
	}
	if (line == KAC_LINE_EMPTY)
		line = kac_head_check(&req->head);
	if (line != KAC_LINE_EMPTY) {
		__builtin_memset(req, 0, sizeof(*req));
		kac_head_fail(&req->head, line, len);
		return req->head.verdict;
	}

	if (!(req->head.flags & KAC_F_HOST))
		kac_head_rank(&req->head, KAC_RANK_HOST);
	if (req->head.flags & (KAC_F_LENGTH | KAC_F_CHUNKED))
		kac_head_rank(&req->head, KAC_RANK_BODY);
	if (req->head.rank == KAC_RANK_NONE) {
		req->head.verdict = KAC_HEAD_ANSWERABLE;
	} else {
		req->head.verdict = KAC_HEAD_FRAMED;
		req->head.reason = req->head.rank & 0xff;
	}
	return req->head.verdict;
}

#endif
