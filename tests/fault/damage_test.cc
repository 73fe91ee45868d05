#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "larder/cache/cache.h"

#include "fault/damage_run.h"
#include "temporary_directory.h"
#include "test_values.h"

// Damages one file of a cache directory at a time and has damage_reader look
// at the rest: the right value, a miss or kCorruption; never wrong bytes, a
// crash or a hang; and Check(repair) heals. Each kind of file, in a directory
// that was closed and in one whose process was killed.

namespace larder::testing {
namespace {

namespace fs = std::filesystem;

struct Damage {
  std::string name;
  std::function<std::string(std::string bytes, Random& random)> apply;
  bool one_byte = false;  ///< Touches one byte only.
};

std::string FlipBitAt(std::string bytes, std::size_t at, Random& random) {
  if (!bytes.empty()) {
    bytes[at % bytes.size()] ^= static_cast<char>(1U << random.Below(8));
  }
  return bytes;
}

const std::vector<Damage>& AllDamages() {
  static const std::vector<Damage> damages = {
      {"bit flipped in the first bytes",
       [](std::string b, Random& r) {
         return FlipBitAt(std::move(b), r.Below(16), r);
       },
       true},
      {"bit flipped at a third",
       [](std::string b, Random& r) {
         const std::size_t at = b.size() / 3;
         return FlipBitAt(std::move(b), at, r);
       },
       true},
      {"bit flipped somewhere",
       [](std::string b, Random& r) {
         return FlipBitAt(std::move(b), r.Next() % (1U << 30), r);
       },
       true},
      {"bit flipped somewhere else",
       [](std::string b, Random& r) {
         return FlipBitAt(std::move(b), r.Next() % (1U << 30), r);
       },
       true},
      {"bit flipped in the last bytes",
       [](std::string b, Random& r) {
         const std::size_t at =
             b.size() - std::min<std::size_t>(b.size(), 1 + r.Below(40));
         return FlipBitAt(std::move(b), at, r);
       },
       true},
      {"cut to nothing", [](std::string, Random&) { return std::string(); }},
      {"cut by half",
       [](std::string b, Random&) { return b.substr(0, b.size() / 2); }},
      {"last byte cut off",
       [](std::string b, Random&) {
         return b.substr(0, b.size() - (b.empty() ? 0 : 1));
       }},
      {"garbage appended",
       [](std::string b, Random& r) { return b + MakeValue(r.Next(), 300); }},
      {"2 KB of garbage in the middle",
       [](std::string b, Random& r) {
         const std::string garbage =
             MakeValue(r.Next(), std::min<std::size_t>(2000, b.size()));
         return b.replace(r.Below(b.size() - garbage.size() + 1),
                          garbage.size(), garbage);
       }},
      {"2 KB of zeros at the start",
       [](std::string b, Random&) {
         const std::size_t size = std::min<std::size_t>(2000, b.size());
         return b.replace(0, size, std::string(size, '\0'));
       }},
      {"all garbage",
       [](std::string b, Random& r) { return MakeValue(r.Next(), b.size()); }},
  };
  return damages;
}

class DamageTest : public ::testing::Test {
 protected:
  using Outcome = DamageOutcome;

  static void SetUpTestSuite() {
    home_ = new TemporaryDirectory(TemporaryDirectory::Place::kMemory);
    CacheOptions options;
    options.settings = {{"size_limit", "64MiB"}};
    auto cache = Cache::Open(home_->path() / "closed", options);
    ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
    // In two runs, so that there are database files of the first one.
    FillForDamage(**cache, 0, kDamageItemCount / 2);
    ASSERT_EQ((*cache)->Close().ToString(), "kOk");
    cache = Cache::Open(home_->path() / "closed");
    ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
    FillForDamage(**cache, kDamageItemCount / 2, kDamageItemCount);
    CopyCache(home_->path() / "closed", home_->path() / "killed");
    ASSERT_EQ((*cache)->Close().ToString(), "kOk");
  }
  static void TearDownTestSuite() {
    delete home_;
    home_ = nullptr;
  }

  /// Copies `variant`, has `damage` done to the copy and looks at the rest.
  static Outcome Try(const std::string& variant,
                     const std::function<void(const fs::path&)>& damage) {
    const fs::path copy = home_->path() / "copy";
    CopyCache(home_->path() / variant, copy);
    damage(copy);
    return LookAtDamage(copy, "open");
  }

  static TemporaryDirectory* home_;
};

TemporaryDirectory* DamageTest::home_ = nullptr;

TEST_F(DamageTest, UndamagedDirectoriesHaveEverything) {
  for (const char* variant : {"closed", "killed"}) {
    const Outcome outcome = Try(variant, [](const fs::path&) {});
    EXPECT_TRUE(outcome.opened) << variant << ": " << outcome.refusal;
    EXPECT_EQ(outcome.right, kDamageItemCount) << variant;
  }
}

TEST_F(DamageTest, DirectoriesHaveEveryKindOfFile) {
  std::set<std::string> kinds;
  for (const char* variant : {"closed", "killed"}) {
    for (const auto& [kind, files] : FilesOf(home_->path() / variant)) {
      kinds.insert(kind);
    }
  }
  for (const char* kind : {"*.sst", "*.log", "*.seg", "MANIFEST", "CURRENT"}) {
    EXPECT_TRUE(kinds.contains(kind)) << kind;
  }
}

TEST_F(DamageTest, ADatabaseWithoutCurrentIsNotANewOne) {
  for (const char* variant : {"closed", "killed"}) {
    const Outcome outcome = Try(variant, [](const fs::path& directory) {
      fs::remove(directory / "db" / "CURRENT");
    });
    EXPECT_FALSE(outcome.opened) << variant;  // And nothing was changed.
    EXPECT_EQ(outcome.right, kDamageItemCount) << variant;
  }
}

TEST_F(DamageTest, SegmentsWithoutADatabaseAreNotANewCache) {
  const Outcome outcome = Try("closed", [](const fs::path& directory) {
    fs::remove_all(directory / "db");
  });
  EXPECT_FALSE(outcome.opened);
  EXPECT_EQ(outcome.large, kDamageItemCount / 4);
}

TEST_F(DamageTest, AMissingStampIsRestored) {
  const Outcome outcome = Try("killed", [](const fs::path& directory) {
    fs::remove(directory / "larder.format");
  });
  EXPECT_FALSE(outcome.opened);
  EXPECT_EQ(outcome.right, kDamageItemCount);
}

// What a client asks for must not end the holder, whatever state its files are
// in.
TEST_F(DamageTest, AClientHasTheHolderRepair) {
  const fs::path copy = home_->path() / "held";
  CopyCache(home_->path() / "killed", copy);
  Random random(SeedFromEnvironment(1));
  for (int round = 0; round < 6; ++round) {
    CacheOptions options;  // What tables say of themselves is read at Open.
    options.when_damaged = WhenDamaged::kRepair;
    const auto holder = Cache::Open(copy, options);
    ASSERT_TRUE(holder.has_value()) << holder.error().ToString();
    const auto client = Cache::Open(copy);
    ASSERT_TRUE(client.has_value()) << client.error().ToString();
    const auto files = FilesOf(copy);
    for (const fs::path& file : files.at("*.sst")) {
      WriteFile(copy / file, FlipBitAt(ReadFile(copy / file),
                                       random.Next() % (1U << 30), random));
    }
    const auto repaired = (*client)->Check(true);
    ASSERT_TRUE(repaired.has_value()) << repaired.error().ToString();
    const auto healthy = (*client)->Check(false);
    ASSERT_TRUE(healthy.has_value()) << healthy.error().ToString();
    EXPECT_TRUE(healthy->ok());
    EXPECT_EQ((*client)->Set("new", "value").ToString(), "kOk");
    EXPECT_EQ((*holder)->Close().ToString(), "kOk");
  }
}

/// One variant of the directory, to be damaged in all ways.
class DamageOf : public DamageTest,
                 public ::testing::WithParamInterface<const char*> {};

TEST_P(DamageOf, AnyFileIsNeverServedAsGoodData) {
  const std::uint64_t seed = SeedFromEnvironment(1);
  Random random(seed);
  std::printf("LARDER_SEED=%llu\n", static_cast<unsigned long long>(seed));
  int opened = 0;
  int refused = 0;
  for (const auto& [kind, files] : FilesOf(home_->path() / GetParam())) {
    for (const Damage& damage : AllDamages()) {
      const fs::path file = files[random.Below(files.size())];
      SCOPED_TRACE(file.string() + ": " + damage.name);
      const Outcome outcome = Try(GetParam(), [&](const fs::path& directory) {
        WriteFile(directory / file,
                  damage.apply(ReadFile(directory / file), random));
      });
      ++(outcome.opened ? opened : refused);
      if (!outcome.opened) {
        std::printf("  %s, %s: refused%s\n", file.c_str(), damage.name.c_str(),
                    outcome.refusal.c_str());
      }
      if (outcome.refusal.find("kUnsupportedFormat") != std::string::npos) {
        continue;  // As if of a newer larder: reset only.
      }
      // Only what is damaged is lost.
      if (kind == "*.seg" && damage.one_byte) {
        EXPECT_TRUE(outcome.opened) << outcome.refusal;
        EXPECT_GE(outcome.right, kDamageItemCount - 1);
      } else if (kind == "*.sst" && damage.one_byte) {
        std::printf("  %s, %s: %d kept\n", file.c_str(), damage.name.c_str(),
                    outcome.right);
        EXPECT_EQ(outcome.large, kDamageItemCount / 4);
      } else if (kind != "*.sst" && kind != "*.seg" && kind != "*.log" &&
                 kind != "MANIFEST") {
        EXPECT_EQ(outcome.right, kDamageItemCount);
      }
    }
  }
  std::printf("%d opened, %d refused\n", opened, refused);
  EXPECT_GT(opened, refused);
}

TEST_P(DamageOf, AnyFileMayBeMissing) {
  for (const auto& [kind, files] : FilesOf(home_->path() / GetParam())) {
    const fs::path file = files.front();
    SCOPED_TRACE(file.string() + " removed");
    const Outcome outcome = Try(GetParam(), [&file](const fs::path& directory) {
      fs::remove(directory / file);
    });
    if (!outcome.opened) {
      std::printf("  %s removed: refused%s\n", file.c_str(),
                  outcome.refusal.c_str());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, DamageOf,
                         ::testing::Values("closed", "killed"),
                         [](const auto& variant) {
                           return std::string(variant.param);
                         });

}  // namespace
}  // namespace larder::testing
