// Two nets under each other: the atfork handler runs for fork(), and the
// kernel wipes the page for every other way to duplicate a process (clone).

#include "os/fork_guard.h"

#include <array>
#include <new>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "base/forks_held.h"

namespace larder {
namespace internal {

constinit std::atomic<std::atomic<std::uint64_t>*> fork_word{nullptr};
constinit std::atomic<std::uint64_t> fork_count{0};

}  // namespace internal

namespace {

using internal::fork_word;

// Most descriptors that children close; later ones stay open in a child.
constexpr std::size_t kGuardedDescriptorCountMax = 4096;

// 0 = free, else descriptor + 1. Atomics only: the child handler may run while
// another thread of the parent was in the middle of anything.
constinit std::array<std::atomic<int>, kGuardedDescriptorCountMax>
    descriptors{};

// Counts generations of processes; copied by fork, unlike the word.
constinit std::atomic<std::uint64_t> last_number{0};

void CountFork() noexcept { internal::fork_count.fetch_add(1); }

void RunInChild() noexcept {
  for (auto& entry : descriptors) {
    const int value = entry.load(std::memory_order_relaxed);
    if (value == 0) continue;  // A store would cost the child a page.
    entry.store(0, std::memory_order_relaxed);
    ::close(value - 1);
  }
  auto* word = fork_word.load(std::memory_order_relaxed);
  if (word != nullptr) word->store(0, std::memory_order_relaxed);
}

constexpr ForkHook kGuardForkHook{.before = &CountFork,
                                  .in_child = &RunInChild};

std::atomic<std::uint64_t>* MakeWord() noexcept {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* memory = ::mmap(nullptr, page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    static constinit std::atomic<std::uint64_t> unwiped{0};
    return &unwiped;  // The handler alone must do.
  }
  // Linux 4.14; without it the handler alone must do.
  static_cast<void>(::madvise(memory, page, MADV_WIPEONFORK));
  return new (memory) std::atomic<std::uint64_t>(0);
}

}  // namespace

std::uint64_t internal::ForkNumberSlow() noexcept {
  WatchForks(kGuardForkHook);
  auto* word = fork_word.load(std::memory_order_acquire);
  if (word == nullptr) {
    auto* const made = MakeWord();
    // Another thread may be first; a page is left over then.
    if (fork_word.compare_exchange_strong(word, made)) word = made;
  }
  std::uint64_t seen = word->load(std::memory_order_relaxed);
  if (seen != 0) return seen;
  const std::uint64_t number =
      last_number.fetch_add(1, std::memory_order_relaxed) + 1;
  if (word->compare_exchange_strong(seen, number, std::memory_order_relaxed)) {
    return number;
  }
  return seen;  // Another thread was first.
}

CloseInChild::CloseInChild(int fd) noexcept {
  for (std::size_t i = 0; i < kGuardedDescriptorCountMax; ++i) {
    int free = 0;
    if (descriptors[i].compare_exchange_strong(free, fd + 1,
                                               std::memory_order_relaxed)) {
      index_ = static_cast<int>(i);
      return;
    }
  }
}

CloseInChild::~CloseInChild() {
  if (index_ < 0 || guard_.InChild()) return;  // A child's table is its own.
  descriptors[static_cast<std::size_t>(index_)].store(
      0, std::memory_order_relaxed);
}

CloseInChild::CloseInChild(CloseInChild&& other) noexcept
    : index_(std::exchange(other.index_, -1)), guard_(other.guard_) {}

CloseInChild& CloseInChild::operator=(CloseInChild&& other) noexcept {
  std::swap(index_, other.index_);
  std::swap(guard_, other.guard_);
  return *this;
}

}  // namespace larder
