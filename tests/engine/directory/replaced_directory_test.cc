// A directory that is removed, moved, emptied or replaced under the processes
// that use it, or a part of it: they say so, and touch nothing of what is
// there then.

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>

#include "larder/engine/engine.h"

#include "directory/directory_anchor.h"
#include "forked_process.h"
#include "temporary_directory.h"

namespace larder::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// What happens to the directory.
enum class Loss { kRemoved, kMoved, kEmptied, kDatabase, kLog, kStamp };

constexpr const char* NameOf(Loss loss) {
  switch (loss) {
    case Loss::kRemoved:
      return "Removed";
    case Loss::kMoved:
      return "Moved";
    case Loss::kEmptied:
      return "Emptied";
    case Loss::kDatabase:
      return "Database";
    case Loss::kLog:
      return "Log";
    case Loss::kStamp:
      return "Stamp";
  }
  return "";
}

Status Set(Engine& engine, std::string_view key, std::string_view value) {
  SetCommand set;
  set.key = key;
  set.value = value;
  const Command command = set;
  Reply reply;
  const Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
  return status.ok() ? reply.status : status;
}

std::string Get(Engine& engine, std::string_view key) {
  const Command command = GetCommand{.key = key};
  Reply reply;
  const Status status = engine.Execute({&command, 1}, {&reply, 1}, {});
  if (!status.ok() || !reply.status.ok()) {
    return (status.ok() ? reply.status : status).ToString();
  }
  return reply.applied ? reply.value.ToString() : "(miss)";
}

bool IsGone(const std::string& text) { return text.starts_with("kGone"); }

class LostDirectory : public ::testing::Test {
 protected:
  fs::path cache() const { return directory_.path() / "cache"; }
  std::unique_ptr<Engine> Open(const fs::path& path) const {
    EngineOptions options;
    options.region_directory = regions_.path();
    options.hot_tier_bytes = 4U << 20;
    auto engine = OpenEngine(path, std::move(options));
    EXPECT_TRUE(engine.has_value()) << engine.error().ToString();
    return engine ? std::move(*engine) : nullptr;
  }
  static std::string Read(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // Of each file below, what is in it.
  static std::map<std::string, std::string> Content(const fs::path& path) {
    std::map<std::string, std::string> content;
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
      content[entry.path()] =
          entry.is_regular_file() ? Read(entry.path()) : std::string();
    }
    return content;
  }
  // A whole cache that nobody has open, with 100 small and 20 large items.
  void Make(const fs::path& path) const {
    const auto engine = Open(path);
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(Set(*engine, "new" + std::to_string(i), "value").ok());
    }
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(
          Set(*engine, "large" + std::to_string(i), std::string(50'000, 'n'))
              .ok());
    }
    ASSERT_TRUE(engine->Close().ok());
  }
  static void ExpectWhole(Engine& engine) {
    EXPECT_EQ(engine.Count().value(), 120U);
    const auto report = engine.Check(false);
    ASSERT_TRUE(report.has_value()) << report.error().ToString();
    EXPECT_TRUE(report->ok());
  }
  // Takes away what `loss` says, and puts it there of another cache.
  void Lose(Loss loss) const {
    const fs::path other = directory_.path() / "other";
    Make(other);
    const auto replace = [&](const char* part) {
      fs::rename(cache() / part, directory_.path() / "old");
      fs::rename(other / part, cache() / part);
    };
    switch (loss) {
      case Loss::kRemoved:
        fs::remove_all(cache());
        return fs::rename(other, cache());
      case Loss::kMoved:
        fs::rename(cache(), directory_.path() / "old");
        return fs::rename(other, cache());
      case Loss::kEmptied:
        ASSERT_TRUE(EmptyDirectory(cache()).ok());
        for (const auto& entry : fs::directory_iterator(other)) {
          fs::rename(entry.path(), cache() / entry.path().filename());
        }
        return;
      case Loss::kDatabase:
        return replace("db");
      case Loss::kLog:
        return replace("log");
      case Loss::kStamp:
        return replace("larder.format");
    }
  }
  // Writes and reads until both say so, within the time that is promised.
  static void ExpectGoneSoon(Engine& engine) {
    const auto until = std::chrono::steady_clock::now() + 5s;
    for (int i = 0; std::chrono::steady_clock::now() < until; ++i) {
      const Status set = Set(engine, "key" + std::to_string(i),
                             std::string(i % 5 == 0 ? 40'000 : 100, 'x'));
      if (set.code() == StatusCode::kGone && IsGone(Get(engine, "hot"))) break;
    }
    EXPECT_TRUE(IsGone(Get(engine, "hot"))) << Get(engine, "hot");
    EXPECT_EQ(Set(engine, "key", "v").code(), StatusCode::kGone);
    EXPECT_EQ(engine.Count().error().code(), StatusCode::kGone);
  }
  // Until it is in the hot tier.
  static void Warm(Engine& engine) {
    ASSERT_TRUE(Set(engine, "hot", "value").ok());
    const auto until = std::chrono::steady_clock::now() + 150ms;
    while (std::chrono::steady_clock::now() < until) {
      ASSERT_EQ(Get(engine, "hot"), "value");
    }
  }

  const TemporaryDirectory directory_{TemporaryDirectory::Place::kMemory};
  const TemporaryDirectory regions_{TemporaryDirectory::Place::kMemory};
};

class ReplacedDirectory : public LostDirectory,
                          public ::testing::WithParamInterface<Loss> {
 protected:
  // Of what must be as it was.
  std::map<std::string, std::string> Content() const {
    switch (GetParam()) {
      case Loss::kDatabase:
        return LostDirectory::Content(cache() / "db");
      case Loss::kLog:
        return LostDirectory::Content(cache() / "log");
      case Loss::kStamp:
        return {{"larder.format", Read(cache() / "larder.format")}};
      default:
        return LostDirectory::Content(cache());
    }
  }
  bool IsWholeCache() const {
    return GetParam() == Loss::kRemoved || GetParam() == Loss::kMoved ||
           GetParam() == Loss::kEmptied;
  }
};

// In whose place there is another one, whole.
class ReplacedCache : public ReplacedDirectory {};
// The same in another directory.
class RenamedCache : public ReplacedDirectory {};

TEST_P(ReplacedDirectory, AHolderThatWritesIsGoneAndTouchesNothing) {
  const auto engine = Open(cache());
  Warm(*engine);
  Lose(GetParam());
  const auto before = Content();
  ExpectGoneSoon(*engine);
  engine->Close().IgnoreError();
  EXPECT_TRUE(Content() == before);
  if (IsWholeCache()) ExpectWhole(*Open(cache()));
}

TEST_P(ReplacedDirectory, AnIdleHolderTouchesNothingWhenItCloses) {
  const auto engine = Open(cache());
  ASSERT_TRUE(Set(*engine, "key", "value").ok());
  ASSERT_TRUE(Set(*engine, "large", std::string(50'000, 'o')).ok());
  Lose(GetParam());
  const auto before = Content();
  engine->Close().IgnoreError();
  EXPECT_TRUE(Content() == before);
  if (IsWholeCache()) ExpectWhole(*Open(cache()));
}

TEST_P(ReplacedDirectory, AClientIsGoneAndDoesNotTakeOver) {
  auto holder = Open(cache());
  const auto client = Open(cache());
  ASSERT_FALSE(client->capabilities().holds_store);
  Warm(*client);
  Lose(GetParam());
  const auto before = Content();
  ExpectGoneSoon(*client);
  holder.reset();
  std::this_thread::sleep_for(150ms);  // For the seat to come to it.
  client->Close().IgnoreError();
  EXPECT_TRUE(Content() == before);
  if (IsWholeCache()) ExpectWhole(*Open(cache()));
}

TEST_P(ReplacedCache, WhoOpensTheOtherCacheMeanwhileHasItAlone) {
  const auto old = Open(cache());
  Warm(*old);
  Lose(GetParam());
  const auto fresh = Open(cache());
  EXPECT_TRUE(fresh->capabilities().holds_store);
  ExpectGoneSoon(*old);
  ASSERT_TRUE(Set(*fresh, "new0", "changed").ok());
  old->Close().IgnoreError();
  ExpectWhole(*fresh);
  EXPECT_EQ(Get(*fresh, "new0"), "changed");
  EXPECT_EQ(Get(*fresh, "hot"), "(miss)");
  const auto other = Open(cache());
  EXPECT_FALSE(other->capabilities().holds_store);
}

TEST_P(RenamedCache, AForkedChildIsGone) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "forks with threads are beyond the sanitizers of gcc";
#endif
  const auto engine = Open(cache());
  ASSERT_TRUE(Set(*engine, "key", "value").ok());
  Lose(GetParam());
  const auto before = Content();
  ForkedProcess child([&engine](const ForkedProcess::Pipe&) {
    return IsGone(Get(*engine, "key")) ? 0 : 1;
  });
  EXPECT_EQ(child.Wait(), 0);
  engine->Close().IgnoreError();
  EXPECT_TRUE(Content() == before);
}

const auto kLossName = [](const auto& loss) { return NameOf(loss.param); };
INSTANTIATE_TEST_SUITE_P(All, ReplacedDirectory,
                         ::testing::Values(Loss::kRemoved, Loss::kMoved,
                                           Loss::kEmptied, Loss::kDatabase,
                                           Loss::kLog, Loss::kStamp),
                         kLossName);
INSTANTIATE_TEST_SUITE_P(All, ReplacedCache,
                         ::testing::Values(Loss::kRemoved, Loss::kMoved,
                                           Loss::kEmptied),
                         kLossName);
INSTANTIATE_TEST_SUITE_P(All, RenamedCache,
                         ::testing::Values(Loss::kRemoved, Loss::kMoved),
                         kLossName);

// Who has it open by its old name goes on serving those who open the new one.
TEST_F(LostDirectory, AMovedCacheIsWholeUnderItsNewName) {
  const fs::path moved = directory_.path() / "moved";
  const auto old = Open(cache());
  Warm(*old);
  ASSERT_TRUE(Set(*old, "large", std::string(50'000, 'o')).ok());
  fs::rename(cache(), moved);
  const auto heir = Open(moved);
  EXPECT_FALSE(heir->capabilities().holds_store);
  ExpectGoneSoon(*old);
  EXPECT_EQ(Get(*heir, "large"), std::string(50'000, 'o'));
  ASSERT_TRUE(Set(*heir, "more", std::string(60'000, 'm')).ok());
  EXPECT_TRUE(old->Close().ok());
  EXPECT_EQ(Get(*heir, "more"), std::string(60'000, 'm'));
  EXPECT_EQ(Get(*heir, "hot"), "value");
  const auto report = heir->Check(false);
  ASSERT_TRUE(report.has_value()) << report.error().ToString();
  EXPECT_TRUE(report->ok());
  EXPECT_FALSE(fs::exists(cache()));
}

TEST_F(LostDirectory, WhatIsLostIsNotMadeAnew) {
  const auto engine = Open(cache());
  ASSERT_TRUE(Set(*engine, "key", "value").ok());
  fs::remove_all(cache());
  ExpectGoneSoon(*engine);
  EXPECT_EQ(engine->Close().code(), StatusCode::kGone);
  EXPECT_FALSE(fs::exists(cache()));
}

TEST_F(LostDirectory, AnEmptiedDirectoryStaysEmpty) {
  const auto engine = Open(cache());
  ASSERT_TRUE(Set(*engine, "key", "value").ok());
  ASSERT_TRUE(EmptyDirectory(cache()).ok());
  ExpectGoneSoon(*engine);
  EXPECT_EQ(engine->Close().code(), StatusCode::kGone);
  EXPECT_TRUE(fs::is_empty(cache()));
}

// The name may be a link, which then leads elsewhere.
TEST_F(LostDirectory, ALinkThatLeadsElsewhereIsGone) {
  const fs::path link = directory_.path() / "link";
  Make(directory_.path() / "other");
  fs::create_directory(cache());
  fs::create_directory_symlink(cache(), link);
  const auto engine = Open(link);
  ASSERT_TRUE(Set(*engine, "key", "value").ok());
  fs::remove(link);
  fs::create_directory_symlink(directory_.path() / "other", link);
  const auto before = Content(directory_.path() / "other");
  ExpectGoneSoon(*engine);
  EXPECT_TRUE(engine->Close().ok());
  EXPECT_TRUE(Content(directory_.path() / "other") == before);
  EXPECT_EQ(Get(*Open(cache()), "key"), "value");
}

TEST_F(LostDirectory, MessagesNameFilesAndNoDescriptors) {
  const auto anchor = DirectoryAnchor::Open(directory_.path());
  ASSERT_TRUE(anchor.has_value());
  const std::string reached = (*anchor)->Path() / "file";
  EXPECT_EQ(NameDescriptors("open " + reached + ": no"),
            "open " + (directory_.path() / "file").string() + ": no");
  EXPECT_EQ(NameDescriptors("/proc/self/fd/"), "/proc/self/fd/");
  EXPECT_EQ(NameDescriptors("/proc/self/fd/99999/x"), "/proc/self/fd/99999/x");
}

}  // namespace
}  // namespace larder::testing
