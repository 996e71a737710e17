#!/usr/bin/env python3
"""The hot paths are on in running nodes: what their counters say after real requests.

Claims about counts, never about time. Each looks at differences between two readings, so that what
a start costs does not matter.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import Case, fetch, main  # noqa: E402
from session import Session  # noqa: E402

PUTS = 400


def counters(node):
    """Every metric of a node, summed over its labels."""
    status, text = fetch(node.metrics, "/metrics")
    assert status == 200, text
    out = {}
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        series, _, value = line.rpartition(" ")
        name = series.partition("{")[0]
        out[name] = out.get(name, 0) + float(value)
    return out


class HotPaths(Case):
    def change(self, nodes, act):
        """What each counter of each node rose by while `act` ran."""
        before = [counters(n) for n in nodes]
        act()
        after = [counters(n) for n in nodes]
        return [{k: a[k] - b.get(k, 0) for k in a} for b, a in zip(before, after)]

    def put(self, node, count, size=256):
        with Session([node]) as session:
            for i in range(count):
                self.assertEqual(session.ask(f"kv put k{i} {'v' * size}")["op"], "ok")

    def test_forwarded_commands_allocate_no_frames_and_are_never_encoded_again(self):
        cluster = self.cluster(3)
        cluster.wait_voters()
        leader, follower = cluster.leader(), cluster.followers()[0]
        nodes = [leader, *cluster.followers()]
        self.put(follower, PUTS)  # the pools have what they need
        rose = self.change(nodes, lambda: self.put(follower, PUTS))
        self.assertEqual(cluster.leader(), leader)
        self.assertGreaterEqual(rose[1]["blixard_router_forwarded_total"], PUTS)
        for node, c in zip(nodes, rose):
            frames = c["blixard_router_received_total"] + c["blixard_router_sent_total"]
            self.assertGreater(frames, PUTS, node.number)
            # Not one per hundred frames: a scrape or a timer may need one that was not there.
            self.assertLess(c["blixard_pool_block_allocations_total"], frames / 100, node.number)
            # The client's encoding is the one; what rises is what nodes propose of their own.
            self.assertLess(c["blixard_raft_command_encodes_total"], PUTS / 20, node.number)
            self.assertGreaterEqual(c["blixard_state_applied_entries_total"], PUTS, node.number)

    def test_payloads_are_copied_between_socket_and_disk_only_where_little_arrived(self):
        cluster = self.cluster(3)
        cluster.wait_voters()
        nodes = [cluster.leader(), *cluster.followers()]
        for size in (256, 8 * 1024):
            rose = self.change(nodes, lambda: self.put(nodes[0], PUTS, size))
            self.assertEqual(cluster.leader(), nodes[0])
            for node, c in zip(nodes, rose):
                copies = c["blixard_raft_payload_copies_total"]
                self.assertGreaterEqual(c["blixard_wal_records_total"], PUTS, node.number)
                if size == 256:  # one at a time: a chunk would be kept for each
                    self.assertGreaterEqual(copies, PUTS, node.number)
                else:  # what rises is what nodes propose of their own
                    self.assertLess(copies, PUTS / 20, node.number)
                moved = c["blixard_net_copied_in_bytes_total"]
                self.assertLess(moved, c["blixard_router_received_bytes_total"] / 20, node.number)

    def test_an_entry_is_put_into_wire_form_once_for_both_followers(self):
        cluster = self.cluster(3)
        cluster.wait_voters()
        nodes = [cluster.leader(), *cluster.followers()]
        leader, *followers = self.change(nodes, lambda: self.put(nodes[0], PUTS))
        self.assertEqual(cluster.leader(), nodes[0])
        encoded = leader["blixard_raft_entries_encoded_total"]
        self.assertGreaterEqual(encoded, PUTS)
        self.assertLess(encoded, 1.5 * leader["blixard_wal_records_total"])  # one for each: 2 times
        for c in followers:
            self.assertEqual(c["blixard_raft_entries_encoded_total"], 0)

    def test_a_large_command_that_shrinks_is_sent_compressed_to_the_leader(self):
        cluster = self.cluster(3)
        cluster.wait_voters()
        leader, follower = cluster.leader(), cluster.followers()[0]
        value = 256 * 1024
        sent, got = self.change([follower, leader], lambda: self.put(follower, 3, value))
        self.assertEqual(sent["blixard_net_packed_frames_total"], 3)
        self.assertEqual(got["blixard_net_unpacked_frames_total"], 3)
        self.assertGreater(sent["blixard_net_packed_saved_bytes_total"], 2 * value)
        self.assertEqual(leader.ok("kv", "get", "k0")["value"], "v" * value)

    def test_the_command_shows_them_as_a_table_and_as_json(self):
        cluster = self.cluster(1)
        self.put(cluster[0], 10)
        rows = {r["what"]: r["value"] for r in cluster[0].ok("hotpaths")["hotpaths"]}
        self.assertGreater(rows["entries applied"], 9)
        self.assertIsNotNone(rows["heap allocations per frame"])
        self.assertIsNotNone(rows["encodes here per entry (a client's: 0)"])


if __name__ == "__main__":
    main()
