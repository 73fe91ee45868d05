#include <algorithm>
#include <vector>

#include "baseline.h"
#include "index_list.h"

// S3-FIFO (Yang et al., SOSP 2023): a small queue of a tenth of the bytes, a
// main queue, and a ghost queue of keys worth nine tenths. Newcomers go to
// the small queue, or to main if the ghost queue knows them. What leaves the
// small queue goes to main if it was hit twice or more, else to the ghosts;
// what reaches the end of main goes round as often as it was hit there, at
// most three times. A newcomer larger than the small queue is not kept.

namespace larder::replay {
namespace {

class S3Fifo final : public Baseline {
 public:
  explicit S3Fifo(const BaselineOptions& options)
      : capacity_(options.capacity_bytes),
        small_max_(Share(kSmallShare)),
        main_max_(capacity_ - std::min(small_max_, capacity_)),
        ghost_max_(Share(kGhostShare)),
        nodes_(options.key_count) {}

  bool Access(const BaselineAccess& access) override {
    Node& node = nodes_[access.key];
    if (node.where == Where::kSmall || node.where == Where::kMain) {
      node.hits += node.hits < kHitsMax ? 1 : 0;
      return true;
    }
    const bool was_ghost = node.where == Where::kGhost;
    if (was_ghost) ghost_.Unlink(access.key);
    node.where = Where::kOut;
    const std::uint64_t size_max = was_ghost ? capacity_ : small_max_;
    if (access.size_bytes > size_max) return false;
    while (used_bytes() + access.size_bytes > capacity_) Evict();
    Place(access.key, access.size_bytes,
          was_ghost ? Where::kMain : Where::kSmall);
    return false;
  }

  bool Contains(std::uint32_t key) const noexcept override {
    return nodes_[key].where == Where::kSmall ||
           nodes_[key].where == Where::kMain;
  }
  void Erase(std::uint32_t key) override {
    Node& node = nodes_[key];
    if (node.where == Where::kSmall) small_.Unlink(key);
    if (node.where == Where::kMain) main_.Unlink(key);
    if (node.where == Where::kGhost) ghost_.Unlink(key);
    node.where = Where::kOut;
  }
  std::uint64_t used_bytes() const noexcept override {
    return small_.bytes() + main_.bytes();
  }
  std::uint64_t evictions() const noexcept override { return evictions_; }

 private:
  static constexpr double kSmallShare = 0.1;
  static constexpr double kGhostShare = 0.9;
  static constexpr std::uint32_t kHitsToMain = 2;
  static constexpr std::uint32_t kHitsKept = 3;
  static constexpr std::uint32_t kHitsMax = 255;

  enum class Where : std::uint8_t { kOut, kSmall, kMain, kGhost };

  struct Node : ListNode {
    std::uint32_t hits = 0;
    Where where = Where::kOut;
  };

  [[nodiscard]] std::uint64_t Share(double share) const noexcept {
    const auto bytes =
        static_cast<std::uint64_t>(static_cast<double>(capacity_) * share);
    return std::max<std::uint64_t>(bytes, 1);
  }

  void Place(std::uint32_t key, std::uint64_t size, Where where) {
    Node& node = nodes_[key];
    node.size_bytes = size;
    node.hits = 0;
    node.where = where;
    (where == Where::kMain ? main_ : small_).PushFront(key);
  }

  void Evict() {
    if (main_.bytes() > main_max_ || small_.empty()) {
      EvictFromMain();
    } else {
      EvictFromSmall();
    }
  }

  void EvictFromSmall() {
    while (!small_.empty()) {
      const std::uint32_t key = small_.PopBack();
      Node& node = nodes_[key];
      if (node.hits < kHitsToMain) {
        ToGhost(key);
        ++evictions_;
        return;
      }
      node.where = Where::kMain;
      node.hits = 0;
      main_.PushFront(key);
    }
  }

  void EvictFromMain() {
    while (!main_.empty()) {
      const std::uint32_t key = main_.PopBack();
      Node& node = nodes_[key];
      if (node.hits == 0) {
        node.where = Where::kOut;
        ++evictions_;
        return;
      }
      node.hits = std::min(node.hits, kHitsKept) - 1;
      main_.PushFront(key);
    }
  }

  void ToGhost(std::uint32_t key) {
    Node& node = nodes_[key];
    node.where = Where::kOut;
    if (node.size_bytes > ghost_max_) return;
    while (ghost_.bytes() + node.size_bytes > ghost_max_) {
      nodes_[ghost_.PopBack()].where = Where::kOut;
    }
    node.where = Where::kGhost;
    ghost_.PushFront(key);
  }

  std::uint64_t capacity_;
  std::uint64_t small_max_;
  std::uint64_t main_max_;
  std::uint64_t ghost_max_;
  std::vector<Node> nodes_;
  IndexList<Node> small_{&nodes_};
  IndexList<Node> main_{&nodes_};
  IndexList<Node> ghost_{&nodes_};
  std::uint64_t evictions_ = 0;
};

}  // namespace

std::unique_ptr<Baseline> MakeS3Fifo(const BaselineOptions& options) {
  return std::make_unique<S3Fifo>(options);
}

}  // namespace larder::replay
