// The command table itself. README.md lists the same commands; a test compares the two.
#include <array>

#include "runtime/repl/build.hpp"
#include "runtime/repl/commands.hpp"

namespace blixard::repl {
namespace {

constexpr std::array vm_arg{arg_spec{.name = "NAME", .kind = completes::vm}};
constexpr std::array new_vm_arg{arg_spec{.name = "NAME"}};
constexpr std::array node_arg{arg_spec{.name = "NODE", .kind = completes::node}};
constexpr std::array key_arg{arg_spec{.name = "KEY", .kind = completes::key}};
constexpr std::array key_value_args{arg_spec{.name = "KEY", .kind = completes::key},
                                    arg_spec{.name = "VALUE"}};
constexpr std::array cas_args{arg_spec{.name = "KEY", .kind = completes::key},
                              arg_spec{.name = "OLD"}, arg_spec{.name = "NEW"}};
constexpr std::array prefix_arg{
    arg_spec{.name = "PREFIX", .kind = completes::key, .optional = true}};
constexpr std::array join_args{arg_spec{.name = "NODE"}, arg_spec{.name = "HOST:PORT"}};
constexpr std::array topic_arg{
    arg_spec{.name = "COMMAND", .kind = completes::command, .optional = true, .rest = true}};
constexpr std::array command_arg{
    arg_spec{.name = "COMMAND", .kind = completes::command, .rest = true}};
constexpr std::array on_off_arg{
    arg_spec{.name = "on|off", .kind = completes::choice, .choices = "on|off"}};
constexpr std::array file_arg{arg_spec{.name = "FILE", .kind = completes::file}};
constexpr std::array filter_arg{arg_spec{.name = "FILTER", .optional = true}};

constexpr flag_spec tenant{.name = "--tenant", .value = "T", .help = "of this tenant [default]"};
constexpr flag_spec stale{.name = "--stale",
                          .help = "answer at once from the node that is asked, possibly behind"};

constexpr std::string_view phases =
    "pending|scheduled|starting|running|paused|stopping|stopped|failed|deleted";
constexpr std::string_view strategies = "most_available|least_available|round_robin|manual";

constexpr std::array create_flags{
    flag_spec{.name = "--vcpus", .value = "N", .help = "virtual CPUs [1]"},
    flag_spec{.name = "--memory", .value = "SIZE", .help = "memory, such as 512M [256M]"},
    flag_spec{.name = "--disk", .value = "SIZE", .help = "disk to reserve [0]"},
    flag_spec{.name = "--backend",
              .value = "B",
              .help = "qemu or process [what the node has]",
              .kind = completes::choice,
              .choices = "qemu|process"},
    flag_spec{.name = "--kernel",
              .value = "FILE",
              .help = "kernel on the node [the node's default guest]"},
    flag_spec{.name = "--initrd", .value = "FILE", .help = "initial ramdisk on the node"},
    flag_spec{.name = "--append",
              .value = "TEXT",
              .help = "more of the kernel's command line, behind panic=1"},
    flag_spec{.name = "--disk-image", .value = "FILE", .help = "disk image on the node"},
    flag_spec{.name = "--command",
              .value = "TEXT",
              .help = "program and arguments, for the process backend"},
    flag_spec{
        .name = "--env", .value = "K=V", .help = "environment of the program", .repeated = true},
    flag_spec{.name = "--node",
              .value = "NODE",
              .help = "run it on this node and no other",
              .kind = completes::node},
    flag_spec{.name = "--strategy",
              .value = "S",
              .help = "how a node is chosen [most_available]",
              .kind = completes::choice,
              .choices = strategies},
    flag_spec{.name = "--require",
              .value = "K=V",
              .help = "only nodes with this label; K: any value; !K, K!=V: without it",
              .repeated = true},
    flag_spec{.name = "--anti-affinity",
              .value = "GROUP",
              .help = "keep the VMs of this group on different nodes"},
    flag_spec{.name = "--max-per-node", .value = "N", .help = "of the group on one node [1]"},
    flag_spec{.name = "--soft", .help = "the group is a wish, not a condition"},
    flag_spec{.name = "--label", .value = "K=V", .help = "a label of the VM", .repeated = true},
    flag_spec{.name = "--priority",
              .value = "N",
              .help = "0 to 1000 [500]; kept, nothing is preempted yet"},
    flag_spec{.name = "--no-preempt", .help = "kept with the VM; nothing is preempted yet"},
    flag_spec{
        .name = "--restarts", .value = "N", .help = "on one node before it moves; 0: none [3]"},
    flag_spec{.name = "--backoff", .value = "S", .help = "before the first restart, then x2 [5]"},
    flag_spec{.name = "--port",
              .value = "HOST:GUEST",
              .help = "forward a port of the node",
              .repeated = true},
    flag_spec{.name = "--stopped", .help = "create it without starting it"},
    tenant,
};
constexpr std::array vm_flags{tenant};
constexpr std::array stop_flags{
    flag_spec{.name = "--force", .help = "cut the power, do not ask the guest"}, tenant};
constexpr std::array list_flags{
    flag_spec{.name = "--tenant", .value = "T", .help = "only of this tenant [all]"}, stale};
constexpr std::array read_vm_flags{tenant, stale};
constexpr std::array logs_flags{
    flag_spec{.name = "-n", .value = "N", .help = "the last N lines [100]"},
    flag_spec{.name = "--follow", .help = "go on with what comes, until Ctrl-C"}, tenant, stale};
constexpr std::array stale_flag{stale};
constexpr std::array digest_flags{
    flag_spec{.name = "--at", .value = "INDEX", .help = "wait until this index is applied"}};
constexpr std::array put_flags{flag_spec{
    .name = "--if-version", .value = "N", .help = "only if it has this version; 0: if new"}};
constexpr std::array kv_list_flags{
    flag_spec{.name = "--limit", .value = "N", .help = "at most N items [10000]"}, stale};
constexpr std::array watch_flags{
    flag_spec{.name = "-n", .value = "S", .help = "seconds between two runs [2]"}};
constexpr std::array wait_flags{
    flag_spec{.name = "--for",
              .value = "PHASE",
              .help = "phase to wait for [running]",
              .kind = completes::choice,
              .choices = phases},
    flag_spec{.name = "--timeout", .value = "S", .help = "give up after S seconds [60]"}, tenant};

constexpr std::array table{
    command_spec{"vm", "create", new_vm_arg, create_flags, "create a VM, place it and start it",
                 "vm create web --vcpus 2 --memory 512M", action::request, build::vm_create},
    command_spec{"vm", "start", vm_arg, vm_flags, "start a stopped VM", "vm start web",
                 action::request, build::vm_start},
    command_spec{"vm", "stop", vm_arg, stop_flags, "shut a VM down", "vm stop web", action::request,
                 build::vm_stop},
    command_spec{"vm", "restart", vm_arg, vm_flags, "restart a VM where it is", "vm restart web",
                 action::request, build::vm_restart},
    command_spec{"vm", "pause", vm_arg, vm_flags, "halt a VM's CPUs", "vm pause web",
                 action::request, build::vm_pause},
    command_spec{"vm", "resume", vm_arg, vm_flags, "let a paused VM go on", "vm resume web",
                 action::request, build::vm_resume},
    command_spec{"vm", "delete", vm_arg, vm_flags, "stop and forget a VM", "vm delete web",
                 action::request, build::vm_delete},
    command_spec{
        "vm", "list", {}, list_flags, "all VMs", "vm list", action::request, build::vm_list},
    command_spec{"vm", "show", vm_arg, read_vm_flags, "everything about a VM", "vm show web",
                 action::request, build::vm_show},
    command_spec{"vm", "logs", vm_arg, logs_flags, "the VM's serial console", "vm logs web -n 20",
                 action::follow, build::vm_logs},
    command_spec{"vm", "explain", vm_arg, read_vm_flags, "why it runs where it runs, or nowhere",
                 "vm explain web", action::request, build::vm_explain},

    command_spec{"node",
                 "list",
                 {},
                 stale_flag,
                 "all nodes, capacity and use",
                 "node list",
                 action::request,
                 build::node_list},
    command_spec{"node", "show", node_arg, stale_flag, "everything about a node", "node show 2",
                 action::request, build::node_show},
    command_spec{"node",
                 "cordon",
                 node_arg,
                 {},
                 "place no more VMs on a node",
                 "node cordon 2",
                 action::request,
                 build::node_cordon},
    command_spec{"node",
                 "uncordon",
                 node_arg,
                 {},
                 "place VMs on it again",
                 "node uncordon 2",
                 action::request,
                 build::node_uncordon},

    command_spec{"cluster",
                 "status",
                 {},
                 stale_flag,
                 "leader, members, log",
                 "cluster status",
                 action::request,
                 build::cluster_status},
    command_spec{"cluster",
                 "join",
                 join_args,
                 {},
                 "admit a node, first as a learner",
                 "cluster join 4 127.0.0.1:7004",
                 action::request,
                 build::cluster_join},
    command_spec{"cluster",
                 "remove",
                 node_arg,
                 {},
                 "remove a node for good",
                 "cluster remove 3",
                 action::request,
                 build::cluster_remove},
    command_spec{"cluster",
                 "transfer",
                 node_arg,
                 {},
                 "make a node the leader",
                 "cluster transfer 2",
                 action::request,
                 build::cluster_transfer},
    command_spec{"cluster",
                 "digest",
                 {},
                 digest_flags,
                 "hash of this node's replicated state",
                 "cluster digest --at 42",
                 action::request,
                 build::cluster_digest},
    command_spec{"cluster",
                 "snapshot",
                 {},
                 {},
                 "write a snapshot now",
                 "cluster snapshot",
                 action::request,
                 build::cluster_snapshot},

    command_spec{"kv", "get", key_arg, stale_flag, "the value of a key", "kv get color",
                 action::request, build::kv_get},
    command_spec{"kv", "put", key_value_args, put_flags, "set a key", "kv put color 'dark red'",
                 action::request, build::kv_put},
    command_spec{"kv",
                 "cas",
                 cas_args,
                 {},
                 "set a key if its value is OLD",
                 "kv cas color red blue",
                 action::request,
                 build::kv_cas},
    command_spec{"kv",
                 "delete",
                 key_arg,
                 {},
                 "delete a key",
                 "kv delete color",
                 action::request,
                 build::kv_delete},
    command_spec{"kv", "list", prefix_arg, kv_list_flags, "keys and values", "kv list app/",
                 action::request, build::kv_list},

    command_spec{"",
                 "help",
                 topic_arg,
                 {},
                 "this, or more about one command",
                 "help vm create",
                 action::help,
                 nullptr},
    command_spec{"", "watch", command_arg, watch_flags, "run a command again and again",
                 "watch -n 1 vm list", action::watch, nullptr},
    command_spec{"",
                 "timing",
                 on_off_arg,
                 {},
                 "show how long each command takes",
                 "timing on",
                 action::timing,
                 nullptr},
    command_spec{"",
                 "source",
                 file_arg,
                 {},
                 "run the commands in a file",
                 "source setup.blx",
                 action::source,
                 nullptr},
    command_spec{"wait", "vm", vm_arg, wait_flags, "wait until a VM is in a phase",
                 "wait vm web --for=running", action::wait_vm, build::vm_show},
    command_spec{"",
                 "metrics",
                 filter_arg,
                 {},
                 "metrics of the node that is asked",
                 "metrics raft",
                 action::request,
                 build::metrics},
    command_spec{"",
                 "hotpaths",
                 {},
                 {},
                 "what its hot paths cost: copies, allocations, encodes, hit rates",
                 "hotpaths",
                 action::request,
                 build::hotpaths},
    command_spec{"cache",
                 "stats",
                 {},
                 {},
                 "hits and misses of its caches",
                 "cache stats",
                 action::request,
                 build::cache_stats},
    command_spec{"",
                 "quit",
                 {},
                 {},
                 "leave the shell (a remote node goes on)",
                 "quit",
                 action::quit,
                 nullptr},
};

constexpr std::array common{
    flag_spec{.name = "-o",
              .value = "FORM",
              .help = "table or json",
              .kind = completes::choice,
              .choices = "table|json"},
    flag_spec{.name = "--timeout", .value = "S", .help = "wait S seconds for the answer [10]"},
};

}  // namespace

std::span<const command_spec> command_table() { return table; }
std::span<const flag_spec> common_flags() { return common; }

}  // namespace blixard::repl
