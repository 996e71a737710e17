#!/usr/bin/env python3
"""One table of the Google Benchmark results (NAME_bench.json) in a folder: summary.py FOLDER"""
import json
import pathlib
import sys

NOT_COUNTERS = {"cpu_time", "real_time", "iterations", "repetitions", "repetition_index", "threads",
                "family_index", "per_family_instance_index"}


def short(value):
    """A number with three digits that mean something."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


def row_of(part, result):
    counters = [f"{name}={short(value)}" for name, value in result.items()
                if isinstance(value, (int, float)) and name not in NOT_COUNTERS]
    unit = result["time_unit"]
    return (part, result["name"], f"{result['real_time']:.4g} {unit}", f"{result['cpu_time']:.4g} {unit}",
            " ".join(counters))


def rows_of(folder):
    for path in sorted(folder.glob("*_bench.json")):
        part = path.stem.removesuffix("_bench")
        for result in json.loads(path.read_text())["benchmarks"]:
            if result.get("error_occurred"):
                yield part, result["name"], "error", "", result["error_message"]
            else:
                yield row_of(part, result)


def main(folder):
    lines = [("PART", "BENCHMARK", "TIME", "CPU", "PER OPERATION AND SECOND"), *rows_of(pathlib.Path(folder))]
    if len(lines) == 1:
        return
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        cells = [text.rjust(width) if i in (2, 3) else text.ljust(width)
                 for i, (text, width) in enumerate(zip(line, widths))]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    main(sys.argv[1])
