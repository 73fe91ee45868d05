// A byte ring with one producer and one consumer.
//
// Frames start at multiples of 8 and wrap anywhere, so the whole capacity is
// usable and there is no padding to validate. Rejected: slots of fixed size
// (a 64 B request would cost a 64 KiB slot) and handing out pointers into the
// ring (the bytes could change after they were checked).
//
// 1. tail and head only grow; tail - head <= capacity.
// 2. A frame's bytes are written before tail passes them, and are not touched
//    after head has passed them.
// 3. Every shared word is loaded once; decisions are made on the copy.

#include "os/spsc_ring.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include <xxhash.h>

#include "base/check.h"

namespace larder {
namespace {

constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::size_t kHeaderWords = sizeof(FrameHeader) / kWord;
// Smallest space for which a piece of a longer message is worth a frame.
constexpr std::uint64_t kPieceSizeMin = 1024;
// Largest piece: the other side copies one while we copy the next.
constexpr std::uint64_t kPieceSizeMax = 16 * 1024;

constexpr std::uint64_t RoundUp(std::uint64_t size) noexcept {
  return (size + kWord - 1) & ~(kWord - 1);
}

std::uint64_t HashOf(const FrameHeader& header) noexcept {
  return XXH3_64bits(&header, offsetof(FrameHeader, check));
}

void CopyIn(char* data, std::uint64_t capacity, std::uint64_t position,
            const char* from, std::size_t size) noexcept {
  if (size == 0) return;
  const std::uint64_t at = position & (capacity - 1);
  const std::size_t first = std::min<std::uint64_t>(size, capacity - at);
  std::memcpy(data + at, from, first);
  std::memcpy(data, from + first, size - first);
}

Status Broken(std::string_view what, std::uint64_t value) {
  return Status::Corruption("ring of another process: bad " +
                            std::string(what) + " " + std::to_string(value));
}

}  // namespace

RingProducer::RingProducer(RingWords* words, char* data,
                           std::uint64_t capacity) noexcept
    : words_(words), data_(data), capacity_(capacity) {
  LARDER_ASSERT(std::has_single_bit(capacity) && capacity >= 4096);
}

bool RingProducer::HasSpace() const noexcept {
  // seq_cst: this is the second look of SleepFlag. A wild head gives a wild
  // answer, which Write notices.
  const std::uint64_t head = words_->head.load(std::memory_order_seq_cst);
  return Free(head) >= sizeof(FrameHeader) + kPieceSizeMin;
}

Result<std::size_t> RingProducer::Write(FrameHeader header,
                                        std::string_view message,
                                        std::size_t offset) noexcept {
  const std::size_t rest = message.size() - offset;
  const std::uint64_t wanted =
      sizeof(FrameHeader) + std::min(RoundUp(rest), kPieceSizeMin);
  if (Free(head_seen_) < wanted) {
    // Acquire pairs with the release of head in Take: those bytes are free.
    const std::uint64_t head = words_->head.load(std::memory_order_acquire);
    if (head < head_seen_ || head > tail_) return Fail(Broken("head", head));
    head_seen_ = head;
    if (Free(head_seen_) < wanted) return 0;
  }
  const std::uint64_t space = Free(head_seen_) - sizeof(FrameHeader);
  const std::size_t size =
      std::min({std::uint64_t{rest}, space, kPieceSizeMax});
  header.size = static_cast<std::uint32_t>(size);
  header.offset = static_cast<std::uint32_t>(offset);
  header.message_size = static_cast<std::uint32_t>(message.size());
  header.reserved = 0;
  header.check = HashOf(header);
  CopyIn(data_, capacity_, tail_, reinterpret_cast<const char*>(&header),
         sizeof(header));
  CopyIn(data_, capacity_, tail_ + sizeof(header), message.data() + offset,
         size);
  tail_ += sizeof(header) + RoundUp(size);
  // Release: pairs with the acquire in Take. seq_cst on top: it is the work
  // that SleepFlag::WakeIfAsleep speaks of.
  words_->tail.store(tail_, std::memory_order_seq_cst);
  return size;
}

RingConsumer::RingConsumer(RingWords* words, char* data,
                           std::uint64_t capacity) noexcept
    : words_(words), data_(data), capacity_(capacity) {
  LARDER_ASSERT(std::has_single_bit(capacity) && capacity >= 4096);
}

FrameHeader RingConsumer::LoadHeader() const noexcept {
  // Word by word through atomics: exactly one fetch of each, whatever the
  // other side does meanwhile.
  std::array<std::uint64_t, kHeaderWords> words;
  for (std::size_t i = 0; i < kHeaderWords; ++i) {
    const std::uint64_t at = (head_ + i * kWord) & (capacity_ - 1);
    words[i] = std::atomic_ref(*reinterpret_cast<std::uint64_t*>(data_ + at))
                   .load(std::memory_order_relaxed);
  }
  return std::bit_cast<FrameHeader>(words);
}

Result<std::optional<FrameHeader>> RingConsumer::Take(
    std::string& piece) noexcept {
  // Acquire pairs with the store of tail in Write: the frame is there.
  const std::uint64_t tail = words_->tail.load(std::memory_order_acquire);
  const std::uint64_t filled = tail - head_;
  if (filled == 0) return std::nullopt;
  if (filled > capacity_ || filled < sizeof(FrameHeader) ||
      filled % kWord != 0) {
    return Fail(Broken("tail", tail));
  }
  const FrameHeader header = LoadHeader();
  const std::uint64_t whole = sizeof(FrameHeader) + RoundUp(header.size);
  if (header.check != HashOf(header)) return Fail(Broken("frame at", head_));
  if (whole > filled || header.offset > header.message_size ||
      header.size > header.message_size - header.offset ||
      header.reserved != 0) {
    return Fail(Broken("frame size", header.size));
  }
  const std::uint64_t at = (head_ + sizeof(FrameHeader)) & (capacity_ - 1);
  const std::size_t first =
      std::min<std::uint64_t>(header.size, capacity_ - at);
  piece.append(data_ + at, first);
  piece.append(data_, header.size - first);
  head_ += whole;
  // Release: our reads of the frame come before the producer's reuse of it.
  // seq_cst: a producer that waits for space may be asleep.
  words_->head.store(head_, std::memory_order_seq_cst);
  return header;
}

Result<bool> MessageAssembler::Add(const FrameHeader& header,
                                   std::size_t message_size_max) noexcept {
  if (header.message_size > message_size_max) {
    return Fail(Broken("message size", header.message_size));
  }
  if (header.offset == 0) {
    // Only the bytes of this frame count; an unfinished message is dropped.
    buffer_.erase(0, buffer_.size() - header.size);
    first_ = header;
    started_ = true;
  } else if (!started_ || header.offset != size_ ||
             header.sequence != first_.sequence || header.uid != first_.uid ||
             header.message_size != first_.message_size || header.size == 0) {
    return Fail(Broken("frame offset", header.offset));
  }
  size_ = buffer_.size();
  return size_ == first_.message_size;
}

std::string MessageAssembler::Release() noexcept {
  std::string message = std::move(buffer_);
  Clear();
  return message;
}

void MessageAssembler::Clear() noexcept {
  buffer_.clear();
  started_ = false;
  size_ = 0;
}

}  // namespace larder
