// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/* Any bytes as a response: what must hold of our parser, and that another one reads it as we do. */
#include "http_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *wrong;

	if (len > KAC_REQ_MAX)
		len = KAC_REQ_MAX;
	wrong = http_check_response(data, len, len / 8 + 1);
	if (wrong) {
		fprintf(stderr, "does not hold: %s\n", wrong);
		abort();
	}
	return 0;
}
