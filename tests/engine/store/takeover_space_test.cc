#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <signal.h>

#include "larder/engine/engine.h"

#include "directory/directory.h"
#include "forked_process.h"
#include "temporary_directory.h"
#include "test_values.h"

// A full cache that may not evict, whose holder is killed again and again with
// records and streams half written: whoever comes next finds all that was
// acknowledged, and the directory stays under its limit.

namespace larder::testing {
namespace {

constexpr std::uint64_t kLimit = 16 << 20;
// Cleaning uses up what is left free for the blocks of footers.
constexpr std::uint64_t kNearLimit = kLimit + (64 << 10);
constexpr std::uint64_t kRefused = std::uint64_t{1} << 63;
constexpr std::uint64_t kKeys = 120;

std::uint64_t Mixed(std::uint64_t n) { return Random(n).Next(); }
std::string KeyOf(std::uint64_t n) {
  return "key" + std::to_string(Mixed(n) % kKeys);
}
std::string ValueOf(std::uint64_t n) {
  return MakeValue(n, 1000 + Mixed(n) / kKeys % 300'000);
}

class TakeoverSpace : public ::testing::Test {
 protected:
  std::unique_ptr<Engine> Open() const {
    EngineOptions options;
    options.settings = {{"size_limit", std::to_string(kLimit)},
                        {"when_full", "fail"}};
    auto engine = OpenEngine(path_, options);
    return engine ? std::move(*engine) : nullptr;
  }
  static Reply Run(Engine& engine, const Command& command) {
    Reply reply;
    Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
    if (!status.ok()) reply.status = std::move(status);
    return reply;
  }
  /// Sets without end, beside streams that nobody commits; tells of each set.
  int Write(std::uint64_t n, const ForkedProcess::Pipe& pipe) const {
    const auto engine = Open();
    if (!engine) return 1;
    std::unique_ptr<ValueWriter> stream;
    for (;; ++n) {
      if (n % 8 == 0) {
        auto next = engine->OpenWriter(SetCommand{.key = "stream"}, 0, {});
        if (next) stream = std::move(*next);
      }
      if (stream) stream->Append(MakeValue(n, 200'000)).IgnoreError();
      const std::string key = KeyOf(n);
      const std::string value = ValueOf(n);
      const Status status =
          Run(*engine, SetCommand{.key = key, .value = value}).status;
      if (!status.ok() && status.code() != StatusCode::kNoSpace) return 2;
      pipe.Send(status.ok() ? n : n | kRefused);
    }
  }
  /// Opens what was left; how many keys are not as they were told.
  int Look(std::uint64_t last, const ForkedProcess::Pipe& pipe) const {
    const auto engine = Open();
    if (!engine) return 1;
    pipe.Send(*CacheDirectory::DiskBytes(path_));
    std::uint64_t lost = 0;
    for (const auto& [key, n] : told_) {
      const Reply reply = Run(*engine, GetCommand{.key = key});
      const std::string value = reply.applied ? reply.value.ToString() : "";
      // The one under way may have been made.
      const bool is_next = key == KeyOf(last + 1) && value == ValueOf(last + 1);
      if (value != ValueOf(n) && !is_next) ++lost;
    }
    pipe.Send(lost);
    pipe.Send(engine->Stats()->evictions + engine->Stats()->corruptions);
    return engine->Close().ok() ? 0 : 1;
  }
  void Note(std::uint64_t n) {
    last_ = n & ~kRefused;
    if (n == last_) {
      told_[KeyOf(n)] = n;
    } else {
      ++refused_;
    }
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "cache";
  std::map<std::string, std::uint64_t> told_;
  std::uint64_t last_ = 0;
  std::uint64_t refused_ = 0;
};

TEST_F(TakeoverSpace, NothingIsLostAndTheLimitHolds) {
  constexpr int kLives = 8;
  for (int life = 0; life < kLives; ++life) {
    {
      ForkedProcess writer(
          [&](const auto& pipe) { return Write(last_ + 1, pipe); });
      for (std::uint64_t i = 60 + Mixed(life) % 60; i > 0; --i) {
        const auto n = writer.Receive();
        ASSERT_TRUE(n) << "the writer ended with " << writer.Wait();
        Note(*n);
      }
      writer.Kill(SIGKILL);
      ASSERT_EQ(writer.Wait(), -SIGKILL);
      while (const auto n = writer.Receive()) Note(*n);
    }
    EXPECT_LE(*CacheDirectory::DiskBytes(path_), kNearLimit) << life;
    ForkedProcess next([&](const auto& pipe) { return Look(last_, pipe); });
    const std::uint64_t bytes = next.Receive().value_or(2 * kLimit);
    EXPECT_LE(bytes, kNearLimit) << life;
    EXPECT_EQ(next.Receive(), 0U) << "lost in life " << life;
    EXPECT_EQ(next.Receive(), 0U) << "evicted or damaged in life " << life;
    EXPECT_EQ(next.Wait(), 0) << life;
  }
  EXPECT_GT(refused_, 0U);  // It was full.
}

}  // namespace
}  // namespace larder::testing
