/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef HTTP_CASES_H
#define HTTP_CASES_H

/* The rules of the head parsers as cases, for user space, BPF and as seeds of the fuzzers. */
#include <kaccel/http_response.h>

struct http_case {
	const char *name;
	const char *text;
	size_t len;
	int verdict;	    /* enum kac_verdict */
	int reason;	    /* FRAMED and OPAQUE requests, OPAQUE responses */
	unsigned int flags; /* KAC_F_*, but KAC_F_HOST */
	__u64 body_len;
	const char *target; /* requests; NULL: not looked at */
	const char *host;   /* "": none */
	int status;	    /* responses */
	size_t rest;	    /* bytes of the text that follow the head */
};

#define CASE(n, t) .name = n, .text = t, .len = sizeof(t) - 1

/* An answerable request but for what is in @lines. */
#define GET_WITH(lines) "GET /x HTTP/1.1\r\nHost: a\r\n" lines "\r\n"

#define ANSWERABLE .verdict = KAC_HEAD_ANSWERABLE
#define FRAMED(r)  .verdict = KAC_HEAD_FRAMED, .reason = KAC_PASS_##r
#define MALFORMED  .verdict = KAC_HEAD_OPAQUE, .reason = KAC_PASS_MALFORMED
#define TOO_LONG   .verdict = KAC_HEAD_OPAQUE, .reason = KAC_PASS_TOO_LONG
#define MORE	   .verdict = KAC_HEAD_MORE
#define DONE	   .verdict = KAC_HEAD_FRAMED
#define X8	   "xxxxxxxx"
#define X32	   X8 X8 X8 X8
#define X128	   X32 X32 X32 X32
#define X384	   X128 X128 X128
#define LINES_8	   "a:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\n"
#define LINES_63                                                \
	LINES_8 LINES_8 LINES_8 LINES_8 LINES_8 LINES_8 LINES_8 \
		"a:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\n"

#define REQUEST_WRK "GET /x HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n\r\n"
#define REQUEST_CURL                                                                      \
	"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n" \
	"Accept: */*\r\n\r\n"
#define REQUEST_CHROME                                                                         \
	"GET /assets/site.css?v=3 HTTP/1.1\r\n"                                                \
	"Host: www.example.com\r\n"                                                            \
	"Connection: keep-alive\r\n"                                                           \
	"sec-ch-ua: \"Chromium\";v=\"128\", \"Not;A=Brand\";v=\"24\", \"Google "               \
	"Chrome\";v=\"128\"\r\n"                                                               \
	"sec-ch-ua-mobile: ?0\r\n"                                                             \
	"sec-ch-ua-platform: \"Linux\"\r\n"                                                    \
	"Upgrade-Insecure-Requests: 1\r\n"                                                     \
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "  \
	"Chrome/128.0.0.0 Safari/537.36\r\n"                                                   \
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp," \
	"image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n"                      \
	"Sec-Fetch-Site: same-origin\r\n"                                                      \
	"Sec-Fetch-Mode: navigate\r\n"                                                         \
	"Sec-Fetch-User: ?1\r\n"                                                               \
	"Sec-Fetch-Dest: document\r\n"                                                         \
	"Referer: http://www.example.com/\r\n"                                                 \
	"Accept-Encoding: gzip, deflate, br, zstd\r\n"                                         \
	"Accept-Language: en-GB,en-US;q=0.9,en;q=0.8\r\n"                                      \
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"                     \
	"\r\n"
#define RESPONSE_NGINX                                                                       \
	"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n" \
	"Content-Type: text/html\r\nContent-Length: 1024\r\n"                                \
	"Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: keep-alive\r\n"         \
	"ETag: \"2ebdcbb1-400\"\r\nAccept-Ranges: bytes\r\n\r\n"

static const struct http_case http_requests[] = {
	{CASE("wrk", REQUEST_WRK), ANSWERABLE, .target = "/x", .host = "10.0.0.1:8080"},
	{CASE("curl", REQUEST_CURL), ANSWERABLE, .target = "/index.html", .host = "127.0.0.1:8080"},
	{CASE("chrome", REQUEST_CHROME), ANSWERABLE, .target = "/assets/site.css?v=3",
	 .host = "www.example.com"},
	{CASE("firefox", "GET / HTTP/1.1\r\nHost: localhost:8080\r\n"
			 "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 "
			 "Firefox/128.0\r\nAccept: text/html,*/*;q=0.8\r\n"
			 "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\n"
			 "Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nDNT: 1\r\n"
			 "Sec-GPC: 1\r\nPriority: u=0, i\r\n\r\n"),
	 ANSWERABLE, .target = "/", .host = "localhost:8080"},
	{CASE("ab", "GET /x HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: a\r\n\r\n"),
	 FRAMED(VERSION), .flags = KAC_F_CLOSE | KAC_F_OLD},
	{CASE("proxy", GET_WITH("X-Real-IP: 10.0.0.9\r\nX-Forwarded-For: 10.0.0.9, 10.0.0.8\r\n"
				"X-Request-ID: 1\r\ntraceparent: 00-1-2-01\r\nb3: 0\r\n")),
	 ANSWERABLE, .target = "/x", .host = "a"},
	{CASE("pipelined", REQUEST_WRK "GET /y HTTP/1.1\r\n"), ANSWERABLE, .target = "/x",
	 .host = "10.0.0.1:8080", .rest = 17},

	/* The method. */
	{CASE("method head", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(METHOD)},
	{CASE("method post", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
	 FRAMED(METHOD), .flags = KAC_F_LENGTH, .body_len = 3, .rest = 3},
	{CASE("method in lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(METHOD)},
	{CASE("method unknown", "X!#$%&'*+-.^_`|~9 / HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(METHOD)},
	{CASE("method connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
	 .verdict = KAC_HEAD_OPAQUE, .reason = KAC_PASS_UPGRADE},
	{CASE("method no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("method empty", " / HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("method of 128", X128 " / HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(METHOD)},
	{CASE("method of 129", X128 "x / HTTP/1.1\r\nHost: a\r\n\r\n"), TOO_LONG},
	{CASE("method then tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("method and nothing", "GET\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("line feed before the method", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("empty line before the method", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("tls", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), MALFORMED},
	{CASE("http 2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), MALFORMED},

	/* The target. */
	{CASE("target with query", "GET /a/b?c=d&e=%20 HTTP/1.1\r\nHost: a\r\n\r\n"), ANSWERABLE,
	 .target = "/a/b?c=d&e=%20"},
	{CASE("target of all bytes", "GET /!\"$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~ HTTP/1.1\r\n"
				     "Host: a\r\n\r\n"),
	 ANSWERABLE, .target = "/!\"$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~"},
	{CASE("target of 384", "GET /" X128 X128 X32 X32 X32 X8 X8 X8 "xxxxxxx HTTP/1.1\r\n"
			       "Host: a\r\n\r\n"),
	 ANSWERABLE},
	{CASE("target of 385", "GET /" X384 " HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(TARGET)},
	{CASE("target absolute", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(TARGET)},
	{CASE("target asterisk", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(TARGET)},
	{CASE("target authority", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(TARGET)},
	{CASE("target with fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(TARGET)},
	{CASE("target that ends in #", "GET /abcdefgh# HTTP/1.1\r\nHost: a\r\n\r\n"),
	 FRAMED(TARGET)},
	{CASE("target with 0x80", "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(TARGET)},
	{CASE("target with 0xff", "GET /abcdefgh\xff HTTP/1.1\r\nHost: a\r\n\r\n"), FRAMED(TARGET)},
	{CASE("target empty", "GET  HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("target after two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("target with space", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("target with tab", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("target with zero", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("target with del", "GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},

	/* The version. */
	{CASE("version 0.9", "GET /\r\n"), MALFORMED},
	{CASE("version 1.0", "GET / HTTP/1.0\r\n\r\n"), FRAMED(VERSION),
	 .flags = KAC_F_CLOSE | KAC_F_OLD, .host = ""},
	{CASE("version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("version 1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("version after two spaces", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("version then space", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("version then line feed", "GET / HTTP/1.1\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("version then x, no more", "GET / HTTP/1.1x"), MALFORMED},
	{CASE("version then line feed, no more", "GET / HTTP/1.1\n"), MALFORMED},
	{CASE("version of another kind", "GET / XTTP/1.1\r\nHost: a\r\n\r\n"), MALFORMED},
	{CASE("version wrong from the start", "GET / X"), MALFORMED},

	/* Lines. */
	{CASE("line feed alone", GET_WITH("Accept: a\nDNT: 1\r\n")), MALFORMED},
	{CASE("line feed alone at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n"), MALFORMED},
	{CASE("carriage return alone", GET_WITH("Accept: a\rDNT: 1\r\n")), MALFORMED},
	{CASE("carriage return twice", GET_WITH("Accept: a\r\r\n")), MALFORMED},
	{CASE("carriage return before a name", GET_WITH("\rDNT: 1\r\n")), MALFORMED},
	{CASE("folded line", GET_WITH("Accept: a\r\n b\r\n")), MALFORMED},
	{CASE("folded line with tab", GET_WITH("Accept: a\r\n\tb\r\n")), MALFORMED},
	{CASE("space before the first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"), MALFORMED},
	{CASE("space before the colon", GET_WITH("DNT : 1\r\n")), MALFORMED},
	{CASE("tab before the colon", GET_WITH("DNT\t: 1\r\n")), MALFORMED},
	{CASE("name empty", GET_WITH(": 1\r\n")), MALFORMED},
	{CASE("name without a colon", GET_WITH("DNT\r\n")), MALFORMED},
	{CASE("name with a space", GET_WITH("D T: 1\r\n")), MALFORMED},
	{CASE("name with a zero", GET_WITH("DNT\0: 1\r\n")), MALFORMED},
	{CASE("name with 0x80", GET_WITH("D\x80T: 1\r\n")), MALFORMED},
	{CASE("name with case bit astray", GET_WITH("user\ragent: 1\r\n")), MALFORMED},
	{CASE("name with digit's case bit astray", GET_WITH("b\x13: 1\r\n")), MALFORMED},
	{CASE("name of all bytes", GET_WITH("!#$%&'*+-.^_`|~09azAZ: 1\r\n")), FRAMED(HEADER)},
	{CASE("name with underscore", GET_WITH("user_agent: 1\r\n")), FRAMED(HEADER)},
	{CASE("name of 31", GET_WITH("xxxxxxx" X8 X8 X8 ": 1\r\n")), FRAMED(HEADER)},
	{CASE("name of 32", GET_WITH(X32 ": 1\r\n")), FRAMED(HEADER)},
	{CASE("name of 33", GET_WITH("x" X32 ": 1\r\n")), FRAMED(HEADER)},
	{CASE("name of 128", GET_WITH(X128 ": 1\r\n")), FRAMED(HEADER)},
	{CASE("name of 129", GET_WITH("x" X128 ": 1\r\n")), TOO_LONG},
	{CASE("name that begins with a known one", GET_WITH("accepts: 1\r\n")), FRAMED(HEADER)},
	{CASE("name that is the start of a known one", GET_WITH("accep: 1\r\n")), FRAMED(HEADER)},
	{CASE("value empty", GET_WITH("Accept:\r\nCookie: \r\n")), ANSWERABLE},
	{CASE("value with tab", GET_WITH("Accept:\ta\tb\t\r\n")), ANSWERABLE},
	{CASE("value with eight tabs", GET_WITH("Accept:\t\t\t\t\t\t\t\tb\r\n")), ANSWERABLE},
	{CASE("value with colon", GET_WITH("Referer: http://a:8080/\r\n")), ANSWERABLE},
	{CASE("value of 768", GET_WITH("Cookie: " X384 X384 "\r\n")), ANSWERABLE},
	{CASE("value of 136 with space and tab", GET_WITH("Cookie: " X128 " a\tb; c\r\n")),
	 ANSWERABLE},
	{CASE("value of 136 with 0x80", GET_WITH("Cookie: " X128 "abcdefg\x80\r\n")),
	 FRAMED(HEADER)},
	{CASE("value of 136 with zero", GET_WITH("Cookie: " X128 "abcdefg\0\r\n")), MALFORMED},
	{CASE("value with zero", GET_WITH("Accept: a\0b\r\n")), MALFORMED},
	{CASE("value with 0x1f", GET_WITH("Accept: abcdefghi\x1f\r\n")), MALFORMED},
	{CASE("value with escape", GET_WITH("Accept: \x1b\r\n")), MALFORMED},
	{CASE("value with del", GET_WITH("Accept: a\x7f\r\n")), MALFORMED},
	{CASE("value with 0x80", GET_WITH("Accept: \x80\r\n")), FRAMED(HEADER)},
	{CASE("value with 0xff", GET_WITH("Accept: \xff\xff\r\n")), FRAMED(HEADER)},
	{CASE("value in utf-8", GET_WITH("Cookie: a=\xc3\xa9t\xc3\xa9; b=0123456789\r\n")),
	 FRAMED(HEADER)},
	{CASE("value with 0xff then zero", GET_WITH("Accept: \xff\0\r\n")), MALFORMED},
	{CASE("64 lines", GET_WITH(LINES_63)), FRAMED(HEADER)},
	{CASE("65 lines", GET_WITH(LINES_63 "a:b\r\n")), TOO_LONG},

	/* Host. */
	{CASE("host", "GET / HTTP/1.1\r\nhOsT:  WWW.Example.COM\t \r\n\r\n"), ANSWERABLE,
	 .host = "WWW.Example.COM"},
	{CASE("host without space", "GET / HTTP/1.1\r\nHost:a\r\n\r\n"), ANSWERABLE, .host = "a"},
	{CASE("host after others", "GET / HTTP/1.1\r\nAccept: */*\r\nHost: a.b\r\n\r\n"),
	 ANSWERABLE, .host = "a.b"},
	{CASE("host with port", "GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n"), ANSWERABLE,
	 .host = "a:65535"},
	{CASE("host with port 80", "GET / HTTP/1.1\r\nHost: a:80\r\n\r\n"), ANSWERABLE,
	 .host = "a"},
	{CASE("host of ipv6", "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n"), ANSWERABLE,
	 .host = "[::1]"},
	{CASE("host of ipv6 with port", "GET / HTTP/1.1\r\nHost: [2001:Db8::9]:8080\r\n\r\n"),
	 ANSWERABLE, .host = "[2001:Db8::9]:8080"},
	{CASE("host of ipv6 with port 80", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), ANSWERABLE,
	 .host = "[::1]"},
	{CASE("host of ipv6 with ipv4", "GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n"),
	 ANSWERABLE, .host = "[::ffff:1.2.3.4]"},
	{CASE("host of all bytes", "GET / HTTP/1.1\r\nHost: a-b_cAZaz.09.\r\n\r\n"), ANSWERABLE,
	 .host = "a-b_cAZaz.09."},
	{CASE("host of 128", "GET / HTTP/1.1\r\nHost: " X128 "\r\n\r\n"), ANSWERABLE},
	{CASE("host of 128 with port 80", "GET / HTTP/1.1\r\nHost: " X128 ":80\r\n\r\n"),
	 ANSWERABLE},
	{CASE("host of 129", "GET / HTTP/1.1\r\nHost: x" X128 "\r\n\r\n"), FRAMED(HOST),
	 .host = ""},
	{CASE("host of 128 with port", "GET / HTTP/1.1\r\nHost: " X128 ":81\r\n\r\n"), FRAMED(HOST),
	 .host = ""},
	{CASE("host missing", "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"), FRAMED(HOST), .host = ""},
	{CASE("no header at all", "GET / HTTP/1.1\r\n\r\n"), FRAMED(HOST), .host = ""},
	{CASE("host twice", GET_WITH("Host: b\r\n")), FRAMED(HOST), .host = ""},
	{CASE("host twice the same", GET_WITH("Host: a\r\n")), FRAMED(HOST), .host = ""},
	{CASE("host thrice", GET_WITH("Host: a\r\nHost: a\r\n")), FRAMED(HOST), .host = ""},
	{CASE("host empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n"), FRAMED(HOST), .host = ""},
	{CASE("host of spaces", "GET / HTTP/1.1\r\nHost:   \r\n\r\n"), FRAMED(HOST), .host = ""},
	{CASE("host after nine spaces", "GET / HTTP/1.1\r\nHost:         a\r\n\r\n"), FRAMED(HOST),
	 .host = ""},
	{CASE("host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), FRAMED(HOST)},
	{CASE("host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), FRAMED(HOST)},
	{CASE("host asterisk", "GET / HTTP/1.1\r\nHost: *\r\n\r\n"), FRAMED(HOST), .host = ""},
	{CASE("host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with percent", "GET / HTTP/1.1\r\nHost: a%41\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with sub-delim", "GET / HTTP/1.1\r\nHost: a!b\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with tilde", "GET / HTTP/1.1\r\nHost: a~b\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with empty label", "GET / HTTP/1.1\r\nHost: a..b\r\n\r\n"), FRAMED(HOST)},
	{CASE("host dot", "GET / HTTP/1.1\r\nHost: .\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with 0x80", "GET / HTTP/1.1\r\nHost: \x80\r\n\r\n"), FRAMED(HOST)},
	{CASE("host of port alone", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with port 0", "GET / HTTP/1.1\r\nHost: a:0\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with port 080", "GET / HTTP/1.1\r\nHost: a:080\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with port 65536", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with port 100000", "GET / HTTP/1.1\r\nHost: a:100000\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with port x", "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n"), FRAMED(HOST)},
	{CASE("host with two ports", "GET / HTTP/1.1\r\nHost: a:8:8\r\n\r\n"), FRAMED(HOST)},
	{CASE("host of ipv6 bare", "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"), FRAMED(HOST)},
	{CASE("host of ipv6 open", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), FRAMED(HOST)},
	{CASE("host of ipv6 empty", "GET / HTTP/1.1\r\nHost: []\r\n\r\n"), FRAMED(HOST)},
	{CASE("host in brackets", "GET / HTTP/1.1\r\nHost: [abc]\r\n\r\n"), FRAMED(HOST)},
	{CASE("host of ipv6 with zone", "GET / HTTP/1.1\r\nHost: [fe80::1%eth0]\r\n\r\n"),
	 FRAMED(HOST)},
	{CASE("host of ipv6 then name", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n"), FRAMED(HOST)},

	/* The body. */
	{CASE("length 0", GET_WITH("Content-Length: 0\r\n")), FRAMED(BODY), .flags = KAC_F_LENGTH},
	{CASE("length 5", GET_WITH("Content-Length:5\r\n") "hello"), FRAMED(BODY),
	 .flags = KAC_F_LENGTH, .body_len = 5, .rest = 5},
	{CASE("length with zeros", GET_WITH("Content-Length: 0010\r\n")), FRAMED(BODY),
	 .flags = KAC_F_LENGTH, .body_len = 10},
	{CASE("length of 18 digits", GET_WITH("content-length: 999999999999999999\r\n")),
	 FRAMED(BODY), .flags = KAC_F_LENGTH, .body_len = 999999999999999999ULL},
	{CASE("length of 19 digits", GET_WITH("Content-Length: 1000000000000000000\r\n")),
	 MALFORMED},
	{CASE("length that overflows", GET_WITH("Content-Length: 18446744073709551621\r\n")),
	 MALFORMED},
	{CASE("length then space", GET_WITH("Content-Length: 5 \r\n")), MALFORMED},
	{CASE("length empty", GET_WITH("Content-Length:\r\n")), MALFORMED},
	{CASE("length twice the same", GET_WITH("Content-Length: 1\r\nContent-Length: 1\r\n")),
	 MALFORMED},
	{CASE("length twice", GET_WITH("Content-Length: 1\r\nContent-Length: 2\r\n")), MALFORMED},
	{CASE("length list", GET_WITH("Content-Length: 1, 1\r\n")), MALFORMED},
	{CASE("length with plus", GET_WITH("Content-Length: +1\r\n")), MALFORMED},
	{CASE("length with minus", GET_WITH("Content-Length: -1\r\n")), MALFORMED},
	{CASE("length with a space", GET_WITH("Content-Length: 1 1\r\n")), MALFORMED},
	{CASE("length in hex", GET_WITH("Content-Length: 0x1\r\n")), MALFORMED},
	{CASE("length with 0xb2", GET_WITH("Content-Length: \xb2\r\n")), MALFORMED},
	{CASE("chunked", GET_WITH("Transfer-Encoding: chunked\r\n") "0\r\n\r\n"), FRAMED(BODY),
	 .flags = KAC_F_CHUNKED, .rest = 5},
	{CASE("chunked in upper case", GET_WITH("TRANSFER-ENCODING:\tCHUNKED\r\n")), FRAMED(BODY),
	 .flags = KAC_F_CHUNKED},
	{CASE("chunked post", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
	 FRAMED(METHOD), .flags = KAC_F_CHUNKED},
	{CASE("chunked and length", GET_WITH("Transfer-Encoding: chunked\r\n"
					     "Content-Length: 0\r\n")),
	 MALFORMED},
	{CASE("length and chunked", GET_WITH("Content-Length: 0\r\n"
					     "Transfer-Encoding: chunked\r\n")),
	 MALFORMED},
	{CASE("chunked twice", GET_WITH("Transfer-Encoding: chunked\r\n"
					"Transfer-Encoding: chunked\r\n")),
	 MALFORMED},
	{CASE("chunked then tab", GET_WITH("Transfer-Encoding: chunked\t\r\n")), MALFORMED},
	{CASE("chunked list", GET_WITH("Transfer-Encoding: gzip, chunked\r\n")), MALFORMED},
	{CASE("chunked with more", GET_WITH("Transfer-Encoding: chunkedd\r\n")), MALFORMED},
	{CASE("chunked not last", GET_WITH("Transfer-Encoding: chunked, identity\r\n")), MALFORMED},
	{CASE("transfer coding of another kind", GET_WITH("Transfer-Encoding: identity\r\n")),
	 MALFORMED},
	{CASE("transfer coding with vertical tab", GET_WITH("Transfer-Encoding: \vchunked\r\n")),
	 MALFORMED},
	{CASE("transfer coding with 0x80", GET_WITH("Transfer-Encoding: chunked\x80\r\n")),
	 MALFORMED},
	{CASE("transfer coding empty", GET_WITH("Transfer-Encoding:\r\n")), MALFORMED},
	{CASE("chunked in 1.0", "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), MALFORMED},

	/* The connection. */
	{CASE("keep-alive", GET_WITH("Connection: Keep-Alive\r\nKeep-Alive: 300\r\n")), ANSWERABLE},
	{CASE("keep-alive for a proxy", GET_WITH("Proxy-Connection: KEEP-ALIVE\r\n")), ANSWERABLE},
	{CASE("close", GET_WITH("Connection: close\r\n")), FRAMED(CLOSE), .flags = KAC_F_CLOSE},
	{CASE("close in mixed case", GET_WITH("Connection:CLoSE\r\n")), FRAMED(CLOSE),
	 .flags = KAC_F_CLOSE},
	{CASE("close in a list", GET_WITH("Connection: keep-alive ,\tclose\r\n")), FRAMED(CLOSE),
	 .flags = KAC_F_CLOSE},
	{CASE("close on a second line",
	      GET_WITH("Connection: keep-alive\r\nConnection: close\r\n")),
	 FRAMED(CLOSE), .flags = KAC_F_CLOSE},
	{CASE("close for a proxy", GET_WITH("Proxy-Connection: close\r\n")), FRAMED(CLOSE),
	 .flags = KAC_F_CLOSE},
	{CASE("close far back", GET_WITH("Connection: " X384 "close\r\n")), FRAMED(HEADER),
	 .flags = KAC_F_CLOSE},
	{CASE("connection of another kind", GET_WITH("Connection: te\r\n")), FRAMED(HEADER)},
	{CASE("connection list", GET_WITH("Connection: keep-alive, cookie\r\n")), FRAMED(HEADER)},
	{CASE("connection empty", GET_WITH("Connection:\r\n")), FRAMED(HEADER)},
	{CASE("connection cut short", GET_WITH("Connection: clos\r\n")), FRAMED(HEADER)},
	{CASE("upgrade", GET_WITH("Connection: Upgrade\r\nUpgrade: websocket\r\n")),
	 FRAMED(UPGRADE), .flags = KAC_F_UPGRADE},
	{CASE("upgrade and close", GET_WITH("Connection: upgrade, close\r\n")), FRAMED(UPGRADE),
	 .flags = KAC_F_UPGRADE | KAC_F_CLOSE},
	{CASE("upgrade header alone", GET_WITH("Upgrade: h2c\r\n")), FRAMED(UPGRADE),
	 .flags = KAC_F_UPGRADE},
	{CASE("upgrade to http 2", GET_WITH("HTTP2-Settings: AAMAAABk\r\n")), FRAMED(UPGRADE),
	 .flags = KAC_F_UPGRADE},
	{CASE("expect", "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
			"Content-Length: 9\r\n\r\n"),
	 FRAMED(METHOD), .flags = KAC_F_UPGRADE | KAC_F_LENGTH, .body_len = 9},

	/* Headers that make a request pass. */
	{CASE("authorization", GET_WITH("Authorization: Basic YTpi\r\n")), FRAMED(AUTHORIZATION)},
	{CASE("proxy authorization", GET_WITH("Proxy-Authorization: Basic YTpi\r\n")),
	 FRAMED(AUTHORIZATION)},
	{CASE("if-none-match", GET_WITH("If-None-Match: \"1\"\r\n")), FRAMED(CONDITIONAL)},
	{CASE("if-modified-since", GET_WITH("If-Modified-Since: 0\r\n")), FRAMED(CONDITIONAL)},
	{CASE("if-match", GET_WITH("If-Match: *\r\n")), FRAMED(CONDITIONAL)},
	{CASE("if-unmodified-since", GET_WITH("If-Unmodified-Since: 0\r\n")), FRAMED(CONDITIONAL)},
	{CASE("if-range", GET_WITH("If-Range: \"1\"\r\n")), FRAMED(CONDITIONAL)},
	{CASE("range", GET_WITH("Range: bytes=0-1\r\n")), FRAMED(CONDITIONAL)},
	{CASE("cache-control", GET_WITH("Cache-Control: no-cache\r\n")), FRAMED(CONDITIONAL)},
	{CASE("pragma", GET_WITH("Pragma: no-cache\r\n")), FRAMED(CONDITIONAL)},
	{CASE("encoding", GET_WITH("Accept-Encoding: gzip, br\r\nAccept-Encoding:\r\n")),
	 ANSWERABLE},
	{CASE("encoding with weight", GET_WITH("Accept-Encoding: gzip;q=1.0, *;q=0\r\n")),
	 FRAMED(ENCODING)},
	{CASE("encoding before a weight of others", GET_WITH("Accept-Encoding: br\r\nb3:;\r\n")),
	 ANSWERABLE},
	{CASE("encoding that is long", GET_WITH("Accept-Encoding: " X128 "x\r\n")),
	 FRAMED(ENCODING)},
	{CASE("te", GET_WITH("TE: trailers\r\n")), FRAMED(HEADER)},
	{CASE("trailer", GET_WITH("Trailer: a\r\n")), FRAMED(HEADER)},
	{CASE("origin", GET_WITH("Origin: http://b\r\n")), FRAMED(HEADER)},
	{CASE("x-forwarded-proto", GET_WITH("X-Forwarded-Proto: https\r\n")), FRAMED(HEADER)},
	{CASE("x-forwarded-host", GET_WITH("X-Forwarded-Host: b\r\n")), FRAMED(HEADER)},
	{CASE("forwarded", GET_WITH("Forwarded: host=b\r\n")), FRAMED(HEADER)},
	{CASE("via", GET_WITH("Via: 1.1 b\r\n")), FRAMED(HEADER)},
	{CASE("save-data", GET_WITH("Save-Data: on\r\n")), FRAMED(HEADER)},
	{CASE("client hint that is asked for", GET_WITH("Sec-CH-UA-Arch: \"x86\"\r\n")),
	 FRAMED(HEADER)},
	{CASE("method override", GET_WITH("X-HTTP-Method-Override: DELETE\r\n")), FRAMED(HEADER)},
	{CASE("header of responses", GET_WITH("Content-Type: text/plain\r\n")), FRAMED(HEADER)},

	/* The order of reasons. */
	{CASE("all but the method", "GET * HTTP/1.0\r\nContent-Length: 1\r\nUpgrade: x\r\n"
				    "Connection: close\r\nAuthorization: x\r\nRange: x\r\n"
				    "Accept-Encoding: x;q=0\r\nx: x\r\n\r\n"),
	 FRAMED(VERSION), .flags = KAC_F_LENGTH | KAC_F_UPGRADE | KAC_F_CLOSE | KAC_F_OLD,
	 .body_len = 1},
	{CASE("all but method and version", "GET * HTTP/1.1\r\nContent-Length: 1\r\nUpgrade: x\r\n"
					    "Connection: close\r\nRange: x\r\nx: x\r\n\r\n"),
	 FRAMED(TARGET), .flags = KAC_F_LENGTH | KAC_F_UPGRADE | KAC_F_CLOSE, .body_len = 1},
	{CASE("host before body", "GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n"), FRAMED(HOST),
	 .flags = KAC_F_LENGTH, .body_len = 1},
	{CASE("body before upgrade", GET_WITH("Upgrade: x\r\nContent-Length: 1\r\n")), FRAMED(BODY),
	 .flags = KAC_F_LENGTH | KAC_F_UPGRADE, .body_len = 1},
	{CASE("close before authorization", GET_WITH("Authorization: x\r\nConnection: close\r\n")),
	 FRAMED(CLOSE), .flags = KAC_F_CLOSE},
	{CASE("authorization before range", GET_WITH("Range: x\r\nAuthorization: x\r\n")),
	 FRAMED(AUTHORIZATION)},
	{CASE("range before encoding", GET_WITH("Accept-Encoding: x;q=0\r\nRange: x\r\n")),
	 FRAMED(CONDITIONAL)},
	{CASE("encoding before others", GET_WITH("x: x\r\nAccept-Encoding: x;q=0\r\n")),
	 FRAMED(ENCODING)},

	/* The end. */
	{CASE("a byte", "G"), MORE},
	{CASE("no end", "GET / HTTP/1.1\r\nHost: a\r\n"), MORE},
	{CASE("half an end", "GET / HTTP/1.1\r\nHost: a\r\n\r"), MORE},
	{CASE("half a name", "GET / HTTP/1.1\r\nHo"), MORE},
	{CASE("half a value", "GET / HTTP/1.1\r\nHost: a"), MORE},
	{CASE("half a target", "GET /" X128), MORE},
};

static const struct http_case http_responses[] = {
	{CASE("nginx", RESPONSE_NGINX), DONE, .flags = KAC_F_LENGTH, .body_len = 1024,
	 .status = 200},
	{CASE("until close", "HTTP/1.1 200 OK\r\n\r\nabc"), DONE, .status = 200, .rest = 3},
	{CASE("no reason phrase", "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"), DONE,
	 .flags = KAC_F_LENGTH, .status = 404},
	{CASE("reason phrase with obs-text", "HTTP/1.1 200 \xc3\xa9\t!\r\n\r\n"), DONE,
	 .status = 200},
	{CASE("value with obs-text", "HTTP/1.1 200 OK\r\nX: \xff\r\n\r\n"), DONE, .status = 200},
	{CASE("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"), DONE,
	 .flags = KAC_F_CHUNKED, .status = 200, .rest = 5},
	{CASE("close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"), DONE,
	 .flags = KAC_F_CLOSE | KAC_F_LENGTH, .body_len = 5, .status = 200},
	{CASE("keep-alive", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n"
			    "Content-Length: 5\r\n\r\n"),
	 DONE, .flags = KAC_F_LENGTH, .body_len = 5, .status = 200},
	{CASE("upgrade offered", "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
				 "Content-Length: 5\r\n\r\n"),
	 DONE, .flags = KAC_F_LENGTH | KAC_F_UPGRADE, .body_len = 5, .status = 200},
	{CASE("1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"), DONE,
	 .flags = KAC_F_CLOSE | KAC_F_OLD | KAC_F_LENGTH, .body_len = 5, .status = 200},
	{CASE("100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), DONE, .flags = KAC_F_NO_BODY,
	 .status = 100, .rest = 12},
	{CASE("103", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), DONE,
	 .flags = KAC_F_NO_BODY, .status = 103},
	{CASE("204", "HTTP/1.1 204 No Content\r\n\r\n"), DONE, .flags = KAC_F_NO_BODY,
	 .status = 204},
	{CASE("204 with length 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"), DONE,
	 .flags = KAC_F_NO_BODY | KAC_F_LENGTH, .status = 204},
	{CASE("304 with length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), DONE,
	 .flags = KAC_F_NO_BODY | KAC_F_LENGTH, .body_len = 9, .status = 304},
	{CASE("304 chunked", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
	 DONE, .flags = KAC_F_NO_BODY | KAC_F_CHUNKED, .status = 304},
	{CASE("599", "HTTP/1.1 599 x\r\n\r\n"), DONE, .status = 599},
	{CASE("64 lines", "HTTP/1.1 200 OK\r\nA:b\r\n" LINES_63 "\r\n"), DONE, .status = 200},

	{CASE("65 lines", "HTTP/1.1 200 OK\r\nA:b\r\n" LINES_63 "a:b\r\n\r\n"), TOO_LONG},
	{CASE("101", "HTTP/1.1 101 Switching Protocols\r\n\r\n"), .verdict = KAC_HEAD_OPAQUE,
	 .reason = KAC_PASS_UPGRADE},
	{CASE("099", "HTTP/1.1 099 x\r\n\r\n"), MALFORMED},
	{CASE("600", "HTTP/1.1 600 x\r\n\r\n"), MALFORMED},
	{CASE("2x0", "HTTP/1.1 2x0 x\r\n\r\n"), MALFORMED},
	{CASE("20", "HTTP/1.1 20 OK\r\n\r\n"), MALFORMED},
	{CASE("2000", "HTTP/1.1 2000 OK\r\n\r\n"), MALFORMED},
	{CASE("no space after the status", "HTTP/1.1 200\r\n\r\n"), MALFORMED},
	{CASE("two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n"), MALFORMED},
	{CASE("version 1.2", "HTTP/1.2 200 OK\r\n\r\n"), MALFORMED},
	{CASE("version 2.0", "HTTP/2.0 200 OK\r\n\r\n"), MALFORMED},
	{CASE("version in lower case", "http/1.1 200 OK\r\n\r\n"), MALFORMED},
	{CASE("icy", "ICY 200 OK\r\n\r\n"), MALFORMED},
	{CASE("empty line before", "\r\nHTTP/1.1 200 OK\r\n\r\n"), MALFORMED},
	{CASE("line feed alone", "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n"), MALFORMED},
	{CASE("line feed after a value", "HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\n"), MALFORMED},
	{CASE("reason phrase with zero", "HTTP/1.1 200 O\0K\r\n\r\n"), MALFORMED},
	{CASE("reason phrase with del", "HTTP/1.1 200 \x7f\r\n\r\n"), MALFORMED},
	{CASE("folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"), MALFORMED},
	{CASE("space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n"),
	 MALFORMED},
	{CASE("length twice", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
	 MALFORMED},
	{CASE("length list", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"), MALFORMED},
	{CASE("length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
				    "Transfer-Encoding: chunked\r\n\r\n"),
	 MALFORMED},
	{CASE("chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
			       "Transfer-Encoding: chunked\r\n\r\n"),
	 MALFORMED},
	{CASE("gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
	 MALFORMED},
	{CASE("chunked in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
	 MALFORMED},
	{CASE("204 with length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
	 MALFORMED},
	{CASE("204 chunked", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
	 MALFORMED},
	{CASE("100 with length", "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"), MALFORMED},

	{CASE("a byte", "H"), MORE},
	{CASE("half a version", "HTTP/1."), MORE},
	{CASE("nothing after the status", "HTTP/1.1 200"), MORE},
	{CASE("half a status", "HTTP/1.1 20"), MORE},
	{CASE("no end", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), MORE},
	{CASE("half an end", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r"), MORE},
};

#define HTTP_REQUESTS  (sizeof(http_requests) / sizeof(http_requests[0]))
#define HTTP_RESPONSES (sizeof(http_responses) / sizeof(http_responses[0]))

#endif
