#!/usr/bin/env python3
"""scripts/rules: each rule fires on a file that breaks it, and not on one that only looks like it."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

RULES = pathlib.Path(__file__).resolve().parents[3] / "scripts" / "rules"


def complaints(path, text):
    """What scripts/rules says about a tree that holds this one file."""
    with tempfile.TemporaryDirectory(prefix="blixard-rules.") as root:
        file = pathlib.Path(root, path)
        file.parent.mkdir(parents=True)
        file.write_text(text)
        run = subprocess.run([sys.executable, RULES, root], stdout=subprocess.PIPE, text=True,
                             check=False)
        assert (run.returncode == 1) == bool(run.stdout), run
        return run.stdout


class RulesTest(unittest.TestCase):
    REFUSED = [
        ("runtime/vm/a.cpp", '#include "metrics/registry.hpp"', "runtime/ may not include metrics/"),
        ("runtime/vm/a.cpp", '#include "actors/raft.hpp"', "runtime/ may not include actors/"),
        ("metrics/a.cpp", '#include "runtime/base/units.hpp"', "metrics/ may not include runtime/"),
        ("messages/a.cpp", '#include "runtime/base/units.hpp"', "messages/ may not include runtime/"),
        ("actors/a.cpp", '#include "apps/version.hpp"', "actors/ may not include apps/"),
        ("apps/a.cpp", '#include "tests/sim/world.hpp"', "apps/ may not include tests/"),
        ("runtime/vm/a.cpp", "#include <caf/actor.hpp>", "runtime/ may not use CAF"),
        ("metrics/a.cpp", "  #  include <caf/actor.hpp>", "metrics/ may not use CAF"),
        ("runtime/vm/a.cpp", '#include "a.hpp"', "from the root"),
        ("runtime/raft/a.cpp", "#include <thread>", "<thread> in a pure part"),
        ("runtime/state/a.cpp", "#include <sys/types.h>", "<sys/types.h> in a pure part"),
        ("runtime/cache/a.cpp", "#include <chrono>", "<chrono> in a pure part"),
        ("runtime/routing/a.cpp", "std::mutex m;", "`std::mutex` in a pure part"),
        ("runtime/raft/a.cpp", "auto t = steady_clock::now();", "in a pure part"),
        ("runtime/raft/a.cpp", "auto t = time (nullptr);", "in a pure part"),
        ("runtime/raft/a.cpp", "int r = rand();", "in a pure part"),
        ("runtime/vm/a.cpp", "// TO" + "DO: later", "unfinished"),
        ("runtime/vm/a.hpp", "int a;", "no #pragma once"),
        ("runtime/vm/a.cpp", "int a;\n" * 699, "701 lines"),
    ]
    ALLOWED = [
        ("actors/a.cpp", '#include "runtime/raft/core.hpp"\n#include "metrics/registry.hpp"'),
        ("actors/a.cpp", "#include <caf/actor.hpp>"),
        ("tests/unit/a.cpp", '#include "apps/version.hpp"'),
        ("runtime/vm/a.cpp", "#include <thread>\n#include <sys/types.h>"),
        ("runtime/raft/a.cpp", "// std::mutex, time(nullptr) and rand() have no place here"),
        ("runtime/raft/a.cpp", '/* rand()\n rand() */ auto text = "rand()";'),
        ("runtime/raft/a.cpp", "election_time (3); core.time(4); strand(5);"),
        ("runtime/cache/a.cpp", "auto ttl = std::chrono::nanoseconds(limits::peer_ttl).count();"),
        ("runtime/vm/a.hpp", "#pragma once"),
    ]

    def test_what_breaks_a_rule_is_named(self):
        for path, code, complaint in self.REFUSED:
            with self.subTest(code=code[:40]):
                self.assertIn(complaint, complaints(path, "// The idea.\n" + code + "\n"))

    def test_what_only_looks_like_it_is_left_alone(self):
        for path, code in self.ALLOWED:
            with self.subTest(code=code[:40]):
                self.assertEqual(complaints(path, "// The idea.\n" + code + "\n"), "")

    def test_a_file_opens_with_its_idea_in_the_header_or_where_there_is_none(self):
        self.assertIn("comment", complaints("runtime/vm/a.hpp", "#pragma once\n"))
        self.assertIn("comment", complaints("runtime/vm/a.cpp", "int a;\n"))
        self.assertEqual(complaints("runtime/vm/a.cpp", '#include "runtime/vm/a.hpp"\n'), "")

    def test_a_complaint_tells_the_line(self):
        self.assertTrue(complaints("runtime/raft/a.cpp", "// Idea.\n\nint x;\nint r = rand();\n")
                        .startswith("runtime/raft/a.cpp:4: "))


if __name__ == "__main__":
    unittest.main()
