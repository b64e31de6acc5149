// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* No BPF program ever reads an object that is torn or freed, however slow it is. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "../../user/store.h"
#include "instance.h"
#include "tests/readers.skel.h"

#define HOT	 "/hot"
#define BODY_MAX 60000
#define SECONDS	 2

struct fixture {
	struct readers *skel;
	struct kac_store *store;
};

/* The maps as the programs declare them, with their locks, made into an instance. */
static int setup(void **state)
{
	static struct fixture f;
	struct bpf_map *map;
	char path[KAC_PATH_MAX];
	int err;

	f.skel = readers__open();
	if (!f.skel)
		return -errno;
	err = bpf_map__set_max_entries(f.skel->maps.arena, 1);
	if (!err)
		err = readers__load(f.skel);
	if (err)
		return err;
	kac_pin_path(&test_ctx, NULL, path);
	if (mkdir(path, 0700))
		return -errno;
	bpf_object__for_each_map(map, f.skel->obj)
	{
		if (strchr(bpf_map__name(map), '.')) /* the programs' variables */
			continue;
		kac_pin_path(&test_ctx, bpf_map__name(map), path);
		err = bpf_map__pin(map, path);
		if (err)
			return err;
	}
	*state = &f;
	return kac_store_open(&test_ctx, false, &f.store);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	struct bpf_map *map;
	char path[KAC_PATH_MAX];

	kac_store_close(f->store);
	bpf_object__for_each_map(map, f->skel->obj)
	{
		if (bpf_map__is_pinned(map))
			bpf_map__unpin(map, NULL);
	}
	readers__destroy(f->skel);
	kac_pin_path(&test_ctx, NULL, path);
	return rmdir(path);
}

/* Each version has its own length and content. */
static int pin_version(struct kac_store *store, const char *target, uint32_t version)
{
	static uint8_t body[BODY_MAX];
	uint32_t len = BODY_MAX - version % 1000, i;
	struct kac_pin pin = {"h", target, 200, "", body, len, 0};

	for (i = 0; i < len; i++)
		body[i] = (uint8_t)(version * 31 + i % 253);
	return kac_store_pin(store, &pin);
}

/* Leave room for @copies of a body only, each a gap of its own, so that memory is used again at
 * once.
 */
static void fill_but(struct kac_store *store, uint32_t copies)
{
	char target[16];
	uint32_t i, n;

	for (n = 0;; n++) {
		sprintf(target, "/%u", n);
		if (pin_version(store, target, 0))
			break;
	}
	for (i = 0; i < copies; i++) {
		sprintf(target, "/%u", n / 2 + 2 * i);
		assert_int_equal(kac_store_unpin(store, "h", target), 0);
	}
}

/* Start a process that runs the program again and again. */
static pid_t start_reader(int prog)
{
	uint8_t packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 100);
	pid_t pid = test_fork();

	while (!pid) {
		if (bpf_prog_test_run_opts(prog, &opts))
			_exit(1);
	}
	return pid;
}

static uint64_t hash_of(const char *target)
{
	uint8_t buf[KAC_REQ_MAX + KAC_REQ_PAD] = "h";
	struct kac_config config;
	uint32_t zero = 0;
	uint64_t authority;
	int fd __cleanup_fd = kac_open_map(&test_ctx, "config");

	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &config), 0);
	authority = kac_hash(buf, 0, 1, KAC_AUTHORITY_MAX, 1, config.seed);
	memcpy(buf, target, strlen(target));
	return kac_name_hash(authority,
			     kac_hash(buf, 0, strlen(target), KAC_TARGET_MAX, 0, config.seed));
}

/* Replace the hot object for a while, beside the program. */
static void run(struct fixture *f, const struct bpf_program *prog)
{
	uint32_t version = 1;
	struct timespec now;
	int status;
	time_t end;
	pid_t pid;

	f->skel->bss->wanted_hash = hash_of(HOT);
	f->skel->bss->delay = 200000;
	pid = start_reader(bpf_program__fd(prog));
	clock_gettime(CLOCK_MONOTONIC, &now);
	for (end = now.tv_sec + SECONDS; now.tv_sec <= end; clock_gettime(CLOCK_MONOTONIC, &now))
		assert_int_equal(pin_version(f->store, HOT, version++), 0);
	assert_true(version > 20);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(f->skel->bss->torn, 0);
	assert_int_equal(f->skel->bss->lost, 0);
	assert_true(f->skel->bss->whole > 100);
}

static void test_by_name(void **state)
{
	struct fixture *f = *state;

	fill_but(f->store, 2);
	run(f, f->skel->progs.read_by_name);
}

/* A reply to be sent again is still there, though its object was replaced as it was first sent. */
static void test_answered_and_sent_again(void **state)
{
	const struct kac_conn conn = {0};
	struct fixture *f = *state;

	fill_but(f->store, 3);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(f->skel->maps.conns),
					     &f->skel->bss->wanted_conn, &conn, BPF_ANY),
			 0);
	run(f, f->skel->progs.answer_and_send_again);
}

static int in_private_bpffs(void **state)
{
	return instance_mount();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_by_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answered_and_sent_again, setup, teardown),
	};

	return cmocka_run_group_tests_name("readers", tests, in_private_bpffs, NULL);
}
