#ifndef LARDER_ENGINE_SRC_REPAIR_KEY_COVER_H_
#define LARDER_ENGINE_SRC_REPAIR_KEY_COVER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "repair/readable_pairs.h"

namespace larder {

/// Ranges of keys, each with a height, which may overlap: how high they are at
/// a key.
///
/// Threads: one.
/// Cost:    a look takes time in the logarithm of the number of ranges; the
///          first one after Add sorts them all.
class KeyCover {
 public:
  void Add(KeyGap range, std::uint64_t height) {
    ranges_.emplace_back(std::move(range), height);
    is_sorted_ = false;
  }
  /// The greatest height of all ranges that have the key; 0: none has it.
  [[nodiscard]] std::uint64_t HeightAt(std::string_view key) const;
  [[nodiscard]] bool empty() const noexcept { return ranges_.empty(); }

 private:
  struct Step {
    std::string begin;
    std::uint64_t height = 0;  // From `begin` to the next step.
  };
  void Sort() const;

  std::vector<std::pair<KeyGap, std::uint64_t>> ranges_;
  mutable std::vector<Step> steps_;
  mutable bool is_sorted_ = true;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_REPAIR_KEY_COVER_H_
