// The guard: the small process that is parent to one VM and outlives the daemon.
//
//   daemon ──spawn──► guard (own session) ──fork──► qemu | process     (own session, PDEATHSIG)
//      │                │  ▲ lease page (mapped file)
//      └─ guard.sock ───┘  └ console pipes, exit status
//
// It holds the VM's lock, keeps the VM's identity on disk, collects its console into bounded files,
// reaps it and records how it ended, and kills it when the node's lease runs out. If the guard is
// killed, the kernel kills the VM with it. The lock (flock on vms/<id>/lock) is inherited by guard
// and VM: while it is held something of the VM lives, and once it is free nothing does.
//
// Protocol on guard.sock: one word per line from the supervisor (term, kill, stop, cont); one JSON
// object per line from the guard, the same as state.json (README.md).
#pragma once

namespace blixard::vm {

/// `blixard guard DIR [--no-lease]`: runs the VM that DIR/spec.json describes until it ends.
/// argv[0] is the first argument behind "guard". Expects fd 3 to be the listening control socket
/// and fd 4 the locked lock file, both from the supervisor. Single-threaded on purpose: PDEATHSIG
/// follows the thread that forked. Exit codes: 0 the VM ended and that is recorded; 2 usage;
/// 1 anything else (stderr says what).
int guard_main(int argc, char** argv);

}  // namespace blixard::vm
