#include "messages/frame.hpp"

#include "messages/errc.hpp"

namespace blixard {
namespace {

frame_header sample() {
  return {.kind = frame_kind::query,
          .cls = priority::high,
          .length = 7,
          .deadline_ms = 1500,
          .request = request_id{0x1122334455667788},
          .target = node_id{3}};
}

TEST(frame_header, round_trips_every_field) {
  const auto bytes = encode(sample());
  EXPECT_EQ(decode_header(bytes), sample());
}

TEST(frame_header, damage_in_a_checked_byte_is_refused) {
  for (std::size_t i = 0; i < 8; ++i) {
    auto bytes = encode(sample());
    bytes[i] ^= std::byte{0x80};
    EXPECT_EQ(decode_header(bytes), std::nullopt) << "byte " << i;
  }
}

TEST(frame_header, short_input_is_refused) {
  const auto bytes = encode(sample());
  EXPECT_EQ(decode_header(std::span{bytes}.first(frame_header_bytes - 1)), std::nullopt);
}

TEST(frame, forwarding_shares_the_body) {
  const auto f = frame::make(sample(), slice::copy_of("payload"));
  auto h = f->header();
  h.request = request_id{9};
  const auto g = f->with_header(h);
  EXPECT_EQ(g->body().data(), f->body().data());
  EXPECT_EQ(g->header().request, request_id{9});
  EXPECT_EQ(g->wire_size(), frame_header_bytes + 7);
}

TEST(frame, pieces_are_gathered_in_order) {
  const auto f = frame::make(sample(), std::vector{slice::copy_of("ab"), slice::copy_of("cde")});
  EXPECT_EQ(f->header().length, 5u);
  ASSERT_EQ(f->pieces().size(), 2u);
  EXPECT_EQ(f->pieces()[1].text(), "cde");
}

TEST(errc, every_code_has_a_name_that_reads_back) {
  for (int i = 0; i < errc_count; ++i) {
    const auto code = static_cast<errc>(i);
    EXPECT_EQ(errc_from_string(to_string(code)), code);
  }
  EXPECT_EQ(errc_from_string("no such code"), errc::internal);
}

}  // namespace
}  // namespace blixard
