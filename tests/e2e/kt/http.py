# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A client on the kernel's own TCP, one request at a time and in full control of each send."""

import select
import socket
import struct
import time


class Response:
    def __init__(self, status, headers, body, raw_head):
        self.status, self.headers, self.body, self.raw_head = status, headers, body, raw_head

    @property
    def from_origin(self):
        return "x-origin" in self.headers

    def __repr__(self):
        return (f"<{self.status} {'origin' if self.from_origin else 'kernel'} "
                f"{len(self.body)} bytes {self.body[:30]!r}>")


class Http:
    """One keep-alive connection. Times out after 4 s: an RTO of 200 ms may double four times."""

    TIMEOUT = 4.0

    def __init__(self, env, address, port=8080, ns=None, sport=0, nodelay=True, rcvbuf=0, proto=0,
                 before=None, host="example.test", source=None):
        self.host, self.buf = host, b""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with (ns or env.client).enter():
            self.sock = socket.socket(family, socket.SOCK_STREAM, proto)
        env.closers.append(self.sock.close)
        self.sock.settimeout(self.TIMEOUT)
        if nodelay:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if before:
            before(self.sock)
        if sport or source:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.sock.bind((source or ("::" if ":" in address else "0.0.0.0"), sport))
        self.sock.connect((address, port))
        self.port = self.sock.getsockname()[1]

    def request(self, path, method="GET", extra="", body=b""):
        return (f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\n{extra}\r\n").encode() + body

    def send(self, data):
        self.sock.sendall(data)

    def ask(self, path, **kw):
        self.send(self.request(path, **kw))

    def _fill(self, what, timeout):
        end = time.monotonic() + (timeout or self.TIMEOUT)
        left = end - time.monotonic()
        if left <= 0 or not select.select([self.sock], [], [], left)[0]:
            raise AssertionError(f"{what}: no answer; have {self.buf[:200]!r}")
        data = self.sock.recv(1 << 20)
        assert data, f"{what}: the server closed; have {self.buf[:200]!r}"
        self.buf += data

    def response(self, head_only=False, timeout=None):
        while b"\r\n\r\n" not in self.buf:
            self._fill("head", timeout)
        raw_head, _, rest = self.buf.partition(b"\r\n\r\n")
        lines = raw_head.decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1."), f"not a status line: {lines[0]!r}"
        status = int(lines[0].split()[1])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        self.buf = rest
        if status < 200:
            return Response(status, headers, b"", raw_head)
        body = b""
        if head_only or status in (204, 304):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunked(timeout)
        elif "content-length" in headers:
            length = int(headers["content-length"])
            while len(self.buf) < length:
                self._fill("body", timeout)
            body, self.buf = self.buf[:length], self.buf[length:]
        else:
            while True:
                try:
                    self._fill("body", timeout)
                except AssertionError:
                    break
            body, self.buf = self.buf, b""
        return Response(status, headers, body, raw_head)

    def _chunked(self, timeout):
        body = b""
        while True:
            while b"\r\n" not in self.buf:
                self._fill("chunk", timeout)
            size, _, self.buf = self.buf.partition(b"\r\n")
            size = int(size, 16)
            while len(self.buf) < size + 2:
                self._fill("chunk", timeout)
            body += self.buf[:size]
            assert self.buf[size:size + 2] == b"\r\n", f"bad chunk end: {self.buf[size:size + 2]!r}"
            self.buf = self.buf[size + 2:]
            if not size:
                return body

    def get(self, path, timeout=None, **kw):
        self.ask(path, **kw)
        return self.response(head_only=kw.get("method") == "HEAD", timeout=timeout)

    def hit(self, path):
        """GET until the kernel has answered one (one a second is passed, S16); that answer."""
        for _ in range(3):
            r = self.get(path)
            if not r.from_origin:
                return r
        raise AssertionError(f"GET {path} is never answered in the kernel: {r}")

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def at_end(self, timeout=TIMEOUT):
        """Whether the server closes, with nothing more to read before."""
        if not select.select([self.sock], [], [], timeout)[0]:
            return False
        return self.sock.recv(1) == b"" and not self.buf

    def quiet(self, seconds):
        """Whether nothing at all comes for so long."""
        return not self.buf and not select.select([self.sock], [], [], seconds)[0]

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()
