#!/usr/bin/env python3
"""The checker itself: it accepts histories that can happen, and finds each kind that cannot."""
import unittest

from history import Operation, check


def put(value, begin, end, index=0, outcome="ok", key="k"):
    return Operation("put", key, value, begin, end, outcome, index)


def get(value, version, begin, end, index, key="k"):
    return Operation("get", key, value, begin, end, "ok", index, version)


def cas(expected, value, begin, end, index):
    return Operation("cas", "k", value, begin, end, "ok", index, 0, expected)


class HistoryTest(unittest.TestCase):
    POSSIBLE = {
        "a write is read": [put("a", 0, 1, 5), get("a", 5, 2, 3, 5)],
        "a key is missing before it is written": [get(None, 0, 0, 1, 4), put("a", 2, 3, 5)],
        "a read beside a write sees the old value": [
            put("a", 0, 1, 5),
            put("b", 2, 9, 6),
            get("a", 5, 3, 4, 5),
        ],
        "an unknown write was never there": [put("a", 0, 1, outcome="info"), get(None, 0, 2, 3, 9)],
        "an unknown write appears later": [
            put("a", 0, 1, 5),
            put("b", 1, 2, outcome="info"),
            get("a", 5, 3, 4, 6),
            get("b", 7, 5, 6, 7),
        ],
        "a failed write is not there": [put("a", 0, 1, outcome="fail"), get(None, 0, 2, 3, 9)],
        "cas follows what it expects": [put("a", 0, 1, 5), cas("a", "b", 2, 3, 6)],
        "cas shows that an unknown write happened": [
            put("a", 0, 1, outcome="info"),
            cas("a", "b", 2, 3, 6),
        ],
        "writes at once are ordered by index": [
            put("a", 0, 9, 6),
            put("b", 0, 9, 5),
            get("a", 6, 10, 11, 6),
        ],
    }
    IMPOSSIBLE = {
        "was lost or not seen": [put("a", 0, 1, 5), get(None, 0, 2, 3, 9)],
        "saw a of 5": [put("a", 0, 1, 5), put("b", 2, 3, 6), get("a", 5, 4, 5, 7)],
        "was over before it began": [put("a", 0, 1, 5), get(None, 0, 2, 3, 4)],
        "put k is at 5, but put k": [put("a", 0, 1, 6), put("b", 2, 3, 5)],
        "had failed for sure": [put("a", 0, 1, outcome="fail"), get("a", 3, 2, 3, 9)],
        "nobody wrote it": [get("a", 3, 2, 3, 9)],
        "were both written": [put("a", 0, 9, 5), put("b", 0, 9, 5)],
        "it was written at 5": [put("a", 0, 1, 5), get("a", 6, 2, 3, 9)],
        "at the older index": [put("a", 0, 9, outcome="info"), get("a", 6, 2, 3, 5)],
        "but a was there": [put("a", 0, 1, 5), cas("b", "c", 2, 3, 6)],
        "which is b": [put("b", 0, 9, 5), put("a", 0, 9, outcome="info"), get("a", 5, 10, 11, 6)],
        "get l is at 5": [put("a", 0, 1, 6), get(None, 0, 2, 3, 5, key="l")],
    }

    def test_what_can_happen_is_accepted(self):
        for name, operations in self.POSSIBLE.items():
            with self.subTest(name):
                self.assertEqual(check(operations), [])

    def test_what_cannot_happen_is_found(self):
        for complaint, operations in self.IMPOSSIBLE.items():
            with self.subTest(complaint):
                self.assertIn(complaint, " | ".join(check(operations)))


if __name__ == "__main__":
    unittest.main()
