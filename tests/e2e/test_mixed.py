# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Hits and misses mixed on keep-alive connections: every byte as nginx alone sends it."""

import random

import pytest

from kt.packets import Flow

SEED = 20260101


def make_site(env, seed=SEED):
    """30 files; two thirds are pinned, some of those too large to be answered in one segment.
    Returns the list for httpclient: every body is checked against the file itself."""
    rnd = random.Random(seed)
    entries = []
    for i in range(30):
        size = rnd.choice([0, 1, 2, 100, 500, 900, 1000, 1023, 1100, 3000, 20000, 200000])
        kind, media = rnd.choice([("html", "text/html; charset=utf-8"),
                                  ("css", "text/css; charset=utf-8")])
        name = f"f{i}.{kind}"
        body = rnd.randbytes(size)
        env.file(name, body)
        entries.append((f"/{name}", 200, body, media))
    entries.append(("/missing.html", 404, None, "text/html; charset=utf-8"))
    entries.append(("/f0." + entries[0][0].split(".")[1] + "?query", 200, entries[0][2]))
    return entries


def pin_site(env, entries):
    for path, status, body, *_ in entries[:20]:
        if len(body) <= 60000:
            env.pin(path[1:])


@pytest.mark.parametrize("device", ["veth", "lo"])
@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_mixed_1000(make_env, device, v6):
    """1,000 requests on one connection, pinned and not, at random: every body as it is on disk."""
    env = make_env(offload=True)
    entries = make_site(env)
    env.nginx(attach=False)
    env.attach(refresh=None)
    pin_site(env, entries)
    urls = env.urls(entries)
    counts = env.fetch_all(urls, "-q", 1000, "-x", SEED, "-n", v6=v6, on_server=device == "lo")
    assert counts["requests"] == 1000
    if env.on:
        stats = env.kaccel.stats()
        assert stats["lanes"]["packet"]["hits"] == 1000 - counts["origin"] >= 300
        assert stats["hits"] == stats["lanes"]["packet"]["hits"]
        assert stats["misses"] >= 200
    else:
        assert counts["origin"] == 1000
    assert len(env.access_log()) == counts["origin"]


@pytest.mark.parametrize("options", [
    ("-p", 4), ("-p", 4, "-n"), ("-p", 16, "-n"), ("-s", 20, "-d", 1000, "-n"), ("-s", 3, "-n"),
    ("-b", 3000), ("-w", 500), ("-f", "-n"), ("-p", 3, "-f", "-n"), ("-e", "-n"), ("-c", 8, "-n"),
], ids=lambda o: "".join(map(str, o)))
def test_mixed_client_habits(make_env, options):
    """Pipelining, split requests, Nagle, small buffers, half-close: the bytes are right."""
    env = make_env(offload=True)
    entries = make_site(env)
    env.nginx()
    pin_site(env, entries)
    counts = env.fetch_all(env.urls(entries), "-q", 200, "-x", SEED, *options)
    assert counts["requests"] == 200 * (8 if "-c" in options else 1)
    if env.on:
        assert env.hits() == counts["requests"] - counts["origin"]


def test_mixed_wire_is_legal(env):
    """The capture of a mixed connection without loss is one legal TCP connection, and the kernel
    of the origin saw nothing odd (P7)."""
    entries = make_site(env)
    env.nginx()
    pin_site(env, entries)
    env.fetch_all(env.urls(entries), "-q", 400, "-x", SEED, "-n", "-S", env.client4, "-P", 23456)
    flow = env.flow(23456)
    flow.check()
    flow.check_clamp()
    assert flow.stream().count(b"HTTP/1.1 ") >= 400
    assert [p for p in flow.sent() if not p.tcp_ok] == [], "wrong checksums"
    if env.on:
        assert len(flow.replies()) == env.hits() > 100
    seen = env.server.netstat()
    for odd in ("TcpInCsumErrors", "TcpInErrs", "TcpExtTCPChallengeACK",
                "TcpExtPAWSEstab", "TcpExtTCPOFOQueue",
                "TcpExtTCPACKSkippedSeq", "TcpExtTCPACKSkippedPAWS", "TcpExtTCPSynChallenge",
                "TcpExtTCPSACKDiscard", "TcpExtDelayedACKLost"):
        assert seen.get(odd, 0) == 0, f"{odd} is {seen[odd]}"


@pytest.mark.parametrize("what,v6", [("loss", False), ("reorder", False), ("dup", False),
                                     ("all", False), ("all", True)])
def test_mixed_bad_wire(env, what, v6):
    """1 % of everything lost, doubled or late, in both directions: every byte is right, and no
    sequence number was ever sent with two contents (P3)."""
    entries = [e for e in make_site(env) if e[2] is None or len(e[2]) < 5000]
    env.nginx()
    for e in entries:
        if e[1] == 200 and "?" not in e[0]:
            env.pin(e[0][1:])
    rules = []
    for n, to in enumerate(("client", "server")):
        if what in ("loss", "all"):
            rules.append(env.wire.drop(to, count=0, chance=0.01, seed=n + 1, without="S"))
        if what in ("reorder", "all"):
            rules.append(env.wire.rule("hold", to, count=0, chance=0.01, seed=n + 11, hold_ms=3,
                                       without="S"))
        if what in ("dup", "all"):
            rules.append(env.wire.rule("dup", to, count=0, chance=0.02, seed=n + 21, without="S"))
    loads = [env.load(env.urls(entries), "-q", 150, "-x", SEED + i, "-n", "-T", 15000, "-S",
                      env.client6 if v6 else env.client4, "-P", 23000 + i, v6=v6)
             for i in range(6)]
    for load in loads:
        assert load.result()["requests"] == 150
    assert all(r.acted for r in rules), [r.counts() for r in rules]
    pkts = env.wire.packets()
    for i in range(6):
        flow = Flow(pkts, 23000 + i)
        flow.check()
        flow.check_clamp()
    if env.on:
        assert env.hits() > 50
