#!/usr/bin/env python3
"""Faults in any order while clients read and write: links that fall silent, nodes that hang, die
and come back.

What the clients were told is one linearizable history, and in the end all states are equal.
"""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import Case, Cluster, ctl, eventually, main  # noqa: E402
from partition import Network  # noqa: E402
from workload import Workload  # noqa: E402


class Faults(Case):
    def networked(self, size=3):
        """A cluster whose links can be cut one by one."""
        network = Network(size)
        self.addCleanup(network.close)
        cluster = Cluster(self.folder, ["--backend", "process"])
        self.clusters.append(cluster)
        for number in range(1, size + 1):
            cluster.add(*network.flags_of(number))
            network.connect(cluster)
        cluster.wait_ready().wait_voters()
        return cluster, network

    def heals(self, load, cluster):
        eventually("all nodes are ready again", lambda: all(n.is_ready() for n in cluster))
        before = load.succeeded()
        eventually("writes go on", lambda: load.succeeded() > before + 100)
        self.assertEqual(load.stop().problems(cluster)[:10], [])
        digests = cluster.digests()
        self.assertEqual((len(digests), len(set(digests))), (len(cluster.nodes), 1), digests)

    def others_lead(self, cluster, cut_off):
        others = [n for n in cluster if n is not cut_off]
        eventually(
            "the others have a leader and take a write",
            lambda: ctl(others, "kv", "put", "majority", "1", timeout=2)[0] == 0,
        )
        return others

    def test_a_leader_that_is_cut_off_acknowledges_nothing_and_answers_no_old_value(self):
        cluster, network = self.networked()
        cluster.ok("kv", "put", "color", "old")
        load = Workload(cluster)
        leader = cluster.leader()
        network.isolate(leader.number)
        others = self.others_lead(cluster, leader)
        self.assertEqual(ctl(others, "kv", "put", "color", "new")[0], 0)
        code, answer = leader.ctl("kv", "get", "color", timeout=1)
        self.assertNotEqual(answer["op"], "ok", answer)
        self.assertEqual(leader.ok("kv", "get", "color", "--stale")["value"], "old")
        code, answer = leader.ctl("kv", "put", "color", "lost", timeout=1)
        self.assertNotEqual(answer["op"], "ok", answer)
        network.heal()
        self.heals(load, cluster)
        self.assertIn(
            leader.ok("kv", "get", "color")["value"], ("new", "lost") if code == 7 else ("new",)
        )

    def test_a_node_that_hears_but_is_not_heard_does_not_stop_the_others(self):
        cluster, network = self.networked()
        load = Workload(cluster)
        mute = cluster.followers()[0]
        network.cut(*(pair for pair in network.links if pair[0] == mute.number))
        self.others_lead(cluster, mute)
        before = load.succeeded()
        eventually("writes go on", lambda: load.succeeded() > before + 100)
        network.heal(reset=True)
        self.heals(load, cluster)

    def test_a_node_that_was_cut_off_does_not_depose_the_leader_when_it_returns(self):
        cluster, network = self.networked()
        away = cluster.followers()[0]
        leader, term = cluster.leader(), cluster.ok("cluster", "status")["term"]
        network.isolate(away.number)
        eventually("it knows that it is alone", lambda: not away.is_ready())
        time.sleep(1)  # several election timeouts, in which it must not raise its term
        network.heal()
        cluster.wait_ready()
        self.assertIs(cluster.leader(), leader)
        self.assertEqual(cluster.ok("cluster", "status")["term"], term)

    def test_a_leader_that_reaches_only_one_of_two_followers_goes_on(self):
        cluster, network = self.networked()
        load = Workload(cluster)
        leader, (first, second) = cluster.leader(), cluster.followers()
        network.cut((leader.number, first.number), (first.number, leader.number))
        before = load.succeeded()
        eventually("writes go on", lambda: load.succeeded() > before + 200)
        network.heal()
        self.heals(load, cluster)
        self.assertTrue(second.is_running())

    def test_any_faults_in_any_order_leave_one_history(self):
        cluster, network = self.networked()
        load = Workload(cluster, timeout_ms=2000)
        stopped = []
        end = time.monotonic() + 20
        while time.monotonic() < end:
            node = self.random.choice(cluster.nodes)
            what = self.random.choice(("kill", "hang", "isolate", "one way", "link", "leader"))
            if what == "leader":
                node = cluster.leader() if len(cluster.running()) == 3 else node
                what = "kill"
            other = self.random.choice([n for n in cluster if n is not node])
            if what == "kill":
                node.kill()
            elif what == "hang":
                node.suspend()
            elif what == "isolate":
                network.isolate(node.number)
            elif what == "one way":
                network.cut((node.number, other.number))
            else:
                network.cut((node.number, other.number), (other.number, node.number))
            stopped.append(f"{what} {node.number}")
            time.sleep(self.random.uniform(0.1, 1.5))
            network.heal(reset=self.random.random() < 0.5)
            if what == "kill":
                node.start()
            elif what == "hang":
                node.resume()
            time.sleep(self.random.uniform(0, 0.7))
        print("faults:", ", ".join(stopped), file=sys.stderr)
        self.heals(load, cluster)


if __name__ == "__main__":
    main()
