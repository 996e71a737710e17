#!/usr/bin/env python3
"""Three nodes as one: they form a cluster, and nothing that was acknowledged is lost whoever is
killed.
"""
import pathlib
import re
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import Case, ctl, eventually, fetch, main, run  # noqa: E402
from workload import Workload  # noqa: E402

FAILOVER_SECONDS = 2  # from the death of a leader to the first write through another node


class Consensus(Case):
    def check(self, load, cluster):
        """The history is linearizable, read through every node, and the states are equal."""
        self.assertEqual(load.problems(cluster.running())[:10], [])
        digests = cluster.digests()
        self.assertEqual(len(digests), len(cluster.nodes))
        self.assertEqual(len(set(digests)), 1, digests)

    def progress(self, load, more=100):
        """Waits until so many more writes were acknowledged."""
        goal = load.succeeded() + more
        eventually(lambda: f"{load.succeeded()} of {goal} writes", lambda: load.succeeded() >= goal)

    def test_three_nodes_become_one_cluster_that_all_describe_alike(self):
        cluster = self.cluster(3)
        leader = cluster.leader().number
        seen = [n.ok("cluster", "status") for n in cluster]
        for status in seen:
            self.assertEqual(status["leader"], leader)
            self.assertEqual([n["id"] for n in status["nodes"]], [1, 2, 3])
            self.assertEqual({n["id"] for n in status["nodes"] if n["role"] == "leader"}, {leader})
            self.assertEqual({n["state"] for n in status["nodes"]}, {"ready"})
            self.assertEqual([n["address"] for n in status["nodes"]], [n.address for n in cluster])
        self.assertEqual(len({s["cluster_id"] for s in seen}), 1)
        self.assertEqual(len({s["term"] for s in seen}), 1)
        self.assertEqual([n["id"] for n in cluster[1].ok("node", "list")["nodes"]], [1, 2, 3])

    def test_every_node_takes_every_kv_command(self):
        cluster = self.cluster(3)
        for writer in cluster:
            key = f"from{writer.number}"
            version = writer.ok("kv", "put", key, "one")["version"]
            for reader in cluster:
                self.assertEqual(
                    reader.ok("kv", "get", key), {"key": key, "value": "one", "version": version}
                )
            self.assertGreater(writer.ok("kv", "cas", key, "one", "two")["version"], version)
            code, answer = writer.ctl("kv", "cas", key, "one", "three")
            self.assertEqual((code, answer["error"]["code"]), (6, "conflict"))
            self.assertGreater(answer["index"], version)
            for reader in cluster:
                items = reader.ok("kv", "list", "from")["items"]
                self.assertEqual({"key": key, "value": "two"}.items() - items[-1].items(), set())
        for writer in cluster:
            writer.ok("kv", "delete", f"from{writer.number}")
            for reader in cluster:
                self.assertEqual(reader.ctl("kv", "get", f"from{writer.number}")[0], 3)
        self.assertEqual(len(set(cluster.digests())), 1)

    def test_killed_leaders_lose_no_acknowledged_write_and_writes_go_on(self):
        cluster = self.cluster(3)
        load = Workload(cluster)
        pauses = []
        for _ in range(3):
            self.progress(load)
            victim = cluster.leader()
            killed = time.monotonic()
            victim.kill()
            eventually("writes go on", lambda at=killed: load.pause_after(at))
            pauses.append(load.pause_after(killed))
            self.progress(load)
            victim.start()
            eventually("the killed node is back", victim.is_ready)
        self.progress(load)
        self.check(load.stop(), cluster)
        self.assertLessEqual(max(pauses), FAILOVER_SECONDS, pauses)

    def test_a_killed_follower_disturbs_nobody_and_comes_back_with_its_data(self):
        cluster = self.cluster(3)
        load = Workload(cluster)
        self.progress(load)
        leader, term = cluster.leader(), cluster.ok("cluster", "status")["term"]
        victim = cluster.followers()[0]
        victim.kill()
        self.progress(load)
        started = victim.start().ready
        self.assertGreater(started["last_index"], 1, "the node came back empty")
        eventually("the killed node is back", victim.is_ready)
        self.progress(load)
        self.check(load.stop(), cluster)
        self.assertEqual(
            (cluster.leader(), cluster.ok("cluster", "status")["term"]), (leader, term)
        )

    def test_all_nodes_killed_at_once_come_back_with_everything_acknowledged(self):
        cluster = self.cluster(3)
        load = Workload(cluster)
        for _ in range(2):
            self.progress(load)
            for node in cluster:
                node.process.kill()
            for node in cluster:
                node.process.wait()
            for node in cluster:
                node.start()
            cluster.wait_ready()
            self.progress(load)
        self.check(load.stop(), cluster)

    def test_a_write_without_a_quorum_is_never_ok_and_never_appears_if_it_failed(self):
        cluster = self.cluster(3)
        cluster.ok("kv", "put", "before", "1")
        leader, followers = cluster.leader(), cluster.followers()
        for node in followers:
            node.kill()
        outcomes = {}
        for i in range(5):
            _, answer = leader.ctl("kv", "put", f"lonely{i}", "1", timeout=1)
            outcomes[f"lonely{i}"] = answer["op"]
        self.assertNotIn("ok", outcomes.values())
        self.assertNotEqual(leader.ctl("kv", "get", "before", timeout=1)[1]["op"], "ok")
        self.assertEqual(leader.ok("kv", "get", "before", "--stale")["value"], "1")
        for node in followers:
            node.start()
        cluster.wait_ready()
        present = {i["key"] for i in cluster.ok("kv", "list", "lonely")["items"]}
        self.assertEqual(present & {k for k, op in outcomes.items() if op == "fail"}, set())
        self.assertEqual(len(set(cluster.digests())), 1)

    def test_a_leader_that_hangs_is_replaced_and_does_not_answer_old_values_when_it_wakes(self):
        cluster = self.cluster(3)
        cluster.ok("kv", "put", "color", "old")
        hung = cluster.leader()
        others = cluster.followers()
        hung.suspend()
        eventually(
            "the others have a leader and take a write",
            lambda: ctl(others, "kv", "put", "color", "new", timeout=2)[0] == 0,
        )
        hung.resume()
        # Whatever it still believes itself to be: a linearizable read is the new value or an error.
        for _ in range(20):
            code, answer = hung.ctl("kv", "get", "color", timeout=2)
            if code == 0:
                self.assertEqual(answer["result"]["value"], "new")
        eventually("the node that hung follows", hung.is_ready)
        self.assertEqual(hung.ok("kv", "get", "color")["value"], "new")
        self.assertEqual(len(set(cluster.digests())), 1)

    def test_a_node_that_stops_hands_leadership_over_and_exits_0_in_time(self):
        cluster = self.cluster(3)
        load = Workload(cluster)
        self.progress(load)
        leader = cluster.leader()
        stopped = time.monotonic()
        code, seconds = leader.terminate()
        self.assertEqual(code, 0)
        self.assertLess(seconds, 10)
        eventually("writes go on", lambda: load.pause_after(stopped))
        self.assertLessEqual(load.pause_after(stopped), FAILOVER_SECONDS)
        self.assertIsNot(cluster.leader(), leader)
        self.assertNotIn("fatal", leader.log())
        leader.start()
        eventually("it is back", leader.is_ready)
        self.progress(load)
        self.check(load.stop(), cluster)

    def test_a_second_signal_ends_a_node_at_once_and_loses_nothing(self):
        cluster = self.cluster(3)
        load = Workload(cluster)
        self.progress(load)
        leader = cluster.leader()
        leader.process.terminate()
        leader.process.terminate()
        self.assertEqual(leader.process.wait(10), 0)
        leader.start()
        eventually("it is back", leader.is_ready)
        self.progress(load)
        self.check(load.stop(), cluster)

    def test_a_cluster_of_one_takes_writes_and_keeps_them_over_kill_and_stop(self):
        cluster = self.cluster(1)
        node = cluster[0]
        versions = [node.ok("kv", "put", "k", "1")["version"]]
        node.kill()
        node.start()
        eventually("it leads again", node.is_ready)
        versions.append(node.ok("kv", "get", "k")["version"])
        self.assertEqual(node.terminate()[0], 0)
        node.start()
        eventually("it leads again", node.is_ready)
        versions.append(node.ok("kv", "get", "k")["version"])
        self.assertEqual(len(set(versions)), 1)

    def test_without_a_quorum_a_node_is_live_but_not_ready_and_says_why(self):
        cluster = self.cluster(3)
        last, *others = cluster
        for node in others:
            node.kill()
        eventually("it is not ready", lambda: fetch(last.metrics, "/readyz")[0] == 503)
        status, body = fetch(last.metrics, "/readyz")
        self.assertEqual(status, 503)
        self.assertIn("leader", body)
        self.assertEqual(fetch(last.metrics, "/livez")[0], 200)
        others[0].start()
        eventually("it is ready with a quorum", last.is_ready)

    def sum_of(self, node, name):
        text = fetch(node.metrics, "/metrics")[1]
        return sum(float(v) for v in re.findall(rf"^{name}(?:{{.*}})? (.*)$", text, re.M))

    def waits_per_entry(self, node, work):
        """Syncs that an entry waited for, on average over the entries that `work` writes."""
        names = [f"blixard_wal_{n}_total" for n in ("sync_waits", "records")]
        before = [self.sum_of(node, n) for n in names]
        work()
        waits, entries = (self.sum_of(node, n) - b for n, b in zip(names, before))
        self.assertGreaterEqual(entries, 20)
        return waits / entries

    def test_a_leader_that_was_paused_does_not_answer_from_a_lease_that_ran_out(self):
        cluster = self.cluster(3, "--reads", "lease")
        old = cluster.leader()
        old.ok("kv", "put", "k", "old")
        for _ in range(20):
            self.assertEqual(old.ok("kv", "get", "k")["value"], "old")
        self.assertEqual(old.ok("cluster", "status")["reads"], "lease")
        self.assertGreater(self.sum_of(old, 'blixard_raft_reads_total{kind="lease"}'), 0)
        others = cluster.followers()
        old.suspend()
        eventually(
            "another node leads",
            lambda: ctl(others, "kv", "put", "k", "new", timeout=2)[0] == 0,
        )
        answers = []
        asking = threading.Thread(target=lambda: answers.append(old.ctl("kv", "get", "k")))
        asking.start()
        time.sleep(0.5)  # the question waits in the socket of the paused node
        old.resume()
        asking.join()
        code, answer = answers[0]
        self.assertTrue(code != 0 or answer["result"]["value"] == "new", answer)
        eventually("it follows", lambda: cluster.leader() is not old)

    def test_lease_reads_do_not_depend_on_what_the_other_nodes_are_configured_to(self):
        cluster = self.cluster(3)
        one = cluster.followers()[0]
        one.kill()
        one.flags += ["--reads", "lease"]
        one.start()
        cluster.wait_ready()
        cluster.ok("cluster", "transfer", str(one.number))
        eventually("it leads", lambda: cluster.leader() is one)
        one.ok("kv", "put", "k", "v")

        def by_lease():
            self.assertEqual(one.ok("kv", "get", "k")["value"], "v")
            return self.sum_of(one, 'blixard_raft_reads_total{kind="lease"}') > 0

        eventually("the others promise although they do not read so", by_lease)

    def test_an_entry_waits_for_one_sync_on_idle_disks(self):
        cluster = self.cluster(3)
        leader = cluster.leader()

        def one_by_one():
            for i in range(20):
                leader.ok("kv", "put", f"k{i}", "v")

        self.assertEqual(round(self.waits_per_entry(leader, one_by_one), 1), 1.0)

    def test_what_is_on_its_way_to_each_follower_is_shown(self):
        cluster = self.cluster(3)
        leader = cluster.leader()
        code, out, err = run("bench", "kv", "--connect", leader.address, "--clients", "16",
                             "--seconds", "1", "-o", "json")
        self.assertEqual(code, 0, out + err)
        for node in leader.ok("cluster", "status")["nodes"]:
            if node["id"] == leader.number:
                continue
            self.assertEqual(node["progress"], "replicate")
            self.assertEqual(node["rank"], 0)
            self.assertGreater(node["window_messages"], 0)
            self.assertGreater(node["window_bytes"], 0)
            self.assertGreater(node["ack_delay_us"], 0)
        self.assertGreater(self.sum_of(leader, "blixard_raft_window_bytes"), 0)
        followers = [n for n in cluster if n is not leader]
        self.assertEqual(self.sum_of(followers[0], "blixard_raft_window_bytes"), 0)


if __name__ == "__main__":
    main()
