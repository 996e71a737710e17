#!/usr/bin/env python3
"""What comes over the network may be anything: it is refused, costs little, and disturbs nobody.

After each test the cluster must have the same processes and the same term, and take and keep
writes.
"""
import pathlib
import random
import re
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import wire  # noqa: E402
from harness import SEED, SharedCluster, eventually, fetch, main  # noqa: E402
from wire import Wire  # noqa: E402

NOT_FOUND, PERMISSION_DENIED, INVALID, OVERLOADED = 2, 13, 1, 9  # messages/errc.hpp


def resident_bytes(node):
    text = pathlib.Path(f"/proc/{node.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024


def open_files(node):
    return len(list(pathlib.Path(f"/proc/{node.pid}/fd").iterdir()))


class Garbage(SharedCluster):
    size = 3

    def setUp(self):
        super().setUp()
        status = self.nodes.ok("cluster", "status")
        self.before = (status["leader"], status["term"], [n.pid for n in self.nodes])
        self.cluster_id = int(status["cluster_id"], 16)
        self.leader = self.nodes.node(status["leader"])
        self.dice = random.Random(SEED)
        self.addCleanup(self.still_serves)

    def still_serves(self):
        for node in self.nodes:
            node.ok("kv", "put", f"{self._testMethodName}/{node.number}", "v")
        for node in self.nodes:
            self.assertEqual(len(node.ok("kv", "list", self._testMethodName + "/")["items"]), 3)
        status = self.nodes.ok("cluster", "status")
        self.assertEqual(
            (status["leader"], status["term"], [n.pid for n in self.nodes]), self.before
        )
        self.assertEqual(len(set(self.nodes.digests())), 1)

    def client(self, node=None):
        return Wire(node or self.leader, wire.hello())

    def peer(self, number, channel=wire.MAIN, node=None):
        """Somebody who says that it is node `number` of this cluster."""
        return Wire(node or self.leader, wire.hello(wire.PEER, channel, self.cluster_id, number))

    def noise(self, size):
        return self.dice.randbytes(size)

    def test_bytes_that_are_no_frames_close_the_connection(self):
        for size in (1, 31, 32, 33, 1000, 100_000):
            for start in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", wire.MAGIC):
                with Wire(self.leader) as w:
                    w.send(start + self.noise(size))
                    self.assertTrue(w.end())

    def test_bytes_that_are_no_frames_close_a_connection_that_was_accepted(self):
        for greeting in (wire.hello(), wire.hello(wire.PEER, wire.MAIN, self.cluster_id, 99)):
            with Wire(self.leader, greeting) as w:
                w.send(self.noise(10_000))
                self.assertTrue(w.is_closed_by_node())

    def test_headers_of_another_version_kind_class_or_with_flags_close_the_connection(self):
        for more in ({"version": 2}, {"flags": 1}, {"cls": 4}, {"magic": b"BLX2"}):
            with self.client() as w:
                w.send(wire.frame(wire.COMMAND, wire.kv_put(b"k", b"v"), **more))
                self.assertTrue(w.is_closed_by_node(), more)
        for kind in (0, 12, 77, 255):
            with self.client() as w:
                w.send(wire.frame(kind, b"x"))
                self.assertTrue(w.is_closed_by_node(), kind)

    def test_a_frame_that_says_it_is_too_long_is_refused_before_its_bytes_come(self):
        before = resident_bytes(self.leader)
        for length in (wire.MAX_FRAME + 1, 1 << 30, (1 << 32) - 1):
            with self.client() as w:
                w.send(wire.header(wire.COMMAND, length))
                self.assertTrue(w.is_closed_by_node(), length)
        with Wire(self.leader) as w:
            w.send(wire.header(wire.HELLO, 4097, cls=wire.CRITICAL))
            self.assertTrue(w.is_closed_by_node(), "a greeting is not longer than 4 KiB")
        self.assertLess(resident_bytes(self.leader) - before, 64 << 20)

    def test_many_long_frames_that_never_end_cost_little(self):
        before = resident_bytes(self.leader)
        halves = []
        for _ in range(100):
            w = self.client()
            w.send(wire.header(wire.COMMAND, wire.MAX_FRAME) + self.noise(1000))
            halves.append(w)
        self.leader.ok("kv", "put", "beside", "1")
        self.assertLess(resident_bytes(self.leader) - before, 256 << 20)
        for w in halves:
            w.vanish()

    def test_a_frame_that_ends_in_the_middle_closes_the_connection_and_is_not_applied(self):
        whole = wire.frame(wire.COMMAND, wire.kv_put(b"half", b"v" * 1000))
        for size in (1, 31, 32, 33, len(whole) - 1):
            with self.client() as w:
                w.send(whole[:size])
                self.assertTrue(w.end())
        self.assertEqual(self.leader.ctl("kv", "get", "half")[0], 3)

    def test_the_greeting_is_refused_with_a_reason_when_it_means_somebody_else(self):
        for greeting, code in (
            (wire.hello(wire.PEER, wire.MAIN, self.cluster_id ^ 1, 9), PERMISSION_DENIED),
            (wire.hello(wire.CLIENT, wire.MAIN, self.cluster_id ^ 1), PERMISSION_DENIED),
            (wire.hello(wire.CLIENT, expected=77), NOT_FOUND),
            (wire.hello(wire.PEER, wire.MAIN, self.cluster_id, 0), INVALID),
            (wire.hello(wire.PEER, wire.MAIN, self.cluster_id, self.leader.number), INVALID),
        ):
            with Wire(self.leader, greeting) as w:
                kind, _, said = w.greeting
                self.assertEqual((kind, said.get(8)), (wire.HELLO, code))
                self.assertTrue(said[9], "no reason was given")
                self.assertTrue(w.is_closed_by_node())

    def test_a_request_before_the_greeting_is_not_answered(self):
        with Wire(self.leader) as w:
            w.send(wire.frame(wire.COMMAND, wire.kv_put(b"early", b"v")))
            self.assertTrue(w.is_closed_by_node())
        self.assertEqual(self.leader.ctl("kv", "get", "early")[0], 3)

    def test_requests_whose_bodies_are_garbage_are_answered_with_an_error(self):
        asked = (self.leader, self.nodes.followers()[0])
        for kind in (wire.COMMAND, wire.PLANNED, wire.QUERY, wire.LOCAL, wire.ADMIN):
            for body in (
                b"",
                b"\xff",
                self.noise(10),
                self.noise(5000),
                b"\x0a\xff\xff\xff\xff\x0f",
            ):
                for node in asked:
                    with self.client(node) as w:
                        w.send(wire.frame(kind, body, request=42))
                        answer = w.receive()
                        if answer is not None:  # closing is an answer too
                            self.assertEqual(answer[:2], (wire.ANSWER, 42), (kind, body[:20]))
                            self.assertNotEqual(answer[2].get(1, 0), 0, (kind, body[:20], answer))

    def test_a_client_cannot_speak_as_a_peer(self):
        vote = wire.field(1, 0) + wire.field(2, 2) + wire.field(3, 1) + wire.field(4, 1_000_000)
        for kind in (wire.RAFT, wire.LEASE, wire.LEASE_GRANT, wire.ANSWER):
            with self.client() as w:
                w.send(wire.frame(kind, vote, cls=wire.CRITICAL))
                self.assertTrue(w.is_closed_by_node(), kind)

    def test_peers_that_send_garbage_are_ignored(self):
        bodies = [b"", b"\xff" * 20, self.noise(10), self.noise(100_000)]
        for number in (self.nodes.followers()[0].number, 99):
            for kind in (
                wire.RAFT,
                wire.LEASE,
                wire.LEASE_GRANT,
                wire.ANSWER,
                wire.COMMAND,
                wire.QUERY,
                wire.ADMIN,
            ):
                with self.peer(number) as w:
                    for cls in range(4):
                        for body in bodies:
                            w.send(wire.frame(kind, body, cls=cls))
        self.leader.ok("kv", "put", "beside", "1")

    def test_a_peer_cannot_speak_in_the_name_of_another(self):
        for follower in self.nodes.followers():
            forged = (
                wire.field(2, follower.number)
                + wire.field(3, self.leader.number)
                + wire.field(4, 1_000_000)
            )
            for kind in range(14):
                with self.peer(99) as w:
                    w.send(wire.frame(wire.RAFT, wire.field(1, kind) + forged, cls=wire.CRITICAL))
                    self.assertTrue(w.end())

    def test_a_snapshot_that_says_it_is_vast_is_refused(self):
        before = resident_bytes(self.leader)
        meta = wire.fixed64(1, 1 << 40) + wire.fixed64(2, 1)
        for total in (1 << 36, 1 << 62, (1 << 64) - 1):
            for sender in (self.nodes.followers()[0].number, 99):
                body = (
                    wire.field(1, 8)
                    + wire.field(2, sender)
                    + wire.field(3, self.leader.number)
                    + wire.field(4, self.before[1])
                    + wire.field(15, meta)
                    + wire.field(16, 0)
                    + wire.field(17, total)
                    + wire.field(18, b"x" * 100)
                )
                with self.peer(sender, wire.BULK) as w:
                    w.send(wire.frame(wire.RAFT, body, cls=wire.LOW))
                    self.assertTrue(w.end())
        self.leader.ok("kv", "put", "beside", "1")
        self.assertLess(resident_bytes(self.leader) - before, 256 << 20)

    def test_a_client_that_ended_its_stream_still_gets_its_answers(self):
        for node in self.nodes:
            with self.client(node) as w:
                w.send(
                    wire.frame(wire.COMMAND, wire.kv_put(b"half-closed", b"v"), request=5)
                    + wire.frame(wire.QUERY, wire.kv_get(b"half-closed"), request=6)
                )
                w.socket.shutdown(socket.SHUT_WR)
                answers = [w.receive(), w.receive()]
                self.assertEqual(sorted(a[1] for a in answers), [5, 6])
                self.assertEqual([a[2].get(1, 0) for a in answers if a[1] == 5], [0])
                self.assertTrue(w.is_closed_by_node())

    def test_clients_that_disappear_under_their_requests_leave_nothing_behind(self):
        before = {n.number: open_files(n) for n in self.nodes}
        for i in range(300):
            w = self.client(self.nodes[i % 3])
            w.send(
                wire.frame(wire.COMMAND, wire.kv_put(b"gone", str(i).encode()), request=i)
                + wire.frame(wire.PLANNED, self.noise(20))
                + wire.header(wire.QUERY, 1000)
            )
            if i % 3 == 0:
                w.vanish()
            else:
                w.socket.close()
        for node in self.nodes:
            eventually(
                lambda n=node: f"node {n.number} has {open_files(n)} open files, "
                f"it had {before[n.number]}",
                lambda n=node: open_files(n) <= before[n.number] + 5,
            )

    def test_a_client_that_does_not_read_its_answers_is_held_back_or_closed(self):
        self.leader.ok("kv", "put", "large", "v" * 100_000)
        before = resident_bytes(self.leader)
        with self.client() as w:
            w.socket.settimeout(5)
            asked = 0
            try:
                while asked < 20_000:
                    if not w.send(
                        b"".join(
                            wire.frame(wire.QUERY, wire.kv_get(b"large"), request=i)
                            for i in range(asked, asked + 100)
                        )
                    ):
                        break
                    asked += 100
            except TimeoutError:
                pass  # held back
            self.leader.ok("kv", "put", "beside", "1")
            self.assertLess(resident_bytes(self.leader) - before, 256 << 20)

    def test_more_requests_than_may_be_outstanding_are_refused_as_overloaded(self):
        with self.client() as w:
            count = 5000
            w.send(
                b"".join(
                    wire.frame(wire.COMMAND, wire.kv_put(b"burst", b"v"), request=i + 1)
                    for i in range(count)
                )
            )
            answers = [w.receive() for _ in range(count)]
            self.assertEqual(sorted(a[1] for a in answers), list(range(1, count + 1)))
            codes = [a[2].get(1, 0) for a in answers]
            self.assertLessEqual(set(codes), {0, OVERLOADED})
            self.assertGreaterEqual(codes.count(0), 256)
            for answer, code in zip(answers, codes):
                if code == OVERLOADED:
                    self.assertGreater(answer[2].get(4, 0), 0, "no word on when to try again")

    def test_connections_that_say_nothing_keep_nobody_out(self):
        silent = [Wire(self.leader) for _ in range(300)]
        try:
            self.leader.ok("kv", "put", "beside", "1")
        finally:
            for w in silent:
                w.socket.close()

    def test_bad_http_is_refused_and_the_scrape_goes_on(self):
        host, port = self.leader.metrics.rsplit(":", 1)
        for text in (
            b"\x00" * 100,
            b"GET\r\n\r\n",
            b"POST /metrics HTTP/1.1\r\n\r\n",
            b"GET /" + b"x" * 100_000,
            b"GET /metrics HTTP/1.1\r\n",
            self.noise(1000) + b"\r\n\r\n",
        ):
            with socket.create_connection((host, int(port)), timeout=30) as s:
                try:
                    s.sendall(text)
                    s.shutdown(socket.SHUT_WR)
                    reply = b""
                    while part := s.recv(65536):
                        reply += part
                except (BrokenPipeError, ConnectionResetError, OSError):
                    continue
                self.assertNotIn(b"200 OK", reply[:20], text[:30])
        self.assertEqual(fetch(self.leader.metrics, "/metrics")[0], 200)


if __name__ == "__main__":
    main()
