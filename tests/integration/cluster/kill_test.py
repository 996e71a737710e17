#!/usr/bin/env python3
"""kill -9, again and again, under load: one node, the leader, all at once.

After each kill the nodes come back, and within 5 s all states are equal; after every ten, what the
clients were told is one linearizable history with every acknowledged write in it. KILLS says how
many (15 in the test suite, `scripts/soak` runs 200).
"""
import collections
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import Case, eventually, main  # noqa: E402
from workload import Workload  # noqa: E402

KILLS = int(os.environ.get("KILLS", "15"))
ROUND = 10  # kills per history
EQUAL_SECONDS = 5  # from the moment that all nodes run again


class Kill(Case):
    def victims(self, cluster):
        what = self.random.choice(("one", "one", "leader", "leader", "all"))
        if what == "all":
            return what, list(cluster)
        if what == "leader":
            return what, [cluster.leader()]
        return what, [self.random.choice(cluster.nodes)]

    def equal_again(self, load, cluster, healed):
        """Seconds from `healed` until all states were equal at one index."""
        load.pause()
        digests = cluster.digests()
        took = time.monotonic() - healed
        load.resume()
        self.assertEqual((len(digests), len(set(digests))), (len(cluster.nodes), 1), digests)
        self.assertLess(took, EQUAL_SECONDS, digests)
        return took

    def kill_and_heal(self, load, cluster):
        what, victims = self.victims(cluster)
        time.sleep(self.random.uniform(0, 0.5))  # at any moment
        for node in victims:
            node.process.kill()
        for node in victims:
            node.process.wait()
        time.sleep(self.random.choice((0, 0, self.random.uniform(0, 2))))
        for node in victims:
            node.start()
        return what, self.equal_again(load, cluster, time.monotonic())

    def test_kills_at_any_moment_lose_no_acknowledged_write(self):
        cluster = self.cluster(3, "--segment-bytes", "262144", "--snapshot-entries", "2000")
        kinds, times, writes, left = collections.Counter(), [], 0, KILLS
        while left > 0:
            load = Workload(cluster, timeout_ms=2000, space=f"{left}/")
            for _ in range(min(ROUND, left)):
                goal = load.succeeded() + 50
                eventually("writes go on", lambda n=goal, w=load: w.succeeded() >= n)
                what, took = self.kill_and_heal(load, cluster)
                kinds[what] += 1
                times.append(took)
                left -= 1
            cluster.wait_ready()
            writes += load.succeeded()
            self.assertEqual(load.stop().problems(cluster)[:10], [])
            print(
                f"{KILLS - left} kills {dict(kinds)}, {writes} acknowledged writes, 0 lost; "
                f"states equal after {sum(times) / len(times):.2f} s, at most {max(times):.2f} s",
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    main()
