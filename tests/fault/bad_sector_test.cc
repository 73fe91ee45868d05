#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "engine/store_fixture.h"
#include "fault/read_hook.h"
#include "fault/sync_hook.h"
#include "test_values.h"

// A part of a segment cannot be read any more. That is a failure of the values
// in it, and of nothing else: the cache goes on, and they are lost when their
// segment is cleaned.

namespace larder::testing {
namespace {

class BadSectorStoreTest : public StoreFixture {
 protected:
  static constexpr std::size_t kSize = 90'000;

  void SetUp() override {
    SetReadHook([this](int fd, std::size_t size, off_t offset) {
      const bool hits = offset < bad_end_ &&
                        offset + static_cast<off_t>(size) > bad_begin_ &&
                        PathOf(fd).ends_with("/1.seg");
      return hits ? EIO : 0;
    });
    Open({{"size_limit", "16MiB"}, {"read_mode", "pread"}});
    for (std::uint64_t i = 0; i < 20; ++i) {
      ASSERT_TRUE(Set(KeyOf(i), MakeValue(i, kSize)).ok());
    }
    bad_begin_ = 100'000;  // In the second value.
    bad_end_ = 104'000;
  }
  void TearDown() override {
    engine_.reset();
    SetReadHook({});
  }
  static std::string KeyOf(std::uint64_t i) { return std::to_string(i); }
  /// Without a value for it: kIoError or a miss.
  void ExpectUnreadable(std::uint64_t i) {
    const Reply reply = Run(GetCommand{.key = KeyOf(i)});
    EXPECT_FALSE(reply.applied);
    EXPECT_TRUE(reply.status.ok() ||
                reply.status.code() == StatusCode::kIoError)
        << reply.status.ToString();
  }

  std::atomic<off_t> bad_begin_{0};
  std::atomic<off_t> bad_end_{0};
};

TEST_F(BadSectorStoreTest, IsAnErrorOfItsValue) {
  const Reply reply = Run(GetCommand{.key = KeyOf(1)});
  EXPECT_EQ(reply.status.code(), StatusCode::kIoError);
  EXPECT_FALSE(reply.applied);
  for (std::uint64_t i = 2; i < 20; ++i) {
    EXPECT_EQ(Get(KeyOf(i)), MakeValue(i, kSize)) << i;
  }
  const auto report = engine_->Check(/*repair=*/true);
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_EQ(report->values_damaged, 1U);
  EXPECT_EQ(Get(KeyOf(1)), std::nullopt);
}

TEST_F(BadSectorStoreTest, KeepsNobodyFromWriting) {
  Random random(SeedFromEnvironment(1));
  for (std::uint64_t i = 0; i < 600; ++i) {
    // What lies beside it lives on.
    const std::uint64_t key = 3 + random.Below(117);
    const Status status = Set(KeyOf(key), MakeValue(key, kSize));
    ASSERT_TRUE(status.ok()) << i << ": " << status.ToString();
  }
  ExpectUnreadable(1);
  bad_end_ = 0;
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

// Of what dies nothing has to be read, unless somebody wants to hear of it.
TEST_F(BadSectorStoreTest, IsFreedWithWhatDies) {
  ASSERT_TRUE(Run(ClearCommand{}).status.ok());
  for (std::uint64_t i = 0; i < 300; ++i) {
    ASSERT_TRUE(Set(KeyOf(i), MakeValue(i, kSize)).ok()) << i;
  }
  ASSERT_NO_FATAL_FAILURE(ExpectSound());
}

}  // namespace
}  // namespace larder::testing
