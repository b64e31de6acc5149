# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""One test's surroundings: namespaces, cgroup, origin, kaccel, clients."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time

from . import net
from .http import Http
from .net import Ns, Wire, run, wait_for
from .packets import Flow
from .rawtcp import RawTcp

NUMBERS = itertools.count()

NGINX_CONF = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/error.log info;
events {{ worker_connections 2048; }}
http {{
	log_format kt '$remote_port $connection_requests $request_method $request_uri $status';
	access_log {dir}/access.log kt;
	client_body_temp_path {dir}/tmp;
	proxy_temp_path {dir}/tmp;
	fastcgi_temp_path {dir}/tmp;
	uwsgi_temp_path {dir}/tmp;
	scgi_temp_path {dir}/tmp;
	sendfile on;
	tcp_nopush on;
	tcp_nodelay on;
	keepalive_requests 1000000;
	keepalive_timeout {keepalive};
	charset utf-8;
	charset_types text/css text/plain;
	default_type application/octet-stream;
	types {{ text/html html; text/css css; text/plain txt; }}
	server {{
		listen {port}{listen};
		listen [::]:{port} ipv6only=on{listen};
		server_name _;
		root {www};
		add_header X-Origin nginx always;
		location = /nocontent {{ return 204; }}
		location /limited/ {{ alias {www}/; limit_rate 30k; }}
		location = /closing {{ keepalive_timeout 0; return 200 "closing\\n"; }}
		{extra}
	}}
	{more}
}}
"""


class Env:
    """With @lane "kaccel" the origin gets kaccel in front of it, with "nginx" it stays alone: what
    a test expects must hold of both, so that a test proves itself on the plain server."""

    def __init__(self, tmp, lane, offload=False):
        self.name = f"{net.PREFIX}{next(NUMBERS)}"
        self.tmp, self.lane = str(tmp), lane
        self.www = os.path.join(self.tmp, "www")
        self.pins = os.path.join(self.tmp, "pins")
        self.closers, self.ids, self.instances = [], set(), []
        self.numbers = itertools.count()
        self.wire = None
        self.client4, self.server4, self.raw4 = "10.77.0.1", "10.77.0.2", "10.77.0.99"
        self.client6, self.server6, self.raw6 = "fd77::1", "fd77::2", "fd77::99"
        self.cgroup = os.path.join(net.cgroup_mount(), self.name)
        os.makedirs(self.www)
        os.makedirs(self.pins)
        os.mkdir(self.cgroup)
        self.client = Ns(self.name + "c")
        self.between = Ns(self.name + "w")
        self.server = Ns(self.name + "s")
        self.kaccel = Kaccel(self, self.name)
        self._join(offload)
        self.wire = Wire(self.between, self.tmp)

    @property
    def on(self):
        return self.lane == "kaccel"

    def _join(self, offload):
        self.between.ip("link set lo up",
                        f"link add w0 type veth peer name c0 netns {self.client.name}",
                        f"link add w1 type veth peer name s0 netns {self.server.name}")
        for ns in (self.client, self.between, self.server):
            ns.sysctl("ipv6.conf.all.accept_dad", 0)
            ns.sysctl("ipv6.conf.default.accept_dad", 0)
        self.between.sysctl("ipv6.conf.all.disable_ipv6", 1)
        if not offload:
            for ns, dev in ((self.client, "c0"), (self.server, "s0")):
                ns.run("ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        self.between.ip("link set w0 up", "link set w1 up")
        self.client.ip("link set lo up", "link set c0 address 02:00:00:00:00:0c up",
                       *self._addresses("c0", self.client4, self.client6))
        self.server.ip("link set lo up", "link set s0 address 02:00:00:00:00:05 up",
                       *self._addresses("s0", self.server4, self.server6),
                       f"neigh add {self.raw4} lladdr 02:00:00:00:00:0c dev s0 nud permanent",
                       f"neigh add {self.raw6} lladdr 02:00:00:00:00:0c dev s0 nud permanent")

    @staticmethod
    def _addresses(dev, v4, v6):
        """cubic by way of the route: a namespace may not choose it where init does not allow it."""
        return (f"addr add {v4}/24 dev {dev} noprefixroute",
                f"addr add {v6}/64 dev {dev} nodad noprefixroute",
                f"route add 10.77.0.0/24 dev {dev} src {v4} congctl cubic",
                f"route add fd77::/64 dev {dev} src {v6} congctl cubic")

    # Files

    def file(self, name, content):
        """A file of the origin's; returns its path."""
        path = os.path.join(self.www, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content)
        return path

    def pin(self, name, content=None, host="*", **kw):
        """Pin a file of the origin's as it is, or @content under its URL (no-op without kaccel)."""
        if content is None:
            path = os.path.join(self.www, name)
        else:
            path = os.path.join(self.pins, name.replace("/", "_"))
            with open(path + ".new", "wb") as f:
                f.write(content)
            os.rename(path + ".new", path)
        if self.on:
            self.kaccel("pin", path, "--url", f"http://{host}/{name}", *itertools.chain(
                *((f"--{k}", str(v)) for k, v in kw.items())))

    # Servers

    def join_cgroup(self):
        with open(os.path.join(self.cgroup, "cgroup.procs"), "w", encoding="ascii") as f:
            f.write(str(os.getpid()))
        net.die_with_parent()

    def spawn(self, *args, **kw):
        """A process in the server's namespace and the test's cgroup."""
        proc = subprocess.Popen(self.server.command(*args), preexec_fn=self.join_cgroup, **kw)
        self.closers.append(lambda: stop(proc))
        return proc

    def nginx(self, port=8080, keepalive="75s", listen="", extra="", more="", attach=True):
        """Start nginx, and kaccel in front of it when that is what is tested."""
        directory = os.path.join(self.tmp, f"nginx{port}")
        os.makedirs(os.path.join(directory, "tmp"))
        conf = os.path.join(directory, "nginx.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(NGINX_CONF.format(dir=directory, www=self.www, port=port, keepalive=keepalive,
                                      listen=" " + listen if listen else "", extra=extra, more=more))
        os.chmod(self.tmp, 0o755)
        proc = self.spawn("nginx", "-e", os.path.join(directory, "error.log"), "-p", directory,
                          "-c", conf, stderr=subprocess.DEVNULL)
        self._wait_listening(proc, port, directory, 2)
        if attach:
            self.attach(port=port)
        return proc

    def access_log(self, port=8080):
        """[(client port, request number, method, uri, status)] of what reached nginx."""
        rows = []
        with open(os.path.join(self.tmp, f"nginx{port}", "access.log"), encoding="latin-1") as f:
            for line in f:
                rows.append(tuple(line.split(" ")))
        return rows

    def origin(self, *args, port=8080, attach=True):
        """Start the programmable origin (origin.py); it records what it receives."""
        directory = os.path.join(self.tmp, f"origin{port}")
        os.makedirs(directory)
        log = open(os.path.join(directory, "errors"), "w", encoding="ascii")
        self.closers.append(log.close)
        proc = self.spawn(sys.executable, os.path.join(os.path.dirname(__file__), "origin.py"),
                          "--port", str(port), "--log", directory, *args, stderr=log)
        self._wait_listening(proc, port, directory)
        if attach:
            self.attach(port=port)
        return proc

    def recorded(self, client_port, port=8080):
        """What the programmable origin received from so numbered a client."""
        path = os.path.join(self.tmp, f"origin{port}", f"{client_port}.received")
        try:
            with open(path, "rb") as f:
                return f.read()
        except FileNotFoundError:
            return b""

    def _wait_listening(self, proc, port, directory, sockets=1):
        def up():
            assert proc.poll() is None, f"the server did not start: see {directory}"
            return self.server.listening(port) >= sockets
        wait_for("the server", up)

    # kaccel

    def attach(self, port=8080, dev="s0,lo", **options):
        """Put kaccel in front (no-op without it): small, and with no request passed for the
        origin's idle timer, unless told otherwise."""
        if self.on:
            self.kaccel.attach(port, dev, **{"memory": "8M", "connections": 4096, "refresh": 3600,
                                             **options})

    def hits(self):
        return self.kaccel.stats()["lanes"]["packet"]["hits"] if self.on else 0

    # Clients

    def http(self, v6=False, **kw):
        return Http(self, self.server6 if v6 else self.server4, **kw)

    def raw(self, **kw):
        return RawTcp(self, **kw)

    def urls(self, entries):
        """A list for httpclient: [(path, status, body or (bodies...) or None for any, type)]."""
        lines, tag = [], next(self.numbers)
        for number, (path, status, bodies, *kind) in enumerate(entries):
            names = []
            for i, body in enumerate(bodies if isinstance(bodies, tuple) else (bodies,)):
                if body is None:
                    names.append("*")
                    continue
                name = os.path.join(self.tmp, f"expect{tag}-{number}-{i}")
                with open(name, "wb") as f:
                    f.write(body)
                names.append(name)
            lines.append(" ".join([path, str(status), ",".join(names), *kind]))
        path = os.path.join(self.tmp, f"urls{tag}")
        with open(path, "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        return path

    def load(self, urls, *options, v6=False, on_server=False, port=8080, address=None):
        """httpclient in the background; .result() waits, fails on any difference, and gives its
        counts."""
        ns = self.server if on_server else self.client
        if address is None:
            address = ("::1" if v6 else "127.0.0.1") if on_server else \
                (self.server6 if v6 else self.server4)
        return Load(self, ns, options, address, port, urls)

    def fetch_all(self, urls, *options, **kw):
        return self.load(urls, *options, **kw).result()

    # What was seen

    def flow(self, client_port, end="server"):
        return Flow(self.wire.packets(end), client_port)

    def close(self, keep):
        """Take everything down; what could not be is returned as a list of complaints."""
        complaints = []
        for closer in reversed(self.closers):
            try:
                closer()
            except Exception as e:  # pylint: disable=broad-except
                complaints.append(f"closing: {e}")
        for instance in self.instances:
            pins = os.path.join(net.BPFFS, instance.name)
            self.ids |= net.pinned_ids(pins)
            if os.path.isdir(pins):
                done = instance("detach", "--now", check=False)
                if done.returncode:
                    complaints.append(f"detach --now: {done.stderr.strip()}")
                if os.path.isdir(pins):
                    complaints.append(f"left: {pins}: {os.listdir(pins)}")
                    shutil.rmtree(pins, ignore_errors=True)
        if self.instances:
            complaints += self._left_on_devices()
        if self.wire:
            self.wire.stop()
        for ns in (self.client, self.between, self.server):
            ns.delete()
        net.remove_cgroup(self.cgroup)
        left = set(self.ids)
        end = time.monotonic() + 5
        while left and time.monotonic() < end:
            left = {i for i in left if net.id_alive(*i)}
            if left:
                time.sleep(0.05)
        complaints += [f"left: {kind} {number}" for kind, number in left]
        if os.path.isdir(self.cgroup):
            complaints.append(f"left: {self.cgroup}")
        if not keep:
            shutil.rmtree(self.tmp, ignore_errors=True)
        return complaints

    def _left_on_devices(self):
        left = []
        for line in self.server.run("tc", "qdisc", "show", check=False).stdout.splitlines():
            if "clsact" in line:
                left.append(f"left: {line}")
        done = run("bpftool", "-j", "cgroup", "show", self.cgroup, check=False)
        if done.returncode == 0 and done.stdout.strip() not in ("", "[]"):
            left.append(f"left on the cgroup: {done.stdout.strip()}")
        return left


class Kaccel:
    """The command line, as a user would drive it, in the server's namespace."""

    def __init__(self, env, name):
        self.env, self.name = env, name

    def command(self, *args):
        return self.env.server.command(net.KACCEL, "--instance", self.name, *args)

    def __call__(self, *args, check=True):
        return run(*self.command(*args), check=check)

    def popen(self, *args, **kw):
        return subprocess.Popen(self.command(*args), preexec_fn=net.die_with_parent, **kw)

    def attach(self, port=8080, dev="s0,lo", cgroup=None, **kw):
        if self not in self.env.instances:
            self.env.instances.append(self)
        self("attach", "--cgroup", cgroup or self.env.cgroup, "--port", str(port), "--dev", dev,
             *itertools.chain(*((f"--{k}", str(v)) for k, v in kw.items() if v is not None)))
        self.env.ids |= net.pinned_ids(os.path.join(net.BPFFS, self.name))

    def detach(self, now=False, check=True):
        return self("detach", *(["--now"] if now else []), check=check)

    def json(self, *args):
        return json.loads(self("--json", *args).stdout)

    def stats(self):
        return self.json("stats")


class Load:
    def __init__(self, env, ns, options, address, port, urls):
        self.proc = subprocess.Popen(
            ns.command(os.path.join(net.TOOLS, "httpclient"), *map(str, options), address,
                       str(port), urls),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=net.die_with_parent)
        env.closers.append(lambda: stop(self.proc))

    def running(self):
        return self.proc.poll() is None

    def result(self, timeout=60):
        out, err = self.proc.communicate(timeout=timeout)
        assert self.proc.returncode == 0, err.strip() or f"status {self.proc.returncode}"
        return json.loads(out)


def stop(proc):
    if proc.poll() is None:
        proc.kill()
    proc.wait(5)
    for f in (proc.stdin, proc.stdout, proc.stderr):
        if f:
            f.close()
