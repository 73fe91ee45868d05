#include "index/index_step.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace larder {
namespace {

using Tables = std::vector<rocksdb::SstFileMetaData>;

// The first one that ends after `key`, or at it.
Tables::const_iterator FirstFrom(const Tables& tables, const std::string& key) {
  return std::lower_bound(tables.begin(), tables.end(), key,
                          [](const auto& table, const std::string& at) {
                            return table.largestkey < at;
                          });
}

// What is taken if all from `begin` to `end` is merged downwards.
struct Taken {
  std::uint64_t bytes = 0;
  std::size_t levels = 0;
  std::string upper_end;  // Of the tables of the first of them.
};

Taken TakenBy(const std::vector<const Tables*>& levels, std::string begin,
              std::string end) {
  Taken taken;
  for (const Tables* tables : levels) {
    // With whatever a table above reaches over.
    std::string first = begin;
    std::string last = end;
    bool any = false;
    for (auto table = FirstFrom(*tables, begin);
         table != tables->end() && table->smallestkey <= end; ++table) {
      any = true;
      taken.bytes += table->size;
      first = std::min(first, table->smallestkey);
      last = std::max(last, table->largestkey);
    }
    if (!any) continue;
    if (++taken.levels == 1) taken.upper_end = last;
    begin = std::move(first);
    end = std::move(last);
  }
  return taken;
}

}  // namespace

std::optional<IndexStep> NextIndexStep(
    const rocksdb::ColumnFamilyMetaData& meta, const std::string& cursor,
    std::uint64_t bytes_max) {
  IndexStep step;
  std::uint64_t level_zero = 0;
  if (!cursor.empty()) step.begin = cursor + '\0';
  std::vector<const Tables*> levels;
  std::vector<std::string> ends;
  for (const rocksdb::LevelMetaData& level : meta.levels) {
    if (level.level == 0) level_zero = level.size;
    if (level.level == 0 || level.files.empty()) continue;
    levels.push_back(&level.files);
    std::uint64_t bytes = 0;
    for (auto table = FirstFrom(level.files, step.begin);
         table != level.files.end() && bytes <= bytes_max; ++table) {
      ends.push_back(table->largestkey);
      bytes += table->size;
    }
  }
  if (ends.empty()) {
    if (!cursor.empty() || meta.file_count == 0) return std::nullopt;
    // There is level 0 only, all of which is merged at once.
    for (const rocksdb::LevelMetaData& level : meta.levels) {
      for (const auto& table : level.files) {
        step.end = std::max(step.end, table.largestkey);
      }
    }
    return step;
  }
  std::sort(ends.begin(), ends.end());
  for (std::string& end : ends) {
    const Taken taken = TakenBy(levels, step.begin, end);
    const bool is_full = level_zero + taken.bytes > bytes_max;
    if (!step.end.empty() && is_full) break;
    step.end = std::move(end);
    // All that the tables of the upper of two levels overlap is done with.
    step.cursor =
        taken.levels == 2 ? std::max(step.end, taken.upper_end) : step.end;
    if (is_full) break;
  }
  return step;
}

std::optional<std::string> CursorBeforeChanges(
    const rocksdb::ColumnFamilyMetaData& meta) {
  int last_level = 0;
  for (const rocksdb::LevelMetaData& level : meta.levels) {
    if (!level.files.empty()) last_level = level.level;
  }
  const rocksdb::SstFileMetaData* most = nullptr;
  const auto changes = [](const rocksdb::SstFileMetaData& table) {
    return std::pair(table.num_deletions, table.num_entries);
  };
  for (const rocksdb::LevelMetaData& level : meta.levels) {
    // There they stay for a snapshot: to compact it again gives nothing.
    if (level.level != 0 && level.level == last_level) continue;
    for (const rocksdb::SstFileMetaData& table : level.files) {
      if (most == nullptr || changes(table) > changes(*most)) most = &table;
    }
  }
  if (most == nullptr) return std::nullopt;
  // The greatest key that is less, but for what ends with many 0xff.
  std::string cursor = most->smallestkey;
  if (cursor.empty()) return cursor;
  if (cursor.back() == '\0') {
    cursor.pop_back();
  } else {
    --cursor.back();
    cursor.append(8, '\xff');
  }
  return cursor;
}

}  // namespace larder
