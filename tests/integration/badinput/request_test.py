#!/usr/bin/env python3
"""Requests that are wrong, too large or impossible, and input that ends too early: a clear error,
nothing done.
"""
import json
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import (
    BIN,
    PATIENCE,
    Case,
    SharedCluster,
    environment,
    eventually,
    main,
    run,
)  # noqa: E402

QEMU = shutil.which("qemu-system-x86_64")
# Like QEMU until it is to run a machine: then it dies with a word on why.
DYING_QEMU = """#!/bin/sh
case "$*" in
  *--version*) echo "QEMU emulator version 7.2.0 (a stand-in)"; exit 0 ;;
esac
echo "stand-in: this machine will not start" >&2
exit 1
"""


class Requests(SharedCluster):
    size = 3

    def setUp(self):
        super().setUp()
        self.node = self.nodes.followers()[0]

    def refused(self, words, code, error=None):
        """The command fails with this exit code; its answer."""
        got, answer = self.node.ctl(*words)
        self.assertEqual((got, answer["op"]), (code, "fail"), answer)
        if error:
            self.assertEqual(answer["error"]["code"], error, answer)
        self.assertTrue(answer["error"]["message"])
        return answer

    def test_names_that_break_the_rules_are_refused_and_nothing_is_made(self):
        for name in (
            "Upper",
            "under_score",
            "-dash",
            "dash-",
            "dot.dot",
            "x" * 64,
            "",
            "spa ce",
            "ü",
            "a\nb",
            "../../etc",
            "a/b",
        ):
            with self.subTest(repr(name)):
                said = self.refused(
                    ["vm", "create", "--command", "true", "--", name], 2, "invalid_argument"
                )
                self.assertTrue(
                    said["error"].get("hint") or "name" in said["error"]["message"], said
                )
        for flags in (
            ["--tenant", "Not A Tenant"],
            ["--label", "novalue"],
            ["--label", "=v"],
            ["--label", "k" * 1024 + "=v"],
            ["--anti-affinity", "No_Group!"],
            ["--env", "=x"],
            ["--port", "0:80"],
            ["--port", "80"],
            ["--port", "70000:80"],
        ):
            with self.subTest(flags):
                self.refused(
                    ["vm", "create", "good", "--command", "true", *flags], 2, "invalid_argument"
                )
        self.assertEqual(self.node.ok("vm", "list")["vms"], [])

    def test_sizes_and_numbers_that_are_none_are_refused_and_quoted(self):
        for flag, value in (
            ("--memory", "12X"),
            ("--memory", "-1"),
            ("--memory", "1.5.5G"),
            ("--memory", "0x10"),
            ("--vcpus", "many"),
            ("--vcpus", "-1"),
            ("--vcpus", "99999999999999999999"),
            ("--disk", "G"),
            ("--priority", "1001"),
            ("--restarts", "x"),
            ("--backoff", "soon"),
            ("--node", "first"),
            ("--strategy", "best"),
            ("--backend", "xen"),
        ):
            with self.subTest(f"{flag} {value}"):
                said = self.refused(["vm", "create", "x", "--command", "true", flag, value], 2)
                self.assertIn(value, said["error"]["message"])
        self.assertEqual(self.node.ok("vm", "list")["vms"], [])

    def test_unknown_words_name_the_nearest_right_one(self):
        for words, nearest in (
            (["vm", "crate", "x"], "vm create"),
            (["vmm", "list"], "vm"),
            (["kv", "pot", "a", "b"], "kv put"),
            (["cluster", "statsu"], "cluster status"),
            (["vm", "create", "x", "--memroy", "1G"], "--memory"),
            (["kv", "get", "k", "--stael"], "--stale"),
        ):
            said = self.refused(words, 2, "invalid_argument")
            self.assertIn(nearest, said["error"]["message"] + said["error"].get("hint", ""))

    def test_keys_and_values_beyond_their_limits_are_refused_and_at_the_limit_taken(self):
        self.node.ok("kv", "put", "k" * 1024, "v")
        self.refused(["kv", "put", "k" * 1025, "v"], 1, "too_large")
        self.refused(["kv", "get", "k" * 1025], 1, "too_large")
        self.refused(["kv", "put", "", "v"], 2, "invalid_argument")
        lines = "".join(
            json.dumps({"id": i, "cmd": ["kv", "put", "big", "v" * size]}) + "\n"
            for i, size in enumerate((1 << 20, (1 << 20) + 1, 5 << 20))
        )
        code, out, _ = run("ctl", "--connect", self.node.address, "--jsonl", stdin=lines)
        answers = {a["id"]: a for a in map(json.loads, out.splitlines())}
        self.assertEqual(code, 0)
        self.assertEqual(
            [answers[i].get("error", {}).get("code") for i in range(3)],
            [None, "too_large", "too_large"],
        )
        for node in self.nodes:
            self.assertEqual(len(node.ok("kv", "get", "big")["value"]), 1 << 20)
        self.node.ok("kv", "delete", "big")
        self.node.ok("kv", "delete", "k" * 1024)

    def test_a_vm_that_fits_nowhere_is_refused_with_the_reasons_of_each_node_and_a_fix(self):
        for flags, word in (
            (["--memory", "60T"], "memory"),
            (["--vcpus", "1000"], "vcpu"),
            (["--disk", "900T"], "disk"),
            (["--require", "color=red"], "color"),
            (["--backend", "qemu"], "qemu"),
        ):
            with self.subTest(flags):
                said = self.refused(["vm", "create", "vast", *flags], 8, "unplaceable")
                self.assertEqual([r["node"] for r in said["result"]["rejected"]], [1, 2, 3])
                for rejected in said["result"]["rejected"]:
                    self.assertIn(word, " ".join(rejected["reasons"]).lower())
                self.assertTrue(said["result"]["fix"])
        self.refused(
            ["vm", "create", "vast", "--command", "true", "--node", "77"], 8, "unplaceable"
        )
        self.assertEqual(self.node.ok("vm", "list")["vms"], [])
        code, out, err = run(
            "ctl", "--connect", self.node.address, "vm", "create", "vast", "--memory", "60T"
        )
        self.assertEqual((code, out), (8, ""))
        self.assertIn("memory", err, "a person is not told why")

    def test_a_command_that_cannot_be_run_is_the_reason_of_the_vm(self):
        self.node.ok("vm", "create", "nothing", "--command", "/no/such/program", "--restarts", "1")
        eventually(
            "the reason is there",
            lambda: "/no/such/program" in self.node.ok("vm", "show", "nothing")["reason"],
        )
        self.assertNotEqual(self.node.ok("vm", "show", "nothing")["phase"], "running")
        self.node.ok("vm", "delete", "nothing")
        self.node.ok("wait", "vm", "nothing", "--for=deleted")

    def test_a_last_line_that_was_cut_is_refused_and_the_lines_before_it_were_done(self):
        code, out, _ = run(
            "ctl",
            "--connect",
            self.node.address,
            "--jsonl",
            stdin='kv put whole 1\n{"id":1,"cmd":"kv put whole2 1"}\nkv put cu',
        )
        answers = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((code, sorted(a["op"] for a in answers)), (0, ["fail", "ok", "ok"]))
        code, out, _ = run(
            "ctl", "--connect", self.node.address, "--jsonl", stdin='{"id":1,"cmd":"kv put cu'
        )
        self.assertEqual(
            (code, [json.loads(line)["op"] for line in out.splitlines()]), (0, ["fail"])
        )
        self.assertEqual(
            sorted(
                i["key"]
                for i in self.node.ok("kv", "list")["items"]
                if i["key"] < "test" or i["key"].startswith("whole")
            ),
            ["whole", "whole2"],
        )
        self.node.ok("kv", "delete", "whole")
        self.node.ok("kv", "delete", "whole2")

    def test_a_script_stops_at_its_first_error_and_at_a_cut_line(self):
        def script(text):
            return run("repl", "--connect", self.node.address, stdin=text)[0]

        self.assertEqual(script("kv put s1 1\nkv get no-such\nkv put s2 1\n"), 3)
        self.assertEqual(script("kv put s3 1\nkv pt s4 1\nkv put s5 1\n"), 2)
        self.assertEqual(script("kv put s6 1\nkv put s7 'not clos"), 2)
        keys = {i["key"] for i in self.node.ok("kv", "list", "s")["items"]}
        self.assertEqual(keys, {"s1", "s3", "s6"})
        for key in keys:
            self.node.ok("kv", "delete", key)

    def test_lines_that_are_no_commands_are_each_answered(self):
        lines = [
            "",
            "   ",
            "bogus",
            "{",
            "[]",
            "7",
            '"kv list"',
            '{"id":1}',
            '{"id":2,"cmd":7}',
            '{"id":3,"cmd":"kv get k","timeout_ms":-1}',
            '{"id":4,"cmd":"kv get k","timeout_ms":"x"}',
            '{"id":5,"cmd":["kv",7]}',
            '{"id":6,"cmd":"kv put a b","client":7}',
            '{"id":7,"cmd":"quit"}',
            '{"id":{"any":[1]},"cmd":"kv get no"}',
            "\\u0000",
            "'",
            '{"id":8,"cmd":""}',
        ]
        code, out, _ = run(
            "ctl", "--connect", self.node.address, "--jsonl", stdin="\n".join(lines) + "\n"
        )
        answers = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((code, len(answers)), (0, len(lines)), out)
        self.assertEqual({a["op"] for a in answers}, {"fail"}, out)
        self.assertEqual(
            [a["error"]["code"] for a in answers if a.get("id") == {"any": [1]}], ["not_found"]
        )

    def test_a_client_that_stops_reading_or_is_killed_does_not_hurt_the_node(self):
        def client():
            return subprocess.Popen(
                [BIN, "ctl", "--connect", self.node.address, "--jsonl"],
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )

        for _ in range(5):
            with client() as p:
                p.stdin.write(b"kv put killed 1\n" * 100)
                p.stdin.flush()
                p.stdout.readline()
                p.kill()
        with client() as p:
            p.stdout.close()
            p.stdin.write(b"kv put killed 2\n")
            p.stdin.close()
            p.wait(PATIENCE)
        self.node.ok("kv", "delete", "killed")


class Qemu(Case):
    """What goes wrong with QEMU ends in the VM's reason or in the refusal, in words."""

    def guest(self):
        """A folder that looks like one with the default guest."""
        folder = self.folder / "guest"
        folder.mkdir()
        for name in ("vmlinuz", "initrd.img"):
            (folder / name).write_bytes(b"not a kernel")
        return str(folder)

    def reason(self, node, name, word):
        def look():
            reason = node.ok("vm", "show", name)["reason"]
            return reason if word in reason else None

        return eventually(lambda: f"{word!r} in {node.ok('vm', 'show', name)}", look)

    def test_without_qemu_a_node_offers_processes_only_and_says_why(self):
        missing = str(self.folder / "qemu")
        cluster = self.cluster(
            1,
            "--backend",
            "qemu",
            "--backend",
            "process",
            env={"BLIXARD_QEMU": missing, "BLIXARD_GUEST_DIR": self.guest()},
        )
        node = cluster[0]
        self.assertEqual(node.ok("node", "show", "1")["backends"], ["process"])
        self.assertRegex(node.log(), f"{missing}.*(no such|No such|not found|not installed)")
        code, answer = node.ctl("vm", "create", "web", "--backend", "qemu")
        self.assertEqual((code, answer["error"]["code"]), (8, "unplaceable"))
        self.assertIn("qemu", str(answer["result"]["rejected"]))
        node.ok("vm", "create", "auto", "--command", "sleep 1000")
        self.assertEqual(node.ok("wait", "vm", "auto")["backend"], "process")

    def test_a_qemu_that_does_not_work_is_not_offered(self):
        cluster = self.cluster(
            1,
            "--backend",
            "qemu",
            "--backend",
            "process",
            env={"BLIXARD_QEMU": "/bin/false", "BLIXARD_GUEST_DIR": self.guest()},
        )
        self.assertEqual(cluster[0].ok("node", "show", "1")["backends"], ["process"])
        self.assertIn("/bin/false does not work", cluster[0].log())

    def test_the_last_words_of_a_qemu_that_dies_are_the_reason_of_the_vm(self):
        qemu = self.folder / "qemu"
        qemu.write_text(DYING_QEMU)
        qemu.chmod(0o755)
        cluster = self.cluster(
            1,
            "--backend",
            "qemu",
            env={"BLIXARD_QEMU": str(qemu), "BLIXARD_GUEST_DIR": self.guest()},
        )
        node = cluster[0]
        node.ok("vm", "create", "web", "--restarts", "1", "--backoff", "1", "--memory", "16M")
        self.assertIn("restart 1 of 1", self.reason(node, "web", "this machine will not start"))
        self.reason(node, "web", "gave up")
        node.ok("kv", "put", "k", "v")
        node.ok("vm", "delete", "web")
        node.ok("wait", "vm", "web", "--for=deleted")

    @unittest.skipUnless(QEMU, "qemu-system-x86_64 is not installed")
    def test_a_kernel_that_does_not_exist_is_the_reason_of_the_vm(self):
        cluster = self.cluster(1, "--backend", "qemu", env={"BLIXARD_GUEST_DIR": self.guest()})
        node = cluster[0]
        for name, flags in (
            ("kernel", ["--kernel", "/no/such/kernel"]),
            (
                "initrd",
                ["--kernel", str(self.folder / "guest" / "vmlinuz"), "--initrd", "/no/such/initrd"],
            ),
            ("disk-image", ["--disk-image", "/no/such/disk-image"]),
        ):
            node.ok("vm", "create", name, *flags, "--memory", "64M")
            self.reason(node, name, "/no/such/" + name)
            self.assertNotEqual(node.ok("vm", "show", name)["phase"], "running")
        node.ok("kv", "put", "k", "v")

    @unittest.skipUnless(QEMU, "qemu-system-x86_64 is not installed")
    def test_a_kernel_that_is_none_is_a_reason_too(self):
        cluster = self.cluster(1, "--backend", "qemu", env={"BLIXARD_GUEST_DIR": self.guest()})
        node = cluster[0]
        node.ok("vm", "create", "web", "--memory", "64M", "--restarts", "1", "--backoff", "1")
        eventually("a reason", lambda: node.ok("vm", "show", "web")["reason"])
        self.assertNotEqual(node.ok("vm", "show", "web")["phase"], "running")


if __name__ == "__main__":
    main()
