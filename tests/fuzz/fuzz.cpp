// Between libFuzzer and a target.
#include "tests/fuzz/fuzz.hpp"

#include <cstring>

// libFuzzer's names. NOLINTBEGIN(readability-identifier-naming)
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  blixard::fuzz::one(
      blixard::fuzz::input{std::string_view{reinterpret_cast<const char*>(data), size}});
  return 0;
}

// Now and then an example takes the place of the input: no folder of files is needed to start from.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max, unsigned seed) {
  static const std::vector<std::string> examples = blixard::fuzz::examples();
  const unsigned choice = seed >> 8U;
  if (!examples.empty() && (size < 2 || choice % 32 == 0)) {
    const std::string& example = examples[choice / 32 % examples.size()];
    size = example.size() < max ? example.size() : max;
    std::memcpy(data, example.data(), size);
    if (choice % 2 == 0) return size;
  }
  return LLVMFuzzerMutate(data, size, max);
}
// NOLINTEND(readability-identifier-naming)
