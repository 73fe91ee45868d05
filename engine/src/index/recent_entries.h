#ifndef LARDER_ENGINE_SRC_INDEX_RECENT_ENTRIES_H_
#define LARDER_ENGINE_SRC_INDEX_RECENT_ENTRIES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace larder {

/// What the index has of the keys that were written last, in a few hundred
/// bytes: a ring, in which what is new takes the place of what has been there
/// longest; an entry of the same size takes the place of the one before.
///
/// Threads: thread-compatible.
/// Cost:    a pass over a slot of 12 bytes for each 96 of the capacity.
class RecentEntries {
 public:
  /// What the index has of a key: nothing, if not `present`.
  struct Known {
    bool present = false;
    std::string_view bytes;  ///< Encoded; until the next call that changes it.
  };

  /// Takes up to `bytes`, which are allocated at the first Put; 0 = nothing is
  /// kept. Forgets what it had.
  void SetCapacity(std::size_t bytes) noexcept;
  void Clear() noexcept;

  /// `hash`, of all calls: of the key, any good one. nullopt: not known.
  [[nodiscard]] std::optional<Known> Find(std::string_view key,
                                          std::uint64_t hash) const noexcept;
  /// What is known of `key` may not be true any longer: it is not found until
  /// the next Put. True if there was something.
  bool Doubt(std::string_view key, std::uint64_t hash) noexcept;
  /// Notes what the index has now. What is larger than a quarter of the
  /// capacity is not kept.
  void Put(std::string_view key, std::uint64_t hash,
           const Known& known) noexcept;

 private:
  struct Slot {
    std::uint32_t tag = 0;  ///< Of the hash; 0: nothing is found here.
    std::uint16_t offset = 0;
    std::uint16_t key_size = 0;
    std::uint16_t bytes_size = 0;
    bool is_true = false;
    bool present = false;
  };

  [[nodiscard]] static std::uint32_t TagOf(std::uint64_t hash) noexcept {
    return static_cast<std::uint32_t>(hash >> 32) | 1U;
  }
  /// The slot of `key`, or null.
  [[nodiscard]] Slot* SlotOf(std::string_view key,
                             std::uint64_t hash) const noexcept;
  /// Makes room for a slot, and for `size` bytes at write_.
  void MakeRoom(std::size_t size) noexcept;
  void DropOldest() noexcept;

  std::unique_ptr<Slot[]> slots_;  // A ring, in the order they were taken.
  std::unique_ptr<char[]> bytes_;  // A ring, in the same order.
  std::uint16_t slot_count_ = 0;
  std::uint16_t capacity_ = 0;  // Of bytes_.
  std::uint16_t write_ = 0;     // Where the next entry goes.
  std::uint16_t first_ = 0;     // The slot taken longest ago.
  std::uint16_t taken_ = 0;     // Slots, with those that were left.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_RECENT_ENTRIES_H_
