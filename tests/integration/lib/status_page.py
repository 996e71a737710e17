"""Reads a node's published page (`status` in its data directory) as any monitor would: by its
documented layout (runtime/base/README.md), through a read-only mapping, without a word to the
node.
"""
import dataclasses
import mmap
import struct

ROLES = ("follower", "candidate", "leader", "learner")


@dataclasses.dataclass
class Group:
    """Both groups, each taken between two equal, even values of its sequence."""

    term: int
    leader: int
    commit: int
    last: int
    role: str
    cluster_size: int
    applied: int
    keys: int
    vms_by_phase: tuple
    initialized: int


class StatusPage:
    def __init__(self, node):
        with open(node.data / "status", "rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if self.map[0:8] != b"BLXSTAT1" or self.number(8, "I") != 1:
            raise AssertionError(f"not a status page of layout 1: {self.map[0:16]!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.map.close()

    def number(self, offset, form="Q"):
        return struct.unpack_from("=" + form, self.map, offset)[0]

    @property
    def pid(self):
        return self.number(12, "I")

    @property
    def start_ticks(self):
        return self.number(16)

    @property
    def node(self):
        return self.number(24)

    @property
    def cluster(self):
        return f"{self.number(32):016x}"

    @property
    def flags(self):
        """is_leader, initialized, leader id, term, cluster size."""
        return struct.unpack_from("=5Q", self.map, 64)

    def _untorn(self, sequence, form):
        for _ in range(20_000):
            before = self.number(sequence)
            values = struct.unpack_from(form, self.map, sequence + 8)
            if before % 2 == 0 and self.number(sequence) == before:
                return values
        raise AssertionError("the writer was stopped in the middle of a write")

    def read(self):
        # State before raft: then applied is never above commit.
        applied, keys, *counts = self._untorn(192, "=2Q10I")
        term, leader, commit, last, role, size, _ = self._untorn(128, "=7Q")
        return Group(
            term,
            leader,
            commit,
            last,
            ROLES[role],
            size,
            applied,
            keys,
            tuple(counts[:9]),
            counts[9],
        )
