# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The splice, S1 to S8: behind TCP's back, and still right when packets are lost."""

import time

import pytest

from kt import packets
from kt.net import wait_for
from kt.packets import ACK, FIN, RST, Flow

HOT = b"<p>hot</p>" * 60
ODD = b"the origin's\n" * 40
LONG = bytes(range(256)) * 40
RTO = 3.0  # an upper bound: 200 ms, doubled until a few losses are mended


@pytest.fixture(params=[False, True], ids=["v4", "v6"])
def v6(request):
    return request.param


def site(env, **nginx):
    env.file("hot.html", HOT)
    env.file("odd.html", ODD)
    env.file("long.bin", LONG)
    env.nginx(**nginx)
    env.pin("hot.html")


def is_hit(env, r):
    assert r.body == HOT
    assert not env.on or not r.from_origin, "the kernel did not answer"


def retransmitted(env):
    return env.server.netstat()["TcpRetransSegs"]


# S1


@pytest.mark.parametrize("hits,v6", [(1, False), (1, True), (2, False), (5, False)])
def test_s1_ack_of_the_get_is_the_kernels_too(env, v6, hits):
    """A miss, then hits whose GETs carry the only ACK of its response (pure ACKs are dropped): the
    kernel learns of it, and never sends that response again into a reply's range."""
    site(env)
    c = env.http(v6)
    drop = env.wire.drop("server", count=0, max_len=0, without="SFR")
    assert c.get("/odd.html").body == ODD
    for _ in range(hits):
        is_hit(env, c.get("/hot.html"))
    time.sleep(0.5)
    assert drop.acted
    if env.on:
        assert retransmitted(env) == 0
    env.wire.off()
    assert c.get("/odd.html").body == ODD
    is_hit(env, c.get("/hot.html"))
    env.flow(c.port).check()


def test_s1_by_hand(env, v6=False):
    """The same with no ACK at all but the GETs' own, segment by segment."""
    site(env)
    c = env.raw(v6=v6).connect()
    assert c.fetch("/odd.html", ack=False).endswith(ODD)
    for _ in range(4):
        c.send(c.get("/hot.html"), "PA")
        assert c.response(ack=False).endswith(HOT)
    again = [p for p in c.collect(0.5) if p.data]
    assert not env.on or not again
    c.send()
    assert c.fetch("/odd.html").endswith(ODD)
    flow = env.flow(c.sport)
    flow.check()
    flow.check_clamp()
    if env.on:
        assert len(flow.replies()) >= 4
        assert retransmitted(env) == 0


def test_s1_burst(env):
    """Many connections at once, pure ACKs lost at random: no old response in a new place."""
    site(env)
    env.wire.drop("server", count=0, max_len=0, without="SFR", chance=0.5, seed=3)
    urls = env.urls([("/odd.html", 200, ODD)] + [("/hot.html", 200, HOT)] * 5 +
                    [("/long.bin", 200, LONG)] + [("/hot.html", 200, HOT)] * 3)
    loads = [env.load(urls, "-q", 200, "-n", "-T", 10000, "-S", env.client4, "-P", 24000 + i)
             for i in range(4)]
    for load in loads:
        load.result()
    pkts = env.wire.packets()
    for i in range(4):
        Flow(pkts, 24000 + i).check()
    assert not env.on or env.hits() > 400


# S2


@pytest.mark.parametrize("lost,v6", [(1, False), (2, True), (3, False)])
def test_s2_lost_reply_after_a_miss(env, v6, lost):
    """A reply of one segment that is lost, once or more, is asked for and comes."""
    site(env)
    c = env.http(v6)
    assert c.get("/odd.html").body == ODD
    drop = env.wire.drop("client", count=lost, min_len=1)
    is_hit(env, c.get("/hot.html"))
    assert drop.acted == lost
    assert c.get("/odd.html").body == ODD
    assert c.get("/hot.html").body == HOT
    flow = env.flow(c.port)
    flow.check()
    flow.check_clamp()
    if env.on:
        assert env.kaccel.stats()["lanes"]["packet"]["resent"] >= lost


def test_s2_lost_reply_on_a_fresh_connection(env, v6=False):
    """The very first exchange is a hit, and its reply is lost."""
    site(env)
    c = env.http(v6)
    drop = env.wire.drop("client", min_len=1)
    is_hit(env, c.get("/hot.html"))
    assert drop.acted == 1
    assert c.get("/odd.html").body == ODD
    env.flow(c.port).check()


def test_s2_lost_reply_before_a_half_close(env, v6=False):
    """GET and FIN are sent, the reply is lost: it comes all the same, then the server's FIN."""
    site(env)
    c = env.http(v6)
    assert c.get("/odd.html").body == ODD
    drop = env.wire.drop("client", min_len=1)
    c.ask("/hot.html")
    drop.wait()
    c.half_close()
    is_hit(env, c.response())
    assert c.at_end()
    env.flow(c.port).check()


def test_s2_half_close_with_the_get(env):
    """GET and FIN leave together, and the answer is lost: it comes, then the server's FIN."""
    site(env)
    c = env.http()
    assert c.get("/odd.html").body == ODD
    env.wire.drop("client", min_len=1)
    c.ask("/hot.html")
    c.half_close()
    assert c.response().body == HOT
    assert c.at_end()
    env.flow(c.port).check()


@pytest.mark.parametrize("behind", ["/odd.html", "/hot.html", "/long.bin"])
def test_s2_lost_reply_with_a_request_behind(env, behind):
    """A second request is sent while the first one's reply is lost: both answers, in order."""
    site(env)
    c = env.http()
    assert c.get("/odd.html").body == ODD
    drop = env.wire.drop("client", min_len=1)
    c.ask("/hot.html")
    drop.wait()
    c.ask(behind)
    is_hit(env, c.response())
    assert c.response().body == {"/odd.html": ODD, "/hot.html": HOT, "/long.bin": LONG}[behind]
    assert c.get("/odd.html").body == ODD
    flow = env.flow(c.port)
    flow.check()
    flow.check_clamp()


def test_s2_keepalive_while_the_reply_is_lost(env):
    """The kernel's keepalive probes acknowledge nothing of a GET whose reply has not arrived."""
    site(env, listen="so_keepalive=1s:1s:9")
    c = env.http()
    assert c.get("/odd.html").body == ODD
    drop = env.wire.drop("client", count=5, min_len=1)
    start = time.monotonic()
    c.ask("/hot.html")
    is_hit(env, c.response(timeout=8))
    assert drop.acted == 5 and time.monotonic() - start > 1.0, "no probe was due"
    assert c.get("/odd.html").body == ODD
    flow = env.flow(c.port)
    flow.check()
    flow.check_clamp()


def test_s2_fin_of_the_kernel_while_the_reply_is_lost(env):
    """The origin closes for idleness while a reply is lost: reply first, then the FIN."""
    site(env, keepalive="1s")
    c = env.http()
    assert c.get("/odd.html").body == ODD
    if not env.on:
        return
    drop = env.wire.drop("client", count=4, prefix=b"HTTP/1.1 200", min_len=1)
    c.ask("/hot.html")
    is_hit(env, c.response(timeout=8))
    assert drop.acted == 4
    assert c.at_end()
    flow = env.flow(c.port)
    flow.check()
    flow.check_clamp()


def test_s2_reply_late_and_doubled(env):
    """A reply that comes late, and again, is one reply."""
    site(env)
    c = env.http()
    assert c.get("/odd.html").body == ODD
    hold = env.wire.rule("hold", "client", min_len=1)
    c.ask("/hot.html")
    hold.wait()
    time.sleep(0.5)
    env.wire.release()
    is_hit(env, c.response())
    assert c.quiet(0.1)
    assert c.get("/odd.html").body == ODD
    env.flow(c.port).check()


# S3


def test_s3_ack_inside_a_reply(env, v6):
    """A partial ACK of a reply does the kernel no harm: no challenge, and all goes on."""
    site(env)
    c = env.raw(v6=v6).connect()
    c.fetch("/odd.html")
    start = c.rcv
    c.send(c.get("/hot.html"), "PA")
    whole = c.response(ack=False)
    for part in (1, len(whole) // 2, len(whole) - 1):
        c.send(ack=start + part)
    assert not [p for p in c.collect(0.05) if p.data], "an ACK is no request for data (S5)"
    c.send()
    assert c.fetch("/odd.html").endswith(ODD)
    assert c.fetch("/hot.html").endswith(HOT)
    assert c.fetch("/long.bin").endswith(LONG)
    env.flow(c.sport).check()
    seen = env.server.netstat()
    assert seen.get("TcpExtTCPChallengeACK", 0) == 0
    assert seen.get("TcpExtTCPSACKReneging", 0) == 0


def test_s3_sack_of_the_origins_bytes(env, v6=False):
    """After a hit the client's SACK blocks mean the right bytes to the kernel: it sends again what
    is missing, once, and nothing else."""
    site(env)
    c = env.raw(v6=v6).connect()
    assert c.fetch("/hot.html").endswith(HOT)
    assert c.fetch("/odd.html").endswith(ODD)
    assert c.fetch("/hot.html").endswith(HOT)
    start = c.rcv
    c.send(c.get("/long.bin"), "PA")
    got = [p for p in c.collect(0.15) if p.data]
    spans = {(packets.diff(p.seq, start), packets.diff(p.end, start)) for p in got}
    assert len(spans) >= 4, "the response is to have several segments"
    spans = sorted(spans)
    first, rest = spans[0], (spans[1][0], spans[-1][1])
    before = retransmitted(env)
    for end in (spans[1][1], spans[2][1], spans[3][1], rest[1]):
        c.send(ack=start + first[0], sack=[(start + rest[0], start + end)])
    again = [p for p in c.collect(0.15) if p.data]
    assert again, "nothing was sent again"
    assert {packets.diff(p.seq, start) for p in again} == {first[0]}
    assert retransmitted(env) == before + len(again)
    c.rcv = (start + rest[1]) & 0xFFFFFFFF
    # DSACK: the first bytes came twice.
    c.send(sack=[(start + first[0], start + first[1])])
    c.collect(0.05)
    seen = env.server.netstat()
    assert seen.get("TcpExtTCPSACKDiscard", 0) == 0 and seen.get("TcpExtTCPChallengeACK", 0) == 0
    assert seen.get("TcpExtTCPDSACKRecv", 0) + seen.get("TcpExtTCPDSACKIgnoredDubious", 0) == 1
    assert c.fetch("/odd.html").endswith(ODD)
    env.flow(c.sport).check()


def test_s3_sack_of_the_clients_bytes(env):
    """The kernel's SACK blocks for the client's bytes are mapped too: a hole in a request that
    follows hits is filled."""
    site(env)
    c = env.raw().connect()
    for _ in range(2):
        c.fetch("/hot.html")
    req = c.get("/odd.html", extra="X-Padding: " + "p" * 100 + "\r\n")
    at = c.snd
    c.send(req[50:], "PA", seq=at + 50)
    p = c.recv(0.5, lambda p: "sack" in p.opts)
    assert p, "no SACK for what came out of order"
    assert p.opts["sack"] == [((at + 50) & 0xFFFFFFFF, (at + len(req)) & 0xFFFFFFFF)]
    assert p.ack == at & 0xFFFFFFFF
    c.send(req[:50], "A", seq=at)
    c.snd = (at + len(req)) & 0xFFFFFFFF
    assert c.response().endswith(ODD)
    env.flow(c.sport).check()


def test_s3_fin_inside_a_reply(env):
    """A FIN whose ACK lies inside the reply reaches the kernel: it closes too."""
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    start = c.rcv
    c.send(c.get("/hot.html"), "PA")
    whole = c.response(ack=False)
    c.send(flags="FA", ack=start + len(whole) // 2)
    c.send()
    fin = c.recv(RTO, lambda p: p.flags & FIN)
    assert fin and fin.seq == c.rcv, "the kernel did not close"
    c.rcv = fin.end
    c.send()
    assert fin.ack == c.snd or c.recv(RTO, lambda p: p.ack == c.snd), "the FIN is not acknowledged"
    flow = env.flow(c.sport)
    flow.check()
    flow.check_clamp()


def test_s3_window_update_reaches_the_kernel(env):
    """A window that was small and opens by a pure ACK lets the origin go on at once."""
    site(env)
    c = env.raw(ws=0, win=2000).connect()
    assert c.fetch("/hot.html").endswith(HOT)
    start = c.rcv
    c.send(c.get("/long.bin"), "PA")
    got = max(packets.diff(p.end, start) for p in c.collect(0.15) if p.data)
    assert 0 < got <= 2000
    c.rcv = (start + got) & 0xFFFFFFFF
    c.send(win=0)
    assert not [p for p in c.collect(0.1) if len(p.data) > 1]
    c.win = 60000
    c.send()
    end = time.monotonic() + RTO
    while packets.diff(c.rcv, start) < len(LONG):
        p = c.recv(end - time.monotonic(), lambda p: p.data and p.seq == c.rcv)
        assert p, "the origin does not go on"
        c.rcv = p.end
        c.send()
    assert c.fetch("/hot.html").endswith(HOT)


# S5


def reply_to(c, seconds=0.3):
    return [p for p in c.collect(seconds) if p.data]


def part_of(p, first):
    """Whether the segment is a part (S8: perhaps a small one) of what the first one said."""
    at = packets.diff(p.seq, first.seq)
    return at >= 0 and first.data[at:at + len(p.data)] == p.data


def test_s5_get_sent_again(env, v6):
    """The GET again, or any piece of it, brings the reply again, byte for byte; and at most one
    reply for each."""
    site(env)
    c = env.raw(v6=v6).connect()
    c.fetch("/odd.html")
    req, at = c.get("/hot.html"), c.snd
    c.send(req, "PA")
    first = c.data()
    assert first.data.endswith(HOT)
    pieces = [(0, len(req)), (0, 10), (len(req) - 1, len(req)), (20, 30)] if env.on else \
        [(0, len(req))]
    for a, b in pieces:
        time.sleep(0.05)
        c.send(req[a:b], "PA", seq=at + a, ack=c.rcv)
        got = reply_to(c)
        if env.on:
            assert 1 <= len(got) <= 2, f"piece {a}:{b} brought {len(got)} segments"
        assert all(part_of(p, first) for p in got), got
    c.rcv = first.end
    c.send()
    assert c.fetch("/odd.html").endswith(ODD)
    env.flow(c.sport).check()


def test_s5_collapsed_with_fin(env):
    """The GET comes again as one segment with a FIN: the reply again, and then the kernel's FIN."""
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    req, at = c.get("/hot.html"), c.snd
    c.send(req, "PA")
    first = c.data()
    time.sleep(0.05)
    c.send(req, "FPA", seq=at, ack=c.rcv)
    got = reply_to(c, 0.1)
    if env.on:
        assert got and all(p.data == first.data for p in got)
    c.snd = (at + len(req) + 1) & 0xFFFFFFFF
    c.rcv = first.end
    time.sleep(0.05)
    c.send(flags="FA", seq=at + len(req), ack=c.rcv)
    c.send()
    fin = c.recv(RTO, lambda p: p.flags & FIN)
    assert fin and fin.ack == c.snd and fin.seq == c.rcv, fin
    flow = env.flow(c.sport)
    flow.check()
    flow.check_clamp()


@pytest.mark.parametrize("second", ["/odd.html", "/hot.html"])
def test_s5_two_gets_collapsed(env, second):
    """Two GETs, the first one's reply lost, come again as one segment: both are answered."""
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    one, two, at = c.get("/hot.html"), c.get(second), c.snd
    c.send(one, "PA")
    first = c.data()
    time.sleep(0.02)
    both = one + two
    c.send(both, "PA", seq=at, ack=c.rcv)
    c.snd = (at + len(both)) & 0xFFFFFFFF
    time.sleep(0.25)
    c.send(both, "PA", seq=at, ack=c.rcv)
    if env.on:
        got = c.data(0.5)
        assert got and part_of(got, first)
    c.rcv = first.end
    c.send()
    rest, end = b"", time.monotonic() + RTO
    while not rest and time.monotonic() < end:
        # what a client would do: send what is not acknowledged
        p = c.recv(0.25, lambda p: p.data and packets.diff(p.end, c.rcv) > 0)
        if p:
            assert p.seq == c.rcv
            rest = p.data
            c.rcv = p.end
            c.send()
        else:
            c.send(two, "PA", seq=at + len(one))
    assert rest.endswith(ODD if second == "/odd.html" else HOT)
    env.flow(c.sport).check()


def test_s5_acks_alone_bring_nothing(env):
    """Duplicate and partial ACKs are no request for the reply."""
    site(env)
    c = env.raw(sack=False).connect()
    c.fetch("/odd.html")
    start = c.rcv
    c.send(c.get("/hot.html"), "PA")
    first = c.data()
    for part in (0, 0, 0, 0, 100, 100, 100, 100):
        c.send(ack=start + part)
    if env.on:
        assert not reply_to(c, 0.15)
    c.rcv = first.end
    c.send()
    assert c.fetch("/odd.html").endswith(ODD)
    env.flow(c.sport).check()


def test_s5_a_storm_of_repeated_gets(env):
    """A hundred copies of one GET at once bring but a few replies."""
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    req, at = c.get("/hot.html"), c.snd
    c.send(req, "PA")
    first = c.data()
    for _ in range(100):
        c.send(req, "PA", seq=at, ack=c.rcv)
    got = reply_to(c)
    assert all(part_of(p, first) for p in got)
    assert len(got) <= 100
    c.rcv = first.end
    c.send()
    assert c.fetch("/odd.html").endswith(ODD)


# S6


def origin_site(env):
    env.origin(attach=False)
    env.attach()
    env.pin("hot.html", HOT)


GET_HOT = b"GET /hot.html HTTP/1.1\r\nHost: example.test\r\n\r\n"
FROM_ORIGIN = b"origin's /hot.html\n"


def test_s6_second_half_of_a_head(env):
    """The second half of a split head looks like a whole GET: it is not one."""
    origin_site(env)
    c = env.http()
    half = b"GET /x HTTP/1.1\r\nHost: example.test\r\nX-Half: "
    c.send(half)
    time.sleep(0.05)
    c.send(GET_HOT)
    assert c.response().body == b"origin's /x\n"
    assert c.quiet(0.15)
    assert env.recorded(c.port) == half + GET_HOT


@pytest.mark.parametrize("length", [len(GET_HOT), len(GET_HOT) * 2, len(GET_HOT) + 500])
def test_s6_body_that_looks_like_a_get(env, length):
    """A POST's body, in a segment of its own, is a whole GET of a pinned object: it is a body."""
    origin_site(env)
    c = env.http()
    head = c.request("/x", "POST", f"Content-Length: {length}\r\n")
    c.send(head)
    time.sleep(0.05)
    body = (GET_HOT * 20)[:length]
    for at in range(0, length, len(GET_HOT)):
        c.send(body[at:at + len(GET_HOT)])
        time.sleep(0.02)
    assert c.response().body == b"origin's /x\n"
    assert c.quiet(0.15)
    assert env.recorded(c.port) == head + body
    r = c.get("/hot.html")
    assert r.body in (HOT, FROM_ORIGIN) if env.on else r.body == FROM_ORIGIN


def test_s6_body_after_an_early_answer(env):
    """The origin refuses a POST before its body has come; the body looks like a GET."""
    origin_site(env)
    c = env.http()
    head = c.request("/early/0", "POST", f"Content-Length: {len(GET_HOT) * 2}\r\n")
    c.send(head)
    assert c.response().status == 413
    time.sleep(0.05)
    c.send(GET_HOT)
    time.sleep(0.05)
    c.send(GET_HOT)
    assert c.quiet(0.15), "a body was answered"
    assert env.recorded(c.port) == head + GET_HOT * 2
    r = c.get("/after")
    assert r.body == b"origin's /after\n"


def test_s6_chunked_body_that_looks_like_a_get(env):
    """The same with a chunked body, whose end is not followed."""
    origin_site(env)
    c = env.http()
    head = c.request("/x", "POST", "Transfer-Encoding: chunked\r\n")
    c.send(head)
    time.sleep(0.03)
    c.send(b"%x\r\n" % len(GET_HOT))
    time.sleep(0.03)
    c.send(GET_HOT)
    time.sleep(0.03)
    assert c.quiet(0.1)
    c.send(b"\r\n0\r\n\r\n")
    assert c.response().body == b"origin's /x\n"
    assert GET_HOT in env.recorded(c.port)


def test_s6_stray_crlf(env):
    """An empty line before a request, in a segment of its own: what follows is not alone."""
    origin_site(env)
    c = env.http()
    c.get("/x")
    c.send(b"\r\n")
    time.sleep(0.05)
    c.send(GET_HOT)
    assert c.response().status == 200
    assert c.quiet(0.15)


@pytest.mark.parametrize("path,method,status", [
    ("/204/0", "GET", 204), ("/304/0", "GET", 304), ("/x", "HEAD", 200),
    ("/informational/50", "GET", 103), ("/chunked/10", "GET", 200), ("/fixed/0", "GET", 200)])
def test_s6_responses_without_the_usual_end(env, path, method, status):
    """204, 304, HEAD, 1xx, chunked: what follows is answered where it belongs, or not at all."""
    origin_site(env)
    c = env.http()
    for _ in range(3):
        r = c.get(path, method=method)
        assert r.status == status
        if status == 103:
            assert c.response().body == b"final\n"
        r = c.get("/hot.html")
        assert r.body in ((HOT, FROM_ORIGIN) if env.on else (FROM_ORIGIN,))
    env.flow(c.port).check()


def test_s6_unsolicited_response(env):
    """The origin says 408 unasked: it comes whole, and the connection is never answered again."""
    origin_site(env)
    c = env.http()
    assert c.get("/unsolicited/100").body == b"asked\n"
    if env.on:
        is_hit(env, c.get("/hot.html"))
    assert c.response().status == 408
    assert c.get("/hot.html").body == FROM_ORIGIN
    if env.on:
        assert env.kaccel.stats()["out_of_play"]["unsolicited"] == 1
    env.flow(c.port).check()


def test_s6_more_than_was_announced(env):
    """The origin sends more than its Content-Length said: nothing is answered behind that."""
    origin_site(env)
    c = env.http()
    c.ask("/excess/0")
    time.sleep(0.05)
    c.ask("/hot.html")
    time.sleep(0.2)
    data = c.sock.recv(65536)
    assert data.count(b"HTTP/1.1 200") == 2
    assert b"12345and moreHTTP/1.1 200" in data, "something came between"
    assert data.endswith(FROM_ORIGIN)


def test_s6_fin_of_the_origin(env):
    """After the origin's FIN nothing is answered."""
    origin_site(env)
    c = env.http()
    assert c.get("/finlater/80").body == b"fin\n"
    if env.on:
        is_hit(env, c.get("/hot.html"))
    time.sleep(0.2)
    with pytest.raises((AssertionError, OSError)):
        c.ask("/hot.html")
        assert c.response()
    flow = env.flow(c.port)
    fin = [i for i, p in enumerate(flow.pkts) if not p.to_server and p.flags & FIN][0]
    assert not [p for p in flow.pkts[fin + 1:] if not p.to_server and p.data]


def test_s6_until_close(env):
    """A response that ends with the connection is never followed by a reply."""
    origin_site(env)
    c = env.http()
    c.ask("/until-close/200")
    time.sleep(0.05)
    c.ask("/hot.html")
    got = b""
    try:
        while data := c.sock.recv(65536):
            got += data
    except ConnectionResetError:
        pass
    assert got.endswith(b"\r\n\r\nuntil close") and got.count(b"HTTP/1.1") == 1


# S7


def connections(env):
    return env.kaccel.stats()["connections"]


def test_s7_reset_ends_the_entry(env):
    """A connection that the client resets is forgotten."""
    site(env)
    cs = [env.http() for _ in range(5)]
    for c in cs:
        is_hit(env, c.get("/hot.html"))
    if env.on:
        assert connections(env) == 5
    for c in cs:
        c.reset()
    if env.on:
        wait_for("no entry left", lambda: connections(env) == 0)


def test_s7_client_closes_first(env, v6):
    """The client closes: the server's FIN and the last ACK pass translated, and the entry goes."""
    site(env)
    c = env.raw(v6=v6).connect()
    c.fetch("/hot.html")
    c.send(flags="FA")
    fin = c.recv(RTO, lambda p: p.flags & FIN)
    assert fin and fin.ack == c.snd and fin.seq == c.rcv
    c.rcv = fin.end
    c.send()
    assert not c.recv(0.4, lambda p: p.flags & FIN), "the last ACK did not reach the kernel"
    env.flow(c.sport).check()
    if env.on:
        wait_for("no entry left", lambda: connections(env) == 0)


def test_s7_server_closes_first(env):
    """The origin closes, is in FIN_WAIT2, then TIME_WAIT: the client's FIN is acknowledged in the
    client's numbers, also when it is sent again."""
    site(env, keepalive="1s")
    c = env.raw().connect()
    c.fetch("/odd.html")
    c.fetch("/hot.html")
    fin = c.recv(4, lambda p: p.flags & FIN)
    assert fin and fin.seq == c.rcv and fin.ack == c.snd
    c.rcv = fin.end
    c.send()
    time.sleep(0.1)
    at = c.snd
    c.send(flags="FA")
    got = c.recv(1, lambda p: not p.flags & RST)
    assert got and got.ack == c.snd and got.seq == c.rcv, got
    c.send(flags="FA", seq=at)
    got = c.recv(1)
    assert got and not got.flags & RST and got.ack == c.snd and got.seq == c.rcv, got
    env.flow(c.sport).check()


@pytest.mark.parametrize("first", ["client", "server"])
def test_s7_port_reuse(env, first):
    """The tuple is established anew, out of TIME_WAIT too: nothing of the old numbers is left."""
    site(env, keepalive="1s" if first == "server" else "75s")
    c = env.raw().connect()
    for _ in range(3):
        c.fetch("/hot.html")
    c.fetch("/odd.html")
    if first == "server":
        fin = c.recv(4, lambda p: p.flags & FIN)
        assert fin
        c.rcv = fin.end
        c.send()
        c.send(flags="FA")
    else:
        c.send(flags="FA")
        fin = c.recv(RTO, lambda p: p.flags & FIN)
        assert fin
        c.rcv = fin.end
        c.send()
    time.sleep(0.1)
    again = env.raw(sport=c.sport)
    again.isn = again.snd = (c.snd + 5000000) & 0xFFFFFFFF
    again.ts_base, again.ts_start, again.ts_skew = c.ts_base, c.ts_start, 1000
    again.connect()
    assert again.fetch("/odd.html").endswith(ODD)
    assert again.fetch("/hot.html").endswith(HOT)
    assert again.fetch("/long.bin").endswith(LONG)
    before = env.hits()
    assert again.fetch("/hot.html").endswith(HOT)
    assert not env.on or env.hits() == before + 1
    env.flow(c.sport).check()


def test_s7_syn_in_an_established_connection(env):
    """A SYN for a live connection (RFC 5961) is challenged in the client's numbers, and the
    connection goes on."""
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    c.fetch("/hot.html")
    c.send(flags="S", seq=c.snd + 77)
    p = c.recv(1)
    assert p and p.flags == ACK and p.ack == c.snd and p.seq == c.rcv, p
    assert c.fetch("/hot.html").endswith(HOT)
    assert c.fetch("/odd.html").endswith(ODD)
    env.flow(c.sport).check()


def test_s7_reset_in_the_clients_numbers(env):
    """An exact RST is taken by the kernel, one elsewhere in the window is challenged (RFC 5961)."""
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    c.fetch("/hot.html")
    c.send(flags="R", seq=c.snd + 100)
    p = c.recv(1)
    assert p and p.flags == ACK and p.ack == c.snd, p
    assert c.fetch("/odd.html").endswith(ODD)
    c.send(flags="R", seq=c.snd)
    time.sleep(0.1)
    c.send(c.get("/hot.html"), "PA")
    p = c.recv(1)
    assert p and p.flags & RST, "the connection is still there"


def test_s7_full_table_leaves_connections_alone(env):
    """When the table is full a connection is not enrolled, and nothing is evicted."""
    env.file("hot.html", HOT)
    env.file("odd.html", ODD)
    env.nginx(attach=False)
    env.attach(connections=16)
    env.pin("hot.html")
    cs = [env.http() for _ in range(40)]
    for _ in range(3):
        for c in cs:
            assert c.get("/hot.html").body == HOT
            assert c.get("/odd.html").body == ODD
    if env.on:
        stats = env.kaccel.stats()
        assert stats["lanes"]["packet"]["full"] >= 40 - 16 - 8
        assert stats["connections"] <= 40
        assert stats["hits"] > 0


# S8


def too_big(env, c, p, mtu):
    host = env.raw6 if c.src == env.raw6 else env.raw4
    c.send_frame(packets.icmp_too_big(host, c.dst, p.frame, mtu))


def test_s8_icmp_quotes_the_wires_numbers(env, v6):
    """After hits, an ICMP error that quotes what was on the wire is taken by the kernel: the path's
    MTU is learnt, and what was too big is sent again in smaller segments."""
    site(env)
    c = env.raw(v6=v6).connect()
    for _ in range(3):
        assert c.fetch("/hot.html").endswith(HOT)
    assert c.fetch("/odd.html").endswith(ODD)
    assert c.fetch("/hot.html").endswith(HOT)
    c.send(c.get("/long.bin"), "PA")
    big = c.data()
    c.collect(0.05)
    assert len(big.frame) - 14 > 1400
    # a wrong one first: the kernel must not take it, which shows that the count is of use
    wrong = c.frame(b"x" * 100, seq=1)
    assert env.server.netstat().get("TcpExtOutOfWindowIcmps", 0) == 0
    too_big(env, c, big, 1300)
    again = c.recv(RTO, lambda p: p.data and p.seq == big.seq)
    assert again and len(again.frame) - 14 <= 1300, again
    assert env.server.netstat().get("TcpExtOutOfWindowIcmps", 0) == 0
    host = env.raw6 if v6 else env.raw4
    assert "mtu 1300" in env.server.run("ip", "route", "get", host).stdout
    bad = packets.parse(wrong)
    frame = bytearray(big.frame)
    at = 14 + (40 if v6 else 20) + 4
    frame[at:at + 4] = ((big.seq - 90000000) & 0xFFFFFFFF).to_bytes(4, "big")
    bad.frame = bytes(frame)
    too_big(env, c, bad, 1290)
    time.sleep(0.05)
    assert env.server.netstat().get("TcpExtOutOfWindowIcmps", 0) == 1


def test_s8_small_segments_after_two_timeouts(env, v6):
    """A reply that never arrives in one piece, as behind a path that drops large packets silently,
    comes in small ones after two timeouts."""
    site(env)
    c = env.http(v6)
    big = b"B" * 1100 if not v6 else b"B" * 1000
    env.pin("big.html", big)
    env.file("big.html", big)
    if not env.on:
        assert c.get("/big.html").body == big
        return
    assert c.get("/odd.html").body == ODD
    limit = 1200 if v6 else 536
    env.wire.drop("client", count=0, min_len=limit + 24)
    r = c.get("/big.html", timeout=8)
    assert r.body == big
    env.wire.off()
    assert c.get("/odd.html").body == ODD
    env.flow(c.port).check()


def test_s8_icmp_about_a_reply(env):
    """An ICMP error that quotes one of our replies does no harm."""
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    c.send(c.get("/hot.html"), "PA")
    p = c.data()
    too_big(env, c, p, 600)
    time.sleep(0.05)
    c.rcv = p.end
    c.send()
    assert c.fetch("/odd.html").endswith(ODD)
    assert c.fetch("/hot.html").endswith(HOT)
    env.flow(c.sport).check()
