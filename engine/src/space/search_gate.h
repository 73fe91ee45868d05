#ifndef LARDER_ENGINE_SRC_SPACE_SEARCH_GATE_H_
#define LARDER_ENGINE_SRC_SPACE_SEARCH_GATE_H_

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace larder {

/// A search that found little, for the next process: else each one that is
/// short would search for itself.
struct VainSearch {
  std::uint64_t limit = 0;
  std::uint64_t live_bytes = 0;
  std::uint64_t dead_bytes = 0;  ///< All else of the log and `db/`.
  std::uint64_t took_us = 0;
  std::uint64_t ended_us = 0;  ///< Since 1970.

  [[nodiscard]] std::string Encode() const;
  /// nullopt: it is not one.
  static std::optional<VainSearch> Decode(std::string_view bytes);
};

/// Whether it is worth while to look for dead bytes once more. Where nothing
/// may be evicted that means to flush and to compact the whole index, for a
/// second or more, and a cache that is full is asked for room all the time.
///
/// A search is worth while if something has changed since one found little, and
/// either so much that it shows, or so long ago that such searches take a small
/// share of the time.
///
/// Threads: thread-safe.
class SearchGate {
 public:
  using Clock = std::chrono::steady_clock;
  struct State {
    std::uint64_t changes = 0;       ///< Grows with whatever may give room.
    std::uint64_t killed_bytes = 0;  ///< Ever.
    std::uint64_t live_bytes = 0;
    std::uint64_t limit = 0;
    bool may_compact = true;  ///< There is room to compact the index.
  };

  /// `log_bytes`: of the value that looks for room, if it goes into the log.
  /// Where that much has died, it may have room now.
  [[nodiscard]] bool IsOpen(const State& state, std::uint64_t log_bytes,
                            Clock::time_point now) const noexcept;
  /// A search that began at `begin` has ended now, with so much room besides
  /// what it was for. True: it found little.
  bool Note(const State& state, Clock::time_point begin, Clock::time_point now,
            std::uint64_t gained_bytes) noexcept;
  /// As Note of `search`, unless so much has changed since that it shows.
  /// REQUIRES: nothing was noted before.
  void Restore(const VainSearch& search, const State& state,
               std::uint64_t dead_bytes, Clock::time_point now,
               std::chrono::microseconds since_1970) noexcept;

 private:
  mutable std::mutex mutex_;  // A leaf.
  bool searched_ = false;     // All by it.
  State last_;
  Clock::time_point next_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SPACE_SEARCH_GATE_H_
