// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>

#include "field.h"
#include "pin.h"
#include "validator.h"

#define INDEX "index.html"

/* A file's content, and what it was when all of that was read. */
struct content {
	struct stat st;
	size_t len;
	uint8_t bytes[KAC_REPLY_MAX + 1]; /* one more shows that a file is too large */
};

static bool same_version(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Validators must belong to the bytes: read until the file stood still meanwhile. */
static int read_file(int fd, struct content *c)
{
	unsigned int tries;

	for (tries = 0; tries < 3; tries++) {
		struct stat after;
		ssize_t n = 1;

		if (fstat(fd, &c->st))
			return -errno;
		if (!S_ISREG(c->st.st_mode))
			return S_ISDIR(c->st.st_mode) ? -EISDIR : -ENOTSUP;
		if (c->st.st_size > KAC_REPLY_MAX)
			return -EFBIG;
		for (c->len = 0; n && c->len < sizeof(c->bytes); c->len += n) {
			n = pread(fd, c->bytes + c->len, sizeof(c->bytes) - c->len, (off_t)c->len);
			if (n < 0)
				return -errno;
		}
		if (fstat(fd, &after))
			return -errno;
		if (same_version(&c->st, &after) && c->len == (size_t)c->st.st_size)
			return 0;
	}
	return -EAGAIN;
}

/* Add "Name: value" to the stream unless the operator's own fields have that name. */
static void add_field(FILE *out, const char *own, const char *name, const char *value)
{
	size_t len;

	if (!kac_field(own, strlen(own), name, &len))
		fprintf(out, "%s: %s\r\n", name, value);
}

/* The fields of a file's reply, malloc'ed; NULL when there is no memory. */
static char *build_fields(const struct stat *st, const char *type, const char *own)
{
	char date[KAC_DATE_LEN + 1], etag[KAC_ETAG_MAX], *fields = NULL;
	size_t size;
	FILE *out;

	out = open_memstream(&fields, &size);
	if (!out)
		return NULL;
	kac_http_date(st->st_mtime, date);
	kac_etag(st, etag);
	add_field(out, own, "Content-Type", type);
	add_field(out, own, "Last-Modified", date);
	add_field(out, own, "ETag", etag);
	add_field(out, own, "Accept-Ranges", "bytes");
	fputs(own, out);
	if (fclose(out)) {
		free(fields);
		return NULL;
	}
	return fields;
}

static int pin_content(struct kac_store *store, const struct content *c, const char *type,
		       const char *authority, const char *target, const struct kac_pin_options *opt,
		       struct kac_pin_totals *totals)
{
	const char *own = opt->headers ? opt->headers : "";
	char *fields __cleanup_free = build_fields(&c->st, opt->type ? opt->type : type, own);
	struct kac_pin pin = {
		.authority = authority,
		.target = target,
		.status = 200,
		.headers = fields,
		.body = c->bytes,
		.body_len = c->len,
		.ttl_s = opt->ttl_s,
	};
	struct kac_pinned pinned;
	int err;

	if (!fields)
		return -ENOMEM;
	err = kac_store_pin(store, &pin);
	if (!err)
		err = kac_store_find(store, authority, target, &pinned);
	if (err)
		return err;
	totals->objects++;
	totals->bytes += pinned.object->length;
	return 0;
}

int kac_pin_file(struct kac_store *store, const struct kac_mime *mime, const char *path,
		 const struct kac_url *url, const struct kac_pin_options *opt,
		 struct kac_pin_totals *totals)
{
	struct content c;
	int fd __cleanup_fd = -1;
	int err;

	/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = read_file(fd, &c);
	return err ? err
		   : pin_content(store, &c, kac_mime_type(mime, path), url->authority, url->target,
				 opt, totals);
}

struct walk {
	struct kac_store *store;
	const struct kac_mime *mime;
	int root;
	const char *authority;
	struct kac_pin_options opt;
	struct kac_pin_totals *totals;
	size_t too_much; /* no file of this length or more has room now */
	char target[KAC_TARGET_MAX + 1];
	struct content content;
};

/* Count what cannot be pinned; only what would go wrong for every file ends the walk. */
static int pinned_or_counted(struct walk *w, int err)
{
	switch (err) {
	case 0:
		w->too_much = SIZE_MAX;
		return 0;
	case -EFBIG:
		w->totals->too_large++;
		return 0;
	case -ENOSPC:
		w->too_much = w->content.len;
		w->totals->no_room++;
		return 0;
	case -ENAMETOOLONG:
		w->totals->long_names++;
		return 0;
	case -ENOENT: /* gone since the directory was read */
	case -ENOTSUP:
	case -EISDIR: /* by a symbolic link */
	case -ELOOP:
	case -EXDEV: /* a link that leads out of the directory */
		return 0;
	case -ENOMEM:
	case -EUCLEAN:
	case -EPERM:
		return err;
	default:
		w->totals->unreadable++;
		return 0;
	}
}

static int open_beneath(int root, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int pin_one(struct walk *w, const char *name, size_t dir_len)
{
	const char *type = kac_mime_type(w->mime, name);
	int err;

	if (w->content.len >= w->too_much)
		return -ENOSPC;
	if (!strcmp(name, INDEX)) {
		char last = w->target[dir_len];

		w->target[dir_len] = '\0';
		err = pin_content(w->store, &w->content, type, w->authority, w->target, &w->opt,
				  w->totals);
		w->target[dir_len] = last;
		if (err)
			return err;
	}
	return pin_content(w->store, &w->content, type, w->authority, w->target, &w->opt,
			   w->totals);
}

/* @path: of the file, from the root on; @name: its last component; w->target: its directory's URL.
 */
static int visit_file(struct walk *w, const char *path, const char *name)
{
	size_t dir_len = strlen(w->target);
	int fd __cleanup_fd = -1;
	int err;

	fd = open_beneath(w->root, path, 0);
	err = fd < 0 ? fd : read_file(fd, &w->content);
	if (!err)
		err = kac_url_append(w->target, sizeof(w->target), name);
	if (!err)
		err = pin_one(w, name, dir_len);
	w->target[dir_len] = '\0';
	return pinned_or_counted(w, err);
}

static int is_shown(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int is_directory(int dir, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return !fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode);
}

static int visit_directory(struct walk *w, const char *path);

static int visit(struct walk *w, int dir, const char *path, const struct dirent *entry)
{
	char *child __cleanup_free = NULL;
	size_t len = strlen(w->target);
	int err;

	if (asprintf(&child, "%s%s%s", path, *path ? "/" : "", entry->d_name) < 0) {
		child = NULL;
		return -ENOMEM;
	}
	if (!is_directory(dir, entry))
		return visit_file(w, child, entry->d_name);
	err = kac_url_append(w->target, sizeof(w->target) - 1, entry->d_name);
	if (err)
		return pinned_or_counted(w, err);
	strcat(w->target, "/");
	err = visit_directory(w, child);
	w->target[len] = '\0';
	return err;
}

/* In order of names, so that it is always the same files that find room. */
static int visit_directory(struct walk *w, const char *path)
{
	int dir __cleanup_fd = open_beneath(w->root, *path ? path : ".", O_DIRECTORY);
	struct dirent **entries;
	int count, i, err = 0;

	count = dir < 0 ? dir : scandirat(dir, ".", &entries, is_shown, alphasort);
	if (count < 0)
		return pinned_or_counted(w, dir < 0 ? dir : -errno);
	for (i = 0; i < count; i++) {
		if (!err)
			err = visit(w, dir, path, entries[i]);
		free(entries[i]);
	}
	free(entries);
	return err;
}

int kac_pin_tree(struct kac_store *store, const struct kac_mime *mime, const char *dir,
		 const char *authority, const char *prefix, uint64_t ttl_s,
		 struct kac_pin_totals *totals)
{
	struct walk w = {
		.store = store,
		.mime = mime,
		.authority = authority,
		.opt = {.ttl_s = ttl_s},
		.totals = totals,
		.too_much = SIZE_MAX,
	};
	size_t len = strlen(prefix);
	int root __cleanup_fd = -1;

	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	w.root = root;
	if (len + 1 > KAC_TARGET_MAX)
		return -ENAMETOOLONG;
	strcpy(w.target, prefix);
	if (!len || prefix[len - 1] != '/')
		strcat(w.target, "/");
	return visit_directory(&w, "");
}

static const char *plural(uint32_t count, const char *one, const char *many)
{
	return count == 1 ? one : many;
}

void kac_pin_totals_print(const struct kac_pin_totals *t, FILE *out)
{
	fprintf(out, "pinned %u %s, %" PRIu64 " bytes", t->objects,
		plural(t->objects, "object", "objects"), t->bytes);
	if (t->too_large)
		fprintf(out, "; %u %s larger than %u bytes with the head and %s with the origin",
			t->too_large, plural(t->too_large, "file is", "files are"), KAC_REPLY_MAX,
			plural(t->too_large, "stays", "stay"));
	if (t->no_room)
		fprintf(out, "; %u %s no room and %s with the origin", t->no_room,
			plural(t->no_room, "file found", "files found"),
			plural(t->no_room, "stays", "stay"));
	if (t->long_names)
		fprintf(out, "; %u %s a URL that is too long", t->long_names,
			plural(t->long_names, "file or directory has",
			       "files or directories have"));
	if (t->unreadable)
		fprintf(out, "; %u could not be read", t->unreadable);
}
