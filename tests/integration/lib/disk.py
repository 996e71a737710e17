"""Disks that fill up and disks that fail, for the nodes of a test."""
import os
import subprocess

LIBRARY = os.environ.get("BLIXARD_FAILING_DISK")  # made of failing_disk.cpp


def mount(case, size):
    """A file system of its own, below the test's folder; skips the test where that is forbidden."""
    path = case.folder / f"mount{size}"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        case.skipTest(f"mounting is not permitted here: {done.stderr.strip()}")
    # Runs before the nodes are ended: a lazy unmount waits for their last file.
    case.addCleanup(subprocess.run, ["umount", "--lazy", path], check=True)
    return path


def fill(path):
    """Takes all space that is left; returns the file that has it."""
    ballast = path / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096) == 4096:
                pass
        except OSError:
            pass
    return ballast


class FailingDisk:
    """A node that is started with `env` has a disk that fails on demand: `begin("sync")`,
    `begin("full")`. Skips the test where the library is missing."""

    def __init__(self, case):
        if not LIBRARY:
            case.skipTest("BLIXARD_FAILING_DISK does not name the library")
        self.folder = case.folder / "failing"
        self.folder.mkdir(exist_ok=True)
        self.env = {"LD_PRELOAD": LIBRARY, "FAILING_DISK": str(self.folder)}

    def begin(self, what):
        (self.folder / what).touch()

    def end(self, what):
        (self.folder / what).unlink()
