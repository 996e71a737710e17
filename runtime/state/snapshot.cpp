// Snapshots: out of a consistent view, in any thread; back in, checked before anything is replaced.
// The format is in README.md.
#include <google/protobuf/io/coded_stream.h>

#include <string>
#include <utility>

#include "runtime/base/planted.hpp"
#include "runtime/state/tables.hpp"

namespace blixard::state {

/// Everything at one index, shared with the machine.
struct snapshot_view::parts {
  log_index applied;
  blixard::term applied_term;
  std::uint64_t next_vm_id = 0;
  hash128 digest;
  kv_tree kv;
  vm_tree vms;
  state::inventory inventory;
  session_tree clients;
  result_tree results;
};

namespace {

constexpr std::uint32_t format_version = 1;
constexpr std::size_t piece_bytes = 64 * 1024;
constexpr std::size_t record_max_bytes = limits::frame_max_bytes;  // none of ours comes near it

/// Collects records and hands them on in pieces.
class record_writer {
 public:
  explicit record_writer(const byte_sink& sink) : sink_(sink) {}

  /// False once the sink stopped it.
  bool add(const pb::SnapshotRecord& record) {
    if (stopped_) return false;
    const std::size_t size = record.ByteSizeLong();
    std::uint8_t
        prefix[google::protobuf::io::CodedOutputStream::StaticVarintSize32<UINT32_MAX>::value];
    const auto* end = google::protobuf::io::CodedOutputStream::WriteVarint32ToArray(
        static_cast<std::uint32_t>(size), prefix);
    piece_.append(reinterpret_cast<const char*>(prefix), static_cast<std::size_t>(end - prefix));
    const auto at = piece_.size();
    piece_.resize(at + size);
    auto* const to = reinterpret_cast<std::uint8_t*>(piece_.data()) + at;
    CHECK(record.SerializeWithCachedSizesToArray(to) == to + size);
    return piece_.size() < piece_bytes || flush();
  }
  bool flush() {
    if (!stopped_ && !piece_.empty()) stopped_ = !sink_(std::as_bytes(std::span{piece_}));
    piece_.clear();
    return !stopped_;
  }

 private:
  const byte_sink& sink_;
  std::string piece_;
  bool stopped_ = false;
};

void to_proto(const conf_state& c, pb::ConfState& out) {
  for (const node_id n : c.voters) out.add_voters(n.value());
  for (const node_id n : c.outgoing) out.add_outgoing(n.value());
  for (const node_id n : c.learners) out.add_learners(n.value());
  for (const node_id n : c.learners_next) out.add_learners_next(n.value());
  out.set_auto_leave(c.auto_leave);
  for (const node_id n : c.witnesses) out.add_witnesses(n.value());
}

conf_state from_proto(const pb::ConfState& c) {
  conf_state out;
  for (const auto n : c.voters()) out.voters.emplace_back(n);
  for (const auto n : c.outgoing()) out.outgoing.emplace_back(n);
  for (const auto n : c.learners()) out.learners.emplace_back(n);
  for (const auto n : c.learners_next()) out.learners_next.emplace_back(n);
  out.auto_leave = c.auto_leave();
  for (const auto n : c.witnesses()) out.witnesses.emplace_back(n);
  return out;
}

pb::SnapshotRecord header_of(const snapshot_view::parts& p, const snapshot_context& context) {
  pb::SnapshotRecord out;
  auto& h = *out.mutable_header();
  h.set_format(format_version);
  h.set_applied(p.applied.value());
  h.set_applied_term(p.applied_term.value());
  h.set_digest(to_hex(p.digest));
  h.set_next_vm_id(p.next_vm_id);
  h.set_round_robin(p.inventory.round_robin.value());
  h.set_cluster_id(context.cluster.value());
  to_proto(context.conf, *h.mutable_conf());
  h.set_inventory_version(p.inventory.version.value());
  h.set_summary_version(p.inventory.summary_version.value());
  return out;
}

void write_kv(const kv_tree& items, record_writer& out) {
  pb::SnapshotRecord record;
  items.for_each_from(std::string_view{}, [&](const ref<const kv_item>& i) {
    auto& kv = *record.mutable_kv();
    kv.set_key(i->key().data(), i->key().size());
    kv.set_value(i->value().data(), i->value().size());
    kv.set_version(i->version());
    return out.add(record);
  });
}

void write_fleet(const snapshot_view::parts& p, record_writer& out) {
  pb::SnapshotRecord record;
  p.inventory.nodes.for_each_from(node_id{}, [&](const node_usage& n) {
    write_node(n, *record.mutable_node());
    return out.add(record);
  });
  p.vms.for_each_from(vm_id{}, [&](const vm_item& i) {
    *record.mutable_vm() = *i.vm;
    return out.add(record);
  });
}

void write_sessions(const snapshot_view::parts& p, record_writer& out) {
  pb::SnapshotRecord record;
  p.clients.for_each_from(std::string_view{}, [&](const session& s) {
    auto& r = *record.mutable_session();
    r.Clear();
    r.set_client(*s.client);
    r.set_last_index(s.last_index);
    r.set_floor(s.floor);
    return out.add(record);
  });
  p.results.for_each_from(result_order::probe{}, [&](const session_result& s) {
    auto& r = *record.mutable_session();
    r.Clear();
    r.set_client(*s.client);
    r.set_seq(s.seq);
    r.set_answer(*s.answer);
    r.set_last_index(s.index);
    return out.add(record);
  });
}

tl::unexpected<error> damaged(std::string_view what) {
  return tl::unexpected(
      make_error(errc::internal, "the snapshot is damaged: " + std::string{what}));
}

}  // namespace

log_index snapshot_view::index() const noexcept { return parts_->applied; }
blixard::term snapshot_view::term() const noexcept { return parts_->applied_term; }

bool snapshot_view::write(const snapshot_context& context, const byte_sink& sink) const {
  record_writer out{sink};
  out.add(header_of(*parts_, context));
  write_kv(parts_->kv, out);
  write_fleet(*parts_, out);
  write_sessions(*parts_, out);
  return out.flush();
}

void snapshot_view::let_go(const std::function<void()>& between) {
  const auto last = std::exchange(parts_, nullptr);
  if (!last || last.use_count() != 1) return;
  last->kv.let_go(between);
  last->vms.let_go(between);
  last->inventory.nodes.let_go(between);
  last->inventory.groups.let_go(between);
  last->clients.let_go(between);
  last->results.let_go(between);
}

slice snapshot_view::encode(const snapshot_context& context) const {
  std::string all;
  write(context, [&](std::span<const std::byte> piece) {
    all.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    return true;
  });
  return slice::copy_of(all);
}

snapshot_view machine::tables::view() const {
  auto p = std::make_shared<snapshot_view::parts>();
  const bool repeats = planted(bug::applied_twice) && applied > log_index{1};
  p->applied = repeats ? applied.prev() : applied;
  p->applied_term = applied_term;
  p->next_vm_id = next_vm_id;
  p->digest = digest();
  p->kv = kv.items();
  p->vms = vms_and_nodes.vms();
  p->inventory = vms_and_nodes.inventory();
  if (planted(bug::sessions_lost)) {
    p->digest -= sessions.sum();
    return snapshot_view{std::move(p)};
  }
  p->clients = sessions.clients();
  p->results = sessions.results();
  return snapshot_view{std::move(p)};
}

// ---------------------------------------------------------------- load

namespace {

/// Reads length-delimited records off a byte string.
class record_reader {
 public:
  explicit record_reader(std::span<const std::byte> bytes) noexcept : rest_(bytes) {}

  [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }
  bool next(pb::SnapshotRecord& out) {
    std::uint64_t size = 0;
    std::size_t used = 0;
    for (unsigned shift = 0;; shift += 7) {
      if (used == rest_.size() || shift > 28) return false;
      const auto b = static_cast<std::uint8_t>(rest_[used++]);
      size |= static_cast<std::uint64_t>(b & 0x7F) << shift;
      if (b < 0x80) break;
    }
    rest_ = rest_.subspan(used);
    if (size > rest_.size() || size > record_max_bytes) return false;
    if (!out.ParseFromArray(rest_.data(), static_cast<int>(size))) return false;
    rest_ = rest_.subspan(size);
    return true;
  }

 private:
  std::span<const std::byte> rest_;
};

bool restore_session(const pb::SessionState& s, session_table& into) {
  if (s.seq() == 0) return into.restore_session(s.client(), s.floor(), s.last_index());
  pb::Answer answer;  // it is parsed when the command is repeated: it has to be one
  if (!answer.ParseFromString(s.answer())) return false;
  return into.restore_result(s.client(), s.seq(), s.last_index(), s.answer());
}

/// Puts one object back. False if it contradicts the rest.
template <class Tables>
bool restore(const pb::SnapshotRecord& record, Tables& into) {
  switch (record.record_case()) {
    case pb::SnapshotRecord::kKv: {
      const auto& kv = record.kv();
      if (into.kv.find(kv.key()) != nullptr) return false;
      into.kv.put(kv.key(), slice::copy_of(kv.value()), kv.version());
      return true;
    }
    case pb::SnapshotRecord::kVm:
      return record.vm().id() < into.next_vm_id && into.vms_and_nodes.restore_vm(record.vm());
    case pb::SnapshotRecord::kNode:
      return into.vms_and_nodes.restore_node(record.node());
    case pb::SnapshotRecord::kSession:
      return restore_session(record.session(), into.sessions);
    case pb::SnapshotRecord::kHeader:  // a second one
    case pb::SnapshotRecord::RECORD_NOT_SET:
      break;
  }
  return false;
}

}  // namespace

tl::expected<snapshot_context, error> machine::load(std::span<const std::byte> bytes) {
  record_reader in{bytes};
  pb::SnapshotRecord record;
  if (!in.next(record) || !record.has_header()) return damaged("it does not start with a header");
  const pb::SnapshotRecord::Header header = record.header();
  if (header.format() != format_version)
    return tl::unexpected(make_error(errc::unsupported,
                                     "the snapshot has format " + std::to_string(header.format()) +
                                         ", this version reads " + std::to_string(format_version)));
  auto fresh = std::make_unique<tables>();
  fresh->applied = log_index{header.applied()};
  fresh->applied_term = blixard::term{header.applied_term()};
  fresh->next_vm_id = header.next_vm_id();
  while (!in.at_end()) {
    if (!in.next(record)) return damaged("a record cannot be read");
    if (!restore(record, *fresh)) return damaged("two records contradict each other");
  }
  fresh->vms_and_nodes.restore_versions(log_index{header.inventory_version()},
                                        log_index{header.summary_version()},
                                        node_id{header.round_robin()});
  if (to_hex(fresh->digest()) != header.digest()) return damaged("its digest does not match");
  t_ = std::move(fresh);
  return snapshot_context{cluster_id{header.cluster_id()}, from_proto(header.conf())};
}

}  // namespace blixard::state
