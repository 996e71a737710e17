#!/usr/bin/env python3
"""Throughput and latency over clients as one SVG: plot.py compare.json OUT.svg

Both axes are logarithmic. Left: operations per second. Right: the median (line) and the 99th percentile
(dashes) of the latency. Puts above, linearizable gets below; etcd and, for puts, the floor beside ours.
"""
import html
import json
import math
import pathlib
import sys

from compare import ETCD, FLOOR, OURS, P50, P99, PUT, RATE, READ

COLOURS = {OURS: "#c4421a", ETCD: "#3b6ea5", FLOOR: "#8a8a8a"}
NAMES = {OURS: "Blixard", ETCD: "etcd 3.4", FLOOR: "floor (bare program)"}
PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP_X, GAP_Y = 420, 250, 75, 70, 95, 75


def series(rows, load, system, metric):
    """[(clients, value)] in order."""
    found = [(r["clients"], r[system]) for r in rows if r["load"] == load and r["metric"] == metric and system in r]
    return sorted(p for p in found if p[1] > 0)


def decades(values):
    """Powers of ten around all values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def number(value):
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


class Panel:
    """One diagram: where its corner is, and what its axes span."""

    def __init__(self, x, y, clients, values):
        self.x, self.y = x, y
        self.clients = sorted(set(clients))
        self.low, self.high = decades(values)

    def at(self, clients, value):
        span = math.log(self.clients[-1]) - math.log(self.clients[0]) or 1
        right = (math.log(clients) - math.log(self.clients[0])) / span
        up = (math.log10(value) - self.low) / (self.high - self.low)
        return self.x + 15 + right * (PANEL_WIDTH - 30), self.y + PANEL_HEIGHT * (1 - up)

    def frame(self, title):
        yield f'<rect x="{self.x}" y="{self.y}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" stroke="#444"/>'
        yield f'<text x="{self.x}" y="{self.y - 8}" font-size="13" font-weight="bold">{html.escape(title)}</text>'
        for power in range(self.low, self.high + 1):
            for step in (1, 2, 5):
                value = step * 10.0 ** power
                if math.log10(value) > self.high + 1e-9:
                    break
                y = self.at(self.clients[0], value)[1]
                yield f'<line x1="{self.x}" x2="{self.x + PANEL_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>'
                yield f'<text x="{self.x - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>'
        for count in self.clients:
            x = self.at(count, 10.0 ** self.low)[0]
            yield f'<text x="{x:.1f}" y="{self.y + PANEL_HEIGHT + 16}" text-anchor="middle">{count}</text>'
        yield (f'<text x="{self.x + PANEL_WIDTH / 2}" y="{self.y + PANEL_HEIGHT + 33}" text-anchor="middle">'
               "clients</text>")

    def line(self, points, system, dashed=False, labels=True):
        places = [self.at(*p) for p in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        yield f'<polyline points="{path}" fill="none" stroke="{COLOURS[system]}" stroke-width="2"{dash}/>'
        for (x, y), (_, value) in zip(places, points):
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[system]}"/>'
            if labels:
                yield f'<text x="{x:.1f}" y="{y - 7:.1f}" text-anchor="middle" fill="{COLOURS[system]}">{number(value)}</text>'


def panels(rows, load, y):
    systems = [s for s in (OURS, ETCD, FLOOR) if series(rows, load, s, RATE)]
    every = {(s, m): series(rows, load, s, m) for s in systems for m in (RATE, P50, P99)}
    for column, (title, metrics) in enumerate(((f"{load}s: operations a second", (RATE,)),
                                               (f"{load}s: latency in us, p50 and (dashed) p99", (P50, P99)))):
        shown = [p for (s, m), points in every.items() if m in metrics for p in points]
        panel = Panel(LEFT + column * (PANEL_WIDTH + GAP_X), y, [c for c, _ in shown], [v for _, v in shown])
        yield from panel.frame(title)
        for system in systems:
            for metric in metrics:
                yield from panel.line(every[system, metric], system, metric == P99, metric != P99)


def svg(report):
    rows = report["rows"]
    loads = [load for load in (PUT, READ) if len(series(rows, load, OURS, RATE)) > 1]
    width = LEFT + 2 * PANEL_WIDTH + GAP_X + 20
    height = TOP + len(loads) * (PANEL_HEIGHT + GAP_Y)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           'font-family="sans-serif" font-size="11">', f'<rect width="{width}" height="{height}" fill="white"/>']
    for i, system in enumerate((OURS, ETCD, FLOOR)):
        x = LEFT + i * 150
        out.append(f'<rect x="{x}" y="12" width="14" height="14" fill="{COLOURS[system]}"/>'
                   f'<text x="{x + 20}" y="24" font-size="13">{NAMES[system]}</text>')
    out.append(f'<text x="{width - 20}" y="24" text-anchor="end">three nodes on {report["cpus"]} cores, '
               f'{report["value_bytes"]} B values, {report["file_system"]}, fdatasync of 4 KiB '
               f'{report["fdatasync_p50_us"]:.0f} us</text>')
    for i, load in enumerate(loads):
        out += panels(rows, load, TOP + i * (PANEL_HEIGHT + GAP_Y))
    return "\n".join([*out, "</svg>"]) + "\n"


def main(source, target):
    report = json.loads(pathlib.Path(source).read_text())
    if len({r["clients"] for r in report["rows"] if r["load"] == PUT}) < 2:
        print("plot.py: one number of clients makes no plot", file=sys.stderr)
        return
    pathlib.Path(target).write_text(svg(report))


if __name__ == "__main__":
    main(*sys.argv[1:3])
