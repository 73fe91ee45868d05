#include "repair/readable_pairs.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/coding.h"

namespace larder {
namespace {

constexpr std::size_t kWordSize = sizeof(std::uint64_t);
// Words beyond what both ends of a gap have in common that are bisected: keys
// that are equal up to there share the fate of the damaged block.
constexpr int kNarrowingWordsMax = 8;
// After all keys: in `access` the first byte of a key is at most 2, names in
// `counters` are text, and positions do not come that far.
std::string AfterAll() { return std::string(2 * kWordSize, '\xff'); }

std::uint64_t WordAt(const std::string& key, std::size_t at) {
  char bytes[kWordSize] = {};
  for (std::size_t i = 0; i < kWordSize && at + i < key.size(); ++i) {
    bytes[i] = key[at + i];
  }
  return LoadBigEndian64(bytes);
}

std::string WithWord(std::string prefix, std::uint64_t word) {
  char bytes[kWordSize];
  StoreBigEndian64(bytes, word);
  return prefix.append(bytes, kWordSize);
}

}  // namespace

ReadablePairs::ReadablePairs(NewIterator new_iterator,
                             std::vector<std::string> boundaries)
    : new_iterator_(std::move(new_iterator)),
      boundaries_(std::move(boundaries)) {
  boundaries_.push_back(AfterAll());
  std::sort(boundaries_.begin(), boundaries_.end());
}

bool ReadablePairs::CanSeek(const std::string& key) {
  const auto it = new_iterator_();
  it->Seek(key);
  return it->status().ok();
}

Status ReadablePairs::Walk(const Visit& visit) {
  std::string next;  // All before it is done.
  bool any = false;
  for (;;) {
    const auto it = new_iterator_();
    for (it->Seek(next); it->Valid(); it->Next()) {
      any = true;
      LARDER_RETURN_IF_ERROR(
          visit(it->key().ToStringView(), it->value().ToStringView()));
      next.assign(it->key().data(), it->key().size());
      next.push_back('\0');
    }
    if (it->status().ok()) return Status::Ok();
    if (!Cross(next)) {
      blind_ = !any;
      return Status::Ok();
    }
    next = gaps_.back().end;
  }
}

bool ReadablePairs::Cross(const std::string& from) {
  std::string bad = from;
  for (const std::string& boundary : boundaries_) {
    if (boundary <= from) continue;
    if (CanSeek(boundary)) {
      gaps_.push_back({from, Narrow(std::move(bad), boundary), false});
      return true;
    }
    bad = boundary;
  }
  gaps_.push_back({from, {}, true});
  return false;
}

// The first key, about, from which on one can read. A seek reads the block that
// its key would be in, so it fails from the damaged block's first key to its
// last.
std::string ReadablePairs::Narrow(std::string bad, std::string good) {
  const auto differ =
      std::mismatch(bad.begin(), bad.end(), good.begin(), good.end()).second;
  std::string prefix(good.begin(), differ);
  // Words in [low, high): a seek to `prefix` with low fails, with high works.
  std::uint64_t low = WordAt(bad, prefix.size());
  std::uint64_t high = WordAt(good, prefix.size());
  for (int word = 0; word < kNarrowingWordsMax && low < high; ++word) {
    while (low + 1 < high) {
      const std::uint64_t middle = low + (high - low) / 2;
      std::string key = WithWord(prefix, middle);
      if (CanSeek(key)) {
        high = middle;
        good = std::min(good, std::move(key));
      } else {
        low = middle;
      }
    }
    prefix = WithWord(std::move(prefix), low);
    low = bad.starts_with(prefix) ? WordAt(bad, prefix.size()) : 0;
    high = UINT64_MAX;
    if (!CanSeek(WithWord(prefix, high))) break;
    good = std::min(good, WithWord(prefix, high));
  }
  return good;
}

}  // namespace larder
