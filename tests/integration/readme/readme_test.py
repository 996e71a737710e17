"""What README.md tells a newcomer to type does what it says.

The commands are taken from the README's blocks and run: `scripts/run` as it is (three real nodes on
loopback, their data in a temporary folder), the client's commands against it word for word, and the
nodes of "one node per machine" with folders and ports of the test's own. A session's output is
compared with the README's, but for numbers.

`readme_test.py --picture` draws the README's session anew into apps/session.svg.
"""
import html
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = os.environ.get("BLIXARD_BIN", str(ROOT / "build/release/apps/blixard"))
README = (ROOT / "README.md").read_text()
SECONDS = 600  # for anything: scripts build what is not there yet
PROMPT = re.compile(r"(blixard n\d \w+ t\d+> |\$ )")
PICTURE = ROOT / "apps/session.svg"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def shell_lines(*begin, tls=False):
    """The commands of the sh blocks that begin with these words, without comments."""
    found = [
        words
        for block in blocks("sh")
        for words in (shlex.split(line, comments=True) for line in block.splitlines())
        if [w.rpartition("/")[2] for w in words[: len(begin)]] == list(begin)
        and ("--tls-ca" in words) == tls
    ]
    assert found, f"README.md has no command that begins with {begin}"
    return found


def session():
    """The commands given to the shell in the console block, and the lines that came of them."""
    commands, output = [], []
    for line in blocks("console")[0].splitlines():
        prompt = PROMPT.match(line)
        if prompt and prompt[1] != "$ ":
            commands.append(line[prompt.end() :])
        elif commands:
            output.append(line)
    return commands, output


def picture():
    """The console block as a terminal shows it, as SVG."""
    lines = blocks("console")[0].splitlines()
    width, height = 36 + 9 * max(map(len, lines)), 36 + 19 * len(lines)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#101418"/>',
        '<g font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="14"'
        ' fill="#d8dee9" xml:space="preserve">',
    ]
    for number, line in enumerate(lines):
        text, prompt = html.escape(line), PROMPT.match(line)
        if prompt:
            text = (
                f'<tspan fill="#7fb4ca">{html.escape(prompt[0])}</tspan>'
                f'<tspan fill="#ffffff">{html.escape(line[prompt.end() :])}</tspan>'
            )
        elif line.startswith("error:"):
            text = f'<tspan fill="#e06c75">{text}</tspan>'
        drawn.append(f'<text x="18" y="{30 + 19 * number}">{text}</text>')
    return "\n".join([*drawn, "</g>", "</svg>", ""])


# What differs from run to run and from host to host, and nothing else: log indexes (the nodes that
# join become voters together or one by one, which is one entry more), the cluster's id, what the
# host has, what runs the guest, and how far a follower and how good the way to it is.
VARIES = [
    (r"\b[0-9a-f]{16}\b", "ID"),
    (r"^(term|commit|applied) +\d+$", r"\1 N"),
    (r"^vcpus +0/\d+ used$", "vcpus 0/N used"),
    (r"^(memory|disk) +0/[\d.]+[MGTP]? used$", r"\1 0/N used"),
    (r"\bat index \d+", "at index N"),
    (r"\bversion (\d+) \(index \1\)", "version N (index N)"),  # of a key: that of its entry
    (r"\bscore [01]\.\d{3}$", "score S"),
    (r"\((tcg|kvm)\)", "(ACCEL)"),
    (
        r"^( *\d+ +[\d.:]+ +\w+ +\w+) +\d+ +(\d+/\d+|-) +(excellent|good|fair|poor|-)"
        r" +([\d.]+(us|ms|s)|-) +(\S+)$",
        r"\1 MATCH WINDOW LINK RTT \6",
    ),
]


def shape(lines):
    """The lines without what varies, and without how wide their columns are for that."""
    text = "\n".join(lines)
    for what, instead in VARIES:
        text = re.sub(what, instead, text, flags=re.M)
    return [re.sub(" +", " ", line).strip() for line in text.splitlines()]


class Shape(unittest.TestCase):
    FOLLOWER = " 2  127.0.0.1:7002  follower  ready     10   0/256  excellent   396us  0.1.0"

    def test_it_is_the_same_for_all_that_varies_between_two_runs(self):
        for one, other in (
            ("commit   9", "commit   10"),
            ("memory   0/23.5G used", "memory   0/8035M used"),
            ("ok, version 15 (index 15)", "ok, version 9 (index 9)"),
            (self.FOLLOWER, " 2  127.0.0.1:7002  follower  ready  9  0/4  good  7.01ms  0.1.0"),
            (self.FOLLOWER, " 2  127.0.0.1:7002  follower  ready  9  -  -  -  0.1.0"),
        ):
            self.assertEqual(shape([one]), shape([other]))

    def test_and_for_nothing_else(self):
        for one, other in (
            ("nodes    3 of 3 healthy", "nodes    2 of 3 healthy"),
            ("leader   node 1", "leader   node 2"),
            ("memory   0/23.5G used", "memory   256M/23.5G used"),
            ("ok, version 15 (index 15)", "ok, version 15 (index 16)"),
            (self.FOLLOWER, self.FOLLOWER.replace("ready", "joining")),
            (self.FOLLOWER, self.FOLLOWER.replace("excellent", "none")),
        ):
            self.assertNotEqual(shape([one]), shape([other]))


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="blixard-readme."))
        self.addCleanup(shutil.rmtree, self.folder, True)


class Run(Case):
    maxDiff = None

    def script(self, **pipes):
        return subprocess.Popen(
            [ROOT / "scripts/run"],
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, "BLIXARD_RUN_DIR": str(self.folder)},
            **pipes,
        )

    def run_script(self, *commands):
        """(exit code, what it printed) of the commands from a pipe."""
        with self.script(stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
            out, err = p.communicate("".join(c + "\n" for c in commands), SECONDS)
        self.said = out + err
        return p.returncode, out

    def test_a_newcomer_gets_three_nodes_and_finds_them_again(self):
        code, out = self.run_script(
            "kv put colour blue",
            "cluster status",
            "vm create web --backend process --command 'sleep 1000'",
            "wait vm web --for=running --timeout 60",
        )
        self.assertEqual(code, 0, self.said)
        self.assertIn("3 of 3", out)
        self.assertIn("running", out)
        code, out = self.run_script("kv get colour", "vm list")
        self.assertEqual(code, 0, self.said)
        self.assertIn("blue", out)
        self.assertIn("web", out)
        self.assertEqual(self.run_script("kv get no", "kv put never reached")[0], 3, self.said)
        self.assertEqual(self.run_script("kv get never")[0], 3, "the script went on")

    def test_the_next_run_does_not_wait_for_a_node_that_was_removed(self):
        self.assertEqual(self.run_script("kv put k v", "cluster remove 3")[0], 0, self.said)
        code, out = self.run_script("kv get k", "cluster status")
        self.assertEqual((code, out[:2]), (0, "v\n"), self.said)
        self.assertIn("node 3 was removed from the cluster", self.said)
        self.assertNotIn("waiting until", self.said)
        self.assertNotIn("not ready", self.said)
        shutil.rmtree(self.folder / "node-3")
        code, out = self.run_script("kv get k", "cluster status")
        self.assertEqual(code, 0, self.said)
        self.assertIn("3 of 3", out)

    def test_nothing_is_said_of_a_node_that_somebody_killed(self):
        with self.script(stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shell:
            shell.stdin.write("kv put k v\n")
            shell.stdin.flush()
            self.assertIn("ok", shell.stdout.readline())
            ready = json.loads((self.folder / "node-2.out").read_text().splitlines()[0])
            os.kill(ready["pid"], signal.SIGKILL)
            for _ in range(SECONDS * 20):  # until the script has taken notice
                if not pathlib.Path(f"/proc/{ready['pid']}").exists():
                    break
                time.sleep(0.05)
            _, said = shell.communicate("kv put k w\n", SECONDS)
        self.assertEqual(shell.returncode, 0, said)
        self.assertEqual([line for line in said.splitlines() if "illed" in line], [])

    def test_the_session_goes_as_the_readme_shows_it(self):
        commands, shown = session()
        self.assertGreater(len(commands), 5)
        wrong = [line for line in shown if line.startswith(("error:", "hint:"))]
        code, out = self.run_script(*commands)
        # The last command is the one that is mistyped: as a script it ends there, with its code.
        self.assertEqual(code, 2, self.said)
        right = [line for line in shown if line not in wrong]
        self.assertEqual(shape(out.splitlines()), shape(right))
        for line in wrong:
            self.assertIn(line, self.said)

    def test_the_picture_shows_that_session(self):
        self.assertEqual(PICTURE.read_text(), picture(), "readme_test.py --picture draws it anew")

    def test_the_commands_of_the_client_work_beside_the_shell(self):
        with self.script(stdout=subprocess.PIPE) as shell:
            shell.stdin.write("kv put colour blue\n")
            shell.stdin.flush()
            self.assertIn("ok", shell.stdout.readline())
            for words in shell_lines("blixard", "ctl"):
                done = subprocess.run(
                    words, cwd=ROOT, text=True, capture_output=True, timeout=SECONDS
                )
                self.assertEqual(done.returncode, 0, (words, done.stderr))
            shell.stdin.close()
            self.assertEqual(shell.wait(SECONDS), 0)

    def test_the_line_with_a_pipe_runs_its_command(self):
        [line] = re.findall(r"`(echo .* \| \./scripts/run)`", README)
        done = subprocess.run(
            line,
            shell=True,
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=SECONDS,
            env={**os.environ, "BLIXARD_RUN_DIR": str(self.folder)},
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3 of 3", done.stdout)

    def test_every_test_is_found_by_the_script_for_it(self):
        [[script]] = shell_lines("test")
        done = subprocess.run(
            [script, "-N"], cwd=ROOT, text=True, capture_output=True, timeout=SECONDS
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(int(re.search(r"Total Tests: (\d+)", done.stdout)[1]), 30)


class OneNodePerMachine(Case):
    def start(self, words, first, bind=("--bind", "127.0.0.1:0")):
        """A node line of the README, on a folder and ports of the test: its ready event."""
        number = words[words.index("--id") + 1]
        own = {
            "blixard": BIN,
            "/var/lib/blixard": str(self.folder / number),
            "127.0.0.1:7001": first,
            "10.0.0.1:7001": "127.0.0.1:0",
        }
        node = subprocess.Popen(
            [own.get(w, w) for w in words] + [*bind, "--metrics", "127.0.0.1:0"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(self.end, node)
        return node, json.loads(node.stdout.readline())

    @staticmethod
    def end(node):
        node.terminate()
        code = node.wait(SECONDS)
        node.stdout.close()
        return code

    def test_the_nodes_start_join_and_start_again(self):
        first, second, later = shell_lines("blixard", "node")
        _, ready = self.start(first, None)
        self.assertEqual((ready["event"], ready["id"]), ("ready", 1))
        address = ready["bind"]
        node, ready = self.start(second, address)
        self.assertEqual((ready["event"], ready["id"]), ("ready", 2))
        self.assertEqual(self.end(node), 0)
        node, again = self.start(later, address)
        self.assertEqual((again["event"], again["id"]), ("ready", 2))
        self.assertGreaterEqual(again["last_index"], ready["last_index"])

    def test_certificates_are_made_and_a_node_and_a_client_use_them(self):
        [[script, *ids]] = shell_lines("certs")
        subprocess.run(
            [ROOT / script, *ids], cwd=self.folder, check=True, capture_output=True, timeout=SECONDS
        )
        [node] = shell_lines("blixard", "node", tls=True)
        [client] = shell_lines("blixard", "ctl", tls=True)
        _, ready = self.start(node, None, bind=())
        own = {"blixard": BIN, "10.0.0.1:7001": ready["bind"]}
        done = subprocess.run(
            [own.get(w, w) for w in client],
            cwd=self.folder,
            text=True,
            capture_output=True,
            timeout=SECONDS,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_help_lists_the_flags_with_their_variables(self):
        [line] = re.findall(r"`blixard (node --help)`", README)
        said = subprocess.run([BIN, *line.split()], text=True, capture_output=True, check=True)
        for words in shell_lines("blixard", "node"):
            for flag in (w for w in words if w.startswith("--")):
                self.assertIn(flag, said.stdout)
        # --id is BLIXARD_ID, and so on: a wrong value is refused by the variable's name.
        wrong = subprocess.run(
            [BIN, "node"], text=True, capture_output=True, env={**os.environ, "BLIXARD_ID": "x"}
        )
        self.assertEqual(wrong.returncode, 3, wrong.stderr)
        self.assertIn("BLIXARD_ID", wrong.stderr)

    def test_prometheus_takes_its_configuration_and_looks_where_a_node_serves(self):
        [text] = blocks("yaml")
        config = self.folder / "prometheus.yml"
        config.write_text(text)
        subprocess.run(["promtool", "check", "config", config], check=True, capture_output=True)
        [target] = re.findall(r"targets: \['(.*)'\]", text)
        said = subprocess.run([BIN, "node", "--help"], text=True, capture_output=True, check=True)
        self.assertIn(f"[{target}]", said.stdout)


if __name__ == "__main__":
    if sys.argv[1:] == ["--picture"]:
        sys.exit(0 if PICTURE.write_text(picture()) else 1)
    unittest.main(verbosity=2)
