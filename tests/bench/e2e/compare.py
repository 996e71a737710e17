#!/usr/bin/env python3
"""Three nodes of Blixard against three of etcd, and against the floor, in one run, on one machine.

    compare.py --bin BLIXARD --etcd-load ETCD_LOAD --floor PUT_FLOOR [--seconds S] [--rounds N] [--quick]
               [--json FILE]

All run at once with their data on the same real file system and their default settings; a load goes to
one of them at a time, in turns (ours, etcd, floor, and the other way round). A ratio is the median of
the ratios of the turns, so that what else the machine does hits all alike: only the ratios mean
something, the absolute figures are those of this machine at this moment. The generators are one process
with closed loops of one outstanding request, the same keys and value sizes, the same number of
connections, spread over the nodes with the leader first (one client talks to the leader). What a figure
costs is measured too: processor time per operation, of the servers and of the generator, and memory.
The floor (floor.cpp) is a bare program that does for a put what must be done, between three processes:
its clients all talk to the leader. It has no reads. So that like is set beside like, one load has all
clients of all three systems at the leader; that is the one that the floor's throughput is a target for.

Exit codes: 0 it ran (met targets or not), 1 something failed or an operation ended with an error,
77 etcd or its load generator is missing.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

LIBRARY = pathlib.Path(__file__).resolve().parents[2] / "integration" / "lib"
SKIPPED = 77
TICKS = os.sysconf("SC_CLK_TCK")
VALUE_BYTES = 256
OURS, ETCD, FLOOR = "blixard", "etcd", "floor"

PUT, PUT_AT_LEADER, READ, STALE = "put", "put at the leader", "linearizable get", "stale get"
FLAGS = {PUT: [], PUT_AT_LEADER: [], READ: ["--reads", "1"], STALE: ["--reads", "1", "--stale"]}
LOADS = [(PUT, 1), (PUT, 16), (PUT, 64), (PUT, 256), (PUT_AT_LEADER, 64), (READ, 1), (READ, 16), (READ, 64), (READ, 256),
         (STALE, 64)]
QUICK = [(PUT, 1), (PUT, 64), (PUT_AT_LEADER, 64), (READ, 64), (STALE, 64)]
SMOKE = [(PUT, 8), (PUT_AT_LEADER, 8), (READ, 8)]

RATE, P50, P99 = "ops_per_second", "p50_us", "p99_us"
SERVER_CPU, CLIENT_CPU = "server_cpu_us_per_op", "generator_cpu_us_per_op"
METRICS = [(RATE, "operations/s", "{:.0f}"), (P50, "p50 us", "{:.0f}"), (P99, "p99 us", "{:.0f}"),
           (SERVER_CPU, "server cpu us/op", "{:.1f}"), (CLIENT_CPU, "load cpu us/op", "{:.1f}")]
# (load, clients, metric): the ratio that is wanted, as "at least" (positive) or "at most" (negative).
TARGETS = {(PUT, 64, RATE): 10.0, (PUT, 256, RATE): 10.0, (PUT, 1, P50): -0.25, (READ, 64, RATE): 20.0,
           (STALE, 64, RATE): 20.0}
FLOOR_TARGETS = {(PUT, 1, P50): -1.3, (PUT_AT_LEADER, 64, RATE): 0.7}
RSS_TARGET = 0.2


class Failed(Exception):
    """A part of the comparison did not work; the text says which."""


def say(*words, sep=" "):
    print(*words, sep=sep, file=sys.stderr, flush=True)


def wait_for(what, holds, seconds=60):
    end = time.monotonic() + seconds
    while True:
        result = holds()
        if result:
            return result
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.1)


def free_ports(count):
    """Ports that were free a moment ago, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Etcd:
    """Three members of etcd with its defaults."""

    def __init__(self, folder, program):
        self.folder, self.program, self.processes = pathlib.Path(folder), program, []

    def start(self):
        ports = free_ports(6)
        self.clients = [f"127.0.0.1:{p}" for p in ports[:3]]
        peers = [f"http://127.0.0.1:{p}" for p in ports[3:]]
        members = ",".join(f"m{i}={peer}" for i, peer in enumerate(peers))
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        for i, (client, peer) in enumerate(zip(self.clients, peers)):
            command = [self.program, "--name", f"m{i}", "--data-dir", str(self.folder / f"m{i}"),
                       "--listen-client-urls", f"http://{client}", "--advertise-client-urls",
                       f"http://{client}", "--listen-peer-urls", peer, "--initial-advertise-peer-urls",
                       peer, "--initial-cluster", members, "--initial-cluster-state", "new",
                       "--logger", "zap"]
            with open(self.folder / f"m{i}.log", "wb") as log:
                self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                                       stderr=log, env=env))
        wait_for("etcd has a leader", lambda: self.leader() is not None)

    def leader(self):
        """Index of the leader, or None: asked over etcd's JSON gateway."""
        for i, client in enumerate(self.clients):
            if self.processes[i].poll() is not None:
                raise Failed(f"etcd member {i} ended, see {self.folder}/m{i}.log")
            try:
                request = urllib.request.Request(f"http://{client}/v3/maintenance/status", data=b"{}")
                with urllib.request.urlopen(request, timeout=5) as answer:
                    status = json.load(answer)
            except OSError:
                return None
            if status["header"]["member_id"] == status.get("leader", "0"):
                return i
        return None

    def addresses(self):
        first = wait_for("etcd has a leader", lambda: (self.leader() is not None) and [self.leader()])[0]
        return self.clients[first:] + self.clients[:first]

    def pids(self):
        return [p.pid for p in self.processes]

    def end(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Blixard:
    """Three nodes of the binary, by way of the integration tests' library."""

    def __init__(self, folder, program):
        os.environ["BLIXARD_BIN"] = program
        sys.path.insert(0, str(LIBRARY))
        import harness  # reads BLIXARD_BIN
        self.cluster = harness.Cluster(folder, [])

    def start(self, nodes=3):
        for _ in range(nodes):
            self.cluster.add()
        self.cluster.wait_voters()

    def addresses(self):
        leader = self.cluster.leader()
        return [leader.address] + [n.address for n in self.cluster if n is not leader]

    def pids(self):
        return [n.pid for n in self.cluster]

    def end(self):
        self.cluster.end()


class Floor:
    """The bare program, as a leader with two followers."""

    def __init__(self, folder, program):
        self.folder, self.program, self.processes = pathlib.Path(folder), program, []

    def start(self):
        ports = []
        for number in (1, 2, 3):
            more = ["--followers", *ports] if number == 3 else []
            process = subprocess.Popen([self.program, "node", "--file", str(self.folder / f"floor{number}"), *more],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            self.processes.append(process)
            ports.append(process.stdout.readline().strip())
        self.port = ports[-1]

    def addresses(self):
        return [self.port]

    def pids(self):
        return [p.pid for p in self.processes]

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stdout.close()


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise Failed(f"process {pid} has no memory")


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(system, generator, load, clients, seconds):
    """One turn: the generator's figures, with what they cost per operation in microseconds."""
    addresses = system.addresses()[:1 if load == PUT_AT_LEADER else None]
    command = [*generator, "--connect", ",".join(addresses), "--clients", str(clients),
               "--value-bytes", str(VALUE_BYTES), "--seconds", str(seconds), *FLAGS[load]]
    servers, clients_before = cpu_seconds(system.pids()), children_cpu()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=seconds + 60, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    out = json.loads(done.stdout)
    out[SERVER_CPU] = (cpu_seconds(system.pids()) - servers) * 1e6 / out["operations"]
    out[CLIENT_CPU] = (children_cpu() - clients_before) * 1e6 / out["operations"]
    return out


def fdatasync_us(folder, count=200):
    """Median of one 4 KiB append with fdatasync: the floor under every durable write here."""
    took = []
    with open(folder / "probe", "wb", buffering=0) as probe:
        for _ in range(count):
            probe.write(bytes(4096))
            begin = time.monotonic()
            os.fdatasync(probe.fileno())
            took.append((time.monotonic() - begin) * 1e6)
    return statistics.median(took)


def is_met(ratio, target):
    return ratio >= target if target > 0 else ratio <= -target


def summarize(load, clients, turns):
    """Rows of the table for one load: medians of both systems, and the median of the turns' ratios."""
    rows = []
    def ratio_to(other, name):
        return statistics.median(t[OURS][name] / t[other][name] if t[other][name] else float("inf") for t in turns)

    for name, _, _ in METRICS:
        row = {"load": load, "clients": clients, "metric": name}
        for system in turns[0]:
            row[system] = statistics.median(t[system][name] for t in turns)
        for other, targets in ((ETCD, TARGETS), (FLOOR, FLOOR_TARGETS)):
            if other not in row:
                continue
            target = targets.get((load, clients, name))
            row["to_" + other] = {"ratio": ratio_to(other, name), "target": target,
                                  "met": None if target is None else is_met(ratio_to(other, name), target)}
        rows.append(row)
    return rows


def print_table(rows):
    titles = {name: (title, form) for name, title, form in METRICS}
    lines = [("LOAD", "CLIENTS", "FIGURE", "OURS", "ETCD", "RATIO", "TARGET", "MET", "FLOOR", "RATIO", "TARGET",
              "MET")]

    def against(row, other):
        if other not in row:
            return ("", "", "", "")
        found = row["to_" + other]
        target = found["target"]
        wanted = "" if target is None else f">= {target:.2f}" if target > 0 else f"<= {-target:.2f}"
        met = {None: "", True: "yes", False: "NO"}[found["met"]]
        return titles[row["metric"]][1].format(row[other]), f"{found['ratio']:.2f}", wanted, met

    for row in rows:
        title, form = titles[row["metric"]]
        lines.append((row["load"], str(row["clients"]), title, form.format(row[OURS]), *against(row, ETCD),
                      *against(row, FLOOR)))
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        cells = [text.ljust(width) if i in (0, 2, 7, 11) else text.rjust(width)
                 for i, (text, width) in enumerate(zip(line, widths))]
        print("  ".join(cells).rstrip())


def taking_part(load):
    return (OURS, ETCD, FLOOR) if load in (PUT, PUT_AT_LEADER) else (OURS, ETCD)


def compare(systems, generators, loads, seconds, rounds):
    """All turns of all loads: (rows of the table, raw figures, errors)."""
    rows, raw, errors = [], [], 0
    number = 0
    total = rounds * sum(len(taking_part(load)) for load, _ in loads)
    for load, clients in loads:
        turns = []
        for turn in range(rounds):
            figures = {}
            for name in taking_part(load)[::-1 if turn % 2 else 1]:
                got = figures[name] = measure(systems[name], generators[name], load, clients, seconds)
                number += 1
                say(f"[{number}/{total}] {load}, {clients} clients, {name}: {got[RATE]:.0f}/s, "
                    f"p50 {got[P50]:.0f} us, p99 {got[P99]:.0f} us"
                    + (f", {got['errors']} ERRORS" if got["errors"] else ""))
                errors += got["errors"]
            turns.append(figures)
        raw.append({"load": load, "clients": clients, "turns": turns})
        rows += summarize(load, clients, turns)
    return rows, raw, errors


def file_system(folder):
    """Type of the file system that holds a folder."""
    best = ("", "unknown")
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        point, kind = line.split()[1:3]
        if pathlib.Path(point) in (folder, *folder.parents):
            best = max(best, (point, kind), key=lambda found: len(found[0]))
    return best[1]


def run(options, folder):
    kind = file_system(folder)
    if kind in ("tmpfs", "ramfs") and not options.smoke:
        raise Failed(f"{folder} is in memory ({kind}): fsync is free there; choose another --dir")
    loads = SMOKE if options.smoke else QUICK if options.quick else LOADS
    rounds = 1 if options.smoke else options.rounds
    report = {"file_system": kind, "cpus": os.cpu_count(), "load_average": os.getloadavg()[0],
              "fdatasync_p50_us": fdatasync_us(folder), "seconds": options.seconds, "rounds": rounds,
              "value_bytes": VALUE_BYTES}
    systems = {OURS: Blixard(folder, options.bin), ETCD: Etcd(folder, options.etcd),
               FLOOR: Floor(folder, options.floor)}
    generators = {OURS: [options.bin, "bench", "kv", "-o", "json"], ETCD: [options.etcd_load],
                  FLOOR: [options.floor, "load"]}
    try:
        for name, system in systems.items():
            say(f"starting three nodes of {name}")
            system.start()
        report["fresh_rss_bytes"] = {n: [rss_bytes(p) for p in s.pids()] for n, s in systems.items()}
        if not options.smoke:
            for name in systems:
                measure(systems[name], generators[name], PUT, 64, 1)  # warm
        rows, raw, errors = compare(systems, generators, loads, options.seconds, rounds)
        report["rss_bytes"] = {n: [rss_bytes(p) for p in s.pids()] for n, s in systems.items()}
    finally:
        for system in systems.values():
            system.end()
    report.update(rows=rows, turns=raw, errors=errors)
    return report


def print_report(report):
    print_table(report["rows"])
    for when, what in (("fresh_rss_bytes", "fresh"), ("rss_bytes", "after the loads")):
        sizes = {n: ", ".join(f"{b / 2**20:.0f}" for b in report[when][n]) for n in (OURS, ETCD)}
        print(f"memory of the three nodes {what}, MiB: ours {sizes[OURS]}; etcd {sizes[ETCD]}")
    print(f"{report['cpus']} cores, load average at the start {report['load_average']:.1f}, "
          f"{report['file_system']}, fdatasync of 4 KiB {report['fdatasync_p50_us']:.0f} us; "
          f"{report['rounds']} rounds of {report['seconds']} s, ratios are ours / theirs")


def options_of(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True, help="the program blixard")
    parser.add_argument("--etcd-load", required=True, help="the load generator for etcd")
    parser.add_argument("--floor", required=True, help="the program put_floor")
    parser.add_argument("--etcd", default="etcd", help="the program etcd")
    parser.add_argument("--dir", default=None, help="where the data is kept while it runs [$TMPDIR, /tmp]")
    parser.add_argument("--seconds", type=float, default=None, help="of one turn [2]")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each system per load")
    parser.add_argument("--quick", action="store_true", help="fewer loads, and 1.5 s for a turn")
    parser.add_argument("--smoke", action="store_true", help="2 s in all: does it work?")
    parser.add_argument("--json", type=pathlib.Path, default=None, help="write everything here")
    options = parser.parse_args(arguments)
    if options.seconds is None:
        options.seconds = 0.5 if options.smoke else 1.5 if options.quick else 2.0
    return options


def main(arguments):
    options = options_of(arguments)
    options.bin = str(pathlib.Path(options.bin).resolve())
    for program, package in ((options.etcd, "etcd-server"),
                             (options.etcd_load, "libgrpc++-dev, protobuf-compiler-grpc")):
        if shutil.which(program) is None:
            say(f"compare.py: skipped: there is no {program} (Debian packages: {package})")
            return SKIPPED
    # An end by signal must end the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="blixard-bench.", dir=options.dir))
    try:
        report = run(options, folder)
    except (Failed, AssertionError, subprocess.TimeoutExpired) as failed:
        say(f"compare.py: {failed}")
        for log in sorted(folder.glob("*.log")):
            say(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-10:], sep="\n")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_report(report)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if report["errors"]:
        say(f"compare.py: {report['errors']} operations ended with an error")
    return 1 if report["errors"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
