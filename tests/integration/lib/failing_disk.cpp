// A library to be preloaded, so that a node of the very build that is shipped meets a failing disk:
// in the folder FAILING_DISK, a file `sync` makes every sync fail with EIO while it exists, and a
// file `full` every gathered write (those of the log) with ENOSPC.
#include <dlfcn.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace {

bool is_on(const char* what) {
  const char* folder = std::getenv("FAILING_DISK");
  return folder != nullptr && access((std::string{folder} + "/" + what).c_str(), F_OK) == 0;
}

int fail(int error) {
  errno = error;
  return -1;
}

template <class Call>
Call next(const char* name) {
  return reinterpret_cast<Call>(dlsym(RTLD_NEXT, name));
}

using sync_call = int (*)(int);
using write_call = ssize_t (*)(int, const iovec*, int, off_t);

}  // namespace

extern "C" int fdatasync(int fd) {
  return is_on("sync") ? fail(EIO) : next<sync_call>("fdatasync")(fd);
}
extern "C" int fsync(int fd) { return is_on("sync") ? fail(EIO) : next<sync_call>("fsync")(fd); }
extern "C" ssize_t pwritev(int fd, const iovec* pieces, int count, off_t offset) {
  return is_on("full") ? fail(ENOSPC) : next<write_call>("pwritev")(fd, pieces, count, offset);
}
