"""What the programs share that measure a cluster of Blixard by itself: flags, load, and the frame around."""
import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

from compare import Blixard, Failed, say


def parser_of(doc, smoke, quick=None):
    """The flags that all of them have; `smoke` and `quick` say what those leave of the measurement."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--bin", required=True, help="the program blixard",
                        type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("--dir", default=None, help="where the data is kept while it runs [$TMPDIR, /tmp]")
    if quick:
        parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--smoke", action="store_true", help=f"{smoke}: does it work?")
    parser.add_argument("--json", type=pathlib.Path, default=None, help="write everything here")
    return parser


def bench(program, nodes, clients, seconds, *more):
    return subprocess.Popen([program, "bench", "kv", "--connect", ",".join(n.address for n in nodes),
                             "--clients", str(clients), "--seconds", str(seconds), "-o", "json", *more],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(load):
    out, err = load.communicate(timeout=120 + 2 * 3600)
    if load.returncode != 0:
        raise AssertionError(f"bench kv: exit {load.returncode}: {err.strip()}")
    return json.loads(out)


def run(name, options, measure, print_report, nodes=3):
    """Starts so many nodes, measures them, prints the report and writes it where it is wanted: the exit code."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="blixard-bench.", dir=options.dir))
    system = Blixard(folder, options.bin)
    try:
        system.start(nodes)
        report = measure(system.cluster, options)
    except (AssertionError, Failed, subprocess.TimeoutExpired) as failed:
        say(f"{name}: {failed}")
        return 1
    finally:
        system.end()
        shutil.rmtree(folder, ignore_errors=True)
    print_report(report)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0
