#ifndef LARDER_ENGINE_SRC_REPAIR_READABLE_PAIRS_H_
#define LARDER_ENGINE_SRC_REPAIR_READABLE_PAIRS_H_

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <rocksdb/iterator.h>

#include "larder/engine/status.h"

namespace larder {

/// Keys from `begin` up to `end`, or to the last one.
struct KeyGap {
  std::string begin;
  std::string end;
  bool to_the_end = false;
  [[nodiscard]] bool Contains(std::string_view key) const noexcept {
    return key >= begin && (to_the_end || key < end);
  }
};

/// Walks over all pairs that can be read; where a block is damaged it goes on
/// after that.
class ReadablePairs {
 public:
  using NewIterator = std::function<std::unique_ptr<rocksdb::Iterator>()>;
  /// An error of it ends the walk.
  using Visit =
      std::function<Status(std::string_view key, std::string_view value)>;

  /// `boundaries`: keys at which tables begin or end, in any order. Blocks of
  /// the same table are told apart by bisection.
  ReadablePairs(NewIterator new_iterator, std::vector<std::string> boundaries);

  [[nodiscard]] Status Walk(const Visit& visit);
  /// What could not be read.
  [[nodiscard]] const std::vector<KeyGap>& gaps() const noexcept {
    return gaps_;
  }
  /// Nothing can be read although there may be something.
  [[nodiscard]] bool blind() const noexcept { return blind_; }

 private:
  [[nodiscard]] bool CanSeek(const std::string& key);
  /// Notes the gap that begins at `from`; false: it has no end.
  [[nodiscard]] bool Cross(const std::string& from);
  [[nodiscard]] std::string Narrow(std::string bad, std::string good);

  NewIterator new_iterator_;
  std::vector<std::string> boundaries_;
  std::vector<KeyGap> gaps_;
  bool blind_ = false;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_REPAIR_READABLE_PAIRS_H_
