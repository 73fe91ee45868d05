#ifndef LARDER_ENGINE_SRC_COMMIT_LIVE_SETTINGS_H_
#define LARDER_ENGINE_SRC_COMMIT_LIVE_SETTINGS_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "larder/engine/settings.h"

#include "messages/session_store.h"

namespace larder {

/// Of a log under this limit of the whole directory.
[[nodiscard]] std::uint64_t SegmentSizeFor(std::uint64_t size_limit) noexcept;
/// What removed segments may hold for scans.
[[nodiscard]] std::uint64_t ScanHoldMaxFor(const Settings& settings) noexcept;
/// What is left of size_limit for everything else.
[[nodiscard]] std::uint64_t CacheLimitFor(const Settings& settings) noexcept;

/// The settings in force, and the policy that runs, which is another one where
/// this process does not know the one that is set. What calls look at is there
/// as single words, too: while settings change, they may be of both.
///
/// Threads: thread-safe, if one at a time changes them; its lock is a leaf of
///          the lock order. Cost: a load for a word.
class LiveSettings {
 public:
  [[nodiscard]] Settings all() const;
  [[nodiscard]] PolicyInForce policy() const;
  /// Another one once settings were changed and announced.
  [[nodiscard]] std::uint64_t version() const noexcept {
    return version_.load(std::memory_order_acquire);
  }

  [[nodiscard]] std::uint64_t cache_limit() const noexcept {
    return cache_limit_.load();
  }
  [[nodiscard]] std::uint64_t min_free_bytes() const noexcept {
    return min_free_bytes_.load();
  }
  [[nodiscard]] std::uint64_t item_count_limit() const noexcept {
    return item_count_limit_.load();
  }
  [[nodiscard]] std::uint64_t item_size_limit() const noexcept {
    return item_size_limit_.load();
  }
  [[nodiscard]] std::uint64_t large_value_min() const noexcept {
    return large_value_min_.load();
  }
  [[nodiscard]] std::uint64_t inline_value_max() const noexcept {
    return inline_value_max_.load();
  }
  [[nodiscard]] std::uint64_t scan_hold_max() const noexcept {
    return scan_hold_max_.load();
  }
  [[nodiscard]] std::uint64_t segment_size() const noexcept {
    return segment_size_.load();
  }
  [[nodiscard]] Duration default_ttl() const noexcept {
    return Duration(default_ttl_.load());
  }
  [[nodiscard]] Durability durability() const noexcept {
    return durability_.load();
  }
  [[nodiscard]] VerifyReads verify_reads() const noexcept {
    return verify_reads_.load();
  }
  [[nodiscard]] WhenFull when_full() const noexcept {
    return when_full_.load();
  }

  /// `running`: the policy that runs from now on; nullopt: the one that does.
  void Apply(const Settings& settings, std::optional<std::string> running);
  void SetRunningPolicy(std::string name);
  /// What was applied is in force everywhere: the version is the next one.
  void Announce() noexcept { version_.fetch_add(1, std::memory_order_release); }

 private:
  mutable std::mutex mutex_;
  Settings settings_;           // Guarded by mutex_, as is
  std::string running_policy_;  // this.
  std::atomic<std::uint64_t> version_{1};
  std::atomic<std::uint64_t> cache_limit_{0};
  std::atomic<std::uint64_t> min_free_bytes_{0};
  std::atomic<std::uint64_t> item_count_limit_{0};
  std::atomic<std::uint64_t> item_size_limit_{0};
  std::atomic<std::uint64_t> large_value_min_{0};
  std::atomic<std::uint64_t> inline_value_max_{0};
  std::atomic<std::uint64_t> scan_hold_max_{UINT64_MAX};
  std::atomic<std::uint64_t> segment_size_{0};
  std::atomic<Duration::rep> default_ttl_{0};
  std::atomic<Durability> durability_{Durability::kProcess};
  std::atomic<VerifyReads> verify_reads_{VerifyReads::kAlways};
  std::atomic<WhenFull> when_full_{WhenFull::kEvict};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_COMMIT_LIVE_SETTINGS_H_
