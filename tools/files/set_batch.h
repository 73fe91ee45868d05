#ifndef LARDER_TOOLS_FILES_SET_BATCH_H_
#define LARDER_TOOLS_FILES_SET_BATCH_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/engine.h"

namespace larder::tools {

/// What became of the items of batches.
struct BatchCounts {
  std::uint64_t stored = 0;
  std::uint64_t stored_bytes = 0;
  /// Larger than the cache takes: kTooLarge, kKeyTooLarge.
  std::uint64_t too_large = 0;
  std::uint64_t too_large_bytes = 0;
  /// There was no room for them: kNoSpace.
  std::uint64_t no_room = 0;
  std::uint64_t no_room_bytes = 0;
  /// The condition of the command did not hold.
  std::uint64_t not_applied = 0;

  BatchCounts& operator+=(const BatchCounts& other) {
    stored += other.stored;
    stored_bytes += other.stored_bytes;
    too_large += other.too_large;
    too_large_bytes += other.too_large_bytes;
    no_room += other.no_room;
    no_room_bytes += other.no_room_bytes;
    not_applied += other.not_applied;
    return *this;
  }
};

/// Counts an item that has no place in the cache: it is too large, or there is
/// no room for it. False: `code` means something else.
bool CountLeftOut(StatusCode code, std::uint64_t bytes, BatchCounts& counts);

/// An error if something found no room: what was stored stays, but it is not
/// all.
Status CheckRoom(const BatchCounts& counts);

/// Collects items in one buffer of a fixed size and stores them with one call
/// each time it is full.
///
/// Threads: thread-compatible; several batches may share an engine.
/// Lifetime: shorter than the engine's.
class SetBatch {
 public:
  /// Values that are larger have to be streamed instead.
  static constexpr std::size_t kValueSizeBytesMax = 1 << 20;

  explicit SetBatch(Engine& engine);

  /// Room for a value of up to `size` bytes, to be filled and then added.
  /// Stores what is there already when the buffer is full.
  /// REQUIRES: size <= kValueSizeBytesMax.
  [[nodiscard]] Result<std::span<char>> Reserve(std::size_t size);
  /// Adds the item of `command`, whose value is the beginning of the room that
  /// was reserved last. Key and tag are copied. Values of codec 0 are
  /// compressed if the cache's settings say so.
  void Add(const SetCommand& command);
  /// Stores what is left. Errors: the first failure that concerns more than
  /// one item; what was stored before stays.
  [[nodiscard]] Status Flush();

  [[nodiscard]] const BatchCounts& counts() const { return counts_; }

 private:
  static constexpr std::size_t kBufferSizeBytes = 4 << 20;
  static constexpr std::size_t kCommandCountMax = 1024;

  void Compress(SetCommand& command);
  /// Stores them, one by one if there is no room for all at once.
  Status Execute();

  Engine& engine_;
  Settings settings_;
  std::vector<char> buffer_ = std::vector<char>(kBufferSizeBytes);
  std::size_t buffer_used_ = 0;
  std::vector<Command> commands_;
  std::vector<std::uint64_t> value_sizes_;  // Before compression.
  std::vector<Reply> replies_;
  std::deque<std::string> texts_;  // Keys, tags; their addresses stay.
  std::deque<std::string> compressed_;
  BatchCounts counts_;
};

}  // namespace larder::tools

#endif  // LARDER_TOOLS_FILES_SET_BATCH_H_
