#!/usr/bin/env python3
"""Lets a real Prometheus scrape three real nodes, and asks it what an operator would ask.

Needs BLIXARD_BIN (ctest sets it), and Debian's prometheus package for prometheus and promtool. Every
wait polls to a deadline; everything listens on 127.0.0.1; only processes started here are ended.
"""
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

BLIXARD = os.environ["BLIXARD_BIN"]
DEADLINE_SECONDS = 60
KEYS = 20


def get(address, path):
    """Status and body of an HTTP answer; (0, reason) if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()
    except OSError as failed:
        return 0, str(failed)


def eventually(what, holds):
    """Polls `holds` until it returns something true, and returns that; fails at the deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        result = holds()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what() if callable(what) else what}")
        time.sleep(0.1)


class Node:
    """One node process with its data directory and what its ready line said."""

    def __init__(self, folder, number, how):
        self.number = number
        self.log = open(folder / f"node{number}.log", "wb")
        self.process = subprocess.Popen(
            [BLIXARD, "node", "--id", str(number), "--data-dir", str(folder / f"node{number}"),
             "--bind", "127.0.0.1:0", "--metrics", "127.0.0.1:0", *how],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        self.events = queue.Queue()
        threading.Thread(target=self._read_events, daemon=True).start()
        ready = self._next_event()
        assert ready["event"] == "ready", ready
        self.bind, self.metrics = ready["bind"], ready["metrics"]

    def _read_events(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))
        self.events.put({"event": "end of output"})

    def _next_event(self):
        try:
            return self.events.get(timeout=DEADLINE_SECONDS)
        except queue.Empty:
            raise AssertionError(f"node {self.number} said nothing") from None

    def is_ready(self):
        return get(self.metrics, "/readyz")[0] == 200

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Prometheus:
    """A Prometheus that scrapes the given addresses every second."""

    def __init__(self, folder, targets):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = folder / "prometheus.yml"
        # JSON is YAML.
        config.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "blixard", "static_configs": [{"targets": targets}]}]}))
        subprocess.run(["promtool", "check", "config", config], check=True, stdout=subprocess.DEVNULL)
        self.log = open(folder / "prometheus.log", "wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address={self.address}", "--log.level=warn"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def ask(self, query):
        """The samples of an instant query as floats."""
        status, body = get(self.address, "/api/v1/query?" + urllib.parse.urlencode({"query": query}))
        if status != 200:
            return []
        return [float(sample["value"][1]) for sample in json.loads(body)["data"]["result"]]

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self.log.close()


class PrometheusTest(unittest.TestCase):
    """The tests run in the order of their names: the last ones stop nodes."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="blixard-prometheus."))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.nodes = []
        for number in (1, 2, 3):
            how = ["--bootstrap"] if number == 1 else ["--join", cls.nodes[0].bind]
            node = Node(cls.folder, number, how)
            cls.addClassCleanup(node.close)
            cls.nodes.append(node)
        eventually("all nodes are ready", lambda: all(node.is_ready() for node in cls.nodes))
        cls.prometheus = Prometheus(cls.folder, [node.metrics for node in cls.nodes])
        cls.addClassCleanup(cls.prometheus.close)
        for key in range(KEYS):
            subprocess.run([BLIXARD, "ctl", "--connect", cls.nodes[key % 3].bind,
                            "kv", "put", f"key{key}", "value"],
                           check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def becomes(self, query, expected):
        """The query has exactly one sample, of this value, before the deadline."""
        eventually(lambda: f"{query} is {expected}; it is {self.prometheus.ask(query)}",
                   lambda: self.prometheus.ask(query) == [float(expected)])

    def holds(self, condition):
        """A comparison (which Prometheus answers with the samples it holds for) has an answer."""
        eventually(condition, lambda: self.prometheus.ask(condition))

    def test_1_all_nodes_are_scraped(self):
        self.becomes('sum(up{job="blixard"})', 3)
        _, body = get(self.prometheus.address, "/api/v1/targets")
        targets = json.loads(body)["data"]["activeTargets"]
        self.assertEqual([target["lastError"] for target in targets], ["", "", ""])

    def test_1_there_is_one_leader_and_all_agree_on_it(self):
        self.becomes("sum(blixard_raft_is_leader)", 1)
        self.becomes("sum(blixard_raft_has_leader)", 3)
        self.becomes('count(count_values("leader", blixard_raft_leader_id))', 1)
        self.becomes("max(blixard_raft_term) - min(blixard_raft_term)", 0)
        self.becomes('count(blixard_raft_members{kind="voter"} == 3)', 3)

    def test_1_commands_are_counted_on_their_way(self):
        self.becomes(f"count(blixard_state_keys == {KEYS})", 3)
        self.holds(f'sum(blixard_raft_proposals_total{{outcome="applied"}}) >= {KEYS}')
        self.holds(f"sum(blixard_raft_commit_duration_seconds_count) >= {KEYS}")
        self.becomes("max(blixard_raft_applied_index) - min(blixard_raft_applied_index)", 0)
        self.becomes("max(blixard_raft_commit_index) - min(blixard_raft_commit_index)", 0)
        self.holds("sum(blixard_router_forwarded_total) > 0")
        for metric in ("wal_fsync_duration_seconds_count", "wal_syncs_total", "wal_records_total",
                       "wal_written_bytes_total", "wal_sync_entries_count",
                       "state_apply_duration_seconds_count", "net_connections"):
            with self.subTest(metric):
                self.becomes(f"count(blixard_{metric} > 0)", 3)

    def test_1_consensus_traffic_is_seen_by_class_and_peer(self):
        for name in ("sent", "received"):
            self.becomes(f'count(blixard_router_{name}_total{{class="critical"}} > 0)', 3)
        self.becomes('count(blixard_router_queued_frames{class="low"})', 3)
        self.becomes("count(blixard_raft_follower_lag_entries)", 2)
        self.becomes("sum(blixard_raft_follower_lag_entries)", 0)
        self.holds("count(blixard_raft_heartbeat_gap_seconds_count > 0) >= 2")

    def test_1_histograms_give_quantiles(self):
        p50 = ("histogram_quantile(0.5, sum by (le) "
               "(rate(blixard_raft_heartbeat_gap_seconds_bucket[30s])))")
        self.holds(f"{p50} > 0.001")
        self.holds(f"{p50} < 1")

    def test_1_the_inventory_is_the_same_on_every_node(self):
        self.becomes('count(blixard_cluster_nodes{state="ready"} == 3)', 3)
        for resource in ("vcpus", "memory_bytes"):
            self.holds(f"min(blixard_cluster_capacity_{resource}) > 0")
            self.becomes(f"max(blixard_cluster_capacity_{resource}) - "
                         f"min(blixard_cluster_capacity_{resource})", 0)
        self.becomes("sum(blixard_cluster_vms)", 0)
        self.holds("min(blixard_vm_lease_remaining_seconds) > 0")

    def test_1_processes_and_build_are_described(self):
        self.becomes("count(count by (version) (blixard_build_info))", 1)
        self.becomes("count(process_resident_memory_bytes > 1e6)", 3)
        self.becomes("count(process_open_fds > 5)", 3)
        self.becomes("count(time() - process_start_time_seconds < 600)", 3)
        self.holds("min(process_cpu_seconds_total) > 0")
        self.holds('sum(blixard_cache_entries{cache="summary"}) >= 0')

    def test_1_promtool_finds_nothing_to_criticise(self):
        for node in self.nodes:
            status, text = get(node.metrics, "/metrics")
            self.assertEqual(status, 200)
            checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            self.assertEqual((checked.returncode, checked.stdout), (0, ""))

    def test_2_another_leader_is_seen_when_the_leader_is_killed(self):
        is_leader = {node.number: "\nblixard_raft_is_leader 1\n" in get(node.metrics, "/metrics")[1]
                     for node in self.nodes}
        [leader] = [node for node in self.nodes if is_leader[node.number]]
        leader.kill()
        self.becomes("sum(up)", 2)
        self.becomes("sum(blixard_raft_is_leader)", 1)
        self.becomes("sum(blixard_raft_has_leader)", 2)
        for node in self.nodes:
            if node is not leader:
                eventually(f"node {node.number} is ready", node.is_ready)

    def test_3_a_node_without_a_quorum_is_live_but_not_ready_and_says_why(self):
        running = [node for node in self.nodes if node.process.poll() is None]
        running[0].kill()
        last = running[1]
        eventually("the last node is not ready", lambda: get(last.metrics, "/readyz")[0] == 503)
        status, body = get(last.metrics, "/readyz")
        self.assertEqual(status, 503)
        answer = json.loads(body)
        self.assertIs(answer["ready"], False)
        self.assertTrue(answer["reasons"])
        self.assertEqual(get(last.metrics, "/livez")[0], 200)
        self.becomes("sum(blixard_raft_is_leader)", 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
