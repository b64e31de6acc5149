// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/* seeds DIR: write the unit tests' cases as files, for the fuzzers to begin with. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "http_cases.h"

static int write_cases(const char *dir, const char *kind, const struct http_case *cases, size_t n)
{
	char path[PATH_MAX];
	size_t i;

	snprintf(path, sizeof(path), "%s/%s", dir, kind);
	if (mkdir(path, 0777) && errno != EEXIST)
		goto fail;
	for (i = 0; i < n; i++) {
		FILE *file;
		size_t done;

		snprintf(path, sizeof(path), "%s/%s/case-%zu", dir, kind, i);
		file = fopen(path, "w");
		if (!file)
			goto fail;
		done = fwrite(cases[i].text, 1, cases[i].len, file);
		if (fclose(file) || done != cases[i].len)
			goto fail;
	}
	return 0;

fail:
	perror(path);
	return -1;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: seeds DIR\n");
		return 2;
	}
	return write_cases(argv[1], "request", http_requests, HTTP_REQUESTS) ||
	       write_cases(argv[1], "response", http_responses, HTTP_RESPONSES);
}
