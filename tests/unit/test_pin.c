// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "../../user/field.h"
#include "../../user/pin.h"
#include "../../user/validator.h"
#include "instance.h"

#define FILE_TIME 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */

struct fixture {
	char dir[32];
	struct kac_mime *mime;
	struct kac_store *store;
};

static int in_private_bpffs(void **state)
{
	return instance_mount();
}

static int setup_slots(void **state, uint32_t slots)
{
	static struct fixture f;
	int err;

	strcpy(f.dir, "/tmp/kaccel-pin-XXXXXX");
	if (!mkdtemp(f.dir) || chdir(f.dir))
		return -errno;
	err = instance_make(slots, 1);
	if (!err)
		err = kac_mime_load(NULL, &f.mime);
	if (!err)
		err = kac_store_open(&test_ctx, false, &f.store);
	*state = &f;
	return err;
}

static int setup(void **state)
{
	return setup_slots(state, 64);
}

static int setup_three_slots(void **state)
{
	return setup_slots(state, 3);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[64];

	kac_store_close(f->store);
	kac_mime_free(f->mime);
	instance_remove();
	sprintf(command, "rm -rf %s", f->dir);
	return chdir("/") || system(command);
}

/* Write a file of @len times @byte. */
static void put(const char *path, char byte, size_t len)
{
	const struct timespec times[2] = {{.tv_sec = FILE_TIME}, {.tv_sec = FILE_TIME}};
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	while (len--)
		putc(byte, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void assert_field(const uint8_t *reply, size_t head_len, const char *name, const char *value)
{
	size_t len;
	const char *found = kac_field((const char *)reply, head_len, name, &len);

	if (!value) {
		assert_null(found);
		return;
	}
	assert_non_null(found);
	assert_int_equal(len, strlen(value));
	assert_memory_equal(found, value, len);
}

static int pin_file(struct fixture *f, const char *path, const char *target,
		    const struct kac_pin_options *opt, struct kac_pin_totals *totals)
{
	struct kac_url url = {.authority = "h"};

	strcpy(url.target, target);
	return kac_pin_file(f->store, f->mime, path, &url, opt, totals);
}

static bool is_pinned(struct fixture *f, const char *target)
{
	struct kac_pinned p;

	return !kac_store_find(f->store, "h", target, &p);
}

/* As the embedded origin and nginx would send it, so that a client cannot tell the difference. */
static void test_file(void **state)
{
	struct fixture *f = *state;
	struct kac_pin_options opt = {0};
	struct kac_pin_totals totals = {0};
	uint8_t reply[KAC_REPLY_MAX];
	struct kac_pinned p;

	put("a.html", 'x', 1000);
	assert_int_equal(pin_file(f, "a.html", "/a?b", &opt, &totals), 0);
	assert_int_equal(kac_store_find(f->store, "h", "/a?b", &p), 0);
	assert_int_equal(kac_store_reply(f->store, &p, reply), 0);
	assert_int_equal(totals.objects, 1);
	assert_int_equal(totals.bytes, p.object->length);
	assert_int_equal(p.object->length - p.object->head_len, 1000);
	assert_field(reply, p.object->head_len, "Content-Type", "text/html; charset=utf-8");
	assert_field(reply, p.object->head_len, "Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
	assert_field(reply, p.object->head_len, "ETag", "\"2ebc98a1-3e8\"");
	assert_field(reply, p.object->head_len, "Accept-Ranges", "bytes");
	assert_field(reply, p.object->head_len, "Content-Length", "1000");
	assert_field(reply, p.object->head_len, "Connection", NULL);
	assert_int_equal(p.object->expires, 0);
}

static void test_options(void **state)
{
	struct fixture *f = *state;
	struct kac_pin_options opt = {.type = "a/b",
				      .headers = "etag: \"1\"\r\nCache-Control: max-age=5\r\n",
				      .ttl_s = 9};
	struct kac_pin_totals totals = {0};
	uint8_t reply[KAC_REPLY_MAX];
	struct kac_pinned p;

	put("a.html", 'x', 0);
	assert_int_equal(pin_file(f, "a.html", "/", &opt, &totals), 0);
	assert_int_equal(kac_store_find(f->store, "h", "/", &p), 0);
	assert_int_equal(kac_store_reply(f->store, &p, reply), 0);
	assert_field(reply, p.object->head_len, "Content-Type", "a/b");
	assert_field(reply, p.object->head_len, "Cache-Control", "max-age=5");
	assert_field(reply, p.object->head_len, "ETag", "\"1\"");
	assert_null(memmem(reply, p.object->head_len, "ETag", 4));
	assert_int_not_equal(p.object->expires, 0);
}

static void test_not_a_file(void **state)
{
	struct fixture *f = *state;
	struct kac_pin_options opt = {0};
	struct kac_pin_totals totals = {0};

	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(pin_file(f, "none", "/", &opt, &totals), -ENOENT);
	assert_int_equal(pin_file(f, "fifo", "/", &opt, &totals), -ENOTSUP);
	assert_int_equal(pin_file(f, ".", "/", &opt, &totals), -EISDIR);
	put("large", 'x', KAC_REPLY_MAX);
	assert_int_equal(pin_file(f, "large", "/", &opt, &totals), -EFBIG);
	put("larger", 'x', KAC_REPLY_MAX + 1);
	assert_int_equal(pin_file(f, "larger", "/", &opt, &totals), -EFBIG);
	assert_int_equal(totals.objects, 0);
}

#define SMALLEST 1000

/* Write the file over and over: "a" times SMALLEST, "bb" ..., each with its letter for a time. */
static void keep_changing(const char *path)
{
	char body[26 * SMALLEST];
	unsigned int i;

	for (i = 0;; i = (i + 1) % 26) {
		struct timespec times[2] = {{.tv_sec = 'a' + i}, {.tv_sec = 'a' + i}};
		ssize_t len = (i + 1) * SMALLEST;
		int fd = open(path, O_WRONLY);

		memset(body, (char)('a' + i), sizeof(body));
		if (ftruncate(fd, 0) || pwrite(fd, body, len, 0) != len || futimens(fd, times))
			_exit(1);
		close(fd);
		usleep(50);
	}
}

/* The validators belong to the bytes, though the file changes while it is read. */
static void test_file_that_changes(void **state)
{
	struct fixture *f = *state;
	struct kac_pin_options opt = {0};
	struct kac_pin_totals totals = {0};
	unsigned int whole = 0, i;
	int status;
	pid_t pid;

	put("a", 'a', SMALLEST);
	pid = test_fork();
	if (!pid)
		keep_changing("a");
	for (i = 0; i < 5000; i++) {
		uint8_t reply[KAC_REPLY_MAX], *body;
		struct kac_pinned p;
		size_t len, etag_len;
		const char *etag;
		unsigned long mtime;

		if (pin_file(f, "a", "/a", &opt, &totals))
			continue;
		assert_int_equal(kac_store_find(f->store, "h", "/a", &p), 0);
		assert_int_equal(kac_store_reply(f->store, &p, reply), 0);
		etag = kac_field((char *)reply, p.object->head_len, "ETag", &etag_len);
		mtime = strtoul(etag + 1, NULL, 16);
		body = reply + p.object->head_len;
		len = p.object->length - p.object->head_len;
		/* Between the steps of the change; the kernel itself truncates before it sets the
		 * time.
		 */
		if (mtime > 'z' || !len)
			continue;
		assert_int_equal(len, (mtime - 'a' + 1) * SMALLEST);
		while (len)
			assert_int_equal(body[--len], mtime);
		whole++;
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(whole > 0);
}

static void test_tree(void **state)
{
	static const char *const pinned[] = {
		"/p/",		"/p/index.html", "/p/a%20b.txt", "/p/d/", "/p/d/index.html",
		"/p/d/e/x.css", "/p/link.txt",
	};
	static const char *const left[] = {
		"/p/large",  "/p/.hidden", "/p/.git/config",	"/p/fifo",
		"/p/passwd", "/p/up",	   "/p/absolute/x.css", "/p/loop/loop",
		"/p/gone",   "/p/d",	   "/p/d/e/",		"/p/dlink/index.html",
	};
	struct fixture *f = *state;
	struct kac_pin_totals totals = {0};
	struct kac_store_usage usage;
	size_t i;

	mkdir("d", 0700);
	mkdir("d/e", 0700);
	mkdir(".git", 0700);
	put("index.html", 'i', 100);
	put("a b.txt", 'a', 100);
	put("large", 'l', 70000);
	put(".hidden", 'h', 100);
	put(".git/config", 'h', 100);
	put("d/index.html", 'j', 100);
	put("d/e/x.css", 'x', 100);
	mkfifo("fifo", 0600);
	assert_int_equal(symlink("/etc/passwd", "passwd"), 0);
	assert_int_equal(symlink("../../../../../../etc/passwd", "up"), 0);
	assert_int_equal(symlink("d/e", "absolute"), 0);
	assert_int_equal(symlink("d", "dlink"), 0);
	assert_int_equal(symlink(".", "loop"), 0);
	assert_int_equal(symlink("nowhere", "gone"), 0);
	assert_int_equal(symlink("a b.txt", "link.txt"), 0);

	assert_int_equal(kac_pin_tree(f->store, f->mime, f->dir, "h", "/p", 0, &totals), 0);
	for (i = 0; i < sizeof(pinned) / sizeof(pinned[0]); i++)
		assert_true(is_pinned(f, pinned[i]));
	for (i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		assert_false(is_pinned(f, left[i]));
	kac_store_usage(f->store, &usage);
	assert_int_equal(usage.objects, sizeof(pinned) / sizeof(pinned[0]));
	assert_int_equal(totals.objects, usage.objects);
	assert_int_equal(totals.bytes, usage.bytes);
	assert_int_equal(totals.too_large, 1);
	assert_int_equal(totals.no_room, 0);
	assert_int_equal(totals.unreadable, 0);
}

static void test_tree_of_long_names(void **state)
{
	struct fixture *f = *state;
	struct kac_pin_totals totals = {0};
	char name[201];

	memset(name, 'n', sizeof(name));
	name[200] = '\0';
	assert_int_equal(mkdir(name, 0700), 0);
	assert_int_equal(chdir(name), 0);
	put("a", 'a', 10);
	put(name, 'b', 10);
	memset(name, ' ', 130);
	put(name, 'c', 10);
	assert_int_equal(chdir(f->dir), 0);
	assert_int_equal(kac_pin_tree(f->store, f->mime, f->dir, "h", "/", 0, &totals), 0);
	assert_int_equal(totals.objects, 1);
	assert_int_equal(totals.long_names, 2);
}

static void test_tree_without_room(void **state)
{
	struct fixture *f = *state;
	struct kac_pin_totals totals = {0};

	put("a", 'a', 10);
	put("b", 'b', 10);
	put("c", 'c', 10);
	put("d", 'd', 10);
	put("e", 'e', 10);
	assert_int_equal(kac_pin_tree(f->store, f->mime, f->dir, "h", "/", 0, &totals), 0);
	assert_int_equal(totals.objects, 3);
	assert_int_equal(totals.no_room, 2);
	assert_true(is_pinned(f, "/a") && is_pinned(f, "/b") && is_pinned(f, "/c"));
}

static void assert_sentence(const struct kac_pin_totals *totals, const char *expected)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	kac_pin_totals_print(totals, out);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
}

static void test_totals_as_a_sentence(void **state)
{
	assert_sentence(&(struct kac_pin_totals){.objects = 12, .bytes = 34567},
			"pinned 12 objects, 34567 bytes");
	assert_sentence(&(struct kac_pin_totals){.objects = 1, .bytes = 5, .too_large = 1},
			"pinned 1 object, 5 bytes; 1 file is larger than 65536 bytes with the head "
			"and stays with the origin");
	assert_sentence(&(struct kac_pin_totals){.too_large = 2, .no_room = 3},
			"pinned 0 objects, 0 bytes; 2 files are larger than 65536 bytes with the "
			"head and stay with the origin; 3 files found no room and stay with the "
			"origin");
}

int main(void)
{
#define PIN_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		PIN_TEST(test_file),
		PIN_TEST(test_options),
		PIN_TEST(test_not_a_file),
		PIN_TEST(test_file_that_changes),
		PIN_TEST(test_tree),
		PIN_TEST(test_tree_of_long_names),
		cmocka_unit_test_setup_teardown(test_tree_without_room, setup_three_slots,
						teardown),
		cmocka_unit_test(test_totals_as_a_sentence),
	};

	return cmocka_run_group_tests_name("pin", tests, in_private_bpffs, NULL);
}
