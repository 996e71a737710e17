"""One real node in a temporary directory, for the tests of this folder."""
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time

BIN = os.environ["BLIXARD_BIN"]
PATIENCE = 60  # seconds for anything that should happen soon, on a busy machine


class Node:
    """Starts `blixard node` on free ports and waits for its ready line; stop() ends it.

    `closed`: descriptors that it is started without.
    """

    def __init__(self, *flags, node_id=1, directory=None, closed=()):
        self.directory = directory or tempfile.mkdtemp(prefix="blixard-cli-")
        self.log = open(os.path.join(self.directory, "log"), "ab")
        self.process = subprocess.Popen(
            [BIN, "node", "--id", str(node_id), "--data-dir", os.path.join(self.directory, "data"),
             "--bind", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--bootstrap",
             "--backend", "process", *flags],
            stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL,
            preexec_fn=lambda: [os.close(fd) for fd in closed])
        self.events = queue.Queue()
        threading.Thread(target=self._read_events, daemon=True).start()
        self.ready = self.events.get(timeout=PATIENCE)
        assert self.ready["event"] == "ready", self.ready
        self.address = self.ready["bind"]
        deadline = time.monotonic() + PATIENCE
        while not self._is_registered():  # which takes a leader first
            assert time.monotonic() < deadline, "the node never became ready"

    def _is_registered(self):
        code, out, _ = run("ctl", "--connect", self.address, "-o", "json", "node", "list")
        return code == 0 and any(n["state"] == "ready" for n in json.loads(out)["result"]["nodes"])

    def _read_events(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def pause(self):
        """Stops every thread of the node; returns when they stand still."""
        self.process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE
        while not all(_is_stopped(task) for task in _tasks(self.process.pid)):
            assert time.monotonic() < deadline, "the node does not stop"

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self, keep=False):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.log.close()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        return self.process.returncode


def _tasks(pid):
    return [f"/proc/{pid}/task/{task}/stat" for task in os.listdir(f"/proc/{pid}/task")]


def _is_stopped(stat):
    with open(stat, encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


def run(*words, stdin=None, env=None, timeout=PATIENCE):
    """Runs the binary to its end: (exit code, stdout, stderr)."""
    done = subprocess.run([BIN, *words], input=stdin, capture_output=True, text=True,
                          errors="replace", timeout=timeout, env={**os.environ, **(env or {})},
                          stdin=subprocess.DEVNULL if stdin is None else None)
    return done.returncode, done.stdout, done.stderr


def free_port():
    """A port that was free a moment ago: connecting to it is refused."""
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
