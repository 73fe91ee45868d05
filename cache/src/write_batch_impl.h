#ifndef LARDER_CACHE_SRC_WRITE_BATCH_IMPL_H_
#define LARDER_CACHE_SRC_WRITE_BATCH_IMPL_H_

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "larder/cache/write_batch.h"
#include "larder/engine/command.h"

namespace larder {

/// Copies of bytes that stay where they are until the arena goes.
///
/// Threads: thread-compatible.
class BytesArena {
 public:
  [[nodiscard]] std::string_view Copy(std::string_view bytes) {
    if (bytes.empty()) return {};
    if (bytes.size() > left_) Grow(bytes.size());
    char* const begin = next_;
    std::memcpy(begin, bytes.data(), bytes.size());
    next_ += bytes.size();
    left_ -= bytes.size();
    return {begin, bytes.size()};
  }

 private:
  static constexpr std::size_t kBlockSizeBytes = 64 * 1024;

  void Grow(std::size_t size) {
    left_ = std::max(size, kBlockSizeBytes);
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(left_));
    next_ = blocks_.back().get();
  }

  std::vector<std::unique_ptr<char[]>> blocks_;
  char* next_ = nullptr;
  std::size_t left_ = 0;
};

struct WriteBatch::Impl {
  BytesArena arena;
  std::vector<Command> commands;  ///< Their bytes lie in the arena.
};

}  // namespace larder

#endif  // LARDER_CACHE_SRC_WRITE_BATCH_IMPL_H_
