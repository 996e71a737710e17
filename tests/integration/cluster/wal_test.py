#!/usr/bin/env python3
"""The log of a stopped node: `wal dump` and `wal verify` tell what is in it, a torn tail is cut
and counted, damage is never passed over.
"""
import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import Case, Exited, eventually, main, run  # noqa: E402
from session import Session  # noqa: E402


class Wal(Case):
    def dump(self, node):
        """Exit code and records of `wal dump --json`."""
        code, out, _ = run("wal", "dump", "--json", str(node.data))
        return code, [json.loads(line) for line in out.splitlines()]

    def entries(self, node):
        return [r for r in self.dump(node)[1] if r["type"] in ("normal", "conf")]

    def written(self, count=50):
        """A node that was killed after so many writes; their versions."""
        cluster = self.cluster(1)
        node = cluster[0]
        versions = self.put(node, count)
        node.kill()
        return node, versions

    def put(self, node, count):
        """Writes k0, k1, ... one after the other; their versions."""
        with Session([node]) as session:
            return [
                session.ask(f"kv put k{i} 'value {i}'")["result"]["version"] for i in range(count)
            ]

    def flip(self, node, record, distance):
        """Changes one byte of a record in its file."""
        path = node.data / record["file"]
        with open(path, "r+b") as file:
            file.seek(record["offset"] + distance)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 0x10]))

    def test_dump_shows_each_entry_once_with_file_offset_length_index_and_term(self):
        node, versions = self.written()
        code, records = self.dump(node)
        self.assertEqual(code, 0)
        for record in records:
            self.assertLessEqual(
                {"file", "offset", "length", "index", "term", "type", "ok"}, record.keys()
            )
            self.assertTrue(record["ok"], record)
            self.assertTrue((node.data / record["file"]).is_file(), record)
        indexes = [r["index"] for r in self.entries(node)]
        self.assertEqual(indexes, list(range(indexes[0], indexes[-1] + 1)))
        self.assertLessEqual(set(versions), set(indexes))
        text = run("wal", "dump", str(node.data))
        self.assertEqual((text[0], len(text[1].splitlines())), (0, len(records) + 1))

    def test_verify_of_a_good_log_is_ok_and_of_no_log_is_not_found(self):
        node, _ = self.written(5)
        code, out, _ = run("wal", "verify", str(node.data))
        self.assertEqual(code, 0)
        self.assertIn("ok", out)
        code, out, _ = run("wal", "verify", "--json", str(node.data))
        self.assertEqual((code, json.loads(out)["ok"]), (0, True))
        self.assertEqual(run("wal", "verify", str(self.folder / "nothing"))[0], 3)
        self.assertEqual(run("wal", "verfy", str(node.data))[0], 2)

    def test_dump_and_verify_change_nothing(self):
        node, _ = self.written(5)

        def content():
            return {
                p: (p.read_bytes(), p.stat().st_mtime_ns)
                for p in node.data.rglob("*")
                if p.is_file()
            }

        before = content()
        self.dump(node)
        run("wal", "verify", str(node.data))
        self.assertEqual(content(), before)

    def test_a_torn_tail_is_cut_counted_and_costs_nothing_acknowledged(self):
        node, versions = self.written()
        last = self.entries(node)[-1]
        with open(node.data / last["file"], "r+b") as file:
            file.seek(last["offset"] + last["length"])
            record = b"BLXR" + bytes(4) + (100).to_bytes(4, "little") + (1).to_bytes(4, "little")
            file.write(
                record + (1).to_bytes(4, "little") + b"\x5a" * 60
            )  # half of what was to follow
        code, records = self.dump(node)
        self.assertEqual((code, [r["ok"] for r in records if r["type"] == "tail"]), (0, [True]))
        self.assertGreater(node.start().ready["wal_truncated_bytes"], 0)
        eventually("it leads", node.is_ready)
        items = {i["key"]: i["version"] for i in node.ok("kv", "list", "k")["items"]}
        self.assertEqual(items, {f"k{i}": v for i, v in enumerate(versions)})
        node.kill()
        self.assertEqual(node.start().ready["wal_truncated_bytes"], 0, "it was cut for good")

    def test_a_damaged_entry_is_found_and_a_lone_node_refuses_to_start(self):
        node, versions = self.written()
        victim = next(r for r in self.entries(node) if r["index"] == versions[20])
        self.flip(node, victim, 60)
        code, out, _ = run("wal", "verify", "--json", str(node.data))
        found = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((code, found[-1]["ok"]), (1, False))
        damage = next(r for r in found if r.get("type") == "damaged")
        self.assertEqual(
            (damage["file"], damage["offset"], damage["index"]),
            (victim["file"], victim["offset"], victim["index"]),
        )
        with self.assertRaises(Exited) as exited:
            node.start()
        self.assertEqual((exited.exception.code, exited.exception.fatal["code"]), (10, 10))
        self.assertIn(victim["file"], exited.exception.fatal["error"])
        self.flip(node, victim, 60)
        self.assertEqual(
            node.start().ready["wal_truncated_bytes"], 0, "the refused start changed the log"
        )

    def test_a_damaged_member_says_what_to_do_and_that_makes_it_whole_again(self):
        cluster = self.cluster(3)
        self.put(cluster[0], 50)
        cluster.digests()
        node = cluster.followers()[0]
        node.kill()
        entries = self.entries(node)
        self.flip(node, entries[len(entries) // 2], 60)
        with self.assertRaises(Exited) as exited:
            node.start()
        self.assertEqual(exited.exception.code, 10)
        self.assertIn("join again with an empty data directory", exited.exception.fatal["error"])
        # What it says is done, while the others serve.
        cluster.ok("cluster", "remove", str(node.number))
        cluster.ok("kv", "put", "meanwhile", "served")
        shutil.rmtree(node.data)
        node.start("--join", ",".join(n.address for n in cluster.running()))
        cluster.wait_ready()
        cluster.wait_voters()
        self.assertEqual(len(set(cluster.digests())), 1)
        self.assertEqual(node.ok("kv", "get", "k49", "--stale")["value"], "value 49")


if __name__ == "__main__":
    main()
