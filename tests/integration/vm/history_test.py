#!/usr/bin/env python3
"""What `vm show` tells a person about a VM's life: where it is and why, why it restarted or moved,
and what becomes of one that no node can run.
"""
import os
import pathlib
import re
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import Case, eventually, fetch, is_alive, main, run  # noqa: E402

FOREVER = "sleep 100000"


class History(Case):
    def create(self, cluster, name, *flags):
        cluster.ok("vm", "create", name, "--memory", "32M", *flags)
        return cluster.ok("wait", "vm", name, "--timeout", "60")

    def show(self, cluster, name):
        return cluster.ok("vm", "show", name)

    def texts(self, cluster, name):
        return [e["text"] for e in self.show(cluster, name)["events"]]

    def becomes(self, cluster, name, holds):
        """Waits until `holds` is true of the VM; returns it."""

        def look():
            vm = self.show(cluster, name)
            return vm if holds(vm) else None

        return eventually(lambda: f"{name} becomes: {self.show(cluster, name)}", look)

    def test_a_vm_says_where_it_was_placed_and_why_there(self):
        cluster = self.cluster(3)
        begin_ms = time.time() * 1000 - 1
        vm = self.create(cluster, "web", "--command", FOREVER)
        vm = self.show(cluster, "web")
        created, placed, runs = vm["events"]
        self.assertEqual(created["text"], "created")
        self.assertRegex(
            placed["text"],
            rf"^placed on node {vm['node']}: most_available, score 0\.\d\d, best of 3 that fit$",
        )
        self.assertEqual(
            runs["text"], f"runs on node {vm['node']} as process {vm['pid']}"
        )
        self.assertEqual(created["index"], vm["created_index"])
        times = [begin_ms, *(e["time_ms"] for e in vm["events"]), time.time() * 1000 + 1]
        self.assertEqual(times, sorted(times))
        self.assertEqual(vm["phase_ms"], runs["time_ms"])
        self.assertEqual(cluster.ok("vm", "list")["vms"][0]["events"], [])
        _, shown, _ = run("ctl", "--connect", cluster[0].address, "vm", "show", "web")
        self.assertIn("history:\n", shown)
        self.assertIn(placed["text"], shown)

    def test_a_vm_that_was_killed_runs_again_and_says_why(self):
        cluster = self.cluster(1)
        vm = self.create(cluster, "web", "--command", FOREVER, "--backoff", "1")
        os.kill(vm["pid"], signal.SIGKILL)
        self.becomes(
            cluster, "web", lambda v: v["phase"] == "running" and v["pid"] not in (0, vm["pid"])
        )
        events = self.texts(cluster, "web")[-2:]
        self.assertEqual(
            events[0], "failed: killed by signal 9 (SIGKILL) (restart 1 of 3 in 1 s)"
        )
        self.assertRegex(events[1], "^runs on node 1 as process ")
        self.assertEqual(self.show(cluster, "web")["crashes"], 1)
        _, listed, _ = run("ctl", "--connect", cluster[0].address, "vm", "list")
        self.assertRegex(listed, r"web +running +1 +process +1 +32M +1\b")

    def test_a_vm_that_outlives_its_daemon_has_nothing_to_tell(self):
        cluster = self.cluster(1)
        self.create(cluster, "web", "--command", FOREVER)
        vm = self.show(cluster, "web")
        cluster[0].kill()
        self.assertTrue(is_alive(vm["pid"]))
        cluster[0].start()
        cluster.wait_ready()
        eventually("the daemon adopted it", lambda: "(web): adopted" in cluster[0].log())
        self.create(cluster, "next", "--command", FOREVER)
        self.assertEqual(self.show(cluster, "web"), vm)

    def counted(self, node):
        """{operation: how often it ended} and {counter: value}, as a scrape of the node shows them."""
        body = fetch(node.metrics, "/metrics")[1]
        ended = re.findall(
            r'^blixard_vm_operation_duration_seconds_count\{operation="(\w+)"\} (\d+)$', body, re.M
        )
        counters = re.findall(r"^blixard_vm_(\w+)_total (\d+)$", body, re.M)
        return {o: int(n) for o, n in ended if n != "0"}, {c: int(n) for c, n in counters}

    def test_what_was_done_to_it_is_counted_and_timed_in_the_metrics(self):
        cluster = self.cluster(1)
        vm = self.create(cluster, "web", "--command", FOREVER, "--backoff", "1")
        for word, phase in (
            ("pause", "paused"),
            ("resume", "running"),
            ("restart", "running"),
            ("stop", "stopped"),
            ("start", "running"),
        ):
            was = self.show(cluster, "web")["pid"]
            cluster.ok("vm", word, "web")
            vm = self.becomes(
                cluster,
                "web",
                lambda v: v["phase"] == phase and (word != "restart" or v["pid"] not in (0, was)),
            )
        os.kill(vm["pid"], signal.SIGKILL)
        self.becomes(
            cluster, "web", lambda v: v["phase"] == "running" and v["pid"] not in (0, vm["pid"])
        )
        once = {"pause": 1, "resume": 1, "restart": 1, "stop": 1}
        eventually(
            lambda: f"each is counted: {self.counted(cluster[0])}",
            lambda: self.counted(cluster[0])[0] == {**once, "start": 3},
        )
        counters = self.counted(cluster[0])[1]
        self.assertEqual([counters[c] for c in ("starts", "restarts", "crashes")], [4, 1, 1])

        cluster[0].kill()
        cluster[0].start()
        cluster.wait_ready()
        eventually("adopted", lambda: self.counted(cluster[0])[0] == {"adopt": 1})
        self.assertEqual(self.counted(cluster[0])[1]["adopted"], 1)
        cluster.ok("vm", "delete", "web")
        eventually("deleted", lambda: self.counted(cluster[0])[0] == {"adopt": 1, "delete": 1})

    def test_a_vm_of_a_dead_node_says_why_it_moved(self):
        cluster = self.cluster(3)
        vm = self.create(cluster, "web", "--command", FOREVER)
        cluster.node(vm["node"]).kill()
        self.becomes(
            cluster, "web", lambda v: v["phase"] == "running" and v["node"] != vm["node"]
        )
        lost, placed, runs = self.texts(cluster, "web")[-3:]
        self.assertEqual(lost, f"node {vm['node']} is down: waits for another node")
        self.assertRegex(placed, r"^placed on node \d: most_available, score .*, best of 2 that fit$")
        self.assertRegex(runs, "^runs on node ")

    def test_a_vm_that_no_node_can_run_is_tried_on_each_and_then_less_and_less_often(self):
        cluster = self.cluster(3, "--backend", "qemu", "--backend", "process")
        cluster.ok("vm", "create", "bad", "--kernel", "/no/such/kernel")
        vm = self.becomes(cluster, "bad", lambda v: len(v["gave_up"]) == 3)
        self.assertEqual(sorted(vm["gave_up"]), [1, 2, 3])
        self.assertEqual(vm["phase"], "pending")
        self.assertIn("/no/such/kernel", vm["reason"])
        self.assertGreater(vm["retry_ms"], vm["phase_ms"])
        # A busy loop of tries would write many entries in these seconds; the next one is due after 5.
        first = cluster.ok("cluster", "status")["commit_index"]
        time.sleep(3)
        self.assertLess(cluster.ok("cluster", "status")["commit_index"] - first, 10)
        # Whoever has put the kernel there need not wait.
        cluster.ok("vm", "restart", "bad")
        self.becomes(cluster, "bad", lambda v: len(v["gave_up"]) == 3)
        # And it stands in nobody's way.
        self.create(cluster, "good", "--command", FOREVER)


if __name__ == "__main__":
    main()
