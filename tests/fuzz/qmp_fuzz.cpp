// What QEMU says, cut anywhere: the same messages come out as of the whole, whatever it is.
#include "runtime/vm/qmp.hpp"

#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {
namespace {

std::string shown(const std::vector<vm::qmp_message>& messages) {
  std::string out;
  for (const vm::qmp_message& m : messages)
    out += std::to_string(static_cast<int>(m.kind)) + " " + std::to_string(m.id) + " " + m.name +
           " " + m.text + "\n";
  return out;
}

}  // namespace

void one(input in) {
  const std::size_t most = 1 + in.byte() % 16;
  vm::qmp_parser at_once;
  const auto whole_stream = at_once.feed(in.rest());
  vm::qmp_parser in_pieces;
  std::vector<vm::qmp_message> pieces;
  (void)vm::json_text(in.rest(), "uuid");
  while (!in.empty())
    for (auto& m : in_pieces.feed(in.text(most))) pieces.push_back(std::move(m));
  CHECK(shown(pieces) == shown(whole_stream));
}

std::vector<std::string> examples() {
  return {
      "\x05{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7}}, \"capabilities\": []}}\r\n",
      "\x09{\"return\": {\"status\": \"running\"}, \"id\": 3}\r\n{\"error\": {\"class\": "
      "\"GenericError\", \"desc\": \"no\"}, \"id\": 4}\n",
      "\x02{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true}, \"timestamp\": {}}\n[]\nnull\n"};
}

}  // namespace blixard::fuzz
