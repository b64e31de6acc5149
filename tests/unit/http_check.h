/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef HTTP_CHECK_H
#define HTTP_CHECK_H

/*
 * What must hold of the head parsers for any input, by themselves and beside another parser
 * (libhttp-parser, as Debian builds it: lenient). A check returns NULL, or what does not hold.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <http_parser.h>
#include <kaccel/http_response.h>

#define HTTP_BUF (KAC_REQ_MAX + KAC_REQ_PAD)

#define HTTP_HOLDS(what)              \
	do {                          \
		if (!(what))          \
			return #what; \
	} while (0)

/* What the other parser made of it. */
struct http_oracle {
	int whole; /* it saw the end of the head */
	int hosts;
	int keep_alive;
	int upgrade;
	int chunked;
	int has_length;
	int confused; /* it takes a longer name for Transfer-Encoding */
	unsigned int method;
	unsigned int status;
	unsigned int major;
	unsigned int minor;
	uint64_t length;
	size_t head_len;
	const char *target, *host, *name;
	size_t target_len, host_len, name_len;
};

static inline int http_oracle_url(http_parser *p, const char *at, size_t n)
{
	struct http_oracle *o = p->data;

	o->target = at;
	o->target_len = n;
	return 0;
}

static inline int http_oracle_name(http_parser *p, const char *at, size_t n)
{
	struct http_oracle *o = p->data;

	o->name = at;
	o->name_len = n;
	if (n > 17 && !strncasecmp(at, "transfer-encoding", 17))
		o->confused = 1;
	return 0;
}

static inline int http_oracle_value(http_parser *p, const char *at, size_t n)
{
	struct http_oracle *o = p->data;

	if (o->name_len != 4 || strncasecmp(o->name, "host", 4))
		return 0;
	while (n && (at[n - 1] == ' ' || at[n - 1] == '\t'))
		n--;
	o->hosts++;
	o->host = at;
	o->host_len = n;
	return 0;
}

/* Returns 1: as in an answer to HEAD, no body is expected. */
static inline int http_oracle_head(http_parser *p)
{
	struct http_oracle *o = p->data;

	o->whole = 1;
	o->method = p->method;
	o->status = p->status_code;
	o->major = p->http_major;
	o->minor = p->http_minor;
	o->upgrade = p->upgrade;
	o->chunked = !!(p->flags & F_CHUNKED);
	o->has_length = !!(p->flags & F_CONTENTLENGTH);
	o->length = o->has_length ? p->content_length : 0;
	o->keep_alive = http_should_keep_alive(p);
	return 1;
}

static inline int http_oracle_end(http_parser *p)
{
	http_parser_pause(p, 1);
	return 0;
}

static inline void http_oracle_parse(enum http_parser_type type, const __u8 *data, size_t len,
				     struct http_oracle *o)
{
	static const http_parser_settings settings = {
		.on_url = http_oracle_url,
		.on_header_field = http_oracle_name,
		.on_header_value = http_oracle_value,
		.on_headers_complete = http_oracle_head,
		.on_message_complete = http_oracle_end,
	};
	http_parser p;

	memset(o, 0, sizeof(*o));
	http_parser_init(&p, type);
	p.data = o;
	o->head_len = http_parser_execute(&p, &settings, (const char *)data, len);
}

/* @len bytes of @data in a parser's buffer, and beyond them what would change most if it were read.
 */
static inline void http_fill(__u8 *buf, const __u8 *data, size_t len, const char *beyond)
{
	size_t n = strlen(beyond), i;

	memcpy(buf, data, len);
	for (i = len; i < HTTP_BUF; i++)
		buf[i] = beyond[(i - len) % n];
}

static inline const char *http_check_head(const struct kac_head *head, const __u8 *data, size_t len)
{
	const __u8 *end = memmem(data, len, "\r\n\r\n", 4);
	struct kac_head zero = {.verdict = head->verdict, .reason = head->reason};
	size_t i;

	switch (head->verdict) {
	case KAC_HEAD_ANSWERABLE:
		HTTP_HOLDS(!head->reason && !(head->flags & ~KAC_F_HOST));
		/* fall through */
	case KAC_HEAD_FRAMED:
		HTTP_HOLDS(end && head->len == end + 4 - data);
		HTTP_HOLDS(!(head->flags & KAC_F_LENGTH) || !(head->flags & KAC_F_CHUNKED));
		HTTP_HOLDS((head->flags & KAC_F_LENGTH) || !head->body_len);
		for (i = 0; i < head->len; i++) {
			HTTP_HOLDS(data[i] != '\n' || (i && data[i - 1] == '\r'));
			HTTP_HOLDS(data[i] != '\r' || data[i + 1] == '\n');
			HTTP_HOLDS(data[i] >= ' ' || strchr("\r\n\t", data[i]));
			HTTP_HOLDS(data[i]);
		}
		break;
	case KAC_HEAD_MORE:
		HTTP_HOLDS(!end && len < KAC_REQ_MAX && !head->reason);
		HTTP_HOLDS(!memcmp(head, &zero, sizeof(zero)));
		break;
	case KAC_HEAD_OPAQUE:
		HTTP_HOLDS(!memcmp(head, &zero, sizeof(zero)));
		break;
	default:
		return "the verdict is one of four";
	}
	return NULL;
}

/* What a longer message says of a shorter one. */
static inline const char *http_check_prefix(const struct kac_head *whole,
					    const struct kac_head *prefix, size_t n)
{
	if (whole->verdict == KAC_HEAD_MORE)
		HTTP_HOLDS(prefix->verdict == KAC_HEAD_MORE);
	else if (whole->verdict == KAC_HEAD_OPAQUE)
		HTTP_HOLDS(prefix->verdict == KAC_HEAD_MORE || prefix->verdict == KAC_HEAD_OPAQUE);
	else if (n < whole->len)
		HTTP_HOLDS(prefix->verdict == KAC_HEAD_MORE);
	else
		HTTP_HOLDS(!memcmp(whole, prefix, offsetof(struct kac_head, limit)));
	return NULL;
}

static inline const char *http_check_request_oracle(const struct kac_request *req, const __u8 *data,
						    size_t len)
{
	const struct kac_head *head = &req->head;
	struct http_parser_url url;
	struct http_oracle o;
	char text[KAC_REQ_MAX + 16];
	size_t n;

	http_oracle_parse(HTTP_REQUEST, data, len, &o);
	if (head->verdict == KAC_HEAD_MORE)
		HTTP_HOLDS(!o.whole);
	if (head->verdict != KAC_HEAD_ANSWERABLE && head->verdict != KAC_HEAD_FRAMED)
		return NULL;

	if (o.confused)
		return NULL;
	/* It knows some methods only, and wants other forms of the target to be valid. */
	if (!o.whole) {
		HTTP_HOLDS(req->method == KAC_METHOD_OTHER || data[req->target_off] != '/');
		return NULL;
	}
	HTTP_HOLDS(o.head_len == head->len);
	HTTP_HOLDS(o.major == 1 && o.minor == !(head->flags & KAC_F_OLD));
	HTTP_HOLDS((o.method == HTTP_GET) == (req->method == KAC_METHOD_GET));
	HTTP_HOLDS((o.method == HTTP_HEAD) == (req->method == KAC_METHOD_HEAD));
	HTTP_HOLDS(o.has_length == !!(head->flags & KAC_F_LENGTH));
	HTTP_HOLDS(o.length == head->body_len);
	HTTP_HOLDS(o.chunked == !!(head->flags & KAC_F_CHUNKED));
	HTTP_HOLDS(o.keep_alive || (head->flags & KAC_F_CLOSE));
	HTTP_HOLDS(!o.upgrade || (head->flags & KAC_F_UPGRADE));
	HTTP_HOLDS(o.target == (const char *)data + req->target_off);
	HTTP_HOLDS(o.target_len == req->target_len);
	HTTP_HOLDS(!!o.hosts == !!(head->flags & KAC_F_HOST));
	if (head->verdict == KAC_HEAD_FRAMED)
		return NULL;

	HTTP_HOLDS(o.hosts == 1);
	if (o.host_len > 3 && !strncmp(o.host + o.host_len - 3, ":80", 3))
		o.host_len -= 3;
	HTTP_HOLDS(o.host == (const char *)data + req->host_off);
	HTTP_HOLDS(o.host_len == req->host_len);

	n = snprintf(text, sizeof(text), "http://%.*s%.*s", (int)o.host_len, o.host,
		     (int)o.target_len, o.target);
	http_parser_url_init(&url);
	HTTP_HOLDS(!http_parser_parse_url(text, n, 0, &url));
	HTTP_HOLDS(!(url.field_set & (1 << UF_USERINFO | 1 << UF_FRAGMENT)));
	HTTP_HOLDS(url.field_data[UF_PATH].off == strlen("http://") + o.host_len);
	return NULL;
}

/* @data: @len <= KAC_REQ_MAX bytes, any. Every @step-th prefix is looked at too. */
static inline const char *http_check_request(const __u8 *data, size_t len, size_t step)
{
	struct kac_request req, again;
	__u8 buf[HTTP_BUF], other[HTTP_BUF];
	const char *wrong;
	size_t i;

	memset(&req, 0xff, sizeof(req));
	memset(&again, 0, sizeof(again));
	http_fill(buf, data, len, "\r\n\r\n");
	HTTP_HOLDS(kac_request_parse(buf, len, &req) == req.head.verdict);
	http_fill(other, data, len, ":#\xff \n; HTTP/1.1");
	kac_request_parse(other, len, &again);
	HTTP_HOLDS(!memcmp(&req, &again, sizeof(req)));

	wrong = http_check_head(&req.head, data, len);
	if (wrong)
		return wrong;
	if (req.head.verdict == KAC_HEAD_ANSWERABLE) {
		HTTP_HOLDS(req.method == KAC_METHOD_GET && !memcmp(data, "GET /", 5));
		HTTP_HOLDS(req.target_off == 4 && req.target_len <= KAC_TARGET_MAX);
		for (i = 4; i < 4U + req.target_len; i++)
			HTTP_HOLDS(data[i] > ' ' && data[i] < 0x7f && data[i] != '#');
		HTTP_HOLDS(!memcmp(data + i, " HTTP/1.1\r\n", 11));
		HTTP_HOLDS(req.host_len && req.host_len <= KAC_AUTHORITY_MAX);
		HTTP_HOLDS(req.host_off > i && req.host_off + req.host_len < req.head.len);
	}
	wrong = http_check_request_oracle(&req, data, len);

	for (i = 0; i < len && !wrong; i += step) {
		kac_request_parse(buf, i, &again);
		wrong = http_check_prefix(&req.head, &again.head, i);
	}
	return wrong;
}

static inline const char *http_check_response_oracle(const struct kac_response *resp,
						     const __u8 *data, size_t len)
{
	const struct kac_head *head = &resp->head;
	struct http_oracle o;

	http_oracle_parse(HTTP_RESPONSE, data, len, &o);
	if (head->verdict == KAC_HEAD_MORE)
		HTTP_HOLDS(!o.whole);
	if (head->verdict != KAC_HEAD_FRAMED || o.confused)
		return NULL;

	HTTP_HOLDS(o.whole);
	HTTP_HOLDS(o.head_len == head->len);
	HTTP_HOLDS(o.major == 1 && o.minor == !(head->flags & KAC_F_OLD));
	HTTP_HOLDS(o.status == resp->status);
	HTTP_HOLDS(o.has_length == !!(head->flags & KAC_F_LENGTH));
	HTTP_HOLDS(o.length == head->body_len);
	HTTP_HOLDS(o.chunked == !!(head->flags & KAC_F_CHUNKED));
	if (!(head->flags & KAC_F_CLOSE) &&
	    (head->flags & (KAC_F_LENGTH | KAC_F_CHUNKED | KAC_F_NO_BODY)))
		HTTP_HOLDS(o.keep_alive);
	return NULL;
}

static inline const char *http_check_response(const __u8 *data, size_t len, size_t step)
{
	struct kac_response resp, again;
	__u8 buf[HTTP_BUF], other[HTTP_BUF];
	const char *wrong;
	size_t i;

	memset(&resp, 0xff, sizeof(resp));
	memset(&again, 0, sizeof(again));
	http_fill(buf, data, len, "\r\n\r\n");
	HTTP_HOLDS(kac_response_parse(buf, len, &resp) == resp.head.verdict);
	http_fill(other, data, len, ":#\xff \n; 200 ");
	kac_response_parse(other, len, &again);
	HTTP_HOLDS(!memcmp(&resp, &again, sizeof(resp)));
	HTTP_HOLDS(resp.head.verdict != KAC_HEAD_ANSWERABLE);

	wrong = http_check_head(&resp.head, data, len);
	if (!wrong)
		wrong = http_check_response_oracle(&resp, data, len);
	for (i = 0; i < len && !wrong; i += step) {
		kac_response_parse(buf, i, &again);
		wrong = http_check_prefix(&resp.head, &again.head, i);
	}
	return wrong;
}

#endif
