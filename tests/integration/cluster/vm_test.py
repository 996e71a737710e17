#!/usr/bin/env python3
"""VMs on three nodes: they do what they are told, outlive their daemons, move when a node dies,
and never run twice.

They run on the process backend, so that a boot costs nothing; QEMU has tests of its own in ../vm.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import BIN, Case, Node, eventually, is_alive, main  # noqa: E402
from heartbeats import Heartbeats  # noqa: E402

NOTICE_SECONDS = 5  # a VM that crashed is noticed within 1 s; this much is left to a busy machine


class Vms(Case):
    def setUp(self):
        super().setUp()
        self.beats = {}

    def create(self, cluster, name, *flags):
        """Creates a VM that writes heartbeats, and waits until it runs."""
        self.beats[name] = Heartbeats(self.folder, name)
        made = cluster.ok(
            "vm", "create", name, "--memory", "32M", "--command", self.beats[name].command, *flags
        )
        self.assertEqual(
            (made["name"], made["tenant"], made["desired"]), (name, "default", "running")
        )
        return self.wait(cluster, name)

    def wait(self, cluster, name, phase="running"):
        return cluster.ok("wait", "vm", name, f"--for={phase}", "--timeout", "60")

    def becomes(self, cluster, name, holds, seconds=60):
        """Waits until `holds` is true of the VM; returns it."""
        seen = []

        def look():
            code, answer = cluster.ctl("vm", "show", name)
            seen[:] = [answer]
            return answer["result"] if code == 0 and holds(answer["result"]) else None

        return eventually(lambda: f"{name}: {seen}", look, seconds)

    def state_of(self, cluster, number):
        return next(
            n["state"] for n in cluster.ok("node", "list")["nodes"] if n["id"] == number
        )

    def lives(self, name):
        """Waits for a sign of life."""
        beats = self.beats[name]
        before = beats.count()
        eventually(f"{name} lives", lambda: beats.count() > before)

    def test_a_vm_obeys_every_command_given_through_any_node(self):
        cluster = self.cluster(3)
        first, second, third = cluster
        vm = self.create(cluster, "web")
        self.assertTrue(is_alive(vm["pid"]))
        self.assertEqual(vm["backend"], "process")
        self.assertEqual([n.ok("vm", "show", "web")["node"] for n in cluster], [vm["node"]] * 3)
        self.lives("web")

        first.ok("vm", "pause", "web")
        self.assertEqual(self.wait(cluster, "web", "paused")["pid"], vm["pid"])
        still = self.beats["web"].count()
        second.ok("vm", "resume", "web")
        self.assertEqual(self.wait(cluster, "web")["pid"], vm["pid"])
        self.lives("web")
        self.assertGreaterEqual(self.beats["web"].count(), still)

        third.ok("vm", "stop", "web")
        self.wait(cluster, "web", "stopped")
        self.assertFalse(is_alive(vm["pid"]))
        first.ok("vm", "start", "web")
        started = self.wait(cluster, "web")
        self.assertNotEqual(started["pid"], vm["pid"])
        self.lives("web")
        second.ok("vm", "restart", "web")
        restarted = self.becomes(
            cluster,
            "web",
            lambda v: v["phase"] == "running" and v["pid"] not in (0, started["pid"]),
        )
        self.assertFalse(is_alive(started["pid"]))
        self.lives("web")
        third.ok("vm", "stop", "web", "--force")
        self.wait(cluster, "web", "stopped")
        first.ok("vm", "delete", "web")
        self.wait(cluster, "web", "deleted")
        self.assertFalse(is_alive(restarted["pid"]))
        self.assertEqual([n.ctl("vm", "show", "web")[0] for n in cluster], [3] * 3)
        self.assertEqual(len(self.beats["web"].runs()), 3)

    def test_a_paused_vm_does_not_run(self):
        cluster = self.cluster(1)
        vm = self.create(cluster, "web")
        cluster.ok("vm", "pause", "web")
        self.wait(cluster, "web", "paused")
        state = pathlib.Path(f"/proc/{vm['pid']}/stat").read_text().rpartition(")")[2].split()[0]
        self.assertEqual(state, "T")
        cluster.ok("vm", "delete", "web")
        self.wait(cluster, "web", "deleted")
        self.assertFalse(is_alive(vm["pid"]))

    def test_logs_of_a_vm_are_read_through_any_node(self):
        cluster = self.cluster(3)
        self.create(cluster, "web")
        for node in cluster:
            eventually(
                "the VM's output is there",
                lambda n=node: "web runs" in n.ok("vm", "logs", "web", "-n", "5")["lines"],
            )

    def test_a_console_is_followed_through_any_node_without_a_gap_or_a_repetition(self):
        cluster = self.cluster(3)
        script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done"
        cluster.ok("vm", "create", "counter", "--command", f"sh -c '{script}'")
        eventually(
            "it prints", lambda: "line 1" in cluster.ok("vm", "logs", "counter").get("lines", [])
        )
        for node in cluster:
            now = int(node.ok("vm", "logs", "counter", "-n", "1")["lines"][0].split()[-1])
            numbers = []
            with subprocess.Popen(
                [BIN, "ctl", "--connect", node.address]
                + ["vm", "logs", "counter", "--follow", "-n", "2000"],
                stdout=subprocess.PIPE,
                text=True,
            ) as follower:
                while not numbers or numbers[-1] < now + 100:  # that takes several answers
                    word = follower.stdout.readline().split()
                    if word[0] == "line":
                        numbers.append(int(word[1]))
                follower.kill()
            self.assertEqual(numbers, list(range(numbers[0], numbers[0] + len(numbers))))

    def test_explain_gives_scores_and_reasons_and_create_follows_them(self):
        cluster = self.cluster(
            3,
            each=[
                ["--label", "zone=a"],
                ["--label", "zone=b"],
                ["--label", "zone=b", "--memory", "16M"],
            ],
        )
        vm = self.create(cluster, "web", "--require", "zone=b")
        self.assertEqual(vm["node"], 2)
        for node in cluster:
            told = node.ok("vm", "explain", "web")
            self.assertEqual((told["name"], told["node"]), ("web", 2))
            self.assertEqual([c["node"] for c in told["candidates"]], [2])
            reasons = {r["node"]: " ".join(r["reasons"]) for r in told["rejected"]}
            self.assertEqual(reasons.keys(), {1, 3})
            self.assertIn("zone", reasons[1])
            self.assertIn("memory", reasons[3])
        self.assertEqual(self.create(cluster, "pinned", "--node", "1")["node"], 1)

    def test_explain_tells_where_a_vm_is_even_if_another_node_would_be_better_now(self):
        cluster = self.cluster(2)
        vm = self.create(cluster, "web")
        self.create(cluster, "crowd", "--node", str(vm["node"]))
        told = cluster.ok("vm", "explain", "web")
        self.assertEqual(told["node"], vm["node"])
        self.assertNotEqual(told["candidates"][0]["node"], vm["node"])

    def test_vms_are_spread_and_a_group_keeps_its_members_apart(self):
        cluster = self.cluster(3)
        nodes = {self.create(cluster, f"db{i}", "--anti-affinity", "db")["node"] for i in range(3)}
        self.assertEqual(nodes, {1, 2, 3})
        code, answer = cluster.ctl(
            "vm", "create", "db3", "--anti-affinity", "db", "--command", "true"
        )
        self.assertEqual((code, answer["error"]["code"]), (8, "unplaceable"))

    def test_a_cordoned_node_gets_no_more_vms(self):
        cluster = self.cluster(2)
        cluster.ok("node", "cordon", "1")
        self.assertEqual({self.create(cluster, f"vm{i}")["node"] for i in range(2)}, {2})
        cluster.ok("node", "uncordon", "1")
        self.assertEqual(self.create(cluster, "vm2")["node"], 1)

    def test_a_crash_is_noticed_and_the_vm_starts_again_after_its_back_off(self):
        cluster = self.cluster(3)
        vm = self.create(cluster, "web", "--restarts", "3", "--backoff", "2")
        self.lives("web")  # else its first run may leave nothing to see
        os.kill(vm["pid"], signal.SIGKILL)
        crashed = self.becomes(
            cluster,
            "web",
            lambda v: v["phase"] != "running" or v["pid"] != vm["pid"],
            NOTICE_SECONDS,
        )
        self.assertIn("restart 1 of 3", crashed["reason"])
        again = self.becomes(cluster, "web", lambda v: v["phase"] == "running")
        self.assertEqual(again["node"], vm["node"])
        self.lives("web")
        first, second = self.beats["web"].runs()
        self.assertGreaterEqual(second.first - first.last, 1.8, "the back-off was cut short")

    def test_a_vm_that_keeps_failing_is_given_up_and_tried_on_another_node(self):
        cluster = self.cluster(2)
        tried = self.folder / "tried"
        cluster.ok(
            "vm",
            "create",
            "bad",
            "--restarts",
            "1",
            "--backoff",
            "1",
            "--command",
            f"sh -c 'pwd >>{tried}; echo last words >&2; exit 3'",
        )
        eventually(
            "both nodes try it",
            lambda: tried.exists()
            and len({line.split("/vms/")[0] for line in tried.read_text().splitlines()}) == 2,
        )
        first = tried.read_text().splitlines()[0]
        self.assertGreaterEqual(
            tried.read_text().splitlines().count(first), 2, "it was not restarted"
        )
        self.becomes(cluster, "bad", lambda v: "3" in v["reason"] and "last words" in v["reason"])

    def test_a_stopped_vm_stays_stopped_whatever_happens(self):
        cluster = self.cluster(3)
        node = cluster.node(self.create(cluster, "web")["node"])
        cluster.ok("vm", "stop", "web")
        self.wait(cluster, "web", "stopped")
        node.kill()
        node.start()
        cluster.wait_ready()
        runs = self.beats["web"].runs()
        self.assertEqual(cluster.ok("vm", "show", "web")["phase"], "stopped")
        self.assertEqual(self.beats["web"].runs(), runs)

    def test_vms_stay_up_when_their_node_stops_and_are_adopted_when_it_starts(self):
        cluster = self.cluster(3)
        vm = self.create(cluster, "web")
        node = cluster.node(vm["node"])
        self.assertEqual(node.terminate()[0], 0)
        self.assertTrue(is_alive(vm["pid"]))
        self.lives("web")
        node.start()
        cluster.wait_ready()
        # Its lease is longer than this restart took: nothing was moved, nothing was killed.
        again = self.becomes(cluster, "web", lambda v: v["phase"] == "running")
        self.assertEqual((again["pid"], again["node"]), (vm["pid"], vm["node"]))
        self.lives("web")
        cluster.ok("vm", "restart", "web")
        self.becomes(cluster, "web", lambda v: v["phase"] == "running" and v["pid"] != vm["pid"])
        self.lives("web")
        self.assertEqual(len(self.beats["web"].runs()), 2)

    def test_vms_are_adopted_after_a_kill_of_all_nodes(self):
        cluster = self.cluster(3)
        vms = [self.create(cluster, f"vm{i}", "--anti-affinity", "all") for i in range(3)]
        for node in cluster:
            node.process.kill()
        for node in cluster:
            node.process.wait()
        for node in cluster:
            node.start()
        cluster.wait_ready()
        for vm in vms:
            again = self.wait(cluster, vm["name"])
            self.assertEqual((again["pid"], again["node"]), (vm["pid"], vm["node"]))
            self.lives(vm["name"])

    def lead(self, cluster, number):
        cluster.ok("cluster", "transfer", str(number))
        eventually(f"node {number} leads", lambda: cluster.leader().number == number)

    def runs_elsewhere(self, asked, vm):
        """Waits until the VM runs on another node than it did; returns it."""

        def look():
            code, answer = asked.ctl("vm", "show", vm["name"], timeout=3)
            now = answer.get("result", {})
            return (
                now
                if code == 0 and now["phase"] == "running" and now["node"] != vm["node"]
                else None
            )

        return eventually(f"{vm['name']} runs elsewhere", look)

    def test_vms_of_a_killed_leader_run_elsewhere_and_never_twice(self):
        cluster = self.cluster(3)
        free = self.create(cluster, "free")
        self.lead(cluster, free["node"])
        victim, others = cluster.leader(), cluster.followers()
        pinned = self.create(cluster, "pinned", "--node", str(victim.number))
        stay = [self.create(cluster, f"stay{n.number}", "--node", str(n.number)) for n in others]
        victim.kill()
        elsewhere = self.runs_elsewhere(others[0], free)
        self.assertFalse(is_alive(free["pid"]))
        self.assertFalse(is_alive(pinned["pid"]))
        self.lives("free")
        old, new = self.beats["free"].runs()
        self.assertEqual((old.node, new.node), (free["node"], elsewhere["node"]))
        for vm in stay:
            self.assertEqual(cluster.ok("vm", "show", vm["name"])["pid"], vm["pid"])
        states = {n["id"]: n["state"] for n in cluster.ok("node", "list")["nodes"]}
        self.assertEqual(states[victim.number], "down")
        waits = cluster.ok("vm", "show", "pinned")
        self.assertEqual(waits["phase"], "pending")
        self.assertIn("down", str(waits["rejected"]))
        victim.start()
        cluster.wait_ready()
        self.assertEqual(self.wait(cluster, "pinned")["node"], victim.number)
        self.assertEqual(cluster.ok("vm", "show", "free")["pid"], elsewhere["pid"])
        for beats in self.beats.values():
            beats.runs()

    def test_a_vm_of_a_node_that_hangs_is_killed_by_its_guard_and_runs_elsewhere(self):
        cluster = self.cluster(3)
        vm = self.create(cluster, "web")
        hung = cluster.node(vm["node"])
        others = [n for n in cluster if n is not hung]
        self.lead(cluster, others[0].number)
        hung.suspend()
        moved = self.runs_elsewhere(others[0], vm)
        self.assertFalse(is_alive(vm["pid"]))
        hung.resume()
        cluster.wait_ready()
        self.lives("web")
        self.assertEqual(cluster.ok("vm", "show", "web")["pid"], moved["pid"])
        self.assertEqual([r.node for r in self.beats["web"].runs()], [vm["node"], moved["node"]])

    def test_a_node_with_an_empty_disk_runs_nothing_beside_what_it_ran_before(self):
        cluster = self.cluster(3)
        self.lead(cluster, 1)
        victim = cluster.node(2)
        vm = self.create(cluster, "web", "--node", "2")
        for way in (victim.kill, lambda: cluster.ok("cluster", "remove", "2")):
            way()
            eventually("the daemon is gone", lambda: not victim.is_running())
            shutil.rmtree(victim.data)
            self.assertTrue(is_alive(vm["pid"]), "its lease runs")
            victim.start("--join", cluster.node(1).address)
            old = vm["pid"]
            vm = self.becomes(
                cluster, "web", lambda v: v["phase"] == "running" and v["pid"] not in (0, old)
            )
            self.assertFalse(is_alive(old))
            self.lives("web")
            cluster.wait_voters().wait_ready()
        self.assertEqual([r.node for r in self.beats["web"].runs()], [2, 2, 2])

    def test_a_node_whose_id_another_disk_took_over_while_it_hung_ends_when_it_wakes(self):
        cluster = self.cluster(3)
        self.lead(cluster, 1)
        vm = self.create(cluster, "web", "--node", "2")
        hung = cluster.node(2)
        self.addCleanup(hung.end)
        hung.suspend()
        (self.folder / "heir").mkdir()
        heir = Node(self.folder / "heir", 2, hung.flags, hung.env)
        cluster.nodes[1] = heir
        eventually("it is down", lambda: self.state_of(cluster, 2) == "down")
        heir.start("--join", cluster.node(1).address)
        cluster.wait_voters().wait_ready()
        again = self.becomes(
            cluster, "web", lambda v: v["phase"] == "running" and v["pid"] not in (0, vm["pid"])
        )
        hung.resume()
        for _ in range(2):  # it ends, and again when it is started again
            self.assertEqual(hung.process.wait(30), 13)
            fatal = hung.next_event()
            self.assertEqual((fatal["event"], fatal["code"]), ("fatal", 13))
            self.assertIn("node 2 has started with another data directory", fatal["error"])
            self.assertFalse(is_alive(vm["pid"]))
            hung.start()
        self.assertEqual(hung.process.wait(30), 13)
        self.lives("web")
        self.assertEqual(cluster.ok("vm", "show", "web")["pid"], again["pid"])
        self.assertEqual([r.node for r in self.beats["web"].runs()], [2, 2])

    def test_a_vm_deleted_while_its_node_was_away_is_cleaned_up_when_it_returns(self):
        cluster = self.cluster(3)
        vm = self.create(cluster, "web")
        node = cluster.node(vm["node"])
        node.kill()
        cluster.ok("vm", "delete", "web")
        node.start()
        cluster.wait_ready()
        self.wait(cluster, "web", "deleted")
        self.assertFalse(is_alive(vm["pid"]))
        eventually("nothing of it is left on the disk", lambda: not list(node.data.glob("vms/*")))

    def test_wait_says_what_the_vm_is_when_its_time_is_up(self):
        cluster = self.cluster(1)
        self.create(cluster, "web")
        begin = time.monotonic()
        code, answer = cluster.ctl("wait", "vm", "web", "--for=stopped", "--timeout", "0.5")
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual((code, answer["error"]["code"]), (7, "timeout"))
        self.assertIn("running", answer["error"]["message"])
        self.assertEqual(cluster.ctl("wait", "vm", "nobody", "--timeout", "5")[0], 3)

    def test_the_resources_of_vms_are_counted_and_given_back(self):
        cluster = self.cluster(1, "--vcpus", "4", "--memory", "100M")
        self.create(cluster, "a", "--vcpus", "3")

        def allocated():
            return cluster.ok("node", "show", "1")["allocated"]

        self.assertEqual((allocated()["vcpus"], allocated()["memory_bytes"]), (3, 32 << 20))
        code, answer = cluster.ctl("vm", "create", "b", "--vcpus", "2", "--command", "true")
        self.assertEqual((code, answer["error"]["code"]), (8, "unplaceable"))
        cluster.ok("vm", "delete", "a")
        self.wait(cluster, "a", "deleted")
        self.assertEqual((allocated()["vcpus"], allocated()["memory_bytes"]), (0, 0))
        self.create(cluster, "b", "--vcpus", "2")


if __name__ == "__main__":
    main()
