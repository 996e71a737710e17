#!/usr/bin/env python3
"""Many clients that only stay connected: they are refused where there are too many, and neither the
log nor the other nodes ever lack a descriptor or a connection because of them.
"""
import os
import pathlib
import resource
import socket
import sys
import threading
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import harness  # noqa: E402
import wire  # noqa: E402
from harness import Case, eventually, main  # noqa: E402
from wire import Wire  # noqa: E402

OVERLOADED = 9  # messages/errc.hpp
SMALL_SEGMENTS = ("--segment-bytes", "65536")


def open_files(node):
    return len(list(pathlib.Path(f"/proc/{node.pid}/fd").iterdir()))


def answer_to(client):
    """What its hello was answered with: 0, or why it is refused; None: closed without an answer."""
    return None if client.greeting is None else client.greeting[2].get(8, 0)


def is_open(client):
    try:
        while client.recv(4096):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    client.close()
    return False


class Crowd(Case):
    def setUp(self):
        super().setUp()
        self.crowd = []
        self.addCleanup(self.leave)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def leave(self):
        for client in self.crowd:
            client.socket.close()
        self.crowd.clear()

    def come(self, node, count):
        """So many clients say hello and stay; how many of them were let in."""
        let_in = 0
        for _ in range(count):
            self.crowd.append(Wire(node, wire.hello()))
            let_in += answer_to(self.crowd[-1]) == 0
        return let_in

    def fill_segments(self, node, count=3):
        for i in range(count * 65536 // 20_000 + 1):
            node.ok("kv", "put", f"k{i}", "v" * 20_000)

    def with_descriptors(self, command, nodes):
        wrapper = self.folder / "limited"
        wrapper.write_text(f'#!/bin/sh\nulimit {command}\nexec {harness.BIN} "$@"\n')
        wrapper.chmod(0o700)
        with unittest.mock.patch("harness.BIN", str(wrapper)):
            return self.cluster(nodes, *SMALL_SEGMENTS)

    def test_a_low_soft_limit_is_raised(self):
        node = self.with_descriptors("-Sn 200", 1)[0]
        self.assertEqual(self.come(node, 300), 300)
        self.fill_segments(node)

    def test_where_few_descriptors_are_allowed_clients_get_half_and_the_log_goes_on(self):
        node = self.with_descriptors("-n 256", 1)[0]
        self.assertIn("enough for 64 clients", node.log())
        self.assertLessEqual(self.come(node, 300), 64)
        with Wire(node, wire.hello()) as late:
            self.assertIn(answer_to(late), (OVERLOADED, None))
        speaker = self.crowd[0]
        for i in range(20):
            speaker.send(wire.frame(wire.COMMAND, wire.kv_put(b"k", b"v" * 20_000), request=i + 1))
            self.assertIsNotNone(speaker.receive())
        self.leave()
        eventually("there is room again", lambda: self.come(node, 1))
        self.fill_segments(node)
        self.assertTrue(node.is_running())

    def test_a_log_without_a_descriptor_waits_for_one(self):
        node = self.cluster(1, *SMALL_SEGMENTS)[0]
        node.ok("kv", "put", "a", "1")
        soft, hard = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
        client = Wire(node, wire.hello())
        self.crowd.append(client)
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (open_files(node), hard))
        request = 0

        def said_so():
            nonlocal request
            request += 1
            command = wire.kv_put(b"k", b"v" * 20_000)
            client.send(wire.frame(wire.COMMAND, command, request=request, deadline_ms=300))
            self.assertIsNotNone(client.receive())
            return "commands are refused until a file can be opened" in node.log()

        eventually("it says so", said_so)
        self.assertTrue(node.is_running())
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (soft, hard))
        eventually("it goes on", lambda: node.ctl("kv", "put", "a", "2", timeout=2)[0] == 0)
        self.assertEqual(node.ok("kv", "get", "a")["value"], "2")

    def keep_coming(self, node, count, stop):
        """So many clients, every other one without a word, that come back when they are closed."""
        host, port = node.address.rsplit(":", 1)
        crowd = [None] * count
        while not stop.wait(0.02):
            for i, client in enumerate(crowd):
                try:
                    if client is None or not is_open(client):
                        crowd[i] = socket.create_connection((host, int(port)), timeout=5)
                        crowd[i].sendall(wire.hello() if i % 2 else b"")
                        crowd[i].setblocking(False)
                except OSError:
                    crowd[i] = None
        for client in filter(None, crowd):
            client.close()

    def test_a_crowd_at_a_node_keeps_no_other_node_out(self):
        cluster = self.with_descriptors("-n 256", 3)
        first, crowded = cluster.leader(), cluster.followers()[0]
        (third,) = [n for n in cluster if n not in (first, crowded)]
        stop = threading.Event()
        crowd = threading.Thread(target=self.keep_coming, args=(crowded, 300, stop))
        self.addCleanup(crowd.join)
        self.addCleanup(stop.set)
        crowd.start()
        eventually("it is crowded", lambda: self.come(crowded, 1) == 0)
        first.kill()
        first.start()
        eventually("it is back", first.is_ready)
        third.kill()
        eventually("the two serve", lambda: first.ctl("kv", "put", "a", "1", timeout=2)[0] == 0)
        self.assertEqual(self.come(crowded, 1), 0, "the crowd is still there")


if __name__ == "__main__":
    main()
