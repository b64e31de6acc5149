/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_FIELD_H
#define KACCEL_FIELD_H

#include <stdbool.h>
#include <stddef.h>

/* Header fields as text: lines "Name: value", each ended by CRLF (RFC 9112 5). */

/*
 * Find the first field of that name, case ignored, in @len bytes of a head, with or without its
 * status line. Returns its value within @lines, without surrounding blanks, and *@value_len; NULL
 * when there is none.
 */
const char *kac_field(const char *lines, size_t len, const char *name, size_t *value_len);

/* Whether @lines, "" too, is nothing but whole fields of visible ASCII, spaces and tabs. */
bool kac_fields_valid(const char *lines);

#endif
