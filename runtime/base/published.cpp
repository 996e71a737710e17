// The status page in memory and in its file; the protocol stands in published.hpp.
#include "runtime/base/published.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <new>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>

#include "messages/unique_fd.hpp"

namespace blixard {
namespace {

constexpr std::uint64_t page_magic = 0x3154415453584C42;  // "BLXSTAT1"
constexpr std::uint32_t page_version = 1;
constexpr std::size_t file_bytes = 4096;
static_assert(sizeof(detail::published_page) <= file_bytes);

// A write takes some ten nanoseconds; a reader that meets one spins this often before it lets the
// writer's thread have the core.
constexpr std::uint64_t spins = 128;
// For a reader in another process: the writer may have been killed or stopped in the middle.
constexpr std::uint64_t foreign_attempts = 20'000;

error file_error(const std::string& path, const char* what, int error_number) {
  const auto code = error_number == ENOSPC || error_number == EDQUOT ? errc::disk_full
                    : error_number == ENOENT                         ? errc::not_found
                                                                     : errc::internal;
  return make_error(code, path + ": " + what + ": " +
                              std::error_code(error_number, std::generic_category()).message());
}

/// Clock ticks after boot at which a process started; 0 if there is none.
std::uint64_t start_ticks_of(std::uint32_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const auto after_name = text.rfind(')');
  if (after_name == std::string::npos) return 0;
  std::istringstream fields(text.substr(after_name + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  std::uint64_t ticks = 0;
  fields >> ticks;
  return ticks;
}

/// Closes a descriptor at the end of a scope; a mapping outlives it.
template <class T>
bool try_often(const detail::seqlocked<T>& group, T& out, std::uint64_t attempts) noexcept {
  for (std::uint64_t i = 0; i < attempts; ++i) {
    if (group.try_read(out)) return true;
    if (i % spins == spins - 1) std::this_thread::yield();
  }
  return false;
}
/// Once more until it is whole. Kept out of the way of the first attempt, which almost always is.
template <class T>
[[gnu::noinline]] void read_again(const detail::seqlocked<T>& group, T& out,
                                  std::atomic<std::uint64_t>& rereads) noexcept {
  rereads.fetch_add(1, std::memory_order_relaxed);
  while (!try_often(group, out, spins)) {
  }
}
/// By value, so that it is made where the caller wants it: both groups in one object that is zeroed
/// as a whole first cost twice as much (a `rep stos` of 112 bytes).
template <class T>
[[gnu::always_inline]] inline T read_group(const detail::seqlocked<T>& group,
                                           std::atomic<std::uint64_t>& rereads) noexcept {
  T out;
  if (!group.try_read(out)) [[unlikely]]
    read_again(group, out, rereads);
  return out;
}

}  // namespace

std::optional<published_status> detail::read_status(const published_page& page,
                                                    std::uint64_t attempts) noexcept {
  published_status out;
  // This order makes applied <= commit: see the header.
  if (!try_often(page.state, out.state, attempts)) return std::nullopt;
  if (!try_often(page.raft, out.raft, attempts)) return std::nullopt;
  return out;
}

// ---------------------------------------------------------------- this process

published::published() : own_(std::make_unique<detail::published_page>()), page_(own_.get()) {}

published::published(detail::published_page* mapped) noexcept : mapped_(mapped), page_(mapped) {}

published::~published() {
  if (mapped_ != nullptr) ::munmap(mapped_, file_bytes);
}

tl::expected<std::unique_ptr<published>, error> published::create(const std::string& path,
                                                                  node_id node,
                                                                  cluster_id cluster) {
  const unique_fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (fd.get() < 0) return tl::unexpected(file_error(path, "open", errno));
  // Allocated now: a full disk must be an error here, not a SIGBUS at the first write.
  if (const int failed = ::posix_fallocate(fd.get(), 0, file_bytes); failed != 0)
    return tl::unexpected(file_error(path, "allocate", failed));
  void* memory = ::mmap(nullptr, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return tl::unexpected(file_error(path, "map", errno));

  // What an earlier process left is kept until it is written over: its readers stay mapped, and the
  // sequence numbers must go on, not back.
  auto* page = static_cast<detail::published_page*>(memory);
  auto& header = page->header;
  const bool is_fresh = header.magic.load(std::memory_order_relaxed) != page_magic ||
                        header.version.load(std::memory_order_relaxed) != page_version;
  if (is_fresh) new (page) detail::published_page;
  const auto pid = static_cast<std::uint32_t>(::getpid());
  header.version.store(page_version, std::memory_order_relaxed);
  header.pid.store(pid, std::memory_order_relaxed);
  header.start_ticks.store(start_ticks_of(pid), std::memory_order_relaxed);
  header.node.store(node.value(), std::memory_order_relaxed);
  header.cluster.store(cluster.value(), std::memory_order_relaxed);
  std::unique_ptr<published> out(new published(page));
  out->writes_before_ = page->raft.writes() + page->state.writes();
  out->set_state({});
  out->set_raft({});
  // release: who sees the magic number sees a whole page.
  header.magic.store(page_magic, std::memory_order_release);
  return out;
}

void published::set_raft(const published_raft& value) noexcept {
  page_->raft.write(value);
  // One writer: a flag that has not changed is not written, so that its readers keep their line.
  auto set = [](std::atomic<std::uint64_t>& flag, std::uint64_t now) {
    if (flag.load(std::memory_order_relaxed) != now) flag.store(now, std::memory_order_relaxed);
  };
  set(page_->flags.is_leader, value.role == published_role::leader ? 1 : 0);
  set(page_->flags.leader, value.leader.value());
  set(page_->flags.term, value.term.value());
  set(page_->flags.cluster_size, value.cluster_size);
}

void published::set_state(const published_state& value) noexcept {
  page_->state.write(value);
  auto& flag = page_->flags.initialized;
  if (flag.load(std::memory_order_relaxed) != value.initialized)
    flag.store(value.initialized, std::memory_order_relaxed);
}

published_raft published::raft() const noexcept { return read_group(page_->raft, rereads_); }
published_state published::state() const noexcept { return read_group(page_->state, rereads_); }
published_status published::read() const noexcept {
  // Members are made in the order of their declaration, the state group first: see the header.
  return {.state = read_group(page_->state, rereads_), .raft = read_group(page_->raft, rereads_)};
}

// ---------------------------------------------------------------- another process

tl::expected<published_reader, error> published_reader::open(const std::string& path) {
  const unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return tl::unexpected(file_error(path, "open", errno));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return tl::unexpected(file_error(path, "stat", errno));
  // Mapping less than the file holds would make the first read a SIGBUS.
  if (!S_ISREG(status.st_mode) || static_cast<std::size_t>(status.st_size) < file_bytes)
    return tl::unexpected(make_error(errc::invalid_argument, path + ": not a status page"));
  void* memory = ::mmap(nullptr, file_bytes, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return tl::unexpected(file_error(path, "map", errno));
  published_reader out(static_cast<const detail::published_page*>(memory));
  const auto& header = out.page_->header;
  if (header.magic.load(std::memory_order_acquire) != page_magic)
    return tl::unexpected(make_error(errc::invalid_argument, path + ": not a status page"));
  if (const auto version = header.version.load(std::memory_order_relaxed); version != page_version)
    return tl::unexpected(
        make_error(errc::unsupported, path + ": status page of version " + std::to_string(version) +
                                          ", this program reads " + std::to_string(page_version)));
  return out;
}

published_reader::published_reader(published_reader&& o) noexcept
    : page_(std::exchange(o.page_, nullptr)) {}
published_reader& published_reader::operator=(published_reader&& o) noexcept {
  std::swap(page_, o.page_);
  return *this;
}
published_reader::~published_reader() {
  if (page_ != nullptr) ::munmap(const_cast<detail::published_page*>(page_), file_bytes);
}

std::optional<published_status> published_reader::read() const noexcept {
  return detail::read_status(*page_, foreign_attempts);
}
bool published_reader::is_leader() const noexcept {
  return page_->flags.is_leader.load(std::memory_order_relaxed) != 0;
}
bool published_reader::initialized() const noexcept {
  return page_->flags.initialized.load(std::memory_order_relaxed) != 0;
}
std::uint32_t published_reader::pid() const noexcept {
  return page_->header.pid.load(std::memory_order_relaxed);
}
node_id published_reader::node() const noexcept {
  return node_id{page_->header.node.load(std::memory_order_relaxed)};
}
cluster_id published_reader::cluster() const noexcept {
  return cluster_id{page_->header.cluster.load(std::memory_order_relaxed)};
}
bool published_reader::is_writer_alive() const {
  const auto started = page_->header.start_ticks.load(std::memory_order_relaxed);
  return started != 0 && start_ticks_of(pid()) == started;
}

}  // namespace blixard
