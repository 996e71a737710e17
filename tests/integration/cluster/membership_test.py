#!/usr/bin/env python3
"""Members come and go while clients write; who was away catches up, by log or by snapshot."""
import json
import pathlib
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import Case, Cluster, Exited, Node, ctl, eventually, main, run  # noqa: E402
from workload import Workload  # noqa: E402

SMALL = ("--snapshot-entries", "200", "--segment-bytes", "64K")
KEPT_ENTRIES = 10_000  # the leader keeps so many behind a snapshot for followers that are late


class Membership(Case):
    def fill(self, nodes, entries):
        """Makes the log grow by at least so many entries."""
        goal = nodes[0].ok("cluster", "status")["commit_index"] + entries
        while nodes[0].ok("cluster", "status")["commit_index"] < goal:
            code, out, err = run(
                "bench",
                "kv",
                "--connect",
                ",".join(n.address for n in nodes),
                "--clients",
                "64",
                "--value-bytes",
                "64",
                "--keys",
                "500",
                "--seconds",
                "1",
                "-o",
                "json",
            )
            self.assertEqual((code, json.loads(out)["errors"]), (0, 0), err)

    def roles(self, cluster):
        return {n["id"]: n["role"] for n in cluster.ok("cluster", "status")["nodes"]}

    def equal_states(self, cluster):
        self.assertEqual(len(set(cluster.digests())), 1)

    def newest_snapshot_sent(self, cluster):
        """Index of the newest snapshot that any node sent to another one."""
        return max(int(i) for n in cluster for i in re.findall(r"sending snapshot (\d+) ", n.log()))

    def test_a_node_that_joins_late_gets_everything_and_then_votes(self):
        cluster = self.cluster(1)
        for i in range(5):
            cluster.ok("kv", "put", f"k{i}", "x" * 1000)
        load = Workload(cluster, clients=3)
        cluster.add()
        cluster.add()
        cluster.wait_voters().wait_ready()
        self.assertEqual(load.stop().problems(cluster.running())[:10], [])
        self.equal_states(cluster)
        cluster[0].kill()
        eventually(
            "the late ones carry the cluster",
            lambda: ctl(cluster.running(), "kv", "put", "k", "v", timeout=2)[0] == 0,
        )

    def test_a_node_may_join_in_the_first_instant_of_a_cluster(self):
        for attempt in range(5):
            folder = self.folder / str(attempt)
            folder.mkdir()
            cluster = Cluster(folder, ["--backend", "process"])
            self.clusters.append(cluster)
            cluster.add()
            cluster.add()
            eventually(f"attempt {attempt}: the second node is ready", cluster[1].is_ready, 15)
            cluster.end()

    def test_a_node_joins_a_compacted_log_by_snapshot(self):
        cluster = self.cluster(2, *SMALL)
        self.fill(cluster.running(), KEPT_ENTRIES + 2000)
        late = cluster.add()
        cluster.wait_voters().wait_ready()
        self.equal_states(cluster)
        self.assertGreater(self.newest_snapshot_sent(cluster), KEPT_ENTRIES)
        late.kill()
        late.start()
        cluster.wait_ready()
        self.equal_states(cluster)

    def test_a_node_that_was_down_catches_up_by_snapshot_and_by_log(self):
        cluster = self.cluster(3, *SMALL)
        down = cluster.followers()[0]
        down.kill()
        # Few enough that the leader still has them all, however fast the machine is.
        code, out, err = run("bench", "kv", "--connect", ",".join(n.address for n in cluster.running()),
                             "--clients", "4", "--rate", "300", "--seconds", "2")
        self.assertEqual(code, 0, out + err)
        down.start()
        cluster.wait_ready()
        self.equal_states(cluster)
        self.assertEqual(self.newest_snapshot_sent(cluster), 1, "the log would have been enough")
        down.kill()
        # Of one that has just answered the log is kept: it may be restarting.
        states = lambda: {n["id"]: n["state"] for n in cluster.ok("node", "list")["nodes"]}  # noqa: E731
        eventually("it is down", lambda: states()[down.number] == "down")
        self.fill(cluster.running(), KEPT_ENTRIES + 2000)
        down.start()
        cluster.wait_ready()
        self.equal_states(cluster)
        self.assertGreater(self.newest_snapshot_sent(cluster), KEPT_ENTRIES)
        down.kill()
        self.assertGreater(down.start().ready["last_index"], KEPT_ENTRIES)
        cluster.wait_ready()
        self.equal_states(cluster)

    def test_segments_are_reused_and_the_log_on_disk_stays_bounded(self):
        cluster = self.cluster(1, *SMALL)
        node = cluster[0]
        node.ok("kv", "put", "early", "bird")
        self.fill(cluster.running(), 2 * KEPT_ENTRIES + 5000)
        eventually(
            "segments are removed", lambda: not (node.data / "wal" / f"{1:016x}.wal").exists()
        )
        self.assertLessEqual(len(list((node.data / "snap").glob("*.snap"))), 2)
        before = node.ok("cluster", "digest")
        node.kill()
        node.start()
        eventually("it leads again", node.is_ready)
        self.assertEqual(node.ok("kv", "get", "early")["value"], "bird")
        self.assertGreater(node.ok("cluster", "digest")["index"], before["index"])

    def test_a_snapshot_is_written_when_asked_for_and_found_at_the_next_start(self):
        cluster = self.cluster(1)
        node = cluster[0]
        node.ok("kv", "put", "k", "v")
        had = set((node.data / "snap").glob("*.snap"))
        index = node.ok("cluster", "status")["applied_index"]
        node.ok("cluster", "snapshot")
        new = set((node.data / "snap").glob("*.snap")) - had
        self.assertEqual([int(p.name.split("-")[0], 16) >= index for p in new], [True])
        node.kill()
        node.start()
        eventually("it leads again", node.is_ready)
        self.assertEqual(node.ok("kv", "get", "k")["value"], "v")

    def test_leadership_goes_where_it_is_sent(self):
        cluster = self.cluster(3)
        load = Workload(cluster)
        for number in (2, 3, 1, 3):
            cluster[0].ok("cluster", "transfer", str(number))
            eventually(f"node {number} leads", lambda n=number: cluster.leader().number == n)
        self.assertEqual(cluster[0].ctl("cluster", "transfer", "9")[0], 3)
        self.assertEqual(cluster.leader().number, 3)
        self.assertEqual(load.stop().problems(cluster.running())[:10], [])

    def test_who_has_the_best_rank_leads_whenever_it_is_there(self):
        cluster = self.cluster(3, each=[["--election-rank", str(rank)] for rank in range(3)])
        first = cluster[0]
        first.kill()
        self.assertEqual(cluster.leader().number, 2)
        first.start()
        eventually("node 1 leads again", lambda: cluster.leader() is first)

    def test_a_witness_votes_and_holds_neither_data_nor_vms(self):
        cluster = self.cluster(2)
        payload = "what-a-witness-never-sees"
        cluster.ok("kv", "put", "before", payload)
        witness = cluster.add("--witness")

        def shown():
            nodes = {n["id"]: n for n in cluster.ok("cluster", "status")["nodes"]}
            return nodes.get(3, {}).get("role"), nodes.get(3, {}).get("state")

        eventually("it votes", lambda: shown() == ("witness", "ready"))
        summary = cluster.ok("cluster", "status")["summary"]
        self.assertEqual((summary["nodes_healthy"], summary["nodes_total"]), (3, 3))
        kinds = {"voter": 2, "witness": 1, "learner": 0}
        wanted = {f'blixard_raft_members{{kind="{k}"}} {n}' for k, n in kinds.items()}
        eventually(
            "each member is counted in one kind",
            lambda: wanted <= set(cluster[0].ok("metrics", "raft_members")["lines"]),
        )
        cluster.ok("kv", "put", "after", payload)
        for name in ("a", "b", "c"):
            cluster.ok("vm", "create", name, "--memory", "16M", "--command", "sleep 600")
        self.assertNotIn(3, [v["node"] for v in cluster.ok("vm", "list")["vms"]])
        self.assertEqual(cluster[0].ctl("cluster", "transfer", "3")[0], 3)

        # Through it everything can be asked for; of it, nothing.
        self.assertEqual(witness.ok("kv", "get", "after")["value"], payload)
        code, answer = witness.ctl("kv", "get", "after", "--stale")
        self.assertEqual((code, answer["error"]["code"]), (6, "invalid_state"))

        # One node with data is enough, as long as the witness is there; and it stays a witness.
        witness.kill()
        witness.flags.remove("--witness")
        witness.start()
        leader = cluster.leader()
        other = next(n for n in cluster.running() if n not in (leader, witness))
        other.kill()
        eventually(
            "writes go on",
            lambda: ctl([leader], "kv", "put", "alone", payload, timeout=2)[0] == 0,
        )
        self.assertEqual(self.roles(cluster)[3], "witness")
        for node, has in ((leader, True), (witness, False)):
            files = [p.read_bytes() for p in node.data.rglob("*") if p.is_file()]
            self.assertEqual(any(payload.encode() in f for f in files), has, node.number)

        # It elects, and does not lead.
        leader.kill()
        other.start()
        code, _ = ctl([witness], "cluster", "status", timeout=2)
        self.assertNotEqual(code, 0, "nobody can lead: the one is behind, the other has no data")
        leader.start()
        eventually("who has everything leads again", lambda: cluster.leader() is leader)
        self.assertEqual(witness.ok("kv", "get", "alone")["value"], payload)

    def test_a_witness_whose_id_another_disk_took_over_while_it_hung_ends_when_it_wakes(self):
        cluster = self.cluster(2)
        hung = cluster.add("--witness")
        eventually("it votes", lambda: self.roles(cluster).get(3) == "witness")
        self.addCleanup(hung.end)
        hung.suspend()
        (self.folder / "heir").mkdir()
        heir = Node(self.folder / "heir", 3, hung.flags, hung.env)
        cluster.nodes[2] = heir
        heir.start("--join", cluster[0].address)

        def votes():
            nodes = cluster.ok("cluster", "status")["nodes"]
            return [n["state"] for n in nodes if n["role"] == "witness"] == ["ready"]

        eventually("the other one votes", votes)
        hung.resume()
        for _ in range(2):  # it ends, and again when it is started again
            self.assertEqual(hung.process.wait(30), 13)
            fatal = hung.next_event()
            self.assertEqual((fatal["event"], fatal["code"]), ("fatal", 13))
            self.assertIn("node 3 has started with another data directory", fatal["error"])
            hung.start()
        self.assertEqual(hung.process.wait(30), 13)
        eventually("the other one votes, as before", votes)
        self.assertTrue(heir.is_running())

    def test_what_a_member_is_does_not_change_with_its_disk(self):
        cluster = self.cluster(2)
        witness = cluster.add("--witness")
        eventually("it votes", lambda: self.roles(cluster).get(3) == "witness")
        witness.kill()
        shutil.rmtree(witness.data)
        witness.flags.remove("--witness")
        with self.assertRaises(Exited) as refused:
            witness.start("--join", cluster[0].address)
        self.assertEqual(refused.exception.code, 3)
        follower = next(n for n in cluster.followers() if n is not witness)
        follower.kill()
        with self.assertRaises(Exited) as refused:
            follower.start("--witness")
        self.assertEqual(refused.exception.code, 3)

    def test_a_removed_follower_exits_13_and_the_others_go_on(self):
        cluster = self.cluster(3)
        load = Workload([cluster[0], cluster[1], cluster[2]], clients=6)
        gone = cluster.followers()[0]
        leader = cluster.leader()
        leader.ok("cluster", "remove", str(gone.number))
        states = {n["id"]: n["state"] for n in leader.ok("node", "list")["nodes"]}
        self.assertIn(states[gone.number], ("draining", "left"))
        self.assertEqual(gone.process.wait(30), 13)
        fatal = gone.next_event()
        self.assertEqual((fatal["event"], fatal["code"]), ("fatal", 13))
        eventually(
            "two members are left",
            lambda: sorted(self.roles(cluster).values()) == ["follower", "leader"],
        )
        before = load.succeeded()
        eventually("writes go on", lambda: load.succeeded() > before + 50)
        self.assertEqual(load.stop().problems(cluster.running())[:10], [])
        self.equal_states(cluster)
        self.assertEqual(cluster.ctl("cluster", "remove", str(gone.number))[0], 3)

    def test_a_removed_leader_exits_13_and_another_one_leads(self):
        cluster = self.cluster(3)
        load = Workload(cluster, clients=6)
        gone = cluster.leader()
        followers = cluster.followers()
        code, answer = followers[0].ctl("cluster", "remove", str(gone.number))
        self.assertIn(answer["op"], ("ok", "info"), answer)
        self.assertEqual(gone.process.wait(30), 13)
        self.assertIn(cluster.leader(), followers)
        eventually(
            "two members are left",
            lambda: sorted(self.roles(cluster).values()) == ["follower", "leader"],
        )
        before = load.succeeded()
        eventually("writes go on", lambda: load.succeeded() > before + 50)
        self.assertEqual(load.stop().problems(cluster.running())[:10], [])
        self.equal_states(cluster)

    def test_a_node_that_is_down_and_then_removed_is_no_more_shown(self):
        cluster = self.cluster(3)
        gone = cluster.followers()[0]
        gone.kill()

        def states():
            return {n["id"]: n["state"] for n in cluster.ok("node", "list")["nodes"]}

        eventually("it is down", lambda: states()[gone.number] == "down")
        cluster.ok("cluster", "remove", str(gone.number))
        eventually("it has left", lambda: states().get(gone.number) == "left")
        self.assertNotIn(gone.number, [n["id"] for n in cluster.ok("cluster", "status")["nodes"]])
        gone.start()
        self.assertEqual(gone.process.wait(30), 13)

    def test_a_removed_node_that_was_down_learns_it_when_it_comes_back(self):
        cluster = self.cluster(3)
        gone = cluster.followers()[0]
        gone.kill()
        cluster.ok("cluster", "remove", str(gone.number))
        term = cluster.ok("cluster", "status")["term"]
        gone.start()
        self.assertEqual(gone.process.wait(30), 13)
        self.assertEqual(cluster.ok("cluster", "status")["term"], term, "it disturbed the others")

    def test_a_second_node_with_the_id_of_one_that_is_up_is_not_admitted(self):
        cluster = self.cluster(3)
        digests = cluster.digests()
        for taken in (cluster.leader(), cluster.followers()[0]):
            code, _, err = run(
                *("node", "--id", str(taken.number), "--data-dir", str(self.folder / f"second{taken.number}")),
                *("--join", cluster.leader().address),
                *("--bind", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
            )
            self.assertEqual(code, 3, err)
            self.assertIn(f"node {taken.number} is a member and is up", err)
            for id, address in ((taken.number, "127.0.0.1:1"), (9, taken.address)):
                code, answer = cluster.ctl("cluster", "join", str(id), address)
                self.assertEqual((code, answer["error"]["code"]), (6, "conflict"))
        cluster.wait_ready()
        self.assertEqual(cluster.digests(), digests, "something was committed")

    def test_an_address_that_nobody_can_dial_is_refused(self):
        cluster = self.cluster(1)
        for address in ("0.0.0.0:7009", "127.0.0.1:0", "nohost.invalid:7009"):
            code, answer = cluster.ctl("cluster", "join", "9", address)
            self.assertEqual(answer["error"]["code"], "invalid_argument", address)
        code, answer = cluster.ctl("cluster", "join", "9", cluster[0].address)
        self.assertEqual((code, answer["error"]["code"]), (6, "conflict"), "node 1 has it")
        self.assertEqual(len(cluster.ok("cluster", "status")["nodes"]), 1)
        for address in ("0.0.0.0:7009", "nohost.invalid:7009"):
            code, out, _ = run(
                *("node", "--id", "1", "--bootstrap", "--data-dir", str(self.folder / "lone")),
                *("--bind", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--advertise", address),
            )
            self.assertEqual(code, 3, out)
            self.assertIn("no address that others can dial", out)

    def test_a_node_whose_removal_would_cost_the_majority_is_not_removed(self):
        cluster = self.cluster(3)
        down, other = cluster.followers()
        down.kill()
        eventually(
            "its connection is gone",
            lambda: cluster.ctl("cluster", "remove", str(other.number))[1].get("error", {}).get("code")
            == "invalid_state",
        )
        cluster.ok("kv", "put", "k", "v")
        cluster.ok("cluster", "remove", str(down.number))
        cluster.ok("cluster", "remove", str(other.number))
        cluster.leader().ok("kv", "put", "k", "w")

    def test_the_last_voter_cannot_be_removed(self):
        cluster = self.cluster(1)
        code, answer = cluster[0].ctl("cluster", "remove", "1")
        self.assertEqual((code, answer["error"]["code"]), (6, "invalid_state"))
        cluster[0].ok("kv", "put", "k", "v")

    def test_a_node_that_comes_back_at_another_address_is_found_once_it_is_told(self):
        cluster = self.cluster(3)
        moved = cluster.followers()[0]
        moved.kill()
        moved.address = "127.0.0.1:0"
        moved.start()
        others = [n for n in cluster if n is not moved]
        others[0].ok("cluster", "join", str(moved.number), moved.address)
        cluster.wait_ready()
        eventually(
            "its new address is known",
            lambda: moved.address
            in [n["address"] for n in cluster.ok("cluster", "status")["nodes"]],
        )
        self.equal_states(cluster)


if __name__ == "__main__":
    main()
