#!/usr/bin/env python3
"""The hot paths are the ones that a running node uses: its own counters say so.

Recording resolves no handle per event, the status page is written and agrees with what the node
says, questions for the same placement are planned once, and so are creates of one shape, though
each of them changes the inventory.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import Case, SharedCluster, eventually, fetch, main  # noqa: E402
from session import Session  # noqa: E402
from status_page import StatusPage  # noqa: E402

PUTS = 500
ASKED = 1000
CREATES = 100


def numbers_of(node):
    """What /metrics says: {series as it is written: value}."""
    status, text = fetch(node.metrics, "/metrics")
    if status != 200:
        raise AssertionError(f"{status}: {text}")
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {series: float(value) for series, value in lines}


def grown(before, after, series):
    return after[series] - before[series]


class HotPaths(SharedCluster):
    size = 3

    def put(self, number):
        with Session(self.nodes) as session:
            boxes = [session.send(["kv", "put", f"k{i % 50}", "v"]) for i in range(number)]
            answers = [box.get(timeout=60) for box in boxes]
        self.assertEqual({a["op"] for a in answers}, {"ok"})

    def test_events_are_counted_through_handles_that_were_resolved_before(self):
        self.put(10)  # what is resolved at the first use is resolved now
        before = {node.number: numbers_of(node) for node in self.nodes}
        self.put(PUTS)
        for node in self.nodes:
            old, new = before[node.number], numbers_of(node)
            with self.subTest(node=node.number):
                self.assertEqual(
                    grown(old, new, "blixard_raft_term"), 0, "an election resolves peers anew"
                )
                self.assertEqual(grown(old, new, "blixard_metrics_handles_total"), 0)
                self.assertGreater(grown(old, new, "blixard_wal_records_total"), 0)
                self.assertGreaterEqual(new["blixard_metrics_counting_threads"], 2)
        leader = self.nodes.leader()
        self.assertGreaterEqual(
            grown(
                before[leader.number],
                numbers_of(leader),
                'blixard_raft_proposals_total{outcome="applied"}',
            ),
            PUTS,
        )

    def test_the_status_page_is_written_as_the_node_goes_on_and_agrees_with_it(self):
        node = self.nodes.leader()
        before = numbers_of(node)
        with StatusPage(node) as page:
            applied = page.read().applied
            self.put(PUTS)
            self.assertGreater(grown(before, numbers_of(node), "blixard_status_writes_total"), 0)
            self.assertGreaterEqual(page.read().applied, applied + PUTS)

            def agrees():
                said, seen = numbers_of(node), page.read()
                return (seen.commit, seen.applied, seen.term) == tuple(
                    said[f"blixard_raft_{name}"] for name in ("commit_index", "applied_index", "term")
                )

            eventually("the page and the metrics agree", agrees)

    def test_a_thousand_who_ask_for_the_same_placement_get_one_plan(self):
        self.nodes.ok("vm", "create", "web", "--memory", "16M", "--command", "sleep 100000")
        self.nodes.ok("wait", "vm", "web", "--for=running")
        before = {node.number: numbers_of(node) for node in self.nodes}
        with Session(self.nodes) as session:
            boxes = [session.send(["vm", "explain", "web"]) for _ in range(ASKED)]
            answers = [box.get(timeout=60) for box in boxes]
        self.assertEqual({a["op"] for a in answers}, {"ok"})
        total = dict.fromkeys(("hits", "misses", "waits"), 0)
        for node in self.nodes:
            new = numbers_of(node)
            for what in total:
                series = f'blixard_cache_{what}_total{{cache="placement"}}'
                total[what] += grown(before[node.number], new, series)
        self.assertEqual(sum(total.values()), ASKED)
        # One; one more for every ten seconds, after which a decision is made again.
        self.assertIn(total["misses"], (1, 2, 3), total)
        self.nodes.ok("vm", "delete", "web")

    def test_repeated_questions_for_the_status_hit_the_summary(self):
        node = self.nodes.leader()
        node.ok("cluster", "status")
        before = numbers_of(node)
        for _ in range(5):
            node.ok("cluster", "status")
        hits = grown(before, numbers_of(node), 'blixard_cache_hits_total{cache="summary"}')
        self.assertGreaterEqual(hits, 4)


class Creates(Case):
    def test_creates_of_one_shape_one_after_the_other_hit_the_cache(self):
        cluster = self.cluster(3, "--vcpus", "1000", "--memory", "1000G")
        before = {node.number: numbers_of(node) for node in cluster}
        with Session(cluster) as session:
            for i in range(CREATES):
                words = ["vm", "create", f"vm{i}", "--memory", "16M", "--command", "sleep 100000"]
                self.assertEqual(session.send(words).get(timeout=60)["op"], "ok")
        total = dict.fromkeys(("hits", "renewals", "misses", "waits"), 0)
        for node in cluster:
            new = numbers_of(node)
            for what in total:
                series = f'blixard_cache_{what}_total{{cache="placement"}}'
                total[what] += grown(before[node.number], new, series)
        self.assertEqual(total["hits"] + total["misses"] + total["waits"], CREATES)
        # The first; one more for every ten seconds, or if another node became leader.
        self.assertLessEqual(total["misses"], 5, total)
        # Each create took room on a node: hardly one found the inventory as the last one had.
        self.assertGreaterEqual(total["renewals"], CREATES * 3 // 4, total)
        leader = cluster.leader()
        rate = {r["what"]: r["value"] for r in leader.ok("hotpaths")["hotpaths"]}
        self.assertGreater(rate["placement: hit rate"], 0.9)
        print(f"{CREATES} creates: {total}")


class Peers(Case):
    def test_the_series_of_a_member_that_is_removed_ends(self):
        cluster = self.cluster(3)
        leader = cluster.leader()

        def peers():
            series = numbers_of(leader)
            names = (re.fullmatch(r'blixard_raft_follower_lag_entries\{peer="(\d+)"\}', s) for s in series)
            return {int(match[1]) for match in names if match}

        others = {node.number for node in cluster.followers()}
        eventually("both followers have a series", lambda: peers() == others)
        gone = cluster.followers()[0].number
        leader.ok("cluster", "remove", str(gone))
        eventually("one of them ends", lambda: peers() == others - {gone})


if __name__ == "__main__":
    main()
