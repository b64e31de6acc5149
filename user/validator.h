/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_VALIDATOR_H
#define KACCEL_VALIDATOR_H

#include <sys/stat.h>
#include <time.h>

#include <kaccel/maps.h>

/* Room for an entity tag of kac_etag: quotes, two 64-bit numbers in hex, a dash and the NUL. */
#define KAC_ETAG_MAX 36

/* The strong entity tag of a file, quotes included, in nginx's form: "mtime-size", both hex. */
void kac_etag(const struct stat *st, char etag[KAC_ETAG_MAX]);

/* @t as IMF-fixdate (RFC 9110 5.6.7), NUL-terminated. Years outside 0..9999 are clamped. */
void kac_http_date(time_t t, char date[KAC_DATE_LEN + 1]);

/*
 * Parse a date in any of the three forms that a recipient must accept (RFC 9110 5.6.7). 0 and
 * *@t, or -EINVAL: the field is then to be ignored.
 */
int kac_parse_http_date(const char *text, time_t *t);

#endif
