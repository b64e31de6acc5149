// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "kaccel.h"
#include "reset.h"

int kac_reset_socket(const struct kac_conn_key *key)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 req;
	} msg = {
		.head = {.nlmsg_len = sizeof(msg),
			 .nlmsg_type = SOCK_DESTROY,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.req = {.sdiag_family = AF_INET6,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = ~0U},
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr err;
		char room[512];
	} ack;
	const uint32_t mapped[] = {0, 0, htonl(0xffff)};
	__cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return -errno;
	msg.req.id.idiag_sport = key->server_port;
	msg.req.id.idiag_dport = key->client_port;
	msg.req.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	msg.req.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	if (!memcmp(key->client, mapped, sizeof(mapped))) {
		msg.req.sdiag_family = AF_INET;
		msg.req.id.idiag_src[0] = key->server[3];
		msg.req.id.idiag_dst[0] = key->client[3];
	} else {
		memcpy(msg.req.id.idiag_src, key->server, sizeof(key->server));
		memcpy(msg.req.id.idiag_dst, key->client, sizeof(key->client));
	}
	if (send(fd, &msg, sizeof(msg), 0) < 0)
		return -errno;
	if (recv(fd, &ack, sizeof(ack), 0) < (ssize_t)(sizeof(ack.head) + sizeof(ack.err)) ||
	    ack.head.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return ack.err.error == -ENOENT ? 0 : ack.err.error;
}
