#ifndef LARDER_TOOLS_REPLAY_KEY_INDEX_H_
#define LARDER_TOOLS_REPLAY_KEY_INDEX_H_

#include <cstdint>
#include <utility>
#include <vector>

namespace larder::replay {

/// Numbers distinct 64-bit hashes in order of first appearance. Two keys whose
/// hashes collide count as one: at 100 million keys the chance is 1 in 3,000.
///
/// Threads: thread-compatible.
class KeyIndex {
 public:
  /// The number of `hash`, a new one if it was not seen.
  std::uint32_t Intern(std::uint64_t hash) {
    if (hashes_.size() * 2 >= slots_.size()) Grow();
    std::size_t at = hash & mask();
    while (slots_[at] != kFree) {
      if (hashes_[slots_[at]] == hash) return slots_[at];
      at = (at + 1) & mask();
    }
    slots_[at] = static_cast<std::uint32_t>(hashes_.size());
    hashes_.push_back(hash);
    return slots_[at];
  }
  [[nodiscard]] std::size_t count() const noexcept { return hashes_.size(); }
  /// The hash of each number; the index is empty afterwards.
  [[nodiscard]] std::vector<std::uint64_t> TakeHashes() noexcept {
    slots_.clear();
    return std::exchange(hashes_, {});
  }

 private:
  static constexpr std::uint32_t kFree = 0xFFFFFFFF;
  [[nodiscard]] std::size_t mask() const noexcept { return slots_.size() - 1; }
  void Grow() {
    const std::size_t size = slots_.empty() ? 1024 : slots_.size() * 2;
    slots_.assign(size, kFree);
    for (std::size_t i = 0; i < hashes_.size(); ++i) {
      std::size_t at = hashes_[i] & mask();
      while (slots_[at] != kFree) at = (at + 1) & mask();
      slots_[at] = static_cast<std::uint32_t>(i);
    }
  }

  std::vector<std::uint32_t> slots_;
  std::vector<std::uint64_t> hashes_;
};

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_KEY_INDEX_H_
