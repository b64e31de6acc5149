// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../user/mime.h"

static void test_system_table(void **state)
{
	static const struct {
		const char *path, *type;
	} cases[] = {
		{"index.html", "text/html; charset=utf-8"},
		{"/a.b/INDEX.HTML", "text/html; charset=utf-8"},
		{"style.css", "text/css; charset=utf-8"},
		{"app.js", "text/javascript; charset=utf-8"},
		{"app.mjs", "text/javascript; charset=utf-8"},
		{"robots.txt", "text/plain; charset=utf-8"},
		{"data.json", "application/json"},
		{"feed.xml", "application/xml"},
		{"logo.svg", "image/svg+xml"},
		{"logo.png", "image/png"},
		{"photo.jpeg", "image/jpeg"},
		{"font.woff2", "font/woff2"},
		{"module.wasm", "application/wasm"},
		{"archive.tar.gz", "application/gzip"},
		{"noextension", "application/octet-stream"},
		{"dir.html/file", "application/octet-stream"},
		{"file.", "application/octet-stream"},
		{"file.no-such-extension", "application/octet-stream"},
		{"", "application/octet-stream"},
	};
	struct kac_mime *mime __cleanup_mime = NULL;
	size_t i;

	assert_int_equal(kac_mime_load(NULL, &mime), 0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(kac_mime_type(mime, cases[i].path), cases[i].type);
}

static int load(const char *table, struct kac_mime **mime)
{
	char path[] = "/tmp/kaccel-mime-XXXXXX";
	int fd = mkstemp(path), err;
	FILE *f = fdopen(fd, "w");

	fputs(table, f);
	fclose(f);
	err = kac_mime_load(path, mime);
	unlink(path);
	return err;
}

static void test_own_table(void **state)
{
	struct kac_mime *mime __cleanup_mime = NULL;

	assert_int_equal(load("# comment\n"
			      "\n"
			      "a/b\n"
			      "  text/one  x  y # z\n"
			      "TEXT/xml xml\n"
			      "text/two+xml w\n"
			      "a/b x",
			      &mime),
			 0);
	assert_string_equal(kac_mime_type(mime, "1.y"), "text/one; charset=utf-8");
	/* The last line to name an extension has it. */
	assert_string_equal(kac_mime_type(mime, "1.x"), "a/b");
	assert_string_equal(kac_mime_type(mime, "1.z"), "application/octet-stream");
	assert_string_equal(kac_mime_type(mime, "1.xml"), "TEXT/xml");
	assert_string_equal(kac_mime_type(mime, "1.w"), "text/two+xml");
}

static void test_empty_table(void **state)
{
	struct kac_mime *mime __cleanup_mime = NULL;

	assert_int_equal(load("", &mime), 0);
	assert_string_equal(kac_mime_type(mime, "index.html"), "application/octet-stream");
}

static void test_no_table(void **state)
{
	struct kac_mime *mime = NULL;

	assert_int_equal(kac_mime_load("/nonexistent/mime.types", &mime), -ENOENT);
	assert_int_equal(kac_mime_load("/", &mime), -EIO);
	assert_null(mime);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_system_table),
		cmocka_unit_test(test_own_table),
		cmocka_unit_test(test_empty_table),
		cmocka_unit_test(test_no_table),
	};

	return cmocka_run_group_tests_name("mime", tests, NULL, NULL);
}
