"""Looks at /proc all the time for VMs that live twice.

A VM is found by its working directory, which names the node and the VM (`node2/vms/17/work`; a
guest of QEMU has `node2/vms/17`, as its guard has, and is told by its name), whoever started it and
whatever the cluster believes. Its processes are one session, led by the process that the node
reports. The command of a VM of the process backend
(`lone_command`) is one process that holds a lock for as long as it lives: what happens between
two looks is seen by the next run, which finds the lock taken and says so in `overlaps.txt`.
"""
import collections
import os
import pathlib
import re
import shlex
import threading

from harness import is_alive

LOOK_SECONDS = 0.05
SCRIPT = """\
exec 9>>"$1/$BLIXARD_VM.lock"
flock -n 9 || echo "$BLIXARD_VM ran as $$ in $PWD beside another" >>"$1/overlaps.txt"
exec sleep 1000000
"""


def lone_command(folder):
    """The command of a VM that notices it if another run of the same VM still lives."""
    script = folder / "lone.sh"
    if not script.exists():
        script.write_text(SCRIPT)
    return shlex.join(["/bin/sh", str(script), str(folder)])


class VmWatch:
    """Looks from construction to `stop`. `overlaps()` is what it has found: nothing, one hopes."""

    def __init__(self, folder):
        self.folder, self.looks, self.most, self.seen = folder, 0, 0, set()
        self.where = re.compile(re.escape(str(folder)) + r"/node(\d+)/vms/(\d+)(/work)?")
        self.twice = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def alive(self):
        """{VM id: [(node, pid of the leader)]} of what lives now."""
        found = collections.defaultdict(set)
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                match = self.where.fullmatch(os.readlink(f"/proc/{entry}/cwd"))
                if match and not match[3] and not self._is_qemu(entry):
                    match = None
                leader = match and os.getsid(int(entry))
            except OSError:  # it ended, or has: a zombie has no working directory
                continue
            if match:
                found[int(match[2])].add((int(match[1]), leader))
        return {vm: sorted(runs) for vm, runs in found.items()}

    @staticmethod
    def _is_qemu(pid):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("qemu-system")

    def _run(self):
        while not self.stopping.wait(LOOK_SECONDS):
            alive = self.alive()
            self.looks += 1
            self.most = max(self.most, len(alive))
            for vm, runs in alive.items():
                self.seen.update((vm, *r) for r in runs)
                if len(runs) > 1 and self._at_once([pid for _, pid in runs]):
                    self.twice.append(f"VM {vm} ran twice: {runs}")

    @staticmethod
    def _at_once(pids):
        """A look takes a moment, in which one may end and the next begin. Not so if the first is
        still there when all of them have been seen again."""
        return all(map(is_alive, pids)) and is_alive(pids[0])

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def overlaps(self):
        said = pathlib.Path(self.folder / "overlaps.txt")
        return self.twice + (said.read_text().splitlines() if said.exists() else [])
