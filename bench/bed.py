# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""The test bed: namespaces, devices and cgroups of one run, its processes, and what they cost."""

import contextlib
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
import time

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# RFC 2544's addresses for benchmarks.
CLIENT, SERVER, SUBNET, LOOPBACK = "198.18.0.1", "198.18.0.2", "198.18.0.0/24", "127.0.0.1"

# A body of this size and its head fit one segment of an Ethernet.
ONE_SEGMENT = 1100

# By route: the sysctl of a namespace takes only what the whole machine allows.
CUBIC = ("congctl", "cubic")


class Failed(Exception):
    """What went wrong and how to mend it, in one line."""


def hush():
    """From here on the run is ending, and nothing keeps it from taking everything away."""
    for sig in SIGNALS:
        signal.signal(sig, signal.SIG_IGN)


def need(tool, package):
    if not shutil.which(tool):
        raise Failed(f"{tool} is not installed: apt-get install {package}")


class Bed(contextlib.ExitStack):
    """Owns everything that a run leaves on the machine; leaving it takes all of it away."""

    def __enter__(self):
        super().__enter__()
        self.tag = f"kb{os.getpid()}"
        self.commands = []
        self.dir = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix=self.tag)))
        self.cgroup = cgroup2() / self.tag
        self.callback(rmdir, self.cgroup)
        self.cgroup.mkdir()
        return self

    def __exit__(self, *exc):
        hush()
        return super().__exit__(*exc)

    def run(self, *argv, timeout=60):
        """Run a command to its end; its output."""
        argv = [str(a) for a in argv]
        self.note(argv)
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=timeout, check=False)
        except FileNotFoundError:
            raise Failed(f"{argv[0]} is not there") from None
        except subprocess.TimeoutExpired:
            raise Failed(f"{shlex.join(argv)}: not done after {timeout} s") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            raise Failed(f"{shlex.join(argv)}: {said[-1]}")
        return done.stdout

    def note(self, argv):
        line = shlex.join(argv)
        if line not in self.commands:
            self.commands.append(line)

    def start(self, net, name, *argv):
        """Start a server in a cgroup of its own, which is returned. It dies with the bed."""
        group = self.cgroup / f"{name}-{net.over}"
        group.mkdir()
        self.callback(rmdir, group)
        argv = net.server("setpriv", "--pdeathsig", "TERM", *argv)
        self.note(argv)
        log = self.enter_context(open(self.dir / f"{group.name}.log", "w+", encoding="utf-8"))
        join = f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))} && exec {shlex.join(argv)}"
        proc = subprocess.Popen(["sh", "-c", join], stdin=subprocess.DEVNULL, stdout=log,
                                stderr=subprocess.STDOUT, start_new_session=True)
        self.callback(stop, proc, group)
        return group


class Net:
    """The way from the load to the servers: a veth pair between two namespaces, or loopback."""

    def __init__(self, bed, over):
        self.bed, self.over = bed, over
        self.napi = []
        self.ends = []
        server = namespace(bed, f"{bed.tag}{over}s")
        self.server = self.client = within(server)
        self.address, self.device = LOOPBACK, "lo"
        bed.run(*self.server("ip", "link", "set", "lo", "up"))
        if over == "lo":
            bed.run(*self.server("ip", "route", "replace", "local", LOOPBACK, "dev", "lo", "table",
                                 "local", *CUBIC))
            return
        client = namespace(bed, f"{bed.tag}{over}c")
        self.client = within(client)
        self.address, self.device = SERVER, f"{bed.tag}s"
        self.ends = [(server, self.device, SERVER), (client, f"{bed.tag}c", CLIENT)]
        bed.run("ip", "link", "add", self.device, "netns", server, "type", "veth",
                "peer", "name", f"{bed.tag}c", "netns", client)
        for name, device, address in self.ends:
            bed.run(*within(name)("ip", "address", "add", f"{address}/24", "dev", device))
            bed.run(*within(name)("ip", "link", "set", device, "up"))
            bed.run(*within(name)("ip", "route", "replace", SUBNET, "dev", device, "src", address,
                                  *CUBIC))

    def account(self, size):
        """
        Give each end's receive work a thread of its own, so that its CPU time can be told. That
        costs every peer some throughput. veth takes packets to that thread only when the other
        end has no TSO; replies of several segments keep it, and the client's receive work is then
        done on the server's time. Returns whether that is so.
        """
        for name, device, _ in self.ends if not self.napi else ():
            self.bed.run(*within(name)("ethtool", "-K", device, "gro", "on", "tso", "off"))
            self.bed.run("ip", "netns", "exec", name, "sh", "-c",
                         f"echo 1 > /sys/class/net/{device}/threaded")
        if self.ends:
            self.napi = self.napi or napi_threads(self.device)
            tso = "off" if size <= ONE_SEGMENT else "on"
            self.bed.run(*self.server("ethtool", "-K", self.device, "tso", tso))
        return size > ONE_SEGMENT


class Meter:
    """CPU time of the server side and of the whole machine between two moments."""

    def __init__(self, net, group):
        self.net, self.group = net, group
        self.process, self.receive, self.machine = self.read()

    def read(self):
        pids = (self.group / "cgroup.procs").read_text().split()
        process = sum(run_time(task) for pid in pids
                      for task in pathlib.Path(f"/proc/{pid}/task").iterdir())
        receive = sum(run_time(pathlib.Path(f"/proc/{pid}")) for pid in self.net.napi)
        return process, receive, busy()

    def since(self):
        """Nanoseconds since the meter was made."""
        process, receive, machine = self.read()
        return {"process_ns": process - self.process, "receive_ns": receive - self.receive,
                "machine_ns": machine - self.machine}


def cgroup2():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        fields = line.split()
        if fields[2] == "cgroup2":
            return pathlib.Path(fields[1])
    raise Failed("no cgroup2 file system: mount -t cgroup2 none /sys/fs/cgroup/unified")


def rmdir(path):
    """Remove a cgroup, once the processes that were ended have left it."""
    for _ in range(100):
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)


def stop(proc, group):
    """End a server and what it has forked."""
    proc.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        proc.wait(5)
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    proc.wait()


def namespace(bed, name):
    bed.run("ip", "netns", "add", name)
    bed.callback(subprocess.run, ["ip", "netns", "delete", name], check=False)
    return name


def within(name):
    """A function that puts a command into a namespace. Not `ip netns exec`, which hides pins."""
    return lambda *argv: ["nsenter", f"--net=/run/netns/{name}", *[str(a) for a in argv]]


def napi_threads(device):
    pids = []
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (proc / "comm").read_text().startswith(f"napi/{device}-"):
                pids.append(int(proc.name))
    if not pids:
        raise Failed(f"{device} has no NAPI thread: needs Linux 5.13 with threaded NAPI")
    return pids


def run_time(task):
    try:
        return int((task / "schedstat").read_text().split()[0])
    except FileNotFoundError:
        raise Failed("no schedstat in /proc: needs CONFIG_SCHED_INFO") from None


def busy():
    user, nice, system, _, _, irq, softirq = map(
        int, pathlib.Path("/proc/stat").read_text().split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) * (10**9 // os.sysconf("SC_CLK_TCK"))
