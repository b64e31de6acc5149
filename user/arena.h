/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_ARENA_H
#define KACCEL_ARENA_H

#include <kaccel/maps.h>

#include "kaccel.h"

/*
 * Which bytes of the arena are in use: bookkeeping only, it touches no map. Extents are of whole
 * grains, lie in one slab, and start where maps.h allows; the first that fits is given out, so that
 * small objects fill the gaps that others left.
 */
struct kac_arena;

struct kac_extent {
	uint32_t slab;
	uint32_t offset; /* multiple of KAC_GRAIN; at most KAC_SLAB_SIZE - KAC_REPLY_MAX */
	uint32_t length; /* bytes asked for: 1..KAC_REPLY_MAX */
};

/* An arena of @slabs slabs, all free. NULL when there is no memory. */
struct kac_arena *kac_arena_new(uint32_t slabs);
void kac_arena_delete(struct kac_arena *arena);

/* Find room for @length bytes and hold it. -ENOSPC when no slab has a gap of that length. */
int kac_arena_alloc(struct kac_arena *arena, uint32_t length, struct kac_extent *extent);

/* Hold an extent that is known to be in use. -EUCLEAN when it is not a valid one, or overlaps. */
int kac_arena_hold(struct kac_arena *arena, const struct kac_extent *extent);

void kac_arena_free(struct kac_arena *arena, const struct kac_extent *extent);

/* Bytes in use, of whole grains. */
uint64_t kac_arena_held(const struct kac_arena *arena);

#endif
