#include "space/open_scans.h"

#include <memory>
#include <optional>

#include <gtest/gtest.h>

namespace larder::testing {
namespace {

class FakeScan final : public HoldingScan {
 public:
  FakeScan(OpenScans& scans, int& held) : held_(held) {
    ++held_;
    membership_.emplace(scans, *this);
  }
  ~FakeScan() {
    EndHolding();
    membership_.reset();
  }
  FakeScan(const FakeScan&) = delete;
  FakeScan& operator=(const FakeScan&) = delete;

  void Invalidate() noexcept override { is_valid_ = false; }
  void EndHolding() noexcept override {
    if (holds_) --held_;
    holds_ = false;
  }
  [[nodiscard]] bool is_valid() const { return is_valid_; }
  [[nodiscard]] bool holds() const { return holds_; }

 private:
  int& held_;
  bool is_valid_ = true;
  bool holds_ = true;
  std::optional<OpenScans::Membership> membership_;
};

TEST(OpenScans, AllAreInvalidated) {
  OpenScans scans;
  int held = 0;
  const FakeScan first(scans, held);
  const FakeScan second(scans, held);
  EXPECT_EQ(scans.count(), 2U);
  scans.InvalidateAll();
  EXPECT_FALSE(first.is_valid());
  EXPECT_FALSE(second.is_valid());
  EXPECT_TRUE(first.holds());
}

TEST(OpenScans, TheOldestEndsFirstAndNoMoreThanMust) {
  OpenScans scans;
  int held = 0;
  const FakeScan first(scans, held);
  auto second = std::make_unique<FakeScan>(scans, held);
  const FakeScan third(scans, held);
  const FakeScan fourth(scans, held);
  second.reset();
  EXPECT_EQ(scans.count(), 3U);
  scans.EndHoldingWhile([&] { return held > 1; });
  EXPECT_FALSE(first.holds());
  EXPECT_FALSE(third.holds());
  EXPECT_TRUE(fourth.holds());
}

TEST(OpenScans, NoneEndsWhereNothingIsTooMuch) {
  OpenScans scans;
  int held = 0;
  const FakeScan only(scans, held);
  scans.EndHoldingWhile([] { return false; });
  EXPECT_TRUE(only.holds());
}

TEST(OpenScans, AllEndWhereTheyAreNotWhatIsTooMuch) {
  OpenScans scans;
  int held = 0;
  const FakeScan first(scans, held);
  const FakeScan second(scans, held);
  scans.EndHoldingWhile([] { return true; });
  EXPECT_EQ(held, 0);
}

}  // namespace
}  // namespace larder::testing
