// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <microhttpd.h>

#include "kaccel.h"
#include "origin.h"
#include "validator.h"

#define INDEX "index.html"

struct kac_origin {
	struct MHD_Daemon *daemon;
	const struct kac_mime *mime;
	int root;
	atomic_bool closing;
};

/* What is kept of a request from its first line to the end of its response. */
struct request {
	bool head_seen;
	char query[]; /* with its '?'; "" for none */
};

/* A file that was found, or, with fd < 0, the status that says why not. */
struct found {
	int fd;
	unsigned int status;
	struct stat st;
};

static int open_beneath(int root, const char *path)
{
	/* O_NONBLOCK: a FIFO must not stop a thread; it changes nothing for regular files. */
	struct open_how how = {
		.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static unsigned int status_of(int err)
{
	switch (err) {
	case -ENOENT:
	case -ENOTDIR:
	case -ENAMETOOLONG:
	case -ELOOP:
	case -EXDEV: /* a symlink that leads out of the root */
	case -ENXIO: /* a socket */
		return MHD_HTTP_NOT_FOUND;
	case -EACCES:
	case -EPERM:
		return MHD_HTTP_FORBIDDEN;
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	default:
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * The file name of a request target's path, relative to the root, with the index's name where it
 * ends in a slash. -ENOENT for what cannot name a file here: a broken escape, an escaped NUL or
 * slash, a ".." segment.
 */
static int file_name(const char *target, char name[PATH_MAX])
{
	size_t len = 0, segment = 0;
	const char *p = target + strspn(target, "/");

	for (;; p++) {
		char c = *p;

		if (c == '%') {
			int high = hex(p[1]), low = high < 0 ? -1 : hex(p[2]);

			if (low < 0)
				return -ENOENT;
			c = (char)(high << 4 | low);
			if (!c || c == '/')
				return -ENOENT;
			p += 2;
		} else if (!c || c == '/') {
			if (len - segment == 2 && !memcmp(name + segment, "..", 2))
				return -ENOENT;
			segment = len + 1;
		}
		if (len + sizeof(INDEX) >= PATH_MAX)
			return -ENAMETOOLONG;
		if (!c)
			break;
		name[len++] = c;
	}
	name[len] = '\0';
	if (!len || name[len - 1] == '/')
		memcpy(name + len, INDEX, sizeof(INDEX));
	return 0;
}

static struct found find(int root, const char *name)
{
	struct found f = {.fd = open_beneath(root, name)};

	if (f.fd < 0) {
		f.status = status_of(f.fd);
	} else if (fstat(f.fd, &f.st) < 0) {
		f.status = MHD_HTTP_INTERNAL_SERVER_ERROR;
	} else if (S_ISDIR(f.st.st_mode)) {
		f.status = MHD_HTTP_MOVED_PERMANENTLY;
	} else if (!S_ISREG(f.st.st_mode)) {
		f.status = MHD_HTTP_NOT_FOUND;
	} else {
		f.status = MHD_HTTP_OK;
		return f;
	}
	kac_close_fd(&f.fd);
	f.fd = -1;
	return f;
}

static const char *field(struct MHD_Connection *con, const char *name)
{
	return MHD_lookup_connection_value(con, MHD_HEADER_KIND, name);
}

static enum MHD_Result add(struct MHD_Response *r, const char *name, const char *value)
{
	return r ? MHD_add_response_header(r, name, value) : MHD_NO;
}

/* Send a response and let go of it. Without one the connection is closed. */
static enum MHD_Result queue(struct kac_origin *o, struct MHD_Connection *con, unsigned int status,
			     struct MHD_Response *r)
{
	enum MHD_Result ret;

	if (!r)
		return MHD_NO;
	if (status == MHD_HTTP_BAD_REQUEST ||
	    atomic_load_explicit(&o->closing, memory_order_relaxed))
		add(r, MHD_HTTP_HEADER_CONNECTION, "close");
	ret = MHD_queue_response(con, status, r);
	MHD_destroy_response(r);
	return ret;
}

/* The page of a status that has no file, with one header of its own where @name is not NULL. */
static enum MHD_Result queue_page(struct kac_origin *o, struct MHD_Connection *con,
				  unsigned int status, const char *name, const char *value)
{
	const char *reason = MHD_get_reason_phrase_for(status);
	struct MHD_Response *r;
	char page[256];
	int len;

	len = snprintf(
		page, sizeof(page),
		"<!DOCTYPE html>\n<html lang=\"en\"><title>%u %s</title><h1>%u %s</h1></html>\n",
		status, reason, status, reason);
	r = MHD_create_response_from_buffer((size_t)len, page, MHD_RESPMEM_MUST_COPY);
	add(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/html; charset=utf-8");
	if (name)
		add(r, name, value);
	return queue(o, con, status, r);
}

/* To the directory's own name. A single leading slash: two would name another host. */
static enum MHD_Result queue_redirect(struct kac_origin *o, struct MHD_Connection *con,
				      const char *path, const char *query)
{
	char *location __cleanup_free = NULL;

	if (asprintf(&location, "/%s/%s", path + strspn(path, "/"), query) < 0) {
		location = NULL;
		return MHD_NO;
	}
	return queue_page(o, con, MHD_HTTP_MOVED_PERMANENTLY, MHD_HTTP_HEADER_LOCATION, location);
}

/* Whether an If-None-Match list has @etag, by the weak comparison (RFC 9110 8.8.3.2). */
static bool etag_listed(const char *list, const char *etag)
{
	size_t len = strlen(etag);
	const char *p = list, *end;

	if (!strcmp(list, "*"))
		return true;
	for (;; p = end + 1) {
		p += strspn(p, " \t,");
		if (!strncmp(p, "W/", 2))
			p += 2;
		if (*p != '"')
			return false;
		end = strchr(p + 1, '"');
		if (!end)
			return false;
		if ((size_t)(end + 1 - p) == len && !memcmp(p, etag, len))
			return true;
	}
}

static bool not_modified(struct MHD_Connection *con, const struct stat *st, const char *etag)
{
	const char *none_match = field(con, MHD_HTTP_HEADER_IF_NONE_MATCH);
	const char *since = field(con, MHD_HTTP_HEADER_IF_MODIFIED_SINCE);
	time_t t;

	if (none_match)
		return etag_listed(none_match, etag);
	return since && !kac_parse_http_date(since, &t) && st->st_mtime <= t;
}

/* Digits at *@p, which is moved past them. False without any; saturates at UINT64_MAX. */
static bool digits(const char **p, uint64_t *value)
{
	const char *start = *p;

	for (*value = 0; **p >= '0' && **p <= '9'; ++*p) {
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(**p - '0'), value))
			*value = UINT64_MAX;
	}
	return *p != start;
}

/*
 * A Range of a single part (RFC 9110 14.1.2). 0 and *@offset, *@len; -ERANGE when the file has none
 * of it; -EINVAL when it is to be ignored: malformed, another unit, or several parts.
 */
static int parse_range(const char *text, uint64_t size, uint64_t *offset, uint64_t *len)
{
	uint64_t first, last = UINT64_MAX;

	if (strncasecmp(text, "bytes=", 6))
		return -EINVAL;
	text += 6;
	if (*text == '-') {
		text++;
		if (!digits(&text, &last) || *text)
			return -EINVAL;
		*len = last < size ? last : size;
		*offset = size - *len;
		return *len ? 0 : -ERANGE;
	}
	if (!digits(&text, &first) || *text++ != '-')
		return -EINVAL;
	if (*text && (!digits(&text, &last) || *text || last < first))
		return -EINVAL;
	if (first >= size)
		return -ERANGE;
	*offset = first;
	*len = (last < size ? last + 1 : size) - first;
	return 0;
}

/* As parse_range; -EINVAL also when no range is asked for, or one of another version of the file.
 */
static int wanted_range(struct MHD_Connection *con, const struct stat *st, const char *etag,
			uint64_t *offset, uint64_t *len)
{
	const char *range = field(con, MHD_HTTP_HEADER_RANGE);
	const char *if_range = field(con, MHD_HTTP_HEADER_IF_RANGE);
	time_t t;

	if (!range)
		return -EINVAL;
	if (if_range && strcmp(if_range, etag) &&
	    (kac_parse_http_date(if_range, &t) || t != st->st_mtime))
		return -EINVAL;
	return parse_range(range, (uint64_t)st->st_size, offset, len);
}

static enum MHD_Result queue_file(struct kac_origin *o, struct MHD_Connection *con, bool head,
				  const char *name, struct found *f)
{
	uint64_t size = (uint64_t)f->st.st_size, offset = 0, len = size;
	char etag[KAC_ETAG_MAX], modified[KAC_DATE_LEN + 1], range[80];
	unsigned int status = MHD_HTTP_OK;
	struct MHD_Response *r;

	kac_etag(&f->st, etag);
	kac_http_date(f->st.st_mtime, modified);
	if (not_modified(con, &f->st, etag)) {
		status = MHD_HTTP_NOT_MODIFIED;
	} else if (!head) {
		switch (wanted_range(con, &f->st, etag, &offset, &len)) {
		case 0:
			status = MHD_HTTP_PARTIAL_CONTENT;
			snprintf(range, sizeof(range), "bytes %ju-%ju/%ju", (uintmax_t)offset,
				 (uintmax_t)(offset + len - 1), (uintmax_t)size);
			break;
		case -ERANGE:
			kac_close_fd(&f->fd);
			snprintf(range, sizeof(range), "bytes */%ju", (uintmax_t)size);
			return queue_page(o, con, MHD_HTTP_RANGE_NOT_SATISFIABLE,
					  MHD_HTTP_HEADER_CONTENT_RANGE, range);
		}
	}

	r = MHD_create_response_from_fd_at_offset64(len, f->fd, offset);
	if (!r)
		kac_close_fd(&f->fd);
	if (status != MHD_HTTP_NOT_MODIFIED)
		add(r, MHD_HTTP_HEADER_CONTENT_TYPE, kac_mime_type(o->mime, name));
	add(r, MHD_HTTP_HEADER_LAST_MODIFIED, modified);
	add(r, MHD_HTTP_HEADER_ETAG, etag);
	add(r, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
	if (status == MHD_HTTP_PARTIAL_CONTENT)
		add(r, MHD_HTTP_HEADER_CONTENT_RANGE, range);
	return queue(o, con, status, r);
}

/* The path of a target in absolute form, which a server has to accept (RFC 9112 3.2.2). */
static const char *path_of(const char *target)
{
	const char *slash;

	if (strncasecmp(target, "http://", 7))
		return target;
	slash = strchr(target + 7, '/');
	return slash ? slash : "/";
}

struct framing {
	unsigned int hosts, lengths, encodings;
};

static enum MHD_Result count_field(void *cls, enum MHD_ValueKind kind, const char *name,
				   const char *value)
{
	struct framing *n = cls;

	n->hosts += !strcasecmp(name, MHD_HTTP_HEADER_HOST);
	n->lengths += !strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH);
	n->encodings += !strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING);
	return MHD_YES;
}

/* Whether host and length of a request can be read in one way only. The library takes the first. */
static bool unambiguous(struct MHD_Connection *con, const char *version)
{
	struct framing n = {0};

	MHD_get_connection_values(con, MHD_HEADER_KIND, count_field, &n);
	return n.hosts <= 1 && n.lengths + n.encodings <= 1 &&
	       (n.hosts || strcmp(version, MHD_HTTP_VERSION_1_1));
}

static enum MHD_Result answer(struct kac_origin *o, struct MHD_Connection *con, const char *target,
			      const char *method, const char *version, const char *query)
{
	bool head = !strcmp(method, MHD_HTTP_METHOD_HEAD);
	const char *path = path_of(target);
	char name[PATH_MAX];
	struct found f;
	int err;

	if (!unambiguous(con, version))
		return queue_page(o, con, MHD_HTTP_BAD_REQUEST, NULL, NULL);
	if (!head && strcmp(method, MHD_HTTP_METHOD_GET))
		return queue_page(o, con, MHD_HTTP_METHOD_NOT_ALLOWED, MHD_HTTP_HEADER_ALLOW,
				  "GET, HEAD");
	err = *path == '/' ? file_name(path, name) : -ENOENT;
	if (err)
		return queue_page(o, con, status_of(err), NULL, NULL);
	f = find(o->root, name);
	switch (f.status) {
	case MHD_HTTP_OK:
		return queue_file(o, con, head, name, &f);
	case MHD_HTTP_MOVED_PERMANENTLY:
		return queue_redirect(o, con, path, query);
	default:
		return queue_page(o, con, f.status, NULL, NULL);
	}
}

/*
 * Called with the head, with each piece of the body, and at the end. A body is read and dropped, so
 * that the connection can go on.
 */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *con, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_len, void **con_cls)
{
	struct request *req = *con_cls;

	if (!req)
		return MHD_NO;
	if (!req->head_seen || *upload_len) {
		req->head_seen = true;
		*upload_len = 0;
		return MHD_YES;
	}
	return answer(cls, con, url, method, version, req->query);
}

/* The one place where the target is seen with its query, before it is taken apart. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *con)
{
	const char *query = strchr(target, '?');
	size_t len = query ? strlen(query) : 0;
	struct request *req = malloc(sizeof(*req) + len + 1);

	if (!req)
		return NULL;
	req->head_seen = false;
	memcpy(req->query, query ? query : "", len + 1);
	return req;
}

static void on_completed(void *cls, struct MHD_Connection *con, void **con_cls,
			 enum MHD_RequestTerminationCode why)
{
	free(*con_cls);
	*con_cls = NULL;
}

/* Targets are kept as they came: file_name() has to see which slashes were escaped. */
static size_t keep_escapes(void *cls, struct MHD_Connection *con, char *text)
{
	return strlen(text);
}

/* Each connection may have a file open besides its socket. */
static unsigned int connection_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur > UINT_MAX)
		return UINT_MAX / 2;
	return (unsigned int)files.rlim_cur / 2;
}

static unsigned int processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (unsigned int)n : 1;
}

int kac_origin_start(const struct kac_origin_options *opt, struct kac_origin **origin)
{
	struct kac_origin *o = calloc(1, sizeof(*o));
	int probe, fd, err;

	if (!o)
		return -ENOMEM;
	o->mime = opt->mime;
	o->root = open(opt->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (o->root < 0) {
		err = -errno;
		goto out;
	}
	probe = open_beneath(o->root, ".");
	if (probe < 0) {
		err = probe;
		goto out;
	}
	close(probe);
	/* A copy, for the library closes what it is given when it cannot start. */
	fd = fcntl(opt->listen_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		err = -errno;
		goto out;
	}
	o->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, NULL, NULL, on_request, o,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE,
		opt->threads ? opt->threads : processors(), MHD_OPTION_CONNECTION_TIMEOUT,
		opt->timeout_s ? opt->timeout_s : KAC_ORIGIN_TIMEOUT_S, MHD_OPTION_CONNECTION_LIMIT,
		connection_limit(), MHD_OPTION_URI_LOG_CALLBACK, on_target, o,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, o, MHD_OPTION_UNESCAPE_CALLBACK,
		keep_escapes, o, MHD_OPTION_END);
	if (!o->daemon) {
		err = -EIO;
		goto out;
	}
	close(opt->listen_fd);
	*origin = o;
	return 0;
out:
	kac_close_fd(&o->root);
	free(o);
	return err;
}

void kac_origin_quiesce(struct kac_origin *o)
{
	int fd;

	if (atomic_exchange(&o->closing, true))
		return;
	fd = MHD_quiesce_daemon(o->daemon);
	kac_close_fd(&fd);
}

unsigned int kac_origin_connections(struct kac_origin *o)
{
	return MHD_get_daemon_info(o->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

void kac_origin_stop(struct kac_origin *o)
{
	MHD_stop_daemon(o->daemon);
	close(o->root);
	free(o);
}
