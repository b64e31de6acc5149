/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef HTTP_CHECK_H
#define HTTP_CHECK_H

/*
 * What must hold of the head parsers for any input, by themselves and beside another parser
 * (libhttp-parser). A check returns NULL, or says what does not hold.
 */
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

#include <http_parser.h>
#include <kaccel/http_response.h>

#define HTTP_BUF (KAC_REQ_MAX + KAC_REQ_PAD)

#define HTTP_HOLDS(what)                 \
	do {                             \
		if (!(what))             \
			return "" #what; \
	} while (0)

/* What the other parser made of it. */
struct http_oracle {
	int whole; /* it saw the end of the head */
	int hosts;
	int in_host;
	int keep_alive;
	int upgrade;
	int chunked;
	int has_length;
	unsigned int method;
	unsigned int status;
	unsigned int major;
	unsigned int minor;
	uint64_t length;
	size_t head_len;
	char target[KAC_REQ_MAX + 1];
	char host[KAC_REQ_MAX + 1];
	char name[KAC_REQ_MAX + 1];
};

static inline int http_oracle_begin(http_parser *p)
{
	struct http_oracle *o = p->data;

	o->target[0] = 0;
	return 0;
}

static inline int http_oracle_url(http_parser *p, const char *at, size_t n)
{
	struct http_oracle *o = p->data;

	strncat(o->target, at, n);
	return 0;
}

static inline int http_oracle_name(http_parser *p, const char *at, size_t n)
{
	struct http_oracle *o = p->data;

	if (o->in_host)
		o->name[0] = 0;
	o->in_host = 0;
	strncat(o->name, at, n);
	return 0;
}

static inline int http_oracle_value(http_parser *p, const char *at, size_t n)
{
	struct http_oracle *o = p->data;

	if (!o->in_host && !strcasecmp(o->name, "host")) {
		o->hosts++;
		o->host[0] = 0;
	}
	if (!strcasecmp(o->name, "host"))
		strncat(o->host, at, n);
	o->in_host = 1;
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
		.on_message_begin = http_oracle_begin,
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
