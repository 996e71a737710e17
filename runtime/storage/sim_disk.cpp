// How the simulation works: a file has two images, what reads see and what the platter holds.
// Writes change the first at once and are queued for the second; a sync moves a file's queue over;
// a crash moves some of it and forgets the rest. Name changes have a queue of their own per
// directory entry.
#include "runtime/storage/sim_disk.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <set>

#include "messages/check.hpp"
#include "messages/limits.hpp"

namespace blixard::storage {
namespace {

using bytes = std::vector<std::byte>;
constexpr std::uint64_t sector = limits::sector_bytes;

struct data_op {
  std::uint64_t order = 0;
  bool resize = false;
  std::uint64_t offset = 0;  // or the new size
  bytes data;

  /// A write counts once per sector that it touches, a resize once.
  [[nodiscard]] std::size_t units() const {
    if (resize || data.empty()) return 1;
    return static_cast<std::size_t>((offset + data.size() - 1) / sector - offset / sector + 1);
  }
};

struct inode {
  bytes live;
  bytes durable;
  std::deque<data_op> queue;
};
using inode_ptr = std::shared_ptr<inode>;

struct name_op {
  std::uint64_t order = 0;
  std::string dir;
  std::string path;
  inode_ptr target;    // null: unlink
  std::string remove;  // the old name of a rename, else empty
};

std::string dir_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? std::string{"."} : path.substr(0, slash);
}

/// Puts the sectors of `op` for which `keep(i)` holds into `image`.
template <class Keep>
void settle(bytes& image, const data_op& op, Keep keep) {
  if (op.resize) {
    if (keep(0)) image.resize(op.offset);
    return;
  }
  std::size_t done = 0;
  for (std::size_t unit = 0; done < op.data.size(); ++unit) {
    const std::uint64_t at = op.offset + done;
    const auto size = static_cast<std::size_t>(
        std::min<std::uint64_t>(sector - at % sector, op.data.size() - done));
    if (keep(unit)) {
      if (image.size() < at + size) image.resize(at + size);
      std::memcpy(image.data() + at, op.data.data() + done, size);
    }
    done += size;
  }
}

/// The whole of it.
void settle(bytes& image, const data_op& op) {
  if (op.resize) return image.resize(op.offset);
  if (op.data.empty()) return;
  if (image.size() < op.offset + op.data.size()) image.resize(op.offset + op.data.size());
  std::memcpy(image.data() + op.offset, op.data.data(), op.data.size());
}

void settle_name(std::map<std::string, inode_ptr>& names, const name_op& op) {
  if (!op.remove.empty()) names.erase(op.remove);
  if (op.target)
    names[op.path] = op.target;
  else
    names.erase(op.path);
}

storage_error dead_handle() { return system_error(EBADF, "use", "a file of a dead process"); }

}  // namespace

struct sim_disk::state {
  std::map<std::string, inode_ptr> names;
  std::map<std::string, inode_ptr> durable_names;
  std::deque<name_op> name_queue;
  std::set<std::string> dirs;
  std::set<std::string> locks;
  disk_faults faults;
  std::uint64_t random = 0;
  std::uint64_t order = 0;
  std::uint64_t life = 0;  // open files of an earlier one are dead
  std::uint64_t fail_sync_in = 0;
  std::uint64_t fail_write_in = 0;
  int fail_sync_sys = 0;
  int fail_write_sys = 0;
  int fail_opens_sys = 0;
  std::uint64_t syncs = 0;
  std::uint64_t writes = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t lies = 0;
  std::uint64_t power_lost_in = 0;  // calls
  std::uint64_t lose_write_in = 0;  // sectors
  std::uint64_t misdirect_in = 0;
  bool powerless = false;

  /// splitmix64
  std::uint64_t next() {
    std::uint64_t z = (random += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  bool chance(std::uint32_t ppm) { return ppm != 0 && next() % 1'000'000 < ppm; }

  [[nodiscard]] inode_ptr find(const std::string& path) const {
    const auto it = names.find(path);
    return it == names.end() ? nullptr : it->second;
  }
  [[nodiscard]] std::uint64_t used() const {
    std::uint64_t total = 0;
    for (const auto& [path, node] : names) total += node->live.size();
    return total;
  }
  void queue_name(name_op op) {
    op.order = ++order;
    op.dir = dir_of(op.path);
    settle_name(names, op);
    name_queue.push_back(std::move(op));
  }
  /// Every file that exists in either view, once, in an order that does not depend on addresses.
  [[nodiscard]] std::vector<inode_ptr> files() const {
    std::vector<inode_ptr> all;
    const auto add = [&all](const inode_ptr& node) {
      if (node && std::ranges::find(all, node) == all.end()) all.push_back(node);
    };
    for (const auto& [path, node] : names) add(node);
    for (const auto& [path, node] : durable_names) add(node);
    for (const auto& op : name_queue) add(op.target);
    return all;
  }
  /// Counts a call that changes or syncs something. True: the power fails, or failed, in it.
  bool power_fails() {
    if (power_lost_in != 0 && --power_lost_in == 0) powerless = true;
    return powerless;
  }
  /// The errno that this sync is to fail with; 0: it may go on.
  int sync_fault() {
    if (power_fails()) return EIO;
    if (fail_sync_in != 0 && --fail_sync_in == 0) return fail_sync_sys;
    return chance(faults.sync_error_ppm) ? EIO : 0;
  }
  [[nodiscard]] bool is_honest() const {
    return faults.lost_write_ppm == 0 && faults.misdirected_write_ppm == 0 && lose_write_in == 0 &&
           misdirect_in == 0;
  }
  void write(inode& node, data_op op);
  void forget(inode& node);
  void spoil(inode& node, data_op op);
  void restart_from_durable();
};

/// Changes what reads see, and queues what the platter gets: whole, in part or somewhere else.
void sim_disk::state::write(inode& node, data_op op) {
  settle(node.live, op);
  op.order = ++order;
  if (is_honest()) {
    node.queue.push_back(std::move(op));
    return;
  }
  for (std::size_t done = 0; done < op.data.size();) {
    const std::uint64_t at = op.offset + done;
    const auto size = static_cast<std::size_t>(
        std::min<std::uint64_t>(sector - at % sector, op.data.size() - done));
    data_op one{op.order, false, at, {}};
    one.data.assign(op.data.begin() + static_cast<std::ptrdiff_t>(done),
                    op.data.begin() + static_cast<std::ptrdiff_t>(done + size));
    done += size;
    const bool lost = lose_write_in != 0 && --lose_write_in == 0;
    const bool astray = misdirect_in != 0 && --misdirect_in == 0;
    if (lost || chance(faults.lost_write_ppm)) {
      ++lies;
      continue;
    }
    if ((astray || chance(faults.misdirected_write_ppm)) && node.live.size() >= sector) {
      ++lies;
      one.offset = next() % (node.live.size() / sector) * sector + at % sector;
    }
    node.queue.push_back(std::move(one));
  }
}

/// A failed sync: some of the sectors were written, nobody will try the others again.
void sim_disk::state::forget(inode& node) {
  for (const auto& op : node.queue)
    settle(node.durable, op, [this](std::size_t) {
      const bool kept = next() % 2 == 0;
      if (!kept) ++lies;
      return kept;
    });
  node.queue.clear();
}

void sim_disk::state::restart_from_durable() {
  for (const auto& node : files()) {
    node->queue.clear();
    node->live = node->durable;
  }
  name_queue.clear();
  names = durable_names;
  locks.clear();
  power_lost_in = 0;
  powerless = false;
  ++life;
}

class sim_file final : public file {
 public:
  sim_file(std::shared_ptr<sim_disk::state> disk, inode_ptr node, bool writable, std::string path)
      : disk_(std::move(disk)),
        node_(std::move(node)),
        life_(disk_->life),
        writable_(writable),
        path_(std::move(path)) {}

  result<std::size_t> pread(std::span<std::byte> into, std::uint64_t offset) override {
    if (life_ != disk_->life) return tl::unexpected(dead_handle());
    if (offset >= node_->live.size()) return 0;
    const auto n =
        static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), node_->live.size() - offset));
    if (n != 0) std::memcpy(into.data(), node_->live.data() + offset, n);
    return n;
  }

  result<void> pwritev(std::span<const iovec> pieces, std::uint64_t offset) override {
    if (life_ != disk_->life) return tl::unexpected(dead_handle());
    if (!writable_) return tl::unexpected(system_error(EBADF, "write", path_));
    data_op op;
    op.offset = offset;
    std::size_t size = 0;
    for (const iovec& piece : pieces) size += piece.iov_len;
    op.data.reserve(size);
    for (const iovec& piece : pieces) {
      const auto* from = static_cast<const std::byte*>(piece.iov_base);
      op.data.insert(op.data.end(), from, from + piece.iov_len);
    }
    if (op.data.empty()) return {};
    if (disk_->powerless) return tl::unexpected(system_error(EIO, "write", path_));
    ++disk_->writes;
    disk_->bytes_written += op.data.size();
    if (const int sys = write_fault(op); sys != 0) {
      // A part of it arrives, as with a real disk.
      op.data.resize(disk_->next() % op.data.size());
      if (!op.data.empty()) disk_->write(*node_, std::move(op));
      return tl::unexpected(system_error(sys, "write", path_));
    }
    disk_->write(*node_, std::move(op));
    return {};
  }

  result<void> sync() override {
    if (life_ != disk_->life) return tl::unexpected(dead_handle());
    if (const int sys = disk_->sync_fault(); sys != 0) {
      if (disk_->faults.failed_sync_forgets && !disk_->powerless) disk_->forget(*node_);
      return tl::unexpected(system_error(sys, "sync", path_));
    }
    for (const auto& op : node_->queue) settle(node_->durable, op);
    node_->queue.clear();
    ++disk_->syncs;
    return {};
  }

  result<void> truncate(std::uint64_t size) override {
    if (life_ != disk_->life) return tl::unexpected(dead_handle());
    if (disk_->power_fails()) return tl::unexpected(system_error(EIO, "resize", path_));
    if (size > node_->live.size() && !fits(size - node_->live.size()))
      return tl::unexpected(system_error(ENOSPC, "resize", path_));
    data_op op{++disk_->order, true, size, {}};
    settle(node_->live, op);
    node_->queue.push_back(std::move(op));
    return {};
  }

  result<std::uint64_t> size() override {
    if (life_ != disk_->life) return tl::unexpected(dead_handle());
    return node_->live.size();
  }
  void start_writeback(std::uint64_t, std::uint64_t) override {}

 private:
  [[nodiscard]] bool fits(std::uint64_t more) const {
    const std::uint64_t capacity = disk_->faults.capacity_bytes;
    return capacity == 0 || disk_->used() + more <= capacity;
  }
  int write_fault(const data_op& op) {
    if (disk_->power_fails()) return EIO;
    if (disk_->fail_write_in != 0 && --disk_->fail_write_in == 0) return disk_->fail_write_sys;
    if (disk_->chance(disk_->faults.write_error_ppm)) return EIO;
    const std::uint64_t end = op.offset + op.data.size();
    if (end > node_->live.size() && !fits(end - node_->live.size())) return ENOSPC;
    return 0;
  }

  std::shared_ptr<sim_disk::state> disk_;
  inode_ptr node_;
  std::uint64_t life_;
  bool writable_;
  std::string path_;
};

namespace {

/// Gives the lock back, unless the process that held it has died in between.
class sim_lock final : public file_lock {
 public:
  explicit sim_lock(std::function<void()> release) : release_(std::move(release)) {}
  ~sim_lock() override { release_(); }

 private:
  std::function<void()> release_;
};

}  // namespace

sim_disk::sim_disk(std::uint64_t seed) : state_(std::make_shared<state>()) {
  state_->random = seed;
  state_->dirs = {".", "/"};
}
sim_disk::~sim_disk() = default;

sim_disk::sim_disk(const sim_disk& other) : state_(std::make_shared<state>(*other.state_)) {
  std::map<const inode*, inode_ptr> copies;
  const auto copy = [&copies](inode_ptr& node) {
    if (!node) return;
    auto& mine = copies[node.get()];
    if (!mine) mine = std::make_shared<inode>(*node);
    node = mine;
  };
  for (auto& [path, node] : state_->names) copy(node);
  for (auto& [path, node] : state_->durable_names) copy(node);
  for (auto& op : state_->name_queue) copy(op.target);
  state_->locks.clear();
}

result<std::unique_ptr<file>> sim_disk::open(const std::string& path, open_mode mode) {
  if (!state_->dirs.contains(dir_of(path)))
    return tl::unexpected(system_error(ENOENT, "open", path));
  if (state_->fail_opens_sys != 0)
    return tl::unexpected(system_error(state_->fail_opens_sys, "open", path));
  auto node = state_->find(path);
  if (!node) {
    if (mode == open_mode::read || mode == open_mode::write)
      return tl::unexpected(system_error(ENOENT, "open", path));
    if (state_->power_fails()) return tl::unexpected(system_error(EIO, "make", path));
    node = std::make_shared<inode>();
    state_->queue_name({0, {}, path, node, {}});
  }
  auto handle = std::make_unique<sim_file>(state_, node, mode != open_mode::read, path);
  if (mode == open_mode::create_new) {
    if (auto done = handle->truncate(0); !done) return tl::unexpected(done.error());
  }
  return handle;
}

result<std::unique_ptr<file_lock>> sim_disk::lock(const std::string& path) {
  if (!state_->dirs.contains(dir_of(path)))
    return tl::unexpected(system_error(ENOENT, "open", path));
  if (!state_->locks.insert(path).second)
    return fail(storage_errc::locked, path + " is locked: another node runs on it");
  return std::make_unique<sim_lock>([disk = state_, life = state_->life, path] {
    if (disk->life == life) disk->locks.erase(path);
  });
}

result<std::vector<std::string>> sim_disk::list(const std::string& dir) {
  if (!state_->dirs.contains(dir)) return tl::unexpected(system_error(ENOENT, "list", dir));
  std::vector<std::string> found;
  for (const auto& [path, node] : state_->names)
    if (dir_of(path) == dir) found.push_back(path.substr(dir.size() + 1));
  std::ranges::sort(found);
  return found;
}

result<void> sim_disk::rename(const std::string& from, const std::string& to) {
  const auto node = state_->find(from);
  if (!node) return tl::unexpected(system_error(ENOENT, "rename", from));
  if (state_->power_fails()) return tl::unexpected(system_error(EIO, "rename", from));
  CHECK_EQ(dir_of(from), dir_of(to));
  state_->queue_name({0, {}, to, node, from});
  return {};
}

result<void> sim_disk::unlink(const std::string& path) {
  if (!state_->find(path)) return tl::unexpected(system_error(ENOENT, "remove", path));
  if (state_->power_fails()) return tl::unexpected(system_error(EIO, "remove", path));
  state_->queue_name({0, {}, path, nullptr, {}});
  return {};
}

result<bool> sim_disk::exists(const std::string& path) {
  return state_->dirs.contains(path) || state_->find(path) != nullptr;
}

result<void> sim_disk::make_dir(const std::string& path) {
  // Directories are durable at once: nothing here depends on losing one.
  for (std::string part = path; !state_->dirs.contains(part); part = dir_of(part))
    state_->dirs.insert(part);
  return {};
}

result<void> sim_disk::sync_dir(const std::string& dir) {
  if (!state_->dirs.contains(dir)) return tl::unexpected(system_error(ENOENT, "sync", dir));
  if (state_->fail_opens_sys != 0)
    return tl::unexpected(system_error(state_->fail_opens_sys, "open", dir));
  if (const int sys = state_->sync_fault(); sys != 0)
    return tl::unexpected(system_error(sys, "sync", dir));
  for (const auto& op : state_->name_queue)
    if (op.dir == dir) settle_name(state_->durable_names, op);
  std::erase_if(state_->name_queue, [&dir](const name_op& op) { return op.dir == dir; });
  return {};
}

void sim_disk::set_faults(const disk_faults& faults) { state_->faults = faults; }
void sim_disk::fail_sync(std::uint64_t nth, int sys) {
  state_->fail_sync_in = nth;
  state_->fail_sync_sys = sys;
}
void sim_disk::fail_write(std::uint64_t nth, int sys) {
  state_->fail_write_in = nth;
  state_->fail_write_sys = sys;
}
void sim_disk::fail_opens(int sys) { state_->fail_opens_sys = sys; }

void sim_disk::lose_power_in(std::uint64_t nth) { state_->power_lost_in = nth; }
void sim_disk::lose_write(std::uint64_t nth) { state_->lose_write_in = nth; }
void sim_disk::misdirect_write(std::uint64_t nth) { state_->misdirect_in = nth; }
bool sim_disk::has_power() const noexcept { return !state_->powerless; }

std::size_t sim_disk::pending() const noexcept {
  std::size_t total = state_->name_queue.size();
  for (const auto& node : state_->files())
    for (const auto& op : node->queue) total += op.units();
  return total;
}

void sim_disk::crash_keeping_first(std::size_t n) {
  struct step {
    std::uint64_t order;
    inode_ptr node;  // null: a name change
    std::size_t at;
  };
  std::vector<step> steps;
  for (const auto& node : state_->files())
    for (std::size_t i = 0; i < node->queue.size(); ++i)
      steps.push_back({node->queue[i].order, node, i});
  for (std::size_t i = 0; i < state_->name_queue.size(); ++i)
    steps.push_back({state_->name_queue[i].order, nullptr, i});
  std::ranges::stable_sort(steps, {}, &step::order);
  for (const auto& [order, node, at] : steps) {
    if (n == 0) break;
    if (!node) {
      settle_name(state_->durable_names, state_->name_queue[at]);
      --n;
      continue;
    }
    const data_op& op = node->queue[at];
    const std::size_t kept = std::min(n, op.units());
    settle(node->durable, op, [kept](std::size_t unit) { return unit < kept; });
    n -= kept;
  }
  state_->restart_from_durable();
}

void sim_disk::crash() {
  for (const auto& node : state_->files())
    for (const auto& op : node->queue)
      settle(node->durable, op, [this](std::size_t) { return state_->next() % 2 == 0; });
  const std::size_t names = state_->next() % (state_->name_queue.size() + 1);
  for (std::size_t i = 0; i < names; ++i) settle_name(state_->durable_names, state_->name_queue[i]);
  state_->restart_from_durable();
}

void sim_disk::replace() {
  state_->names.clear();
  state_->durable_names.clear();
  state_->name_queue.clear();
  state_->dirs.clear();
  state_->restart_from_durable();
}

void sim_disk::kill_process() {
  CHECK(has_power());
  state_->power_lost_in = 0;
  state_->locks.clear();
  ++state_->life;
}

/// Changes both images. What is still queued would write over the damage at the next sync, so that
/// the damage is queued behind it.
void sim_disk::state::spoil(inode& node, data_op op) {
  settle(node.live, op);
  const std::uint64_t end = op.resize ? op.offset : op.offset + op.data.size();
  if (end <= node.durable.size()) settle(node.durable, op);
  op.order = ++order;
  if (!node.queue.empty()) node.queue.push_back(std::move(op));
}

void sim_disk::flip_bit(const std::string& path, std::uint64_t offset, unsigned bit) {
  const auto node = state_->find(path);
  CHECK(node != nullptr);
  CHECK_LT(offset, node->live.size());
  const auto flipped = node->live[offset] ^ (std::byte{1} << static_cast<int>(bit));
  state_->spoil(*node, {0, false, offset, {flipped}});
}

void sim_disk::overwrite(const std::string& path, std::uint64_t offset,
                         std::span<const std::byte> with) {
  const auto node = state_->find(path);
  CHECK(node != nullptr);
  CHECK_LE(offset + with.size(), node->live.size());
  state_->spoil(*node, {0, false, offset, {with.begin(), with.end()}});
}

void sim_disk::zero(const std::string& path, std::uint64_t offset, std::uint64_t size) {
  overwrite(path, offset, bytes(size));
}

void sim_disk::cut(const std::string& path, std::uint64_t size) {
  const auto node = state_->find(path);
  CHECK(node != nullptr);
  CHECK_LE(size, node->live.size());
  state_->spoil(*node, {0, true, size, {}});
}

bool sim_disk::rot(const std::string& dir) {
  auto candidates = paths(dir + "/");
  std::erase_if(candidates, [this](const std::string& path) { return content(path).empty(); });
  if (candidates.empty()) return false;
  const auto& path = candidates[state_->next() % candidates.size()];
  // One after the other: in which order arguments are evaluated differs between compilers.
  const auto bit = static_cast<unsigned>(state_->next() % 8);
  const auto offset = state_->next() % content(path).size();
  flip_bit(path, offset, bit);
  return true;
}

std::vector<std::string> sim_disk::paths(const std::string& prefix) const {
  std::vector<std::string> found;
  for (const auto& [path, node] : state_->names)
    if (path.starts_with(prefix)) found.push_back(path);
  return found;
}
std::uint64_t sim_disk::used() const { return state_->used(); }

std::span<const std::byte> sim_disk::content(const std::string& path) const {
  const auto node = state_->find(path);
  if (!node) return {};
  return node->live;
}
std::uint64_t sim_disk::syncs() const noexcept { return state_->syncs; }
std::uint64_t sim_disk::bytes_written() const noexcept { return state_->bytes_written; }
std::uint64_t sim_disk::writes() const noexcept { return state_->writes; }
std::uint64_t sim_disk::lies() const noexcept { return state_->lies; }

}  // namespace blixard::storage
