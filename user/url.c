// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "kaccel.h"
#include "url.h"

#define HTTP	     "http://"
#define DEFAULT_PORT 80

#define TEXT_OF(x)  #x
#define VALUE_OF(x) TEXT_OF(x)

static int refuse(const char **why, const char *text)
{
	*why = text;
	return -EINVAL;
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* "[...]" without the brackets, into canonical form. */
static int parse_ipv6(const char *text, size_t len, char *out, size_t room, const char **why)
{
	char literal[INET6_ADDRSTRLEN], canonical[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (len >= sizeof(literal))
		return refuse(why, "what is in the brackets is not an IPv6 address");
	memcpy(literal, text, len);
	literal[len] = '\0';
	if (inet_pton(AF_INET6, literal, &addr) != 1)
		return refuse(why, "what is in the brackets is not an IPv6 address");
	inet_ntop(AF_INET6, &addr, canonical, sizeof(canonical));
	snprintf(out, room, "[%s]", canonical);
	return 0;
}

static int parse_host(const char *text, size_t len, char *out, size_t room, const char **why)
{
	size_t i;

	if (!len)
		return refuse(why, "it names no host ('*' is any)");
	if (len >= room)
		return refuse(why, "its host is too long");
	for (i = 0; i < len; i++) {
		char c = text[i];

		if (c == '@')
			return refuse(why, "a user name has no place in it");
		if (c & 0x80)
			return refuse(why, "write the host in its ASCII form (xn--...)");
		if (!is_alnum(c) && !strchr("-._~", c))
			return refuse(why, "its host has a character that hosts cannot have");
		out[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
	}
	out[len] = '\0';
	return 0;
}

static int parse_port(const char *text, size_t len, uint64_t *port, const char **why)
{
	char digits[8];

	if (!len) /* RFC 3986 6.2.3: an empty port is the default one */
		return 0;
	if (len < sizeof(digits)) {
		memcpy(digits, text, len);
		digits[len] = '\0';
		if (!kac_parse_u64(digits, 1, UINT16_MAX, port))
			return 0;
	}
	return refuse(why, "its port is not a number from 1 to 65535");
}

static int parse_authority(const char *text, size_t len, char out[KAC_AUTHORITY_MAX + 1],
			   const char **why)
{
	const size_t room = KAC_AUTHORITY_MAX + 1 - strlen(":65535");
	const char *end = text + len, *colon;
	uint64_t port = DEFAULT_PORT;
	int err;

	if (len == 1 && *text == '*') {
		strcpy(out, "*");
		return 0;
	}
	if (memchr(text, '*', len))
		return refuse(why, "'*' stands alone, for any host and port");
	if (len && *text == '[') {
		const char *close = memchr(text, ']', len);

		if (!close)
			return refuse(why, "its '[' is not closed");
		colon = close + 1;
		if (colon != end && *colon != ':')
			return refuse(why, "only a port may follow the ']'");
		err = parse_ipv6(text + 1, close - text - 1, out, room, why);
	} else {
		colon = memchr(text, ':', len);
		if (!colon)
			colon = end;
		err = parse_host(text, colon - text, out, room, why);
	}
	if (err)
		return err;
	err = colon == end ? 0 : parse_port(colon + 1, end - colon - 1, &port, why);
	if (!err && port != DEFAULT_PORT)
		sprintf(out + strlen(out), ":%u", (unsigned int)port);
	return err;
}

static int parse_target(const char *text, char out[KAC_TARGET_MAX + 1], const char **why)
{
	const char *p;

	for (p = text; *p; p++) {
		if (*p == '#')
			return refuse(why, "a fragment ('#...') is never sent: leave it out");
		if (*p <= ' ' || *p >= 0x7f)
			return refuse(why, "percent-encode its spaces, control characters and "
					   "non-ASCII bytes");
	}
	if (p - text + (*text != '/') > KAC_TARGET_MAX)
		return refuse(why, "its path and query are longer than " VALUE_OF(
					   KAC_TARGET_MAX) " bytes");
	sprintf(out, "%s%s", *text == '/' ? "" : "/", text);
	return 0;
}

int kac_url_parse(const char *text, struct kac_url *url, const char **why)
{
	const char *authority = text + strlen(HTTP);
	size_t len;
	int err;

	if (!strncasecmp(text, "https://", 8))
		return refuse(why, "TLS is not answered in the kernel: give the http:// URL");
	if (strncasecmp(text, HTTP, strlen(HTTP)) != 0)
		return refuse(why, "it has to begin with http://");
	len = strcspn(authority, "/?#");
	err = parse_authority(authority, len, url->authority, why);
	return err ? err : parse_target(authority + len, url->target, why);
}

int kac_url_append(char *target, size_t room, const char *name)
{
	size_t start = strlen(target), len = start;

	for (; *name; name++) {
		unsigned char c = *name;
		bool plain = c > ' ' && c < 0x7f && !strchr("\"#<>?^`{}%\\", c);

		if (len + (plain ? 1 : 3) >= room) {
			target[start] = '\0';
			return -ENAMETOOLONG;
		}
		if (plain)
			target[len++] = (char)c;
		else
			len += sprintf(target + len, "%%%02X", c);
	}
	target[len] = '\0';
	return 0;
}
