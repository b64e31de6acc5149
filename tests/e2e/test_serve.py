# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""`kaccel serve`: a site of its own, and nothing left behind."""

import os
import random
import signal
import subprocess
import time

import pytest

from kt import net
from kt.env import stop
from kt.net import wait_for


class Server:
    def __init__(self, env, *options):
        self.env = env
        self.pins = os.path.join(net.BPFFS, env.kaccel.name)
        self.cgroup = os.path.join(net.cgroup_mount(), f"kaccel-{env.kaccel.name}")
        self.proc = env.kaccel.popen("serve", env.www, *options, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
        env.closers.append(lambda: net.remove_cgroup(self.cgroup))
        env.closers.append(self.end)
        env.instances.append(env.kaccel)
        self.said = self.proc.stdout.readline()
        assert self.said, self.proc.stderr.read()
        env.ids |= net.pinned_ids(self.pins)

    def end(self):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGINT)
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                pass
        stop(self.proc)

    def gone(self):
        return not os.path.exists(self.pins) and not os.path.exists(self.cgroup)


@pytest.fixture
def site(kenv):
    env = kenv()
    rnd = random.Random(1)
    for name, size in (("index.html", 500), ("a.css", 900), ("big.bin", 300000), ("empty.txt", 0),
                       ("sub/index.html", 100), ("mid.bin", 5000)):
        env.file(name, rnd.randbytes(size))
    return env


def bodies(env):
    entries = []
    for name in ("index.html", "a.css", "big.bin", "empty.txt", "sub/index.html", "mid.bin"):
        with open(os.path.join(env.www, name), "rb") as f:
            body = f.read()
        entries.append(("/" + name, 200, body))
        if name.endswith("index.html"):
            entries.append(("/" + name[:-len("index.html")], 200, body))
    return entries + [("/nothing", 404, None)]


@pytest.mark.parametrize("listen,v6", [("10.77.0.2:8080", False), ("[fd77::2]:8080", True)])
def test_serve_site(site, listen, v6):
    """Files of all sizes, over the device, byte for byte; the small ones from the kernel."""
    env = site
    Server(env, "--listen", listen, "--dev", "s0,lo", "--memory", "8M")
    urls = env.urls(bodies(env))
    assert env.fetch_all(urls, "-q", 300, "-x", 5, "-n", v6=v6)["requests"] == 300
    stats = env.kaccel.stats()
    assert stats["lanes"]["packet"]["hits"] > 100 and stats["objects"] >= 5
    env.fetch_all(urls, "-q", 50, "-x", 6, "-p", 4, v6=v6)


def test_serve_on_lo(site):
    """The default: http://127.0.0.1:8080/ over lo of the namespace."""
    env = site
    server = Server(env, "--memory", "8M")
    assert "127.0.0.1:8080" in server.said
    env.fetch_all(env.urls(bodies(env)), "-q", 300, "-x", 5, "-n", on_server=True)
    assert env.hits() > 100


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_serve_ends_clean(site, how):
    """Ctrl-C under load: no answer is wrong or cut, and nothing is left."""
    env = site
    server = Server(env, "--listen", "10.77.0.2:8080", "--dev", "s0", "--memory", "8M")
    c = env.http()
    for _ in range(3):
        assert c.get("/index.html").status == 200
    server.proc.send_signal(how)
    server.proc.wait(15)
    assert server.proc.returncode == 0, server.proc.stderr.read()
    assert server.gone()
    env.instances.clear()


def test_serve_is_killed(site):
    """After SIGKILL nothing that matters is left, and it can be started again at once."""
    env = site
    server = Server(env, "--listen", "10.77.0.2:8080", "--dev", "s0", "--memory", "8M")
    c = env.http()
    for _ in range(3):
        assert c.get("/index.html").status == 200
    server.proc.kill()
    server.proc.wait()
    wait_for("all gone", server.gone, 10)
    c.close()
    Server(env, "--listen", "10.77.0.2:8080", "--dev", "s0", "--memory", "8M")
    c = env.http()
    assert c.get("/index.html").status == 200
    assert env.hits() == 1


def test_serve_both_processes_are_killed(site):
    """When its cgroup is killed whole, the next start takes over what is left."""
    env = site
    server = Server(env, "--listen", "10.77.0.2:8080", "--dev", "s0", "--memory", "8M")
    with open(os.path.join(server.cgroup, "cgroup.procs"), encoding="ascii") as f:
        inner = [int(line) for line in f]
    assert inner
    for pid in inner:
        os.kill(pid, signal.SIGKILL)
    server.proc.kill()
    server.proc.wait()
    time.sleep(0.2)
    Server(env, "--listen", "10.77.0.2:8080", "--dev", "s0", "--memory", "8M")
    c = env.http()
    assert c.get("/index.html").status == 200
    assert env.hits() == 1


def test_serve_twice(site):
    """A second server of the same name is refused in one line, and the first goes on."""
    env = site
    Server(env, "--listen", "10.77.0.2:8080", "--dev", "s0", "--memory", "8M")
    done = env.kaccel("serve", env.www, "--listen", "10.77.0.2:8081", "--dev", "s0", check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert env.http().get("/index.html").status == 200


def test_serve_port_in_use(site):
    """An address in use is said in one line, and nothing is left."""
    env = site
    env.origin(attach=False)
    env.instances.append(env.kaccel)
    done = env.kaccel("serve", env.www, "--listen", "10.77.0.2:8080", "--dev", "s0", check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert not os.path.exists(os.path.join(net.BPFFS, env.kaccel.name))
    assert not os.path.exists(os.path.join(net.cgroup_mount(), f"kaccel-{env.kaccel.name}"))
