// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include <bpf/bpf.h>
#include <kaccel/conn.h>

#include "arena.h"
#include "field.h"
#include "instance.h"
#include "map.h"
#include "store.h"

struct kac_store {
	bool read_only;
	int dir; /* holds the lock */
	int names, arena_map, conns;
	struct kac_config *config;
	struct kac_object *objects; /* by slot */
	uint8_t **slabs;	    /* NULL: not mapped yet */
	uint32_t slots, slab_count;

	/* What follows is the writer's. */
	struct kac_arena *arena;
	uint32_t *free_slots; /* a stack: the lowest slot last */
	uint32_t *retired, *condemned;
	uint32_t free_count, retired_count, condemned_count;
	bool grace_needed; /* something was retired since the last grace period */
	bool *marks;	   /* by slot: what a pass over another map has found */
	uint32_t live;
	uint64_t live_bytes;

	struct kac_object copy;			 /* what kac_pinned leads to */
	uint8_t name[KAC_REQ_MAX + KAC_REQ_PAD]; /* to hash from */
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

/* Opening and closing. */

/* Map a whole array of @entries values. */
static void *map_array(const struct kac_store *store, int fd, size_t value_size, uint32_t entries)
{
	int prot = store->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	void *p = mmap(NULL, value_size * entries, prot, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int open_maps(struct kac_store *store, const struct kac_ctx *ctx)
{
	int config __cleanup_fd = -1, objects __cleanup_fd = -1;
	int err;

	_Static_assert(sizeof(struct kac_config) % 8 == 0 && sizeof(struct kac_object) % 8 == 0,
		       "the kernel spaces array elements by 8 bytes");
	config = kac_open_map(ctx, "config");
	if (config < 0)
		return config;
	objects = kac_open_map(ctx, "objects");
	if (objects < 0)
		return objects;
	store->names = kac_open_map(ctx, "names");
	if (store->names < 0)
		return store->names;
	store->arena_map = kac_open_map(ctx, "arena");
	if (store->arena_map < 0)
		return store->arena_map;
	store->conns = kac_open_map(ctx, "conns");
	if (store->conns < 0)
		return store->conns;

	err = kac_map_check(config, sizeof(__u32), sizeof(struct kac_config), NULL);
	if (!err)
		err = kac_map_check(objects, sizeof(__u32), sizeof(struct kac_object),
				    &store->slots);
	if (!err)
		err = kac_map_check(store->names, sizeof(struct kac_name), sizeof(struct kac_slot),
				    NULL);
	if (!err)
		err = kac_map_check(store->arena_map, sizeof(__u32), sizeof(struct kac_slab),
				    &store->slab_count);
	if (!err)
		err = kac_map_check(store->conns, sizeof(struct kac_conn_key),
				    sizeof(struct kac_conn), NULL);
	if (err)
		return err;

	store->config = map_array(store, config, sizeof(*store->config), 1);
	store->objects = map_array(store, objects, sizeof(*store->objects), store->slots);
	store->slabs = calloc(store->slab_count, sizeof(*store->slabs));
	return store->config && store->objects && store->slabs ? 0 : -ENOMEM;
}

/* Slabs are mapped when they are first touched: most commands touch few, and mapping one costs a
 * page table entry for each of its pages.
 */
static uint8_t *slab_bytes(struct kac_store *store, uint32_t slab)
{
	if (!store->slabs[slab]) {
		int prot = store->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
		void *p = mmap(NULL, KAC_SLAB_SIZE, prot, MAP_SHARED, store->arena_map,
			       (off_t)slab * KAC_SLAB_SIZE);

		if (p != MAP_FAILED)
			store->slabs[slab] = p;
	}
	return store->slabs[slab];
}

/* The index key of a name whose parts are known to fit. */
static struct kac_name name_key(struct kac_store *store, const void *authority,
				size_t authority_len, const void *target, size_t target_len)
{
	uint64_t seed = store->config->seed, a, t;

	memcpy(store->name, authority, authority_len);
	a = kac_hash(store->name, 0, authority_len, KAC_AUTHORITY_MAX, 1, seed);
	memcpy(store->name, target, target_len);
	t = kac_hash(store->name, 0, target_len, KAC_TARGET_MAX, 0, seed);
	return (struct kac_name){kac_name_hash(a, t)};
}

static struct kac_name object_key(struct kac_store *store, const struct kac_object *o)
{
	return name_key(store, o->authority, o->authority_len, o->target, o->target_len);
}

static bool is_fallback(const struct kac_object *o)
{
	return o->authority_len == 1 && *(const char *)o->authority == '*';
}

static struct kac_extent extent_of(const struct kac_object *o)
{
	return (struct kac_extent){o->slab, o->offset, o->length};
}

static void retire(struct kac_store *store, uint32_t slot)
{
	__atomic_store_n(&store->objects[slot].retired, now_ns(CLOCK_BOOTTIME), __ATOMIC_RELEASE);
	store->retired[store->retired_count++] = slot;
	store->grace_needed = true;
}

struct recovery {
	struct kac_store *store;
	uint32_t exact, fallback;
};

static int recover_name(const void *key, const void *value, void *arg)
{
	const struct kac_name *name = key;
	const struct kac_slot *leads_to = value;
	struct recovery *r = arg;
	const struct kac_object *o;

	if (leads_to->slot >= r->store->slots)
		return -EUCLEAN;
	o = &r->store->objects[leads_to->slot];
	if (!o->generation || o->retired || o->authority_len > KAC_AUTHORITY_MAX ||
	    o->target_len > KAC_TARGET_MAX || object_key(r->store, o).hash != name->hash)
		return -EUCLEAN;
	r->store->marks[leads_to->slot] = true;
	if (is_fallback(o))
		r->fallback++;
	else
		r->exact++;
	return 0;
}

static int recover_object(struct kac_store *store, uint32_t slot, bool named)
{
	struct kac_object *o = &store->objects[slot];
	struct kac_extent extent = extent_of(o);
	int err;

	if (!o->generation && !o->retired) {
		store->free_slots[store->free_count++] = slot;
		return 0;
	}
	err = kac_arena_hold(store->arena, &extent);
	if (err)
		return err;
	if (!o->generation) {
		store->condemned[store->condemned_count++] = slot;
	} else if (named) {
		store->live++;
		store->live_bytes += o->length;
	} else {
		/* Retired, or left by a writer that died before it could name or retire it. */
		retire(store, slot);
	}
	if (o->generation > store->config->generation)
		store->config->generation = o->generation;
	return 0;
}

/* Learn from the maps what a writer has to know, and finish what the last one may have left. */
static int recover(struct kac_store *store)
{
	struct recovery r = {.store = store};
	uint32_t slot;
	int err;

	while (!store->config->seed) {
		if (getrandom(&store->config->seed, sizeof(store->config->seed), 0) < 0)
			return -errno;
	}
	store->arena = kac_arena_new(store->slab_count);
	store->free_slots = calloc(store->slots, sizeof(*store->free_slots));
	store->retired = calloc(store->slots, sizeof(*store->retired));
	store->condemned = calloc(store->slots, sizeof(*store->condemned));
	store->marks = calloc(store->slots, sizeof(*store->marks));
	if (!store->arena || !store->free_slots || !store->retired || !store->condemned ||
	    !store->marks)
		return -ENOMEM;

	err = kac_map_each(store->names, sizeof(struct kac_name), sizeof(struct kac_slot),
			   recover_name, &r);
	for (slot = store->slots; !err && slot--;)
		err = recover_object(store, slot, store->marks[slot]);
	if (err)
		return err;
	__atomic_store_n(&store->config->exact, r.exact, __ATOMIC_RELEASE);
	__atomic_store_n(&store->config->fallback, r.fallback, __ATOMIC_RELEASE);
	return 0;
}

static void free_store(struct kac_store *store)
{
	uint32_t i;

	for (i = 0; store->slabs && i < store->slab_count; i++) {
		if (store->slabs[i])
			munmap(store->slabs[i], KAC_SLAB_SIZE);
	}
	free(store->slabs);
	if (store->objects)
		munmap(store->objects, (size_t)store->slots * sizeof(*store->objects));
	if (store->config)
		munmap(store->config, sizeof(*store->config));
	free(store->free_slots);
	free(store->retired);
	free(store->condemned);
	free(store->marks);
	kac_arena_delete(store->arena);
	kac_close_fd(&store->names);
	kac_close_fd(&store->arena_map);
	kac_close_fd(&store->conns);
	kac_close_fd(&store->dir);
	free(store);
}

int kac_store_open(const struct kac_ctx *ctx, bool read_only, struct kac_store **store)
{
	struct kac_store *s;
	int err;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->read_only = read_only;
	s->dir = s->names = s->arena_map = s->conns = -1;
	err = read_only ? 0 : kac_instance_lock(ctx, &s->dir);
	if (!err)
		err = open_maps(s, ctx);
	if (!err && !read_only) {
		kac_instance_set_clock(s->config);
		err = recover(s);
	}
	if (err)
		free_store(s);
	else
		*store = s;
	return err;
}

/* Making room. */

static int mark_outstanding(const void *key, const void *value, void *arg)
{
	const struct kac_conn *conn = value;
	struct kac_store *store = arg;

	if (conn->generation && conn->slot < store->slots &&
	    store->objects[conn->slot].generation == conn->generation)
		store->marks[conn->slot] = true;
	return 0;
}

/* Condemn the retired objects that no connection may have to send again. */
static int condemn(struct kac_store *store)
{
	uint32_t i, kept = 0;
	int err;

	if (!store->retired_count)
		return 0;
	if (store->grace_needed) {
		err = kac_map_wait_readers();
		if (err)
			return err;
		store->grace_needed = false;
	}
	memset(store->marks, 0, store->slots * sizeof(*store->marks));
	err = kac_map_each(store->conns, sizeof(struct kac_conn_key), sizeof(struct kac_conn),
			   mark_outstanding, store);
	if (err)
		return err;
	for (i = 0; i < store->retired_count; i++) {
		uint32_t slot = store->retired[i];

		if (store->marks[slot]) {
			store->retired[kept++] = slot;
			continue;
		}
		__atomic_store_n(&store->objects[slot].generation, 0, __ATOMIC_RELEASE);
		store->condemned[store->condemned_count++] = slot;
	}
	store->retired_count = kept;
	return 0;
}

/* Free whatever can be freed of what is not live. */
static int reclaim(struct kac_store *store)
{
	int err;

	err = condemn(store);
	if (err || !store->condemned_count)
		return err;
	err = kac_map_wait_readers();
	if (err)
		return err;
	while (store->condemned_count) {
		uint32_t slot = store->condemned[--store->condemned_count];
		struct kac_extent extent = extent_of(&store->objects[slot]);

		__atomic_store_n(&store->objects[slot].retired, 0, __ATOMIC_RELEASE);
		kac_arena_free(store->arena, &extent);
		store->free_slots[store->free_count++] = slot;
	}
	return 0;
}

void kac_store_close(struct kac_store *store)
{
	/* Nobody needs the room now: what cannot be freed is for the next writer to free. */
	if (!store->read_only)
		reclaim(store);
	free_store(store);
}

/* Readers skip the look-up of a kind of name whose count is 0: never let it be too low. */
static void count_name(struct kac_store *store, const struct kac_object *o, int change)
{
	__u32 *count = is_fallback(o) ? &store->config->fallback : &store->config->exact;

	__atomic_add_fetch(count, change, __ATOMIC_SEQ_CST);
}

/* Take a live object's name away, and retire it. */
static int drop(struct kac_store *store, uint32_t slot)
{
	struct kac_object *o = &store->objects[slot];
	struct kac_name key = object_key(store, o);
	int err;

	err = bpf_map_delete_elem(store->names, &key);
	if (err)
		return err;
	count_name(store, o, -1);
	store->live--;
	store->live_bytes -= o->length;
	retire(store, slot);
	return 0;
}

static bool is_live(const struct kac_object *o)
{
	return __atomic_load_n(&o->generation, __ATOMIC_ACQUIRE) && !o->retired;
}

static int drop_expired(struct kac_store *store)
{
	uint64_t now = now_ns(CLOCK_BOOTTIME);
	uint32_t slot;

	for (slot = 0; slot < store->slots; slot++) {
		const struct kac_object *o = &store->objects[slot];
		int err;

		if (!is_live(o) || !o->expires || o->expires > now)
			continue;
		err = drop(store, slot);
		if (err)
			return err;
	}
	return 0;
}

static bool take(struct kac_store *store, uint32_t length, uint32_t *slot,
		 struct kac_extent *extent)
{
	if (!store->free_count || kac_arena_alloc(store->arena, length, extent))
		return false;
	*slot = store->free_slots[--store->free_count];
	return true;
}

static int make_room(struct kac_store *store, uint32_t length, uint32_t *slot,
		     struct kac_extent *extent)
{
	int err;

	if (take(store, length, slot, extent))
		return 0;
	err = reclaim(store);
	if (err || take(store, length, slot, extent))
		return err;
	err = drop_expired(store);
	if (!err)
		err = reclaim(store);
	if (err || take(store, length, slot, extent))
		return err;
	return -ENOSPC;
}

/* Pinning. */

static bool is_visible(const char *text, const char *except)
{
	for (; *text; text++) {
		if (*text <= ' ' || *text >= 0x7f || strchr(except, *text))
			return false;
	}
	return true;
}

static bool name_is_valid(const char *authority, const char *target)
{
	size_t authority_len = strlen(authority), target_len = strlen(target);

	return authority_len && authority_len <= KAC_AUTHORITY_MAX &&
	       target_len <= KAC_TARGET_MAX && *target == '/' && is_visible(target, "#") &&
	       is_visible(authority, "ABCDEFGHIJKLMNOPQRSTUVWXYZ/?#@");
}

static bool headers_are_valid(const char *headers)
{
	static const char *const ours[] = {"Date",	 "Content-Length", "Transfer-Encoding",
					   "Connection", "Keep-Alive",	   "Trailer",
					   "Upgrade"};
	size_t i, len;

	for (i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (kac_field(headers, strlen(headers), ours[i], &len))
			return false;
	}
	return kac_fields_valid(headers);
}

/* Of the statuses whose response has a body and means the same to everyone; NULL for others. */
static const char *reason_phrase(unsigned int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 203:
		return "Non-Authoritative Information";
	case 300:
		return "Multiple Choices";
	case 301:
		return "Moved Permanently";
	case 302:
		return "Found";
	case 303:
		return "See Other";
	case 307:
		return "Temporary Redirect";
	case 308:
		return "Permanent Redirect";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 410:
		return "Gone";
	case 451:
		return "Unavailable For Legal Reasons";
	case 503:
		return "Service Unavailable";
	default:
		return NULL;
	}
}

/* The reply's head, malloc'ed, with *@date_off zeroed for the Date. Its length, or -errno. */
static int build_head(const struct kac_pin *pin, char **head, uint16_t *date_off)
{
	const char *reason = reason_phrase(pin->status), *server = "Server: kaccel\r\n";
	size_t value_len;
	char *date;
	int len;

	if (!reason || !headers_are_valid(pin->headers))
		return -EINVAL;
	if (kac_field(pin->headers, strlen(pin->headers), "Server", &value_len))
		server = "";
	len = asprintf(head, "HTTP/1.1 %u %s\r\n%sDate: %*s\r\n%sContent-Length: %zu\r\n\r\n",
		       pin->status, reason, server, KAC_DATE_LEN, "", pin->headers, pin->body_len);
	if (len < 0) {
		*head = NULL;
		return -ENOMEM;
	}
	date = strstr(*head, "Date: ") + strlen("Date: ");
	memset(date, 0, KAC_DATE_LEN);
	*date_off = (uint16_t)(date - *head);
	return len;
}

/* RFC 1071, over little-endian words, as bpf_csum_diff gives it when folded. */
static uint32_t checksum(const uint8_t *bytes, uint32_t len)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i + 1 < len; i += 2)
		sum += bytes[i] | (uint32_t)bytes[i + 1] << 8;
	if (i < len)
		sum += bytes[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint32_t)sum;
}

static uint64_t expiry(uint64_t ttl_s)
{
	uint64_t ns;

	if (!ttl_s || __builtin_mul_overflow(ttl_s, 1000000000ULL, &ns) ||
	    __builtin_add_overflow(ns, now_ns(CLOCK_BOOTTIME), &ns))
		return 0;
	return ns;
}

/*
 * Write reply and descriptor where no reader looks yet. The generation comes last: until then the
 * slot counts as free.
 */
static int write_object(struct kac_store *store, uint32_t slot, const struct kac_extent *extent,
			const struct kac_pin *pin, const char *head, uint16_t head_len,
			uint16_t date_off)
{
	struct kac_object *o = &store->objects[slot];
	uint8_t *reply = slab_bytes(store, extent->slab);
	uint64_t generation;

	if (!reply)
		return -ENOMEM;
	reply += extent->offset;
	memcpy(reply, head, head_len);
	if (pin->body_len)
		memcpy(reply + head_len, pin->body, pin->body_len);
	/* Checksums are taken of whole words. */
	memset(reply + extent->length, 0, -extent->length % KAC_GRAIN);

	memset(o, 0, sizeof(*o));
	o->expires = expiry(pin->ttl_s);
	o->pinned = now_ns(CLOCK_REALTIME);
	o->slab = extent->slab;
	o->offset = extent->offset;
	o->length = extent->length;
	o->csum = checksum(reply, extent->length);
	o->head_len = head_len;
	o->date_off = date_off;
	o->status = (uint16_t)pin->status;
	o->authority_len = (uint16_t)strlen(pin->authority);
	o->target_len = (uint16_t)strlen(pin->target);
	memcpy(o->authority, pin->authority, o->authority_len);
	memcpy(o->target, pin->target, o->target_len);

	generation = ++store->config->generation;
	__atomic_store_n(&o->generation, generation, __ATOMIC_RELEASE);
	return 0;
}

static bool has_name(const struct kac_object *o, const char *authority, const char *target)
{
	return o->authority_len == strlen(authority) && o->target_len == strlen(target) &&
	       !memcmp(o->authority, authority, o->authority_len) &&
	       !memcmp(o->target, target, o->target_len);
}

static int find_slot(struct kac_store *store, const struct kac_name *key, uint32_t *slot)
{
	struct kac_slot found;
	int err;

	err = bpf_map_lookup_elem(store->names, key, &found);
	if (err)
		return err;
	*slot = found.slot;
	return found.slot < store->slots ? 0 : -EUCLEAN;
}

/* The slot that the name leads to, for the writer; -EEXIST when one of the same hash is there. */
static int find_named(struct kac_store *store, const char *authority, const char *target,
		      uint32_t *slot)
{
	struct kac_name key = name_key(store, authority, strlen(authority), target, strlen(target));
	int err;

	err = find_slot(store, &key, slot);
	if (err)
		return err;
	return has_name(&store->objects[*slot], authority, target) ? 0 : -EEXIST;
}

/* Let the name lead to @slot. @old: the slot it leads to now, or NULL. */
static int publish(struct kac_store *store, uint32_t slot, const uint32_t *old)
{
	const struct kac_object *o = &store->objects[slot];
	struct kac_name key = object_key(store, o);
	struct kac_slot value = {slot};
	int err;

	if (!old)
		count_name(store, o, 1);
	err = bpf_map_update_elem(store->names, &key, &value, old ? BPF_EXIST : BPF_NOEXIST);
	if (err) {
		if (!old)
			count_name(store, o, -1);
		return err == -E2BIG ? -ENOSPC : err;
	}
	store->live++;
	store->live_bytes += o->length;
	if (old) {
		store->live--;
		store->live_bytes -= store->objects[*old].length;
		retire(store, *old);
	}
	return 0;
}

int kac_store_pin(struct kac_store *store, const struct kac_pin *pin)
{
	char *head __cleanup_free = NULL;
	struct kac_extent extent;
	uint32_t slot, old;
	uint16_t date_off;
	int err, head_len;
	bool replaces;

	if (!name_is_valid(pin->authority, pin->target))
		return -EINVAL;
	head_len = build_head(pin, &head, &date_off);
	if (head_len < 0)
		return head_len;
	if (pin->body_len > KAC_REPLY_MAX || (size_t)head_len + pin->body_len > KAC_REPLY_MAX ||
	    head_len > UINT16_MAX)
		return -EFBIG;
	err = make_room(store, (uint32_t)head_len + (uint32_t)pin->body_len, &slot, &extent);
	if (err)
		return err;
	/* Not before: making room may have dropped the old one. */
	err = find_named(store, pin->authority, pin->target, &old);
	replaces = !err;
	if (!err || err == -ENOENT)
		err = write_object(store, slot, &extent, pin, head, (uint16_t)head_len, date_off);
	if (!err)
		err = publish(store, slot, replaces ? &old : NULL);
	if (err) {
		/* No reader has seen it. */
		__atomic_store_n(&store->objects[slot].generation, 0, __ATOMIC_RELEASE);
		kac_arena_free(store->arena, &extent);
		store->free_slots[store->free_count++] = slot;
	}
	return err;
}

int kac_store_unpin(struct kac_store *store, const char *authority, const char *target)
{
	uint32_t slot;
	int err;

	if (!name_is_valid(authority, target))
		return -ENOENT;
	err = find_named(store, authority, target, &slot);
	if (err)
		return err == -EEXIST ? -ENOENT : err;
	return drop(store, slot);
}

/* Reading. */

/*
 * Copy what is in the slot, in spite of a writer at work: it clears the generation before it
 * changes anything else. -ENOENT when nothing is there.
 */
static int snapshot(struct kac_store *store, uint32_t slot, struct kac_pinned *pinned)
{
	const struct kac_object *o = &store->objects[slot];
	uint64_t generation;

	do {
		generation = __atomic_load_n(&o->generation, __ATOMIC_ACQUIRE);
		if (!generation)
			return -ENOENT;
		store->copy = *o;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (__atomic_load_n(&o->generation, __ATOMIC_RELAXED) != generation);

	o = &store->copy;
	if (o->authority_len > KAC_AUTHORITY_MAX || o->target_len > KAC_TARGET_MAX ||
	    o->slab >= store->slab_count || o->length > KAC_REPLY_MAX ||
	    o->offset > KAC_SLAB_SIZE - KAC_REPLY_MAX)
		return -EUCLEAN;
	pinned->object = o;
	pinned->slot = slot;
	memcpy(pinned->authority, o->authority, o->authority_len);
	pinned->authority[o->authority_len] = '\0';
	memcpy(pinned->target, o->target, o->target_len);
	pinned->target[o->target_len] = '\0';
	return 0;
}

int kac_store_find(struct kac_store *store, const char *authority, const char *target,
		   struct kac_pinned *pinned)
{
	struct kac_name key;
	unsigned int tries;
	uint32_t slot;
	int err;

	if (!name_is_valid(authority, target))
		return -ENOENT;
	key = name_key(store, authority, strlen(authority), target, strlen(target));
	/* Each failure means that a writer gave the slot away just now. */
	for (tries = 0; tries < 1000; tries++) {
		err = find_slot(store, &key, &slot);
		if (err)
			return err;
		err = snapshot(store, slot, pinned);
		if (err && err != -ENOENT)
			return err;
		if (!err && object_key(store, pinned->object).hash == key.hash)
			return has_name(pinned->object, authority, target) ? 0 : -ENOENT;
	}
	return -EUCLEAN;
}

/* Between two steps of a writer, an object that looks live may have no name. */
static bool is_named(struct kac_store *store, const struct kac_pinned *pinned)
{
	struct kac_name key;
	uint32_t slot;

	if (!store->read_only)
		return true;
	key = object_key(store, pinned->object);
	return !find_slot(store, &key, &slot) && slot == pinned->slot;
}

int kac_store_each(struct kac_store *store, int (*fn)(const struct kac_pinned *pinned, void *arg),
		   void *arg)
{
	struct kac_pinned pinned;
	uint32_t slot;

	for (slot = 0; slot < store->slots; slot++) {
		int ret;

		if (!is_live(&store->objects[slot]))
			continue;
		ret = snapshot(store, slot, &pinned);
		if (ret == -ENOENT || (!ret && !is_named(store, &pinned)))
			continue;
		if (!ret)
			ret = fn(&pinned, arg);
		if (ret)
			return ret;
	}
	return 0;
}

int kac_store_reply(struct kac_store *store, const struct kac_pinned *pinned,
		    uint8_t reply[KAC_REPLY_MAX])
{
	const struct kac_object *o = pinned->object;
	const uint8_t *bytes = slab_bytes(store, o->slab);

	if (!bytes)
		return -ENOMEM;
	memcpy(reply, bytes + o->offset, o->length);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&store->objects[pinned->slot].generation, __ATOMIC_RELAXED) !=
	    o->generation)
		return -ESTALE;
	return 0;
}

void kac_store_usage(struct kac_store *store, struct kac_store_usage *usage)
{
	uint32_t slot;

	*usage = (struct kac_store_usage){
		.object_limit = store->slots,
		.bytes_limit = (uint64_t)store->slab_count * KAC_SLAB_SIZE,
	};
	if (!store->read_only) {
		usage->objects = store->live;
		usage->bytes = store->live_bytes;
		usage->bytes_held = kac_arena_held(store->arena);
		return;
	}
	for (slot = 0; slot < store->slots; slot++) {
		const struct kac_object *o = &store->objects[slot];
		bool live = is_live(o);
		uint32_t length = o->length;

		if (live) {
			usage->objects++;
			usage->bytes += length;
		}
		if (live || o->retired)
			usage->bytes_held += (length + KAC_GRAIN - 1) / KAC_GRAIN * KAC_GRAIN;
	}
}
