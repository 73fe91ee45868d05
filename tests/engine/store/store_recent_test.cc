// What the store remembers of keys that are written again and again must never
// be anything else than what its index has.

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "engine/store_fixture.h"
#include "test_values.h"

namespace larder::testing {
namespace {

constexpr std::size_t kStripes = 1024;  // As in store.h.

// Keys that share two stripes: more of each than the store remembers.
std::vector<std::string> CollidingKeys() {
  constexpr std::size_t kPerStripe = 24;
  std::array<std::vector<std::string>, 2> found;
  for (int i = 0; found[0].size() + found[1].size() < 2 * kPerStripe; ++i) {
    std::string key = "key" + std::to_string(i);
    const std::size_t stripe = std::hash<std::string_view>()(key) % kStripes;
    if (stripe < 2 && found[stripe].size() < kPerStripe) {
      found[stripe].push_back(std::move(key));
    }
  }
  std::vector<std::string> keys = found[0];
  keys.insert(keys.end(), found[1].begin(), found[1].end());
  return keys;
}

class StoreRecentTest : public StoreFixture {
 protected:
  struct Known {
    std::string value;
    std::uint64_t version = 0;
  };

  // A batch of sets and deletes; at times it fails and must change nothing.
  void RunBatch() {
    struct Step {
      std::string key;
      std::optional<std::string> value;  // nullopt: delete.
    };
    std::vector<Step> steps(1 + random_.Below(4));
    std::vector<Command> commands;
    for (Step& step : steps) {
      step.key = keys_[random_.Below(keys_.size())];
      if (!random_.OneIn(4)) {
        // In the entry, in the log, in a segment file.
        const std::size_t sizes[] = {10, 1'000, 2'000, 40'000};
        step.value = MakeValue(random_.Next(), sizes[random_.Below(4)]);
      }
    }
    const std::string long_tag(255, 't');
    for (const Step& step : steps) {
      if (!step.value) {
        commands.emplace_back(DeleteCommand{.key = step.key});
        continue;
      }
      SetCommand set{.key = step.key, .value = *step.value};
      if (random_.OneIn(4)) set.tag = long_tag;
      commands.emplace_back(set);
    }
    const bool fails = random_.OneIn(5);
    // Not an integer: the batch ends there.
    if (fails) commands.emplace_back(IncrCommand{.key = "text"});
    std::vector<Reply> replies(commands.size());
    const Status status =
        engine_->Execute(commands, replies, {.all_or_nothing = true});
    ASSERT_EQ(status.ok(), !fails) << status.ToString();
    if (fails) return;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].value) {
        known_[steps[i].key] = {*steps[i].value, replies[i].info.version};
      } else {
        EXPECT_EQ(replies[i].applied, known_.erase(steps[i].key) == 1);
      }
    }
  }

  // A condition on what there is now.
  void SetIfVersion() {
    const std::string& key = keys_[random_.Below(keys_.size())];
    const auto known = known_.find(key);
    const bool right = !random_.OneIn(3);
    SetCommand set{.key = key, .value = "swapped"};
    set.condition = SetCondition::kIfVersion;
    set.version_expected = known == known_.end() ? 0 : known->second.version;
    if (!right) set.version_expected += 1;
    const Reply reply = Run(set);
    ASSERT_EQ(reply.status.ToString(), "kOk");
    ASSERT_EQ(reply.applied, right) << key;
    if (right) known_[key] = {"swapped", reply.info.version};
  }

  void ExpectAllKnown() {
    for (const std::string& key : keys_) {
      const auto known = known_.find(key);
      const auto value = Get(key);
      ASSERT_EQ(value.has_value(), known != known_.end()) << key;
      if (!value) continue;
      ASSERT_TRUE(*value == known->second.value) << key;
    }
  }

  Random random_{20261122};
  const std::vector<std::string> keys_ = CollidingKeys();
  std::map<std::string, Known> known_;
};

TEST_F(StoreRecentTest, ItIsWhatTheIndexHas) {
  // Entries with 1,000 bytes of value are too large to be remembered.
  ASSERT_NO_FATAL_FAILURE(
      Open({{"large_value_min", "16KiB"}, {"inline_value_max", "1KiB"}}));
  ASSERT_TRUE(Set("text", "not a number").ok());
  for (int round = 0; round < 3'000; ++round) {
    if (random_.OneIn(3)) {
      ASSERT_NO_FATAL_FAILURE(SetIfVersion()) << round;
    } else {
      ASSERT_NO_FATAL_FAILURE(RunBatch()) << round;
    }
    if (round % 100 == 99) {
      ASSERT_NO_FATAL_FAILURE(ExpectAllKnown()) << round;
    }
    if (round % 500 == 499) {
      ASSERT_TRUE(Run(ClearCommand()).status.ok());
      known_.clear();
      ASSERT_TRUE(Set("text", "not a number").ok());
    }
    if (round % 1'000 == 999) {
      ASSERT_NO_FATAL_FAILURE(Reopen());
    }
  }
  ExpectSound();
}

}  // namespace
}  // namespace larder::testing
