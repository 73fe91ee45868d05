#ifndef LARDER_ENGINE_SRC_SHARED_HOT_VIEW_H_
#define LARDER_ENGINE_SRC_SHARED_HOT_VIEW_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "larder/engine/clock.h"
#include "larder/engine/command.h"

#include "hot/hot_reader.h"
#include "messages/reply_offer.h"
#include "seat/seat.h"

namespace larder {

class ReadAheadPace;

/// A process's view of the hot tier there is, if there is one. Follows a tier
/// that is made anew, and gives the memory of the old one free, which else
/// would not be there for others as long as the view lives.
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

  /// Gives free what is not the tier any more. To be called now and then, for
  /// who does not read. Cost: two loads if there is nothing.
  void LetOldGo() noexcept;

 private:
  struct Opened {
    std::uint64_t number = 0;
    std::unique_ptr<HotReader> reader;  // nullptr: it cannot be opened.
    bool let_go = false;                // Guarded by mutex_.
  };
  [[nodiscard]] const HotReader* Current() noexcept;
  [[nodiscard]] const HotReader* Open(std::uint64_t number) noexcept;
  void LetGoBut(std::uint64_t number) noexcept;
  /// Asks for the values of the next `commands` that the tier has places of.
  void ReadAhead(const HotReader& reader, std::span<const Command> commands,
                 PlacedReader& places, ReadAheadPace& pace) const noexcept;

  Seat& seat_;
  const Clock& clock_;
  std::atomic<const Opened*> current_{nullptr};
  std::mutex mutex_;
  // Guarded by mutex_. They stay, as threads may be in any of them.
  std::vector<std::unique_ptr<Opened>> opened_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_SHARED_HOT_VIEW_H_
