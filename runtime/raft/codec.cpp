#include "runtime/raft/codec.hpp"

#include <utility>

#include "messages/check.hpp"
#include "runtime/raft/wire.hpp"

namespace blixard::raft {
namespace {

using wire::prefix_size;
using wire::reader;
using wire::writer;

// Field numbers of messages/raft.proto.
namespace f {
enum entry : std::uint32_t { term = 1, index = 2, kind = 3, data = 4 };
enum conf : std::uint32_t {
  voters = 1,
  outgoing = 2,
  learners = 3,
  learners_next = 4,
  leave = 5,
  witnesses = 6
};
enum change : std::uint32_t { changes = 1, transition = 2, context = 3, op = 1, node = 2 };
enum meta : std::uint32_t { meta_index = 1, meta_term = 2, meta_conf = 3 };
}  // namespace f
enum class m : std::uint32_t {
  type = 1,
  from,
  to,
  term,
  log_term,
  log_index,
  commit,
  match,
  rejected,
  reject,
  force,
  context,
  target,
  entries,
  snapshot,
  snapshot_offset,
  snapshot_total,
  snapshot_data,
  nonce,
  repair,
  notice,
  rank,
  promise_us
};
constexpr std::uint32_t no(m field) noexcept { return static_cast<std::uint32_t>(field); }

tl::unexpected<error> garbage(const char* what) {
  return tl::unexpected(make_error(errc::invalid_argument, what));
}

// ---------------------------------------------------------------- entries

std::size_t entry_head_size(const entry& e) noexcept {
  return (e.term ? 9 : 0) + (e.index ? 9 : 0) + (e.kind == entry_kind::conf ? 2 : 0) +
         (e.data.empty() ? 0 : prefix_size(f::data, e.data.size()));
}

void write_entry_head(writer& w, const entry& e) noexcept {
  w.fixed64(f::term, e.term.value());
  w.fixed64(f::index, e.index.value());
  w.field(f::kind, static_cast<std::uint64_t>(e.kind));
  if (!e.data.empty()) w.prefix(f::data, e.data.size());
}

bool is_inlined(const slice& data) noexcept { return data.size() <= codec_inline_max_bytes; }

bool read_entry(slice body, entry& e) {
  reader r(std::move(body));
  while (r.next()) {
    switch (r.field()) {
      case f::term:
        e.term = term{r.fixed64()};
        break;
      case f::index:
        e.index = log_index{r.fixed64()};
        break;
      case f::kind: {
        const std::uint64_t kind = r.varint();
        if (kind > 1) return false;
        e.kind = static_cast<entry_kind>(kind);
        break;
      }
      case f::data:
        e.data = r.bytes();
        break;
      default:
        r.skip();
    }
  }
  return !r.failed();
}

// ---------------------------------------------------------------- configurations

std::size_t ids_size(const std::vector<node_id>& ids) noexcept {
  std::size_t size = 0;
  for (const node_id id : ids) size += wire::varint_size(id.value());
  return size;
}

std::size_t packed_size(std::uint32_t field, const std::vector<node_id>& ids) noexcept {
  return ids.empty() ? 0 : prefix_size(field, ids_size(ids)) + ids_size(ids);
}

void write_packed(writer& w, std::uint32_t field, const std::vector<node_id>& ids) noexcept {
  if (ids.empty()) return;
  w.prefix(field, ids_size(ids));
  for (const node_id id : ids) w.varint(id.value());
}

std::size_t conf_size(const conf_state& c) noexcept {
  return packed_size(f::voters, c.voters) + packed_size(f::outgoing, c.outgoing) +
         packed_size(f::learners, c.learners) + packed_size(f::learners_next, c.learners_next) +
         wire::field_size(f::leave, c.auto_leave ? 1 : 0) + packed_size(f::witnesses, c.witnesses);
}

void write_conf(writer& w, const conf_state& c) noexcept {
  write_packed(w, f::voters, c.voters);
  write_packed(w, f::outgoing, c.outgoing);
  write_packed(w, f::learners, c.learners);
  write_packed(w, f::learners_next, c.learners_next);
  w.field(f::leave, c.auto_leave ? 1 : 0);
  write_packed(w, f::witnesses, c.witnesses);
}

bool read_conf(slice body, conf_state& c) {
  reader r(std::move(body));
  while (r.next()) {
    switch (r.field()) {
      case f::voters:
        r.repeated(c.voters);
        break;
      case f::outgoing:
        r.repeated(c.outgoing);
        break;
      case f::learners:
        r.repeated(c.learners);
        break;
      case f::learners_next:
        r.repeated(c.learners_next);
        break;
      case f::leave:
        c.auto_leave = r.varint() != 0;
        break;
      case f::witnesses:
        r.repeated(c.witnesses);
        break;
      default:
        r.skip();
    }
  }
  return !r.failed();
}

// ---------------------------------------------------------------- snapshots

std::size_t meta_size(const snapshot& s) noexcept {
  const std::size_t conf = conf_size(s.conf);
  return (s.index ? 9 : 0) + (s.term ? 9 : 0) + prefix_size(f::meta_conf, conf) + conf;
}

void write_meta(writer& w, const snapshot& s) noexcept {
  w.fixed64(f::meta_index, s.index.value());
  w.fixed64(f::meta_term, s.term.value());
  w.prefix(f::meta_conf, conf_size(s.conf));
  write_conf(w, s.conf);
}

bool read_meta(slice body, snapshot& s) {
  reader r(std::move(body));
  while (r.next()) {
    switch (r.field()) {
      case f::meta_index:
        s.index = log_index{r.fixed64()};
        break;
      case f::meta_term:
        s.term = term{r.fixed64()};
        break;
      case f::meta_conf:
        if (!read_conf(r.bytes(), s.conf)) r.fail();
        break;
      default:
        r.skip();
    }
  }
  return !r.failed();
}

// ---------------------------------------------------------------- the small fields of a message

template <class Visit>
void each_scalar(const message& msg, const Visit& visit) {
  visit(no(m::type), static_cast<std::uint64_t>(msg.type));
  visit(no(m::from), msg.from.value());
  visit(no(m::to), msg.to.value());
  visit(no(m::term), msg.term.value());
  visit(no(m::log_term), msg.log_term.value());
  visit(no(m::log_index), msg.log_index.value());
  visit(no(m::commit), msg.commit.value());
  visit(no(m::match), msg.match.value());
  visit(no(m::rejected), msg.rejected.value());
  visit(no(m::reject), std::uint64_t{msg.reject});
  visit(no(m::force), std::uint64_t{msg.force});
  visit(no(m::context), msg.context);
  visit(no(m::target), msg.target.value());
  visit(no(m::nonce), msg.nonce);
  visit(no(m::repair), msg.repair);
  visit(no(m::notice), std::uint64_t{msg.notice});
  visit(no(m::rank), std::uint64_t{msg.rank});
  visit(no(m::promise_us), msg.promise_us);
}

std::size_t scalars_size(const message& msg) {
  std::size_t size = 0;
  each_scalar(msg,
              [&](std::uint32_t field, std::uint64_t v) { size += wire::field_size(field, v); });
  return size;
}

// Everything about the chunk except its data.
std::size_t chunk_size(const message& msg, const snapshot_chunk& chunk) {
  if (msg.snapshot == nullptr) return 0;
  const std::size_t meta = meta_size(*msg.snapshot);
  return prefix_size(no(m::snapshot), meta) + meta +
         wire::field_size(no(m::snapshot_offset), chunk.offset) +
         wire::field_size(no(m::snapshot_total), chunk.total) +
         (chunk.data.empty() ? 0 : prefix_size(no(m::snapshot_data), chunk.data.size()));
}

void write_chunk(writer& w, const message& msg, const snapshot_chunk& chunk) {
  if (msg.snapshot == nullptr) return;
  w.prefix(no(m::snapshot), meta_size(*msg.snapshot));
  write_meta(w, *msg.snapshot);
  w.field(no(m::snapshot_offset), chunk.offset);
  w.field(no(m::snapshot_total), chunk.total);
  if (!chunk.data.empty()) w.prefix(no(m::snapshot_data), chunk.data.size());
}

// What entries take in all, and how much of it goes into the head buffer.
struct entries_size {
  std::size_t heads = 0;
  std::size_t all = 0;
};

entries_size size_of(const std::vector<entry>& entries) {
  entries_size size;
  for (const entry& e : entries) {
    const std::size_t head = entry_head_size(e);
    const std::size_t before = prefix_size(no(m::entries), head + e.data.size()) + head;
    size.heads += before + (is_inlined(e.data) ? e.data.size() : 0);
    size.all += before + e.data.size();
  }
  return size;
}

std::size_t heads_size(const message& msg, const snapshot_chunk& chunk) {
  return scalars_size(msg) + chunk_size(msg, chunk) + size_of(msg.entries).heads;
}

snapshot_chunk whole(const message& msg) {
  if (msg.snapshot == nullptr) return {};
  return {0, msg.snapshot->data.size(), msg.snapshot->data};
}

// Cuts the head buffer into pieces, with data slices between them.
class assembler {
 public:
  assembler(ref<buffer> head, std::vector<slice>& pieces)
      : head_(std::move(head)), w(head_->data()), from_(head_->data()), pieces_(pieces) {}

  void put(const slice& data) {
    cut();
    pieces_.push_back(data);
    total_ += data.size();
  }
  std::size_t finish() {
    cut();
    return total_;
  }

 private:
  void cut() {
    const auto size = static_cast<std::size_t>(w.position() - from_);
    if (size != 0) pieces_.push_back({head_, from_, size});
    total_ += size;
    from_ = w.position();
  }
  ref<buffer> head_;

 public:
  writer w;

 private:
  const std::byte* from_;
  std::vector<slice>& pieces_;
  std::size_t total_ = 0;
};

void write_scalars(writer& w, const message& msg) {
  each_scalar(msg, [&](std::uint32_t field, std::uint64_t v) { w.field(field, v); });
}

void put_entries(assembler& out, const std::vector<entry>& entries) {
  for (const entry& e : entries) {
    out.w.prefix(no(m::entries), entry_head_size(e) + e.data.size());
    write_entry_head(out.w, e);
    if (is_inlined(e.data))
      out.w.raw(e.data.bytes());
    else
      out.put(e.data);
  }
}

std::size_t assemble(const message& msg, const snapshot_chunk& chunk, std::vector<slice>& pieces,
                     ref<buffer> head) {
  const std::size_t needed = heads_size(msg, chunk);
  if (!head) head = buffer::make(needed);
  CHECK_LE(needed, head->capacity());
  assembler out(std::move(head), pieces);
  write_scalars(out.w, msg);
  put_entries(out, msg.entries);
  write_chunk(out.w, msg, chunk);
  if (!chunk.data.empty()) out.put(chunk.data);
  return out.finish();
}

// ---------------------------------------------------------------- reading a message

struct incoming {
  decoded_message& out;
  std::shared_ptr<snapshot> meta;
};

bool read_scalar(reader& r, message& msg) {
  switch (static_cast<m>(r.field())) {
    case m::type: {
      const std::uint64_t type = r.varint();
      if (type >= message_type_count) r.fail();
      msg.type = static_cast<message_type>(type);
      return true;
    }
    case m::from:
      msg.from = node_id{r.varint()};
      return true;
    case m::to:
      msg.to = node_id{r.varint()};
      return true;
    case m::term:
      msg.term = term{r.varint()};
      return true;
    case m::log_term:
      msg.log_term = term{r.varint()};
      return true;
    case m::log_index:
      msg.log_index = log_index{r.varint()};
      return true;
    case m::commit:
      msg.commit = log_index{r.varint()};
      return true;
    case m::match:
      msg.match = log_index{r.varint()};
      return true;
    case m::rejected:
      msg.rejected = log_index{r.varint()};
      return true;
    case m::reject:
      msg.reject = r.varint() != 0;
      return true;
    case m::force:
      msg.force = r.varint() != 0;
      return true;
    case m::context:
      msg.context = r.varint();
      return true;
    case m::target:
      msg.target = node_id{r.varint()};
      return true;
    case m::nonce:
      msg.nonce = r.varint();
      return true;
    case m::repair:
      msg.repair = r.varint();
      return true;
    case m::notice:
      msg.notice = r.varint() != 0;
      return true;
    case m::rank:
      msg.rank = static_cast<std::uint32_t>(r.varint());
      return true;
    case m::promise_us:
      msg.promise_us = r.varint();
      return true;
    case m::entries:
    case m::snapshot:
    case m::snapshot_offset:
    case m::snapshot_total:
    case m::snapshot_data:
      return false;
  }
  return false;
}

void read_composite(reader& r, incoming& in) {
  switch (static_cast<m>(r.field())) {
    case m::entries:
      if (!read_entry(r.bytes(), in.out.msg.entries.emplace_back())) r.fail();
      return;
    case m::snapshot:
      if (in.meta) return r.fail();
      in.meta = std::make_shared<snapshot>();
      if (!read_meta(r.bytes(), *in.meta)) r.fail();
      return;
    case m::snapshot_offset:
      in.out.chunk.offset = r.varint();
      return;
    case m::snapshot_total:
      in.out.chunk.total = r.varint();
      return;
    case m::snapshot_data:
      in.out.chunk.data = r.bytes();
      return;
    default:
      r.skip();
      return;
  }
}

tl::expected<void, error> check_decoded(const decoded_message& d) {
  const message& msg = d.msg;
  const bool has_entries = msg.type == message_type::append || msg.type == message_type::propose;
  if (!has_entries && !msg.entries.empty()) return garbage("entries in a message without entries");
  if ((msg.type == message_type::snapshot) != (msg.snapshot != nullptr))
    return garbage("a snapshot message without a snapshot, or the other way round");
  if (d.chunk.data.size() > d.chunk.total || d.chunk.offset > d.chunk.total - d.chunk.data.size())
    return garbage("a snapshot chunk beyond the snapshot's end");
  if (msg.type != message_type::append) return {};
  log_index expected = msg.log_index.next();
  for (const entry& e : msg.entries) {
    if (e.index != expected) return garbage("entries that do not follow each other");
    expected = expected.next();
  }
  return {};
}

// Runs `write` over a buffer of exactly `size` bytes.
template <class Write>
slice written(std::size_t size, const Write& write) {
  if (size == 0) return {};
  auto b = buffer::make(size);
  writer w(b->data());
  write(w);
  const std::byte* data = b->data();
  CHECK_EQ(static_cast<std::size_t>(w.position() - data), size);
  return {std::move(b), data, size};
}

}  // namespace

std::size_t head_size(const message& msg) { return heads_size(msg, whole(msg)); }

std::size_t encode(const message& msg, std::vector<slice>& pieces, ref<buffer> head) {
  return assemble(msg, whole(msg), pieces, std::move(head));
}

std::size_t encode_chunk(const message& msg, const snapshot_chunk& chunk,
                         std::vector<slice>& pieces) {
  return assemble(msg, chunk, pieces, nullptr);
}

std::size_t encoder::encode(const message& msg, std::vector<slice>& pieces) {
  const entries_size size = size_of(msg.entries);
  const bool may_share = msg.type == message_type::append && !msg.entries.empty();
  if (!may_share) {
    assembled_ += msg.entries.size();
    return assemble(msg, whole(msg), pieces, source_(head_size(msg)));
  }
  const run here{msg.entries.front().index, msg.entries.back().index, msg.entries.back().term,
                 size.all};
  if (block_.empty() || here != known_) {
    block_.clear();
    assembler entries(source_(size.heads), block_);
    put_entries(entries, msg.entries);
    (void)entries.finish();
    known_ = here;
    assembled_ += msg.entries.size();
  }
  assembler small(source_(scalars_size(msg)), pieces);
  write_scalars(small.w, msg);
  pieces.reserve(pieces.size() + 1 + block_.size());
  const std::size_t written = small.finish();
  pieces.insert(pieces.end(), block_.begin(), block_.end());
  return written + size.all;
}

void encoder::forget() noexcept { block_.clear(); }

tl::expected<void, error> decode_into(const slice& body, decoded_message& out) {
  std::vector<entry> entries = std::move(out.msg.entries);
  entries.clear();
  out = {};
  out.msg.entries = std::move(entries);
  incoming in{out, nullptr};
  reader r(body);
  while (r.next())
    if (!read_scalar(r, out.msg)) read_composite(r, in);
  if (r.failed()) return garbage("not a raft message");
  out.msg.snapshot = std::move(in.meta);
  return check_decoded(out);
}

tl::expected<decoded_message, error> decode(const slice& body) {
  decoded_message out;
  if (auto ok = decode_into(body, out); !ok) return tl::unexpected(std::move(ok.error()));
  return out;
}

// ---------------------------------------------------------------- the other types

std::size_t encode_entry_head(const entry& e, std::byte* out) noexcept {
  static_assert(9 + 9 + 2 + 1 + 5 <= entry_head_max_bytes);
  writer w(out);
  write_entry_head(w, e);
  return static_cast<std::size_t>(w.position() - out);
}

tl::expected<entry, error> decode_entry(const slice& body) {
  entry e;
  if (!read_entry(body, e)) return garbage("not a log entry");
  return e;
}

slice encode_conf_state(const conf_state& conf) {
  return written(conf_size(conf), [&](writer& w) { write_conf(w, conf); });
}

tl::expected<conf_state, error> decode_conf_state(const slice& body) {
  conf_state conf;
  if (!read_conf(body, conf)) return garbage("not a configuration");
  return conf;
}

slice encode_conf_change(const conf_change& change) {
  const auto single_size = [](const conf_change::single& s) {
    return wire::field_size(f::op, static_cast<std::uint64_t>(s.op)) +
           wire::field_size(f::node, s.node.value());
  };
  const auto transition = static_cast<std::uint64_t>(change.transition);
  std::size_t size = wire::field_size(f::transition, transition);
  for (const auto& s : change.changes)
    size += prefix_size(f::changes, single_size(s)) + single_size(s);
  if (!change.context.empty())
    size += prefix_size(f::context, change.context.size()) + change.context.size();
  return written(size, [&](writer& w) {
    for (const auto& s : change.changes) {
      w.prefix(f::changes, single_size(s));
      w.field(f::op, static_cast<std::uint64_t>(s.op));
      w.field(f::node, s.node.value());
    }
    w.field(f::transition, transition);
    if (!change.context.empty()) {
      w.prefix(f::context, change.context.size());
      w.raw(change.context.bytes());
    }
  });
}

namespace {
bool read_single(slice body, conf_change::single& s) {
  reader r(std::move(body));
  while (r.next()) {
    switch (r.field()) {
      case f::op: {
        const std::uint64_t op = r.varint();
        if (op > static_cast<std::uint64_t>(conf_op::witness)) return false;
        s.op = static_cast<conf_op>(op);
        break;
      }
      case f::node:
        s.node = node_id{r.varint()};
        break;
      default:
        r.skip();
    }
  }
  return !r.failed();
}
}  // namespace

tl::expected<conf_change, error> decode_conf_change(const slice& data) {
  conf_change change;
  reader r(data);
  while (r.next()) {
    switch (r.field()) {
      case f::changes:
        if (!read_single(r.bytes(), change.changes.emplace_back())) r.fail();
        break;
      case f::transition: {
        const std::uint64_t t = r.varint();
        if (t > static_cast<std::uint64_t>(conf_transition::explicit_)) r.fail();
        change.transition = static_cast<conf_transition>(t);
        break;
      }
      case f::context:
        change.context = r.bytes();
        break;
      default:
        r.skip();
    }
  }
  if (r.failed()) return garbage("not a configuration change");
  return change;
}

}  // namespace blixard::raft
