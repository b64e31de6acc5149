// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../user/validator.h"

static void test_etag(void **state)
{
	struct stat st = {.st_mtim.tv_sec = 0x65a0f00d, .st_size = 0x1f2};
	char etag[KAC_ETAG_MAX];

	kac_etag(&st, etag);
	assert_string_equal(etag, "\"65a0f00d-1f2\"");
	st.st_mtim.tv_sec = -1;
	st.st_size = INT64_MAX;
	kac_etag(&st, etag);
	assert_string_equal(etag, "\"ffffffffffffffff-7fffffffffffffff\"");
	st.st_mtim.tv_sec = 0;
	st.st_size = 0;
	kac_etag(&st, etag);
	assert_string_equal(etag, "\"0-0\"");
}

static void test_format(void **state)
{
	static const struct {
		time_t t;
		const char *date;
	} cases[] = {
		{784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
		{0, "Thu, 01 Jan 1970 00:00:00 GMT"},
		{-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
		{951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
		{4102444800, "Fri, 01 Jan 2100 00:00:00 GMT"},
		{INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
		{INT64_MIN, "Sat, 01 Jan 0000 00:00:00 GMT"},
	};
	char date[KAC_DATE_LEN + 1];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kac_http_date(cases[i].t, date);
		assert_string_equal(date, cases[i].date);
		assert_int_equal(strlen(date), KAC_DATE_LEN);
	}
}

static void test_parse(void **state)
{
	static const char *const same[] = {
		"Sun, 06 Nov 1994 08:49:37 GMT",
		"Sunday, 06-Nov-94 08:49:37 GMT",
		"Sun Nov  6 08:49:37 1994",
	};
	static const char *const bad[] = {
		"",
		"0",
		"Sun, 06 Nov 1994 08:49:37",
		"Sun, 06 Nov 1994 08:49:37 GMT ",
		"Sun, 06 Nov 1994 08:49:37 +0000",
		"Sun, 31 Feb 1994 08:49:37 GMT",
		"Sun, 06 Nov 1994 25:49:37 GMT",
		"Sun, 06 Foo 1994 08:49:37 GMT",
		"1994-11-06T08:49:37Z",
	};
	char date[KAC_DATE_LEN + 1];
	time_t t, back;
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		assert_int_equal(kac_parse_http_date(same[i], &t), 0);
		assert_int_equal(t, 784111777);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kac_parse_http_date(bad[i], &t), -EINVAL);
	for (t = 0; t < 253402300799; t += 86399 * 97) {
		kac_http_date(t, date);
		assert_int_equal(kac_parse_http_date(date, &back), 0);
		assert_int_equal(back, t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_etag),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests_name("validator", tests, NULL, NULL);
}
