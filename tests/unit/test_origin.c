// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <cmocka.h>

#include "../../user/kaccel.h"
#include "../../user/mime.h"
#include "../../user/origin.h"
#include "../../user/validator.h"

#define BIG_SIZE (3U << 20)
#define HELLO	 "<p>hello</p>\n"

/* A directory "root" with files, beside a file "secret" that must never be served. */
struct site {
	char dir[32];
	struct kac_mime *mime;
	struct kac_origin *origin;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	struct stat hello;
};

struct reply {
	unsigned int status;
	char head[2048];
	uint8_t *body;
	size_t body_len;
};

static void write_file(const char *dir, const char *name, const void *data, size_t len)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void make_dir(const char *dir, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static void make_link(const char *dir, const char *name, const char *to)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(symlink(to, path), 0);
}

static uint8_t big_byte(size_t at)
{
	return (uint8_t)(at * 31 + at / 251);
}

static int listening(int family, struct sockaddr_storage *addr, socklen_t *len)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*len = family == AF_INET ? sizeof(in) : sizeof(in6);
	memcpy(addr, family == AF_INET ? (void *)&in : (void *)&in6, *len);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)addr, *len), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)addr, len), 0);
	return fd;
}

static void start(struct site *s, int family, unsigned int timeout_s)
{
	char root[64];
	struct kac_origin_options opt = {.root = root, .mime = s->mime, .timeout_s = timeout_s};

	snprintf(root, sizeof(root), "%s/root", s->dir);
	opt.listen_fd = listening(family, &s->addr, &s->addr_len);
	assert_int_equal(kac_origin_start(&opt, &s->origin), 0);
}

static void stop(struct site *s)
{
	kac_origin_stop(s->origin);
	s->origin = NULL;
}

static int setup(void **state)
{
	struct site *s = calloc(1, sizeof(*s));
	uint8_t *big = malloc(BIG_SIZE);
	char root[64], hello[80];
	size_t i;

	assert_non_null(s);
	assert_non_null(big);
	strcpy(s->dir, "/tmp/kac_origin_XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	assert_int_equal(kac_mime_load(NULL, &s->mime), 0);
	write_file(s->dir, "secret", "secret", 6);
	make_dir(s->dir, "root");
	snprintf(root, sizeof(root), "%s/root", s->dir);
	write_file(root, "index.html", "index\n", 6);
	write_file(root, "hello.html", HELLO, strlen(HELLO));
	write_file(root, "with space.css", "p{}\n", 4);
	write_file(root, "empty", "", 0);
	make_dir(root, "sub");
	make_dir(root, "bare");
	write_file(root, "sub/index.html", "sub\n", 4);
	make_link(root, "sub/inside.txt", "../hello.html");
	make_link(root, "outside", "../secret");
	make_link(root, "absolute", "/etc/hostname");
	make_link(root, "loop", "loop");
	snprintf(hello, sizeof(hello), "%s/fifo", root);
	assert_int_equal(mkfifo(hello, 0644), 0);
	for (i = 0; i < BIG_SIZE; i++)
		big[i] = big_byte(i);
	write_file(root, "big.png", big, BIG_SIZE);
	free(big);
	snprintf(hello, sizeof(hello), "%s/hello.html", root);
	assert_int_equal(stat(hello, &s->hello), 0);
	start(s, AF_INET, 0);
	*state = s;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct site *s = *state;

	kac_origin_stop_ptr(&s->origin);
	kac_mime_free(s->mime);
	nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(s);
	return 0;
}

static int dial(struct site *s)
{
	struct timeval patience = {.tv_sec = 10};
	int fd = socket(s->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&s->addr, s->addr_len), 0);
	return fd;
}

static void send_text(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The value of a header, in @value; NULL when it is not there. */
static const char *header(const struct reply *r, const char *name, char value[256])
{
	const char *line = strstr(r->head, "\r\n");
	size_t len = strlen(name);

	for (; line; line = strstr(line, "\r\n")) {
		line += 2;
		if (!strncasecmp(line, name, len) && line[len] == ':') {
			snprintf(value, 256, "%.*s", (int)strcspn(line + len + 2, "\r"),
				 line + len + 2);
			return value;
		}
	}
	return NULL;
}

#define assert_header(r, name, expected)                  \
	do {                                              \
		char value_[256] = "";                    \
		assert_non_null(header(r, name, value_)); \
		assert_string_equal(value_, expected);    \
	} while (0)

#define assert_no_header(r, name)                     \
	do {                                          \
		char value_[256] = "";                \
		assert_null(header(r, name, value_)); \
	} while (0)

/* Read one response: the body has the length that the head says, none for @no_body. */
static struct reply read_reply(int fd, bool no_body)
{
	struct reply r = {.status = 0};
	char value[256];
	size_t len = 0;

	while (len < 4 || memcmp(r.head + len - 4, "\r\n\r\n", 4)) {
		assert_true(len < sizeof(r.head) - 1);
		assert_int_equal(recv(fd, r.head + len, 1, 0), 1);
		len++;
	}
	r.head[len] = '\0';
	assert_int_equal(sscanf(r.head, "HTTP/1.1 %u ", &r.status), 1);
	assert_no_header(&r, "Transfer-Encoding");
	assert_non_null(header(&r, "Date", value));
	assert_non_null(header(&r, "Content-Length", value));
	if (no_body || r.status == 304)
		return r;
	r.body_len = strtoull(value, NULL, 10);
	r.body = malloc(r.body_len + 1);
	assert_non_null(r.body);
	for (len = 0; len < r.body_len;) {
		ssize_t n = recv(fd, r.body + len, r.body_len - len, 0);

		assert_true(n > 0);
		len += (size_t)n;
	}
	r.body[len] = '\0';
	return r;
}

static void assert_closed(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

static struct reply ask(int fd, const char *method, const char *target, const char *fields)
{
	char text[8192];

	snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, target, fields);
	send_text(fd, text);
	return read_reply(fd, !strcmp(method, "HEAD"));
}

static void assert_body(struct reply *r, const char *expected)
{
	assert_string_equal((char *)r->body, expected);
	free(r->body);
	r->body = NULL;
}

static void expect_status(int fd, const char *method, const char *target, const char *fields,
			  unsigned int status)
{
	struct reply r = ask(fd, method, target, fields);

	assert_int_equal(r.status, status);
	free(r.body);
}

static void test_file(void **state)
{
	struct site *s = *state;
	char etag[KAC_ETAG_MAX], modified[KAC_DATE_LEN + 1], value[256];
	int fd = dial(s), i;
	struct reply r;

	kac_etag(&s->hello, etag);
	kac_http_date(s->hello.st_mtime, modified);
	for (i = 0; i < 2; i++) {
		r = ask(fd, i ? "HEAD" : "GET", "/hello.html?a=b", "");
		assert_int_equal(r.status, 200);
		assert_header(&r, "Content-Type", "text/html; charset=utf-8");
		assert_header(&r, "Content-Length", "13");
		assert_header(&r, "Last-Modified", modified);
		assert_header(&r, "ETag", etag);
		assert_header(&r, "Accept-Ranges", "bytes");
		assert_null(header(&r, "Connection", value));
		if (!i)
			assert_body(&r, HELLO);
	}
	r = ask(fd, "GET", "/empty", "");
	assert_int_equal(r.status, 200);
	assert_header(&r, "Content-Length", "0");
	assert_body(&r, "");
	r = ask(fd, "GET", "http://other:80/with%20space.css", "");
	assert_header(&r, "Content-Type", kac_mime_type(s->mime, "a.css"));
	assert_body(&r, "p{}\n");
	r = ask(fd, "GET", "/sub/inside.txt", "");
	assert_body(&r, HELLO);
	close(fd);
}

static void test_directory(void **state)
{
	static const struct {
		const char *target, *location;
	} redirects[] = {
		{"/sub", "/sub/"},     {"/sub?q=1&r", "/sub/?q=1&r"}, {"//sub", "/sub/"},
		{"/%73ub", "/%73ub/"}, {"http://x/sub", "/sub/"},
	};
	struct site *s = *state;
	int fd = dial(s);
	struct reply r;
	size_t i;

	r = ask(fd, "GET", "/", "");
	assert_header(&r, "Content-Type", "text/html; charset=utf-8");
	assert_body(&r, "index\n");
	r = ask(fd, "GET", "http://x", "");
	assert_body(&r, "index\n");
	r = ask(fd, "GET", "/sub/", "");
	assert_body(&r, "sub\n");
	for (i = 0; i < sizeof(redirects) / sizeof(*redirects); i++) {
		r = ask(fd, "GET", redirects[i].target, "");
		assert_int_equal(r.status, 301);
		assert_header(&r, "Location", redirects[i].location);
		free(r.body);
	}
	expect_status(fd, "GET", "/bare/", "", 404);
	close(fd);
}

/* Nothing outside the root, and nothing that is not a file. */
static void test_refused(void **state)
{
	static const char *const targets[] = {
		"/none",
		"/hello.html/",
		"/../secret",
		"/sub/../../secret",
		"/sub/../hello.html",
		"/%2e%2e/secret",
		"/.%2E/secret",
		"/..%2fsecret",
		"/sub%2findex.html",
		"/hello.html%00",
		"/%",
		"/%zz",
		"/%4",
		"/outside",
		"/absolute",
		"/loop",
		"/fifo",
		"hello.html",
		"//..//secret",
		"/../",
		"/..",
	};
	struct site *s = *state;
	char text[6000] = "/";
	int fd = dial(s);
	struct reply r;
	size_t i;

	for (i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
		r = ask(fd, "GET", targets[i], "");
		if (r.status != 404)
			fail_msg("%s: %u", targets[i], r.status);
		assert_header(&r, "Content-Type", "text/html; charset=utf-8");
		assert_null(strstr((char *)r.body, "secret"));
		free(r.body);
	}
	memset(text + 1, 'x', sizeof(text) - 2);
	expect_status(fd, "GET", text, "", 404);
	expect_status(fd, "HEAD", "/none", "", 404);
	close(fd);
}

static void test_methods(void **state)
{
	struct site *s = *state;
	int fd = dial(s);
	struct reply r = ask(fd, "POST", "/hello.html", "Content-Length: 5\r\n\r\nabcde");

	/* ask() added an empty line, which a server skips before the next request. */
	assert_int_equal(r.status, 405);
	assert_header(&r, "Allow", "GET, HEAD");
	free(r.body);
	expect_status(fd, "DELETE", "/hello.html", "", 405);
	expect_status(fd, "BREW", "/hello.html", "", 405);
	expect_status(fd, "OPTIONS", "*", "", 405);
	expect_status(fd, "GET", "/hello.html", "", 200);
	close(fd);
}

static void test_conditional(void **state)
{
	struct site *s = *state;
	char etag[KAC_ETAG_MAX], modified[KAC_DATE_LEN + 1], before[KAC_DATE_LEN + 1];
	struct {
		const char *format, *value;
		unsigned int status;
	} cases[] = {
		{"If-None-Match: %s\r\n", etag, 304},
		{"If-None-Match: W/%s\r\n", etag, 304},
		{"If-None-Match: \"a\", W/\"b,\" ,%s\r\n", etag, 304},
		{"If-None-Match: *\r\n%s", "", 304},
		{"If-None-Match: \"a\"%s\r\n", "", 200},
		{"If-None-Match: \"a%s\r\n", "", 200},
		{"If-None-Match: %s\r\n", "", 200},
		{"If-Modified-Since: %s\r\n", modified, 304},
		{"If-Modified-Since: %s\r\n", before, 200},
		{"If-Modified-Since: %s\r\n", "yesterday", 200},
		{"If-None-Match: \"a\"\r\nIf-Modified-Since: %s\r\n", modified, 200},
	};
	int fd = dial(s);
	char fields[256];
	size_t i;

	kac_etag(&s->hello, etag);
	kac_http_date(s->hello.st_mtime, modified);
	kac_http_date(s->hello.st_mtime - 1, before);
	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct reply r;

		snprintf(fields, sizeof(fields), cases[i].format, cases[i].value);
		r = ask(fd, "GET", "/hello.html", fields);
		if (r.status != cases[i].status)
			fail_msg("%s: %u", fields, r.status);
		assert_header(&r, "ETag", etag);
		free(r.body);
		expect_status(fd, "HEAD", "/hello.html", fields, cases[i].status);
	}
	close(fd);
}

static void test_range(void **state)
{
	static const struct {
		const char *range, *content_range, *body;
	} cases[] = {
		{"bytes=0-0", "bytes 0-0/13", "<"},
		{"bytes=3-7", "bytes 3-7/13", "hello"},
		{"BYTES=8-", "bytes 8-12/13", "</p>\n"},
		{"bytes=-5", "bytes 8-12/13", "</p>\n"},
		{"bytes=-99", "bytes 0-12/13", HELLO},
		{"bytes=12-99999999999999999999", "bytes 12-12/13", "\n"},
		{"bytes=0-1,3-4", NULL, HELLO},
		{"bytes=2-1", NULL, HELLO},
		{"bytes=a", NULL, HELLO},
		{"bytes=-", NULL, HELLO},
		{"lines=0-1", NULL, HELLO},
	};
	static const char *const unsatisfiable[] = {"bytes=13-", "bytes=-0",
						    "bytes=99999999999999999999-"};
	struct site *s = *state;
	char etag[KAC_ETAG_MAX], modified[KAC_DATE_LEN + 1], fields[256];
	int fd = dial(s);
	struct reply r;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		snprintf(fields, sizeof(fields), "Range: %s\r\n", cases[i].range);
		r = ask(fd, "GET", "/hello.html", fields);
		assert_int_equal(r.status, cases[i].content_range ? 206 : 200);
		if (cases[i].content_range)
			assert_header(&r, "Content-Range", cases[i].content_range);
		else
			assert_no_header(&r, "Content-Range");
		assert_body(&r, cases[i].body);
		expect_status(fd, "HEAD", "/hello.html", fields, 200);
	}
	for (i = 0; i < sizeof(unsatisfiable) / sizeof(*unsatisfiable); i++) {
		snprintf(fields, sizeof(fields), "Range: %s\r\n", unsatisfiable[i]);
		r = ask(fd, "GET", "/hello.html", fields);
		assert_int_equal(r.status, 416);
		assert_header(&r, "Content-Range", "bytes */13");
		free(r.body);
	}
	expect_status(fd, "GET", "/empty", "Range: bytes=0-\r\n", 416);

	kac_etag(&s->hello, etag);
	kac_http_date(s->hello.st_mtime, modified);
	snprintf(fields, sizeof(fields), "Range: bytes=0-0\r\nIf-Range: %s\r\n", etag);
	expect_status(fd, "GET", "/hello.html", fields, 206);
	snprintf(fields, sizeof(fields), "Range: bytes=0-0\r\nIf-Range: %s\r\n", modified);
	expect_status(fd, "GET", "/hello.html", fields, 206);
	snprintf(fields, sizeof(fields), "Range: bytes=0-0\r\nIf-Range: W/%s\r\n", etag);
	expect_status(fd, "GET", "/hello.html", fields, 200);
	close(fd);
}

static void test_large(void **state)
{
	struct site *s = *state;
	int fd = dial(s);
	struct reply r = ask(fd, "GET", "/big.png", "");
	size_t i;

	assert_int_equal(r.body_len, BIG_SIZE);
	for (i = 0; i < BIG_SIZE; i++)
		assert_int_equal(r.body[i], big_byte(i));
	free(r.body);
	r = ask(fd, "GET", "/big.png", "Range: bytes=1000000-2000000\r\n");
	assert_int_equal(r.body_len, 1000001);
	for (i = 0; i < r.body_len; i++)
		assert_int_equal(r.body[i], big_byte(1000000 + i));
	free(r.body);
	close(fd);

	/* A client that leaves in the middle takes nobody with it. */
	fd = dial(s);
	send_text(fd, "GET /big.png HTTP/1.1\r\nHost: x\r\n\r\n");
	close(fd);
	fd = dial(s);
	expect_status(fd, "GET", "/hello.html", "", 200);
	close(fd);
}

static void test_connection(void **state)
{
	struct site *s = *state;
	struct reply r;
	int fd = dial(s), i;

	for (i = 0; i < 100; i++)
		expect_status(fd, "GET", i % 3 ? "/hello.html" : "/none", "", i % 3 ? 200 : 404);
	for (i = 0; i < 20; i++)
		send_text(fd, "GET /sub/ HTTP/1.1\r\nHost: x\r\n\r\n");
	for (i = 0; i < 20; i++) {
		r = read_reply(fd, false);
		assert_body(&r, "sub\n");
	}
	expect_status(fd, "GET", "/hello.html", "Connection: close\r\n", 200);
	assert_closed(fd);

	fd = dial(s);
	send_text(fd, "GET /hello.html HTTP/1.0\r\n\r\n");
	r = read_reply(fd, false);
	assert_body(&r, HELLO);
	assert_closed(fd);
}

static void test_ambiguous(void **state)
{
	static const char *const heads[] = {
		"",
		"Host: x\r\nHost: x\r\n",
		"Host: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n",
		"Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
	};
	struct site *s = *state;
	char text[256];
	size_t i;

	for (i = 0; i < sizeof(heads) / sizeof(*heads); i++) {
		struct reply r;
		int fd = dial(s);

		snprintf(text, sizeof(text), "GET /hello.html HTTP/1.1\r\n%s\r\n0\r\n\r\n",
			 heads[i]);
		send_text(fd, text);
		r = read_reply(fd, false);
		assert_int_equal(r.status, 400);
		assert_header(&r, "Connection", "close");
		free(r.body);
		assert_closed(fd);
	}
}

static void test_idle_timeout(void **state)
{
	struct site *s = *state;
	int fd;

	stop(s);
	start(s, AF_INET, 1);
	fd = dial(s);
	expect_status(fd, "GET", "/hello.html", "", 200);
	assert_closed(fd);
}

static void test_ipv6(void **state)
{
	struct site *s = *state;
	int fd;

	stop(s);
	start(s, AF_INET6, 0);
	fd = dial(s);
	expect_status(fd, "GET", "/hello.html", "", 200);
	close(fd);
}

static void wait_connections(struct site *s, unsigned int n)
{
	int i;

	for (i = 0; i < 500 && kac_origin_connections(s->origin) != n; i++)
		usleep(10000);
	assert_int_equal(kac_origin_connections(s->origin), n);
}

static void test_quiesce(void **state)
{
	struct site *s = *state;
	int fd[5], late, i;

	for (i = 0; i < 5; i++) {
		fd[i] = dial(s);
		expect_status(fd[i], "GET", "/hello.html", "", 200);
	}
	wait_connections(s, 5);
	kac_origin_quiesce(s->origin);
	kac_origin_quiesce(s->origin);
	late = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(late, (struct sockaddr *)&s->addr, s->addr_len), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(late);
	for (i = 0; i < 4; i++) {
		struct reply r = ask(fd[i], "GET", "/hello.html", "");

		assert_header(&r, "Connection", "close");
		assert_body(&r, HELLO);
		assert_closed(fd[i]);
	}
	wait_connections(s, 1);
	stop(s);
	assert_closed(fd[4]);
}

static void test_start_fails(void **state)
{
	struct site *s = *state;
	struct sockaddr_storage addr;
	socklen_t len;
	struct kac_origin_options opt = {.root = "/nonexistent",
					 .mime = s->mime,
					 .listen_fd = listening(AF_INET, &addr, &len)};
	struct kac_origin *o;

	assert_int_equal(kac_origin_start(&opt, &o), -ENOENT);
	opt.root = "/etc/passwd";
	assert_int_equal(kac_origin_start(&opt, &o), -ENOTDIR);
	assert_true(fcntl(opt.listen_fd, F_GETFD) >= 0);
	close(opt.listen_fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_file),	     T(test_directory),	   T(test_refused), T(test_methods),
		T(test_conditional), T(test_range),	   T(test_large),   T(test_connection),
		T(test_ambiguous),   T(test_idle_timeout), T(test_ipv6),    T(test_quiesce),
		T(test_start_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
