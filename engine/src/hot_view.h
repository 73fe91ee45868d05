#ifndef LARDER_ENGINE_SRC_HOT_VIEW_H_
#define LARDER_ENGINE_SRC_HOT_VIEW_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "larder/engine/clock.h"
#include "larder/engine/command.h"

#include "hot_reader.h"
#include "reply_offer.h"
#include "seat.h"

namespace larder {

class ReadAheadPace;

/// A process's view of the hot tier there is, if there is one. Follows a tier
/// that is made anew; the old one stays mapped until the view dies.
///
/// Threads: thread-safe.
class HotView {
 public:
  /// Both must outlive it.
  HotView(Seat& seat, const Clock& clock) noexcept
      : seat_(seat), clock_(clock) {}

  /// Answers `commands` if all of them are gets and the tier knows all answers
  /// as of one moment. Large values come from `places`. False: ask the store.
  /// REQUIRES: the offer has as many replies.
  [[nodiscard]] bool Answer(std::span<const Command> commands,
                            PlacedReader& places, ReplyOffer offer) noexcept;

 private:
  struct Opened {
    std::uint64_t number = 0;
    std::unique_ptr<HotReader> reader;  // nullptr: it cannot be opened.
  };
  [[nodiscard]] const HotReader* Current() noexcept;
  [[nodiscard]] const HotReader* Open(std::uint64_t number) noexcept;
  /// Asks for the values of the next `commands` that the tier has places of.
  void ReadAhead(const HotReader& reader, std::span<const Command> commands,
                 PlacedReader& places, ReadAheadPace& pace) const noexcept;

  Seat& seat_;
  const Clock& clock_;
  std::atomic<const Opened*> current_{nullptr};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Opened>> opened_;  // Guarded by mutex_.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_HOT_VIEW_H_
