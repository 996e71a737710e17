"""VMs that write down when and where they live, so that two at once cannot stay unnoticed.

Each run of such a VM (a shell, on the process backend) appends "PID DIRECTORY TIME" to one file
every 0.1 s; the directory lies in the data directory of its node. Beside the order of those lines
there is a lock, which the kernel gives back only when the whole VM is dead: a run that finds it
taken writes OVERLAP.
"""
import dataclasses
import re
import shlex

SCRIPT = """\
exec 9>>"$1.lock"
flock -n 9 || echo "OVERLAP $$ $PWD" >>"$1"
echo "$BLIXARD_VM runs"
while :; do echo "$$ $PWD $(date +%s.%N)" >>"$1"; sleep 0.1; done
"""


@dataclasses.dataclass
class Run:
    pid: int
    node: int
    first: float
    last: float


class Heartbeats:
    """One VM's file; `command` is what the VM is to run."""

    def __init__(self, folder, name):
        self.path = folder / f"{name}.beats"
        self.path.touch()
        script = folder / "beat.sh"
        if not script.exists():
            script.write_text(SCRIPT)
        self.command = shlex.join(["/bin/sh", str(script), str(self.path)])

    def lines(self):
        return self.path.read_text().splitlines()

    def count(self):
        return len(self.lines())

    def runs(self):
        """The runs in their order; raises if two of them were alive at the same time."""
        runs = []
        for line in self.lines():
            if line.startswith("OVERLAP"):
                raise AssertionError(f"the VM was started while an earlier run still lived: {line}")
            pid, directory, time = line.split()
            node = int(re.search(r"/node(\d+)/vms/", directory)[1])
            if not runs or (runs[-1].pid, runs[-1].node) != (int(pid), node):
                if any((r.pid, r.node) == (int(pid), node) for r in runs):
                    raise AssertionError(
                        f"two runs at the same time: {line} came after another one"
                    )
                runs.append(Run(int(pid), node, float(time), float(time)))
            runs[-1].last = float(time)
        return runs
