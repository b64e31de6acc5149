# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A TCP client of the test's own, that sends what no kernel would.

It lives at an address that no interface owns, on the client's device, so that no kernel answers in
its name; the server knows the address by a permanent neighbour entry.
"""

import random
import select
import socket
import struct
import time

from . import packets
from .packets import ACK, FIN, RST, SYN, diff


class RawTcp:
    def __init__(self, env, v6=False, port=8080, sport=None, ts=True, sack=True, ws=7, mss=1460,
                 win=None, extra_syn_options=b"", ecn=False):
        self.env = env
        self.src = env.raw6 if v6 else env.raw4
        self.dst = env.server6 if v6 else env.server4
        self.dport = port
        self.sport = sport or random.randint(20000, 32000)
        self.use_ts, self.use_sack, self.ws, self.mss = ts, sack, ws, mss
        self.win = win if win is not None else 64240 >> (ws or 0)
        self.extra_syn_options = extra_syn_options
        self.ecn = ecn
        self.isn = random.getrandbits(32)
        self.snd = self.isn  # next sequence number
        self.rcv = 0  # next expected
        self.ts_recent = 0
        self.ts_base = random.getrandbits(31)
        self.ts_start = time.monotonic()
        self.ts_skew = 0
        self.synack = None
        with env.client.enter():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self.sock.bind(("c0", 0))
        env.closers.append(self.sock.close)

    def tsval(self):
        ms = int((time.monotonic() - self.ts_start) * 1000)
        return (self.ts_base + ms + self.ts_skew) & 0xFFFFFFFF

    def frame(self, data=b"", flags="A", seq=None, ack=None, win=None, options=None, tsval=None,
              sack=None, bad_checksum=False, sport=None, **ip):
        bits = packets.flags(flags)
        if options is None:
            options = b""
            if self.use_ts:
                options += packets.option_ts(self.tsval() if tsval is None else tsval,
                                             self.ts_recent)
            if sack:
                options += packets.option_sack(sack)
        seg = packets.tcp_segment(
            self.src, self.dst, sport or self.sport, self.dport,
            self.snd if seq is None else seq, (self.rcv if ack is None else ack) if bits & ACK else 0,
            bits, self.win if win is None else win, options, data, bad_checksum)
        return packets.ip_frame(self.src, self.dst, packets.TCP, seg, **ip)

    def send(self, data=b"", flags="A", seq=None, advance=None, **kw):
        """Send one segment; without @seq it is the next one, and counts as sent."""
        self.sock.send(self.frame(data, flags, seq, **kw))
        if advance if advance is not None else seq is None:
            bits = packets.flags(flags)
            self.snd = (self.snd + len(data) + bool(bits & SYN) + bool(bits & FIN)) & 0xFFFFFFFF

    def send_frame(self, frame):
        self.sock.send(frame)

    def recv(self, timeout=1.0, match=None):
        """The next segment from the server for this port (that @match accepts), or None."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                return None
            frame, addr = self.sock.recvfrom(65535)
            if addr[2] == socket.PACKET_OUTGOING:
                continue
            p = packets.parse(frame, time.monotonic())
            if p and p.dport == self.sport and p.sport == self.dport and not p.to_server:
                if "ts" in p.opts:
                    self.ts_recent = p.opts["ts"][0]
                if match is None or match(p):
                    return p

    def collect(self, seconds):
        """All segments that come in so long a time."""
        end, got = time.monotonic() + seconds, []
        while (left := end - time.monotonic()) > 0:
            p = self.recv(left)
            if p:
                got.append(p)
        return got

    def connect(self):
        opts = struct.pack("!BBH", 2, 4, self.mss)
        if self.use_sack:
            opts += b"\4\2"
        if self.use_ts:
            opts += packets.option_ts(self.tsval(), 0)[2 * bool(self.use_sack):]
        if self.ws is not None:
            opts += struct.pack("!BBBB", 1, 3, 3, self.ws)
        opts += self.extra_syn_options
        self.send(flags="SEC" if self.ecn else "S", options=opts, win=64240)
        self.synack = self.recv(2.0, lambda p: p.flags & SYN)
        assert self.synack, "no SYN-ACK"
        assert self.synack.ack == self.snd, "SYN-ACK acknowledges something else"
        self.rcv = self.synack.end
        self.send()
        return self

    def data(self, timeout=2.0):
        """The next segment with payload, in order or not, or None. Acknowledges nothing."""
        return self.recv(timeout, lambda p: p.data)

    def response(self, timeout=3.0, ack=True, window=None):
        """Receive one whole response with a Content-Length in order; its bytes."""
        end, parts, start = time.monotonic() + timeout, {}, self.rcv
        while True:
            left = end - time.monotonic()
            p = self.recv(left) if left > 0 else None
            assert p, f"no whole response in {timeout} s: {self._joined(parts)!r}"
            assert not p.flags & RST, f"reset: {p}"
            if p.data:
                parts[diff(p.seq, start)] = p.data
            body = self._joined(parts)
            self.rcv = (start + len(body)) & 0xFFFFFFFF
            if ack and p.data:
                self.send(**({"win": window} if window is not None else {}))
            head, sep, rest = body.partition(b"\r\n\r\n")
            if sep:
                length = [int(line.split(b":")[1]) for line in head.split(b"\r\n")
                          if line.lower().startswith(b"content-length:")]
                if length and len(rest) >= length[0]:
                    return body

    @staticmethod
    def _joined(parts):
        out = b""
        for at in sorted(parts):
            if at > len(out):
                break
            out += parts[at][len(out) - at:]
        return out

    def get(self, path, host="example.test", extra=""):
        return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode()

    def fetch(self, path, **kw):
        """GET in one segment, and its whole response."""
        self.send(self.get(path), "PA")
        return self.response(**kw)

    def reset(self):
        self.send(flags="R")
