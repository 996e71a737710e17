#!/usr/bin/env python3
"""What three nodes of Blixard cost when idle, how long a killed leader is missed, how calm load leaves them.

    availability.py --bin BLIXARD [--kills N] [--calm S] [--idle S] [--quick] [--smoke] [--json FILE]

idle      processor time of each node over S seconds without a client, and its memory when fresh.
failover  a client writes through the two other nodes, one put at a time, while the leader's process gets
          SIGKILL. Counted is the longest time between two accepted writes of that run: detection, election,
          the client's way to the new leader, its first write. Then the node comes back, and the next one
          has its turn.
calm      64 clients write for S seconds; a term that moves is an election that nothing called for.

Default settings (heartbeat 50 ms, election 150 to 300 ms), real file system, one machine.
Exit codes: 0 it ran (met targets or not), 1 something failed.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from compare import Blixard, cpu_seconds, rss_bytes, say

IDLE_CPU, RSS_MIB, GAP_P50_MS, GAP_WORST_MS = 0.02, 40, 400, 1000


def bench(program, nodes, clients, seconds):
    return subprocess.Popen([program, "bench", "kv", "--connect", ",".join(n.address for n in nodes),
                             "--clients", str(clients), "--seconds", str(seconds), "-o", "json"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(load):
    out, err = load.communicate(timeout=120 + 2 * 3600)
    if load.returncode != 0:
        raise AssertionError(f"bench kv: exit {load.returncode}: {err.strip()}")
    return json.loads(out)


def idle(cluster, seconds):
    rss = [rss_bytes(n.pid) / 2**20 for n in cluster]
    before = [cpu_seconds([n.pid]) for n in cluster]
    time.sleep(seconds)
    return {"cpu_share": [(cpu_seconds([n.pid]) - b) / seconds for n, b in zip(cluster, before)], "rss_mib": rss}


def failover(program, cluster, kills):
    gaps = []
    for number in range(kills):
        leader = cluster.leader()
        others = [n for n in cluster if n is not leader]
        load = bench(program, others, 1, 3)
        time.sleep(1)
        leader.kill()
        result = result_of(load)
        gaps.append(result["longest_gap_ms"])
        say(f"[{number + 1}/{kills}] leader {leader.number} killed: {gaps[-1]:.0f} ms without an accepted write, "
            f"{result['errors']} of unknown outcome")
        leader.start()
        cluster.wait_ready()
    return gaps


def term_of(cluster):
    return cluster.ok("cluster", "status")["term"]


def calm(program, cluster, seconds):
    before = term_of(cluster)
    say(f"{seconds} s of load from 64 clients")
    result = result_of(bench(program, list(cluster), 64, seconds))
    return {"seconds": seconds, "elections": term_of(cluster) - before, "operations": result["operations"],
            "errors": result["errors"], "longest_gap_ms": result["longest_gap_ms"]}


def print_report(report):
    rows = [("FIGURE", "VALUE", "TARGET", "MET")]

    def row(what, value, form, target):
        rows.append((what, form.format(value), "<= " + form.format(target), "yes" if value <= target else "NO"))

    row("idle, processor share of the busiest node", max(report["idle"]["cpu_share"]), "{:.1%}", IDLE_CPU)
    row("fresh, memory of the largest node, MiB", max(report["idle"]["rss_mib"]), "{:.0f}", RSS_MIB)
    if report["gaps_ms"]:
        row(f"leader killed {len(report['gaps_ms'])} times, first write after ms, p50",
            statistics.median(report["gaps_ms"]), "{:.0f}", GAP_P50_MS)
        row("  worst", max(report["gaps_ms"]), "{:.0f}", GAP_WORST_MS)
    row(f"elections in {report['calm']['seconds']} s of load", report["calm"]["elections"], "{:d}", 0)
    widths = [max(map(len, column)) for column in zip(*rows)]
    for line in rows:
        print("  ".join(t.ljust(w) if i in (0, 3) else t.rjust(w) for i, (t, w) in enumerate(zip(line, widths))).rstrip())


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="the program blixard")
    parser.add_argument("--dir", default=None, help="where the data is kept while it runs [$TMPDIR, /tmp]")
    parser.add_argument("--kills", type=int, default=20, help="of the leader")
    parser.add_argument("--calm", type=int, default=60, help="seconds of load without a fault")
    parser.add_argument("--idle", type=int, default=10, help="seconds without a client")
    parser.add_argument("--quick", action="store_true", help="5 kills, 10 s of load")
    parser.add_argument("--smoke", action="store_true", help="1 kill, 1 s of everything: does it work?")
    parser.add_argument("--json", type=pathlib.Path, default=None, help="write everything here")
    options = parser.parse_args(arguments)
    if options.quick:
        options.kills, options.calm, options.idle = 5, 10, 5
    if options.smoke:
        options.kills, options.calm, options.idle = 1, 1, 1
    return options


def main(arguments):
    options = options_of(arguments)
    program = str(pathlib.Path(options.bin).resolve())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="blixard-bench.", dir=options.dir))
    system = Blixard(folder, program)
    try:
        system.start()
        cluster = system.cluster
        report = {"load_average": os.getloadavg()[0], "idle": idle(cluster, options.idle)}
        report["gaps_ms"] = failover(program, cluster, options.kills)
        report["calm"] = calm(program, cluster, options.calm)
    except (AssertionError, subprocess.TimeoutExpired) as failed:
        say(f"availability.py: {failed}")
        return 1
    finally:
        system.end()
        shutil.rmtree(folder, ignore_errors=True)
    print_report(report)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
