/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef KACCEL_COUNTERS_H
#define KACCEL_COUNTERS_H

/*
 * Every counter is declared once, here, as X(SYMBOL, "json_name", "what it counts"). The maps,
 * `kaccel stats`, its
 * --json and the documentation are made from these lists.
 */

/* Why a request was not answered in the kernel: each passed request counts under exactly one. */
#define KAC_PASS_REASONS(X)                                                                     \
	X(KAC_PASS_METHOD, "method", "not a GET")                                               \
	X(KAC_PASS_VERSION, "version", "not HTTP/1.1")                                          \
	X(KAC_PASS_TARGET, "target", "the target is not in origin-form, or too long")           \
	X(KAC_PASS_HOST, "host", "Host is missing, doubled or not valid")                       \
	X(KAC_PASS_HEADER, "header", "a header that is not known to change nothing")            \
	X(KAC_PASS_CONDITIONAL, "conditional", "If-*, Range, or Cache-Control of the client")   \
	X(KAC_PASS_AUTHORIZATION, "authorization", "carries credentials")                       \
	X(KAC_PASS_ENCODING, "encoding", "Accept-Encoding with weights")                        \
	X(KAC_PASS_CLOSE, "close", "asks for the connection to be closed")                      \
	X(KAC_PASS_UPGRADE, "upgrade", "asks for another protocol, or Expect")                  \
	X(KAC_PASS_BODY, "body", "has a body")                                                  \
	X(KAC_PASS_MALFORMED, "malformed", "not well-formed HTTP, or ambiguous")                \
	X(KAC_PASS_PARTIAL, "partial", "not exactly one whole request in one segment")          \
	X(KAC_PASS_TOO_LONG, "too_long", "the head is longer than what is read")                \
	X(KAC_PASS_BUSY, "busy", "a response is outstanding on the connection")                 \
	X(KAC_PASS_UNACKED, "unacked", "does not acknowledge all that was sent")                \
	X(KAC_PASS_SEQUENCE, "sequence", "not the next expected byte")                          \
	X(KAC_PASS_REFRESH, "refresh", "passed so that the origin sees the connection in use")  \
	X(KAC_PASS_AFTER_LOSS, "after_loss", "passed for a while after a loss")                 \
	X(KAC_PASS_TOO_LARGE, "too_large", "the reply does not fit one segment or the window")  \
	X(KAC_PASS_EXPIRED, "expired", "the object has expired")                                \
	X(KAC_PASS_SEGMENT, "segment", "a TCP or IP header that is not plain enough to answer") \
	X(KAC_PASS_CHECKSUM, "checksum", "the checksum is wrong, or could not be verified")     \
	X(KAC_PASS_TIMESTAMP, "timestamp", "an old or a missing timestamp (PAWS)")              \
	X(KAC_PASS_DEVICE, "device", "came in by another device than the route back")           \
	X(KAC_PASS_OUT_OF_PLAY, "out_of_play", "the connection is out of play")                 \
	X(KAC_PASS_DRAINING, "draining", "kaccel is being detached")

/* Why a connection went out of play: it is translated, but not answered again. */
#define KAC_OUT_REASONS(X)                                                               \
	X(KAC_OUT_REQUEST, "request", "a request that could not be followed")            \
	X(KAC_OUT_RESPONSE, "response", "a response whose end could not be known")       \
	X(KAC_OUT_UNSOLICITED, "unsolicited", "the origin sent what nobody asked for")   \
	X(KAC_OUT_CLOSE, "close", "either side said Connection: close")                  \
	X(KAC_OUT_FIN, "fin", "either side closed its direction, or reset")              \
	X(KAC_OUT_GAP, "gap", "bytes of the client came out of order")                   \
	X(KAC_OUT_DEPTH, "depth", "more requests in flight than are followed")           \
	X(KAC_OUT_FIRST, "first",                                                        \
	  "the first request was ahead of its connection, and not followed")             \
	X(KAC_OUT_UNSEEN, "unseen", "the origin acknowledged what was not seen to pass") \
	X(KAC_OUT_DEVICE, "device", "its segments come in by two devices")

#define KAC_OTHER_COUNTERS(X)                                                                      \
	X(KAC_CNT_HITS, "hits", "requests answered by the packet lane")                            \
	X(KAC_CNT_HIT_BYTES, "hit_bytes", "bytes of those replies, heads included")                \
	X(KAC_CNT_MISSES, "misses", "GETs that could have been answered but are not pinned")       \
	X(KAC_CNT_ENROLLED, "enrolled", "connections enrolled")                                    \
	X(KAC_CNT_ENDED, "ended", "connections that ended")                                        \
	X(KAC_CNT_NOT_ENROLLED, "not_enrolled", "connections left alone: MPTCP, MD5, AO, other")   \
	X(KAC_CNT_FULL, "full", "connections left alone: the table is full")                       \
	X(KAC_CNT_RESENT, "resent", "replies sent again")                                          \
	X(KAC_CNT_CHANGED, "changed", "connections reset: a lost reply's object had gone (P3)")    \
	X(KAC_CNT_CONSUMED, "consumed", "acknowledgements of ours, kept from the origin")          \
	X(KAC_CNT_TRANSLATED_IN, "translated_in", "segments translated towards the origin")        \
	X(KAC_CNT_TRANSLATED_OUT, "translated_out", "segments translated towards the client")      \
	X(KAC_CNT_CLAMPED, "clamped", "acknowledgements held back until a reply arrived (S2)")     \
	X(KAC_CNT_ACKS_UP, "acks_up", "a GET's own ACK handed to the origin (S1)")                 \
	X(KAC_CNT_EPOCH_DROPS, "epoch_drops", "origin segments of no or two epochs, dropped (S1)") \
	X(KAC_CNT_ICMP, "icmp", "ICMP errors translated (S8)")                                     \
	X(KAC_CNT_SEND_FAILED, "send_failed", "replies that could not be built or sent")

#define KAC_COUNTER_ID(symbol, name, text) symbol,

enum kac_counter {
	/* clang-format off */
	KAC_OTHER_COUNTERS(KAC_COUNTER_ID) /* hits are 0: easily found with bpftool */
	KAC_PASS_REASONS(KAC_COUNTER_ID)
	KAC_OUT_REASONS(KAC_COUNTER_ID)
	KAC_CNT_MAX,
	/* clang-format on */
};

#undef KAC_COUNTER_ID

#endif
