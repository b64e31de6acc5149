# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""End-to-end tests: real nginx, real clients, packets really lost. Needs root.

Each test runs twice: on nginx alone, as the control that proves the test, and with kaccel.
"""

import os
import shutil

import pytest

from kt import net
from kt.env import Env


def pytest_sessionstart(session):
    if os.geteuid():
        pytest.exit("the end-to-end tests need root: run them with sudo", 2)
    for tool in ("nginx", "ethtool", "ip", "tc", "nsenter", "bpftool"):
        if not shutil.which(tool):
            pytest.exit(f"{tool} is not installed", 2)
    net.sweep()


def pytest_sessionfinish(session):
    if os.geteuid() == 0:
        net.sweep(mine=True)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    setattr(item, "report_" + report.when, report)


def _environments(request, tmp_path, lane, **kw):
    made = []

    def make(which=None, **more):
        env = Env(tmp_path / f"env{len(made)}", which or lane, **{**kw, **more})
        made.append(env)
        return env

    yield make
    report = getattr(request.node, "report_call", None)
    keep = report is None or report.failed
    complaints = []
    for env in reversed(made):
        complaints += env.close(keep)
    assert not complaints, "\n".join(complaints)


@pytest.fixture(params=["nginx", "kaccel"])
def lane(request):
    return request.param


@pytest.fixture
def make_env(request, tmp_path, lane):
    """Makes environments of the test's lane, and removes them."""
    yield from _environments(request, tmp_path, lane)


@pytest.fixture
def env(make_env):
    return make_env()


@pytest.fixture
def kenv(request, tmp_path):
    """Makes environments with kaccel only: for what a plain server has not."""
    yield from _environments(request, tmp_path, "kaccel")
