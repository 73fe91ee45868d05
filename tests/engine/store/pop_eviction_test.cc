// An item that is evicted while it is taken is a miss, and no damage.

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>

#include "base/test_point.h"
#include "engine/store_fixture.h"

namespace larder::testing {
namespace {

using std::chrono::milliseconds;

// The value of `victim` is about to be read.
std::atomic<bool> is_reading{false};
std::atomic<bool> may_read{false};

class PopEviction : public StoreFixture {
 protected:
  void SetUp() override {
    is_reading = false;
    may_read = false;
    test_point_hook = [](const char* name) {
      if (std::string_view(name) != "store.read_old_value") return;
      is_reading = true;
      while (!may_read) std::this_thread::sleep_for(milliseconds(1));
    };
  }
  void TearDown() override { test_point_hook = nullptr; }

  /// Runs `command` on "victim"; before it reads the value, which it has looked
  /// up, that is evicted and its file is gone.
  Reply RunWhileEvicted(const Command& command) {
    const std::string large(300'000, 'x');
    EXPECT_TRUE(Set("victim", large).ok());
    Reply reply;
    std::thread taker([&] { reply = Run(command); });
    while (!is_reading) std::this_thread::sleep_for(milliseconds(1));
    // Three times what fits; none of them waits for the victim's stripe.
    for (int i = 0; i < 160; ++i) {
      EXPECT_TRUE(Set("w" + std::to_string(i), large).ok());
    }
    EXPECT_FALSE(IsLive("victim"));
    may_read = true;
    taker.join();
    return reply;
  }
};

TEST_F(PopEviction, IsAMiss) {
  Open({{"size_limit", "16MiB"}});
  const Reply reply =
      RunWhileEvicted(DeleteCommand{.key = "victim", .with_value = true});
  EXPECT_EQ(reply.status.ToString(), "kOk");
  EXPECT_FALSE(reply.applied);
  EXPECT_EQ(Stats().corruptions, 0U);
  ExpectSound();
}

}  // namespace
}  // namespace larder::testing
