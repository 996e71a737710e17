#!/usr/bin/env python3
"""VMs are created, used and deleted all the time while nodes are killed and hang: no VM ever lives
twice, and in the end each is exactly what its owner was told.

/proc is looked at all the time, and each VM holds a lock (see vm_watch). KILLS says how many faults
(6 in the test suite; `scripts/soak vms` does many more), BACKEND what runs the VMs: process, or qemu
(`scripts/soak qemu`: emulated guests, fewer of them, found in /proc alone).
"""
import collections
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from harness import Case, Node, eventually, main  # noqa: E402
from vm_load import VmLoad  # noqa: E402
from vm_watch import VmWatch, lone_command  # noqa: E402

KILLS = int(os.environ.get("KILLS", "6"))
BACKEND = os.environ.get("BACKEND", "process")
REPORT_EVERY = 10
LEASE_SECONDS = 8  # a dead node's VMs may run elsewhere after this: 6 s, a margin, and a little
SETTLED_SECONDS = 120


class Soak(Case):
    def fault(self, cluster):
        """One fault, until it is over. Half of them last longer than a lease."""
        what = self.random.choice(("one", "one", "one", "leader", "hang", "all"))
        victims = [self.random.choice(cluster.nodes)]
        if what == "leader":
            victims = [cluster.leader()]
        elif what == "all":
            victims = list(cluster)
        seconds = self.random.choice(
            (0, self.random.uniform(0, 3), LEASE_SECONDS, LEASE_SECONDS + 2)
        )
        begin, end = (Node.suspend, Node.resume) if what == "hang" else (Node.kill, Node.start)
        for node in victims:
            begin(node)
        time.sleep(seconds)
        for node in victims:
            end(node)
        return what + (" past its lease" if seconds >= LEASE_SECONDS else "")

    def differences(self, cluster, load, watch):
        """What of the cluster's words, or of /proc, is not as the owners were told."""
        vms = {v["name"]: v for v in cluster.ok("vm", "list")["vms"]}
        alive, wrong = watch.alive(), []
        for name, state in load.expected.items():
            vm = vms.pop(name, None)
            said = vm["phase"] if vm else "absent"
            if said != ("absent" if state == "deleted" else state):
                wrong.append(f"{name} is {said} and should be {state}: {vm and vm['reason']}")
            elif said in ("running", "paused"):
                there = alive.pop(vm["id"], [])
                if there != [(vm["node"], vm["pid"])]:
                    wrong.append(f"{name}: {there} live, not {vm['pid']} on node {vm['node']}")
        return wrong + [f"{vm} is in the list" for vm in vms] + [f"{a} live" for a in alive.items()]

    def settles(self, cluster, load, watch):
        wrong = []

        def look():
            wrong[:] = self.differences(cluster, load, watch)
            return not wrong

        eventually(lambda: f"all is as it was told: {wrong}", look, SETTLED_SECONDS)

    def delete_all(self, cluster, load):
        for name, state in load.expected.items():
            if state not in ("absent", "deleted"):
                cluster.ok("vm", "delete", name)
                load.expected[name] = "deleted"

    def test_no_vm_ever_lives_twice_and_each_ends_as_its_owner_was_told(self):
        cluster = self.cluster(3, "--vcpus", "64", "--memory", "64G", "--backend", BACKEND)
        watch = VmWatch(self.folder)
        self.addCleanup(watch.stop)
        if BACKEND == "qemu":
            create, clients, vms = ("--memory", "128M"), 2, 2
        else:
            create, clients, vms = ("--memory", "16M", "--command", lone_command(self.folder)), 4, 4
        load = VmLoad(cluster, create, clients, vms)
        kinds = collections.Counter()
        for number in range(1, KILLS + 1):
            time.sleep(self.random.uniform(0.5, 3))
            kinds[self.fault(cluster)] += 1
            cluster.wait_ready()
            self.assertEqual((watch.overlaps(), load.complaints), ([], []))
            if number % REPORT_EVERY == 0 or number == KILLS:
                print(
                    f"{number} faults {dict(kinds)}; commands {dict(load.done)}, {load.retries} "
                    f"repeated; {len(watch.seen)} runs of VMs, at most {watch.most} at a time, "
                    f"in {watch.looks} looks: none twice",
                    file=sys.stderr,
                    flush=True,
                )
        load.stop()
        self.assertGreater(len(watch.seen), KILLS, "next to nothing ran")
        self.settles(cluster, load, watch)
        self.delete_all(cluster, load)
        self.settles(cluster, load, watch)
        eventually(
            "nothing of any VM is left",
            lambda: not [p for n in cluster for p in n.data.glob("vms/*")],
        )
        watch.stop()
        self.assertEqual((watch.overlaps(), load.complaints), ([], []))
        self.assertEqual(len(set(cluster.digests())), 1)


if __name__ == "__main__":
    main()
