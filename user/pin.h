/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_PIN_H
#define KACCEL_PIN_H

#include <stdio.h>

#include "mime.h"
#include "store.h"
#include "url.h"

/* How a file is to be pinned, beyond its name. All zeros: as the embedded origin would send it. */
struct kac_pin_options {
	const char *type;    /* Content-Type; NULL: by the file's name */
	const char *headers; /* more fields, as struct kac_pin has them; NULL: none. One of the same
				name as a field of ours replaces it */
	uint64_t ttl_s;	     /* 0: for ever */
};

struct kac_pin_totals {
	uint32_t objects;
	uint64_t bytes;	     /* of their replies */
	uint32_t too_large;  /* files whose reply is longer than KAC_REPLY_MAX */
	uint32_t no_room;    /* files for which the store had no room */
	uint32_t long_names; /* files whose URL is longer than KAC_TARGET_MAX */
	uint32_t unreadable; /* files that could not be read, or changed all the while */
};

/*
 * Pin the regular file @path under @url, or replace it, with Content-Type, Last-Modified, ETag and
 * Accept-Ranges. Adds to @totals->objects and ->bytes. What kac_store_pin returns; -errno of
 * open(2); -EISDIR or -ENOTSUP when it is not a regular file; -EAGAIN when it is being written to.
 */
int kac_pin_file(struct kac_store *store, const struct kac_mime *mime, const char *path,
		 const struct kac_url *url, const struct kac_pin_options *opt,
		 struct kac_pin_totals *totals);

/*
 * Pin every regular file below @dir under @prefix (a path; a '/' is added where it lacks one),
 * index.html under its directory's URL too. Names that begin with a dot are left out, symbolic
 * links are followed to files below @dir only. What cannot be pinned is counted in @totals and left
 * to the origin. 0; -errno when @dir cannot be read; -ENOMEM, -EUCLEAN or -EPERM of the store.
 */
int kac_pin_tree(struct kac_store *store, const struct kac_mime *mime, const char *dir,
		 const char *authority, const char *prefix, uint64_t ttl_s,
		 struct kac_pin_totals *totals);

/* Print the totals as a sentence, without full stop or newline: "pinned 12 objects, 3456 bytes". */
void kac_pin_totals_print(const struct kac_pin_totals *totals, FILE *out);

#endif
