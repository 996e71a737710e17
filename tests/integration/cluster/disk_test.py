#!/usr/bin/env python3
"""Disks of a living cluster that fill up or fail: who has no disk steps back, nothing that was
acknowledged is lost, and the others serve.
"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from disk import FailingDisk, fill, mount  # noqa: E402
from harness import Case, ctl, eventually, fetch, main  # noqa: E402
from workload import Workload  # noqa: E402

FLAGS = ("--segment-bytes", "65536")


class Disk(Case):
    def progress(self, load, more=200):
        goal = load.succeeded() + more
        eventually(lambda: f"{load.succeeded()} of {goal} writes", lambda: load.succeeded() >= goal)

    def check(self, load, cluster):
        self.assertEqual(load.stop().problems(cluster)[:10], [])
        digests = cluster.digests()
        self.assertEqual((len(digests), len(set(digests))), (len(cluster.nodes), 1), digests)

    def with_small_disk(self, number, size="24m"):
        """Three nodes; the data of one of them is on a file system of its own."""
        path = mount(self, size)
        (path / "data").mkdir()
        (self.folder / f"node{number}").symlink_to(path / "data")
        return self.cluster(3, *FLAGS), path

    def leads(self, cluster, node):
        cluster.ok("cluster", "transfer", str(node.number))
        eventually(f"node {node.number} leads", lambda: cluster.leader() is node)

    def fills_up_while_it_leads(self, cluster, node, fill_it, make_space):
        others = [n for n in cluster if n is not node]
        node.ok("kv", "put", "color", "old")
        self.leads(cluster, node)
        load = Workload(cluster)
        self.progress(load)
        fill_it()
        eventually("another leads", lambda: cluster.leader() is not node)
        self.progress(load, 2000)
        self.assertTrue(node.is_running())
        self.assertIn("the disk is full", node.log())
        # It answers: writes by way of the leader, reads as new as anybody's.
        self.assertEqual(ctl(others, "kv", "put", "color", "new")[0], 0)
        self.assertEqual(node.ok("kv", "get", "color")["value"], "new")
        node.ok("kv", "put", "through", f"node {node.number}")
        make_space()
        eventually("it says so", lambda: "the disk has space again" in node.log())
        eventually("it is ready", node.is_ready)
        self.progress(load)
        self.leads(cluster, node)
        self.progress(load)
        self.check(load, cluster)

    def test_a_leader_whose_disk_is_full_hands_over_serves_reads_and_catches_up(self):
        cluster, path = self.with_small_disk(1)
        ballast = path / "ballast"

        def fill_it():
            fill(path)
            status, why = fetch(cluster[0].metrics, "/readyz")
            self.assertEqual(status, 503)
            self.assertIn("cannot be written", why)

        self.fills_up_while_it_leads(
            cluster, cluster[0], fill_it, lambda: os.truncate(ballast, 0)
        )

    def test_the_same_where_only_the_writes_of_the_log_find_no_space(self):
        disk = FailingDisk(self)
        cluster = self.cluster(3, *FLAGS)
        node = cluster.followers()[0]
        node.kill()
        node.env = disk.env
        node.start()
        cluster.wait_ready()
        self.fills_up_while_it_leads(
            cluster, node, lambda: disk.begin("full"), lambda: disk.end("full")
        )

    def test_a_full_follower_disturbs_nobody_also_when_it_is_killed(self):
        cluster, path = self.with_small_disk(2)
        self.leads(cluster, cluster[0])
        load = Workload(cluster)
        self.progress(load)
        ballast = fill(path)
        eventually("node 2 is full", lambda: "the disk is full" in cluster[1].log())
        self.progress(load, 1000)
        self.assertIs(cluster.leader(), cluster[0])
        cluster[1].kill()
        self.progress(load)
        os.truncate(ballast, 0)
        cluster[1].start()
        cluster.wait_ready()
        self.check(load, cluster)

    def test_when_all_disks_are_full_commands_are_refused_and_nothing_is_lost(self):
        path = mount(self, "48m")
        self.folder, outside = path, self.folder
        self.addCleanup(setattr, self, "folder", outside)
        cluster = self.cluster(3, *FLAGS)
        outcomes = {}

        def put(i):
            code, answer = cluster.ctl("kv", "put", f"k{i:03}", "v" * 20_000, timeout=2)
            outcomes[f"k{i:03}"] = answer["op"]
            return answer.get("error", {}).get("code", "ok")

        for i in range(5):
            self.assertEqual(put(i), "ok")
        ballast = fill(path)
        seen = [put(i) for i in range(5, 60)]
        self.assertIn("disk_full", seen)
        self.assertNotEqual(seen[-1], "ok")
        for node in cluster:
            self.assertTrue(node.is_running())
            self.assertEqual(node.ok("kv", "get", "k000", "--stale")["value"], "v" * 20_000)
        os.truncate(ballast, 0)
        eventually("writes go on", lambda: put(99) == "ok")
        cluster.wait_ready()
        for node in cluster:
            node.kill()
        for node in cluster:
            node.start()
        cluster.wait_ready()
        present = {i["key"] for i in cluster.ok("kv", "list", "k")["items"]}
        self.assertEqual({k for k, op in outcomes.items() if op == "ok"} - present, set())
        self.assertEqual({k for k, op in outcomes.items() if op == "fail"} & present, set())
        self.assertEqual(len(set(cluster.digests())), 1)

    def test_a_failed_sync_ends_the_node_at_once_with_12_and_the_others_go_on(self):
        disk = FailingDisk(self)
        cluster = self.cluster(3, *FLAGS)
        load = Workload(cluster)
        for leads in (False, True):
            self.progress(load)
            victim = cluster.followers()[0]
            victim.kill()
            victim.env = disk.env
            victim.start()
            cluster.wait_ready()
            if leads:
                self.leads(cluster, victim)
            disk.begin("sync")
            fatal = victim.next_event()
            self.assertEqual((fatal["event"], fatal["code"]), ("fatal", 12))
            self.assertIn("sync", fatal["error"])
            self.assertEqual(victim.process.wait(60), 12)
            self.progress(load)
            disk.end("sync")
            victim.env = {}
            victim.start()
            cluster.wait_ready()
        self.check(load, cluster)


if __name__ == "__main__":
    main()
