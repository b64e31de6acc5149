#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""kaccel beside nginx and h2o, in one run: the peers take turns, round after round, on the same
files and the same way, under wrk. Prints a table and writes everything to bench/out/<date>.json."""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import signal
import statistics
import sys

from bed import SIGNALS, Bed, Failed, Meter, Net, hush, need
from peers import KINDS, Kaccel, first_line

HERE = pathlib.Path(__file__).resolve().parent
STATS = pathlib.Path("/proc/sys/kernel/bpf_stats_enabled")


def words(allowed):
    def parse(text):
        found = text.split(",")
        for word in found:
            if word not in allowed:
                raise argparse.ArgumentTypeError(f"{word}: one of {', '.join(allowed)}")
        return found
    return parse


def sizes(text):
    found = []
    for word in text.lower().split(","):
        match = re.fullmatch(r"(\d+)(k?)", word)
        if not match or not int(match[1]):
            raise argparse.ArgumentTypeError(f"{word}: bytes, or 1k, 4k and so on")
        found.append(int(match[1]) * (1024 if match[2] else 1))
    return found


def options():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--peers", type=words(KINDS), default=list(KINDS))
    p.add_argument("--over", type=words(("veth", "lo")), default=["veth", "lo"])
    p.add_argument("--case", type=words(("hit", "miss")), default=["hit", "miss"])
    p.add_argument("--size", type=sizes, default=[64, 1024], help="e.g. 64,1k,4k (64,1k)")
    p.add_argument("--rounds", type=int, default=11, help="of which the median is told (11)")
    p.add_argument("--cpu-rounds", type=int, default=3, help="to tell the server's CPU time (3)")
    p.add_argument("--seconds", type=int, default=1, help="of load per run (1)")
    # On two cores, nginx and h2o did best with these, of 1 and 2 threads, 16 to 128 connections.
    p.add_argument("--threads", type=int, default=2, help="of wrk (2)")
    p.add_argument("--connections", type=int, default=64, help="of wrk (64)")
    p.add_argument("--kaccel", default=HERE.parent / "build" / "kaccel", metavar="BINARY")
    p.add_argument("--out", type=pathlib.Path, default=HERE / "out", metavar="DIR")
    return p.parse_args()


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def wrk(opt, bed, net, url, seconds):
    out = bed.run(*net.client("wrk", f"-t{opt.threads}", f"-c{opt.connections}", f"-d{seconds}",
                              "--latency", url), timeout=seconds + 30)
    for bad in ("Socket errors", "Non-2xx"):
        if bad in out:
            raise Failed(f"{url}: " + next(ln for ln in out.splitlines() if bad in ln).strip())
    return {"requests": int(re.search(r"(\d+) requests in", out)[1]),
            "rps": float(re.search(r"Requests/sec:\s*([\d.]+)", out)[1]),
            "p50_ms": milliseconds(re.search(r"^ +50% +(\S+)", out, re.M)[1]),
            "p99_ms": milliseconds(re.search(r"^ +99% +(\S+)", out, re.M)[1])}


def measure(opt, bed, net, peer, case, size):
    """One run of one peer. For kaccel, its counters have to agree with what was asked."""
    url = peer.url(f"{case}{size}.html")
    before = peer.counters()
    meter = Meter(net, peer.group)
    run = wrk(opt, bed, net, url, opt.seconds)
    run.update(meter.since())
    if before:
        after = peer.counters()
        run["counted"] = after[case] - before[case]
        if run["counted"] < 0.9 * run["requests"]:
            passes = {why: n - before["passes"][why] for why, n in after["passes"].items()}
            raise Failed(f"{url}: only {run['counted']} of {run['requests']} requests were a "
                         f"{case}, most passes were {max(passes, key=passes.get)}: "
                         "see include/kaccel/counters.h")
    return run


def programs(opt, bed, net, peer, case, size, pinned):
    """Run time of each BPF program in a short pass of its own, for counting it costs time."""
    old = STATS.read_text()
    with contextlib.ExitStack() as stack, peer.ready(pinned):
        stack.callback(STATS.write_text, old)
        STATS.write_text("1")
        before = peer.programs()
        run = wrk(opt, bed, net, peer.url(f"{case}{size}.html"), 1)
        rows = []
        for name, (ns, count) in peer.programs().items():
            ns, count = ns - before[name][0], count - before[name][1]
            rows.append({"over": net.over, "case": case, "size": size, "program": name,
                         "runs": count, "run_time_ns": ns, "requests": run["requests"],
                         "ns_per_run": ns / count if count else None,
                         "runs_per_request": count / run["requests"]})
        return rows


def content(opt, root):
    """The files that are served: {(case, size): path}."""
    files = {}
    for case in opt.case:
        for size in opt.size:
            path = root / f"{case}{size}.html"
            path.write_bytes(bytes(33 + i % 94 for i in range(size)))
            files[case, size] = path
    return files


def take_turns(opt, bed, net, peers, pinned, rounds, accounted):
    """Let every peer run once per round: {(size, case, peer name): [run, ...]}."""
    # A miss is compared with nginx alone: it is nginx's.
    turns = [(size, case, name) for size in opt.size for case in opt.case
             for name in opt.peers if case == "hit" or name != "h2o"]
    runs = {turn: [] for turn in turns}
    for number in range(rounds):
        # Every other round backwards, so that no peer always comes after the same one.
        for size, case, name in turns[::-1 if number % 2 else 1]:
            shared = accounted and net.account(size)
            with peers[name].ready(pinned):
                run = measure(opt, bed, net, peers[name], case, size)
            if accounted:
                run["client_receive_included"] = shared
            runs[size, case, name].append(run)
            print(f"{net.over} {'cpu ' if accounted else ''}{number + 1}/{rounds} {size} {case} "
                  f"{name}: {run['rps']:.0f}/s", file=sys.stderr)
    return runs


def bench(opt, bed):
    """All runs, as rows of results and of programs."""
    root = bed.dir / "root"
    root.mkdir()
    bed.dir.chmod(0o755)
    files = content(opt, root)
    pinned = [path for (case, _), path in files.items() if case == "hit"]
    results, rows = [], []
    for over in opt.over:
        net = Net(bed, over)
        peers = {name: KINDS[name](bed, net, root) for name in ("nginx", "h2o")
                 if name in opt.peers or (name == "nginx" and "kaccel" in opt.peers)}
        for server in peers.values():
            for path in files.values():
                server.wait(bed, path.name, path.read_bytes())
        if "kaccel" in opt.peers:
            peers["kaccel"] = Kaccel(bed, net, peers["nginx"], opt.kaccel)
        for peer in peers.values():
            with peer.ready(pinned):
                wrk(opt, bed, net, peer.url(next(iter(files.values())).name), 1)
        runs = take_turns(opt, bed, net, peers, pinned, opt.rounds, False)
        cost = take_turns(opt, bed, net, peers, pinned, opt.cpu_rounds, True) \
            if over == "veth" else {}
        results += summary(over, runs, cost)
        for case in opt.case if "kaccel" in opt.peers else ():
            rows += programs(opt, bed, net, peers["kaccel"], case, opt.size[-1], pinned)
    return results, rows


def quartiles(values):
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


def summary(over, runs, cost):
    """Medians, and quartiles of the ratios within each round."""
    results = []
    for (size, case, name), mine in runs.items():
        row = {"over": over, "size": size, "case": case, "peer": name}
        for field in ("rps", "p50_ms", "p99_ms"):
            row[field] = statistics.median(r[field] for r in mine)
        told = cost.get((size, case, name)) or mine
        row["server_us"] = statistics.median(
            (r["process_ns"] + r["receive_ns"]) / r["requests"] / 1000 for r in told)
        row["machine_us"] = statistics.median(
            r["machine_ns"] / r["requests"] / 1000 for r in mine)
        for other in ("nginx", "h2o"):
            theirs = name != other and runs.get((size, case, other))
            row[f"to_{other}"] = quartiles(
                [a["rps"] / b["rps"] for a, b in zip(mine, theirs)]) if theirs else None
        row["runs"], row["cpu_runs"] = mine, cost.get((size, case, name), [])
        results.append(row)
    return results


def table(results, rows):
    print(f"\n{'over':5}{'size':>6} {'case':5}{'peer':7}{'requests/s':>11}{'p99 ms':>8}"
          f"{'server µs':>11}{'all µs':>8}   {'× nginx':20}{'× h2o'}")
    for r in results:
        ratios = ["{1:.2f} ({0:.2f}–{2:.2f})".format(*r[k]) if r[k] else ""
                  for k in ("to_nginx", "to_h2o")]
        mark = "*" if r["over"] == "lo" else "+" if any(
            c["client_receive_included"] for c in r["cpu_runs"]) else " "
        print(f"{r['over']:5}{r['size']:>6} {r['case']:5}{r['peer']:7}{r['rps']:>11.0f}"
              f"{r['p99_ms']:>8.2f}{r['server_us']:>10.1f}{mark}{r['machine_us']:>8.1f}"
              f"   {ratios[0]:20}{ratios[1]}".rstrip())
    print("""
Medians over the rounds; ratios are within each round, with their quartiles.
server µs: CPU time per request of the server's processes and of its device's receive work.
 + with the client's receive work; * of the processes alone: over lo the receive work, and what
   kaccel does, falls to whoever sends.
all µs: CPU time per request of the whole machine, load included.""")
    if rows:
        print(f"\n{'over':5}{'size':>6} {'case':5}{'program':18}{'runs/request':>13}{'ns/run':>8}")
        for r in rows:
            each = f"{r['ns_per_run']:.0f}" if r["runs"] else ""
            print(f"{r['over']:5}{r['size']:>6} {r['case']:5}{r['program']:18}"
                  f"{r['runs_per_request']:>13.2f}{each:>8}")


def machine(opt):
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    versions = {name: KINDS[name].version(opt) for name in opt.peers}
    versions["wrk"] = first_line("wrk", "-v").partition(" [")[0]
    return {"kernel": platform.release(), "arch": platform.machine(),
            "cpu": cpu[1] if cpu else "unknown", "cores": os.cpu_count(),
            "load_before": os.getloadavg()[0], "versions": versions}


def check(opt):
    if os.geteuid():
        raise Failed("namespaces, cgroups and BPF need root: sudo make bench")
    if min(opt.rounds, opt.cpu_rounds, opt.seconds) < 1:
        raise Failed("--rounds, --cpu-rounds and --seconds are at least 1")
    for tool, package in (("wrk", "wrk"), ("ip", "iproute2"), ("ethtool", "ethtool"),
                          ("curl", "curl")):
        need(tool, package)
    names = opt.peers + (["nginx"] if "kaccel" in opt.peers else [])
    for name in names:
        KINDS[name].check(opt)


def on_signal(number, frame):
    hush()
    raise SystemExit(128 + number)


def main():
    opt = options()
    for sig in SIGNALS:
        signal.signal(sig, on_signal)
    try:
        check(opt)
        now = datetime.datetime.now(datetime.timezone.utc)
        report = {"date": now.isoformat(timespec="seconds"),
                  "command": shlex.join(sys.argv), "machine": machine(opt)}
        with Bed() as bed:
            results, rows = bench(opt, bed)
            report["commands"] = bed.commands
    except Failed as err:
        print(f"bench: {err}", file=sys.stderr)
        return 1
    report["configs"] = {p.name: p.read_text() for p in sorted(HERE.glob("*.conf"))}
    report["results"] = results
    report["programs"] = rows
    on = report["machine"]
    print(f"\nLinux {on['kernel']}, {on['cores']} × {on['cpu']}, load before "
          f"{on['load_before']:.2f}; {', '.join(on['versions'].values())}")
    table(results, rows)
    opt.out.mkdir(parents=True, exist_ok=True)
    path = opt.out / f"{now:%Y-%m-%dT%H%M%SZ}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"\n{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
