"""Clients that create, use and delete VMs all the time, each its own, and know what must be true.

Every command has a client id and a sequence, and is repeated until its outcome is known: an answer
that carries an index, or a refusal before anything was in doubt. So `expected` is exact, whatever
was killed meanwhile.
"""
import collections
import random
import threading
import time

from harness import SEED
from session import Session

# What may be done to a VM that is thus, and how it is afterwards.
MOVES = {
    "absent": (("create", "running"), ("create", "running"), ("create --stopped", "stopped")),
    "running": (
        ("stop", "stopped"),
        ("stop --force", "stopped"),
        ("restart", "running"),
        ("pause", "paused"),
        ("delete", "deleted"),
    ),
    "paused": (("resume", "running"), ("stop", "stopped"), ("delete", "deleted")),
    "stopped": (("start", "running"), ("start", "running"), ("delete", "deleted")),
    "deleted": (("create", "running"),),
}
# Refusals that fit the circumstances; any other one is a complaint.
FITTING = {
    "create": {"already_exists", "unplaceable"},  # its last life has not ended; all nodes are down
    "start": {"unplaceable"},
    "pause": {"invalid_state"},  # it does not run yet
}
NOTHING_DONE = {"no_leader", "unavailable", "overloaded", "not_leader", "disk_full"}


class VmLoad:
    """Runs from construction to `stop`."""

    def __init__(self, nodes, create, clients, vms_per_client):
        """`create`: the flags that every VM is created with."""
        nodes = list(nodes)
        self.create, self.expected = create, {}
        self.done, self.complaints, self.retries = collections.Counter(), [], 0
        self.stopping = threading.Event()
        self.sessions, self.threads = [], []
        for number in range(clients):
            shift = number % len(nodes)
            self.sessions.append(Session(nodes[shift:] + nodes[:shift]))
            names = [f"vm{number}-{i}" for i in range(vms_per_client)]
            self.expected.update((name, "absent") for name in names)
            self.threads.append(
                threading.Thread(target=self._client, args=(number, names), daemon=True)
            )
        for thread in self.threads:
            thread.start()

    def _client(self, number, names):
        dice, sequence = random.Random(SEED * 1000 + number), 0
        try:
            while not self.stopping.wait(dice.uniform(0, 0.4)):
                sequence += 1
                name = dice.choice(names)
                verb, after = dice.choice(MOVES[self.expected[name]])
                self._one(number, sequence, name, verb, after, dice)
        except Exception as failed:  # an assertion in a thread would be lost
            self.complaints.append(repr(failed))

    def _one(self, number, sequence, name, verb, after, dice):
        verb, *flags = verb.split()
        words = ["vm", verb, name, *flags]
        if verb == "create":
            words += [*self.create, "--backoff", "1"]
            if dice.random() < 0.25:
                words += ["--node", str(dice.randint(1, 3))]
        answer = self._settle(number, sequence, words)
        if answer["op"] == "ok":
            self.done[verb] += 1
            self.expected[name] = after
        elif answer["error"]["code"] not in FITTING.get(verb, set()) | NOTHING_DONE:
            self.complaints.append(f"{self.expected[name]} {name}: {words}: {answer}")

    def _settle(self, number, sequence, words):
        """Repeats a command until it is known what became of it."""
        in_doubt = False
        while True:
            answer = self.sessions[number].ask(
                words, client=f"soak{number}", seq=sequence, timeout_ms=3000
            )
            if answer["op"] == "ok" or (
                answer["op"] == "fail" and (not in_doubt or answer.get("index"))
            ):
                return answer
            in_doubt = True
            self.retries += 1
            time.sleep(0.1)

    def stop(self):
        """Ends the clients; what they were about to do is done or known not to be."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        for session in self.sessions:
            session.close()
