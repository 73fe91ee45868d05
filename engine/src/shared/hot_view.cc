#include "shared/hot_view.h"

#include <utility>

#include "os/futex.h"
#include "segments/placed_reader.h"
#include "segments/read_ahead_pace.h"

namespace larder {

const HotReader* HotView::Current() noexcept {
  const std::uint64_t number =
      seat_.main().hot_number.load(std::memory_order_acquire);
  // Acquire pairs with the release in Open.
  const Opened* opened = current_.load(std::memory_order_acquire);
  if (opened != nullptr && opened->number == number) {
    return opened->reader.get();
  }
  return number == 0 ? nullptr : Open(number);
}

const HotReader* HotView::Open(std::uint64_t number) noexcept {
  const std::lock_guard lock(mutex_);
  const Opened* current = current_.load(std::memory_order_relaxed);
  if (current != nullptr && current->number == number) {
    return current->reader.get();
  }
  auto opened = std::make_unique<Opened>();
  opened->number = number;
  auto reader = HotReader::Open(seat_.Address(RegionKind::kHot, number),
                                seat_.Address(RegionKind::kTouch, number));
  // Without it everything is asked of the store, which is slower but right.
  if (reader) opened->reader = std::move(*reader);
  opened_.push_back(std::move(opened));
  current_.store(opened_.back().get(), std::memory_order_release);
  LetGoBut(number);
  return opened_.back()->reader.get();
}

void HotView::LetOldGo() noexcept {
  const std::atomic<std::uint64_t>& number = seat_.main().hot_number;
  const Opened* const opened = current_.load(std::memory_order_acquire);
  if (opened == nullptr ||
      opened->number == number.load(std::memory_order_acquire)) {
    return;
  }
  const std::lock_guard lock(mutex_);
  // Again, as a newer one may have been opened meanwhile.
  LetGoBut(number.load(std::memory_order_acquire));
}

// REQUIRES: mutex_. No number comes again.
void HotView::LetGoBut(std::uint64_t number) noexcept {
  for (const auto& opened : opened_) {
    if (opened->number == number || opened->let_go) continue;
    opened->let_go = opened->reader == nullptr || opened->reader->LetGo();
  }
}

void HotView::ReadAhead(const HotReader& reader,
                        std::span<const Command> commands, PlacedReader& places,
                        ReadAheadPace& pace) const noexcept {
  std::vector<WantedRecord> wanted;
  std::uint64_t bytes = 0;
  std::size_t i = 0;
  for (; i < commands.size() && i < ReadAheadPace::kItemsMax &&
         bytes < ReadAheadPace::kBytesMax;
       ++i) {
    const auto* get = std::get_if<GetCommand>(&commands[i]);
    if (get == nullptr || !get->with_value) continue;
    const SegmentPlace place = reader.PlaceOf(HotKey(get->key), clock_);
    if (place.segment == 0) continue;
    wanted.push_back({place, get->key.size()});
    bytes += place.payload_size;
  }
  pace.Asked(i, places.ReadAheadPlaced(wanted));
}

bool HotView::Answer(std::span<const Command> commands, PlacedReader& places,
                     ReplyOffer offer) noexcept {
  if (commands.empty() || !std::holds_alternative<GetCommand>(commands[0])) {
    return false;
  }
  const HotReader* const reader = Current();
  if (reader == nullptr) return false;
  // Several keys must be seen as of one moment, between two batches.
  const bool several = commands.size() > 1;
  const std::uint64_t before = several ? reader->batch_sequence() : 0;
  if (before % 2 != 0) return false;
  ReadAheadPace pace;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const auto* get = std::get_if<GetCommand>(&commands[i]);
    if (get == nullptr) return false;
    const HotKey key(get->key);
    if (several && pace.IsDue()) {
      ReadAhead(*reader, commands.subspan(i), places, pace);
    }
    HotOutcome outcome =
        reader->Get(key, get->with_value, clock_, &places, offer[i]);
    if (outcome == HotOutcome::kChanging && !several) {
      // A request would come behind the commit that one waits for, and take the
      // holder's time besides.
      thread_local AdaptiveSpin spin;
      spin.Until([&] {
        outcome = reader->Get(key, get->with_value, clock_, &places, offer[i]);
        return outcome != HotOutcome::kChanging;
      });
    }
    if (outcome != HotOutcome::kHit && outcome != HotOutcome::kAbsent) {
      return false;
    }
  }
  if (several && reader->batch_sequence() != before) return false;
  offer.Accept();
  return true;
}

}  // namespace larder
