#!/usr/bin/env python3
"""What clients notice of a follower that stands still, is gone, or comes back far behind.

    catching_up.py --bin BLIXARD [--seconds S] [--entries N] [--rate R] [--quick] [--smoke] [--json FILE]

Clients put 256 B values at a fixed rate (an open loop: latency counts from when a put was due, so that a
pause of the cluster is seen by all puts that it delays) through all nodes that run. Measured is their p99 in
turns: normal, one follower stopped (SIGSTOP), normal, one follower killed, normal, and while the killed one
comes back after the others have written N more entries at full speed: it gets a snapshot, then the log behind it.
Each is compared with the median of the normal turns of the same run.

Default settings, real file system, one machine: the node that catches up also takes processor time from the others.
Exit codes: 0 it ran (met targets or not), 1 something failed.
"""
import statistics
import sys
import time

from compare import Failed, say
from on_cluster import bench, parser_of, result_of, run

STOPPED_RATIO, REJOIN_RATIO = 1.5, 2.0
CLIENTS, KEYS = 16, 1_000_000
CLOSE = 1000  # entries behind the leader: caught up


def steady(program, nodes, seconds, rate):
    return bench(program, nodes, CLIENTS, seconds, "--rate", str(rate), "--keys", str(KEYS))


def turn(name, load, report):
    result = result_of(load)
    report.append({"turn": name, "p50_us": result["p50_us"], "p99_us": result["p99_us"],
                   "longest_gap_ms": result["longest_gap_ms"], "errors": result["errors"],
                   "ops_per_second": result["ops_per_second"]})
    say(f"{name}: p50 {result['p50_us']:.0f} us, p99 {result['p99_us']:.0f} us, longest gap "
        f"{result['longest_gap_ms']:.0f} ms, {result['errors']} errors")


def position(node):
    return node.ok("cluster", "status")["commit_index"]


def fill(program, nodes, entries):
    leader = nodes[0]
    goal = position(leader) + entries
    while position(leader) < goal:
        result_of(bench(program, nodes, 256, 2))
        say(f"{max(0, goal - position(leader))} entries to go")


def is_caught_up(leader, node):
    status = leader.ok("cluster", "status")
    match = [n.get("match_index", 0) for n in status["nodes"] if n["id"] == node.number]
    return match and match[0] + CLOSE >= status["commit_index"]


def rejoin(program, cluster, down, options, report):
    """Turn after turn, until the node has what the leader has; the worst of them counts."""
    leader = cluster.leader()
    others = [n for n in cluster if n is not down]
    began = None
    for _ in range(options.rejoin_turns):
        load = steady(program, others, options.rejoin_seconds, options.rate)
        time.sleep(0.2)
        if began is None:
            began = time.monotonic()
            down.start()
        took = None
        while load.poll() is None:
            if took is None and is_caught_up(leader, down):
                took = time.monotonic() - began
            time.sleep(0.2)
        turn("rejoin", load, report)
        if took is not None:
            return took
    raise Failed(f"not caught up in {options.rejoin_turns} turns")


def measure(cluster, options):
    program, turns = options.bin, []
    leader = cluster.leader()
    followers = cluster.followers()

    def normal():
        turn("normal", steady(program, list(cluster), options.seconds, options.rate), turns)

    steady(program, list(cluster), 2, options.rate).wait()  # a young log is slower
    normal()
    followers[0].suspend()
    turn("stopped", steady(program, [leader, followers[1]], options.seconds, options.rate), turns)
    followers[0].resume()
    cluster.wait_ready()
    normal()
    followers[1].kill()
    turn("killed", steady(program, [leader, followers[0]], options.seconds, options.rate), turns)
    fill(program, [leader, followers[0]], options.entries)
    turn("two of three", steady(program, [leader, followers[0]], options.seconds, options.rate), turns)
    before = leader.log().count("sending snapshot")
    took = rejoin(program, cluster, followers[1], options, turns)
    normal()
    report = {"turns": turns, "rejoin_seconds": took, "entries": options.entries, "rate": options.rate,
              "snapshots_sent": leader.log().count("sending snapshot") - before}
    report["figures"] = figures_of(report)
    return report


def p99(report, name):
    """The median of the normal turns, the worst of the others."""
    all_of_them = [t["p99_us"] for t in report["turns"] if t["turn"] == name]
    return statistics.median(all_of_them) if name == "normal" else max(all_of_them)


def figures_of(report):
    """What was measured, its p99, the normal one, the ratio that is allowed."""
    normal = p99(report, "normal")
    back = (f"p99, rejoin, {report['entries']} entries behind, in {report['rejoin_seconds']:.1f} s, "
            f"{report['snapshots_sent']} snapshot(s)")
    return [("p99, one follower stopped", p99(report, "stopped"), normal, STOPPED_RATIO),
            ("p99, one follower killed", p99(report, "killed"), normal, STOPPED_RATIO),
            (back, p99(report, "rejoin"), normal, REJOIN_RATIO)]


def print_report(report):
    rows = [("PUTS AT A FIXED RATE, us", "VALUE", "NORMAL", "RATIO", "TARGET", "MET")]
    for name, value, normal, target in report["figures"]:
        rows.append((name, f"{value:.0f}", f"{normal:.0f}", f"{value / normal:.2f}", f"<= {target}",
                     "yes" if value <= target * normal else "NO"))
    widths = [max(map(len, column)) for column in zip(*rows)]
    for line in rows:
        print("  ".join(t.ljust(w) if i in (0, 5) else t.rjust(w) for i, (t, w) in enumerate(zip(line, widths))).rstrip())


def options_of(arguments):
    parser = parser_of(__doc__, "1 s each, 20,000 entries", quick="3 s each, 200,000 entries")
    parser.add_argument("--seconds", type=int, default=8, help="of each turn")
    parser.add_argument("--rejoin-seconds", type=int, default=4, help="of each turn while the node comes back")
    parser.add_argument("--rejoin-turns", type=int, default=10, help="at most")
    parser.add_argument("--entries", type=int, default=1_000_000, help="that the node is behind")
    parser.add_argument("--rate", type=int, default=2000, help="puts per second")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds, options.rejoin_seconds, options.entries = 3, 2, 200_000
    if options.smoke:
        options.seconds, options.rejoin_seconds, options.entries, options.rate = 1, 2, 20_000, 300
    return options


if __name__ == "__main__":
    sys.exit(run("catching_up.py", options_of(sys.argv[1:]), measure, print_report))
