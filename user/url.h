/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_URL_H
#define KACCEL_URL_H

#include <stdbool.h>
#include <stddef.h>

#include <kaccel/key.h>

/* A URL as the store names it: both parts are valid for struct kac_pin. */
struct kac_url {
	char authority[KAC_AUTHORITY_MAX + 1]; /* lower case, without ":80"; "*": any */
	char target[KAC_TARGET_MAX + 1];       /* path, "/" at least, with the query */
};

/*
 * Parse http://HOST[:PORT][/PATH][?QUERY] (RFC 3986; HOST may be "*" for any, an IPv6 literal is in
 * brackets and is brought into the form of RFC 5952). The path is kept byte for byte. -EINVAL when
 * it is not one; *@why then says so, in words that follow the URL and a colon.
 */
int kac_url_parse(const char *text, struct kac_url *url, const char **why);

/*
 * Append @name, a file name or path relative to a directory, to the path @target of @room bytes,
 * percent-encoded as a browser would send it (WHATWG URL, path percent-encode set, and '%' and '\'
 * themselves). -ENAMETOOLONG when it does not fit; @target is then as before.
 */
int kac_url_append(char *target, size_t room, const char *name);

#endif
