#ifndef LARDER_ENGINE_SRC_OS_SPSC_RING_H_
#define LARDER_ENGINE_SRC_OS_SPSC_RING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "larder/engine/status.h"

namespace larder {

/// The shared words of a ring: two positions that only grow, each on a cache
/// line of its own and written by one side only.
struct RingWords {
  alignas(64) std::atomic<std::uint64_t> tail;  ///< Producer: bytes written.
  alignas(64) std::atomic<std::uint64_t> head;  ///< Consumer: bytes taken.
};
static_assert(sizeof(RingWords) == 128);

/// What precedes each piece of a message in a ring. A message larger than the
/// free space goes in several frames.
struct FrameHeader {
  std::uint32_t size = 0;          ///< Bytes of this piece.
  std::uint32_t offset = 0;        ///< Of this piece in the message.
  std::uint32_t message_size = 0;  ///< Of the whole message.
  std::uint32_t reserved = 0;
  std::uint64_t uid = 0;         ///< The client's.
  std::uint64_t sequence = 0;    ///< The client's number of the message.
  std::int64_t deadline_ns = 0;  ///< On the steady clock.
  std::uint64_t check = 0;       ///< Hash of all the above.
  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};
static_assert(sizeof(FrameHeader) == 48);

/// One end of a ring of bytes in shared memory with one producer and one
/// consumer. Each end keeps its own position privately: what the other side
/// writes into shared memory is read once and then checked, so a broken peer
/// can end the conversation (kCorruption) but not lead us out of bounds.
///
/// Threads:   each end: one thread at a time.
/// Processes: one at each end. If a side dies, the other sees no more data or
///            no more space.
class RingProducer {
 public:
  RingProducer() noexcept = default;
  /// `capacity` is a power of two, at least 4 KiB. The ring must be empty.
  RingProducer(RingWords* words, char* data, std::uint64_t capacity) noexcept;

  /// Writes as much of `message` from `offset` as fits into one frame and
  /// returns how many bytes that was; 0 = no space now. `header.size`,
  /// `offset`, `message_size` and `check` are filled in. Errors: kCorruption.
  Result<std::size_t> Write(FrameHeader header, std::string_view message,
                            std::size_t offset) noexcept;
  /// Some space is free for another frame.
  [[nodiscard]] bool HasSpace() const noexcept;

 private:
  [[nodiscard]] std::uint64_t Free(std::uint64_t head) const noexcept {
    return capacity_ - (tail_ - head);
  }

  RingWords* words_ = nullptr;
  char* data_ = nullptr;
  std::uint64_t capacity_ = 0;
  std::uint64_t tail_ = 0;
  std::uint64_t head_seen_ = 0;
};

class RingConsumer {
 public:
  RingConsumer() noexcept = default;
  RingConsumer(RingWords* words, char* data, std::uint64_t capacity) noexcept;

  /// Takes the next frame: appends its bytes to `piece` and returns its
  /// header; nullopt = none there. Errors: kCorruption (nothing was taken).
  Result<std::optional<FrameHeader>> Take(std::string& piece) noexcept;
  [[nodiscard]] bool HasData() const noexcept {
    // seq_cst: this is the second look of SleepFlag.
    return words_->tail.load(std::memory_order_seq_cst) != head_;
  }

 private:
  [[nodiscard]] FrameHeader LoadHeader() const noexcept;

  RingWords* words_ = nullptr;
  char* data_ = nullptr;
  std::uint64_t capacity_ = 0;
  std::uint64_t head_ = 0;
};

/// Puts the frames of a message together.
///
/// Threads: thread-compatible.
class MessageAssembler {
 public:
  /// Adds the frame `header`, whose bytes were appended to buffer(). True when
  /// the message is whole. A frame that starts another message drops an
  /// unfinished one. Errors: kCorruption (out of order, too long).
  Result<bool> Add(const FrameHeader& header,
                   std::size_t message_size_max) noexcept;
  /// Where Take should append to.
  [[nodiscard]] std::string& buffer() noexcept { return buffer_; }
  [[nodiscard]] const FrameHeader& first() const noexcept { return first_; }
  /// Gives the whole message away; ready for the next.
  [[nodiscard]] std::string Release() noexcept;
  void Clear() noexcept;

 private:
  std::string buffer_;
  FrameHeader first_;
  bool started_ = false;
  std::size_t size_ = 0;  // Bytes of the message in buffer_.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_SPSC_RING_H_
