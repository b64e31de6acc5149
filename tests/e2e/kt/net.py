# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What a test stands on: three network namespaces in a row (client, wire, server) and a cgroup.

Every name begins with kt<pid>, so that what a killed run left can be told from what is in use.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import struct
import subprocess
import time

from . import packets

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.path.join(ROOT, "build")
KACCEL = os.environ.get("KACCEL", os.path.join(BUILD, "kaccel"))
TOOLS = os.path.join(BUILD, "tests", "net")
BPFFS = "/sys/fs/bpf/kaccel"
PREFIX = f"kt{os.getpid()}x"

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
BPF_OBJ_GET, BPF_OBJ_GET_INFO_BY_FD = 7, 15

libc = ctypes.CDLL(None, use_errno=True)


def run(*args, check=True, **kw):
    done = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False, **kw)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(args)}: status {done.returncode}: {done.stderr.strip()}")
    return done


def wait_for(what, condition, timeout=5.0, step=0.01):
    """Wait until @condition() is true; its value. Fails naming @what."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not within {timeout} s"
        time.sleep(step)
    return value


def cgroup_mount():
    with open("/proc/self/mounts", encoding="ascii") as f:
        for line in f:
            _, where, kind = line.split()[:3]
            if kind == "cgroup2":
                return where
    raise AssertionError("no cgroup v2 is mounted")


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Ns:
    """A network namespace."""

    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)

    @property
    def path(self):
        return f"/run/netns/{self.name}"

    @contextlib.contextmanager
    def enter(self):
        """Sockets made inside belong to the namespace for good."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(self.path, "rb") as there:
            if libc.setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                yield self
            finally:
                libc.setns(home.fileno(), CLONE_NEWNET)

    def command(self, *args):
        return ["nsenter", f"--net={self.path}", *args]

    def run(self, *args, **kw):
        return run(*self.command(*args), **kw)

    def popen(self, *args, **kw):
        return subprocess.Popen(self.command(*args), preexec_fn=die_with_parent, **kw)

    def ip(self, *lines):
        run("ip", "-n", self.name, "-batch", "-", input="\n".join(lines) + "\n")

    def sysctl(self, name, value):
        with self.enter():
            path = "/proc/sys/net/" + name.replace(".", "/")
            with open(path, "w", encoding="ascii") as f:
                f.write(str(value))

    def netstat(self):
        """The TcpExt and IpExt counters of the namespace, and those of SNMP's Tcp and Icmp."""
        counters = {}
        with self.enter():
            for name in ("netstat", "snmp"):
                with open(f"/proc/thread-self/net/{name}", encoding="ascii") as f:
                    lines = f.read().splitlines()
                for names, values in zip(lines[::2], lines[1::2]):
                    group = names.split(":")[0]
                    for key, value in zip(names.split()[1:], values.split()[1:]):
                        counters[group + key] = int(value)
        return counters

    def listening(self, port):
        """How many sockets listen on the port."""
        lines = []
        with self.enter():
            for name in ("tcp", "tcp6"):
                with open(f"/proc/thread-self/net/{name}", encoding="ascii") as f:
                    lines += [line.split() for line in f.readlines()[1:]]
        return len([w for w in lines if w[1].endswith(f":{port:04X}") and w[3] == "0A"])

    def delete(self):
        run("ip", "netns", "del", self.name, check=False)


class Rule:
    """One rule of the wire, while it stands."""

    def __init__(self, wire, number):
        self.wire, self.number = wire, number

    def counts(self):
        return tuple(map(int, self.wire.tell(f"get {self.number}").split()))

    @property
    def acted(self):
        return self.counts()[1]

    def off(self):
        self.wire.tell(f"rule {self.number} action=0")

    def wait(self, acted=1, timeout=3.0):
        wait_for(f"{acted} packets for the rule", lambda: self.acted >= acted, timeout)


class Wire:
    """The namespace between, with its program: what it loses, it loses for good."""

    ACTIONS = {"drop": 1, "dup": 2, "hold": 3, "flip": 4}
    SEEN = {"any": 0, "new": 1, "again": 2}
    BASES = {"ip": 0, "tcp": 1, "payload": 2}

    def __init__(self, ns, directory):
        self.ns, self.directory, self.rules = ns, directory, 0
        self.proc = ns.popen(os.path.join(TOOLS, "wire"), "w0", "w1", directory,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.proc.stdout.readline() == "ready\n", "the wire did not start"

    def tell(self, line):
        self.proc.stdin.write(line + "\n")
        answer = self.proc.stdout.readline().strip()
        assert answer and answer != "error", f"the wire did not take: {line}"
        return answer

    def rule(self, action, to, skip=0, count=1, chance=0.0, seed=1, min_len=0, max_len=1 << 20,
             flags=None, without=None, port=0, seen="any", prefix=b"", hold_ms=0, base="payload",
             offset=0):
        """Act on segments to "client" or "server"; @flags all set and @without none."""
        want, ban = packets.flags(flags or ""), packets.flags(without or "")
        number = self.rules
        self.rules += 1
        line = (f"rule {number} action={self.ACTIONS[action]} dir={int(to == 'client')} "
                f"flags_mask={want | ban} flags_value={want} len_min={min_len} len_max={max_len} "
                f"port={port} seen={self.SEEN[seen]} skip={skip} count={count} "
                f"chance={int(chance * (2**32 - 1))} seed={seed} hold_ms={hold_ms} "
                f"base={self.BASES[base]} offset={offset}")
        if prefix:
            line += " prefix=" + prefix.hex()
        self.tell(line)
        return Rule(self, number)

    def drop(self, to, **kw):
        return self.rule("drop", to, **kw)

    def off(self):
        """Lose nothing more."""
        self.tell("off")
        self.rules = 0

    def held(self):
        return int(self.tell("held"))

    def release(self):
        return int(self.tell("release"))

    def capture(self, on):
        self.tell("capture " + ("on" if on else "off"))

    def packets(self, end="server"):
        self.tell("sync")
        return packets.read_pcap(os.path.join(self.directory, end + ".pcap"))

    def stop(self):
        self.proc.stdin.close()
        self.proc.wait(5)
        self.proc.stdout.close()


def bpf(command, fields):
    """bpf(2) with the leading bytes of its attribute; a file descriptor or -1."""
    attr = ctypes.create_string_buffer(fields, 128)
    return libc.syscall(SYS_BPF, command, attr, len(attr))


def bpf_info(fd):
    """(kind, first four words of the info) of a BPF file descriptor."""
    kind = re.search(r"bpf[-_](map|prog|link)", os.readlink(f"/proc/self/fd/{fd}"))[1]
    info = ctypes.create_string_buffer(256)
    bpf(BPF_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, len(info), ctypes.addressof(info)))
    return kind, struct.unpack("=4I", info[:16])


def pinned_ids(directory):
    """(kind, id) of every map, link and program pinned below @directory, and of the programs that
    the links hold."""
    ids = set()
    for base, _, names in os.walk(directory):
        for name in names:
            path = ctypes.create_string_buffer(os.path.join(base, name).encode())
            fd = bpf(BPF_OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))
            if fd < 0:
                continue
            kind, words = bpf_info(fd)
            os.close(fd)
            ids.add((kind, words[1]))
            if kind == "link":
                ids.add(("prog", words[2]))
    return ids


def id_alive(kind, number):
    fd = bpf({"prog": 13, "map": 14, "link": 30}[kind], struct.pack("=III", number, 0, 0))
    if fd < 0:
        return False
    os.close(fd)
    return True


def remove_cgroup(path):
    """Kill what is in the cgroup and below, and remove it."""
    for base, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            with open(os.path.join(base, "cgroup.kill"), "w", encoding="ascii") as f:
                f.write("1")
        for _ in range(200):
            try:
                os.rmdir(base)
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.01)


def sweep(mine=False):
    """Remove what runs of the harness that are dead left behind (and, with @mine, this one's)."""
    def stale(name):
        m = re.match(r"(?:kaccel-)?kt(\d+)x", name)
        if not m:
            return False
        if int(m[1]) == os.getpid():
            return mine
        try:
            with open(f"/proc/{m[1]}/cmdline", "rb") as f:
                return b"pytest" not in f.read()
        except FileNotFoundError:
            return True

    found = []
    root = cgroup_mount()
    for name in filter(stale, os.listdir(root)):
        found.append(f"cgroup {name}")
        remove_cgroup(os.path.join(root, name))
    if os.path.isdir(BPFFS):
        for name in filter(stale, os.listdir(BPFFS)):
            found.append(f"pins {name}")
            shutil.rmtree(os.path.join(BPFFS, name), ignore_errors=True)
    if os.path.isdir("/run/netns"):
        for name in filter(stale, os.listdir("/run/netns")):
            found.append(f"netns {name}")
            run("ip", "netns", "del", name, check=False)
    return found
