// blixard-sim: runs seeds, prints the hash of each history; a failing one tells what broke and how
// to see it again.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "tests/sim/world.hpp"

namespace {

using namespace blixard::sim;

constexpr const char* usage =
    "blixard-sim [--seed N] [--seeds K] [--ops M] [--nodes N] [--fault NAME=PROBABILITY]...\n"
    "            [--mutant NAME] [--hunt] [--shrink] [--events N] [--quiet] [--list]\n"
    "Simulates K clusters of whole nodes, seeds N, N+1, ...; exit code 1 if an invariant breaks.\n"
    "With --shrink a failing one is made smaller: fewer operations, nodes, faults.\n"
    "With --hunt: until one breaks; exit code 1 if none does. For planted bugs (--mutant).\n";

struct arguments {
  options run;
  std::uint64_t seeds = 1;
  bool quiet = false;
  bool hunt = false;
  bool shrink = false;
};

[[noreturn]] void wrong(const std::string& what) {
  std::fprintf(stderr, "%s\n%s", what.c_str(), usage);
  std::exit(2);
}

std::uint64_t number(const char* text) {
  char* end = nullptr;
  const auto n = std::strtoull(text, &end, 10);
  if (*text == '\0' || *end != '\0') wrong(std::string{"not a number: "} + text);
  return n;
}

[[noreturn]] void list() {
  for (std::size_t i = 0; i < fault_count; ++i)
    std::printf("fault %s\n", std::string{to_string(static_cast<fault>(i))}.c_str());
  for (const auto name : plantable()) std::printf("mutant %s\n", std::string{name}.c_str());
  std::exit(0);
}

arguments parse(int argc, char** argv) {
  arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name{argv[i]};
    if (name == "--quiet") {
      a.quiet = true;
      continue;
    }
    if (name == "--shrink") {
      a.shrink = true;
      continue;
    }
    if (name == "--hunt") {
      a.hunt = true;
      continue;
    }
    if (name == "--list") list();
    if (i + 1 == argc) wrong("unknown or without a value: " + std::string{name});
    const char* value = argv[++i];
    if (name == "--seed") {
      a.run.seed = number(value);
    } else if (name == "--seeds") {
      a.seeds = number(value);
    } else if (name == "--ops") {
      a.run.ops = number(value);
    } else if (name == "--events") {
      a.run.events = std::max<std::uint64_t>(number(value), 1);
    } else if (name == "--nodes") {
      a.run.nodes = number(value);
    } else if (name == "--fault") {
      if (!set_dial(a.run, value)) wrong(std::string{"not a fault: "} + value);
    } else if (name == "--mutant") {
      if (!plant_by_name(a.run, value)) wrong(std::string{"not a mutant here: "} + value);
    } else {
      wrong("unknown: " + std::string{name});
    }
  }
  return a;
}

void show(const options& o, const outcome& r) {
  for (const auto& line : r.last_events) std::printf("    %s\n", line.c_str());
  std::printf("seed %llu FAILED: %s: %s\n", static_cast<unsigned long long>(o.seed),
              r.check.c_str(), r.what.c_str());
  std::printf("replay: %s\n", replay_command(o).c_str());
}

// A smaller run that breaks the same invariant: fewer operations, fewer nodes, fewer kinds of
// faults, each rarer, until nothing more can be taken away. At most a few hundred runs.
options shrink(options o, const outcome& broken) {
  const auto dials = draw_dials(o);
  for (std::size_t i = 0; i < fault_count; ++i) o.fixed[i] = dials[i];
  const auto try_it = [&](const options& smaller) {
    const auto r = simulate(smaller);
    if (!r.failed || r.check != broken.check) return false;
    o = smaller;
    return true;
  };
  (void)try_it(o);
  for (bool progress = true; progress;) {
    progress = false;
    for (std::uint64_t cut = o.ops / 2; cut > 0; cut /= 2) {
      auto smaller = o;
      smaller.ops -= std::min(cut, o.ops - 1);
      progress = (smaller.ops < o.ops && try_it(smaller)) || progress;
    }
    if (auto smaller = o; o.nodes != 3) {
      smaller.nodes = 3;
      progress = try_it(smaller) || progress;
    }
    for (std::size_t i = 0; i < fault_count; ++i) {
      auto smaller = o;
      if (*o.fixed[i] == 0) continue;
      smaller.fixed[i] = 0;
      progress = try_it(smaller) || progress;
    }
  }
  return o;
}

void show_smaller(const options& o, const outcome& r) {
  const auto smaller = shrink(o, r);
  const auto again = simulate(smaller);
  for (const auto& line : again.last_events) std::printf("    %s\n", line.c_str());
  std::printf("smaller: %s: %s\nreplay: %s\n", again.check.c_str(), again.what.c_str(),
              replay_command(smaller).c_str());
}

// How many seeds it takes to find a planted bug, and which check finds it.
int hunt(const arguments& a) {
  for (std::uint64_t n = 0; n < a.seeds; ++n) {
    auto o = a.run;
    o.seed += n;
    const auto r = simulate(o);
    if (!r.failed) continue;
    std::printf("| %s | %s | %llu |\n", std::string{planted_in(o)}.c_str(), r.check.c_str(),
                static_cast<unsigned long long>(n + 1));
    return 0;
  }
  std::printf("%s was not found in %llu seeds\n", std::string{planted_in(a.run)}.c_str(),
              static_cast<unsigned long long>(a.seeds));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const auto a = parse(argc, argv);
  if (a.hunt) return hunt(a);
  int code = 0;
  for (std::uint64_t n = 0; n < a.seeds; ++n) {
    auto o = a.run;
    o.seed += n;
    const auto r = simulate(o);
    if (!a.quiet || r.failed)
      std::printf(
          "seed %llu hash %016llx ms %llu events %llu answered %llu commits %llu elections %llu "
          "crashes %llu installs %llu transfers %llu resumed %llu members %llu lost %llu downs "
          "%llu vms %llu "
          "undecided %llu\n",
          static_cast<unsigned long long>(o.seed), static_cast<unsigned long long>(r.hash),
          static_cast<unsigned long long>(r.virtual_ms), static_cast<unsigned long long>(r.events),
          static_cast<unsigned long long>(r.answered), static_cast<unsigned long long>(r.commits),
          static_cast<unsigned long long>(r.elections), static_cast<unsigned long long>(r.crashes),
          static_cast<unsigned long long>(r.installs), static_cast<unsigned long long>(r.transfers),
          static_cast<unsigned long long>(r.resumed),
          static_cast<unsigned long long>(r.members_changed),
          static_cast<unsigned long long>(r.disks_lost), static_cast<unsigned long long>(r.downs),
          static_cast<unsigned long long>(r.vm_starts),
          static_cast<unsigned long long>(r.undecided));
    std::fflush(stdout);
    if (!r.failed) continue;
    show(o, r);
    if (a.shrink) show_smaller(o, r);
    code = 1;
  }
  return code;
}
