#!/usr/bin/env python3
"""Snapshots between real processes: what is cut goes on from where it was, at the rate that is
allowed, and nobody's heartbeats wait for it; a node whose disk is lost comes back with one command."""
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import BIN, SEED, Case, eventually, fetch, main, run  # noqa: E402
from partition import Network  # noqa: E402
from workload import Workload  # noqa: E402

KEPT_ENTRIES = 10_000  # the leader keeps so many behind a snapshot: more than that are written
RATE = 600_000  # bytes per second
HALF = 2_000_000
SILENT_SECONDS = 3.5  # after three the leader keeps no log for one that does not answer
SLOW = ("--snapshot-rate", str(RATE))


def metric(node, name):
    """Sum of a metric's series on one node."""
    text = fetch(node.ready["metrics"], "/metrics")[1]
    return sum(float(v) for v in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))


def sent_bytes(node):
    return metric(node, "blixard_raft_snapshot_sent_bytes_total")


class Snapshots(Case):
    def grow(self, cluster, megabytes=4):
        """A log that a new node cannot get, and so many megabytes of state that do not pack."""
        node = cluster.leader()
        while node.ok("cluster", "status")["commit_index"] < KEPT_ENTRIES + 1000:
            code, out, err = run("bench", "kv", "--connect", node.address, "--clients", "64",
                                 "--value-bytes", "64", "--keys", "500", "--seconds", "1", "-o", "json")
            self.assertEqual((code, json.loads(out)["errors"]), (0, 0), err)
        dice = random.Random(SEED)
        for i in range(megabytes * 17):  # four bits a character: each is 60 KB of state
            node.ok("kv", "put", f"large{i}", dice.randbytes(60_000).hex())
        node.ok("cluster", "snapshot")

    def size_of_snapshot(self, node):
        return int(re.findall(r"sending snapshot \d+ \((\d+) bytes\)", node.log())[-1])

    def expect_sent_once(self, node, size, slack):
        self.assertGreater(size, 1.5 * HALF)
        self.assertLessEqual(sent_bytes(node), size + slack)

    def settle(self, cluster):
        cluster.wait_voters().wait_ready()
        self.assertEqual(len(set(cluster.digests())), 1)

    def test_a_receiver_that_is_killed_half_way_gets_the_rest(self):
        cluster = self.cluster(1, *SLOW)
        self.grow(cluster)
        late = cluster.add()
        leader = cluster.leader()
        eventually("half has been sent", lambda: sent_bytes(leader) > HALF)
        late.kill()
        late.start()
        self.assertIn("are here already", eventually("it finds its part", late.log))
        self.settle(cluster)
        # At most what was in flight when it died is sent again.
        self.expect_sent_once(leader, self.size_of_snapshot(leader), HALF - 500_000)

    def test_a_sender_that_is_killed_half_way_goes_on(self):
        cluster = self.cluster(1, *SLOW)
        self.grow(cluster)
        late = cluster.add()
        leader = cluster[0]
        eventually("half has been sent", lambda: sent_bytes(leader) > HALF)
        before = sent_bytes(leader)
        leader.kill()
        leader.start()
        self.settle(cluster)
        self.assertEqual(late.ok("cluster", "digest")["digest"], leader.ok("cluster", "digest")["digest"])
        size = self.size_of_snapshot(leader)
        self.assertGreater(size, 1.5 * HALF)
        self.assertLess(sent_bytes(leader), size - before + HALF - 500_000)

    def test_a_connection_that_is_cut_half_way_costs_what_was_in_flight(self):
        net = Network(2)
        self.addCleanup(net.close)
        cluster = self.cluster(1, *SLOW, each=[net.flags_of(1)])
        self.grow(cluster)
        cluster.add(*net.flags_of(2))
        net.connect(cluster)
        leader = cluster[0]
        eventually("half has been sent", lambda: sent_bytes(leader) > HALF)
        net.cut((1, 2))
        stands_still = sent_bytes(leader)
        eventually("it is noticed", lambda: sent_bytes(leader) > stands_still)
        net.heal(reset=True)
        self.settle(cluster)
        self.expect_sent_once(leader, self.size_of_snapshot(leader), HALF - 500_000)
        self.assertNotIn("does not get there", leader.log())

    def test_a_slow_one_holds_up_neither_heartbeats_nor_writes(self):
        cluster = self.cluster(3, *SLOW)
        leader = cluster.leader()
        late = next(n for n in cluster if n is not leader)
        late.kill()
        time.sleep(SILENT_SECONDS)
        term = cluster.ok("cluster", "status")["term"]
        self.grow(cluster)
        late.start()
        eventually("it is under way", lambda: sent_bytes(leader) > 500_000)
        status, why = fetch(late.metrics, "/readyz")
        self.assertEqual(status, 503)
        self.assertIn("not applied yet", why)
        load = Workload(cluster, clients=3)
        cluster.wait_voters().wait_ready()
        self.assertEqual(load.stop().problems(cluster.running())[:10], [])
        self.assertEqual(cluster.ok("cluster", "status")["term"], term, "a follower missed heartbeats")

    def test_a_node_becomes_a_voter_while_the_leader_is_saturated(self):
        cluster = self.cluster(2)
        command = [BIN, "bench", "kv", "--connect", ",".join(n.address for n in cluster), "--clients", "256",
                   "--seconds", "40", "-o", "json"]
        load = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(load.wait)
        self.addCleanup(load.kill)
        start = cluster.ok("cluster", "status")["commit_index"]
        eventually("it is saturated",
                   lambda: cluster.ok("cluster", "status")["commit_index"] > start + 2 * KEPT_ENTRIES)
        cluster.add()
        cluster.wait_voters()
        self.assertIsNone(load.poll(), "the load went on")

    def test_a_node_whose_disk_is_lost_comes_back_by_one_command_under_load(self):
        cluster = self.cluster(3)
        load = Workload(cluster, clients=6)
        for lost in (cluster.followers()[0], cluster.leader()):
            before = load.succeeded()
            eventually("writes are there", lambda b=before: load.succeeded() > b + 50)
            lost.kill()
            shutil.rmtree(lost.data)
            lost.start("--join", ",".join(n.address for n in cluster.running() if n is not lost))
            self.assertIn("its data directory is empty", lost.log())
            cluster.wait_voters().wait_ready()
            eventually("it counts again", lambda n=lost: "full member again" in n.log())
            eventually("all are members", lambda: all(
                n["state"] != "recovering" for n in cluster.ok("cluster", "status")["nodes"]))
        self.assertEqual(load.stop().problems(cluster.running())[:10], [])
        self.assertEqual(len(set(cluster.digests())), 1)

    def test_a_node_that_lost_its_disk_does_not_help_to_elect_one_that_lacks_a_write(self):
        cluster = self.cluster(3)
        lost, behind = cluster.followers()
        leader = cluster.leader()
        behind.kill()
        cluster.ok("kv", "put", "precious", "1")  # on the leader and on the one whose disk goes
        lost.kill()
        shutil.rmtree(lost.data)
        leader.suspend()
        behind.start()
        # Nobody can admit it: it waits, and two of three without the write do not become a cluster.
        process = run("node", "--id", str(lost.number), "--data-dir", str(lost.data), "--bind", lost.address,
                      "--metrics", "127.0.0.1:0", "--backend", "process", "--join", behind.address, timeout=120)
        self.assertEqual(process[0], 3, process)
        leader.resume()
        lost.start("--join", behind.address)
        cluster.wait_voters().wait_ready()
        self.assertEqual(cluster.ok("kv", "get", "precious")["value"], "1")


if __name__ == "__main__":
    main()
