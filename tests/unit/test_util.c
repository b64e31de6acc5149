// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../user/kaccel.h"

static void test_size(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"4096", 4096},
		{"1k", 1024},
		{"64M", 64ULL << 20},
		{"1G", 1ULL << 30},
		{"2t", 2ULL << 40},
		{"18446744073709551615", UINT64_MAX},
		{"16777215T", 16777215ULL << 40},
	};
	static const char *const bad[] = {"",
					  "M",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "1.5M",
					  "1MB",
					  "0x10",
					  "1e3",
					  "1KK",
					  "16777216T",
					  "18446744073709551616"};
	uint64_t bytes;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(kac_parse_size(good[i].text, &bytes), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kac_parse_size(bad[i], &bytes), -EINVAL);
}

static void test_number(void **state)
{
	static const char *const bad[] = {"",	"-1", "+5", " 5",  "5 ",
					  "5x", "4",  "11", "0x5", "99999999999999999999"};
	uint64_t value;
	size_t i;

	assert_int_equal(kac_parse_u64("5", 5, 10, &value), 0);
	assert_int_equal(value, 5);
	assert_int_equal(kac_parse_u64("0010", 5, 10, &value), 0);
	assert_int_equal(value, 10);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kac_parse_u64(bad[i], 5, 10, &value), -EINVAL);
	assert_int_equal(value, 10);
}

static void test_path(void **state)
{
	struct kac_ctx ctx = {.instance = "web"};
	char path[KAC_PATH_MAX];

	kac_pin_path(&ctx, NULL, path);
	assert_string_equal(path, "/sys/fs/bpf/kaccel/web");
	kac_pin_path(&ctx, "names", path);
	assert_string_equal(path, "/sys/fs/bpf/kaccel/web/names");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_path),
	};

	return cmocka_run_group_tests_name("util", tests, NULL, NULL);
}
