#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "larder/cache/cache.h"

#include "fault/damage_run.h"
#include "temporary_directory.h"
#include "test_values.h"
#include "wal_records.h"

// Any damage to any file of caches in several states, one at a time, each
// looked at by a process of its own in one of several ways: whatever ends that
// process, hangs, serves a wrong byte, changes a file in a refused Open or is
// not healed by a repair is a failure that names the damage.
// LARDER_DAMAGE_COUNT says how many are tried, LARDER_SEED which.

namespace larder::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kDamageCount = 120;
constexpr std::size_t kSector = 512;
constexpr std::size_t kPage = 4096;

/// Where in `size` bytes: each in turn of the head, the tail, borders of
/// pages and blocks, and anywhere.
std::size_t PlaceIn(std::size_t size, Random& random) {
  if (size == 0) return 0;
  switch (random.Below(5)) {
    case 0:
      return random.Below(std::min<std::size_t>(size, 64));
    case 1:
      return size - 1 - random.Below(std::min<std::size_t>(size, 64));
    case 2:
      return random.Below(size) / kPage * kPage;
    case 3:
      return std::min(size - 1,
                      random.Below(size) / kWalBlockSize * kWalBlockSize +
                          random.Below(16));
    default:
      return random.Below(size);
  }
}

/// The file with a run of sectors replaced.
std::string Overwrite(std::string bytes, std::size_t at,
                      const std::string& with) {
  if (at < bytes.size()) {
    const std::size_t size = std::min(with.size(), bytes.size() - at);
    bytes.replace(at, size, with, 0, size);
  }
  return bytes;
}

struct Damage {
  const char* name;
  std::function<std::string(std::string bytes, Random& random)> apply;
};

const std::vector<Damage>& Damages() {
  static const std::vector<Damage> damages = {
      {"a bit flipped",
       [](std::string b, Random& r) {
         const std::size_t at = PlaceIn(b.size(), r);
         if (!b.empty()) b[at] ^= static_cast<char>(1U << r.Below(8));
         return b;
       }},
      {"a byte changed",
       [](std::string b, Random& r) {
         const std::size_t at = PlaceIn(b.size(), r);
         if (!b.empty()) b[at] = static_cast<char>(r.Next());
         return b;
       }},
      {"four bytes zeroed",
       [](std::string b, Random& r) {
         const std::size_t at = PlaceIn(b.size(), r);
         return Overwrite(std::move(b), at, std::string(4, '\0'));
       }},
      {"a page of zeros",
       [](std::string b, Random& r) {
         const std::size_t at = PlaceIn(b.size(), r) / kPage * kPage;
         return Overwrite(std::move(b), at, std::string(kPage, '\0'));
       }},
      {"a sector of garbage",
       [](std::string b, Random& r) {
         const std::size_t at = PlaceIn(b.size(), r) / kSector * kSector;
         return Overwrite(std::move(b), at, MakeValue(r.Next(), kSector));
       }},
      {"a sector of another place",
       [](std::string b, Random& r) {
         const std::size_t from = PlaceIn(b.size(), r) / kSector * kSector;
         const std::size_t to = PlaceIn(b.size(), r) / kSector * kSector;
         const std::string sector = b.substr(std::min(from, b.size()), kSector);
         return Overwrite(std::move(b), to, sector);
       }},
      {"cut", [](std::string b,
                 Random& r) { return b.substr(0, PlaceIn(b.size(), r)); }},
      {"cut to nothing", [](std::string, Random&) { return std::string(); }},
      {"zeros appended",
       [](std::string b, Random& r) {
         return b + std::string(1 + r.Below(2 * kPage), '\0');
       }},
      {"garbage appended",
       [](std::string b, Random& r) {
         return b + MakeValue(r.Next(), 1 + r.Below(300));
       }},
  };
  return damages;
}

/// What becomes of the records of a log or a manifest, each of which stays
/// right by itself.
const std::vector<std::pair<
    const char*, std::function<void(std::vector<std::string>&, Random&)>>>&
RecordDamages() {
  using Records = std::vector<std::string>;
  static const std::vector<
      std::pair<const char*, std::function<void(Records&, Random&)>>>
      damages = {
          {"cut after a record",
           [](Records& records, Random& r) {
             records.resize(r.Below(records.size()));
           }},
          {"the last record cut off",
           [](Records& records, Random&) { records.pop_back(); }},
          {"records left out",
           [](Records& records, Random& r) {
             const std::size_t at = r.Below(records.size());
             const std::size_t count =
                 1 + r.Below(std::min<std::size_t>(records.size() - at, 5));
             records.erase(
                 records.begin() + static_cast<std::ptrdiff_t>(at),
                 records.begin() + static_cast<std::ptrdiff_t>(at + count));
           }},
          {"a record twice",
           [](Records& records, Random& r) {
             const std::size_t at = r.Below(records.size());
             records.insert(records.begin() + static_cast<std::ptrdiff_t>(at),
                            records[at]);
           }},
          {"two records exchanged",
           [](Records& records, Random& r) {
             std::swap(records[r.Below(records.size())],
                       records[r.Below(records.size())]);
           }},
      };
  return damages;
}

class DamageSweep : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    home_ = new TemporaryDirectory(TemporaryDirectory::Place::kMemory);
    MakePlain();
    MakeBusy("busy", {});
    MakeBusy("unlogged", {{"durability", "none"}});
  }
  static void TearDownTestSuite() {
    delete home_;
    home_ = nullptr;
  }

  static fs::path PathOf(const std::string& name) {
    return home_->path() / name;
  }
  /// One that was closed, and one whose process was killed.
  static void MakePlain() {
    CacheOptions options;
    options.settings = {{"size_limit", "64MiB"}};
    auto cache = Cache::Open(PathOf("closed"), options);
    ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
    FillForDamage(**cache, 0, kDamageItemCount / 2);
    ASSERT_EQ((*cache)->Close().ToString(), "kOk");
    cache = Cache::Open(PathOf("closed"));
    ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
    FillForDamage(**cache, kDamageItemCount / 2, kDamageItemCount);
    CopyCache(PathOf("closed"), PathOf("killed"));
    ASSERT_EQ((*cache)->Close().ToString(), "kOk");
  }
  /// Killed after many flushes: many tables, logs and changes of the manifest.
  static void MakeBusy(const std::string& name,
                       std::vector<std::pair<std::string, std::string>> more) {
    CacheOptions options;
    options.settings = std::move(more);
    options.settings.emplace_back("size_limit", "32MiB");
    const auto cache = Cache::Open(PathOf("open"), options);
    ASSERT_TRUE(cache.has_value()) << cache.error().ToString();
    FillForDamage(**cache, 0, kDamageItemCount);
    for (int round = 0; round < 25; ++round) {
      for (int i = 0; i < kDamageItemCount; ++i) {
        if (i % 4 < 2) FillForDamage(**cache, i, i + 1);
      }
    }
    CopyCache(PathOf("open"), PathOf(name));
    ASSERT_EQ((*cache)->Close().ToString(), "kOk");
    fs::remove_all(PathOf("open"));
  }

  static std::string DamageFile(Random& random, const fs::path& path);
  static std::string DamageRecords(Random& random, const fs::path& path);

  static TemporaryDirectory* home_;
};

TemporaryDirectory* DamageSweep::home_ = nullptr;

std::string DamageSweep::DamageRecords(Random& random, const fs::path& path) {
  std::vector<std::string> records = ReadWalRecords(path);
  if (records.empty()) return "left as it is";
  const auto& [name, apply] =
      RecordDamages()[random.Below(RecordDamages().size())];
  apply(records, random);
  WriteFile(path, WriteWalRecords(records));
  return name;
}

std::string DamageSweep::DamageFile(Random& random, const fs::path& path) {
  const std::string kind = KindOf(path);
  if (random.OneIn(12)) {
    fs::remove(path);
    return "removed";
  }
  if ((kind == "*.log" || kind == "MANIFEST") && random.OneIn(3)) {
    return DamageRecords(random, path);
  }
  const Damage& damage = Damages()[random.Below(Damages().size())];
  WriteFile(path, damage.apply(ReadFile(path), random));
  return damage.name;
}

/// Of those that the database is made of, more often.
fs::path PickFile(const std::map<std::string, std::vector<fs::path>>& files,
                  Random& random) {
  std::vector<std::string> kinds;
  for (const auto& [kind, of_kind] : files) {
    const bool often = kind == "*.sst" || kind == "*.log" || kind == "MANIFEST";
    kinds.insert(kinds.end(), often ? 5 : 1, kind);
  }
  const auto& of_kind = files.at(kinds[random.Below(kinds.size())]);
  return of_kind[random.Below(of_kind.size())];
}

/// How many items are left of a state that nobody has damaged.
std::map<std::string, int> CountWhole(const std::vector<std::string>& states,
                                      const fs::path& home) {
  std::map<std::string, int> whole;
  for (const std::string& state : states) {
    SCOPED_TRACE(state + ", not damaged");
    CopyCache(home / state, home / "copy");
    const DamageOutcome outcome = LookAtDamage(home / "copy", "open");
    EXPECT_TRUE(outcome.opened) << outcome.refusal;
    EXPECT_TRUE(outcome.right == kDamageItemCount || state == "unlogged");
    whole[state] = outcome.right;
  }
  return whole;
}

/// Whether a file of this kind holds no items, nor what alone says where they
/// are.
bool IsSpare(const std::string& kind, bool with_marks) {
  if (kind == "MANIFEST") return with_marks;
  return kind != "*.sst" && kind != "*.log" && kind != "*.seg" &&
         kind != "larder.format";  // That may seem to be of a newer larder.
}

TEST_F(DamageSweep, NoDamageDoesMoreThanItMay) {
  const std::uint64_t seed = SeedFromEnvironment(1);
  const char* const wanted = std::getenv("LARDER_DAMAGE_COUNT");
  const std::uint64_t count =
      wanted != nullptr ? std::strtoull(wanted, nullptr, 0) : kDamageCount;
  const std::vector<std::string> states = {"closed", "killed", "busy",
                                           "unlogged"};
  const std::map<std::string, int> whole = CountWhole(states, home_->path());
  const fs::path copy = PathOf("copy");
  for (std::uint64_t i = 0; i < count; ++i) {
    Random random(seed + i);
    const std::string& state = states[random.Below(states.size())];
    const fs::path file = PickFile(FilesOf(PathOf(state)), random);
    CopyCache(PathOf(state), copy);
    std::string what = DamageFile(random, copy / file);
    // What it says of the others would give many damages away.
    const bool with_marks = !random.OneIn(3);
    if (!with_marks) {
      fs::remove(copy / "marks");
      what += ", without marks";
    }
    const std::vector<std::string> modes = {"open", "open", "repair",
                                            "read-only", "reset"};
    const std::string& mode = modes[random.Below(modes.size())];
    SCOPED_TRACE("LARDER_SEED=" + std::to_string(seed + i) +
                 " LARDER_DAMAGE_COUNT=1: " + state + ", " + file.string() +
                 ": " + what + "; " + mode);
    const DamageOutcome outcome = LookAtDamage(copy, mode);
    if (mode != "reset" && IsSpare(KindOf(file), with_marks)) {
      EXPECT_EQ(outcome.right, whole.at(state)) << outcome.refusal;
    }
  }
}

}  // namespace
}  // namespace larder::testing
