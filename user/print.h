/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_PRINT_H
#define KACCEL_PRINT_H

#include <jansson.h>

#include "store.h"

/* Print @root on stdout, members in the order they were set, and drop it. KAC_EXIT_OK; with one
 * line on stderr KAC_EXIT_FAIL when @root is NULL: there was no memory to make it.
 */
int kac_print_json(json_t *root);

/* Whole seconds until the object expires; 0 when it has, -1 when it never does. */
int64_t kac_expires_in(const struct kac_object *object);

/* Print an object's URL on stdout, padded with spaces to @width. */
void kac_print_url(const char *authority, const char *target, int width);

#endif
