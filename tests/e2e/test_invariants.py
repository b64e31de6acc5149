# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""P1 to P7: what must always hold of the packet lane. (P8 has a file of its own.)"""

import os
import random
import signal
import time

import pytest

from kt import packets
from kt.net import wait_for
from kt.packets import RST, Flow

HOT = b"<p>hot</p>" * 60
ODD = b"the origin's\n" * 40


def site(env, **nginx):
    env.file("hot.html", HOT)
    env.file("odd.html", ODD)
    env.nginx(**nginx)
    env.pin("hot.html")


def payload(c, seconds=0.15):
    return [p for p in c.collect(seconds) if p.data]


# P1


def test_p1_unknown_tuple(env):
    """A GET out of nowhere brings a RST of the kernel's, and not one byte."""
    site(env)
    for v6 in (False, True):
        c = env.raw(v6=v6)
        c.rcv = random.getrandbits(32)
        c.send(c.get("/hot.html"), "PA")
        got = c.collect(0.15)
        assert got and all(p.flags & RST and not p.data for p in got), got


def test_p1_half_open(env):
    """A GET to a connection whose handshake is not over (the cookie is guessed) is not answered."""
    site(env)
    c = env.raw()
    c.send(flags="S", options=b"\2\4\5\xb4")
    c.recv(1, lambda p: p.flags & packets.SYN)
    c.rcv = random.getrandbits(32)
    c.use_ts = False
    c.send(c.get("/hot.html"), "PA")
    assert not payload(c)


def test_p1_wrong_sequence(env):
    """A GET that is not at the next expected byte is not answered; far from it, it does not matter
    to what comes after."""
    site(env)
    for off in (1, 100, 3000, 1 << 20, 1 << 31, -3000):
        c = env.raw().connect()
        assert c.fetch("/odd.html").endswith(ODD)
        assert c.fetch("/hot.html").endswith(HOT)
        before = env.hits()
        c.send(c.get("/hot.html"), "PA", seq=c.snd + off)
        assert not payload(c), off
        assert env.hits() == before
        if abs(off) > 4000 or off < 0:
            assert c.fetch("/odd.html").endswith(ODD), off
        env.flow(c.sport).check_headers()


def test_p1_wrong_ack(env):
    """A GET that acknowledges what was never sent (or is absurdly old) is not answered."""
    site(env)
    for off in (1, 5000, 1 << 30, -(1 << 30)):
        c = env.raw().connect()
        assert c.fetch("/odd.html").endswith(ODD)
        assert c.fetch("/hot.html").endswith(HOT)
        before = env.hits()
        c.send(c.get("/hot.html"), "PA", seq=c.snd, ack=c.rcv + off)
        assert not payload(c), off
        assert env.hits() == before
        assert c.fetch("/hot.html").endswith(HOT), off


def test_p1_ack_does_not_cover_all(env):
    """A GET that leaves some of the origin's response unacknowledged goes to the origin."""
    site(env)
    c = env.raw().connect()
    start = c.rcv
    assert c.fetch("/odd.html", ack=False).endswith(ODD)
    before = env.hits()
    c.send(c.get("/hot.html"), "PA", ack=start + 10)
    got = c.response(ack=False)
    assert got.endswith(HOT) and b"X-Origin" in got
    assert env.hits() == before


def test_p1_other_port_and_cgroup(env):
    """Another port of the same server, and a server outside of the cgroup, are left alone."""
    env.file("hot.html", HOT)
    env.nginx(attach=False)
    env.nginx(port=8081, attach=False)
    env.attach(port=8080)
    env.pin("hot.html")
    c = env.http(port=8081)
    for _ in range(3):
        r = c.get("/hot.html")
        assert r.body == HOT and r.from_origin
    assert not env.on or env.kaccel.stats()["connections"] == 0
    c = env.http()
    assert c.get("/hot.html").from_origin != env.on


def test_p1_other_cgroup(kenv):
    """A server that is not in the attached cgroup is left alone, on the same port."""
    env = kenv()
    env.file("hot.html", HOT)
    inner = os.path.join(env.cgroup, "inner")
    os.mkdir(inner)
    env.nginx(attach=False)
    env.kaccel.attach(8080, "s0,lo", cgroup=inner, memory="8M")
    env.pin("hot.html")
    c = env.http()
    for _ in range(3):
        assert c.get("/hot.html").from_origin
    assert env.kaccel.stats()["connections"] == 0


def test_p1_connections_from_before(env):
    """Connections that were open before the attach go on, whatever was outstanding on them."""
    env.file("hot.html", HOT)
    env.file("odd.html", ODD)
    env.file("big.bin", bytes(40000))
    env.nginx(attach=False)
    idle, used, busy = env.http(), env.http(), env.http()
    assert used.get("/odd.html").body == ODD
    busy.ask("/limited/big.bin")
    env.attach()
    env.pin("hot.html")
    for _ in range(3):
        for c in (idle, used):
            assert c.get("/hot.html").body == HOT
            assert c.get("/odd.html").body == ODD
    busy.ask("/hot.html")
    assert busy.response().body == bytes(40000)
    assert busy.response().body == HOT
    for c in (idle, used, busy):
        env.flow(c.port).check()


# P2


@pytest.mark.parametrize("slow,body", [
    ("/sleep/200", b"slept\n"), ("/pause/200", b"first half, second half"),
    ("/chunked/200", b"first,second\n"), ("/splithead/200", b"split"),
    ("/fixed/30000", b"o" * 30000)], ids=["sleep", "pause", "chunked", "splithead", "long"])
def test_p2_nothing_in_the_middle_of_a_response(env, slow, body):
    """A pinned object asked for while the origin's response is under way comes behind it."""
    env.origin(attach=False)
    env.attach()
    env.pin("hot.html", HOT)
    for when in (0, 0.02, 0.1):
        c = env.http()
        if env.on:
            assert c.get("/hot.html").body == HOT
        c.ask(slow)
        time.sleep(when)
        c.ask("/hot.html")
        assert c.response().body == body
        r = c.response()
        assert r.body in (HOT, b"origin's /hot.html\n")
        if slow != "/fixed/30000":
            assert r.from_origin, "answered while a response was outstanding"
        assert c.quiet(0.05)
        env.flow(c.port).check()


@pytest.mark.parametrize("nodelay", [True, False], ids=["nodelay", "nagle"])
def test_p2_pipelined_in_order(env, nodelay):
    """Miss and hit in one segment, or in two at once: the answers come in order."""
    site(env)
    c = env.http(nodelay=nodelay)
    for _ in range(5):
        c.send(c.request("/odd.html") + c.request("/hot.html"))
        assert c.response().body == ODD
        assert c.response().body == HOT
        c.send(c.request("/hot.html") + c.request("/odd.html"))
        assert c.response().body == HOT
        assert c.response().body == ODD
        c.ask("/odd.html")
        c.ask("/hot.html")
        c.ask("/hot.html")
        assert c.response().body == ODD
        assert c.response().body == HOT
        assert c.response().body == HOT
    env.flow(c.port).check()


def test_p2_unacknowledged_response(env):
    """While the origin's response is partly lost, a hit behind it waits for its turn."""
    env.file("long.bin", bytes(range(256)) * 60)
    site(env)
    c = env.http()
    drop = env.wire.drop("client", min_len=1, skip=2)
    c.ask("/long.bin")
    drop.wait()
    c.ask("/hot.html")
    assert c.response().body == bytes(range(256)) * 60
    assert c.response().body == HOT
    env.flow(c.port).check()


# P3


@pytest.mark.parametrize("change,v6", [("replace", False), ("unpin", False),
                                       ("replace twice", False), ("replace", True)])
def test_p3_object_changes_under_a_lost_reply(env, change, v6):
    """The reply is lost and its object replaced or unpinned meanwhile: the client gets the old
    bytes whole, or a reset, and no sequence number two contents."""
    site(env)
    c = env.http(v6)
    assert c.get("/odd.html").body == ODD
    drop = env.wire.drop("client", count=2, min_len=1)
    c.ask("/hot.html")
    drop.wait()
    new = b"NEW" * 200
    if env.on:
        if change == "unpin":
            env.kaccel("unpin", "http://*/hot.html")
        else:
            env.pin("hot.html", new)
            if change == "replace twice":
                env.pin("hot.html", new + b"er")
    try:
        assert c.response().body == HOT
    except ConnectionResetError:
        assert env.on
        c = env.http(v6)
    r = c.get("/hot.html")
    assert r.body in (HOT, new, new + b"er") if env.on else r.body == HOT
    for port in {p.client_port for p in env.wire.packets()}:
        env.flow(port).check()


def test_p3_raw_retransmission_is_identical(env):
    """Seen by hand: what is sent again, after the object was replaced and the second has changed,
    is byte for byte what was sent at first, its Date too."""
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    req, at = c.get("/hot.html"), c.snd
    c.send(req, "PA")
    first = c.data()
    if env.on:
        env.pin("hot.html", b"NEW" * 200)
    time.sleep(1.1)
    c.send(req, "PA", seq=at)
    p = c.recv(0.5)
    assert p
    if env.on:
        assert p.flags & RST or p.data and first.data.startswith(p.data), p
    flow = env.flow(c.sport)
    flow.stream()


# P4


def test_p4_hammer(make_env):
    """16 connections, hits and misses mixed, while objects are pinned, replaced and unpinned: every
    body is one that was there, every answer is to its request."""
    env = make_env(offload=True)
    rnd = random.Random(4)
    bodies = {}
    for i in range(8):
        versions = [rnd.randbytes(rnd.randint(1, 1000)) for _ in range(2)]
        bodies[f"h{i}.html"] = versions
        env.file(f"h{i}.html", versions[0])
    for i in range(4):
        env.file(f"m{i}.html", rnd.randbytes(700 * i))
    env.nginx(attach=False)
    env.attach(refresh=None)
    env.wire.capture(False)
    entries = [(f"/{n}", 200, tuple(v)) for n, v in bodies.items()]
    entries += [(f"/m{i}.html", 200, open(os.path.join(env.www, f"m{i}.html"), "rb").read())
                for i in range(4)]
    for n, v in bodies.items():
        env.pin(n, v[0])
    load = env.load(env.urls(entries), "-c", 16, "-t", 3 if env.on else 1, "-x", 99, "-n", "-T",
                    15000)
    rounds = 0
    while load.running() and env.on:
        name = rnd.choice(list(bodies))
        if rnd.random() < 0.3:
            env.kaccel("unpin", f"http://*/{name}", check=False)
        else:
            env.pin(name, rnd.choice(bodies[name]))
        rounds += 1
    counts = load.result()
    assert counts["requests"] > 500
    if env.on:
        assert rounds > 20
        stats = env.kaccel.stats()
        assert stats["hits"] == counts["requests"] - counts["origin"] > 300
        assert stats["lanes"]["packet"]["send_failed"] == 0
    seen = env.server.netstat()
    assert seen.get("TcpExtTCPChallengeACK", 0) == 0
    assert seen.get("TcpInCsumErrors", 0) == 0


# P5


def load_for(env, seconds):
    rnd = random.Random(5)
    entries = []
    for i in range(6):
        body = rnd.randbytes(300 * i + 1)
        env.file(f"p{i}.html", body)
        entries.append((f"/p{i}.html", 200, body))
    urls = env.urls(entries)
    return lambda: env.load(urls, "-c", 8, "-t", seconds if env.on else 1, "-x", 7, "-n", "-T",
                            15000, "-w", 300)


def pin_load(env):
    for i in range(4):
        env.pin(f"p{i}.html")


def test_p5_detach_and_attach_under_load(make_env):
    """Detached in the middle of load, and attached again: no failed request; connections that were
    answered go on being translated; then requests are answered again."""
    env = make_env(offload=True)
    start = load_for(env, 4)
    env.nginx()
    pin_load(env)
    env.wire.capture(False)
    load = start()
    if not env.on:
        load.result()
        return
    wait_for("hits", lambda: env.hits() > 100)
    env.kaccel.detach()
    hits = env.hits()
    time.sleep(0.4)
    stats = env.kaccel.stats()
    assert stats["hits"] == hits, "answered after the detach"
    assert stats["draining"] and stats["connections"] > 0
    assert stats["lanes"]["packet"]["translated_in"] > 0
    assert load.running()
    env.attach()
    pin_load(env)
    more = env.http()
    more.hit("/p1.html")
    wait_for("hits again", lambda: env.hits() > hits + 5)
    assert load.running()
    counts = load.result()
    assert counts["requests"] > 500


def test_p5_detach_drains_to_nothing(make_env):
    """After a detach the instance goes when its last connection has closed, by itself."""
    env = make_env(offload=True)
    env.file("hot.html", HOT)
    env.nginx()
    env.pin("hot.html")
    c, other = env.http(), env.http()
    assert c.get("/hot.html").body == HOT
    assert other.get("/nothing").status == 404
    if not env.on:
        return
    pins = f"/sys/fs/bpf/kaccel/{env.kaccel.name}"
    env.kaccel.detach()
    assert os.path.isdir(pins)
    for _ in range(3):
        r = c.get("/hot.html")
        assert r.body == HOT and r.from_origin
        assert other.get("/hot.html").from_origin
    c.half_close()
    assert c.at_end()
    wait_for("the instance gone", lambda: not os.path.isdir(pins), 10)
    assert other.get("/hot.html").body == HOT


def test_p5_detach_now_resets(kenv):
    """`detach --now` resets the connections that were answered, leaves the others alone, and
    removes everything."""
    env = kenv()
    site(env)
    answered, other = env.http(), env.http()
    assert other.get("/odd.html").body == ODD
    answered.hit("/hot.html")
    env.kaccel.detach(now=True)
    assert not os.path.isdir(f"/sys/fs/bpf/kaccel/{env.kaccel.name}")
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        answered.get("/hot.html")
    assert other.get("/hot.html").body == HOT
    c = env.http()
    assert c.get("/hot.html").from_origin


def test_p5_sigkill_of_any_command_under_load(make_env):
    """kaccel commands that are killed at any moment under load fail no request, and the next
    command works."""
    env = make_env(offload=True)
    start = load_for(env, 4)
    env.nginx()
    pin_load(env)
    env.wire.capture(False)
    load = start()
    rnd = random.Random(55)
    path = os.path.join(env.www, "p1.html")
    while load.running() and env.on:
        command = rnd.choice([("pin", path, "--url", "http://*/p1.html"),
                              ("pin", env.www, "--url", "http://*/"), ("stats",),
                              ("attach", "--upgrade"), ("unpin", "http://*/p2.html")])
        proc = env.kaccel.popen(*command, stdout=-3, stderr=-3)
        time.sleep(rnd.random() * 0.03)
        proc.send_signal(signal.SIGKILL)
        proc.wait()
        if command[0] == "unpin":
            env.pin("p2.html")
    assert load.result()["requests"] > 200
    if env.on:
        env.pin("p1.html")
        c = env.http()
        assert not c.hit("/p1.html").from_origin
        assert env.kaccel.stats()["objects"] >= 4


def test_p5_upgrade_under_load(make_env):
    """Programs are replaced under load, again and again: connections and objects stay."""
    env = make_env(offload=True)
    start = load_for(env, 3)
    env.nginx()
    pin_load(env)
    env.wire.capture(False)
    load = start()
    hits = 0
    while load.running() and env.on:
        env.kaccel("attach", "--upgrade")
        now = env.hits()
        assert now >= hits
        hits = now
    assert load.result()["requests"] > 200
    assert not env.on or hits > 0


def test_p5_attach_again_after_a_dead_run(kenv):
    """`attach` under a name that is attached is refused in one line; after `detach --now` it
    works."""
    env = kenv()
    site(env)
    done = env.kaccel("attach", "--cgroup", env.cgroup, "--port", "8080", "--dev", "s0",
                      check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    env.kaccel.detach(now=True)
    env.attach()
    env.pin("hot.html")
    env.http().hit("/hot.html")


# P6


def test_p6_window_smaller_than_the_reply(env):
    """A reply that does not fit the client's window is the origin's to send."""
    env.file("hot.html", HOT * 2)
    env.nginx()
    env.pin("hot.html")
    for window in (100, 500, 1000):
        c = env.raw(ws=0, win=window).connect()
        before = env.hits()
        c.send(c.get("/hot.html"), "PA")
        assert c.response(timeout=5).endswith(HOT * 2)
        assert env.hits() == before
        env.flow(c.sport).check()


def test_p6_reply_that_just_fits(env):
    """A reply as large as the window is sent, one byte more is not."""
    env.file("hot.html", HOT)
    env.nginx()
    env.pin("hot.html")
    if not env.on:
        return
    c = env.raw(ws=0).connect()
    whole = len(c.fetch("/hot.html"))
    for window, hit in ((whole, 1), (whole - 1, 0)):
        before = env.hits()
        c.send(c.get("/hot.html"), "PA", win=window)
        assert c.response().endswith(HOT)
        assert env.hits() == before + hit


def test_p6_mss_of_the_client(env):
    """No segment is larger than the client's MSS; what does not fit one goes to the origin."""
    env.file("hot.html", HOT)
    env.file("big.html", HOT + HOT)
    env.nginx()
    env.pin("hot.html")
    env.pin("big.html")
    for mss in (536, 900, 1220):
        c = env.raw(mss=mss).connect()
        for _ in range(3):
            assert c.fetch("/hot.html").endswith(HOT)
            assert c.fetch("/big.html").endswith(HOT + HOT)
        assert all(len(p.data) <= mss - 12 for p in env.flow(c.sport).sent())


def test_p6_small_buffers(env):
    """A client with the smallest receive buffer, reading late, gets every byte."""
    site(env)
    c = env.http(rcvbuf=1)
    for _ in range(10):
        c.ask("/hot.html")
        time.sleep(0.02)
        assert c.response().body == HOT
        assert c.get("/odd.html").body == ODD
    env.flow(c.port).check()


# P7


def test_p7_replies_look_like_the_kernels(env):
    """Timestamps go on evenly, echo the client's, and the window is as the kernel's own."""
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    seen = []
    for path in ("/hot.html", "/odd.html") * 4:
        c.send(c.get(path), "PA")
        stamp = c.tsval()
        p = c.data()
        seen.append((path, p))
        assert packets.diff(stamp, p.opts["ts"][1]) in range(0, 50), "TSecr is not the last TSval"
        c.rcv = p.end
        c.send()
        time.sleep(0.03)
    for (_, a), (_, b) in zip(seen, seen[1:]):
        took = (b.when - a.when) * 1000
        step = packets.diff(b.opts["ts"][0], a.opts["ts"][0])
        assert abs(step - took) < 40, f"TSval went {step} in {took:.1f} ms"
    windows = {p.win for _, p in seen}
    assert max(windows) - min(windows) <= 2, windows
    assert all(p.tcp_ok for _, p in seen)
    env.flow(c.sport).check()


def test_p7_no_timestamps_no_sack(env):
    """The same connection for a client without timestamps, SACK and window scaling."""
    site(env)
    for kw in ({"ts": False}, {"sack": False}, {"ws": None}, {"ts": False, "sack": False}):
        c = env.raw(**kw).connect()
        for _ in range(3):
            assert c.fetch("/hot.html").endswith(HOT)
            assert c.fetch("/odd.html").endswith(ODD)
        env.flow(c.sport).check()


def test_p7_sequence_numbers_wrap(env):
    """The client's sequence numbers pass 2^32 in the middle of hits and misses."""
    site(env)
    for before in (60, 100, 150):
        c = env.raw()
        c.isn = c.snd = (1 << 32) - before
        c.connect()
        for _ in range(3):
            assert c.fetch("/hot.html").endswith(HOT)
            assert c.fetch("/odd.html").endswith(ODD)
        env.flow(c.sport).check()


def test_p7_two_at_once(env):
    """Connections do not touch each other: a hundred at the same time, each byte where it
    belongs."""
    site(env)
    cs = [env.http() for _ in range(100)]
    for path, body in (("/hot.html", HOT), ("/odd.html", ODD), ("/hot.html", HOT)):
        for c in cs:
            c.ask(path)
        for c in cs:
            assert c.response().body == body
    pkts = env.wire.packets()
    for c in cs[::10]:
        Flow(pkts, c.port).check()


# The store under load


def test_replace_torn(make_env):
    """One object is replaced in a tight loop while clients check that every body is one of the two,
    whole."""
    env = make_env(offload=True)
    a, b = b"A" * 1000, b"B" * 900
    env.file("torn.html", a)
    env.nginx()
    env.pin("torn.html")
    env.wire.capture(False)
    urls = env.urls([("/torn.html", 200, (a, b))])
    load = env.load(urls, "-c", 4, "-t", 4 if env.on else 1, "-n")
    if env.on:
        paths = [os.path.join(env.pins, n) for n in "ab"]
        for path, body in zip(paths, (a, b)):
            with open(path, "wb") as f:
                f.write(body)
        replaced = 0
        while load.running():
            for path in paths:
                env.kaccel("pin", path, "--url", "http://*/torn.html", "--type", "text/html")
                replaced += 1
        assert replaced >= 8
    counts = load.result()
    if env.on:
        assert counts["requests"] - counts["origin"] > 1000


def test_pin_expires(env):
    """After its --ttl an object is the origin's again, with no daemon to see to it."""
    env.file("hot.html", HOT)
    env.nginx()
    env.pin("hot.html", b"pinned", ttl=1)
    c = env.http()
    if env.on:
        assert c.get("/hot.html").body == b"pinned"
    time.sleep(1.2)
    r = c.get("/hot.html")
    assert r.body == HOT and r.from_origin


def test_hosts_are_kept_apart(env):
    """An object pinned for one host is not another's."""
    env.file("hot.html", HOT)
    env.nginx()
    env.pin("hot.html", b"for a", host="a.test")
    if env.on:
        env.kaccel("pin", os.path.join(env.pins, "hot.html"), "--url",
                   "http://b.test:8080/hot.html")
    for host, hit in (("a.test", True), ("A.TEST", True), ("a.test:80", True), ("b.test", False),
                      ("b.test:8080", True), ("c.test", False), ("a.test.", False),
                      ("a.test:8080", False)):
        r = env.http(host=host).get("/hot.html")
        assert r.from_origin == (not env.on or not hit), host
