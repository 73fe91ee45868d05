#ifndef LARDER_TOOLS_REPLAY_INDEX_LIST_H_
#define LARDER_TOOLS_REPLAY_INDEX_LIST_H_

#include <cstdint>
#include <vector>

namespace larder::replay {

inline constexpr std::uint32_t kNil = 0xFFFFFFFF;

/// What IndexList asks of a node: its neighbours and its size.
struct ListNode {
  std::uint32_t newer = kNil;
  std::uint32_t older = kNil;
  std::uint64_t size_bytes = 0;
};

/// A doubly linked list of numbered nodes that lie in one vector. A node is in
/// at most one list that uses the same links.
///
/// Threads: thread-compatible.
template <typename Node>
class IndexList {
 public:
  explicit IndexList(std::vector<Node>* nodes) noexcept : nodes_(nodes) {}

  void PushFront(std::uint32_t at) noexcept {
    Node& node = (*nodes_)[at];
    node.newer = kNil;
    node.older = front_;
    (front_ == kNil ? back_ : (*nodes_)[front_].newer) = at;
    front_ = at;
    bytes_ += node.size_bytes;
    ++count_;
  }
  void Unlink(std::uint32_t at) noexcept {
    const Node& node = (*nodes_)[at];
    (node.newer == kNil ? front_ : (*nodes_)[node.newer].older) = node.older;
    (node.older == kNil ? back_ : (*nodes_)[node.older].newer) = node.newer;
    bytes_ -= node.size_bytes;
    --count_;
  }
  void MoveToFront(std::uint32_t at) noexcept {
    if (front_ == at) return;
    Unlink(at);
    PushFront(at);
  }
  /// REQUIRES: not empty.
  std::uint32_t PopBack() noexcept {
    const std::uint32_t at = back_;
    Unlink(at);
    return at;
  }

  [[nodiscard]] std::uint32_t front() const noexcept { return front_; }
  [[nodiscard]] std::uint32_t back() const noexcept { return back_; }
  [[nodiscard]] bool empty() const noexcept { return front_ == kNil; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

 private:
  std::vector<Node>* nodes_;
  std::uint32_t front_ = kNil;
  std::uint32_t back_ = kNil;
  std::uint64_t bytes_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_INDEX_LIST_H_
