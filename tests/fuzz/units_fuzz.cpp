// Sizes, durations, numbers, addresses and fault points as people write them: what is accepted
// reads back from how it is shown.
#include "runtime/base/units.hpp"

#include "runtime/base/endpoint.hpp"
#include "runtime/base/fault.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {

void one(input in) {
  const auto what = in.byte() % 6;
  const std::string text{in.rest()};
  if (what == 0) {
    if (const auto size = parse_size(text)) {
      // Where there is no exact text it has one decimal, and may be no whole number of bytes.
      const std::string shown = format_size(*size);
      const auto again = parse_size(shown);
      if (shown.find('.') == std::string::npos) CHECK_EQ(again.value_or(*size + 1), *size);
    }
  } else if (what == 1) {
    if (const auto ms = parse_duration_ms(text)) CHECK_LE(*ms, std::uint64_t{366} * 86'400'000);
  } else if (what == 2) {
    if (const auto n = parse_unsigned(text))
      CHECK_EQ(parse_unsigned(std::to_string(*n)).value_or(*n + 1), *n);
  } else if (what == 3) {
    const auto f = parse_fraction(text, {0.25, 4});
    if (f) CHECK(*f >= 0.25 && *f <= 4);
  } else if (what == 4) {
    const auto list = parse_endpoints(text);
    if (!list) return;
    CHECK(!list->empty());
    for (const endpoint& e : *list) {
      CHECK(parse_endpoint(to_string(e)) == e);
      (void)is_loopback(e);
    }
  } else {
    // Armed and never passed: nothing fires.
    (void)fault::arm(text, 1);
    CHECK(fault::arm("", 1).has_value());
  }
}

std::vector<std::string> examples() {
  using namespace std::string_literals;
  return {"\0001.5GiB"s,
          "\00064KB"s,
          "\0019223372036854775807"s,
          "\0011500ms"s,
          "\0010.5h"s,
          "\002123456"s,
          "\0031.5"s,
          "\004[::1]:7001,127.0.0.1:2"s,
          "\004localhost:80"s,
          "\005wal.sync=error:EIO@3,wal.write=short:10%5,x=sleep:5"s};
}

}  // namespace blixard::fuzz
