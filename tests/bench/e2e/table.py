#!/usr/bin/env python3
"""One table of everything that was measured: table.py FOLDER [--json FILE]

Reads what the parts left in FOLDER (compare.json, availability.json, catching_up.json, NAME_bench.json) and sets each
figure beside what it is compared with in the same run: the ordinary way, etcd, or the floor. RATIO is
ours to theirs as the row's TARGET reads it; a row without a target is there to be seen. What a part did
not leave is "missing", which is not met. The Google Benchmarks that stand in no row are in details.txt.
"""
import argparse
import json
import pathlib
import re
import sys
import time

from compare import ETCD, FLOOR, OURS, P50, P99, RATE, RSS_TARGET, SERVER_CPU

COLUMNS = ("part", "figure", "unit", "ours", "ordinary", "etcd", "floor", "ratio", "target", "met")

# The hot paths: (part, figure, unit, field, hot, ordinary or None, target). Names are regular expressions
# for a Google Benchmark; part is the program's name without _bench. The target is about ours alone (">= N", "<= N") or, with an "x",
# about the ratio: how many times better than the ordinary way.
NS, RATE_OF_BYTES, RATE_OF_ITEMS = "ns", "bytes_per_second", "items_per_second"
LESS_IS_BETTER = (NS, "allocs", "allocs/entry", "locks", "torn")
HOT_PATHS = [
    ("metrics", "counter event, 1 thread", "ns", NS, "counter_hot/.*threads:1", "counter_ordinary_lookup/.*threads:1", ">= 20 x"),
    ("metrics", "  by itself", "ns", NS, "counter_hot/.*threads:1", None, "<= 3"),
    ("metrics", "  2 threads on one counter", "ns", NS, "counter_hot/.*threads:2", "counter_ordinary_lookup/.*threads:2", "<= 5"),
    ("metrics", "  allocations", "", "allocs", "counter_hot/.*threads:1", "counter_ordinary_lookup/.*threads:1", "<= 0"),
    ("metrics", "  locks", "", "locks", "counter_hot/.*threads:1", "counter_ordinary_lookup/.*threads:1", "<= 0.001"),
    ("metrics", "  while its node is scraped", "ns", NS, "counter_hot_while_scraped.*", "counter_hot/.*threads:1", None),
    ("metrics", "scrape of 5,000 series", "ns", NS, "scrape_5000_series", None, "<= 10e6"),
    ("published", "flag read", "ns", NS, "flag<hot>/.*threads:1", "flag<ordinary>/.*threads:1", "<= 1"),
    ("published", "status read, writer at 1 MHz", "ns", NS, "status_while_written<hot>/.*threads:1",
     "status_while_written<ordinary>/.*threads:1", "<= 10"),
    ("published", "  2 readers and a writer", "ns", NS, "status_while_written<hot>/.*threads:2",
     "status_while_written<ordinary>/.*threads:2", ">= 10 x"),
    ("published", "  locks", "", "locks", "status_while_written<hot>/.*threads:2", "status_while_written<ordinary>/.*threads:2",
     "<= 0.001"),
    ("published", "  torn reads seen", "", "torn", "never_torn/.*", "torn_control/.*", "<= 0"),
    ("transport", "frames of 128 B, pipelined", "/s", RATE_OF_ITEMS, "pipelined_hot/.*bytes:128.*", "pipelined_ordinary/.*bytes:128.*", ">= 1.4 x"),
    ("transport", "  allocations per frame sent", "", "allocations_per_frame_sent", "pipelined_hot/.*bytes:128.*", None, "<= 0.01"),
    ("transport", "  copied after the read, share", "", "moved_share", "pipelined_hot/.*bytes:128.*", None, "<= 0.01"),
    ("transport", "put of 256 B forwarded", "ns", NS, "forward_hot", "forward_ordinary", None),
    ("transport", "  allocations", "", "allocs", "forward_hot", "forward_ordinary", "<= 0"),
    ("transport", "frames of 64 KiB, pipelined", "B/s", RATE_OF_BYTES, "pipelined_hot/.*bytes:65536.*", "pipelined_ordinary/.*bytes:65536.*", None),
    ("routing", "lanes, one frame through", "ns", NS, "lanes_hot", "lanes_ordinary", None),
    ("routing", "critical behind 100,000 low", "ns", NS, "lanes_overtake/100000", None, "<= 1000"),
    ("routing", "buffer of 64 KiB", "ns", NS, "buffer_pool_hot/65536", "buffer_ordinary/65536", None),
    ("raft", "append of 64 x 256 B, encoded", "B/s", RATE_OF_BYTES, "encode_hot/.*64/bytes:256", "encode_ordinary/.*64/bytes:256", ">= 1.4 x"),
    ("raft", "  allocations per entry", "", "allocs/entry", "encode_hot/.*64/bytes:256", "encode_ordinary/.*64/bytes:256", "<= 0"),
    ("raft", "append of 64 x 256 B, decoded", "B/s", RATE_OF_BYTES, "decode_hot/.*64/bytes:256", "decode_ordinary/.*64/bytes:256", ">= 1.4 x"),
    ("wal", "256 B entries, header and CRC", "B/s", RATE_OF_BYTES, "encode/256", None, ">= 1e9"),
    ("wal", "write and sync, entries in a batch: 64", "/s", RATE_OF_ITEMS, "store_append/64/real_time", "store_append/1/real_time", ">= 10 x"),
    ("raft", "replicated in bytes, 256 at a time", "/s", "entries/s", "replicated_hot/256", "replicated_ordinary/1", ">= 10 x"),
    ("raft", "  allocations per entry", "", "allocs/entry", "replicated_hot/256", "replicated_ordinary/1", "<= 0.05"),
    ("raft", "  the core alone, objects", "/s", "entries/s", "replicate_and_commit/256", "replicate_and_commit/1", None),
    ("cache", "summary of 1,000,000 VMs, hit", "ns", NS, "summary_hit/1000000", "summary_by_adding_up/1000000", "<= 200"),
    ("cache", "creates of one shape, 1,000 nodes", "ns", NS, "plan_cached/1000/manual_time", "plan_full_scan/1000/manual_time", ">= 50 x"),
    ("cache", "creates of one shape, 10,000 nodes", "ns", NS, "plan_cached/10000/manual_time", "plan_full_scan/10000/manual_time", ">= 50 x"),
    ("cache", "  planned anew, share", "", "planned", "plan_cached/10000/manual_time", None, None),
    ("cache", "1,000 who ask at once", "ns", NS, "thousand_misses_hot", "thousand_misses_ordinary", None),
    ("cache", "  plans made", "", "planned", "thousand_misses_hot", None, "<= 1"),
    ("state", "put applied, 100,000 keys", "ns", NS, "apply_put/100000", "ordinary_put/100000", None),
]
TO_NS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def short(value):
    """A number with three digits that mean something."""
    if value is None:
        return ""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


def is_met(value, target):
    wanted = float(target.split()[1])
    return value >= wanted if target.startswith(">=") else value <= wanted


# ---------------------------------------------------------------- the hot paths

def load_benchmarks(folder):
    """Part -> list of results, errors left out. A program that was stopped has left half a file: nothing."""
    found = {}
    for path in sorted(folder.glob("*_bench.json")):
        try:
            results = json.loads(path.read_text()).get("benchmarks", [])
        except json.JSONDecodeError:
            results = []
        found[path.stem.removesuffix("_bench")] = [r for r in results if not r.get("error_occurred")]
    return found


def value_of(results, name, field):
    """A time is what one thread waits for one event: Google Benchmark shares the run's time out over the events of all threads."""
    for r in results:
        if re.fullmatch(name, r["name"]):
            if field == NS:
                return r["real_time"] * TO_NS[r["time_unit"]] * r.get("threads", 1)
            return r.get(field)
    return None


def hot_path_rows(folder):
    benchmarks = load_benchmarks(folder)
    for part, figure, unit, field, hot, ordinary, target in HOT_PATHS:
        results = benchmarks.get(part, [])
        ours = value_of(results, hot, field)
        theirs = value_of(results, ordinary, field) if ordinary else None
        ratio = None
        if ours and theirs:
            ratio = ours / theirs if field not in LESS_IS_BETTER else theirs / ours
        if target and (ours is None or (target.endswith("x") and ratio is None)):
            yield {"part": part, "figure": figure, "unit": unit, "target": target, "met": False, "missing": True}
            continue
        judged = ratio if target and target.endswith("x") else ours
        yield {"part": part, "figure": figure, "unit": unit, "ours": ours, "ordinary": theirs, "ratio": ratio,
               "target": target, "met": is_met(judged, target) if target else None}


# ---------------------------------------------------------------- end to end

NAMES = {RATE: ("", "/s"), P50: (", p50", "us"), P99: (", p99", "us"), SERVER_CPU: (", servers' processor time", "us/op")}


def wanted(found):
    target = found.get("target") if found else None
    return None if target is None else f">= {target:g} x" if target > 0 else f"<= {-target:g} x"


def end_to_end_rows(report):
    """A figure has a row against etcd, and one against the floor where that does the same."""
    for r in report["rows"]:
        if r["metric"] not in NAMES or (r["metric"] in (P99, SERVER_CPU) and r["clients"] != 64):
            continue
        suffix, unit = NAMES[r["metric"]]
        clients = "1 client" if r["clients"] == 1 else f"{r['clients']} clients"
        base = {"part": "end to end", "figure": f"{r['load']}, {clients}{suffix}", "unit": unit, "ours": r[OURS]}
        for other in (ETCD, FLOOR):
            against = r.get("to_" + other)
            if against:
                yield {**base, other: r[other], "ratio": against["ratio"], "target": wanted(against), "met": against["met"]}


def memory_rows(report):
    for when, what, target in (("fresh_rss_bytes", "fresh", None), ("rss_bytes", "after all loads", RSS_TARGET)):
        ours, etcd = (max(report[when][system]) / 2**20 for system in (OURS, ETCD))
        text = None if target is None else f"<= {target:g} x"
        yield {"part": "end to end", "figure": f"memory of the largest node, {what}", "unit": "MiB", "ours": ours, "etcd": etcd,
               "ratio": ours / etcd, "target": text, "met": None if text is None else is_met(ours / etcd, text)}


def availability_rows(report):
    for name, unit, value, target in report["figures"]:
        text = None if target is None else f"<= {target:g}"
        yield {"part": "availability", "figure": name, "unit": unit, "ours": value, "target": text,
               "met": None if text is None else is_met(value, text)}


def catching_up_rows(report):
    for name, p99, normal, target in report["figures"]:
        text = f"<= {target:g} x"
        yield {"part": "catching up", "figure": name, "unit": "us", "ours": p99, "ordinary": normal, "ratio": p99 / normal,
               "target": text, "met": is_met(p99 / normal, text)}


def forwarding_rows(report):
    for what, added, bare, ratio, target in report["figures"]:
        yield {"part": "forwarding", "figure": what, "unit": "us", "ours": added, "floor": bare, "ratio": ratio,
               "target": f"<= {target:g} x", "met": is_met(ratio, f"<= {target}")}


def large_snapshot_rows(report):
    for what, unit, value, target in report["figures"]:
        yield {"part": "large snapshot", "figure": what, "unit": unit, "ours": value, "target": f"<= {target:g}",
               "met": value <= target}


# ---------------------------------------------------------------- all

# With a command of its own, since it takes too long for scripts/bench: shown where it was run.
OPTIONAL = ("large_snapshot",)

def rows_of(folder):
    rows = []
    for name, make in (("compare", (end_to_end_rows, memory_rows)), ("availability", (availability_rows,)),
                       ("catching_up", (catching_up_rows,)), ("forwarding", (forwarding_rows,)),
                       ("large_snapshot", (large_snapshot_rows,))):
        path = folder / f"{name}.json"
        if not path.exists() and name in OPTIONAL:
            continue
        if not path.exists():
            rows.append({"part": name, "figure": "all of it", "target": "to be run", "met": False, "missing": True})
            continue
        report = json.loads(path.read_text())
        for part in make:
            rows += part(report)
    return rows + list(hot_path_rows(folder))


def cells(r):
    if r.get("missing"):
        return (r["part"], r["figure"], r.get("unit", ""), "missing", "", "", "", "", r["target"], "NO")
    met = {None: "", True: "yes", False: "NO"}[r["met"]]
    numbers = [short(r.get(c)) for c in ("ours", "ordinary", "etcd", "floor")]
    ratio = "" if r.get("ratio") is None else f"{r['ratio']:.3g}"
    return (r["part"], r["figure"], r["unit"], *numbers, ratio, r["target"] or "", met)


def print_table(rows):
    lines = [tuple(c.upper() for c in COLUMNS), *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print("  ".join(t.ljust(w) if i in (0, 1, 2, 9) else t.rjust(w)
                        for i, (t, w) in enumerate(zip(line, widths))).rstrip())
    with_target = [r for r in rows if r["met"] is not None]
    print(f"{sum(r['met'] for r in with_target)} of {len(with_target)} targets met")


def write_details(folder):
    lines = []
    for part, results in load_benchmarks(folder).items():
        for r in results:
            counters = " ".join(f"{k}={short(v)}" for k, v in r.items() if isinstance(v, float) and k not in ("real_time", "cpu_time"))
            lines.append(f"{part:10} {r['name']:50} {r['real_time']:12.4g} {r['time_unit']}  {counters}")
    (folder / "details.txt").write_text("\n".join(lines) + "\n")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path, default=None, help="write the rows here")
    options = parser.parse_args(arguments)
    rows = rows_of(options.folder)
    print_table(rows)
    write_details(options.folder)
    for path in sorted(options.folder.glob("*.json")):
        age = time.time() - path.stat().st_mtime
        if age > 900 and path != options.json:
            print(f"{path.name} is from an earlier run ({age / 60:.0f} min ago)")
    if options.json:
        options.json.write_text(json.dumps({"time": int(time.time()), "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
