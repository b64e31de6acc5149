// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kaccel.h"
#include "mime.h"

struct entry {
	const char *extension;
	const char *type;
	unsigned int line; /* of the table: the last one to name an extension has it */
};

struct kac_mime {
	struct entry *entries; /* by extension, then line */
	size_t count, room;
	char **types;
	size_t type_count, type_room;
};

static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcasecmp(x->extension, y->extension);

	return order ? order : (x->line > y->line) - (x->line < y->line);
}

static void *grown(void *array, size_t count, size_t *room, size_t size)
{
	if (count < *room)
		return array;
	*room = *room ? *room * 2 : 256;
	return reallocarray(array, *room, size);
}

/*
 * A type's line of the table becomes one string: the value of Content-Type, then the extensions,
 * each with its NUL. XML says its own encoding, which a charset here would override (RFC 7303 3.2).
 */
static int add_line(struct kac_mime *mime, char *line, unsigned int number)
{
	char *save = NULL, *name, *extension, *at, *type;
	const char *charset = "";
	void *bigger;
	size_t len;

	line[strcspn(line, "#")] = '\0';
	len = strlen(line);
	name = strtok_r(line, " \t\r\n", &save);
	extension = name ? strtok_r(NULL, " \t\r\n", &save) : NULL;
	if (!extension)
		return 0;
	if (!strncasecmp(name, "text/", 5) && strcasecmp(name, "text/xml") != 0 &&
	    !strchr(name, '+'))
		charset = "; charset=utf-8";

	bigger = grown(mime->types, mime->type_count, &mime->type_room, sizeof(*mime->types));
	if (!bigger)
		return -ENOMEM;
	mime->types = bigger;
	type = malloc(len + strlen(charset) + 2);
	if (!type)
		return -ENOMEM;
	mime->types[mime->type_count++] = type;
	at = stpcpy(stpcpy(type, name), charset) + 1;
	for (; extension; extension = strtok_r(NULL, " \t\r\n", &save)) {
		bigger = grown(mime->entries, mime->count, &mime->room, sizeof(*mime->entries));
		if (!bigger)
			return -ENOMEM;
		mime->entries = bigger;
		mime->entries[mime->count++] = (struct entry){at, type, number};
		at = stpcpy(at, extension) + 1;
	}
	return 0;
}

static int read_table(struct kac_mime *mime, FILE *f)
{
	char *line __cleanup_free = NULL;
	unsigned int number = 0;
	size_t room = 0;
	int err;

	while (getline(&line, &room, f) >= 0) {
		err = add_line(mime, line, number++);
		if (err)
			return err;
	}
	return ferror(f) ? -EIO : 0;
}

int kac_mime_load(const char *file, struct kac_mime **mime)
{
	struct kac_mime *m;
	FILE *f;
	int err;

	f = fopen(file ? file : KAC_MIME_TYPES, "re");
	if (!f)
		return -errno;
	m = calloc(1, sizeof(*m));
	err = m ? read_table(m, f) : -ENOMEM;
	fclose(f);
	if (err) {
		kac_mime_free(m);
		return err;
	}
	if (m->count)
		qsort(m->entries, m->count, sizeof(*m->entries), compare);
	*mime = m;
	return 0;
}

void kac_mime_free(struct kac_mime *mime)
{
	size_t i;

	if (!mime)
		return;
	for (i = 0; i < mime->type_count; i++)
		free(mime->types[i]);
	free(mime->types);
	free(mime->entries);
	free(mime);
}

const char *kac_mime_type(const struct kac_mime *mime, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	const char *dot = strrchr(name, '.');
	size_t low = 0, high = mime->count;

	/* The last entry that is not beyond the extension's. */
	while (dot && low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcasecmp(mime->entries[mid].extension, dot + 1) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (!dot || !low || strcasecmp(mime->entries[low - 1].extension, dot + 1) != 0)
		return "application/octet-stream";
	return mime->entries[low - 1].type;
}
