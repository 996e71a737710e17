// See feasibility.hpp.
#include "runtime/state/feasibility.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "messages/limits.hpp"
#include "runtime/state/text.hpp"

namespace blixard::state {
namespace {

const std::string* label_of(const pb::Node& n, std::string_view key) {
  for (const auto& l : n.labels())
    if (l.key() == key) return &l.value();
  return nullptr;
}

bool satisfies(const pb::Constraint& c, const pb::Node& n) {
  const std::string* value = label_of(n, c.key());
  const bool holds = value != nullptr && (c.exists() || *value == c.value());
  return holds != c.negate();
}

bool has_backend(const pb::Node& n, pb::Backend wanted) {
  const auto& has = n.backends();
  if (wanted == pb::BACKEND_AUTO) return !has.empty();
  return std::find(has.begin(), has.end(), static_cast<int>(wanted)) != has.end();
}

/// Collects objections, or only finds out that there is one.
class collector {
 public:
  explicit collector(std::vector<objection>* out) noexcept : out_(out) {}
  /// True if there is no need to look further.
  bool add(const objection& o) {
    clean_ = false;
    if (out_ != nullptr) out_->push_back(o);
    return out_ == nullptr;
  }
  [[nodiscard]] bool clean() const noexcept { return clean_; }

 private:
  std::vector<objection>* out_;
  bool clean_ = true;
};

objection of_kind(objection_kind kind) {
  objection o{};
  o.kind = kind;
  return o;
}

bool check_identity(const request& r, const node_usage& n, collector& c) {
  if (r.names_no_node && c.add(of_kind(objection_kind::unnamed))) return true;
  if (r.pinned && n.id != r.pinned && c.add(of_kind(objection_kind::pinned))) return true;
  if (n.facts->state() != pb::NODE_READY || n.facts->removed()) {
    objection o = of_kind(objection_kind::state);
    o.state = n.facts->state();
    o.removed = n.facts->removed();
    if (c.add(o)) return true;
  }
  return !has_backend(*n.facts, r.spec.backend()) && c.add(of_kind(objection_kind::backend));
}

bool check_labels(const request& r, const node_usage& n, collector& c) {
  const auto& constraints = r.spec.placement().constraints();
  for (int i = 0; i < constraints.size(); ++i) {
    if (satisfies(constraints[i], *n.facts)) continue;
    objection o = of_kind(objection_kind::label);
    o.constraint = i;
    if (c.add(o)) return true;
  }
  return false;
}

struct amount {
  objection_kind kind;
  std::uint64_t need;
  std::uint64_t used;
  std::uint64_t total;
};

bool check_amount(const amount& a, collector& c) {
  const std::uint64_t free = a.total - std::min(a.used, a.total);
  if (a.need <= free) return false;
  objection o = of_kind(a.kind);
  o.need = a.need;
  o.free = free;
  o.total = a.total;
  return c.add(o);
}

bool check_capacity(const request& r, const node_usage& n, collector& c) {
  const resources used = used_without(r, n);
  const resources& cap = n.capacity;
  using enum objection_kind;
  return check_amount({vcpus, r.needs.vcpus, used.vcpus, cap.vcpus}, c) ||
         check_amount({memory, r.needs.memory_bytes, used.memory_bytes, cap.memory_bytes}, c) ||
         check_amount({disk, r.needs.disk_bytes, used.disk_bytes, cap.disk_bytes}, c);
}

void check_group(const request& r, const node_usage& n, collector& c) {
  if (r.group.empty() || r.soft) return;
  const auto here = group_members(r, n);
  if (here < r.max_per_node) return;
  objection o = of_kind(objection_kind::group);
  o.need = here;
  o.free = r.max_per_node;
  c.add(o);
}

std::string_view state_reason(pb::NodeState s) {
  switch (s) {
    case pb::NODE_JOINING:
      return "is joining and has not registered yet";
    case pb::NODE_CORDONED:
      return "is cordoned";
    case pb::NODE_DRAINING:
      return "is draining";
    case pb::NODE_LEFT:
      return "has left the cluster";
    case pb::NODE_DOWN:
      return "is down: its lease expired";
    case pb::NODE_READY:
    case pb::NodeState_INT_MIN_SENTINEL_DO_NOT_USE_:
    case pb::NodeState_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return "is not ready";
}

/// The state has no clock: the leader counts (lease_table.hpp), anew after a change of leaders.
std::string leaving_reason() {
  constexpr auto seconds = (limits::lease_duration + limits::lease_margin).count();
  static_assert(seconds == 8, "the unit of both is a second");
  return "is leaving: it was removed, and may run VMs until its lease has ended (about " +
         std::to_string(seconds) + " s)";
}

std::string constraint_text(const pb::Constraint& c) {
  std::string what = c.exists() ? c.key() : c.key() + "=" + c.value();
  return c.negate() ? "no label " + what : "label " + what;
}

std::string label_reason(const pb::Constraint& c, const pb::Node& n) {
  const std::string* value = label_of(n, c.key());
  std::string out = "needs " + constraint_text(c) + ", ";
  return value == nullptr ? out + "the node has no " + c.key()
                          : out + "the node has " + c.key() + "=" + *value;
}

std::string backend_reason(const request& r, const pb::Node& n) {
  std::string has;
  for (const auto b : n.backends()) {
    has += has.empty() ? "" : ", ";
    has += backend_name(static_cast<pb::Backend>(b));
  }
  if (has.empty()) return "has no backend that can run VMs";
  return "needs backend " + std::string{backend_name(r.spec.backend())} + ", the node has " + has;
}

std::string amount_text(objection_kind kind, std::uint64_t n) {
  if (kind != objection_kind::vcpus) return size_text(n);
  return std::to_string(n) + (n == 1 ? " vcpu" : " vcpus");
}

std::string_view amount_name(objection_kind kind) {
  if (kind == objection_kind::memory) return " memory";
  return kind == objection_kind::disk ? " disk" : "";
}

std::string group_label(const request& r) {
  return quote(r.spec.placement().anti_affinity_group());
}

std::string reason(const request& r, const node_usage& n, const objection& o) {
  using enum objection_kind;
  switch (o.kind) {
    case pinned:
      return "the VM is pinned to node " + to_string(r.pinned);
    case unnamed:
      return "manual placement names no node";
    case state:
      if (o.removed && o.state != pb::NODE_LEFT) return leaving_reason();
      return std::string{state_reason(o.state)};
    case backend:
      return backend_reason(r, *n.facts);
    case label:
      return label_reason(r.spec.placement().constraints(o.constraint), *n.facts);
    case vcpus:
    case memory:
    case disk:
      return "needs " + amount_text(o.kind, o.need) + std::string{amount_name(o.kind)} + ", " +
             (o.kind == vcpus ? std::to_string(o.free) : size_text(o.free)) + " of " +
             amount_text(o.kind, o.total) + " free";
    case group:
      return "anti-affinity group " + group_label(r) + " allows " + std::to_string(o.free) +
             " per node, " + std::to_string(o.need) + " here";
  }
  return {};
}

// What it takes to remove an objection, by kind: a command, a change of the request, hardware.
// Steps are far apart, so that a shortage's size decides only between equals.
constexpr std::uint64_t step = 10'000'000;

std::uint64_t effort(const objection& o) {
  using enum objection_kind;
  switch (o.kind) {
    case state:
      if (o.state == pb::NODE_CORDONED) return 1 * step;
      return (o.state == pb::NODE_JOINING ? 2 : 6) * step;
    case unnamed:
    case group:
      return 2 * step;
    case pinned:
      return 3 * step;
    case vcpus:
    case memory:
    case disk: {
      const auto missing = static_cast<unsigned __int128>(o.need - o.free) * 1'000'000 / o.need;
      return (o.need > o.total ? 5 : 3) * step + static_cast<std::uint64_t>(missing);
    }
    case label:
      return 4 * step;
    case backend:
      return 7 * step;
  }
  return 0;
}

std::string state_remedy(const objection& o, const std::string& node) {
  if (o.removed) return "let " + node + " join again";
  switch (o.state) {
    case pb::NODE_CORDONED:
      return "uncordon " + node;
    case pb::NODE_JOINING:
      return "wait until " + node + " has registered";
    case pb::NODE_DRAINING:
      return "stop draining " + node;
    case pb::NODE_LEFT:
      return "let " + node + " join again";
    case pb::NODE_DOWN:
    case pb::NODE_READY:
    case pb::NodeState_INT_MIN_SENTINEL_DO_NOT_USE_:
    case pb::NodeState_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return "bring " + node + " back";
}

std::string amount_remedy(const objection& o, const std::string& node) {
  const std::string what{o.kind == objection_kind::vcpus ? "" : amount_name(o.kind)};
  std::string out = o.need <= o.total
                        ? "free " + amount_text(o.kind, o.need - o.free) + what + " on " + node
                        : "add a node with at least " + amount_text(o.kind, o.need) + what;
  if (o.free > 0) out += " or ask for at most " + amount_text(o.kind, o.free) + what;
  return out;
}

std::string remedy(const request& r, const objection& o, const std::string& node) {
  using enum objection_kind;
  switch (o.kind) {
    case pinned:
      return "pin the VM to " + node + " instead of node " + to_string(r.pinned);
    case unnamed:
      return "name " + node + " as the node to run on";
    case state:
      return state_remedy(o, node);
    case backend:
      return "start " + node + " with --backend " +
             std::string{r.spec.backend() == pb::BACKEND_AUTO ? "qemu"
                                                              : backend_name(r.spec.backend())};
    case label:
      return "give " + node + " " + constraint_text(r.spec.placement().constraints(o.constraint)) +
             " or drop that constraint";
    case vcpus:
    case memory:
    case disk:
      return amount_remedy(o, node);
    case group:
      return "allow " + std::to_string(o.need + 1) + " per node of anti-affinity group " +
             group_label(r) + " or add a node";
  }
  return {};
}

}  // namespace

request make_request(const inventory& in, const pb::VmSpec& spec, const plan_options& options) {
  const auto& p = spec.placement();
  const bool grouped = !p.anti_affinity_group().empty();
  return {
      .in = in,
      .spec = spec,
      .needs = {spec.vcpus(), spec.memory_bytes(), spec.disk_bytes()},
      .strategy = p.strategy(),
      .pinned = node_id{p.node()},
      .names_no_node = p.strategy() == pb::STRATEGY_MANUAL && p.node() == 0,
      .group = grouped ? group_name(spec.tenant(), p.anti_affinity_group()) : std::string{},
      .max_per_node = std::max<std::uint32_t>(1, p.max_per_node()),
      .soft = p.soft(),
      .avoid = options.avoid,
      .resident = options.resident,
      .seed = options.seed,
  };
}

resources used_without(const request& r, const node_usage& n) noexcept {
  resources used = n.allocated;
  if (n.id == r.resident) used -= r.needs;
  return used;
}

std::uint32_t group_members(const request& r, const node_usage& n) {
  const auto all = r.in.group_count(r.group, n.id);
  return n.id == r.resident && all > 0 ? all - 1 : all;
}

bool is_out_of_sight(const request& r, const node_usage& n) noexcept {
  return n.facts->state() == pb::NODE_LEFT && n.id != r.pinned;
}

bool find_objections(const request& r, const node_usage& n, std::vector<objection>* out) {
  collector c{out};
  if (check_identity(r, n, c) || check_labels(r, n, c) || check_capacity(r, n, c)) return false;
  check_group(r, n, c);
  return c.clean();
}

void describe(const request& r, const node_usage& n, const std::vector<objection>& against,
              pb::NodeReason& out) {
  out.set_node(n.id.value());
  // Of a node that has never registered nothing else is known yet.
  const bool unknown = n.facts->state() == pb::NODE_JOINING && n.facts->incarnation() == 0;
  for (const auto& o : against)
    if (!unknown || o.kind == objection_kind::state || o.kind == objection_kind::pinned)
      out.add_reasons(reason(r, n, o));
}

void cheapest_fix::offer(node_id node, const std::vector<objection>& against) {
  std::uint64_t sum = 0;
  for (const auto& o : against) sum += effort(o);
  if (node_ && sum >= effort_) return;
  node_ = node;
  effort_ = sum;
  against_ = against;
}

std::string cheapest_fix::text(const request& r) const {
  if (!node_) return "add a node: none is registered";
  if (r.pinned && r.in.find(r.pinned) == nullptr)
    return "pin the VM to a node of the cluster: node " + to_string(r.pinned) + " is not known";
  std::string out;
  for (const auto& o : against_) {
    out += out.empty() ? "" : ", and ";
    out += remedy(r, o, "node " + to_string(node_));
  }
  return out;
}

}  // namespace blixard::state
