#include <algorithm>
#include <vector>

#include "baseline.h"
#include "index_list.h"

// ARC (Megiddo and Modha, FAST 2003), in bytes: T1 holds what was seen once,
// T2 what was seen again, B1 and B2 the keys that left them last. A hit among
// the keys of B1 raises the target size p of T1, one in B2 lowers it. T1 + B1
// hold at most the capacity c, all four at most 2c.

namespace larder::replay {
namespace {

class Arc final : public Baseline {
 public:
  explicit Arc(const BaselineOptions& options)
      : capacity_(options.capacity_bytes), nodes_(options.key_count) {}

  bool Access(const BaselineAccess& access) override {
    Node& node = nodes_[access.key];
    switch (node.where) {
      case Where::kT1:
        t1_.Unlink(access.key);
        Place(access.key, Where::kT2);
        return true;
      case Where::kT2:
        t2_.MoveToFront(access.key);
        return true;
      case Where::kB1:
      case Where::kB2:
        FillGhost(access);
        return false;
      case Where::kOut:
        FillNew(access);
        return false;
    }
    return false;
  }

  bool Contains(std::uint32_t key) const noexcept override {
    return nodes_[key].where == Where::kT1 || nodes_[key].where == Where::kT2;
  }
  void Erase(std::uint32_t key) override {
    Node& node = nodes_[key];
    if (node.where != Where::kOut) ListOf(node.where).Unlink(key);
    node.where = Where::kOut;
  }
  std::uint64_t used_bytes() const noexcept override {
    return t1_.bytes() + t2_.bytes();
  }
  std::uint64_t evictions() const noexcept override { return evictions_; }

 private:
  enum class Where : std::uint8_t { kOut, kT1, kT2, kB1, kB2 };

  struct Node : ListNode {
    Where where = Where::kOut;
  };

  [[nodiscard]] IndexList<Node>& ListOf(Where where) noexcept {
    switch (where) {
      case Where::kT1:
        return t1_;
      case Where::kT2:
        return t2_;
      case Where::kB1:
        return b1_;
      default:
        return b2_;
    }
  }

  void Place(std::uint32_t key, Where where) {
    nodes_[key].where = where;
    ListOf(where).PushFront(key);
  }
  void DropBack(Where where) {
    nodes_[ListOf(where).PopBack()].where = Where::kOut;
  }

  /// Makes room for `size` by moving items out of T1 and T2 to their ghosts.
  void Replace(std::uint64_t size, bool in_b2) {
    while (used_bytes() + size > capacity_) {
      const bool over = static_cast<double>(t1_.bytes()) > target_ ||
                        (in_b2 && static_cast<double>(t1_.bytes()) >= target_);
      const bool from_t1 = !t1_.empty() && (over || t2_.empty());
      const std::uint32_t key = from_t1 ? t1_.PopBack() : t2_.PopBack();
      Place(key, from_t1 ? Where::kB1 : Where::kB2);
      ++evictions_;
    }
  }

  void FillGhost(const BaselineAccess& access) {
    Node& node = nodes_[access.key];
    const bool in_b1 = node.where == Where::kB1;
    const auto b1 = static_cast<double>(b1_.bytes());
    const auto b2 = static_cast<double>(b2_.bytes());
    const auto size = static_cast<double>(access.size_bytes);
    if (in_b1) {
      const double step = std::max(1.0, b2 / std::max(b1, 1.0)) * size;
      target_ = std::min(static_cast<double>(capacity_), target_ + step);
    } else {
      const double step = std::max(1.0, b1 / std::max(b2, 1.0)) * size;
      target_ = std::max(0.0, target_ - step);
    }
    ListOf(node.where).Unlink(access.key);
    node.where = Where::kOut;
    if (access.size_bytes > capacity_) return;
    Replace(access.size_bytes, !in_b1);
    node.size_bytes = access.size_bytes;
    Place(access.key, Where::kT2);
  }

  void FillNew(const BaselineAccess& access) {
    const std::uint64_t size = access.size_bytes;
    if (size > capacity_) return;
    while (t1_.bytes() + b1_.bytes() + size > capacity_ && !b1_.empty()) {
      DropBack(Where::kB1);
    }
    while (t1_.bytes() + size > capacity_) {
      DropBack(Where::kT1);
      ++evictions_;
    }
    while (used_bytes() + b1_.bytes() + b2_.bytes() + size > 2 * capacity_ &&
           !b2_.empty()) {
      DropBack(Where::kB2);
    }
    Replace(size, false);
    nodes_[access.key].size_bytes = size;
    Place(access.key, Where::kT1);
  }

  std::uint64_t capacity_;
  std::vector<Node> nodes_;
  IndexList<Node> t1_{&nodes_};
  IndexList<Node> t2_{&nodes_};
  IndexList<Node> b1_{&nodes_};
  IndexList<Node> b2_{&nodes_};
  /// The paper's p: bytes that T1 should hold.
  double target_ = 0;
  std::uint64_t evictions_ = 0;
};

}  // namespace

std::unique_ptr<Baseline> MakeArc(const BaselineOptions& options) {
  return std::make_unique<Arc>(options);
}

}  // namespace larder::replay
