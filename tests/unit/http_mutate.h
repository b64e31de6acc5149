/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef HTTP_MUTATE_H
#define HTTP_MUTATE_H

/* Damaged messages, the same ones in every run. */
#include "http_cases.h"

static inline uint64_t http_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static const char *const http_pieces[] = {
	"\r\n",
	"\n",
	"\r",
	"\r\n\r\n",
	" ",
	"\t",
	":",
	"::",
	"/",
	"#",
	"*",
	",",
	";q=0",
	"\x7f",
	"\x80",
	"\xff",
	"GET ",
	"HEAD ",
	"POST ",
	"CONNECT ",
	" HTTP/1.1\r\n",
	" HTTP/1.0\r\n",
	"HTTP/1.1 204 ",
	"HTTP/1.1 304 ",
	"HTTP/1.1 101 ",
	"http://a:1/",
	"Host: b\r\n",
	"Host: [::1]:80\r\n",
	"Content-Length: 7\r\n",
	"content-length:0\r\n",
	"Content-Length: 18446744073709551616\r\n",
	"Transfer-Encoding: chunked\r\n",
	"Transfer-Encoding: identity\r\n",
	"transfer-encoding:\tchunked \r\n",
	"Connection: close\r\n",
	"Connection: keep-alive\r\n",
	"Connection: Upgrade, close\r\n",
	"proxy-connection: close\r\n",
	"Upgrade: websocket\r\n",
	"Expect: 100-continue\r\n",
	"Accept-Encoding: gzip\r\n",
	"User-Agent: x\r\n",
	"X: y\r\n",
	"x",
	"chunked",
	"close",
	"0",
	"80",
	"65536",
};

/* Fill @buf (KAC_REQ_MAX bytes) with one of @cases, damaged in up to four places. Returns the
 * length. */
static inline size_t http_mutate(uint64_t *state, const struct http_case *cases, size_t n,
				 __u8 *buf)
{
	const struct http_case *c = &cases[http_random(state) % n];
	size_t len = c->len, times = http_random(state) % 5, at, cut;
	const char *piece;

	memcpy(buf, c->text, len);
	while (times-- && len) {
		at = http_random(state) % len;
		switch (http_random(state) % 8) {
		case 0:
			buf[at] = http_random(state);
			break;
		case 1:
			buf[at] ^= 1 << http_random(state) % 8;
			break;
		case 2:
			len = at;
			break;
		case 3:
			cut = http_random(state) % 8 + 1;
			cut = cut < len - at ? cut : len - at;
			memmove(buf + at, buf + at + cut, len - at - cut);
			len -= cut;
			break;
		case 4:
			/* What lines are made of matters most between them. */
			while (at && buf[at - 1] != '\n')
				at--;
			/* fall through */
		default:
			piece = http_pieces[http_random(state) %
					    (sizeof(http_pieces) / sizeof(http_pieces[0]))];
			cut = strlen(piece);
			if (len + cut > KAC_REQ_MAX)
				break;
			memmove(buf + at + cut, buf + at, len - at);
			memcpy(buf + at, piece, cut);
			len += cut;
		}
	}
	return len;
}

#endif
