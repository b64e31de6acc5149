# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""What the README tells a user to type is what works."""

import os
import re

import pytest

from kt import net

HOT = b"answered in the kernel\n" * 30


def readme_lines(marker, env):
    """The commands below the marker, for the test's instance."""
    with open(os.path.join(net.ROOT, "README.md"), encoding="utf-8") as f:
        text = f.read()
    block = re.search(rf"<!-- bpftool: {marker}.*?-->\n```sh\n(.*?)```", text, re.S).group(1)
    return block.replace("/kaccel/web", "/kaccel/" + env.name)


def readme_run(marker, env):
    script = f"cd {net.ROOT}; DEV=s0; CGROUP={env.cgroup}; set -e\n" + readme_lines(marker, env)
    return env.server.run("sh", "-c", script).stdout


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_readme_bpftool_alone(kenv, v6):
    """Loading, attaching to a cgroup and a device, and reading the counters with bpftool and tc."""
    env = kenv()
    env.file("hot.html", HOT)
    env.nginx(attach=False)
    env.instances.append(env.kaccel)
    readme_run("the tests run these lines", env)
    env.ids |= net.pinned_ids(os.path.join(net.BPFFS, env.name))
    env.pin("hot.html")
    urls = env.urls([("/hot.html", 200, HOT)])
    env.fetch_all(urls, "-q", 20, v6=v6)
    env.fetch_all(urls, "-q", 20, v6=v6, on_server=True)
    counted = readme_run("reading", env)
    hits = [int(n, 16) for n in re.findall(r"value \(CPU \d+\):\s*([0-9a-f]{2})", counted)]
    hits = hits or [int(n) for n in re.findall(r'"value": (\d+)', counted)]
    # The device's connections alone: the loopback device was not attached to.
    assert sum(hits) == env.hits() == 20, counted
    readme_run("detaching", env)
    assert not os.path.exists(os.path.join(net.BPFFS, env.name))
