"""What is in the log of a stopped node, and how to spoil it."""
import json

from harness import run


def dump(node):
    """Exit code and records of `wal dump --json`."""
    code, out, _ = run("wal", "dump", "--json", str(node.data))
    return code, [json.loads(line) for line in out.splitlines()]


def entries(node):
    return [r for r in dump(node)[1] if r["type"] in ("normal", "conf")]


def flip(node, record, distance):
    """Changes one bit of a record in its file."""
    path = node.data / record["file"]
    with open(path, "r+b") as file:
        file.seek(record["offset"] + distance)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0x10]))
