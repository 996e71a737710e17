#!/usr/bin/env python3
"""What the way through a follower adds, against a bare round trip on loopback.

    forwarding.py --bin BLIXARD --floor PUT_FLOOR [--seconds S] [--rounds N] [--smoke] [--json FILE]

One client, one operation at a time, in turns: a bare round trip of as many bytes between two processes with
blocking sockets (floor.cpp, "ping"), linearizable gets and puts at the leader, the same at a follower, which
sends them to the leader. What the follower adds is the difference of the two medians of a turn; reported
is the median over the turns, and its ratio to that turn's bare round trip.

Exit codes: 0 it ran (met targets or not), 1 something failed.
"""
import json
import statistics
import subprocess
import sys

from compare import VALUE_BYTES, Failed, say
from on_cluster import bench, parser_of, result_of, run

FORWARD_ROUND_TRIPS = 2.0
KINDS = {"get": ("--reads", "1"), "put": ()}


def ping(program, seconds):
    done = subprocess.run([program, "ping", "--value-bytes", str(VALUE_BYTES), "--seconds", str(seconds)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise Failed(f"{program} ping: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)["p50_us"]


def measure(cluster, options):
    leader, follower = cluster.leader(), cluster.followers()[0]
    result_of(bench(options.bin, list(cluster), 16, options.seconds))  # the keys, and a warm log
    turns = []
    for number in range(options.rounds):
        turn = {"round_trip_us": ping(options.floor, options.seconds)}
        for kind, flags in KINDS.items():
            for where, node in (("leader", leader), ("follower", follower))[:: -1 if number % 2 else 1]:
                got = result_of(bench(options.bin, [node], 1, options.seconds, *flags))
                turn[f"{kind}_{where}_us"] = got["p50_us"]
        turns.append(turn)
        say(", ".join(f"{name.removesuffix('_us').replace('_', ' ')} {value:.0f} us" for name, value in turn.items()))
    return {"turns": turns, "figures": list(figures_of(turns))}


def figures_of(turns):
    """What, microseconds that forwarding adds, the bare round trip, their ratio, what is allowed."""
    def median(of):
        return statistics.median(of(t) for t in turns)

    for kind in KINDS:
        def added(t, kind=kind):
            return t[f"{kind}_follower_us"] - t[f"{kind}_leader_us"]

        yield (f"{kind} through a follower: added at p50", median(added), median(lambda t: t["round_trip_us"]),
               median(lambda t: added(t) / t["round_trip_us"]), FORWARD_ROUND_TRIPS)


def print_report(report):
    for what, added, bare, ratio, target in report["figures"]:
        print(f"{what}: {added:.1f} us, {ratio:.2f} bare round trips of {bare:.1f} us (wanted: <= {target:g})")


def options_of(arguments):
    parser = parser_of(__doc__, "one round", quick="3 rounds")
    parser.add_argument("--floor", required=True, help="the program put_floor")
    parser.add_argument("--seconds", type=int, default=1, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    options.rounds = 1 if options.smoke else 3 if options.quick else options.rounds
    return options


if __name__ == "__main__":
    sys.exit(run("forwarding.py", options_of(sys.argv[1:]), measure, print_report))
