// A broken invariant: which check, and what it saw. And what is none: a process that gives up.
#pragma once

#include <stdexcept>
#include <string>

namespace blixard::sim {

class failure : public std::runtime_error {
 public:
  failure(std::string check, const std::string& what)
      : std::runtime_error(what), check_(std::move(check)) {}
  [[nodiscard]] const std::string& check() const noexcept { return check_; }

 private:
  std::string check_;
};

/// What ends a process without being anybody's fault but its disk's: not a broken invariant.
struct process_ended {
  std::string why;
};

/// An empty disk: the cluster must be asked first.
struct not_admitted {};

}  // namespace blixard::sim
