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

int kac_map_each(int fd, size_t key_size, size_t value_size,
		 int (*fn)(const void *key, const void *value, void *arg), void *arg)
{
	uint8_t *keys __cleanup_free = NULL, *values __cleanup_free = NULL;
	uint32_t room = 256, position = 0;
	bool begun = false;
	int err = 0;

	while (err != -ENOENT) {
		uint32_t count = room, i;

		if (!keys) {
			keys = calloc(room, key_size);
			values = calloc(room, value_size);
			if (!keys || !values)
				return -ENOMEM;
		}
		err = bpf_map_lookup_batch(fd, begun ? &position : NULL, &position, keys, values,
					   &count, NULL);
		if (err == -ENOSPC) { /* one bucket holds more than that */
			kac_free_ptr(&keys);
			kac_free_ptr(&values);
			keys = values = NULL;
			room *= 2;
			continue;
		}
		if (err && err != -ENOENT)
			return err;
		begun = true;
		for (i = 0; i < count; i++) {
			int ret = fn(keys + i * key_size, values + i * value_size, arg);

			if (ret)
				return ret;
		}
	}
	return 0;
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
