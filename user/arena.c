// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>

#include "arena.h"

#define GRAINS	   (KAC_SLAB_SIZE / KAC_GRAIN)
#define LAST_START ((KAC_SLAB_SIZE - KAC_REPLY_MAX) / KAC_GRAIN)
#define WORD_BITS  64
#define WORDS	   (GRAINS / WORD_BITS)

struct slab {
	uint32_t low;	  /* no grain below this one is free */
	uint32_t longest; /* no gap is of more grains */
	uint64_t *in_use; /* bit per grain; NULL while all are free */
};

struct kac_arena {
	uint64_t held; /* grains */
	uint32_t slabs;
	struct slab slab[];
};

struct kac_arena *kac_arena_new(uint32_t slabs)
{
	struct kac_arena *arena;
	uint32_t i;

	arena = calloc(1, sizeof(*arena) + slabs * sizeof(arena->slab[0]));
	if (!arena)
		return NULL;
	arena->slabs = slabs;
	for (i = 0; i < slabs; i++)
		arena->slab[i].longest = GRAINS;
	return arena;
}

void kac_arena_delete(struct kac_arena *arena)
{
	uint32_t i;

	if (!arena)
		return;
	for (i = 0; i < arena->slabs; i++)
		free(arena->slab[i].in_use);
	free(arena);
}

static uint32_t grains_of(uint32_t length)
{
	return (length + KAC_GRAIN - 1) / KAC_GRAIN;
}

/* The first grain from @at on that is in use (@used) or free; GRAINS when there is none. */
static uint32_t next_grain(const struct slab *s, uint32_t at, bool used)
{
	uint64_t flip = used ? 0 : ~0ULL, word;
	uint32_t i = at / WORD_BITS;

	if (at >= GRAINS)
		return GRAINS;
	word = (s->in_use[i] ^ flip) & (~0ULL << (at % WORD_BITS));
	while (!word) {
		if (++i == WORDS)
			return GRAINS;
		word = s->in_use[i] ^ flip;
	}
	return i * WORD_BITS + (uint32_t)__builtin_ctzll(word);
}

static void mark(struct slab *s, uint32_t start, uint32_t count, bool used)
{
	uint32_t i;

	for (i = start; i < start + count; i++) {
		uint64_t bit = 1ULL << (i % WORD_BITS);

		if (used)
			s->in_use[i / WORD_BITS] |= bit;
		else
			s->in_use[i / WORD_BITS] &= ~bit;
	}
}

/* Start of the first gap of @count grains; GRAINS when there is none. */
static uint32_t find_gap(struct slab *s, uint32_t count)
{
	uint32_t longest = 0, start, end;

	if (!s->in_use)
		return 0;
	start = next_grain(s, s->low, false);
	s->low = start;
	while (start <= LAST_START) {
		end = next_grain(s, start, true);
		if (end - start >= count)
			return start;
		if (end - start > longest)
			longest = end - start;
		start = next_grain(s, end, false);
	}
	s->longest = longest;
	return GRAINS;
}

static int make_bitmap(struct slab *s)
{
	if (!s->in_use)
		s->in_use = calloc(WORDS, sizeof(*s->in_use));
	return s->in_use ? 0 : -ENOMEM;
}

int kac_arena_alloc(struct kac_arena *arena, uint32_t length, struct kac_extent *extent)
{
	uint32_t count = grains_of(length), i;

	for (i = 0; i < arena->slabs; i++) {
		struct slab *s = &arena->slab[i];
		uint32_t start;
		int err;

		if (s->longest < count)
			continue;
		start = find_gap(s, count);
		if (start == GRAINS)
			continue;
		err = make_bitmap(s);
		if (err)
			return err;
		mark(s, start, count, true);
		arena->held += count;
		*extent = (struct kac_extent){i, start * KAC_GRAIN, length};
		return 0;
	}
	return -ENOSPC;
}

int kac_arena_hold(struct kac_arena *arena, const struct kac_extent *extent)
{
	uint32_t start = extent->offset / KAC_GRAIN, count = grains_of(extent->length);
	struct slab *s;
	int err;

	if (extent->slab >= arena->slabs || extent->offset % KAC_GRAIN || start > LAST_START ||
	    !extent->length || extent->length > KAC_REPLY_MAX)
		return -EUCLEAN;
	s = &arena->slab[extent->slab];
	err = make_bitmap(s);
	if (err)
		return err;
	if (next_grain(s, start, true) < start + count)
		return -EUCLEAN;
	mark(s, start, count, true);
	arena->held += count;
	return 0;
}

void kac_arena_free(struct kac_arena *arena, const struct kac_extent *extent)
{
	uint32_t start = extent->offset / KAC_GRAIN, count = grains_of(extent->length);
	struct slab *s = &arena->slab[extent->slab];

	mark(s, start, count, false);
	s->longest = GRAINS;
	if (start < s->low)
		s->low = start;
	arena->held -= count;
}

uint64_t kac_arena_held(const struct kac_arena *arena)
{
	return arena->held * KAC_GRAIN;
}
