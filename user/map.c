// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>

#include <bpf/bpf.h>

#include "kaccel.h"
#include "map.h"

int kac_map_check(int fd, size_t key_size, size_t value_size, uint32_t *entries)
{
	struct bpf_map_info info = {0};
	__u32 len = sizeof(info);
	int err;

	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (err)
		return err;
	if (info.key_size != key_size || info.value_size != value_size)
		return -EPROTO;
	if (entries)
		*entries = info.max_entries;
	return 0;
}

/* Entries as bpf(2) gives them, many at once. */
struct batch {
	uint32_t room;
	uint8_t *keys, *values;
};

static int make_batch(struct batch *b, uint32_t room, size_t key_size, size_t value_size)
{
	free(b->keys);
	free(b->values);
	b->room = room;
	b->keys = calloc(room, key_size);
	b->values = calloc(room, value_size);
	return b->keys && b->values ? 0 : -ENOMEM;
}

static int each_batch(int fd, struct batch *b, size_t key_size, size_t value_size,
		      int (*fn)(const void *key, const void *value, void *arg), void *arg)
{
	uint32_t position = 0, *after = NULL;
	int err = make_batch(b, 256, key_size, value_size);

	while (!err) {
		uint32_t count = b->room, i;
		int last = bpf_map_lookup_batch(fd, after, &position, b->keys, b->values, &count,
						NULL);

		if (last == -ENOSPC) { /* one bucket holds more than that */
			err = make_batch(b, b->room * 2, key_size, value_size);
			continue;
		}
		if (last && last != -ENOENT)
			return last;
		after = &position;
		for (i = 0; !err && i < count; i++)
			err = fn(b->keys + i * key_size, b->values + i * value_size, arg);
		if (last)
			break;
	}
	return err;
}

int kac_map_each(int fd, size_t key_size, size_t value_size,
		 int (*fn)(const void *key, const void *value, void *arg), void *arg)
{
	struct batch b = {0};
	int err;

	err = each_batch(fd, &b, key_size, value_size, fn, arg);
	free(b.keys);
	free(b.values);
	return err;
}

/*
 * The kernel waits for an RCU grace period before an update of a map of maps returns, so that the
 * caller knows the old inner map to be out of use. Unlike membarrier(2) it does so with one
 * processor and with nohz_full too.
 */
int kac_map_wait_readers(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	int inner __cleanup_fd = -1, outer __cleanup_fd = -1;
	uint32_t zero = 0;

	inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "kac_inner", 4, 4, 1, NULL);
	if (inner < 0)
		return inner;
	opts.inner_map_fd = inner;
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "kac_outer", 4, 4, 1, &opts);
	if (outer < 0)
		return outer;
	return bpf_map_update_elem(outer, &zero, &inner, BPF_ANY);
}
