# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What is compared: nginx, h2o, and kaccel as the sidecar of that same nginx."""

import contextlib
import json
import pathlib
import shutil
import string
import subprocess
import time

from bed import Failed, need

HERE = pathlib.Path(__file__).resolve().parent


class Server:
    """A server that runs as long as its bed."""

    port = 0

    def __init__(self, bed, net, root):
        self.net = net
        conf = bed.dir / f"{self.name}-{net.over}.conf"
        text = (HERE / f"{self.name}.conf").read_text()
        conf.write_text(string.Template(text).safe_substitute(
            dir=bed.dir, address=net.address, port=self.port, root=root))
        self.group = bed.start(net, self.name, *self.argv(bed, conf))

    def url(self, name):
        return f"http://{self.net.address}:{self.port}/{name}"

    def wait(self, bed, name, content):
        """Until it answers, and with the right bytes."""
        for _ in range(100):
            got = subprocess.run(self.net.client("curl", "-sf", "-m", "5", self.url(name)),
                                 capture_output=True, check=False)
            if not got.returncode:
                break
            time.sleep(0.05)
        if got.stdout != content:
            log = (bed.dir / f"{self.group.name}.log").read_text().strip().splitlines()
            raise Failed(f"{self.name} does not serve {self.url(name)}: "
                         f"{log[-1] if log else 'no answer, or other bytes'}")

    @contextlib.contextmanager
    def ready(self, pinned):
        """In the state that is measured."""
        yield

    def counters(self):
        return None


class Nginx(Server):
    name, port = "nginx", 8080

    @staticmethod
    def check(opt):
        need("nginx", "nginx")

    @staticmethod
    def argv(bed, conf):
        return ["nginx", "-p", bed.dir, "-c", conf]

    @staticmethod
    def version(opt):
        return first_line("nginx", "-v").partition(": ")[2]


class H2o(Server):
    name, port = "h2o", 8081

    @staticmethod
    def check(opt):
        need("h2o", "h2o")

    @staticmethod
    def argv(bed, conf):
        return ["h2o", "-m", "worker", "-c", conf]

    @staticmethod
    def version(opt):
        return first_line("h2o", "--version")


class Kaccel:
    """kaccel attached to the nginx that is measured without it, only while it is measured."""

    name = "kaccel"

    def __init__(self, bed, net, nginx, binary):
        self.bed, self.net, self.nginx = bed, net, nginx
        self.group = nginx.group
        self.url = nginx.url
        self.instance = f"{bed.tag}{net.over}"
        self.kaccel = net.server(binary, "--instance", self.instance)

    @staticmethod
    def check(opt):
        need("bpftool", "bpftool")
        if not shutil.which(opt.kaccel):
            raise Failed(f"{opt.kaccel} is not there: run make first, or --peers nginx,h2o")

    @staticmethod
    def version(opt):
        return "kaccel " + first_line("git", "-C", HERE, "describe", "--always", "--dirty")

    @contextlib.contextmanager
    def ready(self, pinned):
        self.bed.run(*self.kaccel, "attach", "--cgroup", self.group, "--port", self.nginx.port,
                     "--dev", self.net.device)
        try:
            for path in pinned:
                self.bed.run(*self.kaccel, "pin", path, "--url", f"http://*/{path.name}",
                             "--type", "text/html")
            yield
        finally:
            self.bed.run(*self.kaccel, "detach", "--now")

    def counters(self):
        stats = json.loads(self.bed.run(*self.kaccel, "--json", "stats"))
        return {"hit": stats["lanes"]["packet"]["hits"], "miss": stats["misses"],
                "passes": stats["passes"]}

    def programs(self):
        """Run time and count of the attached programs, by name."""
        found = {}
        for pin in sorted(pathlib.Path("/sys/fs/bpf/kaccel", self.instance).iterdir()):
            with contextlib.suppress(Failed):
                link = json.loads(self.bed.run("bpftool", "-j", "link", "show", "pinned", pin))
                prog = json.loads(self.bed.run("bpftool", "-j", "prog", "show",
                                               "id", link["prog_id"]))
                found[prog["name"]] = (prog.get("run_time_ns", 0), prog.get("run_cnt", 0))
        return found


def first_line(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


KINDS = {"nginx": Nginx, "h2o": H2o, "kaccel": Kaccel}
