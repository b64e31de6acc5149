// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The commands on the store: what they print, in text and in JSON, and how they fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <bpf/libbpf.h>
#include <cmocka.h>
#include <jansson.h>

#include "../../user/store.h"
#include "instance.h"

struct fixture {
	char dir[32];
	char out[65536], err[4096]; /* of the last command */
};

static int in_private_bpffs(void **state)
{
	return instance_mount();
}

static int setup(void **state)
{
	static struct fixture f;

	strcpy(f.dir, "/tmp/kaccel-cmd-XXXXXX");
	if (!mkdtemp(f.dir) || chdir(f.dir))
		return -errno;
	*state = &f;
	return instance_make(8, 1);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[64];

	instance_remove();
	sprintf(command, "rm -rf %s", f->dir);
	return chdir("/") || system(command);
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void read_back(FILE *from, int saved, int fd, char *text, size_t room)
{
	size_t len;

	assert_int_equal(dup2(saved, fd), fd);
	close(saved);
	rewind(from);
	len = fread(text, 1, room - 1, from);
	text[len] = '\0';
	fclose(from);
}

/* Run a command, its arguments up to a NULL, and keep what it prints. Its exit status. */
static int run_in(struct fixture *f, const struct kac_ctx *ctx, kac_cmd_fn cmd, va_list args)
{
	FILE *out = tmpfile(), *err = tmpfile();
	char *argv[16] = {"command"};
	int saved[2], status, argc = 1;

	while ((argv[argc] = va_arg(args, char *)))
		argc++;
	fflush(stdout);
	fflush(stderr);
	saved[0] = dup(1);
	saved[1] = dup(2);
	dup2(fileno(out), 1);
	dup2(fileno(err), 2);
	status = cmd(ctx, argc, argv);
	fflush(stdout);
	fflush(stderr);
	read_back(out, saved[0], 1, f->out, sizeof(f->out));
	read_back(err, saved[1], 2, f->err, sizeof(f->err));
	return status;
}

static int run(struct fixture *f, kac_cmd_fn cmd, ...)
{
	va_list args;
	int status;

	va_start(args, cmd);
	status = run_in(f, &test_ctx, cmd, args);
	va_end(args);
	return status;
}

/* The same with --json. The caller drops what it gets. */
static json_t *run_json(struct fixture *f, kac_cmd_fn cmd, ...)
{
	const struct kac_ctx ctx = {.instance = INSTANCE, .json = true};
	json_t *root;
	va_list args;

	va_start(args, cmd);
	assert_int_equal(run_in(f, &ctx, cmd, args), KAC_EXIT_OK);
	va_end(args);
	assert_string_equal(f->err, "");
	root = json_loads(f->out, 0, NULL);
	assert_non_null(root);
	return root;
}

/* One line, which says @what. */
static void assert_error(struct fixture *f, const char *what)
{
	assert_memory_equal(f->err, "kaccel: ", 8);
	assert_ptr_equal(strchr(f->err, '\n'), f->err + strlen(f->err) - 1);
	if (!strstr(f->err, what))
		fail_msg("'%s' is not in: %s", what, f->err);
}

static json_int_t number(const json_t *root, const char *name)
{
	const json_t *value = json_object_get(root, name);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static const char *string(const json_t *root, const char *name)
{
	const json_t *value = json_object_get(root, name);

	assert_true(json_is_string(value));
	return json_string_value(value);
}

static void test_pin_list_unpin(void **state)
{
	struct fixture *f = *state;
	const json_t *row;
	json_t *root;

	put("a.html", "hello");
	root = run_json(f, cmd_list, NULL);
	assert_int_equal(json_array_size(root), 0);
	json_decref(root);

	assert_int_equal(run(f, cmd_pin, "a.html", "--url", "http://B:80/a", NULL), 0);
	assert_memory_equal(f->out, "pinned 1 object, ", 17);
	root = run_json(f, cmd_pin, "--url", "http://a:81", "a.html", "--ttl", "100", "--type",
			"x/y", NULL);
	assert_int_equal(number(root, "objects"), 1);
	assert_int_equal(number(root, "too_large"), 0);
	json_decref(root);

	root = run_json(f, cmd_list, NULL);
	assert_int_equal(json_array_size(root), 2);
	row = json_array_get(root, 0);
	assert_string_equal(string(row, "url"), "http://a:81/");
	assert_string_equal(string(row, "type"), "x/y");
	assert_int_equal(number(row, "status"), 200);
	assert_true(number(row, "bytes") > 100);
	assert_true(number(row, "expires_in") == 100 || number(row, "expires_in") == 99);
	row = json_array_get(root, 1);
	assert_string_equal(string(row, "url"), "http://b/a");
	assert_string_equal(string(row, "type"), "text/html; charset=utf-8");
	assert_true(json_is_null(json_object_get(row, "expires_in")));
	json_decref(root);

	assert_int_equal(run(f, cmd_list, NULL), 0);
	assert_non_null(strstr(f->out, "URL "));
	assert_non_null(strstr(f->out, "http://b/a  "));
	assert_non_null(strstr(f->out, "never"));

	assert_int_equal(run(f, cmd_unpin, "http://b/a", NULL), 0);
	assert_string_equal(f->out, "unpinned 1 object\n");
	assert_int_equal(run(f, cmd_unpin, "http://b/a", NULL), KAC_EXIT_FAIL);
	assert_error(f, "http://b/a is not pinned");
	assert_int_equal(run(f, cmd_pin, "a.html", "--url", "http://*/", NULL), 0);
	root = run_json(f, cmd_unpin, "--all", NULL);
	assert_int_equal(number(root, "objects"), 2);
	json_decref(root);
	root = run_json(f, cmd_list, NULL);
	assert_int_equal(json_array_size(root), 0);
	json_decref(root);
}

static void test_pin_directory(void **state)
{
	struct fixture *f = *state;
	json_t *root;

	assert_int_equal(mkdir("site", 0700), 0);
	put("site/index.html", "i");
	put("site/a", "a");
	root = run_json(f, cmd_pin, "site", "--url", "http://*/x", NULL);
	assert_int_equal(number(root, "objects"), 3);
	json_decref(root);
	root = run_json(f, cmd_show, "http://any.host:99/x/", NULL);
	assert_string_equal(string(root, "url"), "http://*/x/");
	json_decref(root);

	assert_int_equal(run(f, cmd_pin, "site", "--url", "http://*/", "--type", "a/b", NULL),
			 KAC_EXIT_USAGE);
	assert_error(f, "--type and --header are for a file");
	assert_int_equal(run(f, cmd_pin, "site", "--url", "http://*/?q", NULL), KAC_EXIT_USAGE);
	assert_error(f, "query");

	/* Five of the next six find no slot. */
	put("site/b", "b");
	put("site/c", "c");
	put("site/d", "d");
	assert_int_equal(run(f, cmd_pin, "site", "--url", "http://y/", NULL), KAC_EXIT_FAIL);
	assert_non_null(strstr(f->out, "found no room"));
	assert_error(f, "is full (8 of 8 objects");
}

static void test_show(void **state)
{
	struct fixture *f = *state;
	const json_t *head;
	json_t *root;

	put("a", "body\n");
	assert_int_equal(run(f, cmd_pin, "a", "--url", "http://h/a", "--header", "X-A: b",
			     "--header", "X-C: d", NULL),
			 0);
	assert_int_equal(run(f, cmd_show, "http://h/a", "--body", NULL), 0);
	assert_string_equal(f->out, "body\n");
	root = run_json(f, cmd_show, "http://h/a", NULL);
	assert_string_equal(string(root, "url"), "http://h/a");
	assert_int_equal(number(root, "body_bytes"), 5);
	assert_int_equal(number(root, "head_bytes") + 5, number(root, "bytes"));
	assert_true(number(root, "generation") > 0);
	assert_int_equal(strlen(string(root, "pinned")), 20);
	head = json_object_get(root, "head");
	assert_string_equal(json_string_value(json_array_get(head, 0)), "HTTP/1.1 200 OK");
	assert_string_equal(json_string_value(json_array_get(head, 2)),
			    "Date: (the time of each reply)");
	assert_string_equal(json_string_value(json_array_get(head, json_array_size(head) - 2)),
			    "X-C: d");
	assert_string_equal(json_string_value(json_array_get(head, json_array_size(head) - 1)),
			    "Content-Length: 5");
	json_decref(root);
	assert_int_equal(run(f, cmd_show, "http://h/a", NULL), 0);
	assert_non_null(strstr(f->out, "    X-A: b\n"));
	assert_int_equal(run(f, cmd_show, "http://h/b", NULL), KAC_EXIT_FAIL);
	assert_error(f, "http://h/b is not pinned");
}

/* Let a counter be @value, in parts on two processors where there are two. */
static void count(enum kac_counter id, uint64_t value)
{
	int fd __cleanup_fd = kac_open_map(&test_ctx, "counters");
	int cpus = libbpf_num_possible_cpus();
	uint64_t *per_cpu __cleanup_free = calloc(cpus, sizeof(*per_cpu));
	uint32_t key = id;

	per_cpu[0] = value - 1;
	per_cpu[cpus - 1] += 1;
	assert_int_equal(bpf_map_update_elem(fd, &key, per_cpu, BPF_ANY), 0);
}

static void add_conn(uint16_t port)
{
	int fd __cleanup_fd = kac_open_map(&test_ctx, "conns");
	struct kac_conn_key key = {.client_port = port};
	struct kac_conn conn = {0};

	assert_int_equal(bpf_map_update_elem(fd, &key, &conn, BPF_ANY), 0);
}

static void test_stats(void **state)
{
	struct fixture *f = *state;
	const json_t *packet;
	json_t *root;

	put("a", "body\n");
	assert_int_equal(run(f, cmd_pin, "a", "--url", "http://h/a", NULL), 0);
	count(KAC_CNT_HITS, 5000000000);
	count(KAC_CNT_MISSES, 2);
	count(KAC_PASS_BUSY, 3);
	count(KAC_OUT_FIN, 4);
	add_conn(1);
	add_conn(2);
	root = run_json(f, cmd_stats, NULL);
	assert_int_equal(number(root, "hits"), 5000000000);
	assert_int_equal(number(root, "misses"), 2);
	assert_int_equal(number(json_object_get(root, "passes"), "busy"), 3);
	assert_int_equal(number(json_object_get(root, "passes"), "draining"), 0);
	assert_int_equal(number(json_object_get(root, "out_of_play"), "fin"), 4);
	assert_int_equal(number(root, "objects"), 1);
	assert_true(number(root, "bytes") > 100);
	assert_int_equal(number(root, "connections"), 2);
	assert_int_equal(number(json_object_get(root, "memory"), "limit"), KAC_SLAB_SIZE);
	assert_true(number(json_object_get(root, "memory"), "held") >= number(root, "bytes"));
	assert_true(json_is_false(json_object_get(root, "draining")));
	packet = json_object_get(json_object_get(root, "lanes"), "packet");
	assert_int_equal(number(packet, "hits"), number(root, "hits"));
	assert_int_equal(number(packet, "resent"), 0);
	json_decref(root);

	assert_int_equal(run(f, cmd_stats, NULL), 0);
	assert_non_null(strstr(f->out, "a response is outstanding on the connection"));
	assert_null(strstr(f->out, "kaccel is being detached"));
	assert_int_equal(run(f, cmd_stats, "--all", NULL), 0);
	assert_non_null(strstr(f->out, "kaccel is being detached"));
}

static void test_wrong_arguments(void **state)
{
	static char long_header[] = "X: a\r\nY: b";
	const struct {
		kac_cmd_fn cmd;
		const char *args[6], *says;
	} cases[] = {
		{cmd_pin, {NULL}, "give one file or directory and its --url"},
		{cmd_pin, {"a"}, "give one file or directory and its --url"},
		{cmd_pin, {"--url", "http://h/"}, "give one file or directory and its --url"},
		{cmd_pin, {"a", "b", "--url", "http://h/"}, "give one file"},
		{cmd_pin, {"a", "--url"}, "a value is missing after '--url'"},
		{cmd_pin, {"a", "--frob"}, "unknown option '--frob'"},
		{cmd_pin, {"a", "--url", "https://h/"}, "TLS"},
		{cmd_pin, {"a", "--url", "http://h/", "--ttl", "0"}, "--ttl '0'"},
		{cmd_pin, {"a", "--url", "http://h/", "--ttl", "1h"}, "--ttl '1h'"},
		{cmd_pin, {"a", "--url", "http://h/", "--type", "html"}, "--type 'html'"},
		{cmd_pin, {"a", "--url", "http://h/", "--header", "X"}, "--header 'X'"},
		{cmd_pin, {"a", "--url", "http://h/", "--header", long_header}, "--header"},
		{cmd_pin, {"a", "--url", "http://h/", "--header", "Date: x"}, "leave them out"},
		{cmd_unpin, {NULL}, "give one URL, or --all"},
		{cmd_unpin, {"--frob"}, "unknown option '--frob'"},
		{cmd_unpin, {"h/a"}, "it has to begin with http://"},
		{cmd_list, {"x"}, "unknown argument 'x'"},
		{cmd_show, {NULL}, "give one URL"},
		{cmd_show, {"http://a", "http://b"}, "give one URL"},
		{cmd_show, {"--frob"}, "unknown option '--frob'"},
		{cmd_show, {"http://a b"}, "'http://a b': "},
		{cmd_stats, {"x"}, "unknown argument 'x'"},
	};
	struct fixture *f = *state;
	size_t i;

	put("a", "x");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const *a = cases[i].args;

		assert_int_equal(run(f, cases[i].cmd, a[0], a[1], a[2], a[3], a[4], a[5], NULL),
				 KAC_EXIT_USAGE);
		assert_error(f, cases[i].says);
		assert_string_equal(f->out, "");
	}
}

static void test_failures(void **state)
{
	struct fixture *f = *state;
	FILE *large = fopen("large", "w");

	assert_int_equal(ftruncate(fileno(large), 65536), 0);
	fclose(large);
	assert_int_equal(run(f, cmd_pin, "none", "--url", "http://h/", NULL), KAC_EXIT_FAIL);
	assert_error(f, "none: No such file or directory");
	assert_int_equal(run(f, cmd_pin, "large", "--url", "http://h/", NULL), KAC_EXIT_FAIL);
	assert_error(f, "large: too large");
	assert_int_equal(run(f, cmd_pin, "/dev/null", "--url", "http://h/", NULL), KAC_EXIT_FAIL);
	assert_error(f, "neither a regular file nor a directory");
}

static void test_no_instance(void **state)
{
	static const kac_cmd_fn commands[] = {cmd_list, cmd_stats};
	struct fixture *f = *state;
	size_t i;

	instance_remove();
	put("a", "x");
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		assert_int_equal(run(f, commands[i], NULL), KAC_EXIT_FAIL);
		assert_error(f, "no instance 'unit': start one with 'kaccel serve'");
	}
	assert_int_equal(run(f, cmd_pin, "a", "--url", "http://h/", NULL), KAC_EXIT_FAIL);
	assert_error(f, "no instance 'unit'");
	assert_int_equal(run(f, cmd_unpin, "--all", NULL), KAC_EXIT_FAIL);
	assert_error(f, "no instance 'unit'");
	assert_int_equal(run(f, cmd_show, "http://h/", NULL), KAC_EXIT_FAIL);
	assert_error(f, "no instance 'unit'");
}

static void test_no_privilege(void **state)
{
	struct fixture *f = *state;

	put("a", "x");
	assert_int_equal(chmod("a", 0444), 0);
	assert_int_equal(chmod(f->dir, 0755), 0);
	assert_int_equal(seteuid(65534), 0);
	assert_int_equal(run(f, cmd_list, NULL), KAC_EXIT_FAIL);
	assert_error(f, "needs root");
	assert_int_equal(run(f, cmd_pin, "a", "--url", "http://h/", NULL), KAC_EXIT_FAIL);
	assert_error(f, "needs root");
	assert_int_equal(seteuid(0), 0);
}

int main(void)
{
#define CMD_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CMD_TEST(test_pin_list_unpin),
		CMD_TEST(test_pin_directory),
		CMD_TEST(test_show),
		CMD_TEST(test_stats),
		CMD_TEST(test_wrong_arguments),
		CMD_TEST(test_failures),
		CMD_TEST(test_no_instance),
		CMD_TEST(test_no_privilege),
	};

	return cmocka_run_group_tests_name("commands", tests, in_private_bpffs, NULL);
}
