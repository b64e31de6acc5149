// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * httpclient [options] ADDRESS PORT LIST: keep-alive requests, every byte of every answer checked.
 *
 * A line of LIST is PATH STATUS FILE[,FILE...] [TYPE]: the body must be one of the files, whole
 * ("-": empty, "*": whatever), and Content-Type TYPE when it is given. The first difference ends
 * the run with one line on stderr and status 1. Else one line of JSON says how many requests there
 * were, and how many of them the origin answered (known by its X-Origin header).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ALTERNATIVES_MAX 4
#define PIPELINE_MAX	 64
#define HEADERS_MAX	 64
#define BUFFER_SIZE	 (1 << 20)

struct body {
	const char *name;
	const char *data;
	size_t len;
};

struct entry {
	char *path;
	int status;
	bool any;
	int bodies_nr;
	struct body bodies[ALTERNATIVES_MAX];
	char *type;
};

struct options {
	const char *host;
	const char *source;
	struct sockaddr_storage to;
	struct sockaddr_storage from;
	socklen_t addr_len;
	struct entry *entries;
	int entries_nr;
	int connections;
	int depth;
	int split;
	int pause_us; /* between the parts of a split request */
	int wait_us;  /* between requests */
	int rcvbuf;
	int timeout_ms;
	long requests;
	double seconds;
	uint64_t seed; /* 0: in the order of the list */
	bool nodelay;
	bool half_close;
	bool wait_for_end; /* after the half-close, until the server closes too */
};

/* What the processes of one run add up. */
struct totals {
	long requests;
	long origin;
};

struct conn {
	const struct options *o;
	int fd;
	char *buf; /* received, not yet consumed */
	size_t have;
	uint64_t random;
	long sent;
	long received;
	int in_flight[PIPELINE_MAX];
	struct totals *totals;
};

static void die(const char *fmt, ...)
{
	va_list ap;
	char text[1024];

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "httpclient: %s\n", text);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void load_body(struct body *b, const char *name)
{
	struct stat st;
	int fd;

	b->name = name;
	b->data = "";
	if (!strcmp(name, "-"))
		return;
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", name, strerror(errno));
	b->len = st.st_size;
	if (b->len) {
		b->data = mmap(NULL, b->len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
		if (b->data == MAP_FAILED)
			die("%s: %s", name, strerror(errno));
	}
	close(fd);
}

static void load_list(struct options *o, const char *name)
{
	char *line = NULL;
	size_t size = 0;
	FILE *f = fopen(name, "re");

	if (!f)
		die("%s: %s", name, strerror(errno));
	while (getline(&line, &size, f) > 0) {
		struct entry *e;
		char *file, *files, *save = NULL;

		o->entries = realloc(o->entries, (o->entries_nr + 1) * sizeof(*e));
		e = &o->entries[o->entries_nr++];
		memset(e, 0, sizeof(*e));
		if (sscanf(line, "%ms %d %ms %m[^\n]", &e->path, &e->status, &files, &e->type) < 3)
			die("%s: bad line: %s", name, line);
		if (!strcmp(files, "*")) {
			e->any = true;
			continue;
		}
		for (file = strtok_r(files, ",", &save); file; file = strtok_r(NULL, ",", &save)) {
			if (e->bodies_nr == ALTERNATIVES_MAX)
				die("%s: too many files: %s", name, e->path);
			load_body(&e->bodies[e->bodies_nr++], file);
		}
	}
	free(line);
	fclose(f);
	if (!o->entries_nr)
		die("%s: empty", name);
}

static void parse_address(const char *text, int port, struct sockaddr_storage *to, socklen_t *len)
{
	struct sockaddr_in *v4 = (void *)to;
	struct sockaddr_in6 *v6 = (void *)to;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		*len = sizeof(*v6);
	} else {
		die("not an address: %s", text);
	}
}

static void dial(struct conn *c)
{
	const struct options *o = c->o;
	int one = 1;

	c->fd = socket(o->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket: %s", strerror(errno));
	if (o->nodelay)
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (o->rcvbuf)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &o->rcvbuf, sizeof(o->rcvbuf));
	if (o->source) {
		setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(c->fd, (const struct sockaddr *)&o->from, o->addr_len))
			die("bind: %s", strerror(errno));
	}
	if (connect(c->fd, (const struct sockaddr *)&o->to, o->addr_len))
		die("connect: %s", strerror(errno));
}

static void send_all(struct conn *c, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

		if (n < 0)
			die("request %ld: send: %s", c->sent + 1, strerror(errno));
		data += n;
		len -= n;
	}
}

static uint64_t draw(struct conn *c)
{
	uint64_t z = (c->random += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static void send_request(struct conn *c, int first)
{
	const struct options *o = c->o;
	char head[4096];
	int len, at;

	at = o->seed ? (long)(draw(c) % o->entries_nr) : (first + c->sent) % o->entries_nr;
	len = snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
		       o->entries[at].path, o->host);
	if (len >= (int)sizeof(head))
		die("too long: %s", o->entries[at].path);
	if (o->split > 0 && o->split < len) {
		send_all(c, head, o->split);
		usleep(o->pause_us);
		send_all(c, head + o->split, len - o->split);
	} else {
		send_all(c, head, len);
	}
	c->in_flight[c->sent++ % PIPELINE_MAX] = at;
}

/* Receive until there are @need bytes; false: the server closed. */
static bool receive(struct conn *c, size_t need, const char *path)
{
	while (c->have < need) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		ssize_t n;

		if (need > BUFFER_SIZE)
			die("request %ld GET %s: answer too long for the client", c->received + 1,
			    path);
		if (poll(&p, 1, c->o->timeout_ms) <= 0)
			die("request %ld GET %s: no answer in %d ms (%zu bytes so far)",
			    c->received + 1, path, c->o->timeout_ms, c->have);
		n = recv(c->fd, c->buf + c->have, BUFFER_SIZE - c->have, 0);
		if (n < 0)
			die("request %ld GET %s: recv: %s", c->received + 1, path, strerror(errno));
		if (!n)
			return false;
		c->have += n;
	}
	return true;
}

static void check_date(long nr, const char *path, const char *date)
{
	struct tm tm = {};
	char again[64];
	double off;
	const char *end = strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm);

	if (!end || *end)
		die("request %ld GET %s: bad Date: %s", nr, path, date);
	strftime(again, sizeof(again), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (strcmp(again, date))
		die("request %ld GET %s: Date is not canonical: %s", nr, path, date);
	off = difftime(time(NULL), timegm(&tm));
	if (off < -2 || off > 5)
		die("request %ld GET %s: Date is %.0f s off: %s", nr, path, off, date);
}

/* Check the head in @head (ended by a NUL); returns Content-Length. */
static size_t check_head(struct conn *c, const struct entry *e, char *head)
{
	char *names[HEADERS_MAX], *line, *save = NULL;
	long nr = c->received + 1, length = -1;
	bool date = false, type = false;
	int names_nr = 0, status, i;

	line = strtok_r(head, "\r\n", &save);
	if (!line || sscanf(line, "HTTP/1.1 %3d", &status) != 1)
		die("request %ld GET %s: no HTTP answer: %.60s", nr, e->path, line ? line : "");
	if (status != e->status)
		die("request %ld GET %s: status %d, expected %d", nr, e->path, status, e->status);
	while ((line = strtok_r(NULL, "\r\n", &save))) {
		char *value = strchr(line, ':');

		if (!value || value == line || value[1] != ' ')
			die("request %ld GET %s: bad header line: %s", nr, e->path, line);
		*value = '\0';
		value += 2;
		for (i = 0; i < names_nr; i++)
			if (!strcasecmp(names[i], line))
				die("request %ld GET %s: %s twice", nr, e->path, line);
		if (names_nr == HEADERS_MAX)
			die("request %ld GET %s: too many headers", nr, e->path);
		names[names_nr++] = line;
		if (!strcasecmp(line, "Content-Length")) {
			char *end;

			length = strtol(value, &end, 10);
			if (*end || end == value || length < 0)
				die("request %ld GET %s: bad Content-Length: %s", nr, e->path,
				    value);
		} else if (!strcasecmp(line, "Date")) {
			check_date(nr, e->path, value);
			date = true;
		} else if (!strcasecmp(line, "Content-Type")) {
			if (e->type && strcmp(value, e->type))
				die("request %ld GET %s: Content-Type %s, expected %s", nr, e->path,
				    value, e->type);
			type = true;
		} else if (!strcasecmp(line, "X-Origin")) {
			c->totals->origin++;
		}
	}
	if (length < 0 || !date || (e->type && !type))
		die("request %ld GET %s: the answer lacks %s", nr, e->path,
		    length < 0 ? "Content-Length"
		    : !date    ? "Date"
			       : "Content-Type");
	return length;
}

static void check_body(struct conn *c, const struct entry *e, const char *body, size_t len)
{
	const struct body *b = &e->bodies[0];
	size_t at = 0;
	int i;

	if (e->any)
		return;
	for (i = 0; i < e->bodies_nr; i++)
		if (e->bodies[i].len == len && !memcmp(e->bodies[i].data, body, len))
			return;
	while (at < len && at < b->len && body[at] == b->data[at])
		at++;
	die("request %ld GET %s: body of %zu bytes differs from %s (%zu bytes) at byte %zu",
	    c->received + 1, e->path, len, b->name, b->len, at);
}

static void receive_response(struct conn *c)
{
	const struct entry *e = &c->o->entries[c->in_flight[c->received % PIPELINE_MAX]];
	size_t head_len, body_len;
	char *end;

	while (!(end = memmem(c->buf, c->have, "\r\n\r\n", 4)))
		if (!receive(c, c->have + 1, e->path))
			die("request %ld GET %s: the server closed after %zu bytes of head",
			    c->received + 1, e->path, c->have);
	head_len = end + 4 - c->buf;
	*end = '\0';
	if (strlen(c->buf) != head_len - 4)
		die("request %ld GET %s: NUL in the head", c->received + 1, e->path);
	body_len = check_head(c, e, c->buf);
	if (!receive(c, head_len + body_len, e->path))
		die("request %ld GET %s: the server closed after %zu of %zu bytes of body",
		    c->received + 1, e->path, c->have - head_len, body_len);
	check_body(c, e, c->buf + head_len, body_len);
	c->have -= head_len + body_len;
	memmove(c->buf, c->buf + head_len + body_len, c->have);
	c->received++;
	c->totals->requests++;
}

static void run_connection(const struct options *o, int index, struct totals *totals)
{
	struct conn c = {.o = o, .random = o->seed + index * 1000003ULL, .totals = totals};
	double end = now() + o->seconds;
	long limit = o->requests;

	c.buf = malloc(BUFFER_SIZE);
	if (!c.buf)
		die("no memory");
	if (!limit && o->seconds == 0)
		limit = o->entries_nr;
	dial(&c);
	for (;;) {
		bool more = limit ? c.sent < limit : now() < end;

		if (more && c.sent - c.received < o->depth) {
			if (o->wait_us && c.sent)
				usleep(o->wait_us);
			send_request(&c, index);
			if (o->half_close && limit && c.sent == limit)
				shutdown(c.fd, SHUT_WR);
			continue;
		}
		if (c.sent == c.received)
			break;
		receive_response(&c);
	}
	if (c.have)
		die("%zu bytes after the last answer", c.have);
	if (o->wait_for_end) {
		shutdown(c.fd, SHUT_WR);
		if (receive(&c, 1, "(end)"))
			die("bytes after the last answer");
	}
	close(c.fd);
	free(c.buf);
}

static void usage(void)
{
	fputs("usage: httpclient [-n] [-f] [-e] [-c connections] [-q requests] [-t seconds]\n"
	      "\t[-x seed] [-p depth] [-s split] [-d pause_us] [-w wait_us] [-b rcvbuf]\n"
	      "\t[-S source] [-P source_port] [-T timeout_ms] [-H host] ADDRESS PORT LIST\n",
	      stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	struct options o = {
		.host = "example.test", .connections = 1, .depth = 1, .timeout_ms = 5000};
	struct totals *totals, sum = {};
	int opt, i, status, failed = 0, source_port = 0;
	socklen_t len;

	while ((opt = getopt(argc, argv, "nfec:q:t:x:p:s:d:w:b:S:P:T:H:")) != -1) {
		switch (opt) {
		case 'n':
			o.nodelay = true;
			break;
		case 'f':
			o.half_close = true;
			break;
		case 'e':
			o.wait_for_end = true;
			break;
		case 'c':
			o.connections = atoi(optarg);
			break;
		case 'q':
			o.requests = atol(optarg);
			break;
		case 't':
			o.seconds = atof(optarg);
			break;
		case 'x':
			o.seed = strtoull(optarg, NULL, 0);
			break;
		case 'p':
			o.depth = atoi(optarg);
			break;
		case 's':
			o.split = atoi(optarg);
			break;
		case 'd':
			o.pause_us = atoi(optarg);
			break;
		case 'w':
			o.wait_us = atoi(optarg);
			break;
		case 'b':
			o.rcvbuf = atoi(optarg);
			break;
		case 'S':
			o.source = optarg;
			break;
		case 'P':
			source_port = atoi(optarg);
			break;
		case 'T':
			o.timeout_ms = atoi(optarg);
			break;
		case 'H':
			o.host = optarg;
			break;
		default:
			usage();
		}
	}
	if (argc - optind != 3 || o.depth < 1 || o.depth > PIPELINE_MAX || o.connections < 1)
		usage();
	parse_address(argv[optind], atoi(argv[optind + 1]), &o.to, &o.addr_len);
	if (o.source)
		parse_address(o.source, source_port, &o.from, &len);
	load_list(&o, argv[optind + 2]);

	totals = mmap(NULL, o.connections * sizeof(*totals), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (totals == MAP_FAILED)
		die("no memory");
	for (i = 1; i < o.connections; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork: %s", strerror(errno));
		if (!pid) {
			run_connection(&o, i, &totals[i]);
			_exit(0);
		}
	}
	run_connection(&o, 0, &totals[0]);
	while (wait(&status) > 0)
		failed |= !WIFEXITED(status) || WEXITSTATUS(status);
	for (i = 0; i < o.connections; i++) {
		sum.requests += totals[i].requests;
		sum.origin += totals[i].origin;
	}
	printf("{\"requests\": %ld, \"origin\": %ld}\n", sum.requests, sum.origin);
	return failed;
}
