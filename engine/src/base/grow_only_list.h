#ifndef LARDER_ENGINE_SRC_BASE_GROW_ONLY_LIST_H_
#define LARDER_ENGINE_SRC_BASE_GROW_ONLY_LIST_H_

#include <atomic>

namespace larder {

/// A list of the whole process, which is never destroyed and from which nothing
/// is taken. It has no lock, so a forked child never finds it locked. To be
/// constinit and of a namespace, not of a function: what is made at its first
/// use may be half made when another thread forks.
///
/// Threads: thread-safe, also in static destructors.
template <typename T>
class GrowOnlyList {
 public:
  struct Node {
    T value;
    Node* next = nullptr;
  };

  constexpr GrowOnlyList() noexcept = default;
  GrowOnlyList(const GrowOnlyList&) = delete;
  GrowOnlyList& operator=(const GrowOnlyList&) = delete;

  /// The one that was added last leads to all others.
  [[nodiscard]] Node* first() const noexcept {
    return first_.load(std::memory_order_acquire);
  }
  /// False: another one was added since `seen` was first(). Takes over `node`
  /// if it is added.
  [[nodiscard]] bool TryAdd(Node* node, Node* seen) noexcept {
    node->next = seen;
    return first_.compare_exchange_strong(seen, node,
                                          std::memory_order_acq_rel);
  }
  void Add(Node* node) noexcept {
    while (!TryAdd(node, first())) {
    }
  }

 private:
  std::atomic<Node*> first_{nullptr};
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_BASE_GROW_ONLY_LIST_H_
