#!/usr/bin/env python3
"""What the way through a follower adds, against a bare round trip on loopback.

    forwarding.py --bin BLIXARD --floor PUT_FLOOR [--seconds S] [--rounds N] [--smoke] [--json FILE]

One client, one operation at a time, in turns: a bare round trip of as many bytes between two processes with
blocking sockets (floor.cpp, "ping"), linearizable gets and puts at the leader, the same at a follower, which
sends them to the leader. What the follower adds is the difference of the two medians of a turn; reported
is the median over the turns, and its ratio to that turn's bare round trip.

Exit codes: 0 it ran (met targets or not), 1 something failed.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

from availability import bench, result_of
from compare import VALUE_BYTES, Blixard, Failed, say

FORWARD_ROUND_TRIPS = 2.0
KINDS = {"get": ("--reads", "1"), "put": ()}


def ping(program, seconds):
    done = subprocess.run([program, "ping", "--value-bytes", str(VALUE_BYTES), "--seconds", str(seconds)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise Failed(f"{program} ping: exit {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)["p50_us"]


def measure(options, cluster):
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
    return turns


def figures_of(turns):
    """What, microseconds that forwarding adds, the bare round trip, their ratio, what is allowed."""
    def median(of):
        return statistics.median(of(t) for t in turns)

    for kind in KINDS:
        def added(t, kind=kind):
            return t[f"{kind}_follower_us"] - t[f"{kind}_leader_us"]

        yield (f"{kind} through a follower: added at p50", median(added), median(lambda t: t["round_trip_us"]),
               median(lambda t: added(t) / t["round_trip_us"]), FORWARD_ROUND_TRIPS)


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="the program blixard")
    parser.add_argument("--floor", required=True, help="the program put_floor")
    parser.add_argument("--dir", default=None, help="where the data is kept while it runs [$TMPDIR, /tmp]")
    parser.add_argument("--seconds", type=int, default=1, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--smoke", action="store_true", help="one round: does it work?")
    parser.add_argument("--json", type=pathlib.Path, default=None, help="write everything here")
    options = parser.parse_args(arguments)
    options.bin = str(pathlib.Path(options.bin).resolve())
    options.rounds = 1 if options.smoke else 3 if options.quick else options.rounds
    folder = pathlib.Path(tempfile.mkdtemp(prefix="blixard-bench.", dir=options.dir))
    system = Blixard(folder, options.bin)
    try:
        system.start()
        turns = measure(options, system.cluster)
    except (AssertionError, Failed, subprocess.TimeoutExpired) as failed:
        say(f"forwarding.py: {failed}")
        return 1
    finally:
        system.end()
        shutil.rmtree(folder, ignore_errors=True)
    report = {"turns": turns, "figures": list(figures_of(turns))}
    for what, added, bare, ratio, target in report["figures"]:
        print(f"{what}: {added:.1f} us, {ratio:.2f} bare round trips of {bare:.1f} us (wanted: <= {target:g})")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
