#!/usr/bin/env python3
"""scripts/profile: what it makes of what perf prints."""
import importlib.machinery
import importlib.util
import pathlib
import sys
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[3] / "scripts" / "profile"
sys.dont_write_bytecode = True
LOADER = importlib.machinery.SourceFileLoader("profile_script", str(SCRIPT))
profile = importlib.util.module_from_spec(importlib.util.spec_from_loader("profile_script", LOADER))
LOADER.exec_module(profile)

PROGRAM = "/opt/blixard"
GOOD = f"""blixard-io
\t3f59b2 blixard::net::loop::run ({PROGRAM})
\td44a3 [unknown] (/usr/lib/libstdc++.so.6)
"""
ENDS_NOWHERE = f"""blixard-wal
\t2563 blixard::actors::wal::sync ({PROGRAM})
\t8b48 [unknown] ([unknown])
"""
NOT_UNWOUND = f"""blixard-wal
\t47f99e blixard::block_pool::release ({PROGRAM})
""" + "\t0 [unknown] ([unknown])\n" * 63


class ProfileTest(unittest.TestCase):
    def test_a_stack_that_was_not_unwound_is_left_out_and_counted(self):
        text = "\n".join([GOOD, NOT_UNWOUND, GOOD, ENDS_NOWHERE])
        counts, left_out = profile.read_stacks(text, PROGRAM)
        self.assertEqual(left_out, 1)
        self.assertEqual(sum(counts.values()), 3)
        self.assertEqual(counts[(("blixard-io", "thread"), ("[libstdc++.so.6]", "library"),
                                 ("net::loop::run", "node"))], 2)

    def test_the_picture_is_as_tall_as_the_good_stacks_and_says_what_is_missing(self):
        def height(text):
            counts, _ = profile.read_stacks(text, PROGRAM)
            return profile.depth(profile.tree(counts), 0)

        self.assertEqual(height(GOOD + "\n" + NOT_UNWOUND), height(GOOD))


if __name__ == "__main__":
    unittest.main()
