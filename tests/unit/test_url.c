// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../user/url.h"

static void test_accepted(void **state)
{
	static const struct {
		const char *text, *authority, *target;
	} cases[] = {
		{"http://example.org/", "example.org", "/"},
		{"http://example.org", "example.org", "/"},
		{"HTTP://EXAMPLE.org/Path", "example.org", "/Path"},
		{"http://example.org:80/", "example.org", "/"},
		{"http://example.org:/", "example.org", "/"},
		{"http://example.org:080/", "example.org", "/"},
		{"http://example.org:8080/a/b.html", "example.org:8080", "/a/b.html"},
		{"http://example.org:65535", "example.org:65535", "/"},
		{"http://a/b?c=d&e=%20", "a", "/b?c=d&e=%20"},
		{"http://a?q", "a", "/?q"},
		{"http://a/?q=/?:@", "a", "/?q=/?:@"},
		{"http://a//b/../c", "a", "//b/../c"},
		{"http://127.0.0.1:8080/", "127.0.0.1:8080", "/"},
		{"http://[::1]/", "[::1]", "/"},
		{"http://[::1]:8080/x", "[::1]:8080", "/x"},
		{"http://[2001:DB8:0:0::1]:80/", "[2001:db8::1]", "/"},
		{"http://xn--bcher-kva.example/", "xn--bcher-kva.example", "/"},
		{"http://under_score.a-b~c/", "under_score.a-b~c", "/"},
		{"http://*/", "*", "/"},
		{"http://*", "*", "/"},
		{"http://*/x*?*", "*", "/x*?*"},
	};
	struct kac_url url;
	const char *why;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(kac_url_parse(cases[i].text, &url, &why), 0);
		assert_string_equal(url.authority, cases[i].authority);
		assert_string_equal(url.target, cases[i].target);
	}
}

static void test_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"/",
		"example.org/",
		"ftp://a/",
		"http:/a/",
		"http:a",
		"https://a/",
		"http://",
		"http:///",
		"http://:80/",
		"http://a:0/",
		"http://a:65536/",
		"http://a:99999999999/",
		"http://a:8x/",
		"http://a:-1/",
		"http://a: 80/",
		"http://a:80:80/",
		"http://user@a/",
		"http://user:pass@a/",
		"http://a b/",
		"http://a\tb/",
		"http://a%41/",
		"http://b\xc3\xbc"
		"cher.example/",
		"http://a/b c",
		"http://a/b\n",
		"http://a/\x7f",
		"http://a/b\xc3\xbc",
		"http://a/b#c",
		"http://a#c",
		"http://*:80/",
		"http://*.example.org/",
		"http://[::1/",
		"http://[::1]x/",
		"http://[::1]:x/",
		"http://[]/",
		"http://[1.2.3.4]/",
		"http://[fe80::1%25eth0]/",
		"http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]/",
		"http://::1/",
	};
	struct kac_url url;
	const char *why;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		why = NULL;
		assert_int_equal(kac_url_parse(cases[i], &url, &why), -EINVAL);
		assert_non_null(why);
	}
}

static void test_length(void **state)
{
	char text[1024];
	struct kac_url url;
	const char *why;
	size_t len;

	for (len = 1; len < 600; len++) {
		int err;

		sprintf(text, "http://a/%0*d", (int)len, 0);
		err = kac_url_parse(text, &url, &why);
		assert_int_equal(err, len + 1 <= KAC_TARGET_MAX ? 0 : -EINVAL);
		sprintf(text, "http://a?%0*d", (int)len, 0);
		err = kac_url_parse(text, &url, &why);
		assert_int_equal(err, len + 2 <= KAC_TARGET_MAX ? 0 : -EINVAL);
		sprintf(text, "http://%0*d:65535/", (int)len, 0);
		err = kac_url_parse(text, &url, &why);
		if (!err)
			assert_true(strlen(url.authority) <= KAC_AUTHORITY_MAX);
		else
			assert_true(len > 100);
	}
}

/* As a browser would write the link (the path percent-encode set of the WHATWG URL standard). */
static void test_append(void **state)
{
	static const struct {
		const char *name, *encoded;
	} cases[] = {
		{"index.html", "/d/index.html"},
		{"a b", "/d/a%20b"},
		{"100%", "/d/100%25"},
		{"a?b#c", "/d/a%3Fb%23c"},
		{"\"<>`{}^\\", "/d/%22%3C%3E%60%7B%7D%5E%5C"},
		{"|[]!$&'()*+,;=:@~-._", "/d/|[]!$&'()*+,;=:@~-._"},
		{"b\xc3\xbc", "/d/b%C3%BC"},
		{"\x01\x7f\n", "/d/%01%7F%0A"},
		{"", "/d/"},
	};
	char target[64], small[8] = "/d/";
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		strcpy(target, "/d/");
		assert_int_equal(kac_url_append(target, sizeof(target), cases[i].name), 0);
		assert_string_equal(target, cases[i].encoded);
	}
	assert_int_equal(kac_url_append(small, sizeof(small), "abcde"), -ENAMETOOLONG);
	assert_int_equal(kac_url_append(small, sizeof(small), "ab\xc3"), -ENAMETOOLONG);
	assert_string_equal(small, "/d/");
	assert_int_equal(kac_url_append(small, sizeof(small), "abcd"), 0);
	assert_string_equal(small, "/d/abcd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_append),
	};

	return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
