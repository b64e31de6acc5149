// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <string.h>
#include <strings.h>

#include "field.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* RFC 9110 5.6.2 */
static bool is_token(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

const char *kac_field(const char *lines, size_t len, const char *name, size_t *value_len)
{
	const char *end = lines + len, *next;
	size_t name_len = strlen(name);

	for (; lines < end; lines = next) {
		const char *eol = memmem(lines, end - lines, "\r\n", 2);
		const char *value;

		next = eol ? eol + 2 : end;
		if (!eol)
			eol = end;
		if ((size_t)(eol - lines) <= name_len || lines[name_len] != ':' ||
		    strncasecmp(lines, name, name_len) != 0)
			continue;
		for (value = lines + name_len + 1; value < eol && is_blank(*value); value++)
			;
		while (eol > value && is_blank(eol[-1]))
			eol--;
		*value_len = eol - value;
		return value;
	}
	return NULL;
}

bool kac_fields_valid(const char *lines)
{
	while (*lines) {
		const char *p = lines;

		while (is_token(*p))
			p++;
		if (p == lines || *p++ != ':')
			return false;
		while (is_blank(*p) || (*p > ' ' && *p < 0x7f))
			p++;
		if (p[0] != '\r' || p[1] != '\n')
			return false;
		lines = p + 2;
	}
	return true;
}
