// Fault points: the grammar of BLIXARD_FAULTS, when a rule fires and what it does.
#include "runtime/base/fault.hpp"

#include <gtest/gtest.h>

#include <cerrno>

namespace blixard::fault {
namespace {

class faults : public testing::Test {
 protected:
  ~faults() override { (void)arm("", 0); }
};

TEST_F(faults, what_is_not_armed_does_nothing) {
  ASSERT_TRUE(arm("wal.sync=error:EIO", 1));
  const auto other = hit("wal.after_sync");
  EXPECT_EQ(other.error, 0);
  EXPECT_EQ(other.short_bytes, ~std::size_t{0});
}

TEST_F(faults, an_error_is_returned_at_every_passage) {
  ASSERT_TRUE(arm("wal.sync=error:ENOSPC", 1));
  EXPECT_EQ(hit("wal.sync").error, ENOSPC);
  EXPECT_EQ(hit("wal.sync").error, ENOSPC);
}

TEST_F(faults, nth_fires_once) {
  ASSERT_TRUE(arm("wal.sync=error:EIO@3,wal.sync=sleep:0", 1));
  EXPECT_EQ(hit("wal.sync").error, 0);
  EXPECT_EQ(hit("wal.sync").error, 0);
  EXPECT_EQ(hit("wal.sync").error, EIO);
  EXPECT_EQ(hit("wal.sync").error, 0);
}

TEST_F(faults, percent_is_seeded) {
  const auto run = [](std::uint64_t seed) {
    EXPECT_TRUE(arm("x=error:5%30", seed));
    std::string fired;
    for (int i = 0; i < 1000; ++i) fired.push_back(hit("x").error == 5 ? '1' : '0');
    return fired;
  };
  const auto one = run(1);
  EXPECT_EQ(one, run(1));
  EXPECT_NE(one, run(2));
  const auto count = std::count(one.begin(), one.end(), '1');
  EXPECT_GT(count, 240);
  EXPECT_LT(count, 360);
}

TEST_F(faults, short_says_how_many_bytes) {
  ASSERT_TRUE(arm("snap.write=short:17@1", 1));
  EXPECT_EQ(hit("snap.write").short_bytes, 17U);
}

TEST_F(faults, crash_ends_the_process_with_137) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        (void)arm("wal.after_write=crash@2", 1);
        (void)hit("wal.after_write");
        (void)hit("wal.after_write");
      },
      testing::ExitedWithCode(137), "");
}

TEST_F(faults, a_wrong_item_is_named) {
  for (const char* wrong : {"x", "=crash", "x=", "x=explode", "x=crash:1", "x=error",
                            "x=error:EWHAT", "x=error:0", "x=sleep:", "x=sleep:-1", "x=short:a",
                            "x=crash@0", "x=crash@", "x=crash%101", "a=crash,b"}) {
    const auto armed = arm(wrong, 1);
    ASSERT_FALSE(armed) << wrong;
    EXPECT_NE(armed.error().find("expected POINT="), std::string::npos);
  }
  EXPECT_NE(arm("a=crash,b=oops", 1).error().find("\"b=oops\""), std::string::npos);
}

TEST_F(faults, a_wrong_list_leaves_what_was_armed) {
  ASSERT_TRUE(arm("x=error:5", 1));
  ASSERT_FALSE(arm("x=error:6,y", 1));
  EXPECT_EQ(hit("x").error, 5);
}

}  // namespace
}  // namespace blixard::fault
