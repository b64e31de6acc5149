# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""A programmable origin: the path says how to answer. Records each connection's bytes.

Requests are ended by an empty line, however they look; what a Content-Length or chunked body says
is read too. Each answer carries X-Origin.
"""

import argparse
import os
import re
import socket
import struct
import threading
import time

IPPROTO_MPTCP = 262
TCP_MD5SIG = 14
SO_MARK = 36


class Connection:
    def __init__(self, sock, peer, args):
        self.sock, self.args = sock, args
        self.log = open(os.path.join(args.log, f"{peer[1]}.received"), "ab", buffering=0)
        self.buf = b""
        self.count = 0

    def fill(self):
        data = self.sock.recv(65536)
        self.log.write(data)
        self.buf += data
        return bool(data)

    def head(self):
        while not (m := re.search(rb"\r?\n\r?\n", self.buf)):
            if not self.fill():
                return None
        head, self.buf = self.buf[:m.end()], self.buf[m.end():]
        return head

    def body(self, head):
        m = re.search(rb"\ncontent-length: *(\d+)\r?\n", head, re.I)
        if m:
            while len(self.buf) < int(m[1]):
                if not self.fill():
                    return
            self.buf = self.buf[int(m[1]):]
        elif re.search(rb"\ntransfer-encoding: *chunked\r?\n", head, re.I):
            while b"0\r\n\r\n" not in self.buf:
                if not self.fill():
                    return
            self.buf = self.buf.split(b"0\r\n\r\n", 1)[1]

    def reply(self, body, status="200 OK", extra="", length=None):
        n = len(body) if length is None else length
        self.sock.sendall(f"HTTP/1.1 {status}\r\nX-Origin: {self.count}\r\nContent-Length: {n}\r\n"
                          f"{extra}\r\n".encode() + body)

    def answer(self, head):
        """False: the connection is over."""
        words = head.lstrip(b"\r\n").split(b"\n")[0].split()
        method = words[0] if words else b""
        path = words[1].decode("latin-1") if len(words) > 1 else "/"
        what, _, arg = path.lstrip("/").partition("/")
        number = int(arg) if arg.isdigit() else 0
        wait = number / 1000
        if what == "early":
            self.reply(b"early\n", "413 Too Large")
            self.body(head)
            return True
        self.body(head)
        if self.args.mark:
            self.sock.setsockopt(socket.SOL_SOCKET, SO_MARK, self.args.mark + self.count)
        if method == b"HEAD":
            self.reply(b"", length=5)
        elif what == "fixed":
            self.reply(b"o" * number)
        elif what == "sleep":
            time.sleep(wait)
            self.reply(b"slept\n")
        elif what == "pause":
            self.reply(b"first half,", length=23)
            time.sleep(wait)
            self.sock.sendall(b" second half")
        elif what == "splithead":
            self.sock.sendall(b"HTTP/1.1 200 OK\r\nX-Origin: 1\r\nContent-Le")
            time.sleep(wait)
            self.sock.sendall(b"ngth: 5\r\n\r\nsplit")
        elif what == "chunked":
            self.sock.sendall(b"HTTP/1.1 200 OK\r\nX-Origin: 1\r\nTransfer-Encoding: chunked\r\n"
                              b"\r\n6\r\nfirst,\r\n")
            time.sleep(wait)
            self.sock.sendall(b"7\r\nsecond\n\r\n0\r\n\r\n")
        elif what == "informational":
            self.sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            time.sleep(wait)
            self.reply(b"final\n")
        elif what == "204":
            self.sock.sendall(b"HTTP/1.1 204 No Content\r\nX-Origin: 1\r\n\r\n")
        elif what == "304":
            self.sock.sendall(b"HTTP/1.1 304 Not Modified\r\nX-Origin: 1\r\n"
                              b"Content-Length: 500\r\n\r\n")
        elif what == "unsolicited":
            self.reply(b"asked\n")
            time.sleep(wait)
            self.reply(b"unasked\n", "408 Request Timeout")
        elif what == "excess":
            self.reply(b"12345and more", length=5)
        elif what == "until-close":
            self.sock.sendall(b"HTTP/1.1 200 OK\r\nX-Origin: 1\r\n\r\nuntil")
            time.sleep(wait)
            self.sock.sendall(b" close")
            return False
        elif what == "close":
            self.reply(b"bye\n", extra="Connection: close\r\n")
            return False
        elif what == "finlater":
            self.reply(b"fin\n")
            time.sleep(wait)
            return False
        else:
            self.reply(b"origin's " + path.encode("latin-1") + b"\n")
        return True

    def run(self):
        try:
            while (head := self.head()) is not None:
                self.count += 1
                if not self.answer(head):
                    break
        except OSError:
            pass
        finally:
            self.sock.close()
            self.log.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--log", required=True)
    parser.add_argument("--mark", type=int, default=0)
    parser.add_argument("--mptcp", action="store_true")
    parser.add_argument("--md5", help="address of a client that signs (RFC 2385)")
    args = parser.parse_args()
    sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, IPPROTO_MPTCP if args.mptcp else 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", args.port))
    if args.md5:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, md5sig("::ffff:" + args.md5))
    sock.listen(256)
    while True:
        conn, peer = sock.accept()
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Connection(conn, peer, args).run, daemon=True).start()


def md5sig(address):
    """struct tcp_md5sig for one peer."""
    key = b"a key of the test"
    if ":" in address:
        where = struct.pack("=HHI16sI", socket.AF_INET6, 0, 0,
                            socket.inet_pton(socket.AF_INET6, address), 0)
    else:
        where = struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(address))
    return struct.pack("=128sBBHI80s", where, 0, 0, len(key), 0, key)


if __name__ == "__main__":
    main()
