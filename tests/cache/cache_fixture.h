#ifndef LARDER_TESTS_CACHE_CACHE_FIXTURE_H_
#define LARDER_TESTS_CACHE_CACHE_FIXTURE_H_

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "larder/cache/cache.h"

#include "cache/spy_engine.h"
#include "model_engine.h"

namespace larder::testing {

using std::chrono::hours;
using std::chrono::seconds;

/// A cache on the model engine, so that these tests look at the facade alone.
class FacadeTest : public ::testing::Test {
 protected:
  FacadeTest() {
    auto spy = std::make_unique<SpyEngine>(ModelEngine::Make(&clock_));
    spy_ = spy.get();
    cache_ = Cache::OnEngine(std::move(spy));
  }

  /// The bytes of `key`; "(miss)" or the status in place of them.
  std::string BytesOf(std::string_view key) {
    const auto value = cache_->Get(key);
    if (!value) return value.error().ToString();
    return *value ? std::string((*value)->bytes()) : "(miss)";
  }
  ItemInfo InfoOf(std::string_view key) {
    const auto info = cache_->Inspect(key);
    EXPECT_TRUE(info.has_value() && info->has_value());
    return info && *info ? **info : ItemInfo();
  }

  ManualClock clock_{TimePoint(hours(24 * 365 * 50))};
  std::unique_ptr<Cache> cache_;
  SpyEngine* spy_ = nullptr;
};

/// A status as an expression for EXPECT_EQ(..., "kOk").
inline std::string Text(const Status& status) { return status.ToString(); }
template <typename T>
std::string Text(const Result<T>& result) {
  return result ? "kOk" : result.error().ToString();
}

}  // namespace larder::testing

#endif  // LARDER_TESTS_CACHE_CACHE_FIXTURE_H_
