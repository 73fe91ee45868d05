// A sweep over the ends of all ranges: what is open there gives the height.

#include "repair/key_cover.h"

#include <algorithm>
#include <iterator>
#include <set>

namespace larder {

std::uint64_t KeyCover::HeightAt(std::string_view key) const {
  if (!is_sorted_) Sort();
  const auto after =
      std::upper_bound(steps_.begin(), steps_.end(), key,
                       [](std::string_view wanted, const Step& step) {
                         return wanted < step.begin;
                       });
  return after == steps_.begin() ? 0 : std::prev(after)->height;
}

void KeyCover::Sort() const {
  struct End {
    const std::string* key;
    std::uint64_t height;
    bool begins;
  };
  std::vector<End> ends;
  for (const auto& [range, height] : ranges_) {
    if (!range.to_the_end && range.end <= range.begin) continue;
    ends.push_back({&range.begin, height, true});
    if (!range.to_the_end) ends.push_back({&range.end, height, false});
  }
  std::sort(ends.begin(), ends.end(),
            [](const End& a, const End& b) { return *a.key < *b.key; });
  steps_.clear();
  std::multiset<std::uint64_t> open;
  for (auto end = ends.begin(); end != ends.end();) {
    const std::string& key = *end->key;
    for (; end != ends.end() && *end->key == key; ++end) {
      if (end->begins) {
        open.insert(end->height);
      } else {
        open.erase(open.find(end->height));
      }
    }
    const std::uint64_t height = open.empty() ? 0 : *open.rbegin();
    if (steps_.empty() || steps_.back().height != height) {
      steps_.push_back({key, height});
    }
  }
  is_sorted_ = true;
}

}  // namespace larder
