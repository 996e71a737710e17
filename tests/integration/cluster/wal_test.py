#!/usr/bin/env python3
"""The log of a stopped node: `wal dump` and `wal verify` tell what is in it, a torn tail is cut
and counted, damage is never passed over.
"""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from damage import dump, entries, flip  # noqa: E402
from harness import Case, Exited, eventually, main, run  # noqa: E402
from session import Session  # noqa: E402


class Wal(Case):
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

    def test_dump_shows_each_entry_once_with_file_offset_length_index_and_term(self):
        node, versions = self.written()
        code, records = dump(node)
        self.assertEqual(code, 0)
        for record in records:
            self.assertLessEqual(
                {"file", "offset", "length", "index", "term", "type", "ok"}, record.keys()
            )
            self.assertTrue(record["ok"], record)
            self.assertTrue((node.data / record["file"]).is_file(), record)
        indexes = [r["index"] for r in entries(node)]
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
        dump(node)
        run("wal", "verify", str(node.data))
        self.assertEqual(content(), before)

    def test_a_torn_tail_is_cut_counted_and_costs_nothing_acknowledged(self):
        node, versions = self.written()
        last = entries(node)[-1]
        with open(node.data / last["file"], "r+b") as file:
            file.seek(last["offset"] + last["length"])
            record = b"BLXR" + bytes(4) + (100).to_bytes(4, "little") + (1).to_bytes(4, "little")
            file.write(
                record + (1).to_bytes(4, "little") + b"\x5a" * 60
            )  # half of what was to follow
        code, records = dump(node)
        self.assertEqual((code, [r["ok"] for r in records if r["type"] == "tail"]), (0, [True]))
        self.assertGreater(node.start().ready["wal_truncated_bytes"], 0)
        eventually("it leads", node.is_ready)
        items = {i["key"]: i["version"] for i in node.ok("kv", "list", "k")["items"]}
        self.assertEqual(items, {f"k{i}": v for i, v in enumerate(versions)})
        node.kill()
        self.assertEqual(node.start().ready["wal_truncated_bytes"], 0, "it was cut for good")

    def test_a_damaged_entry_is_found_and_a_lone_node_refuses_to_start(self):
        node, versions = self.written()
        victim = next(r for r in entries(node) if r["index"] == versions[20])
        flip(node, victim, 60)
        code, out, _ = run("wal", "verify", "--json", str(node.data))
        found = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((code, found[-1]["ok"]), (1, False))
        damage = next(r for r in found if r.get("type") == "damaged")
        self.assertEqual(
            (damage["file"], damage["offset"], damage["index"]),
            (victim["file"], victim["offset"], victim["index"]),
        )
        seen = {r["index"]: r.get("note", "") for r in entries(node)}
        self.assertNotIn(victim["index"], seen)
        self.assertEqual(seen[victim["index"] - 1], "")
        for behind in versions[21:]:
            self.assertIn("behind the damage", seen[behind])
        with self.assertRaises(Exited) as exited:
            node.start()
        self.assertEqual((exited.exception.code, exited.exception.fatal["code"]), (10, 10))
        self.assertIn(victim["file"], exited.exception.fatal["error"])
        flip(node, victim, 60)
        self.assertEqual(
            node.start().ready["wal_truncated_bytes"], 0, "the refused start changed the log"
        )


if __name__ == "__main__":
    main()
