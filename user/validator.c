// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "validator.h"

void kac_etag(const struct stat *st, char etag[KAC_ETAG_MAX])
{
	snprintf(etag, KAC_ETAG_MAX, "\"%" PRIx64 "-%" PRIx64 "\"", (uint64_t)st->st_mtime,
		 (uint64_t)st->st_size);
}

void kac_http_date(time_t t, char date[KAC_DATE_LEN + 1])
{
	/* strftime follows the locale, HTTP does not. */
	static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	const time_t first = -62167219200, last = 253402300799; /* of the years 0 and 9999 */
	struct tm tm;

	t = t < first ? first : t > last ? last : t;
	gmtime_r(&t, &tm);
	/* The remainders are for the compiler, which does not know gmtime's ranges. */
	snprintf(date, KAC_DATE_LEN + 1, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday],
		 (unsigned int)tm.tm_mday % 100, months[tm.tm_mon],
		 (unsigned int)(tm.tm_year + 1900) % 10000, (unsigned int)tm.tm_hour % 100,
		 (unsigned int)tm.tm_min % 100, (unsigned int)tm.tm_sec % 100);
}

int kac_parse_http_date(const char *text, time_t *t)
{
	static const char *const forms[] = {
		"%a, %d %b %Y %H:%M:%S GMT", /* IMF-fixdate */
		"%A, %d-%b-%y %H:%M:%S GMT", /* RFC 850 */
		"%a %b %e %H:%M:%S %Y",	     /* asctime */
	};
	unsigned int i;

	for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tm = {0};
		const char *end = strptime(text, forms[i], &tm);
		struct tm normal;

		if (!end || *end)
			continue;
		normal = tm;
		*t = timegm(&normal);
		/* strptime takes any day of the month up to 31. */
		return normal.tm_mday == tm.tm_mday ? 0 : -EINVAL;
	}
	return -EINVAL;
}
