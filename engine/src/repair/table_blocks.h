#ifndef LARDER_ENGINE_SRC_REPAIR_TABLE_BLOCKS_H_
#define LARDER_ENGINE_SRC_REPAIR_TABLE_BLOCKS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "larder/engine/status.h"

#include "base/open_file.h"
#include "repair/readable_pairs.h"

namespace larder {

/// What a table knows of a key. Another one may know something newer.
struct TablePair {
  enum class Kind : std::uint8_t { kPut, kDeletion, kMerge };
  std::string_view key = {};
  std::string_view value = {};
  /// Of the change; a newer one has a larger one, but for 0: RocksDB has
  /// forgotten it.
  std::uint64_t sequence = 0;
  Kind kind = Kind::kPut;
  bool is_newest = true;  ///< Of its key, in this table.
};
/// What is known of a table from elsewhere.
struct TableFacts {
  std::optional<std::string> last_key = {};
  std::optional<std::uint64_t> size = {};
};
/// An error ends the walk.
using VisitTablePair = std::function<Status(const TablePair& pair)>;

/// Visits the pairs of a table of RocksDB in order, by the checksums of its
/// blocks alone: filter, properties and, as long as all data blocks are whole,
/// index and footer may be damaged or gone. What is not in a whole block is not
/// visited, and no value can pass for a block; but if nobody knows the size of
/// the table, one that was cut off in the midst of a value that looks like
/// blocks, index and footer.
///
/// Returns where keys may be missing: what is visited there may be older than
/// what the table has had, and what is not may have been there.
/// Errors: kIoError (no memory), those of `visit`.
/// Cost:   reads the table into memory once; time is linear in its size.
[[nodiscard]] Result<std::vector<KeyGap>> ScanTableBlocks(
    const FilePlace& table, const TableFacts& facts,
    const VisitTablePair& visit);

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_REPAIR_TABLE_BLOCKS_H_
