#!/usr/bin/env python3
"""What three nodes of Blixard cost when idle, how long a killed leader is missed, how calm load leaves them.

    availability.py --bin BLIXARD [--kills N] [--calm S] [--idle S] [--lone S] [--quick] [--smoke] [--json FILE]

idle      processor time of each node over S seconds without a client, and its memory when fresh.
lone      one put every 10 ms for S seconds, on a cluster with nothing else to do: how far the slowest are
          from the median.
failover  a client writes through the two other nodes, one put at a time, while the leader's process gets
          SIGKILL. Counted is the longest time between two accepted writes of that run: detection, election,
          the client's way to the new leader, its first write. Then the node comes back, and the next one
          has its turn.
calm      64 clients write for S seconds; a term that moves is an election that nothing called for.

Default settings (heartbeat 50 ms, election 150 to 300 ms), real file system, one machine.
Exit codes: 0 it ran (met targets or not), 1 something failed.
"""
import os
import statistics
import sys
import time

from compare import cpu_seconds, rss_bytes, say
from on_cluster import bench, parser_of, result_of, run

IDLE_CPU, RSS_MIB, GAP_P50_MS, GAP_WORST_MS, LONE_SPREAD = 0.02, 40, 400, 1000, 5
LONE_PER_SECOND = 100


def idle(cluster, seconds):
    rss = [rss_bytes(n.pid) / 2**20 for n in cluster]
    before = [cpu_seconds([n.pid]) for n in cluster]
    time.sleep(seconds)
    return {"cpu_share": [(cpu_seconds([n.pid]) - b) / seconds for n, b in zip(cluster, before)], "rss_mib": rss}


def lone(program, cluster, seconds):
    say(f"{seconds} s of a put every {1000 // LONE_PER_SECOND} ms")
    result = result_of(bench(program, [cluster.leader()], 1, seconds, "--rate", str(LONE_PER_SECOND)))
    return {name: result[name] for name in ("operations", "p50_us", "p99_us", "p999_us", "max_us")}


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


def figures_of(report):
    """(what, unit, value, at most or None): also what table.py shows."""
    alone = report["lone"]
    out = [("idle, processor time of the busiest node", "%", 100 * max(report["idle"]["cpu_share"]), 100 * IDLE_CPU),
           ("fresh, memory of the largest node", "MiB", max(report["idle"]["rss_mib"]), RSS_MIB),
           ("lone put on an idle cluster, p50", "us", alone["p50_us"], None),
           ("  its p99.9, as a multiple of that", "x", alone["p999_us"] / alone["p50_us"], LONE_SPREAD)]
    if report["gaps_ms"]:
        out += [(f"leader killed {len(report['gaps_ms'])} times, first write after, p50", "ms",
                 statistics.median(report["gaps_ms"]), GAP_P50_MS),
                ("  worst", "ms", max(report["gaps_ms"]), GAP_WORST_MS)]
    return [*out, (f"elections in {report['calm']['seconds']} s of load", "", report["calm"]["elections"], 0)]


def print_report(report):
    rows = [("FIGURE", "VALUE", "UNIT", "AT MOST", "MET")]
    for what, unit, value, target in report["figures"]:
        rows.append((what, f"{value:.3g}", unit, "" if target is None else f"{target:g}",
                     "" if target is None else "yes" if value <= target else "NO"))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for line in rows:
        print("  ".join(t.rjust(w) if i in (1, 3) else t.ljust(w) for i, (t, w) in enumerate(zip(line, widths))).rstrip())


def options_of(arguments):
    parser = parser_of(__doc__, "1 kill, 1 s of everything", quick="5 kills, 10 s of load")
    parser.add_argument("--kills", type=int, default=20, help="of the leader")
    parser.add_argument("--lone", type=int, default=20, help="seconds of one put at a time")
    parser.add_argument("--calm", type=int, default=30, help="seconds of load without a fault")
    parser.add_argument("--idle", type=int, default=10, help="seconds without a client")
    options = parser.parse_args(arguments)
    if options.quick:
        options.kills, options.calm, options.idle, options.lone = 5, 10, 5, 5
    if options.smoke:
        options.kills, options.calm, options.idle, options.lone = 1, 1, 1, 1
    return options


def measure(cluster, options):
    report = {"load_average": os.getloadavg()[0], "idle": idle(cluster, options.idle)}
    report["lone"] = lone(options.bin, cluster, options.lone)
    report["gaps_ms"] = failover(options.bin, cluster, options.kills)
    report["calm"] = calm(options.bin, cluster, options.calm)
    report["figures"] = figures_of(report)
    return report


if __name__ == "__main__":
    sys.exit(run("availability.py", options_of(sys.argv[1:]), measure, print_report))
