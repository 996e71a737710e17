#!/usr/bin/env python3
"""What is to find VMs that live twice finds them: here some do."""
import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from harness import eventually  # noqa: E402
from vm_watch import VmWatch, lone_command  # noqa: E402


class Watch(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="blixard-watch.")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.watch = VmWatch(self.folder)
        self.addCleanup(self.watch.stop)

    def vm(self, node, number, name, script=None):
        """A process like that of a VM; it runs until the test ends."""
        work = self.folder / f"node{node}" / "vms" / str(number) / "work"
        work.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
            ["/bin/sh", "-c", script] if script else shlex.split(lone_command(self.folder)),
            cwd=work,
            env={**os.environ, "BLIXARD_VM": name},
            start_new_session=True,
        )
        self.addCleanup(self.end, process)
        eventually("it sleeps", lambda: script or self.program(process.pid) == "sleep")
        return process

    @staticmethod
    def program(pid):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()

    @staticmethod
    def end(process):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @staticmethod
    def members(leader):
        """The processes of a session."""
        found = []
        for pid in (int(e) for e in os.listdir("/proc") if e.isdigit()):
            with contextlib.suppress(OSError):
                if os.getsid(pid) == leader:
                    found.append(pid)
        return found

    def test_vms_that_live_once_are_counted_and_no_complaint(self):
        first, second = self.vm(1, 7, "a"), self.vm(2, 8, "b")
        self.assertEqual(self.watch.alive(), {7: [(1, first.pid)], 8: [(2, second.pid)]})
        eventually("both are seen", lambda: len(self.watch.seen) == 2)
        second.kill()
        second.wait()
        self.vm(1, 8, "b")  # elsewhere, after its end
        eventually("it is seen", lambda: len(self.watch.seen) == 3)
        self.assertEqual(self.watch.overlaps(), [])

    def test_a_vm_of_several_processes_lives_once(self):
        vm = self.vm(1, 7, "a", "sleep 1000 & sleep 1000 & wait")
        eventually("its children are there", lambda: len(self.members(vm.pid)) == 3)
        self.assertEqual(self.watch.alive(), {7: [(1, vm.pid)]})
        looks = self.watch.looks
        eventually("it was looked at", lambda: self.watch.looks > looks + 3)
        self.assertEqual(self.watch.overlaps(), [])

    def test_a_vm_that_lives_on_two_nodes_is_found_in_proc_also_when_one_is_paused(self):
        self.vm(1, 7, "a").send_signal(signal.SIGSTOP)
        self.vm(2, 7, "another lock")
        eventually("it is found", lambda: self.watch.twice)
        self.assertIn("VM 7 ran twice", self.watch.overlaps()[0])

    def test_a_second_run_is_found_by_the_lock_even_if_nobody_looked(self):
        self.watch.stop()
        self.vm(1, 7, "a")
        self.vm(2, 7, "a")
        self.assertEqual(self.watch.twice, [])
        self.assertIn("beside another", self.watch.overlaps()[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
