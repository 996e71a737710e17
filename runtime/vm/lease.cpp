#include "runtime/vm/lease.hpp"

#include <fcntl.h>
#include <isa-l/crc.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "messages/check.hpp"
#include "runtime/vm/files.hpp"

namespace blixard::vm {
namespace {

constexpr std::uint64_t magic = 0x31455341454c5842ULL;  // "BXLEASE1"
constexpr std::size_t page_bytes = 4096;

struct slot {
  std::uint64_t incarnation;
  std::uint64_t deadline_ns;
  std::uint64_t boot;
  std::uint64_t crc;
};
struct page {
  std::uint64_t magic;
  std::uint64_t sequence;
  slot slots[2];
  std::uint64_t disk;
};
static_assert(sizeof(page) == 88);

std::uint64_t load(const std::uint64_t& word) noexcept {
  // The mapping may be read-only, but the object is not const: atomic_ref wants it writable.
  return std::atomic_ref(const_cast<std::uint64_t&>(word)).load(std::memory_order_acquire);
}
void store(std::uint64_t& word, std::uint64_t v) noexcept {
  std::atomic_ref(word).store(v, std::memory_order_release);
}

std::uint64_t checksum(const slot& s) noexcept {
  std::uint64_t words[3] = {s.incarnation, s.deadline_ns, s.boot};
  return crc32_iscsi(reinterpret_cast<unsigned char*>(words), sizeof words, 0xFFFFFFFFU);
}

slot load_slot(const slot& s) noexcept {
  return {load(s.incarnation), load(s.deadline_ns), load(s.boot), load(s.crc)};
}

/// Maps the file, which must have `page_bytes`.
tl::expected<void*, error> map_page(int fd, const std::string& path, bool writable) {
  const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* memory = ::mmap(nullptr, page_bytes, protection, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return tl::unexpected(system_error("cannot map " + path));
  return memory;
}

}  // namespace

std::uint64_t boottime_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(now.tv_nsec);
}

tl::expected<lease_page, error> lease_page::open(const std::string& path) {
  unique_fd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  if (!fd) return tl::unexpected(system_error("cannot open " + path));
  // Allocated, not sparse: a store into the mapping must not fail on a full disk.
  if (const int failed = ::posix_fallocate(fd.get(), 0, page_bytes); failed != 0)
    return tl::unexpected(system_error("cannot allocate " + path, failed));
  auto memory = map_page(fd.get(), path, true);
  if (!memory) return tl::unexpected(memory.error());
  lease_page result{*memory, boot_id_hash(), true};
  const lease_value kept = result.current();
  auto* p = static_cast<page*>(*memory);
  if (load(p->magic) != magic) {
    std::memset(*memory, 0, page_bytes);
    store(p->magic, magic);
  }
  if (kept == lease_value{}) result.publish({});
  while (load(p->disk) == 0) {
    std::uint64_t drawn = 0;
    if (::getrandom(&drawn, sizeof drawn, 0) != sizeof drawn)
      return tl::unexpected(system_error("cannot draw a random number"));
    store(p->disk, drawn);
  }
  return result;
}

tl::expected<lease_page, error> lease_page::open_readonly(const std::string& path) {
  unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return tl::unexpected(system_error("cannot open " + path));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || info.st_size < static_cast<off_t>(page_bytes))
    return tl::unexpected(make_error(errc::internal, path + " is no lease page"));
  auto memory = map_page(fd.get(), path, false);
  if (!memory) return tl::unexpected(memory.error());
  return lease_page{*memory, boot_id_hash(), false};
}

lease_page::lease_page(lease_page&& o) noexcept
    : memory_(std::exchange(o.memory_, nullptr)), boot_(o.boot_), writable_(o.writable_) {}

lease_page& lease_page::operator=(lease_page&& o) noexcept {
  std::swap(memory_, o.memory_);
  std::swap(boot_, o.boot_);
  std::swap(writable_, o.writable_);
  return *this;
}

lease_page::~lease_page() {
  if (memory_ != nullptr) ::munmap(memory_, page_bytes);
}

std::uint64_t lease_page::disk() const noexcept { return load(static_cast<page*>(memory_)->disk); }

void lease_page::extend(std::uint64_t incarnation, std::uint64_t deadline_boottime_ns) noexcept {
  const lease_value now = current();
  if (incarnation < now.incarnation) return;
  if (deadline_boottime_ns <= now.deadline_ns) return;
  publish({incarnation, deadline_boottime_ns});
}

void lease_page::revoke() noexcept { publish({current().incarnation, 0}); }

void lease_page::publish(lease_value v) noexcept {
  CHECK(writable_);
  auto* p = static_cast<page*>(memory_);
  const std::uint64_t next = load(p->sequence) + 1;
  slot fresh{v.incarnation, v.deadline_ns, boot_, 0};
  fresh.crc = checksum(fresh);
  slot& target = p->slots[next & 1];
  store(target.incarnation, fresh.incarnation);
  store(target.deadline_ns, fresh.deadline_ns);
  store(target.boot, fresh.boot);
  store(target.crc, fresh.crc);
  store(p->sequence, next);
}

lease_value lease_page::current() const noexcept {
  const auto* p = static_cast<const page*>(memory_);
  if (load(p->magic) != magic) return {};
  // A slot is rewritten only by the publication after next: two tries see a stable one unless the
  // writer is publishing continuously, and then "no lease" is the safe answer.
  for (int attempt = 0; attempt < 16; ++attempt) {
    const std::uint64_t sequence = load(p->sequence);
    const slot s = load_slot(p->slots[sequence & 1]);
    if (s.crc != checksum(s)) continue;
    if (s.boot != boot_) return {};
    return {s.incarnation, s.deadline_ns};
  }
  return {};
}

}  // namespace blixard::vm
