# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""P8: when in doubt, pass. A table of unusual and malformed requests, each sent to nginx and to a
recording origin, with kaccel and without: what the client gets and what the origin receives must be
the same, byte for byte. The pinned object's body is not the origin's, so an answer out of turn
shows."""

import re
import select
import socket
import time

import pytest

HOT = b"pinned: this must not be seen where the request is not plain\n"
FILE = b"the file that nginx has\n"
GET = b"GET /hot.html HTTP/1.1\r\nHost: example.test\r\n\r\n"


def get(headers=b"", line=b"GET /hot.html HTTP/1.1", host=b"Host: example.test\r\n"):
    return line + b"\r\n" + host + headers + b"\r\n"


# Each must reach the origin byte for byte. A case is one send, or several with a pause between.
PASS = {
    # lines and spaces
    "bare-lf": b"GET /hot.html HTTP/1.1\nHost: example.test\n\n",
    "bare-lf-at-end": b"GET /hot.html HTTP/1.1\r\nHost: example.test\r\n\n",
    "bare-lf-after-line": b"GET /hot.html HTTP/1.1\nHost: example.test\r\n\r\n",
    "bare-lf-in-headers": get(b"X-A: 1\nX-B: 2\r\n"),
    "bare-cr-in-value": get(b"X-A: 1\rX-B: 2\r\n"),
    "bare-cr-in-line": b"GET /hot.html HTTP/1.1\rHost: example.test\r\n\r\n",
    "crcrlf": b"GET /hot.html HTTP/1.1\r\r\nHost: example.test\r\n\r\n",
    "leading-crlf": b"\r\n" + GET,
    "leading-crlf-twice": b"\r\n\r\n" + GET,
    "leading-lf": b"\n" + GET,
    "leading-space": b" " + GET,
    "two-spaces": get(line=b"GET  /hot.html HTTP/1.1"),
    "two-spaces-before-version": get(line=b"GET /hot.html  HTTP/1.1"),
    "tab-for-space": get(line=b"GET\t/hot.html HTTP/1.1"),
    "space-at-line-end": get(line=b"GET /hot.html HTTP/1.1 "),
    "obs-fold": get(b"X-A: 1\r\n 2\r\n"),
    "obs-fold-tab": get(b"X-A: 1\r\n\t2\r\n"),
    "obs-fold-host": b"GET /hot.html HTTP/1.1\r\nHost:\r\n example.test\r\n\r\n",
    "obs-fold-first": b"GET /hot.html HTTP/1.1\r\n X: y\r\nHost: example.test\r\n\r\n",
    "space-before-colon": get(b"X-A : 1\r\n"),
    "tab-before-colon": get(b"X-A\t: 1\r\n"),
    "space-before-hosts-colon": get(host=b"Host : example.test\r\n"),
    "no-colon": get(b"X-A\r\n"),
    "empty-name": get(b": value\r\n"),
    "nul-in-value": get(b"X-A: a\0b\r\n"),
    "nul-in-name": get(b"X\0A: ab\r\n"),
    "nul-in-target": get(line=b"GET /hot.html\0 HTTP/1.1"),
    "control-in-value": get(b"X-A: a\x01b\r\n"),
    "delete-in-value": get(b"X-A: a\x7fb\r\n"),
    "high-bytes-in-name": get(b"X-\xc3\xa9: 1\r\n"),
    "parens-in-name": get(b"X(A): 1\r\n"),
    # methods, versions, targets
    "lower-case-method": get(line=b"get /hot.html HTTP/1.1"),
    "head": get(line=b"HEAD /hot.html HTTP/1.1"),
    "options": get(line=b"OPTIONS /hot.html HTTP/1.1"),
    "options-star": get(line=b"OPTIONS * HTTP/1.1"),
    "delete": get(line=b"DELETE /hot.html HTTP/1.1"),
    "trace": get(line=b"TRACE /hot.html HTTP/1.1"),
    "connect": get(line=b"CONNECT example.test:80 HTTP/1.1"),
    "unknown-method": get(line=b"FROB /hot.html HTTP/1.1"),
    "get-with-suffix": get(line=b"GETX /hot.html HTTP/1.1"),
    "http-1.0": b"GET /hot.html HTTP/1.0\r\n\r\n",
    "http-1.0-host": get(line=b"GET /hot.html HTTP/1.0"),
    "http-1.0-keep-alive": get(b"Connection: keep-alive\r\n", b"GET /hot.html HTTP/1.0"),
    "http-0.9": b"GET /hot.html\r\n",
    "http-1.2": get(line=b"GET /hot.html HTTP/1.2"),
    "http-2.0": get(line=b"GET /hot.html HTTP/2.0"),
    "http-1.10": get(line=b"GET /hot.html HTTP/1.10"),
    "http-01.1": get(line=b"GET /hot.html HTTP/01.1"),
    "lower-case-http": get(line=b"GET /hot.html http/1.1"),
    "absolute-form": get(line=b"GET http://example.test/hot.html HTTP/1.1"),
    "absolute-form-other-host": get(line=b"GET http://other.test/hot.html HTTP/1.1"),
    "no-slash": get(line=b"GET hot.html HTTP/1.1"),
    "fragment": get(line=b"GET /hot.html#part HTTP/1.1"),
    "space-in-target": get(line=b"GET /hot .html HTTP/1.1"),
    "tab-in-target": get(line=b"GET /hot\t.html HTTP/1.1"),
    "empty-target": get(line=b"GET HTTP/1.1"),
    "h2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls-hello": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n",
    "rubbish": b"\xff\xfe\xfd\xfc\r\n\r\n",
    # Host
    "no-host": get(host=b""),
    "two-hosts": get(b"Host: example.test\r\n"),
    "two-hosts-that-differ": get(b"Host: other.test\r\n"),
    "empty-host": get(host=b"Host:\r\n"),
    "host-with-path": get(host=b"Host: example.test/x\r\n"),
    "host-with-user": get(host=b"Host: user@example.test\r\n"),
    "host-with-space": get(host=b"Host: example test\r\n"),
    "host-list": get(host=b"Host: example.test, other.test\r\n"),
    # bodies
    "content-length-0": get(b"Content-Length: 0\r\n"),
    "content-length-5": get(b"Content-Length: 5\r\n") + b"hello",
    "content-length-negative": get(b"Content-Length: -1\r\n"),
    "content-length-plus": get(b"Content-Length: +5\r\n") + b"hello",
    "content-length-twice": get(b"Content-Length: 5\r\nContent-Length: 5\r\n") + b"hello",
    "content-length-two-values": get(b"Content-Length: 5, 5\r\n") + b"hello",
    "content-length-differs": get(b"Content-Length: 5\r\nContent-Length: 6\r\n") + b"hello!",
    "content-length-hex": get(b"Content-Length: 0x5\r\n") + b"hello",
    "content-length-huge": get(b"Content-Length: 99999999999999999999\r\n"),
    "te-chunked-get": get(b"Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n0\r\n\r\n",
    "te-identity": get(b"Transfer-Encoding: identity\r\n"),
    "te-obfuscated": get(b"Transfer-Encoding: xchunked\r\n"),
    "te-tab": get(b"Transfer-Encoding:\tchunked\r\n") + b"0\r\n\r\n",
    "te-and-cl": get(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + b"0\r\n\r\n",
    "cl-and-te": get(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
    "post": get(b"Content-Length: 3\r\n", b"POST /hot.html HTTP/1.1") + b"abc",
    "post-chunked": get(b"Transfer-Encoding: chunked\r\n", b"POST /hot.html HTTP/1.1") +
    b"3\r\nabc\r\n0\r\n\r\n",
    "put": get(b"Content-Length: 3\r\n", b"PUT /hot.html HTTP/1.1") + b"abc",
    "smuggled-get-in-body": get(b"Content-Length: %d\r\n" % len(GET), b"POST /x HTTP/1.1") + GET,
    "get-body-get": [get(b"Content-Length: %d\r\n" % len(GET)), GET],
    # headers that change something, or might
    "range": get(b"Range: bytes=0-3\r\n"),
    "if-none-match": get(b'If-None-Match: "x"\r\n'),
    "if-none-match-star": get(b"If-None-Match: *\r\n"),
    "if-modified-since": get(b"If-Modified-Since: Sun, 06 Nov 2044 08:49:37 GMT\r\n"),
    "if-match": get(b'If-Match: "x"\r\n'),
    "if-unmodified-since": get(b"If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
    "if-range": get(b'If-Range: "x"\r\nRange: bytes=0-3\r\n'),
    "cache-control-no-cache": get(b"Cache-Control: no-cache\r\n"),
    "cache-control-no-store": get(b"Cache-Control: no-store\r\n"),
    "pragma": get(b"Pragma: no-cache\r\n"),
    "authorization": get(b"Authorization: Basic dTpw\r\n"),
    "proxy-authorization": get(b"Proxy-Authorization: Basic dTpw\r\n"),
    "expect": [get(b"Expect: 100-continue\r\nContent-Length: 3\r\n", b"POST /x HTTP/1.1"), b"abc"],
    "expect-on-get": get(b"Expect: 100-continue\r\n"),
    "upgrade": get(b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "upgrade-h2c": get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                       b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
    "connection-close": get(b"Connection: close\r\n"),
    "connection-close-mixed-case": get(b"connection: ClOsE\r\n"),
    "connection-list": get(b"Connection: keep-alive, close\r\n"),
    "connection-names-host": get(b"Connection: host\r\n"),
    "x-http-method-override": get(b"X-HTTP-Method-Override: DELETE\r\n"),
    "x-unknown": get(b"X-Unknown-To-Anyone: 1\r\n"),
    "trailer": get(b"Trailer: X\r\n"),
    "accept-encoding-weights": get(b"Accept-Encoding: gzip;q=0, identity;q=0.5\r\n"),
    # sizes
    "head-of-8-kb": get(b"X-Long: " + b"l" * 8000 + b"\r\n"),
    "head-of-3-kb": get(b"X-Long: " + b"l" * 3000 + b"\r\n"),
    "target-of-4-kb": get(line=b"GET /hot.html?" + b"q" * 4000 + b" HTTP/1.1"),
    "hundred-headers": get(b"".join(b"X-%d: v\r\n" % i for i in range(100))),
    "long-host": get(host=b"Host: " + b"h" * 300 + b".test\r\n"),
    # segments and pipelines
    "two-gets-in-one": GET + GET,
    "get-and-a-half": [GET + GET[:20], GET[20:]],
    "get-then-rubbish": GET + b"rubbish\r\n\r\n",
    "get-with-a-byte-too-many": [GET + b"G", GET[1:]],
    "get-with-crlf-behind": GET + b"\r\n",
    "half-then-get": [b"GET /x HTTP/1.1\r\nX-A: ", GET],
    "three-parts": [GET[:10], GET[10:30], GET[30:]],
    "crlf-then-get": [b"\r\n", GET],
    "slow-first-byte": [GET[:1], GET[1:]],
    "last-lf-alone": [GET[:-1], GET[-1:]],
    "last-crlf-alone": [GET[:-2], GET[-2:]],
    "get-in-a-put": [get(b"Content-Length: %d\r\n" % (2 * len(GET)), b"PUT /x HTTP/1.1") + GET,
                     GET],
    "never-ended": b"GET /hot.html HTTP/1.1\r\nHost: example.test\r\nX-A: 1",
}

# Plain enough that the kernel may answer: the client must get a good answer, whoever gives it.
PLAIN = {
    "plain": GET,
    "lower-case-names": GET.replace(b"Host", b"host"),
    "upper-case-names": GET.replace(b"Host", b"HOST"),
    "no-space-after-colon": GET.replace(b": ", b":"),
    "spaces-around-value": GET.replace(b": example.test", b":   example.test  "),
    "tab-before-value": GET.replace(b": ", b":\t"),
    "upper-case-host": GET.replace(b"example", b"EXAMPLE"),
    "host-with-port": GET.replace(b"example.test", b"example.test:8080"),
    "ipv4-host": GET.replace(b"example.test", b"10.77.0.2"),
    "ipv6-host": GET.replace(b"example.test", b"[fd77::2]:8080"),
    "host-last": b"GET /hot.html HTTP/1.1\r\nAccept: */*\r\nHost: example.test\r\n\r\n",
    "curl": get(b"User-Agent: curl/7.88.1\r\nAccept: */*\r\n"),
    "keep-alive": get(b"Connection: keep-alive\r\n"),
    "browser": get(
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
        b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
        b"Connection: keep-alive\r\nReferer: http://example.test/\r\n"),
    "empty-value": get(b"Accept:\r\n"),
}

DATE = re.compile(rb"Date: [^\r]*\r\n")


class Talk:
    """One case on one connection, driven in step with all the others."""

    def __init__(self, env, parts):
        self.parts = [parts] if isinstance(parts, bytes) else list(parts)
        self.got, self.done, self.enough = b"", False, 0
        with env.client.enter():
            self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect((env.server4, 8080))
        self.port = self.sock.getsockname()[1]
        env.closers.append(self.sock.close)

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            self.done = True

    def pump(self):
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        self.got += data
        if not data:
            self.done = True


def pump_all(talks, quiet, enough=lambda talk: False):
    """Receive on all connections until each has enough, or nothing comes for @quiet seconds."""
    last = time.monotonic()
    while time.monotonic() - last < quiet:
        live = {t.sock: t for t in talks if not t.done}
        if all(map(enough, live.values())):
            return
        for s in select.select(list(live), [], [], quiet / 4)[0]:
            live[s].pump()
            last = time.monotonic()


def whole_response(talk):
    head, sep, body = talk.got.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    return bool(sep and length and len(body) >= int(length[1]))


def converse(env, cases, warm, expected=None):
    """Every case on a connection of its own: {name: (what the client got, client's port, whether
    the server closed)}. Waits for as much as was @expected, and then for what should not come."""
    talks = {name: Talk(env, parts) for name, parts in cases.items()}
    for request in warm:
        for t in talks.values():
            t.got = b""
            t.send(request)
        pump_all(talks.values(), 5, whole_response)
        assert all(map(whole_response, talks.values())), "no answer while warming up"
    for name, t in talks.items():
        t.got = b""
        t.enough = len(expected[name][0]) if expected else 1 << 30
    step = 0
    while any(len(t.parts) > step for t in talks.values()):
        for t in talks.values():
            if len(t.parts) > step:
                t.send(t.parts[step])
        step += 1
        time.sleep(0.04)
    if expected:
        pump_all(talks.values(), 3, lambda t: len(t.got) >= t.enough)
    pump_all(talks.values(), 0.25 if expected else 0.8)
    return {name: (t.got, t.port, t.done) for name, t in talks.items()}


MISS = b"GET /miss.html HTTP/1.1\r\nHost: example.test\r\n\r\n"
WARM = {"cold": (), "after-a-hit": (GET,), "after-a-miss": (MISS,), "after-both": (MISS, GET, GET)}


def origin_of(env, origin):
    env.file("hot.html", FILE)
    env.file("miss.html", b"miss")
    if origin == "nginx":
        env.nginx(attach=False)
    else:
        env.origin(attach=False)


@pytest.mark.parametrize("warm", WARM)
@pytest.mark.parametrize("origin", ["nginx", "recorder"])
def test_p8_passed_byte_for_byte(kenv, origin, warm):
    """Each unusual request reaches the origin as it was sent, and its answer the client."""
    env = kenv(offload=True)
    origin_of(env, origin)
    assert len(PASS) >= 80
    plain = converse(env, PASS, WARM[warm])
    env.attach()
    env.pin("hot.html", HOT)
    ours = converse(env, PASS, WARM[warm], plain)
    wrong = []
    for name, parts in PASS.items():
        without, with_ = (DATE.sub(b"", r[name][0]) for r in (plain, ours))
        if origin == "recorder":  # says the number of the request on its connection
            without, with_ = (re.sub(rb"X-Origin: \d+", b"X-Origin:", x) for x in (without, with_))
        if without != with_:
            wrong.append(f"{name}: the client got {with_[:300]!r}, without kaccel "
                         f"{without[:300]!r}")
        if plain[name][2] != ours[name][2]:
            wrong.append(f"{name}: closed {ours[name][2]}, without kaccel {plain[name][2]}")
        if origin == "recorder":
            sent = parts if isinstance(parts, bytes) else b"".join(parts)
            for lane, result in (("without", plain), ("with", ours)):
                received = env.recorded(result[name][1])
                if not received.endswith(sent):
                    wrong.append(f"{name}: the origin received {received[-300:]!r} {lane} kaccel")
    assert not wrong, f"{len(wrong)} cases, of them " + "\n".join(wrong[:8])
    if warm in ("after-a-hit", "after-both"):
        assert env.hits() >= len(PASS), "the connections were not warm"
    else:
        assert env.hits() == 0


@pytest.mark.parametrize("warm", ["cold", "after-both"])
def test_p8_plain_requests_get_a_good_answer(kenv, warm):
    """Requests that are unusual but plain get the object, and nearly all from the kernel."""
    env = kenv(offload=True)
    origin_of(env, "nginx")
    env.attach()
    env.pin("hot.html", HOT)
    before = env.hits()
    got = converse(env, PLAIN, WARM[warm])
    warmth = len(PLAIN) * WARM[warm].count(GET)
    for name, (data, _, closed) in got.items():
        assert data.startswith(b"HTTP/1.1 200 OK\r\n") and not closed, f"{name}: {data!r}"
        assert data.endswith(FILE if b"X-Origin" in data else HOT), f"{name}: {data!r}"
    assert env.hits() - before - warmth >= len(PLAIN) * 2 // 3


@pytest.mark.parametrize("warm", ["cold", "after-both"])
def test_p8_split_at_every_offset(kenv, warm):
    """A request split in two at any byte reaches the origin whole."""
    env = kenv(offload=True)
    origin_of(env, "recorder")
    env.attach()
    env.pin("hot.html", HOT)
    cases = {f"split at {at}": [GET[:at], GET[at:]] for at in range(1, len(GET))}
    hits = env.hits()
    for name, (data, port, closed) in converse(env, cases, WARM[warm]).items():
        assert data.count(b"HTTP/1.1 200") == 1 and data.endswith(b"origin's /hot.html\n"), name
        assert env.recorded(port).endswith(GET) and not closed, name
    assert env.hits() - hits == len(cases) * WARM[warm].count(GET)


def test_p8_one_byte_at_a_time(env):
    """Requests sent byte by byte are the origin's, and whole ones after them right."""
    env.file("hot.html", FILE)
    env.nginx()
    env.pin("hot.html")
    c = env.http()
    for _ in range(2):
        for i in range(len(GET)):
            c.send(GET[i:i + 1])
            time.sleep(0.001)
        assert c.response().body == FILE
        assert c.get("/hot.html").body == FILE
    env.flow(c.port).check()
