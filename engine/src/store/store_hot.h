#ifndef LARDER_ENGINE_SRC_STORE_STORE_HOT_H_
#define LARDER_ENGINE_SRC_STORE_STORE_HOT_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "hot/hot_writer.h"
#include "index/pending_batch.h"

namespace larder {

/// Lets a key into the hot tier when it is read for the second time lately, so
/// that what is read once does not push out what is hot (the "doorkeeper" of
/// G. Einziger, R. Friedman, B. Manes, "TinyLFU", ACM ToS 13(4), 2017).
///
/// Threads: thread-safe. Cost: one or two loads.
class HotDoor {
 public:
  /// False the first time; sometimes true then, too.
  [[nodiscard]] bool Knock(const HotKey& key) noexcept;

 private:
  static constexpr std::size_t kBits = std::size_t{1} << 18;
  void Forget() noexcept;

  std::array<std::atomic<std::uint64_t>, kBits / 64> words_{};
  std::atomic<std::uint32_t> set_{0};
};

/// One read of the store whose answer may go to the hot tier. To be made before
/// the store is read.
class HotFill {
 public:
  /// `hot` may be nullptr: nothing happens. Values over `value_size_max` are
  /// left out.
  HotFill(HotWriter* hot, HotDoor& door, std::string_view key,
          std::size_t value_size_max) noexcept;
  [[nodiscard]] bool Wants(std::uint64_t value_size) const noexcept {
    return hot_ != nullptr && value_size <= value_size_max_;
  }
  /// There is no item.
  void Absent() noexcept;
  void Present(Rank rank, const ItemInfo& info,
               std::string_view value) noexcept;
  /// The value is one record of a segment file.
  void Placed(Rank rank, const ItemInfo& info,
              const SegmentPlace& place) noexcept;

 private:
  void Fill(Rank rank, const ItemInfo& info, HotItem item) noexcept;

  HotWriter* hot_;
  const std::size_t value_size_max_;
  std::optional<HotKey> key_;
  HotWriter::FillToken token_;
};

/// Keys that a commit changes: hidden from the readers of the hot tier from
/// construction on; then shown as they are now, or, if it was not committed,
/// dropped by the destructor.
/// REQUIRES: the stripes of the keys are held all the time.
class HotCommit {
 public:
  /// `admit_new`: keys that are not in the tier get in.
  HotCommit(HotWriter* hot, PendingBatch& pending, bool admit_new) noexcept;
  ~HotCommit();
  HotCommit(const HotCommit&) = delete;
  HotCommit& operator=(const HotCommit&) = delete;
  void Show() noexcept;

 private:
  using Change = PendingBatch::HotChange;
  struct Hidden {
    const Change* change;
    HotKey key;
    HotWriter::Ticket ticket;
  };
  void Show(const Change& change, const HotKey& key,
            const HotWriter::Ticket& ticket) noexcept;

  HotWriter* hot_;
  const bool admit_new_;
  // The usual case of one key needs no memory.
  std::optional<HotKey> single_;
  const Change* single_change_ = nullptr;
  HotWriter::Ticket single_ticket_;
  std::vector<Hidden> several_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_STORE_STORE_HOT_H_
