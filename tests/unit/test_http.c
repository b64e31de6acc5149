// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/* The head parsers: each rule by a case, any input by what must hold. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include "http_check.h"
#include "http_mutate.h"

#include <cmocka.h>

#define MUTANTS 400000

static bool same_text(const char *want, const __u8 *buf, __u16 off, __u16 len)
{
	return !want || (strlen(want) == len && !memcmp(want, buf + off, len));
}

static unsigned int check_case_head(const struct http_case *c, const struct kac_head *head)
{
	unsigned int flags = head->flags & ~KAC_F_HOST;
	bool framed = c->verdict == KAC_HEAD_ANSWERABLE || c->verdict == KAC_HEAD_FRAMED;
	size_t len = framed ? c->len - c->rest : 0;

	if (head->verdict == c->verdict && head->reason == c->reason && flags == c->flags &&
	    head->body_len == c->body_len && head->len == len)
		return 0;
	print_error("%s: verdict %u reason %u flags %x body %llu len %u, not %d %d %x %llu %zu\n",
		    c->name, head->verdict, head->reason, flags, (unsigned long long)head->body_len,
		    head->len, c->verdict, c->reason, c->flags, (unsigned long long)c->body_len,
		    len);
	return 1;
}

static unsigned int check_anything(const char *name, const __u8 *data, size_t len, size_t step,
				   const char *(*check)(const __u8 *, size_t, size_t))
{
	const char *wrong = check(data, len, step);

	if (wrong)
		print_error("%s: does not hold: %s\n", name, wrong);
	return !!wrong;
}

static void test_requests(void **state)
{
	unsigned int failed = 0;
	size_t i;

	for (i = 0; i < HTTP_REQUESTS; i++) {
		const struct http_case *c = &http_requests[i];
		const __u8 *data = (const __u8 *)c->text;
		struct kac_request req;
		__u8 buf[HTTP_BUF];

		http_fill(buf, data, c->len, "x");
		kac_request_parse(buf, c->len, &req);
		failed += check_case_head(c, &req.head);
		if (!same_text(c->target, buf, req.target_off, req.target_len) ||
		    !same_text(c->host, buf, req.host_off, req.host_len)) {
			print_error("%s: target %.*s host %.*s\n", c->name, req.target_len,
				    buf + req.target_off, req.host_len, buf + req.host_off);
			failed++;
		}
		failed += check_anything(c->name, data, c->len, 1, http_check_request);
	}
	assert_int_equal(failed, 0);
}

static void test_responses(void **state)
{
	unsigned int failed = 0;
	size_t i;

	for (i = 0; i < HTTP_RESPONSES; i++) {
		const struct http_case *c = &http_responses[i];
		const __u8 *data = (const __u8 *)c->text;
		struct kac_response resp;
		__u8 buf[HTTP_BUF];

		http_fill(buf, data, c->len, "x");
		kac_response_parse(buf, c->len, &resp);
		failed += check_case_head(c, &resp.head);
		if (resp.status != c->status) {
			print_error("%s: status %u\n", c->name, resp.status);
			failed++;
		}
		failed += check_anything(c->name, data, c->len, 1, http_check_response);
	}
	assert_int_equal(failed, 0);
}

/* A head that fills the buffer to its last byte is read; one more and it is too long. */
static void test_full_buffer(void **state)
{
	const char *start = "GET /x HTTP/1.1\r\nHost: a\r\nCookie: ";
	struct kac_request req;
	__u8 buf[HTTP_BUF];

	memset(buf, 'x', sizeof(buf));
	memcpy(buf, start, strlen(start));
	memcpy(buf + KAC_REQ_MAX - 4, "\r\n\r\n", 4);
	assert_int_equal(kac_request_parse(buf, KAC_REQ_MAX, &req), KAC_HEAD_ANSWERABLE);
	assert_int_equal(req.head.len, KAC_REQ_MAX);
	assert_int_equal(kac_request_parse(buf, KAC_REQ_MAX - 1, &req), KAC_HEAD_MORE);

	memcpy(buf + KAC_REQ_MAX - 4, "x\r\n\r\n", 5);
	assert_int_equal(kac_request_parse(buf, KAC_REQ_MAX, &req), KAC_HEAD_OPAQUE);
	assert_int_equal(req.head.reason, KAC_PASS_TOO_LONG);

	memset(buf, 'x', sizeof(buf));
	memcpy(buf, "GET /", 5);
	assert_int_equal(kac_request_parse(buf, KAC_REQ_MAX, &req), KAC_HEAD_OPAQUE);
	assert_int_equal(req.head.reason, KAC_PASS_TOO_LONG);
}

static __u32 name_index(const char *name)
{
	__u64 w[KAC_NAME_MAX / 8] = {};

	memcpy(w, name, strlen(name));
	return kac_name_index(w[0], w[1], w[2], w[3]);
}

/* What a request with one more line, of this name, is passed for; -1 when it is not well-formed. */
static int reason_of_name(const char *name, size_t n)
{
	const char *start = "GET /x HTTP/1.1\r\nHost: a\r\n", *end = ":1\r\n\r\n";
	struct kac_request req;
	__u8 buf[HTTP_BUF];
	size_t at = strlen(start);

	memset(buf, 'x', sizeof(buf));
	memcpy(buf, start, at);
	memcpy(buf + at, name, n);
	memcpy(buf + at + n, end, strlen(end));
	kac_request_parse(buf, at + n + strlen(end), &req);
	if (req.head.verdict == KAC_HEAD_OPAQUE)
		return -1;
	return req.head.verdict == KAC_HEAD_FRAMED ? req.head.reason : KAC_CNT_MAX;
}

/* Every name that is known sits in its slot and is found in any case; nothing near it is. */
static void test_names(void **state)
{
	unsigned int failed = 0;
	size_t i, j;

	for (i = 0; i < KAC_NAME_SLOTS; i++) {
		const struct kac_name_slot *slot = &kac_names[i];
		const char *name = slot->name;
		char near[KAC_NAME_MAX + 2];
		int reason;

		if (!slot->len)
			continue;
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-"), slot->len);
		if (name_index(name) != i) {
			print_error("%s: in slot %zu, not %u\n", name, i, name_index(name));
			failed++;
			continue;
		}
		reason = reason_of_name(name, slot->len);
		for (j = 0; j < slot->len; j++)
			near[j] = j % 2 ? name[j] : toupper(name[j]);
		assert_int_equal(reason_of_name(near, slot->len), reason);

		memcpy(near, name, slot->len);
		near[slot->len] = 'x';
		assert_int_equal(reason_of_name(near, slot->len + 1), KAC_PASS_HEADER);
		near[slot->len] = 0;
		assert_int_equal(reason_of_name(near, slot->len + 1), -1);
		for (j = 0; j < slot->len; j++) {
			unsigned int byte;

			for (byte = 0; byte < 256; byte++) {
				memcpy(near, name, slot->len);
				if (tolower(byte) == near[j] || byte == ':')
					continue;
				near[j] = byte;
				reason = reason_of_name(near, slot->len);
				if (kac_classes[byte] & KAC_C_TOKEN) {
					if (!kac_names[name_index(near)].len ||
					    memcmp(kac_names[name_index(near)].name, near,
						   slot->len))
						assert_int_equal(reason, KAC_PASS_HEADER);
				} else {
					assert_int_equal(reason, -1);
				}
			}
		}
	}
	assert_int_equal(failed, 0);
}

static void test_classes(void **state)
{
	unsigned int c;

	for (c = 0; c < 256; c++) {
		bool alnum = c < 128 && isalnum(c);

		assert_int_equal(!!(kac_classes[c] & KAC_C_TOKEN),
				 alnum || (c && c < 128 && strchr("!#$%&'*+-.^_`|~", c)));
		assert_int_equal(!!(kac_classes[c] & KAC_C_NAME),
				 alnum || c == '-' || c == '.' || c == '_');
		assert_int_equal(!!(kac_classes[c] & KAC_C_LITERAL),
				 (c < 128 && isxdigit(c)) || c == ':' || c == '.');
	}
}

static int request_verdict(const __u8 *data, size_t len)
{
	struct kac_request req;
	__u8 buf[HTTP_BUF];

	http_fill(buf, data, len, "x");
	return kac_request_parse(buf, len, &req);
}

static int response_verdict(const __u8 *data, size_t len)
{
	struct kac_response resp;
	__u8 buf[HTTP_BUF];

	http_fill(buf, data, len, "x");
	return kac_response_parse(buf, len, &resp);
}

/* Damaged messages, of which no verdict may be rare: else little would be compared. */
static void check_mutants(const struct http_case *cases, size_t n,
			  const char *(*check)(const __u8 *, size_t, size_t),
			  int (*verdict)(const __u8 *, size_t), int first_verdict)
{
	unsigned int seen[KAC_HEAD_OPAQUE + 1] = {}, i;
	uint64_t state = 0x6b616363656c;

	for (i = 0; i < MUTANTS; i++) {
		__u8 data[KAC_REQ_MAX];
		size_t len = http_mutate(&state, cases, n, data), j;
		const char *wrong = check(data, len, 97);

		seen[verdict(data, len)]++;
		if (!wrong)
			continue;
		print_error("mutant %u does not hold: %s\n", i, wrong);
		for (j = 0; j < len; j++)
			print_error(isprint(data[j]) ? "%c" : "\\x%02x", data[j]);
		fail_msg("in the bytes above");
	}
	for (i = first_verdict; i <= KAC_HEAD_OPAQUE; i++)
		assert_in_range(seen[i], MUTANTS / 50, MUTANTS);
}

static void test_request_mutants(void **state)
{
	check_mutants(http_requests, HTTP_REQUESTS, http_check_request, request_verdict,
		      KAC_HEAD_ANSWERABLE);
}

static void test_response_mutants(void **state)
{
	check_mutants(http_responses, HTTP_RESPONSES, http_check_response, response_verdict,
		      KAC_HEAD_FRAMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),	 cmocka_unit_test(test_responses),
		cmocka_unit_test(test_full_buffer),	 cmocka_unit_test(test_names),
		cmocka_unit_test(test_classes),		 cmocka_unit_test(test_request_mutants),
		cmocka_unit_test(test_response_mutants),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
