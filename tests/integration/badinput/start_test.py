#!/usr/bin/env python3
"""A node that cannot start says why, exits with the code for it, and changes nothing that is not
its own.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from disk import fill, mount  # noqa: E402
from harness import Case, Cluster, Exited, Node, eventually, fetch, main, run  # noqa: E402

USAGE, CONFIGURATION, BIND, LOCKED, FOREIGN, TOO_NEW, CORRUPT, NO_SPACE, WRITE = (
    2,
    3,
    4,
    5,
    6,
    7,
    10,
    11,
    12,
)


class Start(Case):
    def refused(self, code, node, *flags):
        """The node does not start: its exit code, also in the fatal event; returns what it said."""
        with self.assertRaises(Exited) as exited:
            node.start(*flags)
        self.assertEqual(
            (exited.exception.code, exited.exception.fatal.get("code")),
            (code, code),
            exited.exception.fatal,
        )
        self.assertTrue(exited.exception.fatal["error"])
        return exited.exception.fatal["error"]

    def one(self):
        """A node that runs and has a key."""
        node = self.cluster(1)[0]
        node.ok("kv", "put", "k", "v")
        return node

    def serves(self, node):
        self.assertTrue(node.is_running())
        self.assertEqual(node.ok("kv", "get", "k")["value"], "v")
        node.ok("kv", "put", "again", "v")

    def serves_again(self, node):
        node.start()
        eventually("it leads", node.is_ready)
        self.serves(node)

    def test_a_file_where_a_directory_is_needed_is_exit_3_and_named(self):
        for name in ("snap", "wal", "vms"):
            with self.subTest(name):
                flags = ["--bootstrap", "--backend", "process"]
                node = Node(self.folder / f"of-{name}", 1, flags)
                node.data.mkdir(parents=True)
                (node.data / name).write_text("mine")
                self.assertIn(str(node.data / name), self.refused(CONFIGURATION, node))
                self.assertEqual((node.data / name).read_text(), "mine")

    def test_a_port_in_use_is_exit_4_and_names_the_address(self):
        node = self.one()
        for taken in ("address", "metrics"):
            other = Node(self.folder, 9, ["--bootstrap", "--backend", "process"])
            self.addCleanup(other.end)
            setattr(other, taken, getattr(node, taken))
            self.assertIn(getattr(node, taken), self.refused(BIND, other))
            self.serves(node)

    def test_a_data_directory_in_use_is_exit_5_and_names_it(self):
        node = self.one()
        twin = Node(self.folder, 1, ["--backend", "process"])
        self.assertIn(str(node.data), self.refused(LOCKED, twin))
        self.serves(node)

    def test_data_of_another_node_is_exit_6(self):
        node = self.one()
        node.kill()
        thief = Node(self.folder, 2, ["--backend", "process"])
        thief.data = node.data
        self.assertIn("node 1", self.refused(FOREIGN, thief))
        self.serves_again(node)

    def test_data_that_was_mixed_from_two_nodes_is_not_used(self):
        cluster = self.cluster(2)
        cluster.ok("kv", "put", "k", "v")
        for node in cluster:
            node.kill()
        first, second = cluster
        kept = self.folder / "kept"
        shutil.move(first.data / "wal", kept)
        shutil.copytree(second.data / "wal", first.data / "wal")
        with self.assertRaises(Exited) as exited:
            first.start()
        self.assertIn(exited.exception.code, (FOREIGN, CORRUPT))
        shutil.rmtree(first.data / "wal")
        shutil.move(kept, first.data / "wal")
        for node in cluster:
            node.start()
        cluster.wait_ready()
        self.serves(first)

    def other_cluster(self):
        """Another cluster of one node with id 1, stopped."""
        (self.folder / "other").mkdir()
        theirs = Cluster(self.folder / "other", ["--backend", "process"])
        self.clusters.append(theirs)
        theirs.add()
        theirs.wait_ready()
        theirs[0].ok("kv", "put", "k", "theirs")
        theirs[0].kill()
        return theirs[0]

    def test_data_that_was_mixed_from_two_clusters_is_exit_6(self):
        ours, theirs = self.one(), self.other_cluster()
        ours.kill()
        owner = theirs.data / "node.json"
        good = owner.read_text()
        owner.write_text((ours.data / "node.json").read_text())
        self.assertIn("cluster", self.refused(FOREIGN, theirs))
        owner.write_text(good)
        theirs.start()
        eventually("it leads", theirs.is_ready)
        self.assertEqual(theirs.ok("kv", "get", "k")["value"], "theirs")

    def test_data_of_another_cluster_than_the_one_to_join_is_exit_6_and_left_as_it_is(self):
        ours, theirs = self.one(), self.other_cluster()
        self.assertIn("--join", self.refused(FOREIGN, theirs, "--join", ours.address))
        self.serves(ours)
        theirs.start()
        eventually("it leads", theirs.is_ready)
        self.assertEqual(theirs.ok("kv", "get", "k")["value"], "theirs")

    def test_a_node_of_another_cluster_is_kept_out_and_says_so(self):
        ours = self.one()
        folder = self.folder / "other"
        folder.mkdir()
        theirs = Cluster(folder, ["--backend", "process"])
        self.clusters.append(theirs)
        theirs.add()
        theirs.add()
        theirs.wait_ready().wait_voters()
        for node in theirs:
            node.kill()
        lost = theirs[1]
        # It takes our node for its own node 1.
        lost.start("--dial", f"1={ours.address}")
        eventually("it says that it was refused", lambda: "refused the connection" in lost.log())
        self.assertFalse(lost.is_ready())
        self.serves(ours)
        self.assertEqual(len(ours.ok("cluster", "status")["nodes"]), 1)

    def test_a_newer_format_is_exit_7_and_is_left_as_it_is(self):
        node = self.one()
        node.kill()
        path = node.data / "node.json"
        good = path.read_text()
        newer = json.dumps({**json.loads(good), "format": 2, "new": {"things": 1}})
        path.write_text(newer)
        self.assertIn("newer", self.refused(TOO_NEW, node))
        self.assertEqual(path.read_text(), newer)
        path.write_text(good)
        self.serves_again(node)

    def test_a_damaged_owner_file_is_an_error_and_not_a_new_node(self):
        node = self.one()
        node.kill()
        path = node.data / "node.json"
        good = path.read_text()
        for text in ("", "{", "[]", "null", good[:-5], "\0" * 50, '{"format": "one"}'):
            path.write_text(text)
            self.assertIn("node.json", self.refused(CORRUPT, node))
            self.refused(CORRUPT, node, "--bootstrap")
        path.write_text(good)
        self.serves_again(node)

    def test_a_start_line_with_bootstrap_or_join_may_be_repeated(self):
        node = self.one()
        cluster = node.ok("cluster", "status")["cluster_id"]
        for flags in (["--bootstrap"], ["--join", node.address]):
            node.kill()
            node.start(*flags)
            eventually("it leads", node.is_ready)
            self.assertEqual(node.ok("cluster", "status")["cluster_id"], cluster)
            self.serves(node)

    def test_a_node_without_a_cluster_must_be_told_which(self):
        said = self.refused(CONFIGURATION, Node(self.folder, 1, ["--backend", "process"]))
        self.assertIn("--bootstrap", said)
        self.assertIn("--join", said)

    def test_a_file_where_the_data_directory_should_be_is_an_error_that_names_it(self):
        for path in (self.folder / "file", self.folder / "file" / "below"):
            (self.folder / "file").write_text("in the way")
            node = Node(self.folder, 1, ["--bootstrap", "--backend", "process"])
            node.data = path
            self.assertIn("file", self.refused(CONFIGURATION, node))
        self.assertEqual((self.folder / "file").read_text(), "in the way")

    def test_stray_files_in_the_data_directory_are_left_alone(self):
        node = self.one()
        node.kill()
        strays = [
            node.data / "notes.txt",
            node.data / "wal" / "readme",
            node.data / "snap" / "x.snap.old",
        ]
        for path in strays:
            path.write_text("mine")
        (node.data / "snap" / f"{99:016x}-{1:016x}.snap.tmp").write_text("half a snapshot")
        self.serves_again(node)
        self.assertEqual([p.read_text() for p in strays], ["mine"] * 3)

    def test_addresses_that_are_none_exit_2_and_are_quoted(self):
        for flag, value in (
            ("--bind", "127.0.0.1"),
            ("--bind", "127.0.0.1:99999"),
            ("--bind", ":"),
            ("--bind", "127.0.0.1:-1"),
            ("--bind", "no such host:1"),
            ("--metrics", "x"),
            ("--join", "127.0.0.1:0"),
            ("--join", "a,b"),
            ("--advertise", "127.0.0.1:0"),
            ("--dial", "127.0.0.1:1"),
            ("--dial", "x=127.0.0.1:1"),
            ("--id", "0"),
            ("--id", "-1"),
            ("--id", "two"),
            ("--memory", "1Q"),
            ("--memory", "-1G"),
            ("--vcpus", "1.5"),
            ("--disk", "lots"),
            ("--label", "nokey"),
            ("--backend", "xen"),
            ("--log-level", "loud"),
            ("--name", "Not_A_Name"),
            ("--segment-bytes", "x"),
            ("--tick-ms", ""),
        ):
            with self.subTest(f"{flag} {value}"):
                flags = {
                    "--id": "1",
                    "--data-dir": str(self.folder / "d"),
                    "--bind": "127.0.0.1:0",
                    "--metrics": "127.0.0.1:0",
                    flag: value,
                }
                code, out, err = run("node", *(word for pair in flags.items() for word in pair))
                self.assertEqual((code, out), (USAGE, ""), err)
                self.assertIn(flag.removeprefix("--"), err)
        self.assertFalse((self.folder / "d").exists())

    def test_values_that_make_no_sense_together_exit_3_and_name_the_key(self):
        for word, flags in (
            ("heartbeat", ["--heartbeat-ms", "5"]),
            ("election", ["--election-min-ms", "60"]),
            ("election", ["--election-max-ms", "100"]),
            ("segment", ["--segment-bytes", "1"]),
            ("frame", ["--max-frame-bytes", "1"]),
            ("memory-cap", ["--memory-cap", "1"]),
            ("loopback", ["--bind", "0.0.0.0:0"]),
            ("loopback", ["--bind", "[::]:0"]),
        ):
            with self.subTest(flags):
                code, out, err = run(
                    "node",
                    "--id",
                    "1",
                    "--data-dir",
                    str(self.folder / "d"),
                    "--bootstrap",
                    *(["--bind", "127.0.0.1:0"] if "--bind" not in flags else []),
                    *flags,
                )
                self.assertEqual((code, json.loads(out)["code"]), (CONFIGURATION,) * 2, err)
                self.assertIn(word, err)
        self.assertFalse((self.folder / "d").exists())


class FileSystems(Case):
    """On small file systems of their own; skipped where a test may not mount one."""

    def node(self, path, *flags):
        cluster = Cluster(path, ["--backend", "process", "--segment-bytes", "64K", *flags])
        self.clusters.append(cluster)
        return cluster

    def test_a_read_only_data_directory_is_refused_and_named_and_not_harmed(self):
        path = mount(self, "64m")
        cluster = self.node(path)
        node = cluster.add()
        eventually("it leads", node.is_ready)
        node.ok("kv", "put", "k", "v")
        node.kill()
        subprocess.run(["mount", "-o", "remount,ro", path], check=True)
        node.log_path = self.folder / "node1.log"
        with self.assertRaises(Exited) as exited:
            node.start()
        self.assertEqual((exited.exception.code, exited.exception.fatal["code"]), (12, 12))
        self.assertIn(str(node.data), exited.exception.fatal["error"])
        subprocess.run(["mount", "-o", "remount,rw", path], check=True)
        node.start()
        eventually("it leads", node.is_ready)
        self.assertEqual(node.ok("kv", "get", "k")["value"], "v")

    def test_a_full_data_directory_is_refused_at_start_with_exit_11(self):
        path = mount(self, "1m")
        ballast = fill(path)
        cluster = self.node(path)
        node = Node(path, 1, ["--bootstrap", *cluster.flags])
        node.log_path = self.folder / "node1.log"
        cluster.nodes.append(node)
        with self.assertRaises(Exited) as exited:
            node.start()
        self.assertEqual((exited.exception.code, exited.exception.fatal["code"]), (11, 11))
        self.assertIn("space", exited.exception.fatal["error"])
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", path], check=True)
        node.start()
        eventually("it leads", node.is_ready)

    def test_a_disk_that_fills_up_refuses_writes_loses_nothing_and_goes_on_when_there_is_space(
        self,
    ):
        path = mount(self, "24m")
        node = self.node(path).add()
        eventually("it leads", node.is_ready)
        outcomes = {}

        def put(i):
            _, answer = node.ctl("kv", "put", f"k{i:03}", "v" * 20_000, timeout=3)
            outcomes[f"k{i:03}"] = answer["op"]
            return answer

        for i in range(5):
            self.assertEqual(put(i)["op"], "ok")
        ballast = fill(path)
        seen = []
        for i in range(5, 60):
            seen.append(put(i).get("error", {}).get("code"))
            if seen[-3:] == ["disk_full"] * 3:
                break
        self.assertIn("disk_full", seen, f"never refused for lack of space: {seen}")
        self.assertTrue(node.is_running())
        self.assertEqual(node.ok("kv", "get", "k000", "--stale")["value"], "v" * 20_000)
        self.assertEqual(fetch(node.metrics, "/livez")[0], 200)
        status, body = fetch(node.metrics, "/readyz")
        self.assertEqual(status, 503, body)
        self.assertIn("written", body)
        os.truncate(ballast, 0)
        eventually("it takes writes again", lambda: put(99)["op"] == "ok")
        eventually("it is ready again", node.is_ready)
        node.kill()
        node.start()
        eventually("it leads", node.is_ready)
        present = {i["key"] for i in node.ok("kv", "list", "k")["items"]}
        self.assertEqual({k for k, op in outcomes.items() if op == "ok"} - present, set())
        self.assertEqual({k for k, op in outcomes.items() if op == "fail"} & present, set())


if __name__ == "__main__":
    main()
