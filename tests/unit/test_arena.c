// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../user/arena.h"

#define LAST_START (KAC_SLAB_SIZE - KAC_REPLY_MAX)

static void test_first_fit(void **state)
{
	struct kac_arena *arena = kac_arena_new(2);
	struct kac_extent a, b, c, d;

	assert_int_equal(kac_arena_alloc(arena, 1, &a), 0);
	assert_int_equal(kac_arena_alloc(arena, KAC_GRAIN + 1, &b), 0);
	assert_int_equal(kac_arena_alloc(arena, KAC_REPLY_MAX, &c), 0);
	assert_int_equal(a.offset, 0);
	assert_int_equal(b.offset, KAC_GRAIN);
	assert_int_equal(c.offset, 3 * KAC_GRAIN);
	assert_int_equal(kac_arena_held(arena), 3 * KAC_GRAIN + KAC_REPLY_MAX);
	kac_arena_free(arena, &b);
	assert_int_equal(kac_arena_alloc(arena, 3 * KAC_GRAIN, &d), 0);
	assert_int_equal(d.offset, 3 * KAC_GRAIN + KAC_REPLY_MAX);
	assert_int_equal(kac_arena_alloc(arena, 2 * KAC_GRAIN, &b), 0);
	assert_int_equal(b.offset, KAC_GRAIN);
	kac_arena_delete(arena);
}

/* Every extent can be read with constant bounds, the last one of a slab to its end. */
static void test_slab_end(void **state)
{
	struct kac_arena *arena = kac_arena_new(2);
	struct kac_extent e;
	uint32_t n = 0;

	while (!kac_arena_alloc(arena, KAC_REPLY_MAX, &e)) {
		assert_true(e.offset <= LAST_START);
		assert_int_equal(e.slab, n++ / (KAC_SLAB_SIZE / KAC_REPLY_MAX));
	}
	assert_int_equal(n, 2 * KAC_SLAB_SIZE / KAC_REPLY_MAX);
	assert_int_equal(kac_arena_held(arena), 2 * KAC_SLAB_SIZE);
	assert_int_equal(kac_arena_alloc(arena, 1, &e), -ENOSPC);
	kac_arena_delete(arena);
}

static void test_hold(void **state)
{
	struct kac_arena *arena = kac_arena_new(1);
	static const struct kac_extent bad[] = {
		{1, 0, 64},
		{0, 1, 64},
		{0, LAST_START + KAC_GRAIN, 64},
		{0, UINT32_MAX - 63, 64},
		{0, 0, 0},
		{0, 0, KAC_REPLY_MAX + 1},
		{0, 0, UINT32_MAX},
		{0, 1024, 1},
		{0, 1024 - 64, 65},
		{0, 1024 + 64, 1},
	};
	struct kac_extent e = {0, 1024, 100};
	size_t i;

	assert_int_equal(kac_arena_hold(arena, &e), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kac_arena_hold(arena, &bad[i]), -EUCLEAN);
	assert_int_equal(kac_arena_held(arena), 128);
	assert_int_equal(kac_arena_alloc(arena, 1025, &e), 0);
	assert_int_equal(e.offset, 1024 + 128);
	assert_int_equal(kac_arena_alloc(arena, 1024, &e), 0);
	assert_int_equal(e.offset, 0);
	kac_arena_delete(arena);
}

#define SLABS	3
#define EXTENTS 4096

/* Against the plainest model there is: a byte per grain. */
static void test_random(void **state)
{
	static uint8_t model[SLABS][KAC_SLAB_SIZE / KAC_GRAIN];
	static struct kac_extent live[EXTENTS];
	struct kac_arena *arena = kac_arena_new(SLABS);
	unsigned int seed = 42, count = 0, step;
	uint64_t held = 0;

	for (step = 0; step < 100000; step++) {
		struct kac_extent e;
		uint32_t i, start, grains;
		bool used;

		if (count < EXTENTS && rand_r(&seed) % 100 < (step / 10000 % 2 ? 40 : 60)) {
			uint32_t length =
				1 + rand_r(&seed) % (rand_r(&seed) % 4 ? 2000 : KAC_REPLY_MAX);

			if (kac_arena_alloc(arena, length, &e))
				continue;
			assert_int_equal(e.length, length);
			assert_true(e.offset <= LAST_START);
			assert_int_equal(e.offset % KAC_GRAIN, 0);
			live[count++] = e;
			used = true;
		} else if (count) {
			i = rand_r(&seed) % count;
			e = live[i];
			live[i] = live[--count];
			kac_arena_free(arena, &e);
			used = false;
		} else {
			continue;
		}
		start = e.offset / KAC_GRAIN;
		grains = (e.length + KAC_GRAIN - 1) / KAC_GRAIN;
		for (i = start; i < start + grains; i++) {
			assert_int_equal(model[e.slab][i], !used);
			model[e.slab][i] = used;
		}
		held = used ? held + grains : held - grains;
		assert_int_equal(kac_arena_held(arena), held * KAC_GRAIN);
	}
	while (count)
		kac_arena_free(arena, &live[--count]);
	for (step = 0; step < SLABS * KAC_SLAB_SIZE / KAC_REPLY_MAX; step++)
		assert_int_equal(kac_arena_alloc(arena, KAC_REPLY_MAX, &live[0]), 0);
	kac_arena_delete(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_fit),
		cmocka_unit_test(test_slab_end),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
