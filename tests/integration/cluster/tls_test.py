#!/usr/bin/env python3
"""Mutual TLS between real processes: a cluster that works with it, everyone who is refused and with
what words, new certificates without a restart, and addresses that are not loopback."""
import ctypes
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/integration/lib"))
from harness import SEED, Case, Cluster, Exited, Node, eventually, fetch, main, run  # noqa: E402

USAGE, CONFIGURATION, TLS = 2, 3, 14  # of a node
NOT_AUTHORISED = 4  # of a client


class Certificates:
    """An authority in a folder of its own, made by scripts/certs."""

    def __init__(self, folder, *ids):
        self.folder = folder
        self.make(*ids)

    def make(self, *ids, days=None):
        env = {**os.environ, **({"BLIXARD_CERT_DAYS": str(days)} if days is not None else {})}
        subprocess.run(
            [ROOT / "scripts/certs", self.folder, *(str(i) for i in ids)],
            check=True,
            capture_output=True,
            env=env,
        )

    def files(self, name):
        """ca, certificate and key of `node-1`, `client`, ..."""
        return [self.folder / "ca.pem", self.folder / f"{name}.pem", self.folder / f"{name}.key"]

    def flags(self, name):
        names = ("--tls-ca", "--tls-cert", "--tls-key")
        return [str(w) for pair in zip(names, self.files(name)) for w in pair]

    def env(self, name):
        names = ("BLIXARD_TLS_CA", "BLIXARD_TLS_CERT", "BLIXARD_TLS_KEY")
        return {n: str(f) for n, f in zip(names, self.files(name))}


def tls_failures(node, reason):
    """The node's counter of connections that TLS prevented for that reason."""
    text = fetch(node.ready["metrics"], "/metrics")[1]
    [value] = re.findall(rf'^blixard_net_tls_failures_total{{reason="{reason}"}} (\S+)$', text, re.M)
    return float(value)


class TlsCase(Case):
    def setUp(self):
        super().setUp()
        self.certs = Certificates(self.folder / "certs", 1, 2, 3)

    def tls_cluster(self, size, *flags):
        return self.cluster(
            size,
            *flags,
            each=[self.certs.flags(f"node-{i + 1}") for i in range(size)],
            client_env=self.certs.env("client"),
        )

    def refused_start(self, code, *flags, says, number=1):
        """A node that must not start: its exit code, and the words of its fatal event."""
        node = Node(self.folder / "refused", number, ["--backend", "process", *flags])
        node.log_path.parent.mkdir(exist_ok=True)
        with self.assertRaises(Exited) as refused:
            node.start()
        self.assertEqual(refused.exception.code, code, refused.exception)
        self.assertEqual(refused.exception.fatal["code"], code)
        for words in says:
            self.assertIn(words, refused.exception.fatal["error"])

    def refused_client(self, node, *flags, says, env=None):
        code, out, err = run(
            "ctl", "--connect", node.address, "-o", "json", *flags, "kv", "get", "k", env=env
        )
        self.assertEqual(code, NOT_AUTHORISED, out + err)
        answer = json.loads(out)
        self.assertEqual((answer["op"], answer["error"]["code"]), ("fail", "unauthenticated"), answer)
        for words in says:
            self.assertIn(words, answer["error"]["message"] + answer["error"].get("hint", ""))


class Works(TlsCase):
    def test_three_nodes_survive_the_death_of_their_leader(self):
        cluster = self.tls_cluster(3)
        cluster.ok("kv", "put", "k", "before")
        dead = cluster.leader()
        dead.kill()
        leader = cluster.leader()
        self.assertIsNot(leader, dead)
        leader.ok("kv", "put", "k", "after")
        dead.start()
        cluster.wait_ready().wait_voters()
        self.assertEqual(dead.ok("kv", "get", "k")["value"], "after")
        self.assertEqual(len(set(cluster.digests())), 1)
        for node in cluster:
            self.assertEqual(node.terminate()[0], 0)

    def test_every_program_takes_the_flags_and_a_nodes_certificate_is_a_clients_too(self):
        cluster = self.tls_cluster(1)
        node = cluster[0]
        where = ("--connect", node.address)
        for name in ("client", "node-1", "node-2"):
            with self.subTest(name):
                flags = self.certs.flags(name)
                code, out, err = run("ctl", *where, *flags, "kv", "put", "k", name)
                self.assertEqual(code, 0, err)
                code, out, err = run("ctl", *where, "kv", "get", "k", *flags)  # behind the command
                self.assertEqual((code, out), (0, name + "\n"), err)
        env = self.certs.env("client")
        code, out, err = run("repl", *where, stdin="kv get k\n", env=env)
        self.assertEqual((code, out), (0, "node-2\n"), err)
        code, out, err = run("ctl", *where, "--jsonl", stdin="kv get k\n", env=env)
        self.assertEqual((code, json.loads(out)["result"]["value"]), (0, "node-2"), err)
        code, out, err = run(
            "bench", "kv", *where, "--seconds", "1", "-o", "json", *self.certs.flags("client")
        )
        self.assertEqual((code, json.loads(out)["errors"]), (0, 0), err)

    def test_a_snapshot_reaches_a_new_node_over_the_bulk_connection(self):
        cluster = self.tls_cluster(1)
        dice = random.Random(SEED)
        for i in range(40):
            cluster.ok("kv", "put", f"large{i}", dice.randbytes(60_000).hex())
        cluster.ok("cluster", "snapshot")
        # What a snapshot does not hold is kept in the log: this one must not suffice.
        end = cluster.ok("cluster", "status")["commit_index"] + 11_000
        while cluster.ok("cluster", "status")["commit_index"] < end:
            code, out, err = run(
                "bench", "kv", "--connect", cluster[0].address, "--keys", "100", "--value-bytes",
                "64", "--seconds", "1", "-o", "json", env=cluster.client_env,
            )
            self.assertEqual((code, json.loads(out)["errors"]), (0, 0), err)
        cluster.ok("cluster", "snapshot")
        cluster.add(*self.certs.flags("node-2"))
        cluster.wait_ready().wait_voters()
        self.assertEqual(len(set(cluster.digests())), 1)
        sizes = [int(n) for n in re.findall(r"sending snapshot \d+ \((\d+) bytes\)", cluster[0].log())]
        self.assertGreater(max(sizes), 1_000_000)

    def test_new_certificates_are_used_without_a_restart(self):
        cluster = self.tls_cluster(3)
        first, _, third = cluster
        pids = [n.pid for n in cluster]
        third.kill()
        (self.certs.folder / "node-1.pem").write_text("nonsense")
        third.start()
        eventually("node 1 tells of the bad file", lambda: "are not used" in first.log())
        self.assertIn("node-1.pem holds no certificate", first.log())
        cluster.wait_ready()
        third.kill()
        self.certs.make(1, 2, 3)
        third.start()
        eventually(
            "node 1 takes the new file", lambda: "new TLS certificates were read" in first.log()
        )
        cluster.wait_ready()
        cluster.ok("kv", "put", "k", "v")
        self.assertEqual([n.pid for n in cluster][:2], pids[:2])


class Refuses(TlsCase):
    def test_clients_without_the_right_certificate_are_told_why(self):
        cluster = self.tls_cluster(1)
        node = cluster[0]
        other = Certificates(self.folder / "other", 1)
        self.refused_client(node, says=["node 1 speaks TLS only", "--tls-ca"])
        self.refused_client(node, *other.flags("client"), says=["of another authority", "tls-ca"])
        # One that trusts this authority and has a certificate of the other: its own check tells.
        shutil.copy(self.certs.folder / "ca.pem", other.folder / "ca.pem")
        self.refused_client(node, *other.flags("client"), says=["no certificate of the authority"])
        self.certs.make(7, days=-1)
        self.refused_client(node, *self.certs.flags("node-7"), says=["has expired on", "new one"])
        self.assertGreaterEqual(tls_failures(node, "plaintext"), 1)
        self.assertGreaterEqual(tls_failures(node, "refused"), 1)
        log = eventually("the node tells of strangers", lambda: "refused 127.0.0.1" in node.log() and node.log())
        self.assertIn("it speaks without TLS", log)
        node.ok("kv", "put", "k", "the node is well")

    def test_tls_spoken_to_a_node_without_it_is_told_on_both_sides(self):
        node = self.cluster(1)[0]
        self.refused_client(
            node, *self.certs.flags("client"), says=["it speaks without TLS, and this side with it"]
        )
        self.assertIn("it speaks TLS, and this node without it", node.log())

    def test_flags_that_are_not_complete_are_an_error(self):
        ca, cert, key = self.certs.flags("client")[1::2]
        for flags, missing in (
            (["--tls-ca", ca], "tls-cert"),
            (["--tls-cert", cert, "--tls-key", key], "tls-ca"),
            (["--tls-ca", ca, "--tls-cert", cert], "tls-key"),
        ):
            self.refused_start(CONFIGURATION, *flags, says=[f"{missing} is missing"])
            for program in (["ctl", "kv", "get", "k"], ["repl"], ["bench", "kv"]):
                code, _, err = run(*program, *flags)
                self.assertEqual(code, USAGE, err)
                self.assertIn(f"--{missing} is missing", err)

    def test_a_node_with_wrong_files_does_not_start(self):
        ca, cert, key = self.certs.flags("node-1")[1::2]
        self.certs.make(5, days=-1)
        other = Certificates(self.folder / "other", 1)

        def flags(ca=ca, cert=cert, key=key):
            return ["--tls-ca", ca, "--tls-cert", cert, "--tls-key", key, "--bootstrap"]

        none = str(self.folder / "none.pem")
        other_key = self.certs.flags("node-2")[-1]
        for wrong, says in (
            (flags(ca=none), ["tls-ca", none, "No such file"]),
            (flags(cert=none), ["tls-cert", none, "No such file"]),
            (flags(key=none), ["tls-key", none, "No such file"]),
            (flags(key=other_key), [other_key, "is not the key of", cert]),
            (flags(cert=key), [key, "holds no certificate"]),
            (flags(key=cert), [cert, "holds no private key"]),
            (flags(ca=str(other.folder / "ca.pem")), [cert, "no certificate of the authority"]),
            (self.certs.flags("client") + ["--bootstrap"], ["client admin", "this is node 1"]),
            (self.certs.flags("node-2") + ["--bootstrap"], ["certificate of node 2", "node 1"]),
        ):
            with self.subTest(says):
                self.refused_start(TLS, *wrong, says=says)
        self.refused_start(
            TLS, *self.certs.flags("node-5"), "--bootstrap", says=["has expired on"], number=5
        )
        self.assertFalse((self.folder / "refused/node1").exists(), "before anything is made")

    def test_a_node_that_does_not_belong_is_not_admitted(self):
        first = self.tls_cluster(1)[0]
        other = Certificates(self.folder / "other", 2)
        join = ["--join", first.address]
        self.refused_start(TLS, *join, *other.flags("node-2"), says=["another authority"], number=2)
        self.refused_start(TLS, *join, says=["node 1 speaks TLS only"], number=2)

    def test_a_member_whose_certificate_went_bad_says_so_in_its_log(self):
        cluster = self.tls_cluster(3)
        follower = cluster.followers()[0]
        follower.kill()
        other = Certificates(self.folder / "other", 1, 2, 3)
        follower.flags += other.flags(f"node-{follower.number}")
        for flag in ("--tls-ca", "--tls-cert", "--tls-key"):
            at = follower.flags.index(flag)
            del follower.flags[at : at + 2]
        follower.start()
        eventually(
            "it says why it is alone",
            lambda: re.search(r"no connection to node \d: .*another authority", follower.log()),
        )
        self.assertFalse(follower.is_ready())


class RealAddresses(TlsCase):
    """In a network namespace of its own; skipped where a test may not make one."""

    def setUp(self):
        super().setUp()
        ip = shutil.which("ip") or shutil.which("ip", path="/sbin:/usr/sbin")
        if ip is None:
            self.skipTest("there is no `ip` (iproute2)")
        libc = ctypes.CDLL(None, use_errno=True)
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.addCleanup(os.close, home)
        if libc.unshare(0x40000000) != 0:  # CLONE_NEWNET
            self.skipTest(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        self.addCleanup(libc.setns, home, 0)
        subprocess.run([ip, "link", "set", "lo", "up"], check=True)
        for n in (1, 2, 3):
            subprocess.run([ip, "addr", "add", f"10.77.0.{n}/24", "dev", "lo"], check=True)

    def test_nodes_meet_on_addresses_that_are_not_loopback(self):
        cluster = Cluster(self.folder, [])
        cluster.client_env = self.certs.env("client")
        self.clusters.append(cluster)
        # Two bind to an address, the third to all and says where it can be dialled.
        places = [("10.77.0.1:7001", []), ("10.77.0.2:7001", [])]
        places.append(("0.0.0.0:7003", ["--advertise", "10.77.0.3:7003"]))
        for number, (bind, more) in enumerate(places, 1):
            flags = ["--backend", "process", *self.certs.flags(f"node-{number}"), *more]
            node = Node(self.folder, number, flags)
            node.address, node.client_env = bind, cluster.client_env
            cluster.nodes.append(node)
            node.start(*(["--bootstrap"] if number == 1 else ["--join", "10.77.0.1:7001"]))
        cluster.wait_ready().wait_voters()
        cluster.ok("kv", "put", "k", "v")
        status = cluster[2].ok("cluster", "status")
        self.assertEqual(
            sorted(n["address"] for n in status["nodes"]),
            ["10.77.0.1:7001", "10.77.0.2:7001", "10.77.0.3:7003"],
        )

    def test_without_tls_they_are_refused_as_ever(self):
        node = Node(self.folder, 1, ["--bootstrap"])
        node.address = "10.77.0.1:7001"
        with self.assertRaises(Exited) as refused:
            node.start()
        self.assertEqual(refused.exception.code, CONFIGURATION)
        self.assertIn("there is no TLS", refused.exception.fatal["error"])


if __name__ == "__main__":
    main()
