#!/usr/bin/env python3
"""Whether a snapshot of a gibibyte on its way to a new member holds up the leader's heartbeats.

    large_snapshot.py --bin BLIXARD [--mebibytes N] [--smoke] [--json FILE]

Two nodes get N values of 1 MiB (random letters, which zstd packs to about six tenths), then a third one
joins and is sent a snapshot of them. Meanwhile there is no load, so that all that a follower hears is heartbeats (50 ms) and the
snapshot. Measured is blixard_raft_heartbeat_gap_seconds of the follower that was there and of the one
that receives, from the start of the transfer to its end; its buckets are half an octave wide, and the
upper bound of the bucket is what counts. Takes some minutes and about 12 GiB of memory with the size
that is wanted: not part of scripts/bench.

Exit codes: 0 it ran (met the target or not), 1 something failed.
"""
import re
import sys
import time

from compare import Failed, say, wait_for
from on_cluster import bench, parser_of, result_of, run

ELECTION_MIN_MS = 150
GAP_P999_MS = ELECTION_MIN_MS / 2
GAP = "blixard_raft_heartbeat_gap_seconds"


def gaps(node):
    """Upper bound in ms -> how many gaps were not longer."""
    import harness
    text = harness.fetch(node.ready["metrics"], "/metrics")[1]
    return {float(bound) * 1000: float(count) for bound, count in
            re.findall(rf'^{GAP}_bucket{{le="([^"]+)"}} (\S+)$', text, re.M)}


def p999(before, after):
    """The smallest bound that 99.9 % of what came between does not exceed, and how many that were."""
    came = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    total = max(came.values(), default=0)
    if total == 0:
        raise Failed("no heartbeat was heard")
    return min(bound for bound, count in came.items() if count >= 0.999 * total), int(total)


def fill(options, cluster):
    """Until nine keys in ten have a value."""
    leader = cluster.leader()
    written, writes = 0, options.mebibytes * 5 // 2
    while written < writes:
        got = result_of(bench(options.bin, [leader], 4, 10 if not options.smoke else 1, "--value-bytes", "1048576",
                              "--keys", str(options.mebibytes), "--timeout", "30", "--seed", str(written + 1)))
        written += got["operations"]
        say(f"{written} of {writes} values written")


def sent_bytes(leader, to):
    found = re.findall(rf"sending snapshot \d+ \((\d+) bytes\) to node {to.number}\b", leader.log())
    return int(found[-1]) if found else None


def measure(cluster, options):
    fill(options, cluster)
    leader, follower = cluster.leader(), cluster.followers()[0]
    term = leader.ok("cluster", "status")["term"]
    joins = cluster.add()
    wait_for("the snapshot is on its way", lambda: sent_bytes(leader, joins), 300)
    size, began, before = sent_bytes(leader, joins), time.monotonic(), gaps(follower)
    say(f"a snapshot of {size / 2**20:.0f} MiB is on its way")

    def has_it():
        status = leader.ok("cluster", "status")
        match = [n.get("match_index", 0) for n in status["nodes"] if n["id"] == joins.number]
        return match and match[0] + 10 >= status["commit_index"]

    wait_for("it is there", has_it, 300)
    took = time.monotonic() - began
    stays, stays_count = p999(before, gaps(follower))
    gets, gets_count = p999({}, gaps(joins))
    moved = leader.ok("cluster", "status")["term"] - term
    return {"mebibytes": size / 2**20, "seconds": took, "elections": moved,
            "figures": [(f"heartbeat gap p99.9 of the other follower ({stays_count} gaps)", "ms", stays, GAP_P999_MS),
                        (f"heartbeat gap p99.9 of the receiver ({gets_count} gaps)", "ms", gets, GAP_P999_MS)]}


def print_report(report):
    print(f"{report['mebibytes']:.0f} MiB sent in {report['seconds']:.1f} s, {report['elections']} elections")
    for what, unit, value, target in report["figures"]:
        print(f"{what}: <= {value:.0f} {unit} (wanted: <= {target:g})")


def options_of(arguments):
    parser = parser_of(__doc__, "20 MiB")
    parser.add_argument("--mebibytes", type=int, default=1950, help="of values; somewhat more than half of it is sent [1950]")
    options = parser.parse_args(arguments)
    options.mebibytes = 20 if options.smoke else options.mebibytes
    return options


if __name__ == "__main__":
    sys.exit(run("large_snapshot.py", options_of(sys.argv[1:]), measure, print_report, nodes=2))
