#ifndef LARDER_ENGINE_SRC_INDEX_TAG_CUTOFFS_H_
#define LARDER_ENGINE_SRC_INDEX_TAG_CUTOFFS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "index/entry.h"

namespace larder {

/// One eviction of a tag, under way: what has the tag and a version below the
/// cutoff is gone for all who read, and is deleted step by step.
///
/// Threads: thread-safe, but for `next_key`.
struct TagCutoff {
  TagCutoff(std::string_view of, std::uint64_t cutoff)
      : tag(of), version(cutoff) {}

  const std::string tag;
  const std::uint64_t version;
  /// Items that were deleted or written over since and not told of.
  std::atomic<std::uint64_t> settled{0};
  /// Who evicts the tag is about to tell how many there were.
  std::atomic<bool> is_owned{false};
  /// Nothing of it is left.
  std::atomic<bool> is_done{false};
  /// Of the tag's index, from where on it has not been settled. Guarded by the
  /// one who settles.
  std::string next_key;
};

/// The cutoffs of one moment.
///
/// Threads: thread-safe. Cost: one comparison if there are none.
class TagCutoffView {
 public:
  struct Item {
    std::shared_ptr<TagCutoff> cutoff;
    /// Versions below it of items that were committed after it.
    std::unordered_set<std::uint64_t> spared = {};
  };
  using Items = std::unordered_map<std::string, Item>;

  TagCutoffView() noexcept = default;
  explicit TagCutoffView(std::shared_ptr<const Items> items) noexcept
      : items_(std::move(items)) {}

  /// The one that `entry` is gone by; nullptr: there is none.
  [[nodiscard]] std::shared_ptr<TagCutoff> Find(const Entry& entry) const;
  [[nodiscard]] bool Covers(const Entry& entry) const {
    return items_ != nullptr && Find(entry) != nullptr;
  }
  [[nodiscard]] const Item* Of(std::string_view tag) const;
  [[nodiscard]] std::vector<std::shared_ptr<TagCutoff>> All() const;

 private:
  std::shared_ptr<const Items> items_;
};

/// The evictions of tags that are under way. Each is also a line of `counters`,
/// so that it is wholly done after a crash, or not at all.
///
/// Threads: thread-safe. A change excludes all writers (the write gate) but for
///          Spare, which comes before the commit that it is for.
class TagCutoffs {
 public:
  void Load(TagCutoffView::Items items);
  std::shared_ptr<TagCutoff> Add(std::string_view tag, std::uint64_t version);
  void Remove(std::string_view tag);
  /// An item of this version was begun before the cutoff of its tag and is
  /// about to be committed after it.
  void Spare(std::string_view tag, std::uint64_t version);

  /// Relaxed: for writers the gate orders it; readers compare changes().
  [[nodiscard]] bool any() const noexcept {
    return any_.load(std::memory_order_relaxed);
  }
  /// A reader that finds the same number before it has read the index and after
  /// it has asked for the view has an answer of one moment.
  [[nodiscard]] std::uint64_t changes() const noexcept {
    // Acquire pairs with the release of a change: what was committed after it
    // is not seen with the number of before.
    return changes_.load(std::memory_order_acquire);
  }
  [[nodiscard]] TagCutoffView View() const {
    if (!any()) return TagCutoffView();
    const std::scoped_lock lock(mutex_);
    return TagCutoffView(items_);
  }

 private:
  template <typename Change>
  void Alter(Change&& change);

  mutable std::mutex mutex_;  // A leaf of the lock order.
  // Guarded by mutex_; never changed in place.
  std::shared_ptr<const TagCutoffView::Items> items_;
  std::atomic<bool> any_{false};
  std::atomic<std::uint64_t> changes_{0};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_TAG_CUTOFFS_H_
