// The programs that the VM tests start: a guard, and a daemon that can be killed.
//
//   vm_test_helper guard DIR [--no-lease]
//   vm_test_helper daemon DATA_DIR LEASE_MS   a supervisor with one process VM (id 1), and a lease
//   of
//       that length; prints "running PID" and then does nothing until it is killed
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "messages/cluster.pb.h"
#include "runtime/vm/guard.hpp"
#include "runtime/vm/supervisor.hpp"

namespace {

int daemon_main(const char* data_dir, const char* lease_ms) {
  using namespace blixard;
  auto lease = vm::lease_page::open(std::string{data_dir} + "/lease");
  if (!lease) return 1;
  lease->extend(1, vm::boottime_ns() + std::strtoull(lease_ms, nullptr, 10) * 1'000'000U);
  vm::supervisor_options options;
  options.data_dir = data_dir;
  options.guard_argv = {"/proc/self/exe", "guard"};
  options.backends = {vm::backend_kind::process};
  options.on_report = [](const pb::VmReport_One& r) {
    if (r.phase() != pb::PHASE_RUNNING) return;
    std::printf("running %llu\n", static_cast<unsigned long long>(r.pid()));
    std::fflush(stdout);
  };
  vm::supervisor supervisor{std::move(options)};
  if (!supervisor.start()) return 1;
  auto wish = std::make_shared<pb::Vm>();
  wish->set_id(1);
  wish->set_generation(1);
  wish->mutable_spec()->set_name("web");
  wish->mutable_spec()->set_backend(pb::BACKEND_PROCESS);
  supervisor.set_desired(wish);
  ::pause();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 2 && std::strcmp(argv[1], "guard") == 0)
    return blixard::vm::guard_main(argc - 2, argv + 2);
  if (argc == 4 && std::strcmp(argv[1], "daemon") == 0) return daemon_main(argv[2], argv[3]);
  std::fprintf(stderr, "usage: vm_test_helper guard|daemon ...\n");
  return 2;
}
