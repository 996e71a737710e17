#!/usr/bin/env python3
"""Real QEMU under real nodes: what a person does with a VM, from create to delete, and what a node
offers and refuses. Emulated (TCG), so that it runs anywhere; the guest is that of scripts/guest.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/integration/lib"))
from harness import Case, eventually, is_alive, main, run, start_ticks  # noqa: E402

BOOT_SECONDS = 180  # emulated, on a machine that does other things too


def setUpModule():
    if shutil.which("qemu-system-x86_64") is None:
        raise unittest.SkipTest("qemu-system-x86_64 is not installed")
    subprocess.run([ROOT / "scripts/guest"], check=True, stdout=subprocess.DEVNULL)


class Qemu(Case):
    def one_node(self, *backends, env=None):
        flags = [word for b in backends for word in ("--backend", b)]
        return self.cluster(1, *(flags or ["--backend", "qemu", "--backend", "process"]), env=env)

    def wait(self, cluster, name, phase="running"):
        words = ("wait", "vm", name, f"--for={phase}", "--timeout", str(BOOT_SECONDS))
        return cluster.ok(*words, timeout=BOOT_SECONDS + 5)

    def console(self, cluster, name):
        return "\n".join(cluster.ok("vm", "logs", name, "-n", "1000")["lines"])

    def boots(self, cluster, name, times=1):
        """Waits until the guest's first program has said so that many times."""
        eventually(
            lambda: f"{name} boots: {self.console(cluster, name)[-2000:]}",
            lambda: self.console(cluster, name).count("blixard guest ready") >= times,
            BOOT_SECONDS,
        )

    def test_a_vm_lives_from_create_to_delete(self):
        cluster = self.one_node()
        cluster.ok("vm", "create", "web", "--memory", "192M")
        vm = self.wait(cluster, "web")
        self.assertEqual((vm["backend"], vm["accelerator"]), ("qemu", "tcg"))
        self.assertIn(b"qemu-system", pathlib.Path(f"/proc/{vm['pid']}/cmdline").read_bytes())
        self.boots(cluster, "web")
        self.assertIn("Linux version", self.console(cluster, "web"))

        cluster.ok("vm", "pause", "web")
        self.wait(cluster, "web", "paused")
        cluster.ok("vm", "resume", "web")
        self.assertEqual(self.wait(cluster, "web")["pid"], vm["pid"])

        cluster.ok("vm", "restart", "web")
        self.boots(cluster, "web", 2)
        again = self.wait(cluster, "web")
        self.assertNotEqual(again["pid"], vm["pid"])

        cluster.ok("vm", "stop", "web")
        stopped = self.wait(cluster, "web", "stopped")
        self.assertEqual(stopped["crashes"], 0)
        self.assertIn("Power down", self.console(cluster, "web"))
        self.assertFalse(is_alive(again["pid"]))
        cluster.ok("vm", "delete", "web")
        self.wait(cluster, "web", "deleted")
        eventually("nothing is left", lambda: not list(cluster[0].data.glob("vms/*")))

    def test_a_vm_outlives_its_daemon_and_a_dead_qemu_is_started_again(self):
        cluster = self.one_node()
        cluster.ok("vm", "create", "web", "--memory", "192M", "--backoff", "1")
        self.wait(cluster, "web")
        self.boots(cluster, "web")
        vm = cluster.ok("vm", "show", "web")
        born = start_ticks(vm["pid"])
        cluster[0].kill()
        cluster[0].start()
        cluster.wait_ready()
        eventually("it is adopted", lambda: "(web): adopted" in cluster[0].log())
        self.assertEqual(cluster.ok("vm", "show", "web"), vm)
        self.assertEqual(start_ticks(vm["pid"]), born)

        begin = time.monotonic()
        os.kill(vm["pid"], signal.SIGKILL)
        eventually("the death is noticed", lambda: cluster.ok("vm", "show", "web")["crashes"] == 1)
        self.assertLess(time.monotonic() - begin, 5, "1 s, and some for a busy machine")
        self.boots(cluster, "web", 2)
        texts = [e["text"] for e in cluster.ok("vm", "show", "web")["events"]]
        self.assertTrue(any("killed by signal 9" in t for t in texts), texts)

    def test_a_guest_that_panics_ends_whatever_arguments_it_was_given(self):
        cluster = self.one_node()
        cluster.ok("vm", "create", "web", "--memory", "192M", "--append", "rdinit=/nope root=/nope")
        eventually(
            lambda: f"the panic counts as a crash: {self.console(cluster, 'web')[-1000:]}",
            lambda: cluster.ok("vm", "show", "web")["crashes"] >= 1,
            BOOT_SECONDS,
        )
        self.assertIn("Kernel panic", self.console(cluster, "web"))

    def test_a_node_runs_only_what_it_was_told_to_offer(self):
        cluster = self.one_node("process")
        cluster.ok("vm", "create", "web", "--memory", "192M")
        self.assertEqual(self.wait(cluster, "web")["backend"], "process")
        code, answer = cluster.ctl("vm", "create", "db", "--backend", "qemu")
        self.assertEqual((code, answer["error"]["code"]), (8, "unplaceable"))
        self.assertIn("needs backend qemu", str(answer["result"]["rejected"]))

    def test_without_the_default_guest_qemu_runs_what_brings_its_own(self):
        guest = pathlib.Path(
            os.environ.get("BLIXARD_GUEST_DIR") or pathlib.Path.home() / ".cache/blixard/guest"
        )
        cluster = self.one_node(env={"BLIXARD_GUEST_DIR": str(self.folder)})
        cluster.ok("vm", "create", "any", "--memory", "192M")
        self.assertEqual(self.wait(cluster, "any")["backend"], "process")
        own = ("--kernel", str(guest / "vmlinuz"), "--initrd", str(guest / "initrd.img"))
        cluster.ok("vm", "create", "own", "--memory", "192M", *own)
        self.assertEqual(self.wait(cluster, "own")["backend"], "qemu")
        cluster.ok("vm", "delete", "any")
        cluster.ok("vm", "delete", "own")
        self.wait(cluster, "any", "deleted")
        self.wait(cluster, "own", "deleted")
        cluster.ok("vm", "create", "none", "--backend", "qemu")

        def reason():
            return cluster.ok("vm", "show", "none")["reason"]

        eventually(reason, lambda: "scripts/guest makes it" in reason())
        self.assertIn("no default guest", reason())
        _, listed, _ = run("ctl", "--connect", cluster[0].address, "vm", "list")
        self.assertIn("no default", listed)  # in the list it is abridged


if __name__ == "__main__":
    main()
