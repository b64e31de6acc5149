# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Frames: read from a capture, built by hand, and what must hold of a capture as a whole."""

import ipaddress
import struct

CLIENT_MAC = bytes.fromhex("02000000000c")
SERVER_MAC = bytes.fromhex("020000000005")

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
FLAG = {"F": FIN, "S": SYN, "R": RST, "P": PSH, "A": ACK, "U": URG, "E": ECE, "C": CWR}

ETH_IP, ETH_IPV6 = 0x0800, 0x86DD
TCP, ICMP, ICMPV6 = 6, 1, 58


def flags(text):
    return sum(FLAG[c] for c in text)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo(src, dst, proto, length):
    if len(src) == 4:
        return src + dst + struct.pack("!BBH", 0, proto, length)
    return src + dst + struct.pack("!IHBB", length, 0, 0, proto)


def packed(address):
    return ipaddress.ip_address(address).packed


class Pkt:
    """One TCP segment of a capture (or received by a raw socket)."""

    def __init__(self, when, to_server, frame):
        self.when = when
        self.to_server = to_server
        self.frame = frame

    def __repr__(self):
        names = "".join(c for c, bit in FLAG.items() if self.flags & bit)
        arrow = "->" if self.to_server else "<-"
        port = self.sport if self.to_server else self.dport
        return (f"{self.when:.6f} {port} {arrow} [{names}] seq {self.seq} ack {self.ack} "
                f"win {self.win} len {len(self.data)} {self.opts} {self.data[:24]!r}")

    @property
    def client_port(self):
        return self.sport if self.to_server else self.dport

    @property
    def end(self):
        return (self.seq + len(self.data) + bool(self.flags & SYN) +
                bool(self.flags & FIN)) & 0xFFFFFFFF


def parse_options(raw):
    opts, at = {}, 0
    while at < len(raw) and raw[at] != 0:
        if raw[at] == 1:
            at += 1
            continue
        if at + 1 >= len(raw) or raw[at + 1] < 2:
            break
        kind, value = raw[at], raw[at + 2:at + raw[at + 1]]
        at += raw[at + 1]
        if kind == 2:
            opts["mss"] = struct.unpack("!H", value)[0]
        elif kind == 3:
            opts["ws"] = value[0]
        elif kind == 4:
            opts["sackok"] = True
        elif kind == 5:
            edges = struct.unpack(f"!{len(value) // 4}I", value)
            opts["sack"] = list(zip(edges[::2], edges[1::2]))
        elif kind == 8:
            opts["ts"] = struct.unpack("!II", value)
        else:
            opts[kind] = value
    return opts


def parse(frame, when=0.0):
    """The Pkt of a frame, or None when it is no TCP over IPv4 or IPv6."""
    if len(frame) < 54:
        return None
    proto = struct.unpack("!H", frame[12:14])[0]
    p = Pkt(when, frame[6:12] == CLIENT_MAC, frame)
    if proto == ETH_IP and frame[23] == TCP:
        ihl = (frame[14] & 15) * 4
        total = struct.unpack("!H", frame[16:18])[0]
        p.ip_options = frame[34:14 + ihl]
        p.tos, p.ttl = frame[15], frame[22]
        p.src, p.dst = frame[26:30], frame[30:34]
        p.ip_ok = checksum(frame[14:14 + ihl]) == 0
        seg = frame[14 + ihl:14 + total]
    elif proto == ETH_IPV6 and frame[20] == TCP:
        length = struct.unpack("!H", frame[18:20])[0]
        p.ip_options = b""
        p.tos = struct.unpack("!H", frame[14:16])[0] >> 4 & 0xFF
        p.ttl = frame[21]
        p.src, p.dst = frame[22:38], frame[38:54]
        p.ip_ok = True
        seg = frame[54:54 + length]
    else:
        return None
    if len(seg) < 20:
        return None
    p.sport, p.dport, p.seq, p.ack, off, p.flags, p.win = struct.unpack("!HHIIBBH", seg[:16])
    head = (off >> 4) * 4
    p.opts = parse_options(seg[20:head])
    p.data = seg[head:]
    p.tcp_ok = checksum(pseudo(p.src, p.dst, TCP, len(seg)) + seg) == 0
    p.is_v6 = len(p.src) == 16
    return p


def read_pcap(path):
    """All TCP segments of a capture, in order."""
    pkts = []
    with open(path, "rb") as f:
        raw = f.read()
    at = 24
    while at + 16 <= len(raw):
        sec, nsec, caplen, _ = struct.unpack("<IIII", raw[at:at + 16])
        p = parse(raw[at + 16:at + 16 + caplen], sec + nsec / 1e9)
        at += 16 + caplen
        if p:
            pkts.append(p)
    return pkts


def eth(payload, proto, src=CLIENT_MAC, dst=SERVER_MAC):
    return dst + src + struct.pack("!H", proto) + payload


def ipv4(src, dst, proto, payload, tos=0, ttl=64, options=b"", frag=0x4000, ident=1):
    ihl = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBH", 0x40 | ihl, tos, ihl * 4 + len(payload), ident, frag, ttl,
                       proto, 0) + packed(src) + packed(dst) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(src, dst, proto, payload, tos=0, ttl=64):
    return struct.pack("!IHBB", 6 << 28 | tos << 20, len(payload), proto, ttl) + \
        packed(src) + packed(dst) + payload


def ip_frame(src, dst, proto, payload, **kw):
    if ":" in src:
        return eth(ipv6(src, dst, proto, payload, **kw), ETH_IPV6)
    return eth(ipv4(src, dst, proto, payload, **kw), ETH_IP)


def tcp_segment(src, dst, sport, dport, seq, ack, flag_bits, win, options=b"", data=b"",
                bad_checksum=False, urgent=0):
    options += b"\1" * (-len(options) % 4)
    head = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF,
                       (5 + len(options) // 4) << 4, flag_bits, win, 0, urgent) + options
    seg = head + data
    ck = checksum(pseudo(packed(src), packed(dst), TCP, len(seg)) + seg)
    if bad_checksum:
        ck ^= 0x0101
    return seg[:16] + struct.pack("!H", ck) + seg[18:]


def option_ts(val, ecr):
    return b"\1\1" + struct.pack("!BBII", 8, 10, val & 0xFFFFFFFF, ecr & 0xFFFFFFFF)


def option_sack(blocks):
    return b"\1\1" + struct.pack("!BB", 5, 2 + 8 * len(blocks)) + \
        b"".join(struct.pack("!II", a & 0xFFFFFFFF, b & 0xFFFFFFFF) for a, b in blocks)


def icmp_too_big(src, dst, quoted_frame, mtu):
    """An ICMP (or ICMPv6) error of @src to @dst about the frame that @dst had sent."""
    quoted = quoted_frame[14:]
    if ":" in src:
        body = struct.pack("!BBHI", 2, 0, 0, mtu) + quoted[:1200]
        ck = checksum(pseudo(packed(src), packed(dst), ICMPV6, len(body)) + body)
        return ip_frame(src, dst, ICMPV6, body[:2] + struct.pack("!H", ck) + body[4:])
    body = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted[:28]
    return ip_frame(src, dst, ICMP, body[:2] + struct.pack("!H", checksum(body)) + body[4:])


def diff(a, b):
    """a - b of two sequence numbers."""
    return ((a - b + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


class Flow:
    """The segments of one connection (of one client port), and what must hold of them.

    Made of the server's end of the wire it shows what was sent, lost or not; made of the client's,
    what arrived. Sequence numbers are taken relative to each side's SYN.
    """

    def __init__(self, pkts, port):
        mine = [p for p in pkts if p.client_port == port]
        answers = [p for p in mine if p.flags & SYN and p.flags & ACK and not p.to_server]
        assert answers, f"no connection of port {port} in the capture"
        self.synack = answers[-1]
        self.client_isn, self.server_isn = (self.synack.ack - 1) & 0xFFFFFFFF, self.synack.seq
        first = [i for i, p in enumerate(mine)
                 if p.to_server and p.flags & SYN and p.seq == self.client_isn][0]
        self.pkts, syn = mine[first:], mine[first]
        self.client_ws = syn.opts.get("ws", 0) if "ws" in self.synack.opts else 0

    def sent(self):
        return [p for p in self.pkts if not p.to_server and not p.flags & SYN]

    def got(self):
        return [p for p in self.pkts if p.to_server and not p.flags & SYN]

    def s_off(self, seq):
        """Offset in the server's stream of the sequence number."""
        return diff(seq, (self.server_isn + 1) & 0xFFFFFFFF)

    def c_off(self, seq):
        return diff(seq, (self.client_isn + 1) & 0xFFFFFFFF)

    def stream(self):
        """The server's bytes; fails when one offset was sent with two contents (P3)."""
        data, known = bytearray(), bytearray()
        for p in self.sent():
            if p.flags & RST or not p.data:
                continue
            at = self.s_off(p.seq)
            assert at >= 0, f"data before the stream: {p}"
            if at + len(p.data) > len(data):
                grow = at + len(p.data) - len(data)
                data += b"\0" * grow
                known += b"\0" * grow
            for i, byte in enumerate(p.data):
                if known[at + i]:
                    assert data[at + i] == byte, \
                        f"byte {at + i} of the stream was sent with two contents: {p}"
                else:
                    data[at + i] = byte
                    known[at + i] = 1
        assert all(known), f"byte {known.index(0)} of the stream was never sent"
        return bytes(data)

    def check(self):
        """All that must hold of any connection, seen at the server's end of the wire."""
        self.stream()
        self.check_acks()
        self.check_timestamps()
        self.check_headers()
        self.check_windows()

    def check_acks(self):
        """The server acknowledges nothing that it was not sent."""
        high = 0
        for p in self.pkts:
            if p.to_server and not p.flags & SYN:
                high = max(high, self.c_off(p.end))
            elif not p.to_server and p.flags & ACK and not p.flags & (SYN | RST):
                assert self.c_off(p.ack) <= high, f"acknowledges what was never sent: {p}"

    def check_timestamps(self):
        """TSval never goes back, and the option is in every segment when it was agreed on."""
        if "ts" not in self.synack.opts:
            for p in self.sent():
                assert "ts" not in p.opts, f"timestamps were not agreed on: {p}"
            return
        last = self.synack.opts["ts"][0]
        for p in self.sent():
            if p.flags & RST:
                continue
            assert "ts" in p.opts, f"no timestamp: {p}"
            assert diff(p.opts["ts"][0], last) >= 0, f"TSval went back from {last}: {p}"
            last = p.opts["ts"][0]

    def check_headers(self):
        """TTL as in the SYN-ACK, no congestion marks, no odd flags or options (S9)."""
        for p in self.sent():
            if p.flags & RST:
                continue
            assert p.ttl == self.synack.ttl, f"TTL {p.ttl}: {p}"
            assert not p.ip_options, f"IP options: {p}"
            assert p.flags & ACK and not p.flags & (URG | CWR), f"flags: {p}"
            assert set(p.opts) <= {"ts", "sack"}, f"options: {p}"
            assert p.ip_ok, f"IP checksum: {p}"
            assert p.frame[6:12] == SERVER_MAC and p.frame[:6] == CLIENT_MAC, f"MACs: {p}"

    def check_windows(self):
        """No segment sends beyond the client's window, and the server's is never zero."""
        edge = None
        for p in self.pkts:
            if p.flags & RST:
                continue
            if p.to_server and p.flags & ACK:
                ws = 0 if p.flags & SYN else self.client_ws
                right = self.s_off(p.ack) + (p.win << ws)
                edge = right if edge is None else max(edge, right)
            elif not p.to_server and not p.flags & SYN:
                if p.data and edge is not None:
                    # one byte is a window probe
                    assert self.s_off(p.end) <= edge + 1, f"beyond the window ({edge}): {p}"
                assert p.win, f"zero window: {p}"

    def replies(self):
        """The segments with an answer that is not the origin's."""
        return [p for p in self.sent()
                if p.data.startswith(b"HTTP/1.1") and b"X-Origin" not in p.data]

    def check_clamp(self):
        """S2: while a reply is unacknowledged, only its own bytes acknowledge its GET."""
        outstanding = []  # (offset of the reply's start, of its end, of the GET)
        replies = {id(p) for p in self.replies()}
        high, seen = 0, set()
        last_get = {}
        for p in self.pkts:
            if p.flags & (SYN | RST):
                continue
            if p.to_server:
                high = max(high, self.s_off(p.ack))
                if p.data.startswith(b"GET "):
                    last_get[self.s_off(p.ack)] = self.c_off(p.seq)
                outstanding = [o for o in outstanding if o[1] > high]
                continue
            at = self.s_off(p.seq)
            if id(p) in replies and at not in seen and at in last_get:
                seen.add(at)
                outstanding.append((at, self.s_off(p.end), last_get[at]))
            for start, end, get in outstanding:
                if p.data and start <= at < end:
                    continue
                assert self.c_off(p.ack) <= get, f"acknowledges a GET too early ({get}): {p}"
