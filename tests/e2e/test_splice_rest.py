# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The splice, S9 to S18: headers, marks, namespaces, devices, pauses, clocks."""

import calendar
import os
import socket
import struct
import time

import pytest

from kt import net, packets
from kt.env import Kaccel
from kt.http import Http
from kt.origin import IPPROTO_MPTCP, TCP_MD5SIG, md5sig

HOT = b"<p>hot</p>" * 60
ODD = b"the origin's\n" * 40
PINNED = b"the kernel's\n" * 20


def site(env, **nginx):
    env.file("hot.html", HOT)
    env.file("odd.html", ODD)
    env.nginx(**nginx)
    env.pin("hot.html")


def warm(env, **kw):
    """A connection by hand that has had a miss and a hit."""
    site(env)
    c = env.raw(**kw).connect()
    assert c.fetch("/odd.html").endswith(ODD)
    assert c.fetch("/hot.html").endswith(HOT)
    return c


def from_origin(c, env, **frame):
    """The GET, made odd by @frame, is answered by the origin, and the next one as ever."""
    before = env.hits()
    c.send(c.get("/hot.html"), "PA", **frame)
    got = c.response()
    assert got.endswith(HOT) and b"X-Origin" in got
    assert env.hits() == before
    assert c.fetch("/hot.html").endswith(HOT)
    assert not env.on or env.hits() == before + 1
    env.flow(c.sport).check()


def passes(env, reason):
    return env.kaccel.stats()["passes"][reason]


# S9


def test_s9_ip_options(env):
    """A GET with IP options is the kernel's to answer."""
    c = warm(env)
    for options in (b"\1\1\1\1", b"\x94\x04\0\0", b"\x07\x07\x04\0\0\0\0\0"):
        before = env.hits()
        seg = packets.tcp_segment(c.src, c.dst, c.sport, 8080, c.snd, c.rcv, packets.flags("PA"),
                                  c.win, packets.option_ts(c.tsval(), c.ts_recent),
                                  c.get("/hot.html"))
        c.send_frame(packets.ip_frame(c.src, c.dst, packets.TCP, seg, options=options))
        c.snd += len(c.get("/hot.html"))
        got = c.response()
        assert got.endswith(HOT) and b"X-Origin" in got and env.hits() == before
        assert c.fetch("/hot.html").endswith(HOT)


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_s9_congestion_experienced(env, v6):
    """A GET marked CE goes to the kernel, which has to echo it."""
    from_origin(warm(env, v6=v6), env, tos=3)


def test_s9_odd_flags(env):
    """A GET with CWR, ECE or URG goes to the kernel."""
    c = warm(env)
    for flags in ("PAE", "PAC", "PAEC", "PAU"):
        before = env.hits()
        c.send(c.get("/hot.html"), flags)
        got = c.response()
        assert b"X-Origin" in got and env.hits() == before, flags
        assert got.endswith(HOT) or "U" in flags  # an urgent byte is not in the stream


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_s9_ecn_connection(env, v6):
    """On a connection with ECN replies are Not-ECT and without ECE or CWR, and a GET that is marked
    passes."""
    env.server.sysctl("ipv4.tcp_ecn", 1)
    c = warm(env, v6=v6, ecn=True)
    assert c.synack.flags & packets.ECE, "ECN was not negotiated"
    flow = env.flow(c.sport)
    for p in flow.replies():
        assert p.tos & 3 == 0 and not p.flags & (packets.ECE | packets.CWR), p
    before = env.hits()
    c.send(c.get("/hot.html"), "PA", tos=2)
    got = c.response()
    assert got.endswith(HOT)
    c.send(c.get("/hot.html"), "PA", tos=3)
    got = c.response()
    assert got.endswith(HOT) and b"X-Origin" in got
    assert env.hits() <= before + 1
    assert [p for p in env.flow(c.sport).sent() if p.flags & packets.ECE], "CE was not echoed"


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_s9_wrong_checksum(env, v6):
    """A GET with a wrong checksum is dropped, as the kernel does: no answer, nothing moves."""
    c = warm(env, v6=v6)
    before, errors = env.hits(), env.server.netstat()["TcpInCsumErrors"]
    at = c.snd
    c.send(c.get("/hot.html"), "PA", seq=at, bad_checksum=True)
    assert not c.collect(0.2)
    assert env.server.netstat()["TcpInCsumErrors"] == errors + 1
    assert env.hits() == before
    assert c.fetch("/hot.html").endswith(HOT)
    assert c.fetch("/odd.html").endswith(ODD)


def test_s9_damage_on_the_wire(env):
    """One bit of a GET's path flips on the wire: not the wrong object, but the right one, late."""
    env.file("hov.html", b"the neighbour")
    site(env)
    env.pin("hov.html")
    c = env.http()
    assert c.get("/odd.html").body == ODD
    flip = env.wire.rule("flip", "server", min_len=1, offset=7)  # 't' becomes 'u'
    ip = env.wire.rule("flip", "server", min_len=1, skip=1, base="ip", offset=8)
    assert c.get("/hot.html").body == HOT
    assert c.get("/hot.html").body == HOT
    assert flip.acted == 1 and ip.acted == 1
    env.flow(c.port).check()


def test_s9_wrong_ip_checksum(env):
    """A GET whose IP header is damaged is dropped."""
    c = warm(env)
    before = env.hits()
    frame = bytearray(c.frame(c.get("/hot.html"), "PA"))
    frame[14 + 10] ^= 0x10
    c.send_frame(bytes(frame))
    assert not c.collect(0.15)
    assert env.hits() == before
    assert c.fetch("/hot.html").endswith(HOT)


def test_s9_fragments(env):
    """A GET in two IP fragments is the kernel's."""
    c = warm(env)
    before = env.hits()
    whole = c.frame(c.get("/hot.html"), "PA")[34:]
    cut = 64
    c.send_frame(packets.ip_frame(c.src, c.dst, packets.TCP, whole[:cut], frag=0x2000, ident=77))
    c.send_frame(packets.ip_frame(c.src, c.dst, packets.TCP, whole[cut:], frag=cut // 8, ident=77))
    c.snd += len(c.get("/hot.html"))
    got = c.response()
    assert got.endswith(HOT) and b"X-Origin" in got
    assert env.hits() == before
    assert c.fetch("/odd.html").endswith(ODD)


def test_s9_replies_have_headers_of_their_own(env):
    """TTL and TOS of a reply are the server's, whatever the GET came with."""
    c = warm(env)
    for ttl, tos in ((1, 0), (255, 0), (64, 0x10), (64, 0xB8)):
        before = env.hits()
        c.send(c.get("/hot.html"), "PA", ttl=ttl, tos=tos)
        p = c.data()
        assert p.ttl == c.synack.ttl == 64 and p.tos == c.synack.tos == 0
        assert p.flags & ~(packets.ACK | packets.PSH) == 0
        assert p.tcp_ok and p.ip_ok
        assert not env.on or env.hits() == before + 1
        c.rcv = p.end
        c.send()


def test_s9_unknown_tcp_options(env):
    """A GET with a TCP option other than timestamps and SACK (here an experimental one, MPTCP's and
    MD5's) is not answered in the kernel."""
    site(env)
    for option in (b"\xfd\x04ab", b"\x1e\x04ab", b"\x13\x12" + b"s" * 16):
        c = env.raw().connect()
        assert c.fetch("/hot.html").endswith(HOT)
        before = env.hits()
        c.send(c.get("/hot.html"), "PA",
               options=packets.option_ts(c.tsval(), c.ts_recent) + option, advance=True)
        assert all(b"X-Origin" in p.data for p in c.collect(0.15) if p.data)
        assert env.hits() == before


def test_s9_not_unicast(env):
    """A GET in a frame that is not addressed to the server's MAC alone is not answered."""
    c = warm(env)
    before = env.hits()
    frame = c.frame(c.get("/hot.html"), "PA")
    for mac in (b"\xff" * 6, bytes.fromhex("02000000aaaa"), bytes.fromhex("01005e000001")):
        c.send_frame(mac + frame[6:])
        assert not [p for p in c.collect(0.1) if p.data and b"X-Origin" not in p.data]
    assert env.hits() == before


def test_s9_mptcp_is_not_enrolled(env):
    """A connection that speaks MPTCP is left alone; one that falls back need not be."""
    env.origin("--mptcp", attach=False)
    env.attach()
    env.pin("hot.html", PINNED)
    c = env.http(proto=IPPROTO_MPTCP)
    for _ in range(3):
        r = c.get("/hot.html")
        assert r.from_origin
    assert not env.on or env.hits() == 0
    plain = env.http()
    assert plain.get("/hot.html").body in (PINNED, b"origin's /hot.html\n")


def test_s9_md5_is_not_enrolled(env):
    """A connection with TCP-MD5 (RFC 2385) is left alone."""
    env.origin("--md5", env.client4, attach=False)
    env.attach()
    env.pin("hot.html", PINNED)
    c = env.http(before=lambda s: s.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG,
                                               md5sig(env.server4)))
    for _ in range(3):
        assert c.get("/hot.html").from_origin
    assert not env.on or env.hits() == 0


# S10


def test_s10_date_is_of_now(env):
    """Each reply has the Date of its second, in its place and of its length."""
    site(env)
    c = env.http()
    dates = set()
    for _ in range(3 if env.on else 2):
        r = c.get("/hot.html")
        stamp = time.strptime(r.headers["date"], "%a, %d %b %Y %H:%M:%S GMT")
        assert abs(calendar.timegm(stamp) - time.time()) <= 2
        dates.add(r.headers["date"])
        time.sleep(1.05)
    assert len(dates) >= 2


# S11, S12


@pytest.mark.parametrize("mark", [0xBEEF, 0x6B61])
def test_s12_marks_belong_to_the_user(env, mark):
    """The origin's SO_MARK, another with each response, confuses nothing: its segments are
    translated all the same, over the device and over lo."""
    env.origin("--mark", str(mark), attach=False)
    env.attach()
    env.pin("hot.html", PINNED)
    for ns, address in ((env.client, env.server4), (env.server, "127.0.0.1"), (env.server, "::1")):
        c = net_http(env, ns, address)
        for _ in range(4):
            assert c.get("/hot.html").body == (PINNED if env.on else b"origin's /hot.html\n")
            assert c.get("/fixed/5000").body == b"o" * 5000


def net_http(env, ns, address, **kw):
    return Http(env, address, ns=ns, **kw)


def test_s11_marked_by_tc(env):
    """A mark that a user's own filter sets at ingress and egress stays, and confuses nothing."""
    site(env)
    env.server.run("tc", "qdisc", "add", "dev", "s0", "clsact")
    for hook in ("ingress", "egress"):
        env.server.run("tc", "filter", "add", "dev", "s0", hook, "bpf", "da", "obj",
                       os.path.join(net.TOOLS, "mark.bpf.o"), "sec", "tc")
    c = env.http()
    for _ in range(3):
        assert c.get("/hot.html").body == HOT
        assert c.get("/odd.html").body == ODD
    env.flow(c.port).check()
    assert not env.on or env.hits() == 3
    assert "mark.bpf.o" in env.server.run("tc", "filter", "show", "dev", "s0", "egress").stdout
    env.server.run("tc", "qdisc", "del", "dev", "s0", "clsact")


# S13


def test_s13_same_tuple_in_two_namespaces(make_env):
    """Two instances in two namespaces have the same addresses and ports; each answers with its own
    object, over the device and over 127.0.0.1."""
    envs = [make_env(), make_env()]
    bodies = [b"first" * 50, b"second" * 60]
    clients = []
    for env, body in zip(envs, bodies):
        env.file("hot.html", body)
        env.file("odd.html", body[::-1])
        env.nginx()
        env.pin("hot.html")
        clients.append((env.http(sport=33333), net_http(env, env.server, "127.0.0.1", sport=44444,
                                                        source="127.0.0.1")))
    for _ in range(4):
        for pair, body in zip(clients, bodies):
            for c in pair:
                assert c.get("/hot.html").body == body
                assert c.get("/odd.html").body == body[::-1]
    if envs[0].on:
        assert [e.hits() for e in envs] == [8, 8]
    for env in envs:
        env.flow(33333).check()


def test_s13_attach_in_the_wrong_namespace(kenv):
    """attach from another namespace than the origin's is refused in one line."""
    env = kenv()
    site_without_attach(env)
    done = net.run("nsenter", f"--net={env.client.path}", net.KACCEL, "--instance",
                   env.kaccel.name, "attach", "--cgroup", env.cgroup, "--port", "8080",
                   "--dev", "c0", check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert not os.path.isdir(os.path.join(net.BPFFS, env.kaccel.name))


def site_without_attach(env):
    env.file("hot.html", HOT)
    env.file("odd.html", ODD)
    env.nginx(attach=False)


# S14


def second_device(env):
    """Another veth between client and server, around the wire: s1 10.78.0.2, c1 10.78.0.1."""
    env.client.ip(f"link add c1 type veth peer name s1 netns {env.server.name}",
                  "link set c1 up", "addr add 10.78.0.1/24 dev c1")
    env.server.ip("link set s1 up", "addr add 10.78.0.2/24 dev s1")
    for ns, dev in ((env.client, "c1"), (env.server, "s1")):
        ns.sysctl(f"ipv4.conf.{dev}.rp_filter", 0)
    for ns in (env.client, env.server):
        ns.sysctl("ipv4.conf.all.rp_filter", 0)


def test_s14_two_devices(env):
    """Attached to two devices, connections over each are answered over it."""
    second_device(env)
    site_without_attach(env)
    env.attach(dev="s0,s1,lo")
    env.pin("hot.html")
    for address in (env.server4, "10.78.0.2", env.server6):
        c = env.http() if address == env.server4 else net_http(env, env.client, address)
        before = env.hits()
        for _ in range(3):
            assert c.get("/hot.html").body == HOT
            assert c.get("/odd.html").body == ODD
        assert not env.on or env.hits() == before + 3


@pytest.mark.parametrize("devices", ["s0", "s0,s1,lo"])
def test_s14_way_back_by_another_device(env, devices):
    """Packets come in by s0 and the route back leaves by s1: every byte right, in order."""
    second_device(env)
    site_without_attach(env)
    env.attach(dev=devices)
    env.pin("hot.html")
    env.server.ip(f"route add {env.client4}/32 via 10.78.0.1 dev s1")
    c = env.http()
    for _ in range(4):
        assert c.get("/hot.html").body == HOT
        assert c.get("/odd.html").body == ODD
    c.half_close()
    assert c.at_end()


def test_s14_route_changes_under_a_connection(env):
    """The route back moves to another device in the middle of a connection: it goes on, or is
    reset; it neither hangs nor gets a wrong byte."""
    second_device(env)
    site_without_attach(env)
    env.attach(dev="s0,s1,lo")
    env.pin("hot.html")
    c = env.http()
    for _ in range(3):
        assert c.get("/hot.html").body == HOT
        assert c.get("/odd.html").body == ODD
    env.server.ip(f"route add {env.client4}/32 via 10.78.0.1 dev s1")
    try:
        for _ in range(4):
            assert c.get("/hot.html").body == HOT
            assert c.get("/odd.html").body == ODD
    except ConnectionResetError:
        assert env.on


def test_s14_device_that_is_not_attached(env):
    """Connections over a device that is not attached are left alone."""
    second_device(env)
    site_without_attach(env)
    env.attach(dev="s0")
    env.pin("hot.html")
    for ns, address in ((env.client, "10.78.0.2"), (env.server, "127.0.0.1")):
        c = net_http(env, ns, address)
        for _ in range(3):
            r = c.get("/hot.html")
            assert r.body == HOT and r.from_origin
            assert c.get("/odd.html").body == ODD
    assert not env.on or env.hits() == 0


def test_s14_bridge_above_the_device(env):
    """A bridge whose port is attached, and is attached too, translates once."""
    env.server.ip("link add br0 type bridge", "link set br0 address 02:00:00:00:00:05 up",
                  "addr flush dev s0", "link set s0 master br0",
                  f"addr add {env.server4}/24 dev br0")
    site_without_attach(env)
    env.attach(dev="s0,br0")
    env.pin("hot.html")
    c = env.http()
    for _ in range(4):
        assert c.get("/hot.html").body == HOT
        assert c.get("/odd.html").body == ODD
    env.flow(c.port).stream()


# S15


def test_s15_after_a_loss_requests_pass(env):
    """When a reply was lost the connection's next requests go to the origin for a while, and other
    connections are not concerned."""
    site(env)
    c, other = env.http(), env.http()
    assert c.get("/odd.html").body == ODD
    drop = env.wire.drop("client", min_len=1)
    assert c.get("/hot.html").body == HOT
    assert drop.acted == 1
    for _ in range(3):
        r = c.get("/hot.html")
        assert r.body == HOT and r.from_origin
    assert other.get("/hot.html").from_origin != env.on
    if env.on:
        assert passes(env, "after_loss") == 3
        net.wait_for("hits again", lambda: not c.get("/hot.html").from_origin, 5, 0.1)


# S16


def test_s16_origin_does_not_close_a_busy_connection(env):
    """nginx closes after 2 s without a request; under steady hits it lives on, and few requests are
    passed for that."""
    site_without_attach_keepalive(env, "2s")
    env.attach(refresh=None)
    env.pin("hot.html")
    c = env.http()
    end, count, passed = time.monotonic() + (5 if env.on else 1), 0, 0
    while time.monotonic() < end:
        r = c.get("/hot.html")
        assert r.body == HOT
        count += 1
        passed += r.from_origin
        time.sleep(0.02)
    if env.on:
        assert 2 <= passed <= 7, f"{passed} of {count} were passed"
        assert passes(env, "refresh") == passed


def site_without_attach_keepalive(env, keepalive):
    env.file("hot.html", HOT)
    env.nginx(attach=False, keepalive=keepalive)


def test_s16_interval_can_be_set(env):
    """With --refresh 3600 no request is passed, and the origin closes a connection that to it is
    idle: in order, with a FIN that the client gets."""
    site_without_attach_keepalive(env, "1s")
    env.attach(refresh=3600)
    env.pin("hot.html")
    if not env.on:
        return
    c = env.http()
    assert c.get("/missing").status == 404  # from here on nginx counts idle time
    end = time.monotonic() + 4
    try:
        while time.monotonic() < end:
            assert not c.get("/hot.html").from_origin
            time.sleep(0.05)
        pytest.fail("the origin did not close")
    except (AssertionError, ConnectionResetError, BrokenPipeError):
        assert time.monotonic() < end
    flow = env.flow(c.port)
    flow.check()
    assert [p for p in flow.sent() if p.flags & packets.FIN]


# S17


def test_s17_old_timestamp(env):
    """A GET with an old timestamp (PAWS) is not answered; the kernel says where it stands."""
    c = warm(env)
    before = env.hits()
    c.send(c.get("/hot.html"), "PA", seq=c.snd, tsval=c.tsval() - 100000)
    got = c.collect(0.2)
    assert not [p for p in got if p.data]
    assert all(p.ack == c.snd for p in got)
    assert env.hits() == before
    assert c.fetch("/hot.html").endswith(HOT)
    env.flow(c.sport).check()


def test_s17_missing_timestamp(env):
    """Timestamps were agreed on and the GET has none: nothing of ours answers it."""
    c = warm(env)
    before = env.hits()
    c.send(c.get("/hot.html"), "PA", options=b"", seq=c.snd)
    c.collect(0.2)
    assert env.hits() == before


def test_s17_timestamps_and_the_kernels_clock(env):
    """TSvals of replies and of the kernel's own segments are of one clock: they never go back and
    differ by the time that passed."""
    site(env)
    c = env.http()
    for _ in range(6):
        assert c.get("/hot.html").body == HOT
        assert c.get("/odd.html").body == ODD
        time.sleep(0.04)
    flow = env.flow(c.port)
    flow.check_timestamps()
    first = flow.synack
    for p in flow.sent():
        took = (p.when - first.when) * 1000
        step = packets.diff(p.opts["ts"][0], first.opts["ts"][0])
        assert abs(step - took) < 60, f"TSval is {step - took:.0f} ms off: {p}"


def test_s17_client_reads_its_echo(env):
    """The client's kernel measures round trips by our echo: it stays small under hits."""
    site(env)
    c = env.http()
    for _ in range(20):
        assert c.get("/hot.html").body == HOT
    info = c.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    rtt = struct.unpack("I", info[68:72])[0]
    assert 0 < rtt < 100000


# S18


@pytest.mark.parametrize("facility", ["nftables", "limit_req", "auth_request", "access log"])
def test_s18_the_readme_names_what_hits_bypass(facility):
    """What a hit bypasses is said plainly in the README."""
    with open(os.path.join(net.ROOT, "README.md"), encoding="utf-8") as f:
        assert facility in f.read()


def test_s18_check_names_what_hits_bypass(kenv):
    """And by `kaccel check`."""
    env = kenv()
    text = Kaccel(env, env.name)("check", check=False).stdout
    for facility in ("nftables", "limit_req", "auth_request", "access log"):
        assert facility in text, f"{facility} is not named by kaccel check"
