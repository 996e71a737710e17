"""Real nodes on loopback for the integration tests: start, ask, pause, kill, restart, clean up.

A test is a method of a `Case`. It makes its nodes with `self.cluster(3)`; whatever happens, they
and the guards of their VMs are ended afterwards, by pid. When a test fails it prints the tail of
every node's log and the one command that runs it again with the same seed. Nothing here sleeps
for a result: `eventually` polls to a deadline, which is generous, because the machine may be
busy.
"""
import json
import os
import pathlib
import queue
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

BIN = os.environ["BLIXARD_BIN"]
SEED = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(1, 1 << 31))
PATIENCE = 60  # seconds for anything that should happen soon
LOG_TAIL_LINES = 60


def environment(**more):
    """What a started program sees: no BLIXARD_* of the caller, and no time lost on probing KVM."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BLIXARD_")}
    return {**clean, "BLIXARD_ACCEL": "tcg", **more}


def eventually(what, holds, seconds=PATIENCE):
    """Polls `holds` until it returns something true, and returns that. `what` may be a function."""
    end = time.monotonic() + seconds
    while True:
        result = holds()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.05)


def run(*words, stdin=None, env=None, timeout=PATIENCE):
    """Runs the binary to its end: (exit code, stdout, stderr)."""
    done = subprocess.run(
        [BIN, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(**(env or {})),
        check=False,
        stdin=subprocess.DEVNULL if stdin is None else None,
    )
    return done.returncode, done.stdout, done.stderr


def fetch(address, path):
    """Status and body of an HTTP answer; (0, reason) if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()
    except OSError as failed:
        return 0, str(failed)


def free_port():
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def start_ticks(pid):
    """When a process began (field 22 of its stat), or None if there is no such process."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def is_alive(pid):
    """Whether the process exists and is not a zombie."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


class Exited(AssertionError):
    """A node ended instead of saying that it is ready."""

    def __init__(self, number, code, fatal):
        super().__init__(f"node {number} exited with {code}: {fatal}")
        self.code, self.fatal = code, fatal


class Node:
    """One node: its data directory, and its process if it runs.

    A restart takes the port of the first start again, so that its peers find it.
    """

    def __init__(self, folder, number, flags, env=None):
        self.number, self.flags, self.env = number, list(flags), env or {}
        self.data = pathlib.Path(folder) / f"node{number}"
        self.log_path = pathlib.Path(folder) / f"node{number}.log"
        self.address, self.metrics = "127.0.0.1:0", "127.0.0.1:0"
        self.process, self.events, self.ready = None, None, None
        self.client_env = {}  # of the commands that ask it

    def start(self, *more):
        """Starts the process and waits for its ready line. Raises Exited."""
        log = open(self.log_path, "ab")
        command = [
            BIN,
            "node",
            "--id",
            str(self.number),
            "--data-dir",
            str(self.data),
            "--bind",
            self.address,
            "--metrics",
            self.metrics,
            "--seed",
            str(SEED),
            *self.flags,
            *more,
        ]
        log.write(("$ " + shlex.join(command) + "\n").encode())
        log.flush()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment(**self.env),
        )
        log.close()
        self.events = queue.Queue()
        threading.Thread(
            target=self._read_events, args=(self.process.stdout, self.events), daemon=True
        ).start()
        event = self.next_event()
        if event.get("event") != "ready":
            raise Exited(self.number, self.process.wait(PATIENCE), event)
        self.ready = event
        self.address, self.metrics = event["bind"], event["metrics"]
        return self

    @staticmethod
    def _read_events(stream, events):
        with stream:
            for line in stream:
                events.put(json.loads(line))
        events.put({"event": "end"})

    def next_event(self, timeout=PATIENCE):
        try:
            return self.events.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"node {self.number} said nothing for {timeout} s") from None

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, and waits for the end."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def terminate(self, deadline=PATIENCE):
        """SIGTERM: (exit code, seconds it took)."""
        begin = time.monotonic()
        self.process.terminate()
        return self.process.wait(deadline), time.monotonic() - begin

    def suspend(self):
        """SIGSTOP, and waits until every thread of the process stands."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = pathlib.Path(f"/proc/{self.pid}/task")
        eventually(
            "the process stands",
            lambda: all(
                (t / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "Tt"
                for t in tasks.iterdir()
            ),
        )

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def ctl(self, *words, timeout=None):
        """One command on this node: (exit code, its JSON answer)."""
        return ctl([self], *words, timeout=timeout)

    def ok(self, *words, timeout=None):
        """The result of a command that must succeed."""
        code, answer = self.ctl(*words, timeout=timeout)
        if code != 0 or answer["op"] != "ok":
            raise AssertionError(f"node {self.number}: {shlex.join(words)}: exit {code}, {answer}")
        return answer["result"]

    def is_ready(self):
        return fetch(self.metrics, "/readyz")[0] == 200

    def end(self):
        """Ends the process and the guards of its VMs, whose deaths end the VMs."""
        if self.is_running():
            self.process.kill()
        if self.process is not None:
            self.process.wait(PATIENCE)
        for path in self.data.glob("vms/*/state.json"):
            try:
                state = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            pid = state.get("guard_pid", 0)
            if pid > 1 and state.get("guard_start") == start_ticks(pid):
                os.kill(pid, signal.SIGKILL)


def ctl(nodes, *words, timeout=None):
    """One command with the addresses of these nodes: (exit code, its JSON answer)."""
    patience = ["--timeout", str(timeout)] if timeout else []
    code, out, err = run(
        "ctl",
        "--connect",
        ",".join(n.address for n in nodes),
        "-o",
        "json",
        *patience,
        *words,
        env=nodes[0].client_env if nodes else None,
    )
    if out.count("\n") != 1:
        raise AssertionError(f"{shlex.join(words)}: not one line of JSON but {out!r}, {err!r}")
    return code, json.loads(out)


class Cluster:
    """Some nodes that are one cluster. `nodes[i]` has the id i + 1."""

    def __init__(self, folder, flags, env=None):
        self.folder, self.flags, self.env, self.nodes = folder, list(flags), env, []
        self.client_env = {}

    def __iter__(self):
        return iter(self.nodes)

    def __getitem__(self, i):
        return self.nodes[i]

    def add(self, *flags):
        """Starts one more node; the first makes the cluster, the others join it."""
        running = [n.address for n in self.running()]
        how = ["--join", ",".join(running)] if running else ["--bootstrap"]
        node = Node(self.folder, len(self.nodes) + 1, [*self.flags, *flags], self.env)
        node.client_env = self.client_env
        self.nodes.append(node)
        return node.start(*how)

    def running(self):
        return [n for n in self.nodes if n.is_running()]

    def node(self, number):
        return self.nodes[number - 1]

    def ctl(self, *words, timeout=None):
        return ctl(self.running(), *words, timeout=timeout)

    def ok(self, *words, timeout=None):
        code, answer = self.ctl(*words, timeout=timeout)
        if code != 0 or answer["op"] != "ok":
            raise AssertionError(f"{shlex.join(words)}: exit {code}, {answer}")
        return answer["result"]

    def leader(self):
        """The node that all running ones agree to be their leader."""

        def agreed():
            found = set()
            for node in self.running():
                code, answer = node.ctl("cluster", "status", "--stale")
                found.add(answer["result"]["leader"] if code == 0 else 0)
            numbers = {n.number for n in self.running()}
            return self.node(found.pop()) if len(found) == 1 and found <= numbers else None

        return eventually("the running nodes agree on a leader", agreed)

    def followers(self):
        leader = self.leader()
        return [n for n in self.running() if n is not leader]

    def wait_ready(self):
        eventually(
            lambda: "all nodes are ready: "
            + "; ".join(f"{n.number}: {fetch(n.metrics, '/readyz')}" for n in self.running()),
            lambda: all(n.is_ready() for n in self.running()),
        )
        return self

    def wait_voters(self):
        """Every node is a voter (joins pass through learner first)."""

        def done():
            code, answer = self.ctl("cluster", "status")
            if code != 0:  # a fault may have taken the question or its answer
                return False
            nodes = answer["result"]["nodes"]
            return len(nodes) == len(self.nodes) and all(
                n["role"] in ("leader", "follower") and n["state"] == "ready" for n in nodes
            )

        eventually("all nodes are voters", done)
        return self

    def digests(self):
        """[(index, digest)] of the running nodes, all taken at one index."""

        def same_index():
            found = [n.ok("cluster", "digest") for n in self.running()]
            return found if len({f["index"] for f in found}) == 1 else None

        return [
            (f["index"], f["digest"])
            for f in eventually("all nodes have applied the same index", same_index)
        ]

    def end(self):
        for node in self.nodes:
            node.end()


class Case(unittest.TestCase):
    """A test with its own folder; what it starts is ended, a failure tells how to repeat it."""

    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="blixard-test."))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.random = random.Random(SEED)
        self.clusters = []
        self.addCleanup(self._end_all)

    def run(self, result=None):
        self._result = result if result is not None else self.defaultTestResult()
        self._bad_before = self._bad()
        return super().run(self._result)

    def _bad(self):
        return len(self._result.failures) + len(self._result.errors)

    def _end_all(self):
        if self._bad() > self._bad_before:
            self.say_what_happened()
        for cluster in self.clusters:
            cluster.end()

    def say_what_happened(self):
        for log in sorted(self.folder.glob("**/*.log")):
            if log.parent.name != "wal" and log.stat().st_size < 100_000_000:
                tail = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
                print(f"--- {log}", *tail, sep="\n", file=sys.stderr)
        print(
            f"--- again: TEST_SEED={SEED} BLIXARD_BIN={shlex.quote(BIN)} {sys.executable} "
            f"{os.path.abspath(sys.argv[0])} {type(self).__name__}.{self._testMethodName}",
            file=sys.stderr,
            flush=True,
        )

    def cluster(self, size, *flags, each=(), env=None, client_env=None):
        """A cluster of `size` voters on the process backend, all started with `flags`, and the i-th
        with the i-th list of `each` too; clients see `client_env`."""
        if "--backend" not in flags:
            flags = ("--backend", "process", *flags)
        cluster = Cluster(self.folder, flags, env)
        cluster.client_env = client_env or {}
        self.clusters.append(cluster)
        for i in range(size):
            cluster.add(*(each[i] if i < len(each) else ()))
        return cluster.wait_ready().wait_voters()


class SharedCluster(Case):
    """Tests that only use a cluster and leave it whole share one: `self.nodes`."""

    size = 1
    flags = ()

    nodes = None

    def setUp(self):
        super().setUp()
        if self.nodes is None or len(self.nodes.running()) != self.size:
            type(self).make_nodes()  # the first test, or a test before this one has cost a node

    @classmethod
    def make_nodes(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="blixard-test."))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.nodes = Cluster(folder, ["--backend", "process", *cls.flags])
        cls.addClassCleanup(cls.nodes.end)
        for _ in range(cls.size):
            cls.nodes.add()
        cls.nodes.wait_ready().wait_voters()

    def say_what_happened(self):
        for node in self.nodes:
            print(
                f"--- {node.log_path}",
                *node.log().splitlines()[-LOG_TAIL_LINES:],
                sep="\n",
                file=sys.stderr,
            )
        super().say_what_happened()


def main():
    print(f"seed {SEED}", file=sys.stderr)
    unittest.main(verbosity=2)
