/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_RESET_H
#define KACCEL_RESET_H

#include <kaccel/conn.h>

/*
 * Abort the origin's socket of a connection: its client gets a RST, by way of the programs that are
 * attached. 0, also when there is no such socket; -EOPNOTSUPP on a kernel without
 * INET_DIAG_DESTROY; another -errno.
 */
int kac_reset_socket(const struct kac_conn_key *key);

#endif
