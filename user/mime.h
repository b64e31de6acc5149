/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_MIME_H
#define KACCEL_MIME_H

#define KAC_MIME_TYPES "/etc/mime.types" /* Debian: package media-types */

/* Content types by file name extension, read once from the system's table. */
struct kac_mime;

/*
 * Read the table @file, NULL for KAC_MIME_TYPES. 0 and *@mime, which the caller frees; -ENOENT when
 * there is no such file; -ENOMEM; another -errno when it could not be read.
 */
int kac_mime_load(const char *file, struct kac_mime **mime);
void kac_mime_free(struct kac_mime *mime);

/*
 * The value of Content-Type for a file by the extension of @path's last component, case ignored;
 * text other than XML, which names its own, is declared to be UTF-8. "application/octet-stream" for
 * an extension that is not known. The string is @mime's.
 */
const char *kac_mime_type(const struct kac_mime *mime, const char *path);

static inline void kac_mime_free_ptr(struct kac_mime **mime)
{
	kac_mime_free(*mime);
}

#define __cleanup_mime __attribute__((cleanup(kac_mime_free_ptr)))

#endif
