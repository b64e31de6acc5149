// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <stdio.h>
#include <time.h>

#include "print.h"

int kac_print_json(json_t *root)
{
	if (!root)
		return kac_fail("out of memory");
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
	return KAC_EXIT_OK;
}

int64_t kac_expires_in(const struct kac_object *object)
{
	struct timespec ts;
	uint64_t now;

	if (!object->expires)
		return -1;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
	/* Rounded up: what has not expired has at least a second. */
	return object->expires > now ? (int64_t)((object->expires - now + 999999999) / 1000000000)
				     : 0;
}

void kac_print_url(const char *authority, const char *target, int width)
{
	int len = printf("http://%s%s", authority, target);

	if (len < width)
		printf("%*s", width - len, "");
}
