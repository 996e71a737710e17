#!/usr/bin/env python3
"""What a client may rely on: one answer per request, stable codes, safe retries, facts without a
node's help.
"""
import json
import pathlib
import queue
import sys
import threading
import time
from collections import Counter

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import (
    PATIENCE,
    Case,
    SharedCluster,
    eventually,
    fetch,
    free_port,  # noqa: E402
    main,
    run,
    start_ticks,
)
from session import Session  # noqa: E402
from status_page import StatusPage  # noqa: E402


class JsonLines(SharedCluster):
    size = 3

    def test_256_requests_are_outstanding_at_once_and_each_is_answered_once(self):
        node = self.nodes.followers()[0]
        with Session([node]) as session:
            session.ask("kv put warm 1")
            node.suspend()
            try:
                boxes = [session.send(["kv", "put", f"many/{i:03}", str(i)]) for i in range(256)]
            finally:
                node.resume()
            answers = [box.get(timeout=PATIENCE) for box in boxes]
            self.assertEqual({a["op"] for a in answers}, {"ok"}, answers[:3])
            self.assertEqual(len({a["index"] for a in answers}), 256)
            self.assertEqual(session.close(), 0)
            self.assertEqual(session.strays, [])
        self.assertEqual(len(node.ok("kv", "list", "many/")["items"]), 256)

    def test_answers_come_in_any_order_a_slow_request_holds_no_other_up(self):
        with Session([self.nodes[0]]) as session:
            index = self.nodes[0].ok("cluster", "status")["commit_index"]
            slow = session.send(["cluster", "digest", "--at", str(index + 20)])
            for i in range(10):
                self.assertEqual(session.ask(f"kv put order {i}")["op"], "ok")
                with self.assertRaises(queue.Empty):
                    slow.get_nowait()
            for i in range(20):
                session.ask(f"kv put order {i}")
            self.assertGreaterEqual(slow.get(timeout=PATIENCE)["result"]["index"], index + 20)

    def test_a_request_that_cannot_finish_is_answered_when_its_time_is_up(self):
        with Session([self.nodes[0]]) as session:
            index = self.nodes[0].ok("cluster", "status")["commit_index"]
            late = session.send(
                ["cluster", "digest", "--at", str(index + 1_000_000)], timeout_ms=500
            )
            self.assertEqual(late.get(timeout=10)["error"]["code"], "timeout")

    def test_the_end_of_input_waits_for_what_is_outstanding(self):
        lines = "".join(
            json.dumps({"id": i, "cmd": f"kv put end/{i} x"}) + "\n" for i in range(200)
        )
        code, out, _ = run("ctl", "--connect", self.nodes[1].address, "--jsonl", stdin=lines)
        answers = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((code, sorted(a["id"] for a in answers)), (0, list(range(200))))
        self.assertEqual({a["op"] for a in answers}, {"ok"})

    def test_cluster_status_while_writing_shows_a_majority_that_has_what_is_committed(self):
        node = self.nodes[0]
        with Session([node]) as session, Session([node]) as writer:
            for _ in range(20):
                boxes = [writer.send("kv put busy v") for _ in range(100)]
                boxes[50].get(timeout=PATIENCE)
                status = session.ask("cluster status")["result"]
                for box in boxes[:50] + boxes[51:]:
                    box.get(timeout=PATIENCE)
                has = sorted(n["match_index"] for n in status["nodes"])
                self.assertGreaterEqual(has[1], status["commit_index"], status)
                self.assertGreaterEqual(status["commit_index"], status["applied_index"], status)

    def test_a_read_sees_every_write_that_was_acknowledged_through_another_node(self):
        sessions = [Session([n]) for n in self.nodes]
        try:
            for i in range(60):
                wrote = sessions[i % 3].ask(f"kv put ryw {i}")
                read = sessions[(i + 1) % 3].ask("kv get ryw")
                self.assertEqual((wrote["op"], read["result"]["value"]), ("ok", str(i)))
                self.assertGreaterEqual(read["index"], wrote["index"])
                stale = sessions[(i + 2) % 3].ask("kv get ryw --stale")
                if stale["op"] == "ok":
                    self.assertLessEqual(int(stale["result"]["value"]), i)
                    self.assertGreaterEqual(stale["index"], stale["result"]["version"])
        finally:
            for session in sessions:
                session.close()


class ExitCodes(SharedCluster):
    def test_each_outcome_has_its_exit_code_and_its_stable_error_code(self):
        node = self.nodes[0]
        node.ok("kv", "put", "there", "1")
        node.ok("vm", "create", "there", "--command", "sleep 1000", "--memory", "16M")
        for words, code, error in (
            (["kv", "get", "there"], 0, None),
            (["kv", "put", "k" * 1025, "v"], 1, "too_large"),
            (["kv", "put", "only-a-key"], 2, "invalid_argument"),
            (["no", "such"], 2, "invalid_argument"),
            (["kv", "get", "nowhere"], 3, "not_found"),
            (["kv", "delete", "nowhere"], 3, "not_found"),
            (["vm", "show", "nobody"], 3, "not_found"),
            (["vm", "stop", "nobody"], 3, "not_found"),
            (["node", "show", "77"], 3, "not_found"),
            (["cluster", "remove", "77"], 3, "not_found"),
            (["kv", "cas", "there", "0", "2"], 6, "conflict"),
            (["kv", "put", "there", "2", "--if-version", "0"], 6, "conflict"),
            (["vm", "create", "there"], 6, "already_exists"),
            (["vm", "resume", "there", "--timeout", "0.000001"], 2, "invalid_argument"),
            (["cluster", "digest", "--at", "99999999", "--timeout", "0.3"], 7, "timeout"),
            (["vm", "create", "vast", "--memory", "60T"], 8, "unplaceable"),
        ):
            with self.subTest(words):
                got, answer = node.ctl(*words)
                self.assertEqual((got, answer.get("error", {}).get("code")), (code, error), answer)
                self.assertEqual(answer["op"], {0: "ok", 7: "info"}.get(code, "fail"))
                if error in ("not_found", "conflict", "already_exists") and words[0] in (
                    "kv",
                    "vm",
                ):
                    self.assertGreater(answer["index"], 0, "it observed the state: it has an index")
        self.assertEqual(node.ctl("kv", "get", "there")[1]["result"]["value"], "1")

    def test_nobody_reached_is_exit_5_and_surely_nothing_happened(self):
        code, out, _ = run(
            "ctl", "--connect", f"127.0.0.1:{free_port()}", "-o", "json", "kv", "put", "a", "b"
        )
        self.assertEqual((code, json.loads(out)["op"]), (5, "fail"))

    def test_no_leader_is_exit_5_and_surely_nothing_happened(self):
        node = self.lonely()
        for timeout in (0.5, 1, 3, 30):
            code, answer = node.ctl("kv", "put", "a", "b", timeout=timeout)
            said = (code, answer["op"], answer["error"]["code"])
            self.assertEqual(said, (5, "fail", "no_leader"), f"--timeout {timeout}")

    def lonely(self):
        """A member without a quorum, as it was started again: it does not know of a leader."""
        cluster = self.cluster(2)
        for node in cluster:
            node.kill()
        return cluster[0].start()


class Retries(Case):
    def ask(self, nodes, command, seq, client="c1"):
        line = json.dumps({"id": 1, "cmd": command, "client": client, "seq": seq})
        code, out, err = run(
            "ctl", "--connect", ",".join(n.address for n in nodes), "--jsonl", stdin=line + "\n"
        )
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def test_a_repeated_command_gets_its_first_answer_after_failover_restart_and_snapshot(self):
        cluster = self.cluster(3)
        commands = {
            1: "kv put once x --if-version 0",
            2: "kv cas once x y",
            3: "kv cas once x z",
            4: "kv delete nothing",
            5: "kv delete once",
            6: "vm create web --stopped --memory 16M --command true",
            7: "vm create web --stopped --memory 16M --command true",
        }
        first = {seq: self.ask(cluster, command, seq) for seq, command in commands.items()}
        self.assertEqual(
            [first[s]["op"] for s in first], ["ok", "ok", "fail", "fail", "ok", "ok", "fail"]
        )

        def same_answers(when):
            for seq, command in commands.items():
                again = self.ask(cluster.running(), command, seq)
                for key in ("op", "result"):
                    self.assertEqual(again.get(key), first[seq].get(key), f"{when}: {command}")
                self.assertEqual(
                    again.get("error", {}).get("code"), first[seq].get("error", {}).get("code")
                )

        same_answers("at once")
        dead = cluster.leader()
        dead.kill()
        cluster.leader()
        same_answers("after a failover")
        dead.start()
        for node in cluster:
            node.kill()
        for node in cluster:
            node.start()
        cluster.wait_ready()
        same_answers("after a restart of all")
        cluster.ok("cluster", "snapshot")
        for node in cluster:
            node.kill()
        for node in cluster:
            node.start()
        cluster.wait_ready()
        same_answers("after a restart from a snapshot")
        self.assertEqual(
            self.ask(cluster, "kv put once x --if-version 0", 1, "c2")["op"],
            "ok",
            "another client's command is another command",
        )

    def test_a_counter_is_exact_when_its_client_retries_whatever_is_unknown(self):
        cluster = self.cluster(3)
        cluster.ok("kv", "put", "counter", "0")
        unknown, done, errors = [0], [0], []
        enough = threading.Event()

        def count():
            with Session(cluster) as session:
                while not enough.is_set():
                    i = done[0]
                    while True:
                        answer = session.ask(
                            f"kv cas counter {i} {i + 1}",
                            client="counter",
                            seq=i + 1,
                            timeout_ms=1000,
                        )
                        if answer["op"] == "ok":
                            break
                        unknown[0] += answer["op"] == "info"
                        if answer["error"]["code"] == "conflict":
                            errors.append(answer)
                            return
                    done[0] = i + 1

        counting = threading.Thread(target=count, daemon=True)
        counting.start()
        for _ in range(3):
            eventually("it counts", lambda n=done[0]: done[0] >= n + 100 or errors)
            victim = cluster.leader()
            victim.kill()
            eventually("it goes on", lambda n=done[0]: done[0] > n + 10 or errors)
            victim.start()
            cluster.wait_ready()
        enough.set()
        counting.join(PATIENCE)
        self.assertEqual((counting.is_alive(), errors), (False, []))
        self.assertEqual(cluster.ok("kv", "get", "counter")["value"], str(done[0]))


class Credits(Case):
    """Each connection may have 256 requests outstanding: a credit comes back at its deadline."""

    def all_at_once(self, session, command, timeout_ms):
        """256 of one command outstanding together: how many had which outcome."""
        boxes = [session.send(command, timeout_ms=timeout_ms) for _ in range(256)]
        answers = [box.get(timeout=PATIENCE) for box in boxes]
        return Counter(a.get("error", {}).get("code", a["op"]) for a in answers)

    def test_a_leader_that_hung_longer_than_the_deadlines_costs_a_connection_nothing(self):
        cluster = self.cluster(3)
        leader = cluster.leader()
        with Session(cluster.followers()[:1]) as session:
            self.assertEqual(self.all_at_once(session, "kv put k v", 20_000), {"ok": 256})
            leader.suspend()
            self.all_at_once(session, "kv put k v", 100)
            end = time.monotonic() + 3  # the router used to forget what was a second too late
            while time.monotonic() < end:
                session.ask("kv put k v", timeout_ms=500)
            leader.resume()
            eventually("it goes on", lambda: session.ask("kv put k v")["op"] == "ok")
            self.assertEqual(self.all_at_once(session, "kv put k v", 20_000), {"ok": 256})

    def test_puts_that_timed_out_are_in_no_stale_reads_way(self):
        cluster = self.cluster(3)
        leader, others = cluster.leader(), cluster.followers()
        with Session([leader]) as session:
            session.ask("kv put k v")
            for node in others:
                node.suspend()
            for _ in range(3):
                codes = self.all_at_once(session, "kv put k v", 300)
                self.assertLessEqual(set(codes), {"timeout", "no_leader", "overloaded"})
            eventually("a read", lambda: session.ask("kv get k --stale")["op"] == "ok")
            self.assertEqual(self.all_at_once(session, "kv get k --stale", 20_000), {"ok": 256})
            for node in others:
                node.resume()
            eventually("it goes on", lambda: session.ask("kv put k v")["op"] == "ok")
            self.assertEqual(self.all_at_once(session, "kv put k v", 20_000), {"ok": 256})


class HungNodes(Case):
    def test_a_client_with_several_addresses_leaves_a_node_that_hangs(self):
        cluster = self.cluster(3)
        hung, other = cluster.followers()
        with Session([hung, other, cluster.leader()]) as session:
            session.ask("kv put k v")
            self.assertEqual(session.ask("kv list --stale")["node"], hung.number)
            hung.suspend()
            late = session.send("cluster digest", timeout_ms=20_000)
            self.assertEqual(session.ask("kv put k lost", timeout_ms=500)["op"], "info")
            for i in range(20):
                self.assertEqual(session.ask(f"kv put k {i}", timeout_ms=20_000)["op"], "ok")
                self.assertEqual(session.ask("kv list --stale")["node"], other.number)
            hung.resume()
            self.assertEqual(late.get(timeout=PATIENCE)["node"], hung.number, "it was kept for it")
            self.assertEqual(session.ask("kv list --stale")["node"], other.number)

    def test_with_one_address_a_client_waits_for_the_node_that_hangs(self):
        cluster = self.cluster(1)
        with Session(cluster) as session:
            session.ask("kv put k v")
            cluster[0].suspend()
            for _ in range(2):
                self.assertEqual(session.ask("kv get k", timeout_ms=200)["op"], "info")
            cluster[0].resume()
            self.assertEqual(session.ask("kv get k")["op"], "ok")


class Facts(Case):
    def test_stale_reads_are_answered_without_a_quorum_and_say_how_old_they_are(self):
        cluster = self.cluster(3)
        version = cluster.ok("kv", "put", "k", "old")["version"]
        last = cluster.followers()[0]
        eventually("it is applied there", lambda: last.ctl("kv", "get", "k", "--stale")[0] == 0)
        for node in cluster:
            if node is not last:
                node.suspend()
        code, answer = last.ctl("kv", "get", "k", "--stale")
        self.assertEqual((code, answer["result"]["value"], answer["node"]), (0, "old", last.number))
        self.assertGreaterEqual(answer["index"], version)
        for words in (["kv", "list"], ["vm", "list"], ["node", "list"], ["cluster", "status"]):
            self.assertEqual(last.ctl(*words, "--stale")[0], 0, words)
        self.assertNotEqual(last.ctl("kv", "get", "k", timeout=1)[0], 0)

    def test_the_status_page_tells_the_truth_while_the_process_stands_still(self):
        cluster = self.cluster(3)
        for i in range(5):
            cluster.ok("kv", "put", f"k{i}", "v")
        cluster.ok("vm", "create", "web", "--memory", "16M", "--command", "sleep 1000")
        cluster.ok("wait", "vm", "web", "--for=running")
        cluster.digests()
        status = cluster.ok("cluster", "status")
        for node in cluster:
            node.suspend()
        for node in cluster:
            with StatusPage(node) as page:
                self.assertEqual(
                    (page.node, page.pid, page.start_ticks),
                    (node.number, node.pid, start_ticks(node.pid)),
                )
                self.assertEqual(page.cluster, status["cluster_id"])
                leads = node.number == status["leader"]
                self.assertEqual(page.flags, (int(leads), 1, status["leader"], status["term"], 3))
                facts = page.read()
                self.assertEqual(
                    (facts.term, facts.leader, facts.role, facts.cluster_size),
                    (status["term"], status["leader"], "leader" if leads else "follower", 3),
                )
                self.assertEqual((facts.keys, facts.initialized), (5, 1))
                self.assertEqual(facts.vms_by_phase[3], 1, "one VM is running")
                self.assertGreaterEqual(facts.commit, facts.applied)
                self.assertGreaterEqual(facts.applied, status["applied_index"])
                self.assertGreaterEqual(facts.last, facts.commit)

    def test_the_status_page_is_never_torn_and_survives_a_restart(self):
        cluster = self.cluster(1)
        node = cluster[0]
        with StatusPage(node) as page, Session([node]) as session:
            boxes = [session.send(["kv", "put", f"k{i}", "v"]) for i in range(200)]
            seen = []
            while not seen or seen[-1].keys < 200:
                facts = page.read()
                self.assertLessEqual(facts.applied, facts.commit)
                self.assertLessEqual(facts.commit, facts.last)
                seen.append(facts)
            for name in ("term", "commit", "applied", "keys"):
                values = [getattr(f, name) for f in seen]
                self.assertEqual(values, sorted(values), f"{name} went back")
            self.assertTrue(all(b.get(timeout=PATIENCE)["op"] == "ok" for b in boxes))
            old = page.pid
            node.kill()
            self.assertEqual(page.pid, old)
            self.assertIsNone(start_ticks(old))
            node.start()
            eventually(
                "the same mapping shows the new process",
                lambda: page.pid == node.pid and page.read().keys == 200,
            )

    def test_health_is_200_on_a_ready_member_and_says_what_is_missing_elsewhere(self):
        cluster = self.cluster(3)
        for node in cluster:
            self.assertEqual(fetch(node.metrics, "/livez")[0], 200)
            status, body = fetch(node.metrics, "/readyz")
            self.assertEqual((status, json.loads(body)), (200, {"ready": True, "reasons": []}))
        self.assertEqual(fetch(cluster[0].metrics, "/nothing")[0], 404)
        last, *others = cluster
        for node in others:
            node.suspend()
        eventually("it is not ready", lambda: fetch(last.metrics, "/readyz")[0] == 503)
        answer = json.loads(fetch(last.metrics, "/readyz")[1])
        self.assertIs(answer["ready"], False)
        self.assertTrue(any("leader" in reason for reason in answer["reasons"]), answer)
        self.assertEqual(fetch(last.metrics, "/livez")[0], 200)
        for node in others:
            node.resume()
        cluster.wait_ready()

    def test_a_node_that_waits_for_its_cluster_is_live_and_not_ready(self):
        cluster = self.cluster(2)
        for node in cluster:
            node.kill()
        cluster[1].start()
        self.assertEqual(fetch(cluster[1].metrics, "/livez")[0], 200)
        self.assertEqual(fetch(cluster[1].metrics, "/readyz")[0], 503)


if __name__ == "__main__":
    main()
