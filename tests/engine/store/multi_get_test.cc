// Several keys are read as of one moment, though values move and go meanwhile.

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/test_point.h"
#include "engine/store_fixture.h"
#include "test_values.h"

namespace larder::testing {
namespace {

constexpr int kFillers = 20;
constexpr std::size_t kSize = 100'000;

class MultiGetTest : public StoreFixture {
 protected:
  void SetUp() override {
    Open({{"size_limit", "16MiB"}});
    ASSERT_TRUE(Set("a", MakeValue(1, kSize)).ok());
    for (int i = 0; i < kFillers; ++i) {
      ASSERT_TRUE(Set(std::to_string(i), MakeValue(2, kSize)).ok());
    }
    engine = engine_.get();
  }
  void TearDown() override { test_point_hook.store(nullptr); }
  static void Do(const std::vector<Command>& commands) {
    std::vector<Reply> replies(commands.size());
    EXPECT_TRUE(engine->Execute(commands, replies, {}).ok());
  }
  static inline Engine* engine = nullptr;
};

// The index has been read: "a" becomes "b", and where it lay is freed.
TEST_F(MultiGetTest, AValueThatHasGoneIsNotMixedWithWhatCameAfterIt) {
  test_point_hook.store([](const char* name) {
    if (std::string_view(name) != "store.multiget") return;
    test_point_hook.store(nullptr);
    std::thread([] {  // Another one: this one is in the store.
      Do({DeleteCommand{.key = "a"}, SetCommand{.key = "b", .value = "v"}});
      for (int i = 0; i < kFillers; ++i) {
        const std::string key = std::to_string(i);
        Do({DeleteCommand{.key = key}});
      }
      Do({CullCommand{}});
    })
        .join();
  });
  const std::vector<Command> gets = {GetCommand{.key = "a"},
                                     GetCommand{.key = "b"}};
  std::vector<Reply> replies(2);
  ASSERT_TRUE(engine_->Execute(gets, replies, {}).ok());
  EXPECT_NE(replies[0].applied, replies[1].applied);
  EXPECT_EQ(Stats().corruptions, 0U);
}

}  // namespace
}  // namespace larder::testing
