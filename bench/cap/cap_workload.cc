#include "cap/cap_workload.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "stores/workload.h"

namespace larder::bench {

namespace {

constexpr std::uint32_t kKiB = 1024;
constexpr double kZipfTheta = 0.99;
constexpr int kGetsPerSet = 4;
constexpr std::uint32_t kMiB = 1024 * kKiB;
constexpr double kLargestShare = 0.8;
constexpr const char* kStored = "least-recently-stored";
constexpr const char* kUsed = "least-recently-used";
constexpr const char* kAdaptive = "adaptive";

std::uint64_t Budget(std::uint64_t limit_bytes, double factor) {
  return static_cast<std::uint64_t>(static_cast<double>(limit_bytes) * factor);
}

/// New keys, all values of one size.
CapSource Uniform(std::uint32_t size, std::uint64_t budget_bytes) {
  const std::uint64_t count = budget_bytes / size;
  return [=, next = std::uint64_t{0}]() mutable -> std::optional<CapOperation> {
    if (next == count) {
      return std::nullopt;
    }
    return CapOperation{CapOperation::Kind::kSet, next++, size};
  };
}

/// The logarithm is uniform.
std::uint32_t DrawLogUniform(double min, double max, Random& random) {
  return static_cast<std::uint32_t>(min * std::pow(max / min, random.Unit()));
}

/// New keys; the logarithm of the size is uniform from 1 B to `size_max`.
CapSource LogUniform(std::uint32_t size_max, std::uint64_t budget_bytes,
                     std::uint64_t seed) {
  return [=, random = Random(seed), written = std::uint64_t{0},
          next = std::uint64_t{0}]() mutable -> std::optional<CapOperation> {
    if (written >= budget_bytes) {
      return std::nullopt;
    }
    const std::uint32_t bytes = DrawLogUniform(1, size_max, random);
    written += bytes;
    return CapOperation{CapOperation::Kind::kSet, next++, bytes};
  };
}

/// As in a directory of files: many of 64 B to 64 KiB, and a large one, to a
/// 32nd of the limit, among 200.
CapSource Files(std::uint64_t limit_bytes, std::uint64_t budget_bytes,
                std::uint64_t seed) {
  constexpr int kPerLarge = 200;
  const auto large_max = static_cast<double>(limit_bytes) / 32;
  return [=, random = Random(seed), written = std::uint64_t{0},
          next = std::uint64_t{0}]() mutable -> std::optional<CapOperation> {
    if (written >= budget_bytes) {
      return std::nullopt;
    }
    const std::uint32_t bytes =
        random.Below(kPerLarge) == 0
            ? DrawLogUniform(std::min<double>(kMiB, large_max / 2), large_max,
                             random)
            : DrawLogUniform(64, 64 * kKiB, random);
    written += bytes;
    return CapOperation{CapOperation::Kind::kSet, next++, bytes};
  };
}

/// Files of 1 B to 8 MiB, then one value of nearly all that there is.
CapSource ThenTheLargest(std::uint64_t limit_bytes, std::uint64_t budget_bytes,
                         std::uint64_t seed) {
  return [=, source = LogUniform(8 * kMiB, budget_bytes, seed),
          last_key = std::uint64_t{0},
          done = false]() mutable -> std::optional<CapOperation> {
    if (const auto operation = source()) {
      last_key = operation->key;
      return operation;
    }
    if (std::exchange(done, true)) {
      return std::nullopt;
    }
    return CapOperation{CapOperation::Kind::kSet, last_key + 1,
                        static_cast<std::uint32_t>(
                            static_cast<double>(limit_bytes) * kLargestShare)};
  };
}

/// 47,000 values of 1 kB, then 256 of 1 MiB, for a limit of 64 MiB; in
/// proportion for others. The factor stays what it is: 4.7.
CapSource SmallThenLarge(std::uint64_t limit_bytes) {
  constexpr std::uint64_t kLimitBytes = std::uint64_t{64} << 20;
  const std::uint64_t small_count = limit_bytes * 47'000 / kLimitBytes;
  const std::uint64_t all_count = small_count + limit_bytes * 256 / kLimitBytes;
  return [=, next = std::uint64_t{0}]() mutable -> std::optional<CapOperation> {
    if (next == all_count) {
      return std::nullopt;
    }
    const std::uint32_t size = next < small_count ? 1000 : kMiB;
    return CapOperation{CapOperation::Kind::kSet, next++, size};
  };
}

/// As many keys as would fill the limit with payload alone, each set once;
/// then overwrites of them, Zipf-distributed.
CapSource Overwrites(std::uint32_t size, std::uint64_t limit_bytes,
                     std::uint64_t budget_bytes, std::uint64_t seed) {
  const std::uint64_t key_count = limit_bytes / size;
  const std::uint64_t count = budget_bytes / size;
  return [=, zipf = Zipf(key_count, kZipfTheta), random = Random(seed),
          popular = Shuffle(key_count, seed),
          next = std::uint64_t{0}]() mutable -> std::optional<CapOperation> {
    if (next == count) {
      return std::nullopt;
    }
    const std::uint64_t key =
        next < key_count ? next : popular.At(zipf.Draw(random));
    ++next;
    return CapOperation{CapOperation::Kind::kSet, key, size};
  };
}

/// New keys, and before each some gets of keys that were set before, Zipf-
/// distributed over all keys of the workload: the popular ones are hit again
/// and again, wherever in the log they were written.
CapSource ReadsBetween(std::uint32_t size, std::uint64_t budget_bytes,
                       std::uint64_t seed) {
  const std::uint64_t count = budget_bytes / size;
  return [=, zipf = Zipf(count, kZipfTheta), random = Random(seed),
          popular = Shuffle(count, seed), next = std::uint64_t{0},
          gets_left = 0]() mutable -> std::optional<CapOperation> {
    while (gets_left > 0) {
      --gets_left;
      const std::uint64_t key = popular.At(zipf.Draw(random));
      if (key < next) {  // Else it has not been set yet: no get.
        return CapOperation{CapOperation::Kind::kGet, key, 0};
      }
    }
    if (next == count) {
      return std::nullopt;
    }
    gets_left = kGetsPerSet;
    return CapOperation{CapOperation::Kind::kSet, next++, size};
  };
}

CapWorkload MakeUniform(const char* name, std::uint32_t size,
                        double live_share_min) {
  return {.name = name,
          .description = "new keys, values of one size",
          .policy = kStored,
          .value_size = size,
          .bars = {.live_share_min = live_share_min},
          .start = [size](std::uint64_t limit, double factor,
                          std::uint64_t /*seed*/) {
            return Uniform(size, Budget(limit, factor));
          }};
}

CapWorkload MakeOverwrites(const char* name, std::uint32_t size) {
  return {
      .name = name,
      .description = "each key once, then Zipf(0.99) overwrites",
      .policy = kStored,
      .value_size = size,
      .bars = {.live_share_min = 0.75},
      .start = [size](std::uint64_t limit, double factor, std::uint64_t seed) {
        return Overwrites(size, limit, Budget(limit, factor), seed);
      }};
}

CapWorkload MakeReads(const char* name, std::uint32_t size) {
  return {
      .name = name,
      .description = "new keys, 4 Zipf(0.99) gets between two sets",
      .policy = kUsed,
      .value_size = size,
      .bars = {.live_share_min = 0.75},
      .start = [size](std::uint64_t limit, double factor, std::uint64_t seed) {
        return ReadsBetween(size, Budget(limit, factor), seed);
      }};
}

/// Several threads write large values at once.
CapWorkload MakeLarge(const char* name, int thread_count, std::uint32_t size) {
  // They are few: more of them, for as many looks.
  constexpr double kTimes = 4;
  return {
      .name = name,
      .description = "threads that write large values at once",
      .policy = kStored,
      .value_size = size,
      .bars = {},
      .thread_count = thread_count,
      .is_timed = false,
      .start = [=](std::uint64_t limit, double factor, std::uint64_t /*seed*/) {
        return Uniform(size, Budget(limit, factor * kTimes));
      }};
}

CapWorkload MakeFiles(const char* name, int process_count, int thread_count) {
  return {.name = name,
          .description = "many small values and some large, at once",
          .policy = kAdaptive,
          .bars = {.live_share_min = 0.80},
          .process_count = process_count,
          .thread_count = thread_count,
          .is_timed = false,
          .start = [](std::uint64_t limit, double factor, std::uint64_t seed) {
            return Files(limit, Budget(limit, factor), seed);
          }};
}

std::vector<CapWorkload> MakeWorkloads() {
  constexpr CapBars kMixed{.live_share_min = 0.80};
  std::vector<CapWorkload> all;
  all.push_back(MakeUniform("uniform-64k", 64 * kKiB, 0.95));
  all.push_back(MakeUniform("uniform-4k", 4 * kKiB, 0.88));
  all.push_back(MakeUniform("uniform-512", 512, 0.0));
  all.push_back(
      {.name = "mixed",
       .description = "new keys, 1 B to 1 MiB, log-uniform",
       .policy = kStored,
       .bars = kMixed,
       .start = [](std::uint64_t limit, double factor, std::uint64_t seed) {
         return LogUniform(kMiB, Budget(limit, factor), seed);
       }});
  all.push_back(
      {.name = "small-then-large",
       .description = "47,000 x 1 kB, then 256 x 1 MiB",
       .policy = kStored,
       .bars = kMixed,
       .start = [](std::uint64_t limit, double /*factor*/,
                   std::uint64_t /*seed*/) { return SmallThenLarge(limit); }});
  all.push_back(MakeOverwrites("overwrites-64k", 64 * kKiB));
  all.push_back(MakeOverwrites("overwrites-4k", 4 * kKiB));
  all.push_back(MakeReads("lru-64k", 64 * kKiB));
  all.push_back(MakeReads("lru-4k", 4 * kKiB));
  all.push_back(MakeLarge("large-8x10m", 8, 10'000'000));
  all.push_back(MakeLarge("large-8x6m", 8, 6'000'000));
  all.push_back(MakeLarge("large-4x4m", 4, 4 * kMiB));
  all.push_back(
      {.name = "the-largest",
       .description = "1 B to 8 MiB, then one of 0.8 x the limit",
       .policy = kStored,
       .bars = {},
       .is_timed = false,
       .value_share_max = kLargestShare,
       .start = [](std::uint64_t limit, double factor, std::uint64_t seed) {
         return ThenTheLargest(limit, Budget(limit, factor), seed);
       }});
  all.push_back(MakeFiles("files-1", 1, 1));
  all.push_back(MakeFiles("files-2", 1, 2));
  all.push_back(MakeFiles("files-4", 1, 4));
  all.push_back(MakeFiles("files-8", 1, 8));
  all.push_back(MakeFiles("files-4-processes", 4, 1));
  return all;
}

}  // namespace

std::uint64_t CapValueSizeMax(const CapWorkload& workload,
                              std::uint64_t limit_bytes) {
  return std::max<std::uint64_t>(
      kCapValueSizeMax,
      static_cast<std::uint64_t>(static_cast<double>(limit_bytes) *
                                 workload.value_share_max));
}

const std::vector<CapWorkload>& AllCapWorkloads() {
  static const std::vector<CapWorkload> all = MakeWorkloads();
  return all;
}

const CapWorkload* FindCapWorkload(std::string_view name) {
  for (const CapWorkload& workload : AllCapWorkloads()) {
    if (workload.name == name) {
      return &workload;
    }
  }
  return nullptr;
}

}  // namespace larder::bench
