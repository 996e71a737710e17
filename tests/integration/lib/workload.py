"""Clients that write and read all the time, through every node, and remember what they were told.

Each client is a closed loop in a thread of its own; clients share the JSON-lines sessions, one
per node. A session knows all addresses, its own node first: when that is killed it goes on with
the next one.
"""
import random
import threading
import time

from harness import PATIENCE, SEED
from history import Operation, check
from session import Session

KEYS = 8  # shared, so that clients get in each other's way


class Workload:
    """Runs from construction to `stop`; `problems` then tells what was wrong with the answers."""

    def __init__(self, nodes, clients=9, timeout_ms=3000, space=""):
        """`space` begins all keys, so that a later load knows nothing of an earlier one's."""
        nodes, self.space = list(nodes), space
        self.sessions = [Session(nodes[i:] + nodes[:i]) for i in range(len(nodes))]
        self.timeout_ms = timeout_ms
        self.history, self.lock = [], threading.Lock()
        self.stopping, self.going = threading.Event(), threading.Event()
        self.going.set()
        self.broken = []
        self.threads = [
            threading.Thread(target=self._client, args=(number,), daemon=True)
            for number in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def _client(self, number):
        session = self.sessions[number % len(self.sessions)]
        dice = random.Random(SEED * 1000 + number)
        known, count = {}, 0
        try:
            while not self.stopping.is_set():
                self.going.wait()
                count += 1
                key, value = f"{self.space}shared/{dice.randrange(KEYS)}", f"{number}.{count}"
                what = dice.random()
                if what < 0.3:
                    self._record(session, "get", key, None, known)
                elif what < 0.45 and known.get(key):
                    self._record(session, "cas", key, value, known)
                elif what < 0.75:
                    self._record(session, "put", key, value, known)
                else:
                    self._record(session, "put", f"{self.space}own/{number}/{count:06}", value, {})
        except Exception as failed:  # an assertion in a thread would be lost
            self.broken.append(repr(failed))

    def _record(self, session, kind, key, value, known):
        words = {
            "get": ["kv", "get", key],
            "put": ["kv", "put", key, value],
            "cas": ["kv", "cas", key, known.get(key), value],
        }[kind]
        begin = time.monotonic()
        answer = session.ask(words, timeout_ms=self.timeout_ms)
        end = time.monotonic()
        code = answer.get("error", {}).get("code", "")
        seen = Operation(
            kind,
            key,
            value,
            begin,
            end,
            answer["op"],
            answer.get("index", 0),
            expected=known.get(key) if kind == "cas" else None,
        )
        if kind == "get" and code == "not_found":
            seen.outcome, known[key] = "ok", None
        elif kind == "get" and answer["op"] == "ok":
            seen.value, seen.version = answer["result"]["value"], answer["result"]["version"]
            known[key] = seen.value
        elif kind == "cas" and code == "conflict":
            known[key] = None
        elif answer["op"] == "ok":
            known[key] = value
            if answer["result"]["version"] != answer["index"]:
                self.broken.append(f"a write has not its index as version: {answer}")
        with self.lock:
            self.history.append(seen)
        if answer["op"] != "ok" and code not in ("conflict", "not_found"):
            self.stopping.wait(0.02)  # an error at once must not become a busy loop

    def succeeded(self):
        """Writes acknowledged so far."""
        with self.lock:
            return sum(o.kind != "get" and o.outcome == "ok" for o in self.history)

    def pause_after(self, since):
        """Seconds from `since` to the end of the first acknowledged write that began later."""
        with self.lock:
            ends = [
                o.end
                for o in self.history
                if o.kind != "get" and o.outcome == "ok" and o.begin >= since
            ]
        return min(ends) - since if ends else None

    def pause(self):
        """Nobody asks anything new; what is outstanding goes on. `resume` ends it."""
        self.going.clear()

    def resume(self):
        self.going.set()

    def stop(self):
        self.stopping.set()
        self.resume()
        for thread in self.threads:
            thread.join(PATIENCE)
            if thread.is_alive():
                self.broken.append("a client got no answer")
        for session in self.sessions:
            if (code := session.close()) != 0:
                self.broken.append(f"ctl --jsonl exited with {code}")
            self.broken += [f"an answer that nobody waits for: {s}" for s in session.strays]
        return self

    def problems(self, readers):
        """Reads everything through each of these nodes and checks the whole history."""
        operations = list(self.history)
        # By the thousand: one listing is cut at 10,000 keys, and a fast machine writes more.
        own = {o.key[:-3] for o in self.history if o.key.startswith(f"{self.space}own/")}
        for node in readers:
            for prefix in (f"{self.space}shared/", *sorted(own)):
                operations += self._read_all(node, prefix)
        return self.broken + check(operations)

    def _read_all(self, node, prefix):
        begin = time.monotonic()
        code, answer = node.ctl("kv", "list", prefix)
        end = time.monotonic()
        if code != 0 or answer["result"]["truncated"]:
            raise AssertionError(
                f"node {node.number}: kv list {prefix}: {code}, {str(answer)[:300]}"
            )
        items = {i["key"]: i for i in answer["result"]["items"]}
        keys = items.keys() | {o.key for o in self.history if o.key.startswith(prefix)}
        absent = {"value": None, "version": 0}
        return [
            Operation(
                "get",
                key,
                items.get(key, absent)["value"],
                begin,
                end,
                "ok",
                answer["index"],
                items.get(key, absent)["version"],
            )
            for key in keys
        ]
