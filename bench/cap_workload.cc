#include "cap_workload.h"

#include <algorithm>
#include <cmath>

#include "workload.h"

namespace larder::bench {

namespace {

constexpr std::uint32_t kKiB = 1024;
constexpr double kZipfTheta = 0.99;
constexpr int kGetsPerSet = 4;
constexpr const char* kStored = "least-recently-stored";
constexpr const char* kUsed = "least-recently-used";

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

/// New keys; the logarithm of the size is uniform from 1 B to 1 MiB.
CapSource LogUniform(std::uint64_t budget_bytes, std::uint64_t seed) {
  return [budget_bytes, random = Random(seed), written = std::uint64_t{0},
          next = std::uint64_t{0}]() mutable -> std::optional<CapOperation> {
    if (written >= budget_bytes) {
      return std::nullopt;
    }
    const double size = std::pow(kCapValueSizeMax, random.Unit());
    const auto bytes = static_cast<std::uint32_t>(size);
    written += bytes;
    return CapOperation{CapOperation::Kind::kSet, next++, bytes};
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
    const std::uint32_t size = next < small_count ? 1000 : kCapValueSizeMax;
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
  return {name,
          "new keys, values of one size",
          kStored,
          size,
          {.live_share_min = live_share_min},
          [size](std::uint64_t limit, double factor, std::uint64_t /*seed*/) {
            return Uniform(size, Budget(limit, factor));
          }};
}

CapWorkload MakeOverwrites(const char* name, std::uint32_t size) {
  return {name,
          "each key once, then Zipf(0.99) overwrites",
          kStored,
          size,
          {.live_share_min = 0.75},
          [size](std::uint64_t limit, double factor, std::uint64_t seed) {
            return Overwrites(size, limit, Budget(limit, factor), seed);
          }};
}

CapWorkload MakeReads(const char* name, std::uint32_t size) {
  return {name,
          "new keys, 4 Zipf(0.99) gets between two sets",
          kUsed,
          size,
          {.live_share_min = 0.75},
          [size](std::uint64_t limit, double factor, std::uint64_t seed) {
            return ReadsBetween(size, Budget(limit, factor), seed);
          }};
}

std::vector<CapWorkload> MakeWorkloads() {
  constexpr CapBars kMixed{.directory_ratio_max = 1.05, .live_share_min = 0.80};
  std::vector<CapWorkload> all;
  all.push_back(MakeUniform("uniform-64k", 64 * kKiB, 0.95));
  all.push_back(MakeUniform("uniform-4k", 4 * kKiB, 0.88));
  all.push_back(MakeUniform("uniform-512", 512, 0.0));
  all.push_back({"mixed", "new keys, 1 B to 1 MiB, log-uniform", kStored, 0,
                 kMixed,
                 [](std::uint64_t limit, double factor, std::uint64_t seed) {
                   return LogUniform(Budget(limit, factor), seed);
                 }});
  all.push_back({"small-then-large", "47,000 x 1 kB, then 256 x 1 MiB", kStored,
                 0, kMixed,
                 [](std::uint64_t limit, double /*factor*/,
                    std::uint64_t /*seed*/) { return SmallThenLarge(limit); }});
  all.push_back(MakeOverwrites("overwrites-64k", 64 * kKiB));
  all.push_back(MakeOverwrites("overwrites-4k", 4 * kKiB));
  all.push_back(MakeReads("lru-64k", 64 * kKiB));
  all.push_back(MakeReads("lru-4k", 4 * kKiB));
  return all;
}

}  // namespace

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
