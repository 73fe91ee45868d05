#ifndef LARDER_ENGINE_SRC_INDEX_INDEX_STEP_H_
#define LARDER_ENGINE_SRC_INDEX_INDEX_STEP_H_

#include <cstdint>
#include <optional>
#include <string>

#include <rocksdb/metadata.h>

namespace larder {

/// What one of our compactions of the index takes: the keys from `begin` to
/// `end`, both included.
struct IndexStep {
  std::string begin;
  std::string end;
  std::string cursor;  ///< Where it has got to; empty: to the end.
};

/// The step after `cursor`, which is empty at first. It takes as many tables as
/// there is room for to write again before the old ones go, `bytes_max` of
/// them with level 0, and one of each level with those that it overlaps at
/// least. Nullopt: nothing is beyond the cursor.
[[nodiscard]] std::optional<IndexStep> NextIndexStep(
    const rocksdb::ColumnFamilyMetaData& meta, const std::string& cursor,
    std::uint64_t bytes_max);

/// A cursor before the table above the last level, or of level 0, in which most
/// deletions are, or most entries if there are none of them: in a full index
/// they replace others. Nullopt: all is in the last level.
[[nodiscard]] std::optional<std::string> CursorBeforeChanges(
    const rocksdb::ColumnFamilyMetaData& meta);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_INDEX_INDEX_STEP_H_
