// Frames off a stream: however the bytes are cut into reads, the same frames come out, and written
// again they are the bytes that came in.
#include "runtime/net/frame_reader.hpp"

#include <algorithm>
#include <cstring>

#include "tests/fuzz/fuzz.hpp"

namespace blixard::fuzz {
namespace {

constexpr net::frame_reader::bounds limits_of_test{300, 2000};

struct outcome {
  std::string wire;
  std::size_t frames = 0;
  bool broken = false;
  friend bool operator==(const outcome&, const outcome&) = default;
};

outcome read(std::string_view stream, std::size_t most) {
  // As small as can be: a pool is made for each reading.
  constexpr std::size_t chunk = net::read_arena::min_room_bytes;
  routing::buffer_pool pool{{{{1024, 0, 2}, {4096, 0, 2}, {chunk, 0, 2}}}};
  net::transport_counters counters;
  net::read_arena arena{pool, chunk};
  net::frame_reader reader{arena, counters, limits_of_test};
  std::vector<frame_ptr> got;
  outcome out;
  while (!stream.empty() && !out.broken) {
    net::frame_reader::regions regions;
    const auto n = reader.prepare(regions);
    std::size_t given = 0;
    for (std::size_t i = 0; i < n && given < most; ++i) {
      const auto take = std::min({regions[i].iov_len, stream.size(), most - given});
      std::memcpy(regions[i].iov_base, stream.data(), take);
      stream.remove_prefix(take);
      given += take;
      if (take < regions[i].iov_len) break;
    }
    out.broken = reader.consume(given, got).has_value();
  }
  out.frames = got.size();
  for (const frame_ptr& f : got) {
    CHECK_LE(f->body().size(), limits_of_test.frame_max_bytes);
    const auto head = encode(f->header());
    out.wire.append(reinterpret_cast<const char*>(head.data()), head.size());
    out.wire.append(f->body().text());
  }
  return out;
}

}  // namespace

void one(input in) {
  const std::size_t most = 1 + in.byte();
  const std::string_view stream = in.rest();
  const outcome whole = read(stream, stream.size());
  CHECK(stream.starts_with(whole.wire));
  CHECK(read(stream, most) == whole);
}

std::vector<std::string> examples() {
  std::string stream(1, '\x20');
  for (std::size_t size : {0U, 40U, 200U, 299U}) {
    frame_header h;
    h.kind = size == 0 ? frame_kind::hello : frame_kind::raft;
    h.cls = priority::high;
    h.length = static_cast<std::uint32_t>(size);
    h.request = request_id{7};
    const auto head = encode(h);
    stream.append(reinterpret_cast<const char*>(head.data()), head.size());
    stream.append(size, 'x');
  }
  return {stream};
}

}  // namespace blixard::fuzz
