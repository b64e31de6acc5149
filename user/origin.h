/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_ORIGIN_H
#define KACCEL_ORIGIN_H

#include "mime.h"

/*
 * The embedded origin: an HTTP/1.1 server of a directory's files, for `kaccel serve`. It answers
 * what the kernel does not. Every response of it carries Content-Length, for the packet lane has to
 * know where each one ends.
 */
struct kac_origin;

#define KAC_ORIGIN_TIMEOUT_S 75

struct kac_origin_options {
	const char *root;	     /* the directory; nothing outside it is ever served */
	int listen_fd;		     /* bound and listening; the origin's once it has started */
	const struct kac_mime *mime; /* the caller's, must live until the origin is stopped */
	unsigned int threads;	     /* 0: one per processor that is online */
	unsigned int timeout_s;	     /* closes idle connections; 0: KAC_ORIGIN_TIMEOUT_S */
};

/*
 * Start serving, in threads that have the caller's signal mask and cgroup. Returns 0 and *@o;
 * -ENOENT, -ENOTDIR or -EACCES for the directory, -ENOSYS on a kernel without openat2(2), -ENOMEM,
 * -EIO when the threads could not be started. On error listen_fd is still the caller's.
 */
int kac_origin_start(const struct kac_origin_options *opt, struct kac_origin **o);

/*
 * Accept no more: the listening socket is closed. Connections that are open are served, and asked
 * to close with the next response.
 */
void kac_origin_quiesce(struct kac_origin *o);

/* How many connections are open. */
unsigned int kac_origin_connections(struct kac_origin *o);

/* Close every connection, end the threads and free @o. */
void kac_origin_stop(struct kac_origin *o);

static inline void kac_origin_stop_ptr(struct kac_origin **o)
{
	if (*o)
		kac_origin_stop(*o);
}

#define __cleanup_origin __attribute__((cleanup(kac_origin_stop_ptr)))

#endif
