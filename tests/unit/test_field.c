// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../user/field.h"

static void check(const char *lines, const char *name, const char *expected)
{
	size_t len;
	const char *value = kac_field(lines, strlen(lines), name, &len);

	if (!expected) {
		assert_null(value);
		return;
	}
	assert_non_null(value);
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(value, expected, len);
}

static void test_find(void **state)
{
	static const char head[] = "HTTP/1.1 200 OK\r\n"
				   "Server: x\r\n"
				   "content-type:text/html\r\n"
				   "Empty:\r\n"
				   "Blank: \t\r\n"
				   "Padded:  a b \t\r\n"
				   "Server: y\r\n"
				   "\r\n";

	check(head, "Server", "x");
	check(head, "Content-Type", "text/html");
	check(head, "Empty", "");
	check(head, "Blank", "");
	check(head, "Padded", "a b");
	check(head, "Serve", NULL);
	check(head, "Serverx", NULL);
	check(head, "HTTP/1.1 200 OK", NULL);
	check("", "A", NULL);
	check("A: b", "A", "b");
	check("A", "A", NULL);
}

static void test_valid(void **state)
{
	static const char *const good[] = {
		"", "A: b\r\n", "A:\r\n", "A:b\r\nC: d e\tf\r\n", "x-!#$%&'*+.^_`|~9: \"q\"\r\n",
	};
	static const char *const bad[] = {
		"A",	       "A\r\n",	      "A: b",	     "A: b\n",	     "A: b\r",
		": b\r\n",     " A: b\r\n",   "A : b\r\n",   "A: b\r\n\r\n", "A: b\r\n c\r\n",
		"A: \x80\r\n", "A: \x7f\r\n", "A: \x01\r\n", "A(: b\r\n",    "\r\n",
	};
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(kac_fields_valid(good[i]));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(kac_fields_valid(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_valid),
	};

	return cmocka_run_group_tests_name("field", tests, NULL, NULL);
}
