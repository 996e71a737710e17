// Answers for people: short, aligned, in units; what is wrong stands where it is seen.
#include <algorithm>

#include "runtime/base/names.hpp"
#include "runtime/base/units.hpp"
#include "runtime/repl/build.hpp"
#include "runtime/repl/format.hpp"
#include "runtime/repl/hotpaths.hpp"
#include "runtime/repl/shapes.hpp"
#include "runtime/repl/text_table.hpp"

namespace blixard::repl {
namespace {

std::string dash_if(bool nothing, std::string text) { return nothing ? "-" : std::move(text); }

std::string used_of(std::uint64_t used, std::uint64_t total) {
  return std::to_string(used) + "/" + std::to_string(total);
}
std::string size_used_of(std::uint64_t used, std::uint64_t total) {
  return format_size(used) + "/" + format_size(total);
}

std::string labels_text(const google::protobuf::RepeatedPtrField<pb::Label>& labels) {
  std::string out;
  for (const auto& l : labels) out += (out.empty() ? "" : " ") + l.key() + "=" + l.value();
  return out;
}

std::string backend_text(const pb::Vm& vm) {
  auto out = backend_name(vm.backend() != pb::BACKEND_AUTO ? vm.backend() : vm.spec().backend());
  return vm.accelerator().empty() ? out : out + " (" + vm.accelerator() + ")";
}

std::string shown_name(const pb::VmSpec& spec) {
  const bool plain = spec.tenant().empty() || spec.tenant() == "default";
  return plain ? spec.name() : spec.tenant() + "/" + spec.name();
}

std::string rejected_text(const google::protobuf::RepeatedPtrField<pb::NodeReason>& rejected) {
  std::string out;
  for (const auto& r : rejected) {
    out += "  node " + std::to_string(r.node()) + ": ";
    for (int i = 0; i < r.reasons_size(); ++i)
      out += (i == 0 ? "" : "; ") + printable(r.reasons(i));
    out += "\n";
  }
  return out;
}

/// A row of a list has one line on most terminals; `vm show` has all of it.
constexpr std::size_t reason_width = 72;

std::string vms_text(const pb::VmItems& items) {
  if (items.vms().empty()) return "no VMs\n";
  text_table table(
      {"NAME", "PHASE", ">NODE", "BACKEND", ">VCPUS", ">MEMORY", ">RESTARTS", "REASON"});
  std::vector<const pb::Vm*> rows;
  for (const auto& vm : items.vms()) rows.push_back(&vm);
  std::ranges::sort(rows, [](const pb::Vm* a, const pb::Vm* b) {
    if (a->spec().tenant() != b->spec().tenant()) return a->spec().tenant() < b->spec().tenant();
    return natural_less(a->spec().name(), b->spec().name());
  });
  for (const auto* row : rows) {
    const auto& vm = *row;
    table.add({shown_name(vm.spec()), phase_name(vm.phase()),
               dash_if(vm.node() == 0, std::to_string(vm.node())), backend_text(vm),
               std::to_string(vm.spec().vcpus()), format_size(vm.spec().memory_bytes()),
               std::to_string(vm.restarts() + vm.crashes()), abridged(vm.reason(), reason_width)});
  }
  return table.str() + (items.truncated() ? "there are more; ask for one tenant's\n" : "");
}

/// Says in one line why a VM is not what was asked for.
std::string not_running_text(const pb::Vm& vm) {
  if (!vm.reason().empty()) return vm.reason();
  if (vm.desired() == pb::DESIRED_RUNNING && vm.phase() == pb::PHASE_PENDING)
    return "no node has room for it yet";
  if (vm.desired() == pb::DESIRED_STOPPED && vm.phase() == pb::PHASE_STOPPED)
    return "it was told to stop; vm start " + vm.spec().name() + " starts it";
  if (vm.desired() == pb::DESIRED_PAUSED && vm.phase() == pb::PHASE_PAUSED)
    return "it was told to pause; vm resume " + vm.spec().name() + " lets it go on";
  return {};
}

std::string restart_text(const pb::RestartPolicy& p) {
  if (p.max_restarts() == 0) return "never: it moves to another node at once";
  return "up to " + std::to_string(p.max_restarts()) + " times, after " +
         std::to_string(p.backoff_seconds()) + " s and twice as long each time, up to " +
         std::to_string(p.backoff_max_seconds()) + " s";
}

std::string ids_text(const google::protobuf::RepeatedField<std::uint64_t>& ids) {
  std::string out;
  for (const auto id : ids) out += (out.empty() ? "" : ", ") + std::to_string(id);
  return out;
}

/// What happened to it, oldest first: why it is where it is, and why it restarted.
std::string history_text(const google::protobuf::RepeatedPtrField<pb::VmEvent>& events) {
  if (events.empty()) return {};
  std::string out = "history:\n";
  for (const auto& e : events)
    out += "  " + format_utc(e.time_ms()) + "  " + printable(e.text()) + "\n";
  return out;
}

void add_image(const pb::VmSpec& spec, text_fields& f) {
  if (spec.has_qemu()) {
    f.add("kernel", spec.qemu().kernel());
    f.add("initrd", spec.qemu().initrd());
    f.add("append", spec.qemu().append());
    f.add("disk image", spec.qemu().disk_image());
  }
  std::string command;
  for (const auto& word : spec.process().argv())
    command += (command.empty() ? "" : " ") + quote_word(word);
  f.add("command", command);
}

std::string vm_text(const pb::Vm& vm) {
  const auto& spec = vm.spec();
  text_fields f;
  f.add("name", shown_name(spec));
  f.add("phase",
        phase_name(vm.phase()) + (vm.phase_ms() == 0 ? "" : " since " + format_utc(vm.phase_ms())));
  if (vm.phase() != pb::PHASE_RUNNING) f.add("why", not_running_text(vm));
  f.add("desired", desired_name(vm.desired()));
  f.add("node", dash_if(vm.node() == 0, std::to_string(vm.node())));
  f.add("backend", backend_text(vm));
  f.add("pid", vm.pid() == 0 ? "" : std::to_string(vm.pid()));
  f.add("vcpus", std::to_string(spec.vcpus()));
  f.add("memory", format_size(spec.memory_bytes()));
  f.add("disk", spec.disk_bytes() == 0 ? "" : format_size(spec.disk_bytes()));
  add_image(spec, f);
  f.add("labels", labels_text(spec.labels()));
  f.add("restart", spec.has_restart() ? restart_text(spec.restart()) : "");
  if (vm.restarts() + vm.crashes() != 0)
    f.add("restarts", std::to_string(vm.restarts()) + " asked for; failed " +
                          std::to_string(vm.crashes()) + (vm.crashes() == 1 ? " time" : " times"));
  if (!vm.gave_up().empty())
    f.add("given up by",
          "node " + ids_text(vm.gave_up()) + "; there again after " + format_utc(vm.retry_ms()));
  f.add("id", std::to_string(vm.id()) + ", generation " + std::to_string(vm.generation()));
  auto out = f.str() + rejected_text(vm.rejected());
  if (!vm.fix().empty()) out += "fix: " + printable(vm.fix()) + "\n";
  return out + history_text(vm.events());
}

/// What is still to come, behind what is true: a command answers before a node has acted on it.
std::string to_come(const pb::Vm& vm) {
  const bool placed = vm.node() != 0;
  if (vm.desired() == pb::DESIRED_PAUSED && vm.phase() != pb::PHASE_PAUSED) return ", to be paused";
  if (vm.desired() == pb::DESIRED_RUNNING && vm.phase() == pb::PHASE_PAUSED)
    return ", to be resumed";
  const bool starts = vm.phase() == pb::PHASE_SCHEDULED || vm.phase() == pb::PHASE_STARTING;
  if (vm.desired() != pb::DESIRED_RUNNING || !placed || !starts) return {};
  const auto& spec = vm.spec();
  const bool plain = spec.tenant().empty() || spec.tenant() == "default";
  return "; 'wait vm " + spec.name() + (plain ? "" : " --tenant " + spec.tenant()) +
         "' waits until it runs";
}

std::string vm_line(const pb::Vm& vm) {
  std::string out = shown_name(vm.spec()) + ": " + phase_name(vm.phase());
  if (vm.node() != 0) out += " on node " + std::to_string(vm.node());
  if (const auto why = vm.phase() == pb::PHASE_RUNNING ? "" : vm.reason(); !why.empty())
    out += " (" + printable(why) + ")";
  out += to_come(vm) + "\n" + rejected_text(vm.rejected());
  if (!vm.fix().empty()) out += "fix: " + printable(vm.fix()) + "\n";
  return out;
}

/// "qemu/tcg,process".
std::string backends_text(const pb::Node& n) {
  std::string out;
  for (const auto b : n.backends()) {
    out += (out.empty() ? "" : ",") + backend_name(static_cast<pb::Backend>(b));
    if (b == pb::BACKEND_QEMU && !n.accelerator().empty()) out += "/" + n.accelerator();
  }
  return out;
}

/// "1.5/8G", or "512M/8G": a unit that both have is written once.
std::string short_size_used_of(std::uint64_t used, std::uint64_t total) {
  auto first = format_size(used);
  const auto second = format_size(total);
  const bool has_unit = !first.empty() && (first.back() < '0' || first.back() > '9');
  if (has_unit && first.back() == second.back()) first.pop_back();
  return first + "/" + second;
}

/// A name that says more than the id, which is what a node is called that was given none.
bool has_own_name(const pb::Node& n) {
  return !n.name().empty() && n.name() != "node-" + std::to_string(n.id());
}

std::string node_text(const pb::Node& n) {
  text_fields f;
  f.add("id", std::to_string(n.id()));
  f.add("name", n.name());
  f.add("address", n.address());
  f.add("state", state_name(n.state()));
  f.add("vcpus", used_of(n.allocated().vcpus(), n.capacity().vcpus()) + " used");
  f.add("memory",
        size_used_of(n.allocated().memory_bytes(), n.capacity().memory_bytes()) + " used");
  f.add("disk", size_used_of(n.allocated().disk_bytes(), n.capacity().disk_bytes()) + " used");
  f.add("backends", dash_if(n.backends().empty(), backends_text(n)));
  f.add("labels", labels_text(n.labels()));
  f.add("version", n.version());
  return f.str();
}

/// Columns that would say nothing are left out, so that a row fits into 80 columns.
std::string nodes_text(const pb::NodeItems& items) {
  const bool named = std::ranges::any_of(items.nodes(), has_own_name);
  const bool labelled =
      std::ranges::any_of(items.nodes(), [](const pb::Node& n) { return n.labels_size() != 0; });
  std::vector<std::string> titles{">ID"};
  if (named) titles.emplace_back("NAME");
  for (const auto* t : {"ADDRESS", "STATE", ">VCPUS", ">MEMORY", ">DISK", "BACKENDS"})
    titles.emplace_back(t);
  if (labelled) titles.emplace_back("LABELS");
  text_table table(std::move(titles));
  for (const auto& n : items.nodes()) {
    const auto& has = n.capacity();
    const auto& used = n.allocated();
    std::vector<std::string> row{std::to_string(n.id())};
    if (named) row.push_back(n.name());
    row.push_back(n.address());
    row.push_back(state_name(n.state()));
    row.push_back(used_of(used.vcpus(), has.vcpus()));
    row.push_back(short_size_used_of(used.memory_bytes(), has.memory_bytes()));
    row.push_back(short_size_used_of(used.disk_bytes(), has.disk_bytes()));
    row.push_back(backends_text(n));
    if (labelled) row.push_back(labels_text(n.labels()));
    table.add(std::move(row));
  }
  return table.str() + (items.truncated() ? "there are more\n" : "");
}

void add_summary(const pb::Summary& s, text_fields& f) {
  std::string vms;
  for (int i = 0; i < s.vms_by_phase_size(); ++i)
    if (s.vms_by_phase(i) != 0)
      vms += (vms.empty() ? "" : ", ") + std::to_string(s.vms_by_phase(i)) + " " +
             phase_name(static_cast<pb::Phase>(i));
  f.add("nodes",
        std::to_string(s.nodes_healthy()) + " of " + std::to_string(s.nodes_total()) + " healthy" +
            (s.nodes_leaving() == 0 ? "" : ", " + std::to_string(s.nodes_leaving()) + " leaving"));
  f.add("vcpus", used_of(s.used().vcpus(), s.total().vcpus()) + " used");
  f.add("memory", size_used_of(s.used().memory_bytes(), s.total().memory_bytes()) + " used");
  f.add("disk", size_used_of(s.used().disk_bytes(), s.total().disk_bytes()) + " used");
  f.add("vms", vms.empty() ? "none" : vms);
}

std::string status_text(const pb::ClusterStatus& s) {
  text_fields head;
  head.add("cluster", hex_digits(s.cluster_id()));
  head.add("leader", s.leader() == 0 ? "none" : "node " + std::to_string(s.leader()));
  head.add("term", std::to_string(s.term()));
  head.add("commit", std::to_string(s.commit_index()));
  head.add("applied", std::to_string(s.applied_index()));
  if (s.reads() == "lease") head.add("reads", "by lease");
  if (s.has_summary()) add_summary(s.summary(), head);
  text_table table(
      {">ID", "ADDRESS", "ROLE", "STATE", ">MATCH", ">WINDOW", "LINK", ">RTT", "VERSION"});
  for (const auto& m : s.members())
    table.add({std::to_string(m.id()), m.address(), m.role(), m.state(),
               dash_if(m.match_index() == 0, std::to_string(m.match_index())),
               dash_if(m.window_messages() == 0 || m.role() == "leader",
                       std::to_string(m.inflight()) + "/" + std::to_string(m.window_messages())),
               dash_if(m.quality().empty(), m.quality() == "disconnected" ? "none" : m.quality()),
               dash_if(m.rtt_us() == 0, format_duration_ns(std::uint64_t{m.rtt_us()} * 1000)),
               m.version()});
  return head.str() + "\n" + table.str();
}

/// The decision for a VM: where it is or would go, then every node, the best first.
std::string decision_text(const pb::Decision& d, const command_result& r, std::string_view name) {
  std::string out = std::string(name) + ": ";
  out += d.node() == 0 ? "fits nowhere" : "node " + std::to_string(d.node());
  out += " (at index " + to_string(r.index) + ")";
  const auto best = d.candidates_size() == 0 ? 0 : d.candidates(0).node();
  if (d.node() != 0 && best != 0 && best != d.node())
    out += "; placed now, it would go to node " + std::to_string(best);
  out += "\n";
  for (const auto& c : d.candidates()) {
    char score[32];
    std::snprintf(score, sizeof score, "score %.3f", c.score());
    // Below 0: see "Placement" in runtime/state/README.md.
    out += "  node " + std::to_string(c.node()) + ": " +
           (c.score() < 0 ? "only if no other fits: it gave this VM up, or its group is full there"
                          : score) +
           "\n";
  }
  out += rejected_text(d.rejected());
  if (!d.fix().empty()) out += "fix: " + printable(d.fix()) + "\n";
  return out;
}

std::string caches_text(const pb::CacheStats& stats) {
  text_table table({"CACHE", ">HITS", ">MISSES", ">RATE", ">SIZE", ">EVICTED", ">DROPPED",
                    ">WAITED", ">PENDING"});
  for (const auto& c : stats.caches()) {
    const auto asked = c.hits() + c.misses();
    table.add({c.name(), std::to_string(c.hits()), std::to_string(c.misses()),
               dash_if(asked == 0, std::to_string(asked == 0 ? 0 : c.hits() * 100 / asked) + "%"),
               used_of(c.size(), c.capacity()), std::to_string(c.evictions()),
               std::to_string(c.invalidations()), std::to_string(c.waited()),
               std::to_string(c.in_flight())});
  }
  return table.str();
}

/// The beginning of a value that has no room, and how much there is.
std::string begun(const std::string& value, std::size_t width) {
  if (value.size() <= width) return value;
  auto size = format_size(value.size());
  if (size.back() >= '0' && size.back() <= '9') size += " B";
  const auto rest = "... (" + size + ")";
  return first_columns(value, width - std::min(width, rest.size())) + rest;
}

std::string kv_items_text(const pb::KvItems& items) {
  if (items.items().empty()) return "no keys\n";
  text_table table({"KEY", ">VERSION", "VALUE"});
  // What is left of 80 columns, but enough to know a value by.
  constexpr std::size_t columns = 80;
  constexpr std::size_t at_least = 30;
  std::size_t before = 0;
  for (const auto& item : items.items())
    before =
        std::max(before, display_width(item.key()) + 2 +
                             std::max<std::size_t>(7, std::to_string(item.version()).size()) + 2);
  const auto width = std::max(at_least, columns - std::min(columns, before));
  for (const auto& item : items.items())
    table.add({item.key(), std::to_string(item.version()), begun(item.value(), width)});
  auto out = table.str();
  if (items.truncated()) out += "there are more; ask by a longer prefix\n";
  return out;
}

std::string kv_text(const command_result& r, const invocation& inv) {
  const auto& item = r.answer->kv();
  if (inv.spec->verb == "get") return item.value() + "\n";  // the value alone: made for pipes
  return "ok, version " + std::to_string(item.version()) + " (index " + to_string(r.index) + ")\n";
}

std::string lines_text(const pb::TextLines& lines) {
  std::string out;
  for (const auto& line : lines.lines()) out += line + "\n";
  return out;
}

std::string done_text(const command_result& r) {
  return r.index ? "ok (index " + to_string(r.index) + ")\n" : "ok\n";
}

}  // namespace

std::string render_failure(const command_result& r, const invocation* inv) {
  const auto& e = r.failure;
  std::string out = "error: ";
  out += e.message.empty() ? std::string(to_string(e.code)) : e.message;
  out += " (" + std::string(to_string(e.code));
  if (e.retry_after_ms != 0) out += ", retry after " + std::to_string(e.retry_after_ms) + " ms";
  out += ")\n";
  if (r.answer && r.answer->has_decision()) out += rejected_text(r.answer->decision().rejected());
  if (r.answer && r.answer->has_vm()) out += rejected_text(r.answer->vm().rejected());
  const bool may_have_happened = inv != nullptr && build::changes_state(*inv);
  if (may_have_happened && outcome_of(e.code) == outcome::info)
    out += "note: the outcome is unknown, it may have happened\n";
  if (!e.hint.empty()) out += "hint: " + e.hint + "\n";
  return for_terminal(out);
}

std::string render_text(const command_result& r, const invocation& inv) {
  if (!r.answer) return r.text;
  const auto& a = *r.answer;
  switch (a.result_case()) {
    case pb::Answer::kKv:
      return kv_text(r, inv);
    case pb::Answer::kKvItems:
      return kv_items_text(a.kv_items());
    case pb::Answer::kVm:
      return inv.spec->verb == "show" ? vm_text(a.vm()) : vm_line(a.vm());
    case pb::Answer::kVms:
      return vms_text(a.vms());
    case pb::Answer::kDecision:
      return decision_text(a.decision(), r, inv.arg(0));
    case pb::Answer::kLines:
      if (inv.spec->verb == "hotpaths") return hotpaths_text(read_samples(a.lines().lines()));
      if (inv.spec->verb == "metrics" && a.lines().lines().empty())
        return "no metric's name has " + printable(inv.arg(0)) + "\n";
      return lines_text(a.lines());
    case pb::Answer::kNodes:
      return inv.spec->verb == "show" && a.nodes().nodes_size() == 1 ? node_text(a.nodes().nodes(0))
                                                                     : nodes_text(a.nodes());
    case pb::Answer::kStatus:
      return status_text(a.status());
    case pb::Answer::kDigest:
      return a.digest().digest() + "  at index " + std::to_string(a.digest().index()) + "\n";
    case pb::Answer::kCaches:
      return caches_text(a.caches());
    case pb::Answer::kJoined:
      if (inv.spec->verb == "remove") return "removed node " + printable(inv.arg(0)) + "\n";
      return "node " + printable(inv.arg(0)) + " is admitted to cluster " +
             hex_digits(a.joined().cluster_id()) + "; it is expected at " + printable(inv.arg(1)) +
             "\n";
    case pb::Answer::kDone:
    case pb::Answer::RESULT_NOT_SET:
      return done_text(r);
  }
  return {};
}

}  // namespace blixard::repl
