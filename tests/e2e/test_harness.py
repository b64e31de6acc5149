# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The harness itself: what it is to detect, it detects; what it is to lose, it loses."""

import os
import subprocess
import sys
import tempfile
import time

import pytest

from kt import net, packets
from kt.packets import Flow


@pytest.fixture
def lane():
    return "nginx"


def test_client_sees_one_wrong_byte(env):
    """httpclient accepts the right body and names the first byte that differs."""
    env.file("a.html", b"x" * 1000 + b"y" + b"z" * 99)
    env.nginx()
    right = b"x" * 1000 + b"y" + b"z" * 99
    urls = env.urls([("/a.html", 200, right, "text/html; charset=utf-8")])
    assert env.fetch_all(urls, "-q", 10) == {"requests": 10, "origin": 10}
    for wrong, complaint in (
            (env.urls([("/a.html", 200, right.replace(b"y", b"Y"))]), "at byte 1000"),
            (env.urls([("/a.html", 200, right[:-1])]), "at byte 1099"),
            (env.urls([("/a.html", 404, right)]), "status 200, expected 404"),
            (env.urls([("/a.html", 200, right, "text/plain")]), "Content-Type")):
        with pytest.raises(AssertionError, match=complaint):
            env.fetch_all(wrong)


def test_wire_drops_doubles_holds_flips(env):
    """Each action of the wire does what it says, as the two ends of the wire show."""
    env.file("a.html", b"a" * 700)
    env.nginx()
    c = env.http()
    drop = env.wire.drop("client", min_len=1)
    start = time.monotonic()
    assert c.get("/a.html").body == b"a" * 700
    assert drop.acted == 1 and 0.15 < time.monotonic() - start < 3
    sent = [p for p in env.wire.packets("server") if p.data and not p.to_server]
    assert len(sent) == 2 and sent[0].data == sent[1].data
    assert len([p for p in env.wire.packets("client") if p.data and not p.to_server]) == 1
    assert all(p.tcp_ok and p.ip_ok for p in env.wire.packets("client")), "checksums are not full"

    env.wire.off()
    dup = env.wire.rule("dup", "server", min_len=1)
    assert c.get("/a.html").status == 200 and dup.acted == 1
    assert len([p for p in env.wire.packets("server") if p.data and p.to_server]) == 3

    env.wire.off()
    hold = env.wire.rule("hold", "client", min_len=1)
    c.ask("/a.html")
    hold.wait()
    assert env.wire.held() == 1
    assert env.wire.release() == 1
    assert c.response().body == b"a" * 700

    env.wire.off()
    before = env.server.netstat()["TcpInCsumErrors"]
    flip = env.wire.rule("flip", "server", min_len=1, offset=5)
    assert c.get("/a.html").status == 200 and flip.acted == 1
    assert env.server.netstat()["TcpInCsumErrors"] == before + 1, "the damage went unnoticed"
    env.flow(c.port).check()


def test_wire_picks_by_prefix_and_repetition(env):
    """A rule acts on the segment meant: by payload, by first or repeated transmission, by turn."""
    env.file("a.html", b"a" * 700)
    env.nginx()
    c = env.http()
    by_prefix = env.wire.drop("server", prefix=b"GET /b", min_len=1)
    again = env.wire.drop("client", seen="again", min_len=1)
    third = env.wire.drop("client", seen="new", min_len=1, skip=2)
    assert [c.get("/a.html").status for _ in range(3)] == [200] * 3
    assert (by_prefix.acted, again.acted, third.acted) == (0, 1, 1)
    assert c.get("/b.html").status == 404 and by_prefix.acted == 1


def test_wire_chance_is_seeded(env):
    """Random loss is about as frequent as asked for, and the client gets all in the end."""
    env.file("a.html", b"a" * 700)
    env.nginx()
    loss = env.wire.drop("server", count=0, chance=0.02, seed=7, min_len=1)
    env.fetch_all(env.urls([("/a.html", 200, b"a" * 700)]), "-q", 300, "-T", 8000)
    assert 1 <= loss.acted <= 20


def test_flow_sees_two_contents(env):
    """The analysis of a capture fails on one changed byte, a TSval that goes back, a bad ack."""
    env.file("a.html", b"a" * 700)
    env.nginx()
    c = env.http()
    env.wire.drop("client", min_len=1)
    c.get("/a.html")
    pkts = env.wire.packets()
    Flow(pkts, c.port).check()
    two = [p for p in pkts if p.data and not p.to_server]
    assert len(two) == 2
    good = two[1].data
    two[1].data = good[:-1] + b"b"
    with pytest.raises(AssertionError, match="two contents"):
        Flow(pkts, c.port).check()
    two[1].data = good
    val, ecr = two[1].opts["ts"]
    two[1].opts["ts"] = (two[0].opts["ts"][0] - 1, ecr)
    with pytest.raises(AssertionError, match="TSval went back"):
        Flow(pkts, c.port).check()
    two[1].opts["ts"] = (val, ecr)
    two[1].ack += 1
    with pytest.raises(AssertionError, match="never sent"):
        Flow(pkts, c.port).check()
    two[1].ack -= 1
    two[1].ttl -= 1
    with pytest.raises(AssertionError, match="TTL"):
        Flow(pkts, c.port).check()


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_raw_client_talks_to_nginx(env, v6):
    """The hand-made TCP gets answers, and no kernel resets its connection."""
    env.file("a.html", b"a" * 5000)
    env.nginx()
    c = env.raw(v6=v6).connect()
    for _ in range(3):
        assert c.fetch("/a.html").endswith(b"a" * 5000)
    assert not [p for p in env.wire.packets() if p.to_server and p.flags & packets.RST]
    env.flow(c.sport).check()


def test_origin_records(env):
    """The programmable origin keeps each connection's bytes as they came."""
    env.origin()
    c = env.http()
    assert c.get("/pause/50").body == b"first half, second half"
    assert c.get("/chunked/20").body == b"first,second\n"
    assert c.get("/x", method="POST", extra="Content-Length: 3\r\n", body=b"abc").from_origin
    assert c.get("/204/0").status == 204
    assert env.recorded(c.port).count(b"HTTP/1.1\r\n") == 4


def test_sweep_removes_what_a_killed_run_left():
    """After SIGKILL of a run, the next one's start removes its namespaces, cgroups, processes."""
    code = ("import sys, os, pathlib; sys.path.insert(0, sys.argv[1]); from kt.env import Env; "
            "e = Env(sys.argv[2], 'nginx'); e.nginx(); print(e.name, flush=True); "
            "import time; time.sleep(60)")
    with tempfile.TemporaryDirectory() as tmp:
        proc = subprocess.Popen([sys.executable, "-c", code, os.path.dirname(__file__),
                                 os.path.join(tmp, "env")], stdout=subprocess.PIPE, text=True)
        name = proc.stdout.readline().strip()
        proc.kill()
        proc.wait()
        proc.stdout.close()
        assert name and os.path.exists(f"/run/netns/{name}s")
        cgroup = os.path.join(net.cgroup_mount(), name)
        assert os.path.isdir(cgroup)
        found = net.sweep()
        assert len([f for f in found if name in f]) == 4
        assert not os.path.exists(f"/run/netns/{name}s") and not os.path.isdir(cgroup)
