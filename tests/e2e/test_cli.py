# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The command line: what is wrong is said in one line, with status 1 or 2; JSON is JSON."""

import json
import os
import subprocess

import pytest

from kt import net
from kt.env import Kaccel

USAGE, FAIL = 2, 1

# Arguments, status. What is in braces is filled in; the instance is attached.
WRONG = [
    ("frobnicate", USAGE),
    ("--frobnicate stats", USAGE),
    ("--instance ../x stats", USAGE),
    ("--instance {long} stats", USAGE),
    ("--instance a/b stats", USAGE),
    ("--instance", USAGE),
    ("--instance {none} stats", FAIL),
    ("--instance {none} list", FAIL),
    ("--instance {none} show http://*/a.html", FAIL),
    ("--instance {none} pin {file} --url http://*/a.html", FAIL),
    ("--instance {none} unpin http://*/a.html", FAIL),
    ("--instance {none} detach", FAIL),
    ("--instance {none} attach --upgrade", FAIL),
    ("stats extra", USAGE),
    ("list extra", USAGE),
    ("show", USAGE),
    ("show http://*/not-pinned", FAIL),
    ("show not-a-url", USAGE),
    ("unpin", USAGE),
    ("unpin http://*/not-pinned", FAIL),
    ("unpin not-a-url", USAGE),
    ("pin", USAGE),
    ("pin {file}", USAGE),
    ("pin --url http://*/a.html", USAGE),
    ("pin {file} {file} --url http://*/a.html", USAGE),
    ("pin {file} --url", USAGE),
    ("pin {file} --url ftp://*/a.html", USAGE),
    ("pin {file} --url https://example.test/a.html", USAGE),
    ("pin {file} --url /a.html", USAGE),
    ("pin {file} --url http:///a.html", USAGE),
    ("pin {file} --url http://exa_mple.test:99999/a.html", USAGE),
    ("pin {file} --url http://*/{long}{long}{long}{long}{long}{long}{long}{long}", USAGE),
    ("pin {file} --url http://*/a.html --ttl soon", USAGE),
    ("pin {file} --url http://*/a.html --ttl 0", USAGE),
    ("pin {file} --url http://*/a.html --ttl -5", USAGE),
    ("pin {file} --url http://*/a.html --type html", USAGE),
    ("pin {file} --url http://*/a.html --header NoColon", USAGE),
    ("pin {file} --url http://*/a.html --frobnicate", USAGE),
    ("pin {dir}/nothing --url http://*/a.html", FAIL),
    ("pin {big} --url http://*/a.html", FAIL),
    ("pin /dev/null --url http://*/a.html", FAIL),
    ("attach", USAGE),
    ("attach --port 8080", USAGE),
    ("attach --cgroup {cgroup}", USAGE),
    ("attach --cgroup {cgroup} --port 0", USAGE),
    ("attach --cgroup {cgroup} --port 65536", USAGE),
    ("attach --cgroup {cgroup} --port http", USAGE),
    ("attach --cgroup {cgroup} --pid 1 --port 8080", USAGE),
    ("attach --cgroup {cgroup} --port 8080 extra", USAGE),
    ("attach --cgroup {cgroup} --port 8080 --memory lots", USAGE),
    ("attach --cgroup {cgroup} --port 8080 --refresh 0", USAGE),
    ("attach --cgroup {cgroup} --port 8080 --frobnicate", USAGE),
    ("--instance {none} attach --cgroup {dir} --port 8080 --dev s0", FAIL),
    ("--instance {none} attach --cgroup /nowhere --port 8080 --dev s0", FAIL),
    ("--instance {none} attach --cgroup {cgroup} --port 8080 --dev nodev0", FAIL),
    ("--instance {none} attach --pid 999999999 --port 8080 --dev s0", FAIL),
    ("--instance {none} attach --unit no-such-unit --port 8080 --dev s0", FAIL),
    ("--instance {none} attach --cgroup {cgroup} --port 8080 --dev s0 --memory 900G", FAIL),
    ("attach --cgroup {cgroup} --port 8080 --dev s0", FAIL),
    ("detach extra", USAGE),
    ("detach --frobnicate", USAGE),
    ("serve", USAGE),
    ("serve {dir} {dir}", USAGE),
    ("serve {dir} --listen nowhere", USAGE),
    ("serve {dir} --listen 10.77.0.2:0", USAGE),
    ("serve {dir} --listen 10.77.0.2:99999", USAGE),
    ("--instance {none} serve {dir}/nothing --dev s0", FAIL),
    ("--instance {none} serve {file} --dev s0", FAIL),
    ("--instance {none} serve {dir} --listen 10.77.0.2:8080 --dev nodev0", FAIL),
    ("--instance {none} serve {dir} --listen 192.0.2.1:8080 --dev s0", FAIL),
    ("check extra", USAGE),
]


@pytest.fixture
def attached(kenv):
    env = kenv()
    env.file("a.html", b"a" * 100)
    env.file("big.bin", bytes(100000))
    env.nginx()
    return env


def test_wrong_arguments(attached):
    """Each mistake gets its status and exactly one line on stderr, nothing on stdout, and changes
    nothing."""
    env = attached
    env.pin("a.html")
    before = env.kaccel.json("list")
    wrong = []
    none = Kaccel(env, env.name + "none")
    env.instances.append(none)
    for text, status in WRONG:
        args = text.format(cgroup=env.cgroup, file=env.www + "/a.html", dir=env.www, none=none.name,
                           big=env.www + "/big.bin", long="l" * 60).split()
        for json_too in ((), ("--json",)):
            done = env.kaccel(*json_too, *args, check=False)
            if done.returncode != status:
                wrong.append(f"{text}: status {done.returncode}, expected {status}: {done.stderr}")
            elif done.stderr.count("\n") != 1 or not done.stderr.startswith("kaccel: "):
                wrong.append(f"{text}: said {done.stderr!r}")
            elif done.stdout:
                wrong.append(f"{text}: printed {done.stdout!r}")
            if os.path.exists(os.path.join(net.BPFFS, none.name)):
                wrong.append(f"{text}: left an instance")
                none("detach", "--now", check=False)
            cgroup = os.path.join(net.cgroup_mount(), "kaccel-" + none.name)
            if os.path.exists(cgroup):
                wrong.append(f"{text}: left a cgroup")
                net.remove_cgroup(cgroup)
    assert not wrong, "\n".join(wrong)
    assert env.kaccel.json("list") == before


def test_without_privilege(attached):
    """Without root each command that needs it says so, in one line."""
    env = attached
    for args in (("stats",), ("list",), ("detach",), ("attach", "--cgroup", env.cgroup, "--port",
                                                     "8080", "--dev", "s0"),
                 ("pin", env.www + "/a.html", "--url", "http://*/a.html"), ("serve", env.www)):
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                               *[net.KACCEL, "--instance", env.kaccel.name, *args]],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, (args, done.stderr)
        assert "root" in done.stderr or "sudo" in done.stderr, done.stderr


def test_life_of_an_object(attached):
    """pin, list, show, replace, unpin: as text and as JSON."""
    env = attached
    path = env.www + "/a.html"
    env.kaccel("pin", path, "--url", "http://*/a.html")
    env.kaccel("pin", path, "--url", "http://Example.TEST/x?y=1", "--ttl", "60", "--type",
               "text/x-test", "--header", "X-More: yes")
    listed = {o["url"]: o for o in env.kaccel.json("list")}
    assert set(listed) == {"http://*/a.html", "http://example.test/x?y=1"}
    assert listed["http://example.test/x?y=1"]["type"] == "text/x-test"
    assert 50 <= listed["http://example.test/x?y=1"]["expires_in"] <= 60
    text = env.kaccel("list").stdout
    assert all(url in text for url in listed)
    shown = env.kaccel("show", "http://example.test/x?y=1").stdout
    assert "X-More: yes" in shown
    assert env.kaccel("show", "http://*/a.html", "--body").stdout == "a" * 100
    assert json.loads(env.kaccel("--json", "show", "http://*/a.html").stdout)
    r = env.http().get("/x?y=1")
    assert r.headers["x-more"] == "yes" and r.headers["content-type"] == "text/x-test"
    stats = env.kaccel.stats()
    assert stats["objects"] == 2 and stats["bytes"] > 200
    env.kaccel("unpin", "http://example.test/x?y=1")
    assert [o["url"] for o in env.kaccel.json("list")] == ["http://*/a.html"]
    assert env.http().get("/x?y=1").from_origin
    env.kaccel("unpin", "--all")
    assert env.kaccel.json("list") == []
    assert env.http().get("/a.html").from_origin


def test_stats_json(attached):
    """The fields that others build on are there."""
    env = attached
    env.pin("a.html")
    c = env.http()
    c.get("/a.html")
    c.get("/missing")
    c.get("/a.html", extra="Range: bytes=0-1\r\n")
    s = env.kaccel.stats()
    assert s["hits"] == s["lanes"]["packet"]["hits"] == 1
    assert s["misses"] == 1
    assert s["passes"]["conditional"] == 1
    assert s["objects"] == 1 and s["bytes"] > 100 and s["connections"] == 1


def test_full_store(kenv):
    """A full store, by memory or by number, is said plainly and changes nothing."""
    env = kenv()
    env.file("a.html", b"a" * 100)
    env.nginx(attach=False)
    env.attach(objects=3)
    for i in range(3):
        env.kaccel("pin", env.www + "/a.html", "--url", f"http://*/{i}")
    done = env.kaccel("pin", env.www + "/a.html", "--url", "http://*/4", check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert len(env.kaccel.json("list")) == 3
    c = env.http()
    for i in range(3):
        assert c.get(f"/{i}").body == b"a" * 100


def test_attach_by_pid(kenv):
    """`attach --pid` finds the origin's cgroup."""
    env = kenv()
    env.file("a.html", b"a" * 100)
    proc = env.nginx(attach=False)
    env.instances.append(env.kaccel)
    env.kaccel("attach", "--pid", str(proc.pid), "--port", "8080", "--dev", "s0", "--memory", "8M")
    env.pin("a.html")
    assert not env.http().get("/a.html").from_origin


def test_check():
    """`kaccel check` succeeds here, as text and as JSON."""
    for args in ((), ("--json",)):
        done = subprocess.run([net.KACCEL, *args, "check"], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr
        if args:
            json.loads(done.stdout)


def test_help():
    """Help is on stdout with status 0, for all commands and each."""
    for args in (("--help",), *((c, "--help") for c in (
            "serve", "attach", "detach", "pin", "unpin", "list", "show", "stats", "check"))):
        done = subprocess.run([net.KACCEL, *args], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "Usage" in done.stdout and not done.stderr, args
