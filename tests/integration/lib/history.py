"""Is what clients saw one history that could have happened, step by step, on a single machine?

Every answer carries the log index that it is true at, and a key's version is the index of its
last write. So the order need not be searched for: the indexes give it, and it is checked that it
explains what everybody saw (values) and does not contradict the clock (an operation that was over
before another began comes first). Values must be unique per key.

The outcome of a write is `ok`, `fail` (never happened) or `info` (nobody knows). An `info` write
has an index if some reader saw its value; else it may have happened at any index, or not at all.
"""
import bisect
import collections
import dataclasses


@dataclasses.dataclass
class Operation:
    kind: str  # put, cas or get
    key: str
    value: str | None  # written, or read (None: the key is missing)
    begin: float
    end: float
    outcome: str  # ok, fail or info
    index: int = 0  # of an ok operation
    version: int = 0  # of a read value
    expected: str | None = None  # by cas


def check(operations):
    """What contradicts itself, as text; empty: nothing does."""
    problems, by_key = [], collections.defaultdict(list)
    for o in operations:
        by_key[o.key].append(o)
    for key in sorted(by_key):
        problems += _check_key(key, by_key[key])
    return problems + _check_time(operations)


def _check_key(key, operations):
    problems = []
    writes = [o for o in operations if o.kind != "get" and o.outcome != "fail"]
    reads = [o for o in operations if o.kind == "get" and o.outcome == "ok"]
    refused = {o.value for o in operations if o.kind != "get" and o.outcome == "fail"}
    by_value = {o.value: o for o in writes}
    at = {}  # index -> value
    for o in writes:
        if o.outcome == "ok" and at.setdefault(o.index, o.value) != o.value:
            problems.append(f"{key}: {o.value} and {at[o.index]} were both written at {o.index}")
    for r in reads:
        if r.value is None:
            continue
        if r.value in refused:
            problems.append(f"{key}: {r.value} was read, its write had failed for sure")
        elif r.value not in by_value:
            problems.append(f"{key}: {r.value} was read, nobody wrote it")
        elif at.setdefault(r.version, r.value) != r.value:
            problems.append(
                f"{key}: {r.value} was read at version {r.version}, which is {at[r.version]}"
            )
        elif by_value[r.value].outcome == "ok" and by_value[r.value].index != r.version:
            problems.append(
                f"{key}: {r.value} was read with version {r.version}, "
                f"it was written at {by_value[r.value].index}"
            )
    return problems + _check_values(key, at, reads, writes)


def _check_values(key, at, reads, writes):
    problems, indexes = [], [0, *sorted(at)]
    for r in reads:
        last = indexes[bisect.bisect_right(indexes, r.index) - 1]
        if r.version > r.index:
            problems.append(f"{key}: version {r.version} was read at the older index {r.index}")
        elif last > r.version:
            problems.append(
                f"{key}: a read at {r.index} saw {r.value} of {r.version}, "
                f"but {at[last]} of {last} was there: a write was lost or not seen"
            )
    unplaced = {o.value for o in writes if o.outcome == "info" and o.value not in at.values()}
    for o in writes:
        if o.kind != "cas" or o.outcome != "ok":
            continue
        before = at.get(indexes[bisect.bisect_left(indexes, o.index) - 1])
        if before != o.expected and o.expected not in unplaced:
            problems.append(f"{key}: cas at {o.index} found {o.expected}, but {before} was there")
    return problems


def _check_time(operations):
    """No operation has an index below that of one that had ended before it began."""
    problems = []
    done = sorted((o for o in operations if o.outcome == "ok"), key=lambda o: o.end)
    highest, ended = None, 0
    for o in sorted(done, key=lambda o: o.begin):
        while ended < len(done) and done[ended].end < o.begin:
            if highest is None or done[ended].index > highest.index:
                highest = done[ended]
            ended += 1
        if highest is None:
            continue
        too_low = o.index < highest.index or (o.kind != "get" and o.index == highest.index)
        if too_low:
            problems.append(
                f"{o.kind} {o.key} is at {o.index}, but {highest.kind} {highest.key} "
                f"at {highest.index} was over before it began"
            )
    return problems
