#ifndef LARDER_CACHE_SRC_COMPRESSION_CHOICE_H_
#define LARDER_CACHE_SRC_COMPRESSION_CHOICE_H_

#include <atomic>
#include <cstdint>
#include <mutex>

#include "larder/cache/cache.h"
#include "larder/engine/engine.h"
#include "larder/serializers/compression.h"

namespace larder {

/// Whether a value is to be compressed, as the settings in force say. They are
/// read again only when their version has changed.
///
/// Threads: thread-safe. Cost: two atomic loads and a virtual call.
class Cache::CompressionChoice {
 public:
  explicit CompressionChoice(const Engine& engine) noexcept : engine_(engine) {}

  /// How to compress a value of `size` bytes; kNone = not at all.
  [[nodiscard]] Compression For(std::size_t size) noexcept {
    if (size < kSizeBytesMin) return Compression::kNone;
    const std::uint64_t version = engine_.settings_version();
    // Pairs with the release store in Refresh: the choice is at least as new.
    if (version == 0 || version_.load(std::memory_order_acquire) != version) {
      Refresh();
    }
    const std::uint64_t choice = choice_.load(std::memory_order_relaxed);
    return size < choice >> kAlgorithmBits
               ? Compression::kNone
               : static_cast<Compression>(choice & kAlgorithmMask);
  }

 private:
  /// Nothing that small gets smaller by more than it costs, whatever the
  /// `compression_min` setting says.
  static constexpr std::size_t kSizeBytesMin = 64;
  static constexpr int kAlgorithmBits = 2;
  static constexpr std::uint64_t kAlgorithmMask = 3;

  void Refresh() noexcept {
    const std::lock_guard lock(mutex_);
    // The version first: settings that change in between are read again.
    const std::uint64_t version = engine_.settings_version();
    const Settings settings = engine_.CurrentSettings();
    static_assert(static_cast<int>(CompressionSetting::kLz4) ==
                  static_cast<int>(Compression::kLz4));
    static_assert(static_cast<int>(CompressionSetting::kZstd) ==
                  static_cast<int>(Compression::kZstd));
    choice_.store(settings.compression_min << kAlgorithmBits |
                      static_cast<std::uint64_t>(settings.compression),
                  std::memory_order_relaxed);
    version_.store(version, std::memory_order_release);
  }

  const Engine& engine_;
  std::mutex mutex_;  ///< Of Refresh.
  std::atomic<std::uint64_t> version_ = 0;
  /// Smallest size, then the algorithm.
  std::atomic<std::uint64_t> choice_ = 0;
};

}  // namespace larder

#endif  // LARDER_CACHE_SRC_COMPRESSION_CHOICE_H_
