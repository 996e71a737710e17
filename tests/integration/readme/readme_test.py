"""What README.md tells a newcomer to type does what it says.

`scripts/run` is run as it is, with commands from a pipe: three real nodes on loopback, their data in a
temporary folder. The other commands are taken from the README's code blocks.
"""
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = os.environ.get("BLIXARD_BIN", str(ROOT / "build/release/apps/blixard"))
README = (ROOT / "README.md").read_text()


def shell_lines():
    """The commands of the sh blocks, without comments."""
    for block in re.findall(r"```sh\n(.*?)```", README, re.S):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="blixard-readme.")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def run_script(self, *commands):
        return subprocess.run(
            [str(ROOT / "scripts/run")], input="".join(c + "\n" for c in commands), text=True,
            capture_output=True, timeout=600, env={**os.environ, "BLIXARD_RUN_DIR": self.folder})

    def test_a_newcomer_gets_three_nodes_and_finds_them_again(self):
        first = self.run_script("kv put colour blue", "cluster status",
                                "vm create web --backend process --command 'sleep 1000'",
                                "wait vm web --for=running --timeout 60")
        self.assertEqual(first.returncode, 0, first.stdout + first.stderr)
        self.assertIn("3 of 3", first.stdout)
        self.assertIn("running", first.stdout)
        again = self.run_script("kv get colour", "vm list")
        self.assertEqual(again.returncode, 0, again.stdout + again.stderr)
        self.assertIn("blue", again.stdout)
        self.assertIn("web", again.stdout)
        failing = self.run_script("kv get nothing", "kv put never reached")
        self.assertEqual(failing.returncode, 3, failing.stdout + failing.stderr)
        self.assertEqual(self.run_script("kv get never").returncode, 3, "the script went on")


class Words(unittest.TestCase):
    def test_the_flags_of_the_node_commands_exist(self):
        flags = subprocess.run([BIN, "node", "--help"], text=True, capture_output=True, check=True)
        seen = 0
        for words in shell_lines():
            if words[:2] != ["blixard", "node"]:
                continue
            for flag in (w for w in words if w.startswith("--")):
                seen += 1
                self.assertIn(flag, flags.stdout)
        self.assertGreater(seen, 5)

    def test_the_commands_of_the_client_exist(self):
        seen = 0
        for words in shell_lines():
            if len(words) < 2 or not words[0].endswith("blixard") or words[1] != "ctl":
                continue
            seen += 1
            # Nothing listens there: the command is understood, and says that it reached nobody.
            port = ["--connect", "127.0.0.1:1"]
            at = words.index("--connect")
            run = subprocess.run([BIN, "ctl", *port, *words[at + 2:]], text=True, capture_output=True)
            self.assertEqual(run.returncode, 5, run.stderr)
        self.assertGreater(seen, 1)

    def test_the_scripts_exist(self):
        for words in shell_lines():
            if words[0].startswith("./"):
                self.assertTrue(os.access(ROOT / words[0], os.X_OK), words[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
