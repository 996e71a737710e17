// raftlab: drives the Raft core that the node ships, over standard input and output.
//
// One JSON request per line in, one JSON answer per line out, in order, until `bye` or the end of
// the input. No clock, no threads, no randomness: the same input gives the same output, byte by
// byte.
#include <iostream>
#include <string>

#include "apps/raftlab/lab.hpp"

int main() {
  std::ios::sync_with_stdio(false);
  blixard::raft::lab::laboratory lab;
  std::string line;
  while (!lab.finished() && std::getline(std::cin, line)) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    // Whoever drives us waits for each answer.
    std::cout << lab.answer(line) << '\n' << std::flush;
  }
  return 0;
}
