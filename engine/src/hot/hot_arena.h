#ifndef LARDER_ENGINE_SRC_HOT_HOT_ARENA_H_
#define LARDER_ENGINE_SRC_HOT_HOT_ARENA_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "hot/hot_layout.h"

namespace larder {

/// Hands out blocks of the hot tier. The blocks lie in extents that are filled
/// one after the other; an extent whose blocks are all dead is filled again,
/// and when there is none, the oldest is emptied: what was read lately moves to
/// a fresh extent, the rest is evicted. All its state is private to the writer.
///
/// Invariants:
/// 1. One extent is always kept empty, so that emptying another one can move
///    blocks without asking for space.
/// 2. live(extent) is the sum of the sizes of the blocks in use in it.
///
/// Threads: thread-compatible.
class HotArena {
 public:
  /// What the arena needs of the tier above it.
  struct Callbacks {
    /// Memory of this many extents may be touched from now on; false: no more
    /// is to be had.
    std::function<bool(std::uint64_t extents)> allocate;
    /// The size of the block if `entry` still points to it at `block`, else 0.
    std::function<std::uint64_t(std::uint32_t entry, std::uint32_t block)> size;
    /// Whether a block is worth moving.
    std::function<bool(std::uint32_t entry)> keep;
    /// Moves the block of `entry` to `to`.
    std::function<void(std::uint32_t entry, std::uint32_t to)> move;
    /// Forgets `entry`.
    std::function<void(std::uint32_t entry)> evict;
  };

  HotArena(std::uint64_t extent_count, Callbacks callbacks);

  /// A block of `size` bytes (a multiple of 8) for `entry`, as an offset in
  /// units of 8 bytes. May move and evict other blocks. nullopt: no memory.
  std::optional<std::uint32_t> Allocate(std::uint64_t size,
                                        std::uint32_t entry);
  /// The block is not in use any more.
  void Free(std::uint32_t block, std::uint64_t size);
  /// Takes over a block that is in use, after a handoff. Its extent counts as
  /// full.
  void Adopt(std::uint32_t block, std::uint64_t size, std::uint32_t entry);
  /// Ends a series of Adopt.
  void FinishAdoption();
  void Clear();

  [[nodiscard]] std::uint64_t live_bytes() const noexcept { return live_; }
  [[nodiscard]] std::uint64_t evictions() const noexcept { return evictions_; }

 private:
  static constexpr std::uint32_t kNone =
      std::numeric_limits<std::uint32_t>::max();
  struct Block {
    std::uint32_t entry;
    std::uint32_t block;
  };
  struct Extent {
    std::uint64_t live = 0;
    std::uint64_t used = 0;
    bool idle = true;           // In idle_, not in order_.
    std::vector<Block> blocks;  // Handed out; some are not in use any more.
  };

  std::uint32_t Cut(std::uint32_t extent, std::uint64_t size,
                    std::uint32_t entry);
  void Refill();
  std::uint32_t TakeIdle();
  void GoIdle(std::uint32_t extent);
  void Retire(std::uint32_t extent);
  void EmptyOldest();
  void EvictAll();

  std::vector<Extent> extents_;
  Callbacks callbacks_;
  std::vector<std::uint32_t> idle_;  // Empty; the last used come first.
  std::deque<std::uint32_t> order_;  // Filled, oldest first.
  std::uint32_t current_ = kNone;
  std::uint64_t allocated_ = 0;  // Extents whose memory is there.
  bool exhausted_ = false;       // The machine gives no more.
  std::uint64_t live_ = 0;
  std::uint64_t evictions_ = 0;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_HOT_HOT_ARENA_H_
