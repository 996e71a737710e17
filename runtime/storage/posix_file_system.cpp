// The real file system: libc calls, each error turned into a storage_error with the path.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "messages/unique_fd.hpp"
#include "runtime/base/background.hpp"
#include "runtime/storage/file_system.hpp"

namespace blixard::storage {
namespace {

tl::unexpected<storage_error> fail_sys(std::string_view what, const std::string& path) {
  return tl::unexpected(system_error(errno, what, path));
}

class posix_file final : public file {
 public:
  posix_file(unique_fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  result<std::size_t> pread(std::span<std::byte> into, std::uint64_t offset) override {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t n = ::pread(fd_.get(), into.data() + done, into.size() - done,
                                static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_sys("read", path_);
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  result<void> pwritev(std::span<const iovec> pieces, std::uint64_t offset) override {
    std::size_t skip = 0;  // bytes of the first piece that are written already
    while (!pieces.empty()) {
      if (skip == pieces.front().iov_len) {
        pieces = pieces.subspan(1);
        skip = 0;
        continue;
      }
      const ssize_t n = skip > 0 ? write_rest(pieces.front(), skip, offset)
                                 : ::pwritev(fd_.get(), pieces.data(), batch(pieces.size()),
                                             static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_sys("write", path_);
      offset += static_cast<std::uint64_t>(n);
      skip += static_cast<std::size_t>(n);
      while (!pieces.empty() && skip >= pieces.front().iov_len) {
        skip -= pieces.front().iov_len;
        pieces = pieces.subspan(1);
      }
    }
    return {};
  }

  result<void> sync() override {
    if (::fdatasync(fd_.get()) != 0) return fail_sys("sync", path_);
    return {};
  }
  result<void> truncate(std::uint64_t size) override {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) return fail_sys("resize", path_);
    return {};
  }
  result<std::uint64_t> size() override {
    struct stat st {};
    if (::fstat(fd_.get(), &st) != 0) return fail_sys("examine", path_);
    return static_cast<std::uint64_t>(st.st_size);
  }
  void start_writeback(std::uint64_t offset, std::uint64_t size) override {
    // Only a hint: the sync that counts reports the errors.
    (void)::sync_file_range(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(size),
                            SYNC_FILE_RANGE_WRITE);
  }

 private:
  static int batch(std::size_t pieces) {
    return static_cast<int>(std::min<std::size_t>(pieces, IOV_MAX));
  }
  ssize_t write_rest(const iovec& piece, std::size_t skip, std::uint64_t offset) {
    return ::pwrite(fd_.get(), static_cast<const std::byte*>(piece.iov_base) + skip,
                    piece.iov_len - skip, static_cast<off_t>(offset));
  }

  unique_fd fd_;
  std::string path_;
};

class posix_lock final : public file_lock {
 public:
  explicit posix_lock(unique_fd fd) : fd_(std::move(fd)) {}

 private:
  unique_fd fd_;
};

int flags_of(open_mode mode) {
  switch (mode) {
    case open_mode::read:
      return O_RDONLY;
    case open_mode::write:
      return O_RDWR;
    case open_mode::create:
      return O_RDWR | O_CREAT;
    case open_mode::create_new:
      return O_RDWR | O_CREAT | O_TRUNC;
  }
  return O_RDONLY;
}

// Below this a file is gone in less time than it takes to wake a thread.
constexpr off_t slow_to_free_bytes = 1 << 20;
// So much is freed at once: a sync of another file waits for it (ext4), 0.3 ms a mebibyte.
constexpr off_t freed_at_once_bytes = 2 << 20;
constexpr std::chrono::milliseconds between_frees{2};

}  // namespace

// A file whose name is gone lives on until it is closed: that is what takes long. Any thread may
// hand one in; the thread starts with the first.
class posix_file_system::remover {
 public:
  remover() = default;
  remover(const remover&) = delete;
  remover& operator=(const remover&) = delete;
  ~remover() {
    {
      const std::lock_guard guard(lock_);
      ended_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

  void close_later(unique_fd file) {
    const std::lock_guard guard(lock_);
    if (!thread_.joinable()) start();
    if (!thread_.joinable()) return;  // closed here
    files_.push_back(std::move(file));
    changed_.notify_one();
  }

 private:
  void start() {
    try {
      thread_ = std::thread([this] { run(); });
    } catch (const std::system_error&) {
      // No thread to be had now: perhaps the next time.
    }
  }
  void run() {
    const background pace;
    std::unique_lock guard(lock_);
    for (;;) {
      changed_.wait(guard, [this] { return ended_ || !files_.empty(); });
      if (files_.empty()) return;
      auto batch = std::exchange(files_, {});
      guard.unlock();
      for (const auto& file : batch) shrink(file);
      batch.clear();
      guard.lock();
    }
  }
  // To nothing, bit by bit; at once when this object ends, or where it cannot be done.
  void shrink(const unique_fd& file) {
    struct stat st {};
    if (::fstat(file.get(), &st) != 0 || st.st_nlink != 0) return;  // it has another name
    for (off_t left = st.st_size - freed_at_once_bytes; left > 0; left -= freed_at_once_bytes) {
      if (::ftruncate(file.get(), left) != 0) return;
      std::unique_lock guard(lock_);
      if (changed_.wait_for(guard, between_frees, [this] { return ended_; })) return;
    }
  }

  std::mutex lock_;
  std::condition_variable changed_;
  std::vector<unique_fd> files_;  // under lock_
  bool ended_ = false;            // under lock_
  std::thread thread_;            // started under lock_
};

posix_file_system::posix_file_system() : remover_(std::make_unique<remover>()) {}
posix_file_system::~posix_file_system() = default;

result<std::unique_ptr<file>> posix_file_system::open(const std::string& path, open_mode mode) {
  unique_fd fd{::open(path.c_str(), flags_of(mode) | O_CLOEXEC, 0640)};
  if (fd.get() < 0) return fail_sys("open", path);
  return std::make_unique<posix_file>(std::move(fd), path);
}

result<std::unique_ptr<file_lock>> posix_file_system::lock(const std::string& path) {
  unique_fd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640)};
  if (fd.get() < 0) return fail_sys("open", path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_sys("lock", path);
    return fail(storage_errc::locked,
                path +
                    " is locked: another node runs on this data directory; stop it, or use "
                    "another --data-dir");
  }
  return std::make_unique<posix_lock>(std::move(fd));
}

result<std::vector<std::string>> posix_file_system::list(const std::string& dir) {
  std::vector<std::string> names;
  DIR* handle = ::opendir(dir.c_str());
  if (handle == nullptr) return fail_sys("list", dir);
  while (true) {
    errno = 0;
    const dirent* one = ::readdir(handle);
    if (one == nullptr) break;
    struct stat st {};
    const std::string path = dir + "/" + one->d_name;
    if (::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode)) names.emplace_back(one->d_name);
  }
  const int sys = errno;
  ::closedir(handle);
  if (sys != 0) return tl::unexpected(system_error(sys, "list", dir));
  std::ranges::sort(names);
  return names;
}

result<void> posix_file_system::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return fail_sys("rename", from);
  return {};
}

result<void> posix_file_system::unlink(const std::string& path) {
  unique_fd held{::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)};
  struct stat st {};
  const bool large =
      held.get() >= 0 && ::fstat(held.get(), &st) == 0 && st.st_size >= slow_to_free_bytes;
  if (::unlink(path.c_str()) != 0) return fail_sys("remove", path);
  if (large) remover_->close_later(std::move(held));
  return {};
}

result<bool> posix_file_system::exists(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_sys("examine", path);
}

result<void> posix_file_system::make_dir(const std::string& path) {
  for (std::size_t end = 1; end <= path.size(); ++end) {
    if (end != path.size() && path[end] != '/') continue;
    const std::string part = path.substr(0, end);
    const bool made = ::mkdir(part.c_str(), 0750) == 0;
    struct stat st {};
    // Where it exists, mkdir may also say that the file system is read-only.
    if (!made && (errno == EEXIST || errno == EROFS) && ::stat(part.c_str(), &st) == 0) continue;
    if (!made) return fail_sys("make the directory", part);
    // A new directory is as lost as its content if its own name is not durable.
    const auto slash = part.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : part.substr(0, slash + 1);
    if (auto done = sync_dir(parent); !done) return done;
  }
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return fail_sys("examine", path);
  if (!S_ISDIR(st.st_mode)) return tl::unexpected(system_error(ENOTDIR, "use", path));
  return {};
}

result<void> posix_file_system::sync_dir(const std::string& dir) {
  unique_fd fd{::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (fd.get() < 0) return fail_sys("open", dir);
  if (::fsync(fd.get()) != 0) return fail_sys("sync", dir);
  return {};
}

}  // namespace blixard::storage
