#ifndef LARDER_ENGINE_SRC_OS_DOORBELL_H_
#define LARDER_ENGINE_SRC_OS_DOORBELL_H_

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "os/futex.h"

namespace larder {

/// Most clients that are attached to one cache at a time.
inline constexpr std::size_t kSlotCountMax = 256;
inline constexpr std::size_t kSlotWordCount = kSlotCountMax / 64;

/// How many clients tell one server which of them want something: a bit for
/// each, and a flag that says whether the server must be woken. Lies in shared
/// memory; all zero is a silent doorbell. A server that takes over from a dead
/// one finds whatever bits there are, and looks at all clients anyway.
///
/// Processes: any number ring, one waits. A ringer that dies between its bit
///            and the wake-up delays nobody but itself.
class Doorbell {
 public:
  using Slots = std::array<std::uint64_t, kSlotWordCount>;

  /// For a client, after its request is visible (seq_cst).
  void Ring(std::size_t slot) noexcept {
    // seq_cst: the bit before the look at the flag; see SleepFlag.
    dirty_[slot / 64].fetch_or(std::uint64_t{1} << (slot % 64),
                               std::memory_order_seq_cst);
    server_.WakeIfAsleep();
  }
  /// Wakes the server although nobody wants anything.
  void Nudge() noexcept {
    nudged_.store(1, std::memory_order_seq_cst);
    server_.WakeIfAsleep();
  }

  /// For the server: takes all bits.
  [[nodiscard]] Slots Collect() noexcept {
    Slots slots{};
    for (std::size_t i = 0; i < kSlotWordCount; ++i) {
      if (dirty_[i].load(std::memory_order_relaxed) == 0) continue;
      // Acquire pairs with the bit's setter: its request is visible.
      slots[i] = dirty_[i].exchange(0, std::memory_order_seq_cst);
    }
    return slots;
  }
  [[nodiscard]] bool Rung() const noexcept {
    for (const auto& word : dirty_) {
      if (word.load(std::memory_order_seq_cst) != 0) return true;
    }
    return nudged_.load(std::memory_order_seq_cst) != 0;
  }
  /// For the server: sleeps until rung, nudged or `timeout`.
  void Wait(std::chrono::nanoseconds timeout) noexcept {
    server_.SleepUnless([this] { return Rung(); }, timeout);
    nudged_.store(0, std::memory_order_seq_cst);
  }

  /// Calls `visit(slot)` for each bit.
  template <typename Visit>
  static void ForEach(const Slots& slots, Visit&& visit) {
    for (std::size_t i = 0; i < kSlotWordCount; ++i) {
      for (std::uint64_t word = slots[i]; word != 0; word &= word - 1) {
        visit(i * 64 + static_cast<std::size_t>(std::countr_zero(word)));
      }
    }
  }

 private:
  alignas(64) SleepFlag server_;
  std::atomic<std::uint32_t> nudged_{0};
  alignas(64) std::atomic<std::uint64_t> dirty_[kSlotWordCount]{};
};
static_assert(sizeof(Doorbell) == 128);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_DOORBELL_H_
