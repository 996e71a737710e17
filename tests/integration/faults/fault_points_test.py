#!/usr/bin/env python3
"""Nodes that crash, or lose frames, at a named point of their code (BLIXARD_FAULTS).

The binary is the node with its fault points compiled in. A VM whose node dies between deciding to
start it and having started it runs once, and is not lost; frames that get lost change no outcome.
"""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import Case, Exited, Node, eventually, fetch, is_alive, main  # noqa: E402
from heartbeats import Heartbeats  # noqa: E402
from status_page import StatusPage  # noqa: E402
from workload import Workload  # noqa: E402

CRASHED = 137


class FaultPoints(Case):
    def arm(self, node, faults):
        """Starts the node anew with these faults (none: empty)."""
        if node.is_running():
            node.kill()
        node.env = {"BLIXARD_FAULTS": faults} if faults else {}
        return node.start()

    def test_only_a_build_with_fault_points_has_any_and_it_says_so(self):
        cluster = self.cluster(1)
        self.assertIs(cluster[0].ready["fault_points"], True)
        begin = [os.environ["BLIXARD_RELEASE"], "node", "--id", "9", "--bootstrap", "--data-dir"]
        listen = ["--bind", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]
        released = subprocess.Popen(
            [*begin, str(self.folder / "released"), *listen],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "BLIXARD_ACCEL": "tcg", "BLIXARD_FAULTS": "wal.sync=crash"},
        )
        try:
            self.assertIn(b'"fault_points":false', released.stdout.readline())
        finally:
            released.kill()
            released.wait()
            released.stdout.close()

    def test_a_fault_that_makes_no_sense_is_an_error_of_the_configuration(self):
        node = Node(self.folder, 1, [], {"BLIXARD_FAULTS": "wal.sync=explode"})
        with self.assertRaises(Exited) as refused:
            node.start("--bootstrap")
        self.assertEqual(refused.exception.code, 3)
        self.assertIn("wal.sync=explode", refused.exception.fatal["error"])

    def crash_around_the_start(self, point):
        cluster = self.cluster(1)
        node = cluster[0]
        self.arm(node, f"{point}=crash@1")
        cluster.wait_ready()
        beats = Heartbeats(self.folder, "web")
        cluster.ctl("vm", "create", "web", "--memory", "32M", "--command", beats.command)
        self.assertEqual(node.process.wait(30), CRASHED)
        self.arm(node, "")
        cluster.wait_ready()
        vm = cluster.ok("wait", "vm", "web", "--timeout", "60")
        before = beats.count()
        eventually("it lives", lambda: beats.count() > before + 2)
        self.assertEqual([r.pid for r in beats.runs()], [vm["pid"]], "one run, and no other")
        self.assertEqual(cluster.ok("vm", "show", "web")["crashes"], 0)
        cluster.ok("vm", "delete", "web")
        cluster.ok("wait", "vm", "web", "--for=deleted", "--timeout", "60")
        self.assertFalse(is_alive(vm["pid"]))

    def test_a_vm_whose_node_crashes_just_before_its_start_is_started_once(self):
        self.crash_around_the_start("vm.before_start")

    def test_a_vm_whose_node_crashes_just_after_its_start_is_adopted(self):
        self.crash_around_the_start("vm.after_start")

    def test_a_start_that_fails_is_tried_again(self):
        cluster = self.cluster(1)
        self.arm(cluster[0], "vm.before_start=error:EAGAIN@1")
        cluster.wait_ready()
        words = ("--memory", "32M", "--command", "sleep 100000", "--backoff", "1")
        cluster.ok("vm", "create", "web", *words)
        cluster.ok("wait", "vm", "web", "--timeout", "60")
        texts = [e["text"] for e in cluster.ok("vm", "show", "web")["events"]]
        self.assertTrue(
            any("Resource temporarily unavailable (restart 1 of 3" in t for t in texts), texts
        )

    def test_while_the_actors_hang_other_threads_and_processes_are_told_the_truth(self):
        """An apply that does not return blocks the loop with the router, raft and node-state."""
        cluster = self.cluster(1)
        node = self.arm(cluster[0], "apply.before=sleep:600000@60") and cluster[0]
        cluster.wait_ready()
        done = 0
        while node.ctl("kv", "put", f"k{done}", "v", timeout=2)[0] == 0:
            done += 1
        self.assertGreater(done, 0)
        self.assertNotEqual(node.ctl("kv", "get", "k0", "--stale", timeout=1)[0], 0, "it hangs")
        # Another process: the page, mapped. The entry that hangs is committed and not applied.
        with StatusPage(node) as page:
            seen = page.read()
            self.assertEqual((page.flags[0], seen.role, seen.keys), (1, "leader", done))
            self.assertEqual(seen.commit, seen.applied + 1)
        # A plain thread of the node: the exposer's, which reads the same facts.
        status, text = fetch(node.metrics, "/metrics")
        self.assertEqual(status, 200)
        for name, value in (
            ("is_leader", 1),
            ("term", seen.term),
            ("commit_index", seen.commit),
            ("applied_index", seen.applied),
        ):
            self.assertIn(f"\nblixard_raft_{name} {value}\n", text)
        eventually(
            "the silence is told, too",
            lambda: "not heard" in fetch(node.metrics, "/readyz")[1],
        )
        eventually(
            "a process that no longer turns over is not live",
            lambda: fetch(node.metrics, "/livez")[0] == 503,
        )
        self.assertIn("stood still", fetch(node.metrics, "/livez")[1])
        node.kill()

    def test_frames_that_get_lost_change_no_outcome(self):
        kinds = ("raft", "command", "query", "answer", "lease", "lease_grant")
        faults = ",".join(
            f"net.{way}.{kind}=error:ECONNRESET%5" for kind in kinds for way in ("send", "recv")
        )
        cluster = self.cluster(3, env={"BLIXARD_FAULTS": faults})
        load = Workload(cluster, timeout_ms=1000)
        eventually("writes go on", lambda: load.succeeded() > 500)
        cluster.leader().kill()
        before = load.succeeded()
        eventually("and on without the leader", lambda: load.succeeded() > before + 200)
        for node in cluster:
            self.arm(node, "")
        cluster.wait_ready()
        self.assertEqual(load.stop().problems(cluster)[:10], [])
        digests = cluster.digests()
        self.assertEqual((len(digests), len(set(digests))), (3, 1), digests)

    def test_a_late_apply_and_slow_frames_are_only_slow(self):
        faults = "apply.before=sleep:20%10,net.recv.raft=sleep:20%5"
        cluster = self.cluster(3, env={"BLIXARD_FAULTS": faults})
        for i in range(50):
            cluster.ok("kv", "put", f"k{i}", str(i))
        self.assertEqual(cluster.ok("kv", "get", "k49")["value"], "49")
        digests = cluster.digests()
        self.assertEqual((len(digests), len(set(digests))), (3, 1), digests)


if __name__ == "__main__":
    main()
