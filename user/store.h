/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_STORE_H
#define KACCEL_STORE_H

#include <kaccel/maps.h>

#include "kaccel.h"

/*
 * The only writer of the maps names, objects and arena. Opening takes an exclusive lock on the
 * instance's directory, so that one writer is at work at a time; what a writer knows of free memory
 * it reads from the objects. A writer killed at any point leaves a store that readers may go on
 * using and that the next writer puts in order.
 *
 * An object goes through these states, told by two fields of its descriptor:
 *
 *	generation	retired
 *	0		0		free: slot and extent may be given out
 *	set		0		live: a name leads here, or is just about to
 *	set		set		retired: no name leads here. A program that followed the
 *					name before may still answer with it, and a connection may
 *					have to send it again
 *	0		set		condemned: nobody may begin to use it; a program that began
 *					before may still be reading the extent
 *
 * From retired to condemned it takes a grace period (every program has finished that may have seen
 * the name) and then no connection with the object's generation outstanding; from condemned to
 * free, another grace period. Both are waited for when memory is needed, and at the end, for all
 * objects at once. So a BPF program that finds a generation in its descriptor, by name or in a
 * connection, may use the extent until it returns.
 *
 * A store is not for several threads. Other commands wait while one is open for writing: close it
 * as soon as the work is done.
 */
struct kac_store;

/* What to pin. Strings are copied. */
struct kac_pin {
	const char *authority; /* lower case, port only where it is not 80; "*": any */
	const char *target;    /* from the '/' on, with the query */
	unsigned int status;   /* 200 */
	/*
	 * Lines "Name: value\r\n", "" for none. Date, Content-Length and what frames the message or
	 * concerns the connection are not for them to say; Server they may.
	 */
	const char *headers;
	const void *body;
	size_t body_len;
	uint64_t ttl_s; /* 0: for ever */
};

/* What is pinned. Belongs to the caller, except that @object lives until the next call. */
struct kac_pinned {
	const struct kac_object *object;
	uint32_t slot;
	char authority[KAC_AUTHORITY_MAX + 1];
	char target[KAC_TARGET_MAX + 1];
};

struct kac_store_usage {
	uint32_t objects; /* live */
	uint32_t object_limit;
	uint64_t bytes;	     /* of the live objects' replies */
	uint64_t bytes_held; /* extents not free, rounded up to KAC_GRAIN */
	uint64_t bytes_limit;
};

/*
 * Open the store of the instance for writing (waits for the lock) or, with @read_only, for reading
 * without it. Returns 0; -ENOENT when there is no such instance; -EPERM; -EPROTO when another
 * version of kaccel made it; -EUCLEAN when its maps contradict each other; -EINTR; -ENOMEM.
 */
int kac_store_open(const struct kac_ctx *ctx, bool read_only, struct kac_store **store);

/* Free what can be freed of the memory of replaced and unpinned objects, and close. */
void kac_store_close(struct kac_store *store);

/*
 * Pin one object, or replace the one of that name. 0; -EINVAL for a name, status or header that is
 * not valid; -EFBIG when the reply is longer than KAC_REPLY_MAX; -ENOSPC when memory or slots do
 * not suffice; -EEXIST when another name has the same hash. On error the store is as before, except
 * that objects which have expired may be gone.
 */
int kac_store_pin(struct kac_store *store, const struct kac_pin *pin);

/* Unpin by name. -ENOENT when it is not pinned. */
int kac_store_unpin(struct kac_store *store, const char *authority, const char *target);

/* Find by name; -ENOENT when it is not pinned. */
int kac_store_find(struct kac_store *store, const char *authority, const char *target,
		   struct kac_pinned *pinned);

/*
 * Call @fn for each live object, in no order, until it returns other than 0, and return that; else
 * 0. It may unpin the object that it is given.
 */
int kac_store_each(struct kac_store *store, int (*fn)(const struct kac_pinned *pinned, void *arg),
		   void *arg);

/*
 * Copy the reply of what was found, @object's length in bytes. -ESTALE when it was replaced or
 * unpinned meanwhile, and its memory used again; another -errno when it could not be mapped.
 */
int kac_store_reply(struct kac_store *store, const struct kac_pinned *pinned,
		    uint8_t reply[KAC_REPLY_MAX]);

void kac_store_usage(struct kac_store *store, struct kac_store_usage *usage);

static inline void kac_store_close_ptr(struct kac_store **store)
{
	if (*store)
		kac_store_close(*store);
}

#define __cleanup_store __attribute__((cleanup(kac_store_close_ptr)))

#endif
