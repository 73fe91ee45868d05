#ifndef LARDER_ENGINE_SRC_HOT_HOT_READER_H_
#define LARDER_ENGINE_SRC_HOT_HOT_READER_H_

#include <cstdint>
#include <memory>

#include "larder/engine/clock.h"
#include "larder/engine/command.h"
#include "larder/engine/status.h"

#include "hot/hot_layout.h"
#include "os/shared_region.h"
#include "segments/placed_reader.h"

namespace larder {

/// What the hot tier knows of a key.
enum class HotOutcome : std::uint8_t {
  kUnknown,   ///< Nothing: ask the store.
  kChanging,  ///< It is just changing: look again, or ask the store.
  kHit,       ///< The live item.
  kAbsent,    ///< There is no live item: a miss.
};

/// How often a reader looks again when a write gets in its way.
inline constexpr int kHotAttemptsMax = 16;

/// Reads the hot tier of a cache: the values that processes read most, in
/// shared memory, without a lock or a message.
///
/// A hit is the value that the store had at some moment during the call: the
/// holder hides an entry before it commits a change and shows it again after.
///
/// Threads:   thread-safe.
/// Processes: any number read while one, the holder, writes. If the holder
///            dies in the middle, entries it was changing stay hidden.
/// Lifetime:  values are copies or mapped files; they do not need the reader.
/// Cost:      tens of nanoseconds for 100 bytes; one allocation, for the value.
///            Large values are not copied.
class HotReader {
 public:
  /// `hot` may be mapped read-only, `touch` not. Errors: kCorruption.
  static Result<std::unique_ptr<HotReader>> Open(
      const RegionAddress& hot, const RegionAddress& touch) noexcept;

  /// A reader in the holder's own process, on the writer's mapping, which must
  /// outlive it.
  explicit HotReader(const HotRegions& regions) noexcept : regions_(regions) {}

  /// Fills `reply` as GetCommand would, on kHit and kAbsent; else its content
  /// means nothing, and must not go on to whoever is asked next. Large values
  /// come from `places`; without, and if they are not there any more, the tier
  /// does not know. Without `with_value` only the information is read, and
  /// nobody notices.
  HotOutcome Get(const HotKey& key, bool with_value, const Clock& clock,
                 PlacedReader* places, Reply& reply) const noexcept;

  /// Where the value is that Get would ask `places` for; of segment 0 if it
  /// would not. Nobody notices.
  [[nodiscard]] SegmentPlace PlaceOf(const HotKey& key,
                                     const Clock& clock) const noexcept;

  /// Gives the memory of the tier free, also while threads read: they find
  /// nothing any more. False: not done, as the process may map no more.
  /// REQUIRES: made by Open.
  [[nodiscard]] bool LetGo() const noexcept {
    return hot_->LetGo() && touch_->LetGo();
  }

  /// For reading several keys as of one moment: call before, and compare
  /// after. Odd: they are changing, ask the store.
  [[nodiscard]] std::uint64_t batch_sequence() const noexcept {
    return regions_.header->batch_sequence.load(std::memory_order_acquire);
  }

 private:
  // What one look at one entry gave.
  enum class Look : std::uint8_t { kOther, kTorn, kHit, kAbsent, kDead };

  HotReader(std::unique_ptr<SharedRegion> hot,
            std::unique_ptr<SharedRegion> touch) noexcept;
  // `placed`: where the value is if the block has none, else of segment 0.
  Look LookAt(std::uint64_t index, const HotKey& key, bool with_value,
              const Clock& clock, SegmentPlace& placed,
              Reply& reply) const noexcept;
  Look ReadBlock(const HotEntry& entry, std::uint64_t first, HotPlace place,
                 const HotKey& key, bool with_value, const Clock& clock,
                 SegmentPlace& placed, Reply& reply) const noexcept;
  [[nodiscard]] bool IsDead(const HotBlock& block) const noexcept;
  void Count(HotOutcome outcome, std::uint64_t index,
             const HotKey& key) const noexcept;

  std::unique_ptr<SharedRegion> hot_;
  std::unique_ptr<SharedRegion> touch_;
  HotRegions regions_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_HOT_HOT_READER_H_
