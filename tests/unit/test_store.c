// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "../../user/map.h"
#include "../../user/store.h"
#include "instance.h"

#define SLOTS 256

static int in_private_bpffs(void **state)
{
	int err = instance_mount();

	if (err)
		fprintf(stderr, "no bpffs of its own (root is needed): %s\n", strerror(-err));
	return err;
}

static int one_slab(void **state)
{
	return instance_make(SLOTS, 1);
}

static int remove_instance(void **state)
{
	instance_remove();
	return 0;
}

static struct kac_store *open_store(bool read_only)
{
	struct kac_store *store;

	assert_int_equal(kac_store_open(&test_ctx, read_only, &store), 0);
	return store;
}

static int open_map(const char *name)
{
	int fd = kac_open_map(&test_ctx, name);

	assert_true(fd >= 0);
	return fd;
}

static struct kac_config read_config(void)
{
	int fd __cleanup_fd = open_map("config");
	struct kac_config config;
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &config), 0);
	return config;
}

static struct kac_object read_object(uint32_t slot)
{
	int fd __cleanup_fd = open_map("objects");
	struct kac_object object;

	assert_int_equal(bpf_map_lookup_elem(fd, &slot, &object), 0);
	return object;
}

static struct kac_store_usage usage_of(struct kac_store *store)
{
	struct kac_store_usage u;

	kac_store_usage(store, &u);
	return u;
}

static int pin_bytes(struct kac_store *store, const char *target, const void *body, size_t len)
{
	struct kac_pin pin = {
		.authority = "example.org",
		.target = target,
		.status = 200,
		.headers = "",
		.body = body,
		.body_len = len,
	};

	return kac_store_pin(store, &pin);
}

/* Pin a body of @len bytes that tells its name and length from every other's. */
static int pin_pattern(struct kac_store *store, const char *target, size_t len)
{
	static char body[KAC_REPLY_MAX];
	size_t i;

	for (i = 0; i < len; i++)
		body[i] = (char)(target[1 + i % (strlen(target) - 1)] + len * 7 + i / 251);
	return pin_bytes(store, target, body, len);
}

static void check_pattern(const struct kac_pinned *p, const uint8_t *reply)
{
	size_t len = p->object->length - p->object->head_len, i;
	const char *target = p->target;

	for (i = 0; i < len; i++)
		assert_int_equal(
			reply[p->object->head_len + i],
			(uint8_t)(target[1 + i % (strlen(target) - 1)] + len * 7 + i / 251));
}

/* A sum of our own: the definition of RFC 1071, byte by byte. */
static uint32_t sum_of(const uint8_t *bytes, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		sum += (uint32_t)bytes[i] << (i % 2 * 8);
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (sum & 0xffff) + (sum >> 16);
}

/* What a client would get, and what a BPF program goes by. */
static void test_reply_and_descriptor(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	static const char head[] = "HTTP/1.1 200 OK\r\n"
				   "Server: kaccel\r\n"
				   "Date: ";
	static const char rest[] = "\r\n"
				   "Content-Type: text/plain\r\n"
				   "Content-Length: 5\r\n"
				   "\r\n"
				   "hello";
	static const char zeros[KAC_DATE_LEN];
	struct kac_pin pin = {
		"example.org:8080", "/a?b=c", 200, "Content-Type: text/plain\r\n", "hello", 5, 0};
	uint8_t reply[KAC_REPLY_MAX];
	struct kac_pinned p;

	assert_int_equal(kac_store_pin(store, &pin), 0);
	assert_int_equal(kac_store_find(store, "example.org:8080", "/a?b=c", &p), 0);
	assert_int_equal(kac_store_reply(store, &p, reply), 0);

	assert_memory_equal(reply, head, strlen(head));
	assert_int_equal(p.object->date_off, strlen(head));
	assert_memory_equal(reply + strlen(head), zeros, KAC_DATE_LEN);
	assert_memory_equal(reply + strlen(head) + KAC_DATE_LEN, rest, strlen(rest));
	assert_int_equal(p.object->length, strlen(head) + KAC_DATE_LEN + strlen(rest));
	assert_int_equal(p.object->head_len, p.object->length - 5);
	assert_int_equal(p.object->csum, sum_of(reply, p.object->length));
	assert_int_equal(p.object->status, 200);
	assert_int_equal(p.object->expires, 0);
	assert_int_equal(p.object->retired, 0);
	assert_int_not_equal(p.object->generation, 0);
	assert_int_not_equal(p.object->pinned, 0);
	assert_int_equal(p.object->offset % KAC_GRAIN, 0);
	assert_string_equal(p.authority, "example.org:8080");
	assert_string_equal(p.target, "/a?b=c");
}

/* A reader hashes what the request says; the host in any case. */
static void test_name_leads_to_object(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	int names __cleanup_fd = open_map("names");
	uint8_t request[KAC_REQ_MAX + KAC_REQ_PAD] = "GET /x/y HTTP/1.1\r\nHost: ExAmple.ORG\r\n";
	struct kac_object o;
	struct kac_slot slot;
	struct kac_name name;
	uint64_t seed;

	assert_int_equal(pin_pattern(store, "/x/y", 100), 0);
	seed = read_config().seed;
	assert_int_not_equal(seed, 0);
	name.hash = kac_name_hash(kac_hash(request, 25, 11, KAC_AUTHORITY_MAX, 1, seed),
				  kac_hash(request, 4, 4, KAC_TARGET_MAX, 0, seed));
	assert_int_equal(bpf_map_lookup_elem(names, &name, &slot), 0);
	o = read_object(slot.slot);
	assert_int_equal(o.authority_len, 11);
	assert_true(kac_same(request, 25, 11, KAC_AUTHORITY_MAX, 1, o.authority));
	assert_true(kac_same(request, 4, 4, KAC_TARGET_MAX, 0, o.target));
}

static void test_counts_by_kind_of_name(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	struct kac_pin pin = {"*", "/", 200, "", "x", 1, 0};

	assert_int_equal(kac_store_pin(store, &pin), 0);
	assert_int_equal(pin_pattern(store, "/a", 10), 0);
	assert_int_equal(pin_pattern(store, "/b", 10), 0);
	assert_int_equal(pin_pattern(store, "/b", 20), 0);
	assert_int_equal(read_config().fallback, 1);
	assert_int_equal(read_config().exact, 2);
	assert_int_equal(kac_store_unpin(store, "*", "/"), 0);
	assert_int_equal(kac_store_unpin(store, "example.org", "/a"), 0);
	assert_int_equal(read_config().fallback, 0);
	assert_int_equal(read_config().exact, 1);
}

static void test_replace(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	uint8_t reply[KAC_REPLY_MAX];
	struct kac_object old;
	struct kac_pinned p;
	uint32_t old_slot;

	assert_int_equal(pin_pattern(store, "/a", 1000), 0);
	assert_int_equal(kac_store_find(store, "example.org", "/a", &p), 0);
	old = *p.object;
	old_slot = p.slot;
	assert_int_equal(pin_pattern(store, "/a", 2000), 0);
	assert_int_equal(kac_store_find(store, "example.org", "/a", &p), 0);
	assert_int_equal(kac_store_reply(store, &p, reply), 0);
	check_pattern(&p, reply);
	assert_int_equal(p.object->length - p.object->head_len, 2000);
	assert_true(p.object->generation > old.generation);

	/* The old one is whole for those that still have it. */
	assert_int_not_equal(read_object(old_slot).retired, 0);
	assert_int_equal(read_object(old_slot).generation, old.generation);
	assert_int_equal(usage_of(store).objects, 1);
	assert_int_equal(usage_of(store).bytes, p.object->length);
	assert_true(usage_of(store).bytes_held > p.object->length + old.length);
}

static void test_unpin(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	struct kac_pinned p;

	assert_int_equal(kac_store_unpin(store, "example.org", "/a"), -ENOENT);
	assert_int_equal(pin_pattern(store, "/a", 10), 0);
	assert_int_equal(kac_store_unpin(store, "example.com", "/a"), -ENOENT);
	assert_int_equal(kac_store_unpin(store, "example.org", "/a"), 0);
	assert_int_equal(kac_store_unpin(store, "example.org", "/a"), -ENOENT);
	assert_int_equal(kac_store_find(store, "example.org", "/a", &p), -ENOENT);
	assert_int_equal(usage_of(store).objects, 0);
	assert_int_equal(usage_of(store).bytes, 0);
}

static void test_refuses_what_is_not_valid(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	char long_target[KAC_TARGET_MAX + 2], long_authority[KAC_AUTHORITY_MAX + 2];
	struct kac_pin bad[] = {
		{"", "/", 200, "", "", 0, 0},
		{"Example.org", "/", 200, "", "", 0, 0},
		{"a b", "/", 200, "", "", 0, 0},
		{"u@h", "/", 200, "", "", 0, 0},
		{long_authority, "/", 200, "", "", 0, 0},
		{"h", "", 200, "", "", 0, 0},
		{"h", "a", 200, "", "", 0, 0},
		{"h", "/a b", 200, "", "", 0, 0},
		{"h", "/a#b", 200, "", "", 0, 0},
		{"h", "/a\r\n", 200, "", "", 0, 0},
		{"h", "/\xc3\xa4", 200, "", "", 0, 0},
		{"h", long_target, 200, "", "", 0, 0},
		{"h", "/", 0, "", "", 0, 0},
		{"h", "/", 100, "", "", 0, 0},
		{"h", "/", 204, "", "", 0, 0},
		{"h", "/", 206, "", "", 0, 0},
		{"h", "/", 304, "", "", 0, 0},
		{"h", "/", 200, "X", "", 0, 0},
		{"h", "/", 200, "X: y", "", 0, 0},
		{"h", "/", 200, "X: y\n", "", 0, 0},
		{"h", "/", 200, "X : y\r\n", "", 0, 0},
		{"h", "/", 200, ": y\r\n", "", 0, 0},
		{"h", "/", 200, "X: y\r\n\r\n", "", 0, 0},
		{"h", "/", 200, "X: y\r\n folded\r\n", "", 0, 0},
		{"h", "/", 200, "X: \x01\r\n", "", 0, 0},
		{"h", "/", 200, "date: x\r\n", "", 0, 0},
		{"h", "/", 200, "X: y\r\ncontent-length: 1\r\n", "", 0, 0},
		{"h", "/", 200, "Transfer-Encoding: chunked\r\n", "", 0, 0},
		{"h", "/", 200, "Connection: close\r\n", "", 0, 0},
	};
	size_t i;

	memset(long_target, '/', sizeof(long_target) - 1);
	long_target[sizeof(long_target) - 1] = '\0';
	memset(long_authority, 'a', sizeof(long_authority) - 1);
	long_authority[sizeof(long_authority) - 1] = '\0';
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(kac_store_pin(store, &bad[i]), -EINVAL);
	assert_int_equal(usage_of(store).bytes_held, 0);
	assert_int_equal(read_config().exact, 0);

	/* The longest names are as good as any. */
	long_target[KAC_TARGET_MAX] = '\0';
	long_authority[KAC_AUTHORITY_MAX] = '\0';
	assert_int_equal(kac_store_pin(store, &(struct kac_pin){long_authority, long_target, 200,
								"", "x", 1, 0}),
			 0);
}

static void test_own_server_field(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	struct kac_pin pin = {"*", "/", 404, "server: nginx\r\n", "", 0, 0};
	uint8_t reply[KAC_REPLY_MAX];
	struct kac_pinned p;

	assert_int_equal(kac_store_pin(store, &pin), 0);
	assert_int_equal(kac_store_find(store, "*", "/", &p), 0);
	assert_int_equal(kac_store_reply(store, &p, reply), 0);
	assert_memory_equal(reply, "HTTP/1.1 404 Not Found\r\nDate: ", 30);
	assert_int_equal(p.object->date_off, 30);
	assert_non_null(memmem(reply, p.object->length, "\r\nserver: nginx\r\n", 17));
}

static void test_largest_reply(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	uint8_t reply[KAC_REPLY_MAX];
	struct kac_pinned p;
	size_t head;

	assert_int_equal(pin_pattern(store, "/a", 60000), 0);
	assert_int_equal(kac_store_find(store, "example.org", "/a", &p), 0);
	head = p.object->head_len;
	assert_int_equal(pin_pattern(store, "/a", KAC_REPLY_MAX - head), 0);
	assert_int_equal(kac_store_find(store, "example.org", "/a", &p), 0);
	assert_int_equal(p.object->length, KAC_REPLY_MAX);
	assert_int_equal(pin_pattern(store, "/a", KAC_REPLY_MAX - head + 1), -EFBIG);
	assert_int_equal(kac_store_find(store, "example.org", "/a", &p), 0);
	assert_int_equal(kac_store_reply(store, &p, reply), 0);
	check_pattern(&p, reply);
}

/* Pin bodies of @len under /0, /1, ... until that fails; how many there was room for. */
static uint32_t fill(struct kac_store *store, size_t len)
{
	uint32_t count;
	char target[16];
	int err = 0;

	for (count = 0; !err; count++) {
		sprintf(target, "/%u", count);
		err = pin_pattern(store, target, len);
	}
	assert_int_equal(err, -ENOSPC);
	return count - 1;
}

static void unpin_range(struct kac_store *store, uint32_t from, uint32_t to, uint32_t step)
{
	char target[16];

	for (; from < to; from += step) {
		sprintf(target, "/%u", from);
		assert_int_equal(kac_store_unpin(store, "example.org", target), 0);
	}
}

static void test_slots_run_out(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	struct kac_store_usage before, after;

	assert_int_equal(fill(store, 10), SLOTS);
	before = usage_of(store);
	assert_int_equal(pin_pattern(store, "/more", 10), -ENOSPC);
	after = usage_of(store);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(read_config().exact, SLOTS);
	unpin_range(store, 7, 8, 1);
	assert_int_equal(pin_pattern(store, "/more", 10), 0);
	assert_int_equal(pin_pattern(store, "/even-more", 10), -ENOSPC);
}

/* A full store changes nothing, down to the byte. */
static void test_memory_runs_out(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	int objects __cleanup_fd = open_map("objects"), arena __cleanup_fd = open_map("arena");
	const size_t objects_len = SLOTS * sizeof(struct kac_object);
	void *o = mmap(NULL, objects_len, PROT_READ, MAP_SHARED, objects, 0);
	void *a = mmap(NULL, KAC_SLAB_SIZE, PROT_READ, MAP_SHARED, arena, 0);
	void *objects_before = malloc(objects_len), *arena_before = malloc(KAC_SLAB_SIZE);

	assert_true(o != MAP_FAILED && a != MAP_FAILED);
	/* The longest replies touch the slab's very end. */
	assert_true(fill(store, 60000) >= KAC_SLAB_SIZE / KAC_REPLY_MAX);
	memcpy(objects_before, o, objects_len);
	memcpy(arena_before, a, KAC_SLAB_SIZE);
	assert_int_equal(pin_pattern(store, "/more", 60000), -ENOSPC);
	assert_int_equal(pin_pattern(store, "/0", 60000), -ENOSPC);
	assert_memory_equal(objects_before, o, objects_len);
	assert_memory_equal(arena_before, a, KAC_SLAB_SIZE);
	munmap(o, objects_len);
	munmap(a, KAC_SLAB_SIZE);
	free(objects_before);
	free(arena_before);
}

static void test_replaces_with_room_for_one_more_copy(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	uint32_t count = fill(store, 60000), i;
	char target[16];

	unpin_range(store, count - 1, count, 1);
	for (i = 0; i < 5 * (count - 1); i++) {
		sprintf(target, "/%u", i % (count - 1));
		assert_int_equal(pin_pattern(store, target, 60000 - i % 64), 0);
	}
	assert_int_equal(usage_of(store).objects, count - 1);
}

/* The gaps that small objects leave are as good as new. */
static void test_memory_comes_back_whole(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	uint32_t large = fill(store, 60000), count;

	unpin_range(store, 0, large, 1);
	count = fill(store, 15000);
	assert_true(count > 3 * large);
	unpin_range(store, 0, count, 2);
	unpin_range(store, 1, count, 2);
	assert_int_equal(fill(store, 60000), large);
	unpin_range(store, 0, large, 1);
	assert_int_equal(usage_of(store).objects, 0);
}

static void test_small_objects_cost_little(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	struct kac_store_usage u;

	fill(store, 64);
	u = usage_of(store);
	assert_int_equal(u.objects, SLOTS);
	assert_true(u.bytes_held < u.bytes + SLOTS * KAC_GRAIN);
}

static int unpin_one(const struct kac_pinned *p, void *arg)
{
	return kac_store_unpin(arg, p->authority, p->target);
}

static void unpin_all(struct kac_store *store)
{
	assert_int_equal(kac_store_each(store, unpin_one, store), 0);
	assert_int_equal(usage_of(store).objects, 0);
}

static void set_conn(uint16_t port, uint64_t generation, uint32_t slot)
{
	int fd __cleanup_fd = open_map("conns");
	struct kac_conn_key key = {.client_port = port};
	struct kac_conn conn = {.generation = generation, .slot = slot};

	assert_int_equal(bpf_map_update_elem(fd, &key, &conn, BPF_ANY), 0);
}

/* A reply that may have to be sent again keeps its bytes (P3). */
static void test_outstanding_reply_keeps_its_bytes(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	uint32_t count = fill(store, 60000);
	struct kac_pinned p, held;
	struct kac_object object;
	uint16_t port;

	/* Many connections, to be read in several batches. */
	for (port = 0; port < 1000; port++)
		set_conn(port, 0, 0);
	assert_int_equal(kac_store_find(store, "example.org", "/3", &held), 0);
	object = *held.object;
	held.object = &object;
	set_conn(777, object.generation, held.slot);
	unpin_range(store, 3, 4, 1);
	assert_int_equal(pin_pattern(store, "/new", 60000), -ENOSPC);

	/* A slot alone says nothing: that is another generation's. */
	set_conn(777, object.generation + 1000, held.slot);
	set_conn(778, object.generation, held.slot);
	assert_int_equal(pin_pattern(store, "/new", 60000), -ENOSPC);
	assert_int_equal(read_object(held.slot).generation, object.generation);

	set_conn(778, 0, held.slot);
	assert_int_equal(pin_pattern(store, "/new", 60000), 0);
	assert_int_equal(kac_store_find(store, "example.org", "/new", &p), 0);
	assert_int_equal(p.object->offset, object.offset);
	assert_int_equal(usage_of(store).objects, count);
}

/* The same across writers: what the first one retired, the next must not take for free. */
static void test_outstanding_reply_survives_its_writer(void **state)
{
	struct kac_store *store = open_store(false);
	uint32_t count = fill(store, 60000);
	struct kac_pinned p;

	assert_int_equal(kac_store_find(store, "example.org", "/3", &p), 0);
	set_conn(1, p.object->generation, p.slot);
	unpin_range(store, 3, 4, 1);
	kac_store_close(store);

	store = open_store(false);
	assert_int_equal(usage_of(store).objects, count - 1);
	assert_int_equal(pin_pattern(store, "/new", 60000), -ENOSPC);
	set_conn(1, 0, 0);
	assert_int_equal(pin_pattern(store, "/new", 60000), 0);
	kac_store_close(store);
}

static void test_memory_is_free_after_closing(void **state)
{
	struct kac_store *store = open_store(false), *reader = open_store(true);
	struct kac_pinned p;
	uint32_t outstanding;

	assert_int_equal(pin_pattern(store, "/a", 1000), 0);
	assert_int_equal(pin_pattern(store, "/b", 2000), 0);
	assert_int_equal(kac_store_find(store, "example.org", "/b", &p), 0);
	outstanding = p.object->length;
	set_conn(1, p.object->generation, p.slot);
	unpin_all(store);
	assert_true(usage_of(reader).bytes_held > outstanding + 1000);
	kac_store_close(store);
	assert_true(usage_of(reader).bytes_held >= outstanding);
	assert_true(usage_of(reader).bytes_held < outstanding + KAC_GRAIN);
	set_conn(1, 0, 0);
	kac_store_close(open_store(false));
	assert_int_equal(usage_of(reader).bytes_held, 0);
	kac_store_close(reader);
}

static void test_expired_objects_make_room(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	const struct timespec wait = {.tv_sec = 1, .tv_nsec = 20000000};
	struct kac_pin pin = {"example.org", "/short", 200, "", "x", 1, 1};
	struct kac_pinned p;
	uint32_t count;

	assert_int_equal(kac_store_pin(store, &pin), 0);
	pin.target = "/long";
	pin.ttl_s = 1000;
	assert_int_equal(kac_store_pin(store, &pin), 0);
	count = fill(store, 10);
	assert_int_equal(count, SLOTS - 2);
	nanosleep(&wait, NULL);
	assert_int_equal(pin_pattern(store, "/new", 10), 0);
	assert_int_equal(kac_store_find(store, "example.org", "/short", &p), -ENOENT);
	assert_int_equal(kac_store_find(store, "example.org", "/long", &p), 0);
	assert_true(p.object->expires > 0);
	assert_int_equal(read_config().exact, SLOTS);
	assert_int_equal(pin_pattern(store, "/newer", 10), -ENOSPC);
}

static void test_another_name_of_the_same_hash(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	int names __cleanup_fd = open_map("names");
	struct kac_pinned p;
	struct kac_slot slot;
	struct kac_name a, b;

	assert_int_equal(pin_pattern(store, "/b", 10), 0);
	assert_int_equal(bpf_map_get_next_key(names, NULL, &b), 0);
	assert_int_equal(kac_store_unpin(store, "example.org", "/b"), 0);
	assert_int_equal(pin_pattern(store, "/a", 10), 0);
	assert_int_equal(bpf_map_get_next_key(names, NULL, &a), 0);
	assert_int_equal(bpf_map_lookup_elem(names, &a, &slot), 0);
	assert_int_equal(bpf_map_update_elem(names, &b, &slot, BPF_ANY), 0);

	assert_int_equal(pin_pattern(store, "/b", 20), -EEXIST);
	assert_int_equal(kac_store_unpin(store, "example.org", "/b"), -ENOENT);
	assert_int_equal(kac_store_find(store, "example.org", "/a", &p), 0);
	assert_int_equal(p.slot, slot.slot);
	assert_int_equal(usage_of(store).objects, 1);
}

static int count_and_check(const struct kac_pinned *p, void *arg)
{
	uint32_t *seen = arg;
	unsigned int n;

	assert_int_equal(sscanf(p->target, "/%u", &n), 1);
	seen[n]++;
	return 0;
}

static void test_each_sees_every_object_once(void **state)
{
	struct kac_store *store __cleanup_store = open_store(false);
	uint32_t seen[2][SLOTS] = {0};
	uint32_t i;

	fill(store, 100);
	unpin_range(store, 0, SLOTS, 3);
	assert_int_equal(kac_store_each(store, count_and_check, seen[0]), 0);
	{
		struct kac_store *reader __cleanup_store = open_store(true);
		struct kac_store_usage a = usage_of(store), b = usage_of(reader);

		assert_int_equal(kac_store_each(reader, count_and_check, seen[1]), 0);
		assert_memory_equal(&a, &b, sizeof(a));
	}
	for (i = 0; i < SLOTS; i++) {
		assert_int_equal(seen[0][i], i % 3 != 0);
		assert_int_equal(seen[1][i], i % 3 != 0);
	}
}

/*
 * Start a process that, when a byte is written to *@go, opens the store for writing and exits with
 * 0 when that returns @expected. Before the caller opens it: locks are inherited.
 */
static pid_t start_second_writer(int expected, int *go)
{
	int pipe_fds[2];
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = test_fork();
	if (!pid) {
		struct kac_store *second;
		char byte;

		if (read(pipe_fds[0], &byte, 1) != 1)
			_exit(1);
		_exit(kac_store_open(&test_ctx, false, &second) == expected ? 0 : 1);
	}
	close(pipe_fds[0]);
	*go = pipe_fds[1];
	return pid;
}

/* Whether it is still waiting after a while. */
static bool waits(pid_t pid, int go)
{
	int status;

	assert_int_equal(write(go, "x", 1), 1);
	close(go);
	usleep(100000);
	return waitpid(pid, &status, WNOHANG) == 0;
}

static void test_one_writer_at_a_time(void **state)
{
	int go, status;
	pid_t pid = start_second_writer(0, &go);
	struct kac_store *store = open_store(false);

	assert_true(waits(pid, go));
	kac_store_close(store);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A writer that had to wait finds the instance gone, not the maps of one that is no more. */
static void test_instance_removed_meanwhile(void **state)
{
	int go, status;
	pid_t pid = start_second_writer(-ENOENT, &go);
	struct kac_store *store = open_store(false);

	assert_true(waits(pid, go));
	instance_remove();
	kac_store_close(store);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_no_instance(void **state)
{
	struct kac_ctx other = {.instance = "other"};
	struct kac_store *store;

	assert_int_equal(kac_store_open(&other, false, &store), -ENOENT);
	assert_int_equal(kac_store_open(&other, true, &store), -ENOENT);
}

static void test_maps_of_another_version(void **state)
{
	const struct test_map old = {"objects", BPF_MAP_TYPE_ARRAY, 4, 64, SLOTS, BPF_F_MMAPABLE};
	struct kac_store *store;
	char path[KAC_PATH_MAX];

	kac_pin_path(&test_ctx, "objects", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(instance_add_map(&old), 0);
	assert_int_equal(kac_store_open(&test_ctx, false, &store), -EPROTO);
}

static void write_object(uint32_t slot, const struct kac_object *o)
{
	int fd __cleanup_fd = open_map("objects");

	assert_int_equal(bpf_map_update_elem(fd, &slot, o, BPF_ANY), 0);
}

static void test_damage_is_told(void **state)
{
	struct kac_store *store = open_store(false);
	struct kac_object o, broken;

	assert_int_equal(pin_pattern(store, "/a", 10), 0);
	assert_int_equal(pin_pattern(store, "/b", 10), 0);
	kac_store_close(store);
	o = read_object(1);

	broken = o;
	broken.offset = read_object(0).offset;
	write_object(1, &broken);
	assert_int_equal(kac_store_open(&test_ctx, false, &store), -EUCLEAN);
	broken = o;
	broken.slab = 1;
	write_object(1, &broken);
	assert_int_equal(kac_store_open(&test_ctx, false, &store), -EUCLEAN);
	broken = o;
	broken.generation = 0;
	write_object(1, &broken);
	assert_int_equal(kac_store_open(&test_ctx, false, &store), -EUCLEAN);
	broken = o;
	broken.target[0] ^= 1;
	write_object(1, &broken);
	assert_int_equal(kac_store_open(&test_ctx, false, &store), -EUCLEAN);

	write_object(1, &o);
	assert_int_equal(kac_store_open(&test_ctx, false, &store), 0);
	kac_store_close(store);
}

/* What the next writer finds after one that died between two steps. */
static void test_repairs(void **state)
{
	struct kac_store *store = open_store(false);
	int config_fd __cleanup_fd = open_map("config"), names __cleanup_fd = open_map("names");
	uint32_t zero = 0, count = fill(store, 60000);
	struct kac_config config;
	struct kac_object o;
	struct kac_name key;
	struct kac_pinned p;

	assert_int_equal(kac_store_find(store, "example.org", "/1", &p), 0);
	kac_store_close(store);

	/* Counted but not named: died before the name was written, or after it was deleted. */
	config = read_config();
	config.exact += 3;
	config.fallback += 3;
	assert_int_equal(bpf_map_update_elem(config_fd, &zero, &config, BPF_ANY), 0);
	assert_int_equal(bpf_map_get_next_key(names, NULL, &key), 0);
	assert_int_equal(bpf_map_delete_elem(names, &key), 0);
	store = open_store(false);
	assert_int_equal(read_config().exact, count - 1);
	assert_int_equal(read_config().fallback, 0);
	assert_int_equal(usage_of(store).objects, count - 1);
	assert_int_equal(pin_pattern(store, "/new", 60000), 0);
	assert_int_equal(pin_pattern(store, "/newer", 60000), -ENOSPC);
	kac_store_close(store);

	/* Condemned: died while it waited for readers. Held, until that has been done over. */
	assert_int_equal(bpf_map_get_next_key(names, NULL, &key), 0);
	assert_int_equal(bpf_map_lookup_elem(names, &key, &p.slot), 0);
	assert_int_equal(bpf_map_delete_elem(names, &key), 0);
	o = read_object(p.slot);
	o.generation = 0;
	o.retired = 1;
	write_object(p.slot, &o);
	store = open_store(false);
	assert_true(usage_of(store).bytes_held > (count - 1) * 60000);
	assert_int_equal(pin_pattern(store, "/newer", 60000), 0);
	assert_int_equal(pin_pattern(store, "/newest", 60000), -ENOSPC);
	kac_store_close(store);
}

#define NAMES 24

/* Pin, replace and unpin at random, for ever. */
static void churn(unsigned int seed)
{
	struct kac_store *store;
	char target[16];

	if (kac_store_open(&test_ctx, false, &store))
		_exit(1);
	for (;;) {
		int err;

		sprintf(target, "/%d", rand_r(&seed) % NAMES);
		if (rand_r(&seed) % 4)
			err = pin_pattern(store, target, rand_r(&seed) % 65000);
		else
			err = kac_store_unpin(store, "example.org", target);
		if (err && err != -ENOSPC && err != -ENOENT)
			_exit(1);
	}
}

static int check_one(const struct kac_pinned *p, void *arg)
{
	static uint8_t reply[KAC_REPLY_MAX];
	struct kac_store *store = arg;

	assert_int_equal(kac_store_reply(store, p, reply), 0);
	assert_int_equal(p->object->csum, sum_of(reply, p->object->length));
	check_pattern(p, reply);
	return 0;
}

static int check_name(const void *key, const void *value, void *arg)
{
	const struct kac_slot *slot = value;
	const struct kac_name *name = key;
	struct kac_object o = read_object(slot->slot);
	uint8_t buf[KAC_REQ_MAX + KAC_REQ_PAD] = {0};
	uint64_t seed = read_config().seed, authority, target;
	uint32_t *count = arg;

	assert_int_not_equal(o.generation, 0);
	assert_int_equal(o.retired, 0);
	memcpy(buf, o.authority, o.authority_len);
	authority = kac_hash(buf, 0, o.authority_len, KAC_AUTHORITY_MAX, 1, seed);
	memcpy(buf, o.target, o.target_len);
	target = kac_hash(buf, 0, o.target_len, KAC_TARGET_MAX, 0, seed);
	assert_int_equal(name->hash, kac_name_hash(authority, target));
	++*count;
	return 0;
}

/* What readers may count on at any moment, and what a writer makes of it. */
static void check_store(void)
{
	int names __cleanup_fd = open_map("names");
	struct kac_store *reader = open_store(true), *writer;
	struct kac_store_usage u;
	uint32_t count = 0;

	assert_int_equal(kac_map_each(names, sizeof(struct kac_name), sizeof(struct kac_slot),
				      check_name, &count),
			 0);
	assert_true(read_config().exact >= count);
	assert_int_equal(kac_store_each(reader, check_one, reader), 0);
	kac_store_close(reader);

	/* That no two extents overlap is checked by opening. */
	writer = open_store(false);
	reader = open_store(true);
	u = usage_of(writer);
	assert_int_equal(read_config().exact, count);
	assert_int_equal(u.objects, count);
	assert_int_equal(usage_of(reader).bytes_held, u.bytes_held);
	assert_int_equal(kac_store_each(writer, check_one, writer), 0);
	kac_store_close(writer);
	assert_int_equal(usage_of(reader).objects, count);
	assert_int_equal(usage_of(reader).bytes, u.bytes);
	kac_store_close(reader);
}

static void test_killed_writers(void **state)
{
	unsigned int seed = 1, round;
	struct kac_store_usage u;
	struct kac_store *store;
	uint32_t empty;

	store = open_store(false);
	empty = fill(store, 60000);
	unpin_range(store, 0, empty, 1);
	kac_store_close(store);

	for (round = 0; round < 150; round++) {
		int status;
		pid_t pid = test_fork();

		if (!pid)
			churn(round);
		usleep(500 + rand_r(&seed) % 30000);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		check_store();
	}

	/* Nothing has leaked: a full store holds what is live, rounded up, and no more. */
	store = open_store(false);
	unpin_all(store);
	assert_true(fill(store, 60000) > empty / 2);
	u = usage_of(store);
	assert_true(u.bytes_held - u.bytes < u.objects * KAC_GRAIN);
	kac_store_close(store);
}

/* A reader in another process never sees a reply of two objects. */
static void test_reader_beside_writer(void **state)
{
	struct kac_store *reader;
	uint8_t reply[KAC_REPLY_MAX];
	unsigned int reads = 0;
	struct kac_pinned p;
	int status, i;
	pid_t pid;

	pid = test_fork();
	if (!pid)
		churn(1);
	reader = open_store(true);
	for (i = 0; i < 20000; i++) {
		char target[16];
		int err;

		sprintf(target, "/%d", i % NAMES);
		err = kac_store_find(reader, "example.org", target, &p);
		if (!err)
			err = kac_store_reply(reader, &p, reply);
		if (err) {
			assert_true(err == -ENOENT || err == -ESTALE);
			continue;
		}
		assert_string_equal(p.target, target);
		check_pattern(&p, reply);
		reads++;
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(reads > 1000);
	kac_store_close(reader);
}

static int many_slots(void **state)
{
	return instance_make(16384, 16);
}

static void test_ten_thousand_objects(void **state)
{
	struct kac_store *store = open_store(false);
	struct timespec begin, end;
	char target[32];
	int i;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (i = 0; i < 10000; i++) {
		sprintf(target, "/%d/page.html", i);
		assert_int_equal(pin_pattern(store, target, 2000 + i % 3000), 0);
	}
	for (i = 0; i < 10000; i += 2) {
		sprintf(target, "/%d/page.html", i);
		assert_int_equal(pin_pattern(store, target, 1000 + i % 3000), 0);
	}
	kac_store_close(store);
	store = open_store(false);
	kac_store_close(store);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true(end.tv_sec - begin.tv_sec < 10);
}

int main(void)
{
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, one_slab, remove_instance)
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_reply_and_descriptor),
		STORE_TEST(test_name_leads_to_object),
		STORE_TEST(test_counts_by_kind_of_name),
		STORE_TEST(test_replace),
		STORE_TEST(test_unpin),
		STORE_TEST(test_refuses_what_is_not_valid),
		STORE_TEST(test_own_server_field),
		STORE_TEST(test_largest_reply),
		STORE_TEST(test_slots_run_out),
		STORE_TEST(test_memory_runs_out),
		STORE_TEST(test_replaces_with_room_for_one_more_copy),
		STORE_TEST(test_memory_comes_back_whole),
		STORE_TEST(test_small_objects_cost_little),
		STORE_TEST(test_outstanding_reply_keeps_its_bytes),
		STORE_TEST(test_outstanding_reply_survives_its_writer),
		STORE_TEST(test_memory_is_free_after_closing),
		STORE_TEST(test_expired_objects_make_room),
		STORE_TEST(test_another_name_of_the_same_hash),
		STORE_TEST(test_each_sees_every_object_once),
		STORE_TEST(test_one_writer_at_a_time),
		STORE_TEST(test_instance_removed_meanwhile),
		STORE_TEST(test_no_instance),
		STORE_TEST(test_maps_of_another_version),
		STORE_TEST(test_damage_is_told),
		STORE_TEST(test_repairs),
		STORE_TEST(test_killed_writers),
		STORE_TEST(test_reader_beside_writer),
		cmocka_unit_test_setup_teardown(test_ten_thousand_objects, many_slots,
						remove_instance),
	};

	return cmocka_run_group_tests_name("store", tests, in_private_bpffs, NULL);
}
