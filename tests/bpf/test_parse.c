// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/* The head parsers in the kernel say what they say in user space; what they cost there. */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "http_mutate.h"

#include <cmocka.h>

#define FRAME_HEAD 14
#define MUTANTS	   20000
#define REPEAT	   200000

/* The verifier's limit is a million; a program has more to do than to parse. */
#define VERIFIED_MAX 60000

/* As in parse_http.bpf.c. */
struct scratch {
	__u8 buf[KAC_REQ_MAX + KAC_REQ_PAD];
	struct kac_request req;
	struct kac_response resp;
};

struct parse {
	struct bpf_object *obj;
	struct scratch *scratch; /* one for each CPU */
	int load_fd;
	int request_fd;
	int response_fd;
	int scratch_fd;
};

static int program_fd(struct bpf_object *obj, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(obj, name));
}

static int parse_open(struct parse *p, const char *path)
{
	cpu_set_t first;

	/* The results are in the scratch of the CPU that the programs run on. */
	CPU_ZERO(&first);
	CPU_SET(0, &first);
	if (sched_setaffinity(0, sizeof(first), &first))
		return -errno;
	p->scratch = calloc(libbpf_num_possible_cpus(), sizeof(*p->scratch));
	if (!p->scratch)
		return -ENOMEM;
	p->obj = bpf_object__open_file(path, NULL);
	if (!p->obj)
		return -errno;
	if (bpf_object__load(p->obj))
		return -errno;
	p->load_fd = program_fd(p->obj, "load_only");
	p->request_fd = program_fd(p->obj, "parse_request");
	p->response_fd = program_fd(p->obj, "parse_response");
	p->scratch_fd = bpf_object__find_map_fd_by_name(p->obj, "scratch");
	return 0;
}

static void parse_close(struct parse *p)
{
	bpf_object__close(p->obj);
	free(p->scratch);
}

/* Run @fd on the message; returns the average time in ns. */
static unsigned int run(struct parse *p, int fd, const __u8 *data, size_t len, int repeat)
{
	__u8 frame[FRAME_HEAD + KAC_REQ_MAX] = {};
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = frame,
		.data_size_in = FRAME_HEAD + len,
		.repeat = repeat,
	};
	__u32 zero = 0;

	memcpy(frame + FRAME_HEAD, data, len);
	assert_return_code(bpf_prog_test_run_opts(fd, &opts), errno);
	assert_int_equal(bpf_map_lookup_elem(p->scratch_fd, &zero, p->scratch), 0);
	return opts.duration;
}

static bool same_request(struct parse *p, const __u8 *data, size_t len)
{
	__u8 buf[KAC_REQ_MAX + KAC_REQ_PAD] = {};
	struct kac_request req;

	memcpy(buf, data, len);
	kac_request_parse(buf, len, &req);
	run(p, p->request_fd, data, len, 1);
	return !memcmp(&req, &p->scratch->req, sizeof(req));
}

static bool same_response(struct parse *p, const __u8 *data, size_t len)
{
	__u8 buf[KAC_REQ_MAX + KAC_REQ_PAD] = {};
	struct kac_response resp;

	memcpy(buf, data, len);
	kac_response_parse(buf, len, &resp);
	run(p, p->response_fd, data, len, 1);
	return !memcmp(&resp, &p->scratch->resp, sizeof(resp));
}

static void check_cases(struct parse *p, const struct http_case *cases, size_t n,
			bool (*same)(struct parse *, const __u8 *, size_t))
{
	unsigned int failed = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (same(p, (const __u8 *)cases[i].text, cases[i].len))
			continue;
		print_error("%s: another result in the kernel\n", cases[i].name);
		failed++;
	}
	assert_int_equal(failed, 0);
}

static void check_mutants(struct parse *p, const struct http_case *cases, size_t n,
			  bool (*same)(struct parse *, const __u8 *, size_t))
{
	uint64_t seed = 0x6b616363656d;
	unsigned int i;

	for (i = 0; i < MUTANTS; i++) {
		__u8 data[KAC_REQ_MAX];
		size_t len = http_mutate(&seed, cases, n, data);

		if (len && !same(p, data, len))
			fail_msg("mutant %u: another result in the kernel", i);
	}
}

static void test_requests(void **state)
{
	check_cases(*state, http_requests, HTTP_REQUESTS, same_request);
}

static void test_responses(void **state)
{
	check_cases(*state, http_responses, HTTP_RESPONSES, same_response);
}

static void test_request_mutants(void **state)
{
	check_mutants(*state, http_requests, HTTP_REQUESTS, same_request);
}

static void test_response_mutants(void **state)
{
	check_mutants(*state, http_responses, HTTP_RESPONSES, same_response);
}

static void check_verified(int fd, const char *name)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	print_message("%s: %u instructions verified\n", name, info.verified_insns);
	assert_in_range(info.verified_insns, 1, VERIFIED_MAX);
}

static void test_verified(void **state)
{
	struct parse *p = *state;

	check_verified(p->request_fd, "request");
	check_verified(p->response_fd, "response");
}

/* Prints, for times depend on the machine. */
static void test_time(void **state)
{
	static const struct {
		const char *name;
		const char *text;
		bool response;
	} heads[] = {
		{"wrk", REQUEST_WRK, false},
		{"curl", REQUEST_CURL, false},
		{"chrome", REQUEST_CHROME, false},
		{"nginx", RESPONSE_NGINX, true},
	};
	struct parse *p = *state;
	size_t i;

	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		const __u8 *data = (const __u8 *)heads[i].text;
		size_t len = strlen(heads[i].text);
		int fd = heads[i].response ? p->response_fd : p->request_fd;
		unsigned int all = UINT_MAX, load = UINT_MAX, ns, tries;

		for (tries = 0; tries < 5; tries++) {
			ns = run(p, fd, data, len, REPEAT);
			all = ns < all ? ns : all;
			ns = run(p, p->load_fd, data, len, REPEAT);
			load = ns < load ? ns : load;
		}
		print_message("%s: %zu bytes: %u ns, of which %u to load\n", heads[i].name, len,
			      all, load);
	}
}

int main(int argc, char **argv)
{
	struct parse parse = {};
	struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),	cmocka_unit_test(test_responses),
		cmocka_unit_test(test_request_mutants), cmocka_unit_test(test_response_mutants),
		cmocka_unit_test(test_verified),	cmocka_unit_test(test_time),
	};
	char path[PATH_MAX];
	size_t i;
	int ret;

	snprintf(path, sizeof(path), "%s/parse_http.bpf.o", argc > 1 ? argv[1] : "build/tests/bpf");
	ret = parse_open(&parse, path);
	if (ret) {
		fprintf(stderr, "%s: %s: run as root, on a kernel since 5.17\n", path,
			strerror(-ret));
		goto out;
	}
	for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tests[i].initial_state = &parse;
	ret = cmocka_run_group_tests_name("parse", tests, NULL, NULL);
out:
	parse_close(&parse);
	return ret ? EXIT_FAILURE : EXIT_SUCCESS;
}
