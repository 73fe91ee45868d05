#ifndef LARDER_ENGINE_SRC_POLICY_RANK_ROWS_H_
#define LARDER_ENGINE_SRC_POLICY_RANK_ROWS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "larder/engine/policy.h"

#include "base/check.h"

namespace larder {

/// Bytes and items of one rank.
struct RankRow {
  std::uint64_t bytes = 0;
  std::uint64_t items = 0;
};

/// The rows of one rank class in ascending order, as two flat arrays. There
/// are a few hundred rows and most changes hit the newest or the lowest: a
/// binary search over 8-byte ranks in one or two cache pages beats a tree, and
/// dropping the lowest is a step of an offset.
///
/// Threads: thread-compatible. Cost: IndexAtOrAfter O(log n); Insert and Erase
/// move at most half of the rows.
class RankRows {
 public:
  [[nodiscard]] std::size_t size() const noexcept {
    return ranks_.size() - head_;
  }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] Rank rank(std::size_t index) const noexcept {
    return ranks_[head_ + index];
  }
  [[nodiscard]] const RankRow& row(std::size_t index) const noexcept {
    return rows_[head_ + index];
  }
  [[nodiscard]] RankRow& row(std::size_t index) noexcept {
    return rows_[head_ + index];
  }

  /// The first row with a rank >= `rank`; size() if there is none.
  [[nodiscard]] std::size_t IndexAtOrAfter(Rank rank) const noexcept {
    const Rank* base = ranks_.data() + head_;
    std::size_t first = 0;
    std::size_t count = size();
    while (count > 0) {  // Compiles to conditional moves.
      const std::size_t half = count / 2;
      const bool below = base[first + half] < rank;
      first = below ? first + half + 1 : first;
      count = below ? count - half - 1 : half;
    }
    return first;
  }

  /// REQUIRES: `index` keeps the order.
  void Insert(std::size_t index, Rank rank, const RankRow& row) {
    const auto at = static_cast<std::ptrdiff_t>(head_ + index);
    ranks_.insert(ranks_.begin() + at, rank);
    rows_.insert(rows_.begin() + at, row);
  }
  void Erase(std::size_t index) {
    if (index == 0) {
      DropFirst(1);
      return;
    }
    const auto at = static_cast<std::ptrdiff_t>(head_ + index);
    ranks_.erase(ranks_.begin() + at);
    rows_.erase(rows_.begin() + at);
  }
  /// Forgets the `count` lowest rows.
  void DropFirst(std::size_t count) {
    LARDER_ASSERT(count <= size());
    head_ += count;
    if (head_ < 64 || head_ < ranks_.size() / 2) return;
    const auto dropped = static_cast<std::ptrdiff_t>(head_);
    ranks_.erase(ranks_.begin(), ranks_.begin() + dropped);
    rows_.erase(rows_.begin(), rows_.begin() + dropped);
    head_ = 0;
  }
  void Clear() noexcept {
    ranks_.clear();
    rows_.clear();
    head_ = 0;
  }

 private:
  std::vector<Rank> ranks_;
  std::vector<RankRow> rows_;
  std::size_t head_ = 0;  // Rows before it are dropped.
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_POLICY_RANK_ROWS_H_
