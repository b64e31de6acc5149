/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_MAP_H
#define KACCEL_MAP_H

#include <stddef.h>
#include <stdint.h>

/*
 * Check that the map has keys and values of these sizes, and learn its capacity (@entries may be
 * NULL). -EPROTO when not: another version of kaccel made it.
 */
int kac_map_check(int fd, size_t key_size, size_t value_size, uint32_t *entries);

/*
 * Call @fn for every entry of a hash map until it returns other than 0, and return that; else 0, or
 * -errno. Each entry that is there all the while is seen once; others may be. Key and value are
 * copies; a value that BPF programs change meanwhile may be torn between its words.
 */
int kac_map_each(int fd, size_t key_size, size_t value_size,
		 int (*fn)(const void *key, const void *value, void *arg), void *arg);

/*
 * Wait until every BPF program (not of the sleepable kinds) that is running now has finished: what
 * was unlinked before cannot be in any reader's hands afterwards. Some tens of milliseconds. Needs
 * the privilege to make maps.
 */
int kac_map_wait_readers(void);

#endif
