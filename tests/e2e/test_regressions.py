# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Each of these once served a wrong byte, hung a connection, or took something down."""

import json
import os
import random
import string
import struct
import time

from kt import net, packets
from kt.env import Kaccel
from kt.packets import diff

HOT = b"<p>hot</p>" * 60
ODD = b"the origin's\n" * 40
LONG = bytes(range(256)) * 40


def site(env, **nginx):
    env.file("hot.html", HOT)
    env.file("odd.html", ODD)
    env.file("long.bin", LONG)
    env.nginx(**nginx)
    env.pin("hot.html")


def warm(c):
    """A miss, then a hit: the numbers of both ends differ from here on."""
    assert c.get("/odd.html").body == ODD
    assert c.get("/hot.html").body == HOT


def test_s3_answers_to_keepalives_go_up(env):
    """The origin's keepalive probes after a hit are answered: nobody takes the client for dead."""
    site(env, listen="so_keepalive=1s:1s:3")
    c = env.http()
    warm(c)
    time.sleep(6)
    assert c.get("/odd.html").body == ODD


def test_s3_duplicate_acks_with_sack_go_up(env):
    """A response that is lost in part after a hit is recovered by SACK, not by the origin's timer."""
    site(env)
    c = env.http()
    warm(c)
    lost = env.wire.drop("client", count=1, min_len=1000)
    assert c.get("/long.bin").body == LONG
    assert lost.acted == 1
    assert env.server.netstat().get("TcpExtTCPTimeouts", 0) == 0


def test_s5_a_strange_sequence_changes_nothing(env):
    """A segment far from the expected numbers does not move them (RFC 5961)."""
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    c.send(c.get("/hot.html"), "PA")
    first = c.data()
    assert first.data.endswith(HOT)
    c.send(b"x", "PA", seq=(c.snd + 0x01000000) & 0xFFFFFFFF, ack=(c.rcv + 0x12345678) & 0xFFFFFFFF,
           tsval=1)
    time.sleep(0.02)
    c.rcv = first.end
    c.send()
    c.send(c.get("/odd.html"), "PA")
    assert max(diff(p.ack, c.snd) for p in c.collect(0.5)) == 0


def test_p7_ipv6_extension_headers(env):
    """Segments behind extension headers are translated like all others."""
    env.origin(attach=False)
    env.attach()
    env.pin("hot.html", HOT)
    c = env.raw(v6=True).connect()
    c.fetch("/odd.html")
    c.fetch("/hot.html")
    request = c.get("/second")
    segment = packets.tcp_segment(c.src, c.dst, c.sport, c.dport, c.snd, c.rcv, packets.flags("PA"),
                                  c.win, packets.option_ts(c.tsval(), c.ts_recent), request)
    destination_options = bytes([6, 0, 1, 4, 0, 0, 0, 0])
    c.send_frame(packets.eth(packets.ipv6(c.src, c.dst, 60, destination_options + segment),
                             packets.ETH_IPV6))
    c.snd = (c.snd + len(request)) & 0xFFFFFFFF
    assert any(p.data for p in c.collect(0.3))


def test_p7_ipv6_jumbograms(make_env):
    """Super-segments of more than 64 KB (BIG TCP) are translated."""
    env = make_env(offload=True)
    site(env)
    big = os.urandom(3 << 20)
    env.file("big.bin", big)
    env.server.run("ip", "link", "set", "s0", "gso_max_size", "185000")
    for ns, dev in ((env.client, "c0"), (env.between, "w0"), (env.between, "w1")):
        ns.run("ip", "link", "set", dev, "gso_max_size", "185000", "gro_max_size", "185000",
               check=False)
    c = env.http(v6=True)
    warm(c)
    assert c.get("/hot.html").body == HOT
    assert c.get("/big.bin", timeout=8).body == big


def test_s14_the_route_changes(env):
    """A connection that was answered is translated on the device that its route moves to."""
    site(env)
    env.server.ip(f"link add s1 type veth peer name c1 netns {env.client.name}", "link set s1 up")
    env.client.ip("link set c1 up")
    for ns, devs in ((env.client, ("c0", "c1")), (env.server, ("s0", "s1"))):
        for name in ("all", "default", *devs):
            ns.sysctl(f"ipv4.conf.{name}.rp_filter", 0)
    mac = json.loads(env.client.run("ip", "-j", "link", "show", "c1").stdout)[0]["address"]
    env.server.ip(f"neigh add {env.client4} lladdr {mac} dev s1 nud permanent")
    if env.on:
        env.kaccel.detach(now=True)
        env.attach(dev="s0,s1,lo")
        env.pin("hot.html")
    c = env.http()
    warm(c)
    assert c.get("/hot.html").body == HOT
    env.server.ip(f"route add {env.client4}/32 dev s1")
    assert c.get("/long.bin", timeout=8).body == LONG


def test_s13_two_instances_on_one_origin(kenv):
    """A second instance that would follow the same connections is refused, with the fix."""
    env = kenv()
    site(env)
    second = Kaccel(env, env.name + "b")
    done = second("attach", "--cgroup", env.cgroup, "--port", "8080", "--dev", "s0,lo", check=False)
    assert done.returncode == 1 and env.name in done.stderr and done.stderr.count("\n") == 1
    assert not os.path.exists(os.path.join(net.BPFFS, second.name))


def test_p1_what_the_kernel_lacks_is_not_acknowledged(env):
    """Bytes that the origin's kernel dropped are not acknowledged by a later reply."""
    env.origin(attach=False)
    env.attach()
    env.pin("hot.html", HOT)
    c = env.raw().connect()
    c.fetch("/odd.html")
    body = b"b" * 100
    c.send(b"POST /early/0 HTTP/1.1\r\nHost: example.test\r\nContent-Length: 200\r\n\r\n", "PA")
    c.response()
    c.send(body, "PA")
    at = c.snd
    # An old timestamp: the kernel drops it.
    c.send(body, "PA", tsval=(c.ts_base - 100000) & 0xFFFFFFFF)
    time.sleep(0.1)
    c.send(c.get("/hot.html"), "PA")
    assert max(diff(p.ack, at) for p in c.collect(0.4)) <= 0


def test_s9_a_checksum_that_looks_partial(env):
    """A full checksum that happens to equal the pseudo-header's sum gets a reply with a full one."""
    site(env)
    c = env.raw(ts=False).connect()
    c.fetch("/odd.html")
    rnd = random.Random(1)
    letters = string.ascii_letters + string.digits
    while True:
        agent = "".join(rnd.choices(letters, k=12))
        request = c.get("/hot.html", extra=f"User-Agent: {agent}\r\n")
        tcp = c.frame(request, "PA")[34:]
        pseudo = packets.pseudo(packets.packed(c.src), packets.packed(c.dst), packets.TCP, len(tcp))
        if struct.unpack("!H", tcp[16:18])[0] == packets.checksum(pseudo) ^ 0xFFFF:
            break
    c.send(request, "PA")
    reply = c.data()
    assert reply and reply.tcp_ok and reply.data.endswith(HOT)


def test_p5_detach_from_another_namespace(env):
    """Where its sockets and devices cannot be reached, an instance is not taken down."""
    site(env)
    c = env.http()
    warm(c)
    if env.on:
        done = net.run(net.KACCEL, "--instance", env.name, "detach", "--now", check=False)
        assert done.returncode == 1 and "nsenter" in done.stderr and done.stderr.count("\n") == 1
    assert c.get("/odd.html", timeout=4).body == ODD


def test_p5_serve_leaves_an_attached_instance_alone(kenv):
    """A directory of a killed server is no proof that the instance of that name is its."""
    env = kenv()
    site(env)
    left = os.path.join(net.cgroup_mount(), f"kaccel-{env.name}")
    os.mkdir(left)
    try:
        c = env.http()
        warm(c)
        done = env.kaccel("serve", env.www, "--listen", "127.0.0.1:9999", "--dev", "lo", check=False)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert c.get("/odd.html", timeout=3).body == ODD
        assert not c.get("/hot.html").from_origin
    finally:
        if os.path.isdir(left):
            os.rmdir(left)


def test_p5_a_half_made_instance_can_be_removed(kenv):
    """detach --now takes down what is damaged."""
    env = kenv()
    site(env)
    os.unlink(os.path.join(net.BPFFS, env.name, "conns"))
    env.kaccel.detach(now=True)
    assert not os.path.isdir(os.path.join(net.BPFFS, env.name))


def test_p5_upgrade_keeps_connections(kenv):
    """attach --upgrade replaces the programs under a connection that was answered."""
    env = kenv()
    site(env)
    c = env.http()
    warm(c)
    env.kaccel("attach", "--upgrade")
    assert not c.get("/hot.html").from_origin
    assert c.get("/long.bin").body == LONG
    env.ids |= net.pinned_ids(os.path.join(net.BPFFS, env.name))


def test_p3_a_lost_reply_whose_object_has_gone(kenv):
    """What was lost and cannot be said again ends the connection; nothing else takes its place."""
    env = kenv()
    site(env)
    c = env.raw().connect()
    c.fetch("/odd.html")
    lost = env.wire.drop("client", count=1, min_len=100)
    request = c.get("/hot.html")
    c.send(request, "PA")
    lost.wait()
    # The store never does this while a connection may ask again: forge another generation.
    objects = os.path.join(net.BPFFS, env.name, "objects")
    found = json.loads(net.run("bpftool", "-j", "map", "lookup", "pinned", objects, "key", "0", "0",
                               "0", "0").stdout)["value"]
    forged = ["0x77"] + found[1:]
    net.run("bpftool", "map", "update", "pinned", objects, "key", "0", "0", "0", "0", "value", *forged)
    c.send(request, "PA", seq=(c.snd - len(request)) & 0xFFFFFFFF)
    got = c.collect(0.3)
    assert [p for p in got if p.flags & packets.RST] and not [p for p in got if p.data]
    assert env.kaccel.stats()["lanes"]["packet"]["changed"] == 1
