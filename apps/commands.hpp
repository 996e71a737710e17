// The programs inside the one binary. Each takes the words behind its name and returns the exit
// code of the process.
#pragma once

#include "apps/args.hpp"

namespace blixard::apps {

int run_ctl(const strings& args);
int run_repl(const strings& args);
int run_bench(const strings& args);

}  // namespace blixard::apps
