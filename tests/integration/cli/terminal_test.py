"""The shell as a person meets it: a real terminal (pexpect), a real node.

Needs BLIXARD_BIN.
"""
import os
import re
import shutil
import signal
import stat
import tempfile
import unittest

import pexpect

from node import BIN, PATIENCE, Node, run

PROMPT = r"blixard n1 leader t\d+> "
CTRL_C, CTRL_D, TAB, UP = "\x03", "\x04", "\t", "\x1b[A"


class Terminal(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node()

    @classmethod
    def tearDownClass(cls):
        assert cls.node.stop() == 0, "the node did not stop cleanly"

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="blixard-home-")
        self.history = os.path.join(self.home, "history")
        self.shells = []

    def tearDown(self):
        for shell in self.shells:
            shell.close(force=True)
        shutil.rmtree(self.home)

    def shell(self, **env):
        environment = {**os.environ, "TERM": "xterm", "HOME": self.home, "LC_ALL": "C.UTF-8",
                       "BLIXARD_HISTORY": self.history, **env}
        shell = pexpect.spawn(BIN, ["repl", "--connect", self.node.address], env=environment,
                              timeout=PATIENCE, encoding="utf-8", dimensions=(40, 120))
        self.shells.append(shell)
        shell.expect(PROMPT)
        return shell

    def leave(self, shell):
        shell.send(CTRL_D)
        shell.expect(pexpect.EOF)
        shell.close()
        self.assertEqual((shell.exitstatus, shell.signalstatus), (0, None))

    def test_commands_run_and_the_prompt_comes_back(self):
        shell = self.shell()
        shell.sendline("kv put color 'dark red'")
        shell.expect(r"ok, version \d+ \(index \d+\)")
        shell.expect(PROMPT)
        shell.sendline("kv get color")
        shell.expect("\r\ndark red\r\n")
        shell.expect(PROMPT)
        shell.sendline("cluster status")
        shell.expect(r"leader\s+node 1")
        shell.expect(PROMPT)
        self.leave(shell)

    def test_an_error_does_not_end_the_shell(self):
        shell = self.shell()
        shell.sendline("kv gte x")
        shell.expect("did you mean kv get\\?")
        shell.expect(PROMPT)
        shell.sendline("kv get never-there")
        shell.expect("not_found")
        shell.expect(PROMPT)
        self.leave(shell)

    def test_tab_completes_commands_flags_and_live_names(self):
        run("ctl", "--connect", self.node.address, "kv", "put", "fruit/apple", "1")
        shell = self.shell()
        # None of these words is one before it is completed.
        shell.send("k" + TAB + "ge" + TAB + "fruit/a" + TAB + "--st" + TAB + "\r")
        shell.expect("\r\n1\r\n")
        shell.expect(PROMPT)
        shell.send("vm st" + TAB)
        shell.expect("start +stop")  # more than one: they are listed
        shell.send(CTRL_C)
        shell.expect(PROMPT)
        self.leave(shell)

    def test_history_survives_the_session_and_is_private(self):
        shell = self.shell()
        shell.sendline("kv put remembered 1")
        shell.expect(PROMPT)
        shell.sendline(" kv put secret 1")  # begins with a blank
        shell.expect(PROMPT)
        self.leave(shell)
        self.assertEqual(stat.S_IMODE(os.stat(self.history).st_mode), 0o600)
        with open(self.history, encoding="utf-8") as f:
            text = f.read()
        self.assertIn("remembered", text)
        self.assertNotIn("secret", text)
        shell = self.shell()
        shell.send(UP)
        shell.expect("kv put remembered 1")
        shell.send("\r")
        shell.expect("ok, version")
        shell.expect(PROMPT)
        self.leave(shell)

    def test_ctrl_c_cancels_the_running_command(self):
        shell = self.shell()
        shell.sendline("wait vm no-such-vm --for=running --timeout 600")
        shell.expect("not_found")  # it does not exist: nothing to wait for
        shell.expect(PROMPT)
        shell.sendline("watch -n 1 kv list")
        shell.expect("KEY|no keys")
        shell.send(CTRL_C)
        shell.expect(PROMPT)
        self.node.pause()
        try:
            shell.sendline("kv put hang 1 --timeout 600")
            shell.expect("kv put hang")
            shell.send(CTRL_C)
            shell.expect("cancelled")
            shell.expect("may still happen")
        finally:
            self.node.resume()
        shell.expect("> ")
        shell.sendline("kv list none/")
        shell.expect("no keys")
        shell.expect(PROMPT)
        self.leave(shell)

    def test_ctrl_c_drops_a_half_typed_line(self):
        shell = self.shell()
        shell.send("kv put never ")
        shell.expect("never")
        shell.send(CTRL_C)
        shell.expect(PROMPT)
        shell.sendline("kv get never")
        shell.expect("not_found")
        shell.expect(PROMPT)
        self.leave(shell)

    def test_what_is_typed_while_a_command_runs_is_kept(self):
        shell = self.shell()
        shell.send("kv put ahead 1\rkv put ahead 2\rkv get ahead\r")
        shell.expect("\r\n2\r\n")
        shell.expect(PROMPT)
        self.leave(shell)

    def test_what_is_typed_before_the_prompt_is_there_is_shown_once(self):
        shell = self.shell()
        self.node.pause()  # the prompt waits for it a little, and comes without it
        try:
            shell.send("x" + CTRL_C)
            shell.expect(re.escape("^C"))
            shell.send("kv list early/")
            shell.expect(r"blixard \(no node\)> ")
            self.assertNotIn("early", shell.before)
            shell.expect("kv list early/")
        finally:
            self.node.resume()
        shell.send("\r")
        shell.expect("no keys")
        shell.expect(PROMPT)
        self.leave(shell)

    def test_tab_completes_files_and_what_must_be_escaped(self):
        script = os.path.join(self.home, "set up.blx")
        with open(script, "w", encoding="utf-8") as f:
            f.write("kv put \"it's/#1\" sourced\n")
        shell = self.shell()
        shell.send("source " + os.path.join(self.home, "se") + TAB + "\r")
        shell.expect("ok, version")
        shell.expect(PROMPT)
        shell.send("kv get it" + TAB + "\r")
        shell.expect("\r\nsourced\r\n")
        shell.expect(PROMPT)
        self.leave(shell)

    def test_what_somebody_stored_cannot_command_the_terminal(self):
        run("ctl", "--connect", self.node.address, "kv", "put", "evil", "a\x1b]0;title\x07\x1b[2Jb")
        shell = self.shell()
        shell.sendline("kv get evil")
        shell.expect(re.escape(r"a\x1b]0;title\x07\x1b[2Jb"))
        shell.expect(PROMPT)
        self.leave(shell)
        self.assertIn("\x1b[2J", run("ctl", "--connect", self.node.address, "kv", "get", "evil")[1],
                      "a pipe gets the value as it is")

    def test_letters_beyond_ascii_are_edited_as_letters(self):
        shell = self.shell()
        shell.send("kv put uml äöx\x7f\x7fü\r")  # two rubouts take x and ö
        shell.expect("ok, version")
        shell.expect(PROMPT)
        shell.sendline("kv get uml")
        shell.expect("\r\näü\r\n")
        shell.expect(PROMPT)
        self.leave(shell)

    def test_leaving_does_not_stop_the_node_and_quit_leaves_too(self):
        shell = self.shell()
        shell.sendline("quit")
        shell.expect(pexpect.EOF)
        shell.close()
        self.assertEqual(shell.exitstatus, 0)
        self.assertIsNone(self.node.process.poll())

    def test_colour_only_where_it_is_wanted(self):
        shell = self.shell()
        shell.sendline("kv gte x")
        shell.expect(re.escape("\x1b[31merror:"))
        shell.expect(PROMPT)
        self.leave(shell)
        plain = self.shell(NO_COLOR="1")
        plain.sendline("kv gte x")
        plain.expect("error: unknown command kv gte")
        self.assertNotIn("\x1b[31m", plain.before + plain.after)
        plain.expect(PROMPT)
        self.leave(plain)

    def test_a_shell_finds_its_node_again_after_a_restart(self):
        node = Node(directory=tempfile.mkdtemp(prefix="blixard-cli-"))
        shell = pexpect.spawn(BIN, ["repl", "--connect", node.address], timeout=PATIENCE,
                              encoding="utf-8", env={**os.environ, "BLIXARD_HISTORY": self.history})
        self.shells.append(shell)
        try:
            shell.expect(PROMPT)
            node.process.kill()
            node.process.wait()
            shell.sendline("kv list")
            shell.expect("connection_lost|unavailable")
            shell.expect(r"blixard \(no node\)> ")
        finally:
            node.stop()
        self.leave(shell)


class ShellInTheNode(unittest.TestCase):
    def test_repl_flag_gives_a_shell_and_ctrl_c_never_stops_the_node(self):
        home = tempfile.mkdtemp(prefix="blixard-home-")
        shell = pexpect.spawn(
            BIN, ["node", "--id", "1", "--data-dir", os.path.join(home, "data"), "--bind",
                  "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--bootstrap", "--backend", "process",
                  "--log-level", "off", "--repl"],
            env={**os.environ, "TERM": "xterm", "BLIXARD_HISTORY": os.path.join(home, "history")},
            timeout=PATIENCE, encoding="utf-8", dimensions=(40, 120))
        try:
            shell.expect('"event":"ready"')
            shell.expect("blixard n1 ")
            shell.expect("> ")
            shell.sendline("kv put inside 1 --timeout 30")
            shell.expect("ok, version")
            shell.expect(PROMPT)
            shell.send("half a line" + CTRL_C)
            shell.expect(PROMPT)
            shell.sendline("kv get inside")
            shell.expect("\r\n1\r\n")
            shell.expect(PROMPT)
            self.assertTrue(shell.isalive())
        finally:
            shell.kill(signal.SIGTERM)
            shell.expect(pexpect.EOF)
            shell.close()
            self.assertEqual(shell.exitstatus, 0)
            shutil.rmtree(home)


if __name__ == "__main__":
    unittest.main(verbosity=2)
