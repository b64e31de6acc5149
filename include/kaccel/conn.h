/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_CONN_H
#define KACCEL_CONN_H

/*
 * A connection entry: made when an attached cgroup's socket is established, kept until its numbers
 * cannot matter any more. bpf/README.md has the rules of the splice (S1-S18) that it exists for.
 *
 * Two number spaces meet here. "Wire" is what the client sees; "kernel" is what the origin's socket
 * sees, in which the accelerated exchanges never happened. A GET answered here is a hole [gseq,
 * gend) in the client's bytes, its reply a hole [rstart, rend) in the server's; both are kept, in
 * wire numbers, for the last exchange. Behind it, wire = kernel + in_delta (client's bytes) and
 * wire = kernel + out_delta (server's bytes).
 */
#include <linux/bpf.h>

#include "types.h"

/* Addresses in network order, IPv4 mapped into IPv6 (::ffff:a.b.c.d); ports in network order. */
struct kac_conn_key {
	__u32 client[4];
	__u32 server[4];
	__u16 client_port;
	__u16 server_port;
};

#define KAC_CONN_OUT	 (1U << 0) /* out of play: translated, never answered again */
#define KAC_CONN_CLOSED	 (1U << 1) /* the socket is gone or in TIME_WAIT (S7) */
#define KAC_CONN_REBORN	 (1U << 2) /* a SYN-ACK left for this tuple: nothing here is valid (S7) */
#define KAC_CONN_TS	 (1U << 3) /* timestamps were negotiated */
#define KAC_CONN_TS_US	 (1U << 4) /* the socket's timestamp clock counts microseconds */
#define KAC_CONN_CLAMPED (1U << 5) /* an acknowledgement was held back (S2) */
#define KAC_CONN_L2	 (1U << 6) /* smac and dmac are the kernel's own choice (S14) */
#define KAC_CONN_V6	 (1U << 7)
#define KAC_CONN_PIECES	 (1U << 8) /* the outstanding reply was sent in several segments */

/* Requests in flight to the origin that are followed; one bit each in pending_head. */
#define KAC_PENDING_MAX 32

struct kac_conn {
	struct bpf_spin_lock lock;
	__u32 flags;	      /* KAC_CONN_* */
	struct bpf_timer end; /* removes the entry when TIME_WAIT is over */
	__u64 tag;	      /* of the key: elements are reused while readers hold them */

	/* Client's bytes. */
	__u32 c_next; /* wire: the next byte never seen */
	__u32 in_delta;
	__u32 gseq, gend;
	__u64 request_left; /* body bytes of a passed request still to come */

	/* Server's bytes. */
	__u32 c_ack;  /* wire: highest acknowledgement ever seen */
	__u32 k_next; /* kernel: the next byte the kernel will send */
	__u32 k_una;  /* kernel: highest acknowledgement handed up */
	__u32 k_prev; /* kernel: the splice point before the last; in between, the delta before it
		       */
	__u32 k_ack;  /* kernel: highest acknowledgement the kernel sent */
	__u32 out_delta;
	__u32 rstart, rend;
	__u64 response_left; /* body bytes of the origin's response still to come */

	__u32 pending;	    /* requests passed to the origin, responses not begun */
	__u32 pending_head; /* bit n: the n-th of these is a HEAD */

	/* The outstanding reply (P3, S10); generation 0: none. */
	__u64 generation;
	__u32 slot;
	__u32 date;	/* the second its Date says, UTC */
	__u32 timeouts; /* times it was sent again without progress */
	__u32 mss;	/* payload of one segment towards the client */

	__u64 sent_ns;	     /* when it was last sent */
	__u64 origin_ns;     /* when a request last went to the origin (S16) */
	__u64 loss_until_ns; /* requests pass until then (S15) */
	__u64 linger_ns; /* how long it is kept without a segment after the socket closed (S7) */
	__u64 seen_ns;	 /* last segment after the socket closed */

	/* Timestamps (S17), host order. */
	__u32 ts_offset; /* TSval - clock */
	__u32 ts_recent; /* client's highest TSval */
	__u32 ts_sent;	 /* highest TSval that left */

	__u32 rtt_us;
	__u32 ifindex;	  /* the device of the route back (S14) */
	__u32 in_ifindex; /* the device that its segments come in by; 0: none has yet */
	__u32 flow;	  /* first word of the kernel's IPv6 header, network order */
	__u16 wnd;	  /* window field the kernel sent last, host order */
	__u16 up_wnd;	  /* window field handed up last, host order */
	__u8 c_wscale;	  /* of the client's window field */
	__u8 k_wscale;	  /* of the kernel's */
	__u8 ttl;
	__u8 tos; /* without ECN */
	__u8 smac[6];
	__u8 dmac[6];
};

/*
 * The first request can reach the device before its socket is established (both arrive in one
 * batch, or the bare ACK was lost): what was passed on then, for the sockops program to begin with.
 */
struct kac_early {
	__u32 seq;
	__u32 end;
	__u32 known; /* exactly one request without a body */
	__u32 head;  /* it is a HEAD */
	__u32 tsval;
};

#endif
