// Queries: answered from the tables as they are, bounded in items and bytes.
#include <algorithm>

#include "runtime/state/placement.hpp"
#include "runtime/state/tables.hpp"
#include "runtime/state/text.hpp"

namespace blixard::state {
namespace {

/// Counts what goes into one answer.
class budget {
 public:
  explicit budget(std::size_t items) noexcept : items_(items) {}
  /// False if the next item no longer fits; the first one always does.
  bool take(std::size_t bytes) noexcept {
    if (taken_ > 0 && (taken_ == items_ || bytes_ + bytes > limits::list_max_bytes)) return false;
    ++taken_;
    bytes_ += bytes;
    return true;
  }

 private:
  std::size_t items_;
  std::size_t taken_ = 0;
  std::size_t bytes_ = 0;
};

void write_item(const kv_item& item, pb::KvItem& out) {
  out.set_key(item.key().data(), item.key().size());
  out.set_value(item.value().data(), item.value().size());
  out.set_version(item.version());
}

bool has_prefix(std::string_view text, std::string_view prefix) noexcept {
  return text.substr(0, prefix.size()) == prefix;
}

}  // namespace

void machine::tables::answer(const pb::Query& query, pb::Answer& out) const {
  out.Clear();
  out.set_index(applied.value());
  out.set_term(applied_term.value());
  switch (query.q_case()) {
    case pb::Query::kKvGet:
      return kv_get(query.kv_get(), out);
    case pb::Query::kKvList:
      return kv_list(query.kv_list(), out);
    case pb::Query::kVmList:
      return vm_list(query.vm_list(), out);
    case pb::Query::kVmShow:
      return vm_show(query.vm_show(), out);
    case pb::Query::kVmExplain:
      return vm_explain(query.vm_explain(), out);
    case pb::Query::kNodeList:
      return node_list(out);
    case pb::Query::kNodeShow:
      return node_show(query.node_show(), out);
    case pb::Query::kClusterStatus:
      return cluster_status(out);
    case pb::Query::kDigest:
      return digest_at(query.digest(), out);
    case pb::Query::kComplete:
      return complete(query.complete(), out);
    case pb::Query::kVmLogs:  // the rest is not in the replicated state
    case pb::Query::kCacheStats:
    case pb::Query::kMetrics:
    case pb::Query::Q_NOT_SET:
      break;
  }
  refuse(out, errc::unsupported, "the replicated state cannot answer this query");
}

void machine::tables::kv_get(const pb::KvGet& q, pb::Answer& out) const {
  const kv_item* item = kv.find(q.key());
  if (item == nullptr)
    return refuse(out, errc::not_found, "key " + quote(q.key()) + " does not exist");
  write_item(*item, *out.mutable_kv());
}

void machine::tables::kv_list(const pb::KvList& q, pb::Answer& out) const {
  const std::size_t asked = q.limit() == 0 ? limits::list_max_items : q.limit();
  budget room{std::min(asked, limits::list_max_items)};
  auto* list = out.mutable_kv_items();
  kv.items().for_each_from(std::string_view{q.prefix()}, [&](const ref<const kv_item>& i) {
    if (!has_prefix(i->key(), q.prefix())) return false;
    if (!room.take(i->key().size() + i->value().size())) {
      list->set_truncated(true);
      return false;
    }
    write_item(*i, *list->add_items());
    return true;
  });
}

void machine::tables::vm_list(const pb::VmList& q, pb::Answer& out) const {
  const auto& names = vms_and_nodes.names();
  auto* list = out.mutable_vms();
  budget room{limits::list_max_items};
  for (auto it = names.lower_bound(fleet::name_less::view{q.tenant(), ""}); it != names.end();
       ++it) {
    if (!q.tenant().empty() && it->first.first != q.tenant()) return;
    auto vm = *vms_and_nodes.vm(it->second);
    vm.clear_events();  // `vm show` has them
    if (!room.take(vm.ByteSizeLong())) return list->set_truncated(true);
    *list->add_vms() = std::move(vm);
  }
}

void machine::tables::vm_show(const pb::VmRef& q, pb::Answer& out) const {
  const auto tenant = tenant_or_default(q.tenant());
  const auto vm = vms_and_nodes.vm(tenant, q.name());
  if (!vm) return no_such_vm(out, tenant, q.name());
  *out.mutable_vm() = *vm;
}

void machine::tables::vm_explain(const pb::VmExplain& q, pb::Answer& out) const {
  const auto tenant = tenant_or_default(q.tenant());
  const auto vm = vms_and_nodes.vm(tenant, q.name());
  if (!vm) return no_such_vm(out, tenant, q.name());
  plan_options options;
  options.avoid = gave_up(*vm);
  options.resident = node_id{vm->node()};
  auto& decision = *out.mutable_decision();
  decision = plan(vms_and_nodes.inventory(), vm->spec(), options);
  if (vm->node() != 0) decision.set_node(vm->node());
}

void machine::tables::node_list(pb::Answer& out) const {
  auto* list = out.mutable_nodes();
  budget room{limits::list_max_items};
  vms_and_nodes.inventory().nodes.for_each_from(node_id{}, [&](const node_usage& n) {
    if (!room.take(n.facts->ByteSizeLong())) {
      list->set_truncated(true);
      return false;
    }
    write_node(n, *list->add_nodes());
    return true;
  });
}

void machine::tables::node_show(const pb::NodeRef& q, pb::Answer& out) const {
  const auto* n = vms_and_nodes.inventory().find(node_id{q.id()});
  if (n == nullptr)
    return refuse(out, errc::not_found, "there is no node " + std::to_string(q.id()),
                  "see `node list`");
  write_node(*n, *out.mutable_nodes()->add_nodes());
}

void machine::tables::cluster_status(pb::Answer& out) const {
  auto* status = out.mutable_status();
  status->set_applied_index(applied.value());
  const auto& in = vms_and_nodes.inventory();
  in.nodes.for_each([&](const node_usage& n) {
    if (n.facts->state() == pb::NODE_LEFT) return;
    auto* m = status->add_members();
    m->set_id(n.id.value());
    m->set_address(n.facts->address());
    const auto state = node_state_name(n.facts->state());
    m->set_state(state.data(), state.size());
    m->set_version(n.facts->version());
  });
  (void)summarize(in, node_id{}, *status->mutable_summary());
}

void machine::tables::digest_at(const pb::DigestAt& q, pb::Answer& out) const {
  if (q.index() != 0 && q.index() != applied.value())
    return refuse(out, errc::unavailable,
                  "index " + std::to_string(q.index()) +
                      (q.index() > applied.value() ? " is not applied yet" : " has passed") +
                      ": the state is at " + to_string(applied));
  out.mutable_digest()->set_index(applied.value());
  out.mutable_digest()->set_digest(to_hex(digest()));
}

void machine::tables::complete(const pb::Complete& q, pb::Answer& out) const {
  auto* names = out.mutable_lines();
  const std::string_view prefix = q.prefix();
  // True while there is room for more.
  const auto offer = [&](std::string_view name) {
    if (has_prefix(name, prefix)) names->add_lines(name.data(), name.size());
    return static_cast<std::size_t>(names->lines_size()) < limits::complete_max_items;
  };
  switch (q.what()) {
    case pb::Complete::VMS:
      for (const auto& [key, id] : vms_and_nodes.names())
        if (!offer(key.second)) break;
      return;
    case pb::Complete::NODES:
      vms_and_nodes.inventory().nodes.for_each_from(
          node_id{}, [&](const node_usage& n) { return offer(to_string(n.id)); });
      return;
    case pb::Complete::KEYS:
      kv.items().for_each_from(prefix, [&](const ref<const kv_item>& i) {
        // Keys that are not text cannot be typed, and are not valid in this message. Blanks can
        // be: the shell escapes them.
        const bool text =
            std::ranges::all_of(i->key(), [](char c) { return c >= 0x20 && c < 0x7f; });
        return has_prefix(i->key(), prefix) && (!text || offer(i->key()));
      });
      return;
    case pb::Complete_What_Complete_What_INT_MIN_SENTINEL_DO_NOT_USE_:
    case pb::Complete_What_Complete_What_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
}

}  // namespace blixard::state
