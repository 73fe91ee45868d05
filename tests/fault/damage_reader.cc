#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include <unistd.h>

#include "larder/cache/cache.h"

#include "fault/damage_items.h"
#include "spawned_process.h"

// Opens a damaged directory and says what is left of it:
//   damage_reader open|repair|reset|read-only DIR
// as somebody who opens it, and has it repaired if that is refused; has it
// repaired or reset at once; or only reads first. A process of its own, so
// that a crash or a hang is seen as what it is. The report on descriptor 3 is
// "opened" or "refused", then RIGHT LARGE MISSING CORRUPT of the items after a
// repair, and of a refusal CODE MESSAGE; whatever must never happen is told on
// stderr and exits with 1.

namespace larder::testing {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "damage_reader: %s\n", what.c_str());
  std::_Exit(1);
}

struct Found {
  int right = 0;
  int large = 0;  ///< Of these, in segment files.
  int missing = 0;
  int corrupt = 0;
};

/// Gets every item: each is right, a miss, or kCorruption.
Found ReadAll(Cache& cache) {
  Found found;
  for (int i = 0; i < kDamageItemCount; ++i) {
    const auto value = cache.Get(DamageKey(i));
    if (!value) {
      if (value.error().code() != StatusCode::kCorruption) {
        Fail("Get of " + DamageKey(i) + ": " + value.error().ToString());
      }
      ++found.corrupt;
    } else if (!*value) {
      ++found.missing;
    } else if ((*value)->bytes() != DamageValue(i)) {
      Fail("wrong bytes for " + DamageKey(i));
    } else {
      ++found.right;
      found.large += i % 4 == 2 ? 1 : 0;
    }
  }
  return found;
}

/// Scans: every item is one of ours and right.
void ScanAll(Cache& cache) {
  std::map<std::string, int, std::less<>> numbers;
  for (int i = 0; i < kDamageItemCount; ++i) numbers[DamageKey(i)] = i;
  auto scan = cache.OpenScan({.with_values = true});
  if (!scan) return;  // A clear refusal.
  while (true) {
    const auto page = (*scan)->Next(50);
    if (!page || page->empty()) return;
    for (const ScanItem& item : *page) {
      const auto it = numbers.find(item.key);
      if (it == numbers.end()) Fail("a key that was never set: " + item.key);
      if (item.value.bytes() != DamageValue(it->second)) {
        Fail("wrong bytes in a scan for " + item.key);
      }
    }
  }
}

/// Check(repair) mends; afterwards everything is in order and works.
void Heal(Cache& cache) {
  const auto repaired = cache.Check(true);
  if (!repaired) Fail("Check(repair): " + repaired.error().ToString());
  const auto healthy = cache.Check(false);
  if (!healthy) Fail("Check: " + healthy.error().ToString());
  if (!healthy->ok()) {
    Fail("not healed: " +
         (healthy->problems.empty() ? "counters" : healthy->problems.front()));
  }
  const Found found = ReadAll(cache);
  if (found.corrupt != 0) Fail("damaged items after a repair");
  const auto count = cache.Count();
  if (!count || *count != static_cast<std::uint64_t>(found.right)) {
    Fail("Count differs from what can be read");
  }
  for (const std::size_t size : {10U, 5000U, 50000U}) {
    const std::string value = MakeValue(1, size);
    const Status set = cache.Set("new", value);
    if (!set.ok()) Fail("Set after a repair: " + set.ToString());
    const auto got = cache.Get("new");
    if (!got || !*got || (*got)->bytes() != value) Fail("Get after a repair");
  }
  const auto deleted = cache.Delete("new");
  if (!deleted || !*deleted) Fail("Delete after a repair");
}

/// All files below `path` but those where processes meet.
std::map<std::string, std::string> FilesIn(const std::string& path) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    const std::string name = fs::relative(entry.path(), path);
    if (name.starts_with("seat.") || name.starts_with("regions")) continue;
    std::ostringstream bytes;
    if (entry.is_regular_file()) {
      bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    }
    files[name] = bytes.str();
  }
  return files;
}

/// A failed Open, of either kind, has changed nothing.
void DemandSame(const std::map<std::string, std::string>& before,
                const std::string& path) {
  const auto after = FilesIn(path);
  for (const auto& [name, bytes] : before) {
    const auto found = after.find(name);
    if (found == after.end()) Fail("a failed Open removed " + name);
    if (found->second != bytes) Fail("a failed Open changed " + name);
  }
  for (const auto& [name, bytes] : after) {
    if (!before.contains(name)) Fail("a failed Open made " + name);
  }
}

/// What cannot be opened can be repaired; what a newer larder seems to have
/// written is refused, but can be reset. What is left then.
Found RepairDamaged(const std::string& path) {
  CacheOptions options;
  options.when_damaged = WhenDamaged::kRepair;
  const auto cache = Cache::Open(path, options);
  if (!cache) {
    if (cache.error().code() != StatusCode::kUnsupportedFormat) {
      Fail("Open with kRepair: " + cache.error().ToString());
    }
    const Status reset = ResetCache(path);
    if (!reset.ok()) Fail("ResetCache: " + reset.ToString());
    const auto empty = Cache::Open(path);
    if (!empty) Fail("Open after a reset: " + empty.error().ToString());
    Heal(**empty);
    return {};
  }
  ReadAll(**cache);
  ScanAll(**cache);
  Heal(**cache);
  return ReadAll(**cache);
}

std::string Counts(const Found& found) {
  return std::to_string(found.right) + " " + std::to_string(found.large) + " " +
         std::to_string(found.missing) + " " + std::to_string(found.corrupt);
}

void LookReadOnly(const std::string& path) {
  const auto before = FilesIn(path);
  {
    CacheOptions options;
    options.mode = OpenMode::kReadOnly;
    const auto cache = Cache::Open(path, options);
    if (cache) {
      ReadAll(**cache);
      ScanAll(**cache);
      // Whatever it says: it must come back.
      if (!(*cache)->Check(false)) ReadAll(**cache);
    }
  }
  DemandSame(before, path);
}

int Run(const std::string& mode, const std::string& path) {
  ::alarm(60);  // A hang is a failure.
  std::string report;
  if (mode == "read-only") LookReadOnly(path);
  if (mode == "reset") {
    const Status reset = ResetCache(path);
    if (!reset.ok()) Fail("ResetCache: " + reset.ToString());
  }
  if (mode == "repair") {
    const Found found = RepairDamaged(path);
    report = "refused " + Counts(found) + " not tried";
  } else {
    const auto before = FilesIn(path);
    const auto cache = Cache::Open(path);
    if (!cache) {
      DemandSame(before, path);
      const Status& status = cache.error();
      if (status.message().empty()) Fail("Open failed without a message");
      const Found found = RepairDamaged(path);
      report = "refused " + Counts(found) + " " +
               std::string(StatusCodeName(status.code())) + " " +
               status.message();
    } else {
      ReadAll(**cache);
      ScanAll(**cache);
      Heal(**cache);
      report = "opened " + Counts(ReadAll(**cache));
      const Status closed = (*cache)->Close();
      if (!closed.ok()) Fail("Close: " + closed.ToString());
    }
  }
  {  // And it stays healed.
    const auto cache = Cache::Open(path);
    if (!cache) Fail("second Open: " + cache.error().ToString());
    const auto healthy = (*cache)->Check(false);
    if (!healthy || !healthy->ok()) Fail("not healed for good");
  }
  return ::write(kReportFd, report.data(), report.size()) ==
                 static_cast<ssize_t>(report.size())
             ? 0
             : 2;
}

}  // namespace
}  // namespace larder::testing

int main(int count, char** arguments) {
  return count == 3 ? larder::testing::Run(arguments[1], arguments[2]) : 2;
}
