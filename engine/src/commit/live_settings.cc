#include "commit/live_settings.h"

#include <algorithm>
#include <utility>

namespace larder {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

}  // namespace

std::uint64_t SegmentSizeFor(std::uint64_t size_limit) noexcept {
  return std::clamp<std::uint64_t>(size_limit / 128, kMiB / 2, 64 * kMiB);
}

std::uint64_t ScanHoldMaxFor(const Settings& settings) noexcept {
  const std::uint64_t most = settings.scan_hold_counts == ScanHoldCounts::kYes
                                 ? settings.size_limit / 4
                                 : UINT64_MAX;
  const std::uint64_t asked = settings.scan_hold_max != 0
                                  ? settings.scan_hold_max
                                  : settings.size_limit;
  // Of less than one segment nothing could be held.
  return std::min(std::max(asked, SegmentSizeFor(settings.size_limit)), most);
}

std::uint64_t CacheLimitFor(const Settings& settings) noexcept {
  return settings.scan_hold_counts == ScanHoldCounts::kYes
             ? settings.size_limit - ScanHoldMaxFor(settings)
             : settings.size_limit;
}

Settings LiveSettings::all() const {
  const std::scoped_lock lock(mutex_);
  return settings_;
}

PolicyInForce LiveSettings::policy() const {
  const std::scoped_lock lock(mutex_);
  return {.set = settings_.policy, .running = running_policy_};
}

void LiveSettings::Apply(const Settings& settings,
                         std::optional<std::string> running) {
  {
    const std::scoped_lock lock(mutex_);
    settings_ = settings;
    if (running) running_policy_ = *std::move(running);
  }
  cache_limit_ = CacheLimitFor(settings);
  min_free_bytes_ = settings.min_free_bytes;
  item_count_limit_ = settings.item_count_limit;
  item_size_limit_ = settings.item_size_limit;
  large_value_min_ = settings.large_value_min;
  inline_value_max_ = settings.inline_value_max;
  scan_hold_max_ = ScanHoldMaxFor(settings);
  segment_size_ = SegmentSizeFor(settings.size_limit);
  default_ttl_ = settings.default_ttl.count();
  durability_ = settings.durability;
  verify_reads_ = settings.verify_reads;
  when_full_ = settings.when_full;
}

void LiveSettings::SetRunningPolicy(std::string name) {
  const std::scoped_lock lock(mutex_);
  running_policy_ = std::move(name);
}

}  // namespace larder
