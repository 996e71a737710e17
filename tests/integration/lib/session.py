"""`blixard ctl --jsonl` as an object: many requests outstanding, answers matched by id."""
import json
import queue
import subprocess
import threading

from harness import BIN, PATIENCE, environment


class Session:
    """One process of ctl, connected to the given nodes in this order.

    `ask` may be called by several threads; each waits for its own answer.
    """

    def __init__(self, nodes, timeout=None):
        flags = ["--timeout", str(timeout)] if timeout else []
        self.process = subprocess.Popen(
            [BIN, "ctl", "--connect", ",".join(n.address for n in nodes), *flags, "--jsonl"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=environment(),
        )
        self.lock = threading.Lock()
        self.waiting, self.next_id = {}, 0
        self.strays = []  # answers that nobody waits for: there must be none
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            with self.lock:
                box = self.waiting.pop(answer.get("id"), None)
            if box is None:
                self.strays.append(answer)
            else:
                box.put(answer)
        with self.lock:
            boxes, self.waiting = list(self.waiting.values()), {}
        for box in boxes:
            box.put(None)

    def send(self, command, **more):
        """Sends one command (a line, or a list of words); returns where its answer will be."""
        box = queue.Queue()
        with self.lock:
            self.next_id += 1
            self.waiting[self.next_id] = box
            self.process.stdin.write(
                json.dumps({"id": self.next_id, "cmd": command, **more}) + "\n"
            )
            self.process.stdin.flush()
        return box

    def ask(self, command, **more):
        """Sends one command and waits for its answer."""
        answer = self.send(command, **more).get(timeout=PATIENCE)
        if answer is None:
            raise AssertionError(f"ctl ended without an answer to {command}")
        return answer

    def close(self):
        """Ends the input; what is outstanding is still answered. The exit code."""
        with self.lock:
            if not self.process.stdin.closed:
                self.process.stdin.close()
        try:
            code = self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        self.reader.join(PATIENCE)
        self.process.stdout.close()
        return code
