"""ctl, JSON lines, scripts and the node's own flags, against a real node.

Needs BLIXARD_BIN. Times are bounded generously: nothing here measures speed.
"""
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.request

from node import BIN, PATIENCE, Node, free_port, run


def wait_until_unread(address):
    """Until a connection of `address` has bytes that its (stopped) process did not read."""
    port = int(address.rsplit(":", 1)[1])
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with open("/proc/net/tcp", encoding="ascii") as table:
            for row in list(table)[1:]:
                columns = row.split()
                local, queues = columns[1], columns[4]
                if int(local.split(":")[1], 16) == port and int(queues.split(":")[1], 16) > 0 \
                        and columns[3] == "01":
                    return
    raise AssertionError("the request never reached the node's socket")


class WithNode(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node()
        cls.connect = ["--connect", cls.node.address]

    @classmethod
    def tearDownClass(cls):
        assert cls.node.stop() == 0, "the node did not stop cleanly"

    def ctl(self, *words, **more):
        return run("ctl", *self.connect, *words, **more)

    def json(self, *words):
        code, out, _ = self.ctl("-o", "json", *words)
        self.assertEqual(out.count("\n"), 1, out)
        return code, json.loads(out)

    def lines(self, text, *flags):
        code, out, err = self.ctl("--jsonl", *flags, stdin=text)
        self.assertEqual(code, 0, err)
        return [json.loads(line) for line in out.splitlines()]


class Ctl(WithNode):
    def test_hotpaths_is_a_word_of_its_own(self):
        code, out, err = run("hotpaths", *self.connect, "-o", "json")
        self.assertEqual(code, 0, err)
        self.assertIn("hotpaths", json.loads(out)["result"])
        self.assertIn("AREA", run("hotpaths", *self.connect)[1])
        self.assertIn("what its hot paths cost", run("hotpaths", "--help")[1])
        self.assertIn("hotpaths", run("help")[1])
        self.assertEqual(run("hotpaths", *self.connect, "now")[0], 2)

    def test_kv_answers_have_their_documented_shapes(self):
        code, put = self.json("kv", "put", "shape", "v 1")
        self.assertEqual((code, put["op"], put["node"]), (0, "ok", 1))
        self.assertGreater(put["index"], 0)
        self.assertGreater(put["term"], 0)
        version = put["result"]["version"]
        code, got = self.json("kv", "get", "shape")
        self.assertEqual(got["result"], {"key": "shape", "value": "v 1", "version": version})
        self.assertGreaterEqual(got["index"], put["index"])
        self.assertEqual(self.json("kv", "cas", "shape", "v 1", "v2")[1]["op"], "ok")
        code, lost = self.json("kv", "cas", "shape", "v 1", "v3")
        self.assertEqual((code, lost["op"], lost["error"]["code"]), (6, "fail", "conflict"))
        self.assertIn("index", lost)
        self.assertEqual(self.json("kv", "put", "shape", "x", "--if-version", "0")[0], 6)
        code, items = self.json("kv", "list", "sha")
        self.assertEqual([i["key"] for i in items["result"]["items"]], ["shape"])
        self.assertEqual(self.json("kv", "delete", "shape")[1]["result"], {})
        code, gone = self.json("kv", "get", "shape")
        self.assertEqual((code, gone["error"]["code"]), (3, "not_found"))
        self.assertIn("index", gone)

    def test_text_is_for_people_and_errors_go_to_stderr(self):
        self.ctl("kv", "put", "text", "the value")
        self.assertEqual(self.ctl("kv", "get", "text")[:2], (0, "the value\n"))
        code, out, err = self.ctl("kv", "get", "no such key")
        self.assertEqual((code, out), (3, ""))
        self.assertIn("not_found", err)
        self.assertNotIn("\x1b", err)

    def test_cluster_and_node_reads(self):
        _, status = self.json("cluster", "status")
        result = status["result"]
        self.assertEqual(result["leader"], 1)
        for key in ("cluster_id", "term", "commit_index", "applied_index"):
            self.assertIn(key, result)
        self.assertEqual({"id", "address", "role", "state", "match_index", "version"}
                         - result["nodes"][0].keys(), set())
        self.assertEqual(result["nodes"][0]["role"], "leader")
        self.assertIn("leader", self.ctl("cluster", "status")[1])
        digest = self.json("cluster", "digest")[1]["result"]
        again = self.json("cluster", "digest", "--at", str(digest["index"]))[1]["result"]
        self.assertTrue(digest["digest"])
        self.assertGreaterEqual(again["index"], digest["index"])
        self.assertIn("blixard", self.ctl("metrics", "raft")[1])
        self.assertIn("caches", self.json("cache", "stats")[1]["result"])

    def test_a_vm_from_create_to_delete(self):
        code, made = self.json("vm", "create", "sleeper", "--memory", "16M", "--command", "sleep 600")
        self.assertEqual(code, 0, made)
        self.assertEqual(made["result"]["name"], "sleeper")
        code, running = self.json("wait", "vm", "sleeper", "--for=running", "--timeout", "60")
        self.assertEqual(code, 0, running)
        self.assertEqual(running["result"]["phase"], "running")
        self.assertEqual(running["result"]["node"], 1)
        self.assertGreater(running["result"]["pid"], 0)
        self.assertEqual(self.ctl("vm", "create", "sleeper")[0], 6)
        self.assertIn("sleeper", self.ctl("vm", "list")[1])
        explained = self.json("vm", "explain", "sleeper")[1]["result"]
        self.assertEqual(explained["name"], "sleeper")
        self.assertEqual(self.ctl("vm", "stop", "sleeper")[0], 0)
        self.assertEqual(self.ctl("wait", "vm", "sleeper", "--for=stopped")[0], 0)
        self.assertEqual(self.ctl("vm", "delete", "sleeper")[0], 0)
        self.assertEqual(self.ctl("wait", "vm", "sleeper", "--for=deleted")[0], 0)
        self.assertEqual(self.ctl("vm", "show", "sleeper")[0], 3)

    def test_what_is_not_there_is_told_with_the_index_at_which_it_was_not(self):
        for words in (["vm", "show"], ["vm", "logs"], ["vm", "explain"], ["vm", "stop"],
                      ["node", "show"], ["node", "cordon"], ["kv", "get"], ["kv", "delete"]):
            code, answer = self.json(*words, "77")
            self.assertEqual((code, answer["error"]["code"]), (3, "not_found"), words)
            self.assertGreater(answer["index"], 0, words)
            self.assertGreater(answer["term"], 0, words)
            if words[0] != "kv":
                self.assertEqual(answer["error"]["hint"], f"see `{words[0]} list`", words)

    def test_a_vm_that_fits_nowhere_says_why(self):
        code, out = self.json("vm", "create", "giant", "--memory", "32T", "--command", "true")
        self.assertEqual((code, out["op"], out["error"]["code"]), (8, "fail", "unplaceable"), out)
        _, _, err = self.ctl("vm", "create", "giant", "--memory", "32T", "--command", "true")
        self.assertRegex(err, r"node 1: .*memory")

    def test_a_usage_error_is_json_wherever_json_was_asked_for(self):
        for words in (["-o", "json", "kv", "gte"], ["kv", "gte", "-o", "json"]):
            code, out, err = self.ctl(*words)
            self.assertEqual((code, err), (2, ""), words)
            self.assertEqual(json.loads(out)["error"]["hint"], "did you mean kv get?")

    def test_flags_of_the_client_itself_are_explained_in_plain_words(self):
        for words, said in ((["--timeout", "1", "--timeout", "2", "vm", "list"],
                             "--timeout is given twice"),
                            (["--timeout"], "--timeout needs a value"),
                            (["--connect", "", "vm", "list"], "--connect"),
                            (["-x"], "unknown flag -x")):
            code, out, err = run("ctl", *words)
            self.assertEqual((code, out), (2, ""), words)
            self.assertIn(said, err)
        self.assertIn('unexpected word "extra"', run("repl", "extra")[2])
        self.assertEqual(run("wal", "dump", "--help")[0], 0)

    def test_usage_errors_exit_2_and_name_the_nearest_word(self):
        for words, hint in ((["kv", "gte", "x"], "kv get"), (["vm", "list", "--stael"], "--stale"),
                            (["--timeot", "1", "vm", "list"], "--timeout")):
            code, out, err = self.ctl(*words)
            self.assertEqual((code, out), (2, ""), words)
            self.assertIn("did you mean " + hint, err)
        self.assertEqual(self.ctl("vm", "create", "Bad_Name")[0], 2)
        self.assertEqual(self.ctl("vm", "create", "x", "--memory", "12X")[0], 2)
        self.assertEqual(self.ctl()[0], 2)
        self.assertEqual(self.ctl("-o", "yaml", "vm", "list")[0], 2)
        code, out = self.json("kv", "gte", "x")
        self.assertEqual((code, out["op"], out["error"]["code"]), (2, "fail", "invalid_argument"))

    def test_the_next_address_is_used_when_a_node_is_gone(self):
        gone = f"127.0.0.1:{free_port()}"
        self.assertEqual(run("ctl", "--connect", gone, "kv", "list")[0], 5)
        code, out, _ = run("ctl", "--connect", gone, "-o", "json", "kv", "list")
        self.assertEqual(json.loads(out)["op"], "fail")
        self.assertEqual(run("ctl", "--connect", f"{gone},{self.node.address}", "kv", "list")[0], 0)
        self.assertEqual(run("ctl", "kv", "list", env={"BLIXARD_CONNECT": self.node.address})[0], 0)

    def test_a_value_of_a_mebibyte_passes_and_one_byte_more_does_not(self):
        value = "v" * (1 << 20)
        request = json.dumps({"id": 1, "cmd": ["kv", "put", "large", value]})
        read = json.dumps({"id": 2, "cmd": ["kv", "get", "large"]})
        self.assertEqual(self.lines(request + "\n")[0]["op"], "ok")
        self.assertEqual(self.lines(read + "\n")[0]["result"]["value"], value)
        more = json.dumps({"id": 3, "cmd": ["kv", "put", "large", value + "v"]})
        self.assertEqual(self.lines(more + "\n")[0]["error"]["code"], "too_large")


class JsonLines(WithNode):
    def test_plain_lines_are_answered_in_order_and_see_each_other(self):
        out = self.lines("kv put a 1\nkv get a\nkv cas a 1 2\nkv get a\nkv delete a\nkv get a\n")
        self.assertEqual([o["op"] for o in out], ["ok"] * 5 + ["fail"])
        self.assertEqual([out[1]["result"]["value"], out[3]["result"]["value"]], ["1", "2"])
        indexes = [o["index"] for o in out]
        self.assertEqual(indexes, sorted(indexes))

    def test_a_thousand_json_lines_are_each_answered_once(self):
        text = "".join(json.dumps({"id": i, "cmd": f"kv put many/{i % 50} {i}"}) + "\n"
                       for i in range(1000))
        out = self.lines(text)
        self.assertEqual(sorted(o["id"] for o in out), list(range(1000)))
        self.assertEqual({o["op"] for o in out}, {"ok"})
        self.assertEqual(len({o["index"] for o in out}), 1000, "two writes share an index")

    def test_a_repeated_operation_gets_its_first_answer(self):
        line = json.dumps({"id": 1, "cmd": "kv put once x --if-version 0", "client": "c1", "seq": 1})
        first, second = self.lines(line + "\n")[0], self.lines(line + "\n")[0]
        self.assertEqual(first["op"], "ok")
        self.assertEqual(second["op"], "ok", "the repeated command ran again")
        self.assertEqual(second["result"], first["result"])

    def test_bad_lines_are_answered_too(self):
        out = self.lines('\nbogus\n{"id":5}\n{"id":6,"cmd":"kv get \'x"}\nkv get never-put')
        self.assertEqual(len(out), 5)
        self.assertEqual({o["op"] for o in out}, {"fail"})
        self.assertIn("middle", out[-1]["error"]["message"])

    def test_an_answer_comes_while_input_stays_open(self):
        with subprocess.Popen([BIN, "ctl", *self.connect, "--jsonl"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, bufsize=1) as p:
            for i in range(3):
                p.stdin.write(f"kv put open {i}\n")
                self.assertEqual(json.loads(p.stdout.readline())["op"], "ok")
            p.stdin.close()
            self.assertEqual(p.wait(PATIENCE), 0)

    def test_a_node_that_hangs_is_an_unknown_outcome_in_time(self):
        with subprocess.Popen([BIN, "ctl", *self.connect, "--jsonl"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, bufsize=1) as p:
            p.stdin.write("kv put warm 1\n")
            p.stdout.readline()
            self.node.pause()
            try:
                begin = time.monotonic()
                for i in range(10):
                    p.stdin.write(json.dumps({"id": i, "cmd": "kv put hang 1", "timeout_ms": 300}) + "\n")
                out = [json.loads(p.stdout.readline()) for _ in range(10)]
                took = time.monotonic() - begin
            finally:
                self.node.resume()
            self.assertEqual({(o["op"], o["error"]["code"]) for o in out}, {("info", "timeout")})
            self.assertEqual(sorted(o["id"] for o in out), list(range(10)))
            self.assertLess(took, 5)  # 0.4 s is promised; this only says that it did not wait 10 s
            p.stdin.close()
            self.assertEqual(p.wait(PATIENCE), 0)


class LostNode(unittest.TestCase):
    def test_a_node_that_dies_under_a_request_leaves_the_outcome_unknown(self):
        node = Node()
        try:
            with subprocess.Popen([BIN, "ctl", "--connect", node.address, "--jsonl"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  bufsize=1) as p:
                p.stdin.write("kv put a 1\n")
                p.stdout.readline()
                node.pause()
                p.stdin.write("kv put a 2\n")
                wait_until_unread(node.address)
                node.process.kill()
                lost = json.loads(p.stdout.readline())
                self.assertEqual((lost["op"], lost["error"]["code"]), ("info", "connection_lost"))
                p.stdin.write("kv put a 3\n")
                self.assertEqual(json.loads(p.stdout.readline())["error"]["code"], "unavailable")
                p.stdin.close()
                self.assertEqual(p.wait(PATIENCE), 0)
        finally:
            node.stop()


class Streams(WithNode):
    """Standard streams that are closed or full."""

    def with_closed(self, fd, *words):
        return subprocess.run([BIN, *words], preexec_fn=lambda: os.close(fd), timeout=PATIENCE,
                              stdout=None if fd == 1 else subprocess.PIPE,
                              stderr=subprocess.PIPE, stdin=None, text=True)

    def test_closed_input_is_the_end_of_input(self):
        done = self.with_closed(0, "repl", *self.connect)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(self.with_closed(0, "ctl", *self.connect, "--jsonl").returncode, 0)

    def test_an_answer_that_cannot_be_written_is_no_success(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            for words in (["ctl", *self.connect, "kv", "list"], ["repl", *self.connect],
                          ["ctl", *self.connect, "--jsonl"], ["--help"],
                          ["wal", "verify", os.path.join(self.node.directory, "data")]):
                done = subprocess.run([BIN, *words], input="kv list\n", stdout=full, text=True,
                                      stderr=subprocess.PIPE, timeout=PATIENCE)
                self.assertEqual(done.returncode, 1, words)
                self.assertIn("No space left on device", done.stderr, words)
        done = self.with_closed(1, "ctl", *self.connect, "kv", "list")
        self.assertEqual(done.returncode, 1)
        self.assertIn("standard output cannot be written", done.stderr)

    def test_the_log_of_a_node_whose_stderr_is_closed_goes_nowhere(self):
        node = Node(closed=(0, 2))
        try:
            for fd in (0, 2):
                self.assertEqual(os.readlink(f"/proc/{node.process.pid}/fd/{fd}"), "/dev/null")
        finally:
            self.assertEqual(node.stop(), 0)


class Script(WithNode):
    def repl(self, text):
        return run("repl", *self.connect, stdin=text)

    def test_a_script_stops_at_the_first_error_with_its_code(self):
        code, out, err = self.repl("kv put s 1\nkv get s\nkv get not-there\nkv put s 2\n")
        self.assertEqual(code, 3)
        self.assertTrue(out.endswith("\n1\n"), out)
        self.assertIn("not_found", err)
        self.assertEqual(self.repl("kv get s\n")[1], "1\n", "a line behind the error was run")

    def test_no_prompt_and_no_escape_where_there_is_no_terminal(self):
        code, out, err = self.repl("help\nkv list\nquit\nnever run\n")
        self.assertEqual((code, err), (0, ""))
        self.assertNotIn("\x1b", out)
        self.assertNotIn("blixard n1", out)

    def test_a_line_that_may_have_been_cut_is_not_run(self):
        self.repl("kv put ab 1\nkv put a 1\n")
        code, out, err = self.repl("kv get ab\nkv delete a")
        self.assertEqual((code, out), (2, "1\n"))
        self.assertIn("the input ended in the middle of this line; it was not run", err)
        self.assertEqual(self.repl("kv get a\n")[1], "1\n")

    def test_a_script_for_a_node_of_its_own_leaves_only_json_on_its_stdout(self):
        with tempfile.TemporaryDirectory() as d:
            code, out, err = run(
                "node", "--id", "1", "--data-dir", os.path.join(d, "data"), "--bind", "127.0.0.1:0",
                "--metrics", "127.0.0.1:0", "--bootstrap", "--repl",
                stdin="kv put k v\nkv get k\ncluster status -o table\nkv get missing\nkv get k\n")
        lines = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(code, 3, err)
        self.assertEqual(lines[0]["event"], "ready")
        self.assertEqual([line["op"] for line in lines[1:]], ["ok", "ok", "ok", "fail"])
        self.assertEqual(lines[2]["result"]["value"], "v")

    def test_an_unreachable_node_exits_5(self):
        self.assertEqual(run("repl", "--connect", f"127.0.0.1:{free_port()}", stdin="kv list\n")[0], 5)


class Bench(WithNode):
    def bench(self, *flags):
        code, out, err = run("bench", "kv", *self.connect, "--seconds", "1", "-o", "json", *flags)
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def test_closed_and_open_loop_report_what_they_did(self):
        closed = self.bench("--clients", "8", "--reads", "0.5", "--keys", "100")
        for key in ("ops_per_second", "p50_us", "p90_us", "p99_us", "p999_us", "errors"):
            self.assertIn(key, closed)
        self.assertEqual(closed["errors"], 0)
        self.assertGreater(closed["puts"]["operations"], 0)
        self.assertGreater(closed["gets"]["operations"], 0)
        self.assertLessEqual(closed["p50_us"], closed["p99_us"])
        rated = self.bench("--rate", "200", "--stale", "--reads", "1", "--keys", "10")
        self.assertLessEqual(rated["operations"], 201)
        self.assertGreater(rated["operations"], 100)
        self.assertEqual(rated["puts"]["operations"], 0)

    def reads_by_kind(self):
        with urllib.request.urlopen(f"http://{self.node.ready['metrics']}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return {kind: int(float(n)) for kind, n in
                re.findall(r'blixard_raft_reads_total\{kind="(\w+)"\} (\S+)', text)}

    def test_stale_gets_ask_no_quorum_and_others_do(self):
        for flags, kind, other in ((["--stale"], "stale", "read_index"), ([], "read_index", "stale")):
            before = self.reads_by_kind()
            got = self.bench("--reads", "1", "--keys", "10", *flags)
            after = self.reads_by_kind()
            self.assertEqual(got["stale"], kind == "stale")
            self.assertGreaterEqual(after[kind] - before[kind], got["operations"], kind)
            self.assertLess(after[other] - before[other], got["operations"], kind)

    def test_bad_flags_exit_2(self):
        for flags in (["--reads", "2"], ["--clients", "0"], ["--keyz", "1"], ["--rate", "x"],
                      ["--value-bytes", "2M"]):
            self.assertEqual(run("bench", "kv", *flags)[0], 2, flags)


class NodeFlags(unittest.TestCase):
    def node(self, *flags, env=None):
        with tempfile.TemporaryDirectory() as d:
            return run("node", "--id", "1", "--data-dir", os.path.join(d, "data"), "--bind",
                       "127.0.0.1:0", "--metrics", "127.0.0.1:0", *flags, env=env)

    def test_unknown_flag_and_bad_value_exit_2(self):
        code, out, err = self.node("--bootstrp")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("did you mean --bootstrap?", err)
        code, _, err = self.node("--memory", "12X")
        self.assertEqual(code, 2)
        self.assertIn("--memory", err)

    def test_an_unknown_key_exits_3_and_names_its_line(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as f:
            f.write("vcpus = 1\n\nmemroy = '1G'\n")
            f.flush()
            code, out, err = self.node("--config", f.name)
        self.assertEqual(code, 3)
        self.assertIn(f"{f.name}:3: unknown key memroy", err)
        self.assertIn("did you mean memory?", err)
        event = json.loads(out)
        self.assertEqual((event["event"], event["code"]), ("fatal", 3))

    def test_a_bad_variable_exits_3_and_is_named(self):
        code, _, err = self.node(env={"BLIXARD_VCPUS": "many"})
        self.assertEqual(code, 3)
        self.assertIn("BLIXARD_VCPUS", err)

    def test_an_open_port_without_tls_is_refused(self):
        with tempfile.TemporaryDirectory() as d:
            code, out, err = run("node", "--id", "1", "--data-dir", d, "--bind", "0.0.0.0:0")
        self.assertEqual(code, 3)
        self.assertIn("loopback", err)
        self.assertEqual(json.loads(out)["event"], "fatal")

    def test_a_port_and_a_directory_in_use_have_codes_of_their_own(self):
        node = Node()
        try:
            code, out, err = run(
                "node", "--id", "1", "--data-dir", tempfile.mkdtemp(dir=node.directory), "--bind",
                node.address, "--metrics", "127.0.0.1:0", "--bootstrap")
            self.assertEqual((code, json.loads(out)["code"]), (4, 4), err)
            code, out, err = run("node", "--id", "1", "--data-dir",
                                 os.path.join(node.directory, "data"), "--bind", "127.0.0.1:0",
                                 "--metrics", "127.0.0.1:0", "--bootstrap")
            self.assertEqual((code, json.loads(out)["code"]), (5, 5), err)
        finally:
            node.stop()

    def test_a_folder_for_a_file_of_settings_and_a_path_that_is_no_text_are_errors(self):
        code, out, err = self.node("--config", "/tmp")
        self.assertEqual((code, json.loads(out)["code"]), (3, 3))
        self.assertIn("/tmp: Is a directory", err)
        code, out, _ = run("node", "--id", "1", "--data-dir", b"/proc/\xff", "--bind", "127.0.0.1:0",
                           "--metrics", "127.0.0.1:0", "--bootstrap")
        event = json.loads(out)
        self.assertEqual((code, event["event"], event["code"]), (12, "fatal", 12))
        self.assertIn("/proc/\ufffd", event["error"])

    def test_a_node_that_waits_to_be_admitted_can_be_told_to_stop(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with tempfile.TemporaryDirectory() as d, subprocess.Popen(
                    [BIN, "node", "--id", "2", "--data-dir", d, "--bind", "127.0.0.1:0", "--metrics",
                     "127.0.0.1:0", "--join", f"127.0.0.1:{free_port()}"],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
                for line in waiting.stderr:
                    if "not admitted yet" in line:
                        break
                waiting.send_signal(number)
                # On its own it gives up after a minute, with exit code 3.
                self.assertEqual(waiting.wait(PATIENCE), 0)
                self.assertEqual(waiting.stdout.read(), "")

    def test_help_and_version(self):
        for words in (["--help"], ["node", "--help"], ["ctl", "--help"], ["repl", "--help"],
                      ["bench", "kv", "--help"], ["wal", "--help"], ["ctl", "help", "vm", "create"]):
            code, out, err = run(*words)
            self.assertEqual((code, err), (0, ""), words)
            self.assertGreater(len(out), 40)
        self.assertTrue(re.fullmatch(r"blixard \d+\.\d+\.\d+\n", run("version")[1]))
        code, _, err = run("ndoe")
        self.assertEqual(code, 2)
        self.assertIn("did you mean node?", err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
