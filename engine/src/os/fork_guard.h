#ifndef LARDER_ENGINE_SRC_OS_FORK_GUARD_H_
#define LARDER_ENGINE_SRC_OS_FORK_GUARD_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "base/unique_fd.h"

namespace larder {
namespace internal {

// A word on a page that the kernel wipes in a forked child; null until first
// used. Nonzero: the number of this process among its ancestors.
extern constinit std::atomic<std::atomic<std::uint64_t>*> fork_word;
// First use in this process, or first use after a fork.
[[nodiscard]] std::uint64_t ForkNumberSlow() noexcept;
extern constinit std::atomic<std::uint64_t> fork_count;

}  // namespace internal

/// A number that is another one in a forked child than in its parent.
///
/// Threads: thread-safe. Cost: two loads, under a nanosecond (getpid is a
///          system call, 100-200 ns).
[[nodiscard]] inline std::uint64_t ForkNumber() noexcept {
  // Relaxed: the page is published before any thread can have its address,
  // and the word only ever changes from 0 in a child.
  if (const auto* word = internal::fork_word.load(std::memory_order_relaxed)) {
    const std::uint64_t number = word->load(std::memory_order_relaxed);
    if (number != 0) [[likely]]
      return number;
  }
  return internal::ForkNumberSlow();
}

/// How often this process and those it was forked from have forked since the
/// first call of this or of ForkNumber. If it is the same before something was
/// mapped and after it was unmapped, no child has it.
///
/// Threads: thread-safe. Does not count what is made by clone without fork.
[[nodiscard]] inline std::uint64_t ForkCount() noexcept {
  static_cast<void>(ForkNumber());  // Registers the handler.
  return internal::fork_count.load();
}

/// Remembers in which process it was made. What belongs to the parent (locks,
/// threads, an open store) must be left alone in a child.
class ForkGuard {
 public:
  ForkGuard() noexcept : birth_(ForkNumber()) {}
  [[nodiscard]] bool InChild() const noexcept { return ForkNumber() != birth_; }

 private:
  std::uint64_t birth_;
};

/// Has the child of a fork close a descriptor at once: a lock on it would
/// otherwise live as long as the child. The owner in the child must not close
/// it again (UniqueFd::Release).
///
/// Threads: thread-safe.
class CloseInChild {
 public:
  CloseInChild() noexcept = default;
  explicit CloseInChild(int fd) noexcept;
  ~CloseInChild();
  CloseInChild(CloseInChild&& other) noexcept;
  CloseInChild& operator=(CloseInChild&& other) noexcept;

 private:
  int index_ = -1;  // In the table of descriptors; -1 = none.
  ForkGuard guard_;
};

/// Owns a descriptor that a forked child neither keeps open nor closes twice.
///
/// Threads: thread-compatible.
class ForkSafeFd {
 public:
  ForkSafeFd() noexcept = default;
  explicit ForkSafeFd(UniqueFd fd) noexcept
      : fd_(std::move(fd)), registration_(fd_.get()) {}
  ForkSafeFd(ForkSafeFd&&) noexcept = default;
  ForkSafeFd& operator=(ForkSafeFd&& other) noexcept {
    Reset();
    fd_ = std::move(other.fd_);
    registration_ = std::move(other.registration_);
    guard_ = other.guard_;
    return *this;
  }
  ~ForkSafeFd() { Reset(); }

  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
  void Reset() noexcept {
    // In a child the number may be another file by now.
    if (guard_.InChild()) static_cast<void>(fd_.Release());
    registration_ = CloseInChild();
    fd_.Reset();
  }

 private:
  UniqueFd fd_;
  CloseInChild registration_;
  ForkGuard guard_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_FORK_GUARD_H_
