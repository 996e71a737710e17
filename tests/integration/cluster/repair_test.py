#!/usr/bin/env python3
"""A damaged log on a node of a living cluster: the others bring back what it lost, and until they
have it neither votes nor counts. Where nobody can, it ends with exit code 10 and says what to do.
"""
import pathlib
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from damage import entries, flip  # noqa: E402
from harness import Case, Exited, ctl, eventually, fetch, main  # noqa: E402
from workload import Workload  # noqa: E402

NO_LEADER_SECONDS = 3  # many election timeouts, in which none may be elected


class Repair(Case):
    def progress(self, load, more=200):
        goal = load.succeeded() + more
        eventually(lambda: f"{load.succeeded()} of {goal} writes", lambda: load.succeeded() >= goal)

    def flip_entry(self, node, where=0.5):
        """Changes a bit of the entry that is so far into the log of a stopped node; its record."""
        found = entries(node)
        victim = found[int((len(found) - 1) * where)]
        flip(node, victim, victim["length"] // 2)
        return victim

    def metric(self, node, name):
        text = fetch(node.metrics, "/metrics")[1]
        values = [line.split()[-1] for line in text.splitlines() if line.startswith(name + " ")]
        self.assertEqual(len(values), 1, f"{name}: {values}")
        return float(values[0])

    def starts_recovering(self, node):
        """Starts a damaged node; it says what is wrong, and ends up a full member again."""
        self.assertTrue(node.start().ready["recovering"])
        self.assertIn("is damaged at offset", node.log())

    def becomes_whole(self, *nodes):
        for node in nodes:
            eventually(f"node {node.number} is ready", node.is_ready)
            eventually(
                "it says that it is repaired",
                lambda n=node: self.metric(n, "blixard_raft_repairs_total") == 1,
            )
            self.assertEqual(self.metric(node, "blixard_raft_recovering"), 0)
            self.assertIn("full member again", node.log())
            eventually("others see it ready", lambda n=node: self.state(n) == "ready")

    def state(self, node):
        """Its state as the leader tells it."""
        nodes = node.ok("cluster", "status")["nodes"]
        return next(n["state"] for n in nodes if n["id"] == node.number)

    def check(self, load, cluster):
        self.assertEqual(load.stop().problems(cluster)[:10], [])
        digests = cluster.digests()
        self.assertEqual((len(digests), len(set(digests))), (len(cluster.nodes), 1), digests)

    def lives_without(self, load, cluster, node):
        """The repaired members are enough to go on when another one dies: they vote and count."""
        node.kill()
        self.progress(load)
        node.start()
        eventually("it is back", node.is_ready)
        cluster.wait_ready()

    def test_a_damaged_follower_is_repaired_while_the_others_serve(self):
        cluster = self.cluster(3, "--segment-bytes", "262144")
        load = Workload(cluster)
        self.progress(load, 500)
        victim = cluster.followers()[0]
        victim.kill()
        self.progress(load)
        self.flip_entry(victim)
        self.starts_recovering(victim)
        self.progress(load)
        self.becomes_whole(victim)
        victim.kill()
        self.assertFalse(victim.start().ready["recovering"], "it remembers that it is whole")
        cluster.wait_ready()
        self.lives_without(load, cluster, cluster.leader())
        self.check(load, cluster)

    def test_a_damaged_leader_comes_back_as_a_follower_and_may_lead_again(self):
        cluster = self.cluster(3)
        load = Workload(cluster)
        self.progress(load, 500)
        victim = cluster.leader()
        victim.kill()
        self.flip_entry(victim, 0.2)
        self.starts_recovering(victim)
        self.becomes_whole(victim)
        self.progress(load)
        cluster.ok("cluster", "transfer", str(victim.number))
        eventually("it leads", lambda: cluster.leader() is victim)
        self.progress(load)
        self.check(load, cluster)

    def test_a_damaged_last_entry_and_a_lost_segment_are_repaired_too(self):
        cluster = self.cluster(3, "--segment-bytes", "65536")
        load = Workload(cluster)
        self.progress(load, 600)
        first, second = cluster.followers()
        first.terminate()  # the mark of what is durable is up to date
        self.flip_entry(first, 1)
        self.starts_recovering(first)
        self.becomes_whole(first)
        second.kill()
        segments = sorted((second.data / "wal").glob("*.wal"))
        self.assertGreater(len(segments), 1)
        segments[0].unlink()
        self.starts_recovering(second)
        self.becomes_whole(second)
        self.progress(load)
        self.check(load, cluster)

    def test_a_damaged_snapshot_costs_nothing_and_two_are_repaired(self):
        cluster = self.cluster(3)
        load = Workload(cluster)
        leader = cluster.leader()
        for _ in range(2):
            self.progress(load, 100)
            cluster.ok("cluster", "snapshot")  # the leader takes it
        leader.kill()
        victim = leader
        snapshots = sorted((victim.data / "snap").glob("*.snap"))
        self.assertEqual(len(snapshots), 2)
        self.spoil(snapshots[1])
        self.assertFalse(victim.start().ready["recovering"])
        self.assertIn("an older one and the log replace it", victim.log())
        eventually("it is ready", victim.is_ready)
        victim.kill()
        for path in (victim.data / "snap").glob("*.snap"):
            self.spoil(path)
        self.starts_recovering(victim)
        self.becomes_whole(victim)
        self.progress(load)
        self.check(load, cluster)

    def spoil(self, path):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x04
        path.write_bytes(content)

    # ------------------------------------------------------------------ what it must not do

    def test_a_damaged_node_does_not_vote_for_a_leader_that_lacks_a_committed_write(self):
        cluster = self.cluster(3)
        leader, (behind, victim) = cluster.leader(), cluster.followers()
        behind.kill()
        for i in range(20):
            leader.ok("kv", "put", f"k{i}", f"written by two of three {i}")
        leader.kill()
        victim.kill()
        self.flip_entry(victim, 0.8)
        behind.start()
        self.starts_recovering(victim)
        end = time.monotonic() + NO_LEADER_SECONDS
        while time.monotonic() < end:
            for node in (behind, victim):
                self.assertEqual(node.ok("cluster", "status", "--stale")["leader"], 0)
        self.assertEqual(self.metric(victim, "blixard_raft_recovering"), 1)
        status, why = fetch(victim.metrics, "/readyz")
        self.assertEqual(status, 503)
        self.assertIn("being repaired", why)
        self.assertNotEqual(ctl([behind, victim], "kv", "put", "k0", "lost", timeout=1)[0], 0)
        # A restart does not make it forget.
        victim.kill()
        self.assertTrue(victim.start().ready["recovering"])
        leader.start()
        cluster.wait_ready()
        self.becomes_whole(victim)
        for node in cluster:
            for i in range(20):
                value = node.ok("kv", "get", f"k{i}")["value"]
                self.assertEqual(value, f"written by two of three {i}")
        self.assertEqual(len(set(cluster.digests())), 1)

    def test_a_removed_node_that_joins_again_with_an_empty_disk_votes_only_when_it_is_whole(self):
        cluster = self.cluster(3)
        leader, (removed, _) = cluster.leader(), cluster.followers()
        leader.ok("kv", "put", "k", "v")
        leader.ok("cluster", "remove", str(removed.number))
        self.assertEqual(removed.process.wait(30), 13)
        shutil.rmtree(removed.data)
        others = [n for n in cluster.running() if n is not removed]
        removed.start("--join", ",".join(n.address for n in others))
        self.assertIn("its data directory is empty", removed.log())
        self.becomes_whole(removed)
        eventually("it votes again", lambda: self.role(removed) in ("follower", "leader"))
        self.assertEqual(removed.ok("kv", "get", "k")["value"], "v")

    def role(self, node):
        nodes = node.ok("cluster", "status")["nodes"]
        return next(n["role"] for n in nodes if n["id"] == node.number)

    def test_two_of_three_damaged_are_repaired_one_after_the_other_by_the_leader(self):
        cluster = self.cluster(3)
        load = Workload(cluster)
        self.progress(load, 300)
        leader = cluster.leader()
        for victim in cluster.followers():
            victim.kill()
            self.flip_entry(victim)
            self.starts_recovering(victim)
            self.becomes_whole(victim)
            self.progress(load)
        self.lives_without(load, cluster, leader)
        self.check(load, cluster)

    def test_two_of_three_damaged_without_a_leader_end_with_10_and_nothing_is_lost(self):
        cluster = self.cluster(3)
        for i in range(50):
            cluster.ok("kv", "put", f"k{i}", f"v{i}")
        digest = cluster.digests()[0]
        for node in cluster:
            node.kill()
        copy = self.folder / "copy"
        shutil.copytree(cluster[0].data, copy)
        for victim in (cluster[0], cluster[1]):
            self.flip_entry(victim)
        for node in cluster:
            node.start()
        for victim in (cluster[0], cluster[1]):
            fatal = victim.next_event()
            self.assertEqual((fatal["event"], fatal["code"]), ("fatal", 10))
            self.assertIn("from a copy of its disk", fatal["error"])
            self.assertEqual(victim.process.wait(60), 10)
            self.assertTrue(list((victim.data / "wal").glob("*.bad")), "nothing was deleted")
        self.assertEqual(cluster[2].ok("cluster", "status", "--stale")["leader"], 0)
        # What it says is done.
        shutil.rmtree(cluster[0].data)
        copy.rename(cluster[0].data)
        cluster[0].start()
        cluster[1].start()
        cluster.wait_ready()
        self.becomes_whole(cluster[1])
        for node in cluster:
            self.assertEqual(node.ok("kv", "get", "k49")["value"], "v49")
        after = cluster.digests()
        self.assertEqual(len(set(after)), 1)
        self.assertGreater(after[0][0], digest[0])

    def test_a_node_that_lost_its_vote_says_how_it_joins_again(self):
        cluster = self.cluster(3)
        cluster.ok("kv", "put", "before", "1")
        cluster.digests()
        node = cluster.followers()[0]
        node.kill()
        (node.data / "meta").write_bytes(bytes(16384))
        with self.assertRaises(Exited) as exited:
            node.start()
        self.assertEqual((exited.exception.code, exited.exception.fatal["code"]), (10, 10))
        self.assertIn("join again with an empty data directory", exited.exception.fatal["error"])
        # What it says is done, while the others serve.
        cluster.ok("cluster", "remove", str(node.number))
        cluster.ok("kv", "put", "meanwhile", "served")
        shutil.rmtree(node.data)
        node.start("--join", ",".join(n.address for n in cluster.running()))
        cluster.wait_ready()
        cluster.wait_voters()
        self.assertEqual(len(set(cluster.digests())), 1)
        self.assertEqual(node.ok("kv", "get", "before", "--stale")["value"], "1")


if __name__ == "__main__":
    main()
